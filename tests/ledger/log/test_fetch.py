"""Reading somebody's log over HTTP: bounded, patient with a busy server, exact about everything else."""

import gzip
import re

import httpx
import pytest

from ledger.errors import LimitError, NotFoundError, SourceError, UsageError
from ledger.log.fetch import TRIES, fetch_ahead, fetch_from_folder, fetch_from_url

URL = "https://log.example/models/"


class Server:
    """Answers as it was told to, in turn; the last answer again and again. Keeps what it was asked."""

    def __init__(self, *answers):
        self.answers, self.asked, self.pauses = list(answers), [], []

    def __call__(self, request):
        self.asked.append(str(request.url))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    def fetch(self, chance=0.0):
        return fetch_from_url(
            URL, transport=httpx.MockTransport(self), pause=self.pauses.append, chance=lambda: chance
        )


def answer(status=200, body=b"", **headers):
    return lambda: httpx.Response(status, stream=httpx.ByteStream(body), headers=headers)


def test_an_object_is_fetched_below_the_address():
    server = Server(answer(body=b"tile"))
    assert server.fetch()("tile/0/000", max_bytes=10) == b"tile"
    assert server.asked == ["https://log.example/models/tile/0/000"]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again_after_a_growing_pause(status):
    server = Server(answer(status), answer(status), answer(body=b"tile"))
    assert server.fetch()("x", max_bytes=10) == b"tile"
    assert server.pauses == [0.5, 1.0]


@pytest.mark.parametrize(("chance", "pauses"), [(0.5, [0.625, 1.25]), (1.0, [0.75, 1.5])])
def test_those_whom_a_busy_server_turned_away_do_not_all_come_back_at_once(chance, pauses):
    server = Server(answer(503), answer(503), answer(body=b"tile"))
    assert server.fetch(chance)("x", max_bytes=10) == b"tile"
    assert server.pauses == pauses


def test_a_broken_connection_is_tried_again_but_not_for_ever():
    server = Server(httpx.ConnectError("refused"))
    with pytest.raises(
        SourceError,
        match=r"^GET https://log\.example/models/x: expected an answer, got refused\. Check the address and try again$",
    ) as caught:
        server.fetch()("x", max_bytes=10)
    assert type(caught.value) is SourceError
    assert (len(server.asked), server.pauses) == (TRIES, [0.5, 1.0, 2.0])


REDIRECT = "Redirects are not followed: name the address that it leads to"
SECRET = "The server wants to know who asks: use an address that is open to everybody"
OTHER = "Check the address, and tell whoever serves it"


@pytest.mark.parametrize(
    ("status", "next_step"),
    [(301, REDIRECT), (302, REDIRECT), (401, SECRET), (403, SECRET), (410, OTHER), (204, OTHER)],
)
def test_any_other_answer_is_refused_at_once_and_no_redirect_is_followed(status, next_step):
    server = Server(answer(status, location="https://elsewhere.example/"))
    with pytest.raises(
        SourceError, match=rf"^GET \S+/x: expected status 200, got {status}\. {re.escape(next_step)}$"
    ):
        server.fetch()("x", max_bytes=10)
    assert server.asked == ["https://log.example/models/x"]


def test_what_is_not_there_is_not_asked_for_again():
    server = Server(answer(404))
    with pytest.raises(
        NotFoundError, match=r"/x: expected an object, got 404\. Check the address: below that of a log "
    ):
        server.fetch()("x", max_bytes=10)
    assert len(server.asked) == 1


BODIES = {
    "too large": (answer(body=b"x" * 11), LimitError, "object x: expected at most 10 bytes, got more"),
    "a gzip bomb": (
        answer(body=gzip.compress(bytes(10**7)), **{"content-encoding": "gzip"}),
        LimitError,
        "object x: expected at most 10 bytes, got more",
    ),
    "no gzip": (
        answer(body=b"plain", **{"content-encoding": "gzip"}),
        SourceError,
        "body of x: expected gzip, got Error",
    ),
    "half a gzip stream": (
        answer(body=gzip.compress(b"tile")[:-6], **{"content-encoding": "gzip"}),
        SourceError,
        "body of x: expected a whole gzip stream, got one that was cut off",
    ),
    "another encoding": (
        answer(body=b"x", **{"content-encoding": "br"}),
        SourceError,
        "content encoding of x: expected identity or gzip, got br",
    ),
}


