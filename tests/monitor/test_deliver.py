"""Handing over: at least once, later again, and no sink silences another. Hooks are real processes, webhooks real servers."""

import hashlib
import hmac
import http.server
import json
import os
import socket
import threading
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest

from ledger.errors import ConfigError, SourceError
from ledger.tlog.merkle import Frontier
from monitor.deliver import FIRST_PAUSE, LONGEST_PAUSE, deliver, pause_after
from monitor.digest import Limit
from monitor.findings import Finding, Kind
from monitor.handed import format_finding
from monitor.hooks import SAID_BYTES, Hooks
from monitor.record import Stored
from monitor.sinks import Webhook, sign
from monitor.state import Position, State
from tests.fakes.web import answering

NOW = 1000
SECRET = b"0123456789abcdef"
FOUND = Finding(log="models", kind=Kind.SIGNER_CHANGED, text="It changed. Ask.", leaf_index=4, model="a/b")
STORED = Stored(
    number=1, id=FOUND.id(), state="open", note="", found_at=NOW, seen_at=NOW, facts=FOUND.as_json()
)


def hook(folder, name, script, mode=0o755):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(mode)
    return path


class Sinks:
    def __init__(self, *names):
        self.names = names

    def sinks(self, finding):
        return self.names


@pytest.fixture
def state(tmp_path):
    State.create(tmp_path / "state", now=NOW)
    made = State(tmp_path / "state")
    made.add_log(Position(name="models", origin="log", first=0, frontier=Frontier()), leaves={}, nodes={})
    for at in range(3):
        found = Finding(log="models", kind=Kind.SIGNER_CHANGED, text=f"text {at}", leaf_index=at)
        made.report(found, routes=Sinks("good", "bad"), now=NOW)
    yield made
    made.close()


class Bad:
    def __init__(self):
        self.asked = 0

    def send(self, finding):
        self.asked += 1
        raise SourceError("sink", expected="an answer", actual="none")


class Good:
    def __init__(self):
        self.got = []

    def send(self, finding):
        self.got.append(finding.number)


def test_a_broken_sink_silences_no_other_and_is_asked_later(state):
    time, good, bad = [NOW], Good(), Bad()
    done = deliver(state, {"good": good, "bad": bad}, clock=lambda: time[0])
    assert good.got == [1, 2, 3]
    assert dict(done.taken) == {"good": 3, "bad": 0}
    assert bad.asked == 1, "one refusal is enough for a round"
    assert done.problems == {"bad": "sink: expected an answer, got none"}
    for wait, asked in ((FIRST_PAUSE - 1, 1), (1, 2), (2 * FIRST_PAUSE - 1, 2), (1, 3)):
        time[0] += wait
        deliver(state, {"good": good, "bad": bad}, clock=lambda: time[0])
        assert bad.asked == asked
    time[0] += LONGEST_PAUSE
    mended = Good()
    deliver(state, {"good": good, "bad": mended}, clock=lambda: time[0])
    assert mended.got == [1, 2, 3], "nothing was lost, and the order is kept"
    assert good.got == [1, 2, 3], "nothing was told twice"


class Picky(Good):
    """A receiver with a filter before it: one finding never gets through."""

    def send(self, finding):
        if finding.number == 1:
            raise SourceError("sink", expected="status 2xx", actual="403")
        super().send(finding)


def test_a_finding_that_a_sink_never_takes_holds_back_no_other(state):
    time, picky = [NOW], Picky()
    for _ in range(2):
        deliver(state, {"good": picky}, clock=lambda: time[0])
        time[0] += LONGEST_PAUSE
    assert picky.got == [2, 3]
    state.report(
        Finding(log="models", kind=Kind.SIGNER_CHANGED, text="more", leaf_index=9),
        routes=Sinks("good"),
        now=time[0],
    )
    deliver(state, {"good": picky}, clock=lambda: time[0])
    assert picky.got == [2, 3, 4], "also one that comes when the first is due again"
    assert state.outbox.sink_counts()["good"][1] == 1, "and the first is owed still"


def test_pauses_double_and_end_at_an_hour():
    assert [pause_after(n) for n in (1, 2, 3)] == [5, 10, 20]
    assert pause_after(11) == pause_after(10_000) == LONGEST_PAUSE


# Hooks


