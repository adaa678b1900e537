"""A check that succeeds with an old proof says so in a sentence of its own, in text and JSON; only freshness that was asked for fails."""

import json

import pytest

from cli.main import run
from ledger.client import cautions
from ledger.client.trust_writing import format_trust
from ledger.client.verify import check_proof
from tests.world import NOW, World, make_event, signed_by, sigstore_signer

AT = 5
WORLD = World().grow(AT)
WORLD.record(make_event(signed_by(sigstore_signer())))
WORLD.grow(7)
MONTH = 30 * 86_400
LATER = "; a later event, such as one that takes this back, would not be seen here"
OLDER = (
    "not linked to your pin: this proof is from when the log had 9 entries, and you have seen 13" + LATER,
)
UNLINKED = (
    "not linked to your pin: nothing shows that the log of 13 entries begins with the 3 that you have seen; your pin stays as it is",
)
UNDATED = (
    "nobody whom your trust file names says how old the checkpoint is, so its max_age of 24 hours was held against nothing"
    + LATER,
)


def check(proof, *, pin=None, now=NOW, **trust):
    return check_proof(proof, trust=WORLD.trust(**trust), now=now, log_only=True, pin=pin)


def dated(at):
    return WORLD.proof(AT, cosigned={"w.example": at})


WITNESSED = {"witnesses": ("w.example",), "max_age": 86_400}
CASES = {
    "all is new": ({"proof": dated(NOW - 5), "pin": WORLD.checkpoint(), **WITNESSED}, ()),
    "nothing was asked": ({"proof": WORLD.proof(AT)}, ()),
    "last month's truth, by its pin": (
        {"proof": WORLD.proof(AT, size=9), "pin": WORLD.checkpoint()},
        OLDER,
    ),
    "a lost consistency proof": ({"proof": WORLD.proof(AT), "pin": WORLD.checkpoint(3)}, UNLINKED),
    "last month's truth, by its date": (
        {"proof": dated(NOW - MONTH), **WITNESSED},
        ("the checkpoint is 30 days old, and your trust file's max_age is 24 hours" + LATER,),
    ),
    "a date far ahead of this clock": ({"proof": dated(NOW + 301), **WITNESSED}, UNDATED),
    "a date a little ahead of this clock": ({"proof": dated(NOW + 300), **WITNESSED}, ()),
    "no date": ({"proof": WORLD.proof(AT), **WITNESSED}, UNDATED),
}


@pytest.mark.parametrize("name", CASES)
def test_inclusion_does_not_expire_and_what_is_open_is_said(name):
    given, said = CASES[name]
    result = check(**given)
    assert (result.log, result.satisfied, result.failure) == ("INCLUDED_ONLY", True, None)
    assert result.cautions == said


@pytest.mark.parametrize("require", ["complete", "audited"])
@pytest.mark.parametrize(
    "name", ["last month's truth, by its date", "a date far ahead of this clock", "no date"]
)
def test_where_freshness_is_asked_for_the_same_is_stale_and_accuses_nobody(name, require):
    result = check(**CASES[name][0], require=require)
    assert (result.log, result.satisfied, result.failure.step) == ("STALE", False, "age limit")
    assert result.evidence is None


@pytest.mark.parametrize("require", ["complete", "audited"])
def test_where_freshness_is_asked_for_an_older_one_than_the_pin_is_stale(require):
    given, said = CASES["last month's truth, by its pin"]
    result = check(**given, require=require)
    assert (result.log, result.failure.step, result.cautions) == ("STALE", "link to your pin", said)


def test_a_limit_that_nothing_can_be_held_against_says_what_is_missing():
    failure = check(WORLD.proof(AT), max_age=60, require="audited").failure
    assert failure.actual == "age unknown: no timestamped cosignature by a key of the trust file"
    assert len(failure.causes) == 2
    assert failure.next_step.startswith(
        "Fetch a new proof of the same event; if that has no date either, ask"
    )


def test_a_stolen_witness_key_does_not_date_a_checkpoint_for_years_ahead():
    """Without a quorum the newest cosignature counts: one that is made to last must not, and the honest one beside it does."""
    ahead, names = NOW + 12 * MONTH, ["w", "thief"]
    old = WORLD.proof(AT, cosigned={"w": NOW - MONTH, "thief": ahead})
    failure = check(old, max_age=60, require="audited", witnesses=names).failure
    assert (failure.step, failure.actual.startswith(f"{MONTH} s old")) == ("age limit", True)
    alone = WORLD.proof(AT, cosigned={"thief": ahead})
    failure = check(alone, max_age=60, require="audited", witnesses=names).failure
    assert failure.actual.endswith("more than 300 s ahead of this machine's clock do not count")
    assert failure.causes[0] == "the clock of this machine is behind"


def test_the_sentence_stands_right_below_the_two_words_and_in_json(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUBLEDGER_DATA", str(tmp_path / "data"))
    (tmp_path / "old.tlog-proof").write_bytes(WORLD.proof(AT, size=9))
    (tmp_path / "pin").write_bytes(WORLD.checkpoint())
    (tmp_path / "trust.toml").write_bytes(format_trust(WORLD.trust()))
    words = ["verify", "--proof", "old.tlog-proof", "--trust", "trust.toml", "--pin", "pin", "--log-only"]
    assert run(words) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("log: INCLUDED_ONLY   model: NOT_CHECKED")
    assert lines[at + 1] == f"Caution: {OLDER[0]}."
    assert run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cautions"] == list(OLDER)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(1, "1 s"), (119, "119 s"), (120, "2 minutes"), (7200, "2 hours"), (2 * 86_400, "2 days")],
)
def test_ages_are_said_as_people_say_them(seconds, said):
    assert f"the checkpoint is {said} old" in cautions.too_old(seconds, 1)
