"""What was recorded, as facts for people and programs."""

from typing import Any

from ledger.event import VerificationEvent
from ledger.identity import canonical_identity, display
from ledger.recorder import Receipt


def receipt_facts(receipt: Receipt) -> dict[str, Any]:
    """Return what was recorded as JSON facts."""
    event = receipt.event
    return {
        "eventId": event.common.event_id,
        "repeated": receipt.repeated,
        "name": event.model.name,
        "revision": event.model.revision,
        "outcome": event.outcome,
        "decision": event.policy.decision,
        "reasons": list(event.reasons),
        "signatures": signature_facts(event),
        **({"moreSignatures": event.more_signatures.as_json()} if event.more_signatures else {}),
        "manifestSha256": event.manifest.sha256.hex(),
    }


def signature_facts(event: VerificationEvent) -> list[dict[str, Any]]:
    """Return what people are shown of each signature."""
    shown = []
    for signature in event.signatures:
        facts: dict[str, Any] = {"outcome": signature.outcome, "bundleSha256": signature.bundle_sha256.hex()}
        if signature.method is not None:
            facts["method"] = signature.method
        who = signature.signer or signature.claimed_signer
        if who is not None:
            identity = canonical_identity(who)
            facts["signer" if signature.signer else "claimedSigner"] = display(identity)
            facts["identity"] = identity.as_json()
        shown.append(facts)
    return shown
