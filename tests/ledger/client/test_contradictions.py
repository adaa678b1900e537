"""A log that contradicted itself once is named at every later check, whatever it shows then."""

import json
import pathlib
import time

import pytest

from cli.main import run
from ledger.client.contradictions import Contradictions
from ledger.errors import CorruptError
from tests.cli.test_outcomes import Place, chain, fork
from tests.ledger.client.test_named import NAME
from tests.world import NOW, World

DAY = time.strftime("%Y-%m-%d", time.gmtime(NOW))


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUBLEDGER_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(time, "time", lambda: float(NOW))
    return Place(tmp_path)


def other_history():
    log = chain()
    log.grow(1, word="forked")
    return log


def test_a_log_that_contradicted_itself_is_named_at_each_later_check(place, capsys):
    ours = chain().grow(1)
    assert place.by_name(ours, 3) == 0
    assert "Caution" not in capsys.readouterr().out
    assert place.by_name(other_history(), 3) == 14
    capsys.readouterr()

    assert place.by_name(ours, 3) == 0, "the exit code is that of the two results"
    out = capsys.readouterr().out
    assert f"Caution: this log was seen to contradict itself on {DAY} (evidence: " in " ".join(out.split())
    assert place.by_name(ours, 3, "--json") == 0
    (said,) = json.loads(capsys.readouterr().out)["cautions"]
    evidence = said.partition("(evidence: ")[2].partition(")")[0]
    assert run(["verify", "--evidence", evidence, "--trust", "trust.toml"]) == 0, "it is what was found"

    assert run(["pins", "forget", f"name:{NAME}"]) == 0
    capsys.readouterr()
    assert run(["pins", "list", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["misbehaviour"]
    assert (row["seen"], row["evidence"]) == (DAY, evidence)
    assert run(["pins", "list"]) == 0
    assert "contradicted itself" in capsys.readouterr().out


def test_a_proof_at_hand_is_of_the_same_log(place, capsys):
    assert place.verify("--log-only", pin=fork().checkpoint()) == 14
    capsys.readouterr()
    assert place.verify("--log-only") == 0
    assert "Caution: this log was seen to contradict itself" in " ".join(capsys.readouterr().out.split())


def test_the_first_evidence_is_enough(place):
    for word in ("one", "two", "three"):
        assert place.verify("--log-only", pin=World().grow(13, word=word).checkpoint()) == 14
    assert len(list((place.folder / "data/misbehaviour").glob("*.evidence"))) == 1


def test_a_damaged_memory_is_still_a_caution_and_no_list(place, capsys):
    assert place.verify("--log-only", pin=fork().checkpoint()) == 14
    (record,) = (place.folder / "data/misbehaviour").glob("*.json")
    record.write_bytes(b'{"ledger":"","origin":"","seen":99999999999999}')
    capsys.readouterr()
    assert place.verify("--log-only") == 0
    assert "this log was seen to contradict itself, and what was kept of that is damaged" in " ".join(
        capsys.readouterr().out.split()
    )
    with pytest.raises(CorruptError, match="another object"):
        Contradictions(place.folder / "data").known()


def test_a_proof_is_checked_by_a_user_without_a_home(place, monkeypatch):
    """As in a container with a number for a user: nothing is remembered, and nothing fails for that."""
    monkeypatch.delenv("HUBLEDGER_DATA")

    def none(cls):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(pathlib.Path, "home", classmethod(none))
    assert place.verify("--log-only") == 0
    assert place.verify("--log-only", pin=fork().checkpoint()) == 14


def test_a_folder_that_cannot_be_written_does_not_hide_the_misbehaviour(place, capsys):
    (place.folder / "data").write_bytes(b"")
    assert place.verify("--log-only", pin=fork().checkpoint()) == 14
    assert "misbehaviour not remembered" in " ".join(capsys.readouterr().out.split())
