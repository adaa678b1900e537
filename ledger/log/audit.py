"""Replays a whole published log: every bundle, every leaf hash, every tile, the root, the signature.

Works on any c2sp.org/tlog-tiles log. What the entries mean is the business of ``Examine``, a function that the
caller passes in: it runs beside the hashing, in the same worker, so that entries cross no process twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.errors import CorruptError, LedgerError, MalformedError, ProofError
from ledger.log.published import PublishedLog
from ledger.log.replay import OpenLog, replay
from ledger.tlog import merkle
from ledger.tlog.checkpoint import VerifiedCheckpoint
from ledger.tlog.tiles import TILE_WIDTH, EntryBundle, Tile

Examine = Callable[[int, Sequence[bytes]], Any]
"""``examine(first leaf index, entries)`` returns something small (picklable) about a run of entries, or raises."""


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
    for hashed in replay(open_log, size, _Hash(examine), workers=workers):
        done += hashed.leaves
        for root in hashed.roots:
            levels.add(1, root)
        if hashed.partial:
            _add_partial(levels, hashed.partial)
        if found and examine:
            found(hashed.report)
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


@dataclass(frozen=True, slots=True)
class _Hash:
    """Hashes a run of bundles and compares it with the level-0 tiles; then lets ``examine`` look at the entries."""

    examine: Examine | None

    def __call__(self, log: PublishedLog, bundles: list[EntryBundle]) -> "_Hashed":
        roots: list[bytes] = []
        partial: list[bytes] = []
        entries: list[bytes] = []
        tiles = [Tile(level=0, index=bundle.index, width=bundle.width) for bundle in bundles]
        log = log.ahead([part for pair in zip(bundles, tiles, strict=True) for part in pair])
        for bundle, tile in zip(bundles, tiles, strict=True):
            try:
                run = log.bundle(bundle)
            except LedgerError as error:
                raise CorruptError(
                    f"bundle {bundle.path}", expected=f"{bundle.width} entries", actual=error.finding
                ) from error
            leaves = merkle.leaf_hashes(run)
            _compare_tile(tile, _read_tile(log, tile), leaves)
            if bundle.width == TILE_WIDTH:
                roots.append(merkle.root_of(leaves))
            else:
                partial = leaves
            if self.examine:
                entries += run
        report = self.examine(bundles[0].index * TILE_WIDTH, entries) if self.examine else None
        return _Hashed(sum(bundle.width for bundle in bundles), roots, partial, report)


@dataclass(frozen=True, slots=True)
class _Hashed:
    """What comes back from a worker: how many leaves, the roots of full tiles, the leaves of a partial one."""

    leaves: int
    roots: list[bytes]
    partial: list[bytes]
    report: Any


def _read_tile(log: PublishedLog, tile: Tile) -> bytes:
    try:
        return log.tile_data(tile)
    except MalformedError as error:
        raise CorruptError(
            f"tile {tile.path}",
            expected=error.expected,
            actual=error.actual,
            next_step="Fetch it again from another mirror, or restore the newest copy of the directory",
        ) from error


def _compare_tile(tile: Tile, stored: bytes, computed: Sequence[bytes]) -> None:
    if stored == b"".join(computed):
        return
    hashes = [stored[i : i + merkle.HASH_BYTES] for i in range(0, len(stored), merkle.HASH_BYTES)]
    at = next(i for i in range(len(computed)) if hashes[i] != computed[i])
    raise CorruptError(
        f"hash {at} of {tile.path} (from entry {(tile.index * TILE_WIDTH + at) << (8 * tile.level)})",
        expected=computed[at].hex(),
        actual=hashes[at].hex(),
        next_step="The tile or an entry under it was changed: fetch both again from another mirror",
    )
