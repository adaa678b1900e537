"""The exact form of a Sigstore bundle (v0.1 to v0.3): every field that one may have, and nothing else.

A signature file is no content: no signature needs to list it, and copies with and without it count as the same. So nothing
else may hide in it. A loader that reads a bundle as its own settings, or as text, must find nothing that somebody put
there: no field that the format does not have, no value of another kind, no brackets of a template or a page in a text.
"""

import re
from collections.abc import Mapping
from typing import Any

from ledger.bundle.reasons import refused

_TEXT = re.compile(r"[^\x00-\x09\x0b-\x1f\x7f{}<>]*")
"""Base64, hex, enum names and a log's checkpoint: none has brackets of a template (a hint could, and nobody signs it)."""
TEXT, NUMBER = "text", "number"
"""A string as above; an integer, which protobuf's JSON writes as a string where it may have 64 bits."""

Shape = str | list[Any] | Mapping[str, Any]
"""A leaf, a list of one shape, or an object with these fields, each of which may be absent or null."""

_RAW_BYTES: Shape = {"rawBytes": TEXT}
_LOG_ENTRY: Shape = {
    "logIndex": NUMBER,
    "logId": {"keyId": TEXT},
    "kindVersion": {"kind": TEXT, "version": TEXT},
    "integratedTime": NUMBER,
    "inclusionPromise": {"signedEntryTimestamp": TEXT},
    "inclusionProof": {
        "logIndex": NUMBER,
        "rootHash": TEXT,
        "treeSize": NUMBER,
        "hashes": [TEXT],
        "checkpoint": {"envelope": TEXT},
    },
    "canonicalizedBody": TEXT,
}
BUNDLE: Shape = {
    "mediaType": TEXT,
    "verificationMaterial": {
        # hint is all that the format has; model-signing 0.2 wrote a whole PublicKey there.
        "publicKey": {
            "hint": TEXT,
            "rawBytes": TEXT,
            "keyDetails": TEXT,
            "validFor": {"start": TEXT, "end": TEXT},
        },
        "x509CertificateChain": {"certificates": [_RAW_BYTES]},
        "certificate": _RAW_BYTES,
        "tlogEntries": [_LOG_ENTRY],
        "timestampVerificationData": {"rfc3161Timestamps": [{"signedTimestamp": TEXT}]},
    },
    "messageSignature": {},
    "dsseEnvelope": {"payload": TEXT, "payloadType": TEXT, "signatures": [{"sig": TEXT, "keyid": TEXT}]},
}
"""From protobuf-specs' sigstore_bundle.proto, sigstore_common.proto, sigstore_rekor.proto and DSSE's envelope.proto."""


def check_shape(value: object, shape: Shape = BUNDLE, where: str = "bundle") -> None:
    """Return if a parsed bundle has fields of the format alone.

    Raises:
        NotVerifiedError: ``bundle-malformed``, with the first field that does not belong there.
    """
    match shape, value:
        case _, None:
            return
        case Mapping(), dict():
            for name, each in value.items():
                if name not in shape:
                    raise refused("bundle-malformed", f"unknown field {name[:100]} in {where}")
                check_shape(each, shape[name], name)
        case [inner], list():
            for each in value:
                check_shape(each, inner, where)
        case _:
            if not _is_leaf(shape, value):
                raise refused("bundle-malformed", f"{where} is not what the format has there")


def _is_leaf(shape: Shape, value: object) -> bool:
    match value:
        case str():
            return shape in (TEXT, NUMBER) and _TEXT.fullmatch(value) is not None
        case bool():
            return False
        case int():
            return shape == NUMBER
    return False
