"""The endpoints of a monitor, over real connections: what a scraper sees, and what a stranger can do."""

import json
import socket
import threading
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ledger.client.trust_writing import format_trust
from ledger.tlog.signed_note import MAX_NOTE_BYTES
from ledger.tlog.trust_policy import Group
from monitor import server
from monitor.config import load_config
from monitor.daemon import answering, init, open_monitor
from monitor.running import run
from tests.conftest import REPOSITORY
from tests.monitor.hub import Hub
from tests.monitor.test_follow import A, B
from tests.world import LEDGER, NOW


@pytest.fixture
def hub(tmp_path):
    hub = Hub()
    for at in range(3):
        hub.record(A if at < 2 else B, revision=str(at))
    hub.publish(tmp_path / "log")
    hub.trust_file(tmp_path / "trust.toml")
    (tmp_path / "hooks").mkdir()
    (tmp_path / "monitor.toml").write_text(
        'listen = "127.0.0.1:0"\n[[log]]\nname = "models"\nfolder = "log"\ntrust = "trust.toml"\n'
        '[[sink]]\nname = "desk"\nhooks = "hooks"\n[canary]\nsink = "desk"\n'
    )
    init(load_config(tmp_path / "monitor.toml"), pinned={"models": None}, now=NOW)
    return hub


@contextmanager
def answered(folder, clock=lambda: NOW):
    with (
        open_monitor(load_config(folder / "monitor.toml"), clock=clock) as monitor,
        answering(monitor) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        yield monitor, client


def samples(client):
    text = client.get("/metrics").text
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_ready_only_once_every_log_was_checked(hub, tmp_path):
    time = [NOW]
    with answered(tmp_path, clock=lambda: time[0]) as (monitor, client):
        assert client.get("/health/live").json() == {"live": True}
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["problems"]) == (
            503,
            ["log models was never checked successfully"],
        )
        monitor.look()
        assert client.get("/health/ready").json() == {"ready": True, "problems": []}
        time[0] += 301
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["problems"]) == (
            503,
            ["log models was last checked successfully 301 s ago"],
        )


def test_the_metrics_say_what_the_state_says(hub, tmp_path):
    time = [NOW]
    with answered(tmp_path, clock=lambda: time[0]) as (monitor, client):
        monitor.look()
        monitor.check_canary()
        monitor.deliver()
        time[0] += 7
        found = samples(client)
    assert found["hubledger_monitor_log_seen_size", "models"] == 3
    assert found["hubledger_monitor_log_verified_size", "models"] == 3
    assert found["hubledger_monitor_log_lag_entries", "models"] == 0
    assert found["hubledger_monitor_log_entries_total", "models"] == 3
    assert found["hubledger_monitor_log_succeeded_age_seconds", "models"] == 7
    assert found["hubledger_monitor_log_pending_age_seconds", "models"] == 0
    assert found["hubledger_monitor_findings_open", "finding", "high", "models", "signer-changed"] == 1
    assert found["hubledger_monitor_sink_waiting", "desk"] == 2, "the folder of hooks is empty"
    assert found["hubledger_monitor_sink_failing", "desk"] == 1
    assert found["hubledger_monitor_canary_sent_age_seconds",] == 7
    assert ("hubledger_monitor_log_quorum_met", "models") not in found, "the trust file has no witnesses"
    assert ("hubledger_monitor_canary_arrived_age_seconds",) not in found, "no such moment is no number"


def test_a_checkpoint_that_is_not_verified_yet_has_an_age(hub, tmp_path):
    """It was handed in, or its entries could not be had: what counts is the oldest of them."""
    with answered(tmp_path, clock=lambda: NOW + 90) as (monitor, client):
        monitor.look()
        for size, seen_at in ((5, NOW + 60), (4, NOW + 30)):
            monitor.state.checkpoints.saw("models", size=size, root=bytes(32), note=b"%d" % size, now=seen_at)
        found = samples(client)
    assert found["hubledger_monitor_log_pending_age_seconds", "models"] == 60
    assert found["hubledger_monitor_log_lag_entries", "models"] == 2


def test_the_age_of_the_cosignatures_is_that_of_the_quorum(hub, tmp_path):
    """As many witnesses as make the quorum said it then: one of two that signs later makes nothing younger."""
    policy = replace(
        (trust := hub.world.trust(witnesses=("w1", "w2"))).policy,
        groups=(Group(name="both", threshold=2, members=("w1", "w2")),),
        quorum="both",
    )
    (tmp_path / "trust.toml").write_bytes(format_trust(replace(trust, policy=policy)))
    ages = []
    for cosigned in ({"w1": NOW}, {"w1": NOW, "w2": NOW - 50}):
        hub.publish(tmp_path / "log", note=hub.world.checkpoint(cosigned=cosigned))
        with answered(tmp_path, clock=lambda: NOW + 10) as (monitor, client):
            monitor.look()
            found = samples(client)
        ages.append(
            [
                found.get((f"hubledger_monitor_log_{name}", "models"))
                for name in ("quorum_met", "cosigned_age_seconds")
            ]
        )
    assert ages == [[0, None], [1, 60]]


