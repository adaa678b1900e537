"""The first three commands of the client's guide, as a newcomer types them, from an empty home."""

import os
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

from ledger.embedded.recording import RecordRequest, record_revision
from tests.conftest import REPOSITORY, missing
from tests.fakes.hf_hub import Repository, serve
from tests.oms import sign_with_a_new_key, write_model
from tests.system.service import serving
from tests.test_recipes import GUIDE

INSTALL, TRUST, DOWNLOAD = re.search(r"```\n(.*?)```", GUIDE, re.DOTALL)[1].splitlines()
TOOLS = pathlib.Path(os.environ.get("HUBLEDGER_BIN", pathlib.Path(sys.executable).parent)).absolute()
"""What the first command installs: in CI the wheel, in an environment that has nothing else of this checkout."""
HOST = "127.0.0.1"
"""The id of the hub, as of any hub whose id is the host that it is downloaded from."""


@pytest.fixture
def hub(hubledger, tmp_path):
    """A hub with one signed model, and its ledger; yields what it serves, and the address of each."""
    ledger, model = tmp_path / "ledger", tmp_path / "model"
    assert hubledger("init", ledger, "--origin", "log.example/models", "--hub", HOST)[0] == 0
    model.mkdir()
    write_model(model)
    pem = tmp_path / "key.pub"
    pem.write_bytes(sign_with_a_new_key(model))
    repository = Repository()
    files = {
        path.relative_to(model).as_posix(): path.read_bytes() for path in model.rglob("*") if path.is_file()
    }
    commit = repository.commit("acme/tiny", files)
    record_revision(ledger, RecordRequest(name="acme/tiny", revision=commit, model=model, public_keys=[pem]))
    with serve(repository) as endpoint, serving(ledger, "--read-only") as (url, _):
        yield repository, {"https://ledger.hub.example": url, "https://hub.example": endpoint}


def type_in(line, addresses, home):
    """Run a line in a shell of somebody who has nothing yet."""
    for example, address in addresses.items():
        line = line.replace(example, address)
    assert "hub.example" not in line
    return subprocess.run(
        ["bash", "-c", line],
        env={"PATH": f"{TOOLS}:{os.environ['PATH']}", "HOME": str(home), "LANG": "C.UTF-8"},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_what_is_installed_is_an_extra_that_there_is():
    (name, extra) = re.fullmatch(r"pip install '(\w+)\[(\w+)\]'", INSTALL).groups()
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert name == project["name"]
    assert [each.split(">")[0] for each in project["optional-dependencies"][extra]] == ["huggingface_hub"]


def test_from_nothing_to_a_checked_model(hub, tmp_path):
    repository, addresses = hub
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    if type_in("python -c 'import huggingface_hub'", {}, tmp_path).returncode:
        missing("no huggingface_hub: install the extra hf")

    done = type_in(TRUST, addresses, tmp_path / "first")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Added the trust file of {HOST}\n")
    done = type_in(DOWNLOAD, addresses, tmp_path / "first")
    assert done.returncode == 0, done.stderr
    (folder,) = map(pathlib.Path, done.stdout.splitlines())
    ((commit, files),) = repository.models["acme/tiny"].items()
    assert folder.name == commit
    assert {name: (folder / name).read_bytes() for name in files} == files

    repository.models["acme/tiny"][commit] = files | {"weights.bin": b"other"}
    done = type_in(DOWNLOAD, addresses, tmp_path / "second")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"got {HOST}. Add the hub's trust file: hubledger trust add" in done.stderr
    assert type_in(TRUST, addresses, tmp_path / "second").returncode == 0
    done = type_in(DOWNLOAD, addresses, tmp_path / "second")
    assert (done.returncode, done.stdout) == (1, "")
    assert "CheckFailedError: model acme/tiny: log INCLUDED_ONLY, model CONTENT_DIFFERS" in done.stderr
