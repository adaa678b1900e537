"""Replays a whole published log: every bundle, every leaf hash, every tile, the root, the signature.

Works on any c2sp.org/tlog-tiles log. What the entries mean is the business of ``Examine``, a function that the
caller passes in: it runs beside the hashing, in the same worker, so that entries cross no process twice.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ledger.errors import CorruptError, LedgerError, MalformedError, ProofError
from ledger.log.published import PublishedLog
from ledger.tlog import merkle
from ledger.tlog.checkpoint import VerifiedCheckpoint
from ledger.tlog.tiles import TILE_WIDTH, EntryBundle, Tile

Examine = Callable[[int, Sequence[bytes]], Any]
"""``examine(first leaf index, entries)`` returns something small (picklable) about a run of entries, or raises."""
OpenLog = Callable[[], PublishedLog]
"""Opens the log in a worker process; must be picklable."""

_BUNDLES_A_TASK = 16
_TASKS_AHEAD = 4
_PARALLEL_FROM = 64 * TILE_WIDTH
"""Entries below which starting processes costs more than it gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What was replayed and found right."""

    checkpoint: VerifiedCheckpoint
    entries: int
    bundles: int
    tiles: int


@dataclass(slots=True)
class _Levels:
    """Tile roots on their way up; a level is compared with its tile as soon as 256 are there."""

    log: PublishedLog
    size: int
    hashes: list[list[bytes]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    tiles: int = 0

    def add(self, level: int, root: bytes) -> None:
        """Take the root of a full tile of the level below ``level``."""
        while level >= len(self.hashes):
            self.hashes.append([])
            self.counts.append(0)
        waiting = self.hashes[level]
        waiting.append(root)
        if len(waiting) == TILE_WIDTH:
            self._compare(level, waiting)
            self.hashes[level] = []
            self.counts[level] += 1
            self.add(level + 1, merkle.root_of(waiting))

    def finish(self) -> bytes:
        """Compare the partial tiles and return the root."""
        peaks: list[bytes] = []
        for level, waiting in enumerate(self.hashes):
            if waiting:
                self._compare(level, waiting)
                peaks[:0] = merkle.complete_subtrees(waiting)
        return merkle.fold(peaks)

    def _compare(self, level: int, computed: list[bytes]) -> None:
        if level == 0:  # already compared beside the hashing of its entries
            return
        tile = Tile(level=level, index=self.counts[level], width=len(computed))
        _compare_tile(tile, _read_tile(self.log, tile), computed)
        self.tiles += 1


def audit(
    open_log: OpenLog,
    checkpoint: VerifiedCheckpoint,
    *,
    examine: Examine | None = None,
    found: Callable[[Any], None] | None = None,
    progress: Callable[[int], None] | None = None,
    workers: int | None = None,
) -> Audited:
    """Replay the log up to a checkpoint whose signature was checked.

    ``found`` gets what ``examine`` returned, in log order; ``progress`` the number of entries done.

    Raises:
        CorruptError: a bundle, tile or entry is not what the log commits to; says which.
        ProofError: everything fits together but does not give the signed root.
    """
    size = checkpoint.checkpoint.size
    levels = _Levels(open_log(), size)
    done = 0
    for leaves, roots, report in _replay(open_log, size, examine, workers):
        done += leaves
        for root in roots[0]:
            levels.add(1, root)
        if roots[1]:
            _add_partial(levels, roots[1])
        if found and examine:
            found(report)
        if progress:
            progress(done)
    root = levels.finish()
    if root != checkpoint.checkpoint.root_hash:
        raise ProofError(
            f"root of {size} entries",
            expected=f"{checkpoint.checkpoint.root_hash.hex()} as signed",
            actual=root.hex(),
            next_step="Keep the checkpoint and the files: the log does not contain what it signed",
        )
    bundles = -(-size // TILE_WIDTH)
    return Audited(checkpoint=checkpoint, entries=size, bundles=bundles, tiles=levels.tiles + bundles)


def _add_partial(levels: _Levels, leaves: list[bytes]) -> None:
    if not levels.hashes:
        levels.hashes.append([])
        levels.counts.append(0)
    levels.hashes[0] = leaves


_Task = tuple[int, tuple[list[bytes], list[bytes]], Any]


def _replay(open_log: OpenLog, size: int, examine: Examine | None, workers: int | None) -> Iterator[_Task]:
    """Yield the tasks' results in log order, a bounded number of tasks ahead."""
    bundles = -(-size // TILE_WIDTH)
    starts = range(0, bundles, _BUNDLES_A_TASK)
    count = workers or os.cpu_count() or 1
    if size < _PARALLEL_FROM or count == 1:
        log = open_log()
        for start in starts:
            yield _task(log, start, min(bundles, start + _BUNDLES_A_TASK), size, examine)
        return
    with ProcessPoolExecutor(count, initializer=_start_worker, initargs=(open_log, examine)) as pool:
        waiting: list[Future[_Task]] = []
        try:
            for start in starts:
                waiting.append(pool.submit(_work, start, min(bundles, start + _BUNDLES_A_TASK), size))
                if len(waiting) == count * _TASKS_AHEAD:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()


_worker_log: PublishedLog
_worker_examine: Examine | None


def _start_worker(open_log: OpenLog, examine: Examine | None) -> None:
    global _worker_log, _worker_examine
    _worker_log, _worker_examine = open_log(), examine


def _work(start: int, end: int, size: int) -> _Task:
    return _task(_worker_log, start, end, size, _worker_examine)


def _task(log: PublishedLog, start: int, end: int, size: int, examine: Examine | None) -> _Task:
    """Hash the bundles ``[start, end)`` and compare them with their level-0 tiles."""
    roots: list[bytes] = []
    partial: list[bytes] = []
    entries: list[bytes] = []
    count = 0
    for index in range(start, end):
        width = min(TILE_WIDTH, size - index * TILE_WIDTH)
        bundle = EntryBundle(index=index, width=width)
        try:
            run = log.bundle(bundle)
        except LedgerError as error:
            raise CorruptError(
                f"bundle {bundle.path}", expected=f"{width} entries", actual=error.finding
            ) from error
        leaves = merkle.leaf_hashes(run)
        tile = Tile(level=0, index=index, width=width)
        _compare_tile(tile, _read_tile(log, tile), leaves)
        if width == TILE_WIDTH:
            roots.append(merkle.root_of(leaves))
        else:
            partial = leaves
        count += width
        if examine:
            entries.extend(run)
    return count, (roots, partial), examine(start * TILE_WIDTH, entries) if examine else None


def _read_tile(log: PublishedLog, tile: Tile) -> list[bytes]:
    try:
        return log.tile(tile)
    except MalformedError as error:
        raise CorruptError(
            f"tile {tile.path}",
            expected=error.expected,
            actual=error.actual,
            next_step="Fetch it again from another mirror, or restore the newest copy of the directory",
        ) from error


def _compare_tile(tile: Tile, stored: Sequence[bytes], computed: Sequence[bytes]) -> None:
    if stored == computed:
        return
    at = next(i for i in range(len(computed)) if stored[i] != computed[i])
    raise CorruptError(
        f"hash {at} of {tile.path} (from entry {(tile.index * TILE_WIDTH + at) << (8 * tile.level)})",
        expected=computed[at].hex(),
        actual=stored[at].hex(),
        next_step="The tile or an entry under it was changed: fetch both again from another mirror",
    )