def test_every_executable_is_run_in_order_with_the_finding(tmp_path):
    folder = tmp_path / "hooks.d"
    out = tmp_path / "out"
    hook(folder, "20-b", f'echo "b $HUBLEDGER_ID" >> {out}')
    hook(folder, "10-a", f'cat > {tmp_path}/json; echo "a $HUBLEDGER_KIND $HUBLEDGER_SEVERITY" >> {out}')
    hook(folder, "15-notes", f"echo no >> {out}", mode=0o644)
    hook(folder, ".hidden", f"echo no >> {out}")
    Hooks(folder, timeout=30).send(STORED)
    assert out.read_text() == f"a signer-changed high\nb {STORED.id}\n"
    assert json.loads((tmp_path / "json").read_bytes()) == json.loads(format_finding(STORED))


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\0b", "a?b"), ("x" * 200_000, "x" * 16384 + " […]"), ("é" * 9000, "é" * 8192 + " […]")],
    ids=["zero", "long", "inside a letter"],
)
def test_no_text_keeps_a_hook_from_running(tmp_path, text, shown):
    folder = tmp_path / "hooks.d"
    hook(folder, "10-a", f'cat > {tmp_path}/json; printf %s "$HUBLEDGER_TEXT" > {tmp_path}/out')
    Hooks(folder, timeout=30).send(replace(STORED, facts={**STORED.facts, "text": text}))
    assert (tmp_path / "out").read_text() == shown
    assert json.loads((tmp_path / "json").read_bytes())["text"] == text, "whole on standard input"


