"""Certificate chains: the checks that model-signing makes, and those that it forgets. Each refusal by its code."""

import base64
import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from ledger.bundle.trust_material import TrustMaterial
from ledger.verification import verify_revision
from tests import oms

DAY = dt.timedelta(days=1)
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
SIGNING, CONSTRAINTS = oms.LEAF[0], oms.LEAF[2]


@pytest.fixture(scope="module")
def root():
    return oms.authority()


def verify(model, anchor, leaf, *chain, received=oms.NOON + DAY):
    oms.put(model, oms.certificate_bundle(oms.statement(model), leaf, *chain))
    found = verify_revision(model, trust=TrustMaterial(anchors=[anchor.pem]), received=received)
    return found.outcome, found.reasons


def test_a_chain_through_an_intermediate(model, root):
    middle = oms.authority("Middle", root)
    leaf = oms.certify("leaf", middle)
    assert verify(model, root, leaf, middle) == ("VERIFIED", ())
    assert verify(model, root, leaf, middle, root) == ("VERIFIED", ()), "the root may lie in it"
    assert verify(model, root, leaf) == ("UNKNOWN_KEY", ("chain-not-trusted",))
    assert verify(model, middle, leaf) == ("VERIFIED", ()), "an intermediate may be the anchor"


@pytest.mark.parametrize("curve", [ec.SECP384R1, ec.SECP521R1])
def test_leaves_on_the_other_curves(model, root, curve):
    assert verify(model, root, oms.certify("leaf", root, key=oms.new_key(curve))) == ("VERIFIED", ())


PURPOSES = {
    "signing, not for code": (SIGNING, CONSTRAINTS),
    "code, without key usage": ((oms.CODE, False), CONSTRAINTS),
    "code, with a key usage that is not signing": (
        (oms.usage(key_agreement=True), True),
        (oms.CODE, False),
        CONSTRAINTS,
    ),
    "a web server": (
        SIGNING,
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        CONSTRAINTS,
    ),
    "any purpose is not code signing": (
        SIGNING,
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False),
        CONSTRAINTS,
    ),
}


@pytest.mark.parametrize("purpose", PURPOSES)
def test_the_wrong_purpose(model, root, purpose):
    leaf = oms.certify("leaf", root, extensions=PURPOSES[purpose])
    assert verify(model, root, leaf) == ("INVALID_SIGNATURE", ("certificate-purpose",))


@pytest.mark.parametrize("where", ["leaf", "intermediate"])
def test_a_critical_extension_that_nobody_here_understands(model, root, where):
    extra = ((UNKNOWN, True),)
    middle = oms.authority("Middle", root, extensions=oms.AUTHORITY + (extra if where != "leaf" else ()))
    leaf = oms.certify("leaf", middle, extensions=oms.LEAF + (extra if where == "leaf" else ()))
    assert verify(model, root, leaf, middle) == ("INVALID_SIGNATURE", ("certificate-critical-extension",))


def test_an_extension_that_is_not_critical_may_be_unknown(model, root):
    leaf = oms.certify("leaf", root, extensions=(*oms.LEAF, (UNKNOWN, False)))
    assert verify(model, root, leaf) == ("VERIFIED", ())


def test_expired_is_a_remark_and_not_yet_valid_a_refusal(model, root):
    """Without a trusted time an old signature may be from then; none can be from the future."""
    leaf = oms.certify("leaf", root, days=30)
    assert verify(model, root, leaf, received=oms.NOON) == ("VERIFIED", ())
    assert verify(model, root, leaf, received=oms.NOON + 30 * DAY) == ("VERIFIED", ())
    late = oms.NOON + 30 * DAY + dt.timedelta(seconds=1)
    assert verify(model, root, leaf, received=late) == ("VERIFIED", ("certificate-expired",))
    early = oms.NOON - dt.timedelta(seconds=1)
    assert verify(model, root, leaf, received=early) == ("INVALID_SIGNATURE", ("certificate-not-yet-valid",))


def test_an_issuer_that_had_expired_when_the_leaf_began(model):
    root = oms.authority(start=oms.NOON - 400 * DAY, days=100)
    assert verify(model, root, oms.certify("leaf", root)) == ("UNKNOWN_KEY", ("chain-not-trusted",))


NO_AUTHORITY = {
    "a leaf": oms.LEAF,
    "an authority by its key usage alone": (oms.AUTHORITY[0],),
    "an authority whose key does not sign certificates": (
        (oms.usage(digital_signature=True), True),
        oms.AUTHORITY[1],
    ),
}


@pytest.mark.parametrize("extensions", NO_AUTHORITY)
def test_an_issuer_that_may_not_issue(model, root, extensions):
    middle = oms.authority("Middle", root, extensions=NO_AUTHORITY[extensions])
    leaf = oms.certify("leaf", middle)
    assert verify(model, root, leaf, middle) == ("UNKNOWN_KEY", ("chain-not-trusted",))


def test_a_path_longer_than_an_issuer_allows(model, root):
    short = (oms.AUTHORITY[0], (x509.BasicConstraints(True, 0), True))
    first = oms.authority("First", root, extensions=short)
    second = oms.authority("Second", first)
    assert verify(model, root, oms.certify("leaf", first), first) == ("VERIFIED", ())
    leaf = oms.certify("leaf", second)
    assert verify(model, root, leaf, second, first) == ("UNKNOWN_KEY", ("chain-not-trusted",))


