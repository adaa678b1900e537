"""Servers that are slow, endless, cut off or something else, at each address that a check reads: it ends, and is no success."""

import json

import httpx
import pytest

from ledger.client import trust_source
from ledger.log import fetch
from tests.client_faults.hub import NAME
from tests.client_faults.rogue import ENDLESS, answer, drip, flood, gzip_bomb, head, reset_after, rogue, said
from tests.system.test_client import MONITOR

HTML = b"<!doctype html><title>Busy</title><p>Come back later"
AWAY, TOO_MUCH, ELSE = 51, 32, 31
LIMIT = 1.5
"""Seconds where time is what ends an answer: an honest answer beside it must come within them on a busy machine too."""
SLOW = f"expected the whole answer within {LIMIT} s, got more to come"
LONG = "expected at most"
FAULTS = {
    "a body byte by byte": (drip(head(content_length=10_000), b" "), AWAY, SLOW),
    "a body byte by byte without a length": (drip(head(connection="close"), b" "), AWAY, SLOW),
    "a header byte by byte": (drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a"), AWAY, SLOW),
    "a first line byte by byte": (drip(b"HTTP/1.1 ", b"2"), AWAY, ""),
    "interim answers for ever": (flood(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n"), AWAY, SLOW),
    "nothing at all": (drip(b"", b""), AWAY, SLOW),
    "headers for ever": (flood(b"HTTP/1.1 200 OK\r\n", b"X-More: a\r\n" * 100), AWAY, ""),
    "a body for ever": (flood(head(connection="close"), b"a" * ENDLESS), TOO_MUCH, LONG),
    "a body as long as it says, which is too much": (
        flood(head(content_length=1 << 40), b"a" * ENDLESS),
        TOO_MUCH,
        LONG,
    ),
    "chunks for ever": (
        flood(head(transfer_encoding="chunked"), b"1000\r\n" + b"a" * 4096 + b"\r\n"),
        TOO_MUCH,
        LONG,
    ),
    "a gzip bomb": (said(answer(gzip_bomb(256), content_encoding="gzip")), TOO_MUCH, LONG),
    "gzip that is cut off": (said(answer(gzip_bomb(1)[:-20], content_encoding="gzip")), None, ""),
    "an encoding that nobody asked for": (
        said(answer(b"a", content_encoding="br")),
        AWAY,
        "identity or gzip",
    ),
    "HTML": (said(answer(HTML, content_type="text/html")), None, ""),
    "nothing in it": (said(answer(b"")), None, ""),
    "no content": (said(head("204 No Content")), AWAY, "expected status 200, got 204"),
    "part of it": (said(answer(b"", status="206 Partial Content")), AWAY, "expected status 200, got 206"),
    "a reset in the middle": (reset_after(head(content_length=10_000) + b"{"), AWAY, "expected an answer"),
    "a reset before anything": (reset_after(b""), AWAY, "expected an answer"),
    "an end in the middle": (said(head(content_length=10_000) + b"{"), AWAY, "expected an answer"),
    "no HTTP": (said(b"SSH-2.0-OpenSSH_9\r\n"), AWAY, "expected an answer"),
}
"""What a server says; how a check ends (None: by what the bytes are taken for), and what it says then."""
ADDRESSES = ["/v1/check", "/v1/history", "/v1/entries/1/proof", "/statement", "/.well-known/hubledger/trust"]


TIMED = {name for name, (_, _, words) in FAULTS.items() if words == SLOW} | {
    "a first line byte by byte",
    "headers for ever",
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch, request):
    """The same limits, and no pauses; a shorter one of time where it is met."""
    if getattr(request.node, "callspec", None) and request.node.callspec.params.get("name") in TIMED:
        monkeypatch.setattr(trust_source, "MAX_SECONDS", LIMIT)
    monkeypatch.setattr(fetch, "_FIRST_PAUSE", 0.0)


def at(address, fault, service):
    """Speak so at one address, and as the service does at all others; one without `/v1/check` where that is passed over."""

    def speak(path, connection, over):
        if path.startswith(address):
            fault(path, connection, over)
        elif path.startswith("/v1/check") and address == "/v1/history":
            connection.sendall(answer(b"", status="404 Not Found"))
        else:
            connection.sendall(answer(httpx.get(service + path).content))

    return speak


def ask(hubledger, hub, url, address, tmp_path):
    """Read one address as a user does; returns (exit code, all that is said)."""
    if address.startswith("/.well-known"):
        code, out, err = hubledger("trust", "add", url)
        return code, out + err
    text, table = hub.trust.decode(), ""
    if address == "/statement":
        text = text.replace('"included"', '"audited"')
        table = (
            f'\n[[monitor]]\nvkey = "{MONITOR.verifier.format()}"\nmax_age = 3600\nurl = "{url}/statement"\n'
        )
    trust = tmp_path / "mine.toml"
    trust.write_text(text + table)
    model = hub.old if address.startswith("/v1/entries") else hub.new
    code, out, err = hubledger("verify", model, "--name", NAME, "--trust", trust, "--url", url, "--json")
    return code, " ".join((out + err).split())


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("name", FAULTS)
def test_a_server_that_says_something_else(hubledger, hub, service, tmp_path, address, name):
    fault, code, words = FAULTS[name]
    with rogue(at(address, fault, service)) as url:
        found, text = ask(hubledger, hub, url, address, tmp_path)
    if address == "/statement":
        assert found == 15, text
        assert json.loads(text)["failure"]["step"] == "monitor monitor.example"
    elif code is None:
        assert found in (13, 31, 33, 51), text
    else:
        assert found == code, text
    assert words in text
    assert "MISBEHAVIOUR" not in text
    assert json.loads(hubledger("pins", "list", "--json")[1])["pins"] == [] or address == "/statement"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("address", ADDRESSES)
def test_a_redirect_is_not_followed_wherever_it_leads(
    hubledger, hub, proxy, service, tmp_path, address, status
):
    """To the same answers at another port, to a file, and back to itself."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    for target in (proxy.url + address, f"file://{secret}", address, "//127.0.0.1:1/", "gopher://x", "\x00"):
        fault = said(answer(b"", status=f"{status} Moved", location=target))
        with rogue(at(address, fault, service)) as url:
            code, text = ask(hubledger, hub, url, address, tmp_path)
        assert code == (15 if address == "/statement" else AWAY), text
        assert "secret" not in text.replace(str(tmp_path), "")
        if target != "\x00":
            assert f"expected status 200, got {status}" in text
    assert proxy.seen == []


def test_pages_without_an_end(hubledger, hub, service, tmp_path):
    """Each is quick, and has nothing that counts: a client does not turn pages for ever."""
    seen = []

    def turn(path, connection, _):
        seen.append(path)
        page = {"model": "acme/tiny", "events": [], "next": len(seen)}
        connection.sendall(answer(json.dumps(page).encode()))

    with rogue(at("/v1/history", turn, service)) as url:
        code, text = ask(hubledger, hub, url, "/v1/history", tmp_path)
    assert (code, len(seen)) == (TOO_MUCH, 41)
    assert "events of acme/tiny: expected at most 10000, got more" in text


def test_what_was_kept_stands_in_for_a_server_that_does_not_come_to_an_end(
    hubledger, hub, service, tmp_path, monkeypatch
):
    monkeypatch.setattr(trust_source, "MAX_SECONDS", LIMIT)
    with rogue(at("/none", said(b""), service)) as url:
        assert ask(hubledger, hub, url, "/v1/check", tmp_path)[0] == 0
    with rogue(at("/v1/check", FAULTS["a header byte by byte"][0], service)) as url:
        code, text = ask(hubledger, hub, url, "/v1/check", tmp_path)
    assert code == 0
    assert "kept on this machine since" in json.loads(text)["source"]
    assert SLOW in json.loads(text)["source"]
