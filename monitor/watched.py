"""Finds what somebody whom a rule watches has signed. Pure."""

from collections.abc import Iterator

from ledger.event import VerificationEvent
from ledger.identity import canonical_identity, display, signer_digest
from monitor.findings import Finding, Kind
from monitor.known import Context
from monitor.reads import Read
from monitor.wording import event_facts


def signed_by_watched(context: Context, read: Read) -> Iterator[Finding]:
    """Yield what somebody watched has signed, whosever model it is, and whatever else it came to."""
    facts = read.facts
    if facts is None or context.watched.isdisjoint(facts.verified):
        return
    event = read.statement
    signatures = event.signatures if isinstance(event, VerificationEvent) else ()
    for signature in signatures:
        if signature.outcome != "VERIFIED" or signature.signer is None:
            continue
        signer = signer_digest(signature.signer).hex()
        if signer in context.watched:
            yield context.found(
                Kind.SIGNED_BY_WATCHED,
                read.leaf_index,
                f"{facts.name} at {facts.revision} is signed by "
                f"{display(canonical_identity(signature.signer))}, whom you watch: if this is you, see that you did it.",
                model=facts.name,
                about=signer,
                signers=(signer,),
                facts=event_facts(facts),
            )
