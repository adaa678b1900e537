"""Recording into a ledger in Rekor over HTTP: durable at once, submitted in the background, included when Rekor has it."""

import base64
import json
import threading

import jsonschema
import pytest

from ledger.server import waiting
from ledger.server.app import Limits
from ledger.server.metrics import Metrics
from ledger.server.service import make_app
from tests.fakes.rekor import problem
from tests.ledger.server.events import body, lines
from tests.ledger.server.rekor import in_rekor
from tests.ledger.server.test_reading import schema_of
from tests.ledger.server.test_rekor import problem_of
from tests.ledger.server.test_writing import running

DOWN = problem(503, "later")


@pytest.fixture
def world(tmp_path):
    with in_rekor(tmp_path) as made:
        yield made


@pytest.fixture
def hub(world):
    with running(world[0]) as service:
        yield service


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(waiting, "REKOR_SECONDS", 0.1)
    return monkeypatch


def test_a_durable_event_is_accepted_and_submitted_by_itself(world, hub):
    found = hub.post(body(), wait="durable")
    assert found.status == 201
    jsonschema.validate(found.json, schema_of("Receipt"))
    assert (found.json["number"], found.json["state"]) == (1, "pending")
    assert "leafIndex" not in found.json
    again = hub.post(body(), wait="included")
    read = hub.get("/v1/event", id="u-1").json
    assert json.loads(base64.b64decode(read["entry"])) == found.json["entry"]
    assert (again.status, again.json["state"], again.json["repeated"]) == (200, "logged", True)
    assert hub.get("/v1/history", model="acme/new").json["events"][0]["state"] == "logged"
    assert len(world[1].tree.entries) == 2


def test_an_included_event_comes_with_both_proofs(world, hub, hubledger, tmp_path):
    found = hub.post(body())
    assert found.status == 201
    jsonschema.validate(found.json, schema_of("Receipt"))
    assert (found.json["state"], found.json["shard"]) == ("logged", "rekor.example")
    (tmp_path / "e.json").write_text(json.dumps(found.json["bundle"]))
    (tmp_path / "e.tlog-proof").write_text(found.json["proof"])
    trust = ("--trust", str(world[0] / "trust.toml"), "--log-only")
    assert hubledger("verify", "--bundle", str(tmp_path / "e.json"), *trust)[0] == 0
    assert hubledger("verify", "--proof", str(tmp_path / "e.tlog-proof"), *trust)[0] == 0


def test_past_the_deadline_the_event_is_durable_and_logged_later(world, hub, impatient):
    world[1].fail = DOWN
    found = hub.post(body())
    assert (found.status, found.json["reached"], found.json["state"]) == (202, "durable", "pending")
    jsonschema.validate(found.json, schema_of("Receipt"))
    world[1].fail = None
    impatient.setattr(waiting, "REKOR_SECONDS", 60.0)
    again = hub.post(body())
    assert (again.status, again.json["state"]) == (200, "logged")


def test_what_rekor_refuses_is_answered_at_once_and_waits_for_a_person(world, hub):
    world[1].fail = problem(400, "no")
    found = hub.post(body())
    assert (found.status, found.json["reached"], found.json["state"]) == (202, "durable", "refused")
    assert hub.get("/health/ready").json["outbox"]["refused"] >= 1
    assert hub.get("/v1/entries/1").json["lastError"]["error"] == "RejectedError"


def test_a_batch_is_answered_line_by_line_in_its_order(world, hub):
    data = lines(*[body(f"u-{at}", revision=f"r{at}") for at in range(5)], {"eventId": "bad"})
    for wait, state in (("durable", {"pending", "logged"}), ("included", {"logged"})):
        found = hub.batch(data, wait=wait)
        answers = [json.loads(line) for line in found.body.splitlines()]
        assert [each.get("number") for each in answers] == [1, 2, 3, 4, 5, None]
        assert {each["state"] for each in answers[:5]} <= state
        assert answers[5]["type"] == "/problems/malformed"
    rows = hub.get("/v1/history", model="acme/new").json["events"]
    assert [(each["revision"], each["state"]) for each in rows] == [(f"r{at}", "logged") for at in range(5)]


def test_what_rekor_cannot_give_is_refused(hub):
    assert problem_of(hub.post(body(), wait="witnessed")) == (
        422,
        "/problems/not-implemented",
        "The log of this ledger is Rekor, whose witnesses are its operator's: wait for `included`",
    )
    assert problem_of(hub.post({"entries": ["e30="]}, "/v1/entries")) == (
        422,
        "/problems/not-implemented",
        "The log of this ledger is Rekor: it takes facts, at /v1/events, and signs them itself",
    )
    assert hub.get("/v1/log").json["size"] == 1, "nothing was recorded"


def test_whoever_waits_when_the_service_stops_is_told_that_it_is_durable(world):
    ledger, rekor = world
    rekor.fail = DOWN
    found = []
    with running(ledger) as hub:
        asking = threading.Thread(target=lambda: found.append(hub.post(body())))
        asking.start()
        while not hub.writer.awaited():
            threading.Event().wait(0.01)
        hub.writer.close()
        asking.join(60)
    assert (found[0].status, found[0].json["reached"]) == (202, "durable")
    rekor.fail = None
    with running(ledger) as hub:  # what was left is submitted by whoever serves next
        assert hub.post(body()).json["state"] == "logged"


def test_metrics_say_what_waits(world, impatient):
    ledger, rekor = world
    rekor.fail = DOWN
    metrics = Metrics()
    with running(ledger) as hub:
        assert hub.post(body()).status == 202
        app = make_app(ledger, limits=Limits(threads=1), writer=hub.writer, metrics=metrics)
        try:
            value = metrics.registry.get_sample_value
            assert value("hubledger_outbox_waiting") == 2
            assert value("hubledger_outbox_refused") == 0
            assert value("hubledger_outbox_oldest_seconds") >= 0
            assert value("hubledger_outbox_failed") is not None
            assert value("hubledger_log_published_size") is None, "there is no checkpoint of ours"
            assert value("hubledger_writer_ok") == 1
        finally:
            app.pool.close()
