"""Answers requests: route, token, parameters, body, handler, and what every answer has.

Handlers never run on the event loop: they read SQLite and disks. They run in a pool of threads with bounded room before
it; whoever finds no room is refused at once, so that a crowd of readers cannot make a queue that nobody waits out.
"""

import asyncio
import ipaddress
import logging
import os
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from ledger.encoding import parse_decimal, parse_form
from ledger.errors import LedgerError, LimitError, MalformedError
from ledger.server import problems
from ledger.server.messages import Request, Response
from ledger.server.routes import MAX_QUERY_CHARS, Route, Router
from ledger.server.tokens import Authority

_logger = logging.getLogger(__name__)
access_logger = logging.getLogger("ledger.server.access")
_Result = TypeVar("_Result")

SECURITY = (
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
)
STRICT_CSP = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""Nothing is loaded and nothing runs, whatever somebody gets into an answer."""
REQUEST_ID = "x-request-id"
"""Finds the line of a request in the log."""
_CORS = (
    ("access-control-allow-origin", "*"),
    ("access-control-expose-headers", "ETag, Retry-After, X-Request-Id"),
)
_PREFLIGHT = (
    ("access-control-allow-headers", "If-None-Match, Content-Type"),
    ("access-control-max-age", "86400"),
)

Answered = Callable[[Request, Response, Route | None, float], None]
"""Hears of each request with its answer, its route and its seconds."""
MAX_KNOWN_QUERIES = 64
"""Queries of those who write whose parameters are remembered."""

Handler = Callable[[Request], Response]
AsyncHandler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a request may take: seconds for its whole body, threads that handle, requests that wait for one."""

    body_seconds: float = 30.0
    threads: int = 8
    waiting: int = 512


class Pool:
    """Threads with bounded room before them."""

    def __init__(self, limits: Limits) -> None:
        self._threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="handle")
        self._room = limits.threads + limits.waiting
        self._inside = 0

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Run something that blocks. Raises Refusal: there is no room."""
        if self._inside >= self._room:
            raise problems.busy("Too many requests wait already")
        self._inside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._inside -= 1

    def inside(self) -> int:
        """Say how many have a thread or wait for one."""
        return self._inside

    def close(self) -> None:
        """Finish what is running."""
        self._threads.shutdown()


class App:
    """The service without a web server: a request in, an answer out.

    ``handlers`` run in the pool and take the request; ``recorders`` are awaited, each under the
    name of its route; ``authority`` says who may write; ``answered`` hears of each answer. ``caller_header`` names the
    caller in the log, where a proxy that we trust sets it.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        *,
        handlers: dict[str, Handler],
        recorders: dict[str, AsyncHandler] | None = None,
        authority: Authority,
        limits: Limits,
        pool: Pool,
        answered: Answered | None = None,
        caller_header: str = "",
    ) -> None:
        self._router = Router(routes)
        self._handlers, self._recorders = handlers, recorders or {}
        self._authority, self._limits = authority, limits
        self._answered, self._caller_header = answered, caller_header.lower()
        self.pool = pool
        self._queries: dict[tuple[str, str], dict[str, bytes]] = {}

    async def answer(self, request: Request) -> Response:
        """Answer one request, whatever it is; nothing is raised."""
        started = time.perf_counter()
        found, request.captured = self._router.find(request.path)
        route = found.get("GET" if request.method == "HEAD" else request.method)
        try:
            response = await self._answer(request, found, route)
        except (LedgerError, problems.Refusal) as error:
            response = problems.respond(error)
            if response.status >= problems.INTERNAL.status and isinstance(error, LedgerError):
                _logger.exception("%s %s was refused", request.method, route.path if route else "")
        except Exception:  # the outermost edge: whatever else escapes is a bug, and says so
            _logger.exception("a bug while answering %s %s", request.method, route.path if route else "")
            response = problems.respond(
                problems.Refusal(problems.INTERNAL, "A bug of the service; its log says more")
            )
        _finish(request, response, route)
        seconds = time.perf_counter() - started
        if self._answered is not None:
            self._answered(request, response, route, seconds)
        if access_logger.isEnabledFor(logging.INFO):
            access_logger.info("request", extra={"facts": self._facts(request, response, route, seconds)})
        return response

    def _facts(
        self, request: Request, response: Response, route: Route | None, seconds: float
    ) -> dict[str, object]:
        """Return the line of a request. Neither query nor token is in it: names are hostile, and tokens are secrets."""
        facts: dict[str, object] = {
            "id": next(value for name, value in response.headers if name == REQUEST_ID),
            "method": request.method if request.method.isalpha() else "other",
            "route": route.path if route else "none",
            "status": response.status,
            "bytes": len(response.body),
            "ms": round(seconds * 1000, 2),
            "token": request.token,
        }
        if self._caller_header:
            facts["caller"] = _caller(str(request.headers.get(self._caller_header) or ""))
        return facts

    async def _answer(self, request: Request, found: dict[str, Route], route: Route | None) -> Response:
        if not found:
            raise problems.Refusal(
                problems.NOT_FOUND, "There is no such address; /docs lists those that there are"
            )
        if request.method == "OPTIONS" and _open(found):
            allowed = ("access-control-allow-methods", _methods(_open(found)))
            return Response(status=204, headers=(*_PREFLIGHT, allowed))
        if route is None:
            raise problems.Refusal(
                problems.NOT_ALLOWED,
                f"This address answers {_methods(found)}",
                headers=(("allow", _methods(found)),),
            )
        if route.scope:
            # Before anything is read: who may not write has no part of our memory.
            request.token = self._authority.check(request.headers.get("authorization"), route.scope)
        request.wanted = self._wanted(route, request.query)
        if route.body:
            announced = _check_head(request, route)
            if not route.streamed:
                request.data = await self._read(request, route, announced)
        if route.name in self._recorders:
            return await self._recorders[route.name](request)
        return await self.pool.run(lambda: self._handlers[route.name](request))

    def _wanted(self, route: Route, query: str) -> dict[str, bytes]:
        """Return the parameters of a query, checked. Those who write send one of a few: they are not parsed again."""
        known = self._queries.get((route.name, query))
        if known is None:
            known = parse_form(query, max_chars=MAX_QUERY_CHARS)
            route.check(known)
            if route.scope and len(self._queries) < MAX_KNOWN_QUERIES:
                self._queries[route.name, query] = known
        return known

    async def _read(self, request: Request, route: Route, announced: int | None) -> bytes:
        """Read a whole body within its limits. Raises LimitError, MalformedError, Refusal.

        Where its size was announced, the web server, which sends no more than that on, waits for all of it.
        """
        seconds = self._limits.body_seconds
        if announced is None or request.whole is None:
            data = await read_whole(request.body, most=route.max_body, seconds=seconds)
        else:
            try:
                async with asyncio.timeout(seconds):
                    data = await request.whole()
            except TimeoutError as error:
                raise _too_slow(seconds) from error
        if announced is not None and announced != len(data):
            # It ended early. The web server does not say so, and half a batch is a batch too.
            raise MalformedError(
                "body", expected=f"{announced} bytes, as announced", actual=f"{len(data)} bytes"
            )
        return data


