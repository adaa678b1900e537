"""A log ends and another continues it: nothing follows the last checkpoint, and the new log says which one that was."""

import dataclasses
import json

import pytest

from cli.main import run
from ledger.client.trust_writing import format_trust
from ledger.embedded.auditing import audit_ledger
from ledger.embedded.directory import Layout, load_trust, open_for_reading
from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from ledger.embedded.reading import read_entry_at
from ledger.embedded.retiring import retire, succeed
from ledger.entry import parse_entry
from ledger.errors import UsageError, WriterLockedError
from ledger.event import parse_statement
from ledger.event.schemas import HUB_KEY, SUCCESSION
from ledger.log.lock import writer_lock
from ledger.tlog.checkpoint import verify_checkpoint
from ledger.tlog.cosignature import Cosigner, add_cosignatures
from ledger.tlog.signed_note import parse_note
from ledger.tlog.trust_policy import Witness
from tests.ledger.server.conftest import facts
from tests.world import ed25519_key


def _opening(folder):
    return lambda: open_for_recording(folder)


def _statements(folder):
    """Every statement of a ledger, as monitors read it: from the public log."""
    ledger = open_for_reading(folder)
    size = ledger.log.checkpoint().checkpoint.size
    entries = [read_entry_at(ledger, leaf_index, size) for leaf_index in range(size)]
    return [parse_statement(parse_entry(each).payload) for each in entries]


@pytest.fixture
def old(tmp_path):
    init(tmp_path / "old", origin="log.example/models", hub="hub.example")
    with open_for_recording(tmp_path / "old") as ledger:
        ledger.recorder.record(facts("acme/tiny", "r1"))
        ledger.publish()
    return tmp_path / "old"


def test_what_is_durable_is_published_before_the_log_ends(old):
    with open_for_recording(old) as ledger:
        ledger.recorder.record(facts("acme/tiny", "r2"))
    last = retire(old, opened=_opening(old))
    assert last.checkpoint.size == 3
    assert (old / "final-checkpoint").read_bytes() == (old / "log/checkpoint").read_bytes() == last.note


def test_nothing_is_recorded_afterwards_and_everything_is_read(old):
    retire(old, opened=_opening(old))
    with pytest.raises(UsageError, match="one whose log was retired"), open_for_recording(old):
        pass
    assert open_for_reading(old).log.checkpoint().checkpoint.size == 2
    assert audit_ledger(old, workers=1, progress=lambda done, size: None)["size"] == 2


def test_a_log_ends_once(old):
    first = retire(old, opened=_opening(old))
    assert retire(old, opened=_opening(old)).note == first.note


def test_a_log_that_somebody_writes_is_not_ended(old):
    with writer_lock(old / "lock"), pytest.raises(WriterLockedError):
        retire(old, opened=_opening(old))
    assert not (old / "final-checkpoint").exists()


def test_the_new_log_begins_with_the_end_of_the_old_one(old, tmp_path):
    last = retire(old, opened=_opening(old))
    found = succeed(
        old / "final-checkpoint", old / "trust.toml", origin="log.example/next", reason="disk-lost"
    )
    new = tmp_path / "new"
    init(new, origin="log.example/next", hub="hub.example", continues=found.fields)
    succession, key = _statements(new)
    assert (succession.predicate_type, key.predicate_type) == (SUCCESSION, HUB_KEY)
    assert succession.fields["predecessor"] == "log.example/models"
    assert succession.fields["reason"] == "disk-lost"
    said = verify_checkpoint(
        succession.fields["finalCheckpoint"].encode(),
        origin="log.example/models",
        keys=load_trust(Layout(root=old)).log_keys,
    )
    assert said.checkpoint == last.checkpoint
    assert [link.sequence for each in (succession, key) for link in each.common.histories] == [0, 1]
    audit_ledger(new, workers=1, progress=lambda done, size: None)


