"""Reads what monitors said, and takes it from files beside a proof, for a check without network. It opens no file itself.

A list that is too long for a statement is in parts beside it (docs/spec/monitor-statement.md), of which a check needs those in which
the event's histories would be.
"""

import pathlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from ledger.client.proof_extra import Consistency, parse_extra
from ledger.client.trust import TrustFile
from ledger.client.trusted_monitor import TrustedMonitor
from ledger.client.vouching import Stated, Unheard
from ledger.entry import Entry, parse_entry
from ledger.errors import LedgerError
from ledger.event import parse_statement
from ledger.log.fetch import Fetch
from ledger.monitor_statement import MonitorStatement, verify_monitor_statement
from ledger.open_findings import MAX_PART_BYTES, ListPart, verify_part
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


def with_parts(
    stated: Stated, trust: TrustFile, histories: Sequence[str], *, beside: Fetch, path: pathlib.PurePath
) -> tuple[Stated, ...]:
    """Return a statement with those parts of its list in which these histories would be, and what is missing of them.

    ``path`` is where the statement is, and ``beside`` reads from the folder that it is in. A part that is not there, or another than
    the monitor signed, is missing: the check says so, and why.
    """
    found: list[bytes] = []
    missing: list[Stated] = []
    for monitor, part in parts_for(stated, trust, histories):
        data = read_part(monitor, part, beside, f"{path.name}-parts/{part.name}")
        if isinstance(data, bytes):
            found.append(data)
        else:
            missing.append(Stated(unheard=replace(data, file=f"{path}-parts/{part.name}")))
    return replace(stated, parts=tuple(found)), *missing


def parts_for(
    stated: Stated, trust: TrustFile, histories: Sequence[str]
) -> Iterator[tuple[TrustedMonitor, ListPart]]:
    """Yield the parts in which these histories would be, where a monitor of the trust file signed such a statement."""
    found = said(stated.note, trust)
    if found is not None:
        monitor, statement = found
        yield from ((monitor, part) for part in statement.parts_for(histories))


def read_part(monitor: TrustedMonitor, part: ListPart, fetch: Fetch, name: str) -> bytes | Unheard:
    """Return a part that is as the monitor signed it, or why there is none."""
    try:
        data = fetch(name, max_bytes=MAX_PART_BYTES)
        verify_part(data, part)
    except LedgerError as error:
        return Unheard(monitor=monitor.name, why=error.finding, part=part.sha256)
    return data


def histories_of(proof: bytes) -> tuple[str, ...]:
    """Return the histories of the event in a proof. Nothing is verified: a lie about them leaves the right parts missing."""
    with suppress(LedgerError):
        parsed = parse_proof(proof)
        if parsed.extra is not None:
            entry = parse_entry(parse_extra(parsed.extra).entry, leaf_index=parsed.index)
            common = parse_statement(entry.payload).common if isinstance(entry, Entry) else None
            return () if common is None else tuple(each.key for each in common.histories)
    return ()


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
