"""Reads what monitors said, and takes it from files beside a proof, for a check without network. Pure."""

from collections.abc import Sequence

from ledger.client.proof_extra import Consistency, parse_extra
from ledger.client.trust import TrustFile
from ledger.client.trusted_monitor import TrustedMonitor
from ledger.client.vouching import Stated
from ledger.errors import LedgerError
from ledger.monitor_statement import MonitorStatement, verify_monitor_statement
from ledger.tlog.proof import parse_proof


def stated_beside(proof: bytes, notes: Sequence[bytes], trust: TrustFile) -> tuple[Stated, ...]:
    """Return statements as they were handed over, each with the link that the proof carries to a tree of its size, if any.

    Nothing is refused here: the check says what is wrong with each, and verifies the link.
    """
    link = consistency_in(proof)
    found = [None if link is None else said(note, trust) for note in notes]
    return tuple(
        Stated(
            note=note,
            consistency=link.hashes if link and each and each[1].size == link.size else None,
        )
        for note, each in zip(notes, found, strict=True)
    )


def said(note: bytes, trust: TrustFile) -> tuple[TrustedMonitor, MonitorStatement] | None:
    """Return which monitor of a trust file signed a statement, and what; None where none did."""
    found = ((each, said_by(note, each)) for each in trust.monitors)
    return next(((monitor, statement) for monitor, statement in found if statement is not None), None)


def said_by(note: bytes, monitor: TrustedMonitor) -> MonitorStatement | None:
    """Return what a monitor signed, or None where it did not."""
    try:
        return verify_monitor_statement(note, vkeys=[monitor.key])
    except LedgerError:
        return None


def consistency_in(proof: bytes) -> Consistency | None:
    """Return the consistency proof that a proof carries, if any; nothing is verified."""
    try:
        extra = parse_proof(proof).extra
        return None if extra is None else parse_extra(extra).consistency
    except LedgerError:
        return None
