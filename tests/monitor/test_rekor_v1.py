"""A ledger in Rekor v1, followed by the receipts that its hub shows: proven, held to the log's trees, and looked at."""

import hashlib
import http.server
import json
from dataclasses import dataclass, field

import pytest

from cli.main import run
from ledger.bundle.bodies import SignedPayload, dsse_v1
from ledger.bundle.export import format_sigstore_bundle
from ledger.client.evidence import verify_evidence
from ledger.client.trust_writing import format_trust
from ledger.client.trusted_keys import TrustedLog
from ledger.encoding import parse_json
from ledger.entry import pae, parse_entry
from ledger.errors import ConfigError
from ledger.log.rekor_v1_answers import parse_entries, prove_answer
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.trust_policy import TrustPolicy
from monitor import rekor_v1
from monitor.config import load_config
from monitor.daemon import init, open_monitor
from monitor.health import assess
from monitor.rekor import MISSING_SECONDS, WAITING_SECONDS
from tests.fakes.rekor_v1 import NAME, FakeRekorV1, FakeV1Tree
from tests.fakes.web import answering
from tests.monitor.hub import Hub
from tests.monitor.test_rekor import SINK, mine
from tests.world import NOW, key_signer, p256_key, signed_by, spki_of

A, B = signed_by(key_signer("a")), signed_by(key_signer("b"))


@dataclass
class Scene:
    """A hub, the Rekor v1 that it logs to, and the service that shows its receipts."""

    folder: object
    rekor: FakeRekorV1
    hub: Hub = field(default_factory=Hub)
    receipts: dict = field(default_factory=dict)
    listed: int | None = None
    ledger: str | None = None
    kept: bool = True
    time: int = NOW
    asked: list = field(default_factory=list)
    url: str = ""
    rules: str = ""

    def strangers(self, count):
        for _ in range(count):
            self.rekor.tree.append(
                b'{"apiVersion":"0.0.1","kind":"other","spec":%d}' % len(self.rekor.tree.entries)
            )

    def log(self, at, *, number=None, key="hub", tree=None):
        """Log a recorded entry in the active tree, and show its receipt as of now."""
        tree = tree or self.rekor.tree
        entry, spki = self.hub.world.entries[at], spki_of(p256_key(key))
        signed = SignedPayload.of_entry(json.loads(entry), spki)
        body = dsse_v1(
            signed.payload,
            signed.signature,
            signed.verifier,
            envelope_sha256=hashlib.sha256(entry).hexdigest(),
        )
        leaf = tree.append(body)
        self.receipts[at if number is None else number] = self.receipt(at, leaf, key=key, tree=tree)
        return leaf

    def receipt(self, at, leaf, *, key="hub", tree=None, size=None):
        tree = tree or self.rekor.tree
        (answered,) = parse_entries(tree.answered(leaf, self.rekor.first_of(tree), size), what="entry")
        shard = self.rekor.shard(origin=NAME, log_id=tree.log_id, spki=tree.spki)
        _, stored = prove_answer(answered, shard, tree_keys(tree))
        return format_sigstore_bundle(
            self.hub.world.entries[at], spki=spki_of(p256_key(key)), log_entries=[stored]
        )

    def answer(self, path):
        self.asked.append(path)
        entries = self.hub.world.entries
        if path == "/v1/log":
            size = len(entries) if self.listed is None else self.listed
            return json.dumps({"ledger": self.ledger or self.trust.ledger, "size": size}).encode()
        if path.startswith("/v1/entries/"):
            return self.receipts.get(int(path.split("/")[3]))
        for entry in entries if self.kept else ():
            if path == f"/v1/statements/{hashlib.sha256(pae(parse_entry(entry).payload)).hexdigest()}":
                return entry
        return None

    @property
    def trust(self):
        shard = TrustedLog(origin=NAME, keys=(self.rekor.trees[0].signer.verifier,))
        return self.hub.world.trust(origin="", policy=TrustPolicy(logs=(), witnesses=()), shards=(shard,))

    def configure(self):
        (self.folder / "trust.toml").write_bytes(format_trust(self.trust))
        path = self.folder / "monitor.toml"
        path.write_text(
            f'[[log]]\nname = "models"\nkind = "rekor-v1"\nshards = ["{self.rekor.url}"]\nevidence = "{self.url}"\n'
            f'trust = "trust.toml"\n[[sink]]\nname = "pager"\nhooks = "hooks.d"\n{self.rules or SINK}'
        )
        return load_config(path)

    def look(self):
        """Look once, and return the findings so far, oldest first."""
        config = self.configure()
        init(config, pinned={"models": None}, now=self.time)
        with open_monitor(config, clock=lambda: self.time) as monitor:
            (self.last,) = monitor.look()
            owed = [each.finding.number for each in monitor.state.outbox.due("pager", now=self.time)]
            self.found = [each.facts for each in reversed(monitor.state.record.findings())]
            self.health = assess(config, monitor.state, now=self.time)
            self.proven = monitor.state.receipts.proven("models")
        assert len(owed) == len(self.found) or self.rules
        return [
            (each["kind"], each.get("leafIndex", each.get("facts", {}).get("number"))) for each in self.found
        ]


