"""Append-only logs behind one protocol; implementations never import each other.

``local`` writes a C2SP tlog-tiles log in a directory, ``published`` reads any such log, ``audit`` replays
one, ``freshness`` asks the outside what it has seen of ours.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ledger.errors import LedgerError
from ledger.storage import Head
from ledger.tlog.checkpoint import VerifiedCheckpoint


class Log(Protocol):
    """What the rest of hubledger asks of a log. Entries are bytes; ``leaf_index`` counts from 0.

    ``append`` returns when every entry is durable, in order, or was refused; nothing is retried.
    """

    def append(self, submissions: "Sequence[Submission]") -> "list[Committed | LedgerError]":
        """Commit entries; each is answered by its position or by the error that its admission raised."""
        ...

    def checkpoint(self) -> VerifiedCheckpoint:
        """Return the newest published checkpoint, its signature checked."""
        ...

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the published entries ``[start, end)``."""
        ...

    def prove_inclusion(self, leaf_index: int, size: int) -> tuple[bytes, ...]:
        """Prove that the leaf is in the tree of ``size``."""
        ...

    def prove_consistency(self, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """Prove that the tree of ``old_size`` is a prefix of that of ``new_size``."""
        ...


class Journal(Protocol):
    """What a recorder writes to: a single writer that accepts entries in order and keeps event ids and heads.

    ``local`` and ``outbox`` are two. Places count from 0 without a gap.
    """

    @property
    def size(self) -> int:
        """How many entries are durable."""
        ...

    def append(self, submissions: "Sequence[Submission]") -> "list[Committed | LedgerError]":
        """Accept entries in order, each admitted or refused on its own; durable on return.

        Raises:
            StorageError: nothing of this call was answered; the journal must be opened again.
        """
        ...

    def lookup(
        self, events: Sequence[bytes], heads: Sequence[str]
    ) -> tuple[dict[bytes, int], dict[str, Head]]:
        """Return those of the named event ids (with their place) and heads that exist."""
        ...

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the durable entries ``[start, end)``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """An accepted entry: durable at this leaf index, and not yet published."""

    leaf_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """What the commit of one entry stores beside its bytes: the keys of its event ids, the heads that it moved."""

    events: Sequence[bytes] = ()
    heads: Sequence[tuple[str, Head]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One entry, the event keys and histories that its admission looks at, and the admission itself.

    ``admit(view, leaf_index)`` runs inside the single writer and raises to refuse; it sees what earlier
    entries of the same batch changed. Without it, the entry is raw: any bytes are taken.
    """

    entry: bytes
    event_keys: Sequence[bytes] = ()
    histories: Sequence[str] = ()
    admit: "Callable[[View, int], Admitted] | None" = None


@dataclass(slots=True)
class View:
    """Event ids (with their leaf index) and heads as the writer sees them at this place in the batch."""

    events: Mapping[bytes, int]
    heads: Mapping[str, Head]
