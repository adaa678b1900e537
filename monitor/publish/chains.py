"""The order in which the statements of a ledger in Rekor are published: that of their chains, whatever order they were logged in.

It is the order in which the monitor looks at them (``monitor.rekor``), so that both see the same changes of signers. Pure.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from monitor.reads import Read


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One statement that the hub logged: the shard and index of its place, what it says, and the file that proves it."""

    shard: int
    at: int
    read: Read
    proof: bytes

    @property
    def place(self) -> tuple[int, int]:
        """Where it is logged."""
        return self.shard, self.at

    @property
    def links(self) -> list[tuple[str, int]]:
        """Its places in the chains; none of an observer's, and of what cannot be read."""
        common = self.read.statement.common if self.read.statement is not None else None
        found = common.histories if common is not None else ()
        return [(each.key, each.sequence) for each in found if each.sequence is not None]


def in_order(pieces: Sequence[Piece], heads: dict[str, int], *, gaps: bool) -> list[Piece]:
    """Return those whose predecessors are published or among them, and move ``heads`` to where that takes the chains.

    With ``gaps`` all: those that nothing precedes come last, each with what follows it. Two that claim one place are in log order.
    """
    pieces = sorted(pieces, key=lambda each: each.place)
    by_link: dict[tuple[str, int], list[Piece]] = {}
    for piece in pieces:
        for link in piece.links:
            by_link.setdefault(link, []).append(piece)
    taken: dict[tuple[int, int], Piece] = {}

    def take(first: Piece, *, anyway: bool) -> None:
        ready = deque((first,))
        while ready:
            piece = ready.popleft()
            follows = all(sequence <= heads.get(key, -1) + 1 for key, sequence in piece.links)
            if piece.place in taken or not (follows or anyway):
                continue
            anyway = False
            taken[piece.place] = piece
            for key, sequence in piece.links:
                heads[key] = max(heads.get(key, -1), sequence)
                ready.extend(by_link.get((key, sequence + 1), ()))

    for anyway in (False, True)[: 1 + gaps]:
        for piece in pieces:
            take(piece, anyway=anyway)
    return list(taken.values())
