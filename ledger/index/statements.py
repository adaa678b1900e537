"""Which accepted entry of a ledger in Rekor is meant by a digest: Rekor keeps nothing else of a statement.

Two digests lead to an entry: the SHA-256 of its statement, which the evidence store and later statements call it by, and that
of the statement's DSSE pre-authentication encoding, which Rekor has. Derived from the outbox, and made again with the index.
"""

import contextlib
import hashlib
import itertools
import pathlib
import sqlite3
from collections.abc import Iterator
from typing import Any

from ledger.encoding import parse_audited_json, parse_base64
from ledger.entry import pae
from ledger.errors import CorruptError, WriteError
from ledger.storage.readonly import read_only_uri

_SCHEMA = """
CREATE TABLE position(id INTEGER PRIMARY KEY CHECK (id = 1), entries INTEGER NOT NULL) STRICT;
INSERT INTO position VALUES (1, 0);
CREATE TABLE statements(sha256 BLOB PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE logged(pae_sha256 BLOB PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;
PRAGMA user_version = 1;
"""
_BATCH = 500
_REBUILD = "Run `hubledger index rebuild`: it holds nothing that the outbox does not"


def digests_of(entry: bytes) -> tuple[bytes, bytes]:
    """Return the SHA-256 of the statement of an accepted entry, and that of its pre-authentication encoding."""
    payload = parse_base64(parse_audited_json(entry)["payload"], what="payload of an accepted entry")
    return hashlib.sha256(payload).digest(), hashlib.sha256(pae(payload)).digest()


class StatementIndex:
    """The file. One process writes it, any number read."""

    def __init__(self, path: pathlib.Path, *, read_only: bool = False) -> None:
        self._name = path.name
        try:
            if read_only:
                self._connection = sqlite3.connect(read_only_uri(path), uri=True, check_same_thread=False)
            else:
                self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
                _prepare(self._connection)
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error as error:
            raise self._unsound(error) from error
        if version != 1:
            raise CorruptError(
                f"statement index {path.name}",
                expected="version 1",
                actual=f"version {version}",
                next_step=_REBUILD,
            )

    def position(self) -> int:
        """How many entries are mirrored."""
        return int(self._all("SELECT entries FROM position")[0][0])

    def by_statement(self, sha256: bytes) -> int | None:
        """Return the number of the entry whose statement has this SHA-256, or None."""
        return self._number("SELECT number FROM statements WHERE sha256 = ?", sha256)

    def by_logged(self, pae_sha256: bytes) -> int | None:
        """Return the number of the entry that Rekor has under this digest, or None."""
        return self._number("SELECT number FROM logged WHERE pae_sha256 = ?", pae_sha256)

    def catch_up(self, entries: Iterator[bytes], start: int) -> int:
        """Mirror entries from ``start`` (the position) on; returns the new position. Raises WriteError."""
        while run := list(itertools.islice(entries, _BATCH)):
            self._add(start, [digests_of(entry) for entry in run])
            start += len(run)
        return start

    def dump(self) -> Iterator[tuple[Any, ...]]:
        """Yield every row in key order, for comparison."""
        yield from self._connection.execute("SELECT 'statements', * FROM statements ORDER BY 2")
        yield from self._connection.execute("SELECT 'logged', * FROM logged ORDER BY 2")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _add(self, start: int, digests: list[tuple[bytes, bytes]]) -> None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            moved = connection.execute(
                "UPDATE position SET entries = ? WHERE entries = ?", (start + len(digests), start)
            )
            if moved.rowcount != 1:
                connection.execute("ROLLBACK")
                raise CorruptError(
                    "position of the statement index",
                    expected=start,
                    actual=self.position(),
                    next_step=_REBUILD,
                )
            # The first entry with a digest keeps it.
            connection.executemany(
                "INSERT OR IGNORE INTO statements VALUES (?, ?)",
                [(sha256, at) for at, (sha256, _) in enumerate(digests, start)],
            )
            connection.executemany(
                "INSERT OR IGNORE INTO logged VALUES (?, ?)",
                [(logged, at) for at, (_, logged) in enumerate(digests, start)],
            )
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise WriteError(
                "updating the statement index",
                expected="a committed transaction",
                actual=str(error),
                next_step="Free space and run `hubledger index rebuild`: accepted events are not affected",
            ) from error

    def _number(self, statement: str, digest: bytes) -> int | None:
        rows = self._all(statement, digest)
        return int(rows[0][0]) if rows else None

    def _all(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._unsound(error) from error

    def _unsound(self, error: sqlite3.Error) -> CorruptError:
        return CorruptError(
            f"statement index {self._name}",
            expected="a sound SQLite file",
            actual=str(error),
            next_step=_REBUILD,
        )


def statement_differences(stored: StatementIndex, rebuilt: StatementIndex) -> Iterator[str]:
    """Yield a sentence where the two do not say the same."""
    mine, true = stored.dump(), rebuilt.dump()
    while (pair := (next(mine, None), next(true, None))) != (None, None):
        if pair[0] != pair[1]:
            yield f"statements: expected {_show(pair[1])}, got {_show(pair[0])}"
            return


def _show(row: tuple[Any, ...] | None) -> str:
    return "no row" if row is None else f"{row[0]} {row[1].hex()} as number {row[2]}"


def _prepare(connection: sqlite3.Connection) -> None:
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")  # derived: a lost tail is mirrored again
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