def test_secrets_of_the_monitors_environment_stay_there(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    hook(tmp_path / "hooks.d", "a", f"env > {tmp_path}/env")
    Hooks(tmp_path / "hooks.d", timeout=30).send(STORED)
    assert "hunter2" not in (tmp_path / "env").read_text()


def test_one_that_fails_keeps_no_other_from_running(tmp_path):
    hook(tmp_path / "hooks.d", "a", "exit 3")
    hook(tmp_path / "hooks.d", "b", f"touch {tmp_path}/ran")
    with pytest.raises(SourceError, match="a: ended with 3"):
        Hooks(tmp_path / "hooks.d", timeout=30).send(STORED)
    assert (tmp_path / "ran").exists()


def test_one_that_reads_nothing_and_one_that_cannot_be_run(tmp_path):
    hook(tmp_path / "hooks.d", "a", "exec <&-; exit 0")
    Hooks(tmp_path / "hooks.d", timeout=30).send(STORED)
    path = hook(tmp_path / "hooks.d", "b", "")
    path.write_bytes(b"#!/no/such/program\n")
    with pytest.raises(SourceError, match="b: cannot be run"):
        Hooks(tmp_path / "hooks.d", timeout=30).send(STORED)


def test_one_that_does_not_end_is_ended_with_what_it_started(tmp_path):
    """The pipe closes when the last process that holds it has gone: reading to its end shows that all have."""
    read, write = os.pipe()
    os.set_inheritable(write, True)
    fifo = tmp_path / "held"
    os.mkfifo(fifo)
    hook(tmp_path / "hooks.d", "a", f"exec 3>{fifo}; tail -f /dev/null & tail -f /dev/null")
    opened = []
    reader = threading.Thread(target=lambda: opened.append(fifo.read_bytes()))
    reader.start()
    with pytest.raises(SourceError, match=r"did not end within 0\.5 s"):
        Hooks(tmp_path / "hooks.d", timeout=0.5).send(STORED)
    reader.join(timeout=30)
    os.close(read)
    os.close(write)
    assert opened == [b""]


def test_a_folder_without_hooks_is_a_problem_and_not_silence(tmp_path):
    (tmp_path / "hooks.d").mkdir()
    for folder in ("hooks.d", "none"):
        with pytest.raises(SourceError):
            Hooks(tmp_path / folder, timeout=1).send(STORED)


@pytest.mark.parametrize("listened", [True, False])
def test_what_a_failing_hook_said_goes_to_the_monitors_own_log_alone(tmp_path, listened):
    hook(tmp_path / "hooks.d", "a", "echo nothing wrong >&2")
    hook(tmp_path / "hooks.d", "b", "echo token hunter2 >&2; printf '\\033[2Jred\\n' >&2; exit 1")
    lines = []
    with pytest.raises(SourceError) as refused:
        Hooks(tmp_path / "hooks.d", timeout=30, say=lines.append if listened else None).send(STORED)
    assert lines == (["b said: token hunter2", "b said: \x1b[2Jred"] if listened else [])
    assert "hunter2" not in str(refused.value)


def test_a_hook_that_floods_standard_error_never_waits_and_its_end_is_kept(tmp_path):
    hook(
        tmp_path / "hooks.d",
        "a",
        "head -c 3000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo the end >&2; exit 1",
    )
    lines = []
    with pytest.raises(SourceError, match="ended with 1"):
        Hooks(tmp_path / "hooks.d", timeout=30, say=lines.append).send(STORED)
    assert lines[-1] == "a said: the end"
    assert sum(len(each) for each in lines) < SAID_BYTES + 100


def test_what_a_hook_left_behind_with_standard_error_open_is_not_waited_for(tmp_path):
    """The process that stays ends when its standard input does: the test holds the other end of a pipe."""
    os.mkfifo(tmp_path / "held")
    hook(tmp_path / "hooks.d", "a", f"cat < {tmp_path}/held & echo why >&2; exit 1")
    lines, holding = [], os.open(tmp_path / "held", os.O_RDWR)
    with pytest.raises(SourceError, match="ended with 1"):
        Hooks(tmp_path / "hooks.d", timeout=30, say=lines.append).send(STORED)
    os.close(holding)
    assert lines == ["a said: why"]


def test_a_file_that_is_not_executable_is_told_once_and_again_when_that_changes(tmp_path):
    hook(tmp_path / "hooks.d", "10-note", "true")
    page = hook(tmp_path / "hooks.d", "20-page", "true", mode=0o644)
    lines = []
    hooks = Hooks(tmp_path / "hooks.d", timeout=30, say=lines.append)
    for mode in (0o644, 0o644, 0o755, 0o600):
        page.chmod(mode)
        hooks.send(STORED)
    assert lines == 2 * [f"hooks in {tmp_path}/hooks.d: 20-page is not executable, and is not run"]


# Webhooks


@contextmanager
def receiver(status=204, headers=()):
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with answering(Handler) as url:
        yield url, got


def webhook(url, **more):
    return Webhook(url, secret=SECRET, allow_private=True, timeout=10, **more)


def test_a_webhook_gets_the_finding_signed(tmp_path):
    with receiver() as (url, got):
        webhook(f"{url}/hook?x=1").send(STORED)
    ((path, headers, body),) = got
    assert path == "/hook?x=1"
    assert body == format_finding(STORED)
    assert headers["Hubledger-Signature"] == "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    assert headers["Hubledger-Signature"] == sign(SECRET, body)
    assert headers["Hubledger-Id"] == STORED.id


@pytest.mark.parametrize("status", [301, 307, 400, 404, 500])
def test_anything_but_success_is_sent_again_and_redirects_are_not_followed(status):
    with receiver() as (other, reached):
        with receiver(status, [("Location", other)]) as (url, got):
            with pytest.raises(SourceError, match=str(status)):
                webhook(url).send(STORED)
        assert len(got) == 1
        assert reached == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "10.1.2.3",
        "192.168.0.1",
        "169.254.169.254",
        "0.0.0.0",  # noqa: S104  # an address to refuse
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
        "[fc00::1]",
        "[fec0::1]",
        "[::7f00:1]",
        "[::ffff:0:7f00:1]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::a9fe:a9fe]",
        "[2002:7f00:1::1]",
        "[2001:0:7f00:1::1]",
        "2130706433",
        "0x7f.1",
        "224.0.0.1",
        "100.64.0.1",
    ],
)
def test_an_address_that_is_not_public_is_never_asked(host):
    def transport(request):
        raise AssertionError("it was asked")

    sink = Webhook(
        f"http://{host}/",
        secret=SECRET,
        allow_private=False,
        timeout=1,
        transport=httpx.MockTransport(transport),
    )
    with pytest.raises((ConfigError, SourceError)):
        sink.send(STORED)


@pytest.mark.parametrize(
    "url", ["ftp://example.org/", "http://", "https://user:secret@example.org/", "http://[::"]
)
def test_addresses_that_are_none_are_refused_without_repeating_secrets(url):
    with pytest.raises(ConfigError) as refused:
        webhook(url).send(STORED)
    assert "secret" not in str(refused.value)


def send_outside(answer):
    """Post to a host of the outside, which answers so."""
    transport = httpx.MockTransport(answer)
    url = "https://hooks.example/x"
    Webhook(url, secret=SECRET, allow_private=False, timeout=1, transport=transport).send(STORED)


