"""Inserts many rows with few statements, for a thread that writes while others want the interpreter."""

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

_ROWS_AT_ONCE = 32
"""Of the widest table, 14 columns, that is half of SQLite's historic limit of 999 variables."""


def insert_rows(connection: sqlite3.Connection, into: str, rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows, all of one width; ``into`` is the statement up to ``VALUES``, such as ``INSERT INTO names``.

    ``executemany`` gives the interpreter lock away and takes it back for each row. Where other threads want it, that is
    thousands of changes of threads in a second; so some rows go together.
    """
    whole = len(rows) - len(rows) % _ROWS_AT_ONCE
    for at in range(0, whole, _ROWS_AT_ONCE):
        run = rows[at : at + _ROWS_AT_ONCE]
        connection.execute(_statement(into, len(run[0]), _ROWS_AT_ONCE), tuple(chain.from_iterable(run)))
    if whole < len(rows):
        connection.executemany(_statement(into, len(rows[whole]), 1), rows[whole:])


@lru_cache(maxsize=64)
def _statement(into: str, width: int, count: int) -> str:
    row = f"({', '.join('?' * width)})"
    return f"{into} VALUES {', '.join([row] * count)}"
