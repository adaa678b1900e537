"""What handlers read from: one ledger's published log and indexes, open for as long as the service runs.

SQLite connections belong to a thread, and are opened again where an index was put in the place of the old one. A
checkpoint is verified once for each of its bytes.
"""

import os
import pathlib
import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, TypeVar

from ledger.digests import DigestIndex
from ledger.embedded.directory import ReadLedger, open_for_reading
from ledger.errors import UsageError
from ledger.index import Index
from ledger.index.statements import StatementIndex
from ledger.log.fetch import Fetch
from ledger.log.published import MAX_BUNDLE_BYTES, PublishedLog
from ledger.tlog.checkpoint import VerifiedCheckpoint, verify_checkpoint
from ledger.tlog.merkle import HASH_BYTES, leaf_hash
from ledger.tlog.signed_note import MAX_NOTE_BYTES, VerifierKey
from ledger.tlog.tiles import TILE_WIDTH, EntryBundle, Tile

if TYPE_CHECKING:  # who has a log of their own does not pay for what Rekor needs
    from ledger.embedded.remote import AcceptedLog

_Value = TypeVar("_Value")


class Remembered(Generic[_Value]):
    """A bounded memory of what was made last, safe for threads; the longest unused goes first.

    ``most`` bounds the sum of what ``weigh`` says of each value; without it, their number.
    """

    def __init__(self, most: int, *, weigh: Callable[[_Value], int] = lambda _: 1) -> None:
        self._most, self._weigh, self._lock = most, weigh, threading.Lock()
        self._weight = 0
        self._values: OrderedDict[object, _Value] = OrderedDict()

    def get(self, key: object) -> _Value | None:
        """Return what is remembered, or None."""
        with self._lock:
            if (value := self._values.get(key)) is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: object, value: _Value) -> None:
        """Remember a value in the place of the one before; one that is too heavy alone is not remembered."""
        with self._lock:
            if (old := self._values.pop(key, None)) is not None:
                self._weight -= self._weigh(old)
            self._values[key] = value
            self._weight += self._weigh(value)
            while self._weight > self._most:
                _, gone = self._values.popitem(last=False)
                self._weight -= self._weigh(gone)


MAX_BUNDLES = 16_384
"""Full bundles whose offsets are remembered, some 2 KiB each: those of four million entries."""


class _SeenLog(PublishedLog):
    """A published log in a folder that verifies each checkpoint once, and reads single entries where they lie."""

    def __init__(
        self, folder: pathlib.Path, fetch: Fetch, *, origin: str, keys: tuple[VerifierKey, ...]
    ) -> None:
        super().__init__(fetch, origin=origin, keys=keys)
        self._folder = str(folder)
        self._seen: tuple[object, VerifiedCheckpoint] | None = None
        self._offsets: Remembered[array[int]] = Remembered(MAX_BUNDLES)

    def checkpoint(self) -> VerifiedCheckpoint:
        """Return the checkpoint that is shown now, its signature checked."""
        # It is always replaced by another file, never written over.
        try:
            found = os.stat(f"{self._folder}/checkpoint")  # noqa: PTH116 - asked for with each request
            which = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
        except OSError:
            which = None  # whoever reads it says why
        seen = self._seen
        if seen is None or which is None or seen[0] != which:
            note = self.fetch("checkpoint", max_bytes=MAX_NOTE_BYTES)
            # Of one that was replaced in between the next look says that it is another.
            seen = (which, verify_checkpoint(note, origin=self.origin, keys=self.keys))
            self._seen = seen
        return seen[1]

    def read(self, start: int, end: int, *, size: int) -> Iterator[bytes]:
        """As ``PublishedLog.read``; one entry of a full bundle is read without the rest of it."""
        bundle, at = divmod(start, TILE_WIDTH)
        if end - start != 1 or (bundle + 1) * TILE_WIDTH > size:
            yield from super().read(start, end, size=size)
            return
        offsets = self._offsets.get(bundle)
        if offsets is None:
            offsets = _offsets_of(self.fetch(EntryBundle(index=bundle).path, max_bytes=MAX_BUNDLE_BYTES))
            self._offsets.put(bundle, offsets)
        first, past = offsets[at], offsets[at + 1]
        entry = _read_at(f"{self._folder}/{EntryBundle(index=bundle).path}", first + 2, past - first - 2)
        tile = _read_at(f"{self._folder}/{Tile(level=0, index=bundle).path}", at * HASH_BYTES, HASH_BYTES)
        if leaf_hash(entry) != tile:
            # Say what is wrong as everywhere, and raise what that raises.
            yield from super().read(start, end, size=size)
            return
        yield entry


