"""Reads a signature file: a Sigstore bundle in JSON, and who signed which digests in it.

``parse_bundle`` is strict and trusts nothing; ``statement`` reads what was signed; ``signature`` checks who signed;
``shape`` has every field of a bundle, ``reasons`` every code of a refusal; only ``sigstore_method`` imports sigstore, when it is needed. Formats: the
OpenSSF Model Signing specification v1.0 and the older statements of model-signing 0.2, in Sigstore bundles v0.1 to v0.3.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ledger.bundle.reasons import NotVerifiedError, refused, refusing
from ledger.bundle.shape import check_shape
from ledger.encoding import parse_base64, parse_json
from ledger.entry import PAYLOAD_TYPE, pae

__all__ = ["MAX_BUNDLE_BYTES", "MEDIA_TYPE", "Bundle", "NotVerifiedError", "parse_bundle"]

MAX_BUNDLE_BYTES = 16 << 20
"""Bounds every list in it, too: about 100,000 files, or shards."""
MAX_CONTAINERS = 10_000
"""Lists and objects in a bundle; a keyless one has about twenty. What was signed is base64 and not among them."""
MAX_SIGNATURE_BYTES = 4096
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle"
_OLD_VERSIONS = (f"{MEDIA_TYPE}+json;version=0.1", f"{MEDIA_TYPE}+json;version=0.2")
VERSIONS = (*_OLD_VERSIONS, f"{MEDIA_TYPE}+json;version=0.3", f"{MEDIA_TYPE}.v0.3+json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle whose structure is sound. Who signed is not checked yet."""

    raw: bytes
    media_type: str
    method: str
    payload: bytes
    signature: bytes
    material: Any
    """The value of the one field that says who signed."""
    log_entries: Any

    @property
    def statement_sha256(self) -> bytes:
        """SHA-256 of the signed statement."""
        return hashlib.sha256(self.payload).digest()

    @property
    def message(self) -> bytes:
        """The bytes that were signed."""
        return pae(self.payload)

    @property
    def deprecated_message(self) -> bytes:
        """The bytes that model-signing 0.2 signed in their place: it formatted a ``bytes`` object into a string."""
        payload = self.payload
        return f"DSSEV1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} {payload!r}".encode()


_METHODS = {"publicKey": "key", "x509CertificateChain": "certificate", "certificate": "sigstore"}


def parse_bundle(raw: bytes) -> Bundle:
    """Parse a Sigstore bundle with one signature over an in-toto payload.

    A field that the format does not have is refused, wherever it is: what parses here is no content (``shape``).

    Raises:
        NotVerifiedError: UNSUPPORTED, with the reason why it is none.
    """
    if len(raw) > MAX_BUNDLE_BYTES:
        raise refused("bundle-too-large", f"{len(raw)} bytes")
    check_containers(raw, MAX_CONTAINERS, "bundle-malformed")
    with refusing("bundle-malformed"):
        value = parse_json(raw, what="signature bundle", max_bytes=MAX_BUNDLE_BYTES)
    match value:
        case {"mediaType": str(media), "verificationMaterial": dict(material)} if media.startswith(
            MEDIA_TYPE
        ):
            payload, signature = _parse_envelope(value)
            check_shape(value)
            return _of_material(raw, media, material, payload, signature)
    raise refused("bundle-malformed", "no media type of a bundle, or no verification material")


def check_containers(raw: bytes, limit: int, reason: str) -> None:
    """Refuse JSON of too many lists and objects before they are made: 16 MiB of ``[],`` are a gigabyte of memory."""
    if raw.count(b"[") + raw.count(b"{") > limit:
        raise refused(reason, f"more than {limit} lists and objects")


def _parse_envelope(value: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Return the payload and its one signature."""
    envelope = value.get("dsseEnvelope")
    if value.get("messageSignature") is not None:
        raise refused("message-signature" if envelope is None else "bundle-malformed", "messageSignature")
    match envelope:
        case {"payload": str(payload), "payloadType": str(kind), "signatures": list(signatures)}:
            pass
        case _:
            raise refused("bundle-malformed", "no DSSE envelope")
    if kind != PAYLOAD_TYPE:
        raise refused("payload-type", kind[:100])
    if len(signatures) != 1:
        raise refused("several-signatures", len(signatures))
    match signatures:
        case [{"sig": str(signature)}]:
            with refusing("bundle-malformed"):
                return parse_base64(payload, what="payload"), parse_base64(
                    signature, what="signature", max_bytes=MAX_SIGNATURE_BYTES
                )
    raise refused("bundle-malformed", "a signature without sig")


def _of_material(
    raw: bytes, media: str, material: Mapping[str, Any], payload: bytes, signature: bytes
) -> Bundle:
    """Find the method: exactly one field says who signed."""
    fields = [name for name in _METHODS if material.get(name) is not None]
    if len(fields) != 1:
        raise refused("bundle-malformed", "not exactly one of " + ", ".join(_METHODS))
    method = _METHODS[fields[0]]
    # Versions 0.1 and 0.2 carry Fulcio's certificate in a chain. From 0.3 on a chain is the certificate method, also
    # where somebody added a log entry to it, which OMS allows.
    if method == "certificate" and media in _OLD_VERSIONS and material.get("tlogEntries"):
        method = "sigstore"
    return Bundle(
        raw=raw,
        media_type=media,
        method=method,
        payload=payload,
        signature=signature,
        material=material[fields[0]],
        log_entries=material.get("tlogEntries"),
    )
