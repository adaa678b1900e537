"""Submits what an outbox holds: many at once, none lost, only bytes that were stored before.

::

    outbox ──take──► queue ──► workers ──submit──► log        a worker holds one entry at a time
       ▲                          │
       └────── settle ◄── results ┘                           many answers, one transaction

One asyncio loop in a thread of its own. An entry is marked as logged only when its receipt is stored; until then, whatever
happens, its stored bytes are submitted again, and a log that has them says where. Before the first byte leaves, the
shard that it goes to is noted: what was tried there is looked for before it is submitted to another. An entry that fails waits for a time
that doubles, with jitter. A log that fails again and again is asked by one submission at a time until it answers.
"""

import asyncio
import contextlib
import logging
import random
import textwrap
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Self

from ledger.bundle.bodies import SignedPayload
from ledger.errors import FrozenError, LedgerError, RejectedError, StorageError
from ledger.log.outbox import Outbox, Taken
from ledger.log.remote import LogReceipt, RemoteLog, Shard
from ledger.log.shard_choice import newest_shard, no_shard
from ledger.storage.outbox import Failure

_logger = logging.getLogger(__name__)

Connect = Callable[[Shard], RemoteLog]
"""Opens the log of a shard; called in the loop that uses it."""
_FAILURES_IN_A_ROW = 3
"""After so many without a success between them, one submission at a time asks whether the log is back."""
_BATCH = 256
"""Entries that are read at once, at least, where so many are due: their statements are kept together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait after failures, in seconds: doubled each time up to a cap, and between half and all of that.

    Jitter keeps those who failed together from coming back together.
    """

    first: float = 1.0
    most: float = 300.0
    chance: Callable[[], float] = random.random

    def after(self, failures: int) -> float:
        """Return the wait after this many failures in a row, 1 at least."""
        whole = min(self.most, self.first * 2.0 ** min(failures - 1, 30))
        return whole * (0.5 + 0.5 * self.chance())


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchConfig:
    """Where to submit and how: ``kind`` is that of the shards that may be written, ``in_flight`` how many submissions at once.

    ``grace``: seconds that submissions under way get to be answered when the dispatcher is closed.
    """

    kind: str
    shards: Sequence[Shard]
    connect: Connect
    in_flight: int = 64
    grace: float = 5.0
    backoff: Backoff = field(default_factory=Backoff)
    clock: Callable[[], float] = time.time  # noqa: TID251 - shards are valid from and until a time


class Dispatcher:
    """Drains an outbox for as long as it is open. ``with`` starts and closes it."""

    def __init__(self, outbox: Outbox, config: DispatchConfig) -> None:
        self._outbox, self._config = outbox, config
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work: _Work | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_running(self) -> bool:
        """Whether it submits; what ended it by itself is in the log of the program."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Take nothing more, let what is under way be answered for ``grace`` seconds, store it, and end.

        What is not answered stays pending; it may be logged all the same, and then the next attempt says so.
        """
        loop, work = self._loop, self._work
        if loop is not None and work is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(work.stop)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except LedgerError as error:
            _logger.error("submitting stopped: %s", error)  # noqa: TRY400 - not a bug: the message is whole
        except Exception:  # the outermost edge of this thread: nobody else would see it
            _logger.exception("a bug: submitting stopped")
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._work = work = _Work(self._outbox, self._config)
        self._outbox.on_accept(lambda: self._wake(work))
        self._ready.set()
        try:
            await work.run()
        finally:
            self._outbox.on_accept(None)

    def _wake(self, work: "_Work") -> None:
        loop = self._loop
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            if loop is not None:
                loop.call_soon_threadsafe(work.more.set)