def _offsets_of(data: bytes) -> "array[int]":
    """Return where each entry of a full bundle begins, and where the last ends; of a damaged one anything: hashes tell."""
    offsets, at = array("L", [0]), 0
    for _ in range(TILE_WIDTH):
        at += 2 + int.from_bytes(data[at : at + 2], "big")
        offsets.append(at)
    return offsets


def _read_at(path: str, offset: int, length: int) -> bytes:
    """Read a part of a file; nothing where there is none: whoever compares its hash finds out."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)


class View:
    """One ledger, for readers in several threads. What may be remembered of it is remembered here."""

    def __init__(self, directory: pathlib.Path) -> None:
        ledger = open_for_reading(directory)
        if ledger.accepted is None:
            log = ledger.log
            seen = _SeenLog(ledger.layout.public, log.fetch, origin=log.origin, keys=log.keys)
            ledger = replace(ledger, published=seen)
        self._ledger: ReadLedger = ledger
        self._own = threading.local()

    @property
    def in_rekor(self) -> bool:
        """Whether its log is Rekor."""
        return self._ledger.accepted is not None

    @property
    def ledger(self) -> ReadLedger:
        """The ledger; of one in Rekor, through this thread's connection to the outbox."""
        if self._ledger.accepted is None:
            return self._ledger
        held: ReadLedger | None = getattr(self._own, "ledger", None)
        if held is None:
            held = self._own.ledger = replace(self._ledger, accepted=self._ledger.accepted.again())
        return held

    @property
    def accepted(self) -> "AcceptedLog":
        """What a ledger in Rekor accepted. Raises UsageError: its log is its own."""
        accepted = self.ledger.accepted
        if accepted is None:
            raise UsageError(
                f"outbox of {self._ledger.config.ledger}",
                expected="a ledger in Rekor",
                actual="one with a log of its own",
                next_step="Its log is beside it: ask for its checkpoint",
            )
        return accepted

    @property
    def size(self) -> int:
        """How many leaves are published; in Rekor, how many entries are accepted."""
        return self.ledger.size()

    @property
    def extent(self) -> tuple[int, int]:
        """How many leaves are published, and how many of them the index has: what an answer speaks of."""
        size = self.size
        return size, min(size, self.index.position())

    @property
    def index(self) -> Index:
        """The index, through this thread's connection."""
        return self._open("index", self.ledger.layout.index, Index)

    @property
    def digests(self) -> DigestIndex:
        """The digest index, through this thread's connection."""
        return self._open("digests", self.ledger.layout.digests, DigestIndex)

    @property
    def statements(self) -> StatementIndex | None:
        """The statement index of a ledger in Rekor, through this thread's connection; None where nobody made it yet."""
        path = self._ledger.layout.statements
        return self._open("statements", path, StatementIndex) if path.exists() else None

    def _open(self, name: str, path: pathlib.Path, kind: "Callable[..., _Value]") -> _Value:
        try:
            found = path.stat()
            which = (found.st_dev, found.st_ino)
        except OSError:
            which = None
        held = getattr(self._own, name, None)
        if held is None or held[0] != which:
            if held is not None:
                held[1].close()
            held = (which, kind(path, read_only=True))
            setattr(self._own, name, held)
        value: _Value = held[1]
        return value
