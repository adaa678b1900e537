"""A crash between any two writes: no answered event is lost, no two checkpoints contradict each other."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from ledger.embedded.auditing import audit_ledger
from ledger.embedded.directory import open_for_reading
from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from ledger.log.local import LocalLog
from ledger.tlog import merkle
from tests.conftest import REPOSITORY, missing
from tests.events import NOW, key
from tests.ledger.test_recorder import facts
from tests.system import crashdisk

ENV = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}


def make(folder):
    init(folder, origin="log.example/models", hub="hub.example", now=lambda: NOW)
    return folder


def check(folder: pathlib.Path, markers):
    """Recover, then hold the ledger against everything that was promised before the crash."""
    answered = [line.split()[1:] for line in markers if line.startswith("ANSWERED")]
    signed = {
        (int(size), root)
        for size, root in (line.split()[1:] for line in markers if line.startswith("SIGNED"))
    }
    with open_for_recording(folder, now=lambda: NOW) as ledger:
        for event_id, leaf_index in answered:
            round_, at = event_id[1:].split("-")
            receipt = ledger.recorder.record(facts(event_id, key("a"), revision=f"r{round_}-{at}"))
            assert (receipt.repeated, receipt.leaf_index) == (True, int(leaf_index)), (
                "an answered event is lost"
            )
        ledger.recorder.record(facts("after", key("a"), revision="after"))
        ledger.log.publish()
    read = open_for_reading(folder).log
    tree = read.checkpoint().checkpoint
    for size, root in signed:
        assert size <= tree.size, "a signed checkpoint is larger than the log"
        assert merkle.tree_root(size, read.nodes(tree.size)).hex() == root, (
            "two signed checkpoints contradict each other"
        )
    assert audit_ledger(folder, workers=1, progress=lambda _d, _t: None)["size"] == tree.size


@pytest.fixture(scope="module")
def crashes(tmp_path_factory):
    if shutil.which("strace") is None:
        missing("strace is not installed")
    folder = make(tmp_path_factory.mktemp("traced") / "ledger")
    before, folders = crashdisk.read_folder(folder)
    command = [sys.executable, "-m", "tests.system.crash_child", str(folder), "4"]
    return crashdisk.Crashes(before, folders, crashdisk.trace(command, folder, env=ENV))


SHARDS = 4


@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_state_that_a_crash_may_leave_recovers(crashes, tmp_path, shard):
    """Every prefix, every single lost or torn unsynced write, and 1,000 seeded subsets."""
    count = 0
    for number, state in enumerate(crashes.every(subsets=1000, seed=20)):
        if number % SHARDS != shard:
            continue
        folder = tmp_path / "state"
        state.write(folder)
        try:
            check(folder, state.markers)
        except BaseException as error:
            raise AssertionError(f"after a crash: {state.why}; promised {state.markers}") from error
        shutil.rmtree(folder)
        count += 1
    assert count > 250


def test_the_machinery_finds_a_missing_sync(crashes, tmp_path):
    """Without the sync of the commit store's writes, some state must lose an answered event."""
    careless = crashdisk.Crashes(
        crashes._before,
        crashes._folders,
        [
            each
            for each in crashes._operations
            if not (each.kind == "sync" and each.path.startswith("ledger.db"))
        ],
    )
    lost = 0
    for state in careless.every(subsets=60, seed=3):
        if "subset" not in state.why or not any(line.startswith("ANSWERED") for line in state.markers):
            continue
        folder = tmp_path / "state"
        state.write(folder)
        try:
            check(folder, state.markers)
        except Exception:  # any failure is what we look for
            lost += 1
        shutil.rmtree(folder)
    assert lost > 0


def test_a_process_killed_at_random_loses_nothing(tmp_path):
    """A real process, killed 300 times while it records and publishes; each time everything answered is there."""
    folder = make(tmp_path / "ledger")
    kills = 0
    while kills < 300:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.system.kill_child", str(folder), str(kills)],
            env=ENV,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
        )
        # The child forks writers that live for a moment each, and says what they promised.
        out, _ = child.communicate(timeout=300)
        lines = out.decode().splitlines()
        assert [line for line in lines if line.startswith("EXITED")] == []
        kills += lines.count("KILLED")
        check_killed(folder, lines)
    assert kills >= 300


def check_killed(folder, lines):
    answered = dict(line.split()[1:] for line in lines if line.startswith("ANSWERED"))
    signed = {tuple(line.split()[1:]) for line in lines if line.startswith("SIGNED")}
    assert answered
    with open_for_recording(folder, now=lambda: NOW) as ledger:
        for event_id, leaf_index in answered.items():
            receipt = ledger.recorder.record(facts(event_id, key("a"), revision=event_id))
            assert (receipt.repeated, receipt.leaf_index) == (True, int(leaf_index))
        ledger.log.publish()
    read = open_for_reading(folder).log
    tree = read.checkpoint().checkpoint
    for size, root in signed:
        assert merkle.tree_root(int(size), read.nodes(tree.size)).hex() == root
    assert audit_ledger(folder, workers=1, progress=lambda _d, _t: None)["size"] == tree.size


STEPS = ("commit", "save_publication", "put", "replace", "delete")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("number", [0, 1, 2])
def test_stopping_in_each_gap_keeps_every_promise(tmp_path, step, when, number):
    """Stop before or after each write of the commit and of the publication: with it lost, and with it kept."""
    folder = make(tmp_path / "ledger")

    class Stopped(BaseException):
        pass

    markers = []
    with pytest.raises(Stopped):  # noqa: PT012 - the story is the block
        with open_for_recording(folder, now=lambda: NOW) as ledger:
            for round_ in range(2):
                for receipt in ledger.recorder.record_batch(
                    [facts(f"e{round_}-{at}", key("a"), revision=f"r{round_}-{at}") for at in range(300)]
                ):
                    markers.append(f"ANSWERED {receipt.event.common.event_id} {receipt.leaf_index}")
                ledger.log.publish()
            arm(ledger.log, step, when, number, Stopped)
            for round_ in range(2, 6):
                for receipt in ledger.recorder.record_batch(
                    [facts(f"e{round_}-{at}", key("a"), revision=f"r{round_}-{at}") for at in range(3)]
                ):
                    markers.append(f"ANSWERED {receipt.event.common.event_id} {receipt.leaf_index}")
                ledger.log.publish()
            raise Stopped
    check(folder, markers)


def arm(log: LocalLog, step, when, number, stop):
    """Make the ``number``-th call of one storage step stop the process, before or after it took effect."""
    owner = log._commits if step in ("commit", "save_publication") else log._objects
    real, calls = getattr(owner, step), []

    def stopping(*arguments):
        calls.append(step)
        if len(calls) - 1 == number:
            if when == "after":
                real(*arguments)
            raise stop
        return real(*arguments)

    setattr(owner, step, stopping)