class _Work:
    """What one run of the loop does. Everything here happens in its thread, but for what is handed to others."""

    def __init__(self, outbox: Outbox, config: DispatchConfig) -> None:
        self._outbox, self._config = outbox, config
        self.more = asyncio.Event()
        """Something may be due."""
        self._answered = asyncio.Event()
        self._stopping = asyncio.Event()
        self._queue: asyncio.Queue[Taken] = asyncio.Queue(2 * max(config.in_flight, _BATCH))
        self._busy: set[int] = set()
        self._under_way: set[asyncio.Task[None] | None] = set()
        self._ended = False
        self._receipts: list[tuple[int, LogReceipt]] = []
        self._failures: list[Failure] = []
        self._gate = _Gate(config.backoff)
        self._shards = _Shards(config)

    def stop(self) -> None:
        """Begin to end."""
        self._stopping.set()
        self.more.set()

    async def run(self) -> None:
        """Work until stopped. Raises StorageError: the outbox cannot be written, or is damaged."""
        workers = [asyncio.create_task(self._submit_each()) for _ in range(self._config.in_flight)]
        storing, loading = asyncio.create_task(self._store()), asyncio.create_task(self._load())
        try:
            # Each of them ends when it is told to, or because something is wrong.
            await asyncio.wait((storing, loading, *workers), return_when=asyncio.FIRST_COMPLETED)
            self.stop()
            if not storing.done():
                await self._finish(workers)
        finally:
            for task in (loading, *workers):
                task.cancel()
            ends = await asyncio.gather(loading, *workers, return_exceptions=True)
            self._ended = True
            self._answered.set()
            await self._shards.close()
        await storing
        for each in ends:
            if isinstance(each, Exception):  # whoever was cancelled is none
                raise each

    async def _finish(self, workers: Sequence["asyncio.Task[None]"]) -> None:
        """Let what is under way be answered; what waits in the queue, or for its turn, is not begun."""
        under_way = [task for task in workers if task in self._under_way]
        for task in workers:
            if task not in self._under_way:
                task.cancel()
        if under_way:
            await asyncio.wait(under_way, timeout=self._config.grace)

    async def _load(self) -> None:
        """Keep the queue full of what is due."""
        while not self._stopping.is_set():
            self.more.clear()
            room = self._queue.maxsize - self._queue.qsize()
            # What was answered and is not stored yet is still pending: so much is in memory at most.
            room = min(room, 2 * self._queue.maxsize + self._config.in_flight - len(self._busy))
            has_room = room >= self._queue.maxsize // 2
            taken = await self._take(room) if has_room else []
            self._busy.update(each.number for each in taken)
            for each in taken:
                self._queue.put_nowait(each)
            if not taken:
                await self._rest(has_room=has_room)

    async def _take(self, room: int) -> list[Taken]:
        shard = self._shards.current()
        order = None if shard is None else shard.order
        return await asyncio.to_thread(self._outbox.take, room, set(self._busy), shard=order)

    async def _rest(self, *, has_room: bool) -> None:
        """Wait until something is accepted or answered, or may be tried again."""
        wait = await asyncio.to_thread(self._outbox.next_attempt) if has_room else None
        if wait is not None:
            # What is due and was not given is under way, or behind a barrier.
            wait = max(wait, 0.01) if wait else 1.0
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.more.wait(), wait)

    async def _submit_each(self) -> None:
        me = asyncio.current_task()
        while not self._stopping.is_set():
            taken = await self._queue.get()
            async with self._gate.turn():
                if self._outbox.is_given_up(taken.number):  # while it waited in the queue
                    self._busy.discard(taken.number)
                    continue
                self._under_way.add(me)
                try:
                    await self._submit(taken)
                finally:
                    self._under_way.discard(me)

    async def _submit(self, taken: Taken) -> None:
        number = taken.number
        try:
            receipt = await self._shards.submit(taken, self._outbox)
        except RejectedError as error:
            self._gate.answered()
            self._fail(number, error, None)
        except StorageError:
            raise
        except LedgerError as error:
            self._gate.failed()
            self._fail(number, error, await asyncio.to_thread(self._again, number))
        except Exception as error:  # noqa: BLE001  # the outermost edge of this submission: the others go on
            _logger.error("a bug while number %d was submitted\n%s", number, _whole(traceback.format_exc()))  # noqa: TRY400
            self._gate.failed()
            self._fail(number, error, await asyncio.to_thread(self._again, number))
        else:
            self._gate.answered()
            self._receipts.append((number, receipt))
        self._answered.set()

    def _again(self, number: int) -> float:
        """Return when to try an entry again, in POSIX seconds."""
        known = self._outbox.pending([number]).get(number)
        return self._config.clock() + self._config.backoff.after(1 + (known.attempts if known else 0))

    def _fail(self, number: int, error: Exception, again: float | None) -> None:
        text = _whole(error.finding if isinstance(error, LedgerError) else str(error))
        wait = None if again is None else again - self._config.clock()
        _logger.warning("%s", _explain(number, error, text, wait=wait))
        self._failures.append(
            Failure(number=number, code=type(error).__name__, text=text, next_attempt=again)
        )

    async def _store(self) -> None:
        """Store what was answered, all of it in one transaction, while the next answers come in."""
        while not self._ended or self._answered.is_set():
            await self._answered.wait()
            self._answered.clear()
            receipts, self._receipts = self._receipts, []
            failures, self._failures = self._failures, []
            if receipts or failures:
                await asyncio.to_thread(self._outbox.settle, receipts, failures)
            # If we stop before this line, the log has entries whose receipts we do not: they are submitted again.
            self._busy.difference_update(number for number, _ in receipts)
            self._busy.difference_update(each.number for each in failures)
            self.more.set()


def _whole(text: str) -> str:
    """Return a text of whole characters: an error that is not ours may repeat half of one, which no database and no file holds."""
    return text.encode(errors="backslashreplace").decode()


