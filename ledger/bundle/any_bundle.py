"""Any Sigstore bundle, v0.1 to v0.3: a DSSE envelope or the signature of a file, by a certificate or a public key.

``ledger.bundle`` reads the bundles of model signatures, with the codes that a hub records; this reads all others for a
person who holds one. The form is the same table of fields, and a field that the format does not have is refused.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ledger.bundle import (
    MAX_BUNDLE_BYTES,
    MAX_CONTAINERS,
    MAX_SIGNATURE_BYTES,
    VERSIONS,
    check_containers,
)
from ledger.bundle.reasons import NotVerifiedError
from ledger.bundle.shape import BUNDLE, TEXT, Shape, check_shape
from ledger.encoding import format_base64, parse_base64, parse_json
from ledger.errors import LimitError, MalformedError

MAX_ENTRIES = 16
"""Log entries, and timestamps: writers put one of each."""
MAX_CERTIFICATE_BYTES = 64 << 10
MAX_TIMESTAMP_BYTES = 64 << 10
DIGESTS = {"SHA2_256": hashlib.sha256, "SHA2_384": hashlib.sha384, "SHA2_512": hashlib.sha512}
"""By the name that Sigstore's protobuf has for a hash."""
_OLD = ("0.1", "0.2")
_SHAPE: Shape = {
    **(BUNDLE if isinstance(BUNDLE, Mapping) else {}),
    "messageSignature": {"messageDigest": {"algorithm": TEXT, "digest": TEXT}, "signature": TEXT},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedEnvelope:
    """A DSSE envelope with one signature; nothing is verified."""

    payload: bytes
    payload_type: str
    signature: bytes
    keyid: str

    @property
    def message(self) -> bytes:
        """The bytes that were signed: the DSSE pre-authentication encoding."""
        kind = self.payload_type.encode()
        return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(self.payload), self.payload)

    def texts(self) -> Iterator[bytes]:
        """Yield the texts that writers make of this envelope: without blanks, in Go's order of fields or sorted.

        An envelope has no canonical text. These are what cosign and in-toto's library for Go write, and sorted JSON.
        """
        payload, sig = format_base64(self.payload), format_base64(self.signature)
        kind = {"payloadType": self.payload_type}
        signed = [{"keyid": self.keyid, "sig": sig}, *([] if self.keyid else [{"sig": sig}])]
        for one in signed:
            for head in ({**kind, "payload": payload}, {"payload": payload, **kind}):
                yield json.dumps(
                    {**head, "signatures": [one]}, separators=(",", ":"), ensure_ascii=False
                ).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedFile:
    """The signature of a file that is not in the bundle. ``digest`` is what the bundle says of that, None if nothing."""

    signature: bytes
    algorithm: str | None
    digest: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyBundle:
    """A bundle whose form is sound; who signed is not checked yet.

    Exactly one of ``certificate`` (DER, the leaf) and ``hint`` (of a public key; it may be empty) is not None.
    ``log_entries`` are JSON values.
    """

    raw: bytes
    media_type: str
    content: SignedEnvelope | SignedFile
    certificate: bytes | None
    hint: str | None
    log_entries: tuple[Any, ...]
    timestamps: tuple[bytes, ...]

    @property
    def may_be_promised(self) -> bool:
        """Whether its version allows an entry with a promise and no proof (v0.1 alone)."""
        return self.media_type.endswith("=0.1")


def parse_any_bundle(raw: bytes) -> AnyBundle:
    """Parse a bundle of any writer.

    Raises:
        LimitError: too large, or of too many parts. MalformedError: no bundle in form, or of an unknown version.
    """
    if len(raw) > MAX_BUNDLE_BYTES:
        raise LimitError("Sigstore bundle", expected=f"at most {MAX_BUNDLE_BYTES} bytes", actual=len(raw))
    try:
        check_containers(raw, MAX_CONTAINERS, "bundle-malformed")
        value = parse_json(raw, what="Sigstore bundle", max_bytes=MAX_BUNDLE_BYTES)
        check_shape(value, _SHAPE)
    except NotVerifiedError as error:
        raise MalformedError(
            "Sigstore bundle", expected="the format's own fields", actual=error.detail
        ) from error
    match value:
        case {"mediaType": str(media), "verificationMaterial": dict(material)} if media in VERSIONS:
            return _parse(raw, value, media, material)
    raise MalformedError(
        "Sigstore bundle",
        expected="version 0.1, 0.2 or 0.3, with verification material",
        actual=_media(value),
    )


