"""Looks through whole shards of Rekor v2 for entries by the hub's key (``hubledger index rebuild --scan``).

Every entry of a shard is read from its read address and proven to be in the tree that the shard signed, so that nothing can
be left out. What a scan finds is held against the outbox: a place that is new becomes a receipt; an entry by the key that no
statement is about means that this outbox is an old copy, or that somebody else has the key; a receipt whose place shows
another entry means that the log shows two trees.
"""

import contextlib
import pathlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.bundle.bodies import Verifier
from ledger.bundle.log_entry import LogEntry
from ledger.embedded.directory import ReadLedger, open_for_reading
from ledger.embedded.opening import open_for_recording
from ledger.embedded.remote import AcceptedLog
from ledger.embedded.remote_audit import runs
from ledger.embedded.submitting import outbox_of
from ledger.encoding import format_base64
from ledger.entry import pae
from ledger.errors import LedgerError, NotFoundError, SourceError, UsageError
from ledger.index.staging import writing
from ledger.log.authentic import AuthenticLog
from ledger.log.fetch import fetch_from_url
from ledger.log.hashedrekord import KIND, prove_entry, signed_by
from ledger.log.published import PublishedLog
from ledger.log.receipts import bodies_of
from ledger.log.rekor_v2 import note_key
from ledger.log.remote import LogReceipt, Shard
from ledger.storage.directory import DirectoryObjects
from ledger.storage.evidence import Evidence
from ledger.tlog.checkpoint import VerifiedCheckpoint

Progress = Callable[[int, int], None]
_MAX_STATEMENT_BYTES = 32 << 10
_BATCH = 256
_PROGRESS = 1000
MAX_SHOWN = 1000
"""Findings of a kind that one answer lists; the whole number is beside them."""


def scan_ledger(directory: pathlib.Path, *, progress: Progress) -> dict[str, Any]:
    """Scan every shard of Rekor v2 that the ledger may be in, store what is found, and return the findings as JSON facts.

    Raises:
        UsageError: the ledger is not in Rekor v2. SourceError, ProofError, SignatureError: a shard cannot be read whole.
    """
    ledger = open_for_reading(directory)
    accepted = _scannable(ledger)
    with writing(), contextlib.closing(sqlite3.connect("", isolation_level=None)) as notes:
        scan = _Scan(accepted, notes)
        shards = [scan.read(shard, progress) for shard in accepted.prover.shards if shard.kind == "rekor-v2"]
        added = _add(directory, scan)
        return {
            "shards": shards,
            "added": added,
            "withoutStatement": _listed(_name_statements(ledger, scan.strangers())),
            "withoutStatementCount": scan.strangers_count(),
            "notShown": _listed(scan.not_shown()),
            "withoutEntry": scan.without_entry(),
        }


