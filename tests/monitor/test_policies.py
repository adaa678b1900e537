"""What the log says of its own rules: stories of policies, challenges and signers, each folded entry by entry."""

from dataclasses import replace

import pytest

from ledger.event import PolicyRef, escape_name
from ledger.identity import canonical_identity, display, identity_digest
from monitor.findings import Kind
from monitor.known import Context, Known
from monitor.policies import MAX_NAMESPACES
from tests.monitor.hub import NAME, Hub
from tests.monitor.test_detect import fold, kinds, story
from tests.world import RECORDED_AT, digest, key_signer, signed_by

A, B = signed_by(key_signer("a")), signed_by(key_signer("b"))
ID_A, ID_B = (identity_digest(canonical_identity(key_signer(each))).hex() for each in "ab")
LATER = "2026-01-02T03:05:05Z"
OLD_SIGNER = {"method": "old-signer", "answeredBy": ID_A}
OWNER = {"method": "totp", "answeredBy": "owner"}
FIRST = (0, "first-signer")


class Story(Hub):
    """A hub whose events can be decided by another policy than the one of the tests' world."""

    def decided(self, *signatures, policy="policy", decision="observed", **words):
        event = len(self.world.entries)
        self._policy = PolicyRef(sha256=digest(policy), decision=decision)
        return self.record(*signatures, revision=words.pop("revision", str(event)), **words)

    def accepted(self, *signatures, methods, **words):
        self._reasons = tuple(f"challenged-by-{each}" for each in methods)
        return self.decided(*signatures, decision="accepted", **words)

    def append(self, statement, *, key="hub"):
        reasons, self._reasons = getattr(self, "_reasons", ()), ()
        if reasons:
            statement = replace(statement, reasons=("signer-changed", *reasons))
        policy, self._policy = getattr(self, "_policy", None), None
        if policy is not None and hasattr(statement, "policy"):
            statement = replace(statement, policy=policy)
        return super().append(statement, key=key)


def told(hub, **words):
    return [each for each in kinds(fold(hub, **words)) if each[1] not in ("first-signer", "signer-changed")]


# Policies


@pytest.mark.parametrize(
    ("change", "fields", "kind"),
    [
        ("set", {}, "policy-announced"),
        ("set", {"previousPolicySha256": digest("old").hex()}, "policy-relaxed"),
        ("relax", {}, "policy-relaxed"),
        ("unpin", {"identities": [ID_A]}, "policy-relaxed"),
        ("rotate", {"identities": [ID_B]}, "policy-relaxed"),
        ("pin", {"identities": [ID_A, ID_B]}, "first-k-closed"),
        ("pin", {"identities": [ID_B]}, "policy-relaxed"),
        ("pin", {"identities": {"count": 99, "sha256": digest("x").hex()}}, "first-k-closed"),
        ("revoke", {"identities": [ID_B]}, "policy-changed"),
    ],
)
def test_a_change_that_nobody_was_asked_about(change, fields, kind):
    hub = story(([A], {}))
    hub.policy(change, **fields)
    assert told(hub) == [(1, kind)]


def test_a_second_pin_changes_the_policy():
    hub = story(([A], {}))
    hub.policy("pin", identities=[ID_A])
    hub.policy("pin", identities=[ID_A, ID_B])
    assert told(hub) == [(1, "first-k-closed"), (2, "policy-changed")]


@pytest.mark.parametrize(
    "answer", [OLD_SIGNER, {**OLD_SIGNER, "answeredBy": display(canonical_identity(key_signer("a")))}, OWNER]
)
def test_a_change_after_a_challenge_that_the_right_party_answered_is_for_the_record(answer):
    hub = story(([A], {}))
    hub.challenge("opened", expiresAt=LATER)
    hub.challenge("answered", **answer)
    hub.policy("rotate", identities=[ID_B], challengeId="c1")
    assert told(hub) == [(3, "policy-announced")]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], [(1, "challenge-skipped")]),
        ([("opened", {})], [(2, "challenge-skipped")]),
        ([("opened", {}), ("cancelled", {})], [(3, "challenge-skipped")]),
        ([("opened", {}), ("expired", {})], [(3, "challenge-skipped")]),
        ([("answered", OWNER)], [(1, "challenge-wrong"), (2, "challenge-skipped")]),
        ([("opened", {}), ("answered", {})], [(2, "challenge-wrong"), (3, "challenge-skipped")]),
        (
            [("opened", {}), ("answered", {**OLD_SIGNER, "answeredBy": ID_B})],
            [(2, "challenge-wrong"), (3, "challenge-skipped")],
        ),
        (
            [("opened", {}), ("cancelled", {}), ("answered", OWNER)],
            [(3, "challenge-wrong"), (4, "challenge-skipped")],
        ),
        (
            [("opened", {"expiresAt": RECORDED_AT}), ("answered", {**OWNER, "at": LATER})],
            [(2, "challenge-wrong"), (3, "challenge-skipped")],
        ),
        (
            [("opened", {}), ("answered", {**OWNER, "policy": "other"})],
            [(2, "challenge-wrong"), (3, "challenge-skipped")],
        ),
        (
            [("opened", {}), ("answered", {**OWNER, "changeSha256": digest("other").hex()})],
            [(2, "challenge-wrong"), (3, "challenge-skipped")],
        ),
        (
            [("opened", {"policy": "other"}), ("answered", {**OWNER, "policy": "other"})],
            [(3, "challenge-skipped")],
        ),
        (
            [
                ("opened", {"histories": ("name:acme/other",)}),
                ("answered", {**OWNER, "histories": ("name:acme/other",)}),
            ],
            [(3, "challenge-skipped")],
        ),
        (
            [("opened", {}), ("opened", {"policy": "other"}), ("answered", OWNER)],
            [(2, "challenge-wrong"), (4, "policy-announced")],
        ),
    ],
)
def test_a_challenge_that_was_skipped_or_answered_by_the_wrong_party(steps, expected):
    hub = story(([A], {}))
    for state, fields in steps:
        hub.challenge(state, **fields)
    hub.policy("rotate", identities=[ID_B], challengeId="c1")
    assert told(hub) == expected


