"""A ledger in Rekor: shards of strangers' entries and the hub's, statements from its evidence, in the order of their chains."""

import contextlib
import hashlib
import http.server
import json
import subprocess
import threading
from dataclasses import dataclass, field, replace

import httpx
import pytest

from ledger.bundle.bodies import SignedPayload
from ledger.client.trust_writing import format_trust
from ledger.client.trusted_keys import TrustedLog
from ledger.entry import pae, parse_entry
from ledger.identity import signer_digest
from ledger.log.fetch import fetch_from_url
from ledger.storage.directory import DirectoryObjects
from ledger.storage.evidence import Evidence
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.tiles import objects_for_growth
from ledger.tlog.trust_policy import TrustPolicy
from monitor import past_entries, runs
from monitor.config import load_config
from monitor.daemon import init, open_monitor
from monitor.rekor import MISSING_SECONDS, WAITING_SECONDS
from monitor.state import State
from monitor.statements import FetchedStatements
from tests.fakes.rekor import FakeTree, body_of, signed_payload
from tests.monitor.hub import Hub
from tests.world import NOW, key_signer, p256_key, signed_by, spki_of

SINK = 'severity = "info"\n'
A, B = signed_by(key_signer("a")), signed_by(key_signer("b"))


@dataclass
class Scene:
    """A hub, the shards that it logs to, and a folder with its evidence."""

    folder: object
    shards: list = field(default_factory=lambda: [FakeTree("one.example", key="one")])
    hub: Hub = field(default_factory=Hub)
    time: int = NOW
    evidence: str = "evidence"
    rules: str = ""

    def log(self, at, *, shard=-1, stored=True, key="hub"):
        """Log a recorded entry, and store its statement beside it."""
        entry = self.hub.world.entries[at]
        signed = SignedPayload.of_entry(json.loads(entry), spki_of(p256_key(key)))
        if stored:
            self.store(at)
        return self.shards[shard].append(body_of(signed))

    def store(self, at):
        Evidence(DirectoryObjects(self.folder / "evidence")).put(
            [parse_entry(self.hub.world.entries[at]).payload]
        )

    def strangers(self, count):
        for at in range(count):
            self.shards[-1].append(body_of(signed_payload(f"stranger {len(self.shards[-1].entries)} {at}")))

    def publish(self):
        for order, tree in enumerate(self.shards):
            folder = self.folder / f"shard-{order}"
            paths = [part.path for part in objects_for_growth(0, len(tree.entries))]
            for path in (*paths, "checkpoint"):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(tree.object(path))

    @property
    def trust(self):
        shards = tuple(TrustedLog(origin=each.origin, keys=(each.signer.verifier,)) for each in self.shards)
        return self.hub.world.trust(origin="", policy=TrustPolicy(logs=(), witnesses=()), shards=shards)

    @property
    def config(self):
        (self.folder / "trust.toml").write_bytes(format_trust(self.trust))
        shards = json.dumps([f"shard-{order}" for order in range(len(self.shards))])
        (self.folder / "monitor.toml").write_text(
            f'[[log]]\nname = "models"\nkind = "rekor-v2"\nshards = {shards}\nevidence = "{self.evidence}"\ntrust = "trust.toml"\n'
            f'[[sink]]\nname = "pager"\nhooks = "hooks.d"\n{self.rules or SINK}'
        )
        return load_config(self.folder / "monitor.toml")

    def look(self):
        """Publish, look once, and return the findings so far, oldest first."""
        self.publish()
        init(self.config, pinned={"models": None}, now=self.time)
        with open_monitor(self.config, clock=lambda: self.time) as monitor:
            (look,) = monitor.look()
            self.owed = [each.finding.number for each in monitor.state.outbox.due("pager", now=self.time)]
            found = [each.facts for each in reversed(monitor.state.record.findings())]
        assert len(self.owed) == len(found) or self.rules
        self.found = found
        self.last = look
        return [(each["kind"], each["leafIndex"]) for each in found if "leafIndex" in each]


