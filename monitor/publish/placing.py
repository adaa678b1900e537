"""Puts files in their place: each whole or not at all, many at a time, and none again that is there as it should be.

A file is written aside, below ``.aside`` of the same folder, synced, and takes the place of the old one; then the folders are
synced, and the old ones removed. What a crash leaves aside is removed by the next run.
"""

import contextlib
import ctypes
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

ASIDE = ".aside"
File = tuple[str, bytes]
"""Its name below the folder, and what is in it."""
_BATCH_FILES = 1024
"""Few, because a process puts a batch in its place beside our making the next: only what is left at the end is waited for."""
_BATCH_BYTES = 64 << 20
_AT_A_TIME = 16
"""Files at a time whose place is taken. That waits for the file system and not for the processor."""
_FEW = 16
"""From so many files on one sync of the file system costs less than one for each: for 8,000, 0.05 s and not 1 to 4."""


class Placing:
    """Puts files below one folder. Nothing is in its place before ``commit``, or before a batch is full.

    Raises:
        OSError: with the path that it is about, which is then as it was before.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        # A new folder each time: where one has held millions, ext4 searches long for room near it.
        self._aside = f"{root}/{ASIDE}/{secrets.token_hex(8)}"
        self._staged: list[tuple[str, str]] = []
        self._bytes = self._number = self._written = 0
        self._folders: set[str] = set()
        with _naming(root):
            os.makedirs(self._aside)

    def write(self, files: Sequence[File]) -> None:
        """Write files aside, unless what is in their places has these bytes already."""
        for name, data in files:
            path = f"{self._root}/{name}"
            with _naming(path):
                if _has(path, data):
                    continue
                self._number += 1
                aside = f"{self._aside}/{self._number}"
                _write(aside, data)
            self._staged.append((aside, path))
            self._bytes += len(data)
            if len(self._staged) >= _BATCH_FILES or self._bytes >= _BATCH_BYTES:
                self.commit()

    def commit(self) -> int:
        """Put everything in its place, durably on return; returns how many files that were from the beginning."""
        # If we stop here, nothing changed.
        with _naming(self._root):
            self._sync([aside for aside, _ in self._staged])
            changed: dict[str, None] = {}
            for _, path in self._staged:
                folder = os.path.dirname(path)
                self._make_folder(folder, changed)
                changed[folder] = None
            self._at_a_time(_take_places)
            # If we stop here or in it, some files are new and some old, each whole: the index still speaks of the old ones.
            self._sync(list(changed))
            self._at_a_time(_remove_replaced)
        self._written += len(self._staged)
        self._staged, self._bytes = [], 0
        return self._written

    def _at_a_time(self, do: Callable[[Sequence[tuple[str, str]]], None]) -> None:
        """Do something with what was written aside, many at a time: each waits until the file system has freed a file, 1 ms."""
        if len(self._staged) <= _FEW:
            do(self._staged)
            return
        parts = [self._staged[start::_AT_A_TIME] for start in range(_AT_A_TIME)]
        with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="publish") as pool:
            list(pool.map(do, parts))

    def _sync(self, paths: Sequence[str]) -> None:
        """Sync files or folders."""
        if len(paths) > _FEW and _sync_file_system is not None:
            paths = [self._root]
            sync = _sync_file_system
        else:
            sync = os.fsync
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                sync(descriptor)
            finally:
                os.close(descriptor)

    def _make_folder(self, folder: str, changed: dict[str, None]) -> None:
        """Make a folder; notes the folders whose names of others have to be synced."""
        if folder in self._folders:
            return
        if not os.path.isdir(folder):
            parent = os.path.dirname(folder)
            self._make_folder(parent, changed)
            os.mkdir(folder, mode=0o755)
            changed[parent] = None
        self._folders.add(folder)


def _take_places(pairs: Sequence[tuple[str, str]]) -> None:
    """Let files take their places; where one was there before, it lies aside then, as far as the system can exchange two."""
    for aside, path in pairs:
        if _exchange is None or not _exchange(aside, path):
            os.rename(aside, path)


def _remove_replaced(pairs: Sequence[tuple[str, str]]) -> None:
    for aside, _ in pairs:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(aside)


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)


def _has(path: str, data: bytes) -> bool:
    try:
        # Most files that are due have another length than before, which is known without opening them.
        if os.stat(path).st_size != len(data):
            return False
        with open(path, "rb") as file:
            return file.read(len(data) + 1) == data
    except FileNotFoundError:
        return False


def _find_syncfs() -> Callable[[int], None] | None:
    """Return what syncs the file system that an open file lies in, or None where there is no such call (it is Linux's)."""
    if sys.platform != "linux":
        return None
    call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if call is None:
        return None

    def sync(descriptor: int) -> None:
        if call(descriptor):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))

    return sync


_sync_file_system = _find_syncfs()


def _find_exchange() -> Callable[[str, str], bool] | None:
    """Return what exchanges two files at once, False where that cannot be; None where there is no such call (it is Linux's).

    A rename over a file waits until the old one is freed; this does not, so that readers have all new files sooner.
    """
    if sys.platform != "linux":
        return None
    call = getattr(ctypes.CDLL(None), "renameat2", None)
    if call is None:
        return None

    def exchange(one: str, other: str) -> bool:
        return not call(_AT_CWD, os.fsencode(one), _AT_CWD, os.fsencode(other), _RENAME_EXCHANGE)

    return exchange


_AT_CWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h
_exchange = _find_exchange()


@contextmanager
def _naming(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), path) from error
