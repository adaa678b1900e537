"""The ten statement types, field by field, with every byte cap: the normative table behind docs/spec/event.md.

``STATEMENTS`` maps a predicate type to the table of its predicate. JSON Schemas are made from it.
"""

from ledger.event.fields import (
    CODE,
    EVENT_ID,
    HISTORY_KEY,
    NAME,
    OVERFLOW,
    SHA256,
    TIME,
    Boolean,
    Integer,
    Items,
    Kind,
    OneOf,
    Pattern,
    Position,
    Table,
    Text,
    TextMap,
    Union,
    table,
)

PREFIX = "https://hubledger/"
VERIFICATION_EVENT = f"{PREFIX}verification-event/v1"
IDENTITY_POLICY = f"{PREFIX}identity-policy/v1"
CHALLENGE = f"{PREFIX}challenge/v1"
MODEL_NOTICE = f"{PREFIX}model-notice/v1"
DERIVATION = f"{PREFIX}derivation/v1"
ACCOUNT_LINK = f"{PREFIX}account-link/v1"
HUB_KEY = f"{PREFIX}hub-key/v1"
ERASURE = f"{PREFIX}erasure/v1"
ANCHOR = f"{PREFIX}anchor/v1"
SUCCESSION = f"{PREFIX}succession/v1"

MAX_STATEMENT_BYTES = 32 << 10
MAX_SIGNATURES = 16
MAX_REASONS = 64
MAX_HISTORIES = 8
MAX_PARENTS = 16
MAX_CLAIMS = 40
MAX_FINAL_CHECKPOINT = 16_384
"""Characters of the note in ``succession/v1``."""

ISSUER_CAP = 192
SAN_CAP = 256
CLAIM_CAP = 256
SUBJECT_CAP = 256
ORIGIN_CAP = 96
MAX_CHAIN = 4
MAX_IGNORED_PATHS = 16
IGNORED_PATHS_CAP = 512
PARENTS_CAP = 512

OUTCOMES = (
    "VERIFIED",
    "CONTENT_MISMATCH",
    "INVALID_SIGNATURE",
    "UNKNOWN_KEY",
    "UNSUPPORTED",
    "ERROR",
    "UNSIGNED",
)
"""In order of precedence: the outcome of an event is the first that any signature has; UNSIGNED without any."""
DECISIONS = ("observed", "accepted", "challenged", "rejected")
METHODS = ("sigstore", "key", "certificate")
CHALLENGE_METHODS = ("old-signer", "totp", "webauthn", "hub")
TRIGGERS = ("upload", "backfill", "recheck")
ROLES = ("hub", "observer")
ACCOUNT_LINKS = ("proven", "none", "unknown")

_LINK = table({"key": HISTORY_KEY}, sequence=Integer(), previous=SHA256)
_COMMON: dict[str, Kind] = {
    "ledger": NAME,
    "hub": Table({"id": NAME}, {}),
    "recordedBy": Table({"id": NAME, "role": OneOf(ROLES)}, {}),
    "histories": Items(_LINK, MAX_HISTORIES, least=1),
    "eventId": EVENT_ID,
    "recordedAt": TIME,
}

COMMON = Table(_COMMON, {})

_SIGSTORE = Table(
    {
        "kind": OneOf(("sigstore",)),
        "issuer": Text(ISSUER_CAP),
        "san": Text(SAN_CAP),
        "sanType": OneOf(("email", "uri", "other")),
        "claims": TextMap(MAX_CLAIMS, CLAIM_CAP),
        "certificateSha256": SHA256,
    },
    {},
)
_KEY = Table({"kind": OneOf(("key",)), "spkiSha256": SHA256}, {})
_CERTIFICATE = table(
    {
        "kind": OneOf(("certificate",)),
        "subject": Text(SUBJECT_CAP),
        "chainSha256": Items(SHA256, MAX_CHAIN, overflow=True),
    },
    anchorSpkiSha256=SHA256,
)
_COMMITTED = Table({"commitment": SHA256, "identity": OneOf(("identity/v1",))}, {})
SIGNER = Union("kind", {"sigstore": _SIGSTORE, "key": _KEY, "certificate": _CERTIFICATE, None: _COMMITTED})

UPSTREAM = table(
    {
        "origin": Text(ORIGIN_CAP),
        "logId": SHA256,
        "kind": Pattern("[a-z0-9.:]{1,32}", "an entry kind"),
        "index": Position(),
    },
    integratedTime=Integer(),
)
SIGNATURE = table(
    {"bundleSha256": SHA256, "outcome": OneOf(OUTCOMES[:-1]), "accountLink": OneOf(ACCOUNT_LINKS)},
    statementSha256=SHA256,
    omsRootSha256=SHA256,
    method=OneOf(METHODS),
    location=NAME,
    ignoredPaths=Items(NAME, MAX_IGNORED_PATHS, overflow=True, cap=IGNORED_PATHS_CAP),
    signer=SIGNER,
    claimedSigner=SIGNER,
    upstreamLog=UPSTREAM,
)
MODEL = table(
    {"name": NAME, "revision": NAME},
    repoId=NAME,
    ref=NAME,
    parents=Items(NAME, MAX_PARENTS, overflow=True, cap=PARENTS_CAP),
    revisionTime=TIME,
)
MANIFEST = Table({"sha256": SHA256, "contentSha256": SHA256, "files": Integer(), "bytes": Integer()}, {})
_POLICY = Table({"sha256": SHA256, "decision": OneOf(DECISIONS)}, {})
_VERIFIER = Table({"name": NAME, "version": NAME}, {})
_REFERENCE = Text(256)


