"""The log entry of a keyless signature: its true place in the log of the trust root, for exactly this signature."""

import base64
import copy
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from cli.demo_world import DemoSigstore
from ledger.bundle import NotVerifiedError, parse_bundle
from ledger.bundle.log_entry import LogKeys
from ledger.bundle.trust_material import TrustMaterial
from ledger.bundle.upstream import prove_upstream
from ledger.tlog.checkpoint import Checkpoint, format_checkpoint
from ledger.tlog.merkle import leaf_hash, node_hash
from ledger.tlog.signed_note import NoteSignature, format_note
from ledger.verification import verify_revision
from tests import oms

ECDSA = ec.ECDSA(hashes.SHA256())
SIGNER = {"identity": "release@acme.example", "issuer": "https://accounts.example.org"}


@pytest.fixture(scope="module")
def sigstore():
    return DemoSigstore()


@pytest.fixture(scope="module")
def signed(sigstore):
    """A bundle of the Rekor v1 shape, as a dict."""
    return json.loads(sigstore.sign(b'{"a": 1}', **SIGNER))


def entry_of(bundle):
    return bundle["verificationMaterial"]["tlogEntries"][0]


def log_keys(sigstore):
    import hashlib

    public = sigstore.log_key.public_key()
    der = public.public_bytes(serialization.Encoding.DER, oms.SPKI)
    return LogKeys({hashlib.sha256(der).digest(): public})


def prove(sigstore, bundle, keys=None):
    der = base64.b64decode(bundle["verificationMaterial"]["certificate"]["rawBytes"])
    return prove_upstream(
        entry_of(bundle),
        bundle=parse_bundle(oms.raw(bundle)),
        certificate=x509.load_der_x509_certificate(der),
        keys=keys or log_keys(sigstore),
    )


def test_an_entry_is_proven(sigstore, signed):
    upstream = prove(sigstore, signed)
    assert (upstream.origin, upstream.index, upstream.kind) == ("rekor.demo.example - 1", 1, "dsse:0.0.1")
    assert upstream.integrated_time == int(sigstore.now.timestamp())


def relog(sigstore, body):
    """What the log would answer for another body."""
    return sigstore._log_entry(body if isinstance(body, bytes) else json.dumps(body).encode())


def body_of(bundle):
    return json.loads(base64.b64decode(entry_of(bundle)["canonicalizedBody"]))


def resign(sigstore, bundle, *, origin="rekor.demo.example - 1", name="rekor.demo.example", key=None, size=2):
    """Put another checkpoint over the same tree into the proof."""
    proof = entry_of(bundle)["inclusionProof"]
    body = base64.b64decode(entry_of(bundle)["canonicalizedBody"])
    root = node_hash(leaf_hash(b"an earlier entry"), leaf_hash(body))
    text = format_checkpoint(Checkpoint(origin=origin, size=size, root_hash=root))
    log_id = base64.b64decode(entry_of(bundle)["logId"]["keyId"])
    made = (key or sigstore.log_key).sign(text, ECDSA)
    note = format_note(text, [NoteSignature(name=name, key_id=log_id[:4], signature=made)])
    proof["checkpoint"]["envelope"] = note.decode()


def promise(sigstore, entry, **changed):
    """Sign a promise as the log does; returns the entry."""
    from ledger.encoding import format_canonical_json

    entry |= changed
    log_id = base64.b64decode(entry["logId"]["keyId"])
    message = {
        "body": entry["canonicalizedBody"],
        "integratedTime": int(entry["integratedTime"]),
        "logID": log_id.hex(),
        "logIndex": int(entry["logIndex"]),
    }
    made = sigstore.log_key.sign(format_canonical_json(message), ECDSA)
    entry["inclusionPromise"] = {"signedEntryTimestamp": oms.b64(made)}
    return entry


def set_entry(bundle, entry):
    bundle["verificationMaterial"]["tlogEntries"] = [entry]


def with_body(change):
    """Bend the body and log that; every proof is right, but for something else."""

    def bend(sigstore, bundle):
        body = body_of(bundle)
        change(body)
        set_entry(bundle, relog(sigstore, body))

    return bend


def field(*path, value):
    """Set one field of the entry."""

    def bend(_sigstore, bundle):
        place = entry_of(bundle)
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return bend


def without(*path):
    def bend(_sigstore, bundle):
        place = entry_of(bundle)
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return bend


def no_promise_and(index):
    def bend(_sigstore, bundle):
        del entry_of(bundle)["inclusionPromise"]
        entry_of(bundle)["logIndex"] = index

    return bend


