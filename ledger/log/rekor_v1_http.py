"""Questions to Rekor v1 as values, how they are asked, and what the status of an answer means.

Nothing here tries again: the outbox does, with the same bytes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, closing
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ledger.encoding import parse_json
from ledger.errors import LedgerError, LimitError, MalformedError, NotFoundError, RejectedError, SourceError
from ledger.log.lines import Lines, Watch
from ledger.log.rekor_v1_answers import MAX_ANSWER_BYTES

if TYPE_CHECKING:
    import httpx

    from ledger.log.wire import Place, WireTransport

TIMEOUT = 30.0
"""Seconds for one request: an insertion waits for the next batch of Trillian's signer. Sigstore asks for 20 or more."""
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}
_TOO_LARGE = "http: request body too large"
"""Rekor 1.5 says so with status 500."""
_LATER = "Nothing is known about the entry: submit the same bytes again later"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request: its address, what is sent (a POST where there is something), and how long an answer may be.

    ``proposes``: what is sent is an entry, so that a refusal is one of the entry, and not of a question.
    """

    url: str
    body: bytes | None = None
    max_bytes: int = MAX_ANSWER_BYTES
    proposes: bool = False

    @property
    def what(self) -> str:
        """How messages name the request."""
        return f"{'GET' if self.body is None else 'POST'} {self.url}"

    def request(self, seconds: float) -> "httpx.Request":
        """Return the request. A client's own way of building one costs more than all of the verification."""
        import httpx

        return httpx.Request(
            "GET" if self.body is None else "POST",
            _parse_url(self.url),
            headers=_HEADERS if self.body is None else _HEADERS | {"Content-Type": "application/json"},
            content=self.body,
            extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), seconds)},
        )


@lru_cache(maxsize=4)
def _parse_url(url: str) -> "httpx.URL":
    """Submissions all go to one address, and parsing it costs as much as a signature."""
    import httpx

    return httpx.URL(url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back, read to its end."""

    ask: Ask
    status: int
    body: bytes


Send = Callable[[Ask], Awaitable[Answer]]
"""Sends a question and reads the whole answer."""


class _Body:
    """Collects an answer up to its limit. Raises SourceError: compressed, unasked. LimitError: too long."""

    def __init__(self, ask: Ask, headers: Mapping[str, str]) -> None:
        self.data, self._ask = bytearray(), ask
        encoding = headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise SourceError(
                f"content encoding of {ask.what}", expected="identity", actual=encoding, next_step=_LATER
            )

    def add(self, chunk: bytes) -> None:
        self.data += chunk
        if len(self.data) > self._ask.max_bytes:
            raise _too_long(self._ask)


async def ask_async(send: Send, ask: Ask, *, seconds: float = TIMEOUT) -> Answer:
    """Ask, within ``seconds`` from the first byte sent to the last one read. Raises SourceError, LimitError."""
    import httpx

    from ledger.log.wire import TooLargeError

    try:
        # httpx's own timeout begins again with every byte: a server that drips could hold us for ever.
        async with asyncio.timeout(seconds):
            return await send(ask)
    except TooLargeError as error:
        raise _too_long(ask) from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:  # a TimeoutError is an OSError
        raise _no_answer(ask, error) from error


async def send_with(client: "httpx.AsyncClient", ask: Ask) -> Answer:
    """Send through a client of httpx, which knows proxies. Raises httpx's errors; SourceError, LimitError."""
    async with aclosing(await client.send(ask.request(TIMEOUT), stream=True)) as response:
        body = _Body(ask, response.headers)
        async for chunk in response.aiter_raw():
            body.add(chunk)
        return Answer(ask=ask, status=response.status_code, body=bytes(body.data))


async def send_on(transport: "WireTransport", ask: Ask) -> Answer:
    """Send without a client in between, at a third of its cost in processor time. Raises as ``send_with``."""
    place, head = _head_of(ask.url, ask.body is None)
    data = head if ask.body is None else b"%b%d\r\n\r\n%b" % (head, len(ask.body), ask.body)
    answer = await transport.exchange(place, data)
    fields = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.fields}
    body = _Body(ask, fields)
    body.add(answer.body)
    return Answer(ask=ask, status=answer.status, body=answer.body)


