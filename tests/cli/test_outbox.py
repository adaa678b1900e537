"""A ledger in Rekor from the command line: made, recorded into, drained, dropped from, audited, rebuilt."""

import contextlib
import json
import os
import pathlib
import shutil
import sqlite3
import threading
import time
from dataclasses import replace

import pytest

from cli.main import run
from ledger.bundle.bodies import hashedrekord_v2
from ledger.client.trust import parse_trust
from ledger.client.trust_writing import format_trust
from ledger.client.trusted_keys import shard_key
from ledger.embedded import remote
from ledger.embedded.directory import open_for_reading
from ledger.embedded.submitting import retry_outbox
from ledger.errors import (
    ConfigError,
    ConflictError,
    CorruptError,
    MalformedError,
    NotFoundError,
    ProofError,
    RejectedError,
    RestoredError,
    SourceError,
    UnavailableError,
    UsageError,
)
from ledger.log.receipts import twin
from tests.fakes.rekor import FakeRekor, problem
from tests.fakes.rekor_v1 import FakeRekorV1
from tests.fakes.remote_log import FakeShard
from tests.system.rekor import TrustedLog, write_trust
from tests.system.rekor_v1 import write_trust as write_v1_trust


class Hub:
    """A ledger in Rekor, the Rekor that it is in, and a model to record."""

    def __init__(self, folder, capsys, *, kind="rekor-v2"):
        self.folder, self.capsys, self.kind = folder, capsys, kind
        self.directory = str(folder / "ledger")
        self.rekor = FakeRekor()
        self.model = folder / "model"
        self.model.mkdir()

    def init(self, url, *, code=0):
        tree = self.rekor.tree
        log = TrustedLog(base_url=f"http://{tree.origin}", spki=tree.spki, log_id=tree.log_id, write_url=url)
        root, signing = write_trust(self.folder, [log])
        return self.call(
            "init",
            self.directory,
            "--origin",
            "log.example/models",
            "--hub",
            "hub.example",
            "--log",
            self.kind,
            "--trusted-root",
            str(root),
            "--signing-config",
            str(signing),
            "--read-url",
            f"{url}/read",
            code=code,
        )

    def call(self, *arguments, code=0):
        """Run a command with --json; returns its facts, or those of its error."""
        got = run([*arguments, "--json"])
        out, err = self.capsys.readouterr()
        assert got == code, (got, out, err)
        return json.loads(out or err)

    def text(self, *arguments, code=0):
        got = run(list(arguments))
        out, err = self.capsys.readouterr()
        assert got == code, (got, out, err)
        return out + err

    def record(self, revision, *more, code=0):
        (self.model / "weights").write_bytes(revision.encode())
        return self.call(
            "record",
            self.directory,
            "acme/tiny",
            "--revision",
            revision,
            "--model",
            str(self.model),
            *more,
            code=code,
        )

    def status(self):
        return self.call("outbox", "status", self.directory)

    def audit(self, code=0):
        return self.call("log", "audit", self.directory, code=code)


@pytest.fixture
def hub(tmp_path, capsys):
    hub = Hub(tmp_path, capsys)
    with hub.rekor.serve() as url:
        hub.url = url
        hub.made = hub.init(url)
        yield hub


def test_a_ledger_in_rekor_has_no_log_of_its_own(hub, tmp_path):
    assert hub.made["log"] == "rekor-v2"
    assert [each["origin"] for each in hub.made["shards"]] == ["rekor.example"]
    names = {path.name for path in (tmp_path / "ledger").iterdir()}
    assert {"outbox.db", "trust", "keys", "evidence", "trust.toml", "hubledger.toml"} <= names
    assert not {"log", "ledger.db"} & names
    assert [path.name for path in (tmp_path / "ledger/keys").iterdir()] == ["hub.key"]
    assert hub.status() | {"oldestPending": None, "shards": []} == {
        "ledger": "log.example/models",
        "log": "rekor-v2",
        "accepted": 1,
        "logged": 0,
        "pending": 1,
        "refused": 0,
        "dropped": 0,
        "oldestPending": None,
        "nextAttemptIn": 0,
        "errors": [],
        "failed": [],
        "drops": [],
        "shards": [],
    }
    assert hub.rekor.requests == [], "making a ledger asks nobody"
    assert hub.call("keys", "show", hub.directory)["shards"] == hub.made["shards"]


