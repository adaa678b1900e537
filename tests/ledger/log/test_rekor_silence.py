"""A Rekor that answers with nothing, or not at all, to each question that we ask it: never taken for a word about an entry."""

import asyncio
import contextlib
import socket
import threading
from functools import partial

import pytest

from ledger.errors import MalformedError, SourceError
from ledger.log import posting
from ledger.log.fetch import fetch_from_url
from ledger.log.rekor_v1 import RekorV1
from ledger.log.rekor_v1_reading import RekorV1Log
from ledger.log.rekor_v2 import RekorV2
from tests.client_faults.rogue import drip, rogue
from tests.fakes.rekor import FakeRekor, body_of, signed_payload
from tests.fakes.rekor_v1 import FakeRekorV1

SECONDS = 0.1
"""What is waited for an answer here. Nothing is measured: whoever waits for ever does not end."""
BEGINNINGS = {
    "silent": b"",
    "half a header": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{",
}


@contextlib.contextmanager
def never_answering(beginning=b""):
    """A server that takes every connection, says the beginning of an answer, and no more; yields its address."""
    taken = []
    with socket.create_server(("127.0.0.1", 0), backlog=32) as listener:

        def serve():
            with contextlib.suppress(OSError):  # closed at the end
                while True:
                    connection, _ = listener.accept()
                    taken.append(connection)
                    connection.sendall(beginning)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in taken:
                each.close()


async def _with(log, ask):
    try:
        return await ask(log)
    finally:
        await log.close()


# Rekor v1

WRITTEN = signed_payload("written before")
V1_ASKS = {
    "submit": lambda log: log.submit(signed_payload("new")),
    "submit again": lambda log: log.submit(WRITTEN, again=True),
    "find": lambda log: log.find(WRITTEN),
}
V1_READS = {
    "checkpoint": lambda log: log.checkpoint(),
    "read": lambda log: list(log.read(0, 1)),
    "entry_at": lambda log: log.entry_at(0),
    "entry_of": lambda log: log.entry_of("00" * 32),
    "entries_at": lambda log: list(log.entries_at([0])),
    "entries_of": lambda log: list(log.entries_of(["00" * 32])),
    "prove_inclusion": lambda log: log.prove_inclusion(0, 1),
    "prove_consistency": lambda log: log.prove_consistency(1, 1),
}


@pytest.fixture
def v1():
    with FakeRekorV1().serve() as fake:
        asyncio.run(_with(RekorV1(fake.shard(), fake.keys), lambda log: log.submit(WRITTEN)))
        yield fake


@pytest.mark.parametrize("name", V1_ASKS)
def test_an_empty_200_of_rekor_v1_says_nothing_about_an_entry(v1, name):
    v1.fail = lambda *_: (200, b"")
    with pytest.raises(SourceError) as caught:
        asyncio.run(_with(RekorV1(v1.shard(), v1.keys), V1_ASKS[name]))
    assert type(caught.value) is SourceError
    assert len(v1.tree.entries) == 1


@pytest.mark.parametrize("name", V1_ASKS)
@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_rekor_v1_that_does_not_answer_in_time_says_nothing_about_an_entry(v1, name, beginning):
    with never_answering(BEGINNINGS[beginning]) as url:
        log = partial(RekorV1, v1.shard(write_url=url, read_url=url), v1.keys, timeout=SECONDS)
        with pytest.raises(SourceError, match="expected an answer") as caught:
            asyncio.run(_of(log, V1_ASKS[name]))
    assert type(caught.value) is SourceError


async def _of(make, ask):
    return await _with(make(), ask)


@pytest.mark.parametrize("name", V1_READS)
def test_an_empty_200_of_rekor_v1_is_nothing_to_read(v1, name):
    v1.fail = lambda *_: (200, b"")
    log = RekorV1Log(v1.shard(), v1.keys)
    with contextlib.closing(log), pytest.raises(SourceError) as caught:
        V1_READS[name](log)
    assert type(caught.value) is SourceError


@pytest.mark.parametrize("name", V1_READS)
@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_rekor_v1_that_does_not_answer_in_time_is_not_read(v1, name, beginning):
    with never_answering(BEGINNINGS[beginning]) as url:
        log = RekorV1Log(v1.shard(read_url=url), v1.keys, timeout=SECONDS)
        with contextlib.closing(log), pytest.raises(SourceError, match="expected an answer"):
            V1_READS[name](log)


@pytest.mark.parametrize("name", V1_READS)
def test_a_rekor_v1_that_drips_its_header_is_not_read(v1, name):
    """Each byte comes in time, and the answer never ends."""
    with rogue(drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a")) as url:
        log = RekorV1Log(v1.shard(read_url=url), v1.keys, timeout=SECONDS)
        with contextlib.closing(log), pytest.raises(SourceError):
            V1_READS[name](log)


# Rekor v2

V2_ASKS = {
    "submit": lambda log: log.submit(WRITTEN),  # answered by 409, and looked for at the read address
    "find": lambda log: log.find(WRITTEN),
}
V2_READS = {
    "checkpoint": lambda log: log.checkpoint(),
    "read": lambda log: list(log.read(0, 1)),
    "prove_inclusion": lambda log: log.prove_inclusion(0, 2),
    "prove_consistency": lambda log: log.prove_consistency(1, 2),
}


class HalfEmpty(FakeRekor):
    """Answers some of what is read with nothing at all: 200, and no body."""

    empty = ()

    def _read(self, path):
        return (200, {}, b"") if any(each in path for each in self.empty) else super()._read(path)


def v2_log(fake, url, **more):
    shard = fake.tree.shard(write_url=url, read_url=f"{url}/read")
    more = {"fetch": fetch_from_url(shard.read_url, timeout=2.0, tries=1)} | more
    return RekorV2(shard, fake.tree.keys, pause=_no_pause, **more)


async def _no_pause(_seconds):
    """A pause that takes no time."""


@pytest.fixture
def v2():
    fake = HalfEmpty()
    fake.known[b"before"] = fake.tree.append(b"before")
    fake.known[body_of(WRITTEN)] = fake.tree.append(body_of(WRITTEN))
    with fake.serve() as url:
        fake.url = url
        yield fake


EMPTY = {"the checkpoint": ("checkpoint",), "each tile": ("/tile/0", "/tile/1"), "each bundle": ("/entries",)}


@pytest.mark.parametrize("what", EMPTY)
@pytest.mark.parametrize("name", V2_ASKS)
def test_an_empty_200_at_the_read_address_of_rekor_v2_never_says_that_an_entry_is_not_there(v2, name, what):
    """None would mean: submit it elsewhere, and so log it twice. What need not be read may be empty."""
    v2.empty = EMPTY[what]
    ask = partial(_of, partial(v2_log, v2, v2.url), V2_ASKS[name])
    if (name, what) == ("find", "each bundle"):  # it looks for a leaf hash
        assert asyncio.run(ask()).position == (0, 1)
        return
    with pytest.raises((SourceError, MalformedError)):
        asyncio.run(ask())
    assert len(v2.tree.entries) == 2


@pytest.mark.parametrize("name", V2_READS)
def test_an_empty_200_at_the_read_address_of_rekor_v2_is_nothing_to_read(v2, name):
    v2.empty = ("checkpoint",) if name == "checkpoint" else ("/tile/",)
    log = v2_log(v2, v2.url)
    with pytest.raises((SourceError, MalformedError)):
        V2_READS[name](log)
    asyncio.run(log.close())


def test_an_empty_200_to_a_submission_to_rekor_v2_is_no_receipt(v2):
    v2.fail = (200, {}, b"")
    with pytest.raises(SourceError, match="expected status 201, got 200"):
        asyncio.run(_of(partial(v2_log, v2, v2.url), lambda log: log.submit(signed_payload("new"))))


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_rekor_v2_that_does_not_answer_in_time_is_no_receipt(v2, beginning, monkeypatch):
    monkeypatch.setattr(posting, "MIN_TIMEOUT", SECONDS)
    with never_answering(BEGINNINGS[beginning]) as url:
        make = partial(v2_log, v2, url, timeout=SECONDS)
        with pytest.raises(SourceError, match=r"POST http\S+: expected an answer"):
            asyncio.run(_of(make, lambda log: log.submit(signed_payload("new"))))


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_read_address_of_rekor_v2_that_does_not_answer_in_time_says_nothing(v2, beginning):
    with never_answering(BEGINNINGS[beginning]) as slow:
        fetch = partial(fetch_from_url, slow, timeout=SECONDS, tries=1)
        for ask in V2_ASKS.values():
            with pytest.raises(SourceError, match="expected an answer"):
                asyncio.run(_of(lambda: v2_log(v2, v2.url, fetch=fetch()), ask))
        for read in V2_READS.values():
            log = v2_log(v2, v2.url, fetch=fetch())
            with pytest.raises(SourceError, match="expected an answer"):
                read(log)
            asyncio.run(log.close())
