"""What an attestation says, and that one which says anything else than its event is refused."""

import dataclasses
import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from cli.verify import exit_code
from ledger.attestation import EXTENSION, Form, Pointer, format_attestation, levels_of
from ledger.attestation.envelope import format_bundle, parse_attestation
from ledger.attestation.levels import may_say
from ledger.client.attested import check_attested
from ledger.client.pins import Pins
from ledger.encoding import format_canonical_json
from ledger.entry import keyid_of, pae
from ledger.tlog.merkle import leaf_hash
from tests.ledger.client.test_named import NAME, PLAN, check, events, trusted
from tests.world import HUB, LEDGER, NOW, World, digest, key_signer, make_event, p256_key, signed_by, spki_of

MADE, EXPIRES = "2026-01-02T03:04:05Z", "2026-01-09T03:04:05Z"


@pytest.fixture
def world():
    made = World().grow(3)
    for each in events(*PLAN):
        made.record(each)
    return made.grow(2)


def statement(world, index=4, form=Form.VSA):
    event = events(*PLAN)[index - 3]
    pointer = Pointer(
        hub=HUB,
        revision=event.model.revision,
        ledger=LEDGER,
        leaf_index=index,
        leaf_hash=leaf_hash(world.entries[index]),
        policy_sha256=event.policy.sha256,
    )
    levels = levels_of(event, by_pinned=True)
    return format_attestation(event, pointer, form=form, levels=levels, made=MADE, expires=EXPIRES)