def test_a_challenge_carries_one_change():
    hub = story(([A], {}))
    hub.challenge("opened")
    hub.challenge("answered", **OWNER)
    hub.policy("rotate", identities=[ID_B], challengeId="c1")
    hub.policy("relax", challengeId="c1")
    assert told(hub) == [(3, "policy-announced"), (4, "challenge-skipped")]


def test_the_old_signer_is_who_signed_before_the_change_in_question():
    hub = Story()
    hub.decided(A)
    hub.decided(B, decision="challenged")
    hub.decided(B, decision="challenged")
    hub.challenge("opened", id_="by-a")
    hub.challenge("answered", id_="by-a", **OLD_SIGNER)
    hub.challenge("opened", id_="by-b")
    hub.challenge("answered", id_="by-b", method="old-signer", answeredBy=ID_B)
    assert told(hub) == [(6, "challenge-wrong")]


def test_what_was_answered_before_following_began_is_not_called_skipped():
    hub = story(([A], {}))
    hub.challenge("answered", **OWNER)
    hub.policy("rotate", identities=[ID_B], challengeId="c1")
    assert told(hub, first=1, start=1) == [(2, "policy-announced")]


def test_a_policy_in_the_wrong_history_is_no_policy():
    hub = story(([A], {}))
    hub.policy("relax", histories=("name:acme/other",))
    assert told(hub) == [(1, "malformed-entry")]


def test_an_observer_changes_no_policy():
    from tests.monitor.test_detect import _announced

    hub = story(([A], {}))
    hub.hub_key(*_announced("watcher"), role="observer")
    hub.policy("relax", role="observer")
    hub.challenge("answered", role="observer")
    assert told(hub) == [(1, "hub-key-changed")]


# What decided about an event


def test_an_event_by_another_policy_than_the_one_in_force_is_told():
    hub = Story()
    hub.decided(A)
    hub.policy("set", policy="new", previousPolicySha256=digest("policy").hex(), at=LATER)
    hub.decided(A)  # before it takes effect
    hub.decided(A, policy="new", verified_at=LATER)
    hub.decided(A, policy="policy", verified_at=LATER)
    hub.policy("set", policy="third", previousPolicySha256=digest("never").hex())
    assert told(hub) == [
        (1, "policy-relaxed"),
        (4, "policy-differs"),
        (5, "policy-relaxed"),
        (5, "policy-differs"),
    ]


@pytest.mark.parametrize("scope", ["name:acme/model", "repo:7", "namespace:acme", "hub:"])
def test_the_nearest_scope_decides(scope):
    hub = Story()
    hub.policy("set", scope=scope, policy="near")
    hub.decided(A, policy="near", repo_id="7")
    hub.decided(A, policy="far", repo_id="7")
    assert told(hub) == [(0, "policy-announced"), (2, "policy-differs")]


def test_a_policy_that_changed_and_was_never_announced_is_told_once_for_each_model():
    hub = Story()
    hub.decided(A)
    hub.decided(A, policy="other")
    hub.decided(A, policy="other")
    assert told(hub) == [(1, "policy-differs")]


def test_an_accepted_change_needs_a_policy_that_names_who_signs_now():
    hub = Story()
    hub.decided(A)
    hub.decided(B, decision="accepted")
    assert told(hub) == [(1, "challenge-skipped")]
    agreed = Story()
    agreed.decided(A)
    agreed.challenge("opened")
    agreed.challenge("answered", **OLD_SIGNER)
    agreed.policy(
        "rotate",
        policy="policy",
        identities=[ID_B],
        challengeId="c1",
        previousPolicySha256=digest("new").hex(),
    )
    agreed.decided(B, decision="accepted")
    assert told(agreed) == [(3, "policy-announced")]


