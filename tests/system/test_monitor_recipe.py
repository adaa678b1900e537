"""The scheduled job of the guide: its own steps are run, and somebody who may write where the memory is kept tries to poison it."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml

from tests.conftest import REPOSITORY, missing
from tests.monitor.hub import Hub
from tests.world import World, key_signer, signed_by

A, B = signed_by(key_signer("a")), signed_by(key_signer("b"))
GUIDE = (REPOSITORY / "docs/guides/monitor.md").read_text(encoding="utf-8")
(RECIPE,) = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL))
STEPS = RECIPE["jobs"]["monitor"]["steps"]
INPUTS = RECIPE[True]["workflow_dispatch"]["inputs"]  # YAML 1.1 takes `on` for a truth value


def write_program(path, *lines):
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)


class Job:
    """The pipeline: a protected branch, its secret, and a store that others can write."""

    def __init__(self, folder):
        self.folder, self.store, self.runs = folder, folder / "store", 0
        self.branch, tools = folder / "branch", folder / "tools"
        for each in (self.store, self.branch / "deploy", tools):
            each.mkdir(parents=True)
        shutil.copy2(REPOSITORY / "deploy/monitor-ci.sh", self.branch / "deploy")
        (self.branch / "monitor.toml").write_text(
            f'[[log]]\nname = "models"\nfolder = "{folder}/log"\ntrust = "trust.toml"\n'
            f'[[sink]]\nname = "desk"\nhooks = "hooks.d"\n'
        )
        (self.branch / "hooks.d").mkdir()
        write_program(
            self.branch / "hooks.d/tell", f'echo "$HUBLEDGER_ID $HUBLEDGER_KIND" >> {folder}/alerts'
        )
        self.new_key("key")
        self.sign_by("key")
        write_program(tools / "hubledger", f'exec {shlex.quote(sys.executable)} -m cli.main "$@"')
        write_program(tools / "pip", ":")
        write_program(tools / "fetch-memory", f"cp {self.store}/monitor.tar* . 2> /dev/null || true")
        write_program(
            tools / "store-memory", f"rm -f {self.store}/*; cp monitor.tar monitor.tar.sig {self.store}"
        )
        self.tools = tools

    def new_key(self, name):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
        subprocess.run(make, check=True)

    def sign_by(self, name):
        self.secret = (self.folder / name).read_text()
        public = (self.folder / f"{name}.pub").read_text()
        (self.branch / "monitor.signers").write_text(f"monitor {public}")

    @property
    def alerts(self):
        path = self.folder / "alerts"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def memory(self):
        return {each.name: each.read_bytes() for each in self.store.iterdir()}

    def put(self, memory):
        for each in self.store.iterdir():
            each.unlink()
        for name, data in memory.items():
            (self.store / name).write_bytes(data)

    def __call__(self, **inputs):
        """Run each step of the guide in a new checkout; returns the first exit code that is not 0, and what was said."""
        assert inputs.keys() <= INPUTS.keys()
        self.runs += 1
        checkout = shutil.copytree(self.branch, self.folder / f"checkout-{self.runs}")
        values = {"secrets.MONITOR_KEY": self.secret} | {
            f"inputs.{name}": inputs.get(name, "") for name in INPUTS
        }
        failed, said = 0, ""
        for step in STEPS:
            if "run" not in step or (failed and step.get("if") != "always()"):
                continue
            given = {
                name: re.sub(r"\$\{\{ (\S+) \}\}", lambda found: values[found[1]], text)
                for name, text in step.get("env", {}).items()
            }
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                cwd=checkout,
                env={"PATH": f"{self.tools}:{os.environ['PATH']}", "HOME": str(self.folder), **given},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            failed, said = failed or done.returncode, said + done.stdout + done.stderr
        return failed, said


@pytest.fixture
def hub(tmp_path):
    hub = Hub()
    hub.record(A, revision="0")
    hub.publish(tmp_path / "log")
    return hub


@pytest.fixture
def job(hub, tmp_path):
    if shutil.which("ssh-keygen") is None:
        missing("no ssh-keygen")
    job = Job(tmp_path)
    hub.trust_file(job.branch / "trust.toml")
    code, said = job(**{"from": "genesis"})
    assert code == 0, said
    return job


def change_signer(hub, job):
    hub.record(B, revision="1")
    hub.publish(job.folder / "log")


def test_nothing_that_somebody_chooses_is_put_into_a_shell():
    assert not any("${{" in step.get("run", "") for step in STEPS)
    assert RECIPE["jobs"]["monitor"]["if"] == "github.ref == 'refs/heads/main'"


def test_the_steps_find_a_change_tell_it_once_and_are_green_when_it_is_settled(job, hub):
    change_signer(hub, job)
    assert job()[0] == 1
    assert job()[0] == 1, "open"
    assert [kind for _, kind in job.alerts] == ["signer-changed"]
    code, said = job(resolve="2", note="$(touch stolen); `touch stolen`")
    assert code == 0, said
    assert not list(job.folder.rglob("stolen"))
    assert job()[0] == 0


def test_an_old_memory_finds_again_what_it_had_found_under_the_same_ids(job, hub):
    old = job.memory()
    change_signer(hub, job)
    assert job()[0] == 1
    job.put(old)
    assert job()[0] == 1
    assert len(job.alerts) == 2
    assert job.alerts[0] == job.alerts[1]


def test_an_old_memory_still_knows_what_the_log_signed_before_a_fork(job, hub):
    old = job.memory()
    forked = hub.fork(1)
    for each in (hub, forked):
        each.record(B if each is forked else A, revision="1")
    hub.publish(job.folder / "log")
    assert job()[0] == 0
    newer = job.memory()
    shutil.rmtree(job.folder / "log")
    forked.publish(job.folder / "log")
    code, said = job()
    assert (code, "log-forked" in said) == (1, True), said
    job.put(newer)
    assert job()[0] == 1, "found again"
    job.put(old)
    code, said = job()
    assert (code, "log-forked" in said) == (1, False), (
        "the fork is after what it remembers: the guide says so"
    )


@pytest.mark.parametrize(
    ("attack", "why"),
    [
        (lambda memory: {}, "no memory with a signature"),
        (lambda memory: {"monitor.tar": memory["monitor.tar"]}, "no memory with a signature"),
        (lambda memory: {"monitor.tar.sig": memory["monitor.tar.sig"]}, "no memory with a signature"),
        (lambda memory: memory | {"monitor.tar": memory["monitor.tar"] + bytes(512)}, "not signed by"),
        (lambda memory: memory | {"monitor.tar": b""}, "not signed by"),
    ],
    ids=["gone", "unsigned", "signature alone", "longer", "empty"],
)
def test_a_memory_that_was_touched_ends_the_job_and_stays_as_it_is(job, hub, attack, why):
    good = job.memory()
    change_signer(hub, job)
    job.put(attack(good))
    code, said = job()
    assert (code, why in said) == (3, True), said
    assert job.alerts == []
    job.put(good)
    assert job()[0] == 1, "the good one goes on"


def test_a_memory_under_another_key_is_refused(job):
    good = job.memory()
    job.new_key("other")
    job.sign_by("other")
    code, said = job()
    assert (code, "not signed by the monitor's key" in said) == (3, True), said
    assert job.memory() == good


def test_the_memory_of_another_log_is_not_taken_for_that_of_this_one(job, hub, tmp_path):
    """One key signs the memories of two monitors, and they are exchanged."""
    other = Hub(World(origin="log.example/other", log_key="other"))
    for number in range(3):
        other.record(B, revision=str(number))
    shutil.rmtree(tmp_path / "log")
    other.publish(tmp_path / "log")
    other.trust_file(job.branch / "trust.toml")
    code, said = job()
    assert code not in (0, 1), said
    assert "expected origin log.example/models, which was begun, got log.example/other" in said


def test_a_job_that_is_ended_before_it_signs_leaves_the_memory_as_it_was(job, hub):
    good = job.memory()
    change_signer(hub, job)
    write_program(
        job.tools / "tar",
        'case "$1" in -cf) kill -9 $PPID; exit 1;; esac',
        f'exec {shutil.which("tar")} "$@"',
    )
    assert job()[0] in (-9, 137)
    assert job.memory() == good