def test_a_recorded_event_is_in_rekor(hub):
    receipt = hub.record("r1")
    assert (receipt["state"], receipt["logged"], receipt["number"]) == ("logged", True, 1)
    assert (receipt["shard"], receipt["shardOrder"], receipt["logIndex"]) == (
        "rekor.example",
        0,
        receipt["leafIndex"],
    )
    assert len(hub.rekor.tree.entries) == 2, "the hub's key and the event"
    again = hub.record("r1")
    assert again["repeated"]
    assert {key: again[key] for key in ("number", "leafIndex", "logIndex")} == {
        key: receipt[key] for key in ("number", "leafIndex", "logIndex")
    }
    text = hub.text("record", hub.directory, "acme/tiny", "--revision", "r1", "--model", str(hub.model))
    size = receipt["checkpoint"]["size"]
    assert f"Leaf              {receipt['leafIndex']} of {size} in rekor.example" in text
    assert "Number            1 in this ledger's order" in text


def test_who_does_not_wait_gets_a_pending_receipt_that_becomes_a_full_one(hub):
    receipt = hub.record("r1", "--no-wait")
    assert (receipt["state"], receipt["logged"], receipt["number"]) == ("pending", False, 1)
    assert "leafIndex" not in receipt
    assert hub.rekor.requests == []
    text = hub.text(
        "record", hub.directory, "acme/tiny", "--revision", "r1", "--model", str(hub.model), "--no-wait"
    )
    assert "Accepted, not yet logged  number 1" in text
    (row,) = hub.call("history", hub.directory, "acme/tiny")["events"]
    assert (row["state"], row["number"]) == ("pending", 1)
    assert " pending  " in hub.text("history", hub.directory, "acme/tiny")
    assert hub.record("r1")["logged"]
    (row,) = hub.call("history", hub.directory, "acme/tiny")["events"]
    assert (row["state"], row["shardOrder"]) == ("logged", 0)
    assert "NUMBER  SHARD  LEAF" in hub.text("history", hub.directory, "acme/tiny")


def test_an_outage_costs_nothing_but_time(hub):
    hub.rekor.fail = problem(503, "down")
    receipt = hub.record("r1", "--wait-seconds", "0.5")
    assert receipt["state"] == "pending"
    for number in range(2, 20):
        hub.record(f"r{number}", "--no-wait")
    assert (
        hub.call("outbox", "retry", hub.directory, "--seconds", "0.5", code=UnavailableError.exit_code)[
            "logged"
        ]
        == 0
    )
    status = hub.status()
    assert (status["pending"], status["logged"]) == (20, 0)
    assert {each["error"] for each in status["errors"]} == {"SourceError"}
    assert status["oldestPending"]["number"] == 0
    assert "Error         SourceError" in hub.text("outbox", "status", hub.directory)
    hub.audit()
    hub.rekor.fail = None
    assert hub.call("outbox", "retry", hub.directory) == {
        "tried": 20,
        "logged": 20,
        "pending": 0,
        "refused": 0,
    }
    assert hub.audit() | {"checked": []} == {
        "ledger": "log.example/models",
        "log": "rekor-v2",
        "size": 20,
        "logged": 20,
        "pending": 0,
        "dropped": 0,
        "checked": [],
    }
    assert "Audited log.example/models in rekor-v2: 20 accepted, 20 logged" in hub.text(
        "log", "audit", hub.directory
    )


