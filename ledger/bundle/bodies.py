"""What Rekor keeps of a signature: the canonical body of an entry, rebuilt from what was signed and by whom.

``hashedrekord`` 0.0.2 is Rekor v2's; ``hashedrekord`` 0.0.1, ``dsse`` 0.0.1, ``intoto`` 0.0.1 and 0.0.2 are Rekor v1's. A body is
compared as bytes with the one that this signature must have, so nothing can be said beside it.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.bundle.log_entry import HASHES
from ledger.encoding import Json, format_base64, format_canonical_json
from ledger.entry import PAYLOAD_TYPE, pae, parse_envelope
from ledger.errors import ConfigError

_V2_NAMES = {"sha256": "SHA2_256", "sha384": "SHA2_384", "sha512": "SHA2_512"}
_V1_NAMES = {32: "sha256", 48: "sha384", 64: "sha512"}
"""By the length of the digest: in Rekor v1 whoever signs chooses the hash, whatever the key."""
_KEY_DETAILS = {
    "secp256r1": "PKIX_ECDSA_P256_SHA_256",
    "secp384r1": "PKIX_ECDSA_P384_SHA_384",
    "secp521r1": "PKIX_ECDSA_P521_SHA_512",
}


@dataclass(frozen=True)
class Verifier:
    """The key that made a signature: a public key of its own, or the one in a certificate (DER)."""

    der: bytes
    is_certificate: bool = False

    @cached_property
    def loaded(self) -> Any:
        """The key, of whatever kind. Raises ConfigError: not DER."""
        try:
            if self.is_certificate:
                return x509.load_der_x509_certificate(self.der).public_key()
            return serialization.load_der_public_key(self.der)
        except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
            raise ConfigError("key of a signature", expected="DER", actual=str(error)) from error

    @cached_property
    def key(self) -> ec.EllipticCurvePublicKey:
        """The key. Raises ConfigError: not DER, or no key on P-256, P-384 or P-521."""
        key = self.loaded
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in HASHES:
            raise ConfigError(
                "key of a signature",
                expected="an elliptic-curve key on P-256, P-384 or P-521",
                actual=type(key).__name__,
            )
        return key

    @cached_property
    def pem(self) -> bytes:
        """The certificate, or the SubjectPublicKeyInfo, as PEM."""
        if self.is_certificate:
            return x509.load_der_x509_certificate(self.der).public_bytes(serialization.Encoding.PEM)
        return self.key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @cached_property
    def details(self) -> str:
        """How Sigstore's protobuf names the algorithm."""
        return _KEY_DETAILS[self.key.curve.name]

    @cached_property
    def algorithm(self) -> hashes.HashAlgorithm:
        """The hash that goes with the curve."""
        return HASHES[self.key.curve.name]

    def digest(self, message: bytes) -> bytes:
        """Hash a message as this key's signatures do."""
        digest = hashes.Hash(self.algorithm)
        digest.update(message)
        return digest.finalize()


@lru_cache(maxsize=16)
def _verifier(spki: bytes) -> Verifier:
    """Load the key of a hub once, and not for each of its entries: that costs as much as checking a signature."""
    return Verifier(spki)


@dataclass(frozen=True)
class SignedPayload:
    """A DSSE envelope with one signature: an in-toto payload, who signed it, and the key id that stands beside it."""

    payload: bytes
    signature: bytes
    verifier: Verifier
    keyid: str = ""

    @classmethod
    def of_entry(cls, envelope: Json, spki: bytes) -> "SignedPayload":
        """Read an entry of ours, already parsed as JSON, whose key is ``spki`` (DER). Raises MalformedError."""
        entry = parse_envelope(envelope)
        return cls(
            payload=entry.payload, signature=entry.signature, verifier=_verifier(spki), keyid=entry.keyid
        )

    @cached_property
    def message(self) -> bytes:
        """The bytes that were signed: the DSSE pre-authentication encoding."""
        return pae(self.payload)

    @cached_property
    def digest(self) -> bytes:
        """The digest of the message, with the hash of the key's curve."""
        return self.verifier.digest(self.message)

    @cached_property
    def envelope(self) -> bytes:
        """The envelope as RFC 8785 JSON."""
        return format_canonical_json(
            {
                "payload": format_base64(self.payload),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"keyid": self.keyid, "sig": format_base64(self.signature)}],
            }
        )


