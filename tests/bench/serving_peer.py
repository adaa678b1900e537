"""The service beside Rekor v2, the peer that its rates are held against: the same machine, the same minutes, in turns.

A rate says what other work left of the processor; what an event takes of it says less about the others.
"""

import os
import shutil
import sys

from ledger.server.tokens import TokenFile
from tests.bench.measure import row, scratch, tool
from tests.bench.rekor_v2 import _by_wrk
from tests.bench.serving import AT, BODIES, EVENTS, SECONDS, _processor, _wrk, as_json, build, run_service
from tests.fakes.rekor import signed_payload
from tests.system.rekor import rekor_v2 as run_server

ENTRIES = int(os.environ.get("PEER_ENTRIES", "20000"))
OF_THE_PEER = 8000
"""Of Rekor v2, whose server answers each when it is in a checkpoint."""
ROUNDS = 3
THEIRS = (256, 1024, 4000)
OURS = (("durable", 64), ("durable", 256), ("durable", 1024), ("included", 1024), ("included", 4000))


def _rekor(connections, number):
    """Entries a second of Rekor v2 with checkpoints each 100 ms, and the µs of processor that each takes."""
    many = [signed_payload(f"{number} {connections} {at}") for at in range(OF_THE_PEER)]
    with scratch() as folder, run_server(folder / "rekor", interval="100ms") as server:
        before = _processor(server.process)
        seconds = _by_wrk(server, folder, many, in_flight=connections)
        return OF_THE_PEER / seconds, (_processor(server.process) - before) / OF_THE_PEER * 1e6


def _service(folder, number, wait, connections):
    """The same of the service, on a copy of the ledger."""
    ledger = folder / f"{wait}-{connections}-{number}"
    shutil.copytree(folder / "ledger", ledger)
    load = {
        "BODIES": str(folder / "bodies"),
        "TOKEN": TokenFile(ledger).create(scopes=("record",), label="", now=AT),
    }
    try:
        with run_service(ledger) as (url, process):
            before = _processor(process)
            address = f"{url}/v1/events?wait={wait}&evidence=later"
            rate, _, _, failed = _wrk(folder, address, EVENTS, connections, **load)
            if failed:
                raise SystemExit(f"{failed} requests were refused")
            return rate, (_processor(process) - before) / (rate * SECONDS) * 1e6
    finally:
        shutil.rmtree(ledger)


def serving_peer():
    """Rates and processor time of both, each at the connections that suit it; best and each round."""
    if tool("rekor-v2") is None:
        return []
    if shutil.which("wrk") is None:
        print("wrk is not installed (.ci/peers installs it): this is left out", file=sys.stderr)
        return []
    theirs = {each: [] for each in THEIRS}
    ours = {each: [] for each in OURS}
    with scratch() as folder:
        build(folder / "ledger", ENTRIES)
        (folder / "bodies").write_text(
            "".join(as_json(number) + "\n" for number in range(ENTRIES, ENTRIES + BODIES))
        )
        for number in range(ROUNDS):
            for connections, found in theirs.items():
                found.append(_rekor(connections, number))
            for (wait, connections), found in ours.items():
                found.append(_service(folder, number, wait, connections))
    best = max(rate for found in theirs.values() for rate, _ in found)
    rows = [
        row(f"Rekor v2, checkpoints each 100 ms, {connections:,} connections", _shown(found), "", "")
        for connections, found in theirs.items()
    ]
    for (wait, connections), found in ours.items():
        against = best if wait == "durable" else max(rate for rate, _ in theirs[connections])
        rows.append(
            row(
                f"`POST /v1/events`, `{wait}`, {connections:,} connections",
                f"{max(rate for rate, _ in found) / against:.2f} × ({_shown(found)})",
                f"Rekor v2, {'best of all' if wait == 'durable' else 'best at the same'}, {against:,.0f}/s",
                "≥ 3 ×",
            )
        )
    return rows


def _shown(found):
    return ", ".join(f"{rate:,.0f}/s {used:.0f} µs" for rate, used in found)
