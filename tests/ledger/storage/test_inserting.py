"""Many rows with few statements: each row once, in order, however many there are."""

import sqlite3

import pytest

from ledger.storage.inserting import insert_rows


def _table():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE named(number INTEGER PRIMARY KEY, name TEXT)")
    return connection


def _rows(count):
    return [(number, f"name {number}") for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 64, 100])
def test_each_row_is_inserted_once(count):
    connection = _table()
    insert_rows(connection, "INSERT INTO named", _rows(count))
    assert connection.execute("SELECT * FROM named").fetchall() == _rows(count)


def test_few_statements_are_run_for_many_rows():
    connection, seen = _table(), []
    connection.set_trace_callback(seen.append)
    insert_rows(connection, "INSERT INTO named", _rows(128))
    assert len(seen) == 4


def test_a_row_that_is_there_already_is_ignored_where_the_statement_says_so():
    connection = _table()
    insert_rows(connection, "INSERT INTO named", _rows(40))
    insert_rows(connection, "INSERT OR IGNORE INTO named", [(number, "another") for number in range(50)])
    kept = connection.execute("SELECT name FROM named ORDER BY number").fetchall()
    assert kept[39:41] == [("name 39",), ("another",)]


def test_a_row_that_is_there_already_is_an_error_else():
    connection = _table()
    insert_rows(connection, "INSERT INTO named", _rows(1))
    with pytest.raises(sqlite3.IntegrityError, match=r"named\.number"):
        insert_rows(connection, "INSERT INTO named", _rows(32))
