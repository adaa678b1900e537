"""Observers record with keys of their own: beside the hub's events, and never in their place."""

import base64
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization

from ledger.client.proof_bundle import Claim
from ledger.embedded.auditing import audit_ledger
from ledger.embedded.keys import spki_of
from ledger.embedded.making import init
from ledger.embedded.observers import add_observer, retire_observer
from ledger.embedded.opening import open_for_recording
from ledger.entry import keyid_of
from ledger.errors import ConflictError, SignatureError
from ledger.event import HistoryLink, RecordedBy, format_statement
from ledger.recorder import HubSigner
from ledger.server.tokens import TokenFile
from tests.events import key
from tests.ledger.server.conftest import AT
from tests.ledger.server.events import body
from tests.ledger.server.test_submitting import SigningHub
from tests.ledger.server.test_writing import running
from tests.world import p256_key

WATCHER = p256_key("watcher")
SPKI = spki_of(WATCHER)
KEYID = keyid_of(SPKI)


class Observer(SigningHub):
    """Signs what it found, as an observer does: in no chain."""

    def __init__(self, folder, service, *, name="watch.example", key=WATCHER):
        super().__init__(folder, service)
        self.name = name
        self.signer = HubSigner(key=key, keyid=keyid_of(spki_of(key)))

    def found(self, model, revision, *signers, **changes):
        event = self.draft(model, revision, *signers).event
        common = replace(
            event.common,
            recorded_by=RecordedBy(id=self.name, role="observer"),
            histories=tuple(HistoryLink(key=each.key) for each in event.common.histories),
        )
        event = replace(event, common=common, policy=replace(event.policy, decision="observed"), reasons=())
        return format_statement(replace(event, **changes))

    def send(self, *statements):
        return self.submit(*self.sign(*statements), evidence="later")


@pytest.fixture
def folder(tmp_path):
    init(tmp_path / "ledger", origin="log.example/models", hub="hub.example", now=lambda: AT)
    with open_for_recording(tmp_path / "ledger", now=lambda: AT) as ledger:
        add_observer(ledger, "watch.example", SPKI)
    return tmp_path / "ledger"


@pytest.fixture
def observer(folder):
    with running(folder) as service:
        assert service.post(body("first", name="other")).status == 201  # stores the manifest
        yield Observer(folder, service)


def audit(folder):
    return audit_ledger(folder, progress=lambda *_: None, workers=1)


def test_what_an_observer_found_stands_beside_and_moves_nothing(observer, folder):
    hub = observer.service
    statement = observer.found("acme/own", "r1", key("a"))
    answer = observer.send(statement)
    assert answer.status == 200, answer.body
    # The hub's own first event of the model is still number 0, and the first use is still to come.
    first = hub.post(body("u-1", name="acme/own", revision="r2"))
    assert (first.status, first.json["decision"]) == (201, "observed")
    payload = json.loads(base64.b64decode(first.json["entry"]["payload"]))
    assert payload["predicate"]["histories"] == [{"key": "name:acme/own", "sequence": 0}]
    assert observer.send(statement).json == answer.json  # a retry
    assert hub.post(body("u-2", name="more")).status == 201
    assert audit(folder)["size"] == 6


def test_the_token_of_an_observer_says_nothing_in_the_hub_s_name(observer, folder):
    token = TokenFile(folder).create(scopes=("observe",), label="watcher", now=AT)
    hub = observer.service
    hub.token = token
    assert hub.post(body("u-1")).status == 403
    assert hub.batch(b"").status == 403
    assert observer.send(observer.found("acme/own", "r1")).status == 200


def test_event_ids_are_a_space_of_their_own_and_the_hub_s_is_the_one_that_is_found(
    observer, folder, hubledger
):
    hub = observer.service
    statement = observer.found("acme/own", "r1")
    event_id = json.loads(statement)["predicate"]["eventId"]
    assert observer.send(statement).status == 200
    recorded = hub.post(body(event_id, name="acme/else"))
    assert recorded.status == 201
    assert hub.get("/v1/event", id=event_id).json["leafIndex"] == recorded.json["leafIndex"]
    out = hubledger("proof", folder, event_id, "-o", folder / "p.tlog-proof")[1]
    assert out.startswith(f"Leaf {recorded.json['leafIndex']} is in")


