"""Publishing after 1,000 new events in a large log: everything that they change, and nothing else."""

import shutil
import sys
import time

from ledger.embedded.opening import open_for_recording
from tests.bench import recording
from tests.bench.measure import ENTRIES, process, row, scratch
from tests.bench.workload import facts

NEW = 1000

_PUBLISH = """
import gc, os, sys, pathlib, time
from cli.main import OBJECTS_OF_A_LARGE_COMMAND
from monitor.config import load_config
from monitor.daemon import init, open_monitor
from monitor.publish.publishing import make_key, publish
gc.set_threshold(OBJECTS_OF_A_LARGE_COMMAND)  # as `hubledger monitor` does
config = load_config(pathlib.Path(sys.argv[1]))
if not (config.folder / "monitor.db").exists():
    init(config, pinned={"models": None}, now=int(time.time()))
    make_key(config.base / "monitor.key", "monitor.example", bytes(32))
with open_monitor(config) as monitor:
    (look,) = monitor.look()
    assert look.problem == "", look.problem
    start, busy = time.perf_counter(), sum(os.times()[:4])  # with processes that have ended
    done = publish(config, monitor.state, now=time.time())
    print(done.sizes["models"], time.perf_counter() - start, sum(os.times()[:4]) - busy, done.files)
"""


def _run(settings):
    _, output = process([sys.executable, "-c", _PUBLISH, str(settings)])
    size, seconds, busy, files = output.split()
    return int(size), float(seconds), float(busy), int(files)


def publishing():
    """Publish a log for the first time, then once more after 1,000 further events."""
    if not (recording.LEDGER / "log" / "checkpoint").exists():
        recording.record()
    with scratch() as folder:
        ledger = folder / "ledger"
        shutil.copytree(recording.LEDGER, ledger)
        settings = folder / "monitor.toml"
        settings.write_text(
            f'[[log]]\nname = "models"\nfolder = "{ledger / "log"}"\ntrust = "{ledger / "trust.toml"}"\n'
            '[publish]\nfolder = "public"\nkey = "monitor.key"\n'
        )
        size, first, first_busy, _ = _run(settings)
        grown = []
        for more in range(3):
            start = ENTRIES + more * NEW
            with open_for_recording(ledger) as opened:
                opened.recorder.record_batch([facts(at) for at in range(start, start + NEW)])
                opened.log.publish()
            time.sleep(1)  # what the recording left to the disk is not the publication's
            grown.append(_run(settings)[1:])
        _, idle, _, _ = _run(settings)
    seconds, busy, files = sorted(grown)[1]
    return [
        row(
            f"monitor: publishing after {NEW:,} new events in {size:,}",
            f"{seconds:.2f} s, {busy:.2f} s of processor ({files:,} files, median of 3)",
            "",
            "≤ 2 s",
        ),
        row("the same, when nothing is new", f"{idle * 1000:.0f} ms", "", ""),
        row(
            f"publishing {size:,} for the first time",
            f"{first:.0f} s",
            f"{first_busy / size * 1e6:.0f} µs of processor an event",
            "",
        ),
    ]
