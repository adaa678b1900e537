"""What every commit store keeps in its SQLite file: event ids and heads, and how a transaction ends.

``journal_mode=WAL`` with ``synchronous=FULL``: a transaction is on the disk when COMMIT returns
(https://www.sqlite.org/pragma.html#pragma_synchronous).

Event ids and heads are random keys: inserted one batch at a time, each would touch a page of its own. A commit
therefore writes them as one row of ``recent`` and keeps them in memory; when many have come together they are folded
into their tables in key order, in the transaction of a commit. Opening reads ``recent`` again.
"""

import abc
import contextlib
import hashlib
import heapq
import pathlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from ledger.encoding import (
    MAX_DECIMAL,
    Json,
    format_canonical_json,
    parse_canonical_json,
    parse_hex,
    parse_whole,
)
from ledger.errors import CorruptError, LedgerError, StorageError, WriteError
from ledger.storage import EVENT_KEY_BYTES, Head
from ledger.storage.readonly import is_of_the_disk, quote_path, read_only_uri

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

Execute = Callable[..., sqlite3.Cursor]
Events = Sequence[tuple[bytes, int]]
Heads = Sequence[tuple[str, Head]]

SCHEMA = """
CREATE TABLE recent(first INTEGER PRIMARY KEY, changes BLOB NOT NULL) STRICT;
CREATE TABLE events(event BLOB PRIMARY KEY, leaf_index INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE heads(
    history TEXT PRIMARY KEY, sequence INTEGER NOT NULL, statement_sha256 BLOB NOT NULL, state BLOB NOT NULL
) STRICT, WITHOUT ROWID;
"""
_LOOKUP_CHUNK = 500  # SQLite's historic limit of 999 variables, with room
_MAX_CHANGES_BYTES = 1 << 30
"""One row of ``recent``: SQLite's own limit for a value."""


def event_key(recorder_id: str, event_id: str) -> bytes:
    """Return the key of an event id in the space of its recorder."""
    return hashlib.sha256(f"{recorder_id}\n{event_id}".encode()).digest()[:EVENT_KEY_BYTES]


