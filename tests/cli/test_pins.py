"""What is remembered, as it is shown."""

import pytest

from cli.main import run
from ledger.client.pins import HistoryPin, Pins
from ledger.client.result import LogResult


@pytest.fixture
def pins(tmp_path, monkeypatch):
    monkeypatch.setenv("HUBLEDGER_DATA", str(tmp_path))
    return Pins(tmp_path)


def pin(sequence, revision, *, accepted):
    return HistoryPin(
        ledger="log.example/models",
        key="name:acme/tiny",
        sequence=sequence,
        sha256=bytes([sequence] * 32),
        leaf_index=sequence + 5,
        revision=revision,
        signers=(),
        level=LogResult.INCLUDED_ONLY,
        accepted=accepted,
        seen=0,
    )


def test_revisions_that_were_taken_back_are_shown_with_their_leaf(pins, capsys):
    pins.move_history(pin(0, "r1", accepted=True))
    assert run(["pins", "show", "acme/tiny"]) == 0
    assert "refused" not in capsys.readouterr().out
    for number, each in enumerate(("r1", "r2"), 1):
        pins.move_history(pin(number, each, accepted=False))
    pins.move_history(pin(3, "r3", accepted=True))
    assert run(["pins", "show", "acme/tiny"]) == 0
    assert "refused     r1 at leaf 6, r2 at leaf 7\n" in capsys.readouterr().out


def test_an_empty_list_says_what_fills_it(pins, capsys):
    for words, said in (
        (
            ["pins", "list"],
            "Nothing is remembered yet. `hubledger verify MODEL --name NAME` remembers what it has seen.\n",
        ),
        (["trust", "list"], "You trust no hub yet. `hubledger trust add URL` fetches a hub's trust file.\n"),
    ):
        assert run(words) == 0
        assert capsys.readouterr().out == said
    pins.move_history(pin(0, "r1", accepted=True))
    assert run(["pins", "list"]) == 0
    assert capsys.readouterr().out.startswith("LEDGER ")
