"""What verification events are held against each other by: a row of plain values. Pure.

It is small, and one process can hand it to another; the event itself is parsed where somebody asks for more.
"""

import hashlib
from datetime import datetime
from typing import NamedTuple

from ledger.event import Common, VerificationEvent
from ledger.event.readable import readable_name
from ledger.history import counts, repo_key, verified_signers
from ledger.identity import signer_digest
from monitor.signers import format_signers

Links = tuple[tuple[str, int | None, bytes | None], ...]
"""Places in chains: the history, the sequence, the SHA-256 of the statement before."""


class EventFacts(NamedTuple):
    """What a verification event is held against others by; plain values, and tuples of them.

    ``repo`` is its ``repo:`` history, ``revision_key`` stands for its revision. ``verified`` are the hex digests of everybody whose
    signature verified, sorted; ``signed_by`` is who signed a verified event, as one text (``monitor.signers``). ``counts``: later
    events are compared with this one.
    """

    ledger: str
    hub: str
    role: str
    recorder: str
    event_id: str
    links: Links
    name: str
    repo: str | None
    revision: str
    revision_key: bytes
    manifest: bytes
    trigger: str
    outcome: str
    decision: str
    policy: bytes
    reasons: tuple[str, ...]
    verified_at: str
    verified: tuple[str, ...]
    signed_by: str
    counts: bool

    @property
    def shown_name(self) -> str:
        """The model's name for people. Programs, and people who look it up, go by ``name``."""
        return readable_name(self.name)

    @property
    def signers(self) -> tuple[str, ...]:
        """The hex digests of the identities that signed a verified event."""
        return self.verified if self.outcome == "VERIFIED" else ()


def facts_of(event: VerificationEvent) -> EventFacts:
    """Return what an event is held against others by."""
    common, model = event.common, event.model
    return EventFacts(
        ledger=common.ledger,
        hub=common.hub_id,
        role=common.recorded_by.role,
        recorder=common.recorded_by.id,
        event_id=common.event_id,
        links=links_of(common),
        name=model.name,
        repo=repo_key(event),
        revision=model.revision,
        revision_key=revision_key_of(model.name, model.repo_id, model.revision),
        manifest=event.manifest.sha256,
        trigger=event.trigger,
        outcome=event.outcome,
        decision=event.policy.decision,
        policy=event.policy.sha256,
        reasons=event.reasons,
        verified_at=event.verified_at,
        verified=_verified(event),
        signed_by=format_signers(verified_signers(event)),
        counts=counts(event),
    )


def links_of(common: Common) -> Links:
    """Return the places of a statement in the chains of its histories."""
    return tuple([(link.key, link.sequence, link.previous) for link in common.histories])


def _verified(event: VerificationEvent) -> tuple[str, ...]:
    found = {
        signer_digest(each.signer).hex()
        for each in event.signatures
        if each.outcome == "VERIFIED" and each.signer is not None
    }
    return tuple(sorted(found))


def revision_key_of(name: str, repo_id: str | None, revision: str) -> bytes:
    """Return the key of a revision by its parts."""
    of = f"repo:{repo_id}" if repo_id is not None else f"name:{name}"
    return hashlib.sha256(f"{of}\n{revision}".encode()).digest()[:16]


def seconds_of(time: str) -> int | None:
    """Return POSIX seconds of a time in the form of statements; None for the 31st of February."""
    try:
        return int(datetime.fromisoformat(time).timestamp())
    except ValueError:
        return None
