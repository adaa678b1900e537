"""By hand, because it takes half an hour: the memory of the service under full load, on a ledger of many events."""

import os
import pathlib
import re
import shutil
import subprocess
import threading

from ledger.server.tokens import TokenFile
from tests.bench import recording
from tests.bench.measure import ENTRIES, row, scratch
from tests.bench.serving import AT, BODIES, EVENTS, as_json, build, run_service, settle

MINUTES = int(os.environ.get("HUBLEDGER_BENCH_MINUTES", "30"))
CONNECTIONS = 256
SECONDS_APART = 5


def soak():
    """Record over HTTP as fast as the service takes it, and look at its memory every few seconds."""
    with scratch() as folder:
        ledger = folder / "ledger"
        if (recording.LEDGER / "log" / "checkpoint").exists():
            shutil.copytree(recording.LEDGER, ledger)
            settle(ledger)
        else:
            build(ledger, ENTRIES)
        bodies, script = folder / "bodies", folder / "load.lua"
        bodies.write_text("".join(as_json(number) + "\n" for number in range(ENTRIES, ENTRIES + BODIES)))
        script.write_text(EVENTS)
        token = TokenFile(ledger).create(scopes=("record",), label="", now=AT)
        environment = {**os.environ, "BODIES": str(bodies), "TOKEN": token}
        with run_service(ledger) as (url, process):
            samples, ended = [], threading.Event()
            watching = threading.Thread(target=_watch, args=(process.pid, samples, ended))
            command = [
                "wrk",
                "-t2",
                f"-c{CONNECTIONS}",
                f"-d{MINUTES}m",
                "--timeout",
                "30s",
                "-s",
                str(script),
            ]
            watching.start()
            try:
                said = subprocess.run(
                    [*command, f"{url}/v1/events?wait=durable&evidence=later"],
                    capture_output=True,
                    check=True,
                    text=True,
                    env=environment,
                ).stdout
            finally:
                ended.set()
                watching.join()
    sent = int(re.search(r"(\d+) requests in", said)[1])
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    tenth = max(1, len(samples) // 10)
    early, late = (max(some) for some in (samples[tenth : 2 * tenth], samples[-tenth:]))
    return [
        row(
            f"memory of the service under full load for {MINUTES} minutes, {sent:,} events more than {ENTRIES:,}",
            f"{late:.0f} MB in the last tenth, {max(samples):.0f} MB at most ({sent / MINUTES / 60:,.0f} events/s, "
            f"{refused[1] if refused else 0} refused)",
            f"{early:.0f} MB in the second tenth",
            "≤ 300 MB at 1,000,000, flat",
        )
    ]


def _watch(process, samples, ended):
    """Note the memory of a process, in megabytes, until it is told to end."""
    while not ended.wait(SECONDS_APART):
        status = pathlib.Path(f"/proc/{process}/status").read_text(encoding="ascii")
        samples.append(int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024)