def _scannable(ledger: ReadLedger) -> AcceptedLog:
    if ledger.accepted is not None and ledger.config.log == "rekor-v2":
        return ledger.accepted
    raise UsageError(
        f"--scan of {ledger.config.ledger}",
        expected="a ledger in Rekor v2",
        actual=f"log = {ledger.config.log}",
        next_step="Rekor v1 gives entries one by one and proves no list of a key's entries, so a scan could miss some unseen; "
        "rebuild without --scan, from the receipts"
        if ledger.config.log == "rekor-v1"
        else "Rebuild without --scan, from the log in this directory",
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """An entry by a hub key: its place, and the number of the statement that it is about, if it is one of ours."""

    shard: int
    leaf_index: int
    number: int | None
    digest: bytes


class _Scan:
    """What is known and found meanwhile, in a temporary file: a shard has more entries than memory."""

    def __init__(self, accepted: AcceptedLog, notes: sqlite3.Connection) -> None:
        self._accepted, self._notes = accepted, notes
        self._logs: dict[int, tuple[AuthenticLog, VerifiedCheckpoint]] = {}
        notes.execute("CREATE TABLE known(digest BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID")
        notes.execute(
            "CREATE TABLE found(shard INTEGER, leaf_index INTEGER, number INTEGER, digest BLOB NOT NULL,"
            " PRIMARY KEY (shard, leaf_index)) WITHOUT ROWID"
        )
        prover = accepted.prover
        for start, run in runs(accepted, accepted.size()):
            notes.executemany(
                "INSERT INTO known VALUES (?, ?)",
                [(prover.signed(entry).digest, number) for number, entry in enumerate(run, start)],
            )

    def read(self, shard: Shard, progress: Progress) -> dict[str, Any]:
        """Read one shard whole and note every entry by a hub key; returns what was read."""
        log = AuthenticLog(
            PublishedLog(fetch_from_url(shard.read_url), origin=shard.origin, keys=[note_key(shard)])
        )
        checkpoint = _checkpoint(log)
        tree, count = checkpoint.checkpoint, 0
        self._logs[shard.order] = log, checkpoint
        needles = [format_base64(spki).encode() for spki in self._accepted.prover.hub_keys.values()]
        for at, body in enumerate(log.read(0, tree.size, tree=tree)):
            if any(each in body for each in needles) and (digest := self._digest_of(body)) is not None:
                count += 1
                self._notes.execute(
                    "INSERT INTO found VALUES (?, ?, ?, ?)",
                    (shard.order, at, self._number_of(digest, body), digest),
                )
            if at % _PROGRESS == 0:
                progress(at, tree.size)
        progress(tree.size, tree.size)
        return {"order": shard.order, "origin": shard.origin, "size": tree.size, "byTheHubsKey": count}

    def _digest_of(self, body: bytes) -> bytes | None:
        """Return what a hub key signed in an entry; None for somebody else's, in which a key is only mentioned."""
        signed = (signed_by(spki, body) for spki in self._accepted.prover.hub_keys.values())
        return next((digest for digest in signed if digest is not None), None)

    def _number_of(self, digest: bytes, body: bytes) -> int | None:
        row = self._notes.execute("SELECT number FROM known WHERE digest = ?", (digest,)).fetchone()
        if row is None:
            return None
        (entry,) = self._accepted.read(row[0], row[0] + 1)
        # Another signature than ours and its twin is somebody else's, who has the key.
        return int(row[0]) if body in bodies_of(self._accepted.prover.signed(entry), KIND) else None

    def places(self) -> Iterator[tuple[int, Shard, int]]:
        """Yield the places of our statements that have no receipt yet: number, shard, leaf index."""
        shards = {each.order: each for each in self._accepted.prover.shards}
        for order, leaf_index, number in self._notes.execute(
            "SELECT shard, leaf_index, number FROM found WHERE number IS NOT NULL ORDER BY number, shard, leaf_index"
        ):
            if self._accepted.store.number_at(order, leaf_index) is None:
                yield number, shards[order], leaf_index

    def prove(self, number: int, shard: Shard, leaf_index: int) -> tuple[int, LogReceipt]:
        """Return the receipt of a place that was found, proven."""
        log, checkpoint = self._logs[shard.order]
        tree = checkpoint.checkpoint
        (body,) = log.read(leaf_index, leaf_index + 1, tree=tree)
        entry = LogEntry(
            log_id=shard.log_id,
            index=leaf_index,
            kind=KIND,
            body=body,
            integrated_time=0,
            promise=None,
            proof_index=leaf_index,
            hashes=log.prove_inclusion(leaf_index, tree.size, tree=tree),
            note=checkpoint.note,
        )
        return number, prove_entry(entry, shard=shard, keys=self._accepted.prover.keys)

    def strangers_count(self) -> int:
        """Count the entries by a hub key that are about no statement of ours."""
        (count,) = self._notes.execute("SELECT count(*) FROM found WHERE number IS NULL").fetchone()
        return int(count)

    def strangers(self) -> list[_Found]:
        """Return the first entries by a hub key that are about no statement of ours."""
        rows = self._notes.execute(
            "SELECT * FROM found WHERE number IS NULL ORDER BY shard, leaf_index LIMIT ?", (MAX_SHOWN,)
        )
        return [_Found(*row) for row in rows]

    def not_shown(self) -> Iterator[Mapping[str, Any]]:
        """Yield the receipts whose place, in the tree that the log shows now, is not that of their entry."""
        for start, run in runs(self._accepted, self._accepted.size()):
            for number, stored in self._accepted.places_of(start, start + len(run)).items():
                for each in stored:
                    if each.shard not in self._logs:
                        continue
                    found = self._notes.execute(
                        "SELECT number FROM found WHERE shard = ? AND leaf_index = ?",
                        (each.shard, each.log_index),
                    ).fetchone()
                    if found != (number,):
                        size = self._logs[each.shard][1].checkpoint.size
                        yield {
                            "number": number,
                            "shardOrder": each.shard,
                            "leafIndex": each.log_index,
                            "why": "another entry" if each.log_index < size else f"a tree of {size} leaves",
                        }

    def without_entry(self) -> int:
        """Count the statements that no entry in any scanned shard is about; most of them are pending."""
        (count,) = self._notes.execute(
            "SELECT count(*) FROM known WHERE number NOT IN (SELECT number FROM found WHERE number IS NOT NULL)"
        ).fetchone()
        return int(count)


def _checkpoint(log: AuthenticLog) -> VerifiedCheckpoint:
    try:
        return log.checkpoint()
    except (NotFoundError, SourceError) as error:
        raise SourceError(
            error.what,
            expected="the checkpoint of the shard",
            actual=error.actual,
            next_step="Say in `rekor.read_url` of hubledger.toml where its checkpoint and tiles are served",
        ) from error


def _add(directory: pathlib.Path, scan: _Scan) -> int:
    """Store the places that are new, as receipts; returns how many."""
    found = list(scan.places())
    if not found:
        return 0
    with open_for_recording(directory, scanned=True) as ledger:
        outbox, _ = outbox_of(ledger)
        for start in range(0, len(found), _BATCH):
            outbox.add_receipts([scan.prove(*each) for each in found[start : start + _BATCH]])
    return len(found)


def _name_statements(ledger: ReadLedger, strangers: Sequence[_Found]) -> list[dict[str, Any]]:
    """Say of entries without a statement in the outbox which statement in the evidence they are about, if one is there."""
    wanted = {each.digest for each in strangers}
    named: dict[bytes, bytes] = {}
    for payload, sha256 in _small_pieces(ledger) if wanted else ():
        digest = Verifier(ledger.trust.hub_keys[-1].spki).digest(pae(payload))
        if digest in wanted:
            named[digest] = sha256
    return [
        {"shardOrder": each.shard, "leafIndex": each.leaf_index, "digest": each.digest.hex()}
        | ({"statementSha256": named[each.digest].hex()} if each.digest in named else {})
        for each in strangers
    ]


def _small_pieces(ledger: ReadLedger) -> Iterator[tuple[bytes, bytes]]:
    evidence = Evidence(DirectoryObjects(ledger.layout.evidence))
    for prefix in range(256):
        for sha256 in evidence.stored(prefix):
            with contextlib.suppress(LedgerError):  # withdrawn or damaged: an audit of the evidence says so
                if evidence.info(sha256).size <= _MAX_STATEMENT_BYTES:
                    yield evidence.get(sha256), sha256


def _listed(found: Any) -> list[Any]:
    return [each for each, _ in zip(found, range(MAX_SHOWN), strict=False)]
