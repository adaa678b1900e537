"""A real ledger with a signed model, its service as a process, and what can stand between that and a client.

Answers are bent on their way: the client is the real one, and so is the service behind.
"""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

import httpx

from cli.main import run
from ledger.client import CheckFailedError
from ledger.client.named import NamedResult
from ledger.client.trust import parse_trust
from ledger.client.trust_store import Origin, StoredTrust
from ledger.embedded.recording import RecordRequest, record_revision
from ledger.errors import LedgerError
from tests.fakes.web import answering
from tests.oms import key_bundle, new_key, public_pem, put, statement, write_model

LEDGER, HUB, MODEL = "log.example/models", "hub.example", "acme/tiny"
NAME = f"{HUB}/{MODEL}"


class Hub:
    """A ledger in a folder of its own, and the key of who signs its models."""

    def __init__(self, folder, *, key=None):
        self.folder, self.ledger, self.key = folder, folder / "ledger", key or new_key()
        folder.mkdir(exist_ok=True)
        assert run(["init", str(self.ledger), "--origin", LEDGER, "--hub", HUB]) == 0
        self.pem = folder / "key.pub"
        self.pem.write_bytes(public_pem(self.key))

    def sign(self, name, weights=b"weights", *, key=None):
        """Make a model that is signed, by the hub's usual signer or by another."""
        model = self.folder / name
        model.mkdir()
        write_model(model, {"weights": weights})
        put(model, key_bundle(statement(model), key or self.key))
        return model

    def record(self, revision, model, *, name=MODEL, uploader=None, keys=()):
        pems = [self.pem]
        for at, key in enumerate(keys):
            pems.append(self.folder / f"other-{at}.pub")
            pems[-1].write_bytes(public_pem(key))
        request = RecordRequest(
            name=name, revision=revision, model=model, public_keys=pems, uploader=uploader
        )
        return record_revision(self.ledger, request)

    @property
    def trust(self):
        return (self.ledger / "trust.toml").read_bytes()


def stored(data, source, *, origin=Origin.CONFIRMED):
    """What the store has of a trust file that came from an address."""
    return StoredTrust(data=data, trust=parse_trust(data), source=source, origin=origin)


@dataclass
class Between:
    """Stands between client and service. ``bend``: what to answer to a path in the place of the service, None: what it says."""

    url: str = ""
    bend: Callable[[str], tuple[int, bytes] | None] = lambda _: None
    seen: list[str] = field(default_factory=list)
    heard: dict[str, bytes] = field(default_factory=dict)

    def answer(self, behind, path):
        self.seen.append(path)
        if (bent := self.bend(path)) is not None:
            return bent
        found = behind.get(path)
        if found.status_code == httpx.codes.OK:
            self.heard[path] = found.content
        return found.status_code, found.content


@contextlib.contextmanager
def between(url):
    """Serve what stands between; yields it."""
    made, guard = Between(), threading.Lock()
    with httpx.Client(base_url=url, timeout=30) as behind:

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                with guard:
                    status, data = made.answer(behind, self.path)
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # a client that has read enough hangs up
                    self.wfile.write(data)

            def log_message(self, *_):
                pass

        with answering(Handler) as made.url:
            yield made


@dataclass(frozen=True)
class Outcome:
    """How a check ended: ``word`` is what it said, and ``result`` what it found where it took place."""

    word: str
    result: NamedResult | None = None
    error: LedgerError | None = None

    @property
    def satisfied(self):
        return self.result is not None and self.result.result.satisfied


def outcome(ask):
    """Ask, and say how it ended. What is no error of ours is a bug, and is raised."""
    try:
        found = ask()
    except CheckFailedError as error:
        found = error.result
    except LedgerError as error:
        return Outcome(word=type(error).__name__, error=error)
    return Outcome(word=f"{found.result.log} {found.result.model}", result=found)


def facts_of(found):
    """What a user relies on after a check that succeeded."""
    event = found.result.event
    return (
        found.name,
        event.model.name,
        event.model.revision,
        event.manifest.sha256,
        event.manifest.content_sha256,
        frozenset(map(str, found.result.signers)),
        event.outcome,
        event.policy.decision,
    )
