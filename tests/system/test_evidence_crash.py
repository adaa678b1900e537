"""Stopping between any two steps: no event without its evidence, no withdrawal that is half done after a start."""

import hashlib
import os
import pathlib
import shutil
import sys

import pytest

from ledger.bundle.trust_material import TrustMaterial
from ledger.embedded.auditing import audit_ledger
from ledger.embedded.evidence_audit import NamedEvidence
from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from ledger.embedded.recording import RecordRequest, record_findings
from ledger.embedded.withdrawing import Plan, withdraw
from ledger.errors import ConflictError
from ledger.event.schemas import ERASURE
from ledger.manifest import Manifest, ManifestFile
from ledger.storage.sqlite import event_key
from ledger.verification import verify_manifest
from tests.conftest import REPOSITORY, missing
from tests.events import NOW
from tests.system import crashdisk

MEDIA = b'{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"'
BUNDLES = [(f"{number}.sig", MEDIA + b"," * number) for number in range(3)]
MANIFEST = Manifest.of(
    ManifestFile(path=path, sha256=hashlib.sha256(raw).digest(), size=len(raw)) for path, raw in BUNDLES
)
TRUST = TrustMaterial()
REQUEST = RecordRequest(name="acme/tiny", revision="r1", event_id="e1", model=pathlib.Path())
DIGESTS = tuple(hashlib.sha256(raw).digest() for _, raw in BUNDLES[:2])
PLAN = Plan(digests=DIGESTS, reason="personal-data", histories=("name:acme/tiny",))


class Stopped(BaseException):
    pass


@pytest.fixture
def folder(tmp_path):
    init(tmp_path / "ledger", origin="log.example/models", hub="hub.example", now=lambda: NOW)
    return tmp_path / "ledger"


def record(ledger):
    return record_findings(ledger, REQUEST, verify_manifest(MANIFEST, BUNDLES, trust=TRUST))


def audited(folder):
    """The audit of a ledger with all its evidence."""
    with NamedEvidence() as evidence:
        return audit_ledger(folder, workers=1, progress=lambda _d, _t: None, evidence=evidence)


def statements(ledger):
    ledger.recorder.flush_index()
    return [
        row[0] for row in ledger.index.database.execute("SELECT type FROM statements ORDER BY leaf_index")
    ]


def check(folder, *, recorded, withdrawn):
    """Start again. ``recorded`` and ``withdrawn`` are what was promised: True, or None where nothing was."""
    with open_for_recording(folder, now=lambda: NOW) as ledger:
        ledger.log.publish()
        known, _ = ledger.log.lookup([event_key("hub.example", each) for each in ("e1", PLAN.event_id)], [])
        assert event_key("hub.example", "e1") in known or not recorded, "a recorded event is lost"
        erased = event_key("hub.example", PLAN.event_id) in known
        assert erased or not withdrawn, "a withdrawal that was answered is lost"
        assert ledger.evidence.begun() == []
        for sha256 in DIGESTS:
            assert ledger.evidence.holds(sha256) is (not erased) or not recorded
            assert (ledger.evidence.withdrawn(sha256) is not None) is erased
    audited(folder)
    return erased


def check_retry(folder, *, erased):
    """Whatever happened, the caller's retry ends where it wanted to be."""
    with open_for_recording(folder, now=lambda: NOW) as ledger:
        record(ledger)
        if not erased:
            withdraw(PLAN, evidence=ledger.evidence, recorder=ledger.recorder)
        ledger.log.publish()
        assert statements(ledger).count(ERASURE) == 1
        assert not any(ledger.evidence.holds(sha256) for sha256 in DIGESTS)
    assert audited(folder)["size"] == 3


def arm(owner, step, when, stop=Stopped):
    """Make a step stop the process, before or after it took effect."""
    real = getattr(owner, step)

    def stopping(*arguments, **named):
        if when == "after":
            real(*arguments, **named)
        raise stop

    setattr(owner, step, stopping)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["begin", "commit", "note_withdrawals", "remove", "end"])
