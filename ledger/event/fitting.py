"""Brings a verification event below the size of a statement."""

from dataclasses import replace

from ledger.errors import LimitError
from ledger.event.formatting import format_statement
from ledger.event.parts import SignatureFact
from ledger.event.schemas import MAX_STATEMENT_BYTES
from ledger.event.statements import VerificationEvent
from ledger.identity import (
    Overflow,
    SignerFacts,
    SigstoreFacts,
    overflow_value,
    plain,
)


def fit(event: VerificationEvent) -> VerificationEvent:
    """Bring a verification event below 32 KiB, always and deterministically.

    In this order, until it fits: the claims of signatures overflow, last signature first; then ignored paths, last
    signature first. The caps of ``schemas`` leave no event that is larger then.
    """
    for step in (_drop_claims, _drop_ignored):
        for at in reversed(range(len(event.signatures))):
            if len(format_statement(event)) <= MAX_STATEMENT_BYTES:
                return event
            changed = step(event.signatures[at])
            signatures = (*event.signatures[:at], changed, *event.signatures[at + 1 :])
            event = replace(event, signatures=signatures, prepared=None)
    if len(format_statement(event)) > MAX_STATEMENT_BYTES:  # the caps of the table make this impossible
        raise LimitError("statement", expected=f"at most {MAX_STATEMENT_BYTES} bytes", actual="more, a bug")
    return event


def _drop_claims(signature: SignatureFact) -> SignatureFact:
    def without(facts: SignerFacts | None) -> SignerFacts | None:
        if not isinstance(facts, SigstoreFacts) or isinstance(facts.claims, Overflow):
            return facts
        return replace(facts, claims=overflow_value({name: plain(value) for name, value in facts.claims}))

    return replace(
        signature, signer=without(signature.signer), claimed_signer=without(signature.claimed_signer)
    )


def _drop_ignored(signature: SignatureFact) -> SignatureFact:
    if not isinstance(signature.ignored_paths, tuple):
        return signature
    return replace(signature, ignored_paths=overflow_value(list(signature.ignored_paths)))
