"""Tables whose rows come in no order, in two layers: what is new is apart, and goes sorted into the large table in bulk.

A row by a digest has a page of the large table almost for itself: a log of a million events would read and write as many pages
as it has rows. The small table stays on few pages, and where it goes into the large one, each page takes several rows.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from monitor.database import Database

FOLD_FROM = 65_536
"""New rows that go into the large table with the next: some four megabytes."""


class Layers:
    """The table ``name``: rows by log and key, each of which replaces the one before. ``keep`` is part of somebody's transaction."""

    def __init__(
        self, database: Database, name: str, *, columns: Sequence[str], fold_from: int = FOLD_FROM
    ) -> None:
        names = ", ".join(("key", *columns))
        marks = ", ".join("?" * (2 + len(columns)))
        self._database, self._fold_from = database, fold_from
        # Names of our own tables and columns, here and below.
        self._select = [f"SELECT {names} FROM {each} WHERE log = ? AND key" for each in (_new(name), name)]  # noqa: S608
        self._insert = f"INSERT OR REPLACE INTO {_new(name)} VALUES ({marks})"  # noqa: S608
        self._count = f"SELECT count(*) FROM {_new(name)}"  # noqa: S608
        self._fold = f"INSERT OR REPLACE INTO {name} SELECT * FROM {_new(name)} ORDER BY log, key"  # noqa: S608
        self._empty = f"DELETE FROM {_new(name)}"  # noqa: S608

    @staticmethod
    def schema(name: str, *, key: str, columns: str) -> str:
        """Return what makes the table: the SQL type of ``key``, and the columns after it."""
        return "".join(
            f"CREATE TABLE {each}(log TEXT NOT NULL, key {key} NOT NULL, {columns}, PRIMARY KEY (log, key)) STRICT, WITHOUT ROWID;\n"
            for each in (name, _new(name))
        )

    def select(self, log: str, keys: Sequence[Any]) -> Iterator[Any]:
        """Yield the rows of these keys, which are sorted and occur once: the key first, then the columns."""
        new, large = self._select
        rest = set(keys)
        for row in self._database.select(new, log, keys):
            rest.discard(row[0])
            yield row
        yield from self._database.select(large, log, sorted(rest))

    def keep(self, execute: Any, log: str, rows: Sequence[Sequence[object]]) -> None:
        """Store rows, sorted by key: the key first, then the columns."""
        if execute(self._count).fetchone()[0] >= self._fold_from:
            execute(self._fold)
            execute(self._empty)
        self._database.execute_many(self._insert, [(log, *row) for row in rows])


def _new(name: str) -> str:
    return f"{name}_new"
