"""A ledger in Rekor through crashes: no event is lost, and none is logged twice without being linked."""

import contextlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys

import pytest

from ledger.bundle.bodies import hashedrekord_v2
from ledger.embedded.auditing import audit_ledger
from ledger.embedded.directory import init, open_for_recording
from ledger.embedded.remote import RekorSource, dispatching
from ledger.log.dispatch import Backoff
from tests.conftest import REPOSITORY, missing
from tests.events import NOW, key
from tests.fakes.rekor import FakeRekor
from tests.ledger.test_recorder import facts
from tests.system import crashdisk
from tests.system.rekor import TrustedLog, write_trust

ENV = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
QUICK = Backoff(first=0.01, most=0.02)


def make(folder, rekor, url):
    """A ledger in the Rekor that is served at an address."""
    tree = rekor.tree
    log = TrustedLog(base_url=f"http://{tree.origin}", spki=tree.spki, log_id=tree.log_id, write_url=url)
    root, signing = write_trust(folder.parent, [log])
    source = RekorSource(kind="rekor-v2", trusted_root=root, signing_config=signing, read_url=f"{url}/read")
    init(folder, origin="log.example/models", hub="hub.example", rekor=source, now=lambda: NOW)
    return folder


def drained(folder):
    """Log what is left and return each number's places."""
    with open_for_recording(folder, now=lambda: NOW) as ledger:
        ledger.log.retry(None)
        with dispatching(ledger.log, ledger.config, ledger.instance, backoff=QUICK):
            fates = ledger.log.wait_for(range(ledger.log.size), timeout=60)
        ledger.recorder.flush_index()
        bodies = [
            hashedrekord_v2(signed.digest, signed.signature, signed.verifier)
            for signed in map(ledger.log.signed, ledger.log.read(0, ledger.log.size))
        ]
        return [[each.position for each in fate.receipts] for fate in fates.values()], bodies


def check(folder: pathlib.Path, lines, rekor):
    """Hold the ledger, and the log that it is in, against everything that was promised before the crash."""
    accepted = [line.split()[1:] for line in lines if line.startswith("ACCEPTED")]
    logged = [tuple(map(int, line.split()[1:])) for line in lines if line.startswith("LOGGED")]
    with open_for_recording(folder, now=lambda: NOW) as ledger:
        for event_id, number in accepted:
            receipt = ledger.recorder.record(facts(event_id, key("a"), revision=event_id))
            assert (receipt.repeated, receipt.leaf_index) == (True, int(number)), "an accepted event is lost"
        for number, order, leaf in logged:
            assert (order, leaf) in [each.position for each in ledger.log.fate(number).receipts]
    places, bodies = drained(folder)
    assert all(places), "everything accepted is logged"
    linked = {leaf for each in places for _, leaf in each}
    ours = {leaf for leaf, body in enumerate(rekor.tree.entries) if body in set(bodies)}
    assert len(ours) == len(bodies), "a statement was logged twice"
    assert ours == linked, "each entry of ours in the log is linked to its event"
    assert audit_ledger(folder, workers=1, progress=lambda _d, _t: None)["logged"] == len(bodies)


KILLS = 100


def test_a_process_killed_between_submission_and_answer_loses_nothing(tmp_path):
    """A real process, killed 100 times: at random, at each answer of the log before it is sent, and right after."""
    rekor, chance = FakeRekor(), random.Random(7)
    child = None

    def dying(_value):
        """Kill whoever waits for this answer; the entry is in the log by now."""
        nonlocal countdown
        countdown -= 1
        # An answer to the child before this one may come late, and counts: so it is the next one that kills.
        if countdown <= 0 and child is not None and child.returncode is None:
            child.kill()

    with rekor.serve() as url:
        folder = make(tmp_path / "ledger", rekor, url)
        for run in range(KILLS):
            child, countdown = None, chance.randint(1, 12)
            rekor.bend = dying
            child = subprocess.Popen(
                [sys.executable, "-m", "tests.system.outbox_child", str(folder), f"r{run}", "1000"],
                env=ENV,
                stdout=subprocess.PIPE,
                cwd=REPOSITORY,
            )
            out, _ = child.communicate(timeout=120)
            assert child.returncode == -signal.SIGKILL
            rekor.bend = None
            lines = out.decode()[: out.decode().rfind("\n") + 1].splitlines()
            if run % 10 == 9:
                check(folder, lines, rekor)
        check(folder, lines, rekor)
    posts = sum(method == "POST" for method, _ in rekor.requests)
    assert posts > len(rekor.tree.entries), "no duplicate was ever resolved"


@pytest.fixture(scope="module")
def crashes(tmp_path_factory):
    if shutil.which("strace") is None:
        missing("strace is not installed")
    rekor = FakeRekor()
    stack = contextlib.ExitStack()
    with stack:
        url = stack.enter_context(rekor.serve())
        folder = make(tmp_path_factory.mktemp("traced") / "ledger", rekor, url)
        before, folders = crashdisk.read_folder(folder)
        command = [sys.executable, "-m", "tests.system.outbox_child", str(folder), "t", "3"]
        yield crashdisk.Crashes(before, folders, crashdisk.trace(command, folder, env=ENV)), rekor


SHARDS = 4


@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_state_that_a_crash_may_leave_recovers(crashes, tmp_path, shard):
    """Every prefix, every single lost or torn unsynced write, and seeded subsets; the log remembers everything."""
    made, rekor = crashes
    count = 0
    for number, state in enumerate(made.every(subsets=200, seed=20)):
        if number % SHARDS != shard:
            continue
        folder = tmp_path / "state"
        state.write(folder)
        try:
            check(folder, state.markers, rekor)
        except BaseException as error:
            raise AssertionError(f"after a crash: {state.why}; promised {state.markers}") from error
        shutil.rmtree(folder)
        count += 1
    assert count > 100
