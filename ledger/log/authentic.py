"""Reads a published log so that nothing is believed, and nothing kept, before the signed checkpoint covers it.

A tile is authenticated whole: those of the right edge by the root, each other one by the hash that the tile above it
holds. So what is kept for later is true in every byte, and a bad mirror spoils one read and not all that follow.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator

from ledger.errors import ProofError
from ledger.log.published import PublishedLog
from ledger.tlog import merkle
from ledger.tlog.checkpoint import Checkpoint, VerifiedCheckpoint
from ledger.tlog.tiles import TILE_HEIGHT, TILE_WIDTH, EntryBundle, Tile, TileReader

MAX_KEPT_TILES = 2048
"""Sixteen megabytes of tiles: the leaves of half a million entries."""
MAX_KEPT_BUNDLES = 16
"""A few megabytes of entries: duplicates of one outbox are near each other."""
_MIRROR = "Read the log at another address, or tell whoever serves this one"


class AuthenticLog:
    """A published log whose tiles and entries are checked against a tree that it signed. Thread-safe."""

    def __init__(self, published: PublishedLog) -> None:
        self._published = published
        self._tiles = _Kept(MAX_KEPT_TILES)
        self._bundles = _Kept(MAX_KEPT_BUNDLES)
        self._newest: VerifiedCheckpoint | None = None
        self._lock = threading.Lock()

    def checkpoint(self) -> VerifiedCheckpoint:
        """Fetch the newest checkpoint, its origin and signature checked."""
        fetched = self._published.checkpoint()
        with self._lock:
            if self._newest is None or fetched.checkpoint.size > self._newest.checkpoint.size:
                self._newest = fetched
        return fetched

    def covering(self, leaf_index: int) -> VerifiedCheckpoint | None:
        """Return a checkpoint whose tree has this leaf, from memory where one does; None: not published yet."""
        with self._lock:
            newest = self._newest
        if newest is None or newest.checkpoint.size <= leaf_index:
            newest = self.checkpoint()
        return newest if newest.checkpoint.size > leaf_index else None

    def forget(self, *, tiles: bool) -> None:
        """Forget the newest checkpoint, and with ``tiles`` what trees covered: of one that does not hold, no more is of use."""
        with self._lock:
            self._newest = None
        if tiles:
            self._tiles.clear()
            self._bundles.clear()

    def nodes(self, tree: Checkpoint) -> merkle.NodeReader:
        """Read hashes of complete subtrees of a signed tree."""
        return TileReader(lambda tile: self._tile(tile, tree), tree.size)

    def prove_inclusion(self, leaf_index: int, size: int, *, tree: Checkpoint) -> tuple[bytes, ...]:
        """Prove that the leaf is in the tree of ``size``, which the signed tree extends."""
        return merkle.prove_inclusion(leaf_index, size, self.nodes(tree))

    def prove_consistency(self, old_size: int, new_size: int, *, tree: Checkpoint) -> tuple[bytes, ...]:
        """Prove that the tree of ``old_size`` is a prefix of that of ``new_size``, which the signed tree extends."""
        return merkle.prove_consistency(old_size, new_size, self.nodes(tree))

    def read(self, start: int, end: int, *, tree: Checkpoint) -> Iterator[bytes]:
        """Yield the entries ``[start, end)`` of a signed tree. Raises ProofError: an entry is not that leaf."""
        for index in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
            first = index * TILE_WIDTH
            yield from self._bundle(index, tree)[max(start - first, 0) : end - first]

    def find(self, entry: bytes, *, near: int, tree: Checkpoint) -> int | None:
        """Return where in a signed tree exactly this entry is: in the bundle of ``near``, or one beside it."""
        middle = near // TILE_WIDTH
        for index in (middle, middle - 1, middle + 1):
            if 0 <= index * TILE_WIDTH < tree.size:
                entries = self._bundle(index, tree)
                if entry in entries:
                    return index * TILE_WIDTH + entries.index(entry)
        return None

    def find_leaf(self, leaf: bytes, *, tree: Checkpoint, newest: int) -> int | None:
        """Return where among the ``newest`` leaves of a signed tree, or a few more, a leaf hash is; None: it is not."""
        last, first = -(-tree.size // TILE_WIDTH), max(0, tree.size - newest) // TILE_WIDTH
        for index in range(last - 1, first - 1, -1):
            width = min(TILE_WIDTH, tree.size - index * TILE_WIDTH)
            leaves = self._tile(Tile(level=0, index=index, width=width), tree)
            if leaf in leaves:
                return index * TILE_WIDTH + leaves.index(leaf)
        return None

    def _bundle(self, index: int, tree: Checkpoint) -> list[bytes]:
        first = index * TILE_WIDTH
        width = min(TILE_WIDTH, tree.size - first)
        bundle = EntryBundle(index=index, width=width)
        if (kept := self._bundles.get(bundle.path)) is not None:
            return kept
        leaves = self._tile(Tile(level=0, index=index, width=width), tree)
        entries = self._published.bundle(bundle)
        for at, entry in enumerate(entries):
            if merkle.leaf_hash(entry) != leaves[at]:
                raise ProofError(
                    f"entry {first + at} of the log",
                    expected=f"leaf hash {leaves[at].hex()}",
                    actual=merkle.leaf_hash(entry).hex(),
                    next_step=_MIRROR,
                )
        self._bundles.keep(bundle.path, entries)
        return entries

    def _tile(self, tile: Tile, tree: Checkpoint) -> list[bytes]:
        """Return a tile of the signed tree, authenticated. Recurses once for each level: eight at most."""
        if (kept := self._tiles.get(tile.path)) is not None:
            return kept
        if tile.width < TILE_WIDTH:
            return self._right_edge(tree)[tile.path]
        hashes = self._published.tile(tile)
        above = Tile(
            level=tile.level + 1,
            index=tile.index // TILE_WIDTH,
            width=min(
                TILE_WIDTH,
                (tree.size >> TILE_HEIGHT * (tile.level + 1)) - tile.index // TILE_WIDTH * TILE_WIDTH,
            ),
        )
        wanted = self._tile(above, tree)[tile.index % TILE_WIDTH]
        _check_root(f"tile {tile.path}", merkle.root_of(hashes), wanted)
        self._tiles.keep(tile.path, hashes)
        return hashes

    def _right_edge(self, tree: Checkpoint) -> dict[str, list[bytes]]:
        """Fetch the partial tiles: together they are the root, so that each of their hashes is covered."""
        fetched: dict[str, list[bytes]] = {}
        roots: list[bytes] = []
        level, size = 0, tree.size
        while size:
            if width := size % TILE_WIDTH:
                tile = Tile(level=level, index=size // TILE_WIDTH, width=width)
                fetched[tile.path] = self._published.tile(tile)
                roots[:0] = merkle.complete_subtrees(fetched[tile.path])
            level, size = level + 1, size // TILE_WIDTH
        _check_root(f"tiles of size {tree.size}", merkle.fold(roots), tree.root_hash)
        for path, hashes in fetched.items():
            self._tiles.keep(path, hashes)
        return fetched


class _Kept:
    """The newest few objects that were authenticated, by path: they are the same in every larger tree."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._objects: OrderedDict[str, list[bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: str) -> list[bytes] | None:
        with self._lock:
            if path in self._objects:
                self._objects.move_to_end(path)
            return self._objects.get(path)

    def keep(self, path: str, hashes: list[bytes]) -> None:
        with self._lock:
            self._objects[path] = hashes
            while len(self._objects) > self._limit:
                self._objects.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._objects.clear()


def _check_root(what: str, root: bytes, wanted: bytes) -> None:
    if root != wanted:
        raise ProofError(what, expected=f"root {wanted.hex()}", actual=root.hex(), next_step=_MIRROR)
