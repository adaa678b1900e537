"""Posts to a log that answers late: hundreds of requests wait at once, and each answer is read up to a limit."""

import asyncio
import urllib.request
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from ledger.errors import LimitError, SourceError

if TYPE_CHECKING:
    import httpx

MIN_TIMEOUT = 20.0
"""Seconds. Rekor v2 answers when the next checkpoint is out, and asks its clients to wait that long (CLIENTS.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer: the status, the headers, and at most as many bytes as were allowed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Poster:
    """Posts up to ``in_flight`` requests at once; more wait for their turn. Redirects are not followed.

    ``timeout`` is in seconds for each request, from its turn on. ``transport`` is for tests. Where the environment names
    a proxy, httpx's own transport is used, which knows proxies and is slower.
    """

    def __init__(
        self,
        in_flight: int,
        *,
        max_bytes: int,
        timeout: float = 60.0,
        transport: "httpx.AsyncBaseTransport | None" = None,
    ) -> None:
        import httpx

        from ledger.log.wire import WireTransport

        tls = httpx.create_ssl_context()
        self._max_bytes = max_bytes
        self._timeout = httpx.Timeout(max(timeout, MIN_TIMEOUT)).as_dict()
        self._turn = _Turns(in_flight)
        self._send: Callable[[httpx.Request], Awaitable[httpx.Response]]
        if transport is None and urllib.request.getproxies():
            client = httpx.AsyncClient(verify=tls, follow_redirects=False)
            self._send, self._close = partial(client.send, stream=True), client.aclose
        else:
            # Without a client in between, which has cookies and redirects to think of.
            transport = transport or WireTransport(max_bytes=max_bytes, tls=tls)
            self._send, self._close = transport.handle_async_request, transport.aclose

    async def post(
        self,
        url: str,
        *,
        content: bytes,
        media_type: str = "application/json",
        what: str = "answer of the log",
    ) -> Answer:
        """Post and return the answer, whatever its status.

        Raises:
            SourceError: no answer in time. LimitError: one that is too large; ``what`` names it.
        """
        import httpx

        from ledger.log.wire import TooLargeError

        body, headers = bytearray(), {"Content-Type": media_type, "Accept-Encoding": "identity"}
        async with self._turn:
            try:
                request = httpx.Request(
                    "POST",
                    _parse_url(url),
                    headers=headers,
                    content=content,
                    extensions={"timeout": self._timeout},
                )
                async with aclosing(await self._send(request)) as response:
                    async for chunk in response.aiter_raw():
                        body += chunk
                        if len(body) > self._max_bytes:
                            raise self._too_large(what)
                    return Answer(status=response.status_code, headers=response.headers, body=bytes(body))
            except TooLargeError as error:
                raise self._too_large(what) from error
            except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
                raise SourceError(
                    f"POST {url}", expected="an answer", actual=str(error) or type(error).__name__
                ) from error

    def _too_large(self, what: str) -> LimitError:
        return LimitError(what, expected=f"at most {self._max_bytes} bytes", actual="more")

    async def close(self) -> None:
        """Close all connections."""
        await self._close()


@lru_cache(maxsize=64)
def _parse_url(url: str) -> "httpx.URL":
    """Parse an address once, and not for each of a thousand requests. Raises httpx.InvalidURL."""
    import httpx

    return httpx.URL(url)


class _Turns:
    """Lets a number of callers in at once, the others in the order in which they came.

    asyncio's semaphore looks through those that it woke already, each time: with thousands that wait and a thousand
    answers that arrive together, that is most of the work.
    """

    def __init__(self, free: int) -> None:
        self._free = free
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()  # it was our turn already, and nobody takes it
            raise

    async def __aexit__(self, *_: object) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
