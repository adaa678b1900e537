"""A request ends when its time is over, wherever it is, and ends no other one by that."""

import itertools
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from ledger.errors import SourceError
from ledger.log import fetch as fetching
from ledger.log.fetch import fetch_from_url
from ledger.log.lines import Line, Lines, Watch
from tests.client_faults.rogue import answer, drip, head, rogue
from tests.ledger.log.test_wire import certificate_for

LATE = r"expected the whole answer within 0\.01 s"
SLOW = r"expected the whole answer within 0\.2 s, got more to come"


def soon(url):
    """What gives up after a fifth of a second, at its first try."""
    return fetch_from_url(url, seconds=0.2, tries=1)


class Stream:
    """What httpx's trace says of a connection that was made."""

    def __init__(self, connected):
        self.connected = connected

    def get_extra_info(self, _):
        return self.connected


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(60)
        yield ours, theirs


@pytest.fixture
def watch():
    with httpx.Client() as client:
        yield Watch("https://log.example/x", Line(client), seconds=0.01)


def wait_for_the_end(watch):
    with pytest.raises(SourceError, match=LATE):
        for _ in watch.in_time(itertools.repeat(b"x")):
            pass


@pytest.fixture
def tls(monkeypatch, tmp_path):
    """A context that serves as localhost, whom this process believes."""
    path, serving = certificate_for("localhost", tmp_path)
    monkeypatch.setattr(fetching, "_tls", lambda: ssl.create_default_context(cafile=str(path)))
    return serving


def over_tls(serving, speak):
    """Say the same inside TLS."""

    def begin(path, connection, over):
        with serving.wrap_socket(connection, server_side=True) as inside:
            inside.recv(4096)
            speak(path, inside, over)

    return begin


def test_a_header_that_drips_through_a_proxy_ends(monkeypatch, tls):
    """The connection inside the tunnel is another one than that to the proxy."""
    inside = over_tls(tls, drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a"))

    def proxy(path, connection, over):
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        inside(path, connection, over)

    with rogue(proxy) as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(SourceError, match=SLOW):
            soon("https://localhost")("checkpoint", max_bytes=100)


def test_a_proxy_that_drips_ends(monkeypatch):
    with rogue(drip(b"HTTP/1.1 200 Connected\r\nX-Slow: ", b"a")) as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        with pytest.raises(SourceError, match=SLOW):
            soon("https://log.example")("checkpoint", max_bytes=100)


@pytest.mark.parametrize(
    "event",
    [
        "connection.connect_tcp.complete",
        "connection.start_tls.complete",
        "proxy.start_tls.complete",
        "socks.connect_tcp.complete",
        "socks.start_tls.complete",
    ],
)
def test_a_connection_that_was_made_too_late_ends_at_once(watch, pair, event):
    ours, theirs = pair
    with watch:
        wait_for_the_end(watch)
        watch.note(event, {"return_value": Stream(ours)})
        assert theirs.recv(1) == b""


def test_a_line_is_cut_again_until_the_request_has_ended(monkeypatch, pair):
    """Should the library have made a connection without a word."""
    monkeypatch.setattr("ledger.log.lines._AGAIN", 0.01)
    ours, theirs = pair
    with httpx.Client() as client:
        line = Line(client)
        with Watch("https://log.example/x", line, seconds=0.01) as watch:
            wait_for_the_end(watch)
            line.hold(ours)
            assert theirs.recv(1) == b""


def test_an_end_that_we_made_is_none_of_the_answer(pair):
    """Also where it comes while the clock is looked at, which finds the time not over yet."""
    ours, theirs = pair
    looks = iter((lambda: 0.0, lambda: 0.0 if theirs.recv(1) == b"" else 1.0))

    def clock():
        return next(looks)()

    with httpx.Client() as client:
        line = Line(client)
        line.hold(ours)
        with (
            Watch("https://log.example/x", line, seconds=0.01, clock=clock) as watch,
            pytest.raises(SourceError, match=LATE),
        ):
            list(watch.in_time(iter((b"x",))))


def test_one_request_that_is_too_slow_ends_no_other(monkeypatch):
    """The other answer has no length: cut off, it would look whole."""
    begun = {"/slow": threading.Event(), "/good": threading.Event()}
    cut = threading.Event()

    def speak(path, connection, over):
        connection.sendall(head(connection="close") + b"a" * 10)
        begun[path].set()
        if path == "/slow":
            connection.recv(1)  # nothing comes until the other end hangs up
        else:
            assert cut.wait(60)
            connection.sendall(b"a" * 20)

    with rogue(speak) as url, ThreadPoolExecutor(2) as pool:
        fetch = soon(url)
        slow = pool.submit(fetch, "slow", max_bytes=100)
        assert begun["/slow"].wait(60)
        monkeypatch.setattr(fetch, "_seconds", 60.0)
        good = pool.submit(fetch, "good", max_bytes=100)
        assert begun["/good"].wait(60)
        with pytest.raises(SourceError, match=SLOW):
            slow.result()
        cut.set()
        assert good.result() == b"a" * 30


def test_requests_one_after_another_go_over_one_connection():
    connections = []

    def speak(path, connection, over):
        connections.append(path)
        while True:
            connection.sendall(head(content_length=4) + b"tile")
            if not connection.recv(4096):
                return

    with rogue(speak) as url:
        fetch = fetch_from_url(url, seconds=60)
        assert [fetch(name, max_bytes=4) for name in "abc"] == [b"tile"] * 3
    assert connections == ["/a"]


def test_a_line_that_was_cut_is_not_used_again():
    def speak(path, connection, over):
        if path == "/slow":
            drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a")(path, connection, over)
        connection.sendall(answer(b"tile"))

    with rogue(speak) as url:
        fetch = soon(url)
        for _ in range(2):
            with pytest.raises(SourceError, match=SLOW):
                fetch("slow", max_bytes=4)
            assert fetch("good", max_bytes=4) == b"tile"


def test_a_line_that_nobody_needs_any_more_is_closed():
    now = 0.0
    lines = Lines(httpx.Client, clock=lambda: now)
    with lines.line() as first, lines.line() as second:
        assert first is not second
    now = 3.0
    with lines.line() as last:
        assert last is first, "the one that came back last"
    assert not second.client.is_closed
    now = 6.0
    with lines.line() as last:
        assert last is first
    assert (first.client.is_closed, second.client.is_closed) == (False, True)
    lines.close()
    assert first.client.is_closed
