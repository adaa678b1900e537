"""Statements as values: parsed strictly, formatted as RFC 8785 JSON (in-toto Statement v1).

A statement of a type or version that we do not know, or with a field that we do not know, is an
``UnknownStatement``: it is shown as an unknown event, and whoever meets it may not claim to understand the
history that it belongs to.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ledger.encoding import Json, format_canonical_json, parse_audited_json, parse_canonical_json
from ledger.errors import LedgerError, LimitError, MalformedError
from ledger.event import schemas
from ledger.event.schemas import MAX_STATEMENT_BYTES, STATEMENT, STATEMENTS, VERIFICATION_EVENT
from ledger.event.subjects import subject_of
from ledger.identity import (
    Capped,
    Overflow,
    SignerFacts,
    SigstoreFacts,
    overflow_value,
    parse_capped,
    parse_overflow,
    parse_signer,
    plain,
    ref_class,
)

_TYPE = "https://in-toto.io/Statement/v1"
_NAMES = {kind: frozenset((*table.required, *table.optional)) for kind, table in STATEMENTS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLink:
    """A statement's place in one history: its number, and the SHA-256 of the statement before.

    Both are absent in an observer's statement; ``previous`` is absent at number 0.
    """

    key: str
    sequence: int | None = None
    previous: bytes | None = None

    def as_json(self) -> dict[str, Json]:
        """Return the element of ``histories``."""
        value: dict[str, Json] = {"key": self.key}
        if self.sequence is not None:
            value["sequence"] = self.sequence
        if self.previous is not None:
            value["previous"] = self.previous.hex()
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedBy:
    """Who signs the statement: the hub, or a registered observer."""

    id: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What every statement but an anchor has. ``recorded_at`` is the recorder's word, not proof."""

    ledger: str
    hub_id: str
    recorded_by: RecordedBy
    histories: tuple[HistoryLink, ...]
    event_id: str
    recorded_at: str

    def as_json(self) -> dict[str, Json]:
        """Return the common fields of a predicate."""
        return {
            "ledger": self.ledger,
            "hub": {"id": self.hub_id},
            "recordedBy": {"id": self.recorded_by.id, "role": self.recorded_by.role},
            "histories": [link.as_json() for link in self.histories],
            "eventId": self.event_id,
            "recordedAt": self.recorded_at,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The revision: names are escaped (``escape_name``)."""

    name: str
    revision: str
    repo_id: str | None = None
    ref: str | None = None
    parents: tuple[str, ...] | Overflow | None = None
    revision_time: str | None = None

    def as_json(self) -> dict[str, Json]:
        """Return the ``model`` object."""
        value: dict[str, Json] = {"name": self.name, "revision": self.revision}
        if self.repo_id is not None:
            value["repoId"] = self.repo_id
        if self.ref is not None:
            value["ref"] = self.ref
        if self.parents is not None:
            value["parents"] = (
                self.parents.as_json() if isinstance(self.parents, Overflow) else list(self.parents)
            )
        if self.revision_time is not None:
            value["revisionTime"] = self.revision_time
        return value

    @property
    def is_proposal(self) -> bool:
        """Whether the revision is a ``pull`` ref, which anybody may open: it never counts."""
        return self.ref is not None and ref_class(self.ref) == "pull"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRef:
    """The manifest of every file, and of the content without signatures; ``bytes`` is the sum of file sizes."""

    sha256: bytes
    content_sha256: bytes
    files: int
    bytes: int

    def as_json(self) -> dict[str, Json]:
        """Return the ``manifest`` object."""
        return {
            "sha256": self.sha256.hex(),
            "contentSha256": self.content_sha256.hex(),
            "files": self.files,
            "bytes": self.bytes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamLog:
    """Where the signature itself is logged, as proven by its bundle. ``index`` is the true leaf index or, for Rekor
    v1, the global index that the signed entry timestamp covers.
    """

    origin: Capped
    log_id: bytes
    kind: str
    index: int
    integrated_time: int | None = None

    def as_json(self) -> dict[str, Json]:
        """Return the ``upstreamLog`` object."""
        value: dict[str, Json] = {
            "origin": plain(self.origin),
            "logId": self.log_id.hex(),
            "kind": self.kind,
            "index": self.index if self.index < 2**53 else str(self.index),
        }
        if self.integrated_time is not None:
            value["integratedTime"] = self.integrated_time
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureFact:
    """What was found about one signature bundle. ``signer`` only where it verified, else ``claimed_signer``."""

    bundle_sha256: bytes
    outcome: str
    account_link: str = "unknown"
    statement_sha256: bytes | None = None
    oms_root_sha256: bytes | None = None
    method: str | None = None
    location: str | None = None
    ignored_paths: tuple[str, ...] | Overflow | None = None
    signer: SignerFacts | None = None
    claimed_signer: SignerFacts | None = None
    upstream_log: UpstreamLog | None = None

    def as_json(self) -> dict[str, Json]:
        """Return the element of ``signatures``."""
        value: dict[str, Json] = {
            "bundleSha256": self.bundle_sha256.hex(),
            "outcome": self.outcome,
            "accountLink": self.account_link,
        }
        if self.statement_sha256 is not None:
            value["statementSha256"] = self.statement_sha256.hex()
        if self.oms_root_sha256 is not None:
            value["omsRootSha256"] = self.oms_root_sha256.hex()
        if self.method is not None:
            value["method"] = self.method
        if self.location is not None:
            value["location"] = self.location
        if self.ignored_paths is not None:
            paths = self.ignored_paths
            value["ignoredPaths"] = paths.as_json() if isinstance(paths, Overflow) else list(paths)
        if self.signer is not None:
            value["signer"] = self.signer.as_json()
        if self.claimed_signer is not None:
            value["claimedSigner"] = self.claimed_signer.as_json()
        if self.upstream_log is not None:
            value["upstreamLog"] = self.upstream_log.as_json()
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRef:
    """The policy in force, by the SHA-256 of its document, and what it decided."""

    sha256: bytes
    decision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """The program that verified."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationEvent:
    """The hub looked at this revision and found this (``verification-event/v1``).

    ``prepared`` is ``facts()`` formatted before (``prepare_facts``), for whoever has many to format.
    """

    common: Common
    model: Model
    trigger: str
    manifest: ManifestRef
    outcome: str
    policy: PolicyRef
    verified_at: str
    verifier: Verifier
    signatures: tuple[SignatureFact, ...] = ()
    more_signatures: Overflow | None = None
    reasons: tuple[str, ...] = ()
    uploader_account: str | None = None
    prepared: "PreparedFacts | None" = field(default=None, compare=False, repr=False)

    @property
    def predicate_type(self) -> str:
        """Its type."""
        return VERIFICATION_EVENT

    def facts(self) -> dict[str, Json]:
        """Return the predicate without common fields and without what a retry may change."""
        value: dict[str, Json] = {
            "model": self.model.as_json(),
            "trigger": self.trigger,
            "manifest": self.manifest.as_json(),
            "uploader": {} if self.uploader_account is None else {"account": self.uploader_account},
            "signatures": [signature.as_json() for signature in self.signatures],
            "outcome": self.outcome,
        }
        if self.more_signatures is not None:
            value["moreSignatures"] = self.more_signatures.as_json()
        return value

    def verdict(self) -> dict[str, Json]:
        """Return what was decided, by what, and when."""
        return {
            "policy": {"sha256": self.policy.sha256.hex(), "decision": self.policy.decision},
            "reasons": list(self.reasons),
            "verifiedAt": self.verified_at,
            "verifier": {"name": self.verifier.name, "version": self.verifier.version},
        }


@dataclass(frozen=True, slots=True)
class PreparedFacts:
    """The facts of an event as they stand in its predicate: two runs of members, without braces, in ASCII."""

    manifest_to_outcome: bytes
    signatures_to_uploader: bytes


def prepare_facts(facts: Mapping[str, Json]) -> PreparedFacts | None:
    """Return the facts of an event, formatted; None where they need the complete encoder, as non-ASCII text does."""
    late = {name: facts[name] for name in ("signatures", "trigger", "uploader")}
    early = {name: value for name, value in facts.items() if name not in late}
    runs = (format_canonical_json(early), format_canonical_json(late))
    return PreparedFacts(runs[0][1:-1], runs[1][1:-1]) if runs[0].isascii() and runs[1].isascii() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainStatement:
    """A statement of one of the other nine types; ``fields`` is its predicate without the common part, checked."""

    predicate_type: str
    fields: Mapping[str, Json]
    common: Common | None = None
    subject: tuple[str, bytes] = field(init=False)

    def __post_init__(self) -> None:
        if self.predicate_type not in STATEMENTS or self.predicate_type == VERIFICATION_EVENT:
            raise MalformedError(
                "predicate type", expected="a type with plain fields", actual=self.predicate_type
            )
        STATEMENTS[self.predicate_type].check(
            {**self.fields, **(self.common.as_json() if self.common else {})}, "predicate"
        )
        object.__setattr__(self, "subject", subject_of(self.predicate_type, self.fields))


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownStatement:
    """A statement that we may not claim to understand; ``common`` where that part reads."""

    predicate_type: str
    reason: str
    common: Common | None = None


Statement = VerificationEvent | PlainStatement


def format_statement(statement: Statement) -> bytes:
    """Format a statement as RFC 8785 JSON.

    Raises:
        LimitError: longer than 32 KiB; a verification event is brought below by ``fit``.
    """
    common: dict[str, Json] = {} if statement.common is None else statement.common.as_json()
    kind = statement.predicate_type
    if isinstance(statement, VerificationEvent):
        if statement.prepared is not None:
            return _join(statement, statement.prepared, common)
        predicate = {**common, **statement.facts(), **statement.verdict()}
        return _format(kind, statement.model.name, statement.manifest.sha256, predicate)
    data = _format(kind, *statement.subject, {**common, **statement.fields})
    if len(data) > MAX_STATEMENT_BYTES:
        raise LimitError(
            "statement", expected=f"at most {MAX_STATEMENT_BYTES} bytes", actual=f"{len(data)} bytes"
        )
    return data


_HEAD = f'{{"_type":"{_TYPE}","predicate":'.encode()
_TAIL = f',"predicateType":"{VERIFICATION_EVENT}","subject":'.encode()


def _join(event: VerificationEvent, prepared: PreparedFacts, common: dict[str, Json]) -> bytes:
    """Put the members of a predicate around the prepared ones, in the order of their names; nothing else is not ASCII."""
    verdict = event.verdict()
    before = {name: common[name] for name in ("eventId", "histories", "hub", "ledger")}
    between = {name: verdict[name] for name in ("policy", "reasons")}
    between |= {name: common[name] for name in ("recordedAt", "recordedBy")}
    after = {name: verdict[name] for name in ("verifiedAt", "verifier")}
    subject = [{"digest": {"sha256": event.manifest.sha256.hex()}, "name": event.model.name}]
    return b"".join(
        (
            _HEAD,
            format_canonical_json(before)[:-1],
            b",",
            prepared.manifest_to_outcome,
            b",",
            format_canonical_json(between)[1:-1],
            b",",
            prepared.signatures_to_uploader,
            b",",
            format_canonical_json(after)[1:],
            _TAIL,
            format_canonical_json(subject),
            b"}",
        )
    )


def _format(predicate_type: str, name: str, sha256: bytes, predicate: dict[str, Json]) -> bytes:
    return format_canonical_json(
        {
            "_type": _TYPE,
            "predicate": predicate,
            "predicateType": predicate_type,
            "subject": [{"digest": {"sha256": sha256.hex()}, "name": name}],
        }
    )


def facts_digest(statement: Statement) -> bytes:
    """Return the digest that is equal for equal facts: what a retry may change is left out.

    SHA-256 of the canonical predicate, its type and subject without ``recordedAt``, ``sequence`` and ``previous``,
    and for a verification event also without ``verifiedAt``, ``verifier``, ``policy``, ``reasons`` and
    ``accountLink``.
    """
    common: dict[str, Json] = {} if statement.common is None else statement.common.as_json()
    if common:
        del common["recordedAt"]
        common["histories"] = [{"key": link["key"]} for link in common["histories"]]
    if isinstance(statement, VerificationEvent):
        facts, name, sha256 = statement.facts(), statement.model.name, statement.manifest.sha256
        for signature in facts["signatures"]:
            del signature["accountLink"]
    else:
        facts, (name, sha256) = dict(statement.fields), statement.subject
    return hashlib.sha256(_format(statement.predicate_type, name, sha256, {**common, **facts})).digest()


def parse_statement(data: bytes) -> Statement | UnknownStatement:
    """Parse a statement that equals its own re-encoding.

    Raises:
        LimitError: longer than 32 KiB.
        MalformedError: not canonical JSON, not an in-toto statement with one subject, or a known type with a field
            that is missing or of another kind. Unknown types, versions and fields give ``UnknownStatement``.
    """
    value = parse_canonical_json(data, what="statement", max_bytes=MAX_STATEMENT_BYTES)
    if not isinstance(value, dict) or "predicate" not in value:
        raise MalformedError("statement", expected="an in-toto statement", actual=type(value).__name__)
    predicate = value.pop("predicate")
    STATEMENT.check(value, "statement")
    kind = value["predicateType"]
    if kind not in STATEMENTS:
        return UnknownStatement(
            predicate_type=kind, reason="unknown type or version", common=_try_common(predicate)
        )
    unknown = _unknown_fields(kind, predicate)
    if unknown:
        return UnknownStatement(
            predicate_type=kind, reason=f"unknown field {unknown}", common=_try_common(predicate)
        )
    STATEMENTS[kind].check(predicate, "predicate")
    subject = value["subject"][0]
    return _build(kind, predicate, subject["name"], bytes.fromhex(subject["digest"]["sha256"]))


def parse_audited_statement(data: bytes) -> Statement | UnknownStatement:
    """Return what ``parse_statement`` does, of a statement that it let through before, by an audit or by ourselves.

    Of an event of the type that we know nothing of its form is checked again, in a fifth of the time.

    Raises:
        LimitError, MalformedError: as ``parse_statement``, which reads everything else.
    """
    try:
        value = parse_audited_json(data)
        predicate = value["predicate"]
        if value["predicateType"] == VERIFICATION_EVENT and not _unknown_fields(
            VERIFICATION_EVENT, predicate
        ):
            return _build_event(predicate)
    except (LedgerError, LookupError, TypeError, ValueError, AttributeError):
        pass
    return parse_statement(data)


def _unknown_fields(kind: str, predicate: Any) -> str | None:
    """Return the first field of the predicate that this version does not name."""
    if not isinstance(predicate, dict):
        return None
    if predicate.keys() <= _NAMES[kind]:
        return None
    unknown = sorted(predicate.keys() - _NAMES[kind])
    return unknown[0][:64] if unknown else None


def _build(kind: str, predicate: Any, name: str, sha256: bytes) -> Statement:
    if kind == VERIFICATION_EVENT:
        event = _build_event(predicate)
        if (name, sha256) != (event.model.name, event.manifest.sha256):
            raise MalformedError(
                "subject",
                expected=f"{event.model.name} with {event.manifest.sha256.hex()}, from the predicate",
                actual=f"{name} with {sha256.hex()}",
            )
        _check_event(event)
        return event
    common = None if kind == schemas.ANCHOR else _build_common(predicate)
    fields = {key: item for key, item in predicate.items() if common is None or key not in _COMMON_FIELDS}
    statement = PlainStatement(predicate_type=kind, fields=fields, common=common)
    if (name, sha256) != statement.subject:
        raise MalformedError(
            "subject",
            expected=f"{statement.subject[0]} with {statement.subject[1].hex()}, from the predicate",
            actual=f"{name} with {sha256.hex()}",
        )
    return statement


_COMMON_FIELDS = frozenset(("ledger", "hub", "recordedBy", "histories", "eventId", "recordedAt"))


def _build_common(value: Any) -> Common:
    links = tuple(
        HistoryLink(
            key=link["key"],
            sequence=link.get("sequence"),
            previous=bytes.fromhex(link["previous"]) if "previous" in link else None,
        )
        for link in value["histories"]
    )
    common = Common(
        ledger=value["ledger"],
        hub_id=value["hub"]["id"],
        recorded_by=RecordedBy(id=value["recordedBy"]["id"], role=value["recordedBy"]["role"]),
        histories=links,
        event_id=value["eventId"],
        recorded_at=value["recordedAt"],
    )
    check_common(common)
    return common


def check_common(common: Common) -> None:
    """Check what a table cannot say: sorted keys, and chain fields as the role demands. Raises MalformedError."""
    keys = [link.key for link in common.histories]
    if keys != sorted(set(keys)):
        raise MalformedError("histories", expected="distinct keys in order", actual=keys)
    for link in common.histories:
        chained = (link.sequence is not None, link.previous is not None)
        wanted = (False, False) if common.recorded_by.role == "observer" else (True, link.sequence != 0)
        if chained != wanted:
            raise MalformedError(
                f"history {link.key}",
                expected="sequence and previous of a hub's chain, or neither of an observer",
                actual=link.as_json(),
            )


def _try_common(predicate: Any) -> Common | None:
    """Read the common part of a statement that we do not understand, where it is as we know it."""
    try:
        schemas.COMMON.check({key: predicate[key] for key in _COMMON_FIELDS}, "predicate")
        return _build_common(predicate)
    except (LedgerError, KeyError, TypeError):
        return None


def _build_event(value: Any) -> VerificationEvent:
    model, more = value["model"], value.get("moreSignatures")
    return VerificationEvent(
        common=_build_common(value),
        model=Model(
            name=model["name"],
            revision=model["revision"],
            repo_id=model.get("repoId"),
            ref=model.get("ref"),
            parents=_build_list(model.get("parents")),
            revision_time=model.get("revisionTime"),
        ),
        trigger=value["trigger"],
        manifest=_build_manifest(value["manifest"]),
        uploader_account=value["uploader"].get("account"),
        signatures=tuple([_build_signature(each) for each in value["signatures"]]),
        more_signatures=parse_overflow(more) if more is not None else None,
        outcome=value["outcome"],
        policy=PolicyRef(
            sha256=bytes.fromhex(value["policy"]["sha256"]), decision=value["policy"]["decision"]
        ),
        reasons=tuple(value["reasons"]),
        verified_at=value["verifiedAt"],
        verifier=Verifier(name=value["verifier"]["name"], version=value["verifier"]["version"]),
    )


def _build_list(value: Any) -> tuple[str, ...] | Overflow | None:
    if value is None:
        return None
    return parse_overflow(value) if isinstance(value, dict) else tuple(value)


def _build_signature(value: Any) -> SignatureFact:
    get = value.get
    statement, root, upstream = get("statementSha256"), get("omsRootSha256"), get("upstreamLog")
    return SignatureFact(
        bundle_sha256=bytes.fromhex(value["bundleSha256"]),
        outcome=value["outcome"],
        account_link=value["accountLink"],
        statement_sha256=bytes.fromhex(statement) if statement else None,
        oms_root_sha256=bytes.fromhex(root) if root else None,
        method=get("method"),
        location=get("location"),
        ignored_paths=_build_list(get("ignoredPaths")),
        signer=parse_signer(value["signer"]) if "signer" in value else None,
        claimed_signer=parse_signer(value["claimedSigner"]) if "claimedSigner" in value else None,
        upstream_log=None
        if upstream is None
        else UpstreamLog(
            origin=parse_capped(upstream["origin"], "origin"),
            log_id=bytes.fromhex(upstream["logId"]),
            kind=upstream["kind"],
            index=int(upstream["index"]),
            integrated_time=upstream.get("integratedTime"),
        ),
    )


def parse_signatures(value: Json) -> tuple[SignatureFact, ...]:
    """Build the ``signatures`` of an event from JSON of somebody else. Raises MalformedError."""
    STATEMENTS[VERIFICATION_EVENT].required["signatures"].check(value, "signatures")
    return tuple([_build_signature(each) for each in value])


def build_parts(value: Json) -> tuple[ManifestRef, tuple[SignatureFact, ...]] | None:
    """Build ``manifest`` and ``signatures`` of an event without a check, for whoever checks what they are written as.

    None where they cannot be built: the checking functions say why.
    """
    try:
        signatures = [_build_signature(each) for each in value.get("signatures", ())]
        return _build_manifest(value["manifest"]), tuple(signatures)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, LedgerError):
        return None


