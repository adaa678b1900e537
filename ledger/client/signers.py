"""Who signed, as an event says it and as openings name it, against whom somebody expects. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.client.expect import Expectation
from ledger.client.opening import Opening, open_commitment
from ledger.client.result import Failure
from ledger.event import VerificationEvent
from ledger.identity import CommittedFacts, Identity, SignerFacts, canonical_identity, display

SIGNER_STEP = "expected signer"


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


def explain_unexpected(
    signers: Sequence[Signer], missing: str, *, shown: str, openings_given: bool
) -> Failure:
    """Return what to say where nobody expected is among the signers, or nobody can tell."""
    if any(each.is_hidden for each in signers):
        why = "those given are of another model or hub" if openings_given else "none was given"
        return Failure(
            step=SIGNER_STEP,
            expected=missing,
            actual=shown,
            causes=(f"the hub records who signed as commitments; only an opening names them, and {why}",),
            next_step="Ask the hub for the opening of this event (hubledger identity open), and name it with --opening",
        )
    return Failure(
        step=SIGNER_STEP,
        expected=missing,
        actual=shown,
        causes=(
            "the model has a new signer",
            "the expectation names another model's signer",
            "somebody else published under this name",
        ),
        next_step="Ask the publisher, over another channel, who signs this model now",
    )
