"""Where bytes rest: the three narrow protocols, and nothing that decides.

``ObjectStore`` holds what is public and immutable (tiles, bundles, evidence) and the one object that is
replaced (``checkpoint``). ``CommitStore`` holds the truth about what was accepted: it changes in one
transaction per batch. ``IndexStore`` (``ledger.index``) is derived from both and can be thrown away.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

EVENT_KEY_BYTES = 16
"""What is kept of the SHA-256 of a recorder and its event id: ids are chosen by the recorder, who could only collide
with itself."""


class ObjectStore(Protocol):
    """Named byte strings; names are relative paths with ``/``.

    Everything is durable when a method returns, and no reader ever sees half an object. Nothing is retried.
    """

    def get(self, name: str, *, max_bytes: int) -> bytes:
        """Return an object. Raises NotFoundError, LimitError, CorruptError."""
        ...

    def put(self, objects: Iterable[tuple[str, bytes]]) -> None:
        """Store immutable objects; one that exists with the same bytes is left. Raises CorruptError, WriteError."""
        ...

    def replace(self, name: str, data: bytes) -> None:
        """Put ``data`` in the place of whatever ``name`` holds, in one step. Raises WriteError."""
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects; one that is missing is no error. Raises WriteError."""
        ...

    def names(self, prefix: str) -> Iterator[str]:
        """Every object name that starts with the folder ``prefix``, in no order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """An object's size in bytes, and when it was stored in POSIX seconds."""

    size: int
    stored_at: int


class StreamedObjects(Protocol):
    """Objects that are too large to be held whole, or must be gone for certain: what evidence asks beyond the above.

    Everything is durable when a method returns, and no reader ever sees half an object. Nothing is retried.
    """

    def put_stream(self, name: str, chunks: Iterable[bytes]) -> None:
        """Store one immutable object from its pieces; one with the same bytes is left. Raises CorruptError, WriteError."""
        ...

    def get_stream(self, name: str) -> Iterator[bytes]:
        """Yield an object's bytes in order, in pieces. Raises NotFoundError, CorruptError."""
        ...

    def info(self, name: str) -> ObjectInfo:
        """Say how large an object is and since when it is there. Raises NotFoundError, CorruptError."""
        ...

    def erase(self, names: Iterable[str]) -> None:
        """Remove objects so that they stay removed after a crash; a missing one is no error. Raises WriteError."""
        ...


class EvidenceObjects(ObjectStore, StreamedObjects, Protocol):
    """What evidence is kept in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The last admitted statement of one history: its number, its SHA-256 and the folded policy state."""

    sequence: int
    statement_sha256: bytes
    state: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LogState:
    """The one row that a commit swaps.

    ``size``, ``root``, ``frontier``: everything accepted. ``target_size``: the size being published.
    ``signed_note``: the newest checkpoint ever signed. ``published_size``: tiles and ``/checkpoint`` are out.
    Always ``published_size <= target_size <= size``.
    """

    size: int
    root: bytes
    frontier: tuple[bytes, ...]
    target_size: int
    target_root: bytes
    signed_note: bytes
    published_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one commit stores, all or nothing; ``data`` is the entries in entry-bundle encoding.

    ``events`` are the keys of event ids with their leaf index, ``heads`` the histories that moved.
    """

    first: int
    count: int
    data: bytes
    root: bytes
    frontier: tuple[bytes, ...]
    events: Sequence[tuple[bytes, int]]
    heads: Sequence[tuple[str, Head]]


class CommitStore(Protocol):
    """Step 3 of the local log. Every write is one transaction, durable on return.

    A failed write raises WriteError; when its fate is unknown the caller must stop using the store.
    """

    def load(self) -> LogState:
        """Return the state row. Raises CorruptError."""
        ...

    def commit(self, batch: Batch) -> None:
        """Store a batch and move ``size`` and ``root``; the batch must begin at the stored size."""
        ...

    def save_publication(self, state: LogState) -> None:
        """Store target, signed note and published size; batches below the published size are dropped."""
        ...

    def pending(self) -> Iterator[tuple[int, bytes]]:
        """Batches that are not dropped yet, ``(first, data)``, in order."""
        ...

    def lookup(
        self, events: Sequence[bytes], heads: Sequence[str]
    ) -> tuple[dict[bytes, int], dict[str, Head]]:
        """Return those of the named events (with their leaf index) and heads that exist."""
        ...
