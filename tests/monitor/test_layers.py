"""Tables in two layers: whatever is kept and folded when, each key has the row that was kept last."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import WriteError
from monitor.database import Database
from monitor.layers import Layers

KEYS = st.binary(min_size=1, max_size=1)
ROUNDS = st.lists(
    st.tuples(st.sampled_from(("one", "two")), st.dictionaries(KEYS, st.integers(0, 9), max_size=6)),
    max_size=12,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layers")
    Database.create(folder, schema=Layers.schema("things", key="BLOB", columns="value INTEGER"))
    database = Database(folder)
    yield database
    database.close()


def layers(database, fold_from=5):
    return Layers(database, "things", columns=("value",), fold_from=fold_from)


def clear(database):
    with database.transaction() as execute:
        execute("DELETE FROM things")
        execute("DELETE FROM things_new")
    return layers(database)


def keep(database, things, log, rows):
    with database.transaction() as execute:
        things.keep(execute, log, sorted(rows.items()))


def count(database, table):
    return database.row(f"SELECT count(*) FROM {table}")[0]


@given(rounds=ROUNDS)
def test_each_key_has_the_row_that_was_kept_last(made, rounds):
    things, wanted = clear(made), {"one": {}, "two": {}}
    for log, rows in rounds:
        keep(made, things, log, rows)
        wanted[log] |= rows
    for log, rows in wanted.items():
        found = list(things.select(log, [bytes([each]) for each in range(256)]))
        assert len(found) == len(rows)
        assert dict(found) == rows
        assert list(things.select(log, [])) == []


def test_new_rows_go_into_the_large_table_in_bulk(made):
    things = clear(made)
    for at in range(13):
        keep(made, things, "one", {bytes([at]): at})
    assert (count(made, "things"), count(made, "things_new")) == (10, 3)
    assert len(list(things.select("one", [bytes([at]) for at in range(13)]))) == 13


def keep_and_fail(database, things):
    with database.transaction() as execute:
        things.keep(execute, "one", [(b"\0", 7)])
        assert execute("SELECT count(*) FROM things").fetchone() == (5,)
        execute("INSERT INTO nowhere VALUES (1)")


def test_a_transaction_that_fails_folds_nothing(made):
    things = clear(made)
    keep(made, things, "one", {bytes([at]): at for at in range(5)})
    with pytest.raises(WriteError):
        keep_and_fail(made, things)
    assert (count(made, "things"), count(made, "things_new")) == (0, 5)
    assert list(things.select("one", [b"\0"])) == [(b"\0", 0)]