@pytest.fixture
def scene(tmp_path):
    (tmp_path / "evidence").mkdir()
    return Scene(tmp_path)


def test_the_hubs_entries_are_found_among_those_of_strangers(scene):
    scene.strangers(300)
    scene.hub.record(A)
    scene.log(0)
    scene.strangers(20)
    scene.hub.record(B, revision="2")
    scene.log(1)
    assert scene.look() == [("first-signer", 300), ("signer-changed", 321)]
    assert (scene.last.problem, scene.last.size) == ("", 322)


def test_a_shard_is_read_without_processes_that_check_entries_of_ours(scene, monkeypatch):
    """What is in a shard is in no form that they know: they would look at all of it for nothing."""
    monkeypatch.setattr(runs, "FROM", 1)
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *arguments, **_: started.append(arguments))
    scene.hub.record(A)
    scene.log(0)
    assert scene.look() == [("first-signer", 0)]
    assert (started, scene.last.problem) == ([], "")


def test_what_was_found_is_found_once_though_the_log_grows(scene):
    scene.hub.record(A)
    scene.log(0)
    before = scene.look()
    scene.strangers(3)
    scene.hub.record(A, revision="2")
    scene.log(1)
    assert scene.look() == before == [("first-signer", 0)]


def test_what_an_entry_is_held_against_is_remembered_from_one_look_to_the_next(scene):
    """The content of its revision, and the namespaces that its signer signed for."""
    scene.hub.record(A)
    scene.log(0)
    assert scene.look() == [("first-signer", 0)]
    scene.hub.record(A, files="others")
    scene.log(1)
    assert scene.look()[1:] == [("revision-changed", 1)]
    scene.hub.record(A, name="other/x")
    scene.log(2)
    assert sorted(scene.look()[2:]) == [("first-signer", 2), ("signer-shared", 2)]


def test_statements_are_looked_at_in_the_order_of_their_chains(scene):
    for at, signer in enumerate((A, A, B, B)):
        scene.hub.record(signer, revision=str(at))
    for at in (3, 1, 0, 2):
        scene.log(at)
    assert scene.look() == [("first-signer", 2), ("signer-changed", 3)]


def test_one_that_comes_too_early_waits_for_the_one_before_it(scene):
    for at, signer in enumerate((A, A, B)):
        scene.hub.record(signer, revision=str(at))
    scene.log(0)
    scene.log(2)
    assert scene.look() == [("first-signer", 0)]
    scene.log(1)
    assert scene.look() == [("first-signer", 0), ("signer-changed", 1)]


def test_one_that_waits_too_long_is_a_gap(scene):
    for at in range(4):
        scene.hub.record(A, revision=str(at))
    for at in (0, 2, 3):
        scene.log(at)
    assert scene.look() == [("first-signer", 0)]
    scene.time += WAITING_SECONDS
    assert scene.look() == [("first-signer", 0), ("chain-broken", 1)]


def test_two_that_claim_one_place_are_a_fork(scene):
    scene.hub.record(A)
    fork = dict(scene.hub.heads)
    scene.hub.record(A, revision="2")
    scene.hub.heads = fork
    scene.hub.record(A, revision="3")
    for at in range(3):
        scene.log(at)
    assert scene.look() == [("first-signer", 0), ("chain-broken", 2)]


def test_a_statement_that_is_missing_is_told_once_and_looked_at_when_it_comes(scene):
    scene.hub.record(A)
    scene.hub.record(B, revision="2")
    scene.log(0)
    scene.log(1, stored=False)
    assert scene.look() == [("first-signer", 0)]
    scene.time += MISSING_SECONDS
    missing = scene.look()
    assert missing == [("first-signer", 0), ("statement-missing", 1)]
    assert scene.look() == missing
    scene.store(1)
    assert scene.look() == [*missing, ("signer-changed", 1)]


