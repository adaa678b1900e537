"""What a hub sends over HTTP: single events, batches, and pieces of evidence."""

import asyncio
import functools
import hashlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import IO

from ledger.client.trust import TrustFile
from ledger.encoding import Json, format_canonical_json
from ledger.errors import HeadMovedError, LedgerError, LimitError, MalformedError
from ledger.recorder import Facts
from ledger.server import messages, problems
from ledger.server.app import AsyncHandler, Limits, Pool
from ledger.server.intake import MAX_LINES, Upload, parse_upload, prepare, skips
from ledger.server.messages import NEVER, Request, Response, json_response
from ledger.server.problems import Refusal
from ledger.server.routes import MAX_PUT_BYTES
from ledger.server.submitting import check_evidence, moved, parse_entries
from ledger.server.writer import Answer, Recorded, Writer

_BLOCK_BYTES = 1 << 20
_PARSED_AT_ONCE_BYTES = 16 << 10
"""Of one event, what is parsed on the event loop: in far less than a millisecond, while the writer waits for its disk."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What needs no record: a refusal, or the receipt of what is private."""

    line: bytes


class Recording:
    """Answers those who write."""

    def __init__(self, writer: Writer, pool: Pool, limits: Limits, *, trust: TrustFile) -> None:
        self._writer, self._pool, self._limits, self._trust = writer, pool, limits, trust

    def handlers(self) -> dict[str, AsyncHandler]:
        """Return who answers each route that writes."""
        return {"record": self.record, "batch": self.batch, "submit": self.submit, "store": self.store}

    async def record(self, request: Request) -> Response:
        """Record one event."""
        included, later = _wait_of(request), _is_later(request)
        data = request.data
        what: Facts | bytes = data
        if not self._as_it_is(data, later=later):
            prepared = await self._pool.run(lambda: self._prepare(parse_upload(data), later=later))
            if isinstance(prepared, Answered):
                return Response(body=prepared.line, cache=NEVER)
            what = prepared
        elif len(data) <= _PARSED_AT_ONCE_BYTES:
            what = parse_upload(data).facts
        (answer,) = self._writer.submit([what], included=included)
        return _response(await answer)

    def _as_it_is(self, data: bytes, *, later: bool) -> bool:
        """Whether there is nothing to store or to hold back: the writer parses it itself, and no other thread is asked.

        Meanwhile it is bytes, of which a full queue holds many more than of parsed events.
        """
        clear = self._writer.ledger.config.identity_mode == "clear"
        return later and clear and b'"evidence"' not in data and b'"private"' not in data

    def _prepare(self, upload: Upload, *, later: bool) -> Facts | Answered:
        ledger = self._writer.ledger
        if skips(ledger, upload):
            return Answered(format_canonical_json({"eventId": upload.facts.event_id, "skipped": True}))
        return prepare(ledger, upload, later=later)

    async def batch(self, request: Request) -> Response:
        """Record many events in their order; each line is answered in its place."""
        included, later = _wait_of(request), _is_later(request)
        prepared = await self._pool.run(lambda: list(self._prepare_lines(request.data, later=later)))
        answers = iter(
            self._writer.submit(
                [each for each in prepared if not isinstance(each, Answered)], included=included
            )
        )
        lines = [each.line if isinstance(each, Answered) else _line(await next(answers)) for each in prepared]
        return Response(
            body=b"".join(each + b"\n" for each in lines), content_type=messages.NDJSON, cache=NEVER
        )

    def _prepare_lines(self, data: bytes, *, later: bool) -> Iterator[Facts | Answered | bytes]:
        """Prepare each line that needs it; one that is refused becomes its problem document."""
        lines = data.removesuffix(b"\n").split(b"\n") if data else []
        if len(lines) > MAX_LINES:
            raise LimitError("batch", expected=f"at most {MAX_LINES} lines", actual=len(lines))
        for line in lines:
            try:
                if self._as_it_is(line, later=later):
                    yield line
                else:
                    yield self._prepare(parse_upload(line), later=later)
            except (LedgerError, Refusal) as error:
                yield Answered(format_canonical_json(problems.document(error)))

    async def submit(self, request: Request) -> Response:
        """Append what the hub signed itself."""
        later = _is_later(request)
        leaves = await self._pool.run(lambda: self._submit(request.data, later=later))
        return json_response({"entries": leaves}, cache=NEVER)

    def _submit(self, data: bytes, *, later: bool) -> list[dict[str, Json]]:
        ledger = self._writer.ledger
        signed = parse_entries(ledger, data, trust=self._trust)
        if not later:
            check_evidence(ledger, signed)
        try:
            leaves = ledger.recorder.submit(signed)
        except HeadMovedError as error:
            raise moved(ledger, signed, error) from error
        finally:
            self._writer.appended()
        return [
            {"eventId": each.common.event_id, "leafIndex": leaf_index}
            for each, leaf_index in zip(signed, leaves, strict=True)
        ]

    async def store(self, request: Request) -> Response:
        """Store a piece of evidence, which goes to the disk as it comes."""
        sha256 = bytes.fromhex(request.captured)
        with tempfile.TemporaryFile() as file:
            size, found = await self._receive(request, file)
            if found != sha256:
                raise MalformedError(
                    "body", expected=f"bytes with SHA-256 {request.captured}", actual=found.hex()
                )
            kept = await self._pool.run(
                lambda: self._writer.ledger.evidence.put_stream(sha256, _blocks(file))
            )
        facts = {"sha256": request.captured, "size": size} | ({} if kept else {"withheld": True})
        return json_response(facts, status=201, cache=NEVER)

    async def _receive(self, request: Request, file: IO[bytes]) -> tuple[int, bytes]:
        """Receive a body of up to 1 GiB; it must keep coming, a block within the time that a body has.

        Returns its size and its SHA-256.
        """
        size, digest, coming = 0, hashlib.sha256(), aiter(request.body)
        while block := await self._receive_block(coming):
            size += len(block)
            if size > MAX_PUT_BYTES:
                raise LimitError("body", expected=f"at most {MAX_PUT_BYTES} bytes", actual="more")
            digest.update(block)
            await self._pool.run(functools.partial(file.write, block))
        return size, digest.digest()

    async def _receive_block(self, coming: AsyncIterator[bytes]) -> bytes:
        """Return the next mebibyte or so, or the rest; nothing at the end. Raises Refusal: it does not come."""
        block = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while len(block) < _BLOCK_BYTES:
                    block += await anext(coming)
        except StopAsyncIteration:
            pass
        except TimeoutError as error:
            raise Refusal(
                problems.TIMEOUT, f"A mebibyte must arrive within {self._limits.body_seconds:g} seconds"
            ) from error
        return bytes(block)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while block := file.read(_BLOCK_BYTES):
        yield block


def _wait_of(request: Request) -> bool:
    """Whether the caller waits for a checkpoint. Raises Refusal: for something that there is not here."""
    wait = request.text("wait") or "included"
    if wait == "witnessed":
        raise Refusal(problems.NOT_IMPLEMENTED, "This log has no witnesses yet: wait for `included`")
    return wait == "included"


def _is_later(request: Request) -> bool:
    return request.text("evidence") == "later"


def _response(answer: Answer) -> Response:
    if isinstance(answer, Recorded):
        return Response(status=200 if answer.repeated else 201, body=answer.body, cache=NEVER)
    raise answer


def _line(answer: Answer) -> bytes:
    return answer.body if isinstance(answer, Recorded) else format_canonical_json(problems.document(answer))
