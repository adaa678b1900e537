"""A ledger in Rekor through crashes: no event is lost, and none is logged twice without being linked."""

import contextlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest

from ledger.embedded.auditing import audit_ledger
from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from ledger.embedded.remote import RekorSource, dispatching
from ledger.log.authentic import AuthenticLog
from ledger.log.dispatch import Backoff
from ledger.log.fetch import fetch_from_url
from ledger.log.published import PublishedLog
from ledger.log.receipts import bodies_of
from ledger.log.rekor_v1_reading import RekorV1Log
from tests.conftest import REPOSITORY, missing
from tests.events import NOW, key
from tests.fakes.rekor import FakeRekor
from tests.ledger.test_recorder import facts
from tests.system import crashdisk
from tests.system.peers import free_port
from tests.system.rekor import TrustedLog, rekor_v2, write_trust
from tests.system.rekor_v1 import NAME, log_info

ENV = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
QUICK = Backoff(first=0.01, most=0.02)


V2, V1 = ("hashedrekord", "0.0.2"), ("dsse", "0.0.1")


def make(folder, rekor, url):
    """A ledger in the Rekor that is served at an address."""
    tree = rekor.tree
    log = TrustedLog(base_url=f"http://{tree.origin}", spki=tree.spki, log_id=tree.log_id, write_url=url)
    return made(folder, write_trust(folder.parent, [log]), kind="rekor-v2", read_url=f"{url}/read")


def made(folder, trust, *, kind, read_url=""):
    """A ledger in the Rekor that the files of ``trust`` name."""
    root, signing = trust
    source = RekorSource(kind=kind, trusted_root=root, signing_config=signing, read_url=read_url)
    init(folder, origin="log.example/models", hub="hub.example", rekor=source, now=lambda: NOW)
    return folder


def drained(folder, kind):
    """Log what is left and return each number's places, and the body that each has in the log."""
    with open_for_recording(folder, now=lambda: NOW) as ledger:
        ledger.log.retry(None)
        with dispatching(ledger.log, ledger.config, ledger.instance, backoff=QUICK):
            fates = ledger.log.wait_for(range(ledger.log.size), timeout=60)
        ledger.recorder.flush_index()
        entries = ledger.log.read(0, ledger.log.size)
        bodies = [bodies_of(ledger.log.signed(each), kind)[0] for each in entries]
        return [[each.position for each in fate.receipts] for fate in fates.values()], bodies


def check(folder: pathlib.Path, lines, entries, kind=V2):
    """Hold the ledger, and the log that it is in, against everything that was promised before the crash.

    ``entries`` reads the whole log. Returns how many entries were in the log without a receipt before the rest was drained.
    """
    accepted = [line.split()[1:] for line in lines if line.startswith("ACCEPTED")]
    logged = [tuple(map(int, line.split()[1:])) for line in lines if line.startswith("LOGGED")]
    with open_for_recording(folder, now=lambda: NOW) as ledger:
        for event_id, number in accepted:
            receipt = ledger.recorder.record(facts(event_id, key("a"), revision=event_id))
            assert (receipt.repeated, receipt.leaf_index) == (True, int(number)), "an accepted event is lost"
        for number, order, leaf in logged:
            assert (order, leaf) in [each.position for each in ledger.log.fate(number).receipts]
        received = sum(bool(ledger.log.fate(number).receipts) for number in range(ledger.log.size))
    unanswered = len(entries()) - received
    places, bodies = drained(folder, kind)
    assert all(places), "everything accepted is logged"
    linked = {leaf for each in places for _, leaf in each}
    expected = set(bodies)
    ours = {leaf for leaf, body in enumerate(entries()) if body in expected}
    assert len(ours) == len(bodies), "a statement was logged twice"
    assert ours == linked, "each entry of ours in the log is linked to its event"
    assert audit_ledger(folder, workers=1, progress=lambda _d, _t: None)["logged"] == len(bodies)
    return unanswered


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
                check(folder, lines, lambda: rekor.tree.entries)
        check(folder, lines, lambda: rekor.tree.entries)
    posts = sum(method == "POST" for method, _ in rekor.requests)
    assert posts > len(rekor.tree.entries), "no duplicate was ever resolved"


def kill(folder, start, *, kills, longest):
    """Kill so many processes that submit; returns what they said."""
    command = [sys.executable, "-m", "tests.system.outbox_kill_child", str(folder), str(start), str(kills)]
    out = subprocess.run(
        [*command, str(longest)], env=ENV, stdout=subprocess.PIPE, cwd=REPOSITORY, timeout=300, check=True
    ).stdout
    lines = out.decode().splitlines()
    assert [line for line in lines if line.startswith("EXITED")] == []
    assert lines.count("KILLED") == kills
    return lines


def test_a_process_killed_100_times_between_submission_and_answer_of_a_real_rekor_loses_nothing(tmp_path):
    with rekor_v2(tmp_path / "rekor", interval="100ms") as server:
        trust = write_trust(tmp_path, [server.trusted])
        folder = made(tmp_path / "ledger", trust, kind="rekor-v2", read_url=server.read_url)
        log = AuthenticLog(
            PublishedLog(fetch_from_url(server.read_url), origin=server.origin, keys=[server.vkey])
        )

        def entries():
            tree = log.checkpoint().checkpoint
            return list(log.read(0, tree.size, tree=tree))

        unanswered = 0
        for start in range(0, KILLS, 20):
            lines = kill(folder, start, kills=20, longest=0.2)
            unanswered += check(folder, lines, entries)
    # Those of the last process of each round; most others were found by the process that came after.
    assert unanswered > 0, "nobody died between submission and answer"


def test_100_kills_and_changes_of_trees_of_a_real_rekor_v1_lose_nothing_and_log_nothing_twice(
    tmp_path, rekor_v1_backend
):
    """Each time the server goes on with another tree, under the same key, before anybody asks what became of entries."""
    key_, port, trees, unanswered = rekor_v1_backend.new_key(), free_port(), [], 0
    for start in range(0, KILLS, 25):
        with rekor_v1_backend.server(key=key_, port=port, inactive=trees) as server:
            if not trees:
                folder = made(tmp_path / "ledger", server.write_trust(tmp_path), kind="rekor-v1")
            lines = kill(folder, start, kills=25, longest=0.3)
            trees.append(server.tree)
        with rekor_v1_backend.server(key=key_, port=port, inactive=trees) as server:
            log = RekorV1Log(replace(server.shard(), origin=NAME), server.keys)
            unanswered += check(folder, lines, partial(v1_entries, server, log), V1)
            log.close()
            trees.append(server.tree)
    assert unanswered > 0, "nobody died between submission and answer"


def v1_entries(server, log):
    """All bodies of all trees, in the order of the global index."""
    info = log_info(server.url)
    size = info["treeSize"] + sum(each["treeSize"] for each in info.get("inactiveShards") or [])
    return [each.proven.body for each in log.entries_at(range(size))]


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
            check(folder, state.markers, lambda: rekor.tree.entries)
        except BaseException as error:
            raise AssertionError(f"after a crash: {state.why}; promised {state.markers}") from error
        shutil.rmtree(folder)
        count += 1
    assert count > 100
