"""A machine whose clock is wrong, before real logs whose shards have dates: it waits, says why, and loses nothing."""

import json
import pathlib
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ledger.embedded.opening import open_for_recording
from ledger.embedded.remote import dispatching
from ledger.embedded.submitting import outbox_status
from ledger.log.dispatch import Backoff
from ledger.log.fetch import fetch_from_url
from ledger.log.published import PublishedLog
from tests.events import NOW, key
from tests.ledger.test_recorder import facts
from tests.system.rekor import rekor_v2, write_trust
from tests.system.rekor_v1 import log_info
from tests.system.test_outbox_crash import made

QUICK = Backoff(first=0.01, most=0.02)


def posix(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


RIGHT = posix("2026-03-01")
BEHIND, IN_THE_OLD_ONE, AHEAD = posix("1970-01-02"), posix("2025-06-01"), posix("2031-01-01")


def record(folder, count, *, start=0):
    with open_for_recording(folder, now=lambda: NOW) as ledger:
        for at in range(start, start + count):
            ledger.recorder.record(facts(f"e{at}", key("a"), revision=f"r{at}"))


def submit(folder, now, *, seconds):
    """Submit what waits as a machine would whose clock says ``now``; returns each number's places, and the failures."""
    with open_for_recording(folder, now=lambda: NOW) as ledger:
        ledger.log._clock = lambda: now
        config = {"clock": lambda: now, "backoff": QUICK}
        with dispatching(ledger.log, ledger.config, ledger.instance, **config):
            fates = ledger.log.wait_for(range(ledger.log.size), timeout=seconds)
        ledger.recorder.flush_index()
    places = {number: [each.position for each in fate.receipts] for number, fate in fates.items()}
    return places, outbox_status(folder, now=now)["errors"]


def size(server):
    log = PublishedLog(fetch_from_url(server.read_url), origin=server.origin, keys=[server.vkey])
    return log.checkpoint().checkpoint.size


@pytest.fixture
def shards(tmp_path):
    """Two shards: the first one's time is over, the second one's has begun; and a ledger in them with three entries."""
    with (
        rekor_v2(tmp_path / "old", origin="old.example", interval="100ms") as old,
        rekor_v2(tmp_path / "new", origin="new.example", interval="100ms") as new,
    ):
        logs = [
            replace(old.trusted, start="2025-01-01T00:00:00Z", end="2026-01-01T00:00:00Z"),
            replace(new.trusted, start="2026-01-01T00:00:01Z", end="2027-01-01T00:00:00Z"),
        ]
        trust = write_trust(tmp_path, logs)
        folder = made(tmp_path / "ledger", trust, kind="rekor-v2", read_url=new.read_url)
        record(folder, 2)
        yield folder, old, new


WAITS = "shards of rekor-v2: expected one that takes entries at {}, by this machine's clock, got {}"
CLOCKS = {
    "behind": (
        BEHIND,
        WAITS.format(
            "1970-01-02T00:00:00Z",
            "new.example begins at 2026-01-01T00:00:01Z; old.example begins at 2025-01-01T00:00:00Z",
        ),
    ),
    "ahead": (
        AHEAD,
        WAITS.format(
            "2031-01-01T00:00:00Z",
            "new.example ended at 2027-01-01T00:00:00Z; old.example ended at 2026-01-01T00:00:00Z",
        ),
    ),
}


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_clock_outside_of_every_shard_submits_nothing_and_says_by_which_clock(shards, clock):
    folder, old, new = shards
    now, why = CLOCKS[clock]
    places, errors = submit(folder, now, seconds=0.5)
    assert places == {number: [] for number in range(3)}
    assert errors == [{"error": "FrozenError", "count": 3, "message": why}]
    assert (size(old), size(new)) == (0, 0)
    # The clock is set right, and nothing has to be done by hand: an attempt that is put off far ahead counts as due.
    places, errors = submit(folder, RIGHT, seconds=60)
    assert sorted(places.values()) == [[(1, leaf)] for leaf in range(3)]
    assert errors == []
    assert (size(old), size(new)) == (0, 3)


def test_a_clock_that_is_behind_goes_to_no_shard_that_has_not_begun_and_comes_back_from_one_that_is_closed(
    shards,
):
    folder, old, new = shards
    old.freeze()
    places, errors = submit(folder, IN_THE_OLD_ONE, seconds=3)
    assert places == {number: [] for number in range(3)}
    why = WAITS.format(
        "2025-06-01T00:00:00Z", "new.example begins at 2026-01-01T00:00:01Z; old.example is frozen"
    )
    assert errors == [{"error": "FrozenError", "count": 3, "message": why}]
    assert size(new) == 0
    places, _ = submit(folder, RIGHT, seconds=60)
    assert sorted(places.values()) == [[(1, leaf)] for leaf in range(3)]


def test_a_clock_that_is_behind_logs_in_the_old_shard_while_that_takes_entries_and_nothing_twice(shards):
    """What it logs there is logged: the old shard is one of the trusted root, and its proof is as good as ever."""
    folder, old, new = shards
    places, errors = submit(folder, IN_THE_OLD_ONE, seconds=60)
    assert sorted(places.values()) == [[(0, leaf)] for leaf in range(3)]
    assert errors == []
    record(folder, 2, start=2)
    places, _ = submit(folder, RIGHT, seconds=60)
    assert sorted(places.values()) == [[(0, 0)], [(0, 1)], [(0, 2)], [(1, 0)], [(1, 1)]]
    assert (size(old), size(new)) == (3, 2)


def test_a_clock_outside_of_the_one_shard_of_a_real_rekor_v1_submits_nothing(rekor_v1_backend, tmp_path):
    with rekor_v1_backend.server() as server:
        root, signing = server.write_trust(tmp_path)
        config = json.loads(signing.read_bytes())
        window = {"start": "2026-01-01T00:00:00Z", "end": "2027-01-01T00:00:00Z"}
        config["rekorTlogUrls"][0]["validFor"] = window
        pathlib.Path(signing).write_text(json.dumps(config))
        folder = made(tmp_path / "ledger", (root, signing), kind="rekor-v1")
        record(folder, 2)
        for now, why in (
            (BEHIND, "1970-01-02T00:00:00Z, by this machine's clock, got rekor-v1.example begins at 2026"),
            (AHEAD, "2031-01-01T00:00:00Z, by this machine's clock, got rekor-v1.example ended at 2027"),
        ):
            places, ((error),) = submit(folder, now, seconds=0.5)
            assert places == {number: [] for number in range(3)}
            assert (error["error"], error["count"]) == ("FrozenError", 3)
            assert error["message"] == (
                f"shards of rekor-v1: expected one that takes entries at {why}-01-01T00:00:00Z"
            )
            assert log_info(server.url)["treeSize"] == 0
        places, errors = submit(folder, RIGHT, seconds=60)
        assert sorted(places.values()) == [[(0, leaf)] for leaf in range(3)]
        assert (errors, log_info(server.url)["treeSize"]) == ([], 3)
