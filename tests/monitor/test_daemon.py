"""A monitor put together: one task a log, and what ends one of them."""

import os
import sqlite3
import threading

import pytest

from ledger.errors import CorruptError, StorageError, WriterLockedError
from monitor.config import load_config
from monitor.daemon import CLEAN, COULD_NOT_CHECK, FOUND, exit_code, init, open_monitor
from monitor.database import FILE_NAME
from monitor.looks import Look
from monitor.publish.publishing import make_key
from monitor.running import run
from tests.monitor.hub import Hub
from tests.world import NOW, key_signer, signed_by

A, B = signed_by(key_signer("a")), signed_by(key_signer("b"))


@pytest.fixture
def config(tmp_path):
    """Two logs of one hub, begun, and nobody to tell."""
    hub = Hub()
    hub.record(A)
    hub.publish(tmp_path / "log")
    hub.trust_file(tmp_path / "trust.toml")
    text = "".join(
        f'[[log]]\nname = "{name}"\nfolder = "log"\ntrust = "trust.toml"\n' for name in ("one", "two")
    )
    (tmp_path / "monitor.toml").write_text(text)
    found = load_config(tmp_path / "monitor.toml")
    init(found, pinned={"one": None, "two": None}, now=NOW)
    return found


def test_every_log_is_followed_until_it_is_stopped(config):
    stop, seen = threading.Event(), []

    def told(look):
        seen.append((look.log, look.size))
        if len({log for log, _ in seen}) == 2:
            stop.set()

    with open_monitor(config, clock=lambda: NOW) as monitor:
        run(monitor, interval=60, stop=stop, told=told)
        assert set(seen) == {("one", 1), ("two", 1)}
        assert [monitor.state.position(name).succeeded_at for name in ("one", "two")] == [NOW, NOW]


def test_what_was_verified_is_published_while_it_runs_and_a_failure_stops_nothing(config, tmp_path):
    """First without the key that the settings name; then somebody makes it, and the next publication succeeds."""
    with (tmp_path / "monitor.toml").open("a") as file:
        file.write('[publish]\nfolder = "public"\nkey = "monitor.key"\n')
    stop, problems = threading.Event(), []

    def unpublished(problem):
        problems.append(problem)
        if problem:
            make_key(tmp_path / "monitor.key", "monitor.example", b"\1" * 32)
        else:
            stop.set()

    with open_monitor(load_config(tmp_path / "monitor.toml"), clock=lambda: NOW) as monitor:
        run(monitor, interval=0.1, stop=stop, told=lambda _look: None, unpublished=unpublished)
    assert "private key" in problems[0]
    assert problems[-1] == ""
    for name in ("one", "two"):
        assert (tmp_path / "public" / name / "statement").exists()


def test_what_ends_one_task_ends_all_and_is_raised(config):
    stop = threading.Event()

    def told(look):
        other = sqlite3.connect(config.folder / FILE_NAME, isolation_level=None, timeout=30)
        other.execute("DROP TABLE IF EXISTS checkpoints")
        other.close()

    with open_monitor(config, clock=lambda: NOW) as monitor, pytest.raises(StorageError):
        run(monitor, interval=0.01, stop=stop, told=told)
    assert stop.is_set()


def test_one_log_that_fails_leaves_the_other_checked(config, tmp_path):
    text = (tmp_path / "monitor.toml").read_text().replace('folder = "log"', 'folder = "none"', 1)
    (tmp_path / "monitor.toml").write_text(text)
    with open_monitor(load_config(tmp_path / "monitor.toml"), clock=lambda: NOW) as monitor:
        one, two = monitor.look()
        assert (one.size, two.size) == (0, 1)
        assert one.problem
        assert two.problem == ""
        assert exit_code(monitor.state, [one, two]) == COULD_NOT_CHECK


def test_a_second_monitor_is_refused_and_leaves_the_first(config):
    with open_monitor(config, clock=lambda: NOW) as monitor:
        with pytest.raises(WriterLockedError), open_monitor(config):
            pass
        assert [each.size for each in monitor.look()] == [1, 1]


def test_a_log_under_another_origin_is_not_followed_on(config, tmp_path):
    hub = Hub()
    hub.world.origin = "other.example"
    hub.trust_file(tmp_path / "trust.toml")
    with pytest.raises(CorruptError), open_monitor(config):
        pass


LOOK = Look(log="one", size=1, target=1, new_findings=0)
FAILED = Look(log="two", size=0, target=None, new_findings=1, problem="away")


@pytest.mark.parametrize(
    ("kind", "looks", "code"),
    [
        (None, [LOOK], CLEAN),
        (None, [LOOK, FAILED], COULD_NOT_CHECK),
        ("first-signer", [LOOK], CLEAN),
        ("time-outside", [LOOK], FOUND),
        ("log-stale", [FAILED], COULD_NOT_CHECK),
        ("clock-backwards", [LOOK], CLEAN),
        ("sink-silent", [LOOK], COULD_NOT_CHECK),
        ("log-forked", [FAILED], FOUND),
        ("unknown-entry", [LOOK], FOUND),
        ("log-key-refused", [FAILED], FOUND),
    ],
)
def test_exit_codes(config, kind, looks, code):
    from monitor.findings import Finding, Kind

    with open_monitor(config, clock=lambda: NOW) as monitor:
        if kind:
            monitor.state.report(Finding(log="one", kind=Kind(kind), text="x"), routes=config, now=NOW)
        assert exit_code(monitor.state, looks) == code


def test_a_sink_that_hangs_keeps_no_other_waiting(config, tmp_path):
    """The first one's hook waits on a pipe that nobody writes to; what the second one is told ends the test."""
    os.mkfifo(tmp_path / "never")
    for name, script in (("slow", "read x < ../never"), ("quick", "echo x > ../told")):
        folder = tmp_path / f"{name}.d"
        folder.mkdir()
        (folder / "a").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "a").chmod(0o755)
    os.mkfifo(tmp_path / "told")
    text = (tmp_path / "monitor.toml").read_text() + "".join(
        f'[[sink]]\nname = "{name}"\nhooks = "{name}.d"\ntimeout = 600\nseverity = "info"\n'
        for name in ("slow", "quick")
    )
    (tmp_path / "monitor.toml").write_text(text)
    hub = Hub()
    hub.record(A)
    for at in range(2):
        hub.record(B if at else A, revision=str(at))
    stop, told = threading.Event(), []

    def reader():
        told.append((tmp_path / "told").read_text())  # the first finding, while the slow one has it too
        hub.publish(tmp_path / "log")
        told.append((tmp_path / "told").read_text())  # one that was found after the slow one began to hang
        stop.set()
        (tmp_path / "never").write_text("x")

    thread = threading.Thread(target=reader)
    thread.start()
    with open_monitor(load_config(tmp_path / "monitor.toml"), clock=lambda: NOW) as monitor:
        run(monitor, interval=0.05, stop=stop, told=lambda look: None)
    thread.join(timeout=30)
    assert len(told) == 2
