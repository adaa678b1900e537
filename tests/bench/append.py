"""The raw append path behind ``POST /add`` against Tessera's POSIX server, under Tessera's own load generator."""

import statistics
import subprocess
import sys
import threading
import time

from tests.bench.measure import AUDIT_FOREIGN, python, row, scratch, tool
from tests.ledger.log import test_local as local
from tests.system import peers

LEAVES = 100_000
WRITERS = 1024
ROUNDS = 3


def _hammer(url, vkey):
    """Write ``LEAVES`` of about 800 bytes; returns entries a second. hammer checks every inclusion it is told.

    The rate is that of the log's own growth between two checkpoints, near the beginning and near the end: hammer ends on a
    whole second, and both servers publish once a second.
    """
    grown, over = [], threading.Event()
    watcher = threading.Thread(target=_watch, args=(url, grown, over))
    watcher.start()
    try:
        subprocess.run(
            [
                tool("hammer"),
                f"--log_public_key={vkey}",
                f"--log_url={url}/",
                f"--num_writers={WRITERS}",
                "--max_write_ops=100000",
                "--leaf_min_size=760",
                f"--leaf_write_goal={LEAVES}",
                "--max_runtime=120s",
                "--show_ui=false",
                "--dup_chance=0",
            ],
            check=True,
            capture_output=True,
        )
    finally:
        over.set()
        watcher.join()
    within = [(at, size) for at, size in grown if LEAVES / 20 <= size <= LEAVES]
    (began, first), (ended, last) = within[0], within[-1]
    return (last - first) / (ended - began)


def _watch(url, grown, over):
    """Note when the log's checkpoint shows another size, to a fiftieth of a second."""
    shown = 0
    while not over.wait(0.02):
        size = int((peers.get(f"{url}/checkpoint") or b"\n0").split(b"\n")[1])
        if size != shown:
            shown = size
            grown.append((time.perf_counter(), size))


def _ours():
    with scratch() as folder:
        port = peers.free_port()
        command = [sys.executable, "-m", "tests.bench.add_server", str(folder), str(port)]
        server = subprocess.Popen(command)
        url = f"http://127.0.0.1:{port}"
        try:
            peers.wait_until(lambda: peers.get(f"{url}/checkpoint") is not None, running=server)
            rate = _hammer(url, local.KEY.verifier.format())
            peers.wait_until(lambda: int(peers.get(f"{url}/checkpoint").split(b"\n")[1]) >= LEAVES)
            found = peers.fsck(url, local.KEY.verifier.format(), folder)
        finally:
            server.terminate()
            server.wait(timeout=30)
        if found is None or found[0] < LEAVES:
            raise SystemExit(f"fsck did not pass on our log: {found}")
        return rate


def _theirs():
    with scratch() as folder:
        key = local.Ed25519NoteSigner("tessera.example/log", local.ed25519.Ed25519PrivateKey.generate())
        with peers.tessera(folder / "log", key.format_private()) as url:
            return _hammer(url, key.verifier.format())


def remote():
    """Our audit and fsck of one log over HTTP, from Tessera's own server, in turns; the middle of three each."""
    if not all(tool(name) for name in ("hammer", "fsck", "tessera-posix")):
        return []
    with scratch() as folder:
        key = local.Ed25519NoteSigner("tessera.example/log", local.ed25519.Ed25519PrivateKey.generate())
        vkey = key.verifier.format()
        with peers.tessera(folder / "log", key.format_private()) as url:
            _hammer(url, vkey)
            peers.wait_until(lambda: int(peers.get(f"{url}/checkpoint").split(b"\n")[1]) >= LEAVES)
            ours, theirs = [], []
            for _ in range(ROUNDS):
                ours.append(python(AUDIT_FOREIGN, url, vkey)[0])
                start = time.perf_counter()
                found = peers.fsck(url, vkey, folder)
                theirs.append(time.perf_counter() - start)
                if found is None:
                    raise SystemExit("fsck did not pass on Tessera's log")
    mine, peer = statistics.median(ours), statistics.median(theirs)
    return [
        row(
            f"audit over HTTP of {found[0]:,} hashes, tiles and root / fsck",
            f"{peer / mine:.2f} ({found[0] / mine:,.0f} entries/s)",
            f"fsck, {found[0] / peer:,.0f} entries/s; Tessera's server beside both",
            "≥ 1.5",
        )
    ]


def append():
    """Both in turns; the middle of three."""
    if not all(tool(name) for name in ("hammer", "fsck", "tessera-posix")):
        return []
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(_ours())
        theirs.append(_theirs())
    mine, peer = statistics.median(ours), statistics.median(theirs)
    return [
        row(
            f"`POST /add` of {LEAVES:,} entries of 800 bytes, {WRITERS} writers / Tessera POSIX",
            f"{mine / peer:.2f} ({mine:,.0f} entries/s)",
            f"hammer on both, Tessera {peer:,.0f} entries/s",
            "≥ 1, better 1.5; hammer and fsck pass",
        )
    ]
