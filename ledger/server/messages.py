"""A request and its answer, as plain values: the web server's interface is known to ``rsgi`` alone."""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from ledger.encoding import Json, format_canonical_json, parse_decimal

JSON = "application/json"
PROBLEM = "application/problem+json"
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"
NDJSON = "application/x-ndjson"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
FOREVER = "public, max-age=31536000, immutable"
A_DAY = "public, max-age=86400"
AT_ONCE = "no-cache"
"""May be kept, and must be asked for again with its ``ETag`` before it is used."""
NEVER = "no-store"


class Headers(Protocol):
    """The headers of a request, by lower-case name."""

    def get(self, key: str, default: Any = None, /) -> Any:
        """Return a header's value; of one that is repeated, the first."""
        ...


@dataclass(slots=True, kw_only=True)
class Request:
    """What somebody asks. ``captured`` is the variable part of the path, ``wanted`` the parameters of the query.

    ``data`` is the whole body, read within its limits, of a route that has one; ``token`` is who writes, by public id.
    ``whole`` waits for all of ``body`` at once, of a size that the head announced and that was checked.
    """

    method: str
    path: str
    query: str
    headers: Headers
    body: AsyncIterable[bytes]
    whole: Callable[[], Awaitable[bytes]] | None = None
    captured: str = ""
    wanted: dict[str, bytes] = field(default_factory=dict)
    data: bytes = b""
    token: str = ""

    def text(self, name: str) -> str | None:
        """Return a parameter that its route lets through as ASCII only, or None where it was not given."""
        value = self.wanted.get(name)
        return None if value is None else value.decode("ascii")

    def number(self, name: str, default: int) -> int:
        """Return a parameter that its route lets through as a number only, or the default."""
        value = self.text(name)
        return default if value is None else parse_decimal(value, what=name)


@dataclass(slots=True, kw_only=True)
class Response:
    """The answer. ``etag`` is without quotes; a ``weak`` one stands for the same facts, not for the same bytes.

    ``chunks`` is read in a thread, for what is too large to be held whole.
    """

    status: int = 200
    content_type: str = JSON
    body: bytes = b""
    cache: str = AT_ONCE
    etag: str = ""
    weak: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    chunks: Iterator[bytes] | None = None


def json_response(value: Json, **more: Any) -> Response:
    """Return an answer in RFC 8785 JSON."""
    return Response(body=format_canonical_json(value), **more)
