"""What Prometheus is told, at an address of its own (``serve.metrics``). docs/guides/operate.md says what each means.

No label has a name that a stranger chose: addresses are the templates of the table of routes, methods those that it has,
outcomes and decisions the words of the specification. A stranger cannot make a series.
"""

import contextlib
import os
import pathlib
import threading
from collections import Counter as Kinds
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ledger.errors import ConfigError, LedgerError
from ledger.event import Statement, VerificationEvent
from ledger.server.messages import Request, Response
from ledger.server.routes import Route
from ledger.server.views import View
from ledger.tlog.cosignature import verify_cosignatures

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from ledger.server.places import Waiting

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of durations: 25 and 100 ms are what an upload path and its readers are promised (docs/benchmarks.md)."""
METHODS = ("GET", "HEAD", "POST", "PUT", "OPTIONS")
_REFUSED = (401, 403)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Where the numbers that are asked for at each scrape come from. ``writer``, ``pool``: as in ``Metrics.collect``."""

    view: View
    writer: Callable[[], dict[str, Any]]
    pool: Callable[[], int]
    now: Callable[[], int]
    evidence: Callable[[], int | None]


class Metrics:
    """Counts what happens, and answers a scrape. Safe for threads; a ``ledger.embedded.watching.Watch`` as well.

    Raises:
        ConfigError: its library is not installed.
    """

    def __init__(self) -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Histogram
        except ImportError as error:
            raise ConfigError(
                "serve.metrics",
                expected="prometheus-client, from the extra `server`",
                actual="not installed",
                next_step="Run `pip install 'hubledger[server]'`",
            ) from error
        self.registry = CollectorRegistry(auto_describe=True)

        def counter(name: str, says: str, *labels: str) -> Counter:
            return Counter(f"hubledger_{name}", says, labels, registry=self.registry)

        def histogram(name: str, says: str, *labels: str) -> Histogram:
            return Histogram(f"hubledger_{name}", says, labels, registry=self.registry, buckets=SECONDS)

        self._requests = counter("requests", "Requests that were answered.", "route", "method", "status")
        self._seconds = histogram("request_seconds", "From a request's head to its answer.", "route")
        self._refusals = counter("token_refusals", "Requests refused for their token.", "status")
        self._events = counter("events", "Verification events recorded.", "outcome", "decision")
        self._statements = counter("other_statements", "Other statements recorded.")
        self._commits = histogram("commit_seconds", "One commit to the disk.")
        self._publications = histogram("publish_seconds", "One publication: signed, written, shown.")
        self._series: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    def watch_sizes(self, sizes: Sizes) -> None:
        """Ask for these numbers at each scrape."""
        self.registry.register(_Collector(sizes))

    def answered(self, request: Request, response: Response, route: Route | None, seconds: float) -> None:
        """Count one request."""
        path = route.path if route else "none"
        method = request.method if request.method in METHODS else "other"
        key = path, method, response.status
        series = self._series.get(key)
        if series is None:
            # Bounded: by the table of routes, the methods above and the statuses that we answer.
            series = self._requests.labels(path, method, str(response.status)), self._seconds.labels(path)
            self._series[key] = series
        series[0].inc()
        series[1].observe(seconds)
        if response.status in _REFUSED and route is not None and route.scope:
            self._refusals.labels(str(response.status)).inc()

    # Watch

    def recorded(self, statements: Sequence[Statement]) -> None:
        """Count statements that are durable."""
        events = [each for each in statements if isinstance(each, VerificationEvent)]
        self._statements.inc(len(statements) - len(events))
        # Added up first: a batch has a thousand events, and few kinds.
        for (outcome, decision), count in Kinds(
            (each.outcome, each.policy.decision) for each in events
        ).items():
            self._events.labels(outcome, decision).inc(count)

    def committed(self, seconds: float) -> None:
        """Count one commit."""
        self._commits.observe(seconds)

    def published(self, seconds: float) -> None:
        """Count one publication."""
        self._publications.observe(seconds)


class _Collector:
    """The numbers of the moment. What cannot be read is left out: 0 would be a lie."""

    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes
        # One thread for all scrapes: the indexes are opened once, not once a scrape.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="metrics")

    def describe(self) -> "list[Metric]":
        """Return nothing: whoever registers must not read the ledger."""
        return []

    def collect(self) -> "Iterator[Metric]":
        """Return what is known now."""
        from prometheus_client.core import GaugeMetricFamily

        for name, says, value in self._thread.submit(self._ask).result():
            yield GaugeMetricFamily(f"hubledger_{name}", says, value=value)

    def _ask(self) -> list[tuple[str, str, int]]:
        found = []
        for name, says, ask in GAUGES:
            with contextlib.suppress(LedgerError):
                if (value := ask(self._sizes)) is not None:
                    found.append((name, says, value))
        return found


