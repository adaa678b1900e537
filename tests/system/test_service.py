"""The service as a process: other people's clients read it, and it stops when it is told to."""

import json
import subprocess
import sys

import httpx

from ledger.embedded.directory import open_for_reading
from tests.ledger.server.conftest import fill
from tests.system import peers
from tests.system.service import serving


def test_fsck_passes_over_http(tmp_path):
    folder = fill(tmp_path)
    ledger = open_for_reading(folder)
    tree = ledger.log.checkpoint().checkpoint
    with serving(folder, "--read-only") as (url, _):
        found = peers.fsck(url, ledger.log.keys[0].format(), tmp_path)
        assert found == (tree.size, tree.root_hash.hex())


def test_it_answers_head_and_unknown_paths_and_stops_with_0(tmp_path):
    folder = fill(tmp_path)
    with serving(folder, "--read-only") as (url, process):
        whole = httpx.get(f"{url}/docs")
        head = httpx.head(f"{url}/docs")
        assert (head.content, head.headers["content-length"]) == (b"", str(len(whole.content)))
        found = httpx.get(f"{url}/v1/entries/../../etc/passwd")
        assert (found.status_code, found.json()["type"]) == (404, "/problems/not-found")
        assert httpx.get(f"{url}/v1/history", params={"model": "../../etc/passwd"}).status_code == 200
        process.terminate()
        _, err = process.communicate(timeout=40)
    assert process.returncode == 0, err
    lines = [json.loads(line) for line in err.splitlines()]
    assert any({"method": "GET", "route": "/docs", "status": 200}.items() <= line.items() for line in lines)
    assert b"passwd" not in err  # names of strangers are not in the log of the service


def test_an_address_that_is_taken_is_said_so(tmp_path):
    folder = fill(tmp_path)
    with serving(folder, "--read-only") as (url, _):
        listen = url.removeprefix("http://")
        command = [sys.executable, "-m", "cli.main", "serve", str(folder), "--read-only", "--listen", listen]
        done = subprocess.run(command, capture_output=True, timeout=60, cwd=peers.REPOSITORY)
    assert done.returncode == 51
    assert b"Choose another with --listen" in done.stderr
