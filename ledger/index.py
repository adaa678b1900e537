"""Our local mirror of the log: which statements belong to which model, signer and outcome (architecture section 5).

Derived: ``rebuild`` makes the same file from the log, and nothing that must be trusted is only here. It is an
SQLite file that any SQLite tool reads; names can be searched. A position is a ``leaf_index``; ``position`` is how
many leaves are mirrored.
"""

import hashlib
import pathlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import sqlite_utils

from ledger.encoding import format_canonical_json
from ledger.entry import MapCommit, parse_entry
from ledger.errors import CorruptError, LedgerError, WriteError
from ledger.event import Statement, UnknownStatement, VerificationEvent, parse_statement
from ledger.identity import canonical_identity, display, identity_digest
from ledger.storage.readonly import read_only_uri

_SCHEMA = """
CREATE TABLE position(id INTEGER PRIMARY KEY CHECK (id = 1), leaves INTEGER NOT NULL) STRICT;
INSERT INTO position VALUES (1, 0);
CREATE TABLE statements(
    leaf_index INTEGER PRIMARY KEY, sha256 BLOB NOT NULL, type TEXT NOT NULL,
    event_id TEXT, recorder TEXT, recorded_at TEXT,
    model TEXT, repo_id TEXT, revision TEXT, ref TEXT, outcome TEXT, decision TEXT, uploader TEXT,
    content_sha256 BLOB
) STRICT;
CREATE TABLE histories(
    history TEXT NOT NULL, leaf_index INTEGER NOT NULL, sequence INTEGER,
    PRIMARY KEY (history, leaf_index)
) STRICT, WITHOUT ROWID;
CREATE TABLE signers(
    identity BLOB NOT NULL, leaf_index INTEGER NOT NULL, bundle_sha256 BLOB NOT NULL,
    shown TEXT NOT NULL, verified INTEGER NOT NULL,
    PRIMARY KEY (identity, leaf_index, bundle_sha256)
) STRICT, WITHOUT ROWID;
CREATE TABLE models(name TEXT PRIMARY KEY) STRICT;
PRAGMA user_version = 1;
"""
_BATCH = 2000
_REBUILD = "Run `hubledger index rebuild`: the index holds nothing that the log does not"
_INSERT_STATEMENT = "INSERT INTO statements VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_TABLES = ("statements", "histories", "signers", "models")


@dataclass(slots=True)
class Rows:
    """What a run of leaves adds to each table; made without touching the file."""

    start: int
    end: int
    statements: list[tuple[Any, ...]]
    histories: list[tuple[Any, ...]]
    signers: list[tuple[Any, ...]]
    models: set[str]


def rows_of(
    start: int, statements: Iterable[tuple[bytes, Statement | UnknownStatement | MapCommit | None]]
) -> Rows:
    """Turn statements (with their SHA-256) into rows. None stands for an entry that does not parse."""
    rows = Rows(start, start, [], [], [], set())
    for sha256, statement in statements:
        _add(rows, sha256, statement)
        rows.end += 1
    return rows


def _add(rows: Rows, sha256: bytes, statement: Statement | UnknownStatement | MapCommit | None) -> None:
    at = rows.end
    if statement is None or isinstance(statement, MapCommit):
        kind = "malformed" if statement is None else "map-commit"
        rows.statements.append((at, sha256, kind, *(None,) * 11))
        return
    common = statement.common
    if common is None:
        rows.statements.append((at, sha256, statement.predicate_type, *(None,) * 11))
        return
    for link in common.histories:
        rows.histories.append((link.key, at, link.sequence))
    about: tuple[Any, ...] = (None,) * 8
    if isinstance(statement, VerificationEvent):
        model = statement.model
        about = (
            model.name,
            model.repo_id,
            model.revision,
            model.ref,
            statement.outcome,
            statement.policy.decision,
            statement.uploader_account,
            statement.manifest.content_sha256,
        )
        rows.models.add(model.name)
        _add_signers(rows, at, statement)
    rows.statements.append(
        (
            at,
            sha256,
            statement.predicate_type,
            common.event_id,
            common.recorded_by.id,
            common.recorded_at,
            *about,
        )
    )


def _add_signers(rows: Rows, at: int, event: VerificationEvent) -> None:
    for signature in event.signatures:
        facts = signature.signer or signature.claimed_signer
        if facts is None:
            continue
        identity = canonical_identity(facts)
        rows.signers.append(
            (
                identity_digest(identity),
                at,
                signature.bundle_sha256,
                display(identity),
                int(signature.signer is not None),
            )
        )


