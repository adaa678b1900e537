"""Runs the service until it is told to stop: granian in front, the application behind it (``hubledger serve``).

One process: it is the one writer of its directory. Requests are read and answers are sent by threads of the web server that
need no Python; what is written is committed in groups (docs/decisions/0007-the-service.md).
"""

import asyncio
import contextlib
import os
import pathlib
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ledger.config import ServeConfig, load_config
from ledger.embedded.opening import OpenLedger, open_for_recording
from ledger.embedded.watching import Watch
from ledger.errors import ConfigError, SourceError
from ledger.server.app import App, Limits
from ledger.server.metrics import Metrics
from ledger.server.rsgi import RsgiApp
from ledger.server.service import make_app
from ledger.server.tokens import TokenFile
from ledger.server.writer import Writer

if TYPE_CHECKING:
    from granian.server.embed import Server

BACKLOG = 4096
"""Connections that may wait to be accepted: a crowd that arrives at once is taken in, not turned away by the kernel."""
STOP_SECONDS = 30
"""How long requests that were accepted may take to be answered when the service is told to stop."""


def split_listen(listen: str) -> tuple[str, int]:
    """Return host and port of a setting that was checked."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What whoever starts the service says beside the settings. ``listen`` is used instead of that of the settings.

    The last two are as in ``open_for_recording``.
    """

    listen: str | None = None
    read_only: bool = False
    not_older_than: tuple[pathlib.Path, ...] = ()
    start_unchecked: bool = False


def serve(directory: pathlib.Path, start: Start, *, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``ready`` is told the address once requests are answered.

    Raises:
        ConfigError: settings that cannot be used, or no web server installed. SourceError: the address cannot be had.
        WriterLockedError, RestoredError, CorruptError, WriteError: the directory cannot be written.
    """
    whole = load_config(directory)
    config = whole.serve if start.listen is None else replace(whole.serve, listen=start.listen)
    check_free(*split_listen(config.listen))
    metrics = Metrics() if config.metrics else None
    with contextlib.ExitStack() as stack:
        if metrics is not None:
            stack.enter_context(_showing(metrics, config.metrics))
        _serve(directory, start, config, metrics, ready)


def _serve(
    directory: pathlib.Path,
    start: Start,
    config: ServeConfig,
    metrics: Metrics | None,
    ready: Callable[[str], None],
) -> None:
    writer = None
    if not start.read_only:
        writer = Writer(lambda: _open(directory, start, metrics), room=config.queue)
        writer.start()
    try:
        limits = limits_of(config)
        app = make_app(
            directory,
            limits=limits,
            authority=TokenFile(directory) if writer else None,
            writer=writer,
            metrics=metrics,
            caller_header=config.caller_header,
        )
        try:
            asyncio.run(_run(directory, app, config, ready))
        finally:
            app.pool.close()
    finally:
        if writer is not None:
            writer.close()


def _open(
    directory: pathlib.Path, start: Start, watch: Watch | None
) -> contextlib.AbstractContextManager[OpenLedger]:
    return open_for_recording(
        directory,
        not_older_than=start.not_older_than,
        start_unchecked=start.start_unchecked,
        watch=watch,
    )


@contextlib.contextmanager
def _showing(metrics: Metrics, listen: str) -> Iterator[None]:
    """Answer Prometheus at an address of its own meanwhile. Raises SourceError: it cannot be had."""
    from prometheus_client import start_http_server

    host, port = split_listen(listen)
    check_free(host, port, setting="serve.metrics")
    server, thread = start_http_server(port, host, registry=metrics.registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def limits_of(config: ServeConfig) -> Limits:
    """Return the limits that the settings name."""
    return Limits(body_seconds=config.body_seconds, threads=config.threads, waiting=config.waiting)


def check_free(host: str, port: int, *, setting: str = "--listen or serve.listen") -> None:
    """Refuse an address that is not ours to listen at: the web server would share a port with whoever is there.

    Raises:
        SourceError: it is taken, or none of this machine.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family, backlog=1).close()
    except OSError as error:
        raise SourceError(
            f"listening at {host}:{port}",
            expected="an address of this machine and a port that is free",
            actual=os.strerror(error.errno) if error.errno else str(error),
            next_step=f"Choose another with {setting}, or stop what listens there",
        ) from error


async def _run(directory: pathlib.Path, app: App, config: ServeConfig, ready: Callable[[str], None]) -> None:
    server = _make_server(directory, app, config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = _hear_signals(loop, stop)
    serving = loop.create_task(server.serve())
    stopping = loop.create_task(stop.wait())
    host, port = split_listen(config.listen)
    try:
        await _until_listening(serving, host, port)
        if not serving.done():
            scheme = "https" if config.tls_certificate else "http"
            ready(f"{scheme}://{config.listen}")
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            raise _stopped(serving)
    finally:
        stopping.cancel()
        if not serving.done():
            server.stop()  # type: ignore[no-untyped-call]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(serving, STOP_SECONDS)
        signals()


def _hear_signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> Callable[[], None]:
    """Set ``stop`` on SIGTERM and SIGINT; returns what undoes that.

    Not loop.add_signal_handler: it takes the number from a pipe that the threads of the web server write to as well. Under
    load that pipe is full, the number is lost, and the service runs on. This pair is for signals alone.
    """
    ours, written = socket.socketpair()
    ours.setblocking(False)
    written.setblocking(False)
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    wakeup = signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)

    def hear() -> None:
        ours.recv(4096)
        stop.set()

    loop.add_reader(ours, hear)

    def undo() -> None:
        loop.remove_reader(ours)
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        ours.close()
        written.close()

    return undo


async def _until_listening(serving: "asyncio.Task[None]", host: str, port: int) -> None:
    """Wait until a connection is accepted, or the web server stopped."""
    while not serving.done():
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            return
        await asyncio.sleep(0.02)


def _stopped(serving: "asyncio.Task[None]") -> SourceError:
    reason = str(serving.exception() or "it stopped")
    return SourceError(
        "the web server",
        expected="to run until it is told to stop",
        actual=reason,
        next_step="See the lines before this one, and start the service again",
    )


def _make_server(directory: pathlib.Path, app: App, config: ServeConfig) -> "Server":
    """Return the web server. Raises ConfigError: it is not installed, or a file of TLS is missing."""
    try:
        from granian.constants import HTTPModes, Interfaces
        from granian.server.embed import Server
    except ImportError as error:
        raise ConfigError(
            "web server",
            expected="granian, from the extra `server`",
            actual="not installed",
            next_step="Run `pip install 'hubledger[server]'`",
        ) from error
    host, port = split_listen(config.listen)
    certificate, key = (
        (directory / each if each else None) for each in (config.tls_certificate, config.tls_key)
    )
    for path in (certificate, key):
        if path is not None and not path.is_file():
            raise ConfigError(
                f"file {path}", expected="a readable PEM file", actual="none", next_step="Correct [serve]"
            )
    return Server(
        RsgiApp(app),
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.auto,
        websockets=False,
        backlog=BACKLOG,
        backpressure=BACKLOG,
        log_enabled=False,
        ssl_cert=certificate,
        ssl_key=key,
    )
