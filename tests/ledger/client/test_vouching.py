"""What monitors say of an event: each way in which their word is enough, not enough, or against the log."""

import dataclasses
import hashlib

import pytest

from cli.verify import exit_code
from ledger.client.proof_bundle import ProofBundle, parse_bundle
from ledger.client.result import LogResult, ModelResult
from ledger.client.trusted_monitor import TrustedMonitor
from ledger.client.verify import check_proof
from ledger.client.vouching import Stated, Unheard
from ledger.open_findings import OpenClass, OpenFindings, OpenList, OpenSeverity, history_digest
from ledger.tlog.merkle import prove_consistency
from tests.ledger.client.test_named import NAME, PLAN, events, local
from tests.world import LEDGER, NOW, World, digest

OPEN = OpenFindings(count=2, severity=OpenSeverity.HIGH, kind=OpenClass.FINDING)
LOW = OpenFindings(count=1, severity=OpenSeverity.LOW, kind=OpenClass.FINDING)
AT = 4


def make_world(size=7):
    made = World().grow(3)
    for each in events(*PLAN):
        made.record(_of_repository(each))
    return made.grow(size - 5)


def _of_repository(event):
    """The event in two histories, as most are: of its name and of its repository."""
    (link,) = event.common.histories
    links = (link, dataclasses.replace(link, key="repo:1"))
    return dataclasses.replace(
        event,
        common=dataclasses.replace(event.common, histories=links),
        model=dataclasses.replace(event.model, repo_id="1"),
    )


def monitor(world, name="monitor.example", max_age=100):
    return TrustedMonitor(key=world.monitor(name).verifier, max_age=max_age)


def linked(world, size, **more):
    """A statement about a smaller tree, and the proof that ours begins with it."""
    note = world.stated(size=size, **more)
    return Stated(note=note, consistency=prove_consistency(size, len(world.entries), world._read))


def ask(world, *stated, require="audited", monitors=None, **changes):
    """Check event 4 with what monitors say; returns the result and the row of the first monitor."""
    trust = world.trust(require=require, monitors=monitors or (monitor(world),), **changes)
    rows = [Stated(note=each) if isinstance(each, bytes) else each for each in stated]
    result = check_proof(world.proof(AT), trust=trust, now=NOW, files=local(), stated=rows)
    return result, next(each for each in result.checks if each.step == f"monitor {trust.monitors[0].name}")


def test_a_monitor_that_saw_the_same_tree_vouches():
    world = make_world()
    result, row = ask(world, world.stated(at=NOW - 7))
    assert (result.log, result.model, exit_code(result)) == (LogResult.INCLUDED_ONLY, ModelResult.ACCEPTED, 0)
    assert row.passed
    assert row.against == (
        "verified up to size 7, leaf 4 among it, 7 s ago, at most 100 s; nothing open for this model"
    )


def test_of_a_monitor_that_did_not_answer_the_row_says_why():
    world = make_world()
    away = Stated(unheard=Unheard(monitor="monitor.example", why="GET x: expected 200, got 404"))
    other = Stated(unheard=Unheard(monitor="other.example", why="something else"))
    result, row = ask(world, other, away)
    assert (exit_code(result), row.found) == (15, "no answer: GET x: expected 200, got 404")
    assert ask(world, world.stated(), away)[1].passed, "what was kept of it counts"
    assert ask(world, other)[1].found == "none"


@pytest.mark.parametrize("size", [5, 6])
def test_a_monitor_that_is_behind_the_checkpoint_vouches_for_what_it_reaches(size):
    world = make_world()
    result, row = ask(world, linked(world, size))
    assert (exit_code(result), row.passed) == (0, True)
    assert row.against.startswith(f"verified up to size {size}")


def test_the_newest_word_counts_and_one_of_a_clock_that_ran_ahead_hides_none():
    world = make_world()
    ahead, calm = world.stated(at=NOW + 301), world.stated(at=NOW - 50)
    found = world.stated(at=NOW - 20, findings={f"name:{NAME}": OPEN})
    assert exit_code(ask(world, ahead, calm)[0]) == 0
    for stated in ((calm, found), (found, calm), (ahead, calm, found)):
        assert ask(world, *stated)[1].found == "open for this model: 2 high finding"


def test_what_is_open_for_another_model_or_low_does_not_stop_this_one():
    world = make_world()
    findings = {"name:other/model-1": OPEN, f"name:{NAME}": LOW}
    result, row = ask(world, world.stated(findings=findings, log=LOW))
    assert exit_code(result) == 0
    assert row.against.endswith("; 1 low finding open and 1 low finding open")


