"""Hashing a revision: many small files, a few large ones, and how much memory a large model or tree takes."""

import hashlib
import os
import pathlib
import statistics
import subprocess
import sys
import time

from ledger.verification.reading import read_revision
from tests.bench.measure import FOLDER, python, row, scratch

SMALL = 100_000
LARGE, LARGE_BYTES = 4, 512 << 20
SPARSE_BYTES = 5_000_000_000
TREE = int(os.environ.get("HUBLEDGER_BENCH_FILES", "1000000"))
ROUNDS = 5

_HASH = (
    "import sys, pathlib; from ledger.verification.reading import read_revision; "
    "read_revision(pathlib.Path(sys.argv[1]))"
)


def files():
    """All of them; the files are made below `.bench` first."""
    return [_large(), _small(), *_memory()]


def _large():
    """Against openssl, one process a core, in turns on the same bytes, which are in the page cache."""
    cores = os.cpu_count() or 1
    with scratch() as folder:
        names = [folder / f"weights-{number}" for number in range(LARGE)]
        for name in names:
            _fill(name, LARGE_BYTES)
        ours, theirs = [], []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            running = [
                subprocess.Popen(["openssl", "dgst", "-sha256", *names[at::cores]], stdout=subprocess.DEVNULL)
                for at in range(cores)
            ]
            if any(each.wait() for each in running):
                raise SystemExit("openssl failed")
            theirs.append(time.perf_counter() - start)
            start = time.perf_counter()
            read_revision(folder)
            ours.append(time.perf_counter() - start)
    ratio = statistics.median(peer / mine for peer, mine in zip(theirs, ours, strict=True))
    rate = LARGE * LARGE_BYTES / 1e6
    return row(
        f"hashing {LARGE} files of 512 MiB: openssl / ours, middle of {ROUNDS}",
        f"{ratio:.2f} ({rate / statistics.median(ours):,.0f} MB/s)",
        f"openssl dgst -sha256, {cores} processes, {rate / statistics.median(theirs):,.0f} MB/s",
        "≥ 0.8",
    )


def _fill(path, size):
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for number in range(size >> 20):
            file.write(number.to_bytes(8, "big") + block[8:])


def _small():
    """Against a bare loop over names that are known, in turns."""
    with scratch() as folder:
        names = []
        block = os.urandom(8192)
        for number in range(SMALL):
            path = folder / f"{number // 1000:03}" / f"part-{number:06}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(block[: 1000 + number % 7000])
            names.append(os.fspath(path))
        ours, bare = [], []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for name in names:
                with open(name, "rb") as file:  # noqa: PTH123 - as bare as it gets
                    hashlib.sha256(file.read()).digest()
            bare.append(time.perf_counter() - start)
            start = time.perf_counter()
            read_revision(folder)
            ours.append(time.perf_counter() - start)
    ratio = statistics.median(peer / mine for peer, mine in zip(bare, ours, strict=True))
    return row(
        f"hashing {SMALL:,} files of 1 to 8 kB, walk and manifest included: bare loop / ours, middle of {ROUNDS}",
        f"{ratio:.2f} ({SMALL / statistics.median(ours):,.0f} files/s)",
        f"open, read, sha256 in one process, {SMALL / statistics.median(bare):,.0f} files/s",
        "≥ 0.5",
    )


def _memory():
    with scratch() as folder:
        with (folder / "weights").open("wb") as file:
            file.truncate(SPARSE_BYTES)
            file.seek(SPARSE_BYTES // 2)
            file.write(os.urandom(64 << 20))
        seconds, memory = python(_HASH, folder)
        yield row(
            "memory for a model of 5 GB, sparse and random",
            f"{memory:.0f} MB, {seconds:.1f} s",
            "",
            "≤ 150 MB",
        )
    tree = _tree()
    seconds, memory = python(_HASH, tree)
    yield row(f"memory for a tree of {TREE:,} files", f"{memory:.0f} MB, {seconds:.0f} s", "", "bounded")


def _tree():
    """A tree of links to one small file, kept for the next time: a million files would take a million inodes."""
    tree = pathlib.Path(FOLDER) / f"tree-{TREE}"
    if not tree.exists():
        print(f"making {TREE:,} names", file=sys.stderr)
        building = tree.with_name(f"{tree.name}.new")
        first = None
        for number in range(TREE):
            path = building / f"{number // 10_000:04}" / f"part-{number:07}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if number % 10_000 == 0:  # file systems limit the links of one file
                first = path
                path.write_bytes(b"%d" % number)
            else:
                path.hardlink_to(first)
        building.rename(tree)
    return tree
