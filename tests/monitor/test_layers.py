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


def layers(database, fold_from=5, *, mostly_new=False):
    return Layers(database, "things", columns=("value",), fold_from=fold_from, mostly_new=mostly_new)


def clear(database, *, mostly_new=False):
    with database.transaction() as execute:
        execute("DELETE FROM things")
        execute("DELETE FROM things_new")
    return layers(database, mostly_new=mostly_new)


def keep(database, things, log, rows):
    with database.transaction() as execute:
        things.keep(execute, log, sorted(rows.items()))


def count(database, table):
    return database.row(f"SELECT count(*) FROM {table}")[0]


@given(rounds=ROUNDS, mostly_new=st.booleans())
def test_each_key_has_the_row_that_was_kept_last(made, rounds, mostly_new):
    things, wanted = clear(made, mostly_new=mostly_new), {"one": {}, "two": {}}
    for log, rows in rounds:
        assert dict(things.select(log, sorted(rows))) == {
            key: value for key, value in wanted[log].items() if key in rows
        }
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


def test_what_is_new_is_not_looked_for(made, tmp_path):
    things = clear(made, mostly_new=True)
    keep(made, things, "one", {b"a": 1})
    with made.transaction() as execute:  # not by our hands: as if the row were one that nobody stored
        execute("INSERT INTO things VALUES ('one', x'62', 2)")
    assert list(things.select("one", [b"a", b"b"])) == [(b"a", 1)]
    assert list(layers(made, mostly_new=True).select("one", [b"a", b"b"])) == [(b"a", 1), (b"b", 2)]


def test_what_another_process_stored_is_looked_for(tmp_path):
    Database.create(tmp_path, schema=Layers.schema("things", key="BLOB", columns="value INTEGER"))
    ours, theirs = Database(tmp_path), Database(tmp_path)
    things = layers(ours, mostly_new=True)
    assert list(things.select("one", [b"a"])) == []
    keep(theirs, layers(theirs), "one", {b"a": 1})
    assert list(things.select("one", [b"a", b"b"])) == [(b"a", 1)]
    ours.close()
    theirs.close()


def test_keys_between_two_are_found_in_both_layers(made):
    things = clear(made)
    for at in (1, 3, 5, 7, 8, 9):
        keep(made, things, "one", {bytes([at]): at})
    assert (count(made, "things"), count(made, "things_new")) == (5, 1)
    assert things.has_between("one", b"\3", b"\4")
    assert things.has_between("one", b"\t", b"\n")
    assert not things.has_between("one", b"\4", b"\5")
    assert not things.has_between("two", b"\3", b"\4")


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
