"""What a hub sends to be recorded, as it must be: nothing unknown, names escaped, evidence that the event names."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ledger.embedded.committing import commit_signatures
from ledger.embedded.opening import OpenLedger
from ledger.embedded.recording import escape_parents
from ledger.encoding import Json, parse_base64, parse_json
from ledger.errors import LedgerError, LimitError, MalformedError
from ledger.event import (
    ManifestRef,
    Model,
    SignatureFact,
    build_parts,
    escape_name,
    parse_manifest_ref,
    parse_signatures,
)
from ledger.event.fields import OVERFLOW
from ledger.identity import Overflow, parse_overflow
from ledger.manifest import ManifestFile, read_items
from ledger.recorder import Facts
from ledger.server.problems import EVIDENCE_MISSING, NOT_IMPLEMENTED, Refusal
from ledger.server.routes import MAX_BODY_BYTES

MAX_LINES = 1000
MAX_PARENTS = 1000
_NEVER_KEPT = ("UNSUPPORTED", "ERROR")
"""Outcomes of bundles that may have been too large to keep: only their digest is known."""


@dataclass(frozen=True, slots=True)
class _Fields:
    """The names of the fields that an object must have, and of those that it may have."""

    needed: tuple[str, ...]
    optional: tuple[str, ...]
    known: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", frozenset((*self.needed, *self.optional)))

    def check(self, value: dict[str, Json], what: str) -> None:
        """Raise MalformedError where one is missing, or none of them."""
        for name in self.needed:
            if name not in value:
                raise MalformedError(f"{what}.{name}", expected="a value", actual="nothing")
        if value.keys() <= self.known:
            return
        other = next(name for name in value if name not in self.known)
        raise MalformedError(
            what,
            expected=f"the fields {', '.join((*self.needed, *self.optional))}",
            actual=f"a field {other}",
        )


_EVENT = _Fields(
    ("eventId", "model", "manifest", "outcome"),
    ("trigger", "uploader", "signatures", "moreSignatures", "reasons", "private", "evidence"),
)
_MODEL = _Fields(("name", "revision"), ("repoId", "ref", "parents", "revisionTime"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One event that somebody wants recorded, with the evidence that came with it."""

    facts: Facts
    evidence: tuple[bytes, ...] = ()
    private: bool = False

    @property
    def named(self) -> dict[bytes, bool]:
        """The digests that the event names, each with whether its bytes must be here."""
        facts = self.facts
        found = {each.bundle_sha256: each.outcome not in _NEVER_KEPT for each in facts.signatures}
        found[facts.manifest.sha256] = True
        if facts.more_signatures is not None:
            found[facts.more_signatures.sha256] = True
        return found


def parse_upload(data: bytes) -> Upload:
    """Parse one event as JSON.

    Raises:
        MalformedError: another form, or facts that no statement can hold. LimitError: larger than a limit.
    """
    value = parse_json(data, what="event", max_bytes=MAX_BODY_BYTES)
    if not isinstance(value, dict):
        raise MalformedError("event", expected="an object", actual=type(value).__name__)
    _EVENT.check(value, "event")
    more = value.get("moreSignatures")
    if more is not None:
        OVERFLOW.check(more, "moreSignatures")
    private = value.get("private", False)
    if not isinstance(private, bool):
        raise MalformedError("private", expected="true or false", actual=private)
    model = _parse_model(value["model"])
    facts = _build_at_once(value, model) or _build_facts(
        value, model, parse_manifest_ref(value["manifest"]), parse_signatures(value.get("signatures", []))
    )
    upload = Upload(facts=facts, evidence=_parse_evidence(value.get("evidence", [])), private=private)
    _check_evidence(upload)
    return upload


def _build_facts(
    value: dict[str, Json],
    model: Model,
    manifest: ManifestRef,
    signatures: tuple[SignatureFact, ...],
    *,
    parts: Mapping[str, Json] | None = None,
) -> Facts:
    more = value.get("moreSignatures")
    return Facts(
        event_id=value["eventId"],
        model=model,
        manifest=manifest,
        outcome=value["outcome"],
        signatures=signatures,
        more_signatures=None if more is None else parse_overflow(more),
        reasons=tuple(_texts(value.get("reasons", []), "reasons")),
        trigger=value.get("trigger", "upload"),
        uploader_account=_name(value, "uploader", "event"),
        parts=parts,
    )


