"""The lock by which one process alone writes to a directory."""

import contextlib
import fcntl
import os
import pathlib
import time
from collections.abc import Iterator

from ledger.errors import (
    WriteError,
    WriterLockedError,
)


@contextlib.contextmanager
def writer_lock(path: pathlib.Path, *, wait: float = 0.0) -> Iterator[int]:
    """Hold the directory for one writing process, as long as the process lives; gives the open file, and who inherits it holds it, too.

    ``wait`` is for how many seconds another process may go on holding it.

    Raises:
        WriterLockedError: another process holds it.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise WriteError(
            f"opening {path.name} for writing",
            expected="a writable directory",
            actual=error.strerror,
            next_step="Make the directory writable for this user",
        ) from error
    try:
        deadline = time.monotonic() + wait
        while not _locked(descriptor):
            if time.monotonic() >= deadline:
                raise WriterLockedError(
                    f"writer of {path.parent.name}",
                    expected="no other writer",
                    actual="another process holds the lock",
                    next_step="Stop the other process, or let it do the writing",
                )
            time.sleep(_LOCK_PAUSE)
        yield descriptor
    finally:
        os.close(descriptor)


_LOCK_PAUSE = 0.05
"""Seconds between two looks at a lock that another process holds."""


def _locked(descriptor: int) -> bool:
    """Take the lock if nobody holds it; whether it was taken."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
