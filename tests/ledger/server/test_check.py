"""What a client asks before a model is loaded: how often, and how much comes."""

import json
import re

import pytest

from ledger.client.asking import fetch_bundle
from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from ledger.errors import MalformedError, NotFoundError, SourceError
from ledger.server.app import Limits
from ledger.server.checks import MAX_CLAIMS
from ledger.server.service import make_app
from ledger.tlog.checkpoint import parse_checkpoint
from ledger.tlog.proof import parse_proof
from ledger.tlog.signed_note import parse_note
from tests.events import digest, key
from tests.ledger.server.conftest import Service, facts

EVENTS = 100


class Fetch:
    """What a client fetches with, which remembers what was asked and how much came."""

    def __init__(self, service):
        self.service, self.asked, self.bytes = service, [], 0

    def __call__(self, name, /, *, max_bytes):
        path, _, query = name.partition("?")
        answer = self.service.ask("GET", f"/{path}", raw_query=query)
        self.asked.append(path)
        self.bytes += len(answer.body)
        if answer.status == 404:
            raise NotFoundError(name, expected="an object", actual="404")
        if answer.status != 200:
            raise SourceError(name, expected="status 200", actual=str(answer.status))
        assert len(answer.body) <= max_bytes
        return answer.body


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("check") / "ledger"
    init(folder, origin="log.example/models", hub="hub.example")
    with open_for_recording(folder) as ledger:
        batch = [facts("acme/tiny", f"r{number}", key("a")) for number in range(EVENTS)]
        batch += [facts("acme/long", f"r{number}", key("a")) for number in range(MAX_CLAIMS + 1)]
        for answer in ledger.recorder.record_batch(batch):
            assert not isinstance(answer, Exception), answer
        ledger.recorder.publish()
    app = make_app(folder, limits=Limits(threads=2, waiting=4, body_seconds=5))
    yield Service(app)
    app.pool.close()


def leaf_of(bundle):
    return parse_proof(bundle.proof).index


def test_a_model_with_a_hundred_events_costs_one_request_and_less_than_60_kb(service):
    fetch = Fetch(service)
    bundle = fetch_bundle(fetch, "acme/tiny", now=0, content=digest(f"cr{EVENTS - 1}"), since=1)
    assert fetch.asked == ["v1/check"]
    assert fetch.bytes <= 60_000
    assert (len(bundle.claims), leaf_of(bundle)) == (EVENTS, EVENTS)


def test_an_older_revision_by_name_costs_one_request_and_by_content_two(service):
    fetch = Fetch(service)
    assert leaf_of(fetch_bundle(fetch, "acme/tiny", now=0, revision="r7")) == 8
    assert fetch.asked == ["v1/check"]
    fetch = Fetch(service)
    assert leaf_of(fetch_bundle(fetch, "acme/tiny", now=0, content=digest("cr7"))) == 8
    assert fetch.asked == ["v1/check", "v1/entries/8/proof"]


def test_a_longer_history_is_asked_for_page_by_page(service):
    fetch = Fetch(service)
    bundle = fetch_bundle(fetch, "acme/long", now=0, content=digest("cr3"))
    assert fetch.asked == ["v1/check", "v1/history", f"v1/entries/{EVENTS + 4}/proof"]
    assert (len(bundle.claims), leaf_of(bundle)) == (MAX_CLAIMS + 1, EVENTS + 4)


def test_both_ways_give_the_same_bundle(service):
    def older(name, /, *, max_bytes):
        if name.startswith("v1/check"):
            raise NotFoundError(name, expected="an object", actual="404")
        return Fetch(service)(name, max_bytes=max_bytes)

    for wanted in ({}, {"revision": "r5"}, {"content": digest("cr9"), "since": 3}):
        assert fetch_bundle(older, "acme/tiny", now=0, **wanted) == fetch_bundle(
            Fetch(service), "acme/tiny", now=0, **wanted
        )


def test_the_proof_is_under_the_newest_checkpoint(service):
    found = service.get("/v1/check", model="acme/tiny").json
    note = parse_note(parse_proof(found["proof"].encode()).checkpoint_note)
    assert parse_checkpoint(note.text).size == service.get("/v1/log").json["size"]
    assert found["leafIndex"] == EVENTS


def test_what_there_is_not_is_404_and_an_answer_that_is_none_is_said(service):
    assert service.get("/v1/check", model="acme/none").status == 404
    assert service.get("/v1/check", model="acme/tiny", revision="x").status == 404
    with pytest.raises(NotFoundError, match=re.escape("event of acme/tiny at x")):
        fetch_bundle(Fetch(service), "acme/tiny", now=0, revision="x")
    found = service.get("/v1/check", model="acme/tiny").json | {"model": "acme/other"}
    with pytest.raises(MalformedError, match="the events of acme/tiny"):
        fetch_bundle(lambda name, /, *, max_bytes: json.dumps(found).encode(), "acme/tiny", now=0)
