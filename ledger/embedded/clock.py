"""The edge that asks the clock: everything else is told the time."""

import time
from datetime import UTC, datetime

DEFAULT_WAIT = 60.0
"""Seconds that a recording waits for its place in Rekor, or for witnesses: several checkpoints of the public log."""


def utc_now() -> str:
    """Return the time as statements carry it: RFC 3339, UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: TID251 - the edge that asks the clock


def posix_now() -> int:
    """Return the time as cosignatures carry it: POSIX seconds."""
    return int(time.time())  # noqa: TID251 - the edge that asks the clock


def posix_of(time: str) -> int:
    """Return a time of ``utc_now`` in POSIX seconds."""
    return int(datetime.fromisoformat(time).timestamp())
