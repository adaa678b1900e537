"""How a history reads: which rows are marked against the row before, and which against the pin."""

from dataclasses import replace

import pytest

from ledger.event import RecordedBy, UnknownStatement
from ledger.history import Pin, derive_rows
from ledger.identity import canonical_identity
from tests.events import event, key, workflow

A, B, C = key("a"), key("b"), key("c")
HERE = "name:acme/tiny"


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
}


@pytest.mark.parametrize("name", STORIES)
def test_rows_are_marked_against_the_row_before_and_against_the_pin(name):
    story = STORIES[name]
    rows = derive_rows(enumerate(each for each, _, _ in story), key=HERE)
    assert [(row.change is not None, row.by_pinned) for row in rows] == [
        (changed, by_pinned) for _, changed, by_pinned in story
    ]


def test_a_row_says_who_is_pinned_and_where():
    rows = derive_rows(enumerate([event(), event(A, B), event(C)]), key=HERE)
    pin = Pin(leaf_index=1, signers=(canonical_identity(A), canonical_identity(B)))
    assert [row.pin for row in rows] == [None, pin, pin]


def test_a_renamed_repository_keeps_the_pin_of_its_first_name():
    """Section 2: the pin of the `repo:` history goes before that of the name."""
    before = event(A, name="acme/old", repo_id="1")
    rows = derive_rows(enumerate([before, event(B, repo_id="1"), event(A, repo_id="1")]), key=HERE)
    assert [(row.leaf_index, row.by_pinned) for row in rows] == [(1, False), (2, True)]


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        ([event(A), event(B)], "Signer changed: key sha256:"),
        ([event(A), event()], "Signer changed: no longer signed; was key sha256:"),
        (
            [event(A), event(A, outcome="CONTENT_MISMATCH")],
            "Signer changed: no signature that could be verified; was key sha256:",
        ),
        (
            [event(A, repo_id="1"), event(A, repo_id="2")],
            "The name leads to another repository: repo:1 → repo:2",
        ),
        (
            [event(A, repo_id="1"), event(B)],
            "The name leads to another repository: repo:1 → none. Signer changed: key sha256:",
        ),
    ],
)
def test_a_change_is_said_in_the_words_of_every_interface(statements, said):
    change = derive_rows(enumerate(statements), key=HERE)[-1].change
    assert change is not None
    assert change.startswith(said)


def test_what_is_not_understood_is_a_row_all_the_same():
    unknown = UnknownStatement(
        predicate_type="https://hubledger/verification-event/v9", reason="version 9", common=event(A).common
    )
    rows = derive_rows(enumerate([event(A), unknown, event(A)]), key=HERE)
    assert [(row.statement is unknown, row.change, row.by_pinned) for row in rows] == [
        (False, None, True),
        (True, None, None),
        (False, None, True),
    ]
