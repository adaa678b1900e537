"""A monitor as a process: told within its interval, ended by SIGTERM, killed at any moment without losing a finding."""

import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from ledger.embedded.opening import open_for_recording
from ledger.errors import CorruptError
from monitor.state import State
from tests.conftest import REPOSITORY
from tests.events import NOW, key
from tests.fakes.web import showing
from tests.ledger.test_recorder import facts
from tests.monitor.hub import Hub
from tests.world import key_signer, signed_by

KILLS = int(os.environ.get("HUBLEDGER_MONITOR_KILLS", "30"))
STEPS = 6000
"""Calls and returns in a monitor until it has looked once at eight new entries and delivered what it found."""
A, B = signed_by(key_signer("a")), signed_by(key_signer("b"))


def settings(folder, log, trust, hook):
    (folder / "monitor.toml").write_text(
        f'interval = 0.2\n[[log]]\nname = "models"\nfolder = "{log}"\ntrust = "{trust}"\n'
        '[[sink]]\nname = "pager"\nhooks = "hooks.d"\nseverity = "high"\n'
    )
    path = folder / "hooks.d/a"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{hook}\n")
    path.chmod(0o755)


def start(folder, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.system.monitor_child", str(folder), *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **options,
    )


def finish(process):
    out, _ = process.communicate(timeout=120)
    return process.returncode, out.decode()


def end(process):
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_change_of_signer_in_a_real_ledger_reaches_a_hook_while_the_monitor_runs(hubledger, tmp_path):
    """The hook writes into a pipe: reading from it is the waiting."""
    directory = tmp_path / "ledger"
    assert hubledger("init", directory, "--origin", "log.example", "--hub", "hub.example")[0] == 0
    settings(tmp_path, "ledger/log", "ledger/trust.toml", "cat > ../pipe")
    os.mkfifo(tmp_path / "pipe")
    assert finish(start(tmp_path, "init", "--from", "genesis"))[0] == 0
    process = start(tmp_path, "run", "--json")
    try:
        assert json.loads(process.stdout.readline())["verifiedSize"] == 1
        with open_for_recording(directory, now=lambda: NOW) as ledger:
            for number, signer in enumerate(("a", "b")):
                ledger.recorder.record(facts(f"e{number}", key(signer), revision=f"r{number}"))
            ledger.recorder.publish()
        told = json.loads((tmp_path / "pipe").read_bytes())
        assert (told["kind"], told["leafIndex"]) == ("signer-changed", 2)
        # The hook has to end before the monitor is asked to.
        process.send_signal(signal.SIGTERM)
        code, out = finish(process)
        assert code == 0, out
    finally:
        end(process)


def test_killed_at_any_moment_it_loses_no_finding_and_is_never_ahead(tmp_path):
    """The log grows all the time, and nearly every entry is a finding. The monitor is killed at any call of its code: while it
    opens its state, in the middle of a run or a transaction, while it delivers. At the end each change of signer was found once
    and told at least once.
    """
    hub, chance = Hub(), random.Random(7)
    settings(tmp_path, "log", "trust.toml", 'echo "$HUBLEDGER_ID" >> ../told')
    hub.trust_file(tmp_path / "trust.toml")
    hub.publish(tmp_path / "log")
    assert finish(start(tmp_path, "init", "--from", "genesis"))[0] == 0
    entries = 8 * KILLS
    for at in range(entries):
        hub.record(B if at % 2 else A, name=f"acme/model-{at // 100}", revision=str(at))
    before, unfinished = 0, 0
    for turn in range(KILLS):
        steps = str(chance.randint(1, STEPS))
        process = start(tmp_path, "run", "--json", env={**os.environ, "KILL_AT": steps})
        for size in (8 * turn + 4, 8 * turn + 8):
            _grow(hub, tmp_path, size)
        process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL
        state = State(tmp_path / "state")
        position = state.position("models")
        assert before <= position.size <= size
        assert position.frontier.root() == hub.world.tree(position.size).root_hash
        found = _changed(state)
        assert found.keys() == {at for at in range(position.size) if at % 100}
        assert _told(tmp_path) <= set(found.values()), "nothing is told that is not recorded"
        unfinished += position.size < size
        before = position.size
        state.close()
    assert unfinished > KILLS / 10, "some were killed before they had verified what there was"
    code, out = finish(start(tmp_path, "once", "--json"))
    assert code == 1, out
    state = State(tmp_path / "state")
    found = _changed(state)
    state.close()
    assert found.keys() == {at for at in range(entries) if at % 100}
    assert _told(tmp_path) == set(found.values())


def _changed(state):
    """Each change of signer that is recorded: leaf index and id."""
    found = state.record.findings(kinds=["signer-changed"], limit=1_000_000)
    by_leaf = {each.facts["leafIndex"]: each.id for each in found}
    assert len(by_leaf) == len(found), "each once"
    return by_leaf


