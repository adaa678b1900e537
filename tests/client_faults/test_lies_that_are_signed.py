"""The hub itself lies about each field of a statement: it signs the lie, and its log has it.

What can be seen here is refused. What only the hub can know stays its word; each such field is in a table that says why, and a
check then shows the same facts as before. Only the log's own signatures make misbehaviour, so no lie of this kind is any.
"""

import base64
import json
import shutil

import pytest

from ledger.client import check
from ledger.client.named import LOCAL_STEP
from ledger.client.trust_writing import format_trust
from ledger.tlog.proof import parse_proof
from tests.client_faults.hub import MODEL, NAME, facts_of, outcome, stored
from tests.client_faults.lies import as_bytes, canonical, lies_about
from tests.world import World, sign_statement

WORD = "known to the hub alone, and shown as its word"
HARMLESS = {
    "predicate.eventId": "the hub's own key of the event",
    "predicate.histories[].previous": "the event before, of which nothing is remembered; with a pin it is held against that",
    "predicate.histories[].sequence": "the place in a chain of which nothing is remembered; with a pin it is held against that",
    "predicate.manifest.bytes": "how much the files are; their digests decide",
    "predicate.manifest.contentSha256": "the files are those of the whole manifest",
    "predicate.manifest.files": "how many the files are; their digests decide",
    "predicate.model.revision": "none was asked for, and the result names the one that the hub signed",
    "predicate.policy.decision": "accepted is as good as observed",
    "predicate.policy.sha256": WORD,
    "predicate.recordedAt": "the hub's clock; age is judged by cosignatures",
    "predicate.signatures": "the same signature twice is the same signer",
    "predicate.signatures[].accountLink": WORD,
    "predicate.signatures[].bundleSha256": "the signature here is then one that the hub did not see, which a row says",
    "predicate.signatures[].ignoredPaths": "compared with the signature by whoever audits the hub's evidence",
    "predicate.signatures[].ignoredPaths[]": "compared with the signature by whoever audits the hub's evidence",
    "predicate.signatures[].location": "a name; signatures are told apart by their digests",
    "predicate.signatures[].method": "who signed is in the signer, and that is held against the signature here",
    "predicate.signatures[].omsRootSha256": "what the signature says itself decides, when it is checked here",
    "predicate.signatures[].statementSha256": "what the signature says itself decides, when it is checked here",
    "predicate.trigger": WORD,
    "predicate.verifiedAt": "the hub's clock",
    "predicate.verifier.name": WORD,
    "predicate.verifier.version": WORD,
}
REFUSED = {
    "INVALID NOT_CHECKED",  # not a statement that anybody may read, of another ledger or hub, of somebody else, or of another model
    "CANNOT_CHECK NOT_CHECKED",  # of a type or version that nobody knows here
    "INCLUDED_ONLY NOT_CHECKED",
    "INCLUDED_ONLY NOT_ACCEPTED",  # not verified, or contradicted by the signature here
    "INCLUDED_ONLY CONTENT_DIFFERS",
}


@pytest.fixture
def told(hub, proxy, data):
    """Log a statement as the hub would, and check the new files; ``told.statement`` is the honest one."""
    trust = stored(hub.trust, proxy.url)
    assert check(hub.new, name=NAME, trust=trust).result.satisfied
    shutil.rmtree(data)
    answer = json.loads(proxy.heard[next(each for each in proxy.heard if each.startswith("/v1/check"))])
    envelope = json.loads(parse_proof(answer["proof"].encode()).extra)
    world = World().grow(2)
    trust = stored(format_trust(world.trust()), proxy.url)

    def call(statement, **more):
        log = world.fork(2)
        leaf = log.append(sign_statement(statement))
        log.grow(1)
        said = {**answer, "leafIndex": leaf, "proof": log.proof(leaf).decode()}
        said["claims"] = [{**answer["claims"][-1], "leafIndex": leaf}]
        said["count"] = 1
        proxy.bend = lambda _: (200, as_bytes(said))
        shutil.rmtree(data, ignore_errors=True)
        return outcome(
            lambda: check(hub.new, name=NAME, trust=trust, public_keys=[hub.pem.read_bytes()], **more)
        )

    call.statement = json.loads(base64.b64decode(envelope["payload"]))
    call.model = MODEL
    return call


def test_each_field_of_a_statement(told):
    honest = told(canonical(told.statement))
    assert honest.satisfied
    assert any(each.step == LOCAL_STEP and each.passed for each in honest.result.result.checks)
    wrong, used, count = [], set(), 0
    for lie in lies_about(told.statement, huge=20_000, long=40):
        found, count = told(canonical(lie.value)), count + 1
        if found.satisfied:
            used.add(lie.place)
            if differences(found, honest) - may_differ(lie.place):
                wrong.append(f"{lie}: other facts")
            elif lie.place not in HARMLESS:
                wrong.append(f"{lie}: made no difference")
        elif found.word not in REFUSED:
            wrong.append(f"{lie}: {found.word}")
    wrong += [f"{place}: every lie about it was refused" for place in HARMLESS if place not in used]
    assert count > 500
    assert not wrong, "\n".join(wrong)


def differences(found, honest):
    names = ("name", "model", "revision", "manifest", "content", "signers", "outcome", "decision")
    pairs = zip(names, facts_of(found.result), facts_of(honest.result), strict=True)
    return {name for name, one, other in pairs if one != other}


def may_differ(place):
    """The facts that are this field itself."""
    return {
        "predicate.policy.decision": {"decision"},
        "predicate.manifest.contentSha256": {"content"},
        "predicate.model.revision": {"revision"},
    }.get(place, set())