def test_the_address_that_was_checked_is_the_one_that_is_asked(monkeypatch):
    """A name that leads elsewhere the second time gains nothing."""
    asked = []
    monkeypatch.setattr(
        "monitor.looking_up.socket.getaddrinfo", lambda *a, **k: [(2, 1, 6, "", ("93.184.215.14", 443))]
    )

    def answer(request):
        asked.append((request.url.host, request.headers["host"], request.extensions["sni_hostname"]))
        return httpx.Response(200)

    send_outside(answer)
    assert asked == [("93.184.215.14", "hooks.example", "hooks.example")]


def test_where_one_address_of_a_host_is_not_reached_the_next_is_asked(monkeypatch):
    """A name with an IPv6 address, on a machine without IPv6."""
    found = [(10, 1, 6, "", ("2606:4700::1", 443, 0, 0)), (2, 1, 6, "", ("52.1.2.3", 443))]
    monkeypatch.setattr("monitor.looking_up.socket.getaddrinfo", lambda *a, **k: found)
    asked = []

    def answer(request):
        asked.append(request.url.host)
        if request.url.host == "2606:4700::1":
            raise httpx.ConnectError("no route to host")
        return httpx.Response(200)

    send_outside(answer)
    assert asked == ["2606:4700::1", "52.1.2.3"]


def test_a_resolver_that_never_answers_holds_a_webhook_for_its_waiting_time_and_one_thread(monkeypatch):
    asked, answering = [], threading.Event()

    def resolver(*_, **__):
        asked.append(threading.current_thread())
        answering.wait(60)
        return [(2, 1, 6, "", ("93.184.215.14", 443))]

    monkeypatch.setattr("monitor.looking_up.socket.getaddrinfo", resolver)
    transport = httpx.MockTransport(lambda _: httpx.Response(200))
    sink = Webhook(
        "https://hooks.example/x", secret=SECRET, allow_private=False, timeout=0.2, transport=transport
    )
    with pytest.raises(SourceError, match=r"an answer of the resolver within 0\.2 s, got none"):
        sink.send(STORED)
    with pytest.raises(SourceError, match="a resolver that answers, got none to the question before"):
        sink.send(STORED)
    assert len(asked) == 1
    answering.set()
    asked[0].join(timeout=60)
    sink.send(STORED)
    assert len(asked) == 2


