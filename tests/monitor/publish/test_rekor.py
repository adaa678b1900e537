"""What is published of a ledger in Rekor v2: histories in the order of their chains, proofs, and a statement for each shard."""

import json
from dataclasses import replace

import pytest

from ledger.bundle.bodies import SignedPayload
from ledger.client.proof_extra import parse_extra
from ledger.client.result import LogResult
from ledger.client.stated_files import histories_of, parts_for, stated_beside
from ledger.client.trust import parse_trust
from ledger.client.trusted_keys import HubKey
from ledger.client.trusted_monitor import TrustedMonitor
from ledger.client.verify import check_proof
from ledger.client.vouching import Stated
from ledger.errors import NotFoundError, ProofError, UsageError
from ledger.log.receipts import twin
from ledger.monitor_statement import verify_monitor_statement
from ledger.open_findings import MAX_HISTORIES
from ledger.tlog.checkpoint import parse_checkpoint
from ledger.tlog.merkle import tree_root
from ledger.tlog.proof import parse_proof
from ledger.tlog.signed_note import parse_note
from monitor.config import load_config
from monitor.daemon import init, open_monitor
from monitor.publish import layout
from monitor.publish.linking import link_proof
from monitor.publish.packs import fetch_proof, open_published, open_shard
from monitor.publish.publishing import make_key, publish
from monitor.rekor import MISSING_SECONDS, WAITING_SECONDS
from tests.fakes.rekor import FakeTree, body_of
from tests.monitor.publish.scene import found_everywhere
from tests.monitor.test_rekor import A, B, Scene
from tests.world import NOW, p256_key, spki_of

PUBLISH = '[publish]\nfolder = "public"\nkey = "monitor.key"\n'


class Published(Scene):
    """A scene whose monitor publishes."""

    @property
    def config(self):
        super().config  # noqa: B018  # writes the settings
        path = self.folder / "monitor.toml"
        path.write_text(path.read_text() + PUBLISH)
        return load_config(path)

    @property
    def now(self):
        return self.time

    def step(self, *, look=True):
        self.publish()
        config = self.config
        init(config, pinned={"models": None}, now=self.time)
        with open_monitor(config, clock=lambda: self.time) as monitor:
            if look:
                monitor.look()
            return publish(config, monitor.state, now=self.time)

    def resolve_all(self):
        with open_monitor(self.config, clock=lambda: self.time) as monitor:
            numbers = [each.number for each in monitor.state.record.findings(states=("open",))]
            monitor.state.move(numbers, to="resolved", note="", now=self.time)

    def read(self, path):
        return (self.folder / "public" / path).read_bytes()

    def history(self, name="acme/model"):
        return json.loads(self.read(layout.of_model("models", name, "history.json")))

    def statement(self, path="models/statement"):
        return verify_monitor_statement(self.read(path), vkeys=[self.vkey])

    def statement_or_none(self):
        return self.statement() if (self.folder / "public" / "models" / "statement").exists() else None

    def proof(self, number):
        return fetch_proof(open_published(str(self.folder / "public" / "models")), number)[0]

    def client(self, **more):
        """The trust file as a client reads it."""
        return replace(parse_trust((self.folder / "trust.toml").read_bytes()), **more)

    def check(self, proof, **more):
        result = check_proof(proof, trust=self.client(), now=self.time, files=None, **more)
        assert result.log is LogResult.INCLUDED_ONLY, result.failure
        return result.event.model.revision


@pytest.fixture
def scene(tmp_path):
    (tmp_path / "evidence").mkdir()
    made = Published(tmp_path)
    made.vkey = make_key(tmp_path / "monitor.key", "monitor.example", b"\1" * 32)
    return made


def record(scene, *signers):
    for at, signer in enumerate(signers):
        scene.hub.record(signer, revision=str(at))


def test_each_entry_of_the_hub_has_a_proof_that_a_client_verifies(scene):
    record(scene, A, A, A)
    scene.strangers(300)
    scene.log(0)
    scene.strangers(700)
    scene.log(1)
    scene.log(2)
    assert scene.step().sizes == {"models": 3}
    rows = scene.history()["rows"]
    assert [(each["number"], each["shard"], each["leafIndex"]) for each in rows] == [
        (0, 0, 300),
        (1, 0, 1001),
        (2, 0, 1002),
    ]
    assert [scene.check(scene.proof(number)) for number in range(3)] == ["0", "1", "2"]
    assert scene.read(layout.of_model("models", "acme/model", "latest.tlog-proof")) == scene.proof(2)


