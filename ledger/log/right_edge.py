"""The growing right edge of a tile log, in memory (c2sp.org/tlog-tiles).

Holds, for each tile level, the hashes from the start of the newest published tile on, and the entries from
the start of the newest published bundle on. Appending costs two hashes a leaf; what has been published is
trimmed, so memory is bounded by what waits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ledger.errors import CorruptError
from ledger.tlog import merkle
from ledger.tlog.tiles import TILE_HEIGHT, TILE_WIDTH, EntryBundle, Tile, format_bundle


@dataclass(slots=True)
class _Level:
    start: int = 0
    hashes: list[bytes] = field(default_factory=list)


class RightEdge:
    """Entries and tile hashes that are not yet (all) in published, full objects."""

    def __init__(self) -> None:
        self.frontier = merkle.Frontier()
        self._levels: list[_Level] = [_Level()]
        self._first_entry = 0
        self._entries: list[bytes] = []

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self.frontier.size

    @classmethod
    def load(cls, size: int, fetch: Callable[[Tile | EntryBundle], Sequence[bytes]]) -> "RightEdge":
        """Read the partial tiles and the partial bundle of a published size.

        Raises:
            CorruptError: the entries of the last bundle do not hash to the last tile.
        """
        edge = cls()
        frontier: list[bytes] = []
        level, width = 0, size
        while width:
            partial = width % TILE_WIDTH
            at = _Level(start=width - partial)
            if partial:
                at.hashes = list(fetch(Tile(level=level, index=width // TILE_WIDTH, width=partial)))
                frontier[:0] = merkle.complete_subtrees(at.hashes)
            edge._set_level(level, at)
            level, width = level + 1, width // TILE_WIDTH
        edge._set_level(level, _Level())
        edge.frontier = merkle.Frontier(size, tuple(frontier))
        edge._first_entry = size - size % TILE_WIDTH
        if size % TILE_WIDTH:
            bundle = EntryBundle(index=size // TILE_WIDTH, width=size % TILE_WIDTH)
            edge._entries = list(fetch(bundle))
            if [merkle.leaf_hash(entry) for entry in edge._entries] != edge._levels[0].hashes:
                raise CorruptError(
                    f"right edge of the log at size {size}",
                    expected=f"the leaf hashes of {Tile(level=0, index=bundle.index, width=bundle.width).path}",
                    actual=f"other hashes from the entries of {bundle.path}",
                    next_step="Restore the newest copy of this directory; do not delete ledger.db",
                )
        return edge

    def append(self, entries: Sequence[bytes]) -> None:
        """Append entries of at most 65,535 bytes each (the caller checks)."""
        frontier = self.frontier
        leaves = self._levels[0].hashes
        for entry in entries:
            leaf = merkle.leaf_hash(entry)
            leaves.append(leaf)
            frontier.append(leaf)
            if not frontier.size % TILE_WIDTH:
                self._carry(frontier.size // TILE_WIDTH)
        self._entries.extend(entries)

    def _carry(self, width: int) -> None:
        """Put the root of each tile that just became full into the level above."""
        level = 1
        while True:
            below = self._levels[level - 1].hashes
            if level == len(self._levels):
                self._levels.append(_Level())
            self._levels[level].hashes.append(merkle.root_of(below[-TILE_WIDTH:]))
            if width % TILE_WIDTH:
                return
            level, width = level + 1, width // TILE_WIDTH

    def _set_level(self, level: int, value: _Level) -> None:
        if level == len(self._levels):
            self._levels.append(value)
        else:
            self._levels[level] = value

    def tile(self, tile: Tile) -> list[bytes] | None:
        """Return a tile's hashes where this edge holds them."""
        if tile.level >= len(self._levels):
            return None
        at = self._levels[tile.level]
        first = tile.index * TILE_WIDTH - at.start
        if first < 0 or first + tile.width > len(at.hashes):
            return None
        return at.hashes[first : first + tile.width]

    def object_bytes(self, part: Tile | EntryBundle) -> bytes:
        """Return the bytes of an object that a growth writes."""
        if isinstance(part, Tile):
            hashes = self.tile(part)
            if hashes is None:
                raise CorruptError(
                    "right edge", expected=f"the hashes of {part.path}", actual="a trimmed tile"
                )
            return b"".join(hashes)
        first = part.index * TILE_WIDTH - self._first_entry
        return format_bundle(self._entries[first : first + part.width])

    def entries(self, start: int) -> list[bytes]:
        """Return the entries from ``start`` on, which must not be trimmed."""
        return self._entries[start - self._first_entry :]

    def first_entry(self) -> int:
        """Return the index of the oldest entry held."""
        return self._first_entry

    def trim(self, published: int) -> None:
        """Forget what full, published objects hold."""
        first = published - published % TILE_WIDTH
        del self._entries[: first - self._first_entry]
        self._first_entry = first
        width = published
        for at in self._levels:
            start = width - width % TILE_WIDTH
            if start > at.start:
                del at.hashes[: start - at.start]
                at.start = start
            width >>= TILE_HEIGHT
