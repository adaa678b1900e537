"""The pipeline of the client's guide, step by step as a runner would, against a real service on loopback.

Each job has a checkout and nothing else, but for the model that the cache of the job before had.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys

import pytest

from ledger.embedded.recording import RecordRequest, record_revision
from tests.conftest import REPOSITORY
from tests.oms import sign_with_a_new_key, write_model
from tests.system.service import serving
from tests.test_recipes import PIPELINE, POD

(JOB,) = PIPELINE["jobs"].values()
REVISION = "r1"
ALL = ["pip", "./download.sh", "hubledger", "./deploy.sh"]


class Runner:
    """A machine that runs jobs: what the hub serves, and the cache that jobs share."""

    def __init__(self, folder, url):
        self.folder, self.url = folder, url
        self.hub, self.cache, self.deployed = folder / "hub", folder / "cache", folder / "deployed"
        self.number = 0
        self.bin = folder / "bin"
        self.bin.mkdir()
        # Installed already; what a wheel installs is tested where it is built.
        self._script(self.bin / "pip", "exit 0")
        self._script(self.bin / "hubledger", f'exec {shlex.quote(sys.executable)} -m cli.main "$@"')

    def _script(self, path, text):
        path.write_text(f"#!/bin/sh\nset -e\n{text}\n")
        path.chmod(0o755)

    def run(self, revision=REVISION, data=None):
        """Run a job; returns the exit code of its last step, the programs of the steps that ran, and what they printed."""
        self.number += 1
        job = self.folder / f"job-{self.number}"
        checkout = job / "checkout"
        checkout.mkdir(parents=True)
        shutil.copy(self.folder / "ledger/trust.toml", checkout)
        self._script(checkout / "download.sh", f'[ -d "$3" ] || cp -R {shlex.quote(str(self.hub))} "$3"')
        self._script(checkout / "deploy.sh", f'cp -R "$1" {shlex.quote(str(self.deployed))}')
        values = {"${{ vars.TINY_REVISION }}": revision, "${{ runner.temp }}": str(data or job / "temp")}
        ran, out = [], ""
        for step in JOB["steps"]:
            if step.get("uses", "").startswith("actions/cache@") and self.cache.exists():
                shutil.copytree(self.cache, checkout / step["with"]["path"])
            if "run" not in step:
                continue
            done = self._step(step, values, checkout)
            ran.append(shlex.split(step["run"])[0])
            out = done.stdout
            if done.returncode:
                return done.returncode, ran, out
        return 0, ran, out

    def _step(self, step, values, checkout):
        environment = {name: text for name, text in os.environ.items() if name != "HUBLEDGER_DATA"}
        for name, text in step.get("env", {}).items():
            for word, value in values.items():
                text = text.replace(word, value)  # noqa: PLW2901
            environment[name] = text
        environment |= {"PATH": f"{self.bin}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
        line = step["run"].replace("https://ledger.hub.example", self.url)
        command = ["bash", "-e", "-c", line]
        return subprocess.run(
            command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=120
        )


@pytest.fixture
def ledger(hubledger, tmp_path):
    """A ledger with one signed model, which the hub serves."""
    folder, model = tmp_path / "ledger", tmp_path / "hub"
    assert hubledger("init", folder, "--origin", "log.example/models", "--hub", "hub.example")[0] == 0
    model.mkdir()
    write_model(model)
    pem = tmp_path / "key.pub"
    pem.write_bytes(sign_with_a_new_key(model))
    record_revision(
        folder, RecordRequest(name="acme/tiny", revision=REVISION, model=model, public_keys=[pem])
    )
    return folder


@pytest.fixture
def runner(ledger, tmp_path):
    with serving(ledger, "--read-only") as (url, _):
        yield Runner(tmp_path, url)


def test_a_job_with_nothing_in_its_cache_downloads_checks_and_goes_on(runner):
    assert runner.run()[:2] == (0, ALL)
    assert (runner.deployed / "weights.bin").read_bytes() == (runner.hub / "weights.bin").read_bytes()


def test_a_job_takes_the_files_of_the_one_before_and_checks_them_again(runner):
    shutil.copytree(runner.hub, runner.cache)
    shutil.rmtree(runner.hub)  # nothing is downloaded: there would be nothing
    assert runner.run()[:2] == (0, ALL)


@pytest.mark.parametrize(
    "poison",
    [
        lambda cache: (cache / "weights.bin").write_bytes(b"other"),
        lambda cache: (cache / "loader.py").write_bytes(b"import os"),
        lambda cache: (cache / "weights.bin").unlink(),
        lambda cache: [each.unlink() for each in cache.iterdir() if each.is_file()],
    ],
    ids=["a file was changed", "a file was added", "a file is missing", "nearly all are missing"],
)
def test_a_poisoned_cache_of_files_stops_the_job(runner, poison):
    shutil.copytree(runner.hub, runner.cache)
    poison(runner.cache)
    code, ran, out = runner.run()
    assert (code, ran, json.loads(out)["model"]) == (22, ALL[:-1], "CONTENT_DIFFERS")
    assert not runner.deployed.exists()


def test_what_an_earlier_job_left_in_the_data_folder_says_not_whom_to_trust(runner, hubledger, tmp_path):
    """Somebody's own ledger of the same name, in a folder that the jobs share against the guide's advice."""
    data, other = tmp_path / "shared", tmp_path / "other"
    assert hubledger("init", other, "--origin", "log.example/models", "--hub", "hub.example")[0] == 0
    (runner.hub / "weights.bin").write_bytes(b"other")
    record_revision(other, RecordRequest(name="acme/tiny", revision=REVISION, model=runner.hub))
    with pytest.MonkeyPatch.context() as patch, serving(other, "--read-only") as (url, _):
        patch.setenv("HUBLEDGER_DATA", str(data / "hubledger"))
        assert hubledger("trust", "add", url)[0] == 0
        assert hubledger("fetch-proof", "hub.example/acme/tiny", "-o", tmp_path / "proof")[0] == 0
    code, ran, _ = runner.run(data=data)
    assert (code, ran) == (22, ALL[:-1])


def test_a_poisoned_cache_of_proofs_is_not_believed_and_not_needed(runner, tmp_path):
    data = tmp_path / "shared"
    assert runner.run(data=data)[0] == 0
    address = runner.url
    for poison in (
        lambda _: b"{}",
        lambda proof: proof.replace(b"extra eyJjb25", b"extra eyJjb24"),
        lambda proof: proof[: len(proof) // 2],
    ):
        kept = list((data / "hubledger/proofs").glob("*.json"))
        assert kept
        for each in kept:
            each.write_bytes(poison(each.read_bytes()))
        shutil.rmtree(runner.deployed)
        runner.url = "http://127.0.0.1:9"
        code, ran, _ = runner.run(data=data)
        assert (code != 0, ran) == (True, ALL[:-1])
        runner.url = address
        assert runner.run(data=data)[:2] == (0, ALL), "the service is there"


def test_a_job_while_the_hub_is_away_has_nothing_to_go_on_with(ledger, runner, tmp_path):
    """Nor does it say that anything were wrong. With what an earlier job kept, it goes on with that, and says so."""
    data = tmp_path / "shared"
    assert runner.run(data=data)[0] == 0
    shutil.rmtree(runner.deployed)
    runner.url = "http://127.0.0.1:9"
    code, ran, _ = runner.run()
    assert (code, ran) == (51, ALL[:-1])
    assert not runner.deployed.exists()
    code, ran, _ = runner.run(data=data)
    assert (code, ran) == (0, ALL)


def test_another_revision_than_the_one_that_the_job_names_stops_it(ledger, runner, tmp_path):
    """The hub serves what it recorded before, under the new name."""
    (tmp_path / "next").mkdir()
    (tmp_path / "next/weights.bin").write_bytes(b"next")
    record_revision(ledger, RecordRequest(name="acme/tiny", revision="r2", model=tmp_path / "next"))
    code, ran, out = runner.run(revision="r2")
    assert (code, ran, json.loads(out)["model"]) == (22, ALL[:-1], "CONTENT_DIFFERS")
    code, ran, _ = runner.run(revision="r3")
    assert (code, ran) == (34, ALL[:-1])


def test_a_revision_that_is_not_set_stops_the_job_at_once(runner):
    code, ran, out = runner.run(revision="")
    assert (code != 0, ran, out) == (True, ALL[:2], "")
    assert not runner.deployed.exists()


def test_a_revision_is_never_a_command(runner, tmp_path):
    code, ran, _ = runner.run(revision=f"$(touch {tmp_path}/pwned); touch {tmp_path}/pwned #")
    assert (code != 0, ran) == (True, ALL[:-1])
    assert not (tmp_path / "pwned").exists()


def config_map(folder, *files):
    """Lay out files as a cluster mounts a configMap: names are links into a folder that is replaced as a whole."""
    version = folder / "..2026_01_02_03_04_05.1"
    version.mkdir(parents=True)
    (folder / "..data").symlink_to(version.name)
    for each in files:
        shutil.copy(each, version)
        (folder / each.name).symlink_to(f"..data/{each.name}")


def test_the_arguments_of_the_pod_check_what_is_in_its_volume(runner, hubledger, tmp_path, monkeypatch):
    """As a command of this machine; in the image, with its mounts and its rights, see `test_client_image`."""
    monkeypatch.setenv("HUBLEDGER_DATA", str(tmp_path / "data"))
    verify = POD["spec"]["initContainers"][1]
    assert verify["command"] == ["hubledger"]
    config_map(tmp_path / "trust", runner.folder / "ledger/trust.toml")
    places = {
        "/model": runner.hub,
        "/trust/trust.toml": tmp_path / "trust/trust.toml",
        "https://ledger.hub.example": runner.url,
        "REVISION": REVISION,
    }
    assert places.keys() <= set(verify["args"])
    arguments = [places.get(each, each) for each in verify["args"]]
    assert hubledger(*arguments)[0] == 0
    (runner.hub / "weights.bin").write_bytes(b"other")
    assert hubledger(*arguments)[0] == 22
