"""The order of chains, whatever order statements were logged in."""

import itertools
import random

from monitor.publish.chains import Piece, in_order
from monitor.reads import read_entry
from tests.monitor.hub import Hub
from tests.world import key_signer, signed_by

A = signed_by(key_signer("a"))


def pieces_of(*names):
    """One event for each name, in two histories: that of the name, and that of one repository."""
    hub = Hub()
    for at, name in enumerate(names):
        hub.record(A, name=name, revision=str(at), repo_id="one")
    return [
        Piece(shard=0, at=at, read=read_entry(entry, at), proof=b"")
        for at, entry in enumerate(hub.world.entries)
    ]


def test_every_order_of_logging_gives_the_order_of_the_chains():
    pieces = pieces_of("a/a", "a/a", "a/b", "a/b", "a/a")
    for some in itertools.permutations(pieces):
        assert [each.at for each in in_order(some, {}, gaps=False)] == [0, 1, 2, 3, 4]


def test_in_any_batches_all_are_taken_once_and_in_order():
    pieces = pieces_of(*("a/a", "a/b") * 20)
    rng = random.Random(7)
    for _ in range(20):
        some = rng.sample(pieces, len(pieces))
        heads, waiting, done = {}, [], []
        for start in range(0, len(some), 7):
            waiting += some[start : start + 7]
            came = in_order(waiting, heads, gaps=False)
            done += came
            waiting = [each for each in waiting if each not in came]
        assert [each.at for each in done] == list(range(40))
        assert waiting == []


def test_what_a_gap_precedes_waits_or_comes_last_with_what_follows_it():
    pieces = pieces_of("a/a", "a/a", "a/a", "a/a", "a/a")
    later = [pieces[4], pieces[2], pieces[3], pieces[0]]
    heads = {}
    assert [each.at for each in in_order(later, heads, gaps=False)] == [0]
    assert heads == {"name:a/a": 0, "repo:one": 0}
    assert [each.at for each in in_order(later, {}, gaps=True)] == [0, 2, 3, 4]


def test_two_that_claim_one_place_are_in_log_order():
    first, second = pieces_of("a/a", "a/a")
    twin = Piece(shard=0, at=9, read=second.read, proof=b"")
    assert [each.at for each in in_order([twin, second, first], {}, gaps=False)] == [0, 1, 9]
