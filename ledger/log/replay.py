"""Goes through a published log in runs of bundles, in several processes, and gives the results in log order.

What is done with a run is the caller's: the audit hashes it, a rebuild of the index reads it. Entries cross no process.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, Protocol

from ledger.log.published import PublishedLog
from ledger.tlog.tiles import TILE_WIDTH, EntryBundle

OpenLog = Callable[[], PublishedLog]
"""Opens the log in a worker process; must be picklable."""

_BUNDLES_A_RUN = 16
_RUNS_AHEAD = 4
_PARALLEL_FROM = 64 * TILE_WIDTH
"""Entries below which starting processes costs more than it gives."""


class Work(Protocol):
    """``work(log, bundles)`` does something with consecutive bundles and returns something small, or raises.

    Must be picklable; each process has a copy of its own, so it may keep what it opened.
    """

    def __call__(self, log: PublishedLog, bundles: "list[EntryBundle]", /) -> Any:
        """Do the work."""
        ...


def replay(open_log: OpenLog, size: int, work: Work, *, workers: int | None = None) -> Iterator[Any]:
    """Yield what ``work`` returns for each run of the first ``size`` leaves, in log order."""
    runs = [_run(start, size) for start in range(0, -(-size // TILE_WIDTH), _BUNDLES_A_RUN)]
    count = workers or os.cpu_count() or 1
    if size < _PARALLEL_FROM or count == 1:
        log = open_log()
        yield from (work(log, run) for run in runs)
        return
    with ProcessPoolExecutor(count, initializer=_start_worker, initargs=(open_log, work)) as pool:
        waiting: list[Future[Any]] = []
        try:
            for run in runs:
                waiting.append(pool.submit(_work, run))
                if len(waiting) == count * _RUNS_AHEAD:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()


def _run(start: int, size: int) -> list[EntryBundle]:
    """Return the bundles of a run; the last one of the log may be partial."""
    ends = range(start, min(-(-size // TILE_WIDTH), start + _BUNDLES_A_RUN))
    return [EntryBundle(index=at, width=min(TILE_WIDTH, size - at * TILE_WIDTH)) for at in ends]


_worker_log: PublishedLog
_worker_work: Work


def _start_worker(open_log: OpenLog, work: Work) -> None:
    global _worker_log, _worker_work
    _worker_log, _worker_work = open_log(), work


def _work(run: list[EntryBundle]) -> Any:
    return _worker_work(_worker_log, run)
