"""What a table of fields cannot say of a statement: outcomes, signers and the chain fields that a role demands."""

from ledger.errors import MalformedError
from ledger.event import schemas
from ledger.event.parts import Common, SignatureFact
from ledger.event.statements import VerificationEvent
from ledger.identity import (
    Overflow,
)


def check_common(common: Common) -> None:
    """Check what a table cannot say: sorted keys, and chain fields as the role demands. Raises MalformedError."""
    keys = [link.key for link in common.histories]
    if keys != sorted(set(keys)):
        raise MalformedError("histories", expected="distinct keys in order", actual=keys)
    for link in common.histories:
        chained = (link.sequence is not None, link.previous is not None)
        wanted = (False, False) if common.recorded_by.role == "observer" else (True, link.sequence != 0)
        if chained != wanted:
            raise MalformedError(
                f"history {link.key}",
                expected="sequence and previous of a hub's chain, or neither of an observer",
                actual=link.as_json(),
            )


def outcome_of(signatures: tuple[SignatureFact, ...], more: Overflow | None = None) -> str:
    """Return the outcome of an event: the first of ``OUTCOMES`` that any signature has, UNSIGNED without any."""
    found = {signature.outcome for signature in signatures}
    if not found and more is None:
        return "UNSIGNED"
    return next((outcome for outcome in schemas.OUTCOMES if outcome in found), "ERROR")


def check_outcome(outcome: str, signatures: tuple[SignatureFact, ...], more: Overflow | None) -> None:
    """Check that an outcome is that of the signatures, and who is called a signer. Raises MalformedError."""
    wanted = outcome_of(signatures, more)
    order = schemas.OUTCOMES.index
    if outcome != wanted and (
        more is None or outcome not in schemas.OUTCOMES or order(outcome) > order(wanted)
    ):
        raise MalformedError("outcome", expected=f"{wanted}, from the signatures", actual=outcome)
    for signature in signatures:
        verified = signature.outcome == "VERIFIED"
        if signature.signer is not None and signature.claimed_signer is not None:
            raise MalformedError(
                "signer of a signature", expected="signer or claimedSigner", actual="both of them"
            )
        if verified and signature.signer is None:
            raise MalformedError(
                "signer of a signature", expected="the signer of what is VERIFIED", actual="none"
            )
        if signature.signer is not None and signature.outcome not in ("VERIFIED", "CONTENT_MISMATCH"):
            raise MalformedError(
                "signer of a signature",
                expected=f"a claimed signer, because the outcome is {signature.outcome}",
                actual="a signer",
            )


def check_event(event: VerificationEvent) -> None:
    """Check what a table cannot say about a verification event. Raises MalformedError."""
    check_outcome(event.outcome, event.signatures, event.more_signatures)
    names = {f"name:{event.model.name}"} | (
        {f"repo:{event.model.repo_id}"} if event.model.repo_id is not None else set()
    )
    keys = [link.key for link in event.common.histories]
    if set(keys) != names:
        raise MalformedError("histories of a verification event", expected=sorted(names), actual=keys)
