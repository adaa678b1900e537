"""Puts a monitor together: one task for each log, one for deliveries, one process for each state.

``open_monitor`` holds the lock of the state, so that two monitors never tell the same thing in two words or move one
position twice. Acknowledging, resolving and expecting need no lock: they are one transaction each.
"""

import pathlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ledger.client.trust import TrustedLog, TrustFile
from ledger.errors import ConfigError, CorruptError, LedgerError
from ledger.log.fetch import Fetch, fetch_from_url
from ledger.log.local import writer_lock
from ledger.log.published import PublishedLog
from ledger.tlog.trust_policy import LogKey, TrustPolicy
from monitor.beside import open_canary, open_crosscheck
from monitor.canary import Canary
from monitor.compare import Views
from monitor.config import LogConfig, MonitorConfig, SinkConfig, parse_host_port
from monitor.crosscheck import Crosscheck
from monitor.database import FILE_NAME
from monitor.deliver import Delivered, deliver, deliver_to
from monitor.findings import Kind
from monitor.follow import Followable, Follower, Look, Looker, begin
from monitor.health import Health, accuses, assess
from monitor.known import Context
from monitor.past import Past
from monitor.rekor import Finder, RekorFollower, RekorLedger, Statements
from monitor.server import serving
from monitor.sinks import Sink, open_sink
from monitor.state import Position, State
from monitor.statements import STATEMENT_SECONDS, FetchedStatements, is_address
from monitor.watch import Routing

CLEAN, FOUND, COULD_NOT_CHECK = 0, 1, 3
"""Exit codes of ``monitor once``; usage is 2. What could not be checked is never 0 and never looks like tampering."""
_DELIVERY_SECONDS = 1.0
"""How long a delivery that is due may wait while nothing new is found."""
_AWAKE_SECONDS = 0.2
_CANARY_SECONDS = 1.0
"""How soon it is seen that a canary arrived."""
_PARALLEL_LOGS = 8

Progress = Callable[[str, int, int], None]


@dataclass(slots=True, kw_only=True)
class Monitor:
    """A monitor at work: it alone follows and delivers from this state."""

    config: MonitorConfig
    state: State
    followers: dict[str, Looker]
    sinks: dict[str, Sink]
    views: Views
    compared: dict[str, dict[str, Fetch]]
    canary: Canary | None
    crosscheck: Crosscheck | None
    clock: Callable[[], float]
    stopping: Callable[[], bool] = lambda: False

    def look(self) -> list[Look]:
        """Look once at every log, several at a time."""
        with ThreadPoolExecutor(min(_PARALLEL_LOGS, len(self.followers)), thread_name_prefix="log") as pool:
            return list(pool.map(self.look_at, self.followers))

    def look_at(self, name: str) -> Look:
        """Look once at one log, and then at what others were shown of it."""
        look = self.followers[name].look()
        if self.compared[name]:
            self.views.poll(name, self.compared[name])
        return look

    def check_beside(self) -> None:
        """Look after the canary and at the hub's list, where the settings have them."""
        self.check_canary()
        if self.crosscheck:
            self.crosscheck.look()

    def check_canary(self) -> None:
        """Send a canary if it is time, and see whether the last one arrived."""
        if self.canary:
            self.canary.look()

    def publish(self) -> str:
        """Publish, where a folder is set. Returns why it could not be done in full, empty where it was.

        That the published folder is in doubt does not stop the monitor: people are told by other ways too.
        """
        if not self.config.publish.folder:
            return ""
        from monitor.publish.publishing import publish

        try:
            done = publish(self.config, self.state, stopping=self.stopping)
        except LedgerError as error:
            return error.finding
        return "; ".join(f"{log}: {problem}" for log, problem in done.problems.items())

    def deliver(self, *, stopping: Callable[[], bool] = lambda: False) -> Delivered:
        """Hand over what is due."""
        limits = {each.name: each.limit for each in self.config.sink}
        return deliver(self.state, self.sinks, clock=self.clock, stopping=stopping, limits=limits)


def init(config: MonitorConfig, *, pinned: dict[str, bytes | None], now: int) -> list[Position]:
    """Make the state where there is none, and begin the named logs: each from genesis (None) or from a pinned checkpoint.

    Raises:
        ConfigError: a log that the settings do not have. WriteError: a log that is followed already.
    """
    known = {each.name: each for each in config.log}
    for name in pinned:
        if name not in known:
            raise ConfigError(
                f"log {name}", expected="one of " + ", ".join(known), actual="not in the settings"
            )
    if not (config.folder / FILE_NAME).exists():
        State.create(config.folder, now=now)
    state = State(config.folder)
    try:
        begun = state.logs()
        return [
            begin(tree, state, pinned=pin, now=now)
            for name, pin in pinned.items()
            for tree in _trees(config, known[name], pinned=pin is not None)
            if tree.name not in begun
        ]
    finally:
        state.close()


