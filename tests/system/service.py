"""Runs `hubledger serve` as a process of its own on loopback."""

import contextlib
import signal
import subprocess
import sys

from tests.system import peers


@contextlib.contextmanager
def serving(folder, *options, env=None):
    """Serve a ledger; yields (address, process). It is stopped as a service manager would.

    Its log is in ``service.log`` beside the ledger: a pipe that nobody empties would not hold it.
    """
    port = peers.free_port()
    command = [
        sys.executable,
        "-m",
        "cli.main",
        "serve",
        str(folder),
        "--listen",
        f"127.0.0.1:{port}",
        *options,
    ]
    with folder.with_name("service.log").open("ab") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=log, env=env, cwd=peers.REPOSITORY
        )
    url = f"http://127.0.0.1:{port}"
    try:
        peers.wait_until(lambda: peers.get(f"{url}/health/live") is not None, running=process)
        yield url, process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=40)
