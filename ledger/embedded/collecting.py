"""Collects evidence that no event names: what recordings left behind that stopped between the evidence and the event.

Which digests are named is read from the log itself, published or waiting, never from an index: whatever looks like a
digest in any statement counts as named, so that a later kind of statement keeps what it names.
"""

import hashlib
import pathlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ledger.embedded.bundle_sizes import MAX_LIST_BYTES
from ledger.embedded.clock import posix_now
from ledger.embedded.evidence_audit import listed_digests
from ledger.embedded.opening import OpenLedger, open_for_recording
from ledger.entry import Entry, parse_entry
from ledger.errors import InputError, LedgerError
from ledger.policy import tofu

Progress = Callable[[int, int], None]
_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_MORE = re.compile(rb'"moreSignatures":\{"count":[0-9]+,"sha256":"([0-9a-f]{64})"\}')
_BATCH = 500


@dataclass(slots=True)
class _Store:
    """Pieces that may go, while the log is read: each digest that is met is taken out."""

    candidates: set[bytes]
    lists: set[bytes]

    def keep_named(self, payload: bytes) -> None:
        self.candidates.difference_update(bytes.fromhex(each.decode()) for each in _DIGEST.findall(payload))
        self.lists.update(bytes.fromhex(each.decode()) for each in _MORE.findall(payload))


def collect_garbage(
    directory: pathlib.Path, *, older_than: int, dry_run: bool, progress: Progress, now: int | None = None
) -> dict[str, Any]:
    """Remove stored pieces that no event names and that are at least ``older_than`` seconds old.

    Takes the writer's lock, so that no recording is between its evidence and its event.

    Raises:
        WriterLockedError: somebody is writing. CorruptError: the log cannot be read to its end: nothing is removed.
    """
    limit = (posix_now() if now is None else now) - older_than
    with open_for_recording(directory) as ledger:
        evidence, size = ledger.evidence, ledger.log.size
        store = _Store({each for each in _stored(ledger) if evidence.info(each).stored_at <= limit}, set())
        store.candidates.discard(tofu.POLICY_SHA256)  # in force, also before the first event that names it
        lost_texts = _keep_texts(ledger, store)
        for leaf_index, entry in enumerate(ledger.log.read(0, size) if store.candidates else ()):
            payload = _payload(entry)
            store.keep_named(payload)
            store.candidates.discard(
                hashlib.sha256(payload).digest()
            )  # of a ledger in Rekor, which has digests alone
            if not leaf_index % 1000:
                progress(leaf_index, size)
        for sha256 in store.lists if store.candidates else ():
            _keep_listed(ledger, store, sha256)
        found = sorted(store.candidates)
        sizes = sum(evidence.info(each).size for each in found)
        if not dry_run:
            evidence.remove(found)
            # If we stop here, pointers of texts are left that lead nowhere: they are found again.
            evidence.forget_texts(event for event, text in lost_texts if text in store.candidates)
    return {"collected": [each.hex() for each in found], "bytes": sizes, "dryRun": dry_run}


def _stored(ledger: OpenLedger) -> Iterator[bytes]:
    for prefix in range(256):
        for sha256 in ledger.evidence.stored(prefix):
            if ledger.evidence.withdrawn(sha256) is None:
                yield sha256


def _keep_texts(ledger: OpenLedger, store: _Store) -> list[tuple[bytes, bytes]]:
    """Keep the texts of recorded events; returns (event key, text digest) of those that were never recorded."""
    texts = list(ledger.evidence.texts())
    lost: list[tuple[bytes, bytes]] = []
    for start in range(0, len(texts), _BATCH):
        run = texts[start : start + _BATCH]
        known, _ = ledger.log.lookup([event for event, _ in run], [])
        store.candidates.difference_update(text for event, text in run if event in known)
        lost += [(event, text) for event, text in run if event not in known]
    return lost


def _payload(entry: bytes) -> bytes:
    """Return what may name digests; of an entry that does not parse, all of it."""
    try:
        parsed = parse_entry(entry)
    except InputError:
        return entry
    return parsed.payload if isinstance(parsed, Entry) else entry


def _keep_listed(ledger: OpenLedger, store: _Store, sha256: bytes) -> None:
    """Keep the bundles past the sixteenth: an event names the list, and the list names them."""
    try:
        store.candidates.difference_update(
            listed_digests(ledger.evidence.get(sha256, max_bytes=MAX_LIST_BYTES))
        )
    except LedgerError:
        # Without the list nobody can say which bundles it named: everything stays until it is restored.
        store.candidates.clear()
