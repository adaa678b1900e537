"""What is remembered: refused where it is missing or damaged, one transaction or none, one writer."""

import re
import sqlite3
from dataclasses import replace

import pytest

from ledger.errors import CorruptError, NotFoundError, WriteError
from ledger.history import ChainHead, Standing
from ledger.tlog.merkle import Frontier
from monitor.database import FILE_NAME
from monitor.findings import Finding, Kind
from monitor.known import Followed, Known
from monitor.signers import format_signers
from monitor.state import Position, Progress, State
from tests.refusals.of_storage import no_space
from tests.world import digest, key_signer


class To:
    def __init__(self, *names):
        self.names = names

    def sinks(self, finding):
        return self.names


@pytest.fixture
def state(tmp_path):
    State.create(tmp_path, now=100)
    made = State(tmp_path)
    made.add_log(
        Position(name="models", origin="log.example", first=0, frontier=Frontier()), leaves={}, nodes={}
    )
    yield made
    made.close()


def finding(leaf_index=0, kind=Kind.SIGNER_CHANGED, **more):
    return Finding(log="models", kind=kind, text="text", leaf_index=leaf_index, model="acme/model", **more)


def progress(*findings, before=0, after=1):
    frontier = Frontier()
    for at in range(after):
        frontier.append(digest(str(at)))
    return Progress(
        log="models", before=before, frontier=frontier, leaves={}, nodes={}, known=Known(), findings=findings
    )


