"""A monitor that replays a large ledger over HTTP on loopback, against bare verification of the same entries."""

import functools
import http.server
import multiprocessing
import resource
import sys
import time
from contextlib import contextmanager

from ledger.client.trusted_keys import load_hub_key
from ledger.embedded.directory import open_for_reading
from ledger.entry import keyid_of, parse_entry, verify_entry
from ledger.event import parse_statement
from tests.bench import recording
from tests.bench.measure import process, row, scratch

SAMPLE = 20_000
CORES = 2

_MONITOR = """
import gc, os, re, sys, pathlib, time
from cli.main import OBJECTS_OF_A_LARGE_COMMAND
from monitor.config import load_config
from monitor.daemon import init, open_monitor
gc.set_threshold(OBJECTS_OF_A_LARGE_COMMAND)  # as `hubledger monitor` does
config = load_config(pathlib.Path(sys.argv[1]))
init(config, pinned={"models": None}, now=int(time.time()))
seen, memory = [], []
def peak(process):
    return int(re.search(r"VmHWM:\\s+(\\d+)", open(f"/proc/{process}/status").read())[1])
def worked(process):
    fields = open(f"/proc/{process}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
def note(done):
    tasks = pathlib.Path("/proc/self/task").glob("*/children")
    processes = ["self", *(child for each in tasks for child in each.read_text().split())]
    seen.append((done, time.perf_counter(), sum(map(worked, processes))))
    memory.append(sum(map(peak, processes)))
start = time.perf_counter()
with open_monitor(config, progress=lambda _l, done, size: note(done)) as monitor:
    (look,) = monitor.look()
assert look.problem == "", look.problem
seconds = time.perf_counter() - start
tenth = max(1, len(seen) // 10)
rates = lambda one, other: [(other[0] - one[0]) / (other[by] - one[by]) for by in (1, 2)]
print(look.size, seconds, max(memory), *rates(seen[0], seen[tenth]), *rates(seen[-1 - tenth], seen[-1]))
"""


def _bare(spki, entries):
    """Verify and parse, and nothing else; returns the seconds by the clock, and those of the processor."""
    keys = {keyid_of(spki): load_hub_key(spki)}
    start, worked = time.perf_counter(), time.process_time()
    for data in entries:
        entry = parse_entry(data)
        verify_entry(entry, keys)
        parse_statement(entry.payload)
    return time.perf_counter() - start, time.process_time() - worked


class _Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass


@contextmanager
def _served(folder):
    """The standard library's file server, in a process of its own as a stranger's would be."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))
    )
    process = multiprocessing.get_context("fork").Process(target=server.serve_forever)
    process.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        process.terminate()
        process.join()
        server.server_close()


def monitoring():
    """Replay with detection and state, from nothing, against verification and parsing on the same two cores."""
    if not (recording.LEDGER / "log" / "checkpoint").exists():
        recording.record()
    directory = recording.LEDGER
    ledger = open_for_reading(directory)
    size = ledger.log.checkpoint().checkpoint.size
    entries = list(ledger.log.read(1, min(size, 1 + SAMPLE), size=size))
    half = len(entries) // CORES
    spki = ledger.trust.hub_keys[-1].spki
    with multiprocessing.Pool(CORES) as pool:
        runs = [(spki, entries[at * half : (at + 1) * half]) for at in range(CORES)]
        taken = sorted(max(pool.starmap(_bare, runs, chunksize=1)) for _ in range(3))[1]
    bare, bare_work = taken[0] / (half * CORES), taken[1] / half
    with scratch() as folder, _served(directory / "log") as url:
        settings = folder / "monitor.toml"
        settings.write_text(
            f'[[log]]\nname = "models"\nurl = "{url}"\ntrust = "{directory / "trust.toml"}"\n'
        )
        before = _worked()
        (_, memory), printed = _run(settings)
        work = (_worked() - before) / size
    verified, own, early, early_work, late, late_work = printed
    assert verified == size
    return [
        row(
            f"monitor: replay of {size:,} over HTTP, with detection and state: bare / replay",
            f"{bare * size / own:.2f} ({size / own:,.0f} entries/s, {memory:.0f} MB)",
            f"verify + parse on {CORES} cores, {bare * 1e6:.1f} µs an entry",
            "≥ 0.5, ≤ 200 MB",
        ),
        row(
            "the same by processor time, all its processes added up",
            f"{bare_work / work:.2f} ({work * 1e6:.0f} µs an entry)",
            f"verify + parse, {bare_work * 1e6:.0f} µs an entry",
            "",
        ),
        row(
            "the same: rate in the last tenth / in the first",
            f"{late / early:.2f} ({late:,.0f} and {early:,.0f} entries/s)",
            "itself",
            "no slower",
        ),
        row(
            "the same by processor time",
            f"{late_work / early_work:.2f} ({1e6 / late_work:.0f} and {1e6 / early_work:.0f} µs an entry)",
            "itself",
            "",
        ),
    ]


def _worked():
    """The processor time of the processes that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run(settings):
    """Run the monitor in a process of its own; returns what it took and what it printed."""
    seconds, output = process([sys.executable, "-c", _MONITOR, str(settings)])
    size, own, peak, *rates = output.split()
    return (seconds, int(peak) / 1024), (int(size), float(own), *map(float, rates))
