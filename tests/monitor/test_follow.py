"""Following a log that is honest, one that lies in what it controls, and one that is only ill served."""

import json
from dataclasses import dataclass, field, replace

import pytest

from ledger.client.evidence import verify_evidence
from ledger.errors import ProofError, SignatureError, WriteError
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.cosignature import add_cosignatures
from ledger.tlog.signed_note import parse_note
from ledger.tlog.trust_policy import Group
from monitor import follow, runs
from monitor.beginning import begin
from monitor.findings import Alert
from monitor.follow import Follower
from monitor.state import State
from tests.monitor.hub import Hub
from tests.world import NOW, key_signer, signed_by

A, B = signed_by(key_signer("a")), signed_by(key_signer("b"))


class Everybody:
    def sinks(self, finding):
        return ("pager",)


@dataclass
class Scene:
    """A hub, its log in a folder, and a monitor of it."""

    folder: object
    hub: Hub = field(default_factory=Hub)
    time: int = NOW
    more: tuple = ()
    state: State = None
    trust: object = None

    def begin(self, pinned=None):
        State.create(self.folder / "state", now=self.time)
        self.state = State(self.folder / "state")
        begin(self.followable, self.state, pinned=pinned, now=self.time)
        return self

    @property
    def followable(self):
        found = self.hub.followable(self.folder / "log", *self.more)
        return found if self.trust is None else replace(found, trust=self.trust)

    def publish(self, size=None, **more):
        self.hub.publish(self.folder / "log", size, **more)
        return self

    def grow(self, count):
        for _ in range(count):
            at = len(self.hub.world.entries)
            self.hub.record(A, name=f"acme/model-{at % 7}", revision=str(at))
        return self

    def look(self, **more):
        follower = Follower(
            self.followable,
            self.state,
            routes=Everybody(),
            evidence=self.folder / "evidence",
            clock=lambda: self.time,
            **more,
        )
        return follower.look()

    @property
    def size(self):
        return self.state.position("models").size

    def kinds(self, *states):
        return [each.facts["kind"] for each in reversed(self.state.record.findings(states=states))]

    def evidence(self):
        return [
            verify_evidence(path.read_bytes(), trust=self.hub.world.trust())
            for path in sorted((self.folder / "evidence").glob("*.json"))
        ]


@pytest.fixture
def scene(tmp_path):
    made = Scene(tmp_path)
    yield made
    if made.state:
        made.state.close()


@pytest.fixture(params=["checked here", "checked apart"])
def short_runs(monkeypatch, request):
    """Runs of one bundle, so that a small log has many; with processes that check them, and one run ahead, or without."""
    monkeypatch.setattr(follow, "RUN_ENTRIES", 256)
    monkeypatch.setattr(runs, "FROM", 1 if request.param == "checked apart" else 1 << 30)


def test_an_empty_log_is_clean_and_then_grows(scene):
    scene.publish().begin()
    assert scene.look().problem == ""
    scene.grow(3).publish()
    look = scene.look()
    assert (look.size, look.target, look.problem) == (3, 3, "")
    assert scene.kinds() == ["first-signer"] * 3


@pytest.mark.parametrize("sizes", [(1, 2, 255, 256, 257, 300), (600, 601), (3, 512)])
def test_growth_over_every_edge_of_a_tile(scene, short_runs, sizes):
    scene.publish().begin()
    for size in sizes:
        scene.grow(size - len(scene.hub.world.entries)).publish()
        assert scene.look().problem == ""
        assert scene.state.position("models").frontier.root() == scene.hub.world.tree().root_hash
    scene.hub.record(B, name="acme/model-1", revision="x")
    scene.publish().look()
    assert scene.kinds()[-1] == "signer-changed"


