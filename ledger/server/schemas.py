"""The JSON that goes in and out, as JSON Schema: parts of the statement come from the table of ``ledger.event.schemas``."""

from typing import Any

from ledger.event.fields import EVENT_ID, OVERFLOW
from ledger.event.schemas import STATEMENTS, VERIFICATION_EVENT
from ledger.server.problems import PROBLEMS

_EVENT = STATEMENTS[VERIFICATION_EVENT]
_NUMBER = {"type": "integer", "minimum": 0}
_STRING = {"type": "string"}
_HEX = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_BASE64 = {"type": "string", "contentEncoding": "base64"}


def _object(
    required: dict[str, Any], optional: dict[str, Any] | None = None, *, closed: bool = False
) -> dict[str, Any]:
    value: dict[str, Any] = {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": sorted(required),
    }
    return value | {"additionalProperties": False} if closed else value


def _list(of: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": of, **more}


_PLACE = {
    "leafIndex": {**_NUMBER, "description": "In its log; of a ledger in Rekor, in the shard that has it."},
    "number": {**_NUMBER, "description": "Of a ledger in Rekor: its place in the order of acceptance."},
}
_OUTBOX_NUMBER = {**_NUMBER, "description": "Of a ledger in Rekor: entries in this state."}
_STATE = {"type": "string", "enum": ["logged", "pending", "refused", "dropped"]}


def _placed(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return _object(required, {**(optional or {}), **_PLACE})


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


_RAW_NAME = {
    "type": "string",
    "minLength": 1,
    "description": "As the hub calls it; it is escaped before it is recorded.",
}
_AS_OF = _object({"size": _NUMBER, "indexed": _NUMBER})
_OF_TABLE = {name: kind.schema() for name, kind in _EVENT.required.items()}


def schemas() -> dict[str, Any]:
    """Return every named schema."""
    return {
        "bytes": {"type": "string", "format": "binary"},
        "Problem": _object(
            {
                "type": {"type": "string", "enum": [each.type for each in PROBLEMS]},
                "title": _STRING,
                "status": _NUMBER,
                "detail": _STRING,
            },
            {"nextStep": _STRING},
        ),
        "Event": _object(
            {
                "eventId": EVENT_ID.schema(),
                "model": _object(
                    {"name": _RAW_NAME, "revision": _RAW_NAME},
                    {
                        "repoId": _RAW_NAME,
                        "ref": _RAW_NAME,
                        "parents": _list(_RAW_NAME),
                        "revisionTime": {"type": "string", "format": "date-time"},
                    },
                    closed=True,
                ),
                "manifest": _OF_TABLE["manifest"],
                "outcome": _OF_TABLE["outcome"],
            },
            {
                "trigger": _OF_TABLE["trigger"],
                "uploader": {**_RAW_NAME, "description": "An opaque account id."},
                "signatures": _OF_TABLE["signatures"],
                "moreSignatures": OVERFLOW.schema(),
                "reasons": _OF_TABLE["reasons"],
                "private": {"type": "boolean"},
                "evidence": _list(
                    _BASE64,
                    description="Bytes of the manifest, the bundles and the rest that the event names.",
                ),
            },
            closed=True,
        ),
        "Line": {"anyOf": [_ref("Receipt"), _ref("Problem")]},
        "Receipt": _object(
            {"eventId": _STRING},
            {
                **_PLACE,
                "state": _STATE,
                "shard": _STRING,
                "shardOrder": _NUMBER,
                "logIndex": _NUMBER,
                "logId": _BASE64,
                "integratedTime": _NUMBER,
                "timestamps": _NUMBER,
                "bundle": {
                    "type": "object",
                    "description": "Of a ledger in Rekor, where `included` was waited for: a Sigstore bundle.",
                },
                "repeated": {"type": "boolean"},
                "outcome": _STRING,
                "decision": _STRING,
                "reasons": _list(_STRING),
                "entry": {"type": "object", "description": "The signed envelope, as RFC 8785 JSON its leaf."},
                "proof": {
                    "type": "string",
                    "description": "A `.tlog-proof`, where `included` was waited for.",
                },
                "checkpoint": {"type": "string", "description": "The signed note that the proof leads to."},
                "reached": {"type": "string", "description": "`durable`, where more was waited for in vain."},
                "withheld": _list(_HEX),
                "skipped": {"type": "boolean"},
            },
        ),
        "Entries": _object(
            {
                "entries": _list(_BASE64, minItems=1, maxItems=100),
            },
            closed=True,
        ),
        "Appended": _object(
            {
                "entries": _list(
                    _object(
                        {"eventId": _STRING, "leafIndex": _NUMBER},
                        {"proof": _STRING, "checkpoint": _STRING, "reached": _STRING},
                    )
                )
            }
        ),
        "Stored": _object({"sha256": _HEX, "size": _NUMBER, "withheld": {"type": "boolean"}}),
        "Log": _object(
            {"ledger": _STRING, "hub": _STRING, "log": _STRING, "size": _NUMBER, "indexed": _NUMBER},
            {
                "rootHash": {**_HEX, "description": "Of a log of its own."},
                "logged": _OUTBOX_NUMBER,
                "pending": _OUTBOX_NUMBER,
                "refused": _OUTBOX_NUMBER,
                "dropped": _OUTBOX_NUMBER,
                "shards": _list({"type": "object"}, description="Of a ledger in Rekor: its logs, in order."),
            },
        ),
        "Models": _object(
            {
                "models": _list(_placed({"model": _STRING, "events": _NUMBER})),
                "asOf": _AS_OF,
            },
            {"next": _STRING},
        ),
        "History": _object(
            {
                "model": _STRING,
                "standing": {"oneOf": [_ref("Standing"), {"type": "null"}]},
                "events": _list({"type": "object"}),
                "count": _NUMBER,
                "asOf": _AS_OF,
            },
            {"next": _NUMBER},
        ),
        "Check": _object(
            {
                "model": _STRING,
                "count": _NUMBER,
                "claims": _list(
                    _placed({"contentSha256": _HEX, "manifestSha256": _HEX, "revision": _STRING})
                ),
            },
            {
                **_PLACE,
                "proof": {"type": "string", "description": "Of a log of its own: a `.tlog-proof`."},
                "bundle": {"type": "object", "description": "Of a ledger in Rekor: a Sigstore bundle."},
            },
        ),
        "Attestation": _object(
            {
                "mediaType": _STRING,
                "verificationMaterial": _object({"publicKey": _object({"hint": _BASE64})}),
                "dsseEnvelope": _object(
                    {
                        "payload": _BASE64,
                        "payloadType": _STRING,
                        "signatures": _list(_object({"sig": _BASE64})),
                    }
                ),
            }
        ),
        "Bundle": _object(
            {
                "mediaType": _STRING,
                "verificationMaterial": _object(
                    {"publicKey": _object({"hint": _BASE64}), "tlogEntries": _list({"type": "object"})}
                ),
                "dsseEnvelope": {"type": "object"},
            }
        ),
        "Standing": _object(
            {"model": _STRING, "revision": _STRING, "standing": _STRING},
            {
                "outcome": _OF_TABLE["outcome"],
                "decision": _STRING,
                "signers": _list(
                    _object({"identity": _HEX, "name": _STRING, "verified": {"type": "boolean"}})
                ),
                **_PLACE,
                "recordedAt": _STRING,
                "uploadedBy": _STRING,
                "changed": _placed({"change": _STRING}, {"since": _STRING}),
            },
        ),
        "Pairs": _object(
            {"pairs": _list(_object({"model": _RAW_NAME, "revision": _RAW_NAME}, closed=True), maxItems=100)},
            {"as": {"type": "string", "enum": ["name", "recorded"]}},
            closed=True,
        ),
        "Standings": _object({"standings": _list(_ref("Standing")), "asOf": _AS_OF}),
        "Entry": _placed(
            {"entry": _BASE64},
            {
                "leafHash": {**_HEX, "description": "Of a log of its own."},
                "statement": {"type": "object"},
                "state": _STATE,
                "logged": {"type": "boolean"},
                "shard": _STRING,
                "shardOrder": _NUMBER,
                "logIndex": _NUMBER,
                "logId": _BASE64,
            },
        ),
        "Envelope": _object(
            {
                "payload": _BASE64,
                "payloadType": _STRING,
                "signatures": _list(_object({"keyid": _HEX, "sig": _BASE64})),
            }
        ),
        "Naming": _object(
            {"sha256": _HEX, "use": _STRING, "state": _STRING, "namedBy": _list({"type": "object"})}
        ),
        "Found": _object({"events": _list({"type": "object"}), "count": _NUMBER, "size": _NUMBER}),
        "Signed": _object(
            {
                "identity": _HEX,
                "name": _STRING,
                "events": _list({"type": "object"}),
                "asOf": _AS_OF,
            },
            {"next": _NUMBER},
        ),
        "Feed": _object({"version": _STRING, "title": _STRING, "items": _list({"type": "object"})}),
        "Health": _object({"state": _STRING}),
    }
