"""Posts to a log that answers late: hundreds of requests wait at once, and each answer is read up to a limit.

A pool of httpx looks at every connection for every request, so one pool for a thousand requests spends more time on
looking than on sending. Here they are spread over *lanes*, small pools that share nothing but the TLS settings.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.errors import LimitError, SourceError

if TYPE_CHECKING:
    import httpx

LANE = 32
"""Connections of one pool: small enough to be looked through, large enough that few pools are needed."""
MIN_TIMEOUT = 20.0
"""Seconds. Rekor v2 answers when the next checkpoint is out, and asks its clients to wait that long (CLIENTS.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer: the status, the headers, and at most as many bytes as were allowed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Lanes:
    """Posts up to ``in_flight`` requests at once; more wait for their turn. Redirects are not followed."""

    def __init__(
        self,
        in_flight: int,
        *,
        timeout: float = 60.0,
        transport: "httpx.AsyncBaseTransport | None" = None,
    ) -> None:
        import httpx

        tls = httpx.create_ssl_context()
        self._clients = [
            httpx.AsyncClient(
                # Waiting for a connection is not the server's slowness: the turn below bounds it.
                timeout=httpx.Timeout(max(timeout, MIN_TIMEOUT), pool=None),
                limits=httpx.Limits(max_connections=LANE, max_keepalive_connections=LANE),
                follow_redirects=False,
                transport=transport,
                verify=tls,
                headers={"Accept-Encoding": "identity"},
            )
            for _ in range(-(-in_flight // LANE))
        ]
        # The lanes by turns, so that the load is even from the first request on.
        self._free = deque(self._clients[at % len(self._clients)] for at in range(in_flight))
        self._turn = asyncio.Semaphore(in_flight)

    @property
    def client(self) -> "httpx.AsyncClient":
        """One of the clients, for the few requests that go elsewhere."""
        return self._clients[0]

    async def post(self, url: str, *, content: bytes, max_bytes: int, what: str) -> Answer:
        """Post JSON and return the answer, whatever its status.

        Raises:
            SourceError: no answer in time. LimitError: an answer of more than ``max_bytes``; ``what`` names it.
        """
        import httpx

        async with self._turn:
            client = self._free.popleft()
            try:
                async with client.stream("POST", url, content=content, headers=_JSON) as response:
                    body = b"".join([chunk async for chunk in _limited(response, max_bytes, what)])
                    return Answer(status=response.status_code, headers=response.headers, body=body)
            except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
                raise SourceError(
                    f"POST {url}", expected="an answer", actual=str(error) or type(error).__name__
                ) from error
            finally:
                self._free.append(client)

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients:
            await client.aclose()


_JSON = {"Content-Type": "application/json", "Accept": "application/json"}


async def _limited(response: "httpx.Response", max_bytes: int, what: str) -> AsyncIterator[bytes]:
    """Yield the body, and stop the transfer where it becomes too large."""
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > max_bytes:
            raise LimitError(what, expected=f"at most {max_bytes} bytes", actual="more")
        yield chunk
