"""Checkpoints that others were shown: each is answered, and a contradiction becomes evidence that convinces a stranger."""

import json

import pytest

from ledger.client.evidence import verify_evidence
from ledger.errors import MalformedError, NotFoundError, SignatureError, SourceError
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.signed_note import NoteSignature, format_note, parse_note
from monitor import compare
from monitor.compare import Judgement, Views
from tests.monitor.test_follow import B, Everybody, Scene
from tests.world import NOW, World


@pytest.fixture
def scene(tmp_path):
    """A log of 6 entries, verified."""
    scene = Scene(tmp_path).grow(6).begin().publish()
    scene.look()
    return scene


def views(scene):
    return Views(
        {"models": scene.trust or scene.hub.world.trust()},
        scene.state,
        routes=Everybody(),
        evidence=scene.folder / "evidence",
        clock=lambda: scene.time,
    )


def fork(scene, size, *, more=1):
    other = scene.hub.fork(size)
    for at in range(more):
        other.record(B, revision=f"fork-{at}")
    return other


@pytest.mark.parametrize("size", [0, 1, 3, 5, 6])
def test_what_we_replayed_is_consistent(scene, size):
    judged = views(scene).judge(scene.hub.world.checkpoint(size))
    assert (judged.judgement, judged.size) == (Judgement.CONSISTENT, size)


def test_one_that_is_handed_in_again_is_answered_from_memory(scene):
    """Also after the leaves that it was computed from are gone: nothing is hashed a second time."""
    note = scene.hub.world.checkpoint(4)
    assert views(scene).judge(note).judgement is Judgement.CONSISTENT
    with scene.state._database.transaction() as execute:
        execute("DELETE FROM leaves")
    assert views(scene).judge(note).judgement is Judgement.CONSISTENT


@pytest.mark.parametrize("common", [0, 3, 4, 5])
def test_another_history_is_inconsistent_with_evidence(scene, common):
    judged = views(scene).judge(fork(scene, common).world.checkpoint())
    assert (judged.judgement, judged.size) == (Judgement.INCONSISTENT, common + 1)
    (file,) = (scene.folder / "evidence").iterdir()
    assert judged.evidence == str(file)
    assert "/" not in judged.as_json()["evidence"], "a stranger learns no path of this machine"
    found = verify_evidence(file.read_bytes(), trust=scene.hub.world.trust())
    assert found.older.checkpoint.root_hash != found.newer.checkpoint.root_hash
    assert scene.kinds("open")[-1] == "log-forked"
    assert views(scene).judge(fork(scene, common).world.checkpoint()).judgement is Judgement.INCONSISTENT
    assert scene.kinds().count("log-forked") == 1, "handed in twice, it is one finding"


def test_a_larger_one_is_pending_and_judged_with_the_next_look(scene):
    scene.grow(4)
    note = scene.hub.world.checkpoint()
    assert views(scene).judge(note).judgement is Judgement.PENDING
    scene.publish()
    assert scene.look().problem == ""
    assert views(scene).judge(note).judgement is Judgement.CONSISTENT


def test_a_larger_one_of_another_history_convicts_when_the_log_grows_past_it(scene):
    assert views(scene).judge(fork(scene, 6, more=2).world.checkpoint()).judgement is Judgement.PENDING
    scene.grow(4).publish()
    assert "contradicts itself" in scene.look().problem
    assert scene.kinds()[-1] == "log-forked"


def test_two_larger_ones_of_one_size_convict_though_none_was_ever_served(scene):
    assert views(scene).judge(fork(scene, 4, more=5).world.checkpoint()).judgement is Judgement.PENDING
    scene.grow(3)
    assert views(scene).judge(scene.hub.world.checkpoint()).judgement is Judgement.INCONSISTENT


def test_before_the_pin_nothing_is_known(tmp_path):
    scene = Scene(tmp_path).grow(6).publish()
    scene.begin(pinned=scene.hub.world.checkpoint())
    scene.look()
    judged = views(scene).judge(scene.hub.world.checkpoint(3))
    assert judged.judgement is Judgement.PENDING


def other_key(scene):
    world = World(origin=scene.hub.world.origin)
    world.entries += scene.hub.world.entries
    lines = world.checkpoint().split(b"\n")
    lines[1] = b"5"  # the size that was signed was another
    return b"\n".join(lines)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda scene: b"", MalformedError),
        (lambda scene: b"\xff" * 100, MalformedError),
        (
            lambda scene: scene.hub.world.checkpoint().replace(b"log.example", b"elsewhere.example", 1),
            NotFoundError,
        ),
        (other_key, SignatureError),
        (lambda scene: scene.hub.world.checkpoint()[:-20], MalformedError),
    ],
)
def test_what_the_log_did_not_sign_says_nothing_and_leaves_nothing(scene, make, error):
    before = scene.state.checkpoints.between("models")
    with pytest.raises(error):
        views(scene).judge(make(scene))
    assert scene.state.checkpoints.between("models") == before
    assert scene.kinds("open") == ["first-signer"] * 6


def test_sources_are_polled_and_one_that_is_away_hides_no_other(scene):
    def away(name, /, *, max_bytes):
        raise NotFoundError("checkpoint", expected="an object", actual="404")

    def witness(name, /, *, max_bytes):
        assert name == "checkpoint"
        return fork(scene, 5).world.checkpoint()

    sources = {"https://a.example/checkpoint": away, "https://b.example/checkpoint": witness}
    views(scene).poll("models", sources)
    assert scene.kinds("open")[-2:] == ["log-forked", "source-unreachable"]
    views(scene).poll("models", {"https://b.example/checkpoint": witness})
    assert scene.kinds("open")[-1] == "log-forked", "what was away is over by itself"