def _check_head(request: Request, route: Route) -> int | None:
    """Refuse a body before it is read; return the size that it is said to have. Raises Refusal, LimitError, MalformedError."""
    media = (route.body or ("", ""))[0]
    if str(request.headers.get("content-type", "")).partition(";")[0].strip().lower() != media:
        raise problems.Refusal(problems.UNSUPPORTED_MEDIA, f"The body must be {media}")
    announced = request.headers.get("content-length")
    if announced is None:
        return None
    size = parse_decimal(str(announced), what="content-length")
    _check_size(size, route.max_body)
    return size


def _finish(request: Request, response: Response, route: Route | None) -> None:
    """Put on every answer what it must have; leave out the body where the caller has it already."""
    headers = [
        *response.headers,
        *SECURITY,
        ("cache-control", response.cache),
        # Ours alone: an id that callers choose could name the request of somebody else.
        (REQUEST_ID, os.urandom(8).hex()),
    ]
    if not any(name == "content-security-policy" for name, _ in response.headers):
        headers.append(("content-security-policy", STRICT_CSP))
    if route is None or not route.scope:
        # What is read is public. Answers to whoever writes are for them, and no page of others sees them.
        headers += [*_CORS, ("cross-origin-resource-policy", "cross-origin")]
    if response.etag:
        tag = f'{"W/" if response.weak else ""}"{response.etag}"'
        headers.append(("etag", tag))
        if response.status == 200 and _matches(
            str(request.headers.get("if-none-match") or ""), response.etag
        ):
            response.status, response.body, response.chunks = 304, b"", None
    if response.status not in (204, 304):
        headers.append(("content-type", response.content_type))
    response.headers = tuple(headers)


def _open(found: dict[str, Route]) -> dict[str, Route]:
    """Return the routes that pages of others may use."""
    return {method: route for method, route in found.items() if not route.scope}


def _methods(found: dict[str, Route]) -> str:
    return ", ".join(sorted({*found, *(("HEAD",) if "GET" in found else ()), "OPTIONS"}))


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise LimitError("body", expected=f"at most {most} bytes", actual=f"{size} bytes")


async def read_whole(body: AsyncIterable[bytes], *, most: int, seconds: float) -> bytes:
    """Read a body of at most ``most`` bytes within ``seconds``. Raises LimitError, Refusal."""
    data = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in body:
                data += chunk
                _check_size(len(data), most)
    except TimeoutError as error:
        raise _too_slow(seconds) from error
    return bytes(data)


def _too_slow(seconds: float) -> problems.Refusal:
    return problems.Refusal(problems.TIMEOUT, f"The body must arrive within {seconds:g} seconds")


def _matches(wanted: str, etag: str) -> bool:
    """Whether an ``If-None-Match`` names the answer: weakly, as RFC 9110 section 13.1.2 has it."""
    if wanted.strip() == "*":
        return True
    return any(each.strip().removeprefix("W/") == f'"{etag}"' for each in wanted.split(","))


def _caller(value: str) -> str:
    """Return the last address of a header of the proxy, which that proxy wrote itself; those before it anybody may say."""
    try:
        return str(ipaddress.ip_address(value.rpartition(",")[2].strip()))
    except ValueError:
        return "unknown"
