"""record(): decide, sign, append, index, answer with a receipt. The one use case (architecture sections 1, 2).

What was found out about a revision (``ledger.verification``) comes in as facts. Decisions are made against the
heads that the log has now and are compared again inside the single writer: of two first uploads that race, one
is the first signer.
"""

import contextlib
import gc
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ledger.encoding import Json, format_base64
from ledger.entry import Entry, keyid_of, parse_entry
from ledger.errors import (
    ConflictError,
    CorruptError,
    HeadMovedError,
    InputError,
    LedgerError,
    StorageError,
)
from ledger.event import PlainStatement, Statement, VerificationEvent, facts_digest, fit, parse_statement
from ledger.event.schemas import HUB_KEY, SUCCESSION
from ledger.history import history_keys
from ledger.index import Index
from ledger.log import Committed, Journal
from ledger.log.group import MAX_BATCH_ENTRIES, GroupCommit
from ledger.log.local import LocalLog
from ledger.recorder.drafts import UNDECIDED, Draft, Drafter, Facts
from ledger.recorder.mirroring import Answered, Mirroring, NamedLeaves
from ledger.recorder.signing import Signer
from ledger.recorder.signing_batch import BatchSigning
from ledger.recorder.submitted import Signed, draft_of
from ledger.storage.sqlite import event_key
from ledger.tlog.checkpoint import VerifiedCheckpoint