NOT_ENOUGH = {
    "nothing said": (lambda world: [], "a statement about log.example/models, signed by the monitor", "none"),
    "no note": (
        lambda world: [b"<html>"],
        "a statement about log.example/models, signed by the monitor",
        "signed note: expected text, a blank line and signature lines, got another layout",
    ),
    "by another key": (
        lambda world: [world.stated(name="stranger.example")],
        "a statement about log.example/models, signed by the monitor",
        "signatures of the note: expected one by monitor.example+",
    ),
    "of another ledger": (
        lambda world: [world.stated(ledger="other.example")],
        "a statement about log.example/models, signed by the monitor",
        "one about log.example/models of ledger other.example",
    ),
    "of another log": (
        lambda world: [world.stated(origin="other.example")],
        "a statement about log.example/models, signed by the monitor",
        "one about other.example of ledger log.example/models",
    ),
    "before the event": (
        lambda world: [linked(world, 4)],
        "a statement that reaches leaf 4",
        "one of size 4",
    ),
    "of nothing": (
        lambda world: [world.stated(size=0)],
        "a statement that reaches leaf 4",
        "one of size 0",
    ),
    "without a link": (
        lambda world: [world.stated(size=6)],
        "a statement that is linked to the checkpoint of size 7",
        "one of size 6, not linked: no consistency proof between them",
    ),
    "with a link that fails": (
        lambda world: [dataclasses.replace(linked(world, 6), consistency=(digest("x"),) * 3)],
        "a statement that is linked to the checkpoint of size 7",
        "one of size 6, not linked: consistency of size 6 with size 7",
    ),
    "of a larger tree": (
        lambda world: [make_world(9).stated()],
        "a statement that is linked to the checkpoint of size 7",
        "one of size 9, not linked: the checkpoint of the proof is older",
    ),
    "from the future": (
        lambda world: [world.stated(at=NOW + 301)],
        "a statement at most 300 s in the future",
        "one 301 s ahead of this machine",
    ),
    "open for this model": (
        lambda world: [world.stated(findings={f"name:{NAME}": OPEN})],
        "no open finding",
        "open for this model: 2 high finding",
    ),
    "open for the log": (
        lambda world: [world.stated(log=OPEN)],
        "no open finding",
        "open for the log itself: 2 high finding",
    ),
    "too many to list": (
        lambda world: [world.stated(not_listed=5000)],
        "no open finding",
        "one could be: 5000 models have open findings, too many to list",
    ),
}


KEYS = (f"name:{NAME}", "repo:1")
"""The histories of event 4, which fall in two parts."""


def divided(**findings):
    """A list in parts of two, and of each of the event's histories the part in which it would be."""
    table = {f"name:other/{at}": OPEN for at in range(9)} | findings
    found = OpenList.of(LEDGER, table, most=8, most_in_part=2)
    return found, [found.files[part_for(found, key).name] for key in KEYS]


def part_for(found, key):
    digest = history_digest(LEDGER, key)
    return next(each for each in found.parts if each.holds(digest))


def test_of_a_list_in_parts_those_of_the_model_are_enough():
    world = make_world()
    found, parts = divided()
    assert len(found.parts) > len(set(parts)) == 2
    result, row = ask(world, Stated(note=world.stated(found=found), parts=tuple(parts)))
    assert (exit_code(result), row.passed) == (0, True)
    assert row.against.endswith("nothing open for this model")
    found, parts = divided(**{KEYS[0]: OPEN, KEYS[1]: OPEN})
    result, row = ask(world, Stated(note=world.stated(found=found), parts=tuple(parts)))
    assert (exit_code(result), row.found) == (15, "open for this model: 4 high finding")


def without_a_part(world):
    found, parts = divided()
    return [Stated(note=world.stated(found=found), parts=(parts[0],))]


def with_another_part(world):
    found, parts = divided()
    other = next(data for data in found.files.values() if data not in parts)
    return [Stated(note=world.stated(found=found), parts=(parts[0], other))]


def with_a_part_of_before(world):
    """Somebody hands over the newest statement, and of an older one the part in which nothing was open yet."""
    _, before = divided()
    found, _ = divided(**{KEYS[1]: OPEN})
    return [Stated(note=world.stated(found=found), parts=tuple(before))]


