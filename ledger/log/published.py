"""Reads a published tlog-tiles log, ours or anybody's, from a folder or a web address (c2sp.org/tlog-tiles).

The checkpoint's signature is checked before its size is used; entries are checked against their leaf
hashes, and tiles against the root, by whoever reads a proof or audits. Partial objects that are gone are
looked for in the full object that replaced them.
"""

from collections.abc import Iterator, Sequence

from ledger.errors import CorruptError, MalformedError, NotFoundError
from ledger.log.fetch import Fetch, fetch_ahead
from ledger.tlog import merkle
from ledger.tlog.checkpoint import VerifiedCheckpoint, verify_checkpoint
from ledger.tlog.signed_note import MAX_NOTE_BYTES, VerifierKey
from ledger.tlog.tiles import MAX_ENTRY_BYTES, TILE_WIDTH, EntryBundle, Tile, TileReader, parse_bundle

MAX_TILE_BYTES = TILE_WIDTH * merkle.HASH_BYTES
MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + MAX_ENTRY_BYTES)


class PublishedLog:
    """A log as its readers see it: checkpoint, tiles and bundles, nothing else."""

    def __init__(self, fetch: Fetch, *, origin: str, keys: Sequence[VerifierKey]) -> None:
        self.fetch = fetch
        self.origin = origin
        self.keys = tuple(keys)

    def checkpoint(self) -> VerifiedCheckpoint:
        """Fetch the checkpoint and check its origin and the log's signature."""
        note = self.fetch("checkpoint", max_bytes=MAX_NOTE_BYTES)
        return verify_checkpoint(note, origin=self.origin, keys=self.keys)

    def tile(self, tile: Tile) -> list[bytes]:
        """Fetch one tile's hashes, from the full tile where the partial one is gone."""
        data = self.tile_data(tile)
        return [data[i : i + merkle.HASH_BYTES] for i in range(0, len(data), merkle.HASH_BYTES)]

    def tile_data(self, tile: Tile) -> bytes:
        """Fetch one tile's hashes as they are stored, one after the other."""
        data = self._object(tile, Tile(level=tile.level, index=tile.index, width=TILE_WIDTH), MAX_TILE_BYTES)
        wanted = tile.width * merkle.HASH_BYTES
        if len(data) not in (wanted, MAX_TILE_BYTES):
            raise MalformedError(f"tile {tile.path}", expected=f"{wanted} bytes", actual=f"{len(data)} bytes")
        return data[:wanted]

    def bundle(self, bundle: EntryBundle) -> list[bytes]:
        """Fetch one bundle's entries, not yet checked against their leaf hashes."""
        full = EntryBundle(index=bundle.index, width=TILE_WIDTH)
        try:
            return parse_bundle(self.fetch(bundle.path, max_bytes=MAX_BUNDLE_BYTES), bundle.width)
        except NotFoundError:
            if bundle == full:
                raise
            return parse_bundle(self.fetch(full.path, max_bytes=MAX_BUNDLE_BYTES), TILE_WIDTH)[: bundle.width]

    def read(self, start: int, end: int, *, size: int) -> Iterator[bytes]:
        """Yield the entries ``[start, end)`` of a tree of ``size``, each checked against its level-0 tile.

        Raises:
            CorruptError: an entry does not hash to its leaf.
        """
        for index in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
            first = index * TILE_WIDTH
            width = min(TILE_WIDTH, size - first)
            entries = self.bundle(EntryBundle(index=index, width=width))
            leaves = self.tile(Tile(level=0, index=index, width=width))
            for at in range(max(start, first), min(end, first + width)):
                entry = entries[at - first]
                if merkle.leaf_hash(entry) != leaves[at - first]:
                    raise CorruptError(
                        f"entry {at} of the log",
                        expected=f"leaf hash {leaves[at - first].hex()}",
                        actual=merkle.leaf_hash(entry).hex(),
                        next_step="Run `hubledger log audit` to see what else is damaged",
                    )
                yield entry

    def ahead(self, parts: Sequence[Tile | EntryBundle]) -> "PublishedLog":
        """Return the same log with these objects on their way already, several at a time where that helps."""
        sizes = {part.path: MAX_TILE_BYTES if isinstance(part, Tile) else MAX_BUNDLE_BYTES for part in parts}
        return PublishedLog(fetch_ahead(self.fetch, sizes), origin=self.origin, keys=self.keys)

    def nodes(self, size: int) -> merkle.NodeReader:
        """Read subtree hashes of the tree of ``size`` from its tiles; for proofs."""
        return TileReader(self.tile, size)

    def prove_inclusion(self, leaf_index: int, size: int) -> tuple[bytes, ...]:
        """Prove that leaf ``leaf_index`` is in the tree of ``size``."""
        return merkle.prove_inclusion(leaf_index, size, self.nodes(size))

    def prove_consistency(self, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """Prove that the tree of ``old_size`` is a prefix of that of ``new_size``."""
        return merkle.prove_consistency(old_size, new_size, self.nodes(new_size))

    def _object(self, part: Tile, full: Tile, max_bytes: int) -> bytes:
        try:
            return self.fetch(part.path, max_bytes=max_bytes)
        except NotFoundError:
            if part == full:
                raise
            return self.fetch(full.path, max_bytes=max_bytes)
