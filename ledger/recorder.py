"""record(): decide, sign, append, index, answer with a receipt. The one use case (architecture sections 1, 2).

What was found out about a revision (``ledger.verification``) comes in as facts. Decisions are made against the
heads that the log has now and are compared again inside the single writer: of two first uploads that race, one
is the first signer.
"""

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ledger import __version__
from ledger.encoding import format_base64
from ledger.entry import Entry, format_entry, keyid_of, pae, parse_entry
from ledger.errors import ConflictError, CorruptError, HeadMovedError, LedgerError, StorageError
from ledger.event import (
    MAX_STATEMENT_BYTES,
    Common,
    HistoryLink,
    ManifestRef,
    Model,
    PlainStatement,
    PolicyRef,
    RecordedBy,
    SignatureFact,
    Statement,
    VerificationEvent,
    Verifier,
    facts_digest,
    fit,
    format_statement,
    format_with_digest,
    parse_statement,
)
from ledger.event.fields import EVENT_ID
from ledger.event.schemas import DECISIONS, HUB_KEY
from ledger.history import INITIAL, history_keys, parse_state
from ledger.identity import Overflow
from ledger.index import Index, rows_of
from ledger.log import Admitted, Committed, Submission, View
from ledger.log.local import LocalLog
from ledger.policy import tofu
from ledger.storage import Head, StoredEvent
from ledger.storage.sqlite import event_key

_logger = logging.getLogger(__name__)

MAX_DECISIONS = 20
"""How often one event is decided again because its heads moved, before the caller is told to try later."""
_PARALLEL_FROM = 32
"""Statements below which handing signatures to threads costs more than it gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is to be recorded of one revision: the hub's own words and what verification found.

    ``event_id`` is the hub's idempotency key (1 to 128 bytes of 0x21-0x7E).
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

    def __post_init__(self) -> None:
        EVENT_ID.check(self.event_id, "event id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """An event that is durable at ``leaf_index``. ``repeated``: it was recorded before, with the same facts."""

    leaf_index: int
    event: VerificationEvent
    statement: bytes
    entry: bytes
    repeated: bool = False


_ALGORITHM = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSigner:
    """The hub's ECDSA P-256 key; signs deterministically (RFC 6979)."""

    key: ec.EllipticCurvePrivateKey
    keyid: str

    def sign_run(self, statements: Sequence[bytes]) -> list[bytes]:
        """Return the whole entries for a run of statements.

        Signing releases the interpreter lock: in a loop with nothing else in it, two threads share two cores.
        """
        encoded = [pae(statement) for statement in statements]
        signatures = [self.key.sign(data, _ALGORITHM) for data in encoded]
        return [
            format_entry(statement, keyid=self.keyid, signature=signature)
            for statement, signature in zip(statements, signatures, strict=True)
        ]


_VERIFIER = Verifier(name="hubledger", version=__version__)
_POLICY = {word: PolicyRef(sha256=tofu.POLICY_SHA256, decision=word) for word in DECISIONS}
_UNDECIDED = tofu.Decision(decision="observed")


@dataclass(slots=True)
class _Draft:
    """One statement on its way: decided, formatted, chained; not yet signed or admitted.

    ``heads``: for each history the head that the decision was made against, and the one that follows.
    """

    place: int
    event: Statement
    statement: bytes
    key: bytes
    facts_sha256: bytes
    heads: Sequence[tuple[str, Head | None, Head]]

    @property
    def sha256(self) -> bytes:
        """SHA-256 of the statement."""
        return self.heads[0][2].statement_sha256


_Answered = tuple[_Draft, bytes, Committed | LedgerError]


