"""Replays a ledger in Rekor: what was accepted, where each entry is logged, and everything that hangs on it.

There is no tree of ours to hash: what stands for it are the receipts, each proven again in the tree that its shard
signed. Everything else is audited as in a ledger with a log of its own, in the order of acceptance.
"""

import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ledger.client.trust import TrustFile
from ledger.embedded import chains
from ledger.embedded.directory import ReadLedger
from ledger.embedded.evidence_audit import NamedEvidence
from ledger.embedded.examining import Examine
from ledger.embedded.index_check import index_problems
from ledger.embedded.remote import AcceptedLog
from ledger.embedded.wording import plural
from ledger.errors import ConfigError, CorruptError
from ledger.index import Rows, read_entry
from ledger.index.staging import Staged, Staging
from ledger.log.remote import LogReceipt, Shard
from ledger.storage.directory import DirectoryObjects
from ledger.storage.evidence import Evidence

Progress = Callable[[int, int], None]
_RUN = 500
"""Entries that are read, proven and staged at a time."""


@dataclass(slots=True)
class _Tally:
    """What an audit counts."""

    receipts: int = 0
    logged: int = 0
    pending: int = 0
    dropped: int = 0
    statements: int = 0
    shards: set[str] = field(default_factory=set)


def audit_remote(
    ledger: ReadLedger, accepted: AcceptedLog, *, progress: Progress, evidence: NamedEvidence | None
) -> dict[str, Any]:
    """Audit a ledger in Rekor: every receipt, signature, chain and event id, the index, and the evidence if asked.

    A writer may go on meanwhile: one state of the outbox is audited.

    Raises:
        CorruptError, ProofError, SignatureError, ChainError, MalformedError: what does not hold, and where.
        ConfigError: the trust file does not list a shard that was used.
    """
    tally = _Tally()
    with tempfile.TemporaryDirectory(prefix="hubledger-audit-") as name, accepted.store.snapshot():
        folder = pathlib.Path(name)
        accepted.store.check()
        size = accepted.size()
        examine = Examine(accepted.prover.hub_keys, ledger.config.ledger, folder)
        for start, run in runs(accepted, size):
            examined = examine(start, run)
            if evidence is not None:
                evidence.add_formatted(examined.named)
            _prove_run(ledger, accepted, start, run, tally)
            progress(start + len(run), size)
        staged = Staged(folder)
        try:
            heads = chains.compare_heads(staged, accepted.store)
            events = chains.compare_events(staged, accepted.store)
        finally:
            staged.close()
        pieces = evidence.check(ledger.layout.evidence) if evidence is not None else None
        _compare_index(ledger, folder, size)
    return {
        "ledger": ledger.config.ledger,
        "log": ledger.config.log,
        "size": size,
        "logged": tally.logged,
        "pending": tally.pending,
        "dropped": tally.dropped,
        "checked": [
            f"{plural(size, 'entry', 'entries')} signed by the hub's keys",
            (
                f"{plural(tally.receipts, 'receipt')} proven in {plural(len(tally.shards), 'shard')}: body, inclusion, "
                "signed checkpoint, and the hub's key at that position"
            ),
            f"{plural(tally.pending, 'entry', 'entries')} accepted and not yet logged, {tally.dropped} dropped",
            (
                f"{plural(heads, 'history', 'histories')} without a gap or fork, "
                f"{plural(events, 'event id')} used once; heads as replayed"
            ),
            f"{plural(tally.statements, 'statement')} of logged entries kept under their digests, or withdrawn",
            f"index: {plural(size, 'entry', 'entries')}, as rebuilt",
            "evidence: not checked" if pieces is None else f"evidence: {pieces}",
        ],
    }


