"""The subject of each statement type: what it names, and what its digest is of (docs/spec/event.md, "Subjects")."""

import base64
import hashlib
import json

import pytest

from ledger.errors import MalformedError
from ledger.event import schemas
from ledger.event.subjects import subject_of
from ledger.identity import CommittedFacts, KeyFacts, canonical_identity, identity_digest
from tests.events import workflow
from tests.world import p256_key, spki_of

HEX = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("policy", "change", "e1", "e2", "root")}
SPKI = spki_of(p256_key("hub"))


def sha256(data):
    return hashlib.sha256(data).digest()


CASES = {
    schemas.IDENTITY_POLICY: (
        {"policySha256": HEX["policy"], "previousPolicySha256": HEX["change"]},
        ("policy", bytes.fromhex(HEX["policy"])),
    ),
    schemas.CHALLENGE: (
        {"challengeId": "c-7", "policySha256": HEX["policy"], "changeSha256": HEX["change"]},
        ("c-7", bytes.fromhex(HEX["change"])),
    ),
    schemas.MODEL_NOTICE: (
        {"name": "acme/tiny", "notice": "renamed", "newName": "acme/small"},
        ("acme/tiny", sha256(b"acme/tiny")),
    ),
    schemas.DERIVATION: (
        {"model": {"revision": "r1", "name": "acme/tiny"}, "parents": [{"name": "acme/base"}]},
        ("acme/tiny", sha256(b'{"name":"acme/tiny","revision":"r1"}')),
    ),
    schemas.ACCOUNT_LINK: (
        {"account": "u-1", "signer": {"kind": "key", "spkiSha256": HEX["e1"]}},
        ("u-1", sha256(b'{"spkiSha256":"%s","type":"key"}' % HEX["e1"].encode())),
    ),
    schemas.HUB_KEY: (
        {"keyid": hashlib.sha256(SPKI).hexdigest(), "spki": base64.b64encode(SPKI).decode()},
        (hashlib.sha256(SPKI).hexdigest(), sha256(SPKI)),
    ),
    schemas.ERASURE: ({"evidence": [HEX["e2"], HEX["e1"]]}, ("evidence", bytes.fromhex(HEX["e2"]))),
    schemas.ANCHOR: (
        {"origin": "log.example", "size": 7, "rootHash": HEX["root"]},
        (
            "log.example",
            sha256(b"log.example\n7\n%s\n" % base64.b64encode(bytes.fromhex(HEX["root"]))),
        ),
    ),
    schemas.SUCCESSION: (
        {"predecessor": "log.example/old", "finalCheckpoint": "log.example/old\n7\n…\n"},
        ("log.example/old", sha256("log.example/old\n7\n…\n".encode())),
    ),
}


def test_every_type_with_plain_fields_has_a_subject():
    assert CASES.keys() == schemas.STATEMENTS.keys() - {schemas.VERIFICATION_EVENT}


@pytest.mark.parametrize("kind", CASES)
def test_the_subject_is_the_primary_object(kind):
    fields, subject = CASES[kind]
    assert subject_of(kind, fields) == subject


@pytest.mark.parametrize("kind", CASES)
def test_another_primary_object_is_another_subject(kind):
    """Whatever the digest is of: one changed digit of the fields that it covers changes it."""
    fields, subject = CASES[kind]
    covered = {
        schemas.IDENTITY_POLICY: "policySha256",
        schemas.CHALLENGE: "changeSha256",
        schemas.MODEL_NOTICE: "name",
        schemas.DERIVATION: "model",
        schemas.ACCOUNT_LINK: "signer",
        schemas.ERASURE: "evidence",
        schemas.ANCHOR: "rootHash",
        schemas.SUCCESSION: "finalCheckpoint",
    }
    if kind == schemas.HUB_KEY:
        other = spki_of(p256_key("other"))
        changed = {"keyid": hashlib.sha256(other).hexdigest(), "spki": base64.b64encode(other).decode()}
    else:
        text = json.dumps(fields[covered[kind]])
        flipped = text.replace(HEX["e2"], HEX["e1"]) if kind == schemas.ERASURE else _flip(text)
        changed = fields | {covered[kind]: json.loads(flipped)}
    assert subject_of(kind, changed)[1] != subject[1]


def _flip(text):
    at = max(index for index, char in enumerate(text) if char in "0123456789abcdef")
    return text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]


def test_a_challenge_without_a_change_is_about_its_policy():
    fields, _ = CASES[schemas.CHALLENGE]
    without = {name: value for name, value in fields.items() if name != "changeSha256"}
    assert subject_of(schemas.CHALLENGE, without) == ("c-7", bytes.fromhex(HEX["policy"]))


def test_an_anchor_is_the_text_of_its_checkpoint_so_that_another_log_holds_a_digest_anyone_can_make():
    from ledger.tlog.checkpoint import Checkpoint, format_checkpoint

    fields, (_, digest) = CASES[schemas.ANCHOR]
    tree = Checkpoint(origin="log.example", size=7, root_hash=bytes.fromhex(fields["rootHash"]))
    assert digest == sha256(format_checkpoint(tree))


@pytest.mark.parametrize(
    "facts", [KeyFacts(spki_sha256=bytes(32)), CommittedFacts(commitment=bytes(32)), workflow("refs/tags/v1")]
)
def test_an_account_is_linked_to_the_canonical_identity_so_releases_do_not_end_the_link(facts):
    fields = {"account": "u-1", "signer": facts.as_json()}
    assert subject_of(schemas.ACCOUNT_LINK, fields) == ("u-1", identity_digest(canonical_identity(facts)))


def test_the_link_of_one_release_is_that_of_the_next():
    subjects = {
        subject_of(schemas.ACCOUNT_LINK, {"account": "u", "signer": workflow(ref).as_json()})
        for ref in ("refs/tags/v1", "refs/tags/v2", "refs/heads/main")
    }
    assert len(subjects) == 2


@pytest.mark.parametrize(
    "spki", ["", "AA", base64.b64encode(SPKI).decode() + "\n", base64.b64encode(SPKI + b"x").decode()]
)
def test_a_hub_key_whose_id_is_not_of_its_bytes_is_refused(spki):
    fields = CASES[schemas.HUB_KEY][0] | {"spki": spki}
    with pytest.raises(MalformedError):
        subject_of(schemas.HUB_KEY, fields)
