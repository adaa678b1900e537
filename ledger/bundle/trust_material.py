"""What a hub verifies against, and what it learns: registered keys and anchors in, a verified signer out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.bundle.log_entry import HASHES
from ledger.errors import ConfigError
from ledger.event import UpstreamLog
from ledger.identity import SignerFacts

if TYPE_CHECKING:
    from cryptography import x509


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
