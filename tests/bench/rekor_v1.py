"""How many verified submissions a second Rekor v1 takes from us, beside what it takes from a plain load generator.

Both have the same number of requests in flight, against the same server, in turns: the server must be the bottleneck.
"""

import asyncio
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from ledger.log.rekor_v1 import ENTRIES, RekorV1, propose
from tests.bench.measure import row
from tests.fakes.rekor import signed_payload
from tests.system import rekor_v1 as stack

IN_FLIGHT = 64
SECONDS = 12
SETTLED = 2
"""Seconds at both ends of a turn that do not count: how each begins and stops is not what is compared."""
ROUNDS = 4
PREPARED = 400 * SECONDS
"""Bodies for one turn: more than the server takes, because a body that comes again is not logged."""

_LUA = """
local bodies, at = {}, 0
local threads = 0
function setup(thread)
  thread:set("id", threads)
  threads = threads + 1
end
function init(arguments)
  for line in io.lines(arguments[1]) do bodies[#bodies + 1] = line end
  at = id
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
end
function request()
  at = at + 2
  return wrk.format(nil, nil, nil, bodies[at % #bodies + 1])
end
"""


def rekor_v1():
    """Verified submissions a second, and what wrk gets from the same server."""
    wrk = shutil.which("wrk")
    if wrk is None:
        print("wrk is not installed (.ci/peers installs it): Rekor v1 is left out", file=sys.stderr)
        return []
    ours, plain = [], []
    with stack.backend() as backend, backend.server() as server, tempfile.TemporaryDirectory() as folder:
        asyncio.run(_ours(server, "warm", 1))
        # The server slows as its tables grow: each is first as often as the other.
        for turn in range(ROUNDS):
            for is_ours in (turn % 2 == 1, turn % 2 == 0):
                if is_ours:
                    ours.append(asyncio.run(_ours(server, f"ours {turn}", SECONDS)))
                else:
                    plain.append(_plain(wrk, server, pathlib.Path(folder), f"plain {turn}"))
    ratio = statistics.median(ours) / statistics.median(plain)
    return [
        row(
            f"Rekor v1: verified submissions, {IN_FLIGHT} in flight",
            f"{statistics.median(ours):.0f}/s",
            f"wrk: {statistics.median(plain):.0f}/s, ratio {ratio:.2f}",
            "0.9 of wrk",
        )
    ]


def _size(server):
    return stack.log_info(server.url)["treeSize"]


def _plain(wrk, server, folder, name):
    """Entries a second that wrk gets into the log, by how much the log grew meanwhile."""
    bodies, script = folder / "bodies", folder / "post.lua"
    requests = (propose("dsse", signed_payload(f"{name} {number}")) for number in range(PREPARED))
    bodies.write_bytes(b"\n".join(requests))
    script.write_text(_LUA)
    command = [wrk, "--threads=2", f"--connections={IN_FLIGHT}", f"--duration={SECONDS}s", "--timeout=60s"]
    command += [f"--script={script}", server.url + ENTRIES, "--", str(bodies)]
    first = _size(server)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        time.sleep(SETTLED)
        before, start = _size(server), time.perf_counter()
        time.sleep(SECONDS - 2 * SETTLED)
        after, end = _size(server), time.perf_counter()
        process.wait()
    if _size(server) - first >= PREPARED:
        raise SystemExit("wrk ran out of bodies: prepare more")
    return (after - before) / (end - start)


async def _ours(server, name, seconds):
    """Receipts a second: each is an entry that is proven."""
    prepared = iter([signed_payload(f"{name} {number}") for number in range(PREPARED)])
    log = RekorV1(server.shard(), server.keys, in_flight=IN_FLIGHT)
    start, receipts = time.perf_counter(), []

    async def caller():
        while time.perf_counter() < start + seconds:
            await log.submit(next(prepared))
            receipts.append(time.perf_counter() - start)

    try:
        await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
    finally:
        await log.close()
    return sum(SETTLED <= at < SECONDS - SETTLED for at in receipts) / (SECONDS - 2 * SETTLED)