def test_a_long_log_is_followed_in_runs_and_resumed_inside(scene, short_runs):
    scene.grow(1000).publish().begin()
    seen = []
    look = scene.look(progress=lambda done, _: seen.append(done), stopping=lambda: len(seen) > 2)
    assert look.problem == "stopped before its newest checkpoint was reached"
    assert scene.size == 768
    again = []
    assert scene.look(progress=lambda done, _: again.append(done)).problem == ""
    assert again == [768, 1000]
    assert scene.kinds() == ["first-signer"] * 7


def test_what_is_known_survives_a_restart(scene):
    scene.grow(7).publish().begin()
    scene.look()
    scene.state.close()
    scene.state = State(scene.folder / "state")
    scene.hub.record(B, name="acme/model-1", revision="x")
    scene.publish().look()
    assert scene.kinds()[-1] == "signer-changed"


def test_a_second_look_finds_nothing_again(scene):
    scene.grow(2).publish().begin()
    assert scene.look().new_findings == 2
    assert scene.look().new_findings == 0
    assert len(scene.state.outbox.due("pager", now=NOW)) == 2


# A log that signs two histories


@pytest.mark.parametrize(("before", "after"), [(5, 5), (5, 9), (4, 9), (256, 300), (257, 600), (1, 2)])
def test_a_fork_is_tampering_with_evidence_that_convinces_others(scene, before, after):
    scene.grow(before).publish().begin()
    scene.look()
    scene.hub = scene.hub.fork(before - 1)
    scene.hub.record(B, name="acme/model-0", revision="fork")
    scene.grow(after - before).publish()
    scene.look()
    assert scene.kinds()[-1] == "log-forked"
    (found,) = scene.evidence()
    assert {found.older.checkpoint.size, found.newer.checkpoint.size} == {before, after}
    told = scene.state.record.findings()[0]
    assert told.facts["class"] == Alert.TAMPER
    assert told.facts["facts"]["evidence"].endswith(".json")
    assert scene.size == before, "a fork must not be followed"
    scene.look()
    assert scene.kinds().count("log-forked") == 1


@pytest.mark.parametrize("size", [2, 3, 200, 256, 299])
def test_a_smaller_checkpoint_of_another_tree_is_tampering(scene, short_runs, size):
    """A log restored from a copy that went on by itself: our own memory of its tree proves it."""
    scene.grow(300).publish().begin()
    scene.look()
    scene.hub = scene.hub.fork(size - 1)
    scene.hub.record(B, name="acme/model-0", revision="fork")
    scene.publish()
    scene.look()
    (found,) = scene.evidence()
    assert (found.older.checkpoint.size, found.newer.checkpoint.size) == (size, 300)


@pytest.mark.parametrize("size", [0, 1, 4, 256, 299])
def test_a_smaller_checkpoint_of_the_same_tree_is_stale_and_passes(scene, short_runs, size):
    scene.grow(300).publish().begin()
    scene.look()
    scene.publish(size)
    assert "has signed 300 before" in scene.look().problem
    scene.look()
    assert scene.kinds("open").count("log-stale") == 1
    scene.publish().look()
    assert "log-stale" not in scene.kinds("open")
    scene.publish(size).look()
    assert scene.kinds().count("log-stale") == 2, "it came back, and is told again"
    assert scene.evidence() == []


def test_a_checkpoint_that_was_seen_and_never_served_contradicts_later(scene):
    """Seen signed is enough: its entries need not have been replayed to convict."""
    scene.grow(5).publish().begin()
    scene.look()
    forked = scene.hub.fork(5)
    forked.record(B, name="acme/model-0", revision="fork")
    scene.publish(note=forked.world.checkpoint())
    assert scene.look().problem
    assert scene.kinds()[-1] == "log-unreachable"
    scene.grow(4).publish().look()
    (found,) = scene.evidence()
    assert (found.older.checkpoint.size, found.newer.checkpoint.size) == (6, 9)