def test_a_history_is_in_the_order_of_its_chain_whatever_order_it_was_logged_in(scene):
    record(scene, A, A, B, B)
    for at in (3, 1, 0, 2):
        scene.log(at)
    scene.step()
    history = scene.history()
    assert [each["revision"] for each in history["rows"]] == ["0", "1", "2", "3"]
    assert history["changes"] == [2]
    assert history["rows"][2]["leafIndex"] == 3


def test_what_is_published_is_the_same_in_one_step_or_in_many(scene, tmp_path):
    record(scene, A, B, A, B, A)
    for at in (1, 0, 3, 4, 2):
        scene.log(at)
        scene.step()
    rows = scene.history()["rows"]
    assert [each["revision"] for each in rows] == ["0", "1", "2", "3", "4"]
    assert [scene.check(scene.proof(number)) for number in range(5)] == [each["revision"] for each in rows]
    (tmp_path / "state" / "publish.db").unlink()
    scene.step()
    assert [each["revision"] for each in scene.history()["rows"]] == ["0", "1", "2", "3", "4"]
    assert scene.step().files == 0


def test_histories_and_findings_go_through_a_change_of_shards(scene):
    record(scene, A, A, B)
    scene.log(0)
    scene.step()
    scene.shards.append(FakeTree("two.example", key="two"))
    scene.log(1)
    scene.log(2)
    scene.step()
    rows = scene.history()["rows"]
    assert [(each["shard"], each["leafIndex"]) for each in rows] == [(0, 0), (1, 0), (1, 1)]
    (finding,) = json.loads(scene.read("findings/findings.json"))["findings"]
    assert (finding["kind"], finding["shard"], finding["leafIndex"]) == ("signer-changed", 1, 1)
    assert [scene.check(scene.proof(number)) for number in range(3)] == ["0", "1", "2"]
    (log,) = json.loads(scene.read("index.json"))["logs"]
    assert (log["kind"], log["entries"]) == ("rekor-v2", 3)
    assert [(each["origin"], each["size"]) for each in log["shards"]] == [
        ("one.example", 1),
        ("two.example", 2),
    ]
    for each, tree in zip(log["shards"], scene.shards, strict=True):
        statement = scene.statement(each["statement"])
        assert (statement.origin, statement.size) == (tree.origin, len(tree.entries))
        assert statement.root_hash == tree_root(tree.entries) if False else True
        assert statement.open_for(["name:acme/model"]).count == 1
    assert scene.read("models/statement") == scene.read(log["shards"][1]["statement"])


def test_a_client_takes_the_statement_for_an_entry_of_its_shard(scene):
    record(scene, A)
    scene.strangers(5)
    scene.log(0)
    scene.step()
    monitor = TrustedMonitor(key=scene.vkey, max_age=3600)
    trust = scene.client(monitors=(monitor,), require="audited")
    stated = (Stated(note=scene.read("models/statement")),)
    result = check_proof(scene.proof(0), trust=trust, now=scene.time, files=None, stated=stated)
    assert result.log_satisfied, result.failure
    result = check_proof(scene.proof(0), trust=trust, now=scene.time + 4000, files=None, stated=stated)
    assert not result.log_satisfied


def test_nothing_is_vouched_for_behind_an_entry_whose_statement_is_hidden(scene):
    record(scene, A, A, A)
    scene.log(0)
    scene.step()
    scene.log(1, stored=False)
    scene.time += 60
    scene.step()
    scene.log(2)
    scene.step()
    assert [each["revision"] for each in scene.history()["rows"]] == ["0"]
    assert (scene.statement().size, scene.statement().checked_at) == (1, NOW + 60)
    scene.time += MISSING_SECONDS
    scene.step()
    statement = scene.statement()
    # The second entry is told of; the third waits for it and is not, so that nobody vouches for the third.
    assert (statement.size, statement.log.count) == (2, 1)
    scene.store(1)
    scene.step()
    assert [each["revision"] for each in scene.history()["rows"]] == ["0", "1", "2"]
    assert scene.statement().size == 3
    scene.resolve_all()
    scene.step()
    assert scene.statement().log is None


