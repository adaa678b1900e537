"""Covers a ledger in Rekor: what its hub logged and the monitor looked at, under numbers of this publication, in the order of chains.

What was logged is found by place (``shards``) or by receipt (``receipts``). A number is given once and stays; where the same
statement is met again, because we stopped or because it was awaited, its place tells that it has one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from ledger.client.trust import TrustFile
from monitor.findings import Kind
from monitor.publish.accounts import place_of
from monitor.publish.chains import Piece, in_order
from monitor.publish.rows import Fold
from monitor.publish.store import Placed, Store
from monitor.publish.writing import Writer
from monitor.state import State

MAX_WAITING = 4096
"""Statements that wait in memory for the one before them, with their proofs: a hub logs them nearly in order."""


class Pieces(Protocol):
    """Where the statements of a ledger come from, with their proofs."""

    def batches(self) -> Iterator[Sequence[Piece]]:
        """Yield what is new, some at a time. Raises what a source raises; then nothing more is asked."""
        ...

    @property
    def reached(self) -> Mapping[int, int]:
        """Up to where each shard was looked through, once ``batches`` ended."""
        ...

    @property
    def awaited(self) -> Sequence[tuple[int, int]]:
        """The places before that which have to be looked at again."""
        ...

    def keep(self, writer: Writer, proofs: Mapping[int, bytes]) -> Mapping[int, str]:
        """Write the proofs of some numbers, and return in which file each is."""
        ...


class LedgerCoverage:
    """Covers what is new in one ledger."""

    def __init__(
        self, log: str, pieces: Pieces, *, state: State, store: Store, writer: Writer, trust: TrustFile
    ) -> None:
        self._log, self._pieces, self._trust = log, pieces, trust
        self._state, self._store, self._writer = state, store, writer

    def run(self, *, stopping: Callable[[], bool]) -> None:
        """Cover what is new. Raises what a source raises; what was covered before that stays covered."""
        self._store.begin(self._log, 0)
        refused = self._not_accepted()
        waiting: Sequence[Piece] = ()
        for batch in self._pieces.batches():
            pool = [*waiting, *batch]
            waiting = self._cover(pool, refused, gaps=len(pool) - len(batch) > MAX_WAITING)
            if stopping():
                return
        self._cover(waiting, refused, gaps=True)
        # If we stop here, what is published is met again the next time, and has its numbers.
        self._store.reach(self._log, self._pieces.reached, self._pieces.awaited)

    def _cover(
        self, pool: Sequence[Piece], refused: frozenset[tuple[int, int]], *, gaps: bool
    ) -> Sequence[Piece]:
        """Publish those that follow what is published, and return the others."""
        known = self._store.heads(self._log, (key for piece in pool for key, _ in piece.links))
        heads = dict(known)
        ordered = in_order(pool, heads, gaps=gaps)
        if not ordered:
            return pool
        numbered = dict(enumerate(ordered, self._store.size(self._log) or 0))
        self._writer.expect(len(ordered))
        files = self._pieces.keep(self._writer, {number: piece.proof for number, piece in numbered.items()})
        self._writer.commit()
        # If we stop here, these proofs are there and nothing speaks of them yet; they are made again.
        states = self._store.states(self._log, [key for piece in ordered for key in piece.read.histories])
        fold = Fold(
            self._trust,
            states,
            refused=frozenset(number for number, piece in numbered.items() if piece.place in refused),
        )
        published = []
        for number, piece in numbered.items():
            entry = fold.apply(replace(piece.read, leaf_index=number))
            where = {"leafIndex": piece.at, "shard": piece.shard, "number": number, "proof": files[number]}
            published.append(replace(entry, facts={**entry.facts, **where}))
        self._store.add(
            self._log,
            published,
            {key: fold.states[key] for key in sorted(fold.changed)},
            placed=Placed(
                places={number: piece.place for number, piece in numbered.items()},
                heads={key: sequence for key, sequence in heads.items() if known.get(key) != sequence},
            ),
        )
        taken = {piece.place for piece in ordered}
        return [piece for piece in pool if piece.place not in taken]

    def _not_accepted(self) -> frozenset[tuple[int, int]]:
        """Return the places that the monitor found not to be signed by a key that may sign there."""
        found = self._state.record.of_kind(self._log, Kind.HUB_KEY_REFUSED)
        return frozenset(place for each in found if (place := place_of(each)) is not None)
