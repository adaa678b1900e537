"""What is in `deploy` for a monitor: the scheduled job with its signed memory, the unit, and the container file."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from cli.monitor import command as group
from tests.conftest import REPOSITORY, missing
from tests.monitor.hub import Hub
from tests.world import key_signer, signed_by

DEPLOY = REPOSITORY / "deploy"
A, B = signed_by(key_signer("a")), signed_by(key_signer("b"))


@pytest.fixture
def job(tmp_path):
    """A checkout of the protected branch, the key, and `hubledger` in the path."""
    if shutil.which("ssh-keygen") is None:
        missing("no ssh-keygen")
    hub = Hub()
    hub.record(A, revision="0")
    hub.publish(tmp_path / "log")
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    hub.trust_file(checkout / "trust.toml")
    (checkout / "monitor.toml").write_text(
        '[[log]]\nname = "models"\nfolder = "../log"\ntrust = "trust.toml"\n'
    )
    for name in ("key", "other"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(make, check=True)
    public = (tmp_path / "key.pub").read_text()
    (checkout / "monitor.signers").write_text(f"monitor {public}")
    program = tmp_path / "bin/hubledger"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m cli.main "$@"\n')
    program.chmod(0o755)

    def run(key="key", **environment):
        shutil.rmtree(checkout / "state", ignore_errors=True)  # each job has a checkout of its own
        done = subprocess.run(
            [str(DEPLOY / "monitor-ci.sh"), str(checkout / "monitor.toml"), str(tmp_path / "memory.tar")],
            env={
                **os.environ,
                "PATH": f"{program.parent}:{os.environ['PATH']}",
                "PYTHONPATH": str(REPOSITORY),
                "MONITOR_KEY": str(tmp_path / key),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    run.hub, run.folder = hub, tmp_path
    return run


def test_it_remembers_from_job_to_job(job):
    code, out = job(MONITOR_FROM="genesis")
    assert code == 0, out
    job.hub.record(B, revision="1")
    job.hub.publish(job.folder / "log")
    code, out = job()
    assert code == 1, out
    assert "signer-changed" in out
    code, out = job()
    assert code == 1, "open, and not found a second time"
    assert "signer-changed" not in out


def test_a_memory_that_somebody_else_made_is_refused_and_never_unpacked(job):
    """A fork's job can upload an archive under any name; it cannot sign it."""
    assert job(MONITOR_FROM="genesis")[0] == 0
    memory, signature = job.folder / "memory.tar", job.folder / "memory.tar.sig"
    good = memory.read_bytes(), signature.read_bytes()

    bent = bytearray(good[0])
    bent[len(bent) // 2] ^= 1
    memory.write_bytes(bent)
    code, out = job()
    assert (code, "not signed by the monitor's key" in out) == (3, True), out
    assert not (job.folder / "checkout/state").exists()

    memory.write_bytes(good[0])
    signature.unlink()
    sign = [
        "ssh-keygen",
        "-Y",
        "sign",
        "-q",
        "-f",
        str(job.folder / "other"),
        "-n",
        "hubledger-monitor-state",
    ]
    subprocess.run([*sign, str(memory)], check=True)
    assert job()[0] == 3

    signature.unlink()
    code, out = job()
    assert (code, "never begins anew" in out) == (3, True), out
    signature.write_bytes(good[1])
    assert job()[0] == 0


def test_beginning_anew_is_never_over_a_memory(job):
    assert job(MONITOR_FROM="genesis")[0] == 0
    code, out = job(MONITOR_FROM="genesis")
    assert (code, "there is a memory" in out) == (3, True), out


def commands(text):
    """The commands of hubledger in a file, each as words."""
    joined = re.sub(r"\\\n#?\s*", " ", text)
    for found in re.findall(r"(?:bin/hubledger|wait hubledger|hubledger-monitor) +(monitor [a-z].*)", joined):
        yield shlex.split(found)[:6]
    for found in re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE):
        yield re.findall(r'"([^"]*)"', found)


@pytest.mark.parametrize("name", ["hubledger-monitor.service", "Containerfile.monitor"])
def test_the_commands_are_such_that_there_are(name):
    found = list(commands((DEPLOY / name).read_text()))
    assert [each[1] for each in found] in (["init", "run"], ["run", "init"])
    for words in found:
        options = {each for one in group.commands[words[1]].params for each in one.opts}
        assert {each for each in words if each.startswith("--")} <= options


def test_the_container_copies_what_the_package_is_made_of():
    text = (DEPLOY / "Containerfile.monitor").read_text()
    for package in ("ledger", "monitor", "cli"):
        assert f"COPY {package} {package}\n" in text


def test_the_container_has_all_that_settings_can_ask_for_by_the_hashes_of_the_lock_file():
    text = (DEPLOY / "Containerfile.monitor").read_text()
    fetching = [line for line in text.splitlines() if "pip" in line and "--no-index" not in line]
    assert [each.split()[:3] for each in fetching if not each.startswith("#")] == [["RUN", "pip", "wheel"]]
    assert "--require-hashes" in fetching[-1]
    (extras,) = re.findall(r"'hubledger\[(.*)\]'", text)
    assert set(extras.split(",")) == {"server", "notify", "publish"}, "listen, notify, [publish]"


@pytest.mark.parametrize("name", ["Containerfile", "Containerfile.monitor"])
def test_a_health_check_is_built_in_the_one_format_that_has_it(name):
    text = (DEPLOY / name).read_text()
    assert "\nHEALTHCHECK " in text
    (built,) = re.findall(r"podman build (.*)$", text, re.MULTILINE)
    assert built.startswith("--format docker ")
