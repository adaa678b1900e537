"""Histories: what each event establishes, how a chain is checked, and which rows show a change (architecture section 2).

The fold and the rows are held to slow references that look at the whole history at once, written from the text.
"""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import ChainError, MalformedError
from ledger.event import HistoryLink, UnknownStatement
from ledger.history import (
    INITIAL,
    ChainHead,
    HistoryState,
    check_link,
    derive_rows,
    history_keys,
    parse_state,
    repo_key,
    verified_identities,
)
from ledger.identity import canonical_identity, identity_digest
from tests.events import decided, digest, event, key, signed_by, workflow

SIGNERS = [key("a"), key("b"), workflow("refs/tags/v1"), workflow("refs/tags/v2"), workflow("refs/heads/x")]

events = st.builds(
    event,
    *[st.sampled_from(SIGNERS)] * 2,
    outcome=st.sampled_from(["VERIFIED", "VERIFIED", "CONTENT_MISMATCH", "INVALID_SIGNATURE", "UNKNOWN_KEY"]),
    repo_id=st.sampled_from([None, "1", "2"]),
    ref=st.sampled_from([None, "refs/heads/main", "refs/pull/1/head", "refs/merge-requests/1/head"]),
    trigger=st.sampled_from(["upload", "backfill", "recheck"]),
    decision=st.sampled_from(["observed", "observed", "accepted", "challenged", "rejected"]),
) | st.builds(
    event,
    repo_id=st.sampled_from([None, "1", "2"]),
    ref=st.sampled_from([None, "refs/pull/1/head"]),
    decision=st.sampled_from(["observed", "challenged"]),
)
histories = st.lists(events, max_size=8)


def is_proposal(each):
    return each.model.ref is not None and each.model.ref.startswith(("refs/pull/", "refs/merge-requests/"))


def counted(each):
    """An event that counts: observed or accepted, and no proposal."""
    return each.policy.decision in ("observed", "accepted") and not is_proposal(each)


def reference_state(history):
    """ "The pin is the set of verified identities of the first event that is VERIFIED, not of a pull ref, and observed
    or accepted; a recheck never changes it"; the last repository is that of the last event that counts.
    """
    pinning = [
        each for each in history if counted(each) and each.outcome == "VERIFIED" and each.trigger != "recheck"
    ]
    pin = None
    if pinning:
        pin = frozenset(
            identity_digest(canonical_identity(signature.signer))
            for signature in pinning[0].signatures
            if signature.outcome == "VERIFIED"
        )
    last = next((each for each in reversed(history) if counted(each)), None)
    repo = None if last is None else "" if last.model.repo_id is None else f"repo:{last.model.repo_id}"
    return HistoryState(pin=pin, last_repo=repo)


def fold(history):
    state = INITIAL
    for each in history:
        state = state.apply(each)
    return state


@settings(max_examples=300, deadline=None)
@given(history=histories)
def test_the_fold_says_what_the_whole_history_says(history):
    assert fold(history) == reference_state(history)


@settings(max_examples=100, deadline=None)
@given(history=histories)
def test_a_state_is_stored_and_read_back(history):
    state = fold(history)
    assert parse_state(state.format()) == state


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"[]",
        b'{"lastRepo":7,"pin":null}',
        b'{"lastRepo":null,"pin":"a"}',
        b'{"lastRepo":null,"pin":["AA"]}',
    ],
)
def test_a_stored_state_of_another_form_is_refused(data):
    with pytest.raises(MalformedError):
        parse_state(data)


@pytest.mark.parametrize("decision", ["challenged", "rejected"])
def test_what_was_not_accepted_establishes_nothing(decision):
    assert INITIAL.apply(event(key("a"), repo_id="1", decision=decision)) is INITIAL


def test_an_event_that_changes_nothing_gives_the_same_state():
    state = INITIAL.apply(event(key("a"), repo_id="1"))
    assert state.apply(event(key("b"), repo_id="1")) is state


# Who signed


def test_only_signatures_that_verified_name_a_signer_each_once_and_in_order():
    a, b, c = key("a"), key("b"), key("c")
    mismatch = signed_by(c, outcome="CONTENT_MISMATCH")
    found = verified_identities(event(signatures=(*signed_by(b, a), *signed_by(b), *mismatch)))
    assert found == (canonical_identity(b), canonical_identity(a))


def test_two_tags_of_one_workflow_are_one_signer():
    v1, v2 = workflow("refs/tags/v1"), workflow("refs/tags/v2")
    assert len(verified_identities(event(v1, v2))) == 1
    assert len(verified_identities(event(v1, workflow("refs/heads/main")))) == 2


def test_an_event_belongs_to_its_name_and_to_its_repository():
    assert history_keys("acme/tiny", None) == ("name:acme/tiny",)
    assert history_keys("acme/tiny", "7") == ("name:acme/tiny", "repo:7")
    assert repo_key(event(repo_id="7")) == "repo:7"
    assert repo_key(event()) is None


