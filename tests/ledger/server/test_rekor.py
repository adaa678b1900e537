"""A ledger in Rekor over HTTP: what it accepted, what became of it, and the proofs that others check."""

import base64
import contextlib
import hashlib
import json
import pathlib
import sqlite3

import jsonschema
import pytest

from ledger.embedded.directory import open_for_reading
from ledger.entry import pae, parse_entry
from ledger.index.statements import StatementIndex
from ledger.server.app import Limits
from ledger.server.service import make_app
from tests.ledger.server.conftest import Service, facts, key
from tests.ledger.server.rekor import drain, fill, in_rekor, record
from tests.ledger.server.test_reading import schema_of


@pytest.fixture
def world(tmp_path):
    with in_rekor(tmp_path) as (ledger, rekor):
        fill(ledger)
        yield ledger, rekor


@pytest.fixture
def service(world):
    app = make_app(world[0], limits=Limits(threads=2, waiting=4, body_seconds=5))
    yield Service(app)
    app.pool.close()


def problem_of(answer):
    found = answer.json
    jsonschema.validate(found, schema_of("Problem"))
    return answer.status, found["type"], found["detail"]


def test_the_log_says_what_is_accepted_and_what_is_logged(service):
    found = service.get("/v1/log").json
    jsonschema.validate(found, schema_of("Log"))
    assert (found["log"], found["size"], found["logged"], found["pending"]) == ("rekor-v2", 4, 3, 1)
    assert [each["origin"] for each in found["shards"]] == ["rekor.example"]
    assert "rootHash" not in found


def test_a_history_says_of_each_event_where_it_is_logged(service):
    found = service.get("/v1/history", model="acme/signed")
    jsonschema.validate(found.json, schema_of("History"))
    rows = found.json["events"]
    assert [(each["number"], each["state"]) for each in rows] == [
        (1, "logged"),
        (2, "logged"),
        (3, "pending"),
    ]
    assert {each["leafIndex"] for each in rows[:2]} < {0, 1, 2}, "in the order in which Rekor took them"
    assert "leafIndex" not in rows[2]
    assert rows[2]["pin"]["number"] == 1
    assert found.json["standing"]["standing"].startswith("Signer changed: key ")
    assert found.body.count(b'"number":2') == 1, "no name twice"
    assert found.json["standing"]["changed"]["number"] == 3


def test_a_history_has_another_tag_once_what_waited_is_logged(world, service):
    before = service.get("/v1/history", model="acme/signed")
    same = {"if-none-match": before.headers["etag"]}
    path, query = "/v1/history", {"model": "acme/signed"}
    assert service.ask("GET", path, headers=same, **query).status == 304
    drain(world[0])
    after = service.ask("GET", path, headers=same, **query)
    assert after.status == 200
    assert [each["state"] for each in after.json["events"]] == ["logged"] * 3


def test_models_standings_badge_feeds_and_signers_answer(service):
    (model,) = service.get("/v1/models").json["models"]
    assert (model["model"], model["number"], model["events"]) == ("acme/signed", 3, 3)
    asked = {"pairs": [{"model": "acme/signed", "revision": "r2"}, {"model": "a", "revision": "b"}]}
    signed, unknown = service.ask("POST", "/v1/standings", body=asked).json["standings"]
    assert signed["standing"].startswith("Signed by key ")
    assert signed["number"] == 2
    assert unknown["standing"] == "Not recorded"
    assert b"Signer changed" in service.get("/v1/badge.svg", model="acme/signed").body
    feed = service.get("/v1/feed.json").json
    assert [each["url"] for each in feed["items"]] == [f"/v1/entries/{at}" for at in (3, 2, 1, 0)]
    assert service.get("/v1/feed.atom", model="acme/signed").status == 200
    identity = signed["signers"][0]["identity"]
    listed = service.get(f"/v1/signers/{identity}").json["events"]
    assert [(each["number"], each["state"]) for each in listed] == [(2, "logged"), (1, "logged")]


def test_an_entry_is_its_statement_and_what_became_of_it(world, service):
    found = service.get("/v1/entries/2")
    jsonschema.validate(found.json, schema_of("Entry"))
    assert (found.json["state"], found.json["shard"], found.json["number"]) == ("logged", "rekor.example", 2)
    assert found.headers["cache-control"] == "no-cache"
    parsed = parse_entry(base64.b64decode(found.json["entry"]))
    assert json.loads(parsed.payload) == found.json["statement"]
    by_id = service.get("/v1/event", id=found.json["statement"]["predicate"]["eventId"])
    assert by_id.json == found.json
    waiting = service.get("/v1/entries/3")
    jsonschema.validate(waiting.json, schema_of("Entry"))
    assert waiting.json["state"] == "pending"
    assert service.get("/v1/entries/4").status == 404
    drain(world[0])
    assert service.get("/v1/entries/3").json["state"] == "logged"


