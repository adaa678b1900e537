"""The service under load from wrk, as a process of its own, on a ledger of ``HUBLEDGER_BENCH_ENTRIES`` events."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from ledger.embedded.digests import mirror_digests
from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from ledger.server.tokens import TokenFile
from tests.bench.measure import ENTRIES, row, scratch
from tests.bench.workload import facts
from tests.system import peers

SECONDS = int(os.environ.get("HUBLEDGER_BENCH_SECONDS", "10"))
BATCH = 8192
AT = "2026-01-02T03:04:05Z"
BODIES = 500

EVENTS = """
local bodies = {}
for line in io.lines(os.getenv("BODIES")) do bodies[#bodies + 1] = line end
local thread, count = 0, 0
function setup(t) t:set("number", thread); thread = thread + 1 end
function init() math.randomseed(os.time() + number); prefix = number .. "-" .. math.random(1, 1e9) .. "-" end
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")
wrk.headers["Content-Type"] = "application/json"
function request()
  count = count + 1
  local body = bodies[count % #bodies + 1]:gsub("@", prefix .. count)
  return wrk.format(nil, nil, nil, body)
end
"""
_PATHS = """
local paths = {}
for line in io.lines(os.getenv("PATHS")) do paths[#paths + 1] = line end
local count = 0
function request() count = count + 7919; return wrk.format("GET", paths[count % #paths + 1]) end
"""
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


def as_json(number):
    """Event ``number`` of the workload as a hub posts it; ``@`` stands where each request has something of its own."""
    event = facts(number)
    value = {
        "eventId": "@",
        "model": {**event.model.as_json(), "revision": "@"},
        "manifest": event.manifest.as_json(),
        "uploader": event.uploader_account,
        "signatures": [each.as_json() for each in event.signatures],
        "outcome": event.outcome,
    }
    return json.dumps(value, separators=(",", ":"))


def build(folder, entries):
    """A ledger of so many events."""
    init(folder, origin="log.example/models", hub="hub.example", now=lambda: AT)
    settle(folder)
    with open_for_recording(folder, now=lambda: AT) as ledger:
        for start in range(0, entries, BATCH):
            ledger.recorder.record_batch(
                [facts(number) for number in range(start, min(entries, start + BATCH))]
            )
            ledger.log.publish()
        ledger.recorder.publish()
        ledger.recorder.flush_index()
        mirror_digests(ledger)


def settle(folder):
    """Publish ten times a second, and write no line for each request."""
    settings = folder / "hubledger.toml"
    text = settings.read_text().replace("publish_interval = 1.0", "publish_interval = 0.1")
    settings.write_text(text + "\n[serve]\naccess_log = false\n")


@contextlib.contextmanager
def run_service(folder):
    """Run the service on a ledger; gives its address and the process."""
    port = peers.free_port()
    command = [sys.executable, "-m", "cli.main", "serve", str(folder), "--listen", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        peers.wait_until(lambda: peers.get(f"{url}/health/live") is not None, running=process)
        yield url, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def _wrk(folder, url, script, connections, **env):
    """Run wrk; returns (requests a second, median and 99th percentile in milliseconds, failed requests)."""
    path = folder / "load.lua"
    path.write_text(script)
    threads = str(min(2, connections))
    command = [
        "wrk",
        "-t",
        threads,
        "-c",
        str(connections),
        "-d",
        f"{SECONDS}s",
        "--latency",
        "--timeout",
        "30s",
    ]
    done = subprocess.run(
        [*command, "-s", str(path), url],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, **env},
    ).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", done)[1])
    median, last = (_latency(done, each) for each in ("50%", "99%"))
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", done)
    return rate, median, last, int(failed[1]) if failed else 0


def _latency(text, which):
    value, unit = re.search(rf"{re.escape(which)}\s+([\d.]+)(us|ms|s|m)\b", text).groups()
    return float(value) * _UNITS[unit]


def _memory(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


def _processor(process):
    """Seconds of processor that a process has used, in all its threads."""
    said = pathlib.Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(said[11]) + int(said[12])) / os.sysconf("SC_CLK_TCK")


def _recording(folder, ledger, url):
    bodies = folder / "bodies"
    bodies.write_text("".join(as_json(number) + "\n" for number in range(ENTRIES, ENTRIES + BODIES)))
    token = TokenFile(ledger).create(scopes=("record",), label="", now=AT)
    load = {"BODIES": str(bodies), "TOKEN": token}
    for wait, connections in (
        ("durable", 64),
        ("durable", 256),
        ("durable", 1024),
        ("included", 1024),
        ("included", 4000),
    ):
        rate, median, last, failed = _wrk(
            folder, f"{url}/v1/events?wait={wait}&evidence=later", EVENTS, connections, **load
        )
        yield row(
            f"`POST /v1/events`, `{wait}`, {connections:,} connections",
            f"{rate:,.0f} events/s, median {median:.1f} ms, 99 % {last:.0f} ms, {failed} refused",
            "wrk on the same machine",
            "≥ 3 × Rekor v2; median ≤ 25 ms at 64" if wait == "durable" else "≥ 3 × Rekor v2 at the same",
        )
    lines = bodies.read_text().splitlines()
    for connections in (1, 8):
        yield row(
            f"batches of 1,000, `durable`, {connections} connections",
            f"{_batches(url, token, lines, connections):,.0f} events/s",
            "httpx on the same machine",
            "≥ 12,000 events/s, ≥ 0.8 of in-process",
        )


def _batches(url, token, lines, connections):
    """Send batches for ``SECONDS`` over so many connections; returns events a second."""
    end = time.perf_counter() + SECONDS
    headers = {"authorization": f"Bearer {token}", "content-type": "application/x-ndjson"}

    def send(worker):
        sent = 0
        with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            while time.perf_counter() < end:
                run = f"{connections}-{worker}-{sent}-"
                data = "\n".join(lines[at % len(lines)].replace("@", f"{run}{at}") for at in range(1000))
                answer = client.post("/v1/events/batch?wait=durable&evidence=later", content=data)
                if answer.status_code == 503:  # what the load before left in the queue, on a slow machine
                    time.sleep(0.2)
                    continue
                sent += answer.raise_for_status().content.count(b'"entry"')
        return sent

    start = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        return sum(pool.map(send, range(connections))) / (time.perf_counter() - start)


def _reading(folder, url, process):
    models = max(1, ENTRIES // 5)
    names = [f"org-{model % 997}%2Fmodel-{model}" for model in range(models)]
    size = int(httpx.get(f"{url}/checkpoint").text.split("\n")[1])
    paths = {
        "histories of 500 models, in turn": [f"/v1/history?model={each}" for each in names[:500]],
        f"histories of {models:,} models, in turn": [f"/v1/history?model={each}" for each in names],
        "badges of 500 models": [f"/v1/badge.svg?model={each}" for each in names[:500]],
        "tiles, 100 of them": [f"/tile/0/{number:03d}" for number in range(min(100, size // 256))],
    }
    for what, listed in paths.items():
        (folder / "paths").write_text("".join(each + "\n" for each in listed))
        rate, median, last, failed = _wrk(folder, url, _PATHS, 64, PATHS=str(folder / "paths"))
        yield row(
            f"{what}, 64 connections, {size:,} leaves",
            f"{rate:,.0f} requests/s, median {median:.1f} ms, 99 % {last:.0f} ms, {failed} refused",
            "wrk on the same machine",
            "≥ 10,000/s" if what.startswith("tiles") else "≥ 3,000/s on one core",
        )
    pairs = [{"model": each.replace("%2F", "/"), "revision": "none"} for each in names[:100]]
    with httpx.Client(base_url=url) as client:
        taken = []
        for _ in range(20):
            start = time.perf_counter()
            client.post("/v1/standings", json={"pairs": pairs}).raise_for_status()
            taken.append((time.perf_counter() - start) * 1000)
    yield row(
        "100 standings at once: the first time, and the median of 20",
        f"{taken[0]:.0f} ms, {statistics.median(taken):.1f} ms",
        "one connection",
        "≤ 20 ms",
    )
    yield row("memory of the service after all this, at most", f"{_memory(process):.0f} MB", "", "≤ 300 MB")


def _mixed(folder, ledger, url):
    """Writes and reads at a fixed rate at once, each request timed from when it was due: waiting in a queue counts."""
    bodies = [as_json(number) for number in range(ENTRIES, ENTRIES + BODIES)]
    token = TokenFile(ledger).create(scopes=("record",), label="", now=AT)
    names = [f"org-{model % 997}%2Fmodel-{model}" for model in range(max(1, ENTRIES // 5))][:500]
    writes = [("/v1/events?wait=durable&evidence=later", each) for each in bodies]
    reads = [(f"/v1/history?model={each}", "") for each in names]
    head = f"authorization: Bearer {token}\r\ncontent-type: application/json\r\n"
    loads = {
        "writes, `durable`": _pace(folder / "writes", url, writes, method="POST", rate=500, head=head),
        "reads": _pace(folder / "reads", url, reads, method="GET", rate=1000),
    }
    for what, process in loads.items():
        said, _ = process.communicate(timeout=SECONDS + 60)
        found = json.loads(said)
        wanted = 1000 if what == "reads" else 500
        yield row(
            f"{what} of 500 writes and 1,000 reads a second at once",
            f"{found['rate']:,.0f}/s of {wanted:,}, median {found['median']:.1f} ms, 99 % {found['p99']:.0f} ms, "
            f"longest {found['most']:.0f} ms, {found['failed']} failed; the client itself late by {found['late']:.0f} ms",
            "tests.bench.pace, two processes, from when each was due",
            "99 % ≤ 50 ms" if what == "reads" else "99 % ≤ 100 ms",
        )


def _pace(path, url, requests, *, method, rate, head=""):
    """Start a load in a process of its own."""
    host, _, port = url.removeprefix("http://").partition(":")
    path.write_text(
        json.dumps(
            {
                "host": host,
                "port": int(port),
                "rate": rate,
                "seconds": SECONDS,
                "connections": 32,
                "head": method,
                "rest": f"host: {host}\r\n{head}",
                "requests": requests,
            }
        )
    )
    command = [sys.executable, "-m", "tests.bench.pace", str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def serving():
    """Recording and reading over HTTP."""
    if shutil.which("wrk") is None:
        print("wrk is not installed: its figures are left out", file=sys.stderr)
        return []
    with scratch() as folder:
        ledger = folder / "ledger"
        build(ledger, ENTRIES)
        with run_service(ledger) as (url, process):
            rows = list(_reading(folder, url, process))
        with run_service(ledger) as (url, _):
            rows += _recording(folder, ledger, url)
        with run_service(ledger) as (url, process):
            before, start = _processor(process), time.perf_counter()
            rows += _mixed(folder, ledger, url)
            used = (_processor(process) - before) / (time.perf_counter() - start)
            rows.append(row("processor time of the service meanwhile", f"{used:.2f} s a second", "", ""))
            rows.append(row("memory of the service after that", f"{_memory(process):.0f} MB", "", "≤ 300 MB"))
        return rows
