"""The one subject of a statement: its primary object, derived from the predicate (docs/spec/event.md, "Subjects")."""

import hashlib
from collections.abc import Mapping

from ledger.encoding import Json, format_base64, format_canonical_json, parse_base64
from ledger.errors import MalformedError
from ledger.event import schemas
from ledger.identity import canonical_identity, identity_digest, parse_signer


def subject_of(predicate_type: str, fields: Mapping[str, Json]) -> tuple[str, bytes]:
    """Return the name and SHA-256 of the subject of one of the nine types with plain fields.

    Raises:
        MalformedError: a hub key whose id is not the SHA-256 of its SubjectPublicKeyInfo.
    """
    match predicate_type:
        case schemas.IDENTITY_POLICY:
            return "policy", bytes.fromhex(fields["policySha256"])
        case schemas.CHALLENGE:
            return fields["challengeId"], bytes.fromhex(fields.get("changeSha256", fields["policySha256"]))
        case schemas.MODEL_NOTICE:
            return fields["name"], _sha256(fields["name"].encode())
        case schemas.DERIVATION:
            return fields["model"]["name"], _sha256(format_canonical_json(fields["model"]))
        case schemas.ACCOUNT_LINK:
            return fields["account"], identity_digest(canonical_identity(parse_signer(fields["signer"])))
        case schemas.HUB_KEY:
            return fields["keyid"], _hub_key(fields["keyid"], fields["spki"])
        case schemas.ERASURE:
            return "evidence", bytes.fromhex(fields["evidence"][0])
        case schemas.ANCHOR:
            root = format_base64(bytes.fromhex(fields["rootHash"]))
            return fields["origin"], _sha256(f"{fields['origin']}\n{fields['size']}\n{root}\n".encode())
        case schemas.SUCCESSION:
            return fields["predecessor"], _sha256(fields["finalCheckpoint"].encode())
    raise MalformedError("predicate type", expected="a type with plain fields", actual=predicate_type)


def _hub_key(keyid: str, spki: str) -> bytes:
    digest = _sha256(parse_base64(spki, what="spki of the hub key"))
    if digest.hex() != keyid:
        raise MalformedError("keyid of the hub key", expected=f"{digest.hex()}, of its spki", actual=keyid)
    return digest


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
