"""How SQLite files are opened by those who only read."""

import os
import pathlib


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
