"""Group commit: callers that arrive while a commit runs are served together by whoever gets the lock next."""

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ledger.errors import LedgerError, WriteError

MAX_BATCH_ENTRIES = 8192
"""Entries of one commit, at most: bounds how long one transaction can take."""

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


@dataclass(slots=True)
class _Ticket(Generic[_Item, _Answer]):
    """One caller's items, waiting for whoever holds the lock."""

    items: Sequence[_Item]
    answers: list[_Answer] | None = None
    failure: LedgerError | None = None


class GroupCommit(Generic[_Item, _Answer]):
    """Gathers items of many callers and gives them, in order, to one function at a time.

    ``run`` gets at most ``limit`` items and answers each of them; it is called under ``lock``. What it raises reaches
    every caller whose items it had.
    """

    def __init__(
        self,
        lock: contextlib.AbstractContextManager[object],
        run: Callable[[list[_Item]], list[_Answer]],
        *,
        limit: int,
    ) -> None:
        self._lock, self._run, self._limit = lock, run, limit
        self._queue: list[_Ticket[_Item, _Answer]] = []
        self._guard = threading.Lock()

    def submit(self, items: Sequence[_Item]) -> list[_Answer]:
        """Return the answers to these items; more than ``limit`` of them are given in several goes.

        Raises:
            LedgerError: what ``run`` raised. WriteError: it was interrupted, and the fate of the items is unknown.
        """
        if len(items) > self._limit:
            starts = range(0, len(items), self._limit)
            return [answer for at in starts for answer in self.submit(items[at : at + self._limit])]
        ticket: _Ticket[_Item, _Answer] = _Ticket(items)
        with self._guard:
            self._queue.append(ticket)
        with self._lock:
            # Whoever comes first is served first, so one go may not reach this ticket.
            while ticket.answers is None and ticket.failure is None:
                self._serve()
        if ticket.failure is not None:
            raise ticket.failure
        return ticket.answers or []

    def waiting(self) -> int:
        """How many callers wait to be served."""
        with self._guard:
            return len(self._queue)

    def _serve(self) -> None:
        tickets = self._take()
        try:
            answers = self._run([item for ticket in tickets for item in ticket.items])
        except LedgerError as error:
            for ticket in tickets:
                ticket.failure = error
        except BaseException:
            for ticket in tickets:
                ticket.failure = interrupted("committing")
            raise
        else:
            for ticket in tickets:
                ticket.answers, answers = answers[: len(ticket.items)], answers[len(ticket.items) :]

    def _take(self) -> list[_Ticket[_Item, _Answer]]:
        """Take those who wait, first come first served, as far as the limit goes; one at least."""
        with self._guard:
            count, items = 0, 0
            while count < len(self._queue):
                items += len(self._queue[count].items)
                if count and items > self._limit:
                    break
                count += 1
            tickets, self._queue = self._queue[:count], self._queue[count:]
        return tickets


def interrupted(what: str) -> WriteError:
    """Return the error of work that stopped where nobody can say how far it came."""
    return WriteError(
        what,
        expected="a known outcome",
        actual="an interrupted writer",
        next_step="Open the ledger again: it continues from what is certain",
    )
