"""Which shard takes entries at a time, and why none does: by the dates that the trusted root and signing config give.

The time is this machine's, and may be wrong. A clock that is behind finds that no shard has begun, one that is ahead that
all have ended: then nothing is submitted, and what waits says by which clock and dates. What a receipt proves never rests on it:
whichever shard took an entry, its own key signed the tree.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime

from ledger.errors import FrozenError
from ledger.log.remote import Shard

_CLOCK = (
    "Correct this machine's clock if it is wrong; else get the newest signing configuration: "
    "the log goes on in another shard"
)


def newest_shard(
    shards: Iterable[Shard], kind: str, *, now: float, first: int = 0, frozen: AbstractSet[int] = frozenset()
) -> Shard | None:
    """Return the newest shard of a kind that takes entries at ``now`` (POSIX seconds), or None.

    ``first``: none before this one, in which the key that signed does not count yet. ``frozen``: those that said themselves
    that they take nothing.
    """
    fitting = [
        each
        for each in shards
        if each.kind == kind
        and each.write_url is not None
        and each.order >= first
        and each.order not in frozen
        and each.valid_from <= now
        and (each.valid_until is None or now <= each.valid_until)
    ]
    return max(fitting, key=lambda each: each.order, default=None)


def no_shard(
    shards: Sequence[Shard], kind: str, *, now: float, first: int = 0, frozen: AbstractSet[int] = frozenset()
) -> FrozenError:
    """Return the error that says why ``newest_shard`` has none: of each shard that may be written, the newest first."""
    known = sorted((each for each in shards if each.kind == kind and each.write_url is not None), key=_order)
    reasons = [_why_not(each, now, first, frozen) for each in reversed(known)]
    by_clock = any(each.order >= first and _outside(each, now) for each in known)
    return FrozenError(
        f"shards of {kind}",
        expected=f"one that takes entries at {_format(now)}, by this machine's clock",
        actual="; ".join(reasons) or "none in the signing config",
        next_step=_CLOCK if by_clock else None,
    )


def _order(shard: Shard) -> int:
    return shard.order


def _outside(shard: Shard, now: float) -> bool:
    return now < shard.valid_from or (shard.valid_until is not None and now > shard.valid_until)


def _why_not(shard: Shard, now: float, first: int, frozen: AbstractSet[int]) -> str:
    if shard.order < first:
        return f"{shard.origin} comes before the hub's key begins, which is in shard {first}"
    if now < shard.valid_from:
        return f"{shard.origin} begins at {_format(shard.valid_from)}"
    if shard.valid_until is not None and now > shard.valid_until:
        return f"{shard.origin} ended at {_format(shard.valid_until)}"
    return f"{shard.origin} is frozen" if shard.order in frozen else f"{shard.origin} takes entries"


def _format(posix: float) -> str:
    """Format a time; one that no calendar has stays a number."""
    try:
        return datetime.fromtimestamp(posix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, OSError, ValueError):
        return f"{posix:.0f}"
