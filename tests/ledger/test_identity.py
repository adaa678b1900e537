"""Who signed: the canonical identity, what keeps it the same and what changes it (identity/v1).

How it is shown is in test_identity_display.py. Pins hold digests of canonical identities, so two signers that share one would be each other; the derivation is held to
a reference that is written from docs/spec/identity.md.
"""

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.encoding import format_canonical_json
from ledger.errors import MalformedError
from ledger.event.schemas import SIGNER
from ledger.identity import (
    CertificateFacts,
    CommittedFacts,
    CommittedSigner,
    KeyFacts,
    KeySigner,
    Overflow,
    SigstoreFacts,
    SigstoreSigner,
    canonical_identity,
    display,
    identity_digest,
    overflow_text,
    overflow_value,
    parse_capped,
    parse_overflow,
    parse_signer,
    plain,
    ref_class,
)
from tests.events import digest

WORKFLOW = "https://git.example/acme/tiny/.github/workflows/release.yml"
CLAIMS = (
    ("buildTrigger", "push"),
    ("sourceRepositoryIdentifier", "123"),
    ("sourceRepositoryOwnerIdentifier", "9"),
    ("sourceRepositoryRef", "refs/tags/v1"),
)


def sigstore(san=f"{WORKFLOW}@refs/tags/v1", **changes):
    facts = SigstoreFacts(
        issuer="https://ci.example",
        san=san,
        san_type="uri",
        claims=CLAIMS,
        certificate_sha256=digest("certificate"),
    )
    return replace(facts, **changes)


def certificate(**changes):
    facts = CertificateFacts(
        chain_sha256=(digest("leaf"), digest("root")), anchor_spki_sha256=digest("anchor"), subject="CN=Acme"
    )
    return replace(facts, **changes)


def digest_of(facts):
    return identity_digest(canonical_identity(facts))


# Refs


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        ("refs/heads/main", "branch"),
        ("refs/heads/refs/tags/v1", "branch"),
        ("refs/tags/v1", "tag"),
        ("refs/tags/refs/heads/main", "tag"),
        ("refs/pull/7/merge", "pull"),
        ("refs/merge-requests/7/head", "pull"),
        ("refs/notes/commits", "other"),
        ("refs/heads", "other"),
        ("refs/headsman", "other"),
        ("Refs/heads/main", "other"),
        ("heads/main", "other"),
        ("main", "other"),
        (" refs/tags/v1", "other"),
        ("", "other"),
    ],
)
def test_a_ref_has_one_of_four_classes(ref, name):
    assert ref_class(ref) == name


# What a CI signer is


@pytest.mark.parametrize(
    ("san", "subject", "kind"),
    [
        (f"{WORKFLOW}@refs/tags/v1", WORKFLOW, "tag"),
        (f"{WORKFLOW}@refs/heads/main", WORKFLOW, "branch"),
        (f"{WORKFLOW}@refs/pull/7/merge", WORKFLOW, "pull"),
        (f"{WORKFLOW}@refs/notes/x", WORKFLOW, "other"),
        (f"{WORKFLOW}@refs/", WORKFLOW, "other"),
        # The ref is what stands after the last mark. Who names a branch so may choose its class, and gets a subject of
        # its own with it: never that of the workflow.
        (f"{WORKFLOW}@refs/heads/x@refs/tags/v1", f"{WORKFLOW}@refs/heads/x", "tag"),
        (f"{WORKFLOW}@refs/tags/v1@refs/heads/x", f"{WORKFLOW}@refs/tags/v1", "branch"),
        # No full ref, no class: the subject is the address as it is.
        (f"{WORKFLOW}@main", f"{WORKFLOW}@main", None),
        (f"{WORKFLOW}@Refs/tags/v1", f"{WORKFLOW}@Refs/tags/v1", None),
        ("https://user@refs.example/", "https://user@refs.example/", None),
        (WORKFLOW, WORKFLOW, None),
        # In the user part of an address it is a mark as well: what is before it stays whole.
        ("https://user@refs/tags/v1", "https://user", "tag"),
        ("", "", None),
    ],
)
def test_a_workflow_s_address_keeps_its_path_and_the_class_of_its_ref(san, subject, kind):
    identity = canonical_identity(sigstore(san))
    assert (identity.subject, identity.ref_class) == (subject, kind)


@pytest.mark.parametrize("san_type", ["email", "other"])
def test_only_an_address_has_a_ref(san_type):
    """An e-mail address whose user part looks like one is a person's, and stays as it is."""
    identity = canonical_identity(sigstore("ci@refs/tags/v1", san_type=san_type))
    assert (identity.subject, identity.ref_class) == ("ci@refs/tags/v1", None)


