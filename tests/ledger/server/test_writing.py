"""What a hub writes over HTTP: strict, idempotent, answered as it was waited for, and for whoever has a token."""

import asyncio
import base64
import contextlib
import hashlib
import json
import threading

import jsonschema
import pytest

from ledger.embedded.auditing import audit_ledger
from ledger.embedded.evidence_audit import NamedEvidence
from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from ledger.embedded.recording import RecordRequest, find_out, record_findings
from ledger.entry import parse_entry
from ledger.errors import WriteError
from ledger.server.app import Limits
from ledger.server.service import make_app
from ledger.server.tokens import TokenFile
from ledger.server.writer import Writer
from ledger.tlog.proof import parse_proof
from tests.ledger.server.conftest import AT, Service, pieces
from tests.ledger.server.events import DIGEST, MANIFEST, body, lines
from tests.ledger.server.test_reading import schema_of


class Hub(Service):
    """The service as a hub with a token uses it."""

    def __init__(self, app, token, writer):
        super().__init__(app)
        self.token, self.writer = token, writer

    def post(self, event, path="/v1/events", *, token=None, media="application/json", **query):
        headers = {"authorization": f"Bearer {token or self.token}", "content-type": media}
        return self.ask("POST", path, body=event, headers=headers, **query)

    def batch(self, data, **query):
        return self.post(data, "/v1/events/batch", media="application/x-ndjson", **query)


@contextlib.contextmanager
def running(folder, *, room=1000, limits=None, opened=None):
    """A writing service of a ledger, with a token of the scope record."""
    token = TokenFile(folder).create(scopes=("record",), label="a test", now=AT)
    writer = Writer(opened or (lambda: open_for_recording(folder)), room=room)
    writer.start()
    app = make_app(folder, limits=limits or Limits(threads=4), authority=TokenFile(folder), writer=writer)
    try:
        yield Hub(app, token, writer)
    finally:
        app.pool.close()
        writer.close()


@pytest.fixture
def hub(ledger):
    with running(ledger) as service:
        yield service


def test_a_durable_event_comes_back_signed_and_can_be_read_by_its_id(hub):
    found = hub.post(body(), wait="durable")
    assert found.status == 201
    jsonschema.validate(found.json, schema_of("Receipt"))
    assert hub.post(body("u-2"), wait="included").status == 201  # by now the first is published too
    read = hub.get("/v1/event", id="u-1").json
    assert read["leafIndex"] == found.json["leafIndex"]
    entry = base64.b64decode(read["entry"])
    assert json.loads(entry) == found.json["entry"]
    assert parse_entry(entry).payload == base64.b64decode(found.json["entry"]["payload"])


def test_an_included_event_comes_with_a_proof_that_verifies(hub, hubledger, ledger, tmp_path):
    found = hub.post(body()).json
    proof = tmp_path / "p.tlog-proof"
    proof.write_text(found["proof"])
    assert parse_proof(proof.read_bytes()).checkpoint_note.decode() == found["checkpoint"]
    code, out, err = hubledger("verify", "--proof", proof, "--trust", ledger / "trust.toml", "--log-only")
    assert code == 0, out + err


def test_many_that_wait_together_each_get_their_own_proof(hub):
    answers = hub.batch(lines(*[body(f"u-{n}", revision=f"r{n}") for n in range(300)])).body.splitlines()
    receipts = [json.loads(each) for each in answers]
    assert [each["eventId"] for each in receipts] == [f"u-{n}" for n in range(300)]
    for each in receipts[::37]:
        proof = parse_proof(each["proof"].encode())
        assert proof.index == each["leafIndex"]
        assert proof.extra == json.dumps(each["entry"], separators=(",", ":"), sort_keys=True).encode()


def test_the_same_event_again_is_answered_with_the_first_receipt(hub):
    first = hub.post(body())
    again = hub.post(body())
    assert (first.status, again.status) == (201, 200)
    assert again.json["repeated"]
    assert again.json["leafIndex"] == first.json["leafIndex"]
    other = hub.post(body(revision="r2"))
    assert (other.status, other.json["type"]) == (409, "/problems/conflict")