def _build_at_once(value: dict[str, Json], model: Model) -> Facts | None:
    """Build facts whose large parts are checked once, as ``Facts`` does, and not before as well; None: look closer.

    ``Facts`` checks and writes the JSON that came. What is built of it before that check is thrown away if it fails.
    """
    built = build_parts(value)
    if built is None:
        return None
    parts = {
        "model": model.as_json(),
        "manifest": value["manifest"],
        "signatures": value.get("signatures", []),
    }
    try:
        return _build_facts(value, model, *built, parts=parts)
    except (LedgerError, LookupError, TypeError, ValueError, AttributeError):
        return None


def _parse_model(value: Json) -> Model:
    if not isinstance(value, dict):
        raise MalformedError("model", expected="an object", actual=type(value).__name__)
    _MODEL.check(value, "model")
    parents = _texts(value.get("parents", []), "model.parents")
    if len(parents) > MAX_PARENTS:
        raise LimitError("model.parents", expected=f"at most {MAX_PARENTS}", actual=len(parents))
    return Model(
        name=_name(value, "name", "model") or "",
        revision=_name(value, "revision", "model") or "",
        repo_id=_name(value, "repoId", "model"),
        ref=_name(value, "ref", "model"),
        parents=escape_parents(parents),
        revision_time=value.get("revisionTime"),
    )


def _name(value: dict[str, Json], field: str, what: str) -> str | None:
    """Return a name as it is recorded; None where there is none. Raises MalformedError: empty, or no text."""
    name = value.get(field)
    if name is None and field not in value:
        return None
    if not isinstance(name, str) or not name:
        raise MalformedError(f"{what}.{field}", expected="a text of at least one character", actual=name)
    return escape_name(name)


def _texts(value: Json, what: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise MalformedError(what, expected="a list of texts", actual=value)
    return value


def _parse_evidence(value: Json) -> tuple[bytes, ...]:
    return tuple(
        parse_base64(each, what="evidence", max_bytes=MAX_BODY_BYTES) for each in _texts(value, "evidence")
    )


def _check_evidence(upload: Upload) -> None:
    """Refuse a piece that the event does not name, and a manifest that is another than the event says."""
    named = upload.named if upload.evidence else {}
    for piece in upload.evidence:
        sha256 = hashlib.sha256(piece).digest()
        if sha256 not in named:
            raise MalformedError(
                "evidence",
                expected="a piece whose SHA-256 the event names",
                actual=f"one with {sha256.hex()}",
            )
        if sha256 == upload.facts.manifest.sha256:
            _check_manifest(upload.facts, piece)


def _check_manifest(facts: Facts, data: bytes) -> None:
    files = size = 0
    for item in read_items((data,)):
        files += 1
        size += item.size if isinstance(item, ManifestFile) else 0
    said = facts.manifest
    if (files, size) != (said.files, said.bytes):
        raise MalformedError(
            "manifest",
            expected=f"{said.files} files of {said.bytes} bytes, as the event says",
            actual=f"{files} files of {size} bytes",
        )


def skips(ledger: OpenLedger, upload: Upload) -> bool:
    """Whether nothing is recorded of this: it is private, and the operator did not say otherwise."""
    return upload.private and ledger.config.private == "skip"


def prepare(ledger: OpenLedger, upload: Upload, *, later: bool) -> Facts:
    """Keep the evidence, hold back who signed where that is to be, and return what is to be recorded.

    Raises:
        Refusal: evidence that is named and not here, unless it comes ``later``. WriteError: it could not be kept.
    """
    facts = upload.facts
    if upload.private or ledger.config.identity_mode == "committed":
        facts = _hold_back(ledger, facts)
    if upload.evidence:
        ledger.evidence.put(upload.evidence)
        # If we stop here, evidence exists that no event names: the same request finds it, or `evidence gc` collects it.
    if not later:
        missing = [
            sha256.hex()
            for sha256, needed in upload.named.items()
            if needed and not ledger.evidence.holds(sha256) and ledger.evidence.withdrawn(sha256) is None
        ]
        if missing:
            raise Refusal(
                EVIDENCE_MISSING,
                f"{len(missing)} of the pieces that the event names are not here",
                missing=missing,
            )
    return facts


def _hold_back(ledger: OpenLedger, facts: Facts) -> Facts:
    if isinstance(facts.more_signatures, Overflow):
        raise Refusal(
            NOT_IMPLEMENTED,
            "An event with more than 16 signatures is not committed over HTTP: record it with the command",
        )
    history = f"name:{facts.model.name}"
    ledger.identities.hold_back(history)
    # If we stop here, keys exist that no event uses: the next recording takes them.
    return replace(
        facts, signatures=commit_signatures(facts.signatures, history=history, keys=ledger.identities)
    )
