"""Opens a monitor: its memory, what follows its logs, and whom it tells.

``open_monitor`` holds the lock of the state, so that two monitors never tell the same thing in two words or move one
position twice. Acknowledging, resolving and expecting need no lock: they are one transaction each.
"""

import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from ledger.errors import ConfigError, CorruptError, LedgerError
from ledger.log.fetch import Fetch, received_by
from ledger.log.lock import writer_lock
from monitor.assembling import Progress, follower_of, open_views, trees_of
from monitor.beginning import begin
from monitor.beside import open_canary, open_crosscheck
from monitor.canary import Canary
from monitor.compare import Views
from monitor.config import MonitorConfig
from monitor.crosscheck import Crosscheck
from monitor.database import FILE_NAME
from monitor.deliver import Delivered, deliver
from monitor.findings import Kind
from monitor.forms import parse_host_port
from monitor.health import Health, accuses, assess
from monitor.hooks import Say
from monitor.looks import Look, Looker
from monitor.server import serving
from monitor.sinks import Sink, open_sink
from monitor.state import Position, State

CLEAN, FOUND, COULD_NOT_CHECK = 0, 1, 3
"""Exit codes of ``monitor once``; usage is 2. What could not be checked is never 0 and never looks like tampering."""
_PARALLEL_LOGS = 8
_ARRIVES = frozenset((Kind.CANARY_SILENT, Kind.SINK_SILENT))
"""What says that alerts do not arrive: a monitor that nobody hears is not clean."""


@dataclass(slots=True, kw_only=True)
class Monitor:
    """A monitor at work: it alone follows and delivers from this state."""

    config: MonitorConfig
    state: State
    followers: dict[str, Looker]
    sinks: dict[str, Sink]
    views: Views
    compared: dict[str, dict[str, Fetch]]
    sources: dict[str, tuple[Fetch, ...]]
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
            done = publish(self.config, self.state, now=self.clock(), stopping=self.stopping)
        except LedgerError as error:
            return error.finding
        return "; ".join(f"{log}: {problem}" for log, problem in done.problems.items())

    def received(self) -> dict[str, int]:
        """Return how many bytes came from the addresses of each log since this began."""
        return {name: sum(map(received_by, sources)) for name, sources in self.sources.items()}

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
            for tree in trees_of(config, known[name], pinned=pin is not None)
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
    say: Say | None = None,
) -> Iterator[Monitor]:
    """Open the state for following and delivering. ``patient``: each log's ``partial_wait`` is waited for. ``say`` as in ``Hooks``.

    Raises:
        CorruptError: the state is missing or damaged, or a log of the settings was never begun.
        WriterLockedError: another monitor uses it. ConfigError: a trust file or secret that cannot be used.
    """
    routing = config.routing()
    logs = {
        each.name: trees_of(config, each, watched=routing.watched(each.name), patient=patient)
        for each in config.log
    }
    sinks = {each.name: open_sink(each, config, say=say) for each in config.sink}
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
                        next_step="Name the right trust file, if this is that of another log. If another log is to be "
                        "followed, give it another name: its history is not that of the old one",
                    )
            followers = {
                each.name: follower_of(
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
                sources={
                    tree.name: tree.sources for trees in logs.values() for tree in trees if tree.sources
                },
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
    blind = not _ARRIVES.isdisjoint(kinds) or any(each.problem for each in looks)
    return COULD_NOT_CHECK if blind else CLEAN


@contextmanager
def answering(monitor: Monitor) -> Iterator[int | None]:
    """Answer on the address of the settings while the context lasts; yields the port, None where there is no address."""
    config, state, clock = monitor.config, monitor.state, monitor.clock
    if not config.listen:
        yield None
        return
    address = parse_host_port(config.listen, what="listen")
    health = partial(_assess_now, config, state, clock)
    with serving(address, views=monitor.views, assess=health, received=monitor.received, clock=clock) as port:
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
