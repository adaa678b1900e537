"""Which histories a withdrawal belongs to, and what the log has said of it already: repeated, it says only the rest."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ledger.embedded.digests import mirror_digests
from ledger.embedded.opening import OpenLedger
from ledger.embedded.withdrawing import MAX_DIGESTS, Plan, carry_out
from ledger.entry import Entry, parse_entry
from ledger.errors import CorruptError
from ledger.event import Statement, UnknownStatement, VerificationEvent, parse_statement
from ledger.event.digests import Use
from ledger.event.schemas import MAX_HISTORIES
from ledger.event.statements import PlainStatement
from ledger.storage.evidence import Withdrawal

HISTORIES_EACH = MAX_HISTORIES - 1
"""Models that one statement can tell: it belongs to ``hub:`` as well."""


@dataclass(slots=True)
class Known:
    """What the log says of a piece: its first withdrawal, the models that name it, and those that were told."""

    erased: Withdrawal | None = None
    named_by: dict[str, None] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    policy: bool = False

    def untold(self, also: Iterable[str]) -> list[str]:
        """Return the histories that do not show the withdrawal yet, in log order."""
        return [each for each in dict.fromkeys((*also, *self.named_by)) if each not in self.told]


def look_up(ledger: OpenLedger, digests: Iterable[bytes]) -> dict[bytes, Known]:
    """Return what the log says of each piece.

    Raises:
        CorruptError: the digest index cannot be brought up to the log: who names a piece is not known.
    """
    mirror_digests(ledger)
    if ledger.digests.position() != ledger.log.size:
        raise CorruptError(
            "digest index",
            expected=f"{ledger.log.size} leaves",
            actual=ledger.digests.position(),
            next_step="Run `hubledger index rebuild`, then withdraw again: nothing was withdrawn",
        )
    read: dict[int, Statement | UnknownStatement | None] = {}
    found: dict[bytes, Known] = {}
    for sha256 in digests:
        known = found[sha256] = Known()
        for naming in ledger.digests.namings(sha256):
            if naming.leaf_index not in read:
                read[naming.leaf_index] = _read(ledger, naming.leaf_index)
            known.policy = known.policy or naming.use is Use.POLICY
            _learn(known, sha256, naming.leaf_index, read[naming.leaf_index])
    return found


def _read(ledger: OpenLedger, leaf_index: int) -> Statement | UnknownStatement | None:
    (entry,) = ledger.log.read(leaf_index, leaf_index + 1)
    parsed = parse_entry(entry)
    return parse_statement(parsed.payload) if isinstance(parsed, Entry) else None


def _learn(
    known: Known, sha256: bytes, leaf_index: int, statement: Statement | UnknownStatement | None
) -> None:
    match statement:
        case VerificationEvent():
            known.named_by[f"name:{statement.model.name}"] = None
        case PlainStatement():
            withdrawal = withdrawal_of(statement, sha256, leaf_index)
            if withdrawal is not None and statement.common is not None:
                known.erased = known.erased or withdrawal
                known.told.update(link.key for link in statement.common.histories)


def withdrawal_of(
    statement: Statement | UnknownStatement | None, sha256: bytes, leaf_index: int
) -> Withdrawal | None:
    """Return what an erasure says of a piece; None where the statement is none, or of other pieces."""
    if not isinstance(statement, PlainStatement):
        return None
    fields = dict(statement.fields)
    named = fields.get("evidence")
    if not isinstance(named, (list, tuple)) or sha256.hex() not in named:
        return None
    return Withdrawal(
        sha256=sha256, reason=fields["reason"], leaf_index=leaf_index, reference=fields.get("reference")
    )


def withdraw_pieces(
    ledger: OpenLedger,
    digests: Sequence[bytes],
    *,
    reason: str,
    reference: str | None,
    also: Sequence[str] = (),
) -> list[int]:
    """Log what of a withdrawal the log does not say yet, and remove the bytes; returns the new statements' leaves.

    Every model that names a piece has it in its history (and those of ``also``), with as many statements as that takes.
    If we stop between two, the same call says the rest.
    """
    known = look_up(ledger, digests)
    remove_again(ledger, known)
    left = [each for each in digests if known[each].erased is None or known[each].untold(also)]
    leaves = []
    for start in range(0, len(left), MAX_DIGESTS):
        chunk = tuple(left[start : start + MAX_DIGESTS])
        histories = tuple(dict.fromkeys(key for each in chunk for key in known[each].untold(also)))
        for first in range(0, max(1, len(histories)), HISTORIES_EACH):
            part = histories[first : first + HISTORIES_EACH]
            plan = Plan(digests=chunk, reason=reason, reference=reference, histories=part)
            leaves.append(carry_out(plan, evidence=ledger.evidence, recorder=ledger.recorder))
    return leaves


def remove_again(ledger: OpenLedger, known: dict[bytes, Known]) -> list[bytes]:
    """Remove bytes that came back after their withdrawal and restore lost notes; returns whose bytes were there."""
    erased = {sha256: each.erased for sha256, each in known.items() if each.erased is not None}
    ledger.evidence.note_withdrawals(_lost_notes(ledger, erased.values()))
    back = [sha256 for sha256 in erased if ledger.evidence.holds(sha256)]
    if back:
        ledger.evidence.remove(back)
    return back


def _lost_notes(ledger: OpenLedger, erased: Iterable[Withdrawal]) -> Iterator[Withdrawal]:
    for each in erased:
        if ledger.evidence.withdrawn(each.sha256) is None:
            yield each