SIXTEEN = oms.b64(bytes(16))
BENT = {
    "another index in the proof": (field("inclusionProof", "logIndex", value="0"), "upstream-log-unproven"),
    "a lying index and size, which fit the hashes": (
        lambda _s, b: entry_of(b)["inclusionProof"].update(logIndex="2", treeSize="3"),
        "upstream-log-unproven",
    ),
    "another hash": (field("inclusionProof", "hashes", value=[oms.b64(bytes(32))]), "upstream-log-unproven"),
    "a short hash": (field("inclusionProof", "hashes", value=[SIXTEEN]), "upstream-log-unproven"),
    "a hash too many": (
        lambda _s, b: entry_of(b)["inclusionProof"]["hashes"].append(oms.b64(bytes(32))),
        "upstream-log-unproven",
    ),
    "hashes that are no strings": (field("inclusionProof", "hashes", value=[1]), "bundle-malformed"),
    "no proof": (without("inclusionProof"), "upstream-log-unproven"),
    "no checkpoint": (without("inclusionProof", "checkpoint"), "upstream-log-unproven"),
    "a checkpoint that is none": (
        field("inclusionProof", "checkpoint", "envelope", value="nothing"),
        "upstream-log-unproven",
    ),
    "half a surrogate pair": (
        field("inclusionProof", "checkpoint", "envelope", value="\ud800"),
        "upstream-log-unproven",
    ),
    "an index with a sign": (field("logIndex", value="+1"), "upstream-log-unproven"),
    "an index of 5,000 digits": (field("logIndex", value="1" * 5000), "upstream-log-unproven"),
    "a body that is no base64": (field("canonicalizedBody", value="é"), "upstream-log-unproven"),
    "an entry that is no object": (lambda _s, b: set_entry(b, "entry"), "bundle-malformed"),
    "a log that the trust root does not have": (
        field("logId", "keyId", value=oms.b64(bytes(32))),
        "upstream-checkpoint-unsigned",
    ),
    "a checkpoint by another key": (
        lambda s, b: resign(s, b, key=oms.new_key()),
        "upstream-checkpoint-unsigned",
    ),
    "a checkpoint whose signer is not its origin": (
        lambda s, b: resign(s, b, origin="other.example"),
        "upstream-checkpoint-unsigned",
    ),
    "a checkpoint of another size, rightly signed": (
        lambda s, b: resign(s, b, size=3),
        "upstream-log-unproven",
    ),
    "another outer index": (field("logIndex", value="7777"), "upstream-promise-false"),
    "another time": (field("integratedTime", value="1"), "upstream-promise-false"),
    "no time": (without("integratedTime"), "upstream-promise-false"),
    "a time beyond JSON's integers": (field("integratedTime", value="9" * 18), "upstream-promise-false"),
    "a promise that is none": (field("inclusionPromise", value={}), "upstream-promise-false"),
    "a promise by nobody": (
        field("inclusionPromise", value={"signedEntryTimestamp": SIXTEEN}),
        "upstream-promise-false",
    ),
    "no promise, and an outer index that nobody proved": (no_promise_and("7777"), "upstream-index-false"),
    "a body about another statement": (
        with_body(lambda body: body["spec"]["payloadHash"].update(value="0" * 64)),
        "upstream-entry-other",
    ),
    "a body with another signature": (
        with_body(lambda body: body["spec"]["signatures"][0].update(signature=SIXTEEN)),
        "upstream-entry-other",
    ),
    "a body with another certificate": (
        with_body(lambda body: body["spec"]["signatures"][0].update(verifier=SIXTEEN)),
        "upstream-entry-other",
    ),
    "a body with one more signature": (
        with_body(lambda body: body["spec"]["signatures"].append(body["spec"]["signatures"][0])),
        "upstream-entry-other",
    ),
    "a body of another version than it says": (
        with_body(lambda body: body.update(apiVersion="0.0.2")),
        "upstream-entry-other",
    ),
    "a body that is no JSON": (lambda s, b: set_entry(b, relog(s, b"body")), "upstream-entry-other"),
    "a body of another kind than the entry says": (
        field("kindVersion", value={"kind": "hashedrekord", "version": "0.0.2"}),
        "upstream-entry-other",
    ),
    "a kind that nobody here knows": (
        field("kindVersion", value={"kind": "intoto", "version": "0.0.2"}),
        "upstream-entry-kind",
    ),
}


@pytest.mark.parametrize("bent", BENT)
def test_an_entry_that_is_not_the_one(sigstore, signed, bent):
    bundle = copy.deepcopy(signed)
    bend, code = BENT[bent]
    bend(sigstore, bundle)
    with pytest.raises(NotVerifiedError) as refused:
        prove(sigstore, bundle)
    assert refused.value.reason == code
    assert str(refused.value).startswith(f"{code}: ")


