"""The one writer of a ledger while it is served: a thread that records, one that publishes, one that mirrors digests.

Whoever wants something recorded puts a ticket into a queue with bounded room and waits for its answer. Tickets that come
while a commit runs are committed together by the next. When the storage fails, everything is closed and opened again,
which runs what a restart runs; meanwhile everybody is refused at once, and nothing that was answered is lost.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ledger.embedded.digests import mirror_digests
from ledger.embedded.opening import OpenLedger
from ledger.errors import LedgerError, QuorumError, StorageError
from ledger.log.group import interrupted
from ledger.log.local import LocalLog
from ledger.recorder import Facts, Receipt
from ledger.server.intake import parse_upload
from ledger.server.problems import Refusal, busy
from ledger.server.proving import Prover, Submitted, durable

if TYPE_CHECKING:  # who has a log of their own does not pay for what Rekor needs
    from ledger.log.dispatch import Dispatcher
    from ledger.log.outbox import Outbox

_logger = logging.getLogger(__name__)

OpenLedgerHere = Callable[[], contextlib.AbstractContextManager[OpenLedger]]
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
"""Seconds before a ledger that failed is opened again; twice as long each time."""
COMMIT_EVENTS = 1024
"""Events that are committed together, at most: an event on its way takes some 30 KB, and a larger commit is no quicker."""
_LOOK_SECONDS = 5.0
"""Between two looks at whether a ledger in Rekor is still submitted from; of what is logged it is told."""
_LEAST_PAUSE = 0.05
"""Seconds between two looks at witnesses, at least."""
_MIRROR_SECONDS = 0.5
"""Between two times that digests are mirrored, under load: what comes together costs a third less, and nobody waits for it."""
START_SECONDS = 3600.0
"""A start after a crash may have much to finish; whoever waits sees it in the health of the service."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The answer to one ticket: its receipt as JSON."""

    body: bytes
    repeated: bool
    late: bool = False
    """It is durable, and what was waited for did not come in time."""


Answer = Recorded | LedgerError | Refusal


@dataclass(slots=True, kw_only=True)
class _Ticket:
    """One event on its way: facts, or the bytes of an event with nothing to store, which the writer parses."""

    what: Facts | bytes
    included: bool
    answer: "asyncio.Future[Answer]"
    witnessed: bool = False