@pytest.mark.parametrize(
    ("address", "name", "option"),
    [("bundle", "e.sigstore.json", "--bundle"), ("proof", "e.tlog-proof", "--proof")],
)
def test_a_proof_of_a_logged_entry_verifies_offline(
    world, service, hubledger, tmp_path, address, name, option
):
    found = service.get(f"/v1/entries/1/{address}")
    assert found.status == 200
    if address == "bundle":
        jsonschema.validate(found.json, schema_of("Bundle"))
    (tmp_path / name).write_bytes(found.body)
    trust = ("--trust", str(world[0] / "trust.toml"), "--log-only")
    assert hubledger("verify", option, str(tmp_path / name), *trust)[0] == 0
    missing = problem_of(service.get(f"/v1/entries/3/{address}"))
    assert missing == (
        404,
        "/problems/not-found",
        "proof of number 3: expected a place in the log, got none, it is pending",
    )


def test_a_check_by_name_has_the_bundle_of_its_event(world, service):
    found = service.get("/v1/check", model="acme/signed", revision="r2").json
    jsonschema.validate(found, schema_of("Check"))
    assert (found["number"], found["count"]) == (2, 3)
    assert found["bundle"] == json.loads(service.get("/v1/entries/2/bundle").body)
    refused = problem_of(service.get("/v1/check", model="acme/signed", revision="r2", since=1))
    assert refused[0] == 400
    assert problem_of(service.get("/v1/check", model="acme/signed"))[0] == 404, "the newest is not logged yet"


def test_what_only_a_log_of_ones_own_has_is_refused(service):
    elsewhere = (
        404,
        "/problems/not-found",
        "The log of this ledger is Rekor (rekor-v2: rekor.example): ask there for its checkpoint and tiles",
    )
    assert problem_of(service.get("/checkpoint")) == elsewhere
    assert problem_of(service.get("/tile/0/000")) == elsewhere
    assert problem_of(service.get("/tile/entries/000.p/2")) == elsewhere
    for form in ("vsa", "svr"):
        assert problem_of(service.get(f"/v1/attestations/{form}", model="acme/signed"))[:2] == (
            422,
            "/problems/not-implemented",
        )


def test_readiness_says_what_waits_and_since_when(world, service):
    ready = service.get("/health/ready")
    assert ready.status == 200, "Rekor's absence is not this service's"
    assert (ready.json["accepted"], ready.json["logged"]) == (4, 3)
    outbox = ready.json["outbox"]
    assert (outbox["waiting"], outbox["refused"], outbox["failed"]) == (1, 0, 0)
    assert outbox["oldestSeconds"] >= 0
    drain(world[0])
    assert service.get("/health/ready").json["outbox"] == {"waiting": 0, "refused": 0, "failed": 0}


def test_a_receipt_that_was_changed_on_the_disk_is_not_shown(world, service):
    ledger, _ = world
    assert service.get("/v1/entries/1").status == 200
    with sqlite3.connect(ledger / "outbox.db") as connection:
        connection.execute(
            "UPDATE receipts SET log_entry = (SELECT log_entry FROM receipts WHERE number = 2) WHERE number = 1"
        )
    connection.close()
    assert service.get("/v1/entries/1").status == 500
    assert service.get("/v1/history", model="acme/signed").status == 500
    assert service.get("/v1/entries/2").status == 200


def test_evidence_is_handed_out_by_digest(world, service):
    ledger, _ = world
    reader = open_for_reading(ledger)
    statement = parse_entry(next(iter(reader.read(1, 2, size=2)))).payload
    policy = json.loads(statement)["predicate"]["policy"]["sha256"]
    found = service.get(f"/v1/evidence/{policy}")
    assert hashlib.sha256(found.body).hexdigest() == policy
    named = service.get(f"/v1/evidence/{policy}/events").json["namedBy"]
    assert [each["number"] for each in named] == [1]


