"""Between granian and ``app``: its requests become ours, our answers become its.

The interface is RSGI: on this append path it did twice what ASGI did (docs/decisions/0007-the-service.md). What granian
decodes of a path does not matter: no path of ours has a variable part that could be encoded.
"""

import asyncio
from typing import Any

from ledger.server.app import App
from ledger.server.messages import Request, Response


class RsgiApp:
    """The application that granian calls."""

    def __init__(self, app: App) -> None:
        from granian import rsgi  # who only reads and verifies has no web server

        self._app, self._closed = app, rsgi.ProtocolClosed  # type: ignore[attr-defined]

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer one request."""
        if scope.proto != "http":
            protocol.close(403)
            return
        request = Request(
            method=scope.method,
            path=scope.path,
            query=scope.query_string,
            headers=scope.headers,
            body=protocol,
            whole=lambda: self._whole(protocol),
        )
        response = await self._app.answer(request)
        if response.chunks is not None and scope.method != "HEAD":
            await self._stream(response, protocol)
        elif scope.method == "HEAD" or not response.body:
            protocol.response_empty(response.status, _headers(response))
        else:
            protocol.response_bytes(response.status, list(response.headers), response.body)

    async def _whole(self, protocol: Any) -> bytes:
        """Return the whole body; nothing where the connection broke before its end, which is not what was announced."""
        try:
            data: bytes = await protocol()
        except self._closed:
            return b""
        return data

    async def _stream(self, response: Response, protocol: Any) -> None:
        """Send piece by piece, reading each in a thread; a reader who is slow holds one piece of memory."""
        transport = protocol.response_stream(response.status, list(response.headers))
        chunks = response.chunks
        while chunks is not None:
            chunk = await asyncio.to_thread(next, chunks, None)
            if chunk is None:
                return
            await transport.send_bytes(chunk)


def _headers(response: Response) -> list[tuple[str, str]]:
    """Return the headers of an answer without a body: HEAD says how long the body of GET would be."""
    headers = list(response.headers)
    if response.status not in (204, 304) and not any(name == "content-length" for name, _ in headers):
        headers.append(("content-length", str(len(response.body))))
    return headers