@lru_cache(maxsize=4)
def _head_of(url: str, is_get: bool) -> "tuple[Place, bytes]":  # noqa: FBT001 - a key of the cache
    """Return where a request goes and its head: that of a POST up to the number of its bytes. Raises httpx.InvalidURL."""
    import httpx

    from ledger.log.wire import place_of

    request = httpx.Request("GET", _parse_url(url), headers=_HEADERS)
    fields = [name + b": " + value for name, value in request.headers.raw]
    if not is_get:
        fields += [b"Content-Type: application/json", b"Content-Length: "]
    method = b"GET " if is_get else b"POST "
    head = b"\r\n".join([method + request.url.raw_path + b" HTTP/1.1", *fields])
    return place_of(request.url), head + (b"\r\n\r\n" if is_get else b"")


def ask_now(lines: Lines, ask: Ask, *, seconds: float = TIMEOUT) -> Answer:
    """Ask, within ``seconds`` from the first byte sent to the last one read. Raises SourceError, LimitError."""
    import httpx

    request = ask.request(seconds)
    try:
        with lines.line() as line, Watch(ask.url, line, seconds=seconds) as watch:
            request.extensions = {**request.extensions, "trace": watch.note}
            with closing(line.client.send(request, stream=True)) as response:
                body = _Body(ask, response.headers)
                for chunk in watch.in_time(response.iter_raw()):
                    body.add(chunk)
                return Answer(ask=ask, status=response.status_code, body=bytes(body.data))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _no_answer(ask, error) from error


def _too_long(ask: Ask) -> LimitError:
    return LimitError(f"answer to {ask.what}", expected=f"at most {ask.max_bytes} bytes", actual="more")


def _no_answer(ask: Ask, error: Exception) -> SourceError:
    return SourceError(
        ask.what, expected="an answer", actual=str(error) or type(error).__name__, next_step=_LATER
    )


def body_of(answer: Answer, *statuses: int) -> bytes:
    """Return the body of an answer whose status is one of ``statuses``.

    Raises:
        NotFoundError: 404 of something that was asked for. RejectedError: the log will never take the proposed entry.
        SourceError: anything else, which says nothing about the entry.
    """
    if answer.status in statuses:
        return answer.body
    raise _refusal(answer, statuses)


def _refusal(answer: Answer, statuses: tuple[int, ...]) -> LedgerError:
    said = message_of(answer)
    actual = f"{answer.status}: {said}" if said else str(answer.status)
    wanted = "status " + " or ".join(map(str, statuses))
    # A proxy answers 400 and 422 as well, with a page of its own; only the log's word is final. What is too large for
    # a proxy stays too large. A question that is refused says nothing about the entry: that may be in the log.
    final = answer.status in (400, 422) and said is not None
    if answer.ask.proposes and (final or answer.status == 413 or said == _TOO_LARGE):
        return RejectedError(answer.ask.what, expected=wanted, actual=actual)
    if answer.status == 404 and answer.ask.body is None:
        return NotFoundError(answer.ask.what, expected="an entry", actual="404")
    return SourceError(answer.ask.what, expected=wanted, actual=actual, next_step=_LATER)


def message_of(answer: Answer) -> str | None:
    """Return the message of Rekor's error, ``{"code": …, "message": …}``; None where the body is none."""
    try:
        value = parse_json(answer.body, what="refusal", max_bytes=answer.ask.max_bytes)
    except (MalformedError, LimitError):
        return None
    match value:
        case {"code": int(), "message": str(message)}:
            return message
    return None
