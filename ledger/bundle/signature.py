"""Verifies a bundle for *whoever* signed it, and says who that is.

Keys: the registered keys are tried by SubjectPublicKeyInfo; the bundle's hint only says which to try first.
Certificates: the chain is checked at the leaf's own notBefore (the bundle carries no trusted time) up to a
configured anchor: signatures, validity, CA constraints and path length by ``cryptography``'s verifier, and on the
leaf the key usage digitalSignature and the extended key usage codeSigning. There is no revocation.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from ledger.bundle import Bundle, NotVerifiedError
from ledger.encoding import parse_base64
from ledger.errors import ConfigError, LedgerError
from ledger.event import UpstreamLog
from ledger.event.fields import encoded_bytes
from ledger.event.schemas import MAX_CHAIN, SUBJECT_CAP
from ledger.identity import Capped, CertificateFacts, KeyFacts, SignerFacts, overflow_text, overflow_value

MAX_CERTIFICATES = 16
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


@dataclass(frozen=True)
class TrustMaterial:
    """What a hub verifies against: registered keys and anchors (PEM), and one Sigstore instance.

    ``sigstore_json`` is a client trust config or a trusted root; None means the production root that the sigstore
    package embeds. Raises ConfigError for material that cannot be used.
    """

    public_keys: Sequence[bytes] = ()
    anchors: Sequence[bytes] = ()
    sigstore_json: bytes | None = None
    cache: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def keys(self) -> tuple[ec.EllipticCurvePublicKey, ...]:
        """The registered keys."""
        return tuple(_load_key(pem) for pem in self.public_keys)

    @cached_property
    def anchor_certificates(self) -> tuple[x509.Certificate, ...]:
        """The anchors."""
        try:
            return tuple(cert for pem in self.anchors for cert in x509.load_pem_x509_certificates(pem))
        except ValueError as error:
            raise ConfigError("anchor", expected="PEM certificates", actual=str(error)) from error


def _load_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    """Load a PEM key; text may stand before it. Raises ConfigError."""
    try:
        key = serialization.load_pem_public_key(pem[max(0, pem.find(b"-----BEGIN")) :])
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError("public key", expected="a PEM public key", actual=str(error)) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
        raise ConfigError(
            "public key", expected="an elliptic-curve key on P-256, P-384 or P-521", actual=type(key).__name__
        )
    return key


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedSignature:
    """Who signed, and where the signature itself is logged."""

    signer: SignerFacts
    upstream_log: UpstreamLog | None = None


def verify_signature(bundle: Bundle, trust: TrustMaterial) -> VerifiedSignature:
    """Return who signed the bundle's statement.

    Raises:
        NotVerifiedError: with the outcome INVALID_SIGNATURE, UNKNOWN_KEY or UNSUPPORTED, and a reason code.
        ConfigError: the hub's own material cannot be used.
    """
    match bundle.method:
        case "key":
            return VerifiedSignature(signer=_verify_key(bundle, trust))
        case "certificate":
            return VerifiedSignature(signer=_verify_certificate(bundle, trust))
        case _:
            from ledger.bundle.sigstore_method import verify_sigstore

            return verify_sigstore(bundle, trust)


def claimed_signer(bundle: Bundle) -> SignerFacts | None:
    """Return who a bundle says signed it, where it says so without being believed."""
    try:
        if bundle.method == "key":
            key = _embedded_key(bundle)
            return None if key is None else KeyFacts(spki_sha256=_spki_sha256(key))
        chain = _chain(bundle)
        if bundle.method == "certificate":
            return _certificate_facts(chain, None)
        from ledger.bundle.fulcio import signer_facts

        return signer_facts(chain[0])
    except LedgerError:
        return None


# Keys


def spki_of(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the DER SubjectPublicKeyInfo."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _spki_sha256(key: ec.EllipticCurvePublicKey) -> bytes:
    return hashlib.sha256(spki_of(key)).digest()


def _embedded_key(bundle: Bundle) -> ec.EllipticCurvePublicKey | None:
    """Return the key that bundles before model-signing 1.1 carry as ``rawBytes`` (PEM or DER)."""
    value = bundle.material["publicKey"]
    if not isinstance(value, dict) or not isinstance(value.get("rawBytes"), str):
        return None
    raw = parse_base64(value["rawBytes"], what="public key of the bundle", max_bytes=4096)
    try:
        key = (
            serialization.load_pem_public_key(raw)
            if b"-----BEGIN" in raw
            else serialization.load_der_public_key(raw)
        )
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey) else None


def _hints(key: ec.EllipticCurvePublicKey) -> set[str]:
    """Return the hints that are in use for a key: SHA-256 of its PEM text (model-signing), or of its DER."""
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {hashlib.sha256(pem).hexdigest(), _spki_sha256(key).hex()}


def _verify_key(bundle: Bundle, trust: TrustMaterial) -> KeyFacts:
    value = bundle.material["publicKey"]
    hint = value.get("hint") if isinstance(value, dict) else None
    embedded = _embedded_key(bundle) if isinstance(value, dict) else None
    named = None if embedded is None else _spki_sha256(embedded)
    expected = False
    for key in trust.keys:
        if _holds(key, bundle):
            return KeyFacts(spki_sha256=_spki_sha256(key))
        expected |= hint in _hints(key) or _spki_sha256(key) == named
    if expected:
        raise NotVerifiedError("INVALID_SIGNATURE", "signature-invalid")
    raise NotVerifiedError("UNKNOWN_KEY", "key-not-registered")


def _holds(key: ec.EllipticCurvePublicKey, bundle: Bundle) -> bool:
    """Whether the key made the signature; used to search among keys, never as a result."""
    try:
        key.verify(bundle.signature, bundle.message, ec.ECDSA(_HASHES[key.curve.name]))
    except InvalidSignature:
        return False
    return True


# Certificates


def _chain(bundle: Bundle) -> list[x509.Certificate]:
    material = bundle.material
    value = material.get("x509CertificateChain") or {"certificates": [material.get("certificate")]}
    match value:
        case {"certificates": [_, *_] as listed} if len(listed) <= MAX_CERTIFICATES:
            pass
        case _:
            raise NotVerifiedError("INVALID_SIGNATURE", "certificate-malformed", "no chain")
    try:
        return [
            x509.load_der_x509_certificate(
                parse_base64(each["rawBytes"], what="certificate", max_bytes=64 << 10)
            )
            for each in listed
        ]
    except (ValueError, KeyError, TypeError, LedgerError, UnsupportedAlgorithm) as error:
        raise NotVerifiedError("INVALID_SIGNATURE", "certificate-malformed", error) from error


def _verify_certificate(bundle: Bundle, trust: TrustMaterial) -> CertificateFacts:
    leaf, *intermediates = chain = _chain(bundle)
    if not trust.anchor_certificates:
        raise NotVerifiedError("UNKNOWN_KEY", "no-anchor")
    try:
        path = _verifier(leaf, trust.anchor_certificates).verify(leaf, intermediates).chain
        anchor = (
            path[-1]
            .public_key()
            .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        key = leaf.public_key()
    except verification.VerificationError as error:
        raise NotVerifiedError("UNKNOWN_KEY", "chain-not-trusted", error) from error
    except (ValueError, UnsupportedAlgorithm, x509.UnsupportedGeneralNameType) as error:
        raise NotVerifiedError("INVALID_SIGNATURE", "certificate-malformed", error) from error
    if len(path) < 2:  # the leaf itself is in the store: an anchor is an issuer (OMS 1.0)
        raise NotVerifiedError("UNKNOWN_KEY", "chain-not-trusted", "the leaf is no anchor")
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
        raise NotVerifiedError("UNSUPPORTED", "key-type", type(key).__name__)
    if not _holds(key, bundle):
        raise NotVerifiedError("INVALID_SIGNATURE", "signature-invalid")
    return _certificate_facts(chain, hashlib.sha256(anchor).digest())


def _verifier(leaf: x509.Certificate, anchors: Sequence[x509.Certificate]) -> verification.ClientVerifier:
    ca = verification.ExtensionPolicy.permit_all().require_present(
        x509.BasicConstraints, verification.Criticality.AGNOSTIC, _check_ca
    )
    end = (
        verification.ExtensionPolicy.permit_all()
        .require_present(x509.KeyUsage, verification.Criticality.AGNOSTIC, _check_key_usage)
        .require_present(x509.ExtendedKeyUsage, verification.Criticality.AGNOSTIC, _check_extended_key_usage)
    )
    return (
        verification.PolicyBuilder()
        .store(verification.Store(list(anchors)))
        .time(leaf.not_valid_before_utc)
        .extension_policies(ca_policy=ca, ee_policy=end)
        .build_client_verifier()
    )


def _check_ca(_policy: object, _certificate: object, extension: x509.BasicConstraints | None) -> None:
    if extension is None or not extension.ca:
        raise ValueError("an issuer that is no CA")


def _check_key_usage(_policy: object, _certificate: object, extension: x509.KeyUsage | None) -> None:
    if extension is None or not extension.digital_signature:
        raise ValueError("a leaf without the key usage digitalSignature")


def _check_extended_key_usage(
    _policy: object, _certificate: object, extension: x509.ExtendedKeyUsage | None
) -> None:
    if extension is None or ExtendedKeyUsageOID.CODE_SIGNING not in extension:
        raise ValueError("a leaf without the extended key usage codeSigning")


def _certificate_facts(chain: Sequence[x509.Certificate], anchor: bytes | None) -> CertificateFacts:
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
    except (ValueError, x509.ExtensionNotFound, x509.UnsupportedGeneralNameType):
        return ""


def cap(text: str, limit: int) -> Capped:
    """Return a string, or its overflow form above ``limit`` encoded bytes. Lone surrogates become U+FFFD."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if encoded_bytes(text) <= limit else overflow_text(text)