def _explain(number: int, error: Exception, text: str, *, wait: float | None) -> str:
    """Say for a person at a terminal that an attempt failed, why, and what comes next."""
    if wait is None:
        then = "Nothing tries it again by itself: see `hubledger outbox status`, then `outbox retry` or `outbox drop`."
    else:
        then = f"It is tried again in {max(1, round(wait))} s while this runs, and by whatever records or retries later."
    wrap = textwrap.TextWrapper(80, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    wrap.break_long_words = False
    lines = [f"number {number} is not logged yet: {type(error).__name__}", *wrap.wrap(text), *wrap.wrap(then)]
    return "\n".join(lines)


class _Gate:
    """Open while the log answers. While it does not, one submission at a time goes through, after a growing wait."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._probe = asyncio.Lock()
        self._in_a_row = 0

    @property
    def _closed(self) -> bool:
        return self._in_a_row >= _FAILURES_IN_A_ROW

    def answered(self) -> None:
        """The log answered."""
        self._in_a_row = 0

    def failed(self) -> None:
        """It did not."""
        self._in_a_row += 1

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn."""
        while self._closed:
            async with self._probe:
                if self._closed:
                    await asyncio.sleep(self._backoff.after(self._in_a_row - _FAILURES_IN_A_ROW + 1))
                    yield
                    return
            # Whoever asked before us was answered: those who waited need not go one by one.
        yield


class _Shards:
    """The shards that take entries, and a connection to each that was used."""

    def __init__(self, config: DispatchConfig) -> None:
        self._config = config
        self._open: dict[int, RemoteLog] = {}
        self._frozen: set[int] = set()

    async def submit(self, taken: Taken, outbox: Outbox) -> LogReceipt:
        """Submit to the newest shard that takes entries, unless it is found where it was tried before.

        Raises:
            FrozenError: no shard takes entries now. SourceError: a shard in which it was tried does not answer; else it might
                be logged twice.
        """
        signed, noted = outbox.signed(taken.entry), taken.noted
        # In a shard before the one where the hub's key begins, the entry would never count.
        first = outbox.prover.first_shard(signed.keyid)
        said: frozenset[int] = frozenset()  # by which shards, of this submission: none is asked twice
        while True:
            frozen = self._frozen | said
            shard = self._newest(first, frozen)
            # Also where nothing takes entries now: what is logged already need not wait for that.
            elsewhere = taken.tried if shard is None else taken.tried - {shard.order}
            if (found := await self._find(signed, elsewhere)) is not None:
                return found
            if shard is None:
                if (
                    noted is not None and noted not in taken.tried
                ):  # it was taken for a shard that it is not sent to
                    await asyncio.to_thread(outbox.forget_try, taken.number, noted)
                refusal = no_shard(
                    self._config.shards,
                    self._config.kind,
                    now=self._config.clock(),
                    first=first,
                    frozen=frozen,
                )
                # Nobody signed that they are frozen: a gateway may have said it, or an operator takes it back. With no
                # other shard to go to, believing it for good would hold up everything until the next start.
                self._frozen -= frozen
                raise refusal
            log = self._connected(shard)
            if shard.order != noted:  # the one that it was taken for takes nothing any more
                await asyncio.to_thread(outbox.note_tries, [taken.number], shard.order)
                noted = shard.order
            try:
                return await log.submit(signed, again=shard.order in taken.tried)
            except (FrozenError, RejectedError) as error:
                # The shard's own word that it did not take this try. An earlier one, without an answer, stays noted.
                if shard.order not in taken.tried:
                    await asyncio.to_thread(outbox.forget_try, taken.number, shard.order)
                if isinstance(error, RejectedError):
                    raise
                # What is under way there is waited for as it is; what comes now goes to the next one.
                self._frozen.add(shard.order)
                said |= {shard.order}
                _logger.warning("%s; another one is tried, if there is one", error.finding)

    async def _find(self, signed: SignedPayload, tried: AbstractSet[int]) -> LogReceipt | None:
        for shard in self._config.shards:
            if shard.order in tried:
                found = await self._connected(shard).find(signed)
                if found is not None:
                    return found
        return None

    def current(self) -> Shard | None:
        """Return the newest shard that takes entries, or None."""
        return self._newest(0, self._frozen)

    def _newest(self, first: int, frozen: AbstractSet[int]) -> Shard | None:
        return newest_shard(
            self._config.shards, self._config.kind, now=self._config.clock(), first=first, frozen=frozen
        )

    def _connected(self, shard: Shard) -> RemoteLog:
        if shard.order not in self._open:
            self._open[shard.order] = self._config.connect(shard)
        return self._open[shard.order]

    async def close(self) -> None:
        """Close every connection."""
        for each in self._open.values():
            await each.close()
