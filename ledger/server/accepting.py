"""Receipts of a ledger in Rekor: durable once it is accepted into the outbox, included once Rekor's proof is stored."""

from ledger.embedded.remote import PROOF_SUFFIX, format_logged, place_facts, state_of
from ledger.encoding import format_canonical_json
from ledger.log.outbox import Fate
from ledger.log.receipts import Prover
from ledger.recorder import Receipt


def accepted(receipt: Receipt, *, state: str = "pending") -> bytes:
    """Return a receipt as JSON: the number of the event, what was decided, and the signed envelope."""
    event = receipt.event
    facts = format_canonical_json(
        {
            "decision": event.policy.decision,
            "eventId": event.common.event_id,
            "number": receipt.leaf_index,
            "outcome": event.outcome,
            "reasons": list(event.reasons),
            "repeated": receipt.repeated,
            "state": state,
        }
    )
    return b"".join((facts[:-1], b',"entry":', receipt.entry, b"}"))


def included(receipt: Receipt, fate: Fate, prover: Prover, *, kind: str) -> bytes:
    """Return the receipt of a logged event: its place, and its proof as a bundle, for Rekor v2 as a proof file too."""
    place = {name: value for name, value in place_facts(fate.receipts[0]).items() if name != "checkpoint"}
    pieces = [
        accepted(receipt, state="logged")[:-1],
        b",",
        format_canonical_json(place)[1:-1],
        b',"bundle":',
        format_logged(fate, prover, name=""),
    ]
    if kind == "rekor-v2":
        proof = format_logged(fate, prover, name=PROOF_SUFFIX)
        pieces += [b',"proof":', format_canonical_json(proof.decode())]
    return b"".join((*pieces, b"}"))


def not_included(receipt: Receipt, fate: Fate) -> bytes:
    """Return the receipt of an event that was waited for in vain, because a person must look at it first."""
    return accepted(receipt, state=state_of(fate))[:-1] + b',"reached":"durable"}'