class Writer:
    """Records and publishes for many callers. ``opened`` opens the ledger; it is called again after a failure."""

    def __init__(self, opened: OpenLedgerHere, *, room: int) -> None:
        self._opened, self._room = opened, room
        self._guard = threading.Condition()
        self._queue: list[_Ticket] = []
        self._awaiting: list[tuple[Receipt | Submitted, _Ticket]] = []
        self._ledger: OpenLedger | None = None
        self._session: _Session | None = None
        self._state = "starting"
        self._stopping = threading.Event()
        self._started: LedgerError | bool | None = False
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._in_rekor = False

    # For callers

    @property
    def ledger(self) -> OpenLedger:
        """The ledger that is open. Raises Refusal: it is not, just now."""
        ledger = self._ledger
        if ledger is None:
            raise busy(f"The writer is {self._state}")
        return ledger

    def state(self) -> dict[str, Any]:
        """Say how the writer is."""
        ledger = self._ledger
        facts: dict[str, Any] = {
            "state": "ok" if ledger is not None else self._state,
            "waiting": len(self._queue),
        }
        if ledger is None:
            return facts
        witnesses = ledger.log.witnesses if isinstance(ledger.log, LocalLog) else None
        return (
            facts
            | {"durable": ledger.log.size}
            | ({} if witnesses is None else {"witnesses": witnesses.state()})
        )

    def submit(
        self, events: Sequence[Facts | bytes], *, included: bool, witnessed: bool = False
    ) -> "list[asyncio.Future[Answer]]":
        """Take events in order, or none of them; each has an answer of its own. Called on the event loop.

        Raises:
            Refusal: there is no room, or no ledger to write.
        """
        loop = asyncio.get_running_loop()
        tickets = [
            _Ticket(what=each, included=included, answer=loop.create_future(), witnessed=witnessed)
            for each in events
        ]
        with self._guard:
            if self._ledger is None or self._stopping.is_set():
                raise busy(f"The writer is {self._state}")
            if len(self._queue) + len(self._awaiting) + len(tickets) > self._room:
                raise busy("Too many events wait already")
            self._queue += tickets
            self._guard.notify_all()
        return [each.answer for each in tickets]

    def await_leaves(self, leaves: Sequence[Submitted], *, witnessed: bool) -> "list[asyncio.Future[Answer]]":
        """Wait for a checkpoint of what was recorded beside the queue. Called on the event loop."""
        loop = asyncio.get_running_loop()
        tickets = [
            _Ticket(what=b"", included=True, answer=loop.create_future(), witnessed=witnessed) for _ in leaves
        ]
        with self._guard:
            self._awaiting += zip(leaves, tickets, strict=True)
        self.appended()  # the checkpoint may be there already
        return [each.answer for each in tickets]

    def give_up(self, answers: "AbstractSet[asyncio.Future[Answer]]") -> None:
        """Answer those whose time is over with what was reached: their events are durable. Called on the event loop."""
        with self._guard:
            over = [each for each in self._awaiting if each[1].answer in answers]
            self._awaiting = [each for each in self._awaiting if each[1].answer not in answers]
        _resolve(
            [
                (
                    ticket,
                    Recorded(
                        self._durable(receipt)[:-1] + b',"reached":"durable"}', receipt.repeated, late=True
                    ),
                )
                for receipt, ticket in over
            ]
        )

    def appended(self) -> None:
        """Say that something was recorded beside the queue, and is to be published."""
        session = self._session
        if session is not None:
            session.recorded()

    def start(self) -> None:
        """Open the ledger and finish what a crash left open. Raises what makes that impossible."""
        self._thread.start()
        with self._guard:
            self._guard.wait_for(lambda: self._started is not False, timeout=START_SECONDS)
        if isinstance(self._started, LedgerError):
            self._thread.join()
            raise self._started

    def close(self) -> None:
        """Record, publish and answer what was taken, then close the ledger."""
        self._stopping.set()
        with self._guard:
            self._guard.notify_all()
        self._thread.join()

    # The thread

    def _run(self) -> None:
        """Keep a ledger open until told to stop. Only the first opening may fail for good: somebody waits for it."""
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            try:
                with self._opened() as ledger:
                    with contextlib.suppress(QuorumError):  # it is tried again while events are taken
                        ledger.publish()  # what a crash left open; and whether this directory may be written at all
                    self._begin(ledger)
                    pause = FIRST_PAUSE
                    self._serve(ledger)
            except LedgerError as error:
                if self._started is False:
                    self._tell_start(error)
                    return
                _logger.error("the ledger was closed: %s", error)  # noqa: TRY400 - the message says it
            except Exception:  # the outermost edge of this thread
                _logger.exception("a bug in the writer")
                if self._started is False:
                    self._tell_start(interrupted("starting the writer"))
                    return
            finally:
                self._end()
            if not self._stopping.wait(pause):
                pause = min(2 * pause, LONGEST_PAUSE)

    def _tell_start(self, result: LedgerError | bool) -> None:  # noqa: FBT001 - True: it is open
        with self._guard:
            if self._started is False:
                self._started = result
            self._guard.notify_all()

    def _begin(self, ledger: OpenLedger) -> None:
        with self._guard:
            self._ledger, self._state = ledger, "ok"
            self._in_rekor = ledger.instance is not None
        self._tell_start(True)

    def _end(self) -> None:
        """Refuse everybody who still waits: nobody can say whether their event is recorded; its id makes that harmless."""
        with self._guard:
            self._ledger, self._state = None, "waiting for its storage"
            left = self._queue + [ticket for _, ticket in self._awaiting]
            self._queue, self._awaiting = [], []
        _deliver([(ticket, busy("The writer stopped; send the same event again")) for ticket in left])

    def _serve(self, ledger: OpenLedger) -> None:
        """Record until told to stop; publishing and mirroring go on beside it. Raises what stopped one of the three."""
        session = self._session = _Session(ledger, self)
        try:
            while (tickets := self._take(session)) is not None:
                if tickets:
                    self._record(ledger, tickets)
                    session.recorded()
        finally:
            self._session = None
            session.close()
        if session.failure is not None:
            raise session.failure

    def _durable(self, receipt: Receipt | Submitted) -> bytes:
        """Return the receipt of what is durable, in the form that this ledger's log has."""
        if self._in_rekor and isinstance(receipt, Receipt):
            from ledger.server.accepting import accepted

            return accepted(receipt)
        return durable(receipt)

    def _take(self, session: "_Session") -> list[_Ticket] | None:
        """Wait for tickets; None where it is over."""
        with self._guard:
            while not self._queue:
                if self._stopping.is_set() or session.failure is not None:
                    return None
                self._guard.wait()
            tickets, self._queue = self._queue[:COMMIT_EVENTS], self._queue[COMMIT_EVENTS:]
        return tickets

    def _record(self, ledger: OpenLedger, tickets: list[_Ticket]) -> None:
        """Commit together, and answer those who wait for no more than that."""
        answers: list[tuple[_Ticket, Answer]] = []
        facts: list[Facts] = []
        admitted: list[_Ticket] = []
        for ticket in tickets:
            try:
                facts.append(
                    parse_upload(ticket.what).facts if isinstance(ticket.what, bytes) else ticket.what
                )
                admitted.append(ticket)
            except LedgerError as error:
                answers.append((ticket, error))
        try:
            results = ledger.recorder.record_batch(facts)
        except LedgerError as error:
            _deliver([*answers, *[(ticket, error) for ticket in admitted]])
            if isinstance(error, StorageError):
                raise
            return
        awaiting = []
        for ticket, result in zip(admitted, results, strict=True):
            if isinstance(result, LedgerError):
                answers.append((ticket, result))
            elif ticket.included:
                awaiting.append((result, ticket))
            else:
                answers.append((ticket, Recorded(self._durable(result), result.repeated)))
        with self._guard:
            self._awaiting += awaiting
        _deliver(answers)

    def published(self, ledger: OpenLedger, prover: Prover, *, witnessed: bool) -> None:
        """Answer those whose event is in the checkpoint, and those who wait for its quorum where it has it."""

        def is_ready(receipt: Receipt | Submitted, ticket: _Ticket) -> bool:
            return receipt.leaf_index < prover.size and (witnessed or not ticket.witnessed)

        with self._guard:
            ready = [each for each in self._awaiting if is_ready(*each)]
            self._awaiting = [each for each in self._awaiting if not is_ready(*each)]
        answers: list[tuple[_Ticket, Answer]] = [
            (ticket, Recorded(prover.included(receipt), receipt.repeated)) for receipt, ticket in ready
        ]
        # The index was written meanwhile, by its own thread: whoever is answered and asks for the history finds the event.
        ledger.recorder.await_index()
        _deliver(answers)

    def settled(self, ledger: OpenLedger, outbox: "Outbox", *, last: bool) -> None:
        """Answer those whose event Rekor has, and those whose event a person must look at first; the ``last`` time, everybody.

        Raises:
            StorageError: the outbox stopped.
        """
        from ledger.server.accepting import included, not_included

        outbox.check()
        with self._guard:
            waiting = [each for each in self._awaiting if isinstance(each[0], Receipt)]
        pending = outbox.pending(sorted({receipt.leaf_index for receipt, _ in waiting}))
        answers: list[tuple[_Ticket, Answer]] = []
        for receipt, ticket in waiting:
            known = pending.get(receipt.leaf_index)
            goes_on = known is not None and not known.refused and not last
            if not isinstance(receipt, Receipt) or goes_on:
                continue
            fate = outbox.fate(receipt.leaf_index)
            if fate.receipts:
                body = included(receipt, fate, outbox.prover, kind=ledger.config.log)
                answers.append((ticket, Recorded(body, receipt.repeated)))
            else:
                answers.append((ticket, Recorded(not_included(receipt, fate), receipt.repeated, late=True)))
        done = {id(ticket) for ticket, _ in answers}
        with self._guard:
            self._awaiting = [each for each in self._awaiting if id(each[1]) not in done]
        ledger.recorder.await_index()
        _deliver(answers)

    def awaited(self) -> bool:
        """Whether somebody waits for a checkpoint."""
        return bool(self._awaiting)

    def wake(self) -> None:
        """Let the recording thread look whether something failed."""
        with self._guard:
            self._guard.notify_all()