def parse_manifest_ref(value: Json) -> ManifestRef:
    """Build the ``manifest`` of an event from JSON of somebody else. Raises MalformedError."""
    STATEMENTS[VERIFICATION_EVENT].required["manifest"].check(value, "manifest")
    return _build_manifest(value)


def _build_manifest(value: Any) -> ManifestRef:
    return ManifestRef(
        sha256=bytes.fromhex(value["sha256"]),
        content_sha256=bytes.fromhex(value["contentSha256"]),
        files=value["files"],
        bytes=value["bytes"],
    )


def outcome_of(signatures: tuple[SignatureFact, ...], more: Overflow | None = None) -> str:
    """Return the outcome of an event: the first of ``OUTCOMES`` that any signature has, UNSIGNED without any."""
    found = {signature.outcome for signature in signatures}
    if not found and more is None:
        return "UNSIGNED"
    return next((outcome for outcome in schemas.OUTCOMES if outcome in found), "ERROR")


def check_outcome(outcome: str, signatures: tuple[SignatureFact, ...], more: Overflow | None) -> None:
    """Check that an outcome is that of the signatures, and who is called a signer. Raises MalformedError."""
    wanted = outcome_of(signatures, more)
    order = schemas.OUTCOMES.index
    if outcome != wanted and (
        more is None or outcome not in schemas.OUTCOMES or order(outcome) > order(wanted)
    ):
        raise MalformedError("outcome", expected=f"{wanted}, from the signatures", actual=outcome)
    for signature in signatures:
        verified = signature.outcome == "VERIFIED"
        if signature.signer is not None and signature.claimed_signer is not None:
            raise MalformedError(
                "signer of a signature", expected="signer or claimedSigner", actual="both of them"
            )
        if verified and signature.signer is None:
            raise MalformedError(
                "signer of a signature", expected="the signer of what is VERIFIED", actual="none"
            )
        if signature.signer is not None and signature.outcome not in ("VERIFIED", "CONTENT_MISMATCH"):
            raise MalformedError(
                "signer of a signature",
                expected=f"a claimed signer, because the outcome is {signature.outcome}",
                actual="a signer",
            )