def test_a_refused_event_is_retried_or_dropped_by_a_person(hub):
    hub.record("r1")
    hub.rekor.fail = problem(400, "no")
    receipt = hub.record("r2")
    assert receipt["state"] == "refused"
    assert receipt["lastError"]["error"] == "RejectedError"
    assert "refused by the log" in hub.text("outbox", "retry", hub.directory, code=RejectedError.exit_code)
    (failed,) = hub.status()["failed"]
    assert (failed["number"], failed["state"], failed["name"], failed["revision"]) == (
        2,
        "refused",
        "acme/tiny",
        "r2",
    )
    hub.rekor.fail = None
    after = hub.record("r3")
    assert after["logged"]
    event = receipt["eventId"]
    hub.call("outbox", "drop", hub.directory, event, "--reason", "No Code", code=MalformedError.exit_code)
    dropped = hub.call("outbox", "drop", hub.directory, event, "--reason", "too-large")
    assert (dropped["state"], dropped["dropped"]["reason"]) == ("dropped", "too-large")
    hub.call("outbox", "drop", hub.directory, "2", "--reason", "again", code=UsageError.exit_code)
    assert [(each["number"], each["reason"]) for each in hub.status()["drops"]] == [(2, "too-large")]
    assert "Dropped       number 2" in hub.text("outbox", "status", hub.directory)
    assert hub.record("r2")["state"] == "dropped"
    text = hub.text("record", hub.directory, "acme/tiny", "--revision", "r2", "--model", str(hub.model))
    assert "it was given up" in text
    assert "record it again" not in text
    assert [row["state"] for row in hub.call("history", hub.directory, "acme/tiny")["events"]] == [
        "logged",
        "dropped",
        "logged",
    ]
    assert hub.audit()["dropped"] == 1


def test_a_number_that_was_not_accepted_is_not_dropped(hub):
    for number in ("2", "99"):
        gone = ("outbox", "drop", hub.directory, number, "--reason", "typo")
        assert f"number {number}" in hub.call(*gone, code=NotFoundError.exit_code)["message"]


def test_an_event_id_of_digits_is_told_from_a_number(hub, tmp_path):
    for number in range(1, 4):
        hub.record(f"r{number}", "--no-wait", "--event-id", str(4 - number))
    gone = ("outbox", "drop", hub.directory, "--reason", "typo")
    assert hub.call(*gone, "1", "--by-id")["number"] == 3
    assert hub.call(*gone, "2")["number"] == 2
    assert hub.call("outbox", "retry", hub.directory, "3", "--by-id")["tried"] == 1
    proof = ("proof", hub.directory, "-o", str(tmp_path / "e.json"))
    assert hub.call(*proof, "3", "--by-id")["number"] == 1
    hub.call(*proof, "3", code=NotFoundError.exit_code)
    missing = hub.call(*proof, "99", "--by-id", code=NotFoundError.exit_code)["message"]
    assert "expected a recorded event id, got" in missing


def test_a_file_that_names_no_instance_is_named_by_its_own_path(tmp_path, capsys):
    for name in ("root", "signing"):
        (tmp_path / f"my-{name}.json").write_text("[]")
    arguments = ["init", str(tmp_path / "ledger"), "--origin", "log.example", "--hub", "hub.example"]
    arguments += ["--log", "rekor-v2", "--trusted-root", str(tmp_path / "my-root.json")]
    arguments += ["--signing-config", str(tmp_path / "my-signing.json")]
    assert run(arguments) == ConfigError.exit_code
    err = capsys.readouterr().err
    assert f"trust of the log, {tmp_path / 'my-root.json'}: expected a JSON object" in " ".join(err.split())
    assert "init-" not in err


def test_one_event_may_be_retried_alone(hub):
    for number in range(3):
        hub.record(f"r{number}", "--no-wait")
    assert hub.call("outbox", "retry", hub.directory, "2")["tried"] == 1
    hub.call("outbox", "retry", hub.directory, "9", code=NotFoundError.exit_code)
    hub.call("outbox", "retry", hub.directory, "nobody", code=NotFoundError.exit_code)
    hub.call("outbox", "retry", hub.directory, "2", "--all", code=UsageError.exit_code)


