"""What a hub sends over HTTP: single events, batches, and pieces of evidence."""

import asyncio
import functools
import hashlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import IO

from ledger.client.trust import TrustFile
from ledger.encoding import format_canonical_json
from ledger.errors import HeadMovedError, LedgerError, LimitError, MalformedError
from ledger.recorder import Facts
from ledger.server import messages, problems
from ledger.server.app import AsyncHandler, Limits, Pool
from ledger.server.intake import MAX_LINES, Upload, parse_upload, prepare, skips
from ledger.server.messages import NEVER, Request, Response, json_response
from ledger.server.problems import Refusal
from ledger.server.proving import Submitted, durable
from ledger.server.routes import MAX_PUT_BYTES
from ledger.server.submitting import check_evidence, moved, parse_entries
from ledger.server.waiting import in_time, wait_of
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
        wait, later = wait_of(request, self._writer.ledger), _is_later(request)
        data = request.data
        what: Facts | bytes = data
        if not self._as_it_is(data, later=later):
            prepared = await self._pool.run(lambda: self._prepare(parse_upload(data), later=later))
            if isinstance(prepared, Answered):
                return Response(body=prepared.line, cache=NEVER)
            what = prepared
        elif len(data) <= _PARSED_AT_ONCE_BYTES:
            what = parse_upload(data).facts
        (answer,) = answers = self._writer.submit([what], included=wait.included, witnessed=wait.witnessed)
        if wait.seconds is not None:
            await in_time(self._writer, answers, wait)
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
        wait, later = wait_of(request, self._writer.ledger), _is_later(request)
        prepared = await self._pool.run(lambda: list(self._prepare_lines(request.data, later=later)))
        events = [each for each in prepared if not isinstance(each, Answered)]
        coming = self._writer.submit(events, included=wait.included, witnessed=wait.witnessed)
        if wait.seconds is not None:
            await in_time(self._writer, coming, wait)
        answers = iter(coming)
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
        if self._writer.ledger.instance is not None:
            raise Refusal(
                problems.NOT_IMPLEMENTED,
                "The log of this ledger is Rekor: it takes facts, at /v1/events, and signs them itself",
            )
        wait, later = wait_of(request, self._writer.ledger, default="durable"), _is_later(request)
        leaves = await self._pool.run(lambda: self._submit(request.data, later=later))
        if not wait.included:
            return _appended([durable(each) for each in leaves])
        coming = self._writer.await_leaves(leaves, witnessed=wait.witnessed)
        await in_time(self._writer, coming, wait)
        answers = [await each for each in coming]
        lines = [each.body for each in answers if isinstance(each, Recorded)]
        if len(lines) < len(answers):  # the writer stopped meanwhile, for all of them alike
            raise next(each for each in answers if not isinstance(each, Recorded))
        is_late = any(isinstance(each, Recorded) and each.late for each in answers)
        return _appended(lines, status=202 if is_late else 200)

    def _submit(self, data: bytes, *, later: bool) -> list[Submitted]:
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
            Submitted(leaf_index=leaf_index, event_id=each.common.event_id, entry=each.entry)
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


def _is_later(request: Request) -> bool:
    return request.text("evidence") == "later"


def _appended(entries: list[bytes], *, status: int = 200) -> Response:
    return Response(status=status, body=b'{"entries":[' + b",".join(entries) + b"]}", cache=NEVER)


def _response(answer: Answer) -> Response:
    if isinstance(answer, Recorded):
        status = 202 if answer.late else 200 if answer.repeated else 201
        return Response(status=status, body=answer.body, cache=NEVER)
    raise answer


def _line(answer: Answer) -> bytes:
    return answer.body if isinstance(answer, Recorded) else format_canonical_json(problems.document(answer))
