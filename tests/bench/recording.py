"""Recording verified facts, in process: batches of 1,000, chained, signed, durable, indexed."""

import hashlib
import shutil
import statistics
import time

import orjson

from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from ledger.entry import pae
from ledger.recorder.signing import _ALGORITHM
from tests.bench.measure import ENTRIES, FOLDER, row
from tests.bench.workload import facts

BATCH = 1000
PUBLISH_EVERY = 20
LEDGER = FOLDER / f"ledger-{ENTRIES}"
"""Kept for the other benchmarks; made again by ``record``."""
EARLY = slice(10, 30)
"""Batches around 10,000 entries; the median of a batch, and indexing, which goes with each publication."""
LATE = slice(-140, None)
"""The last 140,000 events: two times that what is recent is folded, both in the commit store and in the index."""


def _bare(key, statements):
    """Sign, digest and encode the same statements, and nothing else. orjson is the fastest canonical encoder here."""
    values = [orjson.loads(each) for each in statements]
    start = time.perf_counter()
    for value in values:
        data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        hashlib.sha256(data).digest()
        key.sign(pae(data), _ALGORITHM)
    return time.perf_counter() - start


def record():
    """Fill a ledger, and compare early and late batches with the bare work on the same statements."""
    shutil.rmtree(LEDGER, ignore_errors=True)
    LEDGER.parent.mkdir(exist_ok=True)
    init(LEDGER, origin="log.example/models", hub="hub.example")
    ours, bare, publishing = [], [], []
    with open_for_recording(LEDGER) as ledger:
        key = ledger.recorder._signing.signer.key
        for number in range(ENTRIES // BATCH):
            batch = [facts(at) for at in range(number * BATCH, (number + 1) * BATCH)]
            start = time.perf_counter()
            receipts = ledger.recorder.record_batch(batch)
            ours.append(time.perf_counter() - start)
            bare.append(_bare(key, [each.statement for each in receipts]))
            if number % PUBLISH_EVERY == PUBLISH_EVERY - 1:
                start = time.perf_counter()
                ledger.log.publish()
                published = time.perf_counter()
                ledger.recorder.flush_index()
                publishing.append(published - start)
                ours[-1] += time.perf_counter() - published
    first, last = statistics.mean(ours[EARLY]), statistics.mean(ours[LATE])
    rows = []
    for name, window, figure in (("10,000", EARLY, first), (f"{ENTRIES:,}", LATE, last)):
        plain = statistics.mean(bare[window])
        rows.append(
            row(
                f"recording at {name} entries: bare work / recording",
                f"{plain / figure:.2f} ({BATCH / figure:,.0f} events/s)",
                f"P-256 + SHA-256 + orjson, {plain / BATCH * 1e6:.1f} µs an event",
                "≥ 0.4",
            )
        )
    each = statistics.mean(publishing) / PUBLISH_EVERY / BATCH
    return [
        *rows,
        row(f"recording: cost at {ENTRIES:,} / at 10,000", f"{last / first:.2f}", "itself", "≤ 1.2"),
        row("publishing, beside it", f"{each * 1e6:.1f} µs an event", "", ""),
    ]