@contextmanager
def open_monitor(
    config: MonitorConfig,
    *,
    clock: Callable[[], float] = time.time,  # noqa: TID251  # the edge
    stopping: Callable[[], bool] = lambda: False,
    progress: Progress = lambda _log, _done, _size: None,
    patient: bool = False,
) -> Iterator[Monitor]:
    """Open the state for following and delivering. ``patient``: each log's ``partial_wait`` is waited for.

    Raises:
        CorruptError: the state is missing or damaged, or a log of the settings was never begun.
        WriterLockedError: another monitor uses it. ConfigError: a trust file or secret that cannot be used.
    """
    routing = config.routing()
    logs = {
        each.name: _trees(config, each, watched=routing.watched(each.name), patient=patient)
        for each in config.log
    }
    sinks = {each.name: open_sink(each, config) for each in config.sink}
    State(
        config.folder, check=False
    ).close()  # a state that is missing is refused before a lock is laid beside it
    with writer_lock(config.folder / "lock"):
        state = State(config.folder)
        try:
            for log in (tree for trees in logs.values() for tree in trees):
                name, position = log.name, state.position(log.name)
                if position.origin != log.trust.origin:
                    raise CorruptError(
                        f"log {name} of the monitor",
                        expected=f"origin {position.origin}, which was begun",
                        actual=f"{log.trust.origin}, by its trust file",
                        next_step="Give another log another name; its history is not that of the old one",
                    )
            followers = {
                each.name: _follower(
                    config,
                    each,
                    logs[each.name],
                    state,
                    routing=routing,
                    clock=clock,
                    stopping=stopping,
                    progress=progress,
                )
                for each in config.log
            }
            views = open_views(config, state, clock=clock)
            yield Monitor(
                config=config,
                state=state,
                followers=followers,
                sinks=sinks,
                views=views,
                compared={each.name: config.views(each) for each in config.log},
                canary=open_canary(config, state, clock=clock) if config.canary else None,
                crosscheck=open_crosscheck(config, state, clock=clock) if config.crosscheck else None,
                clock=clock,
                stopping=stopping,
            )
        finally:
            state.close()


def exit_code(state: State, looks: Sequence[Look]) -> int:
    """Return the exit code of a look: 1 while something that accuses is open, else 3 where a log could not be checked.

    What is merely for the record (severity ``info``) or was acknowledged, resolved or expected does not count.
    """
    kinds = state.record.open_kinds()
    if accuses(kinds):
        return FOUND
    blind = Kind.CANARY_SILENT in kinds or any(each.problem for each in looks)
    return COULD_NOT_CHECK if blind else CLEAN


def run(
    monitor: Monitor,
    *,
    interval: float,
    stop: threading.Event,
    told: Callable[[Look], None],
    unpublished: Callable[[str], None] = lambda _problem: None,
) -> None:
    """Follow every log, deliver and publish until ``stop`` is set. What ends one task ends all of them, and is raised."""
    woken = {name: threading.Event() for name in monitor.sinks}
    verified = threading.Event()

    def wake() -> None:
        for each in woken.values():
            each.set()

    def follow(name: str) -> None:
        while not stop.is_set():
            told(monitor.look_at(name))
            wake()
            verified.set()
            stop.wait(interval)

    def sing(canary: Canary) -> None:
        while not stop.is_set():
            if canary.look():
                wake()
            stop.wait(_CANARY_SECONDS)

    def hand_over(config: SinkConfig) -> None:
        sink, event = monitor.sinks[config.name], woken[config.name]
        while not stop.is_set():
            event.clear()
            deliver_to(
                monitor.state,
                config.name,
                sink,
                clock=monitor.clock,
                stopping=stop.is_set,
                limit=config.limit,
            )
            event.wait(_DELIVERY_SECONDS)

    def cross(crosscheck: Crosscheck, every: float) -> None:
        while not stop.is_set():
            if crosscheck.look().new_findings:
                wake()
            stop.wait(every)

    def show() -> None:
        before = ""
        while not stop.is_set():
            verified.wait(_DELIVERY_SECONDS)
            if not verified.is_set() or stop.is_set():
                continue
            verified.clear()
            problem = monitor.publish()
            if problem != before:
                unpublished(problem)
            before = problem

    # Each sink has a task of its own: one that takes its time to fail keeps no other waiting.
    with ThreadPoolExecutor(len(monitor.followers) + len(woken) + 3, thread_name_prefix="task") as pool:
        tasks: list[Future[None]] = [pool.submit(follow, each) for each in monitor.followers]
        tasks += [pool.submit(hand_over, each) for each in monitor.config.sink]
        if monitor.config.publish.folder:
            tasks.append(pool.submit(show))
        if monitor.canary:
            tasks.append(pool.submit(sing, monitor.canary))
        if monitor.crosscheck and (settings := monitor.config.crosscheck):
            tasks.append(pool.submit(cross, monitor.crosscheck, settings.every))
        # Awake now and then: Python runs a signal's handler in this thread alone, and not while it waits for a lock.
        while not stop.is_set() and not any(each.done() for each in tasks):
            wait(tasks, timeout=_AWAKE_SECONDS, return_when=FIRST_EXCEPTION)
        stop.set()
        wake()
        verified.set()
    for task in tasks:
        task.result()