def runs(accepted: AcceptedLog, size: int) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the accepted entries in runs, each with the number of its first."""
    entries, start = accepted.read(0, size), 0
    while run := list(islice(entries, _RUN)):
        yield start, run
        start += len(run)


def _prove_run(
    ledger: ReadLedger, accepted: AcceptedLog, start: int, run: Sequence[bytes], tally: _Tally
) -> None:
    """Prove the places of a run of entries; an entry without one must be pending or dropped."""
    evidence = Evidence(DirectoryObjects(ledger.layout.evidence))
    proven = prove_places(accepted, start, run)
    waiting = accepted.store.pending([at for at in range(start, start + len(run)) if at not in proven])
    statements = dict(accepted.store.statements(start))
    dropped = {each.number for each in accepted.store.drops(start)}
    for number in range(start, start + len(run)):
        places = proven.get(number, ())
        tally.receipts += len(places)
        tally.shards.update(each.shard.origin for each in places)
        if places:
            tally.logged += 1
            for each in places:
                check_listed(ledger.trust, each.shard, place=each.shard.order)
            signed = accepted.prover.signed(run[number - start])
            # Who says that a key counts from some position on means the lowest of an entry that is not before it.
            order, index = accepted.prover.counting_first(signed.keyid, places)[0].position
            ledger.trust.check_key(signed.keyid, index, shard=order)
            _check_statement(evidence, statements[number], number)
            tally.statements += 1
        elif number in dropped:
            tally.dropped += 1
        elif number in waiting:
            tally.pending += 1
        else:
            raise CorruptError(
                f"number {number} in the outbox",
                expected="a receipt, or that it is pending or dropped",
                actual="none of them",
                next_step="Restore the newest copy of outbox.db; `hubledger index rebuild --scan` finds what is logged",
            )


def check_listed(trust: TrustFile, shard: Shard, *, place: int) -> None:
    """Return if the trust file has a shard in its place.

    Raises:
        ConfigError: it has another there, or none: whoever goes by it refuses every proof from this shard.
    """
    listed = trust.shards[place : place + 1]
    if not listed or listed[0].log_id != shard.log_id:
        raise ConfigError(
            f"shard {place} of trust.toml",
            expected=f"{shard.origin}, as in the trusted root",
            actual=listed[0].origin if listed else "none",
            next_step="List it there, in this place, raise `version`, and give the file to those who verify: they go by it",
        )


def prove_places(
    accepted: AcceptedLog, start: int, run: Sequence[bytes]
) -> dict[int, tuple[LogReceipt, ...]]:
    """Return the places of a run of entries, each proven again, the lowest first. Raises CorruptError."""
    return {
        number: tuple(accepted.prover.prove(run[number - start], each) for each in stored)
        for number, stored in accepted.places_of(start, start + len(run)).items()
    }


def _check_statement(evidence: Evidence, sha256: bytes, number: int) -> None:
    if not evidence.holds(sha256) and evidence.withdrawn(sha256) is None:
        raise CorruptError(
            f"statement of number {number}",
            expected=f"evidence {sha256.hex()}",
            actual="none",
            next_step="Run `hubledger index rebuild`, which keeps it again: Rekor has its digest alone",
        )


def _compare_index(ledger: ReadLedger, folder: pathlib.Path, size: int) -> None:
    problems = index_problems(ledger, folder, size, least=0)
    if problems:
        raise CorruptError(
            "index",
            expected="what the outbox says",
            actual="; ".join(problems),
            next_step="Run `hubledger index rebuild`",
        )


def keep_statements(accepted: AcceptedLog, evidence: Evidence) -> None:
    """Keep every accepted statement again that is not under its digest and was not withdrawn; durable on return."""
    for start, run in runs(accepted, accepted.size()):
        statements = accepted.store.statements(start)
        missing = {number for number, sha256 in statements if not evidence.holds(sha256)}
        evidence.put(
            accepted.prover.signed(entry).payload for at, entry in enumerate(run, start) if at in missing
        )


def stage_accepted(accepted: AcceptedLog, folder: pathlib.Path, progress: Progress) -> int:
    """Stage the rows of every accepted entry for an index, its receipts proven again; returns how many entries."""
    staging, size = Staging(folder), accepted.size()
    try:
        for start, run in runs(accepted, size):
            prove_places(accepted, start, run)
            rows = Rows(start)
            rows.extend(map(read_entry, run))
            staging.add(rows)
            progress(start + len(run), size)
    finally:
        staging.close()
    return size
