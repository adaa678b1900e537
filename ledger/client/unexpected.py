"""What to say where nobody who signed is expected."""

from collections.abc import Sequence

from ledger.client.result import Failure
from ledger.client.signers import Signer

SIGNER_STEP = "expected signer"


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
