"""Notices a sink that takes nothing any more: it is told to all others, and in the end set aside.

A sink that is set aside is asked once a day, and is told all that it is owed as soon as it takes something. It is never
switched off for good: whoever mends it need not remember that somebody has to switch it on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import LedgerError, SourceError
from monitor.findings import SELF, Finding, Kind
from monitor.outbox import LONGEST_WAIT
from monitor.state import State

SILENT_SECONDS = 3600
"""Seconds for which a sink may be owed something and take nothing."""
ASIDE_SECONDS = 7 * 86_400
"""Seconds of silence after which it is set aside."""
ASIDE_PAUSE = LONGEST_WAIT
"""Seconds between two questions to a sink that is set aside."""
_LEAST_REFUSALS = 3
_GONE = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class Only:
    """Sinks that are told something, whatever their filters say."""

    names: tuple[str, ...]

    def sinks(self, finding: Finding, /) -> tuple[str, ...]:  # noqa: ARG002  # whatever it is
        """Return them."""
        return self.names


def is_gone(error: LedgerError) -> bool:
    """Whether a receiver says that nothing is to be sent there any more."""
    return isinstance(error, SourceError) and error.status == _GONE


def is_to_be_set_aside(state: State, sink: str, error: LedgerError, *, now: int) -> bool:
    """Whether a sink that just refused is set aside."""
    return is_gone(error) or _silent_for(state, sink, now) >= ASIDE_SECONDS


def tell_refusal(state: State, sink: str, error: LedgerError, *, others: Sequence[str], now: int) -> None:
    """Report a sink that refused, where it takes nothing for too long or says that it is gone: once, to all others."""
    seconds = _silent_for(state, sink, now)
    lasting = seconds >= SILENT_SECONDS and state.outbox.refusals(sink) >= _LEAST_REFUSALS
    if not lasting and not is_gone(error):
        return
    why = "says that it is gone for good" if is_gone(error) else f"has taken nothing for {seconds} s"
    finding = Finding(
        log=SELF,
        kind=Kind.SINK_SILENT,
        about=sink,
        text=f"Sink {sink} {why} ({error.finding}): what is found does not arrive there; repair it, or take it out of the "
        "settings, and look at `hubledger monitor findings` meanwhile.",
        facts={"sink": sink},
    )
    state.report(finding, routes=Only(names=tuple(each for each in others if each != sink)), now=now)


def tell_taken(state: State, sink: str, *, now: int) -> None:
    """Settle the silence of a sink that took something."""
    if sink in state.record.open_about(SELF, Kind.SINK_SILENT):
        state.record.recovered(SELF, kinds=(Kind.SINK_SILENT,), now=now, about=sink)


def _silent_for(state: State, sink: str, now: int) -> int:
    """Return for how many seconds a sink is owed something and took nothing."""
    waiting, took = state.outbox.waiting_since(sink), state.outbox.took_at(sink)
    return 0 if waiting is None else max(0, now - max(waiting, took or 0))
