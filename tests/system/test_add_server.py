"""The thin ``POST /add`` of the benchmark speaks enough HTTP/1.1 that a careless reading of it cannot flatter its figure."""

import contextlib
import http.client
import socket
import subprocess
import sys

import pytest

from tests.bench.add_server import MAX_AHEAD, MAX_HEAD, parse_request
from tests.system import peers


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    port = peers.free_port()
    folder = tmp_path_factory.mktemp("added")
    server = subprocess.Popen([sys.executable, "-m", "tests.bench.add_server", str(folder), str(port)])
    try:
        peers.wait_until(lambda: peers.get(f"http://127.0.0.1:{port}/checkpoint") is not None, running=server)
        yield port
    finally:
        server.terminate()
        server.wait(timeout=30)


def _post(body, more=b""):
    return b"POST /add HTTP/1.1\r\nHost: a\r\n%sContent-Length: %d\r\n\r\n%s" % (more, len(body), body)


@contextlib.contextmanager
def _connected(port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connected:
        yield connected


def _answers(connected, count):
    """Read ``count`` answers; returns their statuses and bodies."""
    found = []
    with connected.makefile("rb") as stream:
        for _ in range(count):
            status = int(stream.readline().split(b" ")[1])
            length = 0
            while (line := stream.readline()) != b"\r\n":
                if line.startswith(b"Content-Length:"):
                    length = int(line.split(b":")[1])
            found.append((status, stream.read(length)))
    return found


def test_what_was_added_is_published_and_a_connection_is_kept(port):
    """The index comes back over one connection, and a bundle holds the bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    places = []
    for number in range(3):
        connection.request("POST", "/add", body=b"kept %d" % number)
        answer = connection.getresponse()
        places.append((answer.status, int(answer.read())))
    connection.close()
    first = places[0][1]
    assert places == [(200, first), (200, first + 1), (200, first + 2)]
    peers.wait_until(
        lambda: int(peers.get(f"http://127.0.0.1:{port}/checkpoint").split(b"\n")[1]) >= first + 3
    )
    size = int(peers.get(f"http://127.0.0.1:{port}/checkpoint").split(b"\n")[1])
    assert b"kept 1" in peers.get(f"http://127.0.0.1:{port}/tile/entries/000.p/{size}")


def test_requests_sent_ahead_are_answered_in_order(port):
    """More of them than are held at a time, with one that is refused and one that reads between them."""
    large = b"x" * 60_000
    sent = [*[_post(large)] * 4, _post(b"ahead"), b"GET /nothing HTTP/1.1\r\n\r\n", _post(b"last")]
    assert len(b"".join(sent)) > 3 * MAX_AHEAD
    with _connected(port) as connected:
        connected.sendall(b"".join(sent))
        answers = _answers(connected, len(sent))
    assert [status for status, _ in answers] == [200] * 5 + [404, 200]
    places = [int(body) for status, body in answers if status == 200]
    assert places == list(range(places[0], places[0] + 6))


def test_a_request_may_come_byte_by_byte(port):
    with _connected(port) as connected:
        for byte in _post(b"slowly"):
            connected.sendall(bytes([byte]))
        ((status, body),) = _answers(connected, 1)
    assert (status, body.isdigit()) == (200, True)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /add\r\n\r\n", 400),
        (b"POST /add HTTP/1.0\r\n\r\n", 400),
        (_post(b"a", b"Transfer-Encoding: chunked\r\n"), 400),
        (_post(b"a", b"Content-Length: 2\r\n"), 400),
        (b"POST /add HTTP/1.1\r\nContent-Length: +1\r\n\r\na", 400),
        (b"POST /add HTTP/1.1\r\nContent-Length: 65536\r\n\r\n", 413),
        (b"GET /" + b"a" * MAX_HEAD, 431),
        (b"PUT /add HTTP/1.1\r\nConnection: close\r\n\r\n", 405),
        (b"GET /../ledger.db HTTP/1.1\r\nConnection: close\r\n\r\n", 404),
        (b"GET /tile/0/0 HTTP/1.1\r\nConnection: close\r\n\r\n", 404),
    ],
)
def test_what_is_not_taken_is_refused_and_the_connection_ends(port, request_bytes, status):
    with _connected(port) as connected:
        connected.sendall(request_bytes)
        ((found, _),) = _answers(connected, 1)
        assert (found, connected.recv(1)) == (status, b"")


def test_a_request_that_is_not_whole_is_waited_for():
    whole = _post(b"entry") + b"POST"
    assert parse_request(whole[:20]) is None
    assert parse_request(whole[:-5]) is None
    assert parse_request(whole) == (b"POST", b"/add", b"entry", False, len(whole) - 4)
