"""Statements that a hub signed itself, with a key that it holds: decided and chained by it, and checked here.

An observer's statements come the same way. They are in no chain, move no head and decide nothing.

The writer takes them only as it would have made them: chained to the heads as they are, and decided by the policy in force.
If a head has moved, the hub decides and signs again.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from ledger.entry import Entry, parse_entry
from ledger.errors import HeadMovedError, MalformedError, RejectedError
from ledger.event import Common, PlainStatement, Statement, VerificationEvent, parse_statement
from ledger.event.schemas import ACCOUNT_LINK, DERIVATION, MODEL_NOTICE, VERIFICATION_EVENT
from ledger.history import INITIAL, verified_digests
from ledger.policy import tofu
from ledger.recorder.drafts import Draft, following, state_of
from ledger.storage import Head
from ledger.storage.sqlite import event_key

TAKEN = (VERIFICATION_EVENT, MODEL_NOTICE, DERIVATION, ACCOUNT_LINK)
"""Types that change nothing beyond their histories. Keys, policies and erasures have steps of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """An envelope whose statement is one of this ledger and hub; its signature is not checked here."""

    entry: bytes
    parsed: Entry
    statement: Statement
    common: Common

    @property
    def key(self) -> bytes:
        """The key of its event id, in the space of whoever recorded it."""
        return event_key(self.common.recorded_by.id, self.common.event_id)

    @property
    def observer(self) -> str | None:
        """The id of the observer who recorded it, or None where that was the hub."""
        recorded_by = self.common.recorded_by
        return recorded_by.id if recorded_by.role == "observer" else None

    @property
    def names(self) -> tuple[str, ...]:
        """Its histories."""
        return tuple(link.key for link in self.common.histories)


def parse_signed(entry: bytes, *, ledger: str, hub: str) -> Signed:
    """Parse an envelope as it would stand in the log.

    Raises:
        MalformedError, LimitError: another form, or a type that is not taken. RejectedError: of another ledger or hub.
    """
    parsed = parse_entry(entry)
    statement = parse_statement(parsed.payload) if isinstance(parsed, Entry) else None
    if (
        not isinstance(parsed, Entry)
        or not isinstance(statement, (VerificationEvent, PlainStatement))
        or statement.predicate_type not in TAKEN
        or statement.common is None
    ):
        raise MalformedError(
            "signed entry",
            expected="a verification event, model notice, derivation or account link",
            actual="another statement" if statement is None else statement.predicate_type,
        )
    common = statement.common
    by = common.recorded_by
    # An observer with the hub's id would share the hub's space of event ids.
    right = by.id == hub if by.role == "hub" else by.id != hub and isinstance(statement, VerificationEvent)
    if (common.ledger, common.hub_id) != (ledger, hub) or not right:
        raise RejectedError(
            "signed entry",
            expected=f"ledger {ledger}, recorded by hub {hub}",
            actual=f"ledger {common.ledger}, recorded by {common.recorded_by.role} {common.recorded_by.id}",
            next_step="Send it to the ledger that it names",
        )
    return Signed(entry=entry, parsed=parsed, statement=statement, common=common)


def draft_of(signed: Signed, heads: dict[str, Head], *, place: int) -> Draft:
    """Check one against ``heads``, and move them. Raises HeadMovedError, RejectedError: other than we would decide."""
    if signed.observer is not None:
        return _draft_of_observer(signed, place=place)
    for link in signed.common.histories:
        head = heads.get(link.key)
        wanted = (0, None) if head is None else (head.sequence + 1, head.statement_sha256)
        if (link.sequence, link.previous) != wanted:
            raise HeadMovedError(
                f"head of {link.key}",
                expected=f"number {wanted[0]}, after the newest statement",
                actual=f"number {link.sequence}",
                next_step="Decide and sign again, against the heads in this answer",
            )
    verified = frozenset[bytes]()
    if isinstance(signed.statement, VerificationEvent):
        verified = verified_digests(signed.statement)
        _check_decision(signed.statement, verified, heads)
    sha256 = hashlib.sha256(signed.parsed.payload).digest()
    moved = []
    for name in signed.names:
        head = heads.get(name)
        state = INITIAL if head is None else state_of(name, head)
        after = (
            state.apply(signed.statement, verified)
            if isinstance(signed.statement, VerificationEvent)
            else state
        )
        moved.append((name, head, following(head, sha256, None if after is state else after.format())))
    heads.update([(name, after) for name, _, after in moved])
    return Draft(place, signed.statement, signed.parsed.payload, sha256, signed.key, moved)


def _draft_of_observer(signed: Signed, *, place: int) -> Draft:
    """Check what an observer says: it observed. Raises HeadMovedError: another policy; RejectedError: it decided."""
    if isinstance(
        signed.statement, VerificationEvent
    ):  # always: ``parse_signed`` takes no other from observers
        _check_policy(signed.statement)
        if signed.statement.policy.decision != "observed":
            raise RejectedError(
                "decision of an observer's event",
                expected="observed",
                actual=signed.statement.policy.decision,
                next_step="An observer says what it found; the hub alone decides",
            )
    sha256 = hashlib.sha256(signed.parsed.payload).digest()
    return Draft(place, signed.statement, signed.parsed.payload, sha256, signed.key, [])


def _check_policy(event: VerificationEvent) -> None:
    if event.policy.sha256 != tofu.POLICY_SHA256:
        raise HeadMovedError(
            "policy of the event",
            expected=f"{tofu.POLICY_SHA256.hex()}, which is in force",
            actual=event.policy.sha256.hex(),
            next_step="Decide and sign again, by the policy in this answer",
        )


def _check_decision(event: VerificationEvent, verified: frozenset[bytes], heads: Mapping[str, Head]) -> None:
    _check_policy(event)
    states = {name: state_of(name, heads.get(name)) for name in (link.key for link in event.common.histories)}
    decision = tofu.decide_signers(
        event,
        verified,
        repo=states.get(f"repo:{event.model.repo_id}"),
        name=states[f"name:{event.model.name}"],
    )
    if event.policy.decision != decision.decision or not set(decision.reasons) <= set(event.reasons):
        raise RejectedError(
            "decision of the event",
            expected=f"{decision.decision} {', '.join(decision.reasons)}".strip(),
            actual=f"{event.policy.decision} {', '.join(event.reasons)}".strip(),
            next_step="Decide as the policy says: its document is served by digest",
        )