def test_two_checkpoints_of_one_size_convict_though_neither_was_ever_served(scene):
    scene.grow(5).publish().begin()
    scene.look()
    for signer in (A, B):
        forked = scene.hub.fork(5)
        forked.record(signer, name="acme/model-0", revision="fork")
        scene.publish(note=forked.world.checkpoint())
        scene.look()
    assert scene.kinds()[-2:] == ["log-unreachable", "log-forked"]
    (found,) = scene.evidence()
    assert (found.older.checkpoint.size, found.newer.checkpoint.size) == (6, 6)


def test_a_fork_is_proven_though_we_stopped_before_the_last_checkpoint_was_marked(scene):
    scene.grow(5).publish().begin()
    scene.look()
    scene.state._database._connection.execute("UPDATE checkpoints SET verified = 0")
    scene.hub = scene.hub.fork(4)
    scene.hub.record(B, name="acme/model-0", revision="fork")
    scene.grow(4).publish().look()
    (found,) = scene.evidence()
    assert (found.older.checkpoint.size, found.newer.checkpoint.size) == (5, 9)


# A log, a mirror or a cache that serves other bytes than were signed


def bend(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "name", ["tile/entries/000.p/200", "tile/entries/000", "tile/0/001.p/44", "tile/0/000", "tile/1/000.p/1"]
)
def test_bent_bytes_are_malformed_and_never_believed(scene, short_runs, name):
    size = 200 if name.endswith("200") else 300
    scene.grow(size).publish().begin()
    bend(scene.folder / "log" / name)
    problem = scene.look().problem
    if name in ("tile/0/000", "tile/1/000.p/1"):
        assert problem == "", "no proof that is needed here goes through it"
        return
    assert "is not what it signed" in problem
    assert [kind for kind in scene.kinds() if kind != "first-signer"] == ["log-malformed"]
    assert scene.state.record.findings(states=("open",))[0].facts["class"] == Alert.MALFORMED
    assert scene.size in (0, 256)
    assert scene.evidence() == []
    scene.publish()
    assert scene.look().problem == ""
    assert scene.size == size


def test_a_mirror_is_asked_where_the_log_serves_garbage(scene, short_runs):
    scene.grow(300).publish().begin()
    scene.hub.publish(scene.folder / "mirror")
    bend(scene.folder / "log/tile/entries/001.p/44")
    scene.more = (scene.folder / "mirror",)
    assert scene.look().problem == ""
    assert scene.size == 300


def test_entries_that_give_another_root_name_both_roots(scene):
    scene.grow(5).publish().begin()
    true = scene.hub.world.tree()
    other = scene.hub.fork(4)
    other.record(B, name="acme/model-0", revision="fork")
    scene.hub.publish(scene.folder / "log")
    other.publish(scene.folder / "log", note=scene.hub.world.checkpoint())
    problem = scene.look().problem
    assert true.root_hash.hex() in problem
    assert other.world.tree().root_hash.hex() in problem
    assert scene.size == 0


def test_a_missing_bundle_is_unreachable_and_no_accusation(scene):
    scene.grow(5).publish().begin()
    (scene.folder / "log/tile/entries/000.p/5").unlink()
    scene.look()
    assert scene.kinds() == ["log-unreachable"]
    assert scene.state.record.findings()[0].facts["class"] == Alert.OPERATIONAL
    scene.publish().look()
    assert scene.kinds("open") == ["first-signer"] * 5


def test_a_checkpoint_by_another_key_is_a_finding_and_moves_nothing(scene):
    scene.grow(5).publish().begin()
    stranger = replace(scene.hub.world, log_key="stranger")
    scene.publish(note=stranger.checkpoint())
    scene.look()
    assert scene.kinds() == ["log-key-refused"]
    assert (scene.size, scene.state.checkpoints.largest("models")) == (0, 0)


def test_a_mirror_does_not_hide_that_another_key_answered(scene):
    stranger = replace(scene.hub.world, log_key="stranger")
    scene.grow(2).publish(note=stranger.checkpoint()).begin()
    scene.hub.publish(scene.folder / "mirror")
    scene.more = (scene.folder / "mirror",)
    assert scene.look().problem == ""
    assert scene.kinds() == ["log-key-refused", "first-signer", "first-signer"]


