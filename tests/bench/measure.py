"""Small tools of the benchmarks: medians, a table, the memory of a child, a folder that is cleaned up."""

import contextlib
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from tests.conftest import REPOSITORY

ENTRIES = int(os.environ.get("HUBLEDGER_BENCH_ENTRIES", "1000000"))
FOLDER = REPOSITORY / ".bench"
"""On the disk of the repository, because a memory file system syncs for free."""


AUDIT_FOREIGN = (
    "import sys; from ledger.embedded.foreign import audit_foreign; "
    "audit_foreign(sys.argv[1], [sys.argv[2]], origin=None, workers=None, progress=lambda a, b: None)"
)
"""A process that audits a log: its place and its verifier key."""


def row(what, figure, limit, wanted):
    """One line: what was measured, the figure, what it is held against, what the project wants."""
    return {"what": what, "figure": figure, "against": limit, "wanted": wanted}


def show(rows):
    """Print a Markdown table."""
    print("| what | figure | against | wanted |\n|---|---|---|---|")
    for each in rows:
        print(f"| {each['what']} | {each['figure']} | {each['against']} | {each['wanted']} |", flush=True)


def timed(work, times):
    """Return the median of the seconds that ``work()`` takes."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


_PEAK = """
import re, resource
own = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
print(max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
"""


def process(command, **options):
    """Run a process; returns its seconds and what it wrote. Ends the benchmark when it fails."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, **options)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(
            f"{command[0]} ended with {done.returncode}:\n{(done.stdout + done.stderr).decode()}"
        )
    return seconds, done.stdout


def python(code, *arguments):
    """Run a piece of Python in a process of its own; returns its seconds and the peak, in MB, of it or a worker."""
    seconds, output = process([sys.executable, "-c", f"{code}\n{_PEAK}", *map(str, arguments)])
    return seconds, int(output.split()[-1]) / 1024


@contextlib.contextmanager
def scratch():
    """A folder on the disk, removed afterwards."""
    FOLDER.mkdir(exist_ok=True)
    folder = pathlib.Path(tempfile.mkdtemp(dir=FOLDER))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def tool(name):
    """A tool of others, or None with a word about it."""
    path = pathlib.Path(os.environ.get("HUBLEDGER_TOOLS", REPOSITORY / ".tools")) / name
    if not path.is_file():
        print(f"{name} is not installed (.ci/peers installs it): its comparison is left out", file=sys.stderr)
        return None
    return str(path)
