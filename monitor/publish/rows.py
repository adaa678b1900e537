"""What each entry says, as published: a fold over a log's statements, in log order. Pure.

Changes of signer are those of ``history`` and of the findings, because ``ledger.history`` decides them for all three. What is
not signed by a key that may sign there, or is of another ledger, is listed as such and moves nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ledger.client.trust import TrustFile
from ledger.event import VerificationEvent
from ledger.history import (
    INITIAL,
    HistoryState,
    Standing,
    counts,
    history_keys,
    verified_digests,
    verified_identities,
)
from ledger.identity import display
from ledger.server.words import CHANGED, SIGNED, UNSIGNED, UNVERIFIED, signers_of
from monitor.reads import Read

NOT_ACCEPTED = "Not accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """What later entries of one history are held against."""

    pins: HistoryState = INITIAL
    standing: Standing = field(default_factory=Standing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One entry as it is published. ``models`` are the recorded names of the histories that it is shown in."""

    leaf_index: int
    facts: Mapping[str, Any]
    models: tuple[str, ...] = ()
    signers: Mapping[str, str] = field(default_factory=dict)
    histories: tuple[str, ...] = ()


class Fold:
    """Folds the entries of one log. ``states`` holds what the keys of a run need, and afterwards what they came to."""

    def __init__(self, trust: TrustFile, states: dict[str, KeyState], *, refused: frozenset[int]) -> None:
        self._trust, self.states, self._refused = trust, states, refused
        self.changed: set[str] = set()

    def apply(self, read: Read) -> Published:
        """Return what is published of an entry, and remember what it moves."""
        facts: dict[str, Any] = {"leafIndex": read.leaf_index}
        if read.problem is not None:
            return Published(
                leaf_index=read.leaf_index,
                facts={**facts, "standing": NOT_ACCEPTED, "why": "It cannot be read"},
            )
        statement = read.statement
        if statement is None:
            return Published(leaf_index=read.leaf_index, facts={**facts, "standing": "Map commit"})
        common = statement.common
        facts |= {"type": statement.predicate_type}
        why = ""
        if read.leaf_index in self._refused:
            why = "It is not signed by a key that may sign there"
        elif common is None or (common.ledger, common.hub_id) != (self._trust.ledger, self._trust.hub):
            why = "It is not of this ledger"
        if why or common is None:
            return Published(
                leaf_index=read.leaf_index,
                facts={**facts, "standing": NOT_ACCEPTED, "why": why},
                histories=read.histories,
            )
        facts |= {"recordedAt": common.recorded_at, "eventId": common.event_id}
        if common.recorded_by.role != "hub":
            facts["observer"] = common.recorded_by.id
        signers: dict[str, str] = {}
        if isinstance(statement, VerificationEvent):
            facts |= self._event(statement)
            signers = {each["identity"]: each["name"] for each in facts["signers"] if each["verified"]}
        else:
            facts["standing"] = statement.predicate_type.removeprefix("https://hubledger/")
        return Published(
            leaf_index=read.leaf_index,
            facts=facts,
            models=tuple(key.removeprefix("name:") for key in read.histories if key.startswith("name:")),
            signers=signers,
            histories=read.histories,
        )

    def _event(self, event: VerificationEvent) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "name": event.model.name,
            "revision": event.model.revision,
            "outcome": event.outcome,
            "decision": event.policy.decision,
            "reasons": list(event.reasons),
            "signers": signers_of(event),
            "manifestSha256": event.manifest.sha256.hex(),
            "contentSha256": event.manifest.content_sha256.hex(),
        }
        if event.model.repo_id is not None:
            facts["repoId"] = event.model.repo_id
        if event.model.is_proposal:
            facts["proposal"] = True
        if event.uploader_account is not None:
            facts["uploadedBy"] = event.uploader_account
        change, by_pinned = self._move(event) if counts(event) else (None, None)
        if change is not None:
            facts["change"] = change
        if by_pinned is not None:
            facts["byPinned"] = by_pinned
        who = " and ".join(display(each) for each in verified_identities(event))
        if event.outcome == "VERIFIED":
            word = CHANGED if change is not None or by_pinned is False else SIGNED
            return facts | {
                "word": word,
                "standing": f"{word}: {who}" if word == CHANGED else f"{word} {who}",
            }
        word = UNVERIFIED if event.signatures else UNSIGNED
        return facts | {"word": word, "standing": word}

    def _move(self, event: VerificationEvent) -> tuple[str | None, bool | None]:
        """Return what changed, and whether somebody pinned signed; an event is held against the pin before it."""
        keys = history_keys(event.model.name, event.model.repo_id)
        before = self._pin(keys)
        digests = verified_digests(event)
        for key in keys:
            known = self.states.get(key, KeyState())
            self._set(key, KeyState(pins=known.pins.apply(event, digests), standing=known.standing))
        pin = before or self._pin(keys)
        name = f"name:{event.model.name}"
        known = self.states.get(name, KeyState())
        standing, changes = known.standing.apply(event)
        self._set(name, KeyState(pins=known.pins, standing=standing))
        return ". ".join(each.text for each in changes) or None, bool(pin & digests) if pin else None

    def _pin(self, keys: tuple[str, ...]) -> frozenset[bytes]:
        """The pin of the ``repo:`` history, else that of the ``name:`` history (section 2)."""
        pins = [self.states.get(key, KeyState()).pins.pin for key in reversed(keys)]
        return next((each for each in pins if each), frozenset())

    def _set(self, key: str, state: KeyState) -> None:
        if state != self.states.get(key):
            self.states[key] = state
            self.changed.add(key)