def test_several_places_of_one_statement_are_one_event(scene):
    scene.hub.record(A)
    scene.log(0)
    scene.log(0)
    scene.look()
    scene.log(0)
    scene.hub.record(A, revision="2")
    scene.log(1)
    assert scene.look() == [("first-signer", 0)]


def test_the_next_shard_goes_on_where_the_old_one_ended(scene):
    for at, signer in enumerate((A, B, A)):
        scene.hub.record(signer, revision=str(at))
    scene.log(0)
    scene.look()
    scene.shards.append(FakeTree("two.example", key="two"))
    scene.log(1)
    scene.log(2, shard=0)  # what was under way when the shards changed
    assert scene.look() == [("first-signer", 0), ("signer-changed", 0), ("signer-changed", 1)]
    assert scene.last.size == 3


def test_the_same_leaf_index_in_two_shards_is_two_places(scene):
    """Findings of one kind about one model at equal indices are told apart, or the second would be lost."""
    for at, signer in enumerate((A, B, A)):
        scene.hub.record(signer, revision=str(at))
    scene.strangers(1)
    scene.log(0)
    scene.log(1)
    scene.shards.append(FakeTree("two.example", key="two"))
    scene.strangers(2)
    scene.log(2)
    assert scene.look() == [("first-signer", 1), ("signer-changed", 2), ("signer-changed", 2)]


def test_an_entry_by_another_key_is_a_strangers(scene):
    scene.hub.record(A, key="thief")
    scene.log(0, key="thief")
    assert scene.look() == []


def test_a_statement_that_cannot_be_read_is_told(scene):
    from tests.world import sign_statement

    scene.hub.world.append(sign_statement(b'{"a":1}'))
    scene.log(0)
    assert scene.look() == [("malformed-entry", 0)]


def test_a_shard_that_cannot_be_read_hides_nothing_of_the_others(scene):
    scene.hub.record(A)
    scene.log(0)
    scene.shards.append(FakeTree("two.example", key="two"))
    scene.look()
    (scene.folder / "shard-1" / "checkpoint").unlink()
    scene.hub.record(B, revision="2")
    scene.log(1, shard=0)
    scene.publish = lambda: None
    tree = scene.shards[0]
    for part in objects_for_growth(0, len(tree.entries)):
        path = scene.folder / "shard-0" / part.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tree.object(part.path))
    (scene.folder / "shard-0" / "checkpoint").write_bytes(tree.checkpoint())
    assert scene.look() == [("first-signer", 0), ("signer-changed", 1)]
    assert "models.1" in scene.last.problem


def test_a_shard_that_signed_two_histories_is_convicted(scene):
    scene.strangers(3)
    scene.look()
    scene.shards[0] = FakeTree("one.example", key="one")
    for at in range(3):
        scene.shards[0].append(body_of(signed_payload(f"other {at}")))
    scene.look()
    assert "contradicts itself" in scene.last.problem
    assert [path.name.rsplit("-", 1)[0] for path in (scene.folder / "state" / "evidence").iterdir()] == [
        "models-3-3"
    ]


def test_bodies_that_are_others_than_were_signed_are_not_believed(scene):
    scene.hub.record(A)
    scene.log(0)
    scene.publish()
    path = scene.folder / "shard-0" / "tile/entries/000.p/1"
    scene.hub.record(B, revision="2")
    body = body_of(SignedPayload.of_entry(json.loads(scene.hub.world.entries[1]), spki_of(p256_key("hub"))))
    path.write_bytes(len(body).to_bytes(2, "big") + body)
    scene.store(1)
    scene.publish = lambda: None
    assert scene.look() == []
    assert leaf_hash(body).hex() in scene.last.problem or "signed" in scene.last.problem


