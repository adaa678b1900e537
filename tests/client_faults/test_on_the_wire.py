"""What a check costs on the wire, counted in bytes between two sockets: headers and all."""

import contextlib
import hashlib
import itertools
import json
import socket
import threading
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import pytest

from tests.client_faults.hub import NAME, Hub
from tests.oms import new_key
from tests.system.service import serving

EVENTS = 100


@dataclass
class Counted:
    url: str = ""
    connections: int = 0
    requests: int = 0
    sent: int = 0
    received: int = 0

    @property
    def total(self):
        return self.sent + self.received

    def begin(self):
        self.connections = self.requests = self.sent = self.received = 0


@contextlib.contextmanager
def counting(url):
    """Hand on every byte between a client and a service, and count it."""
    behind, made = urlsplit(url), Counted()

    def pump(source, target, count):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                count(piece)
                target.sendall(piece)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def up(piece):
        made.requests += piece.count(b" HTTP/1.1\r\n")
        made.sent += len(piece)

    def down(piece):
        made.received += len(piece)

    def serve(client):
        with client, socket.create_connection((behind.hostname, behind.port)) as service:
            answers = threading.Thread(target=pump, args=(service, client, down))
            answers.start()
            pump(client, service, up)
            answers.join()

    def accept(listener):
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                made.connections += 1
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        made.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=accept, args=(listener,), daemon=True)
        thread.start()
        try:
            yield made
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def revision(number):
    return hashlib.sha1(str(number).encode(), usedforsecurity=False).hexdigest()


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A hundred uploads, each with other files by another account; another signer for thirty of them, so two changes of signer."""
    hub, other = Hub(tmp_path_factory.mktemp("grown")), new_key()
    for number in range(EVENTS):
        key = other if 40 <= number < 70 else hub.key
        hub.last = hub.sign(f"model-{number}", f"weights {number}".encode(), key=key)
        hub.record(revision(number), hub.last, uploader=f"account-{number}", keys=[other])
    with serving(hub.ledger, "--read-only") as (hub.url, _):
        yield hub


def verify(hubledger, model, *more):
    code, out, err = hubledger("verify", model, "--name", NAME, "--json", *more)
    return code, json.loads(out or err)


def row(facts, step):
    return next(each for each in facts["checks"] if each["step"] == step)


def test_a_model_with_a_hundred_events_is_one_request_of_few_bytes(hubledger, grown):
    with counting(grown.url) as wire:
        assert hubledger("trust", "add", wire.url)[0] == 0
        wire.begin()
        code, facts = verify(hubledger, grown.last)
    assert (code, facts["event"]["revision"]) == (0, revision(EVENTS - 1))
    assert row(facts, "events of this model")["against"].startswith(f"{EVENTS} that the hub shows")
    assert (wire.connections, wire.requests) == (1, 1)
    assert 20_000 < wire.total <= 60_000


def test_the_history_really_has_other_contents_and_two_changes_of_signer(grown):
    events = httpx.get(f"{grown.url}/v1/history?model=acme/tiny&limit=1000").json()["events"]
    assert len({each["contentSha256"] for each in events}) == len(events) == EVENTS
    signers = [json.dumps(each["signers"]) for each in sorted(events, key=lambda each: each["leafIndex"])]
    assert sum(one != other for one, other in itertools.pairwise(signers)) == 2


def test_an_old_revision_takes_two_requests_and_few_bytes(hubledger, grown):
    """The proof that comes with the answer is of the newest event; with --revision it is of the one that is wanted."""
    old = grown.folder / "model-5"
    with counting(grown.url) as wire:
        assert hubledger("trust", "add", wire.url)[0] == 0
        wire.begin()
        assert verify(hubledger, old)[0] == 0
        assert (wire.connections, wire.requests, wire.total <= 60_000) == (1, 2, True)
        wire.begin()
        assert verify(hubledger, old, "--revision", revision(5))[0] == 0
        assert (wire.connections, wire.requests, wire.total <= 60_000) == (1, 1, True)


def test_with_everything_cached_but_the_newest_checkpoint_it_is_one_round_trip(hubledger, grown):
    with counting(grown.url) as wire:
        assert hubledger("trust", "add", wire.url)[0] == 0
        assert verify(hubledger, grown.last)[0] == 0
        before = row(verify(hubledger, grown.last)[1], "link to your pin")["against"]
        grown.record("r1", grown.last, name="acme/other")
        wire.begin()
        code, facts = verify(hubledger, grown.last)
    after = row(facts, "link to your pin")
    assert (code, after["result"]) == (0, "ok")
    assert before != after["against"], "the log has grown"
    assert "extends your pin" in after["against"]
    assert (wire.connections, wire.requests, wire.total <= 60_000) == (1, 1, True)
