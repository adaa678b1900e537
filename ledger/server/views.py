"""What handlers read from: one ledger's published log and indexes, open for as long as the service runs.

SQLite connections belong to a thread, and are opened again where an index was put in the place of the old one. A
checkpoint is verified once for each of its bytes.
"""

import pathlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Generic, TypeVar

from ledger.digests import DigestIndex
from ledger.embedded.directory import ReadLedger, open_for_reading
from ledger.index import Index
from ledger.log.fetch import Fetch
from ledger.log.published import PublishedLog
from ledger.tlog.checkpoint import VerifiedCheckpoint, verify_checkpoint
from ledger.tlog.signed_note import MAX_NOTE_BYTES, VerifierKey

_Value = TypeVar("_Value")


class Remembered(Generic[_Value]):
    """A bounded memory of what was made last, safe for threads; the longest unused goes first."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._values: OrderedDict[object, _Value] = OrderedDict()

    def get(self, key: object) -> _Value | None:
        """Return what is remembered, or None."""
        with self._lock:
            if (value := self._values.get(key)) is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: object, value: _Value) -> None:
        """Remember a value."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            if len(self._values) > self._most:
                self._values.popitem(last=False)


class _SeenLog(PublishedLog):
    """A published log that verifies each checkpoint once."""

    def __init__(self, fetch: Fetch, *, origin: str, keys: tuple[VerifierKey, ...]) -> None:
        super().__init__(fetch, origin=origin, keys=keys)
        self._seen: tuple[bytes, VerifiedCheckpoint] | None = None

    def checkpoint(self) -> VerifiedCheckpoint:
        """Return the checkpoint that is shown now, its signature checked."""
        note = self.fetch("checkpoint", max_bytes=MAX_NOTE_BYTES)
        seen = self._seen
        if seen is None or seen[0] != note:
            seen = (note, verify_checkpoint(note, origin=self.origin, keys=self.keys))
            self._seen = seen
        return seen[1]


class View:
    """One ledger, for readers in several threads. What may be remembered of it is remembered here."""

    def __init__(self, directory: pathlib.Path) -> None:
        ledger = open_for_reading(directory)
        log = ledger.log
        self.ledger: ReadLedger = replace(ledger, log=_SeenLog(log.fetch, origin=log.origin, keys=log.keys))
        self._own = threading.local()

    @property
    def size(self) -> int:
        """How many leaves are published."""
        return self.ledger.log.checkpoint().checkpoint.size

    @property
    def index(self) -> Index:
        """The index, through this thread's connection."""
        return self._open("index", self.ledger.layout.index, Index)

    @property
    def digests(self) -> DigestIndex:
        """The digest index, through this thread's connection."""
        return self._open("digests", self.ledger.layout.digests, DigestIndex)

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
