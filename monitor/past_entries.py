"""Where entries of the past are read again for a rule that is new: from a tile log, or from what was logged in Rekor.

A place of the past is a number that only grows: the leaf index in a tile log, (shard, index) as one number in Rekor.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ledger.errors import ProofError
from ledger.log.published import PublishedLog
from ledger.tlog import merkle
from ledger.tlog.tiles import TILE_WIDTH, EntryBundle
from monitor.findings import Finding
from monitor.known import SHARD_BITS
from monitor.logged import Logged
from monitor.reads import Read, read_entry
from monitor.rekor import RekorLedger
from monitor.state import State

RUN_ENTRIES = 16 * TILE_WIDTH
"""Entries that are read before it is remembered that they were."""
RUN_STATEMENTS = 1024
"""The same of a ledger in Rekor, whose statements are found one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """Some entries of the past, up to the place ``end``: each with its shard. ``missing`` says which cannot be read again."""

    end: int
    reads: Sequence[tuple[int, Read]]
    missing: Sequence[Finding] = ()


class PastEntries(Protocol):
    """The entries of one log that were verified before."""

    def bounds(self) -> tuple[int, int]:
        """Return the places from which and up to which there are entries now."""
        ...

    def read(self, start: int, most: int) -> PastRun:
        """Read some entries from a place on, and at most to another.

        Raises:
            SourceError, NotFoundError: they cannot be read now. ProofError: they are others than were replayed.
        """
        ...


class TilePast:
    """A tile log: entries are fetched again and must have the leaf hashes that were replayed, so no proof is needed."""

    def __init__(self, log: str, published: PublishedLog, state: State) -> None:
        self._log, self._published, self._state = log, published, state

    def bounds(self) -> tuple[int, int]:
        """Return the first leaf index that is followed, and the verified size."""
        position = self._state.position(self._log)
        return position.first, position.size

    def read(self, start: int, most: int) -> PastRun:
        """Read to the end of the run that ``start`` is in."""
        end = min((start // RUN_ENTRIES + 1) * RUN_ENTRIES, most)
        return PastRun(end=end, reads=[(0, read) for read in self._reads(start, end)])

    def _reads(self, start: int, end: int) -> Iterator[Read]:
        size = self._state.position(self._log).size
        for tile in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
            first = tile * TILE_WIDTH
            bundle = EntryBundle(index=tile, width=min(TILE_WIDTH, size - first))
            entries = self._published.bundle(bundle)
            if b"".join(merkle.leaf_hashes(entries)) != self._state.leaves(self._log, tile):
                raise ProofError(
                    f"entries {first} to {first + len(entries)} of {self._log}",
                    expected="those that were replayed",
                    actual="others",
                )
            for at in range(max(start, first), min(end, first + len(entries))):
                yield read_entry(entries[at - first], at)


class LoggedPast:
    """A ledger in Rekor: which statements were logged is remembered, with digests that were proven; they are found again."""

    def __init__(self, log: str, logged: Logged, ledger: RekorLedger) -> None:
        self._log, self._logged, self._ledger = log, logged, ledger

    def bounds(self) -> tuple[int, int]:
        """Return 0, and what follows the highest place at which the hub logged something."""
        last = self._logged.last(self._log)
        return 0, 0 if last is None else _place(*last) + 1

    def read(self, start: int, most: int) -> PastRun:
        """Read the statements that were looked at before; what waits is looked at with the new rule when it comes."""
        entries = self._logged.done(self._log, _apart(start), _apart(most), limit=RUN_STATEMENTS)
        reads, missing = self._ledger.again(entries)
        full = len(entries) == RUN_STATEMENTS
        end = _place(entries[-1].shard, entries[-1].leaf) + 1 if full else most
        return PastRun(end=end, reads=reads, missing=missing)


def _place(shard: int, index: int) -> int:
    return (shard << SHARD_BITS) | index


def _apart(place: int) -> tuple[int, int]:
    return place >> SHARD_BITS, place & ((1 << SHARD_BITS) - 1)
