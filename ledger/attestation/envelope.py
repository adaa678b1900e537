"""The signed form of an attestation: a DSSE envelope in a Sigstore bundle v0.3, whose key is named by a hint. Pure.

The hub's key is in the verifier's trust file; the bundle only says which of its keys it is.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from ledger.attestation import EXTENSION, PREDICATES, STATEMENT, Form, Pointer
from ledger.encoding import (
    Json,
    format_base64,
    format_canonical_json,
    parse_base64,
    parse_canonical_json,
    parse_hex,
    parse_json,
    parse_whole,
)
from ledger.entry import MAX_SIGNATURE_BYTES, PAYLOAD_TYPE, Entry
from ledger.errors import MalformedError

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MAX_ATTESTATION_BYTES = 64 << 10
MAX_PAYLOAD_BYTES = 32 << 10
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """What an attestation says. Whether it is true is for the event that it points at to say.

    ``entry`` is the envelope; its signature is not checked. ``model`` is as it is recorded. Times are in POSIX seconds. What is
    read here leads to the event; ``comparing`` holds every field of the statement against that.
    """

    entry: Entry
    form: Form
    model: str
    passed: bool
    levels: tuple[str, ...]
    pointer: Pointer
    made: int
    expires: int


def format_bundle(payload: bytes, *, keyid: str, signature: bytes) -> bytes:
    """Format the bundle of a signed statement."""
    return format_canonical_json(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": format_base64(bytes.fromhex(keyid))}},
            "dsseEnvelope": {
                "payload": format_base64(payload),
                "payloadType": PAYLOAD_TYPE,
                # Without a keyid: cosign takes one for the fingerprint of another kind of key.
                "signatures": [{"sig": format_base64(signature)}],
            },
        }
    )


def parse_attestation(data: bytes) -> Attestation:
    """Parse an attestation. Raises MalformedError, LimitError."""
    value = parse_json(data, what="attestation", max_bytes=MAX_ATTESTATION_BYTES)
    match value:
        case {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": str(hint)}},
            "dsseEnvelope": {
                "payload": str(payload),
                "payloadType": "application/vnd.in-toto+json",
                "signatures": [{"sig": str(signature)}],
            },
        }:
            entry = Entry(
                payload=parse_base64(payload, what="payload of the attestation", max_bytes=MAX_PAYLOAD_BYTES),
                keyid=parse_base64(hint, what="hint of the attestation", max_bytes=32).hex(),
                signature=parse_base64(
                    signature, what="signature of the attestation", max_bytes=MAX_SIGNATURE_BYTES
                ),
            )
            return _parse_statement(entry)
    raise MalformedError(
        "attestation", expected="a Sigstore bundle with a DSSE envelope", actual="another form"
    )


def _parse_statement(entry: Entry) -> Attestation:
    value = parse_canonical_json(
        entry.payload, what="statement of the attestation", max_bytes=MAX_PAYLOAD_BYTES
    )
    match value:
        case {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": str(model)}],
            "predicateType": str(kind),
            "predicate": dict(predicate),
        }:
            for form, known in PREDICATES.items():
                if kind == known:
                    return _parse_predicate(entry, form, model, predicate)
    raise MalformedError(
        "statement of the attestation",
        expected=f"{STATEMENT} with {' or '.join(PREDICATES.values())}",
        actual="another",
    )


def _parse_predicate(entry: Entry, form: Form, model: str, predicate: dict[str, Json]) -> Attestation:
    made: Json
    match form, predicate:
        case Form.VSA, {
            "timeVerified": made,
            "verificationResult": ("PASSED" | "FAILED") as word,
            "verifiedLevels": list(levels),
        }:
            passed = word == "PASSED"
        case Form.SVR, {"timeCreated": made, "properties": list(levels)}:
            passed = True
        case _:
            raise MalformedError("predicate of the attestation", expected=f"a {form}", actual="another form")
    pointer, expires = _parse_pointer(predicate.get(EXTENSION))
    return Attestation(
        entry=entry,
        form=form,
        model=model,
        passed=passed,
        levels=tuple(map(str, levels)),
        pointer=pointer,
        made=_parse_time(made),
        expires=_parse_time(expires),
    )


def _parse_pointer(value: Json) -> tuple[Pointer, Json]:
    match value:
        case {
            "hub": str(hub),
            "revision": str(revision),
            "ledger": str(ledger),
            "leafIndex": index,
            "leafHash": leaf_hash,
            "policySha256": policy,
            "expires": expires,
        }:
            pointer = Pointer(
                hub=hub,
                revision=revision,
                ledger=ledger,
                leaf_index=parse_whole(index, what="leafIndex"),
                leaf_hash=parse_hex(leaf_hash, length=32, what="leafHash"),
                policy_sha256=parse_hex(policy, length=32, what="policySha256"),
            )
            return pointer, expires
    raise MalformedError(f"field {EXTENSION} of the attestation", expected="where the event is", actual=value)


def _parse_time(text: Json) -> int:
    if isinstance(text, str) and _TIME.fullmatch(text):
        try:
            return int(datetime.fromisoformat(text).timestamp())
        except ValueError:
            pass
    raise MalformedError("time of the attestation", expected="YYYY-MM-DDTHH:MM:SSZ", actual=text)
