"""Writes the files of a publication: few of them here, many in a process that puts them in place while we go on.

Half of the work with many files is the system's, which makes, renames and removes them; that takes a second processor. Where no
process can be started, everything is done here, in the same order and with the same bytes.
"""

import os
import pathlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ledger.errors import WriteError
from monitor.publish.placing import ASIDE, File, Placing
from monitor.publish.placing_process import PlacingProcess

FROM = 256
"""Entries or models that are to be written from which on a process is worth its start."""
_PIECE_FILES = 32
_PIECE_BYTES = 1 << 18
"""What is handed over at a time: less is handed over too often, more makes the other wait for its first."""


class Writer:
    """Writes below one folder. Nothing is in its place before ``commit``, or before a batch is full. ``close`` ends the process.

    ``lock`` is the open file of a lock that a process has to hold as long as it lives.
    """

    def __init__(self, root: pathlib.Path, *, lock: int) -> None:
        self._root, self._lock = os.fspath(root), lock
        with self._reporting():
            shutil.rmtree(f"{self._root}/{ASIDE}", ignore_errors=True)
            self._here = Placing(self._root)
        self._process: PlacingProcess | None = None
        self._is_alone = False
        self._ready: list[File] = []
        self._bytes = 0
        self.written = 0

    def expect(self, many: int) -> None:
        """Hear that so many entries or models are about to be written: a process is started for many, where one can be."""
        if self._process is not None or self._is_alone or many < FROM:
            return
        self.commit()
        try:
            self._process = PlacingProcess(self._root, lock=self._lock)
        except OSError:
            self._is_alone = True

    def put(self, name: str, data: bytes) -> None:
        """Write a file, unless it has these bytes already."""
        self._ready.append((name, data))
        self._bytes += len(data)
        if len(self._ready) >= _PIECE_FILES or self._bytes >= _PIECE_BYTES:
            self._hand_over()

    def has(self, name: str) -> bool:
        """Whether a file is in its place."""
        return os.path.isfile(f"{self._root}/{name}")

    def read(self, name: str) -> bytes:
        """Return a file that is in its place. Raises WriteError: somebody removed it."""
        with self._reporting(), open(f"{self._root}/{name}", "rb") as file:
            return file.read()

    def dates(self, folder: str) -> dict[str, float]:
        """Return the names of the files in a folder and when each was written or dated, in POSIX seconds; none where it is not there."""
        with self._reporting():
            try:
                with os.scandir(f"{self._root}/{folder}") as found:
                    return {each.name: each.stat(follow_symlinks=False).st_mtime for each in found}
            except FileNotFoundError:
                return {}

    def date(self, name: str, now: float) -> None:
        """Give a file in its place a time, where it is there."""
        with self._reporting(), suppress(FileNotFoundError):
            os.utime(f"{self._root}/{name}", (now, now), follow_symlinks=False)

    def remove(self, name: str) -> None:
        """Remove a file from its place."""
        with self._reporting(), suppress(FileNotFoundError):
            os.unlink(f"{self._root}/{name}")

    def commit(self) -> None:
        """Put everything in its place, durably on return. Raises WriteError."""
        self._hand_over()
        with self._reporting():
            self.written = self._here.commit() + (self._process.commit() if self._process else 0)

    def close(self) -> None:
        """End the process. What was not put in its place is not."""
        if self._process is not None:
            self._process.close()

    def _hand_over(self) -> None:
        if self._process is not None and not self._process.is_ready():
            # It did not come to life, and nothing was handed to it: one file here is as good as one there.
            self._process.close()
            self._process, self._is_alone = None, True
        with self._reporting():
            (self._process or self._here).write(self._ready)
        self._ready, self._bytes = [], 0

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WriteError(
                f"publishing {error.filename or self._root}",
                expected="a file that can be written and read",
                actual=error.strerror or str(error),
                next_step="Free space or make the folder writable; what is published stays as it was until then",
            ) from error
