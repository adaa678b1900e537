"""A load at a fixed rate over plain sockets, each request timed from when it was due: waiting for anything counts.

A process of its own, so that it is not the limit: ``python -m tests.bench.pace FILE``. FILE is JSON: ``host``, ``port``, ``rate``,
``seconds``, ``connections``, ``head`` (of each request, up to its path), ``rest`` (of the head) and ``requests``, pairs of
path and body, sent in turn; ``@`` in a body becomes something of each request's own. Prints JSON: how many were done, how
many failed, the rate that was reached and milliseconds at the median, 99 % and the longest; ``late`` is by how many this program
itself was behind, at 99 %: if that is much of them, it says nothing about the service.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import statistics
import sys
import time
from collections import deque

_TICK = 0.001


class _Connection(asyncio.Protocol):
    """One connection, with one request on it at a time."""

    def __init__(self, load):
        self.load, self.data, self.due = load, bytearray(), 0.0

    def connection_made(self, transport):
        self.transport = transport
        self.load.free.append(self)

    def send(self, request, due):
        self.due = due
        self.transport.write(request)

    def data_received(self, data):
        self.data += data
        end = self.data.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self.data[:end]).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
        if len(self.data) >= end + 4 + length:
            self.load.taken.append((time.perf_counter() - self.due) * 1000)
            self.load.failed += not head.startswith(b"http/1.1 2")
            self.data.clear()
            self.load.give(self)

    def connection_lost(self, error):
        self.load.lost += not self.load.over
        self.load.done.set()


class _Load:
    def __init__(self):
        self.free, self.waiting, self.taken = deque(), deque(), []
        self.late = []
        self.failed = self.lost = 0
        self.ended, self.done, self.over = None, asyncio.Event(), False

    def give(self, connection):
        """Send what waits longest on a connection, or keep it."""
        if len(self.taken) == self.ended:
            self.done.set()
        if self.waiting:
            connection.send(*self.waiting.popleft())
        else:
            self.free.append(connection)

    async def run(self, wanted):
        loop = asyncio.get_running_loop()
        made = [
            await loop.create_connection(lambda: _Connection(self), wanted["host"], wanted["port"])
            for _ in range(wanted["connections"])
        ]
        requests = _requests(wanted)
        start, at, rate = time.perf_counter() + 0.1, 0, wanted["rate"]
        while at < len(requests):
            while at < len(requests) and (due := start + at / rate) <= time.perf_counter():
                self.waiting.append((requests[at], due))
                self.late.append((time.perf_counter() - due) * 1000)
                at += 1
            while self.waiting and self.free:
                self.free.popleft().send(*self.waiting.popleft())
            await asyncio.sleep(_TICK)
        self.ended = at
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.done.wait(), 30)
        took, self.over = time.perf_counter() - start, True
        for transport, _ in made:
            transport.close()
        return took


def _requests(wanted):
    """Every request of the load, made before it begins."""
    found, listed = [], wanted["requests"]
    for at in range(int(wanted["rate"] * wanted["seconds"])):
        path, body = listed[at % len(listed)]
        data = body.replace("@", f"pace-{os.getpid()}-{at}").encode()
        head = f"{wanted['head']} {path} HTTP/1.1\r\n{wanted['rest']}content-length: {len(data)}\r\n\r\n"
        found.append(head.encode() + data)
    return found


def main(path):
    """Send a load and print what came of it."""
    wanted, load = json.loads(pathlib.Path(path).read_text(encoding="utf-8")), _Load()
    took = asyncio.run(load.run(wanted))
    marks = statistics.quantiles(load.taken, n=100)
    facts = {
        "done": len(load.taken),
        "failed": load.failed + load.lost,
        "rate": len(load.taken) / took,
        "median": marks[49],
        "p99": marks[98],
        "most": max(load.taken),
        "late": statistics.quantiles(load.late, n=100)[98],
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main(sys.argv[1])
