"""Events of a ledger in Rekor, from Sigstore bundles and from proof files: the same results as in a tile log."""

import json
from dataclasses import replace

import pytest

from ledger.bundle.any_bundle import parse_any_bundle
from ledger.bundle.export import format_rekor_proof
from ledger.client.event_bundle import check_event_bundle
from ledger.client.evidence import KIND, verify_evidence
from ledger.client.result import LocalFiles, LogResult, ModelResult
from ledger.client.trust import parse_trust
from ledger.client.trust_writing import format_trust
from ledger.client.trusted_keys import HubKey
from ledger.client.verify import check_proof
from ledger.encoding import format_canonical_json
from ledger.errors import ConfigError, LedgerError
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.proof import parse_proof, verify_proof
from tests.bundle_mutations import mutations
from tests.sigstore_world import FIRST_INDEX, HUB_SPKI, RekorOne, RekorTwo, event_bundle, log_event, trust_of
from tests.world import (
    NOW,
    World,
    digest,
    key_signer,
    make_event,
    p256_key,
    sign_statement,
    signed_by,
    spki_of,
)

FILES = LocalFiles(manifest_sha256=digest("manifest files"), content_sha256=digest("content files"))
OTHER_FILES = replace(FILES, content_sha256=digest("other"), manifest_sha256=digest("another"))
SIGNED = make_event(signed_by(key_signer("alice")))
LOGS = {"v1": RekorOne, "v2": RekorTwo}


def check(raw, trust, **known):
    known = {"files": FILES} | known
    return check_event_bundle(parse_any_bundle(raw), trust=trust, now=NOW, **known)


@pytest.mark.parametrize("kind", LOGS)
def test_an_event_in_rekor_has_the_results_of_one_in_a_tile_log(kind):
    log = LOGS[kind]()
    result = check(event_bundle(log, SIGNED), trust_of(log))
    assert (result.log, result.model, result.satisfied) == (
        LogResult.INCLUDED_ONLY,
        ModelResult.ACCEPTED,
        True,
    )
    assert result.leaf_index == 1
    assert result.event == SIGNED
    assert result.checkpoint.checkpoint == log.tree()
    other = check(event_bundle(log, SIGNED), trust_of(log), files=OTHER_FILES)
    assert (other.log, other.model) == (LogResult.INCLUDED_ONLY, ModelResult.CONTENT_DIFFERS)


def test_a_proof_file_of_rekor_has_them_too_and_other_tools_verify_it():
    log = RekorTwo()
    entry, log_entry = log_event(log, SIGNED)
    data = format_rekor_proof(entry, spki=HUB_SPKI, log_entry=log_entry)
    trust = trust_of(log)
    result = check_proof(data, trust=trust, now=NOW, files=FILES)
    assert (result.log, result.model, result.leaf_index) == (LogResult.INCLUDED_ONLY, ModelResult.ACCEPTED, 1)
    proof = parse_proof(data)
    counted = verify_proof(proof, leaf_hash(log.entries[1]), policy=trust.policy, origin=log.origin)
    assert counted.verified.checkpoint == log.tree()


def test_a_proof_file_of_rekor_links_to_a_pin_of_its_shard_alone():
    old, log = RekorTwo("old.example"), RekorTwo()
    entry, log_entry = log_event(log, SIGNED)
    data = format_rekor_proof(entry, spki=HUB_SPKI, log_entry=log_entry)

    def pinned(pin):
        result = check_proof(data, trust=trust_of(old, log), now=NOW, files=FILES, pin=pin)
        assert result.satisfied
        return next(each for each in result.checks if each.step == "link to your pin")

    assert pinned(log.checkpoint()).passed
    assert (
        pinned(old.checkpoint()).against == "not linked to your pin, which is of another shard, old.example"
    )


@pytest.mark.parametrize(
    ("first", "end", "first_shard", "end_shard", "counts"),
    [
        (0, None, 0, 0, True),
        (0, None, 1, 0, True),
        (1, None, 1, 0, True),
        (2, None, 1, 0, False),
        (0, 2, 0, 1, True),
        (0, 1, 0, 1, False),
        (0, 0, 0, 1, False),
        (9, None, 0, 0, True),
        (0, None, 2, 0, False),
    ],
)
def test_a_hub_key_counts_at_positions(first, end, first_shard, end_shard, counts):
    old, log = RekorTwo("old.example"), RekorTwo()
    key = HubKey(spki=HUB_SPKI, first=first, end=end, first_shard=first_shard, end_shard=end_shard)
    trust = trust_of(old, log, hub_keys=(key,))
    assert parse_trust(format_trust(trust)) == trust
    result = check(event_bundle(log, SIGNED), trust)
    assert result.model is (ModelResult.ACCEPTED if counts else ModelResult.NOT_ACCEPTED)
    assert result.log is LogResult.INCLUDED_ONLY


