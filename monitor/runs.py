"""Fetches a log's entries in runs, as many as memory and time permit, and where there are many one run ahead.

While a run is acted on, the next is on its way to the processes that check it. None of it counts before its turn comes: a run
is proven as a whole, and what goes wrong with the one ahead is met again then, and told.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ledger.client.trust import TrustFile
from ledger.errors import LedgerError
from ledger.log.published import PublishedLog
from ledger.tlog.tiles import TILE_WIDTH, EntryBundle
from monitor.checkers import FROM, Checkers
from monitor.reads import Read, read_entry

RUN_BYTES = 16 << 20
"""A run ends after the bundle that reaches this, so that a log of huge entries does not fill the memory."""
_AHEAD = 8
"""Bundles that are on their way at a time."""
RUN_SECONDS = 10.0
"""A run ends after the bundle that came so long after its first: a slow log is verified, and told of, as it comes."""

_QUICK_SECONDS = 1.0
"""A log that takes longer for a run is not read ahead: what it gave would wait to be told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Consecutive entries as they were fetched, from leaf ``first`` on. ``was_quick``: fetching them took no time to speak of."""

    first: int
    entries: Sequence[bytes]
    was_quick: bool

    @property
    def end(self) -> int:
        """The first leaf index behind it."""
        return self.first + len(self.entries)


class Runs:
    """The runs of one tree of a log, from one source. ``end_of`` says where a run that begins somewhere ends at most."""

    def __init__(
        self,
        published: PublishedLog,
        *,
        size: int,
        until: int,
        end_of: Callable[[int], int],
        elapsed: Callable[[], float],
    ) -> None:
        self._published, self._size, self._until = published, size, until
        self._end_of, self._elapsed = end_of, elapsed
        self._ahead: Run | None = None

    def next(self, start: int, checking: "Checking") -> Run:
        """Return the run that begins at ``start``; its reads are those of ``checking``.

        Raises:
            SourceError, NotFoundError, MalformedError, LimitError: its first bundle cannot be had.
        """
        run, self._ahead = self._ahead, None
        if run is None or run.first != start:
            run = self._fetch(start)
            checking.begin(run.entries)
        # Meanwhile somebody may have handed in a checkpoint of a size inside of it, whose root must be compared.
        run = replace(run, entries=run.entries[: self._end_of(start) - start])
        if checking.is_apart and run.was_quick and run.end < self._until:
            try:
                self._ahead = self._fetch(run.end)
            except LedgerError:
                self._ahead = None
        checking.then = None if self._ahead is None else self._ahead.entries
        return run

    def _fetch(self, start: int) -> Run:
        began = self._elapsed()
        end = self._end_of(start)
        entries = download(self._published, start, end, size=self._size, elapsed=self._elapsed)
        return Run(first=start, entries=entries, was_quick=self._elapsed() - began < _QUICK_SECONDS)


class Checking:
    """Checks runs in processes of their own from where the first is large enough; a small log needs none.

    ``then`` are the entries of the run that comes next, where it is there already. ``trust`` is absent where the entries are
    no entries of ours.
    """

    def __init__(self, trust: TrustFile | None) -> None:
        self._trust = trust
        self._checkers: Checkers | None = None
        self._alone = False
        self.then: Sequence[bytes] | None = None

    @property
    def is_apart(self) -> bool:
        """Whether there are processes that check."""
        return self._checkers is not None

    def begin(self, entries: Sequence[bytes]) -> None:
        """Let a run be checked."""
        if self._checkers is None and not self._alone and self._trust is not None and len(entries) >= FROM:
            try:
                self._checkers = Checkers(self._trust)
            except OSError:  # no process, or no memory, for more: everything is looked at here
                self._alone = True
        if self._checkers is not None:
            self._checkers.begin(entries)

    def read(self, run: Run) -> list[Read]:
        """Return what is read of the run that was begun last, of which the end may be missing; then the next one is begun."""
        if self._checkers is None:
            return [read_entry(entry, at) for at, entry in enumerate(run.entries, run.first)]
        return self._checkers.read(run.entries, run.first, then=self.then)

    def close(self) -> None:
        """End the processes. The next run may start new ones."""
        self._alone = False
        if self._checkers is not None:
            self._checkers.close()
            self._checkers = None


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
