"""The progress bar: for a person at a terminal, with rate and remaining time; silent for everybody else."""

import os
import pty
import subprocess
import sys

import pytest

SCRIPT = """
from cli.progress import progress_bar
with progress_bar("hashing", unit=%r) as advance:
    for done in range(0, 5_000_001, 500_000):
        advance(done, 5_000_000)
"""


def drawn(unit):
    """What a terminal of 100 columns gets to see."""
    master, slave = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT % unit],
        stderr=slave,
        env={**os.environ, "COLUMNS": "100", "TERM": "xterm"},
    )
    os.close(slave)
    seen = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(master)
    assert child.wait() == 0
    return seen.decode()


@pytest.mark.parametrize(
    ("unit", "words"), [("bytes", ["hashing", "5.0/5.0 MB", "B/s"]), ("items", ["5000000/5000000"])]
)
def test_a_person_at_a_terminal_sees_rate_and_remaining_time(unit, words):
    seen = drawn(unit)
    assert all(word in seen for word in words), seen
    assert "0:00:00" in seen


def test_nobody_else_is_bothered():
    done = subprocess.run([sys.executable, "-c", SCRIPT % "bytes"], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
