"""First use and pins, as stories: what each upload is called, in the order of the log (architecture section 2)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.history import INITIAL, HistoryState, parse_state
from ledger.identity import canonical_identity, identity_digest
from ledger.policy import tofu
from tests.events import decided, event, key, signed_by, workflow

A, B, C = key("a"), key("b"), key("c")

STORIES = {
    "the first signer is pinned": [
        (event(A), "observed"),
        (event(A), "observed"),
        (event(B), "signer-changed"),
    ],
    "unsigned before there is a pin": [
        (event(), "observed"),
        (event(A), "observed"),
        (event(), "signature-lost"),
    ],
    "a failed signature pins nobody": [
        (event(A, outcome="INVALID_SIGNATURE"), "observed"),
        (event(B), "observed"),
        (event(A), "signer-changed"),
    ],
    "a mismatch loses the signature": [
        (event(A), "observed"),
        (event(A, outcome="CONTENT_MISMATCH"), "signature-lost"),
    ],
    "a change stays one until a policy says otherwise": [
        (event(A), "observed"),
        (event(B), "signer-changed"),
        (event(B), "signer-changed"),
        (event(A), "observed"),
    ],
    "both of two first signers are pinned": [
        (event(A, B), "observed"),
        (event(A), "observed"),
        (event(B), "observed"),
    ],
    "who signs beside a pinned signer never joins": [
        (event(A), "observed"),
        (event(A, B), "observed"),
        (event(B), "signer-changed"),
    ],
    "a proposal never counts": [
        (event(B, ref="refs/pull/1/head"), "proposal"),
        (event(A), "observed"),
        (event(B, ref="refs/pull/2/merge"), "proposal"),
        (event(ref="refs/pull/3/head"), "proposal"),
        (event(A), "observed"),
    ],
    "a recheck never pins": [
        (event(B, trigger="recheck"), "observed"),
        (event(A), "observed"),
        (event(B, trigger="recheck"), "signer-changed"),
    ],
    "a new tag of the same workflow is the same signer": [
        (event(workflow("refs/tags/v1")), "observed"),
        (event(workflow("refs/tags/v2")), "observed"),
        (event(workflow("refs/heads/evil")), "signer-changed"),
    ],
    "a workflow of a re-registered repository is another signer": [
        (event(workflow("refs/tags/v1")), "observed"),
        (event(workflow("refs/tags/v1", repository="999")), "signer-changed"),
    ],
    "the name leads to another repository": [
        (event(A, repo_id="1"), "observed"),
        (event(A, repo_id="2"), "other-repository"),
        (event(A, repo_id="1"), "observed"),
    ],
    "the repository id is lost": [(event(A, repo_id="1"), "observed"), (event(A), "repository-id-lost")],
    "a repository id that comes later is no change": [
        (event(A), "observed"),
        (event(A, repo_id="1"), "observed"),
    ],
    "another repository even without signatures": [
        (event(repo_id="1"), "observed"),
        (event(repo_id="2"), "other-repository"),
    ],
    "a rename keeps the pin of the repository": [
        (event(A, repo_id="1"), "observed"),
        (event(B, repo_id="1", name="acme/new"), "signer-changed"),
        (event(A, repo_id="1", name="acme/new"), "observed"),
    ],
}


@pytest.mark.parametrize("story", STORIES)
def test_stories(story):
    states = {}
    for number, (upload, wanted) in enumerate(STORIES[story]):
        name = f"name:{upload.model.name}"
        repo = f"repo:{upload.model.repo_id}" if upload.model.repo_id else None
        decision = tofu.decide(
            upload, repo=states.get(repo, INITIAL) if repo else None, name=states.get(name, INITIAL)
        )
        challenged = wanted not in ("observed", "proposal")
        assert decision.decision == ("challenged" if challenged else "observed"), number
        assert decision.reasons == (() if wanted == "observed" else (wanted,)), number
        done = decided(upload, decision.decision)
        for history in filter(None, (name, repo)):
            states[history] = parse_state(states.get(history, INITIAL).apply(done).format())


def test_verified_beside_failed_signatures_counts():
    mixed = event(signatures=signed_by(A) + signed_by(B, outcome="INVALID_SIGNATURE"))
    assert mixed.outcome == "VERIFIED"
    pinned = INITIAL.apply(decided(mixed, "observed"))
    assert tofu.decide(event(B), repo=None, name=pinned).reasons == ("signer-changed",)
    assert tofu.decide(event(A), repo=None, name=pinned).reasons == ()


# The whole decision, against the words of section 2

SOME = [A, B, C]
pins = st.none() | st.sets(st.sampled_from(SOME), min_size=1).map(
    lambda found: frozenset(identity_digest(canonical_identity(each)) for each in found)
)
states = st.builds(HistoryState, pin=pins, last_repo=st.sampled_from([None, "", "repo:1", "repo:2"]))
uploads = st.builds(
    event,
    st.sampled_from(SOME),
    st.sampled_from(SOME),
    outcome=st.sampled_from(["VERIFIED", "VERIFIED", "CONTENT_MISMATCH", "INVALID_SIGNATURE"]),
    repo_id=st.sampled_from([None, "1", "2"]),
    ref=st.sampled_from([None, "refs/heads/main", "refs/pull/1/head"]),
)


def reference(upload, repo, name):
    """ "An event is held against the pin of its repo: history, else of its name: history, and is a change when there is a
    pin and none of its verified identities is in it, or the last event that counted of that name had another repo: than
    this one has, or had one where this has none." Proposals never count.
    """
    if upload.model.ref == "refs/pull/1/head":
        return "observed"
    held = next((each.pin for each in (repo, name) if each is not None and each.pin is not None), None)
    signers = {
        identity_digest(canonical_identity(each.signer))
        for each in upload.signatures
        if upload.outcome == "VERIFIED"
    }
    lost = held is not None and not held & signers
    mine = None if upload.model.repo_id is None else f"repo:{upload.model.repo_id}"
    moved = name.last_repo not in (None, "") and name.last_repo != mine
    return "challenged" if lost or moved else "observed"


@settings(max_examples=400, deadline=None)
@given(upload=uploads, repo=st.none() | states, name=states)
def test_a_decision_is_the_one_that_the_text_gives(upload, repo, name):
    decision = tofu.decide(upload, repo=repo, name=name)
    assert decision.decision == reference(upload, repo, name)
    assert (decision.reasons == ()) == (decision.decision == "observed" and not upload.model.is_proposal)


def pinned(*signers):
    return HistoryState(pin=frozenset(identity_digest(canonical_identity(each)) for each in signers))


def test_the_repository_s_own_pin_stands_before_that_of_the_name():
    """A name that was given to another repository does not bring its signers along, nor lose that one's."""
    assert tofu.decide(event(A, repo_id="1"), repo=pinned(A), name=pinned(B)).decision == "observed"
    assert tofu.decide(event(B, repo_id="1"), repo=pinned(A), name=pinned(B)).decision == "challenged"


def test_a_repository_without_a_pin_is_held_against_the_name_s():
    for repo in (INITIAL, None):
        assert tofu.decide(event(B, repo_id="1"), repo=repo, name=pinned(A)).reasons == ("signer-changed",)


def test_a_signature_that_failed_does_not_keep_the_pin_although_it_names_the_signer():
    mismatch = event(A, outcome="CONTENT_MISMATCH")
    assert mismatch.signatures[0].signer == A
    assert tofu.decide(mismatch, repo=None, name=pinned(A)).reasons == ("signature-lost",)
