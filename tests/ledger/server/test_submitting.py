"""A hub that holds its own key appends what it signed: only as the ledger itself would have made it."""

import base64
import hashlib
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.embedded.auditing import audit_ledger
from ledger.embedded.keys import load_keys
from ledger.embedded.making import init
from ledger.encoding import format_canonical_json
from ledger.entry import keyid_of
from ledger.event import ManifestRef, format_statement
from ledger.policy import tofu
from ledger.recorder import HubSigner
from ledger.recorder.drafts import Drafter
from tests.events import key
from tests.ledger.server.conftest import AT, facts
from tests.ledger.server.events import DIGEST, body
from tests.ledger.server.test_writing import running


class SigningHub:
    """Decides and signs as a hub does that holds the key."""

    def __init__(self, folder, service, *, hub="hub.example", ledger="log.example/models"):
        keys = load_keys(folder, service.writer.ledger.config)
        self.signer = HubSigner(key=keys.hub, keyid=keyid_of(keys.spki))
        self.drafter = Drafter(ledger=ledger, hub=hub, now=lambda: AT)
        self.log, self.service = service.writer.ledger.log, service

    def draft(self, name, revision, *signers, **more):
        about = replace(
            facts(name, revision, *signers, **more),
            manifest=ManifestRef(
                sha256=bytes.fromhex(DIGEST), content_sha256=bytes.fromhex(DIGEST), files=0, bytes=0
            ),
        )
        _, heads = self.log.lookup([], [f"name:{name}", f"repo:{about.model.repo_id}"])
        return self.drafter.decide(0, about, key=self.drafter.key_of(about), heads=heads, now=AT)

    def sign(self, *statements):
        return [base64.b64encode(each).decode() for each in self.signer.sign_run(list(statements))]

    def submit(self, *entries, **query):
        return self.service.post({"entries": list(entries)}, "/v1/entries", **query)


@pytest.fixture
def hub(tmp_path):
    folder = tmp_path / "ledger"
    init(folder, origin="log.example/models", hub="hub.example", now=lambda: AT)
    with running(folder) as service:
        assert service.post(body("first", name="other")).status == 201  # stores the manifest
        yield SigningHub(folder, service)


def test_signed_events_are_appended_in_order_and_pass_the_audit(hub, tmp_path):
    first = hub.draft("acme/own", "r1", key("a"), repo_id="7")
    (entry,) = hub.sign(first.statement)
    found = hub.submit(entry, evidence="later")
    assert found.status == 200, found.body
    (appended,) = found.json["entries"]
    second = hub.draft("acme/own", "r2", key("b"), repo_id="7")
    assert second.event.policy.decision == "challenged"
    (changed,) = hub.sign(second.statement)
    assert hub.submit(changed, evidence="later").json["entries"][0]["leafIndex"] == appended["leafIndex"] + 1
    # What the ledger signs itself follows in the same chain.
    assert hub.service.post(body("third", name="acme/own", revision="r3")).json["decision"] == "challenged"
    again = hub.submit(entry, evidence="later")
    assert again.json["entries"] == [appended]
    hub.service.post(body("fourth", name="other", revision="r2"))
    assert audit_ledger(tmp_path / "ledger", progress=lambda *_: None, workers=1)["size"] == 6


def test_what_is_signed_against_an_old_head_is_told_the_new_one(hub):
    late = hub.draft("acme/own", "r1", key("a"))
    receipt = hub.service.post(body("sooner", name="acme/own"), wait="durable").json
    found = hub.submit(*hub.sign(late.statement), evidence="later")
    assert (found.status, found.json["type"]) == (409, "/problems/head-moved")
    (head,) = found.json["heads"]
    assert (head["key"], head["sequence"]) == ("name:acme/own", 0)
    statement = base64.b64decode(receipt["entry"]["payload"])
    assert head["sha256"] == hashlib.sha256(statement).hexdigest()
    assert found.json["policySha256"] == tofu.POLICY_SHA256.hex()
    fresh = hub.draft("acme/own", "r1", key("a"))
    assert hub.submit(*hub.sign(fresh.statement), evidence="later").status == 200


def test_entries_are_appended_together_or_not_at_all(hub):
    good = hub.draft("acme/one", "r1", key("a"))
    wrong = hub.draft("acme/two", "r1", key("a"))
    late = format_statement(replace(wrong.event, policy=replace(wrong.event.policy, decision="challenged")))
    size = hub.service.get("/health/ready").json["durable"]
    found = hub.submit(*hub.sign(good.statement, late), evidence="later")
    assert (found.status, found.json["type"]) == (422, "/problems/rejected")
    assert hub.service.get("/health/ready").json["durable"] == size


def test_another_policy_is_told_the_one_in_force(hub):
    draft = hub.draft("acme/own", "r1", key("a"))
    other = format_statement(replace(draft.event, policy=replace(draft.event.policy, sha256=bytes(32))))
    found = hub.submit(*hub.sign(other), evidence="later")
    assert (found.status, found.json["policySha256"]) == (409, tofu.POLICY_SHA256.hex())


def test_only_the_hub_s_own_keys_count_and_only_for_this_ledger(hub, tmp_path):
    draft = hub.draft("acme/own", "r1", key("a"))
    stranger = ec.generate_private_key(ec.SECP256R1())
    hub.signer = HubSigner(key=stranger, keyid=hub.signer.keyid)
    forged = hub.submit(*hub.sign(draft.statement), evidence="later")
    assert (forged.status, forged.json["type"]) == (422, "/problems/not-verified")
    hub.signer = HubSigner(key=stranger, keyid="0" * 64)
    assert hub.submit(*hub.sign(draft.statement), evidence="later").status == 422
    other = SigningHub(tmp_path / "ledger", hub.service, ledger="log.example/other")
    assert (
        other.submit(*other.sign(other.draft("acme/own", "r1").statement)).json["type"]
        == "/problems/rejected"
    )


def test_what_has_steps_of_its_own_is_not_taken(hub):
    """An erasure removes bytes, and a key needs more than a token that records."""
    draft = hub.drafter.plain(
        "https://hubledger/erasure/v1",
        {"evidence": ["a" * 64], "reason": "test"},
        event_id="e",
        heads=[("hub:", None)],
    )
    assert hub.submit(*hub.sign(draft.statement)).json["type"] == "/problems/malformed"


def test_evidence_must_be_here(hub):
    draft = hub.draft("acme/own", "r1", key("a"))
    found = hub.submit(*hub.sign(draft.statement))
    assert (found.status, found.json["type"]) == (422, "/problems/evidence-missing")
    assert len(found.json["missing"]) == 1  # the bundle; manifest and policy are stored


def test_the_same_id_with_other_facts_is_a_conflict(hub):
    first = hub.draft("acme/own", "r1", key("a"), event_id="one")
    assert hub.submit(*hub.sign(first.statement), evidence="later").status == 200
    other = hub.draft("acme/own", "r2", key("a"), event_id="one")
    assert hub.submit(*hub.sign(other.statement), evidence="later").status == 409


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'{"entries":[]}',
        b'{"entries":["!"]}',
        b'{"entries":[1]}',
        b'{"entries":["AA=="],"more":1}',
        b"[]",
    ],
)
def test_another_form_is_refused(hub, data):
    assert hub.service.post(data, "/v1/entries").json["type"] == "/problems/malformed"
    assert hub.submit(*[base64.b64encode(format_canonical_json({"a": 1})).decode()] * 101).status == 400
    assert json.loads(data) is not None
