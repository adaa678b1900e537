"""A transport of httpx for a thousand requests that wait at once: HTTP/1.1 (RFC 9112), one request on a connection.

httpx's own costs a millisecond of processor time for each of them, which is more than Rekor needs to log an entry: its
pool looks at all connections for every event. This one keeps a stack of idle connections and reads answers whole, up to
a limit. It knows no proxies.
"""

import asyncio
import re
import ssl
from collections import defaultdict
from typing import Any

import httpx

from ledger.encoding import parse_decimal
from ledger.errors import InputError

MAX_HEAD_BYTES = 1 << 16
_HEAD_END = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*?)[ \t]*")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")
_BODYLESS = (204, 304)


Place = tuple[str, str, int]
"""What a connection leads to: scheme, host and port."""


def place_of(url: httpx.URL) -> Place:
    """Return where an address leads."""
    return url.scheme, url.raw_host.decode("ascii"), url.port or (443 if url.scheme == "https" else 80)


class WireTransport(httpx.AsyncBaseTransport):
    """Sends each request on a connection of its own, kept for the next one. Answers are at most ``max_bytes`` long."""

    def __init__(self, *, max_bytes: int, tls: ssl.SSLContext) -> None:
        self._max_bytes, self._tls = max_bytes, tls
        self._idle: dict[Place, list[_Connection]] = defaultdict(list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read its whole answer."""
        place, timeout = place_of(request.url), request.extensions.get("timeout", {})
        try:
            async with asyncio.timeout(timeout.get("connect")):
                connection = await self._connected(place)
        except TimeoutError as error:
            raise httpx.ConnectTimeout("no connection in time", request=request) from error
        data = _format(request, await request.aread())
        try:
            async with asyncio.timeout(timeout.get("read")):
                answer = await self._exchange(place, connection, data)
        except TimeoutError as error:
            raise httpx.ReadTimeout("no answer in time", request=request) from error
        return httpx.Response(answer.status, headers=answer.fields, stream=httpx.ByteStream(answer.body))

    async def exchange(self, place: Place, data: bytes) -> "WireAnswer":
        """Send the bytes of a whole request and read its whole answer, without httpx's objects, which cost as much again.

        Raises:
            httpx.TransportError: no connection, or no answer. However long it takes: the caller has a timeout.
        """
        return await self._exchange(place, await self._connected(place), data)

    async def _exchange(self, place: Place, connection: "_Connection", data: bytes) -> "WireAnswer":
        try:
            answer = await connection.exchange(data)
        except BaseException:
            connection.close()  # what would come next on it is the answer to this request
            raise
        if connection.reusable:
            self._idle[place].append(connection)
        else:
            connection.close()
        return answer

    async def _connected(self, place: Place) -> "_Connection":
        try:
            return self._reuse(place) or await self._connect(place)
        except TimeoutError:
            raise
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error

    def _reuse(self, place: Place) -> "_Connection | None":
        idle = self._idle[place]
        while idle:
            connection = idle.pop()
            if connection.reusable:
                return connection
        return None

    async def _connect(self, place: Place) -> "_Connection":
        scheme, host, port = place
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: _Connection(self._max_bytes), host, port, ssl=self._tls if scheme == "https" else None
        )
        return connection

    async def aclose(self) -> None:
        """Close the idle connections."""
        for idle in self._idle.values():
            while idle:
                idle.pop().close()


def _format(request: httpx.Request, body: bytes) -> bytes:
    lines = [request.method.encode() + b" " + request.url.raw_path + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in request.headers.raw]
    return b"\r\n".join(lines) + _HEAD_END + body


class WireAnswer:
    """An answer as it arrives: status, header fields and body. ``feed`` says whether it is complete."""

    def __init__(self, max_bytes: int) -> None:
        self.status = 0
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.keep = True
        self._max_bytes = max_bytes
        self._data = bytearray()
        self._at = 0
        self._length: int | None = None
        self._chunked = False
        self._joined = bytearray()

    def feed(self, data: bytes) -> bool:
        """Take what arrived; return whether the answer is complete. Raises httpx.TransportError: it is none."""
        self._data += data
        if not self.status and not self._read_head():
            return False
        if self._chunked:
            complete = self._read_chunks()
            del self._data[: self._at]
            self._at = 0
            return complete
        self._limit(len(self._data) - self._at)
        if self._length is None or len(self._data) - self._at < self._length:
            return False
        self.body = bytes(self._data[self._at : self._at + self._length])
        # What follows an answer was not asked for: such a connection is not used again.
        self.keep = self.keep and len(self._data) == self._at + self._length
        return True

    def end(self) -> bool:
        """The connection was closed: an answer without a length is complete."""
        if not self.status or self._chunked or self._length is not None:
            return False
        self.body, self.keep = bytes(self._data[self._at :]), False
        return True

    def _read_head(self) -> bool:
        while True:
            end = self._data.find(_HEAD_END, self._at)
            if end < 0:
                if len(self._data) - self._at > MAX_HEAD_BYTES:
                    raise httpx.RemoteProtocolError("an answer whose head does not end")
                return False
            first, *lines = bytes(self._data[self._at : end]).split(b"\r\n")
            self._at = end + len(_HEAD_END)
            if (
                self._at > MAX_HEAD_BYTES
            ):  # all heads together: those that only announce another can go on for ever
                raise httpx.RemoteProtocolError("an answer with too much before its body")
            match = _STATUS.fullmatch(first)
            if match is None:
                raise httpx.RemoteProtocolError("an answer that is not HTTP/1.1")
            status = parse_decimal(match[1].decode())
            if status >= 200:
                break  # else it only announces another one
        self.status, self.fields = status, [_field(line) for line in lines]
        self._read_framing(is_old=first.startswith(b"HTTP/1.0"))
        return True

    def _read_framing(self, *, is_old: bool) -> None:
        """Find out how the body ends (RFC 9112 section 6.3); two ways at once are refused: they could hide an answer."""
        values: dict[bytes, set[bytes]] = defaultdict(set)
        for name, value in self.fields:
            values[name.lower()].add(value.lower())
        lengths, codings = values[b"content-length"], values[b"transfer-encoding"]
        if len(lengths) > 1 or (lengths and codings) or codings - {b"chunked"}:
            raise httpx.RemoteProtocolError("an answer without one length")
        self.keep = not is_old and b"close" not in values[b"connection"]
        self._chunked = bool(codings)
        if self.status in _BODYLESS:
            self._length, self._chunked = 0, False
        elif lengths:
            try:
                self._length = parse_decimal(lengths.pop().decode("latin-1"))
            except InputError as error:
                raise httpx.RemoteProtocolError("a length that is no number") from error
            self._limit(self._length)

    def _read_chunks(self) -> bool:
        while match := _CHUNK.match(self._data, self._at):
            size = int.from_bytes(bytes.fromhex(match[1].decode().rjust(8, "0")), "big")
            self._limit(len(self._joined) + size)
            start, end = match.end(), match.end() + size
            if not size:
                return self._read_trailer(start)
            if len(self._data) < end + 2:
                return False
            if self._data[end : end + 2] != b"\r\n":
                raise httpx.RemoteProtocolError("a chunk that does not end where it should")
            self._joined += self._data[start:end]
            self._at = end + 2
        if len(self._data) - self._at > MAX_HEAD_BYTES:
            raise httpx.RemoteProtocolError("a chunk without its size")
        return False

    def _read_trailer(self, start: int) -> bool:
        """Skip the fields after the last chunk, which nothing here needs."""
        end = start + 2 if self._data.startswith(b"\r\n", start) else self._data.find(_HEAD_END, start) + 4
        if end < start + 2:
            self._limit(len(self._joined) + len(self._data) - start)
            return False
        if len(self._data) < end:
            return False
        self.body = bytes(self._joined)
        self.keep = self.keep and len(self._data) == end
        return True

    def _limit(self, size: int) -> None:
        if size > self._max_bytes:
            raise TooLargeError(f"an answer of more than {self._max_bytes} bytes")


class TooLargeError(httpx.RemoteProtocolError):
    """An answer that is larger than allowed; reading it was stopped."""


def _field(line: bytes) -> tuple[bytes, bytes]:
    match = _FIELD.fullmatch(line)
    if match is None:
        raise httpx.RemoteProtocolError("a malformed header")
    return match[1], match[2]


class _Connection(asyncio.Protocol):
    """One connection, on which one request waits at a time."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._transport: Any = None
        self._answer: WireAnswer | None = None
        self._waiting: asyncio.Future[WireAnswer] | None = None
        self.reusable = True

    async def exchange(self, data: bytes) -> WireAnswer:
        """Send a request and return its answer. Raises httpx.TransportError."""
        self._answer = WireAnswer(self._max_bytes)
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        answer = await self._waiting
        self.reusable = self.reusable and answer.keep
        return answer

    def close(self) -> None:
        """Close the connection."""
        self.reusable = False
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._waiting is None or self._waiting.done() or self._answer is None:
            self.close()  # nobody asked
            return
        try:
            if self._answer.feed(data):
                self._waiting.set_result(self._answer)
        except httpx.TransportError as error:
            self._waiting.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.reusable = False
        if self._waiting is None or self._waiting.done() or self._answer is None:
            return
        if exc is None and self._answer.end():
            self._waiting.set_result(self._answer)
        else:
            self._waiting.set_exception(httpx.ReadError(str(exc or "the connection was closed")))