class Recorder:
    """Records verification events into one ledger. Thread-safe."""

    def __init__(
        self,
        *,
        ledger: str,
        hub: str,
        log: LocalLog,
        index: Index,
        signer: HubSigner,
        now: Callable[[], str],
        threads: int | None = None,
    ) -> None:
        self._ledger, self._hub = ledger, hub
        self._log, self._index, self._signer, self._now = log, index, signer, now
        self._recorded_by = RecordedBy(id=hub, role="hub")
        self._lock = threading.Lock()
        self._threads = threads or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="sign")
        self._mirror(())  # a crash after a commit leaves the index behind

    def record(self, facts: Facts) -> Receipt:
        """Record one event; durable on return.

        Raises:
            ConflictError: the event id stands for other facts.
            HeadMovedError: another writer kept changing this model's history.
            WriteError: nothing was recorded; the ledger must be opened again.
        """
        (answer,) = self.record_batch([facts])
        if isinstance(answer, LedgerError):
            raise answer
        return answer

    def record_batch(self, batch: Sequence[Facts]) -> list[Receipt | LedgerError]:
        """Record events in order, each answered on its own; all that succeeded are durable on return.

        Raises:
            StorageError: the log stopped; nothing that is not answered may be assumed.
        """
        answers: list[Receipt | LedgerError | None] = [None] * len(batch)
        with self._lock:
            for _ in range(MAX_DECISIONS):
                waiting = [place for place, answer in enumerate(answers) if answer is None]
                if not waiting:
                    break
                self._attempt(batch, waiting, answers)
        return [_moved_too_often() if answer is None else answer for answer in answers]

    def _attempt(
        self, batch: Sequence[Facts], waiting: Sequence[int], answers: list[Receipt | LedgerError | None]
    ) -> None:
        for draft, entry, result in self._submit(self._draft(batch, waiting, answers)):
            if isinstance(result, Committed) and isinstance(draft.event, VerificationEvent):
                answers[draft.place] = Receipt(
                    leaf_index=result.leaf_index, event=draft.event, statement=draft.statement, entry=entry
                )
            elif isinstance(result, LedgerError) and not isinstance(result, HeadMovedError):
                answers[draft.place] = result

    # Deciding

    def _draft(
        self, batch: Sequence[Facts], waiting: Sequence[int], answers: list[Receipt | LedgerError | None]
    ) -> list[_Draft]:
        """Decide in order; each event sees the heads as the events before it in this batch leave them."""
        keys = {place: event_key(self._hub, batch[place].event_id) for place in waiting}
        names = {
            place: history_keys(batch[place].model.name, batch[place].model.repo_id) for place in waiting
        }
        known, heads = self._log.lookup(
            list(keys.values()), list({name for each in names.values() for name in each})
        )
        drafted: dict[bytes, _Draft] = {}
        now = self._now()
        for place in waiting:
            key = keys[place]
            if key in drafted:
                continue  # the same id twice in one batch: the next attempt finds the first one recorded
            try:
                if (stored := known.get(key)) is not None:
                    answers[place] = self._repeat(batch[place], stored, now)
                    continue
                drafted[key] = self._decide(place, batch[place], key, names[place], heads, now)
            except StorageError:
                raise
            except LedgerError as error:
                answers[place] = error
                continue
            for name, _, head in drafted[key].heads:
                heads[name] = head
        return list(drafted.values())

    def _decide(  # noqa: PLR0917 - one caller, and the order of its own variables
        self, place: int, facts: Facts, key: bytes, names: tuple[str, ...], heads: dict[str, Head], now: str
    ) -> _Draft:
        before = [heads.get(name) for name in names]
        states = [INITIAL if head is None else parse_state(head.state) for head in before]
        repo = states[1] if len(states) > 1 else None  # "name:" sorts before "repo:"
        decision = tofu.decide(facts, repo=repo, name=states[0])
        event = self._event(facts, _links(names, before), now, decision)
        statement, digest = format_with_digest(event)
        if len(statement) > MAX_STATEMENT_BYTES:
            event = fit(event)
            statement, digest = format_with_digest(event)
        after = [
            head.state if head is not None and changed is state else changed.format()
            for head, state, changed in zip(
                before, states, [each.apply(event) for each in states], strict=True
            )
        ]
        return _Draft(place, event, statement, key, digest, _heads(names, before, statement, after))

    def _event(
        self, facts: Facts, links: tuple[HistoryLink, ...], now: str, decision: tofu.Decision
    ) -> VerificationEvent:
        common = Common(
            ledger=self._ledger,
            hub_id=self._hub,
            recorded_by=self._recorded_by,
            histories=links,
            event_id=facts.event_id,
            recorded_at=now,
        )
        return VerificationEvent(
            common=common,
            model=facts.model,
            trigger=facts.trigger,
            manifest=facts.manifest,
            uploader_account=facts.uploader_account,
            signatures=facts.signatures,
            more_signatures=facts.more_signatures,
            outcome=facts.outcome,
            policy=_POLICY[decision.decision],
            reasons=(*facts.reasons, *decision.reasons),
            verified_at=now,
            verifier=_VERIFIER,
        )

    def _repeat(self, facts: Facts, stored: StoredEvent, now: str) -> Receipt:
        """Answer a retry with the first receipt, if the facts are the same."""
        entry = next(iter(self._log.read(stored.leaf_index, stored.leaf_index + 1)))
        parsed = parse_entry(entry)
        event = parse_statement(parsed.payload) if isinstance(parsed, Entry) else None
        if not isinstance(parsed, Entry) or not isinstance(event, VerificationEvent):
            raise CorruptError(
                f"event at leaf {stored.leaf_index}", expected="a verification event", actual="another"
            )
        again = fit(self._event(facts, event.common.histories, now, _UNDECIDED))
        if facts_digest(again) != stored.facts_sha256:
            raise ConflictError(
                f"event id {facts.event_id}",
                expected=f"the facts recorded at leaf {stored.leaf_index}",
                actual="other facts",
                next_step="Give a new event id (--event-id) to a new observation, also to one with other keys",
            )
        return Receipt(
            leaf_index=stored.leaf_index, event=event, statement=parsed.payload, entry=entry, repeated=True
        )

    # Doing

    def _submit(self, drafts: Sequence[_Draft]) -> list[_Answered]:
        """Sign and append drafts, and mirror what was committed."""
        if not drafts:
            return []
        entries = self._sign([draft.statement for draft in drafts])
        results = self._log.append(
            [_submission(draft, entry) for draft, entry in zip(drafts, entries, strict=True)]
        )
        answered = list(zip(drafts, entries, results, strict=True))
        self._mirror(answered)
        return answered

    def _sign(self, statements: Sequence[bytes]) -> list[bytes]:
        if len(statements) < _PARALLEL_FROM:
            return self._signer.sign_run(statements)
        step = -(-len(statements) // self._threads)
        runs = [statements[at : at + step] for at in range(0, len(statements), step)]
        return [entry for run in self._pool.map(self._signer.sign_run, runs) for entry in run]

    def _mirror(self, answered: Sequence[_Answered]) -> None:
        """Bring the index up to the log. It is derived: a failure here must not fail what is recorded."""
        try:
            start = self._index.position()
            new = [
                (draft, result.leaf_index) for draft, _, result in answered if isinstance(result, Committed)
            ]
            if new and new[0][1] == start and new[-1][1] == start + len(new) - 1:
                self._index.add(rows_of(start, ((draft.sha256, draft.event) for draft, _ in new)))
            elif start < self._log.size:
                self._index.catch_up(self._log.read(start, self._log.size), start)
        except LedgerError as error:
            _logger.warning("the index is behind the log (events are recorded): %s", error)

    def announce_key(self, spki: bytes) -> int:
        """Record ``hub-key/v1`` number 0: the hub's first key, signed by itself; trusted through trust files only.

        Returns its leaf index.

        Raises:
            ConflictError: a key was announced before.
        """
        with self._lock:
            _, heads = self._log.lookup([], ["hub:"])
            if heads:
                raise ConflictError(
                    "first key of the hub",
                    expected="an empty hub: history",
                    actual="a key before it",
                    next_step="Use the ledger as it is: its key was announced when it was made",
                )
            ((_, _, result),) = self._submit([self._key_draft(spki)])
        if isinstance(result, LedgerError):
            raise result
        return result.leaf_index

    def _key_draft(self, spki: bytes) -> _Draft:
        keyid = keyid_of(spki)
        common = Common(
            ledger=self._ledger,
            hub_id=self._hub,
            recorded_by=self._recorded_by,
            histories=(HistoryLink(key="hub:", sequence=0),),
            event_id=f"hub-key-{keyid[:16]}",
            recorded_at=self._now(),
        )
        statement = PlainStatement(
            predicate_type=HUB_KEY,
            common=common,
            fields={
                "keyid": keyid,
                "spki": format_base64(spki),
                "state": "added",
                "holder": self._hub,
                "role": "hub",
            },
        )
        payload = format_statement(statement)
        heads = _heads(("hub:",), [None], payload, [INITIAL.format()])
        return _Draft(
            0, statement, payload, event_key(self._hub, common.event_id), facts_digest(statement), heads
        )

    def close(self) -> None:
        """Stop the signing threads."""
        self._pool.shutdown()


def _links(names: Sequence[str], before: Sequence[Head | None]) -> tuple[HistoryLink, ...]:
    return tuple(
        [
            HistoryLink(key=name, sequence=0)
            if head is None
            else HistoryLink(key=name, sequence=head.sequence + 1, previous=head.statement_sha256)
            for name, head in zip(names, before, strict=True)
        ]
    )


def _heads(
    names: Sequence[str], before: Sequence[Head | None], statement: bytes, states: Sequence[bytes]
) -> list[tuple[str, Head | None, Head]]:
    sha256 = hashlib.sha256(statement).digest()
    return [
        (name, head, Head(sequence=head.sequence + 1 if head else 0, statement_sha256=sha256, state=state))
        for name, head, state in zip(names, before, states, strict=True)
    ]


def _submission(draft: _Draft, entry: bytes) -> Submission:
    """Return the entry with its admission: inside the writer, the id must be new and no head may have moved."""

    def admit(view: View, leaf_index: int) -> Admitted:
        if draft.key in view.events:
            raise HeadMovedError("event id", expected="a new one", actual="one recorded meanwhile")
        for name, before, _ in draft.heads:
            now = view.heads.get(name)
            if now is not before and now != before:
                raise HeadMovedError(
                    f"head of {name}", expected="the one decided against", actual="a later one"
                )
        return Admitted(
            events=((draft.key, StoredEvent(leaf_index=leaf_index, facts_sha256=draft.facts_sha256)),),
            heads=[(name, after) for name, _, after in draft.heads],
        )

    return Submission(
        entry=entry, event_keys=(draft.key,), histories=[name for name, _, _ in draft.heads], admit=admit
    )


def _moved_too_often() -> HeadMovedError:
    return HeadMovedError(
        "recording",
        expected=f"a stable head within {MAX_DECISIONS} decisions",
        actual="heads that kept moving",
        next_step="Try again with the same event id",
    )
