"""Stories of a client: what was handed over, what it must conclude, and which step says so."""

import dataclasses
import json

import pytest

from ledger.client.evidence import Misbehaviour, Prefix, format_evidence, verify_evidence
from ledger.client.proof_extra import ProofExtra, format_extra
from ledger.client.trusted_keys import HubKey
from ledger.client.verify import Expectation, LocalFiles, LogResult, ModelResult, check_proof
from ledger.encoding import format_canonical_json
from ledger.entry import MapCommit, format_map_commit
from ledger.errors import MalformedError, ProofError, SignatureError
from ledger.event import RecordedBy, format_statement
from ledger.identity import overflow_text
from ledger.tlog.checkpoint import verify_checkpoint
from ledger.tlog.merkle import prove_consistency
from ledger.tlog.proof import format_proof, parse_proof
from tests.world import (
    ISSUER,
    NOW,
    WORKFLOW,
    World,
    certificate_signer,
    digest,
    key_signer,
    make_event,
    p256_key,
    sign_statement,
    signed_by,
    sigstore_signer,
    spki_of,
)

AT = 5
"""Leaf index of the event that the stories are about; seven others follow it."""
RELEASED = make_event(signed_by(sigstore_signer()))
FILES = LocalFiles(manifest_sha256=digest("manifest files"), content_sha256=digest("content files"))
OTHER_FILES = LocalFiles(manifest_sha256=digest("manifest x"), content_sha256=digest("content x"))
RELEASER = Expectation(signer=WORKFLOW, issuer=ISSUER)


def make_world(event=RELEASED, *, entry=None, key="hub", origin=None):
    world = World() if origin is None else World(origin=origin)
    world.grow(AT)
    if entry is None:
        world.record(event, key=key)
    else:
        world.append(entry)
    return world.grow(7)


def check(proof, *, trust=None, files=FILES, now=NOW, **more):
    return check_proof(proof, trust=trust or World().trust(), now=now, files=files, **more)


def step(result, name):
    (found,) = [each for each in result.checks if each.step == name]
    return found


def rewrite(proof, **changes):
    return format_proof(dataclasses.replace(parse_proof(proof), **changes))


def test_a_verified_event_with_its_files_and_signer_is_accepted():
    """The one way to ACCEPTED, with everything that was not checked said."""
    result = check(make_world().proof(AT), expected=[RELEASER])
    assert (result.log, result.model, result.satisfied) == ("INCLUDED_ONLY", "ACCEPTED", True)
    assert result.failure is None
    assert result.event == RELEASED
    assert result.leaf_index == AT
    assert [each.step for each in result.skipped] == [
        "link to your pin",
        "witness cosignatures",
        "age limit",
        "completeness",
        "later events",
    ]


# What is wrong with the proof


def _lying_size(world):
    """RFC 6962 paths do not bind index and size: leaf 7 of 8 also verifies as leaf 11 of 12. The size is the signed one."""
    proof = parse_proof(world.proof(7, size=8))
    return format_proof(dataclasses.replace(proof, index=11))


def _checkpoint_of_another_size(world):
    return rewrite(world.proof(AT), checkpoint_note=world.checkpoint(AT + 2))


def _tampered_entry(world):
    other = make_event(signed_by(sigstore_signer(san=WORKFLOW.replace("v1", "v2"))))
    return rewrite(world.proof(AT), extra=sign_statement(format_statement(other)))


def _tampered_size_line(world):
    note = world.checkpoint().replace(b"\n13\n", b"\n14\n")
    return rewrite(world.proof(AT), checkpoint_note=note)


def _other_leaf(world):
    return rewrite(world.proof(AT), index=AT + 1)


