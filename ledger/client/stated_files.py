"""Statements of monitors that were handed over as files beside a proof, for a check without network. Pure."""

from collections.abc import Sequence

from ledger.client.proof_extra import Consistency, parse_extra
from ledger.client.trust import TrustFile
from ledger.client.vouching import Stated
from ledger.errors import LedgerError
from ledger.monitor_statement import verify_monitor_statement
from ledger.tlog.proof import parse_proof


def stated_beside(proof: bytes, notes: Sequence[bytes], trust: TrustFile) -> tuple[Stated, ...]:
    """Return statements as they were handed over, each with the link that the proof carries to a tree of its size, if any.

    Nothing is refused here: the check says what is wrong with each, and verifies the link.
    """
    link = _link_of(proof)
    sizes = [None if link is None else _size_of(note, trust) for note in notes]
    return tuple(
        Stated(note=note, consistency=link.hashes if link is not None and size == link.size else None)
        for note, size in zip(notes, sizes, strict=True)
    )


def _link_of(proof: bytes) -> Consistency | None:
    try:
        extra = parse_proof(proof).extra
        return None if extra is None else parse_extra(extra).consistency
    except LedgerError:
        return None


def _size_of(note: bytes, trust: TrustFile) -> int | None:
    for monitor in trust.monitors:
        try:
            return verify_monitor_statement(note, vkeys=[monitor.key]).size
        except LedgerError:
            continue
    return None
