"""Our local mirror of the log: which statements belong to which model, signer and outcome (architecture section 5).

Derived: ``build`` makes the same file from the log, and nothing that must be trusted is only here. It is an
SQLite file that any SQLite tool reads; names can be searched. A position is a ``leaf_index``; ``position`` is how
many leaves are mirrored.

Histories and signers are found by random keys. New rows go into small ``recent_…`` tables, which are folded into the
large ones in key order when many have come together; the views ``histories`` and ``signers`` show both.
"""

import pathlib
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import sqlite_utils

from ledger.errors import CorruptError, WriteError
from ledger.index.rows import Rows, read_entry
from ledger.storage.readonly import read_only_uri

__all__ = ["Index", "Rows", "read_entry"]

_SCHEMA = """
CREATE TABLE position(id INTEGER PRIMARY KEY CHECK (id = 1), leaves INTEGER NOT NULL, folded INTEGER NOT NULL) STRICT;
INSERT INTO position VALUES (1, 0, 0);
CREATE TABLE statements(
    leaf_index INTEGER PRIMARY KEY, sha256 BLOB NOT NULL, type TEXT NOT NULL,
    event_id TEXT, recorder TEXT, recorded_at TEXT,
    model TEXT, repo_id TEXT, revision TEXT, ref TEXT, outcome TEXT, decision TEXT, uploader TEXT,
    content_sha256 BLOB
) STRICT;
CREATE TABLE folded_histories(
    history TEXT NOT NULL, leaf_index INTEGER NOT NULL, sequence INTEGER,
    PRIMARY KEY (history, leaf_index)
) STRICT, WITHOUT ROWID;
CREATE TABLE recent_histories(
    history TEXT NOT NULL, leaf_index INTEGER NOT NULL, sequence INTEGER,
    PRIMARY KEY (history, leaf_index)
) STRICT, WITHOUT ROWID;
CREATE VIEW histories AS SELECT * FROM folded_histories UNION ALL SELECT * FROM recent_histories;
CREATE TABLE folded_signers(
    identity BLOB NOT NULL, leaf_index INTEGER NOT NULL, verified INTEGER NOT NULL,
    PRIMARY KEY (identity, leaf_index)
) STRICT, WITHOUT ROWID;
CREATE TABLE recent_signers(
    identity BLOB NOT NULL, leaf_index INTEGER NOT NULL, verified INTEGER NOT NULL,
    PRIMARY KEY (identity, leaf_index)
) STRICT, WITHOUT ROWID;
CREATE VIEW signers AS SELECT * FROM folded_signers UNION ALL SELECT * FROM recent_signers;
CREATE TABLE identities(identity BLOB PRIMARY KEY, shown TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE models(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE VIRTUAL TABLE models_search USING fts5(name, content = 'models', content_rowid = 'id', tokenize = 'trigram');
CREATE TRIGGER models_searchable AFTER INSERT ON models
    BEGIN INSERT INTO models_search(rowid, name) VALUES (new.id, new.name); END;
PRAGMA user_version = 2;
"""
_VERSION = 2
_REBUILD = "Run `hubledger index rebuild`: the index holds nothing that the log does not"
_BATCH = 2000
_TRIGRAM = 3
"""Characters below which the search index of SQLite's trigram tokenizer knows nothing."""
FOLD_AT = 65_536
"""Recent leaves that are folded at once."""
INSERT_STATEMENT = "INSERT INTO statements VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
FOLD = """
INSERT INTO folded_histories SELECT * FROM recent_histories ORDER BY history, leaf_index;
DELETE FROM recent_histories;
INSERT INTO folded_signers SELECT * FROM recent_signers ORDER BY identity, leaf_index;
DELETE FROM recent_signers;
UPDATE position SET folded = leaves;
"""


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
        if version != _VERSION:
            raise CorruptError(
                f"index {path.name}",
                expected=f"version {_VERSION}",
                actual=f"version {version}",
                next_step=_REBUILD,
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
            connection.executemany(INSERT_STATEMENT, rows.statements)
            connection.executemany("INSERT INTO recent_histories VALUES (?, ?, ?)", sorted(rows.histories))
            connection.executemany("INSERT INTO recent_signers VALUES (?, ?, ?)", sorted(rows.signers))
            connection.executemany(
                "INSERT OR IGNORE INTO identities VALUES (?, ?)", sorted(rows.identities.items())
            )
            connection.executemany(
                "INSERT OR IGNORE INTO models(name) VALUES (?)", [(name,) for name in sorted(rows.models)]
            )
            (folded,) = connection.execute("SELECT folded FROM position").fetchone()
            if rows.end - folded >= FOLD_AT:
                for statement in FOLD.strip().split(";\n"):
                    connection.execute(statement)
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
            rows = Rows(start)
            rows.extend(map(read_entry, run))
            self.add(rows)
            start = rows.end
        return start

    def history(self, key: str, *, chained: bool = False) -> list[int]:
        """Return the leaf indices of a history, in log order; ``chained``: without what observers recorded."""
        also = " AND sequence IS NOT NULL" if chained else ""
        query = f"SELECT leaf_index FROM histories WHERE history = ?{also} ORDER BY leaf_index"
        return [row[0] for row in self._all(query, key)]

    def find_event(self, event_id: str, *, hub: str) -> list[int]:
        """Return the leaf indices of statements with this event id (one per recorder), that of the hub first.

        Observers choose ids of their own: none of them may stand before what the hub recorded under the same one.
        """
        query = "SELECT leaf_index FROM statements WHERE event_id = ? ORDER BY recorder IS NOT ?, leaf_index"
        return [row[0] for row in self._all(query, event_id, hub)]

    def search(self, text: str, limit: int = 50) -> list[str]:
        """Return model names that contain ``text``, whatever its case, shortest first."""
        order = "ORDER BY length(name), name LIMIT ?"
        if len(text) < _TRIGRAM:
            pattern = "%" + text.replace("!", "!!").replace("%", "!%").replace("_", "!_") + "%"
            found = self._all(f"SELECT name FROM models WHERE name LIKE ? ESCAPE '!' {order}", pattern, limit)
        else:
            phrase = '"' + text.replace('"', '""') + '"'
            found = self._all(
                f"SELECT name FROM models WHERE id IN (SELECT rowid FROM models_search(?)) {order}",
                phrase,
                limit,
            )
        return [row[0] for row in found]

    def models(self, *, after: str, limit: int, text: str = "") -> list[str]:
        """Return model names after ``after`` in the order of their bytes, those that contain ``text`` whatever its case."""
        rest = "name > ? ORDER BY name LIMIT ?"
        if not text:
            found = self._all(f"SELECT name FROM models WHERE {rest}", after, limit)
        elif len(text) < _TRIGRAM:
            pattern = "%" + text.replace("!", "!!").replace("%", "!%").replace("_", "!_") + "%"
            found = self._all(
                f"SELECT name FROM models WHERE name LIKE ? ESCAPE '!' AND {rest}", pattern, after, limit
            )
        else:
            phrase = '"' + text.replace('"', '""') + '"'
            found = self._all(
                f"SELECT name FROM models WHERE id IN (SELECT rowid FROM models_search(?)) AND {rest}",
                phrase,
                after,
                limit,
            )
        return [row[0] for row in found]

    def summaries(self, leaves: Sequence[int]) -> dict[int, tuple[Any, ...]]:
        """Return (revision, outcome, decision, recorded_at) of events by leaf index."""
        marks = ", ".join("?" * len(leaves))
        found = self._all(
            f"SELECT leaf_index, revision, outcome, decision, recorded_at FROM statements WHERE leaf_index IN ({marks})",
            *leaves,
        )
        return {row[0]: tuple(row[1:]) for row in found}

    def shown(self, identity: bytes) -> str | None:
        """Return the line that an identity is shown by, or None where no event has it."""
        found = self._all("SELECT shown FROM identities WHERE identity = ?", identity)
        return found[0][0] if found else None

    def by_signer(self, identity: bytes) -> list[int]:
        """Return the leaf indices of statements that a verified identity signed."""
        statement = (
            "SELECT DISTINCT leaf_index FROM signers WHERE identity = ? AND verified = 1 ORDER BY leaf_index"
        )
        return [row[0] for row in self._all(statement, identity)]

    def newest_by_signer(self, identity: bytes, *, before: int, limit: int) -> list[int]:
        """Return the newest ``limit`` leaf indices below ``before`` that a verified identity signed, newest first."""
        statement = (
            "SELECT DISTINCT leaf_index FROM signers WHERE identity = ? AND verified = 1 AND leaf_index < ? "
            "ORDER BY leaf_index DESC LIMIT ?"
        )
        return [row[0] for row in self._all(statement, identity, before, limit)]

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


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # derived: a lost tail is mirrored again
    connection.execute("PRAGMA cache_size = -16384")
    connection.execute("PRAGMA wal_autocheckpoint = 16384")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
