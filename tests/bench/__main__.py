"""``make bench``: measures the figures of docs/benchmarks.md. ``NAMES`` chooses some of them."""

import sys

from tests.bench.alarms import alarms
from tests.bench.append import append, remote
from tests.bench.auditing import chains, hashing, proofs, rebuild
from tests.bench.bundles import verify_bundle
from tests.bench.client import client
from tests.bench.cold import cold
from tests.bench.files import files
from tests.bench.growth import growth
from tests.bench.measure import show
from tests.bench.monitoring import monitoring
from tests.bench.outbox import outbox
from tests.bench.publishing import publishing
from tests.bench.recording import record
from tests.bench.rekor_v1 import rekor_v1
from tests.bench.rekor_v2 import rekor_v2
from tests.bench.serving import serving
from tests.bench.serving_peer import serving_peer
from tests.bench.signatures import bundles
from tests.bench.soak import soak

BENCHMARKS = {
    each.__name__.replace("_", "-"): each
    for each in (
        *(cold, client, record, proofs, rebuild, chains, hashing, append, remote, files, bundles),
        *(verify_bundle, rekor_v1, rekor_v2, outbox, serving, serving_peer, monitoring, alarms, publishing),
        *(growth, soak),
    )
}
BY_HAND = ("soak",)
"""Those that take so long that they are only run when they are named."""


def main(names):
    unknown = set(names) - BENCHMARKS.keys()
    if unknown:
        raise SystemExit(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    chosen = names or [name for name in BENCHMARKS if name not in BY_HAND]
    show([line for name in chosen for line in BENCHMARKS[name]()])


if __name__ == "__main__":
    main(sys.argv[1:])