def _told(folder):
    """The ids that the hook wrote down; one that was killed in the middle of a line wrote nothing yet."""
    return set((folder / "told").read_text().split()) if (folder / "told").exists() else set()


def _grow(hub, folder, size):
    hub.publish(folder / "next", size)
    _replace(folder / "next", folder / "log")


def _replace(new: pathlib.Path, old: pathlib.Path):
    """Add the objects of a larger log, the checkpoint last, as a log does."""
    for path in sorted(new.rglob("*"), key=lambda each: each.name == "checkpoint"):
        if path.is_file():
            target = old / path.relative_to(new)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)


def test_a_log_by_its_address_with_a_mirror_where_it_serves_garbage(tmp_path):
    """Two real servers: the first bends one bundle, the second has it."""
    hub = Hub()
    settings(tmp_path, "log", "trust.toml", "cat >> ../told")
    hub.trust_file(tmp_path / "trust.toml")
    for at in range(600):
        hub.record(A if at < 599 else B, revision=str(at))
    hub.publish(tmp_path / "log")
    shutil.copytree(tmp_path / "log", tmp_path / "mirror")
    (tmp_path / "log/tile/entries/001").write_bytes(b"garbage")
    with showing(tmp_path / "log") as url, showing(tmp_path / "mirror") as mirror:
        text = (tmp_path / "monitor.toml").read_text()
        (tmp_path / "monitor.toml").write_text(text.replace('folder = "log"', f'url = "{url}"'))
        assert finish(start(tmp_path, "init", "--from", "genesis"))[0] == 0
        code, out = finish(start(tmp_path, "once", "--json"))
        assert (code, json.loads(out)["logs"][0]["verifiedSize"]) == (1, 256)
        assert json.loads(out)["findings"][-1]["kind"] == "log-malformed"
        (tmp_path / "monitor.toml").write_text(
            text.replace('folder = "log"', f'url = "{url}"\nmirrors = ["{mirror}"]')
        )
        code, out = finish(start(tmp_path, "once", "--json"))
        assert (code, json.loads(out)["logs"][0]["verifiedSize"]) == (1, 600)
        assert [each["kind"] for each in json.loads(out)["findings"]] == ["signer-changed"]
    assert b"signer-changed" in (tmp_path / "told").read_bytes()


def test_a_full_disk_is_said_and_the_finding_is_found_again(tmp_path):
    """A limit on the size of files stands for the disk: SQLite cannot write its log of changes."""
    hub = Hub()
    settings(tmp_path, "log", "trust.toml", "cat >> ../told")
    hub.trust_file(tmp_path / "trust.toml")
    hub.publish(tmp_path / "log")
    assert finish(start(tmp_path, "init", "--from", "genesis"))[0] == 0
    for at in range(300):
        hub.record(A if at < 299 else B, revision=str(at))
    hub.publish(tmp_path / "log")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20480, 20480))"
    code = f"{limit}; import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    code += "from cli.main import main; import sys; main(['monitor', 'once', '--config', sys.argv[1]])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "monitor.toml")],
        cwd=REPOSITORY,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 3, done
    assert b"monitor.db" in done.stderr
    assert not (tmp_path / "told").exists()
    assert finish(start(tmp_path, "once"))[0] == 1
    assert b"signer-changed" in (tmp_path / "told").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_asked_to(tmp_path, number):
    hub = Hub()
    settings(tmp_path, "log", "trust.toml", "true")
    hub.trust_file(tmp_path / "trust.toml")
    hub.publish(tmp_path / "log")
    assert finish(start(tmp_path, "init", "--from", "genesis"))[0] == 0
    process = start(tmp_path, "run")
    try:
        assert process.stdout.readline() == b"models: verified to 0: as signed\n"
        process.send_signal(number)
        assert finish(process) == (0, "")
    finally:
        end(process)


def test_systemd_hears_that_it_is_ready_only_once_its_memory_is_open(tmp_path):
    hub = Hub()
    settings(tmp_path, "log", "trust.toml", "true")
    hub.trust_file(tmp_path / "trust.toml")
    hub.publish(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as waiting:
        waiting.bind(str(tmp_path / "notify"))
        waiting.settimeout(60)
        told = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        assert finish(start(tmp_path, "run", env=told))[0] == CorruptError.exit_code
        assert finish(start(tmp_path, "init", "--from", "genesis"))[0] == 0
        process = start(tmp_path, "run", env=told)
        try:
            assert waiting.recv(64) == b"READY=1"
            assert process.stdout.readline() == b"models: verified to 0: as signed\n"
            process.send_signal(signal.SIGTERM)
            assert finish(process) == (0, "")
            waiting.setblocking(False)
            with pytest.raises(BlockingIOError):
                waiting.recv(64)
        finally:
            end(process)
