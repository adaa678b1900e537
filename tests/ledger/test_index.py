"""The index: two ways to read an entry give the same rows, and a wrong row is found wherever it is."""

import pathlib
import sqlite3

import pytest

from ledger.embedded.auditing import audit_ledger
from ledger.embedded.examining import Examine
from ledger.embedded.indexing import check_index, rebuild_index
from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from ledger.errors import CorruptError, WriteError
from ledger.index import Index, Rows, read_entry, staging
from ledger.log import replay
from ledger.storage import sqlite
from tests import spec_vectors
from tests.events import NOW, key, workflow
from tests.ledger.test_recorder import facts

QUIET = {"progress": lambda _done, _total: None}


def rows_of(entries, read):
    rows = Rows(0)
    for entry in entries:
        read(rows, entry)
    return rows


def test_a_rebuild_reads_audited_entries_as_the_audit_does():
    """Also of unknown types and fields, of every plain type, of map commits and of what does not parse."""
    statements = [
        spec_vectors.signed(each["statement"].encode())
        for each in spec_vectors.statements()
        if each["reader"] != "refuse"
    ]
    commits = [each["entry"].encode() for each in spec_vectors.entries() if "mapRoot" in each]
    entries = [*statements, *commits, b"", b"no JSON", b"[]", b'{"payload":7}', b'{"payload":"e30="}']
    strict = rows_of(entries, lambda rows, entry: rows.add(*read_entry(entry)))
    assert {row[2] for row in strict.statements} > {"malformed", "map-commit"}
    assert len(strict.signers) > 3
    assert rows_of(entries, lambda rows, entry: rows.add_audited(entry)) == strict


@pytest.fixture
def small_folds(monkeypatch):
    """Fold what is recent after a few events, so that both generations are met."""
    monkeypatch.setattr(sqlite, "FOLD_AT", 7)
    monkeypatch.setattr("ledger.index.FOLD_AT", 13)


@pytest.fixture
def folder(tmp_path):
    init(tmp_path / "ledger", origin="log.example/models", hub="hub.example", now=lambda: NOW)
    return tmp_path / "ledger"


def fill(folder, *, start=0, rounds=12, publish=True):
    """Some models, each with a name and a repository, signed by keys and workflows that come back."""
    with open_for_recording(folder, now=lambda: NOW) as ledger:
        for number in range(start, start + rounds):
            batch = [
                facts(
                    f"e{number}-{at}",
                    *([key(str(at)), workflow("refs/tags/v1")] if at else []),
                    name=f"acme/model-{(number + at) % 5}",
                    revision=f"r{number}-{at}",
                    repo_id=str((number + at) % 5),
                )
                for at in range(3)
            ]
            answers = ledger.recorder.record_batch(batch)
            assert [answer.repeated for answer in answers] == [False] * 3
            if publish:
                ledger.recorder.publish()
                ledger.log._next_publication = 0.0


@pytest.mark.parametrize("publish", [True, False])
@pytest.mark.usefixtures("small_folds")
def test_heads_event_ids_and_rows_are_the_same_before_and_after_a_fold(folder, publish):
    fill(folder, publish=publish)
    fill(folder, start=12, publish=publish)
    report = audit_ledger(folder, workers=1, **QUIET)
    assert "11 histories without a gap or fork, 73 event ids used once" in report["checked"]
    with open_for_recording(folder, now=lambda: NOW) as ledger:
        again = ledger.recorder.record(
            facts(
                "e3-1", key("1"), workflow("refs/tags/v1"), name="acme/model-4", revision="r3-1", repo_id="4"
            )
        )
        assert again.repeated


@pytest.mark.usefixtures("small_folds")
def test_what_is_recent_survives_a_writer_that_never_closed(folder):
    """The next process finds the recent heads and ids where the commit left them."""
    fill(folder)
    with open_for_recording(folder, now=lambda: NOW) as ledger:
        ledger.recorder.record_batch(
            [facts("late", key("a"), name="acme/model-0", revision="z", repo_id="0")]
        )
        copy = folder.with_name("copy")
        _copy(folder, copy)
    with sqlite3.connect(copy / "ledger.db") as database:
        assert database.execute("SELECT count(*) FROM recent").fetchone() == (1,)
    with open_for_recording(copy, now=lambda: NOW) as ledger:
        again = facts("late", key("a"), name="acme/model-0", revision="z", repo_id="0")
        assert ledger.recorder.record(again).repeated
    audit_ledger(copy, workers=1, **QUIET)


