"""Rows on their way to an index, or to a comparison with one: made in several processes, put in order by SQLite.

Each worker appends to a file of its own, without keys and without syncing: the files are thrown away. Whoever puts
them together reads them in key order, which costs one sort on the disk instead of a page for every row, and little
memory however large the log is.
"""

import contextlib
import os
import pathlib
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from ledger.errors import WriteError
from ledger.index.rows import Rows

_SCHEMA = """
CREATE TABLE IF NOT EXISTS statements(
    leaf_index INTEGER PRIMARY KEY, sha256, type, event_id, recorder, recorded_at,
    model, repo_id, revision, ref, outcome, decision, uploader, content_sha256
);
CREATE TABLE IF NOT EXISTS histories(history, leaf_index, sequence);
CREATE TABLE IF NOT EXISTS signers(identity, leaf_index, verified);
CREATE TABLE IF NOT EXISTS identities(identity PRIMARY KEY, shown) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS models(name PRIMARY KEY) WITHOUT ROWID;
"""
_INSERTS = {
    "statements": "INSERT INTO statements VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "histories": "INSERT INTO histories VALUES (?, ?, ?)",
    "signers": "INSERT INTO signers VALUES (?, ?, ?)",
    "identities": "INSERT OR IGNORE INTO identities VALUES (?, ?)",
    "models": "INSERT OR IGNORE INTO models VALUES (?)",
}
_CACHE_KIB = 16 << 10


