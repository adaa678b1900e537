"""Hands over what waits in the outbox: at least once to each sink, later again where it was not taken.

Every sink has a thread of its own and its own waiting time, so one that is broken or slow silences no other.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ledger.errors import ConfigError, UnavailableError
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
) -> Delivered:
    """Hand over everything that is due, to all sinks at once, and return when each has taken or refused.

    ``stopping`` ends it after the delivery at hand; the rest is due at the next start.
    If we stop after a sink took a finding and before that is stored, it gets it again.
    """
    with ThreadPoolExecutor(max(1, len(sinks)), thread_name_prefix="sink") as pool:
        rounds = {
            name: pool.submit(_to_one, state, name, sink, clock, stopping) for name, sink in sinks.items()
        }
        done = {name: each.result() for name, each in rounds.items()}
    return Delivered(
        taken={name: taken for name, (taken, _) in done.items()},
        problems={name: problem for name, (_, problem) in done.items() if problem},
    )


def _to_one(
    state: State, name: str, sink: Sink, clock: Callable[[], float], stopping: Callable[[], bool]
) -> tuple[int, str]:
    taken = 0
    while due := state.outbox.due(name, now=int(clock())):
        for each in due:
            if stopping():
                return taken, ""
            try:
                sink.send(each.finding)
            except (UnavailableError, ConfigError) as error:
                again = int(clock()) + pause_after(each.attempts + 1)
                state.outbox.failed(each, problem=error.finding, next_attempt=again)
                return taken, error.finding
            state.outbox.delivered(each, now=int(clock()))
            taken += 1
    return taken, ""