MAX_DECISIONS = 20
"""How often one event is decided again because its heads moved, before the caller is told to try later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """An event that is durable at ``leaf_index``. ``repeated``: it was recorded before, with the same facts."""

    leaf_index: int
    event: VerificationEvent
    statement: bytes
    entry: bytes
    repeated: bool = False


JournalT = TypeVar("JournalT", bound=Journal)
Answer = Receipt | LedgerError


class Recorder(Generic[JournalT]):
    """Records verification events into one ledger. Thread-safe: callers that arrive together are committed together."""

    def __init__(
        self,
        *,
        ledger: str,
        hub: str,
        log: JournalT,
        index: Index,
        signer: Signer,
        now: Callable[[], str],
        threads: int | None = None,
        told: Callable[[Sequence[Statement]], None] | None = None,
    ) -> None:
        self._log, self._told = log, told
        self._drafter = Drafter(ledger=ledger, hub=hub, now=now)
        self._lock = threading.Lock()
        self._waiting: GroupCommit[Facts, Answer] = GroupCommit(
            self._lock, self._record, limit=MAX_BATCH_ENTRIES
        )
        self._signing = BatchSigning(signer, threads=threads)
        self._damage: CorruptError | None = None
        self._mirroring = Mirroring(index, log)

    def record(self, facts: Facts) -> Receipt:
        """Record one event; durable on return.

        Raises:
            ConflictError: the event id stands for other facts.
            HeadMovedError: another writer kept changing this model's history.
            WriteError: nobody can say whether it was recorded; open the ledger again, and record with the same id.
        """
        (answer,) = self.record_batch([facts])
        if isinstance(answer, LedgerError):
            raise answer
        return answer

    def record_batch(self, batch: Sequence[Facts]) -> list[Answer]:
        """Record events in order, each answered on its own; all that succeeded are durable on return.

        Raises:
            StorageError: the log stopped; nothing that is not answered may be assumed.
        """
        return self._waiting.submit(batch)

    def publish(self: "Recorder[LocalLog]") -> VerifiedCheckpoint:
        """Publish what is durable, then bring the index up to it. Raises what ``LocalLog.publish`` raises.

        Only where the log is ours: what is accepted for another one is submitted by its dispatcher.
        """
        checkpoint = self._log.publish()
        with self._lock:
            self._mirroring.hand_over()
        return checkpoint

    def await_index(self) -> None:
        """Wait until the index has what was published last, or could not be brought up to it; nobody who records waits."""
        self._mirroring.await_index()

    def flush_index(self) -> None:
        """Bring the index up to what is durable, and wait for it; for whoever is about to read it."""
        with self._lock:
            self._mirroring.hand_over()
        self.await_index()

    def take_named(self) -> NamedLeaves | None:
        """Return, once, what was recorded since the last call; where too much came together, the newest part of it.

        What is missing before it is in the log.
        """
        with self._lock:
            return self._mirroring.take_named()

    def begin(self, spki: bytes, *, succession: Mapping[str, Json] | None = None) -> int:
        """Record what a ledger begins with; returns the leaf index of the ``hub-key/v1`` that announces its key.

        Readers trust that key through trust files only. Before it stands ``succession``, the fields of ``succession/v1``,
        in a log that continues another.

        Raises:
            ConflictError: a key was announced before. MalformedError: fields that a succession does not have.
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
        if succession is not None:
            named = hashlib.sha256(str(succession["finalCheckpoint"]).encode()).hexdigest()
            self.record_statement(
                SUCCESSION, succession, histories=["hub:"], event_id=f"succession-{named[:16]}"
            )
        keyid = keyid_of(spki)
        fields = {
            "keyid": keyid,
            "spki": format_base64(spki),
            "state": "added",
            "holder": self._drafter.hub,
            "role": "hub",
        }
        return self.record_statement(
            HUB_KEY, fields, histories=["hub:"], event_id=f"hub-key-{keyid[:16]}"
        ).leaf_index

    def record_statement(
        self, predicate_type: str, fields: Mapping[str, Json], *, histories: Sequence[str], event_id: str
    ) -> Committed:
        """Record a statement that decides nothing, in these histories; durable on return.

        It leaves the state of each history as it is. The same id with the same facts returns the first position.

        Raises:
            ConflictError: the event id stands for other facts. MalformedError: fields that this type does not have.
            HeadMovedError: another writer kept changing these histories.
            WriteError: nothing was recorded; the ledger must be opened again.
        """
        names = sorted(set(histories))
        key = event_key(self._drafter.hub, event_id)
        with self._lock, self._trusting_storage():
            for _ in range(MAX_DECISIONS):
                known, heads = self._log.lookup([key], names)
                draft = self._drafter.plain(
                    predicate_type,
                    fields,
                    event_id=event_id,
                    heads=[(name, heads.get(name)) for name in names],
                )
                if (leaf_index := known.get(key)) is not None:
                    if facts_digest(self._stored(leaf_index).statement) != facts_digest(draft.event):
                        raise _other_facts(event_id, leaf_index)
                    return Committed(leaf_index=leaf_index)
                ((_, _, result),) = self._submit([draft])
                if isinstance(result, Committed):
                    return result
                if not isinstance(result, HeadMovedError):
                    raise result
        raise _moved_too_often()

    def submit(self, signed: Sequence[Signed]) -> list[int]:
        """Append statements that the hub signed itself, all of them or none; durable on return.

        One that is recorded already, with the same facts, returns its first position.

        Raises:
            HeadMovedError: a head, or the policy, is another than it was signed against. RejectedError: another decision.
            ConflictError: an event id stands for other facts. WriteError: nothing of it was answered.
        """
        with self._lock, self._trusting_storage():
            known, heads = self._log.lookup(
                [each.key for each in signed], list({name for each in signed for name in each.names})
            )
            drafts, leaves = [], dict[int, int]()
            for place, each in enumerate(signed):
                if (leaf_index := known.get(each.key)) is not None:
                    if facts_digest(self._stored(leaf_index).statement) != facts_digest(each.statement):
                        raise _other_facts(each.common.event_id, leaf_index)
                    leaves[place] = leaf_index
                else:
                    drafts.append(draft_of(each, heads, place=place))
            # All of them hold, and nobody else appends while we have the lock: none is refused now.
            entries = [signed[draft.place].entry for draft in drafts]
            results = self._log.append(
                [draft.submission(entry) for draft, entry in zip(drafts, entries, strict=True)]
            )
            self._note(list(zip(drafts, entries, results, strict=True)))
            for draft, result in zip(drafts, results, strict=True):
                if isinstance(result, LedgerError):
                    raise result
                leaves[draft.place] = result.leaf_index
        return [leaves[place] for place in range(len(signed))]

    def close(self) -> None:
        """Bring the index up to the log, and end the signing threads and their process."""
        with self._lock:
            self._mirroring.hand_over()
        self._mirroring.close()
        self._signing.close()

    # Recording

    @contextlib.contextmanager
    def _trusting_storage(self) -> Iterator[None]:
        """Stop for good once something stored was damaged: what else is, nobody knows."""
        if self._damage is not None:
            raise self._damage
        try:
            yield
        except CorruptError as error:
            self._damage = error
            raise

    def _record(self, batch: list[Facts]) -> list[Answer]:
        """Record for every caller that waits."""
        with self._trusting_storage(), _collector_paused():
            return self._decide_and_append(batch)

    def _decide_and_append(self, batch: Sequence[Facts]) -> list[Answer]:
        answers: list[Answer | None] = [None] * len(batch)
        for _ in range(MAX_DECISIONS):
            waiting = [place for place, answer in enumerate(answers) if answer is None]
            if not waiting:
                break
            for draft, entry, result in self._submit(self._draft(batch, waiting, answers)):
                if isinstance(result, Committed) and isinstance(draft.event, VerificationEvent):
                    answers[draft.place] = Receipt(
                        leaf_index=result.leaf_index,
                        event=draft.event,
                        statement=draft.statement,
                        entry=entry,
                    )
                elif isinstance(result, LedgerError) and not isinstance(result, HeadMovedError):
                    answers[draft.place] = result
        return [_moved_too_often() if answer is None else answer for answer in answers]

    def _draft(
        self, batch: Sequence[Facts], waiting: Sequence[int], answers: list[Answer | None]
    ) -> Iterator[Draft]:
        """Decide in order; each event sees the heads as the events before it in this batch leave them."""
        keys = {place: self._drafter.key_of(batch[place]) for place in waiting}
        names = {
            name
            for place in waiting
            for name in history_keys(batch[place].model.name, batch[place].model.repo_id)
        }
        known, heads = self._log.lookup(list(keys.values()), list(names))
        drafted: set[bytes] = set()
        now = self._drafter.now()
        for place, key in keys.items():
            if key in drafted:
                continue  # the same id twice in one batch: the next attempt finds the first one recorded
            try:
                if (leaf_index := known.get(key)) is not None:
                    answers[place] = self._repeat(batch[place], leaf_index, now)
                    continue
                draft = self._drafter.decide(place, batch[place], key=key, heads=heads, now=now)
            except StorageError:
                raise
            except LedgerError as error:
                answers[place] = error
                continue
            drafted.add(key)
            yield draft

    def _repeat(self, facts: Facts, leaf_index: int, now: str) -> Receipt:
        """Answer a retry with the first receipt, if the facts are the same."""
        stored = self._stored(leaf_index)
        event = stored.statement
        if not isinstance(event, VerificationEvent):
            raise _other_facts(facts.event_id, leaf_index)
        again = fit(self._drafter.event(facts, event.common.histories, now=now, decision=UNDECIDED))
        if facts_digest(again) != facts_digest(event):
            raise _other_facts(facts.event_id, leaf_index)
        return Receipt(
            leaf_index=leaf_index, event=event, statement=stored.payload, entry=stored.entry, repeated=True
        )

    def _stored(self, leaf_index: int) -> "_Stored":
        """Read what was recorded at a leaf under an event id. Raises CorruptError: it is no statement of ours."""
        entry = next(iter(self._log.read(leaf_index, leaf_index + 1)))
        try:
            parsed = parse_entry(entry)
            statement = parse_statement(parsed.payload) if isinstance(parsed, Entry) else None
        except InputError as error:  # our own bytes: whoever repeats an event id did not write them
            raise CorruptError(
                f"statement at leaf {leaf_index}", expected=error.expected, actual=error.actual
            ) from error
        if not isinstance(parsed, Entry) or not isinstance(statement, (VerificationEvent, PlainStatement)):
            raise CorruptError(
                f"statement at leaf {leaf_index}",
                expected="one that this version wrote",
                actual="another",
                next_step="Use the version of hubledger that wrote this directory",
            )
        return _Stored(entry, parsed.payload, statement)

    def _submit(self, drafting: Iterable[Draft]) -> list[Answered]:
        """Sign and append drafts, which may be signed while the next are made, and keep the rows of what was committed for the index."""
        drafts: list[Draft] = []
        self._signing.begin()
        for draft in drafting:
            self._signing.add(draft.statement)
            drafts.append(draft)
        if not drafts:
            return []
        entries = self._signing.end()
        results = self._log.append(
            [draft.submission(entry) for draft, entry in zip(drafts, entries, strict=True)]
        )
        answered = list(zip(drafts, entries, results, strict=True))
        self._note(answered)
        return answered

    def _note(self, answered: Sequence[Answered]) -> None:
        """Tell of what is durable now, and keep it for the index."""
        if self._told is not None:
            self._told([draft.event for draft, _, result in answered if isinstance(result, Committed)])
        self._mirroring.note(answered)


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep Python's cycle collector from walking a batch: it holds no cycles, and walking it takes a sixth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@dataclass(frozen=True, slots=True)
class _Stored:
    """A statement that was recorded before."""

    entry: bytes
    payload: bytes
    statement: Statement


def _other_facts(event_id: str, leaf_index: int) -> ConflictError:
    return ConflictError(
        f"event id {event_id}",
        expected=f"the facts recorded at leaf {leaf_index}",
        actual="other facts",
        next_step="Give a new event id (--event-id) to a new observation, also to one with other keys",
    )


def _moved_too_often() -> HeadMovedError:
    return HeadMovedError(
        "recording",
        expected=f"a stable head within {MAX_DECISIONS} decisions",
        actual="heads that kept moving",
        next_step="Try again with the same event id",
    )
