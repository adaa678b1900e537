"""Certificate chains: OMS's method for those who have an authority of their own.

A bundle of this method carries no time that can be trusted, so the chain is checked at the leaf's own notBefore, as
model-signing does: signatures, validity, path length, name constraints and key usage of the issuers up to a registered
anchor by ``cryptography``'s verifier. Beyond what model-signing checks:

- the leaf is for signing *and* for code (key usage digitalSignature, extended key usage codeSigning);
- no certificate of the chain has a critical extension that is not understood here;
- the signature exists when the hub receives it, so a certificate that begins later did not make it in time. One that
  has ended may have: that is a remark.

There is no revocation: an anchor is registered, and removed, by the hub.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy

from ledger.bundle import Bundle
from ledger.bundle.key_method import verify_with_key
from ledger.bundle.log_entry import HASHES
from ledger.bundle.reasons import refused
from ledger.bundle.trust_material import TrustMaterial, VerifiedSignature
from ledger.encoding import parse_base64
from ledger.errors import LedgerError
from ledger.event.fields import cap
from ledger.event.schemas import MAX_CHAIN, SUBJECT_CAP
from ledger.identity import CertificateFacts, overflow_value

MAX_CERTIFICATES = 16
MAX_CERTIFICATE_BYTES = 64 << 10

_X509_ERRORS = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.UnsupportedGeneralNameType,
    x509.DuplicateExtension,
    x509.InvalidVersion,
)
"""What ``cryptography`` raises for bytes that are a certificate only from afar."""


def parse_chain(bundle: Bundle) -> list[x509.Certificate]:
    """Return the certificates of a bundle, leaf first. Raises NotVerifiedError ``certificate-malformed``."""
    match bundle.material:
        case {"certificates": [_, *_] as listed} if len(listed) <= MAX_CERTIFICATES:
            return [_parse_certificate(each) for each in listed]
        case {"rawBytes": _} as single:
            return [_parse_certificate(single)]
    raise refused("certificate-malformed", f"not 1 to {MAX_CERTIFICATES} certificates")


def _parse_certificate(value: object) -> x509.Certificate:
    match value:
        case {"rawBytes": str(text)}:
            pass
        case _:
            raise refused("certificate-malformed", "no rawBytes")
    try:
        return x509.load_der_x509_certificate(
            parse_base64(text, what="certificate", max_bytes=MAX_CERTIFICATE_BYTES)
        )
    except (LedgerError, *_X509_ERRORS) as error:
        raise refused("certificate-malformed", error) from error


def verify_certificate(
    bundle: Bundle, trust: TrustMaterial, *, predicate_type: str, received: datetime | None
) -> VerifiedSignature:
    """Return the holder of the leaf certificate, and the anchor that vouches for it.

    Raises:
        NotVerifiedError: INVALID_SIGNATURE, UNKNOWN_KEY or UNSUPPORTED, with the reason.
    """
    chain = parse_chain(bundle)
    leaf = chain[0]
    try:
        _check_critical_extensions(chain)
        anchor = _find_anchor(chain, trust.anchor_certificates)
        _check_purpose(leaf)
        key = leaf.public_key()
    except _X509_ERRORS as error:
        raise refused("certificate-malformed", error) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in HASHES:
        raise refused("key-type", type(key).__name__)
    if received is not None and received < leaf.not_valid_before_utc:
        raise refused("certificate-not-yet-valid", leaf.not_valid_before_utc.isoformat())
    remarks = verify_with_key(key, bundle, predicate_type)
    if received is not None and received > leaf.not_valid_after_utc:
        remarks += ("certificate-expired",)
    return VerifiedSignature(signer=certificate_facts(chain, anchor), remarks=remarks)


def _check_critical_extensions(chain: Sequence[x509.Certificate]) -> None:
    for cert in chain:
        for extension in cert.extensions:
            if extension.critical and isinstance(extension.value, x509.UnrecognizedExtension):
                raise refused("certificate-critical-extension", extension.oid.dotted_string)


def _find_anchor(chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate]) -> bytes:
    """Return the SHA-256 of the anchor's SubjectPublicKeyInfo."""
    if not anchors:
        raise refused("no-anchor")
    leaf, *intermediates = chain
    try:
        path = _verifier(leaf, anchors).verify(leaf, intermediates).chain
    except verification.VerificationError as error:
        raise refused("chain-not-trusted", error) from error
    if len(path) < 2:  # the leaf itself is in the store: an anchor is an issuer
        raise refused("chain-not-trusted", "the leaf is no anchor")
    anchor = path[-1].public_key()
    spki = anchor.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).digest()


def _verifier(leaf: x509.Certificate, anchors: Sequence[x509.Certificate]) -> verification.ClientVerifier:
    issuers = (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _check_authority)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _check_signs_certificates)
    )
    return (
        verification.PolicyBuilder()
        .store(verification.Store(list(anchors)))
        .time(leaf.not_valid_before_utc)
        .extension_policies(ca_policy=issuers, ee_policy=ExtensionPolicy.permit_all())
        .build_client_verifier()
    )


def _check_authority(_policy: object, _cert: object, extension: x509.BasicConstraints | None) -> None:
    if extension is None or not extension.ca:
        raise ValueError("an issuer that is no authority")


def _check_signs_certificates(_policy: object, _cert: object, extension: x509.KeyUsage | None) -> None:
    if extension is not None and not extension.key_cert_sign:
        raise ValueError("an issuer whose key is not for signing certificates")


def _check_purpose(leaf: x509.Certificate) -> None:
    missing = list(_missing_purposes(leaf.extensions))
    if missing:
        raise refused("certificate-purpose", "without " + " and ".join(missing))


def _missing_purposes(extensions: x509.Extensions) -> Iterator[str]:
    try:
        if not extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature:
            yield "key usage digitalSignature"
    except x509.ExtensionNotFound:
        yield "key usage"
    try:
        if (
            ExtendedKeyUsageOID.CODE_SIGNING
            not in extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        ):
            yield "extended key usage codeSigning"
    except x509.ExtensionNotFound:
        yield "extended key usage"


def certificate_facts(chain: Sequence[x509.Certificate], anchor: bytes | None) -> CertificateFacts:
    """Return what is recorded of a chain: its fingerprints, the anchor's key, and the leaf's subject."""
    prints = tuple(cert.fingerprint(hashes.SHA256()) for cert in chain)
    return CertificateFacts(
        chain_sha256=prints if len(prints) <= MAX_CHAIN else overflow_value([each.hex() for each in prints]),
        anchor_spki_sha256=anchor,
        subject=cap(_subject(chain[0]), SUBJECT_CAP),
    )


def _subject(cert: x509.Certificate) -> str:
    """Return the subject's name (RFC 4514), or the first alternative name where that is empty."""
    try:
        name = cert.subject.rfc4514_string()
        if name:
            return name
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return next((str(each.value) for each in names), "")
    except (x509.ExtensionNotFound, *_X509_ERRORS):
        return ""
