"""Covers entries of one log: proves each, and stores what it says with what has to be written because of it."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from ledger.client.trust import TrustFile
from ledger.log.fetch import Fetch
from monitor.checkpoints import SeenCheckpoint
from monitor.findings import Kind
from monitor.publish import layout
from monitor.publish.packs import LEAF, format_pack, parse_pack
from monitor.publish.proofs import Prover
from monitor.publish.rows import Fold
from monitor.publish.source import Source
from monitor.publish.store import Store
from monitor.publish.writing import Writer
from monitor.reads import read_entry
from monitor.state import Position, State


class Coverage:
    """Covers one log up to a verified checkpoint, from where it was left."""

    def __init__(
        self,
        *,
        state: State,
        store: Store,
        writer: Writer,
        trust: TrustFile,
        sources: Sequence[Fetch],
        position: Position,
        checkpoint: SeenCheckpoint,
    ) -> None:
        self._state, self._store, self._writer, self._trust = state, store, writer, trust
        self._name, self._position, self._checkpoint = position.name, position, checkpoint
        self._source = Source(self._name, state, sources, origin=trust.origin, keys=trust.log_keys)

    def run(self, *, stopping: Callable[[], bool]) -> None:
        """Cover what is new. Raises what a source raises; what was covered before that stays covered."""
        name, size = self._name, self._checkpoint.size
        self._store.begin(name, self._position.first)
        done = self._store.size(name) or 0
        refused = self._not_accepted() if done < size else frozenset()
        self._writer.expect(size - done)
        while done < size and not stopping():
            entries = self._source.read(done, size, size=size)
            self._cover(entries, done, refused)
            done += len(entries)
        if done >= size:
            self._store.cover(name, size)

    def _cover(self, entries: Sequence[bytes], first: int, refused: frozenset[int]) -> None:
        prover = Prover(self._state, self._position, self._checkpoint)
        reads = [read_entry(entry, at) for at, entry in enumerate(entries, first)]
        put_proofs(
            self._writer, self._name, {at: prover.prove(at, entry) for at, entry in enumerate(entries, first)}
        )
        self._writer.commit()
        # If we stop here, these proofs are there and nothing speaks of them yet; they are made again.
        keys = [key for read in reads for key in read.histories]
        fold = Fold(self._trust, self._store.states(self._name, keys), refused=refused)
        published = [fold.apply(read) for read in reads]
        self._store.add(self._name, published, {key: fold.states[key] for key in sorted(fold.changed)})

    def _not_accepted(self) -> frozenset[int]:
        """Return the entries that the monitor found not to be signed by a key that may sign there."""
        found = self._state.record.of_kind(self._name, Kind.HUB_KEY_REFUSED)
        return frozenset(leaf for each in found if isinstance(leaf := each.facts.get("leafIndex"), int))


def put_proofs(writer: Writer, log: str, proofs: Mapping[int, bytes], *, by: str = LEAF) -> None:
    """Write proofs, in order: the first pack may hold older ones, which stay as they are."""
    for _, run in groupby(proofs, key=lambda at: at // layout.PACK):
        some = {at: proofs[at] for at in run}
        first = min(some)
        name = layout.of_proofs(log, first)
        if first % layout.PACK and writer.has(name):
            known = parse_pack(writer.read(name))
            some |= {at: proof for at, proof in known.items() if at < first}
        writer.put(name, format_pack(some, by=by))