def _with_common(required: dict[str, Kind], **optional: Kind) -> Table:
    return Table({**_COMMON, **required}, optional)


_FROM: dict[str, Kind] = {"from": Integer()}  # a word of Python's

STATEMENTS: dict[str, Table] = {
    VERIFICATION_EVENT: _with_common(
        {
            "model": MODEL,
            "trigger": OneOf(TRIGGERS),
            "manifest": MANIFEST,
            "uploader": table({}, account=NAME),
            "signatures": Items(SIGNATURE, MAX_SIGNATURES),
            "outcome": OneOf(OUTCOMES),
            "policy": _POLICY,
            "reasons": Items(CODE, MAX_REASONS),
            "verifiedAt": TIME,
            "verifier": _VERIFIER,
        },
        moreSignatures=OVERFLOW,
    ),
    IDENTITY_POLICY: _with_common(
        {
            "scope": HISTORY_KEY,
            "policySha256": SHA256,
            "change": OneOf(("set", "pin", "unpin", "rotate", "relax", "revoke")),
            "requestedBy": _REFERENCE,
            "authorisedBy": _REFERENCE,
            "effectiveAt": TIME,
        },
        previousPolicySha256=SHA256,
        challengeId=EVENT_ID,
        reference=_REFERENCE,
        identities=Items(SHA256, 64, overflow=True),
    ),
    CHALLENGE: _with_common(
        {
            "challengeId": EVENT_ID,
            "state": OneOf(("opened", "answered", "cancelled", "expired")),
            "policySha256": SHA256,
        },
        changeSha256=SHA256,
        answeredBy=_REFERENCE,
        expiresAt=TIME,
        reference=_REFERENCE,
        method=OneOf(CHALLENGE_METHODS),
    ),
    MODEL_NOTICE: _with_common(
        {
            "name": NAME,
            "notice": OneOf(
                (
                    "created",
                    "renamed",
                    "transferred",
                    "deleted",
                    "re-created",
                    "repository-id",
                    "revision-withdrawn",
                )
            ),
        },
        repoId=NAME,
        oldName=NAME,
        newName=NAME,
        revision=NAME,
        reference=_REFERENCE,
    ),
    DERIVATION: _with_common(
        {
            "model": MODEL,
            "basis": OneOf(("claimed", "content-matched", "attested")),
            "parents": Items(
                table({"name": NAME}, revision=NAME, contentSha256=SHA256, relation=CODE), 64, least=1
            ),
        },
        attestationSha256=SHA256,
    ),
    ACCOUNT_LINK: _with_common(
        {"account": NAME, "signer": SIGNER, "state": OneOf(("proven", "withdrawn")), "method": CODE},
        evidenceSha256=SHA256,
    ),
    HUB_KEY: _with_common(
        {
            "keyid": SHA256,
            "spki": Pattern("[A-Za-z0-9+/]{1,400}={0,2}", "base64 of a DER SubjectPublicKeyInfo"),
            "state": OneOf(("added", "retired", "revoked")),
            "holder": NAME,
            "role": OneOf(ROLES),
        },
        reason=CODE,
        **_FROM,
    ),
    ERASURE: _with_common(
        {"evidence": Items(SHA256, 64, least=1), "reason": CODE},
        reference=_REFERENCE,
        keysDestroyed=Boolean(),
    ),
    ANCHOR: Table({"origin": NAME, "size": Position(), "rootHash": SHA256}, {}),
    SUCCESSION: _with_common(
        {
            "predecessor": NAME,
            "finalCheckpoint": Pattern(
                f"[\\x0A\\x20-\\uFFFF]{{1,{MAX_FINAL_CHECKPOINT}}}", "a signed checkpoint"
            ),
        },
        reason=CODE,
    ),
}
"""Predicate type → predicate. ``anchor/v1`` has none of the common fields and is never an entry of its own log."""

_SUBJECT = Table({"name": NAME, "digest": Table({"sha256": SHA256}, {})}, {})
STATEMENT = Table(
    {
        "_type": OneOf(("https://in-toto.io/Statement/v1",)),
        "predicateType": Pattern("[\\x21-\\x7E]{1,256}", "a predicate type"),
        "subject": Items(_SUBJECT, 1, least=1),
    },
    {},
)


def json_schema(predicate_type: str) -> dict[str, object]:
    """Return the JSON Schema (2020-12) of a whole statement of one type."""
    whole = STATEMENT.schema()
    whole["properties"] = {
        **whole["properties"],
        "predicateType": {"const": predicate_type},
        "predicate": STATEMENTS[predicate_type].schema(),
    }
    whole["required"] = [*whole["required"], "predicate"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{predicate_type}.schema.json",
        **whole,
    }