def _media(value: Any) -> str:
    return str(value.get("mediaType"))[:100] if isinstance(value, dict) else "no JSON object"


def _parse(raw: bytes, value: Mapping[str, Any], media: str, material: Mapping[str, Any]) -> AnyBundle:
    certificate, hint = _parse_signer(media, material)
    stamps = (material.get("timestampVerificationData") or {}).get("rfc3161Timestamps") or []
    entries = material.get("tlogEntries") or []
    if max(len(stamps), len(entries)) > MAX_ENTRIES:
        raise LimitError(
            "log entries and timestamps of the bundle",
            expected=f"at most {MAX_ENTRIES} of each",
            actual=f"{len(entries)} and {len(stamps)}",
        )
    return AnyBundle(
        raw=raw,
        media_type=media,
        content=_parse_content(value),
        certificate=certificate,
        hint=hint,
        log_entries=tuple(entries),
        timestamps=tuple(_parse_timestamp(each) for each in stamps),
    )


def _parse_signer(media: str, material: Mapping[str, Any]) -> tuple[bytes | None, str | None]:
    """Return the leaf certificate, or the hint: exactly one field says who signed, the one that the version has."""
    field = "x509CertificateChain" if media.endswith(_OLD) else "certificate"
    named = [
        name
        for name in ("certificate", "x509CertificateChain", "publicKey")
        if material.get(name) is not None
    ]
    match material:
        case {"publicKey": {**key}} if named == ["publicKey"]:
            return None, str(key.get("hint") or "")
        case {"x509CertificateChain": {"certificates": [{"rawBytes": str(leaf)}, *_]}} if named == [field]:
            pass
        case {"certificate": {"rawBytes": str(leaf)}} if named == [field]:
            pass
        case _:
            raise MalformedError(
                "who signed the bundle",
                expected=f"publicKey or {field}",
                actual=", ".join(named) or "nothing",
            )
    return parse_base64(leaf, what="certificate of the bundle", max_bytes=MAX_CERTIFICATE_BYTES), None


def _parse_content(value: Mapping[str, Any]) -> SignedEnvelope | SignedFile:
    envelope: Any = value.get("dsseEnvelope")
    message: Any = value.get("messageSignature")
    match envelope, message:
        case {"payload": str(payload), "signatures": [{"sig": str(signature)} as one]}, None:
            return SignedEnvelope(
                payload=parse_base64(payload, what="payload of the bundle"),
                payload_type=_parse_payload_type(envelope.get("payloadType")),
                signature=_parse_signature(signature),
                keyid=str(one.get("keyid") or ""),
            )
        case None, {"signature": str(signature)}:
            return _parse_file(message.get("messageDigest"), _parse_signature(signature))
    raise MalformedError(
        "what the bundle signs",
        expected="one DSSE envelope with one signature, or one signature of a file",
        actual="something else",
    )


def _parse_payload_type(value: Any) -> str:
    """Return the type, whose bytes are signed: JSON can hold half a character, which has none."""
    text = str(value or "")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise MalformedError("payload type of the bundle", expected="UTF-8", actual=text) from error
    return text


def _parse_signature(text: str) -> bytes:
    return parse_base64(text, what="signature of the bundle", max_bytes=MAX_SIGNATURE_BYTES)


def _parse_file(digest: Any, signature: bytes) -> SignedFile:
    match digest:
        case None:
            return SignedFile(signature=signature, algorithm=None, digest=None)
        case {"algorithm": str(algorithm), "digest": str(text)} if algorithm in DIGESTS:
            raw = parse_base64(text, what="digest of the signed file", max_bytes=64)
            if len(raw) == DIGESTS[algorithm]().digest_size:
                return SignedFile(signature=signature, algorithm=algorithm, digest=raw)
    raise MalformedError(
        "digest of the signed file", expected="one of " + ", ".join(DIGESTS), actual=str(digest)[:100]
    )


def _parse_timestamp(value: Any) -> bytes:
    match value:
        case {"signedTimestamp": str(text)}:
            return parse_base64(text, what="timestamp of the bundle", max_bytes=MAX_TIMESTAMP_BYTES)
    raise MalformedError("timestamp of the bundle", expected="a signedTimestamp", actual="nothing")
