"""The transport of many waiting posts: HTTP/1.1 answers in every framing, whole, bounded, and one at a time."""

import asyncio
import contextlib
import datetime as dt
import re
import ssl

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ledger.errors import LimitError, SourceError
from ledger.log.posting import Poster, _Turns
from ledger.log.wire import MAX_HEAD_BYTES, WireTransport

LIMIT = 1000


class Server:
    """Sends what it was told to after each request, in the given pieces, and keeps what it was sent."""

    def __init__(self, *answers, close=False):
        self.answers, self.close = list(answers), close
        self.connections, self.requests, self.running = 0, [], {}
        self.asked = asyncio.Event()

    async def __call__(self, reader, writer):
        self.connections += 1
        self.running[asyncio.current_task()] = writer
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(length[1]) if length else 0)
                self.requests.append((head, body))
                self.asked.set()
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                for piece in answer if isinstance(answer, list) else [answer]:
                    if isinstance(piece, asyncio.Event):
                        await piece.wait()
                        continue
                    writer.write(piece)
                    await writer.drain()
                if self.close:
                    break
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def end(self):
        for writer in self.running.values():
            writer.transport.abort()
        await asyncio.gather(*self.running)


def run(server, use, *, limit=LIMIT):
    async def main():
        listening = await asyncio.start_server(server, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        transport = WireTransport(max_bytes=limit, tls=ssl.create_default_context())
        try:
            async with httpx.AsyncClient(transport=transport, timeout=20) as client:
                return await use(client, f"http://127.0.0.1:{port}/path?query")
        finally:
            listening.close()
            await server.end()

    return asyncio.run(main())


def post(server, *, times=1, limit=LIMIT):
    async def use(client, url):
        for _ in range(times):
            answer = await client.post(url, content=b"sent", headers={"X-Test": "yes"})
        return answer

    return run(server, use, limit=limit)


def plain(body=b"body", head=b"", status=b"201 Created"):
    return b"HTTP/1.1 " + status + b"\r\n" + head + b"Content-Length: %d\r\n\r\n" % len(body) + body


CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"

ANSWERS = {
    "with a length": plain(),
    "in single bytes": [bytes([each]) for each in plain()],
    "in chunks": CHUNKED + b"3\r\nbod\r\n1;word=7\r\ny\r\n0\r\n\r\n",
    "in chunks of one byte": CHUNKED + b"1\r\nb\r\n1\r\no\r\n1\r\nd\r\n1\r\ny\r\n0\r\n\r\n",
    "in chunks with a trailer": CHUNKED + b"4\r\nbody\r\n0\r\nX-Sum: 7\r\n\r\n",
    "in chunks, in single bytes": [bytes([each]) for each in CHUNKED + b"4\r\nbody\r\n0\r\nX-Sum: 7\r\n\r\n"],
    "after another that only announces it": b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + plain(),
    "with two equal lengths": plain(head=b"content-length: 4\r\n"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_read_whole_and_its_connection_used_again(name):
    server = Server(ANSWERS[name])
    answer = post(server, times=3)
    assert (answer.status_code, answer.content) == (201, b"body")
    assert (server.connections, len(server.requests)) == (1, 3)
    head, body = server.requests[0]
    assert head.startswith(b"POST /path?query HTTP/1.1\r\n")
    assert b"X-Test: yes\r\n" in head
    assert body == b"sent"


@pytest.mark.parametrize(
    "answer",
    [
        plain(head=b"Connection: close\r\n"),
        b"HTTP/1.0 201 Created\r\nContent-Length: 4\r\n\r\nbody",
        plain() + plain(b"an answer that nobody asked for"),
    ],
    ids=["that is closing", "of HTTP/1.0", "with more after it"],
)
def test_a_connection_is_not_used_again(answer):
    server = Server(answer)
    assert post(server, times=2).content == b"body"
    assert server.connections == 2


def test_a_body_may_end_with_its_connection():
    server = Server(b"HTTP/1.1 200 OK\r\n\r\nbody", close=True)
    assert post(server, times=2).content == b"body"


def test_an_answer_without_content_has_no_body():
    assert post(Server(b"HTTP/1.1 204 No Content\r\n\r\n"), times=2).content == b""


BROKEN = {
    "not HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
    "a header without a colon": b"HTTP/1.1 200 OK\r\nnothing\r\n\r\n",
    "a folded header": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
    "two lengths": plain(head=b"Content-Length: 5\r\n"),
    "a length and chunks": plain(head=b"Transfer-Encoding: chunked\r\n"),
    "another coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "a length with a sign": b"HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\nbody",
    "a chunk that is longer than it says": CHUNKED + b"3\r\nbody\r\n0\r\n\r\n",
    "a chunk without a size": CHUNKED + bytes(MAX_HEAD_BYTES + 1),
    "an answer that is announced for ever": b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" * 3000,
    "a head that does not end": b"HTTP/1.1 200 OK\r\nA: " + b"a" * MAX_HEAD_BYTES,
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_answer_that_is_not_one_is_refused(name):
    with pytest.raises(httpx.RemoteProtocolError):
        post(Server(BROKEN[name]), limit=1 << 20)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 201 Created\r\nContent-Length: 1001\r\n\r\n",
        CHUNKED + b"3e9\r\n",
        CHUNKED + b"1\r\na\r\n" * 1001,
        b"HTTP/1.1 201 Created\r\n\r\n" + bytes(1001),
        CHUNKED + b"0\r\n" + b"A: b\r\n" * 200,
    ],
)
def test_an_answer_that_is_too_large_is_not_read_to_its_end(answer):
    async def use(client, url):
        poster = Poster(1, max_bytes=LIMIT)
        try:
            return await poster.post(url, content=b"", what="answer of the test")
        finally:
            await poster.close()

    with pytest.raises(LimitError, match="answer of the test: expected at most 1000 bytes, got more"):
        run(Server(answer), use)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbody", CHUNKED + b"4\r\nbo", b""]
)
def test_an_answer_that_is_cut_off_is_refused(answer):
    with pytest.raises(httpx.ReadError):
        post(Server(answer, close=True))


def test_nothing_listens():
    async def use(client, url):
        return await client.post("http://127.0.0.1:1/")

    with pytest.raises(httpx.ConnectError):
        run(Server(b""), use)


def test_a_slow_answer_is_given_up_and_its_connection_closed():
    async def use(client, url):
        with pytest.raises(httpx.ReadTimeout):
            await client.post(url, timeout=httpx.Timeout(20, read=0.01))
        return await client.post(url)

    server = Server(b"", plain())
    assert run(server, use).content == b"body"
    assert server.connections == 2, "what comes late on the first one is no answer to the second request"


def test_the_late_answer_to_a_request_that_was_given_up_is_no_answer_to_the_next_one():
    release = asyncio.Event()
    server = Server([release, plain(b"late")], plain(b"body"))

    async def use(client, url):
        given_up = asyncio.ensure_future(client.post(url))
        await server.asked.wait()
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        release.set()
        return await client.post(url)

    assert run(server, use).content == b"body"
    assert server.connections == 2


def certificate_for(name, folder):
    """A certificate that signs itself, and a context that serves it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=365 * 100))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return path, context


@pytest.mark.parametrize("name", ["localhost", "other.example"])
def test_the_name_in_a_certificate_is_checked(tmp_path, name):
    path, serving = certificate_for(name, tmp_path)
    server = Server(plain())

    async def main():
        listening = await asyncio.start_server(server, "127.0.0.1", 0, ssl=serving)
        trusting = ssl.create_default_context(cafile=str(path))
        transport = WireTransport(max_bytes=LIMIT, tls=trusting)
        try:
            async with httpx.AsyncClient(transport=transport, timeout=20) as client:
                return await client.post(f"https://localhost:{listening.sockets[0].getsockname()[1]}/")
        finally:
            listening.close()
            await server.end()

    if name == "localhost":
        assert asyncio.run(main()).content == b"body"
    else:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            asyncio.run(main())
        assert not server.requests


def test_a_proxy_of_the_environment_is_used(monkeypatch):
    server = Server(plain())

    async def use(client, url):
        monkeypatch.setenv("HTTP_PROXY", url)
        poster = Poster(1, max_bytes=LIMIT)
        try:
            return await poster.post("http://rekor.example/api", content=b"")
        finally:
            await poster.close()

    assert run(server, use).status == 201
    assert server.requests[0][0].startswith(b"POST http://rekor.example/api HTTP/1.1")


def test_a_redirect_is_not_followed():
    async def use(client, url):
        poster = Poster(1, max_bytes=LIMIT)
        answer = await poster.post(url, content=b"secret")
        await poster.close()
        return answer

    server = Server(plain(head=b"Location: http://elsewhere.example/\r\n", status=b"307 Temporary Redirect"))
    assert run(server, use).status == 307
    assert len(server.requests) == 1


def test_turns_are_passed_on_also_by_those_who_give_up():
    async def main():
        running, most, order = set(), 0, []
        release = asyncio.Event()

        async def handle(request):
            nonlocal most
            number = int(request.url.path[1:])
            order.append(number)
            running.add(number)
            most = max(most, len(running))
            try:
                await release.wait()
            finally:
                running.remove(number)
            return httpx.Response(200, stream=httpx.ByteStream(b""))

        poster = Poster(3, max_bytes=LIMIT, transport=httpx.MockTransport(handle))
        tasks = [
            asyncio.ensure_future(poster.post(f"http://log.example/{at}", content=b"")) for at in range(10)
        ]
        await asyncio.wait(tasks, timeout=0)
        for given_up in (1, 5):  # one that has its turn, one that waits
            tasks[given_up].cancel()
        await asyncio.wait([tasks[1], tasks[5]])
        release.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        return most, order, [type(each).__name__ for each in answers]

    most, order, answers = asyncio.run(main())
    assert most == 3
    assert order == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert answers.count("Answer") == 8
    assert answers[1] == answers[5] == "CancelledError"


def test_a_turn_that_comes_in_the_moment_of_giving_up_is_passed_on():
    async def main():
        turns = _Turns(1)
        await turns.__aenter__()
        waiting = asyncio.ensure_future(turns.__aenter__())
        await asyncio.wait([waiting], timeout=0)
        await turns.__aexit__()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()
        await asyncio.wait_for(turns.__aenter__(), 5)

    asyncio.run(main())


def test_a_failure_names_what_was_asked():
    async def use(client, url):
        poster = Poster(1, max_bytes=LIMIT)
        try:
            return await poster.post("http://127.0.0.1:1/api", content=b"")
        finally:
            await poster.close()

    with pytest.raises(SourceError, match=r"POST http://127\.0\.0\.1:1/api: expected an answer, got "):
        run(Server(b""), use)