def _waiting(sizes: Sizes) -> "Waiting | None":
    """What waits for Rekor; None where the log is of one's own."""
    if not sizes.view.in_rekor:
        return None
    from ledger.server.places import waiting_of

    return waiting_of(sizes.view.accepted, now=sizes.now())


def _outbox(name: str) -> Callable[[Sizes], int | None]:
    def ask(sizes: Sizes) -> int | None:
        waiting = _waiting(sizes)
        return None if waiting is None else int(getattr(waiting, name) or 0)

    return ask


def _published(sizes: Sizes) -> int | None:
    return None if sizes.view.in_rekor else sizes.view.size


def _published_at(sizes: Sizes) -> int | None:
    """When the log itself says that its newest checkpoint was signed; None where it has no clock."""
    verified = sizes.view.ledger.log.checkpoint()
    keys = [each.key for each in sizes.view.ledger.trust.policy.witnesses]
    times = [each.timestamp for each in verify_cosignatures(verified, keys)]
    return max(times, default=None)


def _checkpoint_age(sizes: Sizes) -> int | None:
    signed = _published_at(sizes)
    return None if signed is None else max(0, sizes.now() - signed)


def _durable(sizes: Sizes) -> int | None:
    return sizes.writer().get("durable")


def _unpublished(sizes: Sizes) -> int | None:
    durable = _durable(sizes)
    return None if durable is None or sizes.view.in_rekor else max(0, durable - sizes.view.size)


GAUGES: tuple[tuple[str, str, Callable[[Sizes], int | None]], ...] = (
    ("writer_ok", "1 where events are taken, 0 where not.", lambda s: int(s.writer()["state"] == "ok")),
    ("events_waiting", "Events that wait for the writer.", lambda s: s.writer().get("waiting")),
    ("requests_inside", "Requests that hold or wait for a thread.", lambda s: s.pool()),
    ("log_durable_size", "Leaves that are committed.", _durable),
    ("log_published_size", "Leaves in the newest checkpoint.", _published),
    ("log_unpublished", "Leaves that no checkpoint has yet.", _unpublished),
    ("checkpoint_age_seconds", "Since the newest checkpoint was signed.", _checkpoint_age),
    (
        "index_behind",
        "Published leaves that the index lacks.",
        lambda s: max(0, s.view.size - s.view.index.position()),
    ),
    (
        "digests_behind",
        "Published leaves that the digest index lacks.",
        lambda s: max(0, s.view.size - s.view.digests.position()),
    ),
    ("outbox_waiting", "Entries that are accepted and not in Rekor.", _outbox("pending")),
    ("outbox_refused", "Of those, entries that wait for a person.", _outbox("refused")),
    ("outbox_failed", "Of those, entries whose last attempt failed.", _outbox("failed")),
    ("outbox_oldest_seconds", "Since the one that waits longest was accepted.", _outbox("oldest_seconds")),
    ("evidence_bytes", "Bytes of evidence, counted now and then.", lambda s: s.evidence()),
)


class CountedNowAndThen:
    """A number that takes long to count: counted by a thread of its own when it is asked for, at most every ``seconds``."""

    def __init__(self, count: Callable[[], int], *, seconds: float, clock: Callable[[], float]) -> None:
        self._count, self._seconds, self._clock = count, seconds, clock
        self._guard = threading.Lock()
        self._due = clock()
        self._counting: threading.Thread | None = None
        self._value: int | None = None

    def __call__(self) -> int | None:
        """Return the number that was counted last; None before the first."""
        with self._guard:
            if self._clock() >= self._due and (self._counting is None or not self._counting.is_alive()):
                self._counting = threading.Thread(target=self._run, name="count", daemon=True)
                self._counting.start()
            return self._value

    def _run(self) -> None:
        value = self._count()
        with self._guard:
            self._value, self._due = value, self._clock() + self._seconds

    def wait(self) -> None:
        """Wait for a count that is under way."""
        counting = self._counting
        if counting is not None:
            counting.join()


def bytes_below(folder: pathlib.Path) -> int:
    """Return the bytes of all files below a folder; those that go meanwhile do not count."""
    size = 0
    waiting = [folder]
    while waiting:
        with contextlib.suppress(FileNotFoundError), os.scandir(waiting.pop()) as found:
            for each in found:
                with contextlib.suppress(FileNotFoundError):
                    if each.is_dir(follow_symlinks=False):
                        waiting.append(pathlib.Path(each.path))
                    else:
                        size += each.stat(follow_symlinks=False).st_size
    return size
