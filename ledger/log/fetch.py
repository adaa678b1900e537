"""Where a published log's objects come from: a folder, or a web address."""

import functools
import pathlib
import random
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ledger.encoding import parse_decimal
from ledger.errors import LimitError, MalformedError, NotFoundError, SourceError, UsageError
from ledger.log.lines import Line, Lines, Watch
from ledger.storage.directory import DirectoryObjects

if TYPE_CHECKING:
    import ssl

    import httpx

IN_FLIGHT = 8
"""Requests at a time from one process: enough to hide the way to the server, few enough to be welcome there."""
TRIES = 4
"""How often a request is made before its failure counts: a log of millions of entries is thousands of requests."""
_FIRST_PAUSE = 0.5
"""Seconds before the second try; twice as long before each further one. By chance up to half as long again, so that all whom a
server turned away do not come back at once.
"""
_GZIP_BYTES = 1024
"""Header, trailer and a file name of a gzip stream."""
LONGEST_PAUSE = 60
"""Seconds that we wait because a server said so (Retry-After); one that asks for more is left alone for now."""
_TRY_AGAIN = frozenset((429, 500, 502, 503, 504))
_MAX_TAG = 256
"""Characters of an ETag that is sent back: it goes into each request."""
_NO_OBJECT = "Check the address: below that of a log there are a checkpoint and its tiles"
_TELL = "Try again, use another mirror, or tell whoever serves it"


class Fetch(Protocol):
    """``fetch(name, max_bytes)`` returns an object's bytes. Raises NotFoundError, LimitError, SourceError."""

    def __call__(self, name: str, /, *, max_bytes: int) -> bytes:
        """Return the object."""
        ...


def fetch_from_folder(folder: pathlib.Path) -> Fetch:
    """Read objects from a folder."""
    return DirectoryObjects(folder).get


class Pace:
    """Keeps at least ``1 / per_second`` between two requests, whichever threads make them; 0 is no limit."""

    def __init__(
        self, per_second: float, *, pause: Callable[[float], object], clock: Callable[[], float]
    ) -> None:
        self._gap = 1 / per_second if per_second else 0.0
        self._pause, self._clock = pause, clock
        self._lock, self._next = threading.Lock(), 0.0

    def wait(self) -> None:
        """Wait for this request's turn. Turns are given out in order, and the waiting is done outside of the lock."""
        if not self._gap:
            return
        with self._lock:
            now = self._clock()
            turn = max(self._next, now)
            self._next = turn + self._gap
        if turn > now:
            self._pause(turn - now)


@dataclass(frozen=True, slots=True)
class _Kept:
    """The last answer for an object that changes in place, and what the server calls that version of it."""

    tag: str
    body: bytes