def test_a_checkpoint_that_is_none_is_malformed(scene):
    scene.grow(1).publish(note=b"not a note\n").begin()
    scene.look()
    assert scene.kinds() == ["log-malformed"]


def test_a_size_that_nobody_can_serve_is_no_end(scene):
    lie = Checkpoint(origin=scene.hub.world.origin, size=2**62, root_hash=bytes(32))
    scene.grow(3).publish(note=scene.hub.world.sign_tree(lie)).begin()
    assert scene.look().problem
    assert scene.size == 0


def test_entries_of_the_largest_size_end_a_run_early(scene, monkeypatch):
    monkeypatch.setattr(runs, "RUN_BYTES", 1 << 20)
    for at in range(9):
        for _ in range(256):
            scene.hub.world.append(b"%d" % at * 5000)
    seen = []
    scene.publish().begin()
    assert scene.look(progress=lambda done, _: seen.append(done)).problem == ""
    assert seen == [0, 2048, 2304]
    assert len(scene.kinds()) == 1000, "the newest thousand of 2,304 that cannot be read"


# Starting


@pytest.mark.parametrize("size", [1, 5, 256, 300, 512, 70_000])
def test_from_a_pinned_checkpoint(scene, size, monkeypatch):
    for _ in range(size):
        scene.hub.world.entries.append(b"x")
    scene.publish().begin(scene.hub.world.checkpoint())
    assert scene.size == size
    scene.hub.record(A)
    scene.hub.record(B, revision="2")
    scene.publish().look()
    assert scene.kinds() == ["first-signer", "signer-changed"]
    scene.publish(size).look()
    assert scene.kinds("open")[-1] == "log-stale"


def test_a_fork_after_a_pinned_checkpoint_is_tampering(scene):
    scene.grow(300).publish().begin(scene.hub.world.checkpoint())
    scene.grow(7).publish().look()
    scene.hub = scene.hub.fork(305)
    scene.hub.record(B, name="acme/model-0", revision="fork")
    scene.publish().look()
    (found,) = scene.evidence()
    assert (found.older.checkpoint.size, found.newer.checkpoint.size) == (306, 307)


def test_a_pin_of_another_tree_or_key_is_refused(scene):
    scene.grow(5).publish()
    other = scene.hub.fork(4)
    other.record(B, name="acme/model-0", revision="fork")
    with pytest.raises(ProofError):
        scene.begin(other.world.checkpoint())
    with pytest.raises(SignatureError):
        begin(
            scene.followable, scene.state, pinned=replace(scene.hub.world, log_key="x").checkpoint(), now=NOW
        )


def test_a_log_is_begun_once(scene):
    scene.publish().begin()
    with pytest.raises(WriteError):
        begin(scene.followable, scene.state, pinned=None, now=NOW)


def test_a_clock_that_goes_back_is_told_once(scene):
    scene.grow(1).publish().begin()
    scene.look()
    scene.time -= 59
    scene.look()
    assert scene.kinds() == ["first-signer"]
    scene.time -= 100
    scene.look()
    scene.look()
    assert scene.kinds() == ["first-signer", "clock-backwards"]
    assert scene.state.clock() == NOW


def test_the_findings_of_entries_are_those_of_the_proven_ones(scene):
    """A mirror that slips in a change of signer makes no finding about a model."""
    scene.grow(1).publish().begin()
    forged = scene.hub.fork(0)
    forged.record(B, name="acme/model-0", revision="forged")
    forged.publish(scene.folder / "log", note=scene.hub.world.checkpoint())
    scene.look()
    assert scene.kinds() == ["log-malformed"]


def test_what_hooks_get_can_be_read_by_anybody(scene):
    scene.grow(1).publish().begin()
    scene.look()
    from monitor.handed import format_finding

    facts = json.loads(format_finding(scene.state.record.findings()[0]))
    assert facts["format"] == "https://hubledger/monitor-finding/v1"
    assert (facts["kind"], facts["leafIndex"], facts["foundAt"]) == ("first-signer", 0, NOW)