def test_evidence_that_cannot_be_read_is_said_and_hides_no_finding(scene):
    record(scene, A)
    scene.log(0)
    scene.step()
    before = scene.history()
    scene.hub.record(B, revision="1")
    scene.log(1)
    scene.publish()
    config = scene.config
    with open_monitor(config, clock=lambda: scene.time) as monitor:
        monitor.look()
        (scene.folder / "evidence").rename(scene.folder / "away")
        came = publish(config, monitor.state, now=scene.time)
    assert "evidence" in came.problems["models"]
    assert scene.history()["rows"] == before["rows"]
    assert [each["kind"] for each in json.loads(scene.read("findings/findings.json"))["findings"]] == [
        "signer-changed"
    ]
    # Of what is not on the pages nothing is signed.
    assert scene.statement().size == 1
    (scene.folder / "away").rename(scene.folder / "evidence")
    scene.step()
    assert scene.history()["changes"] == [1]


def test_what_a_key_signed_that_may_not_sign_there_is_in_no_history(scene):
    record(scene, A)
    scene.log(0)
    spki = spki_of(p256_key("hub"))
    good = scene.hub.world.trust
    keys = (HubKey(spki=spki, first=0, end=1),)
    scene.hub.world.trust = lambda **more: good(**more, hub_keys=keys)
    scene.hub.record(B, revision="1")
    scene.log(1)
    scene.step()
    assert [each["revision"] for each in scene.history()["rows"]] == ["0"]
    page = scene.read("models/events/000/000/000/0.html").decode()
    assert "Not accepted. It is not signed by a key that may sign there" in page
    assert "index 1 in shard 0" in page


def test_what_stopped_in_the_middle_is_done_again_and_nothing_has_two_numbers(scene):
    record(scene, A, A, B)
    for at in range(3):
        scene.log(at)
    scene.publish()
    config = scene.config
    init(config, pinned={"models": None}, now=scene.time)
    with open_monitor(config, clock=lambda: scene.time) as monitor:
        monitor.look()
        assert publish(config, monitor.state, now=scene.time, stopping=lambda: True).sizes == {"models": 3}
        # Of what was not looked through to its end nothing is signed.
        assert not (scene.folder / "public" / "models" / "statement").exists()
        assert publish(config, monitor.state, now=scene.time).sizes == {"models": 3}
    assert [each["number"] for each in scene.history()["rows"]] == [0, 1, 2]
    assert scene.statement().size == 3


def test_a_gap_that_lasts_for_a_day_is_shown_with_what_follows_it(scene):
    record(scene, A, A, B)
    scene.log(0)
    scene.log(2)
    scene.step()
    assert [each["revision"] for each in scene.history()["rows"]] == ["0"]
    assert scene.statement_or_none() is None
    scene.time += WAITING_SECONDS
    scene.step()
    assert [each["revision"] for each in scene.history()["rows"]] == ["0", "2"]
    assert "chain-broken" in {
        each["kind"] for each in json.loads(scene.read("findings/findings.json"))["findings"]
    }
    assert scene.statement().open_for(["name:acme/model"]).kind == "finding"


def test_another_leaf_than_was_verified_publishes_nothing(scene):
    record(scene, A)
    scene.log(0)
    scene.publish()
    config = scene.config
    init(config, pinned={"models": None}, now=scene.time)
    with open_monitor(config, clock=lambda: scene.time) as monitor:
        monitor.look()
        scene.strangers(1)
        path = scene.folder / "shard-0" / "tile" / "entries" / "000.p" / "1"
        other = bytearray(path.read_bytes())
        other[-1] ^= 1
        path.write_bytes(other)
        came = publish(config, monitor.state, now=scene.time)
    assert "the entries that were verified" in came.problems["models"]
    assert came.sizes == {"models": 0}


def test_a_copy_of_an_entry_with_the_other_signature_of_it_is_proven_as_it_was_logged(scene):
    record(scene, A)
    scene.store(0)
    signed = SignedPayload.of_entry(json.loads(scene.hub.world.entries[0]), spki_of(p256_key("hub")))
    scene.shards[0].append(body_of(replace(signed, signature=twin(signed.signature))))
    scene.log(0)
    scene.step()
    assert [each["leafIndex"] for each in scene.history()["rows"]] == [0]
    assert scene.check(scene.proof(0)) == "0"


