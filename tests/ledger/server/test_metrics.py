"""What is counted is what happened, under no name that a stranger chose; what cannot be read is left out."""

import re

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ledger.embedded.directory import Layout
from ledger.embedded.opening import open_for_recording
from ledger.server.app import Limits
from ledger.server.metrics import GAUGES, METHODS, CountedNowAndThen, Metrics, bytes_below
from ledger.server.routes import READ_ROUTES, WRITE_ROUTES
from ledger.server.service import make_app
from ledger.server.tokens import TokenFile
from ledger.server.writer import Writer
from tests.conftest import REPOSITORY
from tests.ledger.server.conftest import AT, HOSTILE
from tests.ledger.server.events import body
from tests.ledger.server.test_writing import Hub


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def hub(ledger, metrics):
    token = TokenFile(ledger).create(scopes=("record",), label="a test", now=AT)
    writer = Writer(lambda: open_for_recording(ledger, watch=metrics), room=1000)
    writer.start()
    app = make_app(
        ledger, limits=Limits(threads=4), authority=TokenFile(ledger), writer=writer, metrics=metrics
    )
    yield Hub(app, token, writer)
    app.pool.close()
    writer.close()


def samples(metrics):
    text = generate_latest(metrics.registry).decode()
    return {
        (each.name, *sorted(each.labels.items())): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def test_a_request_is_counted_by_template_method_and_status(hub, metrics):
    leaf = hub.get("/v1/entries/1")
    assert hub.get("/v1/entries/2").status == leaf.status == 200
    assert hub.get("/v1/entries/999").status == 404
    found = samples(metrics)
    route = ("route", "/v1/entries/{leaf}")
    assert found["hubledger_requests_total", ("method", "GET"), route, ("status", "200")] == 2
    assert found["hubledger_requests_total", ("method", "GET"), route, ("status", "404")] == 1
    assert found["hubledger_request_seconds_count", route] == 3


def test_what_strangers_choose_is_in_no_label(hub, metrics):
    for name in HOSTILE:
        hub.ask("GET", "/v1/history", model=name.encode("utf-8", "surrogateescape"))
        hub.ask("GET", "/" + name.encode("utf-8", "replace").decode())
        hub.ask(name[:20].encode("ascii", "replace").decode().upper(), "/v1/history", model="acme/tiny")
        hub.post(body(model={"name": name.encode("utf-8", "replace").decode(), "revision": "r9"}))
    labels = {pair for key in samples(metrics) for pair in key[1:]}
    routes = {each.path for each in (*READ_ROUTES, *WRITE_ROUTES)} | {"none"}
    assert {value for name, value in labels if name == "route"} <= routes
    assert {value for name, value in labels if name == "method"} <= {*METHODS, "other"}
    assert ("method", "other") in labels
    assert all(re.fullmatch(r"[0-9]{3}", value) for name, value in labels if name == "status")


def test_events_commits_and_publications_are_counted(hub, metrics):
    assert hub.post(body("m-1"), wait="included").status == 201
    assert hub.post(body("m-1"), wait="included").status == 200  # the same again is not recorded again
    found = samples(metrics)
    assert found["hubledger_events_total", ("decision", "observed"), ("outcome", "UNSIGNED")] == 1
    assert found["hubledger_commit_seconds_count",] == 1
    assert found["hubledger_publish_seconds_count",] == 1


def test_refused_tokens_are_counted(hub, metrics):
    assert hub.post(body(), token="hl_000000000000_" + "0" * 64).status == 401
    assert hub.ask("POST", "/v1/events", body=body()).status == 401
    assert hub.get("/v1/log").status == 200
    assert samples(metrics)["hubledger_token_refusals_total", ("status", "401")] == 2


def test_sizes_are_those_of_the_log(hub, metrics, ledger):
    before = samples(metrics)
    assert before["hubledger_log_durable_size",] == before["hubledger_log_published_size",] > 0
    assert hub.post(body("m-2"), wait="included").status == 201
    after = samples(metrics)
    assert after["hubledger_log_published_size",] == before["hubledger_log_published_size",] + 1
    assert after["hubledger_log_unpublished",] == 0
    assert after["hubledger_writer_ok",] == 1
    assert 0 <= after["hubledger_checkpoint_age_seconds",] < 3600


def test_what_cannot_be_read_is_left_out(hub, metrics, ledger):
    (Layout(root=ledger).public / "checkpoint").write_bytes(b"damaged")
    found = samples(metrics)
    assert ("hubledger_log_published_size",) not in found
    assert found["hubledger_writer_ok",] == 1


def test_evidence_is_counted_in_bytes_and_not_at_every_scrape(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one").write_bytes(b"123")
    (tmp_path / "two").write_bytes(b"4567")
    now = [0.0]
    counted = CountedNowAndThen(lambda: bytes_below(tmp_path), seconds=60, clock=lambda: now[0])
    assert counted() is None  # not 0: nothing is known yet
    counted.wait()
    assert counted() == 7
    (tmp_path / "three").write_bytes(b"8")
    counted()
    counted.wait()
    assert counted() == 7
    now[0] = 61.0
    counted()
    counted.wait()
    assert counted() == 8


def names(metrics):
    """Every name that a scrape may have, as alert rules and people write it."""
    found = {f"hubledger_{name}" for name, _, _ in GAUGES}
    for family in metrics.registry.collect():
        found.add({"counter": f"{family.name}_total"}.get(family.type, family.name))
    return found


def test_every_metric_is_in_the_guide_and_nothing_else(hub, metrics):
    text = (REPOSITORY / "docs/guides/operate.md").read_text(encoding="utf-8")
    table = text.partition("## What the metrics mean")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(hubledger_\w+)`", table, re.MULTILINE)) == names(metrics)


def test_alert_rules_ask_for_metrics_that_there_are(hub, metrics):
    rules = (REPOSITORY / "deploy/alerts.yml").read_text(encoding="utf-8")
    asked = {re.sub(r"_(bucket|count|sum)$", "", each) for each in re.findall(r"\bhubledger_\w+", rules)}
    assert asked
    assert asked <= names(metrics)