def _check_event(event: VerificationEvent) -> None:
    """Check what a table cannot say about a verification event. Raises MalformedError."""
    check_outcome(event.outcome, event.signatures, event.more_signatures)
    names = {f"name:{event.model.name}"} | (
        {f"repo:{event.model.repo_id}"} if event.model.repo_id is not None else set()
    )
    keys = [link.key for link in event.common.histories]
    if set(keys) != names:
        raise MalformedError("histories of a verification event", expected=sorted(names), actual=keys)


def fit(event: VerificationEvent) -> VerificationEvent:
    """Bring a verification event below 32 KiB, always and deterministically.

    In this order, until it fits: the claims of signatures overflow, last signature first; then ignored paths, last
    signature first. The caps of ``schemas`` leave no event that is larger then.
    """
    for step in (_drop_claims, _drop_ignored):
        for at in reversed(range(len(event.signatures))):
            if len(format_statement(event)) <= MAX_STATEMENT_BYTES:
                return event
            changed = step(event.signatures[at])
            signatures = (*event.signatures[:at], changed, *event.signatures[at + 1 :])
            event = replace(event, signatures=signatures, prepared=None)
    if len(format_statement(event)) > MAX_STATEMENT_BYTES:  # the caps of the table make this impossible
        raise LimitError("statement", expected=f"at most {MAX_STATEMENT_BYTES} bytes", actual="more, a bug")
    return event


def _drop_claims(signature: SignatureFact) -> SignatureFact:
    def without(facts: SignerFacts | None) -> SignerFacts | None:
        if not isinstance(facts, SigstoreFacts) or isinstance(facts.claims, Overflow):
            return facts
        return replace(facts, claims=overflow_value({name: plain(value) for name, value in facts.claims}))

    return replace(
        signature, signer=without(signature.signer), claimed_signer=without(signature.claimed_signer)
    )


def _drop_ignored(signature: SignatureFact) -> SignatureFact:
    if not isinstance(signature.ignored_paths, tuple):
        return signature
    return replace(signature, ignored_paths=overflow_value(list(signature.ignored_paths)))
