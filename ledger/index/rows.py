"""What statements add to the index: rows, made without touching a file.

``add`` takes statements that were parsed strictly. ``add_audited`` reads entries of a log that was audited before, and
checks nothing again: a rebuild would otherwise spend its time on repeating the audit.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ledger.encoding import Json, format_canonical_json, parse_audited_json, parse_base64
from ledger.entry import MapCommit, parse_entry
from ledger.errors import LedgerError
from ledger.event import Statement, UnknownStatement, VerificationEvent, parse_statement
from ledger.event.schemas import STATEMENTS
from ledger.event.schemas import VERIFICATION_EVENT as EVENT
from ledger.identity import SignerFacts, canonical_identity, display, identity_digest, parse_signer

Parsed = Statement | UnknownStatement | MapCommit | None
"""What an entry holds; None stands for one that does not parse."""

_EVENT_FIELDS = STATEMENTS[EVENT].required.keys() | STATEMENTS[EVENT].optional.keys()
_NO_EVENT = (None,) * 8


@dataclass(slots=True)
class Rows:
    """What the leaves ``[start, end)`` add to each table, in its column order."""

    start: int
    end: int = field(init=False)
    statements: list[tuple[Any, ...]] = field(default_factory=list)
    histories: list[tuple[str, int, int | None]] = field(default_factory=list)
    signers: list[tuple[bytes, int, int]] = field(default_factory=list)
    identities: dict[bytes, str] = field(default_factory=dict)
    models: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.end = self.start

    def extend(self, following: Iterable[tuple[bytes, Parsed]]) -> None:
        """Add the statements of the next leaves, each with its SHA-256."""
        for sha256, statement in following:
            self.add(sha256, statement)

    def add(self, sha256: bytes, statement: Parsed) -> None:
        """Add the statement of the next leaf."""
        at = self.end
        self.end += 1
        if statement is None or isinstance(statement, MapCommit):
            kind = "malformed" if statement is None else "map-commit"
            self.statements.append((at, sha256, kind, None, None, None, *_NO_EVENT))
            return
        common = statement.common
        if common is None:
            self.statements.append((at, sha256, statement.predicate_type, None, None, None, *_NO_EVENT))
            return
        for link in common.histories:
            self.histories.append((link.key, at, link.sequence))
        about: tuple[Any, ...] = _NO_EVENT
        if isinstance(statement, VerificationEvent):
            about = self._add_event(at, statement)
        self.statements.append(
            (
                at,
                sha256,
                statement.predicate_type,
                common.event_id,
                common.recorded_by.id,
                common.recorded_at,
                *about,
            )
        )

    def _add_event(self, at: int, event: VerificationEvent) -> tuple[Any, ...]:
        model = event.model
        self.models.add(model.name)
        self._add_signers(
            at,
            [
                (*_identity_of(facts), int(each.signer is not None))
                for each in event.signatures
                if (facts := each.signer or each.claimed_signer) is not None
            ],
        )
        return (
            model.name,
            model.repo_id,
            model.revision,
            model.ref,
            event.outcome,
            event.policy.decision,
            event.uploader_account,
            event.manifest.content_sha256,
        )

    def _add_signers(self, at: int, found: Sequence[tuple[bytes, str, int]]) -> None:
        """One row for each identity; one that verified in any signature of the event counts as verified."""
        verified: dict[bytes, int] = {}
        for identity, shown, holds in found:
            self.identities[identity] = shown
            verified[identity] = max(holds, verified.get(identity, 0))
        for identity, holds in verified.items():
            self.signers.append((identity, at, holds))

    def add_audited(self, entry: bytes) -> None:
        """Add the entry of the next leaf, which an audit has found sound; says the same as ``add`` does."""
        try:
            payload = parse_base64(parse_audited_json(entry)["payload"])
            statement = parse_audited_json(payload)
            predicate = statement["predicate"]
            known = statement["predicateType"] == EVENT and predicate.keys() <= _EVENT_FIELDS
            links = [(link["key"], self.end, link.get("sequence")) for link in predicate["histories"]]
            found = _signers_of_json(predicate["signatures"]) if known else []
            row = (hashlib.sha256(payload).digest(), EVENT, *_columns_of_json(predicate)) if known else None
        except (LedgerError, KeyError, TypeError, AttributeError, ValueError):
            row = None
        if row is None:  # anything but an event of the type that we know: seldom, and read strictly
            self.add(*read_entry(entry))
            return
        at = self.end
        self.end += 1
        self.statements.append((at, *row))
        self.histories += links
        self.models.add(predicate["model"]["name"])
        self._add_signers(at, found)


def _columns_of_json(predicate: Json) -> tuple[Any, ...]:
    model = predicate["model"]
    return (
        predicate["eventId"],
        predicate["recordedBy"]["id"],
        predicate["recordedAt"],
        model["name"],
        model.get("repoId"),
        model["revision"],
        model.get("ref"),
        predicate["outcome"],
        predicate["policy"]["decision"],
        predicate["uploader"].get("account"),
        bytes.fromhex(predicate["manifest"]["contentSha256"]),
    )


def _signers_of_json(signatures: Json) -> list[tuple[bytes, str, int]]:
    return [
        (*_identity_of_json(format_canonical_json(facts)), int("signer" in each))
        for each in signatures
        if (facts := each.get("signer") or each.get("claimedSigner")) is not None
    ]


@lru_cache(maxsize=1 << 14)
def _identity_of(facts: SignerFacts) -> tuple[bytes, str]:
    identity = canonical_identity(facts)
    return identity_digest(identity), display(identity)


@lru_cache(maxsize=1 << 14)
def _identity_of_json(signer: bytes) -> tuple[bytes, str]:
    """The same for a ``signer`` object as it was logged; signers repeat, and bytes are quick to look up."""
    value: Json = parse_audited_json(signer)
    return _identity_of(parse_signer(value))


def read_entry(entry: bytes) -> tuple[bytes, Parsed]:
    """Parse an entry strictly. A log may hold entries that are not ours to understand: they give None."""
    try:
        parsed = parse_entry(entry)
        if isinstance(parsed, MapCommit):
            return hashlib.sha256(entry).digest(), parsed
        return hashlib.sha256(parsed.payload).digest(), parse_statement(parsed.payload)
    except LedgerError:
        return hashlib.sha256(entry).digest(), None