def test_the_dashboard_shows_metrics_that_there_are_and_all_of_them(hub, tmp_path):
    import re

    text = (REPOSITORY / "deploy/grafana-monitor.json").read_text()
    board = json.loads(text)
    queries = " ".join(target["expr"] for panel in board["panels"] for target in panel.get("targets", ()))
    named = set(re.findall(r"hubledger_monitor_[a-z_]+", queries))
    with answered(tmp_path) as (monitor, client):
        monitor.look()
        families = list(text_string_to_metric_families(client.get("/metrics").text))
    known = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    assert named <= known
    assert known <= named, "a metric that nobody looks at"


def test_a_checkpoint_is_answered(hub, tmp_path):
    with answered(tmp_path) as (monitor, client):
        monitor.look()
        answers = {}
        other = hub.fork(2)
        other.record(A, revision="x")
        for name, note in (
            ("ours", hub.world.checkpoint(2)),
            ("forked", other.world.checkpoint()),
            ("none", b"x"),
            ("of nobody", hub.world.checkpoint(2).replace(LEDGER.encode(), b"elsewhere.example", 1)),
        ):
            reply = client.post("/v1/checkpoint", content=note)
            answers[name] = (reply.status_code, reply.json().get("result"))
        hub.record(A, revision="new")
        reply = client.post("/v1/checkpoint", content=hub.world.checkpoint())
        answers["larger"] = (reply.status_code, reply.json()["result"])
        bent = hub.world.checkpoint(2).replace(b"\n2\n", b"\n1\n", 1)
        answers["unsigned"] = (client.post("/v1/checkpoint", content=bent).status_code, None)
    assert answers == {
        "ours": (200, "consistent"),
        "forked": (409, "inconsistent"),
        "larger": (202, "pending"),
        "none": (400, None),
        "of nobody": (404, None),
        "unsigned": (400, None),
    }


@pytest.mark.parametrize("length", ["", "-1", "1e3", "x", "+5"])
def test_a_length_that_is_none_is_refused(hub, tmp_path, length):
    with answered(tmp_path) as (_, client):
        port = client.base_url.port
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(f"POST /v1/checkpoint HTTP/1.0\r\nContent-Length: {length}\r\n\r\n".encode())
            assert b" 400 " in raw.recv(100)


def test_a_body_that_is_too_long_is_not_read(hub, tmp_path):
    with answered(tmp_path) as (_, client):
        reply = client.post("/v1/checkpoint", content=bytes(MAX_NOTE_BYTES + 1))
        assert reply.status_code == 413
        assert client.post("/elsewhere", content=b"").status_code == 404
        assert client.get("/v1/checkpoint").status_code == 404


def test_who_sends_a_byte_now_and_then_is_cut_off(hub, tmp_path):
    """The connection ends though it is neither closed nor silent for long: what is read ends."""
    from monitor.health import assess

    with open_monitor(load_config(tmp_path / "monitor.toml"), clock=lambda: NOW) as monitor:
        health = lambda: assess(monitor.config, monitor.state, now=NOW)  # noqa: E731
        with (
            server.serving(
                ("127.0.0.1", 0), views=monitor.views, assess=health, clock=lambda: NOW, seconds=0.3
            ) as port,
            socket.create_connection(("127.0.0.1", port), timeout=30) as raw,
        ):
            raw.sendall(b"POST /v1/checkpoint HTTP/1.0\r\nContent-Length: 100\r\n\r\nx")
            assert raw.recv(100) == b""


def test_more_connections_than_there_is_room_for_are_closed_and_the_others_served(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(server, "CONNECTIONS", 2)
    with answered(tmp_path) as (_, client):
        port = client.base_url.port
        held = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(2)]
        for each in held:
            each.sendall(b"GET /health/live HTTP/1.0\r\n")  # not ended
        with socket.create_connection(("127.0.0.1", port), timeout=30) as third:
            assert third.recv(100) == b"", "closed unanswered"
        for each in held:
            each.sendall(b"\r\n")
            assert b" 200 " in each.recv(100)
            each.close()


def test_a_checkpoint_that_is_handed_in_while_the_monitor_runs_is_judged_with_its_next_look(hub, tmp_path):
    stop, sizes = threading.Event(), []

    def told(look):
        sizes.append(look.size)
        if look.size == 4:
            stop.set()

    with answered(tmp_path) as (monitor, client):
        hub.record(A, revision="new")
        assert client.post("/v1/checkpoint", content=hub.world.checkpoint()).json()["result"] == "pending"
        hub.publish(tmp_path / "log")
        run(monitor, interval=0.05, stop=stop, told=told)
        assert client.post("/v1/checkpoint", content=hub.world.checkpoint()).json()["result"] == "consistent"
