"""Proofs that are kept for when the hub is away: a newer one takes the place of an older one, and none of a smaller log."""

import pytest

from ledger.client.proof_bundle import ProofBundle
from ledger.client.proof_source import ProofCache, Wanted
from ledger.client.result import LocalFiles
from tests.ledger.client.test_named import NAME, events, trusted
from tests.world import NOW, World, digest

MODEL = Wanted(name=NAME)
OLD = Wanted(name=NAME, revision="r1")
CONTENT = Wanted(
    name=NAME, files=LocalFiles(manifest_sha256=digest("manifest old"), content_sha256=digest("content old"))
)


def bundles():
    """What the hub showed of r1 when that was all, and of r2 later."""
    world = World().grow(3)
    first, second = events(("r1", "alice", "observed", "old"), ("r2", "alice", "observed", "new"))
    world.record(first)
    proofs = [world.proof(3)]
    world.record(second)
    proofs.append(world.proof(4))
    return trusted(world), *(
        ProofBundle(name=NAME, proof=proof, claims=(), fetched_at=NOW) for proof in proofs
    )


@pytest.mark.parametrize("wanted", [MODEL, OLD, CONTENT], ids=["model", "revision", "content"])
def test_a_replayed_proof_of_an_old_revision_takes_nothing_newer_away(tmp_path, wanted):
    stored, before, now = bundles()
    cache = ProofCache(tmp_path)
    cache.put(MODEL, stored, now)
    cache.put(wanted, stored, before)
    assert cache.get(MODEL, stored) == now
    assert cache.get(wanted, stored) == (now if wanted == MODEL else before)
    cache.put(wanted, stored, now)
    assert cache.get(wanted, stored) == now


def test_a_damaged_proof_gives_way(tmp_path):
    stored, before, _ = bundles()
    cache = ProofCache(tmp_path)
    cache.put(MODEL, stored, before)
    (path,) = (tmp_path / "proofs").glob("*.json")
    path.write_bytes(b"{")
    cache.put(MODEL, stored, before)
    assert cache.get(MODEL, stored) == before
