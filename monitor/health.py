"""What a monitor says about itself: how far each log is verified, what is open and owed, and whether it can be relied on.

``monitor status``, the health endpoint and the metrics all show this, so that no two of them disagree. It is read from the state
(and the folders of hooks), and is therefore as true of a monitor that runs as of one that has stopped.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ledger.errors import SourceError
from monitor.canary import ARRIVED
from monitor.config import MonitorConfig
from monitor.findings import CLASSES, SELF, Alert, Kind, Severity
from monitor.hooks import look_into
from monitor.known import COSIGNED
from monitor.silence import SILENT_SECONDS
from monitor.sink_config import SinkConfig
from monitor.state import State

LEAST_SILENCE = 300
"""Seconds without a successful look at a log that are always forgiven; else it is three intervals."""
_ACCUSING = (Alert.TAMPER, Alert.MALFORMED, Alert.FINDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogHealth:
    """One log. Times are POSIX seconds, None where there was no such moment.

    ``pending_since``: when the oldest checkpoint was seen whose entries are not all verified yet. ``cosigned_at``: as of when
    the witnesses of the trust file, as many as make its quorum, say that the log's checkpoint is the newest; ``quorum_met`` is
    None where the trust file has no witnesses. ``severities``: how many findings of each are open, those for the record too.
    """

    log: str
    origin: str
    first: int
    seen: int
    verified: int
    checked_at: int | None
    succeeded_at: int | None
    pending_since: int | None
    cosigned_at: int | None
    quorum_met: bool | None
    severities: Mapping[Severity, int]
    problem: str

    @property
    def open(self) -> int:
        """How many findings are open, those for the record too."""
        return sum(self.severities.values())

    @property
    def lag(self) -> int:
        """Entries that the log signed, or in Rekor v1 the hub lists, and that are not verified yet."""
        return self.seen - self.verified


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkHealth:
    """One sink: how much it took and is owed, since when it is owed the oldest, and its last problem.

    ``asked_again_at``: until when what it refused waits, None where it refused nothing that it is owed. ``left_out``: files of its
    folder of hooks that are not executable, and so are not run.
    """

    sink: str
    delivered: int
    waiting: int
    waiting_since: int | None
    asked_again_at: int | None
    problem: str
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """All of it. ``problems`` says in words why the monitor is not to be relied on; empty: it is."""

    logs: tuple[LogHealth, ...]
    sinks: tuple[SinkHealth, ...]
    open: Mapping[tuple[str, str], int]
    canary_sent_at: int | None
    canary_arrived_at: int | None
    problems: tuple[str, ...]

    @property
    def own(self) -> Mapping[Severity, int]:
        """How many findings of each severity are open about the monitor itself."""
        return _severities(SELF, self.open)

    @property
    def accuses(self) -> bool:
        """Whether something is open that makes ``monitor once`` end with 1."""
        return accuses(kind for _, kind in self.open)


def accuses(kinds: Iterable[str]) -> bool:
    """Whether one of these kinds of finding is about a log or its events, and more than for the record."""
    return any(
        CLASSES[Kind(kind)][0] in _ACCUSING and CLASSES[Kind(kind)][1] is not Severity.INFO for kind in kinds
    )


def assess(config: MonitorConfig, state: State, *, now: int) -> Health:
    """Read the state. Raises NotFoundError: a log of the settings was never begun."""
    found = state.record.count_open()
    logs = tuple(
        _log(name, state, by_receipt=each.by_receipt, found=found)
        for each in config.log
        for name in each.trees
    )
    counts, since = state.outbox.sink_counts(), state.outbox.oldest_waiting()
    sinks = tuple(
        SinkHealth(
            sink=each.name,
            delivered=counts.get(each.name, (0, 0, ""))[0],
            waiting=counts.get(each.name, (0, 0, ""))[1],
            waiting_since=since.get(each.name),
            asked_again_at=state.outbox.paused_until(each.name) or None,
            problem=counts.get(each.name, (0, 0, ""))[2],
            left_out=left_out(config, each),
        )
        for each in config.sink
    )
    canary = state.record.newest(SELF, Kind.CANARY) if config.canary else None
    silent = state.record.newest(SELF, Kind.CANARY_SILENT) if config.canary else None
    problems = [_late(each, config, now) for each in logs] + [_stuck(each, now) for each in sinks]
    if silent is not None and silent.state != "resolved":
        problems.append("the canary did not arrive")
    return Health(
        logs=logs,
        sinks=sinks,
        open=found,
        canary_sent_at=None if canary is None else canary.found_at,
        canary_arrived_at=state.record.moved_at(SELF, Kind.CANARY, note=ARRIVED) if config.canary else None,
        problems=tuple(filter(None, problems)),
    )


def _severities(log: str, found: Mapping[tuple[str, str], int]) -> dict[Severity, int]:
    """Return how many findings of each severity are open of a log, the gravest first; none of which there is none."""
    counts: Counter[Severity] = Counter()
    for (name, kind), count in found.items():
        if name == log:
            counts[CLASSES[Kind(kind)][1]] += count
    return {each: counts[each] for each in reversed(Severity) if counts[each]}


def left_out(config: MonitorConfig, sink: SinkConfig) -> tuple[str, ...]:
    """Return which files of a sink's folder of hooks are not run; none where it has no folder, or one that cannot be read."""
    try:
        return look_into(config.base / sink.hooks).left_out if sink.hooks else ()
    except SourceError:  # told when something is to be sent
        return ()


def _log(name: str, state: State, *, by_receipt: bool, found: Mapping[tuple[str, str], int]) -> LogHealth:
    position = state.position(name)
    seen, verified = max(state.checkpoints.largest(name), position.size), position.size
    if by_receipt:  # what the hub lists, and what is proven of that
        seen, verified = state.receipts.listed(name), state.receipts.proven(name)
    pending = state.checkpoints.between(name, least=position.size + 1)
    cosigned = state.notes(name, (COSIGNED,)).get(COSIGNED, {})
    return LogHealth(
        log=name,
        origin=position.origin,
        first=position.first,
        seen=seen,
        verified=verified,
        checked_at=position.checked_at,
        succeeded_at=position.succeeded_at,
        pending_since=min((each.seen_at for each in pending), default=None),
        cosigned_at=cosigned.get("at"),
        quorum_met=cosigned.get("met"),
        severities=_severities(name, found),
        problem=position.problem,
    )


def _late(log: LogHealth, config: MonitorConfig, now: int) -> str:
    allowed = max(LEAST_SILENCE, 3 * config.interval)
    if log.succeeded_at is None:
        return f"log {log.log} was never checked successfully"
    if now - log.succeeded_at > allowed:
        return f"log {log.log} was last checked successfully {now - log.succeeded_at} s ago"
    return ""


def _stuck(sink: SinkHealth, now: int) -> str:
    if sink.waiting_since is None or not sink.problem or now - sink.waiting_since <= SILENT_SECONDS:
        return ""
    return f"sink {sink.sink} has not taken a finding for {now - sink.waiting_since} s"