def test_the_audit_finds_what_was_changed(hub, tmp_path):
    for number in range(3):
        hub.record(f"r{number}")
    hub.audit()
    whole = tmp_path / "whole"
    shutil.copytree(hub.directory, whole)
    for statement, code in {
        "UPDATE receipts SET log_entry = (SELECT log_entry FROM receipts WHERE number = 1) WHERE number = 2": 61,
        "DELETE FROM receipts WHERE number = 2": 61,
        "UPDATE heads SET sequence = 7": 61,
        "DELETE FROM events WHERE leaf_index = 2": 61,
        "UPDATE accepted SET entry = (SELECT entry FROM accepted WHERE number = 1) WHERE number = 2": 61,
    }.items():
        shutil.rmtree(hub.directory)
        shutil.copytree(whole, hub.directory)
        with contextlib.closing(sqlite3.connect(tmp_path / "ledger/outbox.db")) as connection:
            assert connection.execute(statement).rowcount > 0, statement
            connection.commit()
        assert hub.audit(code=code)["error"] == "CorruptError", statement
    shutil.rmtree(hub.directory)
    shutil.copytree(whole, hub.directory)
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger/index.db")) as connection:
        connection.execute("UPDATE statements SET model = 'other'")
        connection.commit()
    hub.audit(code=61)
    hub.call("index", "check", hub.directory, code=CorruptError.exit_code)
    assert hub.call("index", "rebuild", hub.directory)["leaves"] == 4
    assert hub.call("index", "check", hub.directory)["differences"] == []
    hub.audit()


def test_the_audit_finds_a_shard_that_readers_do_not_know(hub, tmp_path):
    hub.record("r1")
    path = tmp_path / "ledger/trust.toml"
    trust = parse_trust(path.read_bytes())
    (known,) = trust.shards
    older = FakeShard(origin="older.example").shard
    other = replace(known, origin=older.origin, keys=(shard_key(older.origin, older.spki),))
    for shards in ((other,), (other, known)):
        path.write_bytes(format_trust(replace(trust, shards=shards)))
        problem = hub.audit(code=ConfigError.exit_code)["message"]
        assert "shard 0 of trust.toml: expected rekor.example" in problem
        assert "got older.example" in problem
    path.write_bytes(format_trust(replace(trust, shards=(known, other))))
    assert hub.audit()["logged"] == 2


def test_a_statement_that_is_logged_must_be_kept(hub, tmp_path):
    hub.record("r1")
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger/outbox.db")) as connection:
        ((sha256,),) = connection.execute("SELECT statement_sha256 FROM accepted WHERE number = 1")
    path = tmp_path / "ledger/evidence" / sha256.hex()[:2] / sha256.hex()
    statement = path.read_bytes()
    assert b'"revision":"r1"' in statement
    assert hub.call("evidence", "gc", hub.directory, "--older-than", "0s")["collected"] == []
    path.unlink()
    assert "statement of number 1" in hub.audit(code=61)["message"]
    hub.call("index", "rebuild", hub.directory)
    assert path.read_bytes() == statement
    hub.audit()


def test_evidence_of_a_ledger_in_rekor_is_shown_and_withdrawn(hub):
    hub.record("r1")
    shown = hub.call("evidence", "show", hub.directory, "1")
    assert {each["use"] for each in shown["pieces"]} >= {"manifest", "policy"}
    folder = hub.folder / "export"
    listing = hub.call("evidence", "export", hub.directory, "1", "-o", str(folder))
    assert (listing["number"], listing["proof"]) == (1, "event.sigstore.json")
    trust = str(hub.folder / "ledger/trust.toml")
    hub.call("verify", "--bundle", str(folder / listing["proof"]), "--trust", trust, "--log-only")
    hub.record("r2", "--no-wait")
    hub.call(
        "evidence", "export", hub.directory, "2", "-o", str(hub.folder / "none"), code=NotFoundError.exit_code
    )
    content = hub.call("history", hub.directory, "acme/tiny")["events"]
    assert [row["state"] for row in content] == ["logged", "pending"]
    manifest_sha256 = hub.record("r2")["manifestSha256"]
    (same,) = hub.call("history", hub.directory, "--content", manifest_sha256)["events"]
    assert (same["number"], same["state"], same["revision"]) == (2, "logged", "r2")
    assert "NUMBER  SHARD  LEAF" in hub.text("history", hub.directory, "--content", manifest_sha256)
    manifest = next(each["sha256"] for each in shown["pieces"] if each["use"] == "manifest")
    hub.call("evidence", "withdraw", hub.directory, manifest, "--reason", "personal-data")
    assert hub.call("outbox", "retry", hub.directory)["pending"] == 0
    assert hub.audit()["logged"] == 4
    assert hub.call("index", "check", hub.directory)["differences"] == []


