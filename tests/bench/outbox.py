"""The outbox of a ledger in Rekor with many pending events: what it takes of memory, and how fast it drains by itself."""

import hashlib
import pathlib
import time

from ledger.bundle.log_entry import ProvenEntry
from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from ledger.embedded.remote import RekorSource
from ledger.log.dispatch import DispatchConfig, Dispatcher
from ledger.log.remote import LogReceipt
from ledger.tlog.checkpoint import Checkpoint
from tests.bench.measure import python, row, scratch
from tests.bench.workload import facts
from tests.fakes.remote_log import FakeShard
from tests.system.rekor import TrustedLog, write_trust

PENDING = 100_000
BATCH = 1000
STUCK = 30
"""Seconds without an entry that is logged, after which the figure would be of a fault."""
_TREE = Checkpoint(origin="shard0.example", size=1 << 20, root_hash=bytes(32))


class Acceptor:
    """Takes everything at once and answers with a receipt of the usual size: what is measured is not the log."""

    def __init__(self, shard):
        self.shard = shard
        self.taken = 0

    async def submit(self, signed, *, again=False):
        assert not again, "nothing was tried before"
        proven = ProvenEntry(
            log_id=self.shard.log_id,
            tree=_TREE,
            note=b"",
            leaf_index=self.taken,
            index=self.taken,
            kind=("hashedrekord", "0.0.2"),
            body=signed.digest,
            integrated_time=None,
        )
        self.taken += 1
        return LogReceipt(
            shard=self.shard, log_entry=hashlib.sha256(signed.digest).digest() * 80, proven=proven
        )

    async def close(self):
        pass


def make(folder):
    """A ledger in a Rekor that nobody runs."""
    shard = FakeShard()
    log = TrustedLog(
        base_url=f"http://{shard.origin}",
        spki=shard.shard.spki,
        log_id=shard.log_id,
        write_url="http://127.0.0.1:9",
    )
    root, signing = write_trust(folder, [log])
    source = RekorSource(kind="rekor-v2", trusted_root=root, signing_config=signing)
    init(folder / "ledger", origin="log.example/models", hub="hub.example", rekor=source)
    return folder / "ledger"


def fill(folder):
    """Accept events; nothing is submitted. Prints the rate."""
    start = time.perf_counter()
    with open_for_recording(pathlib.Path(folder)) as ledger:
        for first in range(0, PENDING, BATCH):
            ledger.recorder.record_batch([facts(at) for at in range(first, first + BATCH)])
    print(PENDING / (time.perf_counter() - start))


def drain(folder):
    """Submit everything that is pending. Prints the rate."""
    with open_for_recording(pathlib.Path(folder)) as ledger:
        config = DispatchConfig(
            kind="rekor-v2", shards=ledger.instance.shards, connect=Acceptor, in_flight=64
        )
        start = time.perf_counter()
        with Dispatcher(ledger.log, config):
            while pending := ledger.log.counts().pending:
                ledger.log.wait_settled(timeout=STUCK)
                if ledger.log.counts().pending == pending:
                    raise SystemExit(f"nothing was logged for {STUCK} s: see the warnings above")
        print(PENDING / (time.perf_counter() - start))


def outbox():
    """Fill an outbox and drain it, each in a process of its own."""
    with scratch() as folder:
        ledger = make(folder)
        _, idle = python("import ledger.embedded.remote, ledger.embedded.directory")
        seconds, filling = python(
            "import sys; from tests.bench.outbox import fill; fill(sys.argv[1])", ledger
        )
        drained, draining = python(
            "import sys; from tests.bench.outbox import drain; drain(sys.argv[1])", ledger
        )
        size = sum(path.stat().st_size for path in ledger.glob("outbox.db*")) / PENDING
    return [
        row(
            f"outbox: {PENDING:,} accepted",
            f"{PENDING / seconds:,.0f}/s, peak {filling:.0f} MB",
            f"{idle:.0f} MB idle",
            "≤ 100 MB",
        ),
        row(
            f"outbox: {PENDING:,} pending drained",
            f"{PENDING / drained:,.0f}/s, peak {draining:.0f} MB",
            f"{size:,.0f} bytes an event",
            "≤ 100 MB, ≥ what Rekor takes (1,000/s)",
        ),
    ]