@pytest.mark.parametrize("body", BODIES)
def test_a_body_is_bounded_and_whole(body):
    reply, error, text = BODIES[body]
    with pytest.raises(error) as caught:
        Server(reply).fetch()("x", max_bytes=10)
    assert str(caught.value).startswith(text)


def test_gzip_is_unpacked():
    server = Server(answer(body=gzip.compress(b"tile"), **{"content-encoding": "gzip"}))
    assert server.fetch()("x", max_bytes=10) == b"tile"


def test_objects_ahead_are_asked_for_once_and_their_refusals_come_when_they_are_asked_for():
    server = Server(answer(404))
    ahead = fetch_ahead(server.fetch(), {"a": 10, "b": 10})
    for name in ("a", "b"):
        with pytest.raises(NotFoundError):
            ahead(name, max_bytes=10)
    assert sorted(server.asked) == ["https://log.example/models/a", "https://log.example/models/b"]
    with pytest.raises(NotFoundError):
        ahead("a", max_bytes=10)
    assert len(server.asked) == 3


def test_a_folder_has_nothing_to_wait_for(tmp_path):
    fetch = fetch_from_folder(tmp_path)
    assert fetch_ahead(fetch, {"a": 10}) is fetch


@pytest.mark.parametrize("url", ["http://[::1", "https://", "ftp://log.example/", "http:///x", "log.example"])
def test_what_is_no_address_is_refused_before_anything_is_asked(url):
    with pytest.raises(
        UsageError, match=r"address of the log: expected http://… or https://… with a host, got"
    ):
        fetch_from_url(url)


def test_bytes_after_a_gzip_stream_are_refused_and_not_kept():
    reply = answer(body=gzip.compress(b"tile") + bytes(10**6), **{"content-encoding": "gzip"})
    with pytest.raises(LimitError, match=r"object x: expected at most 10 bytes, got more"):
        Server(reply).fetch()("x", max_bytes=10)
    short = answer(body=gzip.compress(b"tile") + b"more", **{"content-encoding": "gzip"})
    with pytest.raises(SourceError, match=r"body of x: expected one gzip stream, got bytes after its end"):
        Server(short).fetch()("x", max_bytes=10)


def test_a_stream_of_empty_blocks_ends():
    header, empty_block = gzip.compress(b"")[:10], b"\x00\x00\x00\xff\xff"
    empty = header + empty_block * 10_000
    with pytest.raises(LimitError, match=r"object x: expected at most 10 bytes, got more"):
        Server(answer(body=empty, **{"content-encoding": "gzip"})).fetch()("x", max_bytes=10)


def test_a_host_name_that_cannot_be_asked_for_is_an_answer_too():
    """`http://a..b/` is an address until somebody looks for its host."""
    server = Server(UnicodeError("label empty or too long"))
    with pytest.raises(SourceError, match=r"GET \S+/x: expected an answer, got label empty or too long"):
        server.fetch()("x", max_bytes=10)


def test_a_body_that_trickles_for_ever_is_given_up():
    """By a clock that each byte moves on by ten seconds."""
    clock = iter(range(0, 10_000, 10))
    trickle = httpx.Response(200, stream=Trickle())
    fetch = fetch_from_url(
        URL,
        transport=httpx.MockTransport(lambda _: trickle),
        seconds=60,
        clock=lambda: next(clock),
    )
    with pytest.raises(SourceError, match="expected the whole answer within 60 s, got more to come"):
        fetch("x", max_bytes=1 << 20)


class Trickle(httpx.SyncByteStream):
    def __iter__(self):
        while True:
            yield b"x"


# Politeness


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self):
        self.now, self.waits = 0.0, []

    def __call__(self):
        return self.now

    def pause(self, seconds):
        self.waits.append(seconds)
        self.now += seconds


def polite(server, clock, **more):
    return fetch_from_url(
        URL,
        transport=httpx.MockTransport(server),
        pause=clock.pause,
        chance=lambda: 0.0,
        clock=clock,
        **more,
    )