class HeadStore(abc.ABC):
    """Event ids and heads in one SQLite file. Not thread-safe: its owner calls it under a lock."""

    version: ClassVar[int]
    """The version of the whole schema; a file of another one is not opened."""
    cache_kib: ClassVar[int] = 16384

    def __init__(self, path: pathlib.Path, *, read_only: bool = False) -> None:
        self._events: dict[bytes, int] = {}
        self._heads: dict[str, Head] = {}
        self._certain = not read_only
        """Whether memory is what the file holds; nothing is written while it is not."""
        if not path.is_file():
            raise CorruptError(
                f"commit store {path.name}",
                expected="the file that init made",
                actual="no file",
                next_step="Name the directory that `hubledger init` made",
            )
        try:
            self._connection = sqlite3.connect(
                read_only_uri(path) if read_only else f"file:{quote_path(path)}?mode=rw",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=5,
            )
            with reading(path.name):
                self._prepare(path, read_only=read_only)
        except sqlite3.Error as error:
            raise read_error(f"opening {path.name}", error) from error

    @classmethod
    def _create(cls, path: pathlib.Path, schema: str, *more: tuple[str, Sequence[object]]) -> None:
        """Make the file with its tables and first rows. Raises WriteError, also when it exists."""
        try:
            with path.open("xb"):
                pass
            connection = sqlite3.connect(path, isolation_level=None)
            with contextlib.closing(connection):
                make_durable(connection, cache_kib=cls.cache_kib)
                connection.executescript(
                    f"BEGIN IMMEDIATE; {schema} {SCHEMA} PRAGMA user_version = {cls.version:d}; COMMIT;"
                )
                for statement, values in more:
                    connection.execute(statement, values)
        except (OSError, sqlite3.Error) as error:
            raise WriteError(
                f"creating {path.name}", expected="a new SQLite file", actual=str(error)
            ) from error

    def _prepare(self, path: pathlib.Path, *, read_only: bool) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version != self.version:
            raise CorruptError(
                f"schema of {path.name}",
                expected=f"version {self.version}",
                actual=f"version {version}",
                next_step="Use the version of hubledger that wrote this directory",
            )
        if not read_only:
            make_durable(self._connection, cache_kib=self.cache_kib)
        self._read_recent()

    def _read_recent(self) -> None:
        self._events, self._heads = {}, {}
        for (changes,) in self._connection.execute("SELECT changes FROM recent ORDER BY first"):
            events, heads = _parse_changes(changes)
            self._events.update(events)
            self._heads.update(heads)

    @abc.abstractmethod
    def _fold_at(self) -> int:
        """How many recent events are folded into their table at once."""

    @contextlib.contextmanager
    def _moving(self, first: int, events: Events, heads: Heads) -> Iterator[Execute]:
        """Run the transaction of a commit that begins at ``first``: what the caller writes, event ids and heads."""
        with self._transaction() as execute:
            yield execute
            if events or heads:
                execute("INSERT INTO recent VALUES (?, ?)", (first, _format_changes(events, heads)))
            folds = len(self._events) >= self._fold_at()
            if folds:
                self._fold(execute, keep_from=first)
        # If we stop before the commit, memory and tables are as they were; after it, both generations are found again.
        if folds:
            self._events, self._heads = {}, {}
        self._events.update(events)
        self._heads.update(heads)
        self._certain = True

    def _fold(self, execute: Execute, *, keep_from: int) -> None:
        """Move what was recent into the tables, in key order: each page is touched once for many rows."""
        self._connection.executemany("INSERT INTO events VALUES (?, ?)", sorted(self._events.items()))
        self._connection.executemany(
            "INSERT OR REPLACE INTO heads VALUES (?, ?, ?, ?)",
            [
                (key, head.sequence, head.statement_sha256, head.state)
                for key, head in sorted(self._heads.items(), key=_first)
            ],
        )
        execute("DELETE FROM recent WHERE first < ?", (keep_from,))

    def lookup(
        self, events: Sequence[bytes], heads: Sequence[str]
    ) -> tuple[dict[bytes, int], dict[str, Head]]:
        """Return those that exist."""
        found = {key: self._events[key] for key in events if key in self._events}
        last = {key: self._heads[key] for key in heads if key in self._heads}
        with reading("events and heads"):
            found.update(
                self._select(
                    "SELECT event, leaf_index FROM events WHERE event",
                    [key for key in events if key not in found],
                )
            )
            for row in self._select(
                "SELECT history, sequence, statement_sha256, state FROM heads WHERE history",
                [key for key in heads if key not in last],
            ):
                last[row[0]] = _head(row)
        return found, last

    def all_heads(self) -> Iterator[tuple[str, Head]]:
        """Yield every head in the order of its key, for the audit."""
        with reading("heads"):
            rows = self._connection.execute(
                "SELECT history, sequence, statement_sha256, state FROM heads ORDER BY history"
            )
            yield from _overlay(((row[0], _head(row)) for row in rows), self._heads)

    def all_events(self) -> Iterator[tuple[bytes, int]]:
        """Yield every event id's key with its leaf index, in the order of the keys, for the audit."""
        with reading("events"):
            yield from _overlay(
                self._connection.execute("SELECT event, leaf_index FROM events ORDER BY event"), self._events
            )

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read one state of the file, whatever a writer does meanwhile. Only for readers."""
        with reading("the commit store"):
            self._connection.execute("BEGIN")
            self._read_recent()
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK")

    def check(self) -> None:
        """Let SQLite check its own file. Raises CorruptError."""
        with reading("the commit store"):
            problems = [row[0] for row in self._connection.execute("PRAGMA integrity_check(5)")]
        if problems != ["ok"]:
            raise CorruptError(
                "SQLite integrity of the commit store", expected="ok", actual="; ".join(problems)
            )

    def close(self) -> None:
        """Fold what is recent, so that the next process need not read it, and close the file."""
        try:
            if self._certain and (self._events or self._heads):
                with contextlib.suppress(StorageError), self._transaction() as execute:
                    self._fold(execute, keep_from=MAX_DECIMAL)
        finally:
            self._connection.close()

    def _select(self, statement: str, keys: Sequence[object]) -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(keys), _LOOKUP_CHUNK):
            chunk = keys[start : start + _LOOKUP_CHUNK]
            yield from self._connection.execute(f"{statement} IN ({','.join('?' * len(chunk))})", chunk)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Execute]:
        """Run one transaction. An error before COMMIT leaves nothing; an error in COMMIT leaves its fate open.

        Whatever interrupts it (also Ctrl-C, which Python delivers after COMMIT has returned), nothing is written with
        this object any more, until the caller has brought memory up to the file and says so.
        """
        if not self._certain:
            raise WriteError(
                "writing the commit store",
                expected="a store whose last write ended",
                actual="one that was interrupted",
                next_step="Open the ledger again: it continues from what is certain",
            )
        self._certain = False
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection.execute
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise _write_error("writing the commit store", error) from error
            raise
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise _write_error("committing, with an unknown outcome", error) from error


def _first(row: tuple[Any, ...]) -> Any:
    return row[0]


def _head(row: tuple[Any, ...]) -> Head:
    return Head(sequence=row[1], statement_sha256=row[2], state=row[3])


def _overlay(
    rows: Iterable[tuple[_Key, _Value]], recent: Mapping[_Key, _Value]
) -> Iterator[tuple[_Key, _Value]]:
    """Merge rows in key order with what is recent, which counts where both have a key."""
    yield from heapq.merge(
        ((key, value) for key, value in rows if key not in recent),
        sorted(recent.items(), key=_first),
        key=_first,
    )


def _format_changes(events: Events, heads: Heads) -> bytes:
    return format_canonical_json(
        [
            [[key.hex(), leaf_index] for key, leaf_index in events],
            [[key, head.sequence, head.statement_sha256.hex(), head.state.hex()] for key, head in heads],
        ]
    )


def _parse_changes(data: bytes) -> tuple[dict[bytes, int], dict[str, Head]]:
    """Parse a row of ``recent``. Raises CorruptError."""
    try:
        events, heads = parse_canonical_json(data, what="recent changes", max_bytes=_MAX_CHANGES_BYTES)
        return (
            {
                parse_hex(key, length=EVENT_KEY_BYTES): parse_whole(leaf_index, what="leaf index")
                for key, leaf_index in events
            },
            {
                _history(key): Head(
                    sequence=parse_whole(sequence, what="sequence"),
                    statement_sha256=parse_hex(sha256, length=32),
                    state=parse_hex(state),
                )
                for key, sequence, sha256, state in heads
            },
        )
    except (LedgerError, ValueError, TypeError) as error:
        raise CorruptError(
            "recent changes in the commit store",
            expected="event ids and heads",
            actual=error.finding if isinstance(error, LedgerError) else "another form",
            next_step="Stop the writer, keep the directory, and run `hubledger log audit`",
        ) from error


def _history(key: Json) -> str:
    if not isinstance(key, str):
        raise TypeError(type(key).__name__)
    return key


def _write_error(what: str, error: sqlite3.Error) -> WriteError:
    return WriteError(
        what,
        expected="a durable transaction",
        actual=str(error),
        next_step="Free space or make the directory writable, then start again: nothing answered is lost",
    )


def make_durable(connection: sqlite3.Connection, *, cache_kib: int) -> None:
    """Set how the file is written."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone leaves bytes in the drive's cache
    connection.execute("PRAGMA checkpoint_fullfsync = ON")
    connection.execute(f"PRAGMA cache_size = -{cache_kib:d}")
    connection.execute("PRAGMA wal_autocheckpoint = 16384")


@contextlib.contextmanager
def reading(what: object) -> Iterator[None]:
    """Report what SQLite says while a file is read."""
    try:
        yield
    except sqlite3.Error as error:
        raise read_error(f"reading {what}", error) from error


def read_error(what: str, error: sqlite3.Error) -> StorageError:
    """Tell a disk that does not do its work from a file that is damaged."""
    if is_of_the_disk(error):
        return WriteError(
            what,
            expected="a disk with space, readable and writable",
            actual=str(error),
            next_step="Free space or make the directory writable, then start again: nothing answered is lost",
        )
    return CorruptError(
        what,
        expected="a sound SQLite file",
        actual=str(error),
        next_step="Stop the writer, keep the directory, and run `hubledger log audit`",
    )