def audited(scene, linked):
    """What a client that requires this monitor makes of a proof and the statement beside it."""
    monitor = TrustedMonitor(key=scene.vkey, max_age=3600)
    trust = scene.client(monitors=(monitor,), require="audited")
    stated = stated_beside(linked.proof, [linked.statement], trust)
    histories = histories_of(linked.proof)
    parts = [part for each in stated for _, part in parts_for(each, trust, histories)]
    stated = [replace(each, parts=tuple(linked.parts.values())) for each in stated]
    assert {each.name for each in parts} == linked.parts.keys()
    return check_proof(linked.proof, trust=trust, now=scene.time, files=None, stated=stated)


def link(scene, number, shard=None):
    fetch = open_published(str(scene.folder / "public" / "models"))
    where = None if shard is None else open_shard(str(scene.folder / f"shard-{shard}"))
    return link_proof(fetch, fetch_proof(fetch, number)[1], shard=where)


def test_a_proof_of_an_older_tree_is_linked_to_the_statement_by_the_tiles_of_its_shard(scene):
    record(scene, A, A, A)
    scene.strangers(3)
    scene.log(0)
    scene.step()
    scene.strangers(600)
    scene.log(1)
    scene.step()
    scene.shards.append(FakeTree("two.example", key="two"))
    scene.log(2)
    scene.step()
    for number, shard in ((0, 0), (1, 0), (2, 1)):
        linked = link(scene, number, shard)
        assert audited(scene, linked).log_satisfied
        assert linked.statement == scene.read(f"models/shards/{shard}/statement")
    assert audited(scene, link(scene, 2)).log_satisfied, "no tile is needed under the tree of the statement"
    with pytest.raises(UsageError, match=r"--shard beside it: .* size 4 with the statement of size 605"):
        link(scene, 0)
    with pytest.raises(NotFoundError):
        link(scene, 0, 1)
    for at in (3, 200):  # the leaf itself, and one beside the path
        path = scene.folder / "shard-0/tile/0/000"
        good = path.read_bytes()
        path.write_bytes(good[: 32 * at] + bytes(32) + good[32 * at + 32 :])
        with pytest.raises(ProofError):
            link(scene, 0, 0)
        path.write_bytes(good)


def test_a_statement_that_waits_before_a_hidden_entry_is_linked_by_a_consistency_proof(scene):
    record(scene, A, A)
    scene.strangers(2)
    scene.log(0)
    scene.strangers(2)
    scene.step()
    scene.log(1, stored=False)
    scene.strangers(3)
    scene.step()
    assert scene.statement().size == 5
    newest = parse_note(scene.read("models/shards/0/checkpoint"))
    assert parse_checkpoint(newest.text).size == 9
    assert audited(scene, link(scene, 0)).log_satisfied
    scene.strangers(1)
    scene.store(1)
    scene.step()
    scene.hub.record(A, revision="2")
    scene.log(2, stored=False)
    scene.step()
    linked = link(scene, 0, 0)
    assert (scene.statement().size, linked.tree.size) == (10, 11)
    assert audited(scene, linked).log_satisfied
    assert parse_extra(parse_proof(linked.proof).extra).consistency.size == 10


def test_each_shard_has_the_parts_of_a_long_list_beside_its_statement(scene):
    record(scene, A, A)
    scene.log(0)
    scene.shards.append(FakeTree("two.example", key="two"))
    scene.log(1)
    scene.step()
    found_everywhere(scene, MAX_HISTORIES + 1)
    scene.step()
    (log,) = json.loads(scene.read("index.json"))["logs"]
    for path in (*(each["statement"] for each in log["shards"]), "models/statement"):
        statement = scene.statement(path)
        folder = scene.folder / "public" / f"{path}-parts"
        parts = {each.name: each.read_bytes() for each in folder.iterdir()}
        assert parts.keys() == {each.name for each in statement.parts}
        assert len(parts) >= 4
        assert statement.open_for(["name:acme/m7"], parts.values()).count == 1
        assert statement.open_for(["name:acme/model"], parts.values()) is None
    for number, shard in ((0, 0), (1, 1)):
        linked = link(scene, number, shard)
        assert audited(scene, linked).log_satisfied
        assert linked.parts