BROKEN = {
    "another log's key": (
        lambda world: dataclasses.replace(world, log_key="other").proof(AT),
        "signatures of the note",
    ),
    "another origin": (
        lambda _: make_world(origin="other.example/models").proof(AT),
        "origin of the checkpoint",
    ),
    "lying tree size": (_lying_size, "leaf index of an inclusion proof"),
    "checkpoint of another size": (_checkpoint_of_another_size, "inclusion proof"),
    "size changed in the signed note": (_tampered_size_line, "signature"),
    "tampered entry": (_tampered_entry, f"inclusion of leaf {AT} in size 13"),
    "another leaf's path": (_other_leaf, f"inclusion of leaf {AT + 1} in size 13"),
    "an unknown hub key": (lambda _: make_world(key="stranger").proof(AT), "key of the entry"),
    "a payload that the hub did not sign": (
        lambda _: make_world(entry=_forged()).proof(AT),
        "signature of the entry",
    ),
    "an event of another ledger": (
        lambda _: make_world(dataclasses.replace(RELEASED, common=_common(ledger="other.example"))).proof(AT),
        "ledger of the event",
    ),
    "an event of another hub": (
        lambda _: make_world(make_event(hub="other.example")).proof(AT),
        "hub of the event",
    ),
    "an observer's event": (
        lambda _: make_world(make_event(recorded_by=RecordedBy(id="eve.example", role="observer"))).proof(AT),
        "recorder of the event",
    ),
    "a map commit at another index": (
        lambda _: make_world(entry=format_map_commit(MapCommit(covers=AT + 1, root=digest("map")))).proof(AT),
        "covers of a map commit",
    ),
    "not a proof": (lambda _: b"{}", "proof file"),
    "bytes after the checkpoint": (lambda world: world.proof(AT) + b"x", ""),
}


def _common(**changes):
    return dataclasses.replace(RELEASED.common, **changes)


def _forged():
    """The hub's signature over one event around another event."""
    signed = json.loads(sign_statement(format_statement(RELEASED)))
    other = json.loads(sign_statement(format_statement(make_event(event_id="event-2"))))
    return format_canonical_json({**signed, "payload": other["payload"]})


@pytest.mark.parametrize("name", BROKEN)
def test_a_proof_that_does_not_hold_is_invalid(name):
    """Nothing of the event is passed on, the failing step is named, and no evidence is claimed."""
    make, failing = BROKEN[name]
    result = check(make(make_world()))
    assert (result.log, result.model) == (LogResult.INVALID, ModelResult.NOT_CHECKED)
    assert not result.satisfied
    assert (result.event, result.leaf_index, result.evidence) == (None, None, None)
    assert result.failure.step.startswith(failing), result.failure
    assert "compare your trust file" in result.failure.next_step


@pytest.mark.parametrize("name", BROKEN)
def test_a_proof_that_does_not_hold_fails_with_log_only_too(name):
    assert not check(BROKEN[name][0](make_world()), files=None, log_only=True).satisfied


def test_a_proof_without_its_entry_cannot_be_checked():
    result = check(rewrite(make_world().proof(AT), extra=None))
    assert (result.log, result.satisfied) == (LogResult.CANNOT_CHECK, False)
    assert result.failure.actual == "a proof without extra"


# Who may sign entries, and where


@pytest.mark.parametrize(("first", "end"), [(AT + 1, None), (0, AT), (AT + 1, AT + 2)])
@pytest.mark.parametrize("files", [FILES, None])
def test_an_event_by_a_key_that_does_not_count_there_is_not_accepted(first, end, files):
    """A revoked key: the entry is in the log, but what it says is not the hub's word, with or without files."""
    trust = World().trust(hub_keys=(HubKey(spki=spki_of(p256_key("hub")), first=first, end=end),))
    result = check(make_world().proof(AT), trust=trust, files=files, log_only=files is None)
    assert (result.log, result.model, result.satisfied) == ("INCLUDED_ONLY", "NOT_ACCEPTED", False)
    assert result.event is None
    assert result.failure.actual == str(AT)


def test_a_key_that_does_not_count_is_explained_after_what_the_log_lacks():
    """The exit code is the log's, so the words are, too; the other row stays."""
    trust = World().trust(hub_keys=(HubKey(spki=spki_of(p256_key("hub")), first=9),), require="complete")
    result = check(make_world().proof(AT), trust=trust)
    assert (result.log_satisfied, result.model, result.failure.step) == (
        False,
        "NOT_ACCEPTED",
        "completeness",
    )
    failed = [each.step for each in result.checks if each.passed is False]
    assert (len(failed), failed[0].startswith("leaf index of an entry by key")) == (2, True)


def test_a_rotated_key_counts_in_its_own_range():
    keys = (
        HubKey(spki=spki_of(p256_key("hub")), end=AT),
        HubKey(spki=spki_of(p256_key("hub-2")), first=AT),
    )
    result = check(make_world(key="hub-2").proof(AT), trust=World().trust(hub_keys=keys))
    assert result.satisfied


# Entries that are no verification event


def _with_unknown_field():
    value = json.loads(format_statement(RELEASED))
    value["predicate"]["novelty"] = 1
    return sign_statement(format_canonical_json(value))


