"""Two recorders on one log: whatever moves between a decision and its commit, the second decides again."""

import pytest

from ledger.embedded.auditing import audit_ledger
from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from ledger.errors import ConflictError
from ledger.index import Index
from ledger.recorder import Recorder
from tests.events import NOW, key
from tests.ledger.test_recorder import facts


class Between:
    """A log beside which another recorder acts once: after a decision was made, before it is committed."""

    def __init__(self, log, act):
        self._log, self._act = log, act

    def __getattr__(self, name):
        return getattr(self._log, name)

    def append(self, submissions):
        act, self._act = self._act, None
        if act is not None:
            act()
        return self._log.append(submissions)


@pytest.fixture
def race(tmp_path):
    """``race(first, meanwhile, before=())``: record ``before``, then ``first``, while another recorder is faster."""
    folder = tmp_path / "ledger"
    init(folder, origin="log.example/models", hub="hub.example", now=lambda: NOW)

    def run(first, meanwhile, before=()):
        with open_for_recording(folder, now=lambda: NOW) as ledger:
            for each in before:
                ledger.recorder.record(each)
            index = Index(tmp_path / "other.db")
            other = Recorder(
                ledger="log.example/models",
                hub="hub.example",
                log=ledger.log,
                index=index,
                signer=ledger.recorder._signing.signer,
                now=lambda: NOW,
            )
            answers = []
            ledger.recorder._log = Between(ledger.log, lambda: answers.append(other.record(meanwhile)))
            (answer,) = ledger.recorder.record_batch([first])
            other.close()
            index.close()
            ledger.log.publish()
        report = audit_ledger(folder, workers=1, progress=lambda _done, _total: None)
        assert any("without a gap or fork" in line for line in report["checked"])
        return answer, answers[0]

    return run


def places(receipt):
    return {link.key: link.sequence for link in receipt.event.common.histories}


def test_a_decision_falls_when_the_history_of_the_name_moved(race):
    """Of two first signers one is the first, and the other a change: it is decided again, against the pin."""
    slow, fast = race(facts("e1", key("a")), facts("e2", key("b")))
    assert (fast.leaf_index, fast.event.policy.decision) == (1, "observed")
    assert (slow.leaf_index, slow.event.policy.decision) == (2, "challenged")
    assert slow.event.reasons == ("signer-changed",)


def test_a_decision_falls_when_only_the_history_of_the_repository_moved(race):
    """The same repository under another name: its head is compared as well as that of the name."""
    slow, fast = race(
        facts("e1", key("a"), name="acme/new", repo_id="1"),
        facts("e2", key("b"), name="acme/old", repo_id="1"),
    )
    assert places(fast) == {"name:acme/old": 0, "repo:1": 0}
    assert places(slow) == {"name:acme/new": 0, "repo:1": 1}
    assert slow.event.policy.decision == "challenged"


def test_what_happens_to_another_model_moves_nothing(race):
    slow, _ = race(facts("e1", key("a")), facts("e2", key("b"), name="acme/other"))
    assert (places(slow), slow.event.policy.decision) == ({"name:acme/tiny": 0}, "observed")


def test_the_same_event_recorded_meanwhile_is_recorded_once(race):
    slow, fast = race(facts("e1", key("a")), facts("e1", key("a")))
    assert (fast.repeated, slow.repeated) == (False, True)
    assert slow.entry == fast.entry


def test_an_id_that_was_used_meanwhile_for_another_model_is_a_conflict(race):
    """No head that this event has moved: it is the id alone that the writer looks at."""
    slow, fast = race(facts("e1", key("a")), facts("e1", key("a"), name="acme/other"))
    assert isinstance(slow, ConflictError)
    assert fast.leaf_index == 1


def test_a_history_that_was_new_to_both_begins_once(race):
    slow, fast = race(facts("e1"), facts("e2"), before=[facts("e0", name="acme/other")])
    assert (places(fast), places(slow)) == ({"name:acme/tiny": 0}, {"name:acme/tiny": 1})
