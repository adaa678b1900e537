"""Entries of a log that was verified: fetched again, and each held against the leaf hash that the monitor stored."""

from collections.abc import Sequence

from ledger.errors import LedgerError, ProofError
from ledger.log.fetch import Fetch
from ledger.log.published import PublishedLog
from ledger.tlog.merkle import HASH_BYTES, leaf_hashes
from ledger.tlog.signed_note import VerifierKey
from ledger.tlog.tiles import TILE_WIDTH, EntryBundle
from monitor.state import State

AHEAD = 8
"""Bundles that are fetched at a time."""


class Source:
    """Reads one log. A mirror or a cache that gives other bytes than were verified publishes nothing."""

    def __init__(
        self, log: str, state: State, sources: Sequence[Fetch], *, origin: str, keys: Sequence[VerifierKey]
    ) -> None:
        self._log, self._state = log, state
        self._published = [PublishedLog(each, origin=origin, keys=keys) for each in sources]

    def read(self, start: int, end: int, *, size: int) -> list[bytes]:
        """Return the entries ``[start, end)``, at most ``AHEAD`` bundles of them, in a tree of ``size``.

        Raises:
            ProofError: no source gives what was verified. SourceError, NotFoundError: none can be read.
        """
        errors: list[LedgerError] = []
        for published in self._published:
            try:
                return self._read(published, start, end, size)
            except LedgerError as error:
                errors.append(error)
        raise errors[0]

    def _read(self, published: PublishedLog, start: int, end: int, size: int) -> list[bytes]:
        first = start // TILE_WIDTH
        bundles = [
            EntryBundle(index=at, width=min(TILE_WIDTH, size - at * TILE_WIDTH))
            for at in range(first, min(first + AHEAD, -(-end // TILE_WIDTH)))
        ]
        ahead = published.ahead(bundles)
        found: list[bytes] = []
        for bundle in bundles:
            begins = bundle.index * TILE_WIDTH
            part = ahead.bundle(bundle)[max(start - begins, 0) : end - begins]
            at = max(start, begins)
            stored = self._state.leaves(self._log, bundle.index)[(at - begins) * HASH_BYTES :]
            if b"".join(leaf_hashes(part)) != stored[: len(part) * HASH_BYTES]:
                raise ProofError(
                    f"entries {at} to {at + len(part) - 1} of {self._log}",
                    expected="the entries that were verified",
                    actual="others",
                    next_step="Ask the log's operator, or add a mirror to the settings; nothing of these is published",
                )
            found += part
        return found
