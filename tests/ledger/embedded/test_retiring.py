"""A log ends and another continues it: nothing follows the last checkpoint, and the new log says which one that was."""

import pytest

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
from tests.ledger.server.conftest import facts


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
    fields = succeed(
        old / "final-checkpoint", old / "trust.toml", origin="log.example/next", reason="disk-lost"
    )
    new = tmp_path / "new"
    init(new, origin="log.example/next", hub="hub.example", continues=fields)
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
    fields = succeed(old / "log/checkpoint", old / "trust.toml", origin="log.example/next")
    new = tmp_path / "new"
    init(new, origin="log.example/next", hub="hub.example", continues=fields)
    with open_for_recording(new) as ledger:
        receipt = ledger.recorder.record(facts("acme/tiny", "r1"))
        ledger.publish()
    assert receipt.leaf_index == 2
    audit_ledger(new, workers=1, progress=lambda done, size: None)
