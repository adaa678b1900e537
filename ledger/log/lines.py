"""Connections to one server, one a request at a time, and an end to each request wherever it is.

A library's own pool does not say which connection a request goes over before its answer begins, and until then a server can hold
a reader as long as it likes. So each request has a line to itself, and when its time is over only that line is cut.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from ledger.errors import SourceError

if TYPE_CHECKING:
    import httpx

_KEPT = 5.0
"""Seconds for which a line that nobody uses is kept: as long as the library keeps the connection."""
_MADE = (".connect_tcp.complete", ".start_tls.complete")
"""How the library's events end when a connection is made, whether by itself or by way of a proxy."""
_AGAIN = 1.0
"""Seconds after which a line is cut again, should the request not have ended by that."""


class Line:
    """One client, over which one request goes at a time; knows the socket of its connection."""

    def __init__(self, client: "httpx.Client") -> None:
        self.client = client
        self._socket: socket.socket | None = None

    def hold(self, connected: socket.socket) -> None:
        """Remember the newest socket: TLS takes the plain one over, and leaves it empty."""
        self._socket = connected

    def cut(self) -> None:
        """End what is read or written over it. The answer then looks like one that has ended: ask the watch before taking it."""
        if self._socket is not None:
            with suppress(OSError):  # closed already, or taken over by TLS just now
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Lines:
    """The lines to one server, as many as there are requests at a time; thread-safe."""

    def __init__(
        self, connect: "Callable[[], httpx.Client]", *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._connect, self._clock, self._lock = connect, clock, threading.Lock()
        self._idle: list[tuple[float, Line]] = []

    @contextmanager
    def line(self) -> Iterator[Line]:
        """Give a line out: the one that was used last, whose connection is the likeliest to be open still."""
        with self._lock:
            found = self._idle.pop()[1] if self._idle else None
        line = found or Line(self._connect())
        try:
            yield line
        finally:
            self._put_back(line)

    def _put_back(self, line: Line) -> None:
        with self._lock:
            now = self._clock()
            self._idle.append((now, line))
            old = [each for since, each in self._idle if since < now - _KEPT]
            self._idle = self._idle[len(old) :]  # they lie in the order in which they came back
        for each in old:
            each.client.close()

    def close(self) -> None:
        """Close the lines that nobody uses."""
        with self._lock:
            old, self._idle = self._idle, []
        for _, each in old:
            each.client.close()


class Watch:
    """Ends one request after ``seconds``, wherever it is: a header that comes byte by byte, or interim answers without an end,
    would hold a reader for ever, because each read by itself is in time.
    """

    def __init__(
        self, url: str, line: Line, *, seconds: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url, self._line, self._seconds, self._clock = url, line, seconds, clock
        self._lock, self._over, self._cut = threading.Lock(), threading.Event(), False

    def __enter__(self) -> Self:
        self._began = self._clock()
        if self._seconds is not None:
            threading.Thread(target=self._wait, args=(self._seconds,), name="watch", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:  # from here on the line is somebody else's
            self._over.set()

    def _wait(self, seconds: float) -> None:
        while not self._over.wait(seconds):
            with self._lock:
                if not self._over.is_set():
                    self._cut = True  # before the socket: whoever sees its end finds the reason
                    self._line.cut()
            seconds = _AGAIN

    def note(self, name: str, info: Mapping[str, Any]) -> None:
        """Remember a connection that was made, and end it at once if that took too long: httpx's ``trace``."""
        if name.endswith(_MADE):
            with self._lock:
                self._line.hold(info["return_value"].get_extra_info("socket"))
                if self._cut:
                    self._line.cut()

    def in_time(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield what comes as long as it comes in time. Raises SourceError."""
        for chunk in chunks:
            if self._seconds is not None and self._clock() - self._began > self._seconds:
                self._cut = True
            self.check()
            yield chunk
        self.check()  # a body without a length ends where the connection does, also where we ended that

    def check(self) -> None:
        """Raise SourceError if the time is over."""
        if self._cut:
            raise SourceError(
                f"GET {self._url}",
                expected=f"the whole answer within {self._seconds:g} s",
                actual="more to come",
                next_step="Try again later, or use another mirror",
            )
