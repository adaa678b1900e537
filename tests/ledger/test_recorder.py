"""record(): decided against the heads, once for each event id, in one chain for each history."""

import contextlib
import sqlite3
import threading
from dataclasses import replace

import pytest

from ledger.embedded import auditing
from ledger.embedded.auditing import audit_ledger
from ledger.embedded.digests import check_digests, mirror_digests
from ledger.embedded.indexing import check_index
from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from ledger.errors import (
    ConflictError,
    CorruptError,
    LedgerError,
    MalformedError,
    WriteError,
    WriterLockedError,
)
from ledger.event import format_statement, outcome_of, parse_statement
from ledger.recorder import Facts, Receipt, mirroring
from tests.events import NOW, event, key, signed_by, workflow


def facts(event_id, *signers, name="acme/tiny", revision="r1", repo_id=None, **more):
    base = event(*signers, name=name, revision=revision, repo_id=repo_id)
    return Facts(
        event_id=event_id,
        model=base.model,
        manifest=base.manifest,
        signatures=base.signatures,
        outcome=outcome_of(base.signatures),
        **more,
    )


@pytest.fixture
def folder(tmp_path):
    init(tmp_path / "ledger", origin="log.example/models", hub="hub.example", now=lambda: NOW)
    return tmp_path / "ledger"


def opened(folder):
    return open_for_recording(folder, now=lambda: NOW)


def audited(folder):
    return audit_ledger(folder, workers=1, progress=lambda _done, _total: None)


def test_a_batch_is_chained_in_order_and_audits(folder):
    with opened(folder) as ledger:
        batch = [facts(f"e{number}", key("a"), revision=f"r{number}", repo_id="1") for number in range(100)]
        receipts = ledger.recorder.record_batch(batch)
        assert [receipt.leaf_index for receipt in receipts] == list(range(1, 101))
        chain = [(link.key, link.sequence) for link in receipts[99].event.common.histories]
        assert chain == [("name:acme/tiny", 99), ("repo:1", 99)]
        ledger.log.publish()
    assert audited(folder)["size"] == 101
    assert check_index(folder, progress=lambda _done, _total: None) == (101, [])


def test_the_audit_includes_what_is_durable_and_not_published(folder):
    with opened(folder) as ledger:
        ledger.recorder.record(facts("e1", key("a")))
    report = audited(folder)
    assert report["size"] == 1
    assert any("1 entry durable and not yet published" in line for line in report["checked"])


def test_an_event_id_gives_one_event_also_within_a_batch_and_after_a_restart(folder):
    with opened(folder) as ledger:
        first, second = ledger.recorder.record_batch([facts("e1", key("a")), facts("e1", key("a"))])
        assert (first.leaf_index, second.leaf_index) == (1, 1)
        assert (first.repeated, second.repeated) == (False, True)
    with opened(folder) as ledger:
        again = ledger.recorder.record(facts("e1", key("a")))
        assert again.repeated
        assert again.entry == first.entry
        with pytest.raises(
            ConflictError, match="event id e1: expected the facts recorded at leaf 1, got other facts"
        ):
            ledger.recorder.record(facts("e1", key("b")))
        assert ledger.log.size == 2


@pytest.mark.parametrize("event_id", ["", "a b", "x" * 129, "\u00e9", "a\n"])
def test_an_event_id_has_one_form(event_id):
    with pytest.raises(MalformedError, match="event id: expected 1 to 128 bytes of 0x21-0x7E"):
        facts(event_id)


def test_one_bad_event_does_not_hold_back_the_others(folder):
    with opened(folder) as ledger:
        ledger.recorder.record(facts("e1", key("a")))
        good, bad, last = ledger.recorder.record_batch(
            [facts("e2", key("a")), facts("e1", key("b")), facts("e3", key("a"))]
        )
        assert isinstance(good, Receipt)
        assert isinstance(bad, ConflictError)
        assert last.event.common.histories[0].sequence == 2