def test_a_checkpoint_without_the_quorum_of_the_trust_file_is_told_and_what_it_covers_is_looked_at(scene):
    """Cosignatures count by key: one witness twice, or a stranger, make no quorum of two."""
    world = scene.hub.world
    trust = world.trust(witnesses=("w1", "w2"))
    policy = replace(
        trust.policy, groups=(Group(name="both", threshold=2, members=("w1", "w2")),), quorum="both"
    )
    scene.trust = replace(trust, policy=policy)
    scene.grow(3)
    once = world.checkpoint(cosigned={"w1": NOW, "stranger": NOW})
    twice = add_cosignatures(parse_note(once), [world.cosigner("w1").cosign(world.tree(), timestamp=NOW - 1)])
    for note in (once, twice):
        scene.publish(note=note)
        if scene.state is None:
            scene.begin()
        found = scene.look()
        assert "lacks the quorum both of your trust file" in found.problem
        assert (found.size, scene.kinds("open").count("log-unwitnessed")) == (3, 1)
    scene.publish(note=world.checkpoint(cosigned={"w1": NOW, "w2": NOW}))
    assert scene.look().problem == ""
    assert "log-unwitnessed" not in scene.kinds("open")


# Politeness


def test_a_bundle_that_is_not_full_is_left_alone_for_a_while(tmp_path):
    scene = Scene(tmp_path).grow(300).begin().publish()
    patient = replace(scene.followable, partial_wait=30)

    def look():
        follower = Follower(
            patient,
            scene.state,
            routes=Everybody(),
            evidence=tmp_path / "evidence",
            clock=lambda: scene.time,
        )
        return follower.look()

    assert (look().size, look().problem) == (256, "")
    scene.time += 20
    scene.grow(10).publish()
    assert look().size == 256, "it still grows"
    scene.time += 10
    assert look().size == 310, "and what waited longest is not put off for ever"
    scene.grow(202).publish()
    assert look().size == 512, "what is full is read at once"


def test_what_came_before_an_outage_is_verified_and_kept(tmp_path):
    scene = Scene(tmp_path).grow(1000).begin().publish()
    gone = tmp_path / "log/tile/entries/002"
    kept = gone.read_bytes()
    gone.unlink()
    look = scene.look()
    assert (look.size, scene.size) == (512, 512)
    assert "002" in look.problem
    gone.write_bytes(kept)
    assert scene.look().size == 1000


def test_a_slow_log_is_verified_as_it_comes(tmp_path):
    scene = Scene(tmp_path).grow(256 * 10).begin().publish()
    ticks = iter(range(0, 10_000, 12))
    sizes = []
    scene.look(elapsed=lambda: next(ticks), progress=lambda done, _size: sizes.append(done))
    assert sizes[:2] == [0, 2048], "eight bundles are on their way at a time, and a run ends with them"
    assert scene.size == 2560


# Another key of the log


@pytest.fixture
def rotated(scene):
    """A monitor that verified five entries, and whose trust file has the log's next key alone."""
    scene.grow(5).publish().begin()
    assert scene.look().problem == ""
    scene.hub.world.log_key = "the next key of the log"
    return scene


def test_a_log_with_another_key_is_followed_on_from_what_the_old_one_signed(rotated):
    scene = rotated.grow(3).publish()
    assert (scene.look().problem, scene.size) == ("", 8)
    assert set(scene.kinds()) == {"first-signer"}


@pytest.mark.parametrize("count", [4, 5, 7])
def test_another_tree_under_another_key_is_told_though_nobody_is_convicted(rotated, count):
    scene = rotated
    scene.hub = scene.hub.fork(3)
    for at in range(3, count):
        scene.hub.record(A, name="acme/other", revision=str(at))
    scene.publish()
    assert scene.look().problem
    assert scene.size == 5