def sign(payload, key="hub"):
    private = p256_key(key)
    signature = private.sign(pae(payload), ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    return format_bundle(payload, keyid=keyid_of(spki_of(private)), signature=signature)


def bent(payload, *path, value):
    whole = json.loads(payload)
    at = whole
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return format_canonical_json(whole)


def held(world, tmp_path, bundle, *, index=4, now=NOW, **asked):
    found = check(world, Pins(tmp_path), index, **asked)
    return check_attested(found, parse_attestation(bundle), trust=trusted(world).trust, now=now).result


def row(result):
    return next(each for each in result.checks if each.step == "attestation")


@pytest.mark.parametrize("form", Form)
def test_one_that_agrees_with_its_event_is_a_row_that_says_what_it_is(world, tmp_path, form):
    result = held(world, tmp_path, sign(statement(world, form=form)))
    assert (exit_code(result), row(result).passed) == (0, True)
    assert row(result).against.startswith(
        "a pointer to leaf 4, which was checked itself; it says HUBLEDGER_SIGNATURE_VERIFIED, HUBLEDGER_SIGNER_PINNED, by"
    )


LIES = {
    "ledger": (("predicate", EXTENSION, "ledger"), "other.example"),
    "a later leaf": (("predicate", EXTENSION, "leafIndex"), 5),
    "leaf hash": (("predicate", EXTENSION, "leafHash"), "0" * 64),
    "policy": (("predicate", EXTENSION, "policySha256"), "0" * 64),
    "hub": (("predicate", EXTENSION, "hub"), "other.example"),
    "revision": (("predicate", EXTENSION, "revision"), "r1"),
    "manifest": (("subject", 0, "digest", "sha256"), digest("x").hex()),
    "model": (("subject", 0, "name"), "acme/other"),
    "verifier": (("predicate", "verifier", "id"), "https://hubledger/hub/other.example"),
    "resource": (("predicate", "resourceUri"), "https://hubledger/model/hub.example/acme/model?revision=r1"),
    "result": (("predicate", "verificationResult"), "FAILED"),
    "a level of others": (
        ("predicate", "verifiedLevels"),
        ["HUBLEDGER_SIGNATURE_VERIFIED", "SLSA_BUILD_LEVEL_3"],
    ),
    "a level of no such decision": (
        ("predicate", "verifiedLevels"),
        ["HUBLEDGER_SIGNATURE_VERIFIED", "HUBLEDGER_CHANGE_CHALLENGED_DNS"],
    ),
    "levels of nothing that passed": (("predicate", "verifiedLevels"), ["FAILED"]),
}


@pytest.mark.parametrize("lie", LIES)
def test_one_that_says_anything_else_than_its_event_is_refused(world, tmp_path, lie):
    """Even signed by the hub's own key: whoever reads the attestation alone would believe it."""
    path, value = LIES[lie]
    result = held(world, tmp_path, sign(bent(statement(world), *path, value=value)))
    assert (exit_code(result), row(result).passed, result.failure.step) == (13, False, "attestation")


def test_one_by_another_key_is_refused(world, tmp_path):
    result = held(world, tmp_path, sign(statement(world), key="stranger"))
    assert (exit_code(result), row(result).against) == (
        13,
        "key of the entry: a hub key of the trust file",
    )
    whole = json.loads(sign(statement(world)))
    whole["dsseEnvelope"]["signatures"] = json.loads(sign(statement(world, form=Form.SVR)))["dsseEnvelope"][
        "signatures"
    ]
    result = held(world, tmp_path, json.dumps(whole).encode())
    assert (exit_code(result), row(result).found) == (13, "one that fails")


def test_one_about_an_earlier_event_does_not_hide_the_later_one(world, tmp_path):
    result = held(world, tmp_path, sign(statement(world, 3)))
    assert (exit_code(result), row(result).found) == (23, "an attestation about leaf 3")


def test_its_last_second(world, tmp_path):
    end = parse_attestation(sign(statement(world))).expires
    assert exit_code(held(world, tmp_path, sign(statement(world)), now=end - 1)) == 0
    result = held(world, tmp_path, sign(statement(world)), now=end)
    assert (exit_code(result), row(result).found) == (10, "one that expired 0 s ago")


def test_where_the_event_is_not_proven_it_is_worth_nothing(world, tmp_path):
    result = held(world, tmp_path, sign(statement(world)), proof=b"<html>")
    assert (exit_code(result), row(result).passed) == (13, None)


def test_what_else_is_wrong_stays_what_it_was(world, tmp_path):
    result = held(world, tmp_path, sign(statement(world)), files="changed")
    assert (exit_code(result), row(result).passed) == (22, True)


def test_levels_name_what_was_enforced():
    event = make_event(signed_by(key_signer("alice")))
    accepted = make_event(signed_by(key_signer("alice")), decision="accepted")
    assert levels_of(event, by_pinned=None) == (
        "HUBLEDGER_SIGNATURE_VERIFIED",
        "HUBLEDGER_SIGNER_FIRST_USE",
    )
    assert levels_of(event, by_pinned=True)[1:] == ("HUBLEDGER_SIGNER_PINNED",)
    assert levels_of(accepted, by_pinned=False)[1:] == ("HUBLEDGER_CHANGE_CHALLENGED",)
    assert levels_of(accepted, by_pinned=False, challenged_by="old-signer")[1:] == (
        "HUBLEDGER_CHANGE_CHALLENGED_OLD_SIGNER",
    )
    assert not any(each.startswith("SLSA_") for each in levels_of(event, by_pinned=True))


def test_a_model_that_escapes_is_named_whole(world):
    event = dataclasses.replace(make_event(name="acme/%C3%A9?x=1", revision="a&b"))
    pointer = Pointer(
        hub=HUB, revision="a&b", ledger=LEDGER, leaf_index=1, leaf_hash=bytes(32), policy_sha256=bytes(32)
    )
    made = format_attestation(event, pointer, form=Form.VSA, levels=(), made=MADE, expires=EXPIRES)
    assert json.loads(made)["predicate"]["resourceUri"] == (
        "https://hubledger/model/hub.example/acme/%25C3%25A9%3Fx%3D1?revision=a%26b"
    )
    assert json.loads(made)["predicate"]["verificationResult"] == "FAILED"
    assert NAME not in made.decode()


@pytest.mark.parametrize(
    ("decision", "levels", "passed", "may"),
    [
        ("observed", ("HUBLEDGER_SIGNATURE_VERIFIED",), True, True),
        ("observed", ("HUBLEDGER_SIGNATURE_VERIFIED", "HUBLEDGER_SIGNER_FIRST_USE"), True, True),
        ("accepted", ("HUBLEDGER_SIGNATURE_VERIFIED", "HUBLEDGER_SIGNER_PINNED"), True, True),
        ("accepted", ("HUBLEDGER_SIGNATURE_VERIFIED", "HUBLEDGER_CHANGE_CHALLENGED"), True, True),
        ("accepted", ("HUBLEDGER_SIGNATURE_VERIFIED", "HUBLEDGER_CHANGE_CHALLENGED_DNS"), True, True),
        (
            "accepted",
            ("HUBLEDGER_SIGNATURE_VERIFIED", "HUBLEDGER_CHANGE_CHALLENGED_DNS", "MORE"),
            True,
            False,
        ),
        ("accepted", ("HUBLEDGER_SIGNATURE_VERIFIED", "HUBLEDGER_SIGNER_FIRST_USE"), True, False),
        ("observed", ("HUBLEDGER_CHANGE_CHALLENGED_DNS",), True, False),
        ("observed", (), True, False),
        ("challenged", ("FAILED",), False, True),
        ("challenged", ("HUBLEDGER_SIGNATURE_VERIFIED",), False, False),
    ],
)
def test_levels_are_those_that_the_decision_can_have(decision, levels, passed, may):
    event = make_event()
    policy = dataclasses.replace(event.policy, decision=decision)
    event = dataclasses.replace(event, policy=policy)
    assert may_say(event, levels, passed=passed) is may
