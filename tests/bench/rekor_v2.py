"""Our client of Rekor v2 against the same server under wrk, which sends the same requests and looks at nothing."""

import asyncio
import gc
import json
import re
import shutil
import statistics
import subprocess
import sys
import time

from ledger.bundle.log_entry import LogKeys, parse_log_entry, prove_log_entry
from ledger.config import RekorConfig
from ledger.log.hashedrekord import format_request
from ledger.log.rekor_v2 import RekorV2
from ledger.log.trusted_root import load_instance
from tests.bench.measure import row, scratch, tool
from tests.fakes.rekor import signed_payload
from tests.system.rekor import rekor_v2 as run_server
from tests.system.rekor import write_trust

EVENTS = 1000
SUSTAINED = 10_000
IN_FLIGHT = 1024
ROUNDS = 3

# Sends every line of a file once, and says how long it took until the last one was answered.
_SCRIPT = """
local ffi = require("ffi")
ffi.cdef("typedef struct { long s; long n; } stamp; int clock_gettime(int, stamp *);")
local function now()
  local t = ffi.new("stamp")
  ffi.C.clock_gettime(1, t)
  return tonumber(t.s) + tonumber(t.n) / 1e9
end
local bodies, sent, answered, refused, start, tried = {}, 0, 0, 0, nil, false
function init(arguments)
  for line in io.lines(arguments[1]) do bodies[#bodies + 1] = line end
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
end
function delay()
  if sent >= #bodies then return 1e9 end
  return 0
end
function request()
  if not tried then -- wrk asks once to see what it gets, and sends nothing
    tried = true
    return wrk.format(nil, "/", nil, "")
  end
  start = start or now()
  sent = sent + 1
  if sent > #bodies then -- a few connections were let through at once
    return wrk.format("GET", "/healthz", {}, "")
  end
  return wrk.format(nil, "/api/v2/log/entries", nil, bodies[sent])
end
function response(status)
  if status == 200 then return end
  answered = answered + 1
  if status ~= 201 then refused = refused + 1 end
  if answered == #bodies then
    print(string.format("answered %d refused %d in %.3f", answered, refused, now() - start))
    io.stdout:flush()
  end
end
"""


def _by_wrk(server, folder, many, *, in_flight):
    """Return the seconds until wrk has an answer to every request."""
    (folder / "load.lua").write_text(_SCRIPT)
    (folder / "bodies").write_bytes(b"".join(format_request(each) + b"\n" for each in many))
    command = ["wrk", "-t1", f"-c{in_flight}", "-d600s", "--timeout", "60s", "-s", str(folder / "load.lua")]
    wrk = subprocess.Popen(
        [*command, server.url, "--", str(folder / "bodies")], stdout=subprocess.PIPE, text=True
    )
    try:
        for line in wrk.stdout:
            if found := re.search(r"answered (\d+) refused (\d+) in ([0-9.]+)", line):
                if (found[1], found[2]) != (str(len(many)), "0"):
                    raise SystemExit(f"wrk's requests were not all taken: {line}")
                return float(found[3])
        raise SystemExit("wrk ended before its requests were answered")
    finally:
        wrk.kill()
        wrk.wait()


def _by_us(server, folder, many, *, in_flight):
    """Return the seconds until every receipt is verified, the processor time of each in µs, and the receipts."""
    root, config = write_trust(folder, [server.trusted])
    settings = RekorConfig(trusted_root=root.name, signing_config=config.name, read_url=server.read_url)
    instance = load_instance(settings, folder)

    async def submit():
        log = RekorV2(instance.shards[-1], instance.keys, in_flight=in_flight)
        waiting, receipts = iter(many), []

        async def drain():
            for signed in waiting:
                receipts.append(await log.submit(signed))

        start, used = time.perf_counter(), time.process_time()
        await asyncio.gather(*(drain() for _ in range(in_flight)))
        seconds, used = time.perf_counter() - start, time.process_time() - used
        await log.close()
        return seconds, used / len(many) * 1e6, receipts

    gc.collect()
    seconds, used, receipts = asyncio.run(submit())
    if len({each.position for each in receipts}) != len(many):
        raise SystemExit("not every event has a place of its own")
    return seconds, used, receipts


def _in_turns(count, *, interval, in_flight):
    """Measure both on new servers, in turns; return the medians of their seconds, our µs, and some receipts."""
    theirs, ours, used = [], [], []
    for number in range(ROUNDS):
        many = [signed_payload(f"{interval} {number} {at}") for at in range(count)]
        with scratch() as folder, run_server(folder / "rekor", interval=interval) as server:
            theirs.append(_by_wrk(server, folder, many, in_flight=in_flight))
        with scratch() as folder, run_server(folder / "rekor", interval=interval) as server:
            seconds, each, receipts = _by_us(server, folder, many, in_flight=in_flight)
            ours.append(seconds)
            used.append(each)
    return statistics.median(theirs), statistics.median(ours), statistics.median(used), receipts


def _offline(receipts):
    """Return the median µs of proving a stored entry again, without the signature of the checkpoint, which many share."""
    keys = LogKeys({})
    keys.signed = lambda log_id, signature, data: True
    taken = []
    for each in receipts[:EVENTS]:
        start = time.perf_counter()
        prove_log_entry(parse_log_entry(json.loads(each.log_entry)), keys)
        taken.append((time.perf_counter() - start) * 1e6)
    return statistics.median(taken)


def rekor_v2():
    """1,000 events at once with checkpoints each second, and many more with 1,024 in flight and ten a second."""
    if tool("rekor-v2") is None:
        return []
    if shutil.which("wrk") is None:
        print("wrk is not installed (.ci/peers installs it): Rekor v2 is left out", file=sys.stderr)
        return []
    theirs, ours, _, _ = _in_turns(EVENTS, interval="1s", in_flight=EVENTS)
    allowed = 3 + 1.3 * theirs
    many_theirs, many_ours, used, receipts = _in_turns(SUSTAINED, interval="100ms", in_flight=IN_FLIGHT)
    return [
        row(
            f"{EVENTS:,} events into Rekor v2, all verified, checkpoints each second, median of {ROUNDS}",
            f"{ours:.2f} s",
            f"wrk, the same requests: {theirs:.2f} s",
            f"≤ 3 s + 1.3 × wrk = {allowed:.2f} s",
        ),
        row(
            f"{SUSTAINED:,} events, {IN_FLIGHT:,} in flight, checkpoints each 100 ms: ours / wrk",
            f"{many_theirs / many_ours:.2f} ({SUSTAINED / many_ours:,.0f}/s, {used:.0f} µs of processor each)",
            f"wrk, {SUSTAINED / many_theirs:,.0f}/s",
            "≥ 0.9",
        ),
        row(
            "proving a stored entry of Rekor v2, without signatures",
            f"{_offline(receipts):.0f} µs",
            "",
            "≤ 1 ms",
        ),
    ]
