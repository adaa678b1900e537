"""The same content under other names: which events have these files, or this one file (``hubledger history``).

The digest index says where to look; what is shown comes from the log, each entry checked against its leaf hash. Content
signed by one and uploaded by another is normal (forks, copies); it is told as a fact and makes nobody an owner.
"""

import pathlib
from collections.abc import Iterable
from typing import Any

from ledger.digests import DigestIndex
from ledger.embedded.directory import ReadLedger, open_for_reading
from ledger.embedded.reading import read_statement_at
from ledger.errors import NotFoundError
from ledger.event import VerificationEvent
from ledger.event.digests import Use
from ledger.history import verified_identities
from ledger.identity import display

MAX_EVENTS = 10_000
"""Events of one answer; more are counted and not listed."""


def events_with_content(directory: pathlib.Path, sha256: bytes) -> dict[str, Any]:
    """Return the events whose content (the files without signatures) or whole manifest has this digest, in log order.

    Raises:
        NotFoundError: there is none.
    """
    ledger = open_for_reading(directory)
    index = DigestIndex(ledger.layout.digests, read_only=True)
    try:
        return find_content(ledger, index, sha256)
    finally:
        index.close()


def find_content(
    ledger: ReadLedger, index: DigestIndex, sha256: bytes, *, most: int = MAX_EVENTS
) -> dict[str, Any]:
    """As ``events_with_content``, of a ledger that is open; at most so many are listed."""
    leaves = {each.leaf_index for each in index.namings(sha256) if each.use in (Use.CONTENT, Use.MANIFEST)}
    return _answer(ledger, index, leaves, f"content {sha256.hex()}", most)


def events_with_file(directory: pathlib.Path, sha256: bytes) -> dict[str, Any]:
    """Return the events whose manifest lists a file with this digest, in log order.

    A manifest that was withdrawn, or is missing, lists nothing.

    Raises:
        NotFoundError: there is none.
    """
    ledger = open_for_reading(directory)
    index = DigestIndex(ledger.layout.digests, read_only=True)
    try:
        return find_file(ledger, index, sha256)
    finally:
        index.close()


def find_file(
    ledger: ReadLedger, index: DigestIndex, sha256: bytes, *, most: int = MAX_EVENTS
) -> dict[str, Any]:
    """As ``events_with_file``, of a ledger that is open; at most so many are listed."""
    leaves = {
        each.leaf_index
        for manifest in index.manifests_with(sha256)
        for each in index.namings(manifest)
        if each.use is Use.MANIFEST
    }
    return _answer(ledger, index, leaves, f"file {sha256.hex()}", most)


def _answer(
    ledger: ReadLedger, index: DigestIndex, leaves: Iterable[int], what: str, most: int
) -> dict[str, Any]:
    size = ledger.size()
    mirrored = index.position()
    found = sorted(each for each in leaves if each < size)
    if not found:
        behind = f", of which {size - mirrored} are not mirrored yet" if mirrored < size else ""
        raise NotFoundError(
            what,
            expected="a recorded event",
            actual=f"none among {size} leaves{behind}",
            next_step="Run `hubledger index rebuild`" if behind else "Digests are SHA-256, as in a manifest",
        )
    return {
        "events": [event_facts(ledger, each, size) for each in found[:most]],
        "count": len(found),
        "mirrored": mirrored,
        "size": size,
    }


def event_facts(ledger: ReadLedger, leaf_index: int, size: int) -> dict[str, Any]:
    """Return what people are shown of the event at a leaf, wherever it was found."""
    event = read_statement_at(ledger, leaf_index, size)
    facts: dict[str, Any] = {"leafIndex": leaf_index}
    if ledger.accepted is not None:
        from ledger.embedded.remote import fate_facts

        facts = fate_facts(ledger.accepted.fate(leaf_index))
    if not isinstance(event, VerificationEvent):
        return facts
    facts |= {
        "recordedAt": event.common.recorded_at,
        "eventId": event.common.event_id,
        "name": event.model.name,
        "revision": event.model.revision,
        "outcome": event.outcome,
        "decision": event.policy.decision,
        "signedBy": [display(each) for each in verified_identities(event)],
        "contentSha256": event.manifest.content_sha256.hex(),
    }
    if event.uploader_account is not None:
        facts["uploadedBy"] = event.uploader_account
    if event.common.recorded_by.role == "observer":
        facts["observer"] = event.common.recorded_by.id
    return facts
