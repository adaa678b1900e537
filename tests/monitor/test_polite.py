"""What a monitor asks of a server while nothing happens, and while it is told to be slow: over real connections."""

import http.server
from contextlib import contextmanager

import pytest

from monitor.config import load_config
from monitor.daemon import init, open_monitor
from tests.fakes.web import answering
from tests.monitor.hub import Hub
from tests.monitor.test_follow import A
from tests.world import NOW


@contextmanager
def served(folder, busy=()):
    """A file server with entity tags, as any web server; answers 429 to what is named in ``busy``, once each."""
    asked, busy = [], list(busy)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            name = self.path.lstrip("/")
            if name in busy:
                busy.remove(name)
                self.answer(429, b"", ("Retry-After", "0"))
                return
            data = (folder / name).read_bytes() if (folder / name).is_file() else None
            tag = f'"{hash(data)}"'
            known = self.headers.get("If-None-Match")
            status = 404 if data is None else 304 if known == tag else 200
            asked.append((name, known is not None, status))
            self.answer(status, data if status == 200 else b"", ("ETag", tag))

        def answer(self, status, body, header):
            self.send_response(status)
            self.send_header(*header)
            if status != 304:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with answering(Handler) as url:
        yield url, asked


@pytest.fixture
def hub(tmp_path):
    hub = Hub()
    for at in range(300):
        hub.record(A, revision=str(at))
    hub.publish(tmp_path / "log")
    hub.trust_file(tmp_path / "trust.toml")
    return hub


@contextmanager
def monitoring(folder, url, more=""):
    (folder / "monitor.toml").write_text(
        f'[[log]]\nname = "models"\nurl = "{url}"\ntrust = "trust.toml"\n{more}'
    )
    config = load_config(folder / "monitor.toml")
    init(config, pinned={"models": None}, now=NOW)
    with open_monitor(config, clock=lambda: NOW) as monitor:
        yield monitor


def test_while_nothing_happens_it_is_one_conditional_request_a_look(hub, tmp_path):
    with served(tmp_path / "log") as (url, asked), monitoring(tmp_path, url) as monitor:
        assert monitor.look()[0].size == 300
        came = [(tmp_path / "log" / name).stat().st_size for name, _, status in asked if status == 200]
        assert monitor.received() == {"models": sum(came)}
        asked.clear()
        for _ in range(3):
            assert monitor.look()[0].problem == ""
        assert asked == [("checkpoint", True, 304)] * 3
        asked.clear()
        hub.record(A, revision="new")
        hub.publish(tmp_path / "log")
        assert monitor.look()[0].size == 301
        assert asked == [("checkpoint", True, 200), ("tile/entries/001.p/45", False, 200)]


def test_a_server_that_is_busy_is_waited_for_and_nothing_is_reported(hub, tmp_path):
    with (
        served(tmp_path / "log", busy=["checkpoint", "tile/entries/000"]) as (url, _),
        monitoring(tmp_path, url) as monitor,
    ):
        look = monitor.look()[0]
        assert (look.size, look.problem) == (300, "")