def tree_keys(tree):
    return FakeRekorV1(trees=[tree]).keys


class Quiet(http.server.BaseHTTPRequestHandler):
    """The hub's service of a scene."""

    scene = None

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        data = self.scene.answer(self.path)
        self.send_response(404 if data is None else 200)
        self.end_headers()
        self.wfile.write(data or b"")


@pytest.fixture
def scene(tmp_path):
    made = Scene(tmp_path, FakeRekorV1())

    with made.rekor.serve(), answering(type("Handler", (Quiet,), {"scene": made})) as made.url:
        yield made


def test_the_hubs_receipts_are_proven_and_looked_at(scene):
    scene.strangers(5)
    scene.hub.record(A)
    scene.log(0)
    scene.strangers(3)
    scene.hub.record(B, revision="2")
    scene.log(1)
    assert scene.look() == [("first-signer", 5), ("signer-changed", 9)]
    assert (scene.last.problem, scene.last.size, scene.last.target) == ("", 2, 2)
    (log,) = scene.health.logs
    assert (log.verified, log.seen, log.lag, log.origin) == (2, 2, 0, NAME)


def test_what_was_proven_is_neither_asked_for_nor_told_again(scene):
    scene.hub.record(A)
    scene.log(0)
    before = scene.look()
    scene.asked.clear()
    scene.hub.record(A, revision="2")
    scene.log(1)
    assert scene.look() == before
    assert [path for path in scene.asked if "entries" in path] == ["/v1/entries/1/bundle"]


def test_every_checkpoint_of_a_receipt_is_held_to_the_newest_one(scene):
    for at in range(4):
        scene.hub.record(A, revision=str(at))
        scene.log(at)
        scene.strangers(2)
    scene.look()
    proofs = [path.partition("?")[2] for _, path in scene.rekor.requests if "/proof?" in path]
    tree = scene.rekor.tree.tree_id
    assert proofs == [f"firstSize={size}&lastSize=12&treeID={tree}" for size in (1, 4, 7, 10)]
    scene.look()
    assert len([path for _, path in scene.rekor.requests if "/proof?" in path]) == 4


def test_a_receipt_that_does_not_come_is_missing_after_a_day_and_looked_at_when_it_comes(scene):
    scene.hub.record(A)
    scene.hub.record(B, revision="2")
    scene.log(0)
    assert scene.look() == [("first-signer", 0)]
    assert (scene.last.size, scene.last.target, scene.last.problem) == (1, 2, "")
    scene.time += WAITING_SECONDS
    missing = scene.look()
    assert missing == [("first-signer", 0), ("receipt-missing", 1)]
    assert scene.look() == missing
    scene.log(1)
    assert scene.look() == [*missing, ("signer-changed", 1)]
    assert scene.last.size == 2


