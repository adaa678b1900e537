"""What findings about events say beside their sentence: facts, advice, and who stood there before."""

from collections.abc import Sequence

from ledger.encoding import Json
from ledger.history import Change
from ledger.identity import SignerFacts, signer_digest
from monitor.event_facts import EventFacts
from monitor.findings import Kind
from monitor.known import Followed

CHANGES = {
    "signer": Kind.SIGNER_CHANGED,
    "method": Kind.METHOD_CHANGED,
    "lost": Kind.SIGNATURE_LOST,
    "repository": Kind.REPOSITORY_CHANGED,
}


def digests_of(signers: Sequence[SignerFacts]) -> tuple[str, ...]:
    """Return the hex digests of these signers."""
    return tuple(signer_digest(each).hex() for each in signers)


def stood_before(known: Followed, event: EventFacts, changes: Sequence[Change]) -> str:
    """Who stood there before the change that is in question, while it is, as one text."""
    if event.decision in ("observed", "accepted"):
        return ""
    if known.before or all(change.kind == "repository" for change in changes):
        return known.before
    return known.signers


_ADVICE = {
    "signer": "Ask the publisher, by a way that you already trust, before you load it.",
    "method": "Ask the publisher, by a way that you already trust, why it is signed in another way.",
    "lost": "Stay with the last signed version until the publisher explains.",
    "repository": "The name may have been given to somebody else: check who owns it now.",
}


def advice(kind: str) -> str:
    """Return what to do about a change of this kind."""
    return _ADVICE[kind]


def event_facts(event: EventFacts) -> dict[str, Json]:
    """Return the facts of an event that findings carry."""
    return {
        "revision": event.revision,
        "outcome": event.outcome,
        "decision": event.decision,
        "eventId": event.event_id,
    }
