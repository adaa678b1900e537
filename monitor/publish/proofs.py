"""Proof files of entries (c2sp.org/tlog-proof), from the leaf hashes that the monitor stored and a signed checkpoint.

Each is made once, when a signed checkpoint first covers its entry. Inclusion does not expire, so it is never made again: the
tree may grow for ever and no proof has to be written twice.
"""

from collections.abc import Sequence

from ledger.client.proof_extra import ProofExtra, format_extra
from ledger.errors import LimitError
from ledger.tlog.merkle import HASH_BYTES, prove_inclusion
from ledger.tlog.proof import TlogProof, format_proof
from ledger.tlog.tiles import TILE_WIDTH, CachedNodes
from monitor.checkpoints import SeenCheckpoint
from monitor.judge import Remembered
from monitor.state import Position, State


class Prover:
    """Proves entries in the tree of one verified checkpoint. It remembers nodes: a new one for each run of entries."""

    def __init__(self, state: State, position: Position, checkpoint: SeenCheckpoint) -> None:
        self._state, self._log, self._checkpoint = state, position.name, checkpoint
        self._remembered = Remembered(state, position)
        self._nodes = CachedNodes(self._read)
        self._tile: tuple[int, bytes] = (-1, b"")

    def prove(self, leaf_index: int, entry: bytes, *, kind: str | None = None) -> bytes:
        """Return the proof file of an entry, in Rekor with the ``kind`` of its leaf.

        An entry that no ``extra`` can hold is proven without it.
        """
        try:
            extra = format_extra(ProofExtra(entry=entry, kind=kind))
            return self._format(leaf_index, extra)
        except LimitError:
            return self._format(leaf_index, None)

    def _format(self, leaf_index: int, extra: bytes | None) -> bytes:
        size = self._checkpoint.size
        hashes = prove_inclusion(leaf_index, size, self._nodes)
        return format_proof(
            TlogProof(index=leaf_index, hashes=hashes, checkpoint_note=self._checkpoint.note, extra=extra)
        )

    def _read(self, nodes: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read nodes on the edge of a tile; leaves lie beside each other, so their tile is read once."""
        found = []
        for level, index in nodes:
            if level:
                found += self._remembered([(level, index)])
                continue
            tile, at = divmod(index, TILE_WIDTH)
            if self._tile[0] != tile:
                self._tile = (tile, self._state.leaves(self._log, tile))
            hash_ = self._tile[1][at * HASH_BYTES : (at + 1) * HASH_BYTES]
            found += [hash_] if len(hash_) == HASH_BYTES else self._remembered([(0, index)])
        return found