def test_an_event_is_the_one_that_the_command_records(hub, ledger, tmp_path):
    """The hub's own names are escaped as the command escapes them, and the facts are equal: a retry by either is no conflict."""
    (tmp_path / "files").mkdir()
    request = RecordRequest(
        name="a café",
        revision="r 1",
        model=tmp_path / "files",
        event_id="same",
        uploader="ü",
        parents=("p 1",),
    )
    model = {"name": "a café", "revision": "r 1", "parents": ["p 1"]}
    assert hub.post(body("same", model=model, uploader="ü")).status == 201
    from datetime import datetime

    from ledger.bundle.trust_material import TrustMaterial

    findings = find_out(request, TrustMaterial(), received=datetime.fromisoformat(AT))
    assert record_findings(hub.writer.ledger, request, findings).repeated


@pytest.mark.parametrize(
    "change",
    [
        {"eventId": ""},
        {"eventId": "with space"},
        {"eventId": "x" * 129},
        {"other": 1},
        {"outcome": "VERIFIED"},
        {"outcome": "safe"},
        {"manifest": {"sha256": "A" * 64, "contentSha256": DIGEST, "files": 0, "bytes": 0}},
        {"manifest": {"sha256": DIGEST, "contentSha256": DIGEST, "files": 1, "bytes": 0}},
        {"manifest": {"sha256": DIGEST, "contentSha256": DIGEST, "files": 0, "bytes": 2**53}},
        {"model": {"name": "a"}},
        {"model": {"name": "", "revision": "r"}},
        {"model": {"name": 7, "revision": "r"}},
        {"model": {"name": "a", "revision": "r", "repoId": None}},
        {"model": {"name": "a", "revision": "r", "revisionTime": "today"}},
        {"model": []},
        {"signatures": [{}]},
        {"signatures": 1},
        {"reasons": ["Free Text"]},
        {"reasons": "a"},
        {"trigger": "whim"},
        {"uploader": {"account": "a"}},
        {"private": 1},
        {"moreSignatures": {"count": 1}},
        {"evidence": ["!!"]},
        {"evidence": [base64.b64encode(b"not named").decode()]},
        {"evidence": {}},
    ],
)
@pytest.mark.parametrize("evidence", ["required", "later"])
def test_an_event_that_is_not_one_is_refused_and_nothing_is_recorded(hub, change, evidence):
    size = hub.get("/health/ready").json["durable"]
    found = hub.post(body(**change), evidence=evidence, wait="durable")
    assert (found.status, found.json["type"]) == (400, "/problems/malformed"), found.body
    assert hub.get("/health/ready").json["durable"] == size


@pytest.mark.parametrize("data", [b"", b"null", b"{", b'{"a":1,"a":2}', b"\xff", b"[" * 100_000])
def test_bytes_that_are_no_event_are_refused(hub, data):
    assert hub.post(data).status in (400, 413)


def test_evidence_must_be_here_unless_it_comes_later(hub):
    missing = hub.post(body(with_manifest=False))
    assert (missing.status, missing.json["type"]) == (422, "/problems/evidence-missing")
    assert missing.json["missing"] == [DIGEST]
    assert hub.post(body(with_manifest=False), evidence="later").status == 201
    headers = {"authorization": f"Bearer {hub.token}", "content-type": "application/octet-stream"}
    wrong = hub.ask("PUT", f"/v1/evidence/{DIGEST}", body=b"other", headers=headers)
    assert (wrong.status, wrong.json["type"]) == (400, "/problems/malformed")
    stored = hub.ask("PUT", f"/v1/evidence/{DIGEST}", body=MANIFEST, headers=headers)
    assert (stored.status, stored.json["size"]) == (201, 2)
    assert hub.post(body("u-2", with_manifest=False)).status == 201


def test_what_is_recorded_over_http_passes_the_audit(tmp_path):
    folder = tmp_path / "new"
    init(folder, origin="log.example/models", hub="hub.example", now=lambda: AT)
    with running(folder) as hub:
        for number in range(3):
            assert hub.post(body(f"u-{number}", revision=f"r{number}")).status == 201
    # It raises where anything does not hold: signatures, chains, evidence, the index.
    with NamedEvidence() as evidence:
        report = audit_ledger(folder, progress=lambda *_: None, workers=1, evidence=evidence)
    assert report["size"] == 4


