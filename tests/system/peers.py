"""Runs the servers and tools of others: Tessera's log, auditor and load generator, and a static file server."""

import contextlib
import os
import pathlib
import re
import socket
import subprocess
import threading
import urllib.error
import urllib.request

from tests.conftest import REPOSITORY, missing

TOOLS = pathlib.Path(os.environ.get("HUBLEDGER_TOOLS", REPOSITORY / ".tools"))


def tool(name):
    """The path of an installed tool; skips with the reason where it is missing."""
    if not (TOOLS / name).is_file():
        missing(f"{name} is not installed: .ci/peers installs it with Go")
    return str(TOOLS / name)


_FOUND = re.compile(r"Successfully fsck'd log with size (\d+) and root \S+ \(([0-9a-f]{64})\)")


def fsck(url, vkey, folder, *, seconds=120):
    """Run Tessera's fsck; returns (size, root) only if it said that it checked them (its exit code says nothing)."""
    public = pathlib.Path(folder) / "log.pub"
    public.write_text(vkey)
    command = [tool("fsck"), f"--storage_url={url}/", f"--public_key={public}", "--ui=false"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return None
    match = _FOUND.search((done.stdout + done.stderr).decode())
    return None if match is None else (int(match[1]), match[2])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def tessera(folder, private_key):
    """Run Tessera's POSIX conformance server on a folder; yields its address."""
    port = free_port()
    process = subprocess.Popen(
        [tool("tessera-posix"), f"--storage_dir={folder}", f"--listen=127.0.0.1:{port}"],
        env={**os.environ, "LOG_PRIVATE_KEY": private_key},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: get(f"{url}/checkpoint") is not None, running=process)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def get(url):
    """The body, or None where nothing answers or it is not there."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.read()
    except (urllib.error.URLError, ConnectionError):
        return None


def post(url, body):
    with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=60) as response:
        return response.read().decode().strip()


def wait_until(condition, *, running=None, seconds=60):
    """Ask until the condition holds; fails when the process has ended or the time is over."""
    never = threading.Event()
    for _ in range(seconds * 20):
        if condition():
            return
        assert running is None or running.poll() is None, "the server ended"
        never.wait(0.05)
    raise AssertionError(f"nothing after {seconds} s")
