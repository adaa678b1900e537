"""The SQLite file of a monitor: how it is made, opened, read and written, whatever is in it.

A write is one transaction, durable when it returns (``journal_mode=WAL``, ``synchronous=FULL``). A file that is missing
or damaged is refused: a monitor that starts again from nothing would call a forked log sound.
"""

import pathlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ledger.encoding import parse_json as parse_stored_json
from ledger.errors import CorruptError, WriteError
from ledger.storage.readonly import is_of_the_disk, quote_path

FILE_NAME = "monitor.db"
VERSION = 5
_CHUNK = 500
"""Keys of one query: SQLite's historic limit of 999 variables, with room."""
_MAX_JSON_BYTES = 1 << 20


class Database:
    """The file. Thread-safe."""

    def __init__(self, folder: pathlib.Path, *, check: bool = True) -> None:
        path = folder / FILE_NAME
        if not path.is_file():
            raise CorruptError(
                f"state of the monitor in {folder}",
                expected=f"{FILE_NAME}, which `hubledger monitor init` made",
                actual="no file",
                next_step="Restore the newest copy; only for a new monitor, run `hubledger monitor init`",
            )
        self._lock = threading.RLock()
        with _reading():
            self._connection = sqlite3.connect(
                f"file:{quote_path(path)}?mode=rw",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=10,
            )
            self._prepare(check=check)

    @classmethod
    def create(cls, folder: pathlib.Path, *, schema: str) -> None:
        """Make an empty file. Raises WriteError, also where there is one: a state is never replaced."""
        path = folder / FILE_NAME
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with path.open("xb"):
                pass
            path.chmod(0o600)
            connection = sqlite3.connect(path, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.executescript(
                    f"BEGIN IMMEDIATE; {schema} PRAGMA user_version = {VERSION:d}; COMMIT;"
                )
            finally:
                connection.close()
        except (OSError, sqlite3.Error) as error:
            raise WriteError(
                f"making the state {path}",
                expected="a new file",
                actual=error.strerror if isinstance(error, OSError) else str(error),
                next_step="Name a new folder as `state`: what a monitor remembers is never replaced",
            ) from error

    def _prepare(self, *, check: bool) -> None:
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA cache_size = -8192")  # 8 MB: the system has the file in its memory
        # 32 MB of changes before they go into the file: while catching up, the same pages change in every run.
        self._connection.execute("PRAGMA wal_autocheckpoint = 8192")
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            raise CorruptError(
                f"{FILE_NAME} of the monitor",
                expected=f"version {VERSION}",
                actual=f"version {version}",
                next_step="Use the version of hubledger that wrote it, or restore the newest copy",
            )
        found = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0] if check else "ok"
        if found != "ok":
            raise damaged(found)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """Write: all that is executed, durable when it ends, or nothing. Raises WriteError."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection.execute
                except BaseException:
                    if self._connection.in_transaction:  # a full disk has ended it already
                        self._connection.execute("ROLLBACK")
                    raise
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise WriteError(
                    f"writing {FILE_NAME} of the monitor",
                    expected="a transaction that ends",
                    actual=str(error),
                    next_step="Repair the disk and start again: what was found is found again, and nothing is lost",
                ) from error

    def execute_many(self, query: str, rows: Iterable[Sequence[object]]) -> None:
        """Execute once for each row, inside the transaction that the caller has begun."""
        self._connection.executemany(query, rows)

    def rows(self, query: str, *values: object) -> list[Any]:
        """Return all rows of a query. Raises CorruptError, WriteError."""
        with self._lock, _reading():
            return self._connection.execute(query, values).fetchall()

    def row(self, query: str, *values: object) -> Any:
        """Return the first row of a query, or None. Raises CorruptError, WriteError."""
        with self._lock, _reading():
            return self._connection.execute(query, values).fetchone()

    def version(self) -> int:
        """Return a number that changes when somebody else writes to the file: another process, or another ``Database``."""
        return int(self.row("PRAGMA data_version")[0])

    def select(self, query: str, log: str, keys: Sequence[Any]) -> Iterator[Any]:
        """Yield the rows of a log whose last column of the query is one of these keys."""
        yield from self.chosen(query, keys, log)

    def chosen(self, query: str, keys: Sequence[Any], *first: object) -> Iterator[Any]:
        """Yield the rows whose last column of the query is one of these keys; ``first`` are the values before them."""
        for start in range(0, len(keys), _CHUNK):
            some = keys[start : start + _CHUNK]
            yield from self.rows(f"{query} IN ({','.join('?' * len(some))})", *first, *some)


def parse_json(text: str) -> Any:
    """Parse JSON that was stored, in the form that we write. Raises MalformedError, LimitError."""
    return parse_stored_json(text.encode(), what="stored facts of the monitor", max_bytes=_MAX_JSON_BYTES)


def damaged(actual: str) -> CorruptError:
    """Return the refusal of a file that is not as it was written."""
    return CorruptError(
        f"{FILE_NAME} of the monitor",
        expected="the file as it was written",
        actual=actual,
        next_step="Restore the newest copy; without one, keep the file, and begin anew in another folder",
    )


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if is_of_the_disk(error):
            raise WriteError(
                f"using {FILE_NAME} of the monitor",
                expected="a disk with space, readable and writable",
                actual=str(error),
                next_step="Free space or repair the disk and start again: what was stored is there as it was",
            ) from error
        raise damaged(str(error)) from error
