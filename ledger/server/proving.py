"""Proofs and receipts for all who waited for one checkpoint, made together: they share most hashes of the tree."""

from dataclasses import dataclass

from ledger.client.proof_extra import ProofExtra, format_extra
from ledger.encoding import format_canonical_json
from ledger.log.published import PublishedLog
from ledger.recorder import Receipt
from ledger.tlog.checkpoint import VerifiedCheckpoint
from ledger.tlog.merkle import prove_inclusion
from ledger.tlog.proof import TlogProof, format_proof
from ledger.tlog.tiles import CachedNodes, TileReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """An envelope that the hub signed itself, durable at ``leaf_index``."""

    leaf_index: int
    event_id: str
    entry: bytes
    repeated: bool = False


class Prover:
    """Proves leaves of one checkpoint."""

    def __init__(self, log: PublishedLog, checkpoint: VerifiedCheckpoint) -> None:
        self.size = checkpoint.checkpoint.size
        self._note = checkpoint.note
        self._nodes = CachedNodes(TileReader(log.tile, self.size))
        self._note_json = format_canonical_json(checkpoint.note.decode())

    def included(self, receipt: Receipt | Submitted) -> bytes:
        """Return a receipt with proof and checkpoint, as JSON."""
        proof = format_proof(
            TlogProof(
                index=receipt.leaf_index,
                hashes=prove_inclusion(receipt.leaf_index, self.size, self._nodes),
                checkpoint_note=self._note,
                extra=format_extra(ProofExtra(entry=receipt.entry)),
            )
        )
        # The checkpoint, whose signature lines are not ASCII, is formatted once for all of them.
        head = format_canonical_json(proof.removesuffix(self._note).decode())
        return b"".join(
            (
                durable(receipt)[:-1],
                b',"proof":',
                head[:-1],
                self._note_json[1:],
                b',"checkpoint":',
                self._note_json,
                b"}",
            )
        )


def durable(receipt: Receipt | Submitted) -> bytes:
    """Return a receipt as JSON: where the event is, what was decided, and the signed envelope."""
    if isinstance(receipt, Submitted):
        return format_canonical_json({"eventId": receipt.event_id, "leafIndex": receipt.leaf_index})
    event = receipt.event
    facts = format_canonical_json(
        {
            "decision": event.policy.decision,
            "eventId": event.common.event_id,
            "leafIndex": receipt.leaf_index,
            "outcome": event.outcome,
            "reasons": list(event.reasons),
            "repeated": receipt.repeated,
        }
    )
    return b"".join((facts[:-1], b',"entry":', receipt.entry, b"}"))