def test_evidence_that_is_another_statement_under_a_wrong_name_is_not_believed(scene):
    scene.hub.record(A)
    scene.hub.record(B, revision="2")
    scene.log(0)
    scene.log(1)
    (found,) = [
        path
        for path in (scene.folder / "evidence").rglob("*")
        if path.is_file() and path.read_bytes() == parse_entry(scene.hub.world.entries[1]).payload
    ]
    honest = found.read_bytes()
    found.write_bytes(parse_entry(scene.hub.world.entries[0]).payload)
    assert scene.look() == [("first-signer", 0)]
    found.write_bytes(honest)
    assert scene.look() == [("first-signer", 0), ("signer-changed", 1)]


def test_what_the_settings_and_the_trust_file_say_must_be_the_same_kind(scene, tmp_path):
    from ledger.errors import ConfigError

    scene.publish()
    config = scene.config
    (tmp_path / "trust.toml").write_bytes(format_trust(scene.hub.world.trust()))
    with pytest.raises(ConfigError, match="kind of log models"):
        init(config, pinned={"models": None}, now=NOW)
    assert replace(config.log[0], shards=("a",)).is_rekor


def mine(signer):
    """A rule about whoever signs as this one, and nothing else that was found."""
    who = signer_digest(signer.signer).hex()
    return (
        f'[[watch]]\nname = "mine"\nsinks = ["pager"]\nkinds = ["signed-by-watched"]\nsigners = ["{who}"]\n'
    )


def watched(scene):
    """Where somebody watched has signed, by shard and index, and what of the past was told."""
    return [
        (each["facts"].get("shard", 0), each["leafIndex"], each["facts"].get("past", False))
        for each in scene.found
        if each["kind"] == "signed-by-watched"
    ], [each["facts"]["count"] for each in scene.found if each["kind"] == "watch-replayed"]


def test_a_new_rule_about_a_signer_finds_what_was_signed_before_in_every_shard(scene):
    for at, signer in enumerate((A, B, A)):
        scene.hub.record(signer, revision=str(at))
    scene.log(0)
    scene.log(1)
    scene.shards.append(FakeTree("two.example", key="two"))
    scene.strangers(2)
    scene.log(2)
    scene.look()
    scene.rules = mine(A)
    scene.look()
    assert watched(scene) == ([(0, 0, True), (1, 2, True)], [2])
    assert len(scene.owed) == 3 + 1, "all of the past is told at once"
    scene.hub.record(A, revision="4")
    scene.log(3)
    scene.look()
    assert watched(scene) == ([(0, 0, True), (1, 2, True), (1, 3, False)], [2])


def test_a_past_of_more_than_one_run_is_read_whole_and_goes_on_where_it_stopped(scene, monkeypatch):
    monkeypatch.setattr(past_entries, "RUN_STATEMENTS", 2)
    for at in range(5):
        scene.hub.record(A, revision=str(at))
        scene.log(at)
    scene.look()
    scene.rules = mine(A)
    real, runs = State.past_run, []

    def stopping(self, findings, **words):
        if len(runs) == 2:
            raise KeyboardInterrupt
        runs.append(words["to"])
        return real(self, findings, **words)

    monkeypatch.setattr(State, "past_run", stopping)
    with pytest.raises(KeyboardInterrupt):
        scene.look()
    monkeypatch.setattr(State, "past_run", real)
    scene.look()
    assert runs == [2, 4]
    assert watched(scene) == ([(0, at, True) for at in range(5)], [5])


def test_a_statement_of_the_past_that_is_not_there_any_more_is_missing_and_the_others_are_read(scene):
    for at in range(3):
        scene.hub.record(A, revision=str(at))
        scene.log(at)
    scene.look()
    payload = parse_entry(scene.hub.world.entries[1]).payload
    for path in (scene.folder / "evidence").rglob("*"):
        if path.is_file() and path.read_bytes() == payload:
            path.unlink()
    scene.rules = mine(A)
    scene.look()
    assert watched(scene) == ([(0, 0, True), (0, 2, True)], [2])
    assert [each["leafIndex"] for each in scene.found if each["kind"] == "statement-missing"] == [1]