class _HttpFetch:
    """Reads objects over HTTP(S); thread-safe. Tries again where a server is busy or a connection broke."""

    def __init__(
        self,
        base: str,
        lines: Lines,
        *,
        pause: Callable[[float], object],
        chance: Callable[[], float],
        tries: int,
        seconds: float | None,
        clock: Callable[[], float],
        per_second: float,
        conditional: frozenset[str],
    ) -> None:
        self._base, self._lines, self._pause, self._tries = base, lines, pause, tries
        self._seconds, self._clock, self._chance = seconds, clock, chance
        self._pace = Pace(per_second, pause=pause, clock=clock)
        self._conditional = conditional
        self._kept: dict[str, _Kept] = {}
        self.received = 0
        self._counting = threading.Lock()
        self.pool = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="fetch")

    def __call__(self, name: str, /, *, max_bytes: int) -> bytes:
        for attempt in range(self._tries - 1):
            try:
                return self._once(name, max_bytes)
            except _Busy as busy:
                if busy.retry_after > LONGEST_PAUSE:
                    raise busy.refusal from busy.__cause__
                wanted = max(busy.retry_after, _FIRST_PAUSE * 2**attempt)
                self._pause(wanted * (1 + self._chance() / 2))
        try:
            return self._once(name, max_bytes)
        except _Busy as busy:
            raise busy.refusal from busy.__cause__

    def _once(self, name: str, max_bytes: int) -> bytes:
        url = f"{self._base}/{name}"
        self._pace.wait()
        with self._lines.line() as line, Watch(url, line, seconds=self._seconds, clock=self._clock) as watch:
            return self._ask(line, watch, name, max_bytes=max_bytes)

    def _ask(self, line: Line, watch: Watch, name: str, *, max_bytes: int) -> bytes:
        import httpx

        url, kept = f"{self._base}/{name}", self._kept.get(name)
        try:
            with line.client.stream(
                "GET",
                url,
                headers={"If-None-Match": kept.tag} if kept else None,
                extensions={"trace": watch.note},
            ) as response:
                status = response.status_code
                if kept is not None and status == httpx.codes.NOT_MODIFIED and len(kept.body) <= max_bytes:
                    return kept.body  # whoever reads a checkpoint checks its signature each time
                if status == httpx.codes.NOT_FOUND:
                    raise NotFoundError(url, expected="an object", actual="404", next_step=_NO_OBJECT)
                if status != httpx.codes.OK:
                    refusal = SourceError(
                        f"GET {url}",
                        expected="status 200",
                        actual=str(status),
                        next_step=_next_step(status),
                    )
                    refusal.status = status
                    if status not in _TRY_AGAIN:
                        raise refusal
                    raise _Busy(refusal, retry_after=retry_after_of(response.headers.get("retry-after", "")))
                encoding = response.headers.get("content-encoding", "identity")
                chunks = self._counted(watch.in_time(response.iter_raw()))
                body = _read_body(chunks, encoding, name=name, max_bytes=max_bytes)
                self._keep(name, response.headers.get("etag", ""), body)
                return body
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            watch.check()
            refusal = SourceError(
                f"GET {url}",
                expected="an answer",
                actual=str(error) or type(error).__name__,
                next_step="Check the address and try again",
            )
            raise _Busy(refusal) from error

    def _counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            with self._counting:
                self.received += len(chunk)
            yield chunk

    def _keep(self, name: str, tag: str, body: bytes) -> None:
        """Remember what changes in place under the server's name for it; without one, the next request is a plain one."""
        if name not in self._conditional:
            return
        if tag and len(tag) <= _MAX_TAG and tag.isascii() and tag.isprintable():
            self._kept[name] = _Kept(tag, body)
        else:
            self._kept.pop(name, None)


def _next_step(status: int) -> str:
    if status in _TRY_AGAIN:
        return "Try again later, or use another mirror"
    if status // 100 == 3:
        return "Redirects are not followed: name the address that it leads to"
    if status in (401, 403):
        return "The server wants to know who asks: use an address that is open to everybody"
    return "Check the address, and tell whoever serves it"


class _Busy(Exception):  # noqa: N818 - not an error until the last try
    """Nothing was said about the object: another try may help; else this is the refusal."""

    def __init__(self, refusal: SourceError, *, retry_after: int = 0) -> None:
        super().__init__(str(refusal))
        self.refusal, self.retry_after = refusal, retry_after


def retry_after_of(text: str) -> int:
    """Return the seconds of a Retry-After header; 0 where there are none. A date is not compared with our clock."""
    try:
        return parse_decimal(text, what="Retry-After")
    except MalformedError:
        return 0


@functools.cache
def _tls() -> "ssl.SSLContext":
    """The certificate roots of this process: most of a megabyte, which a monitor of many logs needs once."""
    import httpx

    return httpx.create_ssl_context()