def _of_unknown_version():
    value = json.loads(format_statement(RELEASED))
    value["predicateType"] = value["predicateType"].replace("/v1", "/v9")
    return sign_statement(format_canonical_json(value))


NOT_EVENTS = {
    "map commit": lambda: format_map_commit(MapCommit(covers=AT, root=digest("map"))),
    "unknown field": _with_unknown_field,
    "unknown version": _of_unknown_version,
}


@pytest.mark.parametrize("name", NOT_EVENTS)
def test_an_entry_that_is_not_understood_is_included_but_no_model(name):
    proof = make_world(entry=NOT_EVENTS[name]()).proof(AT)
    result = check(proof)
    assert (result.log, result.model, result.satisfied) == ("INCLUDED_ONLY", "NOT_CHECKED", False)
    assert result.failure.actual == "another entry"
    assert check(proof, files=None, log_only=True).satisfied


def test_a_statement_that_cannot_even_be_placed_cannot_be_checked():
    """Whether it belongs to this ledger stands in a part that a later version writes in another way."""
    statement = json.loads(format_statement(RELEASED))
    statement["predicateType"] = "https://hubledger/verification-event/v9"
    statement["predicate"] = {"ledgerIds": ["log.example/models"]}
    result = check(make_world(entry=sign_statement(format_canonical_json(statement))).proof(AT))
    assert (result.log, result.satisfied) == (LogResult.CANNOT_CHECK, False)


# What the model is


TWO = make_event(signed_by(key_signer("alice")), signed_by(certificate_signer("acme root")))
FAILED = make_event(signed_by(sigstore_signer(), outcome="INVALID_SIGNATURE"))
ALICE = Expectation(key_sha256=key_signer("alice").spki_sha256)
ACME = Expectation(anchor_sha256=digest("acme root"))
MALLORY = Expectation(key_sha256=key_signer("mallory").spki_sha256)
CLONE = dataclasses.replace(FILES, manifest_sha256=digest("a clone without the bundle"))
LONG = "https://git.example/" + "a" * 9000
OVERFLOWN = make_event(signed_by(dataclasses.replace(sigstore_signer(), san=overflow_text(LONG))))