def with_a_part_that_is_none(world):
    found, parts = divided()
    bad = parts[1].replace(b"high", b"gone")
    wrong = dataclasses.replace(part_for(found, KEYS[1]), sha256=hashlib.sha256(bad).digest())
    rows = tuple(wrong if each.first == wrong.first else each for each in found.parts)
    return [Stated(note=world.stated(found=dataclasses.replace(found, parts=rows)), parts=(parts[0], bad))]


def where_nobody_answered(world):
    found, _ = divided()
    name = part_for(found, KEYS[1]).sha256
    away = Unheard(monitor="monitor.example", why="GET x: expected 200, got 404", part=name)
    other = Unheard(monitor="monitor.example", why="of an older statement", part=bytes(32))
    return [Stated(unheard=other), *without_a_part(world), Stated(unheard=away)]


def of_another_log_without_its_part(world):
    """The monitor is not away: what is here is of another log."""
    found, _ = divided()
    note = world.stated(found=found, origin="other.example")
    missing = Unheard(monitor="monitor.example", why="no file", part=bytes(32))
    return [Stated(note=note), Stated(unheard=missing)]


PART = "the part of its list in which this model would be"
NOT_ENOUGH |= {
    "a part is not there": (without_a_part, PART, "none: part of a monitor's list: expected one with"),
    "another part is there": (with_another_part, PART, "none: part of a monitor's list: expected one with"),
    "a part of an older statement": (
        with_a_part_of_before,
        PART,
        "none: part of a monitor's list: expected one with",
    ),
    "the monitor signed a part that is none": (
        with_a_part_that_is_none,
        PART,
        "none: open findings of a monitor's statement: expected count, severity and class",
    ),
    "of another log, and without its part": (
        of_another_log_without_its_part,
        "a statement about log.example/models, signed by the monitor",
        "one about other.example of ledger",
    ),
    "a part that nobody gave": (where_nobody_answered, PART, "none: GET x: expected 200, got 404"),
}


def test_what_is_known_to_be_open_counts_though_a_part_is_missing():
    """Or else another monitor could be enough, and the finding would be as good as hidden."""
    world = make_world()
    found, parts = divided(**{KEYS[0]: OPEN})
    monitors = (monitor(world), monitor(world, "other.example"))
    calm = world.stated(name="other.example")
    partly = Stated(note=world.stated(found=found), parts=(parts[0],))
    result, row = ask(world, partly, calm, monitors=monitors, monitors_needed=1)
    assert (exit_code(result), row.found) == (15, "open for this model: 2 high finding")
    of_log = Stated(note=world.stated(found=found, log=OPEN))
    assert ask(world, of_log)[1].found == "open for the log itself: 2 high finding"
    silent = Stated(note=world.stated(found=found))
    assert exit_code(ask(world, silent, calm, monitors=monitors, monitors_needed=1)[0]) == 0


@pytest.mark.parametrize("case", NOT_ENOUGH)
def test_what_a_monitor_does_not_say_is_not_taken_for_said(case):
    """Never success, and never an accusation; where it is not required it is a row that says so."""
    stated, expected, actual = NOT_ENOUGH[case]
    world = make_world()
    result, row = ask(world, *stated(world))
    assert (result.log, result.satisfied, exit_code(result)) == (LogResult.INCLUDED_ONLY, False, 15)
    assert (row.passed, row.against) == (False, expected)
    assert row.found.startswith(actual)
    assert result.failure.step == "monitor monitor.example"
    assert result.failure.next_step
    result, row = ask(world, *stated(world), require="included")
    assert (exit_code(result), row.passed) == (0, None)
    assert row.against.startswith(f"does not vouch for it: expected {expected}, got {actual}")


def test_a_statement_older_than_its_monitor_may_be_is_stale():
    world = make_world()
    assert exit_code(ask(world, world.stated(at=NOW - 100))[0]) == 0
    result, row = ask(world, world.stated(at=NOW - 101))
    assert (result.log, exit_code(result)) == (LogResult.STALE, 10)
    assert (row.against, row.found) == ("a statement at most 100 s old", "one 101 s old")
    assert exit_code(ask(world, world.stated(at=NOW - 101), require="included")[0]) == 0


