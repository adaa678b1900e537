"""An SQLite file that mirrors a log up to a position: derived, so that what is lost of it is made again.

Whoever keeps one says in ``MirrorForm`` what is in it and how to make it again, and inserts rows in ``advancing``.
"""

import contextlib
import pathlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from ledger.errors import CorruptError, WriteError
from ledger.storage.readonly import read_only_uri

_POSITION = """
CREATE TABLE position(id INTEGER PRIMARY KEY CHECK (id = 1), leaves INTEGER NOT NULL) STRICT;
INSERT INTO position VALUES (1, 0);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorForm:
    """What such a file is called, its own tables, how to make it again, and what its failure leaves alone."""

    name: str
    tables: str
    version: int
    rebuild: str
    unharmed: str


class Mirror:
    """The file. One process writes it, any number read."""

    FORM: ClassVar[MirrorForm]

    def __init__(self, path: pathlib.Path, *, read_only: bool = False) -> None:
        self._name = path.name
        try:
            if read_only:
                self._connection = sqlite3.connect(read_only_uri(path), uri=True, check_same_thread=False)
            else:
                self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
                self._prepare()
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error as error:
            raise self._unsound(error) from error
        if version != self.FORM.version:
            raise CorruptError(
                f"{self.FORM.name} {path.name}",
                expected=f"version {self.FORM.version}",
                actual=f"version {version}",
                next_step=self.FORM.rebuild,
            )

    def position(self) -> int:
        """How many leaves are mirrored."""
        return int(self._all("SELECT leaves FROM position")[0][0])

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextlib.contextmanager
    def _advancing(self, start: int, count: int) -> Iterator[None]:
        """Insert the rows of ``count`` leaves from ``start`` (the position) on, all or none of them.

        Raises:
            CorruptError: the position is another. WriteError: it could not be written.
        """
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            moved = connection.execute(
                "UPDATE position SET leaves = ? WHERE leaves = ?", (start + count, start)
            )
            if moved.rowcount != 1:
                connection.execute("ROLLBACK")
                raise CorruptError(
                    f"position of the {self.FORM.name}",
                    expected=start,
                    actual=self.position(),
                    next_step=self.FORM.rebuild,
                )
            yield
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise WriteError(
                f"updating the {self.FORM.name}",
                expected="a committed transaction",
                actual=str(error),
                next_step=f"Free space and run `hubledger index rebuild`: {self.FORM.unharmed} are not affected",
            ) from error

    def _all(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._unsound(error) from error

    def _unsound(self, error: sqlite3.Error) -> CorruptError:
        return CorruptError(
            f"{self.FORM.name} {self._name}",
            expected="a sound SQLite file",
            actual=str(error),
            next_step=self.FORM.rebuild,
        )

    def _prepare(self) -> None:
        connection = self._connection
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # derived: a lost tail is mirrored again
        connection.execute("PRAGMA cache_size = -16384")
        connection.execute("PRAGMA wal_autocheckpoint = 16384")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            done = f"PRAGMA user_version = {self.FORM.version}; COMMIT;"
            connection.executescript(f"BEGIN IMMEDIATE; {_POSITION} {self.FORM.tables} {done}")