def test_each_line_of_a_batch_has_its_own_answer_in_its_place(hub):
    found = hub.batch(lines(body("u-1"), {}, body("u-2"), body("u-1", revision="r2"), body("u-1")))
    assert found.headers["content-type"] == "application/x-ndjson"
    first, refused, second, conflict, repeated = map(json.loads, found.body.splitlines())
    assert second["leafIndex"] == first["leafIndex"] + 1
    assert (refused["type"], conflict["type"]) == ("/problems/malformed", "/problems/conflict")
    assert repeated["leafIndex"] == first["leafIndex"]
    assert hub.batch(b"").body == b""
    assert hub.batch(lines(*[{}] * 1001)).status == 413


def test_a_private_model_is_skipped_unless_the_operator_says_otherwise(hub):
    found = hub.post(body(private=True))
    assert (found.status, found.json) == (200, {"eventId": "u-1", "skipped": True})
    assert hub.get("/v1/history", model="acme/new").status == 404


def test_identities_are_committed_where_the_settings_say_so(ledger):
    settings = ledger / "hubledger.toml"
    settings.write_text(
        settings.read_text().replace('identity_mode = "clear"', 'identity_mode = "committed"')
    )
    bundle = b"a bundle"
    signed = {
        "bundleSha256": hashlib.sha256(bundle).hexdigest(),
        "outcome": "VERIFIED",
        "accountLink": "unknown",
        "method": "key",
        "signer": {"kind": "key", "spkiSha256": "ab" * 32},
    }
    event = body(signatures=[signed], outcome="VERIFIED")
    event["evidence"].append(base64.b64encode(bundle).decode())
    with running(ledger) as hub:
        found = hub.post(event)
        assert found.status == 201, found.body
        statement = base64.b64decode(found.json["entry"]["payload"])
        assert b"ab" * 32 not in statement
        assert "commitment" in json.loads(statement)["predicate"]["signatures"][0]["signer"]
        assert hub.post(event).json["repeated"]
        later = hub.post(body("u-2", signatures=[signed], outcome="VERIFIED"), evidence="later")
        assert b"ab" * 32 not in base64.b64decode(later.json["entry"]["payload"])
        assert hub.get(f"/v1/evidence/{signed['bundleSha256']}").status in (403, 404)


def test_a_witness_that_there_is_not_is_not_waited_for(hub):
    found = hub.post(body(), wait="witnessed")
    assert (found.status, found.json["type"]) == (422, "/problems/not-implemented")


# Who may


def test_nobody_writes_without_a_token_that_counts(hub, ledger):
    tokens = TokenFile(ledger)
    policy = tokens.create(scopes=("policy",), label="", now=AT)
    half = hub.token[:-1] + ("0" if hub.token[-1] != "0" else "1")
    for header in (
        None,
        "",
        "Bearer",
        f"Bearer {half}",
        f"bearer {hub.token}",
        hub.token,
        "Bearer hl_x_y",
        f"Basic {hub.token}",
    ):
        headers = {"content-type": "application/json"} | ({} if header is None else {"authorization": header})
        found = hub.ask("POST", "/v1/events", body=body(), headers=headers)
        assert (found.status, found.json["type"]) == (401, "/problems/unauthorized"), header
        assert found.headers["www-authenticate"]
    assert hub.post(body(), token=policy).status == 403
    assert hub.post(body()).status == 201
    tokens.revoke(hub.token.split("_")[1], now=AT)
    assert hub.post(body()).status == 401


def test_a_token_is_kept_as_a_hash_that_only_its_owner_reads(ledger):
    token = TokenFile(ledger).create(scopes=("record",), label="a hub", now=AT)
    secret = token.rpartition("_")[2]
    data = (ledger / "tokens.json").read_text()
    assert secret not in data
    assert hashlib.sha256(secret.encode()).hexdigest() in data
    assert (ledger / "tokens.json").stat().st_mode & 0o777 == 0o600


def test_tokens_over_the_commands(hubledger, ledger):
    code, out, _ = hubledger("token", "create", ledger, "--scope", "record", "--label", "the hub")
    assert code == 0
    token_id = out.strip().split("_")[1]
    assert "the hub" in hubledger("token", "list", ledger)[1]
    assert out.strip().rpartition("_")[2] not in hubledger("token", "list", ledger, "--json")[1]
    assert hubledger("token", "revoke", ledger, token_id)[0] == 0
    assert json.loads(hubledger("token", "list", ledger, "--json")[1])["tokens"][0]["revoked"]
    assert hubledger("token", "revoke", ledger, "nobody")[0] == 34


