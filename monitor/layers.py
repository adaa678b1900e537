"""Tables whose rows come in no order, in two layers: what is new is apart, and goes sorted into the large table in bulk.

A row by a digest has a page of the large table almost for itself: a log of a million events would read and write as many pages
as it has rows. The small table stays on few pages, and where it goes into the large one, each page takes several rows. Where most
keys that are asked for are new, a filter in memory says so, and nothing is read at all.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from monitor.database import Database
from monitor.seen import Seen

FOLD_FROM = 65_536
"""New rows that go into the large table with the next: some four megabytes."""


class Layers:
    """The table ``name``: rows by log and key, each of which replaces the one before. ``keep`` is part of somebody's transaction.

    ``mostly_new``: hardly a key that is asked for was ever stored. What was stored is remembered then, from an empty table on.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        *,
        columns: Sequence[str],
        fold_from: int = FOLD_FROM,
        mostly_new: bool = False,
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
        self._version = database.version()  # before we look whether it is empty
        self._seen = Seen() if mostly_new and self._is_empty(name) else None

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
        if self._seen is not None:
            if self._database.version() != self._version:
                self._seen = None  # somebody else wrote to the file, and we do not know what
            else:
                keys = self._seen.among(keys)
        rest = set(keys)
        for row in self._database.select(new, log, keys):
            rest.discard(row[0])
            yield row
        yield from self._database.select(large, log, sorted(rest))

    def has_between(self, log: str, least: Any, behind: Any) -> bool:
        """Return whether a row has a key from ``least`` on and before ``behind``."""
        tests = (f"{each} >= ? AND key < ? LIMIT 1" for each in self._select)
        return any(self._database.row(test, log, least, behind) for test in tests)

    def keep(self, execute: Any, log: str, rows: Sequence[Sequence[object]]) -> None:
        """Store rows, sorted by key: the key first, then the columns."""
        if execute(self._count).fetchone()[0] >= self._fold_from:
            execute(self._fold)
            execute(self._empty)
        if self._seen is not None:
            self._seen.add(key for key, *_ in rows)
        self._database.execute_many(self._insert, [(log, *row) for row in rows])

    def _is_empty(self, name: str) -> bool:
        return not any(self._database.row(f"SELECT 1 FROM {each} LIMIT 1") for each in (name, _new(name)))  # noqa: S608


def _new(name: str) -> str:
    return f"{name}_new"
