"""Schemathesis reads /openapi.json and asks the running service whatever the description allows, and what it does not."""

import contextlib
import os
import pathlib
import subprocess
import sys

import pytest

from ledger.server.tokens import TokenFile
from tests.conftest import missing
from tests.ledger.server.conftest import AT, fill
from tests.ledger.server.rekor import fill as fill_rekor
from tests.ledger.server.rekor import in_rekor
from tests.system import peers
from tests.system.service import serving

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
EXAMPLES = os.environ.get("HUBLEDGER_EXAMPLES", "10")
"""Generated requests of each address and phase; some hundreds by hand."""


@contextlib.contextmanager
def own(folder):
    """A ledger with a log of its own."""
    yield fill(folder), None


@contextlib.contextmanager
def rekor(folder):
    """A ledger in Rekor, with entries that are logged and one that waits."""
    with in_rekor(folder) as made:
        fill_rekor(made[0])
        yield made


@pytest.mark.parametrize("made", [own, rekor])
def test_no_answer_is_undocumented_and_none_is_a_server_error(tmp_path, made):
    with made(tmp_path) as (folder, _):
        check(folder, tmp_path)


def check(folder, tmp_path):
    """Ask the service of a ledger."""
    program = pathlib.Path(sys.executable).with_name("st")
    if not program.exists():
        missing("schemathesis is not installed")
    token = TokenFile(folder).create(scopes=("record", "policy", "admin"), label="", now=AT)
    command = [program, "run", "--header", f"Authorization: Bearer {token}", "--checks", CHECKS]
    command += ["--max-examples", EXAMPLES, "--generation-database", "none", "--seed", "7", "--no-color"]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.system.schemathesis_hooks", "PYTHONPATH": str(peers.REPOSITORY)}
    with serving(folder) as (url, _):
        done = subprocess.run(
            [*command, f"{url}/openapi.json"],
            capture_output=True,
            text=True,
            timeout=600,
            cwd=tmp_path,
            env=os.environ | hooks,
        )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    described, tested = (int(each.split("/")[0]) for each in summary(done.stdout))
    assert described == tested >= 25


def summary(text):
    """Return how many addresses were selected and tested, each as Schemathesis writes it."""
    lines = [line.split() for line in text.splitlines()]
    return [line[1] for line in lines if line[:1] in (["Selected:"], ["Tested:"])]