def test_a_damaged_head_stops_the_recorder_for_every_model(folder):
    """Nobody who records has said what a head holds: storage is in doubt, and nothing more is written to it."""
    with opened(folder) as ledger:
        ledger.recorder.record(facts("e1", key("a")))
    with contextlib.closing(sqlite3.connect(folder / "ledger.db", isolation_level=None)) as database:
        database.execute("UPDATE heads SET state = x'02' WHERE history = 'name:acme/tiny'")
    with opened(folder) as ledger:
        ledger.recorder.record(facts("e2", key("a"), name="acme/other"))
        for model, event_id in (("acme/tiny", "e3"), ("acme/other", "e4")):
            with pytest.raises(CorruptError, match="head name:acme/tiny in the commit store"):
                ledger.recorder.record_batch([facts(event_id, key("a"), name=model)])
        with pytest.raises(CorruptError, match="head name:acme/tiny in the commit store"):
            ledger.recorder.record_statement(
                "https://hubledger/erasure/v1", {}, histories=["hub:"], event_id="e5"
            )
        assert ledger.log.size == 3


def test_of_two_first_uploads_that_race_one_is_the_first_signer(folder):
    """Eight threads, eight signers, one model: one is observed, seven are changes; the chain has no fork."""
    with opened(folder) as ledger:
        answers = []

        def upload(name):
            for number in range(5):
                answers.append(
                    ledger.recorder.record(facts(f"{name}{number}", key(name), revision=f"{name}{number}"))
                )

        threads = [threading.Thread(target=upload, args=(name,)) for name in "abcdefgh"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ledger.log.publish()
    observed = {
        answer.event.signatures[0].signer for answer in answers if answer.event.policy.decision == "observed"
    }
    assert len(observed) == 1
    assert sorted(answer.event.common.histories[0].sequence for answer in answers) == list(range(40))
    assert audited(folder)["size"] == 41


def test_two_recorders_of_one_log_decide_again_when_a_head_moves(folder):
    """A second recorder (a thread of a server) moves the head between decision and commit."""
    from ledger.recorder import Recorder

    with opened(folder) as ledger:
        recorder = ledger.recorder
        other = Recorder(
            ledger="log.example/models",
            hub="hub.example",
            log=ledger.log,
            index=ledger.index,
            signer=recorder._signing.signer,
            now=lambda: NOW,
        )
        real_append, moved = ledger.log.append, []

        def append(submissions):
            if not moved:
                moved.append(True)
                other.record(facts("sneaky", key("b"), revision="r0"))
            return real_append(submissions)

        ledger.log.append = append
        receipt = recorder.record(facts("e1", key("a")))
        other.close()
    assert moved
    assert receipt.event.common.histories[0].sequence == 1
    assert receipt.event.policy.decision == "challenged"


def test_reasons_and_repository_changes_are_recorded(folder):
    with opened(folder) as ledger:
        ledger.recorder.record(facts("e1", key("a"), repo_id="1"))
        moved = ledger.recorder.record(facts("e2", key("a"), repo_id="2", reasons=("unsigned-file",)))
    assert moved.event.policy.decision == "challenged"
    assert moved.event.reasons == ("unsigned-file", "other-repository")


def test_a_second_process_cannot_write(folder):
    with opened(folder), pytest.raises(WriterLockedError, match="expected no other writer"), opened(folder):
        pass


def test_a_lost_index_does_not_stop_recording(folder, caplog):
    with opened(folder) as ledger:
        ledger.recorder.record(facts("e1", key("a")))
        ledger.index.close()
        with pytest.raises((LedgerError, sqlite3.Error)):
            ledger.index.position()
        assert ledger.recorder.record(facts("e2", key("a"))).leaf_index == 2
    assert "the index is behind the log" in caplog.text
    with opened(folder) as ledger:
        ledger.recorder.record(facts("e3", key("a")))
    assert check_index(folder, progress=lambda _done, _total: None) == (4, [])


def test_what_an_upload_can_make_large_is_recorded(folder):
    huge = replace(
        facts("e1"), signatures=signed_by(*(key(str(number)) for number in range(16))), outcome="VERIFIED"
    )
    with opened(folder) as ledger:
        receipt = ledger.recorder.record(huge)
        assert len(receipt.statement) <= 32768


def good(**changes):
    base = event(key("a"))
    made = {
        "event_id": "e1",
        "model": base.model,
        "manifest": base.manifest,
        "signatures": base.signatures,
        "outcome": base.outcome,
    }
    return Facts(**made | changes)


NO_FACTS = {
    "an empty name": {"model": replace(event().model, name="")},
    "a name that was not escaped": {"model": replace(event().model, name="two words")},
    "an empty revision": {"model": replace(event().model, revision="")},
    "an empty ref": {"model": replace(event().model, ref="")},
    "an empty repository id": {"model": replace(event().model, repo_id="")},
    "an empty account": {"uploader_account": ""},
    "another trigger": {"trigger": "later"},
    "a sentence for a reason": {"reasons": ("no good",)},
    "an outcome that no signature has": {"outcome": "UNSIGNED"},
    "an outcome that nobody knows": {"outcome": "FINE"},
    "a signature that verified for nobody": {"signatures": (replace(signed_by(key("a"))[0], signer=None),)},
    "a negative size": {"manifest": replace(event().manifest, bytes=-1)},
}


@pytest.mark.parametrize("lie", NO_FACTS)
def test_facts_that_no_reader_would_accept_do_not_exist(lie):
    """What is recorded cannot be taken back: nothing may enter a log that its own audit refuses."""
    assert good().outcome == "VERIFIED"
    with pytest.raises(MalformedError):
        good(**NO_FACTS[lie])


def test_callers_that_arrive_during_a_commit_share_the_next(folder):
    """One commit, and one sync, for everybody who waited; each is answered on its own."""
    with opened(folder) as ledger:
        real_append, batches = ledger.log.append, []
        entered, go_on = threading.Event(), threading.Event()

        def append(submissions):
            batches.append(len(submissions))
            if len(batches) == 1:
                entered.set()
                assert go_on.wait(20)
            return real_append(submissions)

        ledger.log.append = append
        answers = {}

        def call(number):
            name = "e1" if number == 5 else f"e{number}"  # one of them uses an id again, with other facts
            (answers[number],) = ledger.recorder.record_batch(
                [facts(name, key(str(number)), revision=f"r{number}")]
            )

        threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
        threads[0].start()
        assert entered.wait(20)
        for thread in threads[1:]:
            thread.start()
        while ledger.recorder._waiting.waiting() < 7:
            pass
        go_on.set()
        for thread in threads:
            thread.join()
    assert batches[0] == 1
    assert batches[1] >= 6
    assert sum(isinstance(answer, Receipt) for answer in answers.values()) == 7
    assert [type(answers[number]) for number in (1, 5)].count(ConflictError) == 1


def test_a_failure_reaches_everybody_who_waited(folder):
    with opened(folder) as ledger:
        real_append = ledger.log.append
        entered, go_on = threading.Event(), threading.Event()

        def append(submissions):
            if not entered.is_set():
                entered.set()
                assert go_on.wait(20)
                return real_append(submissions)
            raise WriteError("committing", expected="space", actual="none")

        ledger.log.append = append
        failures = []

        def call(number):
            try:
                ledger.recorder.record(facts(f"e{number}", key("a"), revision=f"r{number}"))
            except WriteError as error:
                failures.append(str(error))

        threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
        threads[0].start()
        assert entered.wait(20)
        for thread in threads[1:]:
            thread.start()
        while ledger.recorder._waiting.waiting() < 3:
            pass
        go_on.set()
        for thread in threads:
            thread.join()
        del ledger.log.append
    assert len(failures) == 3
    assert audited(folder)["size"] == 1


@pytest.mark.parametrize("text", ["plain", "naïve", 'quo"ted\\'])
def test_facts_that_were_formatted_before_give_the_same_statement(folder, text):
    signer = replace(workflow("refs/tags/v1"), issuer=f"https://{text}.example")
    with opened(folder) as ledger:
        receipt = ledger.recorder.record(facts("e1", signer, repo_id="7", reasons=("unsigned-file",)))
    assert parse_statement(receipt.statement) == receipt.event
    assert format_statement(replace(receipt.event, prepared=None)) == receipt.statement


class _Interrupted:
    """A connection at whose COMMIT Ctrl-C arrives: Python delivers it when the call has returned, after the sync."""

    def __init__(self, real, when):
        self._real, self._when = real, when

    def __getattr__(self, name):
        return getattr(self._real, name)

    def execute(self, statement, *values):
        if statement != "COMMIT" or self._when is None:
            return self._real.execute(statement, *values)
        when, self._when = self._when, None
        if when == "before":
            raise KeyboardInterrupt
        self._real.execute(statement, *values)
        raise KeyboardInterrupt


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupted_commit_is_found_again_and_forks_nothing(folder, when):
    """The process closes what it can; what it closes must not be what memory wrongly holds."""
    with pytest.raises(KeyboardInterrupt), opened(folder) as ledger:  # noqa: PT012 - closing is part of the story
        ledger.recorder.record(facts("e1", key("a")))
        ledger.log._commits._connection = _Interrupted(ledger.log._commits._connection, when)
        ledger.recorder.record(facts("e2", key("a"), revision="r2"))
    with opened(folder) as ledger:
        again = ledger.recorder.record(facts("e2", key("a"), revision="r2"))
        assert again.repeated == (when == "after")
        ledger.recorder.record(facts("e3", key("a"), revision="r3"))
        ledger.recorder.publish()
    assert audited(folder)["size"] == 4


def test_an_interrupted_store_takes_no_further_write(folder):
    with opened(folder) as ledger:
        ledger.log._commits._connection = _Interrupted(ledger.log._commits._connection, "after")
        with pytest.raises(KeyboardInterrupt):
            ledger.recorder.record(facts("e1", key("a")))
        for _ in range(2):
            with pytest.raises(WriteError, match="expected a known outcome, got an interrupted writer"):
                ledger.recorder.record(facts("e2", key("a"), revision="r2"))
        with pytest.raises(
            WriteError,
            match="writing the commit store: expected a store whose last write ended, got one that was interrupted",
        ):
            ledger.log._commits.save_publication(ledger.log._state)
    assert audited(folder)["size"] == 1


@pytest.mark.parametrize("point", ["compare_heads", "compare_events"])
@pytest.mark.parametrize("published", [True, False])
def test_an_audit_beside_a_writer_finds_nothing_wrong(folder, monkeypatch, point, published):
    """What is written while it runs is neither missed nor taken for damage."""
    with opened(folder) as ledger:
        ledger.recorder.record(facts("e1", key("a")))
        ledger.recorder.publish()
        real = getattr(auditing.chains, point)

        def and_meanwhile(*arguments):
            for number in range(3):
                ledger.recorder.record(
                    facts(f"{point}-{number}", key("b"), name="acme/new", revision=f"r{number}")
                )
            if published:
                ledger.log._next_publication = 0.0
                ledger.recorder.publish()
                ledger.recorder.flush_index()
            return real(*arguments)

        monkeypatch.setattr(auditing.chains, point, and_meanwhile)
        assert audited(folder)["size"] == 2
        assert check_index(folder, progress=lambda _done, _total: None)[1] == []


def test_digests_that_were_handed_over_are_those_that_the_log_names(folder, monkeypatch):
    monkeypatch.setattr(mirroring, "_MIRROR_AT", 7)  # so that only the newest part is handed over
    with opened(folder) as ledger:
        for run in range(3):
            ledger.recorder.record_batch([facts(f"e{run}-{at}", key(f"{at}")) for at in range(4)])
            if run != 1:
                mirror_digests(ledger)
        assert ledger.digests.position() == ledger.log.size == 13
        assert ledger.recorder.take_named() is None
        ledger.publish()
    assert check_digests(folder, progress=lambda _done, _total: None) == []
