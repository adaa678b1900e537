"""What a ledger takes on the disk, by part: GROWTH_ENTRIES events (50,000), scaled to a million."""

import os

from ledger.embedded.digests import mirror_digests
from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from tests.bench.measure import row, scratch
from tests.bench.recording import BATCH
from tests.bench.workload import facts

ENTRIES = int(os.environ.get("GROWTH_ENTRIES", "50000"))
PARTS = {
    "log": ("log",),
    "ledger.db, heads and event ids": ("ledger.db", "ledger.db-wal"),
    "index.db": ("index.db", "index.db-wal"),
    "digests.db": ("digests.db", "digests.db-wal"),
}


def growth():
    """Record, publish and mirror as the service does, then look at the disk."""
    with scratch() as folder:
        ledger_folder = folder / "ledger"
        init(ledger_folder, origin="log.example/models", hub="hub.example")
        before = {part: _blocks(ledger_folder, names) for part, names in PARTS.items()}
        with open_for_recording(ledger_folder) as ledger:
            for number in range(ENTRIES // BATCH):
                ledger.recorder.record_batch(
                    [facts(at) for at in range(number * BATCH, (number + 1) * BATCH)]
                )
                ledger.publish()
                mirror_digests(ledger)
        grown = {part: _blocks(ledger_folder, names) - before[part] for part, names in PARTS.items()}
    rows = [
        row(f"disk, {part}", f"{size / ENTRIES:,.0f} bytes an event", _million(size), "")
        for part, size in grown.items()
    ]
    whole = sum(grown.values())
    return [
        *rows,
        row("disk, all but evidence", f"{whole / ENTRIES:,.0f} bytes an event", _million(whole), ""),
    ]


def _million(size):
    return f"{size / ENTRIES * 1e6 / 2**30:.1f} GiB a million"


def _blocks(folder, names):
    """Bytes that are allocated, as `du` counts."""
    size = 0
    for name in names:
        path = folder / name
        paths = path.rglob("*") if path.is_dir() else (path,)
        size += sum(each.stat().st_blocks * 512 for each in paths if each.is_file())
    return size
