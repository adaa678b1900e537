"""What findings about events say beside their sentence: facts, advice, and who stood there before."""

from collections.abc import Sequence

from ledger.encoding import Json
from ledger.event import (
    VerificationEvent,
)
from ledger.history import Change, Standing
from ledger.identity import SignerFacts, signer_digest
from monitor.findings import Kind
from monitor.known import Followed

CHANGES = {
    "signer": Kind.SIGNER_CHANGED,
    "method": Kind.METHOD_CHANGED,
    "lost": Kind.SIGNATURE_LOST,
    "repository": Kind.REPOSITORY_CHANGED,
}


def digests_of(standing: Standing) -> tuple[str, ...]:
    """Return the hex digests of the signers that stand."""
    return tuple(signer_digest(each).hex() for each in standing.signers)


def stood_before(
    known: Followed, event: VerificationEvent, changes: Sequence[Change]
) -> tuple[SignerFacts, ...]:
    """Who stood there before the change that is in question, while it is."""
    if event.policy.decision in ("observed", "accepted"):
        return ()
    if known.before or all(change.kind == "repository" for change in changes):
        return known.before
    return known.standing.signers


_ADVICE = {
    "signer": "Ask the publisher, by a way that you already trust, before you load it.",
    "method": "Ask the publisher, by a way that you already trust, why it is signed in another way.",
    "lost": "Stay with the last signed version until the publisher explains.",
    "repository": "The name may have been given to somebody else: check who owns it now.",
}


def advice(kind: str) -> str:
    """Return what to do about a change of this kind."""
    return _ADVICE[kind]


def event_facts(event: VerificationEvent) -> dict[str, Json]:
    """Return the facts of an event that findings carry."""
    return {
        "revision": event.model.revision,
        "outcome": event.outcome,
        "decision": event.policy.decision,
        "eventId": event.common.event_id,
    }