def test_the_first_shard_of_a_key_is_that_of_its_first_range():
    """An outbox submits what it signs to none before; a key of which nothing is known may go anywhere."""
    ranges = (
        HubKey(spki=HUB_SPKI, first_shard=2),
        HubKey(spki=HUB_SPKI, first=5, first_shard=1, end=9, end_shard=1),
    )
    trust = trust_of(RekorTwo("old.example"), RekorTwo(), hub_keys=ranges)
    assert (trust.first_shard(ranges[0].keyid), trust.first_shard("0" * 64)) == (1, 0)


@pytest.mark.parametrize(("first", "counts"), [(FIRST_INDEX + 1, True), (FIRST_INDEX + 2, False)])
@pytest.mark.parametrize("listed", ["rekor-one.example - 7", "rekor-one.example"])
def test_positions_in_rekor_v1_are_global_indices(listed, first, counts):
    """Its trees follow each other under one key, and their leaves count from 0 again."""
    log = RekorOne()
    shard = replace(log.shard_of_trust, origin=listed)
    trust = trust_of(
        RekorTwo("old.example"), log, hub_keys=(HubKey(spki=HUB_SPKI, first=first, first_shard=1),)
    )
    result = check(event_bundle(log, SIGNED), replace(trust, shards=(trust.shards[0], shard)))
    assert result.leaf_index == 1
    assert result.model is (ModelResult.ACCEPTED if counts else ModelResult.NOT_ACCEPTED)


def test_a_global_index_that_nothing_promises_is_no_position():
    """Without the promise an entry of Rekor v1 would be wherever somebody says that it is."""
    log = RekorOne()
    bundle = json.loads(event_bundle(log, SIGNED))
    entry = bundle["verificationMaterial"]["tlogEntries"][0]
    del entry["inclusionPromise"]
    entry["logIndex"] = entry["inclusionProof"]["logIndex"]
    result = check(json.dumps(bundle).encode(), trust_of(log))
    assert (result.log, result.failure.step) == (LogResult.INVALID, "inclusion promise")


def test_the_lowest_position_of_several_counts():
    """A key that is retired in the newer shard; the entry is in both, first in the newer one of the list."""
    old, log = RekorTwo("old.example"), RekorTwo()
    bundle = json.loads(event_bundle(log, SIGNED))
    again = json.loads(event_bundle(old, SIGNED))["verificationMaterial"]["tlogEntries"]
    bundle["verificationMaterial"]["tlogEntries"] += again
    trust = trust_of(old, log, hub_keys=(HubKey(spki=HUB_SPKI, end=0, end_shard=1),))
    result = check(json.dumps(bundle).encode(), trust)
    assert (result.model, result.checkpoint.checkpoint.origin) == (ModelResult.ACCEPTED, "old.example")


def test_the_lowest_position_at_which_the_key_counts_is_the_one():
    old, new = RekorTwo("old.example"), RekorTwo("new.example")
    bundle, other = (json.loads(event_bundle(each, SIGNED)) for each in (new, old))
    bundle["verificationMaterial"]["tlogEntries"] += other["verificationMaterial"]["tlogEntries"]
    trust = trust_of(old, new, hub_keys=(HubKey(spki=HUB_SPKI, first_shard=1),))
    result = check(json.dumps(bundle).encode(), trust)
    assert result.log is LogResult.INCLUDED_ONLY
    assert result.model is ModelResult.ACCEPTED, result.failure
    assert result.checkpoint.checkpoint.origin == "new.example"


def test_a_shard_that_is_not_in_the_trust_file_proves_nothing():
    log = RekorTwo()
    result = check(event_bundle(log, SIGNED), trust_of(RekorTwo("other.example")))
    assert (result.log, result.event) == (LogResult.INVALID, None)