def test_every_page_says_that_it_was_an_observer_and_none_counts_it(observer, folder, hubledger):
    hub = observer.service
    assert hub.post(body("u-1", name="acme/own", revision="r1")).status == 201
    seen = observer.send(observer.found("acme/own", "r1", key("a"))).json["entries"][0]["leafIndex"]
    alone = observer.send(observer.found("acme/alone", "r1", key("a"))).json["entries"][0]["leafIndex"]
    assert hub.post(body("u-2", name="more")).status == 201
    history = hub.get("/v1/history", model="acme/own").json
    assert [each.get("observer") for each in history["events"]] == [None, "watch.example"]
    assert history["standing"]["standing"] == "Unsigned"
    pairs = {"pairs": [{"model": name, "revision": "r1"} for name in ("acme/own", "acme/alone")]}
    standings = hub.ask("POST", "/v1/standings", body=pairs).json["standings"]
    assert [each["standing"] for each in standings] == ["Unsigned", "Not recorded"]
    listed = {each["model"]: each for each in hub.get("/v1/models").json["models"]}
    assert listed["acme/own"]["outcome"] == "UNSIGNED"
    assert "acme/alone" not in listed
    feeds = [hub.get("/v1/feed.json"), hub.get("/v1/feed.json", model="acme/own")]
    for leaf, feed in zip((alone, seen), feeds, strict=True):
        texts = [each["content_text"] for each in feed.json["items"] if each["id"].endswith(f"{leaf}")]
        assert texts
        assert "watch.example, an observer" in texts[0]
    assert (
        "Recorded by watch.example, an observer, not by the hub"
        in hubledger("history", folder, "acme/own")[1]
    )
    assert [each for each in history["events"] if Claim.of(each)] == history["events"][:1]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda observer: observer.found("a/b", "r1", policy=_decided(observer, "accepted")),
            "/problems/rejected",
        ),
        (lambda observer: Observer.found(_named(observer, "hub.example"), "a/b", "r1"), "/problems/rejected"),
        (
            lambda observer: Observer.found(_named(observer, "other.example"), "a/b", "r1"),
            "/problems/not-verified",
        ),
        (lambda observer: observer.draft("a/b", "r1").statement, "/problems/not-verified"),
    ],
    ids=["decides", "is the hub", "is another observer", "signs as the hub"],
)
def test_an_observer_is_no_hub_and_nobody_else(observer, change, problem):
    size = observer.log.size
    answer = observer.send(change(observer))
    assert (answer.status, answer.json["type"]) == (422, problem), answer.body
    assert observer.log.size == size


def _decided(observer, word):
    return replace(observer.draft("a/b", "r1").event.policy, decision=word)


def _named(observer, name):
    observer.name = name
    return observer


def test_a_key_that_nobody_registered_is_refused(observer, folder):
    stranger = Observer(folder, observer.service, key=p256_key("stranger"))
    answer = stranger.send(stranger.found("a/b", "r1"))
    assert (answer.status, answer.json["type"]) == (422, "/problems/not-verified")


def test_a_retired_key_signs_no_more_and_what_it_signed_stays(folder, hubledger):
    with running(folder) as service:
        service.post(body("first", name="other"))
        observer = Observer(folder, service)
        assert observer.send(observer.found("acme/own", "r1")).status == 200
    with open_for_recording(folder, now=lambda: AT) as ledger:
        leaf_index = retire_observer(ledger, KEYID)
        assert retire_observer(ledger, KEYID) == leaf_index
        with pytest.raises(ConflictError):
            add_observer(ledger, "watch.example", SPKI)
    with running(folder) as service:
        observer = Observer(folder, service)
        answer = observer.send(observer.found("acme/own", "r2"))
        assert (answer.status, answer.json["type"]) == (422, "/problems/not-verified")
    assert audit(folder)["size"] == leaf_index + 1
    rows = json.loads(hubledger("keys", "observer", "list", folder, "--json")[1])["observers"]
    assert rows == [{"observer": "watch.example", "keyId": KEYID, "first": 2, "end": leaf_index + 1}]


def test_the_audit_finds_an_observer_s_key_used_for_the_hub(observer, folder, monkeypatch):
    """A writer that is broken, or broken into, takes what this one refuses."""
    monkeypatch.setattr("ledger.server.submitting.TrustFile.entry_key", lambda *_: WATCHER.public_key())
    assert observer.send(observer.draft("acme/own", "r1").statement).status == 200
    observer.service.post(body("u-2", name="more"))
    with pytest.raises(SignatureError, match="key of the statement"):
        audit(folder)


def test_an_index_that_lacks_a_key_statement_makes_nobody_an_observer(folder):
    """Without the newest statement of `hub:` a retired key would still count."""
    with open_for_recording(folder, now=lambda: AT) as ledger:
        retire_observer(ledger, KEYID)
    with running(folder) as service:
        service.post(body("first", name="other"))
        _forget(folder, leaf_index=2)
        observer = Observer(folder, service)
        answer = observer.send(observer.found("acme/own", "r1"))
    assert answer.status == 500


def _forget(folder, *, leaf_index):
    import sqlite3

    with sqlite3.connect(folder / "index.db") as database:
        assert database.execute(
            "DELETE FROM recent_histories WHERE history = 'hub:' AND leaf_index = ?", (leaf_index,)
        ).rowcount


def test_the_command_registers_and_repeats(tmp_path, hubledger):
    init(tmp_path / "ledger", origin="log.example/models", hub="hub.example", now=lambda: AT)
    public = tmp_path / "watcher.pem"
    public.write_bytes(
        WATCHER.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    words = (
        "keys",
        "observer",
        "add",
        tmp_path / "ledger",
        "watch.example",
        "--public-key",
        public,
        "--json",
    )
    first = hubledger(*words)
    assert first[0] == 0, first
    assert json.loads(first[1]) == {"observer": "watch.example", "keyId": KEYID, "leafIndex": 1}
    assert hubledger(*words) == first
