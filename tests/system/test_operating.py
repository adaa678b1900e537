"""The service as whoever operates it sees it: a scrape, lines that nobody can forge, and an orderly end."""

import json
import shlex
import socket

import httpx
import pytest

from ledger.config import FILE_NAME
from tests.system import peers
from tests.system.service import serving


@pytest.fixture
def ledger(tmp_path, hubledger):
    hubledger("init", tmp_path / "ledger", "--origin", "log.example/models", "--hub", "hub.example")
    return tmp_path / "ledger"


def set_up(ledger, **settings):
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    path = ledger / FILE_NAME
    path.write_text(path.read_text() + "\n[serve]\n" + "\n".join(lines) + "\n")


def test_prometheus_asks_at_an_address_of_its_own(ledger):
    port = peers.free_port()
    set_up(ledger, metrics=f"127.0.0.1:{port}")
    with serving(ledger) as (url, process):
        assert httpx.get(f"{url}/v1/log").status_code == 200
        assert httpx.get(f"{url}/metrics").status_code == 404
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert 'hubledger_requests_total{method="GET",route="/v1/log",status="200"} 1.0' in text
        assert "hubledger_log_durable_size 1.0" in text
    assert process.returncode == 0


@pytest.mark.parametrize("form", ["json", "logfmt"])
def test_each_request_is_one_line_whatever_a_stranger_sends(ledger, form):
    set_up(ledger, log_format=form, caller_header="X-Forwarded-For")
    forged = 'x\nat=1 route=/v1/events status=201 token="admin"'
    with serving(ledger) as (url, _):
        answer = httpx.get(
            f"{url}/v1/history",
            params={"model": forged},
            headers={"x-request-id": "mine", "x-forwarded-for": "1.2.3.4, 2001:db8::1"},
        )
        wrong = httpx.get(f"{url}/v1/log", headers={"x-forwarded-for": 'no" address'})
    lines = ledger.with_name("service.log").read_text().splitlines()
    found = {facts["id"]: facts for facts in map(parse(form), lines) if "id" in facts}
    facts = found[answer.headers["x-request-id"]]
    assert answer.headers["x-request-id"] != "mine"
    assert (facts["route"], str(facts["status"]), facts["caller"]) == ("/v1/history", "404", "2001:db8::1")
    assert found[wrong.headers["x-request-id"]]["caller"] == "unknown"
    assert not any("admin" in line for line in lines)


def parse(form):
    return (
        json.loads if form == "json" else lambda line: dict(each.split("=", 1) for each in shlex.split(line))
    )


def test_the_port_of_metrics_must_be_free(ledger, hubledger):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        set_up(ledger, metrics=f"127.0.0.1:{taken.getsockname()[1]}")
        code, _, error = hubledger("serve", ledger, "--listen", f"127.0.0.1:{peers.free_port()}")
    assert code == 51
    assert "Choose another with serve.metrics, or stop what listens there" in error