def test_what_is_only_for_a_log_of_ones_own_is_refused(hub, tmp_path):
    kept = tmp_path / "checkpoint"
    kept.write_bytes(b"")
    for arguments in (
        ("log", "checkpoint", hub.directory),
        ("record", hub.directory, "a/b", "--revision", "r", "--model", str(hub.model), "--start-unchecked"),
        (
            "record",
            hub.directory,
            "a/b",
            "--revision",
            "r",
            "--model",
            str(hub.model),
            "--not-older-than",
            str(kept),
        ),
        ("proof", hub.directory, "0", "-o", str(tmp_path / "p"), "--since", str(kept)),
    ):
        assert hub.call(*arguments, code=UsageError.exit_code)["error"] == "UsageError"


def test_what_is_only_for_rekor_is_refused_elsewhere(tmp_path, capsys):
    hub = Hub(tmp_path, capsys)
    hub.call("init", hub.directory, "--origin", "log.example", "--hub", "hub.example")
    for arguments in (
        ("outbox", "status", hub.directory),
        ("outbox", "retry", hub.directory),
        ("outbox", "drop", hub.directory, "0", "--reason", "code"),
        ("record", hub.directory, "a/b", "--revision", "r", "--model", str(hub.model), "--no-wait"),
        ("init", str(tmp_path / "other"), "--origin", "a", "--hub", "b", "--read-url", "http://a"),
    ):
        assert hub.call(*arguments, code=UsageError.exit_code)["error"] == "UsageError"


def test_a_ledger_needs_a_shard_of_its_kind(tmp_path, capsys):
    hub = Hub(tmp_path, capsys, kind="rekor-v1")
    with hub.rekor.serve() as url:
        assert hub.init(url, code=ConfigError.exit_code)["what"] == "shards of the trusted root"
    assert not (tmp_path / "ledger").exists()


def test_the_same_event_id_with_other_facts_is_a_conflict(hub):
    hub.record("r1", "--event-id", "e")
    hub.record("r2", "--event-id", "e", code=ConflictError.exit_code)


def scanned(hub, code=0):
    return hub.call("index", "rebuild", hub.directory, "--scan", code=code)["scan"]


def mirror(hub, number):
    """A stranger sends (r, n-s) of a statement to Rekor, before we do."""
    reader = open_for_reading(hub.folder / "ledger")
    signed = reader.accepted.prover.signed(next(reader.read(number, number + 1, size=number + 1)))
    copy = replace(signed, signature=twin(signed.signature))
    return hub.rekor.tree.append(hashedrekord_v2(copy.digest, copy.signature, copy.verifier))


@pytest.mark.parametrize(("name", "option"), [("e.sigstore.json", "--bundle"), ("e.tlog-proof", "--proof")])
def test_proofs_of_logged_events_verify_offline(hub, tmp_path, name, option):
    out, trust = str(tmp_path / name), str(tmp_path / "ledger/trust.toml")
    hub.record("r1", "--no-wait", "-o", out)
    hub.call("proof", hub.directory, "1", "-o", out, code=NotFoundError.exit_code)
    assert not pathlib.Path(out).exists(), "there is nothing to prove yet"
    hub.record("r1", "-o", out)
    written = pathlib.Path(out).read_bytes()
    result = hub.call("verify", option, out, "--trust", trust, "--log-only")
    assert result["log"] == "INCLUDED_ONLY"
    text = hub.text("proof", hub.directory, "1", "-o", out)
    assert f"hubledger verify {option} {out}" in text
    assert pathlib.Path(out).read_bytes() == written
    copy = mirror(hub, 1)
    scanned(hub)
    assert copy in [each["leafIndex"] for each in hub.record("r1")["alsoAt"]]
    hub.call("proof", hub.directory, "1", "-o", out)
    assert pathlib.Path(out).read_bytes() == written, "a stranger's copy is no proof of these bytes"