@pytest.mark.parametrize(
    ("named", "told_of"),
    [
        ((), False),
        (("old-signer",), False),
        (("webauthn",), True),
        (("old-signer", "webauthn"), True),
        (("dns",), True),
    ],
)
def test_a_method_that_the_challenge_did_not_have(named, told_of):
    """Attestations repeat it, and a client that has the event alone believes the event."""
    hub = Story()
    hub.decided(A)
    hub.challenge("opened", policy="policy")
    hub.challenge("answered", policy="policy", **OLD_SIGNER)
    hub.policy("rotate", policy="policy", identities=[ID_B], challengeId="c1")
    hub.accepted(B, methods=named)
    found = [each for each in fold(hub) if each.kind is Kind.CHALLENGE_SKIPPED]
    assert bool(found) is told_of
    for each in found:
        assert each.text == (
            f"acme/model at 4: the hub says that the change was challenged by {', '.join(named)}, and the log that it was "
            "answered by old-signer: ask the publisher whether they agreed."
        )


def test_of_a_challenge_that_was_answered_before_following_began_no_method_is_known():
    hub = Story()
    hub.decided(A)
    hub.challenge("opened", policy="policy")
    hub.challenge("answered", policy="policy", **OLD_SIGNER)
    hub.policy("rotate", policy="policy", identities=[ID_B], challengeId="c1")
    hub.accepted(B, methods=("webauthn",))
    assert "challenge-skipped" not in [kind for _, kind in told(hub, first=3, start=3)]


def test_an_accepted_change_to_somebody_whom_the_policy_does_not_name():
    hub = Story()
    hub.decided(A)
    hub.challenge("opened", policy="policy")
    hub.challenge("answered", policy="policy", **OLD_SIGNER)
    hub.policy("rotate", policy="policy", identities=[digest("third").hex()], challengeId="c1")
    hub.decided(B, decision="accepted")
    assert told(hub) == [(3, "policy-announced"), (4, "challenge-skipped")]


# Signers


def test_a_signer_that_the_settings_revoke_is_told_with_every_version():
    hub = story(([A], {}), ([A], {"revision": "2"}), ([B, A], {"revision": "3"}))
    context = Context(log="models", trust=hub.world.trust(), revoked=frozenset({ID_B}))
    found = _folded(hub, context)
    assert [(each.leaf_index, each.signers) for each in found] == [(2, (ID_B,))]


def _folded(hub, context):
    from monitor.detect import Detector
    from monitor.reads import read_entry

    reads = [read_entry(entry, at) for at, entry in enumerate(hub.world.entries)]
    return [each for each in Detector(context, Known()).run(reads) if each.kind is Kind.REVOKED_SIGNER]


@pytest.mark.parametrize("scope", ["name:acme/model", "namespace:acme", "hub:"])
def test_a_signer_that_the_log_revokes_is_told_until_it_is_pinned_again(scope):
    hub = Story()
    hub.policy("revoke", scope=scope, policy="policy", identities=[ID_A])
    hub.decided(A)
    hub.policy("pin", scope=scope, policy="policy", identities=[ID_A])
    hub.decided(A)
    assert [each for each in told(hub) if each[1] == "revoked-signer"] == [(1, "revoked-signer")]


def test_one_signer_of_unrelated_namespaces_is_told_once_for_each():
    hub = story(
        ([A], {"name": "acme/x"}),
        ([A], {"name": "acme/y"}),
        ([A], {"name": "other/x"}),
        ([A], {"name": "other/y"}),
        ([A], {"name": "no-namespace"}),
        ([B], {"name": "other/x", "revision": "2"}),
    )
    assert told(hub) == [(2, "signer-shared")]


def test_a_shared_signer_is_named_whole_and_models_as_people_write_them():
    hub = story(([A], {"name": escape_name("组织/模型")}), ([A], {"name": escape_name("模型/a b")}))
    (found,) = fold(hub)[-1:]
    assert found.text.startswith(
        f"{ID_A}, who signed for 组织 before, also signs {escape_name('模型/a b')}, of 模型: "
    )
    assert found.model == escape_name("模型/a b")
    assert fold(hub)[0].text.startswith("组织/模型 at ")


def test_what_is_remembered_of_a_signer_is_bounded():
    hub = story(*(([A], {"name": f"n{at}/x"}) for at in range(MAX_NAMESPACES + 3)))
    known = Known()
    found = [each for each in fold(hub, known=known) if each.kind is Kind.SIGNER_SHARED]
    assert len(found) == MAX_NAMESPACES - 1
    assert len(known.notes[f"signer:{ID_A}"]["namespaces"]) == MAX_NAMESPACES


def test_an_entry_asks_for_the_notes_that_it_is_held_against():
    """A run loads nothing else: what an entry does not ask for would be forgotten between two runs."""
    from monitor.reads import read_entry

    hub = story(([A], {"repo_id": "7"}))
    hub.policy("rotate", challengeId="c1")
    hub.challenge("opened", id_="c2")
    reads = [read_entry(entry, at) for at, entry in enumerate(hub.world.entries)]
    assert [each.policies for each in reads] == [
        ("policy:repo:7", f"policy:{NAME}", "policy:namespace:acme", "policy:hub:"),
        (f"policy:{NAME}",),
        (),
    ]
    assert [each.notes for each in reads] == [(f"signer:{ID_A}",), ("challenge:c1",), ("challenge:c2",)]