class Staging:
    """One process's file of rows below ``folder``. ``more`` are further tables of the caller's."""

    def __init__(self, folder: pathlib.Path, *, more: str = "") -> None:
        path = folder / f"{os.getpid()}.db"
        with writing():
            self._connection = sqlite3.connect(path, isolation_level=None)
            _prepare(self._connection)
            self._connection.executescript(_SCHEMA + more)

    def add(self, rows: Rows, *more: tuple[str, Sequence[tuple[Any, ...]]]) -> None:
        """Append rows; ``more`` pairs further INSERT statements with their rows."""
        tables: list[tuple[str, Sequence[tuple[Any, ...]]]] = [
            (_INSERTS["statements"], rows.statements),
            (_INSERTS["histories"], rows.histories),
            (_INSERTS["signers"], rows.signers),
            (_INSERTS["identities"], list(rows.identities.items())),
            (_INSERTS["models"], [(name,) for name in rows.models]),
            *more,
        ]
        with writing():
            self._connection.execute("BEGIN")
            for statement, values in tables:
                self._connection.executemany(statement, values)
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class Staged:
    """Every process's rows, read together. Raises WriteError where there is no space to sort them."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.parts = sorted(folder.glob("*.db"))
        with writing():
            self._connection = sqlite3.connect(folder / "together", isolation_level=None, uri=True)
            _prepare(self._connection)
        for number, path in enumerate(self.parts):
            self.attach(path, f"part{number}")

    def attach(self, path: pathlib.Path | str, name: str) -> None:
        """Make another SQLite file readable as the schema ``name``."""
        with writing():
            self._connection.execute(f"ATTACH ? AS {name}", (str(path),))

    def union(self, table: str) -> str:
        """Return a query for every process's rows of one table, for use in ``FROM``."""
        return (
            "(" + " UNION ALL ".join(f"SELECT * FROM part{at}.{table}" for at in range(len(self.parts))) + ")"
        )

    def run(self, statement: str) -> None:
        """Run one statement."""
        with writing():
            self._connection.execute(statement)

    def rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query."""
        with writing():
            # Not `yield from`: that closes the cursor when nobody asks for more, also after `close` took its file away.
            for row in self._connection.execute(query):  # noqa: UP028
                yield row

    def close(self) -> None:
        """Close the files."""
        self._connection.close()


_FOLDED = {
    "statements": ("statements", "leaf_index", ""),
    "histories": ("folded_histories", "history, leaf_index", ""),
    "signers": ("folded_signers", "identity, leaf_index", ""),
    "identities": ("identities", "identity", "DISTINCT"),
    "models": ("models(name)", "name", "DISTINCT"),
}


def build(staged: Staged, path: pathlib.Path, leaves: int) -> None:
    """Fill an empty index at ``path`` with what was staged, each table in the order of its key."""
    staged.attach(path, "fresh")
    staged.run("PRAGMA fresh.synchronous = OFF")  # synced once, by whoever puts the file in its place
    staged.run("PRAGMA fresh.journal_mode = OFF")
    staged.run("BEGIN")
    for table, (target, order, distinct) in _FOLDED.items():
        staged.run(
            f"INSERT INTO fresh.{target} SELECT {distinct} * FROM {staged.union(table)} ORDER BY {order}"
        )
    staged.run(f"UPDATE fresh.position SET leaves = {leaves:d}, folded = {leaves:d}")
    staged.run("COMMIT")


_COLUMNS = {
    "statements": (
        ("leaf_index",),
        (
            *("sha256", "type", "event_id", "recorder", "recorded_at", "model", "repo_id", "revision"),
            *("ref", "outcome", "decision", "uploader", "content_sha256"),
        ),
    ),
    "histories": (("history", "leaf_index"), ("sequence",)),
    "signers": (("identity", "leaf_index"), ("verified",)),
    "identities": (("identity",), ("shown",)),
    "models": (("name",), ()),
}


def compare(staged: Staged, index_uri: str, leaves: int, *, least: int) -> Iterator[str]:
    """Yield one sentence for each table of an index that does not say what was staged of ``leaves`` leaves.

    Every staged row is looked up by its key in the index, and the numbers of rows are compared: a table that has each
    row and no more of them is the same. A writer may be at work: the index may be ahead, or behind down to ``least``;
    compared is what both have.
    """
    staged.attach(index_uri, "stored")
    staged.run("BEGIN")  # one state of the index, whatever happens to it meanwhile
    ((position, folded),) = staged.rows("SELECT leaves, folded FROM stored.position")
    ((mirrored,),) = staged.rows("SELECT coalesce(max(leaf_index) + 1, 0) FROM stored.statements")
    if position < least or position != mirrored:
        yield f"position: expected {max(least, mirrored)} leaves, got {position}"
    upto = min(leaves, position)
    for table, (keys, values) in _COLUMNS.items():
        problem = (
            _compare_rows(staged, table, keys, values, upto=upto, folded=folded)
            if "leaf_index" in keys
            else _compare_names(staged, table, keys, values, ahead=position - leaves)
        )
        if problem is not None:
            yield f"{table}: {problem}"


def _compare_rows(
    staged: Staged, table: str, keys: Sequence[str], values: Sequence[str], *, upto: int, folded: int
) -> str | None:
    """Compare the rows of the leaves below ``upto``."""
    query = f"SELECT * FROM {staged.union(table)} WHERE leaf_index < {upto:d}"
    for target, where in _targets(table, folded):
        found = next(
            _differing(staged, query, target=f"stored.{target}", keys=keys, values=values, where=where), None
        )
        if found is not None:
            return f"expected {_show(found)}, got another row or none"
    return _compare_counts(staged, query, f"stored.{table} WHERE leaf_index < {upto:d}")


def _compare_names(
    staged: Staged, table: str, keys: Sequence[str], values: Sequence[str], *, ahead: int
) -> str | None:
    """Compare rows that belong to no leaf: of an index that is behind, each must be staged; of one ahead, each staged is there."""
    columns = ", ".join((*keys, *values))
    query = f"SELECT DISTINCT * FROM {staged.union(table)}"
    if ahead < 0:
        extra = next(
            staged.rows(
                f"SELECT {columns} FROM stored.{table} EXCEPT SELECT {columns} FROM ({query}) LIMIT 1"
            ),
            None,
        )
        return None if extra is None else f"expected no such row, got {_show(extra)}"
    found = next(
        _differing(staged, query, target=f"stored.{table}", keys=keys, values=values, where="TRUE"), None
    )
    if found is not None:
        return f"expected {_show(found)}, got another row or none"
    return _compare_counts(staged, query, f"stored.{table}") if not ahead else None


def _compare_counts(staged: Staged, query: str, target: str) -> str | None:
    ((expected,),) = staged.rows(f"SELECT count(*) FROM ({query})")
    ((actual,),) = staged.rows(f"SELECT count(*) FROM {target}")
    return None if expected == actual else f"expected {expected} rows, got {actual}"


def _targets(table: str, folded: int) -> list[tuple[str, str]]:
    """Return the stored tables to look into, each with the staged rows that belong there."""
    if table in ("histories", "signers"):
        return [
            (f"folded_{table}", f"a.leaf_index < {folded:d}"),
            (f"recent_{table}", f"a.leaf_index >= {folded:d}"),
        ]
    return [(table, "TRUE")]


def _differing(
    staged: Staged, query: str, *, target: str, keys: Sequence[str], values: Sequence[str], where: str
) -> Iterator[tuple[Any, ...]]:
    joined = " AND ".join(f"b.{key} = a.{key}" for key in keys)
    differs = " OR ".join([f"b.{keys[0]} IS NULL", *(f"b.{name} IS NOT a.{name}" for name in values)])
    return staged.rows(
        f"SELECT a.* FROM ({query}) a LEFT JOIN {target} b ON {joined} WHERE {where} AND ({differs}) LIMIT 1"
    )


def _show(row: Sequence[Any]) -> str:
    return ", ".join(value.hex() if isinstance(value, bytes) else str(value) for value in row)


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA locking_mode = NORMAL")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Report what SQLite says of a temporary file. Raises WriteError."""
    try:
        yield
    except sqlite3.Error as error:
        raise WriteError(
            "temporary files of an audit or a rebuild",
            expected="space for about as much as the log's statements take",
            actual=str(error),
            next_step="Free space where temporary files go, or set TMPDIR to a folder with more",
        ) from error
