"""How SQLite files are opened by those who only read, and what it means where that fails."""

import os
import pathlib
import sqlite3

_DISK = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
"""SQLite's codes for a disk that is full, broken or not ours: readers need space too, for shared memory."""


def quote_path(path: pathlib.Path) -> str:
    """Return a path as the URIs of SQLite carry it."""
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def read_only_uri(path: pathlib.Path) -> str:
    """Return the URI that opens a file for reading, also on a read-only file system.

    A reader of a file in WAL mode writes shared memory beside it. Where it cannot, and nobody left a log of changes, the
    file is whole and can be read as it is.
    """
    wal = path.with_name(f"{path.name}-wal")
    whole = not wal.exists() or not wal.stat().st_size
    immutable = whole and not os.access(path.parent, os.W_OK)
    return f"file:{quote_path(path)}?{'immutable=1' if immutable else 'mode=ro'}"


def is_of_the_disk(error: sqlite3.Error) -> bool:
    """Whether a disk does not do its work: that says nothing about what is in the file."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DISK