def test_a_statement_that_waits_is_asked_for_and_is_missing_where_the_hub_does_not_show_it(scene):
    for at in range(3):
        scene.hub.record(A, revision=str(at))
    scene.log(0)
    scene.log(2)
    scene.kept = False
    scene.look()
    scene.time += MISSING_SECONDS
    assert scene.look() == [("first-signer", 0), ("statement-missing", 1)]
    scene.kept = True
    scene.log(1)
    assert scene.look() == [("first-signer", 0), ("statement-missing", 1)]
    assert scene.proven == 3


def test_an_entry_that_the_hub_leaves_out_is_a_gap_once_a_later_one_names_it(scene):
    for at in range(3):
        scene.hub.record(A, revision=str(at))
    scene.log(0)
    scene.log(1, number=9)  # logged, and not listed
    scene.log(2, number=1)
    scene.listed = 2
    assert scene.look() == [("first-signer", 0)]
    scene.time += WAITING_SECONDS
    assert scene.look() == [("first-signer", 0), ("chain-broken", 2)]


def test_a_receipt_in_the_place_of_another_is_refused(scene):
    scene.hub.record(A)
    scene.hub.record(B, revision="2")
    scene.log(0)
    scene.receipts[1] = scene.receipts[0]
    assert scene.look() == [("receipt-refused", 1), ("first-signer", 0)]
    assert scene.last.size == 1


def _field(name, change):
    def bend(value):
        entry = value["verificationMaterial"]["tlogEntries"][0]
        holder = entry["inclusionProof"] if name in entry["inclusionProof"] else entry
        holder[name] = change(holder[name])
        return value

    return bend


def _without_promise(value):
    del value["verificationMaterial"]["tlogEntries"][0]["inclusionPromise"]
    return value


LIES = {
    "another index": _field("logIndex", lambda text: str(int(text) + 1)),
    "another time": _field("integratedTime", lambda text: str(int(text) + 1)),
    "another body": _field("canonicalizedBody", lambda text: text[:-8] + "AAAA" + text[-4:]),
    "another path": _field("hashes", lambda hashes: hashes[1:]),
    "a checkpoint without a signature": _field(
        "checkpoint", lambda value: {"envelope": value["envelope"].partition("\n\n")[0]}
    ),
    "no promise": _without_promise,
}


@pytest.mark.parametrize("lie", LIES)
def test_a_receipt_that_does_not_hold_is_refused_and_hides_no_other(scene, lie):
    scene.strangers(3)
    for at in range(2):
        scene.hub.record(A, revision=str(at))
        scene.log(at)
    honest = scene.receipts[1]
    scene.receipts[1] = json.dumps(LIES[lie](json.loads(honest))).encode()
    assert scene.look() == [("receipt-refused", 1), ("first-signer", 3)]
    assert (scene.last.size, scene.last.problem) == (1, "")
    scene.receipts[1] = honest
    scene.look()
    assert scene.last.size == 2


@pytest.mark.parametrize("data", [b"", b"<html>", b"{}", b"[" * 5000, b"\xff\xfe", b" " * 5_000_000])
def test_what_is_no_receipt_is_refused(scene, data):
    scene.hub.record(A)
    scene.log(0)
    scene.receipts[0] = data
    assert scene.look() == [("receipt-refused", 0)]


def test_a_receipt_by_a_key_that_is_none_of_the_hubs_is_refused(scene):
    scene.hub.record(A, key="thief")
    scene.log(0, key="thief")
    assert scene.look() == [("receipt-refused", 0)]


def test_a_receipt_from_a_log_that_the_trust_file_does_not_have_is_refused(scene):
    scene.hub.record(A)
    real, scene.rekor.trees = scene.rekor.trees, [FakeV1Tree(key="another log")]
    scene.log(0)
    scene.rekor.trees = real
    assert scene.look() == [("receipt-refused", 0)]