def test_a_missing_state_is_refused_and_never_made_silently(tmp_path):
    with pytest.raises(CorruptError):
        State(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_damaged_state_is_refused(tmp_path, state, damage):
    state.close()
    path = tmp_path / FILE_NAME
    data = bytearray(path.read_bytes())
    if damage is None:
        data[4096 * 3 : 4096 * 3 + 200] = b"\xff" * 200
        damage = bytes(data)
    path.write_bytes(damage)
    with pytest.raises(CorruptError):
        State(tmp_path)


def test_a_state_is_never_replaced(tmp_path, state):
    with pytest.raises(WriteError):
        State.create(tmp_path, now=1)
    assert state.logs() == ["models"]


def test_a_log_that_was_never_begun_is_refused(state):
    with pytest.raises(NotFoundError):
        state.position("other")


def test_a_finding_its_deliveries_and_the_position_are_stored_together(state):
    assert state.advance(progress(finding()), routes=To("a", "b"), now=100) == 1
    assert state.position("models").size == 1
    assert [len(state.outbox.due(name, now=100)) for name in ("a", "b", "c")] == [1, 1, 0]


def test_a_run_that_cannot_be_stored_leaves_nothing(state):
    """The position was moved by somebody else: neither the finding nor its delivery may stay."""
    with pytest.raises(CorruptError):
        state.advance(progress(finding(), before=7), routes=To("a"), now=100)
    assert state.record.findings() == []
    assert state.outbox.due("a", now=100) == []
    assert state.position("models").size == 0


def test_the_same_finding_is_stored_and_told_once(state):
    assert state.report(finding(), routes=To("a"), now=100)
    assert not state.report(finding(), routes=To("a", "b"), now=200)
    (stored,) = state.record.findings()
    assert (stored.found_at, stored.seen_at) == (100, 200)
    assert state.outbox.due("b", now=200) == []


@pytest.mark.parametrize(("expected", "state_of"), [((), "open"), (("x",), "open"), (("x", "y"), "expected")])
def test_only_what_is_expected_whole_alerts_nobody(state, expected, state_of):
    for signer in expected:
        state.record.expect("models", model="acme/model", signer=signer, note="", now=1)
    state.report(finding(signers=("x", "y")), routes=To("a"), now=100)
    assert [each.state for each in state.record.findings()] == [state_of]
    assert bool(state.outbox.due("a", now=100)) is (state_of == "open")


def test_what_is_expected_for_another_model_is_not_expected_here(state):
    state.record.expect("models", model="acme/other", signer="x", note="", now=1)
    state.record.expect("other", model="acme/model", signer="x", note="", now=1)
    state.report(finding(signers=("x",)), routes=To("a"), now=100)
    assert [each.state for each in state.record.findings()] == ["open"]


def test_findings_are_moved_and_stay_in_the_record(state):
    for at in range(3):
        state.report(finding(at), routes=To("a"), now=100)
    state.move([1], to="acknowledged", note="looking", now=101)
    state.move([2], to="resolved", note="was us", now=101)
    assert [each.number for each in state.record.findings(states=("open",))] == [3]
    assert [(each.number, each.note) for each in state.record.findings()] == [
        (3, ""),
        (2, "was us"),
        (1, "looking"),
    ]
    assert [each.finding.number for each in state.outbox.due("a", now=100)] == [1, 3], (
        "what is settled is not told any more"
    )
    with pytest.raises(NotFoundError):
        state.move([3, 9], to="resolved", note="", now=102)
    assert [each.number for each in state.record.findings(states=("open",))] == [3], "all or none"


def test_a_transaction_that_fails_names_the_disk(state, tmp_path):
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("DROP TABLE outbox")
    other.close()
    with pytest.raises(WriteError):
        state.report(finding(), routes=To("a"), now=100)
    assert state.record.findings() == []


def test_a_full_disk_is_no_damage(tmp_path, state):
    """Whoever read that it is would throw away a good state."""
    state.note_time(now=200)
    state.close()
    with no_space(), pytest.raises(WriteError) as full:
        State(tmp_path).clock()
    assert "Free space" in str(full.value)
    again = State(tmp_path)
    assert again.clock() == 200
    again.close()


def test_a_disk_that_fills_up_while_something_is_written_is_named(state):
    def fill():
        for size in range(100):
            state.checkpoints.saw("models", size=size, root=bytes(32), note=bytes(4096), now=100)

    with no_space(64 << 10), pytest.raises(WriteError) as full:
        fill()
    assert re.search("disk", str(full.value.actual))
    state.checkpoints.saw("models", size=1000, root=bytes(32), note=b"room", now=100)
    assert state.checkpoints.largest("models") == 1000


def test_a_long_transaction_that_does_not_fit_is_named(state):
    """The changes do not fit into memory either, so that they are written before the end."""
    rows = ((f"signer:{at}", {"namespaces": ["n" * 4000]}) for at in range(5000))
    known = Known()
    for key, value in rows:
        known.note(key, value)
    with no_space(64 << 10), pytest.raises(WriteError) as full:
        state.advance(replace(progress(), known=known), routes=To(), now=100)
    assert re.search("disk", str(full.value.actual))
    assert state.position("models").size == 0


def test_the_file_is_readable_by_its_owner_alone(tmp_path, state):
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o077 == 0


def test_what_is_known_comes_back_as_it_was_stored(state):
    known = Known()
    known.histories["name:m"] = Followed(
        head=ChainHead(3, digest("s")),
        signers=signed_by("b"),
        repo="repo:7",
        before=signed_by("a"),
        policy=digest("p")[:16],
    )
    known.changed.add("name:m")
    known.note("challenge:c", {"state": "opened", "histories": ["name:m"]})
    known.notes["policy:hub:"] = {"not": "changed"}
    state.advance(replace(progress(), known=known), routes=To(), now=100)
    again = state.load("models", histories=["name:m", "name:other"])
    assert again.histories == {"name:m": known.histories["name:m"]}
    assert again.histories["name:m"].standing == Standing(signers=(key_signer("b"),), repo="repo:7")
    assert again.histories["name:m"].last_agreed == (key_signer("a"),)
    noted = state.notes("models", ["challenge:c", "policy:hub:", "x"])
    assert noted == {"challenge:c": known.notes["challenge:c"]}


def signed_by(*names):
    return format_signers(tuple(key_signer(name) for name in names))


OLD = Followed(head=ChainHead(3, digest("s")), signers=signed_by("a"), repo="repo:7")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"signers": signed_by("b")},
        {"repo": "repo:8"},
        {"before": signed_by("c")},
        {"policy": digest("p")[:16]},
        {"head": None},
    ],
    ids=["the head alone", "signers", "repository", "before", "policy", "no head"],
)
def test_what_changes_in_a_history_is_stored_whichever_part_it_is(state, change):
    first, log = progress(), "models"
    first.known.histories["name:m"] = OLD
    first.known.changed.add("name:m")
    state.advance(first, routes=To(), now=100)
    known = state.load(log, histories=["name:m"])
    new = OLD._replace(**{"head": ChainHead(4, digest("t")), **change})
    known.histories["name:m"] = new
    known.changed.add("name:m")
    state.settle(log, known=known, findings=(), logged=(), routes=To(), now=101)
    assert state.load(log, histories=["name:m"]).histories == {"name:m": new}


def test_whether_a_scope_has_a_policy_is_known_without_looking_for_one(state):
    assert not state.load("models").has_policies
    first = progress()
    first.known.note("policy:hub:", {"policy": "p"})
    state.advance(first, routes=To(), now=100)
    assert state.load("models").has_policies
