"""Runs a monitor: one task for each log, one for each sink, until it is stopped."""

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

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
