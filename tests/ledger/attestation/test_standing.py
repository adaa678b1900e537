"""Who is pinned, and how a change was challenged: stories of policies and challenges, read as a hub that attests reads them."""

import itertools
from dataclasses import replace

import pytest

from ledger.attestation.levels import challenge_of, levels_of
from ledger.attestation.standing import standing_before
from ledger.entry import parse_entry
from ledger.event import UnknownStatement, parse_statement
from ledger.history import derive_rows
from ledger.identity import canonical_identity, display, identity_digest
from monitor.findings import Kind
from tests.monitor.test_detect import fold
from tests.monitor.test_policies import Story
from tests.world import RECORDED_AT, digest, key_signer, signed_by

A, B, C = (signed_by(key_signer(each)) for each in "abc")
ID_A, ID_B, ID_C = (identity_digest(canonical_identity(key_signer(each))).hex() for each in "abc")
EARLIER, LATER = "2026-01-02T03:03:05Z", "2026-01-02T03:05:05Z"
ANSWERS = {
    "old-signer": {"method": "old-signer", "answeredBy": ID_A},
    "totp": {"method": "totp", "answeredBy": "owner"},
    "webauthn": {"method": "webauthn", "answeredBy": "owner"},
    "hub": {"method": "hub", "answeredBy": "hub"},
}
NAME = "name:acme/model"


class Told(Story):
    """A story in which somebody is asked before a change."""

    def agree(self, method="totp", *, change="rotate", **words):
        self.challenge("opened", expiresAt=LATER)
        self.challenge("answered", **ANSWERS[method])
        return self.policy(change, challengeId="c1", **{"identities": [ID_B], **words})


def levels(hub, leaf=-1, *, swap=None):
    """The levels of the event at a leaf, without the first, which each has."""
    statements = [
        (at, parse_statement(parse_entry(each).payload)) for at, each in enumerate(hub.world.entries)
    ]
    for at, statement in (swap or {}).items():
        statements[at] = (at, statement)
    row = derive_rows(statements, key=NAME)[leaf]
    event = row.statement
    standing = standing_before(event, row.leaf_index, pin=row.pin, statements=statements)
    said = levels_of(
        event,
        by_pinned=standing.by_pinned(event),
        challenged_by=standing.challenged_by(event, challenge_of(event)),
    )
    return [each.removeprefix("HUBLEDGER_") for each in said[1:]]


def test_first_use_then_pinned_then_somebody_else():
    hub = Told()
    hub.decided(A)
    hub.decided(A)
    hub.decided(B)
    hub.decided(B, A)
    assert [levels(hub, at) for at in range(4)] == [
        ["SIGNER_FIRST_USE"],
        ["SIGNER_PINNED"],
        [],
        ["SIGNER_PINNED"],
    ]


def test_what_came_unsigned_pins_nobody():
    hub = Told()
    hub.decided()
    hub.decided(A)
    assert levels(hub) == ["SIGNER_FIRST_USE"]


@pytest.mark.parametrize("method", ANSWERS)
def test_a_change_that_was_challenged_is_named_once_and_the_new_signer_is_pinned(method):
    hub = Told()
    hub.decided(A)
    hub.decided(B, decision="challenged")
    hub.agree(method)
    hub.accepted(B, methods=(method,), revision="again")
    hub.decided(B)
    hub.decided(A)
    assert [levels(hub, at) for at in (-3, -2, -1)] == [
        [f"CHANGE_CHALLENGED_{method.upper().replace('-', '_')}"],
        ["SIGNER_PINNED"],
        [],
    ]


def test_the_old_signer_may_be_called_by_the_words_for_it_and_in_its_overflow_form():
    for who in (display(canonical_identity(key_signer("a"))), {"count": 64, "sha256": digest(ID_A).hex()}):
        hub = Told()
        hub.decided(A)
        hub.challenge("opened")
        hub.challenge("answered", method="old-signer", answeredBy=who)
        hub.policy("rotate", identities=[ID_B], challengeId="c1")
        hub.accepted(B, methods=("old-signer",))
        assert levels(hub) == ["CHANGE_CHALLENGED_OLD_SIGNER"]