def test_releases_are_one_signer_and_a_stray_branch_is_not():
    v1, v2, main = (
        sigstore(f"{WORKFLOW}@{ref}") for ref in ("refs/tags/v1", "refs/tags/v2", "refs/heads/main")
    )
    assert digest_of(v1) == digest_of(replace(v2, certificate_sha256=digest("another")))
    assert digest_of(v1) != digest_of(main)


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://ci.other"},
        {"san": f"{WORKFLOW}2@refs/tags/v1"},
        {"claims": tuple(each for each in CLAIMS if each[0] != "buildTrigger")},
        {"claims": (("buildTrigger", "pull_request"), *CLAIMS[1:])},
        {"claims": (CLAIMS[0], ("sourceRepositoryIdentifier", "124"), *CLAIMS[2:])},
        {"claims": (*CLAIMS[:2], ("sourceRepositoryOwnerIdentifier", "8"), CLAIMS[3])},
        {"claims": overflow_value(dict(CLAIMS))},
    ],
)
def test_what_must_not_change_is_part_of_who_signed(change):
    assert digest_of(sigstore(**change)) != digest_of(sigstore())


@pytest.mark.parametrize(
    "change",
    [
        {"certificate_sha256": digest("renewed")},
        {"claims": (*CLAIMS[:3], ("sourceRepositoryRef", "refs/tags/v9"))},
        {"claims": CLAIMS[:3]},
    ],
)
def test_what_changes_from_release_to_release_is_not(change):
    assert digest_of(sigstore(**change)) == digest_of(sigstore())


# Look-alikes and overflow

LOOK_ALIKES = [
    "a@example.org",
    "а@example.org",
    "A@example.org",
    "a@example.org ",
    "a@еxample.org",
    "a@example.org\u200b",
    "ａ@example.org",
]


def test_names_that_only_look_the_same_are_different_signers():
    digests = {digest_of(sigstore(san, san_type="email")) for san in LOOK_ALIKES}
    assert len(digests) == len(LOOK_ALIKES)


@given(one=st.text(max_size=300), other=st.text(max_size=300))
@example(one="a" * 300, other="a" * 300 + "b")
def test_names_over_their_cap_are_told_apart_by_digest(one, other):
    long = [sigstore(overflow_text(text)) for text in (one, other)]
    assert (digest_of(long[0]) == digest_of(long[1])) == (one == other)


def test_a_name_and_its_own_overflow_form_are_two_identities():
    """A verifier caps by one rule, so the same signer always has the same form; a forged one never meets it."""
    assert digest_of(sigstore(overflow_text("a"))) != digest_of(sigstore("a"))
    text = json.dumps(overflow_text("a").as_json())
    assert digest_of(sigstore(overflow_text("a"))) != digest_of(sigstore(text))


def test_an_overflowed_address_has_no_ref_class():
    """Its bytes are not there to look at: v1 and v2 of it are two signers, which shows a change too many and none too few."""
    identity = canonical_identity(sigstore(overflow_text(f"{'x' * 300}@refs/tags/v1")))
    assert identity.ref_class is None
    assert isinstance(identity.subject, Overflow)


@given(text=st.text(max_size=50))
def test_the_overflow_form_of_a_text_counts_and_digests_its_utf_8(text):
    raw = text.encode("utf-8", "surrogatepass")
    assert overflow_text(text) == Overflow(count=len(raw), sha256=hashlib.sha256(raw).digest())


@given(value=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=5))
def test_the_overflow_form_of_a_list_counts_items_and_digests_its_canonical_form(value):
    expected = hashlib.sha256(format_canonical_json(value)).digest()
    assert overflow_value(value) == Overflow(count=len(value), sha256=expected)
    assert parse_overflow(overflow_value(value).as_json()) == overflow_value(value)


# Keys, certificates, commitments


def test_a_key_is_its_bytes():
    assert canonical_identity(KeyFacts(spki_sha256=digest("a"))) == KeySigner(spki_sha256=digest("a"))
    assert digest_of(KeyFacts(spki_sha256=digest("a"))) != digest_of(KeyFacts(spki_sha256=digest("b")))


def test_a_certificate_is_its_anchor_and_its_name_so_a_renewal_is_no_change():
    assert digest_of(certificate()) == digest_of(
        certificate(chain_sha256=(digest("renewed"), digest("root")))
    )
    assert digest_of(certificate()) != digest_of(certificate(subject="CN=Acne"))
    assert digest_of(certificate()) != digest_of(certificate(anchor_spki_sha256=digest("another")))
    assert digest_of(certificate()) != digest_of(certificate(anchor_spki_sha256=None))


def test_a_committed_identity_is_its_commitment_and_nothing_else():
    facts = CommittedFacts(commitment=digest("secret"))
    assert canonical_identity(facts) == CommittedSigner(commitment=digest("secret"))
    assert digest_of(facts) != digest_of(CommittedFacts(commitment=digest("other")))
    assert facts.as_json() == {"commitment": digest("secret").hex(), "identity": "identity/v1"}