class _Session:
    """The threads beside the recording one, for as long as one ledger is open."""

    def __init__(self, ledger: OpenLedger, writer: Writer) -> None:
        self._ledger, self._writer = ledger, writer
        self.failure: LedgerError | None = None
        self._over = threading.Event()
        self._submitting = contextlib.ExitStack()
        self._dispatcher: Dispatcher | None = None
        self._news, self._shown = threading.Event(), threading.Event()
        self._threads = [
            threading.Thread(
                target=self._loop, args=(self._news, self._publish), name="publish", daemon=True
            ),
            threading.Thread(target=self._loop, args=(self._shown, self._mirror), name="mirror", daemon=True),
        ]
        if ledger.instance is not None:
            self._begin_submitting()
        for each in self._threads:
            each.start()

    def _begin_submitting(self) -> None:
        """Submit what waits, for as long as the ledger is open, and hear of what came of it."""
        from ledger.embedded.remote import dispatching
        from ledger.embedded.submitting import outbox_of

        outbox, instance = outbox_of(self._ledger)
        outbox.on_settle(self._news.set)
        self._submitting.callback(outbox.on_settle, None)
        self._dispatcher = self._submitting.enter_context(dispatching(outbox, self._ledger.config, instance))

    def recorded(self) -> None:
        """Say that there is something to publish."""
        self._news.set()

    def close(self) -> None:
        """Publish and mirror what is left, then end the threads."""
        self._submitting.close()  # what is under way is answered for some seconds, and stored
        self._over.set()
        for event, thread in zip((self._news, self._shown), self._threads, strict=True):
            event.set()
            thread.join()

    def _loop(self, event: threading.Event, work: Callable[[], None]) -> None:
        """Work each time that the event is set, and once more at the end."""
        while self.failure is None:
            event.wait(self._pause() if work == self._publish else None)
            last = self._over.is_set()
            event.clear()
            try:
                work()
            except LedgerError as error:
                self.failure = error
            except Exception:  # the outermost edge of this thread
                _logger.exception("a bug in a thread of the writer")
                self.failure = interrupted("publishing")
            if self.failure is not None:
                self._writer.wake()
            if last:
                return

    def _pause(self) -> float | None:
        """How long to wait for news: witnesses answer late, are tried again, and cosign anew, though nothing is recorded."""
        log = self._ledger.log
        if self._dispatcher is not None:
            return _LOOK_SECONDS
        try:
            due = log.due() if isinstance(log, LocalLog) else None
        except LedgerError:
            return _LEAST_PAUSE  # publishing meets the same, and says so
        return None if due is None else max(_LEAST_PAUSE, due)

    def _publish(self) -> None:
        try:
            checkpoint, log = self._ledger.publish(), self._ledger.log
        except QuorumError as error:
            _logger.warning("nothing new is shown: %s", error.finding)
            return
        if not isinstance(log, LocalLog):
            self._settle(log)
            return
        if self._writer.awaited() and checkpoint is not None:
            witnessed = log.is_witnessed(checkpoint)
            self._writer.published(self._ledger, Prover(log.published, checkpoint), witnessed=witnessed)
        self._shown.set()

    def _settle(self, outbox: "Outbox") -> None:
        """Answer who waited for Rekor. Raises StorageError, also where nothing is submitted any more: open it again."""
        self._writer.settled(self._ledger, outbox, last=self._over.is_set())
        self._shown.set()
        if self._dispatcher is not None and not self._dispatcher.is_running and not self._over.is_set():
            raise interrupted("submitting")

    def _mirror(self) -> None:
        """Mirror digests, and let more of them come together before the next time."""
        mirror_digests(self._ledger)
        self._over.wait(_MIRROR_SECONDS)


def _deliver(answers: Sequence[tuple[_Ticket, Answer]]) -> None:
    """Give answers back on the event loop, all of one loop at once."""
    if answers:
        loop = answers[0][0].answer.get_loop()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve, answers)


def _resolve(answers: Sequence[tuple[_Ticket, Answer]]) -> None:
    for ticket, answer in answers:
        if not ticket.answer.done():
            ticket.answer.set_result(answer)
