"""Fetches the entries of one run, as many as memory and time permit."""

from collections.abc import Callable

from ledger.errors import (
    LedgerError,
)
from ledger.log.published import PublishedLog
from ledger.tlog.tiles import TILE_WIDTH, EntryBundle

RUN_BYTES = 32 << 20
"""A run ends after the bundle that reaches this, so that a log of huge entries does not fill the memory."""
_AHEAD = 8
"""Bundles that are on their way at a time."""
RUN_SECONDS = 10.0
"""A run ends after the bundle that came so long after its first: a slow log is verified, and told of, as it comes."""


def download(
    published: PublishedLog, start: int, end: int, *, size: int, elapsed: Callable[[], float]
) -> list[bytes]:
    """Fetch the entries ``[start, end)`` of a tree of ``size``, or as many as fit into a run; at least one bundle.

    What came before a refusal is returned: it is verified and kept, and the next run meets the refusal at its start. So an
    outage inside a long range costs nothing that was downloaded.
    """
    entries: list[bytes] = []
    total, began = 0, elapsed()
    bundles = [
        EntryBundle(index=at, width=min(TILE_WIDTH, size - at * TILE_WIDTH))
        for at in range(start // TILE_WIDTH, -(-end // TILE_WIDTH))
    ]
    for first in range(0, len(bundles), _AHEAD):
        some = bundles[first : first + _AHEAD]
        log = published.ahead(some)
        for bundle in some:
            at = bundle.index * TILE_WIDTH
            try:
                part = log.bundle(bundle)[max(start - at, 0) : end - at]
            except LedgerError:
                if not entries:
                    raise
                return entries
            entries += part
            total += sum(map(len, part))
        if total >= RUN_BYTES or elapsed() - began >= RUN_SECONDS:
            break
    return entries
