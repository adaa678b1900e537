"""What a hub logged in the shards of a Rekor v2, with the proof of each entry.

A leaf of Rekor has the digest of a statement and a signature. The statement comes from the hub's evidence, the signature from the
leaf, which is fetched again and held against what was replayed; together they are the entry, and its proof is a ``.tlog-proof``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from ledger.client.proof_leaf import HASHEDREKORD
from ledger.client.trust import TrustFile
from ledger.entry import format_entry
from ledger.errors import ProofError
from ledger.log.hashedrekord import signature_by
from ledger.tlog.tiles import TILE_WIDTH
from monitor.checkpoints import SeenCheckpoint
from monitor.logged import MAX_UNSETTLED, LoggedEntry
from monitor.looks import Followable
from monitor.publish import layout
from monitor.publish.chains import Piece
from monitor.publish.covering import put_proofs
from monitor.publish.packs import NUMBER
from monitor.publish.proofs import Prover
from monitor.publish.source import Source
from monitor.publish.store import Store
from monitor.publish.writing import Writer
from monitor.reads import read_entry
from monitor.rekor import Finder
from monitor.state import Position, State

RUN_STATEMENTS = 512
"""Statements that are read at a time, at most 32 KiB each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One shard, and the newest checkpoint of it that was verified: its proofs lead up to that."""

    order: int
    tree: Followable
    position: Position
    checkpoint: SeenCheckpoint


class ShardPieces:
    """What is new in the shards of one ledger."""

    def __init__(
        self,
        log: str,
        shards: Sequence[Shard],
        *,
        state: State,
        store: Store,
        finder: Finder,
        trust: TrustFile,
    ) -> None:
        self._log, self._state, self._store, self._finder = log, state, store, finder
        self._shards = {each.order: each for each in shards}
        self._keys = {key.keyid: key.spki for key in trust.hub_keys}
        self._sources = {
            each.order: Source(
                each.tree.name,
                state,
                each.tree.sources,
                origin=each.tree.trust.origin,
                keys=each.tree.trust.log_keys,
            )
            for each in shards
        }
        self.reached: dict[int, int] = {}
        self.awaited: list[tuple[int, int]] = []

    def batches(self) -> Iterator[Sequence[Piece]]:
        """Yield what became known since, some at a time.

        Raises:
            SourceError, NotFoundError: a shard or the evidence cannot be read. ProofError: it gives other than was verified.
        """
        # What waits is noted first: what is settled meanwhile is met twice, and nothing is passed over.
        unsettled = self._state.logged.unsettled(self._log)
        self.reached = self._ends(unsettled)
        self.awaited = [
            (each.shard, each.leaf) for each in unsettled if each.leaf < self.reached.get(each.shard, 0)
        ]
        came = [
            entry
            for shard, at in self._store.awaited(self._log)
            for entry in self._state.logged.done(self._log, (shard, at), (shard, at + 1), limit=1)
        ]
        for start in range(0, len(came), RUN_STATEMENTS):
            yield self._pieces(came[start : start + RUN_STATEMENTS])
        for order, end in self.reached.items():
            at = self._store.reached(self._log, order)
            while entries := self._state.logged.done(
                self._log, (order, at), (order, end), limit=RUN_STATEMENTS
            ):
                yield self._pieces(entries)
                at = entries[-1].leaf + 1

    def _ends(self, unsettled: Sequence[LoggedEntry]) -> dict[int, int]:
        """Return up to where each shard is looked through: not past the unsettled entries that one answer can hold."""
        ends = {order: each.checkpoint.size for order, each in self._shards.items()}
        if len(unsettled) == MAX_UNSETTLED:
            last = unsettled[-1]
            for order, size in ends.items():
                most = size if order < last.shard else last.leaf if order == last.shard else 0
                ends[order] = max(min(size, most), self._store.reached(self._log, order))
        return ends

    def _pieces(self, entries: Sequence[LoggedEntry]) -> list[Piece]:
        # What a key signed that the trust file dropped since is nobody's word any more.
        new = [
            each
            for each in entries
            if each.keyid in self._keys and self._store.number(self._log, each.shard, each.leaf) is None
        ]
        payloads = self._finder.find([each.digest for each in new])
        self.awaited += [(each.shard, each.leaf) for each in new if each.digest not in payloads]
        found = [each for each in new if each.digest in payloads]
        return [
            piece
            for (order, tile), run in groupby(found, key=lambda each: (each.shard, each.leaf // TILE_WIDTH))
            for piece in self._tile(self._shards[order], tile, list(run), payloads)
        ]

    def _tile(
        self, shard: Shard, tile: int, entries: Sequence[LoggedEntry], payloads: Mapping[bytes, bytes]
    ) -> Iterator[Piece]:
        size = shard.checkpoint.size
        first, end = tile * TILE_WIDTH, min((tile + 1) * TILE_WIDTH, size)
        leaves = self._sources[shard.order].read(first, end, size=size)
        prover = Prover(self._state, shard.position, shard.checkpoint)
        for each in entries:
            signed = signature_by(self._keys[each.keyid], leaves[each.leaf - first])
            if signed is None or signed[0] != each.digest:
                raise ProofError(
                    f"leaf {each.leaf} of {shard.tree.name}",
                    expected=f"the hub's signature of {each.digest.hex()}, as remembered",
                    actual="another leaf",
                )
            data = format_entry(payloads[each.digest], keyid=each.keyid, signature=signed[1])
            proof = prover.prove(each.leaf, data, kind=HASHEDREKORD)
            yield Piece(shard=shard.order, at=each.leaf, read=read_entry(data, each.leaf), proof=proof)

    def keep(self, writer: Writer, proofs: Mapping[int, bytes]) -> Mapping[int, str]:
        """Write the proofs into packs."""
        put_proofs(writer, self._log, proofs, by=NUMBER)
        return {number: layout.of_proofs(self._log, number) for number in proofs}
