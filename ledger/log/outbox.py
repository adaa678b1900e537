"""The journal of a ledger in Rekor: accepts entries durably and in order, and knows what became of each.

Events are accepted here, inside one writer, and their chains are made here: this is where heads live. What is accepted
survives the process and any outage; ``dispatch`` submits it later, in parallel and in any order.
"""

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from ledger.bundle.bodies import SignedPayload
from ledger.encoding import parse_audited_json, parse_base64
from ledger.entry import Entry, parse_entry
from ledger.errors import (
    LedgerError,
    MalformedError,
    MisbehaviourError,
    NotFoundError,
    StorageError,
    UsageError,
)
from ledger.event.schemas import HUB_KEY
from ledger.log import Committed, Submission
from ledger.log.admission import Admissions, Found
from ledger.log.group import MAX_BATCH_ENTRIES, GroupCommit, interrupted
from ledger.log.receipts import Prover
from ledger.log.remote import LogReceipt
from ledger.storage.outbox import (
    Accepted,
    Counts,
    Drop,
    Failure,
    OutboxStore,
    Pending,
    StoredReceipt,
    pages,
)

KeepStatements = Callable[[Iterable[bytes]], object]
"""Stores statements durably under their digests; see ``ledger.storage.evidence.Evidence.put``."""
_HUB_KEY = b'"predicateType":"%s"' % HUB_KEY.encode()
"""Stands in a statement about a hub key, and in no other: inside a JSON string every quotation mark is escaped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of an accepted entry: its proven places, the lowest first; or that it waits; or that it was dropped."""

    number: int
    entry: bytes
    receipts: tuple[LogReceipt, ...] = ()
    pending: Pending | None = None
    dropped: Drop | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """An entry to submit. ``noted``: the shard for which that is noted; ``tried``: those in which it was tried before.

    Where it was tried it may be, although nobody told us: its answer may be lost.
    """

    number: int
    entry: bytes
    noted: int | None = None
    tried: frozenset[int] = frozenset()


