"""Patterns of subjects mean what was written and nothing beside it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.client.expect import Expectation
from ledger.client.patterns import SubjectPattern
from ledger.errors import UsageError
from ledger.identity import KeyFacts, SigstoreFacts, canonical_identity, overflow_text

WORKFLOWS = "https://git.example/acme/*/.github/workflows/release.yml@refs/tags/*"
TAGGED = "https://git.example/acme/tiny/.github/workflows/release.yml@refs/tags/v1.0"


def facts(san, issuer="https://token.example"):
    return SigstoreFacts(issuer=issuer, san=san, san_type="uri", claims=(), certificate_sha256=b"")


@pytest.mark.parametrize(
    ("pattern", "subject"),
    [
        (WORKFLOWS, TAGGED),
        ("*@acme.example", "release-bot@acme.example"),
        ("https://git.example/acme/model-*-v*", "https://git.example/acme/model-7-v2-v3"),
        ("https://git.example/*-*-*", "https://git.example/a-b-c-d"),
    ],
)
def test_a_star_is_a_part(pattern, subject):
    assert SubjectPattern(pattern).matches(subject)


@pytest.mark.parametrize(
    "subject",
    [
        TAGGED + "/more",
        "x" + TAGGED,
        TAGGED.replace("v1.0", ""),
        TAGGED.replace("tiny", "tiny/deeper"),
        TAGGED.replace("tiny", ""),
        TAGGED.replace("git.example", "gitXexample"),
        TAGGED.replace("acme", "аcme"),  # a Cyrillic letter
        TAGGED.replace("tiny", "tіny"),  # the same, where the star is
        TAGGED.replace("tiny", "ti\u200bny"),
        TAGGED.replace("tiny", "ti ny"),
        TAGGED.replace("tiny", "ti\nny"),
        TAGGED.replace("v1.0", "v1@evil.example"),
        TAGGED.replace("refs/tags", "refs/heads"),
        TAGGED.upper(),
        "https://evil.example/?https://git.example/acme/x/.github/workflows/release.yml@refs/tags/v1",
    ],
)
def test_what_only_looks_like_it_is_not_meant(subject):
    assert SubjectPattern(WORKFLOWS).matches(TAGGED)
    assert not SubjectPattern(WORKFLOWS).matches(subject)


def test_a_pattern_says_whose_subjects_it_means():
    for text in ("https://*/acme", "https://git.*/acme", "*://git.example/a", "bot@*", "bot@*.example", "*"):
        with pytest.raises(UsageError, match="no star in the host"):
            SubjectPattern(text)


PIECES = st.text(alphabet="ab./@*-", min_size=0, max_size=12)


@given(PIECES, PIECES)
def test_it_agrees_with_a_slow_reference(pattern, subject):
    text = f"https://git.example/{pattern}*"
    slow = re.escape(text).replace(r"\*", "[^/@]+")
    given_subject = f"https://git.example/{subject}"
    assert SubjectPattern(text).matches(given_subject) == bool(re.fullmatch(slow, given_subject))


def test_the_issuer_is_exact_and_other_kinds_of_signers_are_not_meant():
    expected = Expectation(pattern=SubjectPattern(WORKFLOWS), issuer="https://token.example")
    assert expected.met_by(facts(TAGGED))
    assert not expected.met_by(facts(TAGGED, issuer="https://token.example.evil"))
    assert not expected.met_by(KeyFacts(spki_sha256=b""))
    assert not Expectation(pattern=SubjectPattern(WORKFLOWS)).met_by(facts(TAGGED))
    assert str(expected) == f"{WORKFLOWS} (https://token.example)"


def test_what_is_known_by_its_digest_or_without_its_ref_meets_no_pattern():
    expected = Expectation(pattern=SubjectPattern(WORKFLOWS), issuer="https://token.example")
    assert not expected.met_by(facts(overflow_text(TAGGED)))
    assert not expected.met_by_identity(canonical_identity(facts(TAGGED)))


def test_stars_cost_no_more_time_than_letters():
    assert not SubjectPattern("https://git.example/" + "*a" * 1000).matches(
        "https://git.example/" + "a" * 100_000 + "b"
    )
