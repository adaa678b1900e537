"""When anchors are made, and when they are tried again: decisions about values."""

from dataclasses import replace

import pytest

from ledger.log.anchoring import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    AnchoringConfig,
    failed,
    is_due,
    lacks,
    may_try,
)
from ledger.storage.anchors import AnchorState, NewAnchor, StoredAnchor

NOW = 1_800_000_000


def stored(size, made_at):
    return StoredAnchor(
        new=NewAnchor(
            size=size, made_at=made_at, log="rekor-v2", wants_timestamps=False, note=b"", envelope=b""
        )
    )


@pytest.mark.parametrize(
    ("newest", "size", "due"),
    [
        (None, 0, False),
        (None, 1, True),
        (stored(5, NOW - 3600), 6, True),
        (stored(5, NOW - 3599), 6, False),
        (stored(5, NOW - 9999), 5, False),
        (stored(5, NOW - 9999), 4, False),
        (stored(5, NOW + 9999), 6, True),
        (stored(5, NOW + 9), 6, False),
    ],
    ids=[
        "empty log",
        "first",
        "after the interval",
        "too soon",
        "nothing new",
        "smaller",
        "clock set back",
        "a little",
    ],
)
def test_an_anchor_is_due_once_in_an_interval_and_only_for_more_than_the_last(newest, size, due):
    assert is_due(newest, size, now=NOW, interval=3600) is due


def test_failures_wait_longer_each_time_and_never_longer_than_an_hour():
    state, pauses = AnchorState(), []
    for _ in range(200):
        state = failed(state, now=NOW)
        pauses.append(state.not_before - NOW)
        assert not may_try(state, now=NOW)
        assert may_try(state, now=state.not_before)
    assert pauses[:4] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE, 8 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE
    assert pauses == sorted(pauses)


def test_a_pause_longer_than_any_is_of_a_clock_that_was_wrong():
    assert may_try(AnchorState(failures=3, not_before=NOW + LONGEST_PAUSE + 1), now=NOW)


CONFIG = AnchoringConfig(
    log="rekor-v2", timestamps=True, interval=3600, budget=1, origin="log.example", log_keys=()
)


@pytest.mark.parametrize(
    ("changes", "config", "wanting"),
    [
        ({}, CONFIG, True),
        ({"log_entry": b"{}"}, CONFIG, False),
        ({"refused": "never"}, CONFIG, False),
        ({}, replace(CONFIG, log="rekor-v1"), False),
        ({}, replace(CONFIG, log=""), False),
    ],
    ids=["pending", "logged", "refused", "for a log of before", "nothing is anchored any more"],
)
def test_a_new_log_does_not_wait_for_what_the_last_one_did_not_take(changes, config, wanting):
    assert lacks(replace(stored(5, NOW), **changes), config) is wanting


def test_a_timestamp_is_waited_for_while_the_settings_ask_for_one():
    anchor = stored(5, NOW)
    anchor = replace(anchor, new=replace(anchor.new, wants_timestamps=True), log_entry=b"{}")
    assert lacks(anchor, CONFIG)
    assert not lacks(replace(anchor, timestamps=(b"a response",)), CONFIG)
    assert not lacks(anchor, replace(CONFIG, timestamps=False))