def test_requests_are_spread_as_the_settings_say():
    clock, server = Clock(), Server(answer(body=b"x"))
    fetch = polite(server, clock, per_second=4)
    for _ in range(5):
        fetch("x", max_bytes=10)
    assert clock.waits == [0.25] * 4
    clock.now += 10
    fetch("x", max_bytes=10)
    assert len(clock.waits) == 4, "who was quiet waits for nothing, and saves nothing up"
    fetch("x", max_bytes=10)
    assert len(clock.waits) == 5


def test_threads_share_one_pace():
    clock, server = Clock(), Server(answer(body=b"x"))
    fetch = polite(server, clock, per_second=2)
    ahead = fetch_ahead(fetch, dict.fromkeys("abcdef", 10))
    for name in "abcdef":
        ahead(name, max_bytes=10)
    assert len(server.asked) == 6
    assert clock.now >= 2.5


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_names_a_time_is_asked_no_sooner(status):
    clock = Clock()
    server = Server(answer(status, **{"retry-after": "7"}), answer(body=b"tile"))
    assert polite(server, clock)("x", max_bytes=10) == b"tile"
    assert clock.waits == [7]


@pytest.mark.parametrize("text", ["Wed, 21 Oct 2026 07:28:00 GMT", "-5", "+7", "0.1", "1e9", ""])
def test_a_time_that_is_no_count_of_seconds_is_the_usual_pause(text):
    clock = Clock()
    server = Server(answer(429, **{"retry-after": text}), answer(body=b"tile"))
    assert polite(server, clock)("x", max_bytes=10) == b"tile"
    assert clock.waits == [0.5]


def test_a_server_that_wants_an_hour_is_left_alone_and_not_waited_for():
    clock, server = Clock(), Server(answer(429, **{"retry-after": "3600"}))
    with pytest.raises(SourceError, match="expected status 200, got 429"):
        polite(server, clock)("x", max_bytes=10)
    assert (len(server.asked), clock.waits) == (1, [])


class Versions:
    """A server that knows what it served: 304 to whoever has it."""

    def __init__(self):
        self.body, self.log = b"one", []

    def __call__(self, request):
        tag = f'"{self.body.decode()}"'
        self.log.append(request.headers.get("if-none-match"))
        if self.log[-1] == tag:
            return httpx.Response(304)
        return httpx.Response(200, stream=httpx.ByteStream(self.body), headers={"etag": tag})


def test_what_changes_in_place_is_asked_for_only_if_it_changed():
    server = Versions()
    fetch = polite(server, Clock(), conditional=frozenset(("checkpoint",)))
    assert [fetch("checkpoint", max_bytes=10) for _ in range(2)] == [b"one", b"one"]
    server.body = b"two"
    assert [fetch("checkpoint", max_bytes=10) for _ in range(2)] == [b"two", b"two"]
    assert server.log == [None, '"one"', '"one"', '"two"']
    fetch("tile/0/000", max_bytes=10)
    fetch("tile/0/000", max_bytes=10)
    assert server.log[-2:] == [None, None], "only what is named"


@pytest.mark.parametrize("tag", ["", "x" * 257])
def test_a_tag_that_is_none_or_too_long_is_not_sent_back(tag):
    asked = []

    def server(request):
        asked.append(request.headers.get("if-none-match"))
        return httpx.Response(200, stream=httpx.ByteStream(b"one"), headers={"etag": tag})

    fetch = polite(server, Clock(), conditional=frozenset(("checkpoint",)))
    assert [fetch("checkpoint", max_bytes=10) for _ in range(2)] == [b"one", b"one"]
    assert asked == [None, None]


def test_not_modified_without_a_question_is_refused():
    with pytest.raises(SourceError, match="expected status 200, got 304"):
        polite(Server(answer(304)), Clock(), conditional=frozenset(("checkpoint",)))(
            "checkpoint", max_bytes=10
        )


def test_an_answer_that_drips_is_refused_when_its_time_is_over():
    clock = Clock()

    def drip():
        for _ in range(10):
            clock.now += 10
            yield b"x"

    class Stream(httpx.SyncByteStream):
        def __iter__(self):
            return drip()

    server = Server(lambda: httpx.Response(200, stream=Stream()))
    with pytest.raises(SourceError, match="expected the whole answer within 45 s, got more to come"):
        polite(server, clock, seconds=45)("x", max_bytes=100)
    assert clock.now == 50
