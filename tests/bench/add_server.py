"""A thin ``POST /add`` in front of the local log: raw bytes in, decimal index out, once it is durable.

``python -m tests.bench.add_server FOLDER PORT`` serves one log on 127.0.0.1, with as little HTTP/1.1 (RFC 9112) as that takes:
connections are kept, requests may be sent ahead and are answered in order, bodies have a length. There is no task and
no future a request: callers that come while a commit runs are committed together by the next, and answered in one go.
"""

import asyncio
import contextlib
import pathlib
import re
import sys

from ledger.errors import LedgerError, LimitError, MalformedError, NotFoundError
from ledger.log import Submission
from ledger.log.local import MAX_BATCH_ENTRIES, LocalLog
from ledger.log.local_config import LocalLogConfig
from ledger.log.published import MAX_BUNDLE_BYTES
from ledger.storage.directory import DirectoryObjects
from ledger.storage.sqlite import SqliteCommits
from ledger.tlog.tiles import MAX_ENTRY_BYTES, parse_path
from tests.ledger.log import test_local as local

MAX_HEAD = 8192
"""Bytes of a request before its body."""
MAX_AHEAD = 65_536
"""Bytes that a caller may send ahead while it waits for an answer; the rest stays in its socket."""

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*(?=\r\n|$)", re.IGNORECASE)
_OTHER_FRAMING = re.compile(rb"\r\n(?:transfer-encoding|content-length)[ \t]*:", re.IGNORECASE)
_LAST = re.compile(rb"\r\nconnection:[ \t]*close[ \t]*(?=\r\n|$)", re.IGNORECASE)
_ANSWER = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s"


class RefusedError(Exception):
    """A request that is answered with this status; the connection ends with it."""


def parse_request(data):
    """Return (method, target, body, whether it is the last, where the next one begins), or None: it is not whole yet.

    Raises:
        RefusedError: it is not HTTP/1.1, or longer than anything that is taken here.
    """
    end = data.find(b"\r\n\r\n", 0, MAX_HEAD)
    if end < 0:
        if len(data) >= MAX_HEAD:
            raise RefusedError("431 Request Header Fields Too Large")
        return None
    head = data[:end]
    line = head[: head.find(b"\r\n")] if b"\r\n" in head else head
    words = line.split(b" ")
    if len(words) != 3 or words[2] != b"HTTP/1.1":
        raise RefusedError("400 Bad Request")
    length, framing = _LENGTH.search(head), _OTHER_FRAMING.findall(head)
    # One length, and nothing else that says where a body ends: two readers could take it for different requests.
    if len(framing) != (length is not None):
        raise RefusedError("400 Bad Request")
    start = end + 4
    stop = start + (int(length[1]) if length else 0)
    if stop - start > MAX_ENTRY_BYTES:
        raise RefusedError("413 Content Too Large")
    if len(data) < stop:
        return None
    return words[0], words[1], data[start:stop], _LAST.search(head) is not None, stop


class Connection(asyncio.Protocol):
    """One caller: what it sent and was not served yet, and whether it waits for a commit."""

    def __init__(self, adder):
        self.adder, self.came, self.waits, self.last = adder, b"", False, False

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.came += data
        if not self.waits:
            self._serve()
        elif len(self.came) > MAX_AHEAD:
            self.transport.pause_reading()

    def _serve(self):
        """Serve what is whole, up to the first entry: it is answered before what follows is looked at."""
        try:
            while self.came and not self.waits and not self.last:
                request = parse_request(self.came)
                if request is None:
                    return
                method, target, body, self.last, stop = request
                self.came = self.came[stop:]
                if method == b"POST" and target == b"/add":
                    self.waits = True
                    self.adder.add(self, body)
                else:
                    self._answer(*self.adder.read(method, target))
        except RefusedError as error:
            self.last = True
            self._answer(str(error).encode(), b"text/plain", b"")

    def _answer(self, status, kind, body):
        self.transport.write(_ANSWER % (status, kind, len(body), body))
        if self.last:
            self.transport.close()

    def added(self, answer):
        """Answer the entry that this caller waits for, and go on with what it sent meanwhile."""
        self.waits = False
        if isinstance(answer, LedgerError):
            self._answer(b"400 Bad Request", b"text/plain", str(answer).encode())
        else:
            self._answer(b"200 OK", b"text/plain", b"%d" % answer.leaf_index)
        if self.came:
            self.transport.resume_reading()
            self._serve()


class Adder:
    """Collects entries and commits them in another thread, so that the next ones are read meanwhile."""

    def __init__(self, folder):
        if not (folder / "ledger.db").exists():
            local.create(folder)
        config = LocalLogConfig(origin=local.ORIGIN, keys=[local.KEY.verifier], sign=local.sign)
        self.public = DirectoryObjects(folder / "log")
        self.log = LocalLog(SqliteCommits(folder / "ledger.db"), self.public, config)
        self.waiting, self.some = [], asyncio.Event()

    def add(self, connection, entry):
        self.waiting.append((connection, Submission(entry=entry)))
        self.some.set()

    async def commit(self):
        """Commit what came, again and again; what a commit raises ends the server."""
        while True:
            await self.some.wait()
            batch, self.waiting = self.waiting[:MAX_BATCH_ENTRIES], self.waiting[MAX_BATCH_ENTRIES:]
            if not self.waiting:
                self.some.clear()
            answers = await asyncio.to_thread(self.log.append, [entry for _, entry in batch])
            for (connection, _), answer in zip(batch, answers, strict=True):
                connection.added(answer)

    async def publish(self):
        while True:
            await asyncio.to_thread(self.log.publish)
            await asyncio.sleep(0.2)

    def read(self, method, target):
        """Return status, type and bytes of a published object."""
        if method != b"GET":
            return b"405 Method Not Allowed", b"text/plain", b""
        name = target[1:].decode("ascii", "replace")
        try:
            if name != "checkpoint":
                parse_path(name)
            return b"200 OK", b"application/octet-stream", self.public.get(name, max_bytes=MAX_BUNDLE_BYTES)
        except (NotFoundError, MalformedError, LimitError):
            return b"404 Not Found", b"text/plain", b""


async def serve(folder, port):
    """Serve the log in a folder until something fails, or the process is ended."""
    adder = Adder(folder)
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: Connection(adder), "127.0.0.1", port, backlog=4096):
        await asyncio.gather(adder.commit(), adder.publish())


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(pathlib.Path(sys.argv[1]), int(sys.argv[2])))
