"""First use and pins, as stories: what each upload is called, in the order of the log (architecture section 2)."""

import pytest

from ledger.history import INITIAL, parse_state
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