def fetch_from_url(
    url: str,
    *,
    timeout: float = 20.0,
    transport: "httpx.BaseTransport | None" = None,
    pause: Callable[[float], object] = time.sleep,
    chance: Callable[[], float] = random.random,
    tries: int = TRIES,
    seconds: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    per_second: float = 0.0,
    conditional: frozenset[str] = frozenset(),
) -> Fetch:
    """Read objects over HTTP(S) below ``url``. ``timeout`` is in seconds for each read, ``seconds`` for a whole answer, by
    ``clock``; redirects are not followed. At most ``per_second`` requests are made (0: as many as there are), and a server
    that says Retry-After is asked no sooner. ``chance`` returns 0 to 1 and spreads the pauses. Objects named in ``conditional`` are asked for only if they changed.

    Raises:
        UsageError: no address of a web server.
        SourceError: anything but 200 and 404, or no answer, ``tries`` times. LimitError: a body that is too large.
    """
    import httpx  # only commands that go to the network pay for it

    try:
        address = httpx.URL(url)
        sound = address.scheme in ("http", "https") and bool(address.host)
    except (httpx.InvalidURL, UnicodeError, ValueError):
        sound = False
    if not sound:
        raise UsageError(
            "address of the log",
            expected="http://… or https://… with a host",
            actual=url,
            next_step="Give the address below which `checkpoint` is served",
        )
    lines = Lines(
        functools.partial(
            httpx.Client,
            timeout=timeout,
            follow_redirects=False,
            transport=transport,
            verify=_tls(),
            headers={"Accept-Encoding": "gzip, identity"},
            limits=httpx.Limits(max_connections=1),
        )
    )
    fetch = _HttpFetch(
        url.rstrip("/"),
        lines,
        pause=pause,
        chance=chance,
        tries=tries,
        seconds=seconds,
        clock=clock,
        per_second=per_second,
        conditional=conditional,
    )
    weakref.finalize(fetch, lines.close)
    return fetch


def fetch_ahead(fetch: Fetch, sizes: Mapping[str, int]) -> Fetch:
    """Return ``fetch`` with the named objects (each with its size limit) on their way already.

    Each is handed out once, or its refusal raised, when it is asked for. A folder has nothing to wait for.
    """
    if not isinstance(fetch, _HttpFetch):
        return fetch
    coming = {name: fetch.pool.submit(fetch, name, max_bytes=limit) for name, limit in sizes.items()}

    def take(name: str, /, *, max_bytes: int) -> bytes:
        future = coming.pop(name, None)
        return fetch(name, max_bytes=max_bytes) if future is None else future.result()

    return take


def received_by(fetch: Fetch) -> int:
    """Return how many bytes of bodies came over the network so far, as they came; 0 where there is none."""
    return fetch.received if isinstance(fetch, _HttpFetch) else 0


def _read_body(chunks: Iterator[bytes], encoding: str, *, name: str, max_bytes: int) -> bytes:
    """Read at most ``max_bytes`` of plain bytes, however small or long the compressed form is."""
    if encoding not in ("identity", "gzip"):
        raise SourceError(
            f"content encoding of {name}", expected="identity or gzip", actual=encoding, next_step=_TELL
        )
    stream = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
    body, received = bytearray(), 0
    try:
        for chunk in chunks:
            received += len(chunk)
            body += chunk if stream is None else stream.decompress(chunk, max_bytes + 1)
            # Compression never doubles: more bytes than that are empty blocks without an end.
            if len(body) > max_bytes or received > 2 * max_bytes + _GZIP_BYTES:
                raise LimitError(f"object {name}", expected=f"at most {max_bytes} bytes", actual="more")
            if stream is not None and stream.unused_data:
                raise SourceError(
                    f"body of {name}",
                    expected="one gzip stream",
                    actual="bytes after its end",
                    next_step=_TELL,
                )
    except zlib.error as error:
        raise SourceError(f"body of {name}", expected="gzip", actual=str(error), next_step=_TELL) from error
    if stream is not None and not stream.eof:
        raise SourceError(
            f"body of {name}", expected="a whole gzip stream", actual="one that was cut off", next_step=_TELL
        )
    return bytes(body)
