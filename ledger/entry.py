"""Entries: the bytes in the log. A DSSE envelope as RFC 8785 JSON, or a map commit (docs/spec/entry.md).

The envelope has exactly one ECDSA P-256 signature over the DSSE pre-authentication encoding of the statement.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.encoding import (
    Json,
    format_base64,
    format_canonical_json,
    parse_audited_json,
    parse_base64,
    parse_canonical_json,
    parse_decimal,
    parse_hex,
)
from ledger.errors import LimitError, MalformedError, SignatureError

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_ENTRY_BYTES = 49_000
"""A ``.tlog-proof`` line with the entry in base64 must stay under the 64 KiB that Go's line reader takes."""
MAX_SIGNATURE_BYTES = 72
"""An ASN.1 DER ECDSA signature over P-256."""
MAX_ANCHOR_SIGNATURE_BYTES = 139
"""The same over P-521: the key of an anchor, which is no entry of ours, may be on a larger curve."""
MAP_COMMIT_KIND = "https://hubledger/map-commit/v1"
MAP_FUNCTION = "hubledger/v1"

_PREFIX = f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} ".encode()
_ECDSA = ec.ECDSA(hashes.SHA256())


def pae(payload: bytes) -> bytes:
    """Return the DSSE pre-authentication encoding (DSSE v1, "Signature Definition")."""
    return _PREFIX + b"%d %s" % (len(payload), payload)


def keyid_of(spki: bytes) -> str:
    """Return the key id: hex SHA-256 of the DER SubjectPublicKeyInfo."""
    return hashlib.sha256(spki).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A parsed envelope; the signature is not checked."""

    payload: bytes
    keyid: str
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedEntry:
    """An envelope whose signature by a known key was checked."""

    entry: Entry
    key: ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class MapCommit:
    """The root of the history map over all entries before this one; authenticated by the checkpoint."""

    covers: int
    root: bytes


def format_entry(payload: bytes, *, keyid: str, signature: bytes) -> bytes:
    """Format an entry. Raises LimitError above ``MAX_ENTRY_BYTES``.

    The keys stand in RFC 8785 order and no value needs escaping, so the bytes can be written down.
    """
    data = (
        f'{{"payload":"{format_base64(payload)}","payloadType":"{PAYLOAD_TYPE}",'
        f'"signatures":[{{"keyid":"{keyid}","sig":"{format_base64(signature)}"}}]}}'
    ).encode()
    if len(data) > MAX_ENTRY_BYTES:
        raise LimitError("entry", expected=f"at most {MAX_ENTRY_BYTES} bytes", actual=f"{len(data)} bytes")
    return data


def parse_entry(
    data: bytes, *, leaf_index: int | None = None, max_signature_bytes: int = MAX_SIGNATURE_BYTES
) -> Entry | MapCommit:
    """Parse an entry that equals its own re-encoding.

    A map commit counts as one only at the leaf index that it covers, where ``leaf_index`` is given.

    Raises:
        LimitError: too large. MalformedError: anything else than one of the two forms.
    """
    value = parse_canonical_json(data, what="entry", max_bytes=MAX_ENTRY_BYTES)
    if isinstance(value, dict) and value.get("kind") == MAP_COMMIT_KIND:
        return _parse_map_commit(value, leaf_index)
    return parse_envelope(value, max_signature_bytes=max_signature_bytes)


def parse_envelope(value: Json, *, max_signature_bytes: int = MAX_SIGNATURE_BYTES) -> Entry:
    """Parse an envelope that came as JSON; keys on larger curves than a hub's make larger signatures.

    Raises:
        MalformedError, LimitError: not an envelope of an in-toto statement with one signature.
    """
    match value:
        case {
            "payload": str(payload),
            "payloadType": str(kind),
            "signatures": [{"keyid": str(keyid), "sig": str(sig)} as one],
        } if len(value) == 3 and len(one) == 2 and kind == PAYLOAD_TYPE:
            pass
        case _:
            raise MalformedError(
                "entry", expected="a DSSE envelope with one signature", actual="something else"
            )
    parse_hex(keyid, length=32, what="keyid of the entry")
    return Entry(
        payload=parse_base64(payload, what="payload of the entry"),
        keyid=keyid,
        signature=parse_base64(sig, what="signature of the entry", max_bytes=max_signature_bytes),
    )


def audited_payload(data: bytes) -> bytes | None:
    """Return the statement in an entry that ``parse_entry`` let through before; None: read it with that."""
    entry = parse_audited_entry(data)
    return None if entry is None else entry.payload


def parse_audited_entry(data: bytes) -> Entry | None:
    """Return what ``parse_entry`` does, of an envelope that it let through before; None: read it with that."""
    try:
        value = parse_audited_json(data)
        (one,) = value["signatures"]
        return Entry(
            payload=parse_base64(value["payload"]), keyid=one["keyid"], signature=parse_base64(one["sig"])
        )
    except (MalformedError, LookupError, TypeError, ValueError):
        return None


def _parse_map_commit(value: dict[str, Json], leaf_index: int | None) -> MapCommit:
    if value.keys() != {"covers", "kind", "mapFn", "root"} or value["mapFn"] != MAP_FUNCTION:
        raise MalformedError(
            "map commit", expected=f"covers, kind, mapFn {MAP_FUNCTION}, root", actual=sorted(value)
        )
    if not isinstance(value["covers"], str):
        raise MalformedError("map commit", expected="covers as a decimal string", actual=value["covers"])
    commit = MapCommit(
        covers=parse_decimal(value["covers"], what="covers of a map commit"),
        root=parse_hex(value["root"], length=32, what="root of a map commit"),
    )
    if leaf_index is not None and commit.covers != leaf_index:
        raise MalformedError("covers of a map commit", expected=leaf_index, actual=commit.covers)
    return commit


def format_map_commit(commit: MapCommit) -> bytes:
    """Format a map commit."""
    return format_canonical_json(
        {
            "covers": str(commit.covers),
            "kind": MAP_COMMIT_KIND,
            "mapFn": MAP_FUNCTION,
            "root": commit.root.hex(),
        }
    )


def verify_entry(entry: Entry, keys: Mapping[str, ec.EllipticCurvePublicKey]) -> VerifiedEntry:
    """Return an entry whose signature by one of ``keys`` (by key id) holds.

    Raises:
        SignatureError: a key that is not known, or a signature that fails.
    """
    key = keys.get(entry.keyid)
    if key is None:
        raise SignatureError("key of the entry", expected="a known hub key", actual=entry.keyid)
    try:
        key.verify(entry.signature, pae(entry.payload), _ECDSA)
    except InvalidSignature as error:
        raise SignatureError(
            f"signature of the entry by {entry.keyid[:16]}…",
            expected="a valid signature",
            actual="one that fails",
        ) from error
    return VerifiedEntry(entry=entry, key=key)