class Outbox:
    """The only writer of an outbox. Thread-safe. See ``ledger.log.Journal`` for what a recorder asks of it."""

    def __init__(
        self,
        store: OutboxStore,
        prover: Prover,
        keep: KeepStatements,
        *,
        clock: Callable[[], float] = time.time,  # noqa: TID251 - when entries came, and may be tried again
    ) -> None:
        self._store, self.prover, self._keep, self._clock = store, prover, keep, clock
        self._writer = threading.RLock()
        self._settled = threading.Condition(self._writer)
        self._admissions = Admissions(store.lookup)
        self._waiting: GroupCommit[Submission, Committed | LedgerError] = GroupCommit(
            self._writer, self._commit, limit=MAX_BATCH_ENTRIES
        )
        self._failure: LedgerError | None = None
        self._size = store.size()
        self._wake: Callable[[], object] = _nobody
        self._told: Callable[[], object] = _nobody
        self._given_up: set[int] = set()
        store.know_shards({each.order: (each.kind, each.log_id) for each in prover.shards})

    # The journal

    @property
    def size(self) -> int:
        """How many entries are accepted; each is durable."""
        return self._size

    def append(self, submissions: Sequence[Submission]) -> list[Committed | LedgerError]:
        """Accept entries in order; durable on return. The ``leaf_index`` of an answer is the entry's number.

        Callers that arrive while others are served are committed together by whoever gets the lock next.

        Raises:
            MalformedError: bytes that are no signed statement. WriteError: nothing of this call was answered; the outbox
                must be opened again.
        """
        for each in submissions:
            if not isinstance(parse_entry(each.entry), Entry):
                raise MalformedError("entry", expected="a signed statement", actual="a map commit")
        answers = self._waiting.submit(submissions)
        self._wake()
        return answers

    def lookup(self, events: Sequence[bytes], heads: Sequence[str]) -> Found:
        """Return the named events and heads as of the last commit, for a decision that admission checks again."""
        with self._writer:
            return self._admissions.lookup(self._size, events, heads)

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the accepted entries ``[start, end)``, logged or not."""
        end = min(end, self._size)
        while start < end:
            with self._writer:
                page = list(pages(self._store, start, min(end, start + _PAGE)))
            yield from page
            start += len(page)

    def _commit(self, submissions: list[Submission]) -> list[Committed | LedgerError]:
        if self._failure:
            raise self._failure
        with self._stopping("accepting"):
            # 1. Admit each against the heads as they are now, entries before it in this batch included.
            answers, changes = self._admissions.admit(self._size, submissions)
            entries = [_accepted(self._size + at, entry) for at, entry in enumerate(changes.entries)]
            if entries:
                # 2. One transaction: entries, event ids and heads. If we stop before it, nobody was told anything.
                self._store.accept(
                    self._size,
                    entries,
                    events=list(changes.events.items()),
                    heads=list(changes.heads.items()),
                    now=int(self._clock()),
                )
                self._size += len(entries)
        # Only now is anybody answered. If we stop before this line, a retry finds the event ids.
        return answers

    @contextlib.contextmanager
    def _stopping(self, what: str) -> Iterator[None]:
        """Stop this object for good, whatever goes wrong meanwhile: memory and disk may no longer agree."""
        try:
            yield
        except BaseException as error:
            self._failure = error if isinstance(error, StorageError) else interrupted(what)
            self._settled_now()
            raise

    def _settled_now(self) -> None:
        with self._settled:
            self._settled.notify_all()
        self._told()

    # For the dispatcher

    def on_accept(self, wake: Callable[[], object] | None) -> None:
        """Call ``wake``, from any thread, whenever something was accepted or is to be tried again; None: nobody."""
        self._wake = wake or _nobody

    def on_settle(self, told: Callable[[], object] | None) -> None:
        """Call ``told``, from any thread, whenever attempts have ended, or the outbox stopped; None: nobody."""
        self._told = told or _nobody

    def check(self) -> None:
        """Raise what stopped this object, if anything did. Raises StorageError."""
        self._check()

    def take(self, limit: int, busy: AbstractSet[int], *, shard: int | None = None) -> list[Taken]:
        """Return up to ``limit`` entries that may be submitted to a shard now; None: to none that is known yet.

        Their statements are kept where they are served from. Rekor keeps digests alone: a statement whose digest is
        logged, and that nobody has, would be lost.
        """
        with self._writer:
            self._check()
            numbers = self._store.due(self._clock(), limit, busy)
            entries = self._store.entries(numbers)
        # A statement that was withdrawn is not kept again, and its digest is logged all the same.
        with self._stopping("keeping statements"):
            self._keep(_payload(entry) for entry in entries.values())
        # If we stop here, statements are kept that nobody was shown: the outbox names them.
        tried = self.note_tries(numbers, shard)
        # If we stop here, tries are noted that never were: each is looked for once, and not found.
        return [
            Taken(number=number, entry=entries[number], noted=shard, tried=tried[number])
            for number in numbers
        ]

    def note_tries(self, numbers: Sequence[int], shard: int | None) -> dict[int, frozenset[int]]:
        """Note that entries are about to be submitted to a shard; durable on return. Returns where each was tried before."""
        with self._writer:
            self._check()
            if shard is None:
                return self._store.tries(numbers)
            with self._stopping("noting what is submitted"):
                return self._store.note_tries(numbers, shard)

    def forget_try(self, number: int, shard: int) -> None:
        """Take back the note of a try that the shard answered by saying that it did not take it."""
        with self._writer:
            self._check()
            with self._stopping("taking a note back"):
                self._store.forget_try(number, shard)

    def is_given_up(self, number: int) -> bool:
        """Return whether an entry was dropped since this object was opened: what was taken before is not sent any more."""
        return number in self._given_up

    def next_attempt(self) -> float | None:
        """Return in how many seconds the next entry may be tried; None: nothing is going to be by itself."""
        with self._writer:
            at = self._store.next_attempt()
        return None if at is None else max(0.0, at - self._clock())

    def settle(self, receipts: Sequence[tuple[int, LogReceipt]], failures: Sequence[Failure]) -> None:
        """Store how attempts ended, in one transaction; then tell those who wait.

        A place that the log has proven for another entry before is none: that entry waits for a person.
        """
        with self._writer:
            self._check()
            with self._stopping("storing receipts"):
                fitting, contradicting = self._sort_out(receipts)
                self._store.settle(self._stored(fitting), [*failures, *contradicting])
        # If we stop before this line, what was stored is found again, and what was not is submitted again.
        self._settled_now()

    def _sort_out(
        self, receipts: Sequence[tuple[int, LogReceipt]]
    ) -> tuple[list[tuple[int, LogReceipt]], list[Failure]]:
        """Return the receipts whose places are free or known to be theirs, and what is to be said of the others.

        Each was proven: a log that signed two entries at one place has shown two trees, as one does that was restored
        from a backup. The others are none the worse for it.
        """
        fitting: list[tuple[int, LogReceipt]] = []
        contradicting: list[Failure] = []
        taken: dict[tuple[int, int], int] = {}
        for number, each in receipts:
            known = self._store.number_at(*each.position)
            owner = taken.setdefault(each.position, number if known is None else known)
            if owner == number:
                fitting.append((number, each))
                continue
            error = MisbehaviourError(
                f"index {each.position[1]} of {each.shard.origin}",
                expected=f"the entry that the log has proven to be there, of number {owner}",
                actual=f"number {number}, proven as well: the log has shown two trees",
            )
            contradicting.append(
                Failure(number=number, code=type(error).__name__, text=error.finding, next_attempt=None)
            )
        return fitting, contradicting

    def _stored(self, receipts: Sequence[tuple[int, LogReceipt]]) -> list[StoredReceipt]:
        now = int(self._clock())
        return [
            StoredReceipt(
                number=number,
                shard=each.position[0],
                log_index=each.position[1],
                stored_at=now,
                log_entry=each.log_entry,
                timestamps=each.timestamps,
            )
            for number, each in receipts
        ]

    def signed(self, entry: bytes) -> SignedPayload:
        """Read an accepted entry as what is submitted.

        Raises:
            CorruptError: it is damaged, and the outbox stops. SignatureError: by a key that is none of the hub's.
        """
        try:
            return self.prover.signed(entry)
        except StorageError as error:
            self._failure = error
            self._settled_now()
            raise

    def _check(self) -> None:
        if self._failure:
            raise self._failure

    # Asking

    def wait_for(self, numbers: Sequence[int], *, timeout: float) -> dict[int, Fate]:
        """Wait until none of the named entries is going to be logged any more, or for ``timeout`` seconds.

        Raises:
            StorageError: the outbox stopped meanwhile.
        """
        deadline = time.monotonic() + timeout
        with self._settled:
            while any(not each.refused for each in self._store.pending(numbers).values()):
                self._check()
                left = deadline - time.monotonic()
                if left <= 0 or not self._settled.wait(min(left, threading.TIMEOUT_MAX)):
                    break
        return {number: self.fate(number) for number in numbers}

    def wait_settled(self, *, timeout: float) -> None:
        """Wait until attempts have ended, or for ``timeout`` seconds. Raises StorageError: the outbox stopped."""
        with self._settled:
            self._check()
            self._settled.wait(timeout)
            self._check()

    def fate(self, number: int) -> Fate:
        """Return what became of an entry; each of its places is proven again.

        Raises:
            NotFoundError: it was not accepted. CorruptError: a receipt that does not hold.
        """
        if not 0 <= number < self._size:
            raise NotFoundError(
                f"number {number}",
                expected=f"a number below {self._size}",
                actual="one that was not accepted",
            )
        with self._writer:
            (entry,) = self.read(number, number + 1)
            return fate_of(self._store, self.prover, number, entry)

    def counts(self) -> Counts:
        """Count the entries in each state."""
        with self._writer:
            return self._store.counts()

    def pending(self, numbers: Sequence[int]) -> dict[int, Pending]:
        """Return those of the named entries that are pending."""
        with self._writer:
            return self._store.pending(numbers)

    # What people decide

    def retry(self, numbers: Sequence[int] | None) -> int:
        """Let pending entries be tried at once, refused ones too; None: every one. Returns how many."""
        with self._writer:
            self._check()
            with self._stopping("storing what is to be tried again"):
                count = self._store.retry(numbers)
        self._wake()
        return count

    def drop(self, number: int, *, reason: str) -> None:
        """Give up a pending entry, for good. What was sent before may be logged all the same.

        Raises:
            UsageError: it is not pending.
        """
        with self._writer:
            self._check()
            if number not in self._store.pending([number]):
                raise UsageError(
                    f"number {number}",
                    expected="a pending entry",
                    actual="one that is logged, dropped or unknown",
                    next_step="`hubledger outbox status` lists what is pending and was tried",
                )
            with self._stopping("giving up an entry"):
                self._store.drop(number, reason=reason, now=int(self._clock()))
            self._given_up.add(number)
        self._settled_now()
        self._wake()

    def add_receipts(self, found: Sequence[tuple[int, LogReceipt]]) -> None:
        """Store further places of entries, each proven, as a scan of a shard finds them.

        A copy that a stranger made is a place of the event and no proof of our bytes: what is pending stays so, and is
        submitted. Else whoever saw a signature before the log did, and were it the log, could keep us from proving it.

        Raises:
            CorruptError: a place that another entry has.
        """
        with self._writer:
            self._check()
            with self._stopping("storing receipts"):
                self._store.settle(self._stored(found), (), open_still=self._unproven(found))
        self._settled_now()

    def _unproven(self, found: Sequence[tuple[int, LogReceipt]]) -> set[int]:
        """Return the numbers of which no place here is one of their own bytes, where their key counts."""
        entries = self._store.entries([number for number, _ in found])
        signed = {number: self.prover.signed(entry) for number, entry in entries.items()}
        return {number for number, _ in found} - {
            number for number, each in found if number in signed and self.prover.is_own(signed[number], each)
        }


_PAGE = 500


def fate_of(store: OutboxStore, prover: Prover, number: int, entry: bytes) -> Fate:
    """Return what became of an entry. Raises CorruptError: a receipt that does not hold."""
    receipts = tuple(prover.prove(entry, each) for each in store.receipts(number))
    return Fate(
        number=number,
        entry=entry,
        receipts=receipts,
        pending=store.pending([number]).get(number),
        dropped=store.dropped(number),
    )


def _nobody() -> None:
    """Is told, where nobody listens."""


def _accepted(number: int, entry: bytes) -> Accepted:
    payload = _payload(entry)
    # A key that is retired or revoked signs nothing later, so all that it signed must be logged before; one that is
    # added signs what comes behind it. The first key is trusted through trust files alone, and waits for nobody.
    barrier = number > 0 and _HUB_KEY in payload
    return Accepted(entry=entry, statement_sha256=hashlib.sha256(payload).digest(), barrier=barrier)


def _payload(entry: bytes) -> bytes:
    """Return the statement of an entry that was parsed strictly when it was accepted."""
    return parse_base64(parse_audited_json(entry)["payload"], what="payload of an accepted entry")