def test_numbers_beside_the_proof_are_not_believed(sigstore, signed):
    """The size and root that count are the checkpoint's; others in the message change nothing."""
    bundle = copy.deepcopy(signed)
    entry_of(bundle)["inclusionProof"].update(treeSize="99", rootHash=oms.b64(bytes(32)))
    assert prove(sigstore, bundle) == prove(sigstore, signed)


def test_a_global_index_is_the_one_that_the_promise_covers(sigstore, signed):
    """Rekor v1 has two: the promise's, and that of the proof within its shard."""
    bundle = copy.deepcopy(signed)
    promise(sigstore, entry_of(bundle), logIndex="588939812")
    assert prove(sigstore, bundle).index == 588939812


def test_a_time_without_a_promise_is_nobodys_word(sigstore, signed):
    bundle = copy.deepcopy(signed)
    del entry_of(bundle)["inclusionPromise"]
    assert prove(sigstore, bundle).integrated_time is None


def test_a_key_of_an_unknown_kind_is_no_key():
    """Also one whose bytes are no key at all, or none."""

    class Log:
        def __init__(self, raw):
            self.public_key = type("Key", (), {"raw_bytes": raw})
            self.log_id = type("Id", (), {"key_id": bytes(32)})

    assert LogKeys.of([Log(b"junk"), Log(None)]).by_id == {}
    ed = ed25519.Ed25519PrivateKey.generate()
    keys = LogKeys({b"log": ed.public_key()})
    assert keys.signed(b"log", ed.sign(b"data"), b"data")
    assert not keys.signed(b"log", ed.sign(b"data"), b"other")
    assert not keys.signed(b"other log", ed.sign(b"data"), b"data")


# Through the whole verification


@pytest.fixture
def check(sigstore, model):
    def call(bundle, root=None):
        oms.put(model, bundle)
        trust = TrustMaterial(sigstore_json=root or sigstore.trusted_root())
        found = verify_revision(model, trust=trust)
        return found.outcome, found.reasons

    return call


def test_an_entry_for_another_artifact(sigstore, model, check):
    """Two signatures by one signer, their log entries exchanged."""
    statement = oms.raw(oms.statement(model))
    ours = json.loads(sigstore.sign(statement, **SIGNER))
    other = json.loads(sigstore.sign(b'{"another": "statement"}', **SIGNER))
    assert check(ours) == ("VERIFIED", ())
    set_entry(ours, entry_of(other))
    assert check(ours) == ("INVALID_SIGNATURE", ("sigstore-rejected",))


@pytest.mark.parametrize("entries", [None, [], 2])
def test_none_or_several_entries(sigstore, model, check, entries):
    bundle = json.loads(sigstore.sign(oms.raw(oms.statement(model)), **SIGNER))
    bundle["verificationMaterial"]["tlogEntries"] = [entry_of(bundle)] * 2 if entries == 2 else entries
    assert check(bundle) == ("INVALID_SIGNATURE", ("upstream-entries",))


def test_another_instance_than_the_trusted_one(sigstore, model, check):
    bundle = sigstore.sign(oms.raw(oms.statement(model)), **SIGNER)
    assert check(bundle, DemoSigstore().trusted_root()) == ("INVALID_SIGNATURE", ("sigstore-rejected",))


def test_an_old_bundle_carries_the_certificate_in_a_chain(sigstore, model, check):
    bundle = json.loads(sigstore.sign(oms.raw(oms.statement(model)), **SIGNER))
    material = bundle["verificationMaterial"]
    material["x509CertificateChain"] = {"certificates": [material.pop("certificate")]}
    for version in ("0.1", "0.2"):
        bundle["mediaType"] = f"application/vnd.dev.sigstore.bundle+json;version={version}"
        assert check(bundle) == ("VERIFIED", ())


def test_sigstores_own_bundles_of_the_second_rekor(vectors, check):
    """A real one of Rekor v2's staging log: it signs an in-toto statement that is an attestation, so ask directly."""
    folder = vectors / "vectors/rekor-bundles/rekor2-dsse-happy-path"
    raw = (folder / "bundle.sigstore.json").read_bytes()
    from ledger.bundle.sigstore_method import verify_sigstore

    trust = TrustMaterial(sigstore_json=(folder / "trusted_root.json").read_bytes())
    upstream = verify_sigstore(parse_bundle(raw), trust).upstream_log
    assert upstream.kind == "hashedrekord:0.0.2"
    assert upstream.index == int(entry_of(json.loads(raw))["inclusionProof"]["logIndex"])
    assert upstream.integrated_time is None
    assert check(raw, (folder / "trusted_root.json").read_bytes())[1] == ("attestation",)