# Limits and faults


def test_a_queue_without_room_refuses_at_once(ledger):
    with running(ledger, room=2) as hub:
        found = hub.batch(lines(body("u-1"), body("u-2"), body("u-3")))
        assert (found.status, found.json["type"]) == (503, "/problems/unavailable")
        assert found.headers["retry-after"] == "1"
        assert hub.post(body()).status == 201


def test_a_pool_without_room_refuses_at_once(ledger):
    with running(ledger, limits=Limits(threads=1, waiting=0)) as hub:
        entered, leave = threading.Event(), threading.Event()
        original = hub.app._handlers["live"]

        def held(request):
            entered.set()
            leave.wait(10)
            return original(request)

        hub.app._handlers["live"] = held

        async def both():
            first = asyncio.create_task(hub.app.answer(_get("/health/live")))
            await asyncio.to_thread(entered.wait, 10)
            second = await hub.app.answer(_get("/health/live"))
            leave.set()
            return second, await first

        second, first = asyncio.run(both())
        assert (first.status, second.status) == (200, 503)


def _get(path):
    from ledger.server.messages import Request

    return Request(method="GET", path=path, query="", headers={}, body=pieces())


async def never(*first):
    for each in first:
        yield each
    await asyncio.Event().wait()


def test_a_slow_body_holds_nobody_but_itself(ledger):
    with running(ledger, limits=Limits(body_seconds=0.2)) as hub:
        found = hub.post(never(b'{"eventId"'))
        assert (found.status, found.json["type"]) == (408, "/problems/timeout")
        headers = {"authorization": f"Bearer {hub.token}", "content-type": "application/octet-stream"}
        slow = hub.ask("PUT", f"/v1/evidence/{DIGEST}", body=never(b"["), headers=headers)
        assert (slow.status, slow.json["type"]) == (408, "/problems/timeout")


def test_a_body_whose_size_was_announced_is_waited_for_at_once_and_no_longer(ledger):
    data = json.dumps(body()).encode()

    async def all_of_it():
        return data

    with running(ledger, limits=Limits(body_seconds=0.2)) as hub:
        headers = {"authorization": f"Bearer {hub.token}", "content-length": str(len(data))}

        def ask(whole, **more):
            return hub.ask("POST", "/v1/events", headers=headers | more, whole=whole, wait="durable")

        assert ask(asyncio.Event().wait).json["type"] == "/problems/timeout"
        early = ask(all_of_it, **{"content-length": str(len(data) + 1)})
        assert early.json["detail"].startswith(f"body: expected {len(data) + 1} bytes, as announced")
        large = ask(all_of_it, **{"content-length": str(1 << 40)})
        assert (large.status, large.json["type"]) == (413, "/problems/too-large")
        assert ask(all_of_it).status == 201


class Faulty:
    """Opens the ledger, and makes its next commit fail once."""

    def __init__(self, folder):
        self.folder, self.fail = folder, threading.Event()

    @contextlib.contextmanager
    def __call__(self):
        with open_for_recording(self.folder) as ledger:
            store = ledger.log._commits
            commit = store.commit

            def failing(batch):
                if self.fail.is_set():
                    self.fail.clear()
                    raise WriteError(
                        "committing", expected="a durable write", actual="No space left on device"
                    )
                commit(batch)

            store.commit = failing
            yield ledger


def test_after_a_failed_write_it_goes_on_without_a_restart(ledger):
    opened = Faulty(ledger)
    with running(ledger, opened=opened) as hub:
        assert hub.post(body("u-1"), wait="durable").status == 201
        opened.fail.set()
        refused = hub.post(body("u-2"), wait="durable")
        assert (refused.status, refused.json["type"]) == (503, "/problems/unavailable")
        assert "No space" not in refused.body.decode()
        for _ in range(1000):
            again = hub.post(body("u-2"), wait="durable")
            if again.status != 503:
                break
            threading.Event().wait(0.01)
        assert again.status == 201
        assert hub.get("/health/ready").json["state"] == "ok"
    assert opened.fail.is_set() is False