def test_a_receipt_from_a_history_that_the_log_does_not_show_convicts_it(scene):
    """A split view: the hub was given a tree of its own, signed by the log's key."""
    scene.strangers(3)
    scene.look()
    hidden = FakeV1Tree()
    for at in range(2):
        hidden.append(b'{"apiVersion":"0.0.1","kind":"other","spec":%d}' % (at + 90))
    scene.hub.record(A)
    real = scene.rekor.trees
    scene.rekor.trees = [hidden]
    scene.log(0, tree=hidden)
    scene.rekor.trees = real
    assert scene.look() == [("log-forked", None)]
    assert "contradicts itself" in scene.last.problem
    (path,) = (scene.folder / "state" / "evidence").iterdir()
    found = verify_evidence(path.read_bytes(), trust=scene.trust)
    assert (found.older.checkpoint.size, found.newer.checkpoint.size) == (3, 3)
    verify = ["verify", "--evidence", str(path), "--trust", str(scene.folder / "trust.toml")]
    assert run(verify) == 0, "a third person is convinced, offline"
    assert scene.proven == 0


@pytest.mark.parametrize("size", [3, 4, 1, 6])
def test_a_log_that_was_rewritten_is_convicted_by_its_own_proof(scene, size):
    """Also at a power of two, from which a consistency proof can show no other root than the old one."""
    scene.strangers(size)
    scene.look()
    rewritten = FakeV1Tree()
    for at in range(7):
        rewritten.append(b'{"apiVersion":"0.0.1","kind":"other","spec":%d}' % (at + 50))
    scene.rekor.trees = [rewritten]
    assert scene.look() == [("log-forked", None)]
    (path,) = (scene.folder / "state" / "evidence").iterdir()
    found = verify_evidence(path.read_bytes(), trust=scene.trust)
    assert (found.older.checkpoint.size, found.newer.checkpoint.size) == (size, 7)
    assert found.prefix is not None


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((200, b""), "log-unreachable"),
        ((200, b"<html>"), "log-unreachable"),
        ((200, b"{}"), "log-malformed"),
        ((200, b'{"treeID":"1","x":' + b'"' + b"x" * (8 << 20) + b'"}'), "log-malformed"),
        ((400, b'{"code":400,"message":"no"}'), "log-unreachable"),
        ((301, b"", {"location": "http://elsewhere.example"}), "log-unreachable"),
    ],
)
def test_a_log_that_answers_something_else_is_told_and_accused_of_nothing(scene, answer, kind):
    scene.hub.record(A)
    scene.log(0)
    scene.rekor.fail = lambda _method, _path: answer
    assert scene.look() == [(kind, None)]
    assert scene.last.problem
    scene.rekor.fail = None
    assert scene.look()[-1] == ("first-signer", 0)


@pytest.mark.parametrize("size", [3, 4])
def test_a_proof_that_shows_nothing_convicts_nobody(scene, size):
    scene.strangers(size)
    scene.look()
    scene.strangers(3)

    def bend(value):
        if "hashes" in value:
            value["hashes"][-1] = "00" * 32
        return value

    scene.rekor.bend = bend
    assert scene.look() == [("log-malformed", None)]
    assert not (scene.folder / "state" / "evidence").exists()
    scene.rekor.bend = None
    scene.look()
    assert scene.last.problem == ""


def test_a_log_that_shows_less_than_it_signed_is_stale(scene):
    scene.strangers(5)
    scene.look()
    older = FakeV1Tree()
    for entry in scene.rekor.tree.entries[:3]:
        older.append(entry)
    newer, scene.rekor.trees = scene.rekor.trees, [older]
    # A server that was put back has no proof to a size that it does not have: the newer one answers that.
    proof = FakeRekorV1(trees=newer)
    scene.rekor.fail = lambda method, path: proof.answer(method, path, b"") if "/proof?" in path else None
    assert scene.look() == [("log-stale", None)]
    scene.rekor.trees, scene.rekor.fail = newer, None
    scene.look()
    assert scene.last.problem == ""


def test_a_hub_that_lists_less_than_it_did_is_told(scene):
    for at in range(2):
        scene.hub.record(A, revision=str(at))
        scene.log(at)
    scene.look()
    scene.listed = 1
    assert scene.look() == [("first-signer", 0), ("log-stale", None)]
    assert "it listed 2 before" in scene.last.problem


