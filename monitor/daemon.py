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
from ledger.log.local import writer_lock
from ledger.log.published import PublishedLog
from ledger.tlog.trust_policy import LogKey, TrustPolicy
from monitor.config import LogConfig, MonitorConfig
from monitor.database import FILE_NAME
from monitor.deliver import Delivered, deliver
from monitor.findings import CLASSES, Alert, Kind, Severity
from monitor.follow import Followable, Follower, Look, Looker, begin
from monitor.known import Context
from monitor.past import Past
from monitor.rekor import RekorFollower, RekorLedger, Statements
from monitor.sinks import Sink, open_sink
from monitor.state import Position, State
from monitor.watch import Routing

CLEAN, FOUND, COULD_NOT_CHECK = 0, 1, 3
"""Exit codes of ``monitor once``; usage is 2. What could not be checked is never 0 and never looks like tampering."""
_ACCUSING = (Alert.TAMPER, Alert.MALFORMED, Alert.FINDING)
_DELIVERY_SECONDS = 1.0
"""How long a delivery that is due may wait while nothing new is found."""
_AWAKE_SECONDS = 0.2
_PARALLEL_LOGS = 8

Progress = Callable[[str, int, int], None]


@dataclass(slots=True, kw_only=True)
class Monitor:
    """A monitor at work: it alone follows and delivers from this state."""

    config: MonitorConfig
    state: State
    followers: dict[str, Looker]
    sinks: dict[str, Sink]
    clock: Callable[[], float]
    stopping: Callable[[], bool] = lambda: False

    def look(self) -> list[Look]:
        """Look once at every log, several at a time."""
        with ThreadPoolExecutor(min(_PARALLEL_LOGS, len(self.followers)), thread_name_prefix="log") as pool:
            return list(pool.map(lambda each: each.look(), self.followers.values()))

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
        return deliver(self.state, self.sinks, clock=self.clock, stopping=stopping)


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
) -> Iterator[Monitor]:
    """Open the state for following and delivering.

    Raises:
        CorruptError: the state is missing or damaged, or a log of the settings was never begun.
        WriterLockedError: another monitor uses it. ConfigError: a trust file or secret that cannot be used.
    """
    routing = config.routing()
    logs = {each.name: _trees(config, each, watched=routing.watched(each.name)) for each in config.log}
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
            yield Monitor(
                config=config, state=state, followers=followers, sinks=sinks, clock=clock, stopping=stopping
            )
        finally:
            state.close()


def exit_code(state: State, looks: Sequence[Look]) -> int:
    """Return the exit code of a look: 1 while something that accuses is open, else 3 where a log could not be checked.

    What is merely for the record (severity ``info``) or was acknowledged, resolved or expected does not count.
    """
    for kind in state.record.open_kinds():
        alert, severity = CLASSES[Kind(kind)]
        if alert in _ACCUSING and severity is not Severity.INFO:
            return FOUND
    return COULD_NOT_CHECK if any(each.problem for each in looks) else CLEAN


def run(
    monitor: Monitor,
    *,
    interval: float,
    stop: threading.Event,
    told: Callable[[Look], None],
    unpublished: Callable[[str], None] = lambda _problem: None,
) -> None:
    """Follow every log, deliver and publish until ``stop`` is set. What ends one task ends all of them, and is raised."""
    woken, verified = threading.Event(), threading.Event()

    def follow(follower: Looker) -> None:
        while not stop.is_set():
            told(follower.look())
            woken.set()
            verified.set()
            stop.wait(interval)

    def hand_over() -> None:
        while not stop.is_set():
            woken.clear()
            monitor.deliver(stopping=stop.is_set)
            woken.wait(_DELIVERY_SECONDS)

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

    with ThreadPoolExecutor(len(monitor.followers) + 2, thread_name_prefix="task") as pool:
        tasks: list[Future[None]] = [pool.submit(follow, each) for each in monitor.followers.values()]
        tasks.append(pool.submit(hand_over))
        tasks.append(pool.submit(show))
        # Awake now and then: Python runs a signal's handler in this thread alone, and not while it waits for a lock.
        while not stop.is_set() and not any(each.done() for each in tasks):
            wait(tasks, timeout=_AWAKE_SECONDS, return_when=FIRST_EXCEPTION)
        stop.set()
        woken.set()
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
    statements = Statements(log.name, config.base / log.evidence, state.logged)
    ledger = RekorLedger(context, state, statements, clock=clock)
    shards = [follower(tree, folding=partial(ledger.fold, order)) for order, tree in enumerate(trees)]
    return RekorFollower(log.name, shards, lambda: ledger.settle(routing) + past.catch_up())


def _trees(
    config: MonitorConfig, log: LogConfig, *, watched: frozenset[str] = frozenset(), pinned: bool = False
) -> list[Followable]:
    """Return the trees of a log: itself, or the shards of a ledger in Rekor, each with the keys of that shard."""
    trust, sources = config.trust(log), config.sources(log)
    revoked = frozenset(log.revoked_signers)
    if trust.is_rekor != log.is_rekor:
        raise ConfigError(
            f"kind of log {log.name}",
            expected="that of its trust file",
            actual=f"{log.kind}, and a trust file for {'Rekor' if trust.is_rekor else 'a tile log'}",
        )
    if not log.is_rekor:
        return [Followable(name=log.name, trust=trust, sources=sources, revoked=revoked, watched=watched)]
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
        )
        for name, shard, source in zip(log.trees, trust.shards, sources, strict=True)
    ]


def _of_shard(trust: TrustFile, shard: TrustedLog) -> TrustFile:
    """Return the same trust in one shard, as in a log of its own; nobody cosigns it for us."""
    policy = TrustPolicy(logs=tuple(LogKey(key=key) for key in shard.keys), witnesses=())
    return replace(trust, origin=shard.origin, policy=policy, shards=(), update_key=None)


def read_pin(path: pathlib.Path, *, max_bytes: int) -> bytes:
    """Read a pinned checkpoint. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            return file.read(max_bytes)
    except OSError as error:
        raise ConfigError(f"checkpoint {path}", expected="a readable file", actual=error.strerror) from error