# Chains


PLACES = [
    HistoryLink(key="k", sequence=sequence, previous=previous)
    for sequence in (None, 0, 1, 2, 3)
    for previous in (None, digest("one"), digest("other"))
]


@pytest.mark.parametrize(
    ("head", "right"),
    [
        (None, HistoryLink(key="k", sequence=0)),
        (ChainHead(0, digest("one")), HistoryLink(key="k", sequence=1, previous=digest("one"))),
        (ChainHead(1, digest("other")), HistoryLink(key="k", sequence=2, previous=digest("other"))),
    ],
)
def test_one_place_follows_a_head_and_every_other_is_a_gap_or_a_fork(head, right):
    check_link(right, head, where="leaf 7")
    for other in PLACES:
        if other != right:
            with pytest.raises(ChainError, match="chain of k at leaf 7: expected number"):
                check_link(other, head, where="leaf 7")


# Rows


def reference_changes(history):
    """For each row whether it is marked, from all the rows before it."""
    marks = []
    for at, each in enumerate(history):
        before = [one for one in history[:at] if not is_proposal(one)]
        if is_proposal(each):
            marks.append(False)
            continue
        signed = [set(verified_identities(one)) for one in before if one.outcome == "VERIFIED"]
        repos = [one.model.repo_id for one in before if one.model.repo_id is not None]
        now = set(verified_identities(each)) if each.outcome == "VERIFIED" else set()
        other_repo = bool(repos) and repos[-1] != each.model.repo_id
        marks.append(other_repo or (bool(signed) and not signed[-1] & now))
    return marks


@settings(max_examples=300, deadline=None)
@given(history=histories)
def test_rows_are_marked_where_the_signer_or_the_repository_changed(history):
    rows = derive_rows(enumerate(history))
    assert [row.change is not None for row in rows] == reference_changes(history)
    assert [row.leaf_index for row in rows] == list(range(len(history)))
    for row, each in zip(rows, history, strict=True):
        assert row.signers == (verified_identities(each) if each.outcome == "VERIFIED" else ())


A, B = key("a"), key("b")
SHOWN_A = f"key sha256:{digest('a').hex()[:16]}…"
SHOWN_B = f"key sha256:{digest('b').hex()[:16]}…"

CHANGES = {
    "another key": ([event(A), event(B)], f"{SHOWN_A} → {SHOWN_B}"),
    "unsigned": ([event(A), event()], f"no longer signed: was {SHOWN_A}"),
    "a mismatch": ([event(A), event(A, outcome="CONTENT_MISMATCH")], f"content mismatch: was {SHOWN_A}"),
    "a key nobody knows": ([event(A), event(B, outcome="UNKNOWN_KEY")], f"unknown key: was {SHOWN_A}"),
    "another repository": (
        [event(A, repo_id="1"), event(A, repo_id="2")],
        "the name leads to another repository: repo:1 → repo:2",
    ),
    "no repository": (
        [event(A, repo_id="1"), event(A)],
        "the name leads to another repository: repo:1 → none",
    ),
    "a first repository": ([event(A), event(A, repo_id="1")], None),
    "one of two signers": ([event(A, B), event(B)], None),
    "the first signature": ([event(), event(A)], None),
    "after unsigned ones, against the last who signed": (
        [event(A), event(), event(B)],
        f"{SHOWN_A} → {SHOWN_B}",
    ),
    "a proposal": ([event(A), event(B, ref="refs/pull/1/head")], None),
    "after a proposal": ([event(A), event(B, ref="refs/pull/1/head"), event(A)], None),
}


@pytest.mark.parametrize("why", CHANGES)
def test_a_change_is_told_in_one_line(why):
    history, change = CHANGES[why]
    assert derive_rows(enumerate(history))[-1].change == change


def test_what_is_no_verification_event_is_a_row_and_changes_nothing():
    unknown = UnknownStatement(predicate_type="https://hubledger/other/v1", reason="unknown type or version")
    rows = derive_rows([(3, event(A)), (5, unknown), (9, event(A))])
    assert [(row.leaf_index, row.change, row.signers) for row in rows] == [
        (3, None, (canonical_identity(A),)),
        (5, None, ()),
        (9, None, (canonical_identity(A),)),
    ]


def test_rows_do_not_depend_on_what_was_decided():
    """A reader sees what was signed; whether the hub accepted it stands beside it."""
    history = [event(A), event(B), event(A)]
    for decisions in itertools.product(["observed", "challenged"], repeat=3):
        rows = derive_rows(
            enumerate(decided(each, word) for each, word in zip(history, decisions, strict=True))
        )
        assert [row.change is None for row in rows] == [True, False, False]


def test_a_claimed_signer_is_never_shown_as_one():
    claim = replace(event(A, outcome="UNKNOWN_KEY"), outcome="UNKNOWN_KEY")
    assert derive_rows([(0, claim)])[0].signers == ()