OPENED, ANSWERED = ("opened", {"expiresAt": LATER}), ("answered", ANSWERS["totp"])


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [OPENED],
        [ANSWERED],
        [OPENED, ("cancelled", {})],
        [OPENED, ("expired", {}), ANSWERED],
        [OPENED, ANSWERED, ("cancelled", {})],
        [OPENED, ANSWERED, ANSWERED],
        [OPENED, OPENED, ANSWERED],
        [OPENED, ("answered", {})],
        [OPENED, ("answered", {"method": "totp"})],
        [OPENED, ("answered", {"answeredBy": "owner"})],
        [OPENED, ("answered", {"method": "old-signer", "answeredBy": ID_B})],
        [OPENED, ("answered", {"method": "old-signer", "answeredBy": {"count": 1, "sha256": ID_A}})],
        [OPENED, ("answered", {**ANSWERS["hub"]})],
        [("opened", {"expiresAt": EARLIER}), ANSWERED],
        [OPENED, ("answered", {**ANSWERS["totp"], "policy": "other"})],
        [OPENED, ("answered", {**ANSWERS["totp"], "changeSha256": digest("x").hex()})],
        [OPENED, ("answered", {**ANSWERS["totp"], "histories": ("name:acme/other",)})],
        [
            ("opened", {"histories": ("name:acme/other",)}),
            ("answered", {**ANSWERS["totp"], "histories": ("name:acme/other",)}),
        ],
        [("opened", {"policy": "other"}), ("answered", {**ANSWERS["totp"], "policy": "other"})],
        [OPENED, ("answered", {**ANSWERS["totp"], "role": "observer"})],
        [("opened", {"role": "observer"}), ANSWERED],
        [("opened", {"id_": "c2"}), ANSWERED],
    ],
)
def test_a_challenge_that_does_not_count_is_not_named(steps):
    hub = Told()
    hub.decided(A)
    for state, fields in steps:
        hub.challenge(state, **fields)
    hub.policy("rotate", identities=[ID_B], challengeId="c1")
    hub.accepted(B, methods=("totp",))
    assert levels(hub) == []


@pytest.mark.parametrize(
    "policy",
    [
        {"identities": [ID_C]},
        {"identities": []},
        {"identities": {"count": 1, "sha256": digest("x").hex()}},
        {"scope": "name:acme/other"},
        {"scope": "namespace:acme", "histories": (NAME, "namespace:acme")},
        {"histories": ("name:acme/other",)},
        {"at": LATER},
        {"policy": "third"},
        {"role": "observer"},
        {"change": "revoke"},
        {"change": "unpin"},
    ],
)
def test_a_policy_that_does_not_name_who_signs_now_is_not_enough(policy):
    hub = Told()
    hub.decided(A)
    hub.agree(**policy)
    hub.accepted(B, methods=("totp",))
    assert levels(hub) == []


def test_a_policy_counts_from_when_it_takes_effect_and_takes_out_at_once():
    hub = Told()
    hub.decided(A)
    hub.agree(at=LATER)
    hub.decided(A)
    hub.accepted(B, methods=("totp",), verified_at=LATER)
    assert [levels(hub, at) for at in (-2, -1)] == [[], ["CHANGE_CHALLENGED_TOTP"]]


def test_a_challenge_that_another_history_could_have_used_is_not_named():
    both = {"histories": (NAME, "name:acme/other")}
    hub = Told()
    hub.decided(A)
    hub.challenge("opened", **both)
    hub.challenge("answered", **both, **ANSWERS["totp"])
    hub.policy("rotate", identities=[ID_B], challengeId="c1")
    hub.accepted(B, methods=("totp",))
    assert levels(hub) == []


def test_a_challenge_carries_one_policy():
    hub = Told()
    hub.decided(A)
    hub.agree(identities=[ID_C])
    hub.policy("rotate", identities=[ID_B], challengeId="c1")
    hub.accepted(B, methods=("totp",))
    assert levels(hub) == []


