"""Verifies a bundle for *whoever* signed it, and says who that is.

Keys: the registered keys are tried, those first that the bundle's hint or embedded key names; neither is believed.
Certificates: ``certificates`` checks the chain up to a registered anchor. Keyless: ``sigstore_method``.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.bundle import VERSIONS, Bundle
from ledger.bundle.log_entry import HASHES
from ledger.bundle.reasons import NotVerifiedError, refused
from ledger.bundle.statement import DIGESTS_TYPE
from ledger.encoding import parse_base64
from ledger.errors import ConfigError, LedgerError
from ledger.event import UpstreamLog
from ledger.event.fields import encoded_bytes
from ledger.identity import Capped, KeyFacts, SignerFacts, overflow_text

if TYPE_CHECKING:
    from cryptography import x509

MAX_KEY_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredKey:
    """A key that the hub knows, and the hints that are in use for it."""

    key: ec.EllipticCurvePublicKey
    spki_sha256: bytes
    hints: frozenset[str]

    @classmethod
    def of(cls, key: ec.EllipticCurvePublicKey) -> "RegisteredKey":
        """Hints are the SHA-256 of the PEM text (model-signing since 1.1) or of the DER."""
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        der = hashlib.sha256(key.public_bytes(serialization.Encoding.DER, spki))
        pem = hashlib.sha256(key.public_bytes(serialization.Encoding.PEM, spki))
        return cls(key=key, spki_sha256=der.digest(), hints=frozenset((der.hexdigest(), pem.hexdigest())))


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
    def keys(self) -> tuple[RegisteredKey, ...]:
        """The registered keys."""
        return tuple(RegisteredKey.of(_load_key(pem)) for pem in self.public_keys)

    @cached_property
    def anchor_certificates(self) -> tuple["x509.Certificate", ...]:
        """The anchors."""
        # Imported here because it takes as long to load as a check by key does, which has no certificates.
        from cryptography import x509

        try:
            return tuple(cert for pem in self.anchors for cert in x509.load_pem_x509_certificates(pem))
        except (ValueError, x509.InvalidVersion) as error:
            raise ConfigError("anchor", expected="PEM certificates", actual=str(error)) from error


def _load_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    """Load a PEM key; text may stand before it. Raises ConfigError."""
    try:
        key = serialization.load_pem_public_key(pem[max(0, pem.find(b"-----BEGIN")) :])
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError("public key", expected="a PEM public key", actual=str(error)) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in HASHES:
        raise ConfigError(
            "public key", expected="an elliptic-curve key on P-256, P-384 or P-521", actual=type(key).__name__
        )
    return key


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedSignature:
    """Who signed, where the signature itself is logged, and remarks (codes of ``reasons`` that change no outcome)."""

    signer: SignerFacts
    upstream_log: UpstreamLog | None = None
    remarks: tuple[str, ...] = ()


def verify_signature(
    bundle: Bundle, trust: TrustMaterial, *, predicate_type: str, received: datetime | None = None
) -> VerifiedSignature:
    """Return who signed the bundle's statement, whose type was read before.

    ``received`` is when the hub got the revision: no time in a key or certificate bundle can be trusted.

    Raises:
        NotVerifiedError: with the outcome INVALID_SIGNATURE, UNKNOWN_KEY or UNSUPPORTED, and a reason code.
        ConfigError: the hub's own material cannot be used.
    """
    if bundle.media_type not in VERSIONS:
        raise refused("bundle-version", bundle.media_type[:100])
    match bundle.method:
        case "key":
            return _verify_key(bundle, trust, predicate_type)
        case "certificate":
            from ledger.bundle.certificates import verify_certificate

            return verify_certificate(bundle, trust, predicate_type=predicate_type, received=received)
        case _:
            from ledger.bundle.sigstore_method import verify_sigstore

            return verify_sigstore(bundle, trust)


def claimed_signer(bundle: Bundle) -> SignerFacts | None:
    """Return who a bundle says signed it, where it says so without being believed."""
    from ledger.bundle.certificates import certificate_facts, parse_chain
    from ledger.bundle.fulcio import signer_facts

    try:
        if bundle.method == "key":
            key = _embedded_key(bundle)
            return None if key is None else KeyFacts(spki_sha256=RegisteredKey.of(key).spki_sha256)
        chain = parse_chain(bundle)
        return certificate_facts(chain, None) if bundle.method == "certificate" else signer_facts(chain[0])
    except LedgerError:
        return None


def _embedded_key(bundle: Bundle) -> ec.EllipticCurvePublicKey | None:
    """Return the key that bundles before model-signing 1.1 carry as ``rawBytes`` (PEM or DER)."""
    match bundle.material:
        case {"rawBytes": str(text)}:
            pass
        case _:
            return None
    try:
        raw = parse_base64(text, what="public key of the bundle", max_bytes=MAX_KEY_BYTES)
        pem = b"-----BEGIN" in raw
        key = serialization.load_pem_public_key(raw) if pem else serialization.load_der_public_key(raw)
    except (LedgerError, ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey) else None


def _verify_key(bundle: Bundle, trust: TrustMaterial, predicate_type: str) -> VerifiedSignature:
    """Try every registered key; a wrong hint neither hides the right key nor stands for one."""
    hint = bundle.material.get("hint") if isinstance(bundle.material, dict) else None
    embedded = _embedded_key(bundle)
    claimed = None if embedded is None else RegisteredKey.of(embedded).spki_sha256
    named = {
        each.spki_sha256
        for each in trust.keys
        if each.spki_sha256 == claimed or (isinstance(hint, str) and hint in each.hints)
    }
    for each in sorted(trust.keys, key=lambda key: key.spki_sha256 not in named):
        try:
            remarks = verify_with_key(each.key, bundle, predicate_type)
        except NotVerifiedError:
            continue
        return VerifiedSignature(signer=KeyFacts(spki_sha256=each.spki_sha256), remarks=remarks)
    raise refused("signature-invalid" if named else "key-not-registered")


def verify_with_key(key: ec.EllipticCurvePublicKey, bundle: Bundle, predicate_type: str) -> tuple[str, ...]:
    """Return the remarks about a signature that the key made.

    model-signing 0.2 signed other bytes than DSSE's, always with SHA-256. That form is accepted for statements that
    only 0.2 wrote, so no later statement can be signed in it.

    Raises:
        NotVerifiedError: ``signature-invalid``.
    """
    try:
        key.verify(bundle.signature, bundle.message, ec.ECDSA(HASHES[key.curve.name]))
    except InvalidSignature:
        if predicate_type != DIGESTS_TYPE:
            raise refused("signature-invalid") from None
    else:
        return ()
    try:
        key.verify(bundle.signature, bundle.deprecated_message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise refused("signature-invalid") from None
    return ("deprecated-encoding",)


def cap(text: str, limit: int) -> Capped:
    """Return a string, or its overflow form above ``limit`` encoded bytes. Lone surrogates become U+FFFD."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if encoded_bytes(text) <= limit else overflow_text(text)
