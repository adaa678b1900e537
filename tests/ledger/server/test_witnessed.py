"""`wait=witnessed`: answered by a checkpoint with its quorum, or in time with what was reached."""

import json

import jsonschema
import pytest

from ledger.client.trust import parse_trust
from ledger.client.trust_writing import format_trust
from ledger.config import FILE_NAME
from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from ledger.embedded.witnesses import with_witnesses
from ledger.tlog.proof import parse_proof
from ledger.tlog.trust_policy import parse_policy
from tests.fakes.witness import FakeWitness, serving
from tests.ledger.server.conftest import AT
from tests.ledger.server.events import body, lines
from tests.ledger.server.test_reading import schema_of
from tests.ledger.server.test_submitting import SigningHub
from tests.ledger.server.test_writing import running


def witnessed_ledger(folder, witness, **settings):
    """A ledger whose settings and trust file name one witness."""
    init(folder, origin="log.example/models", hub="hub.example", now=lambda: AT)
    trust = parse_trust((folder / "trust.toml").read_bytes())
    witness.logs = trust.log_keys
    policy = f"{witness.line()}\nquorum {witness.name}\n"
    settings = {"interval": 0, "wait_seconds": 20, **settings}
    with (folder / FILE_NAME).open("a") as file:
        file.write(f'[witness]\npolicy = """\n{policy}"""\n')
        file.writelines(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    (folder / "trust.toml").write_bytes(format_trust(with_witnesses(trust, parse_policy(policy.encode()))))
    return folder


@pytest.fixture
def witness():
    with serving(FakeWitness()) as one:
        yield one


@pytest.mark.parametrize("required", [True, False])
def test_a_witnessed_event_comes_with_a_proof_that_its_clients_accept(tmp_path, witness, required):
    folder = witnessed_ledger(tmp_path / "ledger", witness, required=required)
    with running(folder) as hub:
        found = hub.post(body(), wait="witnessed")
        assert found.status == 201
        jsonschema.validate(found.json, schema_of("Receipt"))
        trust = parse_trust((folder / "trust.toml").read_bytes())
        counted = trust.policy.verify(found.json["checkpoint"].encode(), origin=trust.origin)
        assert [each.key for each in counted.cosignatures] == [trust.policy.witnesses[0].key, witness.key]
        answers = [
            json.loads(each)
            for each in hub.batch(lines(body("u-2"), body("u-3")), wait="witnessed").body.splitlines()
        ]
        assert [each["checkpoint"] == answers[0]["checkpoint"] for each in answers] == [True, True]
        trust.policy.verify(answers[0]["checkpoint"].encode(), origin=trust.origin)
        health = hub.get("/health/ready").json
        assert [(each["name"], each["state"]) for each in health["witnesses"]] == [("w1", "ok")]


def test_best_effort_shows_at_once_and_answers_witnessed_when_the_witness_is_back(tmp_path, witness):
    folder = witnessed_ledger(tmp_path / "ledger", witness)
    with running(folder) as hub:
        witness.lie = (503, "text/plain", b"")
        found = hub.post(body(), wait="included")
        assert found.status == 201
        trust = parse_trust((folder / "trust.toml").read_bytes())
        note = parse_proof(found.json["proof"].encode()).checkpoint_note
        with pytest.raises(Exception, match="the quorum w1"):
            trust.policy.verify(note, origin=trust.origin)
        witness.lie = None
        again = hub.post(body(), wait="witnessed")
        assert again.status == 200
        trust.policy.verify(again.json["checkpoint"].encode(), origin=trust.origin)


@pytest.mark.parametrize("wait", ["witnessed", "included"])
def test_past_the_deadline_the_answer_says_that_the_event_is_durable(tmp_path, witness, wait):
    """Where the quorum is required, nothing is shown without it, so `included` cannot be had either."""
    folder = witnessed_ledger(tmp_path / "ledger", witness, required=True, wait_seconds=0.1)
    with running(folder) as hub:
        witness.lie = (503, "text/plain", b"")
        found = hub.post(body(), wait=wait)
        assert (found.status, found.json["reached"]) == (202, "durable")
        jsonschema.validate(found.json, schema_of("Receipt"))
        assert "proof" not in found.json
        (line,) = [json.loads(each) for each in hub.batch(lines(body("u-2")), wait=wait).body.splitlines()]
        assert (line["reached"], line["leafIndex"]) == ("durable", found.json["leafIndex"] + 1)
        assert hub.post(body("u-3"), wait="durable").status == 201
        assert hub.get("/v1/event", id="u-1").status == 404
        witness.lie = None
        while hub.post(body(), wait="included").status == 202:
            pass  # the writer tries again by itself, after a pause
        assert hub.get("/v1/event", id="u-1").json["leafIndex"] == found.json["leafIndex"]


def test_a_full_backlog_is_503_until_the_quorum_is_back(tmp_path, witness):
    folder = witnessed_ledger(tmp_path / "ledger", witness, required=True, backlog=2, wait_seconds=0.1)
    with running(folder) as hub:
        witness.lie = (503, "text/plain", b"")
        for number in range(2):
            assert hub.post(body(f"u-{number}"), wait="included").status == 202
        refused = hub.post(body("u-9"), wait="durable")
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert "entries that wait for the quorum of witnesses" in refused.json["detail"]
        witness.lie = None
        while hub.post(body("u-0"), wait="included").status == 202:
            pass
        assert hub.post(body("u-9"), wait="durable").status == 201


def test_a_log_without_a_quorum_says_that_it_cannot(ledger):
    with running(ledger) as hub:
        found = hub.post(body(), wait="witnessed")
        assert (found.status, found.json["type"]) == (422, "/problems/not-implemented")
        assert found.json["detail"] == "This log has no quorum of witnesses: wait for `included`"


def test_a_service_starts_while_its_witness_is_away_and_catches_up(tmp_path, witness):
    """A restart with a checkpoint that waits for its quorum takes events; both are shown when the witness is back."""
    folder = witnessed_ledger(tmp_path / "ledger", witness, required=True, wait_seconds=0.1)
    with running(folder) as hub:
        witness.lie = (503, "text/plain", b"")
        assert hub.post(body("u-1")).status == 202
    with running(folder, opened=lambda: open_for_recording(folder, start_unchecked=True)) as hub:
        assert hub.post(body("u-2")).status == 202
        witness.lie = None
        while hub.post(body("u-2"), wait="witnessed").status == 202:
            pass
        assert hub.get("/v1/event", id="u-1").status == 200


@pytest.mark.parametrize(("wait", "status"), [("durable", 200), ("included", 200), ("witnessed", 200)])
def test_signed_envelopes_are_answered_as_they_are_waited_for(tmp_path, witness, wait, status):
    folder = witnessed_ledger(tmp_path / "ledger", witness)
    with running(folder) as service:
        assert service.post(body("first", name="other")).status == 201  # stores the manifest
        hub = SigningHub(folder, service)
        found = hub.submit(*hub.sign(hub.draft("acme/m", "r1").statement), wait=wait)
        assert found.status == status
        jsonschema.validate(found.json, schema_of("Appended"))
        (entry,) = found.json["entries"]
        assert ("proof" in entry) == (wait != "durable")
        if wait == "witnessed":
            trust = parse_trust((folder / "trust.toml").read_bytes())
            trust.policy.verify(entry["checkpoint"].encode(), origin=trust.origin)
            assert parse_proof(entry["proof"].encode()).index == entry["leafIndex"]


def test_signed_envelopes_are_answered_in_time(tmp_path, witness):
    folder = witnessed_ledger(tmp_path / "ledger", witness, wait_seconds=0.1)
    with running(folder) as service:
        assert service.post(body("first", name="other")).status == 201
        witness.lie = (503, "text/plain", b"")
        hub = SigningHub(folder, service)
        found = hub.submit(*hub.sign(hub.draft("acme/m", "r1").statement), wait="witnessed")
        assert (found.status, found.json["entries"][0]["reached"]) == (202, "durable")
