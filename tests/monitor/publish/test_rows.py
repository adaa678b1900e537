"""What is published of an entry says the same as `history` does, from the same log."""

import random

import pytest

from ledger.history import derive_rows
from ledger.server.words import standing_of
from monitor.publish.rows import Fold, KeyState
from monitor.reads import read_entry
from tests.monitor.hub import OBSERVER, Hub
from tests.world import key_signer, signed_by, sigstore_signer

A, B, S = signed_by(key_signer("a")), signed_by(key_signer("b")), signed_by(sigstore_signer())
BAD = signed_by(key_signer("a"), outcome="INVALID_SIGNATURE")


def rows_of(hub, *, runs=1, refused=()):
    """Fold the log in so many runs, each with nothing but what was stored of the states before."""
    entries, stored, found = hub.world.entries, {}, []
    step = -(-len(entries) // runs)
    for start in range(0, len(entries), step):
        reads = [read_entry(each, at) for at, each in enumerate(entries[start : start + step], start)]
        keys = {key for read in reads for key in read.histories}
        known = {key: state for key, state in stored.items() if key in keys}
        fold = Fold(hub.world.trust(), known, refused=frozenset(refused))
        found += [fold.apply(read) for read in reads]
        stored |= {key: fold.states[key] for key in fold.changed}
    return found


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("runs", [1, 4])
def test_standing_and_change_are_those_of_the_history_however_the_log_is_cut(seed, runs):
    chance, hub = random.Random(seed), Hub()
    for at in range(24):
        hub.record(
            *chance.choice([(A,), (B,), (S,), (A, B), (), (BAD,)]),
            revision=f"{at}",
            name=chance.choice(["acme/one", "acme/two"]),
            repo_id=chance.choice([None, "r1", "r2"]),
            ref=chance.choice(["refs/heads/main", "refs/heads/main", "refs/pull/1/head"]),
            decision=chance.choice(["observed", "observed", "challenged"]),
            recorded_by=chance.choice([None, None, None, OBSERVER]),
        )
    published = rows_of(hub, runs=runs)
    statements = [(at, read_entry(each, at).statement) for at, each in enumerate(hub.world.entries)]
    compared = 0
    for name in ("acme/one", "acme/two"):
        for row in derive_rows(statements, key=f"name:{name}"):
            facts = published[row.leaf_index].facts
            assert facts["standing"] == str(standing_of(row))
            assert facts.get("change") == row.change
            assert facts.get("byPinned") == row.by_pinned
            compared += 1
    assert compared == 24


def test_what_may_not_be_signed_there_moves_nothing():
    hub = Hub()
    hub.record(A, revision="1")
    hub.record(B, revision="2")
    hub.record(A, revision="3")
    published = rows_of(hub, refused=[1])
    assert published[1].models == ()
    assert published[1].facts["standing"] == "Not accepted"
    assert published[1].histories == ("name:acme/model",)
    assert "change" not in published[2].facts
    assert "change" in rows_of(hub)[2].facts


def test_an_entry_that_cannot_be_read_is_listed_as_such():
    hub = Hub()
    hub.world.append(b"no envelope")
    assert rows_of(hub)[0].facts == {"leafIndex": 0, "standing": "Not accepted", "why": "It cannot be read"}


def test_an_entry_of_another_ledger_is_listed_as_such():
    hub = Hub()
    hub.record(A, ledger="other.example/models")
    (row,) = rows_of(hub)
    assert (row.models, row.facts["why"]) == ((), "It is not of this ledger")


def test_a_state_that_was_stored_is_the_state():
    hub = Hub()
    hub.record(A, repo_id="r1")
    fold = Fold(hub.world.trust(), {}, refused=frozenset())
    fold.apply(read_entry(hub.world.entries[0], 0))
    assert fold.changed == {"name:acme/model", "repo:r1"}
    assert all(isinstance(each, KeyState) for each in fold.states.values())