@pytest.mark.parametrize("require", ["included", "audited", "complete"])
@pytest.mark.parametrize("size", [7, 6])
def test_a_root_that_contradicts_our_checkpoint_stops_every_check_and_convicts_nobody(require, size):
    """The monitor's word is no signature of the log: section 8 has two forms of evidence, and this is neither."""
    world, other = make_world(), make_world(5).grow(2, word="fork")
    consistency = prove_consistency(size, 7, world._read) if size < 7 else None
    result, row = ask(
        world, Stated(note=other.stated(size=size, at=NOW - 999), consistency=consistency), require=require
    )
    assert (result.log, exit_code(result), result.evidence) == (LogResult.INVALID, 13, None)
    assert result.model is ModelResult.NOT_CHECKED
    assert (row.passed, row.against) == (
        False,
        f"root {other.tree(size).root_hash.hex()} at size {size}, which it verified",
    )
    assert row.found == f"root {world.tree(size).root_hash.hex()} in the signed tree of 7"


def test_a_contradiction_is_explained_also_where_the_checkpoint_is_old():
    """13, not 10, so the words are of the contradiction."""
    world, other = make_world(), make_world(5).grow(2, word="fork")
    result, _ = ask(world, other.stated(), max_age=1)
    assert [each.step for each in result.checks if each.passed is False] == [
        "age limit",
        "monitor monitor.example",
    ]
    assert (exit_code(result), result.failure.step) == (13, "monitor monitor.example")


def test_the_newest_of_its_statements_counts():
    """An old one that found nothing must not hide that something was found since."""
    world = make_world()
    old, new = world.stated(at=NOW - 50), world.stated(at=NOW - 10, findings={f"name:{NAME}": OPEN})
    for order in ((old, new), (new, old)):
        assert exit_code(ask(world, *order)[0]) == 15


@pytest.mark.parametrize(
    ("needed", "stated", "code"),
    [
        (None, ("m1", "m2"), 0),
        (None, ("m1",), 15),
        (1, ("m1",), 0),
        (1, ("m2",), 0),
        (1, (), 15),
        (1, ("m1", "m2 open"), 15),
    ],
)
def test_how_many_monitors_are_needed(needed, stated, code):
    """A finding counts whoever else has none."""
    world = make_world()
    notes = [
        world.stated(name=word.split()[0], findings={f"name:{NAME}": OPEN} if "open" in word else {})
        for word in stated
    ]
    monitors = (monitor(world, "m1"), monitor(world, "m2"))
    result, _ = ask(world, *notes, monitors=monitors, monitors_needed=needed)
    assert exit_code(result) == code


def test_complete_is_never_satisfied_by_monitors():
    world = make_world()
    result, row = ask(world, world.stated(), require="complete")
    assert (exit_code(result), row.passed) == (15, True)
    assert result.failure.step == "completeness"
    assert result.failure.expected == "a proof that the history is complete"
    assert result.failure.actual == "a proof of inclusion only"


def test_audited_without_monitors_is_not_satisfied():
    world = make_world()
    trust = world.trust(require="audited")
    result = check_proof(world.proof(AT), trust=trust, now=NOW, files=local())
    assert (exit_code(result), result.failure.step, result.failure.actual) == (
        15,
        "monitors",
        "none in the trust file",
    )


def test_a_proof_bundle_carries_the_statements():
    world = make_world()
    stated = (linked(world, 6), Stated(note=world.stated()))
    bundle = ProofBundle(name=NAME, proof=world.proof(AT), claims=(), fetched_at=NOW, stated=stated)
    assert parse_bundle(bundle.format()) == bundle
    found, parts = divided()
    stated = (Stated(note=world.stated(found=found), parts=tuple(parts)), linked(world, 6, found=found))
    with_parts = dataclasses.replace(bundle, stated=stated)
    assert parse_bundle(with_parts.format()) == with_parts
    without = dataclasses.replace(bundle, stated=())
    assert b"statements" not in without.format()
    assert parse_bundle(without.format()) == without


def test_where_no_statement_counts_the_next_step_is_for_whoever_checks():
    """Away, of somebody else, or never asked: each has another way out."""
    world = make_world()
    away = Stated(unheard=Unheard(monitor="monitor.example", why="no route"))
    url = "https://monitor.example/models/statement"
    asked = dataclasses.replace(monitor(world), url=url)

    def step(*stated, monitors=None):
        return ask(world, *stated, monitors=monitors)[0].failure.next_step

    assert step(away) == "Try again later, or ask whoever runs the monitor"
    assert step(world.stated(name="other.example")).startswith("Take this monitor's statement about this log")
    assert step(world.stated(name="other.example"), away) == step(away)
    assert "give a copy of the file `statement`" in step()
    assert "--statement FILE" in step()
    assert f"give a copy of {url}: --statement FILE" in step(monitors=(asked,))
    assert "url of the monitor" not in step(monitors=(asked,))
