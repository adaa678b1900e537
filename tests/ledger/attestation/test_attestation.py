"""What an attestation says, and that one which says anything else than its event is refused."""

import dataclasses
import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from cli.verify import exit_code
from ledger.attestation import EXTENSION, MAX_SECONDS, Form, Pointer, format_attestation
from ledger.attestation.envelope import format_bundle, parse_attestation
from ledger.attestation.levels import CHANGE_CHALLENGED, challenge_of, levels_of, possible_levels
from ledger.client.attested import check_attested
from ledger.client.pins import Pins
from ledger.encoding import format_canonical_json
from ledger.entry import keyid_of, pae
from ledger.errors import MalformedError
from ledger.event.schemas import CHALLENGE, json_schema
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


POSSIBLE = (
    "levels that the event can have: [HUBLEDGER_SIGNATURE_VERIFIED] or [HUBLEDGER_SIGNATURE_VERIFIED, "
    "HUBLEDGER_SIGNER_FIRST_USE] or [HUBLEDGER_SIGNATURE_VERIFIED, HUBLEDGER_SIGNER_PINNED]"
)
LIES = {
    "another type of the same value": (
        ("predicate", "policy", "digest"),
        ["sha256"],
        f'predicate.policy.digest {{"sha256":"{digest("policy").hex()}"}}, as the event says',
        'predicate.policy.digest ["sha256"]',
    ),
    "one input less": (
        ("predicate", "inputAttestations"),
        [],
        "predicate.inputAttestations [{",
        "predicate.inputAttestations []",
    ),
    "a level of others": (
        ("predicate", "verifiedLevels"),
        ["HUBLEDGER_SIGNATURE_VERIFIED", "SLSA_BUILD_LEVEL_3"],
        POSSIBLE,
        "[HUBLEDGER_SIGNATURE_VERIFIED, SLSA_BUILD_LEVEL_3]",
    ),
    "no levels": (("predicate", "verifiedLevels"), [], POSSIBLE, "[]"),
    "levels of nothing that passed": (
        ("predicate", "verifiedLevels"),
        ["FAILED"],
        POSSIBLE,
        "[FAILED]",
    ),
    "good for nothing": (
        ("predicate", EXTENSION, "expires"),
        MADE,
        "one that is good for 1 to 31622400 seconds",
        "one for 0 seconds",
    ),
    "good for a year and two days": (
        ("predicate", EXTENSION, "expires"),
        "2027-01-03T03:04:06Z",
        "one that is good for 1 to 31622400 seconds",
        f"one for {MAX_SECONDS + 1} seconds",
    ),
    "made before its event": (
        ("predicate", "timeVerified"),
        "2026-01-02T02:59:04Z",
        "one made after its event was recorded, at 2026-01-02T03:04:05Z",
        "one made at 2026-01-02T02:59:04Z",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_one_that_says_anything_else_than_its_event_is_refused(world, tmp_path, lie):
    """Even signed by the hub's own key: whoever reads the attestation alone would believe it."""
    path, value, expected, actual = LIES[lie]
    result = held(world, tmp_path, sign(bent(statement(world), *path, value=value)))
    assert (exit_code(result), row(result).passed, result.failure.step) == (13, False, "attestation")
    assert result.failure.expected.startswith(expected)
    assert result.failure.actual == actual


def nodes(value, path=()):
    yield path
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for step, child in children:
        yield from nodes(child, (*path, step))


@pytest.mark.parametrize("other", [None, True, 0, -1, 2**53 - 1, "", "x" * 300, [], [[]], {}, {"": None}])
@pytest.mark.parametrize("form", Form)
def test_no_value_of_another_kind_passes_in_any_place(world, tmp_path, form, other):
    whole = json.loads(statement(world, form=form))
    pins = Pins(tmp_path)
    found = check(world, pins, 4)
    for path in nodes(whole):
        payload = (
            bent(format_canonical_json(whole), *path, value=other) if path else format_canonical_json(other)
        )
        try:
            attestation = parse_attestation(sign(payload))
        except MalformedError:
            continue
        result = check_attested(found, attestation, trust=trusted(world).trust, now=NOW).result
        # A leaf after that of the proof cannot be told from one that is still to be fetched.
        codes = (12, 13, 23) if path[-1:] == ("leafIndex",) else (13, 23)
        assert (exit_code(result) in codes, row(result).passed) == (True, False), path


def test_a_long_lie_is_quoted_in_part(world, tmp_path):
    result = held(
        world, tmp_path, sign(bent(statement(world), "predicate", "policy", "uri", value="x" * 20_000))
    )
    assert row(result).found == f"predicate.policy.uri {'x' * 200}… (20000 characters)"


def test_a_statement_about_two_revisions_is_none():
    """Its second subject would be believed of by whoever looks for a digest anywhere in it."""
    event = make_event(signed_by(key_signer("alice")))
    pointer = Pointer(
        hub=HUB, revision="r", ledger=LEDGER, leaf_index=1, leaf_hash=bytes(32), policy_sha256=bytes(32)
    )
    made = format_attestation(event, pointer, form=Form.VSA, levels=(), made=MADE, expires=EXPIRES)
    two = [{"name": "acme/model", "digest": {}}, {"name": "acme/model", "digest": {}}]
    with pytest.raises(MalformedError, match=r"statement of the attestation: expected .*, got another\."):
        parse_attestation(sign(bent(made, "subject", value=two)))


@pytest.mark.parametrize("path", [("extra",), ("predicate", "dependencyLevels"), ("subject", 0, "uri")])
def test_one_that_says_more_cannot_be_checked(world, tmp_path, path):
    """A newer hub may mean well; whoever reads it alone would believe it all the same."""
    more = bent(statement(world), *path, value="x")
    result = held(world, tmp_path, sign(more))
    assert (exit_code(result), row(result).passed, result.failure.causes) == (
        12,
        False,
        ("the hub runs a newer version", "the hub says more here than in the log"),
    )
    for wrong in (("predicate", "policy", "uri"), ("predicate", EXTENSION, "expires")):
        lie = bent(more, *wrong, value=MADE)
        assert exit_code(held(world, tmp_path, sign(lie))) == 13


def test_the_clocks_of_a_hub_may_differ_a_little(world, tmp_path):
    """Recorded on one machine, signed on another that is five minutes behind."""
    early = sign(bent(statement(world), "predicate", "timeVerified", value="2026-01-02T02:59:05Z"))
    assert exit_code(held(world, tmp_path, early)) == 0


def test_one_that_is_not_made_yet_says_nothing_and_accuses_nobody(world, tmp_path):
    made = parse_attestation(sign(statement(world))).made
    assert exit_code(held(world, tmp_path, sign(statement(world)), now=made - 300)) == 0
    result = held(world, tmp_path, sign(statement(world)), now=made - 301)
    assert (exit_code(result), row(result).found) == (12, "one that is made in 301 s")
    assert result.failure.causes == ("the clock of this machine is slow", "the hub's clock is fast")


def test_the_last_second_that_there_is_stops_nothing(world, tmp_path):
    end = "9999-12-31T23:59:59Z"
    late = bent(statement(world), "predicate", EXTENSION, "expires", value=end)
    result = held(world, tmp_path, sign(bent(late, "predicate", "timeVerified", value=end[:-2] + "8Z")))
    assert (exit_code(result), row(result).passed) == (12, False)


def test_one_by_another_key_is_refused(world, tmp_path):
    result = held(world, tmp_path, sign(statement(world), key="stranger"))
    assert (exit_code(result), row(result).against) == (
        13,
        "key of the entry: a hub key of the trust file",
    )
    assert (result.model, result.failure.step) == ("NOT_CHECKED", "attestation")
    whole = json.loads(sign(statement(world)))
    whole["dsseEnvelope"]["signatures"] = json.loads(sign(statement(world, form=Form.SVR)))["dsseEnvelope"][
        "signatures"
    ]
    result = held(world, tmp_path, json.dumps(whole).encode())
    assert (exit_code(result), row(result).found) == (13, "one that fails")


def test_one_about_an_earlier_event_does_not_hide_the_later_one(world, tmp_path):
    result = held(world, tmp_path, sign(statement(world, 3)))
    assert (exit_code(result), row(result).found) == (23, "an attestation about leaf 3")


def test_one_about_a_later_event_than_the_proof_accuses_nobody(world, tmp_path):
    """The hub looked at the revision again, and the proof was fetched before that."""
    later = bent(statement(world, 3), "predicate", EXTENSION, "leafIndex", value=4)
    result = held(world, tmp_path, sign(later), index=3, files="old")
    assert (exit_code(result), row(result).found) == (12, "that of leaf 3, which came before")
    assert result.failure.next_step.startswith("Fetch the newer proof, ")
    assert exit_code(held(world, tmp_path, sign(later, key="stranger"), index=3, files="old")) == 13
    result = held(world, tmp_path / "newer", sign(later), index=4)
    assert (exit_code(result), row(result).passed) == (13, False), "it is held against the newer one"


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
    lie = held(world, tmp_path, sign(statement(world), key="stranger"), files="changed")
    assert (exit_code(lie), lie.model, lie.failure.step) == (13, "NOT_CHECKED", "attestation")


PLAIN = "HUBLEDGER_SIGNATURE_VERIFIED"


def event_of(decision="observed", *reasons, sequence=0):
    event = make_event(signed_by(key_signer("alice")), decision=decision)
    (link,) = event.common.histories
    common = dataclasses.replace(
        event.common, histories=(dataclasses.replace(link, sequence=sequence, previous=None),)
    )
    return dataclasses.replace(event, reasons=reasons, common=common)


def test_levels_name_what_was_enforced():
    event = event_of()
    assert levels_of(event, by_pinned=None) == (PLAIN, "HUBLEDGER_SIGNER_FIRST_USE")
    assert levels_of(event, by_pinned=True) == (PLAIN, "HUBLEDGER_SIGNER_PINNED")
    assert levels_of(event, by_pinned=False) == (PLAIN,)
    assert levels_of(event, by_pinned=False, challenged_by="totp") == (PLAIN,)


METHODS = {
    "old-signer": "HUBLEDGER_CHANGE_CHALLENGED_OLD_SIGNER",
    "totp": "HUBLEDGER_CHANGE_CHALLENGED_TOTP",
    "webauthn": "HUBLEDGER_CHANGE_CHALLENGED_WEBAUTHN",
    "hub": "HUBLEDGER_CHANGE_CHALLENGED_HUB",
}


def test_the_methods_are_those_that_a_challenge_can_have():
    assert METHODS == CHANGE_CHALLENGED
    assert set(METHODS) == set(_challenge_schema()["method"]["enum"])


def _challenge_schema():
    return json_schema(CHALLENGE)["properties"]["predicate"]["properties"]


@pytest.mark.parametrize("said", METHODS)
@pytest.mark.parametrize("known", [*METHODS, None])
def test_a_method_is_said_where_event_and_log_name_the_same(said, known):
    event = event_of("accepted", "signer-changed", f"challenged-by-{said}")
    for pinned in (True, False, None):  # an accepted change is that, whoever signed
        levels = levels_of(event, by_pinned=pinned, challenged_by=known)
        assert levels == ((PLAIN, METHODS[said]) if said == known else (PLAIN,))


@pytest.mark.parametrize(
    ("event", "method"),
    [
        (event_of("accepted", "challenged-by-hub"), "hub"),
        (event_of("accepted", "challenged-by-hub", "challenged-by-totp"), None),
        (event_of("accepted", "challenged-by-hub", "challenged-by-dns"), None),
        (event_of("accepted", "challenged-by-dns"), None),
        (event_of("accepted", "challenged-by-"), None),
        (event_of("accepted"), None),
        (event_of("observed", "challenged-by-hub"), None),
        (event_of("challenged", "challenged-by-hub"), None),
    ],
)
def test_an_event_names_one_method_or_none(event, method):
    assert challenge_of(event) == method


@pytest.mark.parametrize(
    ("event", "possible"),
    [
        (event_of(), {(PLAIN,), (PLAIN, "HUBLEDGER_SIGNER_FIRST_USE")}),
        (
            event_of(sequence=1),
            {(PLAIN,), (PLAIN, "HUBLEDGER_SIGNER_FIRST_USE"), (PLAIN, "HUBLEDGER_SIGNER_PINNED")},
        ),
        (event_of("accepted", sequence=1), {(PLAIN,)}),
        (event_of("accepted", "challenged-by-dns", sequence=1), {(PLAIN,)}),
        *[
            (event_of("accepted", f"challenged-by-{method}", sequence=1), {(PLAIN,), (PLAIN, level)})
            for method, level in METHODS.items()
        ],
    ],
)
def test_levels_are_those_that_the_event_can_have_and_no_others(event, possible):
    assert set(possible_levels(event, passed=True)) == possible
    assert possible_levels(event, passed=False) == (("FAILED",),)


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
