"""Keyless bundles whose log entry sigstore-python does not read: its word on the certificate, ours on the log."""

import functools
import hashlib
import json
import re

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from sigstore.verify import Verifier as SigstoreVerifier

from ledger.bundle.any_bundle import parse_any_bundle
from ledger.client.bundle_result import PROMISED_ONLY
from ledger.client.expect import Expectation
from ledger.client.result import LogResult, ModelResult
from ledger.client.sigstore_bundle import check_bundle
from ledger.encoding import format_base64, parse_base64
from ledger.entry import pae
from ledger.errors import InputError
from tests.bundle_mutations import mutations
from tests.keyless_world import IDENTITY, ISSUER, KINDS, Keyless
from tests.ledger.client.test_sigstore_bundle import facts
from tests.sigstore_world import ARTIFACT, TIME, sign
from tests.world import ed25519_key, p256_key

ALICE = Expectation(signer=IDENTITY, issuer=ISSUER)
DIGESTS = {"SHA2_256": hashlib.sha256(ARTIFACT).digest(), "SHA2_512": hashlib.sha512(ARTIFACT).digest()}
PROVEN = [
    (kind, version, True)
    for kind in ("old intoto", "intoto", "a digest of a statement")
    for version in ("0.1", "0.2", "0.3")
]
PROMISED = [(kind, "0.1", False) for kind in KINDS]


@functools.cache
def world():
    return Keyless()


def check(bundle, **known):
    raw = bundle if isinstance(bundle, bytes) else json.dumps(bundle).encode()
    known = {"root": world().root, "artifact": DIGESTS, "expected": (ALICE,)} | known
    return check_bundle(parse_any_bundle(raw), **known)


def make(kind, version, proven, **more):
    return world().bundle(kind, version=version, proven=proven, **more)


@pytest.mark.parametrize(("kind", "version", "proven"), [*PROVEN, *PROMISED])
def test_a_certificate_verifies_beside_every_kind_of_entry(kind, version, proven):
    bundle = make(kind, version, proven)
    result = check(bundle)
    assert result.satisfied, result.failure
    assert (result.log, result.signature) == (
        LogResult.INCLUDED_ONLY if proven else LogResult.PROMISED,
        ModelResult.ACCEPTED,
    )
    assert [each.kind for each in result.entries] == ([KINDS[kind]] if proven else [])
    assert [each.against for each in result.skipped] == ([] if proven else [PROMISED_ONLY])
    assert (result.signer.facts.san, result.signer.facts.issuer) == (IDENTITY, ISSUER)
    stranger = Expectation(signer="bob@example.org", issuer=ISSUER)
    assert check(bundle, expected=(stranger,)).signature is ModelResult.UNEXPECTED_SIGNER


# The certificate is sigstore-python's to judge, whatever the entry is


def _root_of_another(field, **keys):
    """The trusted root, with one part of another instance's."""
    other = json.loads(Keyless(**keys).root)
    return json.dumps(json.loads(world().root) | {field: other[field]}).encode()


REFUSED = {
    "logged before it was valid": ({"time": TIME - 61}, {}, "failed to build timestamp certificate chain"),
    "logged after it had expired": ({"time": TIME + 601}, {}, "failed to build timestamp certificate chain"),
    "by another authority": (
        {},
        {"field": "certificateAuthorities", "authority": "another"},
        "failed to build timestamp certificate chain",
    ),
    "in another certificate log": (
        {},
        {"field": "ctlogs", "certificate_log": "another"},
        "failed to verify SCT on signing certificate",
    ),
}
"""What is wrong: (with the bundle, with the trusted root, and what sigstore-python says of it)."""


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize(("kind", "version", "proven"), [("intoto", "0.3", True), *PROMISED])
def test_a_certificate_that_does_not_hold_is_refused(name, kind, version, proven):
    changed, other, why = REFUSED[name]
    root = _root_of_another(**other) if other else world().root
    result = check(make(kind, version, proven, **changed), root=root)
    assert (result.log, result.signature, result.signer) == (LogResult.INVALID, ModelResult.NOT_CHECKED, None)
    assert result.failure.step == "certificate of the signature"
    assert why in result.failure.actual