def test_the_new_log_is_written_as_any_other(old, tmp_path):
    found = succeed(old / "log/checkpoint", old / "trust.toml", origin="log.example/next")
    new = tmp_path / "new"
    init(new, origin="log.example/next", hub="hub.example", continues=found.fields)
    with open_for_recording(new) as ledger:
        receipt = ledger.recorder.record(facts("acme/tiny", "r1"))
        ledger.publish()
    assert receipt.leaf_index == 2
    audit_ledger(new, workers=1, progress=lambda done, size: None)


KNOWN = Cosigner(name="witness.example", key=ed25519_key("known"))
FIRST_SECOND = 1_767_323_045
AT = "2026-01-02T03:04:05Z"


@pytest.fixture
def witnessed(old, tmp_path):
    """The last checkpoint and the trust file of a log with one witness, whom its quorum asks for."""
    last = retire(old, opened=_opening(old))
    trust = load_trust(Layout(root=old))
    policy = dataclasses.replace(
        trust.policy,
        witnesses=(*trust.policy.witnesses, Witness(name="known", key=KNOWN.verifier)),
        quorum="known",
    )
    (tmp_path / "old.toml").write_bytes(format_trust(dataclasses.replace(trust, policy=policy)))
    return last, tmp_path / "old.toml"


def _cosigned(folder, last, *lines):
    path = folder / "checkpoint"
    path.write_bytes(add_cosignatures(last.parsed, lines))
    return path


def _by(cosigner, last, *, time=FIRST_SECOND):
    return cosigner.cosign(last.checkpoint, timestamp=time)


def test_only_signatures_that_were_verified_go_into_the_first_entry(witnessed, tmp_path):
    """A stranger's line, and a second one by a key whose first was looked at, would stand there for ever."""
    last, trust = witnessed
    strangers = [
        _by(Cosigner(name=f"stranger{each}.example", key=ed25519_key(f"s{each}")), last) for each in range(90)
    ]
    own = next(each for each in last.parsed.signatures if each.name == last.checkpoint.origin)
    twice = dataclasses.replace(own, signature=bytes(len(own.signature)))
    checkpoint = _cosigned(tmp_path, last, *strangers, _by(KNOWN, last), twice)
    kept = parse_note(
        succeed(checkpoint, trust, origin="log.example/next").fields["finalCheckpoint"].encode()
    )
    assert kept.text == last.parsed.text
    assert kept.signatures == (*last.parsed.signatures, _by(KNOWN, last))


def test_size_and_time_are_said(witnessed, tmp_path, capsys):
    last, trust = witnessed
    checkpoint = _cosigned(tmp_path, last, _by(KNOWN, last))
    words = [
        *("--origin", "log.example/next", "--hub", "hub.example"),
        *("--continues", str(checkpoint), "--continues-trust", str(trust)),
    ]
    assert run(["init", str(tmp_path / "a"), *words]) == 0
    assert (
        f"  continues log.example/models at size 2, as of {AT}\n"
        "            nobody stands by what it recorded later: see that nobody has a newer checkpoint\n"
    ) in capsys.readouterr().out
    assert run(["init", str(tmp_path / "b"), *words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["continues"]
    assert said == {"ledger": "log.example/models", "size": 2, "time": AT}


@pytest.mark.parametrize("cosigned", [(), (1 << 62,)])
def test_a_time_that_nobody_signed_or_no_calendar_has_is_not_said(witnessed, tmp_path, capsys, cosigned):
    last, trust = witnessed
    checkpoint = _cosigned(tmp_path, last, *(_by(KNOWN, last, time=each) for each in cosigned))
    assert (
        run(
            [
                *("init", str(tmp_path / "a"), "--origin", "log.example/next", "--hub", "hub.example"),
                *("--continues", str(checkpoint), "--continues-trust", str(trust)),
            ]
        )
        == 0
    )
    assert "at size 2, as of a time that nobody signed\n" in capsys.readouterr().out