def hashedrekord_v2(digest: bytes, signature: bytes, verifier: Verifier) -> bytes:
    """Return Rekor v2's body of a signature over ``digest`` (rekor-tiles, hashedrekord 0.0.2)."""
    raw: Json = {"rawBytes": format_base64(verifier.der)}
    return format_canonical_json(
        {
            "apiVersion": "0.0.2",
            "kind": "hashedrekord",
            "spec": {
                "hashedRekordV002": {
                    "data": {
                        "algorithm": _V2_NAMES[verifier.algorithm.name],
                        "digest": format_base64(digest),
                    },
                    "signature": {
                        "content": format_base64(signature),
                        "verifier": {
                            "keyDetails": verifier.details,
                            ("x509Certificate" if verifier.is_certificate else "publicKey"): raw,
                        },
                    },
                }
            },
        }
    )


def hashedrekord_v1(digest: bytes, signature: bytes, verifier: Verifier) -> bytes:
    """Return Rekor v1's body of a signature over ``digest`` (hashedrekord 0.0.1)."""
    return format_canonical_json(
        {
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": _V1_NAMES[len(digest)], "value": digest.hex()}},
                "signature": {
                    "content": format_base64(signature),
                    "publicKey": {"content": format_base64(verifier.pem)},
                },
            },
        }
    )


def dsse_v1(payload: bytes, signature: bytes, verifier: Verifier, *, envelope_sha256: str) -> bytes:
    """Return Rekor v1's body of an envelope with one signature (dsse 0.0.1).

    ``envelope_sha256`` is the digest (hex) of the envelope's text as it was sent: an envelope has no canonical bytes,
    so whoever did not send it takes the digest from the body, and proves nothing about it.
    """
    return format_canonical_json(
        {
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": {"algorithm": "sha256", "value": envelope_sha256},
                "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
                "signatures": [
                    {"signature": format_base64(signature), "verifier": format_base64(verifier.pem)}
                ],
            },
        }
    )


def intoto_v2(
    payload: bytes,
    signature: bytes,
    *,
    verifier_pem: bytes,
    payload_type: str,
    keyid: str,
    envelope_sha256: str,
) -> bytes:
    """Return Rekor v1's older body of an envelope with one signature (intoto 0.0.2).

    The signature is in base64 twice. Rekor keeps the verifier's PEM as it was sent, here ``verifier_pem``;
    ``envelope_sha256`` is what it is for ``dsse_v1``.
    """
    signed: dict[str, Json] = {
        "publicKey": format_base64(verifier_pem),
        "sig": format_base64(format_base64(signature).encode()),
    }
    return format_canonical_json(
        {
            "apiVersion": "0.0.2",
            "kind": "intoto",
            "spec": {
                "content": {
                    "envelope": {
                        "payloadType": payload_type,
                        "signatures": [{**signed, **({"keyid": keyid} if keyid else {})}],
                    },
                    "hash": {"algorithm": "sha256", "value": envelope_sha256},
                    "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
                }
            },
        }
    )


def intoto_v1(payload: bytes, verifier: Verifier, *, envelope_sha256: str) -> bytes:
    """Return Rekor v1's oldest body of an envelope (intoto 0.0.1).

    It has no signature: only the digest of the envelope's text says which one it is about.
    """
    return format_canonical_json(
        {
            "apiVersion": "0.0.1",
            "kind": "intoto",
            "spec": {
                "content": {
                    "hash": {"algorithm": "sha256", "value": envelope_sha256},
                    "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
                },
                "publicKey": format_base64(verifier.pem),
            },
        }
    )


BodyOf = Callable[[bytes, bytes, Verifier], bytes]
HASHEDREKORDS: dict[tuple[str, str], BodyOf] = {
    ("hashedrekord", "0.0.2"): hashedrekord_v2,
    ("hashedrekord", "0.0.1"): hashedrekord_v1,
}
"""The kinds that hold a digest and nothing of what was signed."""
