"""Tells the index and the digests what was recorded, in a thread of its own: derived, and never in the way of recording."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ledger.errors import (
    LedgerError,
)
from ledger.event import Statement
from ledger.event.digests import NamedDigest, named_digests
from ledger.index import Index, Rows
from ledger.log import Committed, Journal
from ledger.recorder.drafts import Draft

_logger = logging.getLogger(__name__)
_MIRROR_AT = 16_384
"""Leaves that wait in memory for an index, at most."""
_HAND_OVER_AT = 2000
"""Leaves that are handed over before the next publication: so the index is written beside the recording, and not after it."""


@dataclass(slots=True)
class NamedLeaves:
    """What the leaves from ``start`` on name, for whoever mirrors digests."""

    start: int
    leaves: list[list[NamedDigest]] = field(default_factory=list)

    @property
    def end(self) -> int:
        """The leaf that follows."""
        return self.start + len(self.leaves)


Answered = tuple[Draft, bytes, Committed | LedgerError]


class Mirroring:
    """Tells the index what is recorded. Derived, so that a failure here must not fail what is recorded.

    Not thread-safe but for ``await_index``: whoever records holds a lock of its own.
    """

    def __init__(self, index: Index, log: Journal) -> None:
        self._index, self._log = index, log
        self._indexer = ThreadPoolExecutor(1, thread_name_prefix="index")
        self._unindexed: Rows | None = None
        self._named: NamedLeaves | None = None
        self._indexed = 0
        self._index_rows(None)  # a crash after a commit leaves the index behind

    def await_index(self) -> None:
        """Wait until the index has what was published last, or could not be brought up to it; nobody who records waits."""
        self._indexer.submit(int).result()

    def take_named(self) -> NamedLeaves | None:
        """Return, once, what was recorded since the last call; where too much came together, the newest part of it."""
        taken, self._named = self._named, None
        return taken

    def close(self) -> None:
        """Wait for the index, and stop the thread that writes it."""
        self._indexer.shutdown()

    def note(self, answered: Sequence[Answered]) -> None:
        """Keep the rows of committed events until the next publication, or until they are many, where they follow those before them."""
        for draft, _, result in answered:
            if not isinstance(result, Committed):
                continue
            self._note_named(result.leaf_index, draft.event)
            if self._unindexed is None:
                self._unindexed = Rows(result.leaf_index)
            if result.leaf_index != self._unindexed.end:
                # Somebody else appended in between: the log itself says what is missing.
                self._unindexed = None
                return
            self._unindexed.add(draft.sha256, draft.event)
        if self._unindexed is not None and self._unindexed.end - self._unindexed.start >= _HAND_OVER_AT:
            self.hand_over()

    def _note_named(self, leaf_index: int, statement: Statement) -> None:
        named = self._named
        if named is None or named.end != leaf_index or len(named.leaves) >= _MIRROR_AT:
            named = self._named = NamedLeaves(leaf_index)
        named.leaves.append(list(named_digests(statement)))

    def hand_over(self) -> None:
        """Hand what is new to the thread that writes the index: nobody who records waits for it, up to a bound.

        Rows that wait are memory. Where that thread has no processor, whoever records waits until it has some.
        """
        rows, self._unindexed = self._unindexed, None
        if rows is not None and rows.end - self._indexed > 2 * _MIRROR_AT:
            self.await_index()
        self._indexer.submit(self._index_rows, rows)

    def _index_rows(self, rows: Rows | None) -> None:
        try:
            if rows is not None and rows.start == self._index.position():
                self._index.add(rows)
            self._catch_up(rows.end if rows is not None else self._log.size)
            self._indexed = self._index.position()
        except LedgerError as error:
            _logger.warning("the index is behind the log (events are recorded): %s", error)
        except Exception:  # the outermost edge of this thread: nobody else would see it
            _logger.exception("a bug in the index (events are recorded)")

    def _catch_up(self, size: int) -> None:
        """Mirror what the log has up to ``size``; there is something to do only after a crash or a failure."""
        start = self._index.position()
        if start < size:
            self._index.catch_up(self._log.read(start, size), start)