def test_a_log_with_another_key_is_refused(scene):
    scene.strangers(1)
    trust = scene.trust
    scene.rekor.trees = [FakeV1Tree(key="another")]
    scene.rekor.tree.append(b'{"apiVersion":"0.0.1","kind":"other","spec":1}')
    Scene.trust, kept = property(lambda _: trust), Scene.__dict__["trust"]
    try:
        assert scene.look() == [("log-key-refused", None)]
    finally:
        Scene.trust = kept


def test_a_new_rule_about_a_signer_finds_what_was_signed_before(scene):
    for at, signer in enumerate((A, B, A)):
        scene.hub.record(signer, revision=str(at))
        scene.log(at)
    scene.look()
    scene.rules = mine(A)
    found = scene.look()
    assert [at for kind, at in found if kind == "signed-by-watched"] == [0, 2]
    assert [each["facts"]["count"] for each in scene.found if each["kind"] == "watch-replayed"] == [2]


def test_receipts_of_an_earlier_tree_are_held_to_that_tree(scene):
    scene.strangers(2)
    scene.hub.record(A)
    scene.log(0)
    scene.strangers(2)
    scene.rekor.trees.append(FakeV1Tree(8_000_000_000_000_000_008))
    scene.hub.record(B, revision="2")
    scene.log(1)
    assert scene.look() == [("first-signer", 2), ("signer-changed", 5)]
    proofs = [path for _, path in scene.rekor.requests if "/proof?" in path]
    assert [path.partition("?")[2] for path in proofs] == [
        f"firstSize=3&lastSize=5&treeID={scene.rekor.trees[0].tree_id}"
    ]


@pytest.mark.parametrize("ledger", ["log.example/other"])
def test_a_service_of_another_ledger_is_no_finding_about_the_hub(scene, ledger):
    scene.hub.record(A)
    scene.ledger = ledger
    scene.time += 2 * WAITING_SECONDS
    assert scene.look() == [("log-unreachable", None)]


def test_a_hub_that_lists_without_end_keeps_nobody(scene, monkeypatch):
    monkeypatch.setattr(rekor_v1, "MAX_MISSING", 300)
    scene.listed = 2**53 - 1
    assert scene.look() == [("log-unreachable", None)]
    assert len(scene.asked) < 1000


@pytest.mark.parametrize("size", [-1, 1.5, "7", None, 2**60])
def test_a_listing_without_a_size_cannot_be_followed(scene, size):
    scene.answer = lambda path: json.dumps({"ledger": scene.trust.ledger, "size": size}).encode()
    assert scene.look() == [("log-unreachable", None)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('shards = ["http', 'shards = ["folder/http'), "shards of log models"),
        (('evidence = "http', 'evidence = "folder/http'), "evidence of log models"),
        (("trust = ", "partial_wait = 3\ntrust = "), "neither compare nor partial_wait"),
        (
            ("trust = ", 'compare = ["http://a.example/checkpoint"]\ntrust = '),
            "neither compare nor partial_wait",
        ),
    ],
)
def test_settings_that_a_rekor_v1_does_not_have_are_refused(scene, change, says):
    scene.configure()
    path = scene.folder / "monitor.toml"
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(ConfigError, match=says):
        load_config(path)


def test_an_entry_is_what_rekor_has_of_it():
    """The digest by which the hub's service is asked is that of the DSSE encoding, as Rekor hashes it."""
    hub = Hub()
    hub.record(A)
    payload = parse_entry(hub.world.entries[0]).payload
    value = parse_json(payload, what="statement", max_bytes=1 << 20)
    assert value["_type"] == "https://in-toto.io/Statement/v1"
    receipt = rekor_v1.Receipt(number=0, payload=payload, keyid="", places=())
    kind = b"application/vnd.in-toto+json"
    encoded = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    assert receipt.digest == hashlib.sha256(encoded).digest() != leaf_hash(payload)