def _follower(
    config: MonitorConfig,
    log: LogConfig,
    trees: Sequence[Followable],
    state: State,
    *,
    routing: Routing,
    clock: Callable[[], float],
    stopping: Callable[[], bool],
    progress: Progress,
) -> Looker:
    """Return what follows a log: one tree, or each shard of a ledger in Rekor."""
    context = Context(
        log=log.name,
        trust=config.trust(log),
        first=state.position(log.name).first,
        revoked=trees[0].revoked,
        watched=trees[0].watched,
    )
    first = trees[0]
    published = PublishedLog(first.sources[0], origin=first.trust.origin, keys=first.trust.log_keys)
    past = Past(
        context,
        None if log.is_rekor else published,
        state,
        routing=routing,
        clock=clock,
        stopping=stopping,
    )
    past.begin()

    def follower(tree: Followable, **more: Any) -> Follower:
        return Follower(
            tree,
            state,
            routes=routing,
            evidence=config.evidence,
            clock=clock,
            stopping=stopping,
            progress=lambda done, size: progress(tree.name, done, size),
            **more,
        )

    if not log.is_rekor:
        return follower(first, past=past.catch_up)
    statements: Finder = Statements(log.name, config.base / log.evidence, state.logged)
    if is_address(log.evidence):
        fetch = fetch_from_url(
            log.evidence, seconds=STATEMENT_SECONDS, per_second=log.max_requests_per_second
        )
        statements = FetchedStatements(log.name, fetch, ledger=context.trust.ledger)
    ledger = RekorLedger(context, state, statements, clock=clock)
    shards = [follower(tree, folding=partial(ledger.fold, order)) for order, tree in enumerate(trees)]
    return RekorFollower(log.name, shards, lambda: ledger.settle(routing) + past.catch_up())


def _trees(
    config: MonitorConfig,
    log: LogConfig,
    *,
    watched: frozenset[str] = frozenset(),
    pinned: bool = False,
    patient: bool = False,
) -> list[Followable]:
    """Return the trees of a log: itself, or the shards of a ledger in Rekor, each with the keys of that shard."""
    trust, sources = config.trust(log), config.sources(log)
    revoked, wait = frozenset(log.revoked_signers), log.partial_wait if patient else 0.0
    if trust.is_rekor != log.is_rekor:
        raise ConfigError(
            f"kind of log {log.name}",
            expected="that of its trust file",
            actual=f"{log.kind}, and a trust file for {'Rekor' if trust.is_rekor else 'a tile log'}",
        )
    if not log.is_rekor:
        return [
            Followable(
                name=log.name,
                trust=trust,
                sources=sources,
                revoked=revoked,
                watched=watched,
                partial_wait=wait,
            )
        ]
    if len(sources) != len(trust.shards):
        raise ConfigError(
            f"shards of log {log.name}",
            expected=f"{len(trust.shards)}, as in its trust file",
            actual=len(sources),
        )
    if pinned:
        raise ConfigError(
            f"log {log.name}", expected="genesis: histories go through all shards", actual="a checkpoint"
        )
    return [
        Followable(
            name=name,
            trust=_of_shard(trust, shard),
            sources=(source,),
            revoked=revoked,
            watched=watched,
            partial_wait=wait,
        )
        for name, shard, source in zip(log.trees, trust.shards, sources, strict=True)
    ]


def _of_shard(trust: TrustFile, shard: TrustedLog) -> TrustFile:
    """Return the same trust in one shard, as in a log of its own; nobody cosigns it for us."""
    policy = TrustPolicy(logs=tuple(LogKey(key=key) for key in shard.keys), witnesses=())
    return replace(trust, origin=shard.origin, policy=policy, shards=(), update_key=None)


def open_views(config: MonitorConfig, state: State, *, clock: Callable[[], float]) -> Views:
    """Return what judges the checkpoints of the logs of the settings. Raises ConfigError: a trust file."""
    trees = [tree for each in config.log for tree in _trees(config, each)]
    return Views(
        {each.name: each.trust for each in trees},
        state,
        routes=config.routing(),
        evidence=config.evidence,
        clock=clock,
    )


@contextmanager
def answering(monitor: Monitor) -> Iterator[int | None]:
    """Answer on the address of the settings while the context lasts; yields the port, None where there is no address."""
    config, state, clock = monitor.config, monitor.state, monitor.clock
    if not config.listen:
        yield None
        return
    address = parse_host_port(config.listen, what="listen")
    health = partial(_assess_now, config, state, clock)
    with serving(address, views=monitor.views, assess=health, clock=clock) as port:
        yield port


def _assess_now(config: MonitorConfig, state: State, clock: Callable[[], float]) -> Health:
    return assess(config, state, now=int(clock()))


def read_pin(path: pathlib.Path, *, max_bytes: int) -> bytes:
    """Read a pinned checkpoint. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            return file.read(max_bytes)
    except OSError as error:
        raise ConfigError(f"checkpoint {path}", expected="a readable file", actual=error.strerror) from error