@pytest.mark.parametrize("name", [x509.DNSName("evil.example"), x509.RFC822Name("a@evil.example")])
def test_names_that_an_issuer_may_not_vouch_for(model, root, name):
    permitted = x509.NameConstraints([type(name)("acme.example")], None)
    middle = oms.authority("Middle", root, extensions=(*oms.AUTHORITY, (permitted, True)))
    leaf = oms.certify("leaf", middle, extensions=(*oms.LEAF, (x509.SubjectAlternativeName([name]), False)))
    assert verify(model, root, leaf, middle) == ("UNKNOWN_KEY", ("chain-not-trusted",))


def test_a_leaf_is_not_its_own_anchor(model):
    leaf = oms.certify("leaf")
    assert verify(model, leaf, leaf) == ("UNKNOWN_KEY", ("chain-not-trusted",))


def test_a_chain_that_looks_revoked_is_not_looked_up(model, root):
    """There is no revocation: the hub removes an anchor. Nothing is fetched, whatever the certificate asks for."""
    points = x509.CRLDistributionPoints(
        [x509.DistributionPoint([x509.UniformResourceIdentifier("http://127.0.0.1:9/crl")], None, None, None)]
    )
    leaf = oms.certify("leaf", root, extensions=(*oms.LEAF, (points, False)))
    assert verify(model, root, leaf) == ("VERIFIED", ())


def test_a_forged_issuer(model, root):
    """The same name and another key."""
    forged = oms.authority("Root")
    assert verify(model, root, oms.certify("leaf", forged)) == ("UNKNOWN_KEY", ("chain-not-trusted",))


def test_rsa_keys(model, root):
    leaf = oms.certify("leaf", root, key=oms.rsa_key())
    assert verify(model, root, leaf) == ("UNSUPPORTED", ("key-type",))


def test_an_rsa_authority_may_vouch_for_an_elliptic_curve_leaf(model):
    root = oms.authority(key=oms.rsa_key())
    assert verify(model, root, oms.certify("leaf", root)) == ("VERIFIED", ())


def test_another_curve_than_the_three(model, root, monkeypatch):
    monkeypatch.setitem(oms.HASHES, "secp256k1", oms.HASHES["secp256r1"])
    leaf = oms.certify("leaf", root, key=oms.new_key(ec.SECP256K1))
    assert verify(model, root, leaf) == ("UNSUPPORTED", ("key-type",))


def test_a_signature_by_another_key_than_the_leafs(model, root):
    leaf = oms.certify("leaf", root)
    signed = oms.certificate_bundle(oms.statement(model), leaf)
    signed["verificationMaterial"].update(oms.chain_material(oms.certify("other", root)))
    oms.put(model, signed)
    found = verify_revision(model, trust=TrustMaterial(anchors=[root.pem]))
    assert (found.outcome, found.reasons) == ("INVALID_SIGNATURE", ("signature-invalid",))
    assert found.signatures[0].claimed_signer.subject == "CN=other"


def test_without_any_anchor(model, root):
    oms.put(model, oms.certificate_bundle(oms.statement(model), oms.certify("leaf", root)))
    found = verify_revision(model, trust=TrustMaterial())
    assert (found.outcome, found.reasons) == ("UNKNOWN_KEY", ("no-anchor",))


BENT = {
    "no certificate": [],
    "too many": [{"rawBytes": ""}] * 17,
    "no bytes": [{}],
    "not base64": [{"rawBytes": "!"}],
    "not DER": [{"rawBytes": oms.b64(b"certificate")}],
    "not an object": [None],
    "above 64 KiB": [{"rawBytes": oms.b64(bytes(70_000))}],
}


@pytest.mark.parametrize("bent", BENT)
def test_certificates_that_are_none(model, root, bent):
    signed = oms.certificate_bundle(oms.statement(model), oms.certify("leaf", root))
    signed["verificationMaterial"]["x509CertificateChain"]["certificates"] = BENT[bent]
    oms.put(model, signed)
    found = verify_revision(model, trust=TrustMaterial(anchors=[root.pem]))
    assert (found.outcome, found.reasons) == ("INVALID_SIGNATURE", ("certificate-malformed",))


def test_a_certificate_of_an_impossible_version(model, root):
    signed = oms.certificate_bundle(oms.statement(model), oms.certify("leaf", root))
    listed = signed["verificationMaterial"]["x509CertificateChain"]["certificates"]
    # [0] EXPLICIT INTEGER 2 is version 3 (RFC 5280 section 4.1).
    der = base64.b64decode(listed[0]["rawBytes"])
    listed[0]["rawBytes"] = oms.b64(der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x12", 1))
    assert listed[0]["rawBytes"] != oms.b64(der)
    oms.put(model, signed)
    found = verify_revision(model, trust=TrustMaterial(anchors=[root.pem]))
    assert (found.outcome, found.reasons) == ("INVALID_SIGNATURE", ("certificate-malformed",))
