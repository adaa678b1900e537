"""Several processes of one user at once, and processes that are killed between two writes: nothing goes back, nothing is half."""

import signal
import subprocess
import sys

import pytest

from ledger.client import check
from ledger.client.pins import HistoryPin, Pins, verify_pin
from ledger.client.trust_store import Origin, TrustStore
from tests.client_faults.hub import NAME, outcome, stored
from tests.client_faults.store_world import FILES, KEY, LEDGER, ORIGIN, SIZES, TRUST, VERSIONS, event_at, tree
from tests.conftest import REPOSITORY


def start(what, folder, first=1, kill=0):
    """Start a process, which waits until it is told to go."""
    command = [
        sys.executable,
        "-m",
        "tests.client_faults.store_child",
        what,
        str(folder),
        str(first),
        str(kill),
    ]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "READY\n"
    return process


def go(processes):
    """Let all go at once; returns what each had reached, in order, and how it ended."""
    for each in processes:
        each.stdin.write("\n")
        each.stdin.flush()
    ended = [each.communicate(timeout=120)[0] for each in processes]
    return [
        ([int(line.split()[1]) for line in out.splitlines()], each.returncode)
        for out, each in zip(ended, processes, strict=True)
    ]


def whole(folder):
    """Read all that is kept below ``pins``; what is damaged raises."""
    pins = Pins(folder)
    log, history = pins.log(LEDGER, ORIGIN), pins.history(LEDGER, KEY)
    if log is not None:
        checked = verify_pin(log, TRUST)
        assert checked == tree(checked.checkpoint.size)
    if history is not None:
        assert history == event_at(history.sequence)
    return (0 if log is None else checked.checkpoint.size), (0 if history is None else history.sequence)


def test_two_processes_move_pins_and_neither_goes_back(tmp_path):
    for reached, code in go([start("pins", tmp_path, 1), start("pins", tmp_path, 2)]):
        assert code == 0
        assert reached == sorted(reached)
    assert whole(tmp_path)[1] == SIZES


def test_a_process_that_is_killed_while_it_moves_pins(tmp_path):
    """Whatever was said to be reached is kept; nothing is half; the next process goes on, and no lock is left."""
    folder, highest, seen = tmp_path / "data", 0, 0
    for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15):
        ((reached, code),) = go([start("pins", folder, 1, kill=number)])
        log, history = whole(folder)
        assert code in (0, -signal.SIGKILL)
        seen += code == -signal.SIGKILL
        assert history >= max([*reached, highest])
        assert log >= history - 1
        highest = history
    assert seen >= 8
    ((reached, code),) = go([start("pins", folder, 2)])
    assert (code, whole(folder)) == (0, (SIZES, SIZES))


def test_one_is_killed_while_the_other_moves_pins(tmp_path):
    """The lock of a process that is killed is free at once, and its half-written file is nobody's."""
    for number in (2, 4, 7, 11):
        folder = tmp_path / str(number)
        (one, killed), (other, code) = go([start("pins", folder, 1, kill=number), start("pins", folder, 2)])
        assert (killed, code) == (-signal.SIGKILL, 0)
        assert other == sorted(other)
        assert whole(folder)[1] == SIZES >= max([0, *one])


@pytest.fixture
def trusting(tmp_path):
    folder = tmp_path / "data"
    TrustStore(folder).add(FILES[1], source="https://hub.example", origin=Origin.CONFIRMED)
    return folder


def kept(folder):
    (found,) = TrustStore(folder).list()
    assert found.data == FILES[found.trust.version]
    assert found.origin is Origin.CONFIRMED
    return found.trust.version


def test_two_processes_update_a_trust_file(trusting):
    for reached, code in go([start("trust", trusting), start("trust", trusting)]):
        assert (reached, code) == ([VERSIONS], 0)
    assert kept(trusting) == VERSIONS


def test_a_process_that_is_killed_while_it_updates_a_trust_file(trusting):
    """Each version is kept before the next is asked for: a killed update goes on where it was, and never back."""
    version, seen = 1, set()
    for number in (1, 2, 3, 4, 5, 6, 7):
        ((_, code),) = go([start("trust", trusting, kill=number)])
        assert kept(trusting) >= version
        version = kept(trusting)
        seen.add(version)
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert len(seen) > 2, "some were killed after a version, and some before"
    assert go([start("trust", trusting), start("trust", trusting, kill=2)])[0][1] == 0
    assert kept(trusting) == VERSIONS


def test_checks_of_several_processes_at_once(hub, service, early, data, tmp_path):
    """The whole command, eight times at once over one folder, half of them shown the older log: all succeed, and the newer event is kept."""
    trust = tmp_path / "trust.toml"
    trust.write_bytes(hub.trust)
    command = [sys.executable, "-m", "cli.main", "verify", "--name", NAME, "--trust", trust, "--url"]
    asks = [[*command, service, hub.new], [*command, early, hub.old]] * 4
    running = [
        subprocess.Popen(
            list(map(str, each)), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for each in asks
    ]
    ended = [(each.communicate(timeout=120)[0].decode(), each.returncode) for each in running]
    assert [code for _, code in ended] == [0] * 8, ended
    log, history = sorted(Pins(data).known(), key=lambda each: each.as_json()["kind"], reverse=True)
    assert history.revision == "r2"
    assert log.note.split(b"\n")[1] in (b"3", b"4")


def test_the_pin_moves_while_the_service_is_asked(hub, proxy, early, data):
    """Its answer has no link to where the pin is now: it is asked again, and what it proved then is remembered."""

    def bend(path):
        if len(proxy.seen) == 1:
            assert outcome(lambda: check(hub.old, name=NAME, trust=stored(hub.trust, early))).satisfied

    proxy.bend = bend
    assert outcome(lambda: check(hub.new, name=NAME, trust=stored(hub.trust, proxy.url))).satisfied
    assert ["since=" in path for path in proxy.seen] == [False, True]
    assert [each.revision for each in Pins(data).known() if isinstance(each, HistoryPin)] == ["r2"]
