"""Finds what somebody whom a rule watches has signed. Pure."""

from collections.abc import Iterator

from ledger.event import VerificationEvent
from ledger.identity import canonical_identity, display, signer_digest
from monitor.findings import Finding, Kind
from monitor.known import Context
from monitor.wording import event_facts


def signed_by_watched(context: Context, at: int, event: VerificationEvent) -> Iterator[Finding]:
    """Yield what somebody whom a rule watches has signed, whosever model it is, and whatever else it came to."""
    for signature in event.signatures:
        if signature.outcome != "VERIFIED" or signature.signer is None:
            continue
        signer = signer_digest(signature.signer).hex()
        if signer in context.watched:
            yield context.found(
                Kind.SIGNED_BY_WATCHED,
                at,
                f"{event.model.name} at {event.model.revision} is signed by "
                f"{display(canonical_identity(signature.signer))}, whom you watch: if this is you, see that you did it.",
                model=event.model.name,
                about=signer,
                signers=(signer,),
                facts=event_facts(event),
            )