def test_another_tree_under_the_key_of_a_shard_proves_nothing():
    """Rekor v1 signs all of its shards with one key; the trust file names each by its tree id."""
    result = check(event_bundle(RekorOne(tree_id=8), SIGNED), trust_of(RekorOne(tree_id=7)))
    assert result.log is LogResult.INVALID
    assert result.failure.step == "origin of the checkpoint"


def test_an_event_of_another_ledger_or_key_is_refused():
    log = RekorTwo()
    other = make_event(signed_by(key_signer("alice")), ledger="other.example")
    assert check(event_bundle(log, other), trust_of(log)).failure.step == "ledger of the event"
    stranger = check(event_bundle(log, SIGNED, key="stranger"), trust_of(log))
    assert (stranger.log, stranger.failure.step) == (LogResult.INVALID, "key of the entry")


@pytest.mark.parametrize("kind", LOGS)
def test_every_mutation_that_changes_a_fact_is_refused(kind):
    log = LOGS[kind]()
    trust = trust_of(log)
    raw = event_bundle(log, SIGNED)
    other = json.loads(event_bundle(log, make_event(signed_by(key_signer("bob")), name="acme/other")))
    whole = facts(check(raw, trust))
    accepted = set()
    for name, bent in mutations(json.loads(raw), other, bits=64):
        try:
            result = check(json.dumps(bent).encode(), trust)
        except LedgerError:
            continue
        if result.satisfied:
            assert facts(result) == whole, name
            accepted.add(name.split(" ")[0].removeprefix("verificationMaterial/"))
        else:
            assert result.log in (LogResult.INVALID, LogResult.CANNOT_CHECK), name
    # The hint is nobody's word, and a checkpoint may have more signatures than the log's.
    assert accepted == {"publicKey/hint", "note/signature", "note/with"}


def facts(result):
    return (
        result.log,
        result.model,
        result.event,
        result.leaf_index,
        result.checkpoint and result.checkpoint.checkpoint,
        result.signers,
    )


def test_a_bundle_needs_a_trust_file_of_rekor():
    with pytest.raises(ConfigError, match=r"the tile log log\.example/models"):
        check(event_bundle(RekorTwo(), SIGNED), World().trust())


def test_a_proof_of_a_tile_log_is_none_of_rekor_and_the_other_way_round():
    log, world = RekorTwo(), World()
    entry, log_entry = log_event(log, SIGNED)
    world.append(entry)
    rekor = format_rekor_proof(entry, spki=HUB_SPKI, log_entry=log_entry)
    assert check_proof(rekor, trust=world.trust(), now=NOW).log is LogResult.INVALID
    assert check_proof(world.proof(0), trust=trust_of(log), now=NOW).log is LogResult.INVALID
    # Also where the tile log's key is a shard of the trust file: the entry itself is no leaf of Rekor.
    tiles = RekorTwo()
    tiles.entries, tiles.levels = [], [[]]
    tiles.append(sign_statement(b"{}"))
    proof = world.proof(0)
    trust = trust_of(
        log, shards=(replace(log.shard_of_trust, origin=world.origin, keys=(world.log_signer.verifier,)),)
    )
    assert check_proof(proof, trust=trust, now=NOW).failure.step == "kind of the leaf in the proof"
    assert spki_of(p256_key("hub")) == HUB_SPKI


def test_two_checkpoints_of_one_shard_convict_it():
    honest, forked, other = RekorTwo(), RekorTwo(), RekorTwo("other.example")
    forked.append(b"one leaf")
    honest.append(b"another leaf")
    value = {"checkpoints": [honest.checkpoint().decode(), forked.checkpoint().decode()], "kind": KIND}
    found = verify_evidence(format_canonical_json(value), trust=trust_of(other, honest))
    assert (found.older.checkpoint, found.newer.checkpoint) == (honest.tree(), forked.tree())


def test_a_shard_that_contradicts_a_pin_is_convicted():
    honest, log = RekorTwo(), RekorTwo()
    entry, log_entry = log_event(log, SIGNED)
    data = format_rekor_proof(entry, spki=HUB_SPKI, log_entry=log_entry)
    log_event(honest, make_event())
    result = check_proof(data, trust=trust_of(log), now=NOW, files=FILES, pin=honest.checkpoint())
    assert result.log is LogResult.MISBEHAVIOUR
    assert verify_evidence(result.evidence, trust=trust_of(log)).newer.checkpoint == log.tree()
