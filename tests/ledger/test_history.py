"""Histories: what each event establishes, how a chain is checked, and which rows show a change (architecture section 2).

The fold and the rows are held to slow references that look at the whole history at once, written from the text.
"""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import ChainError, MalformedError
from ledger.event import HistoryLink, RecordedBy, UnknownStatement
from ledger.history import (
    INITIAL,
    ChainHead,
    HistoryState,
    Pin,
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


def pinning(each):
    return counted(each) and each.outcome == "VERIFIED" and each.trigger != "recheck"


def reference_state(history):
    """ "The pin is the set of verified identities of the first event that is VERIFIED, not of a pull ref, and observed
    or accepted; a recheck never changes it"; the last repository is that of the last event that counts.
    """
    first = next(filter(pinning, history), None)
    pin = None
    if first is not None:
        pin = frozenset(
            identity_digest(canonical_identity(signature.signer))
            for signature in first.signatures
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
        b"",
        b"{}",
        b"\1",
        b"\2" + bytes(31),
        b"\2" + bytes(33),
        b"\3" + digest("a") + digest("b"),  # not in order
        b"\3" + digest("a") * 2,
        b"\0repo:1",
        b"\0\nrepo:\xff",
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


HERE = "name:acme/tiny"
A, B, C = key("a"), key("b"), key("c")
SHOWN_A = f"key sha256:{digest('a').hex()[:16]}…"
SHOWN_B = f"key sha256:{digest('b').hex()[:16]}…"


def rows_of(history):
    return derive_rows(enumerate(history), key=HERE)


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


def reference_pin(history, at):
    """ "An event is held against the pin of its repo: history, else of its name: history"; else it shows its own."""
    repo = history[at].model.repo_id
    if is_proposal(history[at]):
        return None
    for end in (at, at + 1):
        named = list(enumerate(history[:end]))
        same_repo = [(i, one) for i, one in named if repo is not None and one.model.repo_id == repo]
        for chain in (same_repo, named):
            if first := next(((i, one) for i, one in chain if pinning(one)), None):
                return Pin(leaf_index=first[0], signers=verified_identities(first[1]))
    return None


@settings(max_examples=300, deadline=None)
@given(history=histories)
def test_rows_are_marked_where_the_signer_or_the_repository_changed(history):
    rows = rows_of(history)
    assert [row.change is not None for row in rows] == reference_changes(history)
    assert [row.leaf_index for row in rows] == list(range(len(history)))
    for row, each in zip(rows, history, strict=True):
        assert row.signers == (verified_identities(each) if each.outcome == "VERIFIED" else ())


@settings(max_examples=300, deadline=None)
@given(history=histories)
def test_rows_are_held_against_the_pin_of_the_repository_else_of_the_name(history):
    for at, row in enumerate(rows_of(history)):
        assert row.pin == (pin := reference_pin(history, at))
        assert row.by_pinned == (None if pin is None else bool({*pin.signers} & {*row.signers}))


def observed_by(observer, *signers):
    made = event(*signers)
    return replace(made, common=replace(made.common, recorded_by=RecordedBy(id=observer, role="observer")))


STORIES = {
    # what was recorded, and for each row: changed since the row before, by a pinned signer
    "the second upload of a stranger is still not by the pinned signer": [
        (event(A), False, True),
        (event(B), True, False),
        (event(B), False, False),
        (event(A), True, True),
    ],
    "before anybody is pinned nothing is held against a pin": [
        (event(), False, None),
        (event(A, outcome="INVALID_SIGNATURE"), False, None),
        (event(A), False, True),
        (event(), True, False),
    ],
    "each of the first signers is pinned": [
        (event(A, B), False, True),
        (event(B), False, True),
        (event(A), True, True),
        (event(C, B), True, True),
    ],
    "a challenged first signature pins nobody": [
        (event(A, decision="challenged"), False, None),
        (event(B), True, True),
        (event(A), True, False),
    ],
    "a release of the same workflow is the same signer": [
        (event(workflow("refs/tags/v1")), False, True),
        (event(workflow("refs/tags/v2")), False, True),
        (event(workflow("refs/heads/evil")), True, False),
    ],
    "proposals and observers are neither marked nor counted": [
        (event(B, ref="refs/pull/1/head"), False, None),
        (observed_by("watch.example", B), False, None),
        (event(A), False, True),
        (event(B, ref="refs/pull/2/head"), False, None),
        (event(A), False, True),
    ],
    "another repository under the name is marked, and held against the name's pin": [
        (event(A, repo_id="1"), False, True),
        (event(A, repo_id="2", decision="challenged"), True, True),
        (event(B, repo_id="2", decision="challenged"), True, False),
    ],
    "what a key does not verify is not by the pinned signer": [
        (event(A), False, True),
        (event(A, outcome="UNKNOWN_KEY"), True, False),
        (event(A, outcome="CONTENT_MISMATCH"), True, False),
    ],
}


@pytest.mark.parametrize("name", STORIES)
def test_rows_are_marked_against_the_row_before_and_against_the_pin(name):
    story = STORIES[name]
    rows = rows_of(each for each, _, _ in story)
    assert [(row.change is not None, row.by_pinned) for row in rows] == [
        (changed, by_pinned) for _, changed, by_pinned in story
    ]


def test_a_row_says_who_is_pinned_and_where():
    rows = rows_of([event(), event(A, B), event(C)])
    pin = Pin(leaf_index=1, signers=(canonical_identity(A), canonical_identity(B)))
    assert [row.pin for row in rows] == [None, pin, pin]


def test_a_renamed_repository_keeps_the_pin_of_its_first_name():
    """Section 2: the pin of the `repo:` history goes before that of the name."""
    before = event(A, name="acme/old", repo_id="1")
    rows = rows_of([before, event(B, repo_id="1"), event(A, repo_id="1")])
    assert [(row.leaf_index, row.by_pinned) for row in rows] == [(1, False), (2, True)]


UNVERIFIED = f"Signer changed: no signature that could be verified; was {SHOWN_A}"
CHANGES = {
    "another key": ([event(A), event(B)], f"Signer changed: {SHOWN_A} → {SHOWN_B}"),
    "unsigned": ([event(A), event()], f"Signer changed: no longer signed; was {SHOWN_A}"),
    "a mismatch": ([event(A), event(A, outcome="CONTENT_MISMATCH")], UNVERIFIED),
    "a key nobody knows": ([event(A), event(B, outcome="UNKNOWN_KEY")], UNVERIFIED),
    "another repository": (
        [event(A, repo_id="1"), event(A, repo_id="2")],
        "The name leads to another repository: repo:1 → repo:2",
    ),
    "no repository": (
        [event(A, repo_id="1"), event(A)],
        "The name leads to another repository: repo:1 → none",
    ),
    "another repository and another key": (
        [event(A, repo_id="1"), event(B)],
        f"The name leads to another repository: repo:1 → none. Signer changed: {SHOWN_A} → {SHOWN_B}",
    ),
    "a first repository": ([event(A), event(A, repo_id="1")], None),
    "one of two signers": ([event(A, B), event(B)], None),
    "the first signature": ([event(), event(A)], None),
    "after unsigned ones, against the last who signed": (
        [event(A), event(), event(B)],
        f"Signer changed: {SHOWN_A} → {SHOWN_B}",
    ),
    "a proposal": ([event(A), event(B, ref="refs/pull/1/head")], None),
    "after a proposal": ([event(A), event(B, ref="refs/pull/1/head"), event(A)], None),
}


@pytest.mark.parametrize("why", CHANGES)
def test_a_change_is_said_in_the_words_of_every_interface(why):
    history, change = CHANGES[why]
    assert rows_of(history)[-1].change == change


def test_what_is_not_understood_is_a_row_all_the_same_and_changes_nothing():
    unknown = UnknownStatement(
        predicate_type="https://hubledger/verification-event/v9", reason="version 9", common=event(A).common
    )
    rows = derive_rows([(3, event(A)), (5, unknown), (9, event(A))], key=HERE)
    assert [(row.leaf_index, row.statement is unknown, row.change, row.by_pinned) for row in rows] == [
        (3, False, None, True),
        (5, True, None, None),
        (9, False, None, True),
    ]
    assert rows[1].signers == ()


def test_what_belongs_to_another_history_is_no_row():
    foreign = UnknownStatement(predicate_type="https://hubledger/other/v1", reason="unknown type or version")
    other = event(B, name="acme/other")
    assert [row.leaf_index for row in rows_of([event(A), foreign, other, event(A)])] == [0, 3]


def test_rows_do_not_depend_on_what_was_decided():
    """A reader sees what was signed; whether the hub accepted it stands beside it."""
    history = [event(A), event(B), event(A)]
    for decisions in itertools.product(["observed", "challenged"], repeat=3):
        rows = rows_of(decided(each, word) for each, word in zip(history, decisions, strict=True))
        assert [row.change is None for row in rows] == [True, False, False]


def test_a_claimed_signer_is_never_shown_as_one():
    assert rows_of([event(A, outcome="UNKNOWN_KEY")])[0].signers == ()