# Keys whose signatures sigstore-python does not verify: ours on the signature, its word on the certificate


@functools.cache
def private_key(kind):
    if kind.startswith("RSA"):
        return rsa.generate_private_key(public_exponent=65537, key_size=int(kind[4:]))
    return ec.generate_private_key({"P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}[kind])


OTHER_KEYS = [
    *((kind, "RSA 2048") for kind in KINDS),
    *(("dsse", key) for key in ("RSA 3072", "RSA 4096", "P-384", "P-521")),
    ("a digest of a statement", "P-384"),
]


@pytest.mark.parametrize(("kind", "key"), OTHER_KEYS)
def test_a_certificate_of_another_kind_of_key_verifies(kind, key):
    result = check(make(kind, "0.3", True, private=private_key(key)))
    assert result.satisfied, result.failure
    assert (result.signer.facts.san, result.signer.facts.issuer) == (IDENTITY, ISSUER)


@pytest.mark.parametrize("name", [*REFUSED, "without any time"])
@pytest.mark.parametrize(
    ("kind", "key"), [("dsse", "RSA 2048"), ("hashedrekord", "RSA 2048"), ("dsse", "P-384")]
)
def test_such_a_certificate_that_does_not_hold_is_refused(name, kind, key):
    changed, other, why = REFUSED.get(name, ({}, {}, "must contain an inclusion promise or signed timestamp"))
    root = _root_of_another(**other) if other else world().root
    bundle = make(kind, "0.3", True, private=private_key(key), **changed)
    if name == "without any time":
        entry = bundle["verificationMaterial"]["tlogEntries"][0]
        del entry["inclusionPromise"], entry["integratedTime"]
        entry["logIndex"] = entry["inclusionProof"]["logIndex"]
    result = check(bundle, root=root)
    assert (result.log, result.signer) == (LogResult.INVALID, None)
    assert why in result.failure.actual


def test_a_signature_by_another_rsa_key_than_the_certificates_is_refused():
    bundle = make("dsse", "0.3", True, private=private_key("RSA 2048"))
    envelope = bundle["dsseEnvelope"]
    signature = sign(private_key("RSA 4096"), pae(parse_base64(envelope["payload"])))
    envelope["signatures"][0]["sig"] = format_base64(signature)
    result = check(bundle)
    assert (result.log, result.failure.step) == (LogResult.INVALID, "signature of the bundle")


def test_a_sigstore_python_without_a_check_of_certificates_alone_is_not_said_to_refuse(monkeypatch):
    monkeypatch.delattr(SigstoreVerifier, "_verify_common_signing_cert")
    result = check(make("dsse", "0.3", True, private=private_key("RSA 2048")))
    assert (result.log, result.satisfied, result.signer) == (LogResult.CANNOT_CHECK, False, None)


def test_an_ed25519_certificate_cannot_be_checked():
    """``cryptography``'s rules for chains, which sigstore-python goes by, have no Ed25519."""
    bundle = make("dsse", "0.3", True, private=ed25519_key("alice"))
    # The signature of an envelope that is logged as ``dsse`` is plain Ed25519.
    result = check(bundle)
    assert (result.log, result.failure.step) == (LogResult.CANNOT_CHECK, "key of the certificate")


def test_a_certificate_without_any_time_is_refused():
    """The entry is proven; but no log and no authority says when, so nobody knows that the certificate was valid then."""
    bundle = make("intoto", "0.3", True)
    entry = bundle["verificationMaterial"]["tlogEntries"][0]
    del entry["inclusionPromise"], entry["integratedTime"]
    entry["logIndex"] = entry["inclusionProof"]["logIndex"]
    result = check(bundle)
    assert (result.log, result.failure.step) == (LogResult.INVALID, "certificate of the signature")


def test_two_entries_beside_a_certificate_are_refused():
    """sigstore-python takes exactly one, also where we say it again."""
    bundle = make("intoto", "0.3", True)
    entries = bundle["verificationMaterial"]["tlogEntries"]
    entries.append(world().log.log(parse_base64(entries[0]["canonicalizedBody"]), KINDS["intoto"]))
    result = check(bundle)
    assert (result.log, result.failure.actual) == (
        LogResult.INVALID,
        "expected exactly one log entry in bundle",
    )


# intoto 0.0.1 keeps no signature


def test_another_signature_does_not_have_the_entry_of_the_first():
    """Whoever gets hold of the key later could sign again; only the digest of the envelope tells the two apart."""
    bundle = make("old intoto", "0.3", True)
    envelope = bundle["dsseEnvelope"]
    again = p256_key("alice").sign(pae(parse_base64(envelope["payload"])), ec.ECDSA(hashes.SHA256()))
    envelope["signatures"][0]["sig"] = format_base64(again)
    result = check(bundle)
    assert (result.log, result.failure.step) == (LogResult.CANNOT_CHECK, "envelope of the log entry")
    assert result.signer is None


# Mutations

HARMLESS = {
    r"messageSignature/messageDigest removed": "the artifact is at hand, and it is the one that was signed",
    r"note/signature 0 twice": "the log's signature counts once",
    r"note/with a signature by a stranger": "signatures that are not the log's are not read",
    r"verificationMaterial/x509CertificateChain/certificates/0 twice": "certificates beside the leaf are not believed: the "
    "chain comes from the trusted root",
}
"""What may be changed without changing a fact, by the names of the mutations, and why."""
PROOF_GONE = re.compile(r"verificationMaterial/tlogEntries/0/inclusionProof(/checkpoint)? removed")
"""In version 0.1 this leaves the promise, which is what the result then says."""


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # of a certificate that was bent
def test_every_mutation_that_changes_a_fact_is_refused():
    unused = set(HARMLESS)
    for kind, version, proven in [*PROVEN, *PROMISED]:
        bundle = make(kind, version, proven)
        whole = facts(check(bundle))
        other = make(kind, version, proven, key="bob", by="bob@example.org", time=TIME + 1)
        for name, bent in mutations(bundle, other, bits=8):
            try:
                result = check(bent)
            except InputError:
                continue
            if PROOF_GONE.fullmatch(name) and version == "0.1" and proven:
                assert (result.log, result.entries) == (LogResult.PROMISED, ())
            elif result.satisfied:
                assert facts(result) == whole, f"{name} of {kind} {version} says something else"
                rules = [rule for rule in HARMLESS if re.fullmatch(rule, name)]
                assert rules, f"{name} of {kind} {version} is accepted without a reason"
                unused -= set(rules)
            else:
                assert (result.signature, result.signer) == (ModelResult.NOT_CHECKED, None), name
    assert not unused, "refused, and said to be harmless"


def test_a_proof_that_is_taken_away_leaves_the_promise():
    """Version 0.1 alone may be without; the result says that nothing is proven, and in other versions it is refused."""
    for version, log in (("0.1", LogResult.PROMISED), ("0.2", LogResult.INVALID), ("0.3", LogResult.INVALID)):
        assert check(make("intoto", version, False)).log is log


@pytest.mark.parametrize("kind", ["dsse", "hashedrekord", "intoto"])
def test_every_mutation_of_a_bundle_by_an_rsa_certificate_that_changes_a_fact_is_refused(kind):
    bundle = make(kind, "0.3", True, private=private_key("RSA 2048"))
    other = make(kind, "0.3", True, key="bob", by="bob@example.org", time=TIME + 1)
    whole, refused = facts(check(bundle)), 0
    for name, bent in mutations(bundle, other, bits=8):
        try:
            result = check(bent)
        except InputError:
            refused += 1
            continue
        if result.satisfied:
            assert facts(result) == whole, f"{name} of {kind} says something else"
            rules = (*HARMLESS, "messageSignature/messageDigest removed")  # the artifact has it
            assert any(re.fullmatch(rule, name) for rule in rules), f"{name} is accepted without a reason"
        else:
            refused += 1
            assert result.signer is None, name
    assert refused > 200, "the bundle was hardly bent"
