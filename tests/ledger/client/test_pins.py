"""What a client remembers: never a step back, whoever else writes at the same time."""

import dataclasses
import multiprocessing

import pytest

from ledger.client.pins import HistoryPin, Pins, check_history, check_link, pins_of, verify_pin
from ledger.client.result import LogResult
from ledger.errors import ChainError, CorruptError, MisbehaviourError, NotFoundError, SignatureError
from ledger.event import HistoryLink
from ledger.tlog.checkpoint import verify_checkpoint
from tests.world import LEDGER, World, digest, make_event

WORLD = World().grow(40)
TRUST = WORLD.trust()


def tree(size, world=WORLD):
    return verify_checkpoint(world.checkpoint(size), origin=world.origin, keys=(world.log_signer.verifier,))


def event_pin(sequence=3, word="a", **changes):
    pin = HistoryPin(
        ledger=LEDGER,
        key="name:acme/tiny",
        sequence=sequence,
        sha256=digest(word),
        leaf_index=sequence,
        revision="r1",
        signers=("key SHA256:a",),
        level=LogResult.INCLUDED_ONLY,
        accepted=True,
        seen=1,
    )
    return dataclasses.replace(pin, **changes)


@pytest.fixture
def pins(tmp_path):
    return Pins(tmp_path / "data")


def test_a_log_is_remembered_and_moves_forward(pins):
    first = pins.move_log(TRUST, tree(5), linked_to=None)
    assert verify_pin(first, TRUST) == tree(5)
    second = pins.move_log(TRUST, tree(9), linked_to=first)
    assert pins.log(LEDGER, WORLD.origin) == second != first


def test_an_older_checkpoint_is_not_remembered(pins):
    first = pins.move_log(TRUST, tree(9), linked_to=None)
    assert pins.move_log(TRUST, tree(5), linked_to=first) == first == pins.log(LEDGER, WORLD.origin)


def test_a_checkpoint_that_is_linked_to_another_pin_is_not_remembered(pins):
    """Another process moved the pin between our check and this: nothing links ours to theirs."""
    first = pins.move_log(TRUST, tree(5), linked_to=None)
    theirs = pins.move_log(TRUST, tree(7), linked_to=first)
    assert pins.move_log(TRUST, tree(9), linked_to=first) == theirs
    assert pins.move_log(TRUST, tree(9), linked_to=None) == theirs


def test_two_trees_of_one_size_are_misbehaviour(pins):
    pins.move_log(TRUST, tree(10), linked_to=None)
    fork = WORLD.fork(9).grow(1, word="fork")
    with pytest.raises(MisbehaviourError):
        pins.move_log(TRUST, tree(10, fork), linked_to=None)


def test_a_pin_of_a_key_that_counts_no_more_is_refused(pins):
    pin = pins.move_log(TRUST, tree(10), linked_to=None)
    with pytest.raises(SignatureError, match="remembered checkpoint of log"):
        verify_pin(pin, World(log_key="other").trust())


def test_a_history_remembers_its_latest_event(pins):
    assert pins.move_history(event_pin(3)) == event_pin(3)
    assert pins.move_history(event_pin(2, "earlier")) == event_pin(3)
    assert pins.move_history(event_pin(4, "b")) == event_pin(4, "b") == pins.history(LEDGER, "name:acme/tiny")


def test_another_event_at_the_same_place_is_a_fork():
    with pytest.raises(ChainError, match="which you saw at leaf 3"):
        check_history(event_pin(3), event_pin(3, "other"))


def test_what_was_proven_more_strongly_before_is_refused():
    complete = event_pin(3, level=LogResult.COMPLETE_UNAUDITED)
    with pytest.raises(ChainError, match="expected COMPLETE_UNAUDITED, as before, got INCLUDED_ONLY"):
        check_history(complete, event_pin(4, "b"))
    check_history(event_pin(3), dataclasses.replace(complete, sequence=4))


def linked_event(sequence, previous):
    event = make_event(name="acme/tiny")
    link = HistoryLink(key="name:acme/tiny", sequence=sequence, previous=previous)
    return dataclasses.replace(event, common=dataclasses.replace(event.common, histories=(link,)))


def test_the_next_event_follows_the_one_that_is_remembered():
    check_link(event_pin(3), linked_event(4, digest("a")))
    check_link(event_pin(3), linked_event(5, digest("later")))
    with pytest.raises(ChainError, match="one that follows"):
        check_link(event_pin(3), linked_event(4, digest("b")))


def test_a_proven_event_is_remembered_in_each_of_its_histories():
    (pin,) = pins_of(
        linked_event(4, digest("a")),
        ledger=LEDGER,
        leaf_index=7,
        signers=("s",),
        level=LogResult.INCLUDED_ONLY,
        now=5,
    )
    assert (pin.key, pin.sequence, pin.leaf_index, pin.accepted) == ("name:acme/tiny", 4, 7, False)


def test_what_is_forgotten_is_gone(pins):
    pins.move_log(TRUST, tree(5), linked_to=None)
    pins.move_history(event_pin())
    assert [type(each).__name__ for each in pins.known()] == ["LogPin", "HistoryPin"]
    assert pins.forget("name:acme/tiny") == [event_pin()]
    assert len(pins.forget(LEDGER)) == 1
    assert pins.known() == []
    with pytest.raises(NotFoundError):
        pins.forget(LEDGER)


@pytest.mark.parametrize(
    "data",
    [b"x", b"{}", b'{"kind":"history"}', b'{"kind":"log","ledger":"a","note":1,"origin":"b"}'],
)
def test_a_damaged_pin_is_named_and_not_passed_over(pins, tmp_path, data):
    pins.move_history(event_pin())
    (path,) = (tmp_path / "data/pins").glob("*.json")
    path.write_bytes(data)
    with pytest.raises(CorruptError, match=str(path)):
        pins.history(LEDGER, "name:acme/tiny")


def _move_many(folder, start, first):
    """Move the pins forward from another process, each step linked to what is remembered."""
    pins = Pins(folder)
    start.wait()
    for size in range(first, 41, 2):
        known = pins.log(LEDGER, WORLD.origin)
        moved = pins.move_log(TRUST, tree(size), linked_to=known)
        assert verify_pin(moved, TRUST).checkpoint.size >= (
            verify_pin(known, TRUST).checkpoint.size if known else 0
        )
        assert pins.move_history(event_pin(size, str(size))).sequence >= size


def test_two_processes_at_once_never_move_a_pin_back(tmp_path):
    pins = Pins(tmp_path)
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    children = [context.Process(target=_move_many, args=(tmp_path, start, first)) for first in (1, 2)]
    for each in children:
        each.start()
    start.set()
    seen = []
    while any(each.is_alive() for each in children):
        if (pin := pins.history(LEDGER, "name:acme/tiny")) is not None:
            seen.append(pin.sequence)
    assert [each.exitcode for each in children] == [0, 0]
    assert seen == sorted(seen)
    assert pins.history(LEDGER, "name:acme/tiny").sequence == 40
