"""Who signed, as an event says it and as openings name it, against whom somebody expects. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.client.expect import Expectation
from ledger.client.opening import Opening, open_commitment
from ledger.event import VerificationEvent
from ledger.identity import CommittedFacts, Identity, SignerFacts, canonical_identity, display


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """One who signed. ``opened``: who stands behind the commitment, where an opening says so."""

    facts: SignerFacts
    opened: Identity | None = None

    @property
    def is_hidden(self) -> bool:
        """Whether the event has a commitment alone, and nothing opens it."""
        return isinstance(self.facts, CommittedFacts) and self.opened is None

    def __str__(self) -> str:
        shown = display(self.opened or canonical_identity(self.facts))
        return f"{shown} [opened]" if self.opened else shown

    def meets(self, one: Expectation) -> bool:
        """Whether this is somebody whom the expectation allows."""
        if isinstance(self.facts, CommittedFacts):
            return one.met_by_identity(self.opened or canonical_identity(self.facts))
        return one.met_by(self.facts)


def verified_signers(event: VerificationEvent) -> list[SignerFacts]:
    """Return who signed, by signatures that verified; claims are never among them."""
    return [
        each.signer for each in event.signatures if each.outcome == "VERIFIED" and each.signer is not None
    ]


def signers_of(event: VerificationEvent, openings: Sequence[Opening]) -> tuple[Signer, ...]:
    """Return who signed, with the commitments opened that the openings open."""
    return tuple(
        Signer(
            facts=each,
            opened=open_commitment(event, each, openings) if isinstance(each, CommittedFacts) else None,
        )
        for each in verified_signers(event)
    )
