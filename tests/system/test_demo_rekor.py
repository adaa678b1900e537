"""The demo in Rekor: the whole story against real servers that it starts itself."""

import json
import os
import subprocess
import sys

import pytest

from tests.system import peers
from tests.system.rekor_v1 import program

NEEDED = {
    "rekor-v2": (["rekor-v2"], []),
    "rekor-v1": (
        ["rekor-v1", "trillian_log_server", "trillian_log_signer", "trillian.sql"],
        ["mariadbd", "mariadb", "mariadb-install-db", "redis-server"],
    ),
}


@pytest.mark.parametrize("kind", NEEDED)
def test_the_demo_runs_in_rekor_and_catches_everything(kind):
    tools, programs = NEEDED[kind]
    folders = {os.path.dirname(peers.tool(name)) for name in tools}
    for name in programs:
        program(name)
    command = [sys.executable, "-m", "cli.main", "demo", "--log", kind, "--json"]
    environment = {**os.environ, "HUBLEDGER_TOOLS": folders.pop()}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr.decode()
    facts = json.loads(done.stdout)
    assert [each["outcome"] for each in facts["recorded"]] == [
        *("VERIFIED", "VERIFIED", "VERIFIED", "UNSIGNED", "CONTENT_MISMATCH")
    ]
    assert all(
        each["logged"] and each["shard"].startswith("rekor.demo.example") for each in facts["recorded"]
    )
    assert facts["verified"] == {"log": "INCLUDED_ONLY", "model": "ACCEPTED"}
    assert [(each["what"], each["by"]) for each in facts["caught"]] == [
        ("one hash of the proof", "the client"),
        ("the tree size in the proof's checkpoint", "the client"),
        ("one byte of the model", "the client"),
        ("the event that the log entry is about", "the client"),
        ("one byte of a stored receipt", "the auditor"),
    ]
    assert all(each["caught"] for each in facts["caught"])


def test_without_the_servers_the_demo_says_what_to_install(tmp_path):
    environment = {"PATH": str(tmp_path), "HUBLEDGER_TOOLS": str(tmp_path)}
    command = [sys.executable, "-m", "cli.main", "demo", "--log", "rekor-v2"]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        "hubledger: demo in Rekor: expected rekor-server-posix or rekor-v2 in HUBLEDGER_TOOLS or on the PATH, got none. "
        "Install it as docs/guides/rekor.md says, or run the demo without --log\n"
    )