def test_a_scan_links_every_copy_of_an_event_and_the_lowest_counts(hub):
    hub.record("r1", "--no-wait")
    copy = mirror(hub, 1)
    own = hub.record("r1")["leafIndex"]
    assert own > copy
    found = scanned(hub)
    assert (found["added"], found["withoutStatement"], found["notShown"]) == (1, [], [])
    again = hub.record("r1")
    assert (again["leafIndex"], again["alsoAt"]) == (
        copy,
        [{"shardOrder": 0, "leafIndex": own, "logIndex": own}],
    )
    assert hub.audit()["logged"] == 2
    assert scanned(hub)["added"] == 0


def test_a_scan_finds_what_was_logged_and_has_no_receipt(hub, tmp_path):
    for number in range(300):  # more than a tile
        hub.rekor.tree.append(b"somebody else's entry %d" % number)
    hub.record("r1")
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger/outbox.db")) as connection:
        connection.executescript(
            "INSERT INTO pending SELECT number, 0, 0, 0, 0, '', '' FROM receipts; DELETE FROM receipts;"
        )
    assert hub.status()["pending"] == 2
    found = scanned(hub)
    assert (found["added"], found["withoutEntry"]) == (2, 0)
    assert found["shards"] == [{"order": 0, "origin": "rekor.example", "size": 302, "byTheHubsKey": 2}]
    assert hub.status()["logged"] == 2
    assert hub.audit()["logged"] == 2
    hub.record("r2", "--no-wait")
    assert scanned(hub)["withoutEntry"] == 1


def test_a_log_cannot_say_that_the_hubs_key_signed_what_it_did_not(hub):
    hub.record("r1")
    reader = open_for_reading(hub.folder / "ledger")
    signed = reader.accepted.prover.signed(next(reader.read(1, 2, size=2)))
    hub.rekor.tree.append(hashedrekord_v2(bytes(32), signed.signature, signed.verifier))
    assert scanned(hub)["withoutStatementCount"] == 0


def test_a_scan_tells_an_old_copy_of_the_outbox(hub, tmp_path):
    whole = tmp_path / "ledger/outbox.db"
    kept = whole.read_bytes()
    hub.record("r1")
    whole.write_bytes(kept)
    found = scanned(hub, code=RestoredError.exit_code)
    (stranger,) = found["withoutStatement"]
    statement = tmp_path / "ledger/evidence" / stranger["statementSha256"][:2] / stranger["statementSha256"]
    assert b'"revision":"r1"' in statement.read_bytes()
    assert "old copy" in hub.text("index", "rebuild", hub.directory, "--scan", code=RestoredError.exit_code)


def test_an_outbox_that_is_older_than_the_index_is_not_recorded_into(hub, tmp_path):
    whole = tmp_path / "ledger/outbox.db"
    hub.record("r1", "--no-wait")
    kept = whole.read_bytes()
    hub.record("r2")
    whole.write_bytes(kept)
    assert "index.db" in hub.record("r3", code=RestoredError.exit_code)["message"]
    found = scanned(hub, code=RestoredError.exit_code)
    assert (found["added"], found["withoutStatementCount"]) == (2, 1), "places are still stored"


def test_a_scan_tells_a_log_that_shows_another_tree(hub):
    hub.record("r1")
    other = FakeRekor()
    other.tree.append(b"something else")
    hub.rekor.tree = other.tree  # the same key and name, another history
    found = scanned(hub, code=ProofError.exit_code)
    assert [each["number"] for each in found["notShown"]] == [0, 1]
    assert "Not shown: number 0" in hub.text(
        "index", "rebuild", hub.directory, "--scan", code=ProofError.exit_code
    )