def test_a_rule_waits_for_a_past_that_cannot_be_read_now(scene):
    scene.hub.record(A)
    scene.log(0)
    scene.look()
    scene.rules = mine(A)
    scene.folder.joinpath("evidence").rename(scene.folder / "away")
    scene.look()
    assert watched(scene) == ([], [])
    assert "evidence" in scene.last.problem
    scene.folder.joinpath("away").rename(scene.folder / "evidence")
    scene.look()
    assert watched(scene) == ([(0, 0, True)], [1])


@contextlib.contextmanager
def serving(scene, *, ledger=None, status=None, bend=lambda data: data):
    """The hub's service on loopback: statements of what is stored, by the digest that Rekor has."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            asked.append(self.path)
            data = answer(self.path)
            self.send_response(status or (404 if data is None else 200))
            self.end_headers()
            self.wfile.write(data or b"")

    def answer(path):
        if path == "/v1/log":
            return json.dumps({"ledger": ledger or scene.trust.ledger}).encode()
        for entry in scene.hub.world.entries:
            payload = parse_entry(entry).payload
            stored = scene.folder / "evidence" / hashlib.sha256(payload).hexdigest()[:2]
            if path == f"/v1/statements/{hashlib.sha256(pae(payload)).hexdigest()}" and stored.exists():
                return bend(entry)
        return None

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        scene.evidence = f"http://127.0.0.1:{server.server_port}"
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join()


def test_statements_come_from_the_hubs_service_as_from_a_folder(scene):
    scene.strangers(3)
    scene.hub.record(A)
    scene.log(0)
    scene.hub.record(B, revision="2")
    scene.log(1)
    with serving(scene) as asked:
        assert scene.look() == [("first-signer", 3), ("signer-changed", 4)]
        assert scene.last.problem == ""
        count = len(asked)
        scene.look()
        assert len(asked) == count, "what is done is not asked for again"


def test_what_the_service_does_not_have_is_missing_after_an_hour(scene):
    scene.hub.record(A)
    scene.log(0, stored=False)
    with serving(scene) as asked:
        assert scene.look() == []
        assert "/v1/log" in asked
        scene.time += MISSING_SECONDS
        assert scene.look() == [("statement-missing", 0)]
        scene.store(0)
        assert scene.look() == [("statement-missing", 0), ("first-signer", 0)]


@pytest.mark.parametrize(
    "bend",
    [
        lambda data: data.replace(b'"payload":"ey', b'"payload":"fy', 1),
        lambda _data: b"<html>",
        lambda data: data + b" " * 60_000,
        lambda _data: b"",
    ],
)
def test_what_has_not_the_signed_digest_is_no_statement(scene, bend):
    scene.hub.record(A)
    scene.log(0)
    with serving(scene, bend=bend):
        scene.look()
        scene.time += MISSING_SECONDS
        assert scene.look() == [("statement-missing", 0)]


@pytest.mark.parametrize("answers", [{"ledger": "log.example/other"}, {"status": 404}, {"status": 403}])
def test_a_service_that_cannot_be_asked_is_no_finding(scene, answers):
    scene.hub.record(A)
    scene.log(0, stored=False)
    with serving(scene, **answers):
        scene.look()
        scene.time += 2 * MISSING_SECONDS
        assert scene.look() == []
        assert scene.last.problem


def test_a_withdrawn_statement_is_missing():
    def answer(request):
        status = 410 if "statements" in request.url.path else 200
        return httpx.Response(status, stream=httpx.ByteStream(b'{"ledger":"l"}'))

    fetch = fetch_from_url("http://hub.example", transport=httpx.MockTransport(answer))
    assert FetchedStatements("models", fetch, ledger="l").find([bytes(32)]) == {}
