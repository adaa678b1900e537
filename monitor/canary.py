"""Shows that alerts still arrive: a finding of its own kind goes through the outbox to a sink, and its silence is an alert.

One canary:

1. it becomes a finding in the record, owed to the named sink alone;
2. the sink takes it, as any other;
3. where ``heartbeat`` is set, its id must also stand in that file: whoever receives it, a hook or a person's script at the far
   end, writes it there;
4. where ``ping`` is set, it is posted to that address: a dead man's switch elsewhere notices when this whole monitor is gone.

Only then it has arrived. One that has not within ``grace`` is told to all other sinks, and the monitor is not healthy.
"""

import pathlib
from collections.abc import Callable

from ledger.errors import LedgerError
from monitor.checks import CanaryConfig
from monitor.findings import SELF, Finding, Kind
from monitor.record import Stored
from monitor.silence import Only
from monitor.sinks import Sink
from monitor.state import State

ARRIVED = "arrived"
_HEARTBEAT_BYTES = 4096


class Canary:
    """Sends canaries and looks for them. One thread at a time."""

    def __init__(
        self,
        config: CanaryConfig,
        state: State,
        *,
        others: tuple[str, ...],
        base: pathlib.Path,
        ping: Sink | None,
        clock: Callable[[], float],
    ) -> None:
        self._config, self._state, self._clock = config, state, clock
        self._others, self._base, self._ping = others, base, ping

    def look(self) -> bool:
        """Send one if it is time, see whether the last one arrived, and tell its silence. Returns whether something is owed."""
        now = int(self._clock())
        last = self._state.record.newest(SELF, Kind.CANARY)
        if last is not None and last.state == "open":
            if self._has_arrived(last):
                self._state.move((last.number,), to="resolved", note=ARRIVED, now=now)
                self._state.record.recovered(SELF, kinds=(Kind.CANARY_SILENT,), now=now)
            elif now - last.found_at >= self._config.grace:
                self._state.report(self._silence(last), routes=Only(names=self._others), now=now)
        if last is None or now - last.found_at >= self._config.every:
            if last is not None and last.state == "open":  # told late it would look like the next one
                self._state.move((last.number,), to="resolved", note="did not arrive", now=now)
            self._send(now)
            return True
        return False

    def _send(self, now: int) -> None:
        finding = Finding(
            log=SELF,
            kind=Kind.CANARY,
            about=str(now),
            text="This is the monitor's canary: alerts arrive here. Nothing is wrong, and nothing is to be done.",
            facts={"every": int(self._config.every)},
        )
        self._state.report(finding, routes=Only(names=(self._config.sink,)), now=now)

    def _has_arrived(self, canary: Stored) -> bool:
        if self._state.outbox.delivered_at(canary.number, self._config.sink) is None:
            return False
        if self._config.heartbeat and canary.id.encode() not in self._heartbeat():
            return False
        if self._ping is None:
            return True
        try:
            self._ping.send(canary)
        except LedgerError:
            return False  # asked again at the next look; in the end its silence is told
        return True

    def _heartbeat(self) -> bytes:
        try:
            with (self._base / self._config.heartbeat).open("rb") as file:
                return file.read(_HEARTBEAT_BYTES)
        except OSError:
            return b""

    def _silence(self, canary: Stored) -> Finding:
        _, _, problem = self._state.outbox.sink_counts().get(self._config.sink, (0, 0, ""))
        why = f"its last problem: {problem}" if problem else "it took the canary, but nothing confirmed it"
        return Finding(
            log=SELF,
            kind=Kind.CANARY_SILENT,
            text=f"The canary to sink {self._config.sink} did not arrive within {int(self._config.grace)} s ({why}): alerts may "
            "not arrive there either; repair that sink, and look at `hubledger monitor findings` meanwhile.",
            facts={"canary": canary.id},
        )