def test_only_rekor_v2_is_scanned(hub, tmp_path, capsys):
    settings = tmp_path / "ledger/hubledger.toml"
    settings.write_text(settings.read_text().replace('log = "rekor-v2"', 'log = "rekor-v1"'))
    assert (
        "Rekor v1"
        in hub.call("index", "rebuild", hub.directory, "--scan", code=UsageError.exit_code)["message"]
    )
    hub.call("init", str(tmp_path / "own"), "--origin", "log.example", "--hub", "hub.example")
    hub.call("index", "rebuild", str(tmp_path / "own"), "--scan", code=UsageError.exit_code)


def test_a_ledger_in_rekor_v1_is_the_same(tmp_path, capsys):
    hub = Hub(tmp_path, capsys, kind="rekor-v1")
    fake = FakeRekorV1()
    with fake.serve():
        root, signing = write_v1_trust(tmp_path, fake.tree.spki, fake.url)
        hub.call(
            *("init", hub.directory, "--origin", "log.example/models", "--hub", "hub.example"),
            *("--log", "rekor-v1", "--trusted-root", str(root), "--signing-config", str(signing)),
        )
        receipt = hub.record("r1", "-o", str(tmp_path / "e.json"))
        assert receipt["logged"], receipt
        assert receipt["integratedTime"] > 0
        assert hub.record("r1")["logIndex"] == receipt["logIndex"]
        assert hub.audit()["logged"] == 2
        assert hub.call("index", "rebuild", hub.directory)["leaves"] == 2
        trust = str(tmp_path / "ledger/trust.toml")
        result = hub.call("verify", "--bundle", str(tmp_path / "e.json"), "--trust", trust, "--log-only")
        assert result["log"] == "INCLUDED_ONLY"
        hub.call(
            "proof", hub.directory, "1", "-o", str(tmp_path / "e.tlog-proof"), code=MalformedError.exit_code
        )


def test_the_public_instance_is_kept_and_needs_no_network_to_accept(tmp_path, capsys, monkeypatch):
    hub, fetched = Hub(tmp_path, capsys), []

    def fetch():
        fetched.append(1)
        if not hub.published:
            raise SourceError("TUF", expected="an answer", actual="none")
        return hub.published

    monkeypatch.setattr(remote, "fetch_public", fetch)
    hub.published = None
    make = (
        "init",
        hub.directory,
        "--origin",
        "log.example/models",
        "--hub",
        "hub.example",
        "--log",
        "rekor-v2",
    )
    with hub.rekor.serve() as url:
        hub.call(*make, code=SourceError.exit_code)
        tree = hub.rekor.tree
        log = TrustedLog(base_url=f"http://{tree.origin}", spki=tree.spki, log_id=tree.log_id, write_url=url)
        root, signing = write_trust(tmp_path, [log])
        hub.published = b'{"trustedRoot":%s,"signingConfig":%s}' % (root.read_bytes(), signing.read_bytes())
        hub.call(*make, "--read-url", f"{url}/read")
        assert hub.record("r1")["logged"]
        assert len(fetched) == 2, "once for each init: it is not old"
        os.utime(tmp_path / "ledger/trust/public.json", (0, 0))
        hub.published = None
        assert hub.record("r2")["logged"]
        assert len(fetched) == 3
        hub.audit()
        assert len(fetched) == 3, "who only reads asks nobody"


def test_whoever_waits_for_rekor_keeps_nobody_from_recording(hub, tmp_path):
    hub.rekor.fail = problem(503, "later")
    waiting = threading.Thread(
        target=retry_outbox, args=(tmp_path / "ledger", ()), kwargs={"seconds": 6.0, "progress": _count}
    )
    waiting.start()
    began = time.monotonic()
    states = [hub.record(f"r{number}", "--no-wait")["state"] for number in range(3)]
    assert states == ["pending"] * 3
    assert waiting.is_alive(), "they were accepted while the other one waited"
    hub.rekor.fail = None
    waiting.join(60)
    assert time.monotonic() - began < 60
    assert hub.call("outbox", "retry", hub.directory)["pending"] == 0
    assert hub.audit()["logged"] == 4


def _count(_done, _total):
    """Nobody looks at the progress."""
