"""Hands over what waits in the outbox: at least once to each sink, later again where it was not taken.

Every sink has a thread, a waiting time and a limit of its own, so one that is broken or slow silences no other.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ledger.errors import ConfigError, LedgerError, UnavailableError
from monitor.digest import MOST, Limit, plan
from monitor.outbox import Due
from monitor.silence import ASIDE_PAUSE, is_to_be_set_aside, tell_refusal, tell_taken
from monitor.sinks import Sink
from monitor.state import State

FIRST_PAUSE = 5
"""Seconds before a sink that refused is asked again; twice as long after each further refusal."""
LONGEST_PAUSE = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What one round came to: how many each sink took, and why one did not."""

    taken: Mapping[str, int]
    problems: Mapping[str, str]


def pause_after(attempts: int) -> int:
    """Return the seconds until the next attempt, after so many that failed."""
    return min(LONGEST_PAUSE, FIRST_PAUSE << min(attempts - 1, 16))


def deliver(
    state: State,
    sinks: Mapping[str, Sink],
    *,
    clock: Callable[[], float],
    stopping: Callable[[], bool] = lambda: False,
    limits: Mapping[str, Limit] | None = None,
) -> Delivered:
    """Hand over everything that is due, to all sinks at once, and return when each has taken or refused.

    ``stopping`` ends it after the delivery at hand; the rest is due at the next start.
    """
    limits = limits or {}

    def hand_over(some: Sequence[str]) -> dict[str, tuple[int, str]]:
        with ThreadPoolExecutor(max(1, len(some)), thread_name_prefix="sink") as pool:
            rounds = {
                name: pool.submit(
                    deliver_to,
                    state,
                    name,
                    sinks[name],
                    clock=clock,
                    stopping=stopping,
                    limit=limits.get(name, Limit()),
                    others=tuple(sinks),
                )
                for name in some
            }
            return {name: each.result() for name, each in rounds.items()}

    done = hand_over(tuple(sinks))
    problems = {name: problem for name, (_, problem) in done.items() if problem}
    taken = {name: count for name, (count, _) in done.items()}
    if problems:  # that a sink is silent was found meanwhile, and is told to the others now
        for name, (count, problem) in hand_over([each for each in sinks if each not in problems]).items():
            taken[name] += count
            problems |= {name: problem} if problem else {}
    return Delivered(taken=taken, problems=problems)


def deliver_to(
    state: State,
    name: str,
    sink: Sink,
    *,
    clock: Callable[[], float],
    stopping: Callable[[], bool] = lambda: False,
    limit: Limit = Limit(),  # noqa: B008  # a value
    others: Sequence[str] = (),
) -> tuple[int, str]:
    """Hand over to one sink what is due; returns how many findings it took, and why it took no more.

    Where it takes nothing for long, ``others`` are told, and it is set aside (``monitor.silence``).

    If we stop after a sink took a message and before that is stored, it gets it again.
    """
    taken = 0
    if LONGEST_PAUSE < state.outbox.paused_until(name) - int(clock()) <= ASIDE_PAUSE:
        return 0, ""  # set aside: what is new waits with the rest
    while True:
        now = int(clock())
        due = state.outbox.due(name, now=now, limit=MOST if limit.messages else 100)
        sent = state.outbox.messages_since(name, now - limit.seconds, until=now) if limit.messages else 0
        messages = plan(due, limit=limit, sent=sent)
        if not messages:
            return taken, ""
        for each in messages:
            if stopping():
                return taken, ""
            try:
                sink.send(each.finding)
            except (UnavailableError, ConfigError) as error:
                _note_refusal(state, name, each.covers[0], error, others=others, now=int(clock()))
                return taken, error.finding
            state.outbox.delivered(each.covers, now=int(clock()))
            tell_taken(state, name, now=int(clock()))
            taken += len(each.covers)


def _note_refusal(
    state: State, name: str, first: Due, error: LedgerError, *, others: Sequence[str], now: int
) -> None:
    pause = pause_after(state.outbox.refusals(name) + 1)
    if is_to_be_set_aside(state, name, error, now=now):
        pause = ASIDE_PAUSE
    state.outbox.failed(first, problem=error.finding, next_attempt=now + pause)
    tell_refusal(state, name, error, others=others, now=now)