def _copy(source: pathlib.Path, target: pathlib.Path):
    for path in source.rglob("*"):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(parents=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
            place.chmod(path.stat().st_mode)


@pytest.mark.usefixtures("small_folds")
def test_a_rebuild_gives_the_index_that_recording_made(folder):
    fill(folder)
    before = _dump(folder)
    assert check_index(folder, **QUIET) == (37, [])
    assert rebuild_index(folder, **QUIET) == 37
    assert check_index(folder, **QUIET) == (37, [])
    assert _dump(folder) == before
    fill(folder, start=50)
    assert check_index(folder, **QUIET) == (73, [])


def _dump(folder):
    index = Index(folder / "index.db", read_only=True)
    columns = {"statements": "*", "histories": "*", "signers": "*", "identities": "*", "models": "name"}
    try:
        return {
            table: sorted(index.database.execute(f"SELECT {wanted} FROM {table}").fetchall())
            for table, wanted in columns.items()
        }
    finally:
        index.close()


DAMAGE = {
    "another outcome": (
        "UPDATE statements SET outcome = 'ERROR' WHERE leaf_index = 20",
        "statements: expected 20, ",
    ),
    "a lost statement": ("DELETE FROM statements WHERE leaf_index = 20", "statements: expected 20, "),
    "a lost old link": ("DELETE FROM folded_histories WHERE leaf_index = 3", "histories: expected "),
    "a lost new link": ("DELETE FROM recent_histories WHERE leaf_index = 36", "histories: expected "),
    "a link too many": (
        "INSERT INTO recent_histories VALUES ('name:evil/model', 36, 0)",
        "histories: expected 73 rows, got 74",
    ),
    "a link of another number": (
        "UPDATE folded_histories SET sequence = 9 WHERE leaf_index = 3",
        "histories: expected ",
    ),
    "a claim called verified": ("UPDATE folded_signers SET verified = 1 - verified", "signers: expected "),
    "a signer too many": (
        "INSERT INTO folded_signers VALUES (x'00', 3, 1)",
        "signers: expected 48 rows, got 49",
    ),
    "another name for a signer": ("UPDATE identities SET shown = 'somebody else'", "identities: expected "),
    "a model that nobody recorded": (
        "INSERT INTO models(name) VALUES ('evil/model')",
        "models: expected 5 rows, got 6",
    ),
    "a position that is ahead": ("UPDATE position SET leaves = 99", "position: expected 37 leaves, got 99"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.usefixtures("small_folds")
def test_every_wrong_row_is_found(folder, damage):
    fill(folder)
    change, said = DAMAGE[damage]
    with sqlite3.connect(folder / "index.db") as database:
        assert database.execute(change).rowcount > 0
    _, problems = check_index(folder, **QUIET)
    assert any(problem.startswith(said) for problem in problems), problems
    with pytest.raises(
        CorruptError, match=r"index: expected what the log says, got .*hubledger index rebuild"
    ):
        audit_ledger(folder, workers=1, **QUIET)
    rebuild_index(folder, **QUIET)
    assert check_index(folder, **QUIET)[1] == []


def test_several_processes_give_what_one_gives(folder, monkeypatch):
    fill(folder, rounds=3)
    monkeypatch.setattr(replay, "_PARALLEL_FROM", 1)
    monkeypatch.setattr(replay, "_BUNDLES_A_RUN", 1)
    assert check_index(folder, workers=2, **QUIET) == (10, [])
    assert audit_ledger(folder, workers=2, **QUIET)["entries"] == 10


def test_no_space_for_temporary_files_is_said_as_such(folder, monkeypatch):
    fill(folder, rounds=1)

    def full(*_args, **_options):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(staging.sqlite3, "connect", full)
    with pytest.raises(
        WriteError, match=r"temporary files of an audit or a rebuild: expected space .*set TMPDIR"
    ):
        Examine({}, "log.example/models", folder)(0, [])


def test_who_stops_reading_in_the_middle_may_close_the_file_first(folder):
    """A refusal of an audit ends its walk: what is left of it must not touch the files that are gone by then."""
    fill(folder, rounds=2, publish=False)
    staging.Staging(folder).close()
    commits, staged = sqlite.SqliteCommits(folder / "ledger.db", read_only=True), staging.Staged(folder)
    walks = [staged.rows("VALUES (1), (2)"), commits.pending(), commits.all_events(), commits.all_heads()]
    for walk in walks:
        next(walk)
    staged.close()
    commits.close()
    for walk in walks:
        walk.close()


def test_names_are_found_by_any_part_whatever_the_case(folder):
    odd = 'acme/the"quoted"_100%25'
    fill(folder, rounds=3)
    with open_for_recording(folder, now=lambda: NOW) as ledger:
        ledger.recorder.record(facts("odd", key("a"), name=odd))
    for again in (False, True):
        if again:
            rebuild_index(folder, **QUIET)
        index = Index(folder / "index.db", read_only=True)
        assert index.search("MODEL-", limit=3) == ["acme/model-0", "acme/model-1", "acme/model-2"]
        assert index.search('"QUOTED"') == index.search("0%") == index.search("_1") == [odd]
        assert index.search("nobody") == index.search("%%") == index.search('" OR "acme') == []
        index.close()