@pytest.mark.parametrize(
    ("change", "fields", "left"),
    [
        ("revoke", {"identities": [ID_B]}, []),
        ("unpin", {"identities": [ID_B]}, []),
        ("unpin", {"identities": [ID_C]}, ["SIGNER_PINNED"]),
        ("unpin", {"identities": {"count": 99, "sha256": digest("x").hex()}}, []),
        ("revoke", {}, []),
        ("set", {}, []),
        ("relax", {}, []),
        ("rotate", {"identities": [ID_C]}, []),
        ("rotate", {"identities": [ID_B, ID_C]}, ["SIGNER_PINNED"]),
        ("pin", {"identities": [ID_C]}, ["SIGNER_PINNED"]),
    ],
)
def test_who_was_agreed_on_may_be_taken_out_again_with_nobody_asked(change, fields, left):
    hub = Told()
    hub.decided(A)
    hub.agree()
    hub.policy(change, **fields)
    hub.decided(B)
    assert levels(hub) == left
    hub.accepted(B, methods=("totp",))  # the policy in force is one that nobody was asked about
    assert levels(hub) == []


def test_who_is_put_in_with_nobody_asked_is_not_pinned():
    hub = Told()
    hub.decided(A)
    hub.policy("pin", identities=[ID_B])
    hub.decided(B)
    hub.decided(A)
    assert [levels(hub, at) for at in (-2, -1)] == [[], ["SIGNER_PINNED"]]


def test_before_anybody_signed_a_policy_may_say_who_will():
    hub = Told()
    hub.policy("set", identities=[ID_A])
    hub.decided(A)
    hub.decided(B)
    assert [levels(hub, at) for at in (-2, -1)] == [["SIGNER_PINNED"], []]


def test_a_policy_before_the_first_signer_is_not_undone_by_them():
    hub = Told()
    hub.policy("set", identities=[ID_A])
    hub.decided(B)
    hub.decided(B)
    assert levels(hub) == []


def test_a_statement_that_cannot_be_understood_leaves_nothing_to_say():
    hub = Told()
    hub.decided(A)
    hub.decided(A)
    hub.decided(A)
    assert levels(hub) == ["SIGNER_PINNED"]
    known = parse_statement(parse_entry(hub.world.entries[1]).payload)
    unknown = UnknownStatement(predicate_type="https://hubledger/new/v1", reason="type", common=known.common)
    assert levels(hub, swap={1: unknown}) == []
    assert levels(hub, swap={1: replace(unknown, common=None)}) == [], "nor one of which nothing reads"
    observer = replace(known.common, recorded_by=replace(known.common.recorded_by, role="observer"))
    assert levels(hub, swap={1: replace(unknown, common=observer)}) == ["SIGNER_PINNED"]


STEPS = {
    "open": lambda hub: hub.challenge("opened", policy="policy"),
    "open late": lambda hub: hub.challenge("opened", policy="policy", expiresAt=EARLIER),
    "answer": lambda hub: hub.challenge("answered", policy="policy", **ANSWERS["totp"]),
    "answer as a": lambda hub: hub.challenge("answered", policy="policy", **ANSWERS["old-signer"]),
    "cancel": lambda hub: hub.challenge("cancelled", policy="policy"),
    "rotate": lambda hub: hub.policy("rotate", policy="policy", identities=[ID_B], challengeId="c1"),
    "pin": lambda hub: hub.policy("pin", policy="policy", identities=[ID_B]),
}
WRONG = {Kind.CHALLENGE_SKIPPED, Kind.CHALLENGE_WRONG}


def test_where_a_method_is_said_a_monitor_finds_nothing_wrong_with_the_challenge():
    """Every order of four steps: the two readers of the same rules were written apart."""
    said = set()
    for names in itertools.product(STEPS, repeat=4):
        hub = Told()
        hub.decided(A)
        for name in names:
            STEPS[name](hub)
        for method in ("totp", "old-signer"):
            hub.accepted(B, methods=(method,))
        leaves = [len(hub.world.entries) + at for at in (-2, -1) if levels(hub, at)]
        if leaves:
            said.add(names)
            wrong = {each.leaf_index for each in fold(hub) if each.kind in WRONG}
            assert not wrong & set(leaves), names
    assert ("open", "answer", "rotate", "answer as a") in said
    assert all(_opened_answered_used(names) for names in said)


def _opened_answered_used(names):
    left = iter(names)
    return "open" in left and any(each.startswith("answer") for each in left) and "rotate" in left


def test_times_of_the_story():
    assert EARLIER < RECORDED_AT < LATER