def test_json_is_what_the_endpoint_says(scene):
    judged = views(scene).judge(scene.hub.world.checkpoint(6))
    assert json.loads(json.dumps(judged.as_json())) == {
        "log": "models",
        "size": 6,
        "result": "consistent",
        "text": "its root is that of the entries before 6, as they were replayed here",
    }


# What strangers write into notes


def signed_also(note, *lines):
    """The same note with more signature lines: anybody can add some."""
    parsed = parse_note(note)
    return format_note(parsed.text, [*lines, *parsed.signatures])


def bad_cosignature(scene, name="w1"):
    """A line under a witness's own name and key id, that it never signed."""
    key = scene.hub.world.cosigner(name).verifier
    return NoteSignature(name=key.name, key_id=key.key_id, signature=bytes(72))


def test_a_note_with_a_false_cosignature_stops_nobody(scene):
    """It comes from a stranger, and its size is one that the monitor replays next."""
    scene.trust = scene.hub.world.trust(witnesses=("w1",))
    scene.grow(2)
    bent = signed_also(scene.hub.world.checkpoint(), bad_cosignature(scene))
    assert views(scene).judge(bent).judgement is Judgement.PENDING
    scene.publish(note=scene.hub.world.checkpoint(cosigned={"w1": scene.time}))
    assert scene.look().problem == ""
    for _ in range(2):
        scene.grow(2).publish()
        assert scene.look().problem == ""


def test_a_mirror_that_adds_a_false_cosignature_stops_nobody_for_good(scene):
    scene.trust = scene.hub.world.trust(witnesses=("w1",))
    scene.grow(2)
    scene.publish(note=signed_also(scene.hub.world.checkpoint(), bad_cosignature(scene)))
    assert "cosignature by w1" in scene.look().problem
    scene.publish()
    assert scene.look().problem == ""
    scene.grow(2).publish()
    assert scene.look().problem == ""


def test_a_false_cosignature_of_a_witness_that_we_trust_later_stops_nobody(scene):
    """It was one of a stranger when it was remembered."""
    scene.trust = scene.hub.world.trust(witnesses=("w2",))
    scene.grow(2)
    scene.publish(note=signed_also(scene.hub.world.checkpoint(cosigned={"w2": NOW}), bad_cosignature(scene)))
    assert scene.look().problem == ""
    scene.trust = scene.hub.world.trust(witnesses=("w1", "w2"))
    scene.grow(2).publish()
    assert scene.look().problem == ""


def test_of_a_note_only_the_lines_that_count_are_kept(scene):
    """A stranger can make any checkpoint of the log a megabyte long: of each size that nobody asked for yet."""
    scene.trust = scene.hub.world.trust(witnesses=("w1",))
    scene.grow(2)
    plain = scene.hub.world.checkpoint(cosigned={"w1": NOW})
    junk = NoteSignature(name="stranger", key_id=bytes(4), signature=bytes(500_000))
    note = signed_also(plain, junk, bad_cosignature(scene))
    assert views(scene).judge(note).judgement is Judgement.PENDING
    (kept,) = scene.state.checkpoints.between("models", least=scene.size + 1)
    assert kept.note == plain


def test_of_the_logs_own_note_cosignatures_that_others_may_know_are_kept_too(scene):
    scene.trust = scene.hub.world.trust(witnesses=("w1",))
    scene.grow(2)
    plain = scene.hub.world.checkpoint(cosigned={"w1": NOW, "w2": NOW})
    junk = NoteSignature(name="stranger", key_id=bytes(4), signature=bytes(5000))
    scene.publish(note=signed_also(plain, junk))
    assert scene.look().problem == ""
    (kept,) = scene.state.checkpoints.between("models", least=scene.size)
    assert kept.note == plain


# Room


def of_size(scene, size):
    """A checkpoint of the log's own key, of entries that it never serves."""
    lie = Checkpoint(origin=scene.hub.world.origin, size=size, root_hash=bytes(32))
    return scene.hub.world.sign_tree(lie)


@pytest.mark.parametrize("sizes", [range(100, 120), range(1, 6)], ids=["not served yet", "before the pin"])
def test_what_cannot_be_judged_is_remembered_up_to_a_limit_and_the_rest_still_judged(
    tmp_path, monkeypatch, sizes
):
    """Whoever has the log's key can sign sizes without an end. What waits stays: it is what convicts in the end."""
    monkeypatch.setattr(compare, "MAX_WAITING", 4)
    scene = Scene(tmp_path).grow(6).publish()
    scene.begin(pinned=scene.hub.world.checkpoint())
    scene.grow(4).publish()
    assert scene.look().problem == ""
    view = views(scene)
    notes = [of_size(scene, size) for size in sizes]
    for note in notes[:4]:
        assert view.judge(note).judgement is Judgement.PENDING
    with pytest.raises(
        SourceError, match=r"expected fewer than 4 that wait for entries .*, got no room for more"
    ):
        view.judge(notes[4])
    assert scene.state.checkpoints.count("models", least=sizes[0], most=sizes[-1]) == 4
    assert view.judge(scene.hub.world.checkpoint(8)).judgement is Judgement.CONSISTENT
    other = scene.hub.fork(sizes[0]) if sizes[0] < 10 else fork(scene, 10, more=90)
    assert view.judge(other.world.checkpoint()).judgement is Judgement.INCONSISTENT, "the first is remembered"
