"""From facts to statements: decided against the heads, chained, formatted, and admitted inside the writer."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field

from ledger import __version__
from ledger.encoding import Json
from ledger.errors import CorruptError, HeadMovedError, MalformedError
from ledger.event import (
    MAX_STATEMENT_BYTES,
    Common,
    HistoryLink,
    ManifestRef,
    Model,
    PlainStatement,
    PolicyRef,
    PreparedFacts,
    RecordedBy,
    SignatureFact,
    Statement,
    VerificationEvent,
    Verifier,
    check_outcome,
    fit,
    format_statement,
    prepare_facts,
)
from ledger.event.fields import EVENT_ID, quick_check
from ledger.event.schemas import DECISIONS, STATEMENTS, VERIFICATION_EVENT
from ledger.history import INITIAL, HistoryState, history_keys, parse_state, verified_digests
from ledger.identity import Overflow
from ledger.log import Admitted, Submission, View
from ledger.policy import tofu
from ledger.storage import Head
from ledger.storage.sqlite import event_key

_CHECKS = {
    name: quick_check(kind)
    for table in (STATEMENTS[VERIFICATION_EVENT].required, STATEMENTS[VERIFICATION_EVENT].optional)
    for name, kind in table.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is to be recorded of one revision: the hub's own words and what verification found.

    ``event_id`` is the hub's idempotency key (1 to 128 bytes of 0x21-0x7E). Facts exist only if a statement can hold
    them: what is recorded is recorded for ever, also if no reader would accept it. ``parts``: the JSON that model,
    manifest and signatures were built from; it is checked, and written, in the place of theirs.

    Raises:
        MalformedError: a field that is not what docs/spec/event.md says, or an outcome that is not the signatures'.
    """

    event_id: str
    model: Model
    manifest: ManifestRef
    outcome: str
    signatures: tuple[SignatureFact, ...] = ()
    more_signatures: Overflow | None = None
    reasons: tuple[str, ...] = ()
    trigger: str = "upload"
    uploader_account: str | None = None
    parts: InitVar[Mapping[str, Json] | None] = None
    prepared: PreparedFacts | None = field(init=False, compare=False, repr=False)

    def __post_init__(self, parts: Mapping[str, Json] | None) -> None:
        EVENT_ID.check(self.event_id, "event id")
        if parts is None:
            parts = {
                "model": self.model.as_json(),
                "manifest": self.manifest.as_json(),
                "signatures": [each.as_json() for each in self.signatures],
            }
        values: dict[str, Json] = {
            "model": parts["model"],
            "trigger": self.trigger,
            "manifest": parts["manifest"],
            "uploader": {} if self.uploader_account is None else {"account": self.uploader_account},
            "signatures": parts["signatures"],
            "outcome": self.outcome,
        }
        for name, value in values.items():
            _CHECKS[name](value, name)
        _CHECKS["reasons"](list(self.reasons), "reasons")
        if self.more_signatures is not None:
            values["moreSignatures"] = self.more_signatures.as_json()
        object.__setattr__(self, "prepared", prepare_facts(values))
        check_outcome(self.outcome, self.signatures, self.more_signatures)


@dataclass(slots=True)
class Draft:
    """One statement on its way: decided, formatted, chained; not yet signed or admitted.

    ``heads``: for each history the head that the decision was made against, and the one that follows.
    """

    place: int
    event: Statement
    statement: bytes
    sha256: bytes
    key: bytes
    heads: Sequence[tuple[str, Head | None, Head]]

    def submission(self, entry: bytes) -> Submission:
        """Return the signed entry with its admission: the id must be new, and no head may have moved."""
        return Submission(
            entry=entry,
            event_keys=(self.key,),
            histories=[name for name, _, _ in self.heads],
            admit=self._admit,
        )

    def _admit(self, view: View, _leaf_index: int) -> Admitted:
        if self.key in view.events:
            raise HeadMovedError("event id", expected="a new one", actual="one recorded meanwhile")
        for name, before, _ in self.heads:
            now = view.heads.get(name)
            if now is not before and now != before:
                raise HeadMovedError(
                    f"head of {name}", expected="the one decided against", actual="a later one"
                )
        return Admitted(events=(self.key,), heads=[(name, after) for name, _, after in self.heads])


_VERIFIER = Verifier(name="hubledger", version=__version__)
_POLICY = {word: PolicyRef(sha256=tofu.POLICY_SHA256, decision=word) for word in DECISIONS}
UNDECIDED = tofu.Decision(decision="observed")


