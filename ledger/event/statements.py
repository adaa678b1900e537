"""Statements as values (in-toto Statement v1): a verification event, a statement of plain fields, or an unknown one.

A statement of a type or version that we do not know, or with a field that we do not know, is an
``UnknownStatement``: it is shown as an unknown event, and whoever meets it may not claim to understand the
history that it belongs to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ledger.encoding import Json, format_canonical_json
from ledger.errors import MalformedError
from ledger.event.parts import Common, ManifestRef, Model, PolicyRef, SignatureFact, Verifier
from ledger.event.schemas import STATEMENTS, VERIFICATION_EVENT
from ledger.event.subjects import subject_of
from ledger.identity import (
    Overflow,
)


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