def test_the_kinds_never_meet():
    same = digest("same")
    kinds = [
        KeyFacts(spki_sha256=same),
        CommittedFacts(commitment=same),
        certificate(anchor_spki_sha256=same, subject=same.hex()),
        sigstore(same.hex()),
    ]
    assert len({digest_of(facts) for facts in kinds}) == len(kinds)


# The whole derivation

capped = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.builds(overflow_text, st.text(max_size=4)),
)
refs = st.sampled_from(
    ["", "@refs/", "@refs/tags/v1", "@refs/heads/a@b", "@refs/pull/1/x", "@refs/x@refs/heads/y", "@ref/x"]
)
sans = st.one_of(capped, st.builds(lambda head, ref: head + ref, st.text("aé@/", max_size=5), refs))
claims = st.dictionaries(st.sampled_from([name for name, _ in CLAIMS]), capped, max_size=4).map(
    lambda found: tuple(sorted(found.items()))
)
facts_of_any_kind = st.one_of(
    st.builds(
        SigstoreFacts,
        issuer=capped,
        san=sans,
        san_type=st.sampled_from(["uri", "email", "other"]),
        claims=st.one_of(claims, st.just(overflow_value({"a": "b"}))),
        certificate_sha256=st.binary(min_size=32, max_size=32),
    ),
    st.builds(KeyFacts, spki_sha256=st.binary(min_size=32, max_size=32)),
    st.builds(CommittedFacts, commitment=st.binary(min_size=32, max_size=32)),
    st.builds(
        CertificateFacts,
        chain_sha256=st.just(overflow_value(["a"] * 9))
        | st.lists(st.binary(min_size=32, max_size=32), max_size=4).map(tuple),
        anchor_spki_sha256=st.none() | st.binary(min_size=32, max_size=32),
        subject=capped,
    ),
)


def reference(signer):
    """identity/v1 of a statement's ``signer`` object, from the specification's text."""
    if "commitment" in signer:
        return {"commitment": signer["commitment"], "type": "committed"}
    if signer["kind"] == "key":
        return {"spkiSha256": signer["spkiSha256"], "type": "key"}
    if signer["kind"] == "certificate":
        return {
            "anchorSpkiSha256": signer.get("anchorSpkiSha256"),
            "subject": signer["subject"],
            "type": "certificate",
        }
    subject, kind = signer["san"], None
    if signer["sanType"] == "uri" and isinstance(subject, str):
        at = subject.rfind("@refs/")
        if at >= 0:
            ref = subject[at + 1 :].split("/")
            subject = subject[:at]
            kind = {"heads": "branch", "tags": "tag", "pull": "pull", "merge-requests": "pull"}.get(
                ref[1], "other"
            )
            kind = kind if len(ref) > 2 else "other"
    is_overflow = signer["claims"].keys() == {"count", "sha256"}
    found = {} if is_overflow else signer["claims"]
    return {
        "issuer": signer["issuer"],
        "ownerId": found.get("sourceRepositoryOwnerIdentifier"),
        "refClass": kind,
        "repositoryId": found.get("sourceRepositoryIdentifier"),
        "subject": subject,
        "trigger": found.get("buildTrigger"),
        "type": "sigstore",
    }


@given(facts=facts_of_any_kind)
def test_the_canonical_form_is_that_of_the_specification(facts):
    identity = canonical_identity(facts)
    expected = reference(facts.as_json())
    assert identity.as_json() == expected
    assert identity_digest(identity) == hashlib.sha256(format_canonical_json(expected)).digest()


@given(facts=facts_of_any_kind)
def test_facts_are_logged_whole_and_read_back(facts):
    SIGNER.check(facts.as_json(), "signer")
    assert parse_signer(facts.as_json()) == facts


@given(facts=facts_of_any_kind)
def test_a_signer_is_shown_in_one_line_that_moves_no_cursor(facts):
    shown = display(canonical_identity(facts))
    assert shown
    assert shown.isprintable()


@pytest.mark.parametrize("value", [None, 7, [], True])
def test_a_capped_text_is_a_text_or_its_overflow_form(value):
    with pytest.raises(MalformedError, match=r"issuer: expected a string or \{count, sha256\}"):
        parse_capped(value, "issuer")
    assert plain(parse_capped("a", "issuer")) == "a"
    assert parse_capped(overflow_text("a").as_json(), "issuer") == overflow_text("a")


def test_identities_are_values():
    assert canonical_identity(sigstore()) == SigstoreSigner(
        issuer="https://ci.example",
        subject=WORKFLOW,
        repository_id="123",
        owner_id="9",
        ref_class="tag",
        trigger="push",
    )
