"""Runs a monitor: one task for each log, one for each sink, until it is stopped."""

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial

from monitor.canary import Canary
from monitor.crosscheck import Crosscheck
from monitor.daemon import Monitor
from monitor.deliver import deliver_to
from monitor.looks import Look
from monitor.sink_config import SinkConfig

_DELIVERY_SECONDS = 1.0
"""How long a delivery that is due may wait while nothing new is found."""
_AWAKE_SECONDS = 0.2
_CANARY_SECONDS = 1.0
"""How soon it is seen that a canary arrived."""


def run(
    monitor: Monitor,
    *,
    interval: float,
    stop: threading.Event,
    told: Callable[[Look], None],
    unpublished: Callable[[str], None] = lambda _problem: None,
) -> None:
    """Follow every log, deliver and publish until ``stop`` is set. What ends one task ends all of them, and is raised."""
    running = _Running(monitor, interval=interval, stop=stop, told=told, unpublished=unpublished)
    work = running.work()
    with ThreadPoolExecutor(len(work), thread_name_prefix="task") as pool:
        tasks: list[Future[None]] = [pool.submit(each) for each in work]
        # Awake now and then: Python runs a signal's handler in this thread alone, and not while it waits for a lock.
        while not stop.is_set() and not any(each.done() for each in tasks):
            wait(tasks, timeout=_AWAKE_SECONDS, return_when=FIRST_EXCEPTION)
        stop.set()
        running.wake()
    for task in tasks:
        task.result()


class _Running:
    """The tasks of one run, and what wakes them."""

    def __init__(
        self,
        monitor: Monitor,
        *,
        interval: float,
        stop: threading.Event,
        told: Callable[[Look], None],
        unpublished: Callable[[str], None],
    ) -> None:
        self._monitor, self._interval, self._stop = monitor, interval, stop
        self._told, self._tell_unpublished = told, unpublished
        self._found = {name: threading.Event() for name in monitor.sinks}
        self._verified = threading.Event()

    def work(self) -> list[Callable[[], None]]:
        """Return each task. A sink has one of its own: one that takes its time to fail keeps no other waiting."""
        config = self._monitor.config
        work: list[Callable[[], None]] = [partial(self._follow, name) for name in self._monitor.followers]
        work += [partial(self._deliver, sink) for sink in config.sink]
        if config.publish.folder:
            work.append(self._publish)
        if self._monitor.canary:
            work.append(partial(self._sing, self._monitor.canary))
        if self._monitor.crosscheck and config.crosscheck:
            work.append(partial(self._cross, self._monitor.crosscheck, config.crosscheck.every))
        return work

    def wake(self) -> None:
        """Let every task look whether there is something to do."""
        self._wake_sinks()
        self._verified.set()

    def _wake_sinks(self) -> None:
        for each in self._found.values():
            each.set()

    def _follow(self, name: str) -> None:
        while not self._stop.is_set():
            self._told(self._monitor.look_at(name))
            self.wake()
            self._stop.wait(self._interval)

    def _deliver(self, config: SinkConfig) -> None:
        sink, found = self._monitor.sinks[config.name], self._found[config.name]
        while not self._stop.is_set():
            found.clear()
            deliver_to(
                self._monitor.state,
                config.name,
                sink,
                clock=self._monitor.clock,
                stopping=self._stop.is_set,
                limit=config.limit,
                others=tuple(self._monitor.sinks),
            )
            found.wait(_DELIVERY_SECONDS)

    def _publish(self) -> None:
        before = ""
        while not self._stop.is_set():
            self._verified.wait(_DELIVERY_SECONDS)
            if not self._verified.is_set() or self._stop.is_set():
                continue
            self._verified.clear()
            problem = self._monitor.publish()
            if problem != before:
                self._tell_unpublished(problem)
            before = problem

    def _sing(self, canary: Canary) -> None:
        while not self._stop.is_set():
            if canary.look():
                self._wake_sinks()
            self._stop.wait(_CANARY_SECONDS)

    def _cross(self, crosscheck: Crosscheck, every: float) -> None:
        while not self._stop.is_set():
            if crosscheck.look().new_findings:
                self._wake_sinks()
            self._stop.wait(every)