class Index:
    """The index file. One process writes it, any number read."""

    def __init__(self, path: pathlib.Path, *, read_only: bool = False) -> None:
        try:
            if read_only:
                connection = sqlite3.connect(read_only_uri(path), uri=True, check_same_thread=False)
            else:
                connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
                _prepare(connection)
            self._connection = connection
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error as error:
            raise CorruptError(
                f"index {path.name}",
                expected="an SQLite file",
                actual=str(error),
                next_step=_REBUILD,
            ) from error
        if version != 1:
            raise CorruptError(
                f"index {path.name}", expected="version 1", actual=f"version {version}", next_step=_REBUILD
            )

    @property
    def database(self) -> sqlite_utils.Database:
        """The same file through sqlite-utils, for people and tools."""
        return sqlite_utils.Database(self._connection)

    def position(self) -> int:
        """How many leaves are mirrored."""
        return int(self._one("SELECT leaves FROM position")[0])

    def add(self, rows: Rows) -> None:
        """Add the rows of ``[start, end)`` in one transaction; ``start`` must be the position."""
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            moved = connection.execute(
                "UPDATE position SET leaves = ? WHERE leaves = ?", (rows.end, rows.start)
            )
            if moved.rowcount != 1:
                connection.execute("ROLLBACK")
                raise CorruptError(
                    "index position", expected=rows.start, actual=self.position(), next_step=_REBUILD
                )
            connection.executemany(_INSERT_STATEMENT, rows.statements)
            connection.executemany("INSERT INTO histories VALUES (?, ?, ?)", rows.histories)
            connection.executemany("INSERT OR IGNORE INTO signers VALUES (?, ?, ?, ?, ?)", rows.signers)
            connection.executemany(
                "INSERT OR IGNORE INTO models VALUES (?)", [(name,) for name in rows.models]
            )
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise WriteError(
                "updating the index",
                expected="a committed transaction",
                actual=str(error),
                next_step="Free space and run `hubledger index rebuild`: recorded events are not affected",
            ) from error

    def catch_up(self, entries: Iterator[bytes], start: int) -> int:
        """Mirror entries from ``start`` (the position) on; returns the new position."""
        while run := list(islice(entries, _BATCH)):
            self.add(rows_of(start, map(read_entry, run)))
            start += len(run)
        return start

    def history(self, key: str) -> list[int]:
        """Return the leaf indices of a history, in log order."""
        return [
            row[0]
            for row in self._all(
                "SELECT leaf_index FROM histories WHERE history = ? ORDER BY leaf_index", key
            )
        ]

    def find_event(self, event_id: str) -> list[int]:
        """Return the leaf indices of statements with this event id (one per recorder)."""
        return [
            row[0]
            for row in self._all("SELECT leaf_index FROM statements WHERE event_id = ? ORDER BY 1", event_id)
        ]

    def search(self, text: str, limit: int = 50) -> list[str]:
        """Return model names that contain ``text``, shortest first."""
        pattern = "%" + text.replace("!", "!!").replace("%", "!%").replace("_", "!_") + "%"
        statement = "SELECT name FROM models WHERE name LIKE ? ESCAPE '!' ORDER BY length(name), name LIMIT ?"
        return [row[0] for row in self._all(statement, pattern, limit)]

    def by_signer(self, identity: bytes) -> list[int]:
        """Return the leaf indices of statements that a verified identity signed."""
        statement = (
            "SELECT DISTINCT leaf_index FROM signers WHERE identity = ? AND verified = 1 ORDER BY leaf_index"
        )
        return [row[0] for row in self._all(statement, identity)]

    def dump(self, table: str) -> Iterator[tuple[Any, ...]]:
        """Yield a table's rows in key order, for comparison."""
        order = {"statements": "leaf_index", "models": "name"}.get(table, "1, 2, 3")
        yield from self._connection.execute(f"SELECT * FROM {table} ORDER BY {order}")  # noqa: S608 - a fixed name

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _one(self, statement: str) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._all(statement)[0]
        return row

    def _all(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise CorruptError(
                "reading the index",
                expected="a sound SQLite file",
                actual=str(error),
                next_step=_REBUILD,
            ) from error


def read_entry(entry: bytes) -> tuple[bytes, Statement | UnknownStatement | MapCommit | None]:
    """Parse an entry for the index: an audited log may hold entries that are not ours to understand."""
    try:
        parsed = parse_entry(entry)
        if isinstance(parsed, MapCommit):
            return hashlib.sha256(entry).digest(), parsed
        return hashlib.sha256(parsed.payload).digest(), parse_statement(parsed.payload)
    except LedgerError:
        return hashlib.sha256(entry).digest(), None


def differences(stored: Index, rebuilt: Index) -> Iterator[str]:
    """Yield one sentence for each table whose rows differ; nothing when the two say the same."""
    for table in _TABLES:
        for mine, true in _zip_rows(stored.dump(table), rebuilt.dump(table)):
            if mine != true:
                yield f"{table}: expected {_show(true)}, got {_show(mine)}"
                break
    if stored.position() != rebuilt.position():
        yield f"position: expected {rebuilt.position()} leaves, got {stored.position()}"


def _zip_rows(left: Iterator[Sequence[Any]], right: Iterator[Sequence[Any]]) -> Iterator[tuple[Any, Any]]:
    while True:
        pair = (next(left, None), next(right, None))
        if pair == (None, None):
            return
        yield pair


def _show(row: Sequence[Any] | None) -> str:
    if row is None:
        return "no row"
    return format_canonical_json(
        [value.hex() if isinstance(value, bytes) else value for value in row]
    ).decode()


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # derived: a lost tail is mirrored again
    connection.execute("PRAGMA cache_size = -65536")
    connection.execute("PRAGMA wal_autocheckpoint = 16384")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
