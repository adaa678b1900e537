"""The metrics of a monitor, in the format of Prometheus (extra ``server``). Read from the state when they are asked for."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from monitor.findings import CLASSES, Kind
from monitor.health import Health

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_P = "hubledger_monitor_"


class _Collector:
    def __init__(
        self,
        assess: Callable[[], Health],
        received: Callable[[], Mapping[str, int]],
        clock: Callable[[], float],
    ) -> None:
        self._assess, self._received, self._clock = assess, received, clock

    def collect(self) -> Iterator[Metric]:
        health, now = self._assess(), self._clock()
        yield GaugeMetricFamily(
            f"{_P}ready", "1 where the monitor can be relied on, 0 where not.", value=not health.problems
        )
        yield from _logs(health, now)
        yield _fetched(self._received())
        yield from _findings(health)
        yield from _sinks(health, now)
        yield from _canary(health, now)


def format_metrics(
    assess: Callable[[], Health], *, received: Callable[[], Mapping[str, int]], clock: Callable[[], float]
) -> bytes:
    """Return all metrics as text. Ages are seconds by ``clock``; one is absent where there was no such moment.

    ``received`` returns for each log the bytes that were fetched: the one thing that is not read from the state.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(assess, received, clock))
    return generate_latest(registry)


def _logs(health: Health, now: float) -> Iterator[Metric]:
    seen = GaugeMetricFamily(f"{_P}log_seen_size", "The largest size that the log signed.", labels=["log"])
    verified = GaugeMetricFamily(
        f"{_P}log_verified_size", "Entries that are replayed and verified.", labels=["log"]
    )
    lag = GaugeMetricFamily(f"{_P}log_lag_entries", "Entries signed and not verified yet.", labels=["log"])
    entries = CounterMetricFamily(
        f"{_P}log_entries",
        "Entries verified since following began; its rate is entries a second.",
        labels=["log"],
    )
    checked = GaugeMetricFamily(
        f"{_P}log_checked_age_seconds", "Seconds since the last look.", labels=["log"]
    )
    succeeded = GaugeMetricFamily(
        f"{_P}log_succeeded_age_seconds",
        "Seconds since the last look that verified everything.",
        labels=["log"],
    )
    pending = GaugeMetricFamily(
        f"{_P}log_pending_age_seconds",
        "Seconds since the oldest checkpoint was seen whose entries are not all verified; 0 where there is none.",
        labels=["log"],
    )
    cosigned = GaugeMetricFamily(
        f"{_P}log_cosigned_age_seconds",
        "Seconds since as many witnesses as make the quorum said that the log's checkpoint is the newest.",
        labels=["log"],
    )
    quorum = GaugeMetricFamily(
        f"{_P}log_quorum_met",
        "1 where the newest checkpoint has the quorum of the trust file; absent where that has no witnesses.",
        labels=["log"],
    )
    problem = GaugeMetricFamily(f"{_P}log_problem", "1 where the last look could not verify.", labels=["log"])
    for each in health.logs:
        labels = [each.log]
        seen.add_metric(labels, each.seen)
        verified.add_metric(labels, each.verified)
        lag.add_metric(labels, each.lag)
        entries.add_metric(labels, each.verified - each.first)
        problem.add_metric(labels, bool(each.problem))
        pending.add_metric(labels, 0 if each.pending_since is None else now - each.pending_since)
        if each.quorum_met is not None:
            quorum.add_metric(labels, each.quorum_met)
        for family, moment in (
            (checked, each.checked_at),
            (succeeded, each.succeeded_at),
            (cosigned, each.cosigned_at),
        ):
            if moment is not None:
                family.add_metric(labels, now - moment)
    yield from (seen, verified, lag, entries, checked, succeeded, pending, cosigned, quorum, problem)


def _fetched(received: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(
        f"{_P}log_fetched_bytes",
        "Bytes that came from the addresses of a log since this process began.",
        labels=["log"],
    )
    for log, count in received.items():
        family.add_metric([log], count)
    return family


def _findings(health: Health) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        f"{_P}findings_open",
        "Open findings.",
        labels=["log", "kind", "class", "severity"],
    )
    for (log, kind), count in sorted(health.open.items()):
        alert, severity = CLASSES[Kind(kind)]
        family.add_metric([log, kind, str(alert), str(severity)], count)
    yield family


def _sinks(health: Health, now: float) -> Iterator[Metric]:
    delivered = CounterMetricFamily(f"{_P}sink_delivered", "Findings that a sink took.", labels=["sink"])
    waiting = GaugeMetricFamily(f"{_P}sink_waiting", "Findings that wait for a sink.", labels=["sink"])
    age = GaugeMetricFamily(
        f"{_P}sink_waiting_age_seconds", "Age of the oldest finding that waits for it.", labels=["sink"]
    )
    failing = GaugeMetricFamily(
        f"{_P}sink_failing", "1 where its last delivery was refused.", labels=["sink"]
    )
    for each in health.sinks:
        delivered.add_metric([each.sink], each.delivered)
        waiting.add_metric([each.sink], each.waiting)
        age.add_metric([each.sink], 0 if each.waiting_since is None else now - each.waiting_since)
        failing.add_metric([each.sink], bool(each.problem))
    yield from (delivered, waiting, age, failing)


def _canary(health: Health, now: float) -> Iterator[Metric]:
    for what, moment, text in (
        ("sent", health.canary_sent_at, "Seconds since the last canary was sent."),
        ("arrived", health.canary_arrived_at, "Seconds since a canary arrived."),
    ):
        family = GaugeMetricFamily(f"{_P}canary_{what}_age_seconds", text, labels=[])
        if moment is not None:
            family.add_metric([], now - moment)
        yield family