def test_a_withdrawal_that_stops_is_finished_or_never_happened(folder, step, when):
    with pytest.raises(Stopped), open_for_recording(folder, now=lambda: NOW) as ledger:  # noqa: PT012 - the story is the block
        record(ledger)
        arm(ledger.log._commits if step == "commit" else ledger.evidence, step, when)
        withdraw(PLAN, evidence=ledger.evidence, recorder=ledger.recorder)
    check_retry(folder, erased=check(folder, recorded=True, withdrawn=None))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["note_withdrawals", "remove", "end"])
def test_a_recovery_that_stops_is_finished_by_the_next(folder, step, when, monkeypatch):
    from ledger.storage.evidence import Evidence

    with pytest.raises(Stopped), open_for_recording(folder, now=lambda: NOW) as ledger:  # noqa: PT012 - the story is the block
        record(ledger)
        arm(ledger.log._commits, "commit", "after")
        withdraw(PLAN, evidence=ledger.evidence, recorder=ledger.recorder)
    with monkeypatch.context() as patched:
        real = getattr(Evidence, step)

        def stopping(self, *arguments):
            if when == "after":
                real(self, *arguments)
            raise Stopped

        patched.setattr(Evidence, step, stopping)
        with pytest.raises(Stopped), open_for_recording(folder, now=lambda: NOW):
            pass
    check_retry(folder, erased=check(folder, recorded=True, withdrawn=None))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["put", "put_stream", "put_text", "commit"])
def test_no_event_is_ever_there_without_its_evidence(folder, step, when):
    with pytest.raises(Stopped), open_for_recording(folder, now=lambda: NOW) as ledger:  # noqa: PT012 - the story is the block
        arm(ledger.log._commits if step == "commit" else ledger.evidence, step, when)
        record(ledger)
    check_retry(folder, erased=check(folder, recorded=None, withdrawn=None))


def test_a_plan_for_other_digests_is_another_statement(folder):
    with open_for_recording(folder, now=lambda: NOW) as ledger:
        record(ledger)
        first = withdraw(PLAN, evidence=ledger.evidence, recorder=ledger.recorder)
        other = Plan(digests=(MANIFEST.sha256,), reason="personal-data")
        assert withdraw(other, evidence=ledger.evidence, recorder=ledger.recorder) == first + 1
        with pytest.raises(ConflictError, match="expected the facts recorded at leaf 2, got other facts"):
            ledger.recorder.record_statement(
                ERASURE, other.fields(), histories=other.all_histories, event_id=PLAN.event_id
            )


ENV = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}


SHARDS = 3


@pytest.fixture(scope="module")
def crashes(tmp_path_factory):
    if shutil.which("strace") is None:
        missing("strace is not installed")
    folder = tmp_path_factory.mktemp("traced") / "ledger"
    init(folder, origin="log.example/models", hub="hub.example", now=lambda: NOW)
    before, folders = crashdisk.read_folder(folder)
    command = [sys.executable, "-m", "tests.system.evidence_child", str(folder)]
    return crashdisk.Crashes(before, folders, crashdisk.trace(command, folder, env=ENV))


@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_state_that_a_power_failure_may_leave_recovers(crashes, tmp_path, shard):
    """Every prefix of the disk's operations, every single lost write, and 100 seeded subsets."""
    count = 0
    for number, state in enumerate(crashes.every(subsets=100, seed=5)):
        if number % SHARDS != shard:
            continue
        place = tmp_path / "state"
        state.write(place)
        try:
            check(place, recorded="RECORDED" in state.markers, withdrawn="WITHDRAWN" in state.markers)
        except BaseException as error:
            raise AssertionError(f"after a crash: {state.why}; promised {state.markers}") from error
        shutil.rmtree(place)
        count += 1
    assert count > 100