class Drafter:
    """Writes the statements of one hub into one ledger."""

    def __init__(self, *, ledger: str, hub: str, now: Callable[[], str]) -> None:
        self.ledger, self.hub, self.now = ledger, hub, now
        self._recorded_by = RecordedBy(id=hub, role="hub")

    def key_of(self, facts: Facts) -> bytes:
        """Return the key of an event id in this hub's space."""
        return event_key(self.hub, facts.event_id)

    def decide(self, place: int, facts: Facts, *, key: bytes, heads: dict[str, Head], now: str) -> Draft:
        """Decide about one event against ``heads``, and move them.

        Raises:
            MalformedError, LimitError: facts that no statement can hold. CorruptError: a damaged head.
        """
        names = history_keys(facts.model.name, facts.model.repo_id)
        before = [heads.get(name) for name in names]
        states = [state_of(name, head) for name, head in zip(names, before, strict=True)]
        verified = verified_digests(facts)
        decision = tofu.decide_signers(
            facts,
            verified,
            repo=states[1] if len(states) > 1 else None,  # "name:" sorts before "repo:"
            name=states[0],
        )
        event = self.event(facts, _links(names, before), now=now, decision=decision)
        statement = format_statement(event)
        if len(statement) > MAX_STATEMENT_BYTES:
            event = fit(event)
            statement = format_statement(event)
        sha256 = hashlib.sha256(statement).digest()
        moved = []
        for name, head, state in zip(names, before, states, strict=True):
            after = state.apply(event, verified)
            moved.append((name, head, following(head, sha256, None if after is state else after.format())))
        heads.update([(name, following) for name, _, following in moved])
        return Draft(place, event, statement, sha256, key, moved)

    def event(
        self, facts: Facts, links: tuple[HistoryLink, ...], *, now: str, decision: tofu.Decision
    ) -> VerificationEvent:
        """Return the event of these facts at one place in its histories."""
        return VerificationEvent(
            common=self._common(facts.event_id, links, now),
            model=facts.model,
            trigger=facts.trigger,
            manifest=facts.manifest,
            uploader_account=facts.uploader_account,
            signatures=facts.signatures,
            more_signatures=facts.more_signatures,
            outcome=facts.outcome,
            policy=_POLICY[decision.decision],
            reasons=facts.reasons + decision.reasons,
            verified_at=now,
            verifier=_VERIFIER,
            prepared=facts.prepared,
        )

    def plain(
        self,
        predicate_type: str,
        fields: Mapping[str, Json],
        *,
        event_id: str,
        heads: Sequence[tuple[str, Head | None]],
    ) -> Draft:
        """Return a statement that decides nothing and leaves the state of its histories, given with their heads, as it is.

        Raises:
            MalformedError: fields that this type does not have.
        """
        links = _links([name for name, _ in heads], [head for _, head in heads])
        statement = PlainStatement(
            predicate_type=predicate_type, common=self._common(event_id, links, self.now()), fields=fields
        )
        payload = format_statement(statement)
        sha256 = hashlib.sha256(payload).digest()
        moved = [(name, head, following(head, sha256, None)) for name, head in heads]
        return Draft(0, statement, payload, sha256, event_key(self.hub, event_id), moved)

    def _common(self, event_id: str, links: tuple[HistoryLink, ...], now: str) -> Common:
        return Common(
            ledger=self.ledger,
            hub_id=self.hub,
            recorded_by=self._recorded_by,
            histories=links,
            event_id=event_id,
            recorded_at=now,
        )


_INITIAL = INITIAL.format()


def following(head: Head | None, sha256: bytes, state: bytes | None) -> Head:
    """Return the head after a statement; ``state`` None: as it was."""
    if head is None:
        return Head(sequence=0, statement_sha256=sha256, state=_INITIAL if state is None else state)
    return Head(
        sequence=head.sequence + 1, statement_sha256=sha256, state=head.state if state is None else state
    )


def state_of(name: str, head: Head | None) -> HistoryState:
    """Return what a history has established; damage is a CorruptError. Nobody who records has said it, so damage is not the caller's fault."""
    if head is None:
        return INITIAL
    try:
        return parse_state(head.state)
    except MalformedError as error:
        raise CorruptError(
            f"head {name} in the commit store",
            expected=error.expected,
            actual=error.actual,
            next_step="Stop the writer: its decisions would rest on damaged heads; restore the newest copy",
        ) from error


def _links(names: Sequence[str], before: Sequence[Head | None]) -> tuple[HistoryLink, ...]:
    return tuple(
        [
            HistoryLink(key=name, sequence=0)
            if head is None
            else HistoryLink(key=name, sequence=head.sequence + 1, previous=head.statement_sha256)
            for name, head in zip(names, before, strict=True)
        ]
    )
