"""Which shard takes entries by the dates, and what is said of each when none does."""

from dataclasses import replace

import pytest

from ledger.log.shard_choice import newest_shard, no_shard
from tests.fakes.remote_log import FakeShard

DAY = 86_400
OLD = FakeShard(0, origin="old.example", valid_from=DAY, valid_until=3 * DAY).shard
NEW = FakeShard(1, origin="new.example", valid_from=2 * DAY, valid_until=4 * DAY).shard
OTHER = FakeShard(2, origin="one.example", kind="rekor-v1").shard
READ = replace(FakeShard(3, origin="read.example").shard, write_url=None)
SHARDS = [OLD, NEW, OTHER, READ]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (-1, None),
        (DAY - 0.001, None),
        (DAY, OLD),
        (2 * DAY - 0.001, OLD),
        (2 * DAY, NEW),
        (3 * DAY + 1, NEW),
        (4 * DAY, NEW),
        (4 * DAY + 0.001, None),
    ],
)
def test_the_newest_one_counts_between_its_dates_both_included(now, expected):
    assert newest_shard(SHARDS, "rekor-v2", now=now) == expected


def test_a_frozen_one_gives_way_and_none_before_the_first_is_taken():
    assert newest_shard(SHARDS, "rekor-v2", now=2 * DAY, frozen={1}) == OLD
    assert newest_shard(SHARDS, "rekor-v2", now=2 * DAY, first=1) == NEW
    assert newest_shard(SHARDS, "rekor-v2", now=2 * DAY, first=1, frozen={1}) is None
    assert newest_shard(SHARDS, "rekor-v1", now=0) == OTHER


CLOCK = "Correct this machine's clock if it is wrong; else get the newest signing configuration: the log goes on in another shard"
TRUST = "Get the newest signing configuration: the log goes on in another shard"


@pytest.mark.parametrize(
    ("facts", "at", "actual", "next_step"),
    [
        (
            {"now": 0},
            "1970-01-01T00:00:00Z",
            "new.example begins at 1970-01-03T00:00:00Z; old.example begins at 1970-01-02T00:00:00Z",
            CLOCK,
        ),
        (
            {"now": 5 * DAY},
            "1970-01-06T00:00:00Z",
            "new.example ended at 1970-01-05T00:00:00Z; old.example ended at 1970-01-04T00:00:00Z",
            CLOCK,
        ),
        (
            {"now": 2 * DAY, "frozen": {0, 1}},
            "1970-01-03T00:00:00Z",
            "new.example is frozen; old.example is frozen",
            TRUST,
        ),
        (
            {"now": 2 * DAY, "frozen": {1}, "first": 1},
            "1970-01-03T00:00:00Z",
            "new.example is frozen; old.example comes before the hub's key begins, which is in shard 1",
            TRUST,
        ),
        (
            {"now": 1e30},
            "1000000000000000019884624838656",
            "new.example ended at 1970-01-05T00:00:00Z; old.example ended at 1970-01-04T00:00:00Z",
            CLOCK,
        ),
    ],
)
def test_it_is_said_of_each_shard_why_it_takes_nothing(facts, at, actual, next_step):
    error = no_shard(SHARDS, "rekor-v2", **facts)
    assert error.finding == (
        f"shards of rekor-v2: expected one that takes entries at {at}, by this machine's clock, got {actual}"
    )
    assert error.next_step == next_step


def test_shards_that_are_only_read_are_named_to_nobody():
    assert no_shard([READ], "rekor-v2", now=0).actual == "none in the signing config"
