"""Auditing, rebuilding and proving over a large ledger; hashing against Tessera's fsck."""

import multiprocessing
import random
import time
from itertools import islice

from ledger.client.trusted_keys import load_hub_key
from ledger.embedded.directory import open_for_reading
from ledger.entry import keyid_of, parse_entry, verify_entry
from ledger.event import format_statement, parse_statement
from ledger.index import Index, Rows
from ledger.log import Submission
from ledger.log.local import LocalLog
from ledger.log.local_config import LocalLogConfig
from ledger.storage.directory import DirectoryObjects
from ledger.storage.sqlite import SqliteCommits
from ledger.tlog.merkle import leaf_hash, verify_inclusion
from tests.bench import recording
from tests.bench.measure import AUDIT_FOREIGN, ENTRIES, process, python, row, scratch, tool
from tests.ledger.log import test_local as local

SAMPLE = 20_000
CORES = 2
RUN = 10_000
"""Leaves that are inserted in one transaction, as a ledger at work does with each publication."""

_AUDIT = (
    "import sys, pathlib; from ledger.embedded.auditing import audit_ledger; "
    "audit_ledger(pathlib.Path(sys.argv[1]), workers=None, progress=lambda a, b: None)"
)
_REBUILD = (
    "import sys, pathlib; from ledger.embedded.indexing import rebuild_index; "
    "rebuild_index(pathlib.Path(sys.argv[1]), progress=lambda a, b: None)"
)


def _ledger():
    if not (recording.LEDGER / "log" / "checkpoint").exists():
        recording.record()
    return recording.LEDGER


def hashing():
    """Our audit and fsck on one log of 800-byte entries, in turns."""
    with scratch() as folder:
        local.create(folder)
        commits = SqliteCommits(folder / "ledger.db")
        config = LocalLogConfig(origin=local.ORIGIN, keys=[local.KEY.verifier], sign=local.sign)
        log = LocalLog(
            commits, DirectoryObjects(folder / "log"), config, clock=lambda: 0.0, pause=lambda _s: None
        )
        source = random.Random(1)
        for start in range(0, ENTRIES, 8000):
            log.append([Submission(entry=source.randbytes(800)) for _ in range(min(8000, ENTRIES - start))])
            log.publish()
        commits.close()
        public = folder / "log.pub"
        public.write_text(local.KEY.verifier.format())
        fsck = tool("fsck")
        ours, theirs, memory = [], [], 0.0
        for _ in range(3):
            seconds, peak = python(AUDIT_FOREIGN, folder / "log", local.KEY.verifier.format())
            ours.append(seconds)
            memory = max(memory, peak)
            if fsck:
                command = [
                    fsck,
                    f"--storage_url=file://{folder / 'log'}/",
                    f"--public_key={public}",
                    "--ui=false",
                ]
                theirs.append(process(command)[0])
    mine = sorted(ours)[1]
    rate = f"{ENTRIES / mine:,.0f} entries/s, {memory:.0f} MB"
    if not theirs:
        return [row("audit: hashes, tiles, root", rate, "fsck is not installed", "≥ 1.5 times fsck")]
    peer = sorted(theirs)[1]
    return [
        row(
            f"audit of {ENTRIES:,} hashes, tiles and root / fsck",
            f"{peer / mine:.2f} ({rate})",
            f"fsck, {ENTRIES / peer:,.0f} entries/s",
            "≥ 1.5, < 200 MB",
        )
    ]


def _bare(spki, entries):
    """Verify, parse and encode again, and nothing else; returns the seconds."""
    keys = {keyid_of(spki): load_hub_key(spki)}
    start = time.perf_counter()
    for data in entries:
        entry = parse_entry(data)
        verify_entry(entry, keys)
        format_statement(parse_statement(entry.payload))
    return time.perf_counter() - start


def chains():
    """The whole audit against bare signature verification, parsing and encoding, on the same two cores."""
    directory = _ledger()
    ledger = open_for_reading(directory)
    size = ledger.log.checkpoint().checkpoint.size
    entries = list(ledger.log.read(1, min(size, 1 + SAMPLE), size=size))
    half = len(entries) // CORES
    spki = ledger.trust.hub_keys[-1].spki
    with multiprocessing.Pool(CORES) as pool:
        runs = [(spki, entries[at * half : (at + 1) * half]) for at in range(CORES)]
        bare = sorted(max(pool.starmap(_bare, runs, chunksize=1)) / (half * CORES) for _ in range(3))[1]
    seconds, memory = python(_AUDIT, directory)
    return [
        row(
            f"audit of {size:,} with signatures, chains, store and index: bare / audit",
            f"{bare * size / seconds:.2f} ({size / seconds:,.0f} entries/s, {memory:.0f} MB a process)",
            f"verify + parse + encode on {CORES} cores, {bare * 1e6:.1f} µs an entry",
            "≥ 0.5, < 200 MB",
        )
    ]


def rebuild():
    """Rebuilding the index against inserting the same rows, made before, into an index of the same kind."""
    directory = _ledger()
    ledger = open_for_reading(directory)
    size = ledger.log.checkpoint().checkpoint.size
    entries = ledger.log.read(0, size, size=size)
    bare = 0.0
    with scratch() as folder:
        index = Index(folder / "bare.db")
        for start in range(0, size, RUN):
            rows = Rows(start)
            for entry in islice(entries, RUN):
                rows.add_audited(entry)
            begin = time.perf_counter()
            index.add(rows)
            bare += time.perf_counter() - begin
        index.close()
    seconds, memory = python(_REBUILD, directory)
    return [
        row(
            f"index rebuild of {size:,}: bare insertion / rebuild",
            f"{bare / seconds:.2f} ({size / seconds:,.0f} entries/s, {memory:.0f} MB)",
            f"the same rows from memory, {RUN:,} at a time, {bare / size * 1e6:.1f} µs an entry",
            "≥ 0.5, < 200 MB",
        )
    ]


def proofs():
    """Making and verifying inclusion proofs at random places."""
    ledger = open_for_reading(_ledger())
    tree = ledger.log.checkpoint().checkpoint
    places = random.Random(2).sample(range(tree.size), min(500, tree.size))
    making, checking = [], []
    for at in places:
        (entry,) = ledger.log.read(at, at + 1, size=tree.size)
        start = time.perf_counter()
        path = ledger.log.prove_inclusion(at, tree.size)
        making.append(time.perf_counter() - start)
        start = time.perf_counter()
        verify_inclusion(leaf_hash(entry), index=at, size=tree.size, proof=path, root=tree.root_hash)
        checking.append(time.perf_counter() - start)
    making.sort()
    checking.sort()
    middle, most = len(places) // 2, len(places) * 99 // 100
    return [
        row(
            f"inclusion proof in {tree.size:,}",
            f"{making[middle] * 1e3:.2f} ms (99 %: {making[most] * 1e3:.2f})",
            "",
            "< 2 ms",
        ),
        row(
            "verifying it",
            f"{checking[middle] * 1e6:.0f} µs (99 %: {checking[most] * 1e6:.0f})",
            "",
            "< 150 µs",
        ),
    ]