def test_rekor_v1_has_bundles_and_no_proof_files(tmp_path, hubledger):
    with in_rekor(tmp_path, kind="rekor-v1") as (ledger, _):
        record(ledger, facts("acme/one", "r1", key("a")))
        drain(ledger)
        app = make_app(ledger, limits=Limits(threads=2))
        try:
            service = Service(app)
            assert service.get("/v1/entries/1").json["integratedTime"] > 0
            bundle = pathlib.Path(tmp_path / "e.sigstore.json")
            bundle.write_bytes(service.get("/v1/entries/1/bundle").body)
            trust = ("--trust", str(ledger / "trust.toml"), "--log-only")
            assert hubledger("verify", "--bundle", str(bundle), *trust)[0] == 0
            assert problem_of(service.get("/v1/entries/1/proof")) == (
                422,
                "/problems/not-implemented",
                "There is no .tlog-proof of an entry in Rekor v1: /v1/entries/{leaf}/bundle is its proof",
            )
        finally:
            app.pool.close()


def test_a_log_of_ones_own_has_no_bundles_of_rekor(filled):
    app = make_app(filled, limits=Limits(threads=2))
    try:
        assert problem_of(Service(app).get("/v1/entries/1/bundle")) == (
            422,
            "/problems/not-implemented",
            "This ledger has a log of its own: /v1/entries/{leaf}/proof is the proof of an entry",
        )
    finally:
        app.pool.close()


def logged_digest(ledger, number):
    """The digest that Rekor has of an accepted entry, and the entry."""
    reader = open_for_reading(ledger)
    entry = next(iter(reader.read(number, number + 1, size=number + 1)))
    return hashlib.sha256(pae(parse_entry(entry).payload)).digest(), entry


def test_a_statement_is_found_by_the_digest_that_rekor_has(world, service):
    ledger, rekor = world
    digest, entry = logged_digest(ledger, 2)
    assert any(base64.b64encode(digest) in each for each in rekor.tree.entries), "this is what a monitor sees"
    found = service.get(f"/v1/statements/{digest.hex()}")
    assert (found.status, found.body) == (200, entry)
    jsonschema.validate(found.json, schema_of("Envelope"))
    assert "immutable" in found.headers["cache-control"]
    again = service.ask(
        "GET", f"/v1/statements/{digest.hex()}", headers={"if-none-match": found.headers["etag"]}
    )
    assert again.status == 304
    sha256 = hashlib.sha256(parse_entry(entry).payload).hexdigest()
    assert service.get(f"/v1/evidence/{sha256}").body == parse_entry(entry).payload
    assert problem_of(service.get(f"/v1/statements/{sha256}"))[:2] == (404, "/problems/not-found")


def test_a_statement_is_found_without_its_index_and_with_one_made_again(world, service, hubledger):
    ledger, _ = world
    digest, entry = logged_digest(ledger, 3)
    for path in ledger.glob("statements.db*"):
        path.unlink()
    assert service.get(f"/v1/statements/{digest.hex()}").body == entry
    assert hubledger("index", "rebuild", str(ledger))[0] == 0
    assert hubledger("index", "check", str(ledger))[0] == 0
    index = StatementIndex(ledger / "statements.db", read_only=True)
    assert (index.position(), index.by_logged(digest)) == (4, 3)
    index.close()
    with contextlib.closing(sqlite3.connect(ledger / "statements.db")) as connection:
        connection.execute("UPDATE logged SET number = 7 WHERE number = 3")
        connection.commit()
    code, out, err = hubledger("index", "check", str(ledger))
    assert code != 0
    assert f"statements: expected logged {digest.hex()} as number 3" in out + err


def test_a_statement_that_was_withdrawn_is_gone(world, service, hubledger):
    ledger, _ = world
    digest, entry = logged_digest(ledger, 2)
    sha256 = hashlib.sha256(parse_entry(entry).payload).hexdigest()
    assert hubledger("evidence", "withdraw", str(ledger), sha256, "--reason", "personal-data")[0] == 0
    found = problem_of(service.get(f"/v1/statements/{digest.hex()}"))
    assert found[:2] == (410, "/problems/withdrawn")
    assert service.get(f"/v1/evidence/{sha256}").status == 410


def test_a_log_of_ones_own_is_not_asked_by_digests_of_rekor(filled):
    app = make_app(filled, limits=Limits(threads=2))
    try:
        assert problem_of(Service(app).get(f"/v1/statements/{'0' * 64}")) == (
            422,
            "/problems/not-implemented",
            "This ledger has a log of its own: its bundles of entries have every statement",
        )
    finally:
        app.pool.close()