MODELS = {
    "expected signer": (RELEASED, FILES, [RELEASER], "ACCEPTED"),
    "nobody expected": (RELEASED, FILES, [], "ACCEPTED"),
    "the same content without bundles": (RELEASED, CLONE, [], "ACCEPTED"),
    "one of two is enough": (TWO, FILES, [MALLORY, ACME], "ACCEPTED"),
    "a signer above its cap, by digest": (
        OVERFLOWN,
        FILES,
        [Expectation(signer=LONG, issuer=ISSUER)],
        "ACCEPTED",
    ),
    "another signer above its cap": (
        OVERFLOWN,
        FILES,
        [Expectation(signer=LONG + "a", issuer=ISSUER)],
        "UNEXPECTED_SIGNER",
    ),
    "no files": (RELEASED, None, [RELEASER], "NOT_CHECKED"),
    "no files, and wrong in every other way": (FAILED, None, [MALLORY], "NOT_CHECKED"),
    "other files": (RELEASED, OTHER_FILES, [RELEASER], "CONTENT_DIFFERS"),
    "other files of a failed event by a stranger": (FAILED, OTHER_FILES, [MALLORY], "CONTENT_DIFFERS"),
    "a stranger": (TWO, FILES, [MALLORY], "UNEXPECTED_SIGNER"),
    "the right name by another issuer": (
        RELEASED,
        FILES,
        [Expectation(signer=WORKFLOW, issuer="https://evil.example")],
        "UNEXPECTED_SIGNER",
    ),
    "a look-alike": (
        RELEASED,
        FILES,
        [Expectation(signer=WORKFLOW[:-1], issuer=ISSUER)],
        "UNEXPECTED_SIGNER",
    ),
    "only claimed": (FAILED, FILES, [RELEASER], "UNEXPECTED_SIGNER"),
    "unsigned, signer expected": (make_event(), FILES, [RELEASER], "UNEXPECTED_SIGNER"),
    "unsigned": (make_event(), FILES, [], "NOT_ACCEPTED"),
    "a signature that fails": (FAILED, FILES, [], "NOT_ACCEPTED"),
    "a challenged change": (
        make_event(signed_by(key_signer("alice")), decision="challenged"),
        FILES,
        [ALICE],
        "NOT_ACCEPTED",
    ),
    "a rejected change": (
        make_event(signed_by(key_signer("alice")), decision="rejected"),
        FILES,
        [ALICE],
        "NOT_ACCEPTED",
    ),
    "an accepted change": (
        make_event(signed_by(key_signer("alice")), decision="accepted"),
        FILES,
        [ALICE],
        "ACCEPTED",
    ),
    "a pull ref": (
        make_event(signed_by(key_signer("alice")), ref="refs/pull/7/head"),
        FILES,
        [ALICE],
        "NOT_ACCEPTED",
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_model_result_is_the_first_that_applies(name):
    event, files, expected, wanted = MODELS[name]
    result = check(make_world(event).proof(AT), files=files, expected=expected)
    assert (result.log, result.model) == ("INCLUDED_ONLY", wanted)
    assert result.satisfied is (wanted == "ACCEPTED")
    assert (result.failure is None) is result.satisfied


@pytest.mark.parametrize("linked", [(), ("weights",)])
@pytest.mark.parametrize("more", [{"decision": "challenged"}, {"ref": "refs/pull/7/head"}])
def test_nobody_is_sent_for_files_that_the_hub_refuses(more, linked):
    files = dataclasses.replace(OTHER_FILES, outside=linked)
    event = make_event(signed_by(key_signer("alice")), **more)
    result = check(make_world(event).proof(AT), files=files)
    assert (result.model, result.failure.step) == ("CONTENT_DIFFERS", "files")
    assert result.failure.causes[0] == (
        "the hub's latest event of this revision is about other files, which it does not accept"
    )
    assert result.failure.next_step == (
        f"Do not load this revision: ask the publisher of {event.model.name} about it, over another channel"
    )


def test_a_special_file_beside_what_the_hub_refuses_is_no_word_of_other_files():
    files = dataclasses.replace(FILES, special=("pipe",))
    event = make_event(signed_by(key_signer("alice")), decision="challenged")
    failure = check(make_world(event).proof(AT), files=files).failure
    assert failure.causes[0].startswith("a pipe, a socket or a device was put among the files")
    assert failure.next_step.startswith("Do not load this revision")


@pytest.mark.parametrize(
    ("expected", "wanted"), [([ALICE, ACME], "ACCEPTED"), ([ALICE, MALLORY], "UNEXPECTED_SIGNER")]
)
def test_expect_all_asks_for_each(expected, wanted):
    assert check(make_world(TWO).proof(AT), expected=expected, expect_all=True).model == wanted


def test_without_files_only_log_only_is_satisfied():
    proof = make_world().proof(AT)
    assert check(proof, files=None, log_only=True).satisfied
    refused = check(proof, files=None)
    assert not refused.satisfied
    assert refused.failure.step == "files"


# Pins: the log may only have grown


PINS = {
    "same size": (13, None, True, "remembered checkpoint of size 13"),
    "empty": (0, None, True, "remembered checkpoint of size 0"),
    "linked by consistency": (3, 3, True, "the signed tree of 13 extends your pin of size 3"),
    "linked by consistency from 2^k": (4, 4, True, "the signed tree of 13 extends your pin of size 4"),
    "linked by the inclusion path": (8, None, True, "the signed tree of 13 extends your pin of size 8"),
    "no consistency proof": (3, None, None, "not linked to your pin of size 3: no consistency proof from it"),
    "from another size": (3, 2, None, "not linked to your pin of size 3: no consistency proof from it"),
}


@pytest.mark.parametrize("name", PINS)
def test_a_pin_is_linked_or_said_not_to_be(name):
    size, since, passed, said = PINS[name]
    world = make_world()
    result = check(world.proof(AT, since=since), pin=world.checkpoint(size))
    found = step(result, "link to your pin")
    assert (found.passed, found.against) == (passed, said)
    assert result.satisfied


def test_a_smaller_checkpoint_than_the_pin_is_not_linked_and_inclusion_does_not_expire():
    world = make_world()
    result = check(world.proof(AT, size=9), pin=world.checkpoint())
    found = step(result, "link to your pin")
    assert found.passed is None
    assert found.against == "not linked to your pin of size 13: the proof's checkpoint is older, size 9"
    assert (result.log, result.satisfied) == ("INCLUDED_ONLY", True)


@pytest.mark.parametrize("require", ["complete", "audited"])
def test_a_smaller_checkpoint_than_the_pin_is_stale_for_more_than_inclusion(require):
    world = make_world()
    result = check(world.proof(AT, size=9), trust=world.trust(require=require), pin=world.checkpoint())
    assert (result.log, result.satisfied, result.evidence) == (LogResult.STALE, False, None)


def test_a_consistency_proof_that_fails_is_invalid_and_no_evidence():
    """Anyone can make a failing proof: it convinces nobody."""
    world = make_world()
    proof = world.unformatted_proof(AT, since=3)
    value = json.loads(proof.extra)
    value["consistency"]["hashes"][0] = value["consistency"]["hashes"][1]
    broken = format_proof(dataclasses.replace(proof, extra=format_canonical_json(value)))
    result = check(broken, pin=world.checkpoint(3))
    assert (result.log, result.evidence) == (LogResult.INVALID, None)
    assert result.failure.step == "consistency of size 3 with size 13"


def test_a_pin_that_the_log_did_not_sign_is_refused():
    world = make_world()
    with pytest.raises(SignatureError):
        check(world.proof(AT), pin=dataclasses.replace(world, log_key="other").checkpoint(3))


def reasoned(reason, event):
    return dataclasses.replace(event, reasons=(reason,))


CAUSES = {
    "unsigned before there is a pin": (
        make_event(),
        ["the revision was uploaded without a signature"],
    ),
    "unsigned after there was one": (
        reasoned("signature-lost", make_event(decision="challenged")),
        [
            "the revision was uploaded without a signature",
            "earlier revisions were signed, and this one has no signature that holds",
        ],
    ),
    "a signer who is not pinned": (
        reasoned("signer-changed", make_event(signed_by(key_signer("bob")), decision="challenged")),
        ["the signer changed and nobody has confirmed it"],
    ),
    "a key that the hub does not know": (
        make_event(signed_by(key_signer("bob"), outcome="UNKNOWN_KEY")),
        ["the hub does not have the key of the signer"],
    ),
    "a decision by a policy of its own": (
        make_event(signed_by(key_signer("bob")), decision="rejected"),
        ["the hub's policy for this model does not accept the revision"],
    ),
    "a proposal": (
        reasoned("proposal", make_event(signed_by(key_signer("bob")), ref="refs/pull/1/head")),
        ["the revision was proposed, which anybody may do"],
    ),
}


@pytest.mark.parametrize("name", CAUSES)
def test_the_causes_of_a_refusal_are_those_of_the_event(name):
    """What is not so is not offered as a cause."""
    event, causes = CAUSES[name]
    world = World()
    world.record(event)
    result = check(world.proof(0), trust=world.trust())
    assert result.model == "NOT_ACCEPTED"
    assert list(result.failure.causes) == causes


# Misbehaviour: two forms, and evidence that stands on its own


def _forked(size, at):
    """A log that shows another entry at `at` to those who hold a checkpoint of `size`."""
    world = make_world()
    return world, world.fork(at).grow(size - at, word="forked")


CONTRADICTIONS = {
    "one size, two roots": (13, 2, None),
    "a prefix by consistency": (6, 2, 6),
    "a prefix by consistency, of odd size": (11, 10, 11),
    "a prefix of 2^k by the inclusion path alone": (8, 2, None),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradicting_signed_checkpoints_are_misbehaviour_with_evidence(name):
    size, at, since = CONTRADICTIONS[name]
    world, fork = _forked(size, at)
    pin = fork.checkpoint()
    result = check(world.proof(AT, since=since), pin=pin)
    assert (result.log, result.model, result.satisfied) == ("MISBEHAVIOUR", "NOT_CHECKED", False)
    assert result.event is None
    found = verify_evidence(result.evidence, trust=world.trust())
    assert found.older.note == pin
    assert found.newer.checkpoint == world.tree()
    assert (found.prefix is None) is (size == 13)
    assert result.failure.expected == f"root {fork.tree().root_hash.hex()}, signed before"
    assert result.failure.actual == world.tree(size).root_hash.hex()


def test_misbehaviour_is_not_hidden_by_a_missing_quorum_or_a_broken_path():
    world, fork = _forked(13, 2)
    trust = world.trust(witnesses=("w.example",), quorum="w.example")
    broken = rewrite(world.proof(AT), index=AT + 1)
    assert check(broken, trust=trust, pin=fork.checkpoint()).log is LogResult.MISBEHAVIOUR


def test_evidence_of_a_log_that_only_grew_is_refused():
    world = make_world()
    older, newer = (
        verify_checkpoint(world.checkpoint(size), origin=world.origin, keys=world.trust().log_keys)
        for size in (3, 13)
    )
    prefix = Prefix(root=world.tree(3).root_hash, hashes=prove_consistency(3, 13, world._read))
    trust = world.trust()
    for honest in (
        Misbehaviour(older=older, newer=newer, prefix=prefix),
        Misbehaviour(older=older, newer=newer),
        Misbehaviour(older=older, newer=older),
    ):
        with pytest.raises(ProofError, match="evidence of misbehaviour"):
            verify_evidence(format_evidence(honest), trust=trust)


def test_evidence_with_a_made_up_prefix_is_refused():
    world = make_world()
    older, newer = (
        verify_checkpoint(world.checkpoint(size), origin=world.origin, keys=world.trust().log_keys)
        for size in (4, 13)
    )
    lie = Prefix(root=digest("lie"), hashes=prove_consistency(4, 13, world._read))
    evidence = format_evidence(Misbehaviour(older=older, newer=newer, prefix=lie))
    with pytest.raises(ProofError):
        verify_evidence(evidence, trust=world.trust())


def test_evidence_by_another_key_or_of_another_form_is_refused():
    world, fork = _forked(13, 2)
    evidence = check(world.proof(AT), pin=fork.checkpoint()).evidence
    stranger = dataclasses.replace(world, log_key="other").trust()
    with pytest.raises(SignatureError):
        verify_evidence(evidence, trust=stranger)
    with pytest.raises(MalformedError, match="evidence of misbehaviour"):
        verify_evidence(evidence.replace(b"misbehaviour/v1", b"misbehaviour/v2"), trust=world.trust())


# Witnesses, age, and what the trust file asks for


def test_a_quorum_that_is_missing_is_invalid_and_one_that_is_there_is_said():
    world = make_world()
    trust = world.trust(witnesses=("w.example",), quorum="w.example", max_age=3600)
    assert check(world.proof(AT), trust=trust).failure.step == "cosignatures of the checkpoint"
    result = check(world.proof(AT, cosigned={"w.example": NOW - 10}), trust=trust)
    assert result.satisfied
    assert step(result, "witness cosignatures").against == "quorum w.example"
    assert step(result, "age limit").passed is True


@pytest.mark.parametrize(
    ("require", "age", "log", "passed"),
    [
        ("included", 3601, "INCLUDED_ONLY", None),
        ("complete", 3601, "STALE", False),
        ("audited", 3601, "STALE", False),
        ("complete", 3600, "INCLUDED_ONLY", True),
    ],
)
def test_age_makes_stale_only_what_claims_more_than_inclusion(require, age, log, passed):
    world = make_world()
    trust = world.trust(witnesses=("w.example",), max_age=3600, require=require)
    result = check(world.proof(AT, cosigned={"w.example": NOW - age}), trust=trust)
    assert result.log == log
    assert step(result, "age limit").passed is passed
    assert result.satisfied is (require == "included")


def test_without_a_counted_cosignature_age_is_not_checked():
    """A cosignature by a witness that the trust file does not name says nothing."""
    world = make_world()
    result = check(world.proof(AT, cosigned={"unknown.example": 1}), trust=world.trust(max_age=1))
    assert step(result, "age limit").passed is None


@pytest.mark.parametrize("require", ["complete", "audited"])
def test_inclusion_does_not_satisfy_a_trust_file_that_asks_for_more(require):
    world = make_world()
    result = check(world.proof(AT), trust=world.trust(require=require))
    assert (result.log, result.model, result.satisfied) == ("INCLUDED_ONLY", "ACCEPTED", False)
    assert result.failure.step == {"complete": "completeness", "audited": "monitors"}[require]


def test_every_entry_of_every_small_tree_verifies_and_no_other_index_does():
    """The proven index is bound by the signed size, for all sizes to 17."""
    world = World().grow(17)
    for size in range(1, 18):
        for index in range(size):
            proof = parse_proof(world.proof(index, size=size))
            assert check(format_proof(proof), files=None, log_only=True).satisfied
            for other in range(size + 3):
                if other != index:
                    moved = dataclasses.replace(proof, index=other)
                    assert check(format_proof(moved), files=None, log_only=True).log is LogResult.INVALID


def test_extra_is_the_entry_itself_unless_a_link_is_asked_for():
    world = make_world()
    extra = ProofExtra(entry=world.entries[AT])
    assert parse_proof(world.proof(AT)).extra == format_extra(extra) == world.entries[AT]