def test_an_answer_that_comes_byte_by_byte_is_not_waited_for():
    """Each byte is in time by itself; the waiting time is that of the whole."""
    gone = threading.Event()

    def drip(listener):
        taken, _ = listener.accept()
        with taken:
            got = b""
            while not got.endswith(b"}"):
                got += taken.recv(65536)
            taken.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            for _ in range(100):
                if gone.wait(0.05):
                    return
                taken.sendall(b"a")
            taken.sendall(b"\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=drip, args=(listener,), daemon=True).start()
        sink = Webhook(
            f"http://127.0.0.1:{listener.getsockname()[1]}/", secret=SECRET, allow_private=True, timeout=0.5
        )
        with pytest.raises(SourceError):
            sink.send(STORED)
        gone.set()


# Limits and tasks


def test_a_flood_is_a_digest_and_a_limit_holds_over_restarts(state):
    """What was handed over is remembered with the deliveries, not in the process."""
    for at in range(3, 40):
        found = Finding(log="models", kind=Kind.SIGNER_CHANGED, text=f"text {at}.", leaf_index=at)
        state.report(found, routes=Sinks("good"), now=NOW)
    time, good, limit = [NOW], Good(), {"good": Limit(messages=5, seconds=60)}
    deliver(state, {"good": good}, clock=lambda: time[0], limits=limit)
    assert good.got == [1, 2, 3, 4, 0], "the last one sums up"
    assert state.outbox.sink_counts()["good"][:2] == (40, 0), "and covers all of the others"
    found = Finding(log="models", kind=Kind.SIGNER_CHANGED, text="late", leaf_index=99)
    state.report(found, routes=Sinks("good"), now=NOW)
    deliver(state, {"good": good}, clock=lambda: time[0], limits=limit)
    assert len(good.got) == 5, "no room"
    time[0] += 60
    deliver(state, {"good": good}, clock=lambda: time[0], limits=limit)
    assert good.got[5:] == [41]


def test_a_digest_that_was_not_taken_is_owed_whole(state):
    good, limit = Good(), {"bad": Limit(messages=1)}
    deliver(state, {"bad": Bad()}, clock=lambda: NOW, limits=limit)
    assert state.outbox.sink_counts()["bad"][:2] == (0, 3)
    deliver(state, {"bad": good}, clock=lambda: NOW + FIRST_PAUSE, limits=limit)
    assert good.got == [0]
    assert state.outbox.sink_counts()["bad"][:2] == (3, 0)


# Silence


class Gone(Bad):
    """Answers as a webhook that was revoked."""

    def send(self, finding):
        self.asked += 1
        error = SourceError("webhook", expected="status 2xx", actual="410")
        error.status = 410
        raise error


def of_silence(state):
    return [each for each in state.record.findings() if each.facts["kind"] == "sink-silent"]


def silences(state):
    """Where each silence stands, and to whom it was told."""
    return [(each.facts["facts"]["sink"], each.state) for each in reversed(of_silence(state))]


def rounds(state, sinks, time, *, until, step=60):
    while time[0] < until:
        deliver(state, sinks, clock=lambda: time[0])
        time[0] += step


def test_a_sink_that_takes_nothing_for_an_hour_is_told_to_the_others_once_and_over_when_it_takes_something(
    state,
):
    time, good, bad = [NOW], Good(), Bad()
    rounds(state, {"good": good, "bad": bad}, time, until=NOW + 3600)
    assert silences(state) == []
    rounds(state, {"good": good, "bad": bad}, time, until=NOW + 20_000)
    assert silences(state) == [("bad", "open")]
    (told,) = [each for each in good.got if each > 3]
    (silence,) = of_silence(state)
    assert (told, silence.facts["log"], silence.facts["severity"]) == (silence.number, "(monitor)", "high")
    assert "Sink bad has taken nothing for " in silence.facts["text"]
    mended = Good()
    rounds(state, {"good": good, "bad": mended}, time, until=NOW + 30_000)
    assert mended.got == [1, 2, 3], "what it is owed, and nothing about itself"
    assert silences(state) == [("bad", "resolved")]
    state.report(replace(FOUND, leaf_index=77), routes=Sinks("bad"), now=time[0])
    rounds(state, {"good": good, "bad": bad}, time, until=time[0] + 20_000)
    assert silences(state) == [("bad", "resolved"), ("bad", "open")], "again, it is told again"


def test_a_sink_that_takes_all_but_one_finding_is_not_silent(state):
    time, picky = [NOW], Picky()
    for at in range(30):
        state.report(replace(FOUND, leaf_index=100 + at), routes=Sinks("good"), now=time[0])
        rounds(state, {"good": picky}, time, until=time[0] + 1800)
    assert state.outbox.waiting_since("good") == NOW
    assert silences(state) == []


def test_after_a_week_a_sink_is_asked_once_a_day_also_about_what_is_new(state):
    time, bad = [NOW], Bad()
    rounds(state, {"bad": bad}, time, until=NOW + 8 * 86_400, step=600)
    bad.asked = 0
    for at in range(48):
        state.report(replace(FOUND, leaf_index=100 + at), routes=Sinks("bad"), now=time[0])
        rounds(state, {"bad": bad}, time, until=time[0] + 3600, step=600)
    assert 2 <= bad.asked <= 4
    mended = Good()
    rounds(state, {"bad": mended}, time, until=time[0] + 86_400, step=600)
    assert len(mended.got) == 51, "nothing was dropped"


def test_one_that_says_that_it_is_gone_is_told_and_set_aside_at_once(state):
    time, good, gone = [NOW], Good(), Gone()
    rounds(state, {"good": good, "bad": gone}, time, until=NOW + 3600)
    assert gone.asked == 1
    assert silences(state) == [("bad", "open")]
    assert "says that it is gone for good" in of_silence(state)[0].facts["text"]


def test_a_webhook_that_is_gone_says_so():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(410)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with (
        answering(Handler) as url,
        pytest.raises(SourceError, match=r"expected status 2xx, got 410") as caught,
    ):
        Webhook(url, secret=SECRET, allow_private=True, timeout=30).send(STORED)
    assert caught.value.status == 410


def test_a_clock_that_went_back_keeps_nobody_waiting(state):
    """It was a year ahead when the sink refused, and is set right."""
    time, good, mended = [NOW + 365 * 86_400], Good(), Good()
    limits = {"good": Limit(messages=3)}
    deliver(state, {"good": good, "bad": Bad()}, clock=lambda: time[0], limits=limits)
    assert good.got == [1, 2, 3], "all that there is room for in an hour"
    time[0] = NOW + 60
    state.report(replace(FOUND, leaf_index=77), routes=Sinks("good"), now=time[0])
    deliver(state, {"good": good, "bad": mended}, clock=lambda: time[0], limits=limits)
    assert good.got == [1, 2, 3, 4]
    assert sorted(mended.got) == [1, 2, 3], "the one that it refused comes last"
