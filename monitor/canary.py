"""Shows that alerts still arrive: a finding of its own kind goes through the outbox to a sink, and its silence is an alert.

One canary:

1. it becomes a finding in the record, owed to the named sink alone: when it is time; or, where the settings name a model that the
   hub records for this, when a new version of it was verified, which shows the whole way from the hub to the sink;
2. the sink takes it, as any other;
3. where ``heartbeat`` is set, its id must also stand in that file: whoever receives it, a hook or a person's script at the far
   end, writes it there;
4. where ``ping`` is set, it is posted to that address: a dead man's switch elsewhere notices when this whole monitor is gone.

Only then it has arrived. One that has not within ``grace`` is told to all other sinks, and the monitor is not healthy. So is a model
of which no new version was verified for ``every`` and ``grace`` together.
"""

import pathlib
from collections.abc import Callable

from ledger.errors import LedgerError
from ledger.event import escape_name
from ledger.event.readable import readable_name
from monitor.checks import CanaryConfig
from monitor.findings import SELF, Finding, Kind
from monitor.record import Stored
from monitor.silence import Only
from monitor.sinks import Sink
from monitor.state import State

ARRIVED = "arrived"
CLOCK_SLACK = 60
"""Seconds that a clock may go back: it is set right now and then."""
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
        finding = self._of_hub(last, now) if self._config.model else self._by_clock(last, now)
        if finding is None:
            return False
        if last is not None and last.state == "open":  # told late it would look like the next one
            self._state.move((last.number,), to="resolved", note="did not arrive", now=now)
        self._state.report(finding, routes=Only(names=(self._config.sink,)), now=now)
        return True

    def _by_clock(self, last: Stored | None, now: int) -> Finding | None:
        # One from the future was sent by a clock that has gone back since: it must not keep the next ones waiting.
        if last is not None and -CLOCK_SLACK <= now - last.found_at < self._config.every:
            return None
        return Finding(
            log=SELF,
            kind=Kind.CANARY,
            about=str(now),
            text="This is the monitor's canary: alerts arrive here. Nothing is wrong, and nothing is to be done.",
            facts={"every": int(self._config.every)},
        )

    def _of_hub(self, last: Stored | None, now: int) -> Finding | None:
        """Return the canary of a version that is new, and tell the silence of a hub that records none."""
        model, log, every = self._config.model, self._config.log, self._config.every
        key = f"name:{escape_name(model)}"
        known = self._state.load(log, histories=(key,)).histories
        head = known[key].head if key in known else None
        version = "" if head is None else head.statement_sha256.hex()
        before = {} if last is None else last.facts["facts"]
        if head is None or before.get("version") == version:
            since = self._state.checkpoints.began_at(log) if last is None else last.found_at
            if since and now - since >= every + self._config.grace:
                self._state.report(self._no_version(now - since), routes=Only(names=self._others), now=now)
            return None
        # A canary waits for no digest, so a hub must not be able to send one whenever it likes.
        if last is not None and -CLOCK_SLACK <= now - last.found_at < every / 2:
            return None
        return Finding(
            log=SELF,
            kind=Kind.CANARY,
            about=version,
            text=f"This is the canary of {log}: its hub recorded {readable_name(escape_name(model))} again, and an alert of it arrives here. "
            "Nothing is wrong, and nothing is to be done.",
            facts={"every": int(every), "version": version},
        )

    def _no_version(self, seconds: int) -> Finding:
        model, log = escape_name(self._config.model), self._config.log
        return Finding(
            log=SELF,
            kind=Kind.CANARY_SILENT,
            about=model,
            text=f"No new version of {readable_name(model)}, which the hub of {log} records so that its silence is noticed, was verified for "
            f"{seconds} s: what the hub records may not reach this monitor; see `hubledger monitor status`, and ask the hub.",
            facts={"model": model},
        )

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
