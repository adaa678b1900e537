"""A ledger in a real Rekor: recorded, drained, audited, through restarts, an outage and a rotation of shards."""

import contextlib
import json
import pathlib
import signal
import sqlite3
from dataclasses import replace
from urllib.parse import urlsplit

import httpx
import pytest

from cli.main import run
from ledger.client.trust import parse_trust
from ledger.client.trust_writing import format_trust
from ledger.client.trusted_keys import TrustedLog, shard_key
from ledger.embedded.directory import open_for_reading
from ledger.errors import ConfigError
from ledger.log.hashedrekord import format_request
from ledger.log.receipts import twin
from tests.cli.test_rotation_in_rekor import publish
from tests.system.rekor import rekor_v2, timestamp_server, write_trust
from tests.system.rekor_v1 import backend


class Hub:
    """A ledger in Rekor, on the command line."""

    def __init__(self, folder, capsys):
        self.folder, self.capsys = folder, capsys
        self.directory = str(folder / "ledger")
        self.model = folder / "model"
        self.model.mkdir()

    def call(self, *arguments, code=0):
        got = run([*arguments, "--json"])
        out, err = self.capsys.readouterr()
        assert got == code, (got, out, err)
        return json.loads(out or err)

    def init(self, root, signing, *, kind="rekor-v2", read_url=None):
        return self.call(
            *("init", self.directory, "--origin", "log.example/models", "--hub", "hub.example"),
            *("--log", kind, "--trusted-root", str(root), "--signing-config", str(signing)),
            *(("--read-url", read_url) if read_url else ()),
        )

    def record(self, revision, *more):
        (self.model / "weights").write_bytes(revision.encode())
        return self.call(
            *(
                "record",
                self.directory,
                "acme/tiny",
                "--revision",
                revision,
                "--model",
                str(self.model),
                *more,
            )
        )

    def audit(self, code=0):
        return self.call("log", "audit", self.directory, code=code)

    def rotate(self, *words):
        return self.call("keys", "rotate", "hub", self.directory, *words)

    def put_trust(self, logs, authorities=()):
        """Put a new trusted root and signing config in the place of the ledger's."""
        folder = pathlib.Path(self.directory, "trust")
        write_trust(folder, logs, authorities)
        for name in ("trusted_root", "signing_config"):
            (folder / f"{name}.json").replace(folder / f"{name.replace('_', '-')}.json")

    def add_shard(self, log):
        """Tell readers of a new shard, at the end of the trust file."""
        path = pathlib.Path(self.directory, "trust.toml")
        trust = parse_trust(path.read_bytes())
        name = urlsplit(log.base_url).hostname
        added = TrustedLog(origin=name, keys=(shard_key(name, log.spki),))
        path.write_bytes(
            format_trust(replace(trust, version=trust.version + 1, shards=(*trust.shards, added)))
        )

    def positions(self):
        rows = self.call("history", self.directory, "acme/tiny")["events"]
        return [(row["revision"], row["state"], row.get("shardOrder")) for row in rows]


@pytest.fixture
def hub(tmp_path, capsys):
    return Hub(tmp_path, capsys)


def test_a_ledger_in_a_real_rekor_survives_its_outages(hub, tmp_path):
    with rekor_v2(tmp_path / "rekor") as server:
        hub.init(*write_trust(tmp_path, [server.trusted]), read_url=server.read_url)
        first = hub.record("r1")
        assert (first["state"], first["shard"], first["shardOrder"]) == ("logged", "rekor-local", 0)
        assert hub.record("r1")["repeated"]
        server.stop(how=signal.SIGKILL)
        for number in range(2, 30):
            assert hub.record(f"r{number}", "--no-wait")["state"] == "pending"
        assert hub.record("r30", "--wait-seconds", "1")["state"] == "pending"
        status = hub.call("outbox", "status", hub.directory)
        assert (status["pending"], status["logged"]) == (29, 2)
        assert {each["error"] for each in status["errors"]} == {"SourceError"}
        hub.audit()
        server.start()
        assert hub.call("outbox", "retry", hub.directory, "--seconds", "60")["logged"] == 29
        assert hub.positions() == [(f"r{number}", "logged", 0) for number in range(1, 31)]
        report = hub.audit()
        assert (report["size"], report["logged"], report["pending"]) == (31, 31, 0)
        assert hub.call("index", "check", hub.directory)["differences"] == []


def test_a_receipt_that_was_lost_is_found_again(hub, tmp_path):
    """The log has the entry and we have no receipt: the real server answers 409, and the place is proven from its tiles."""
    with rekor_v2(tmp_path / "rekor") as server:
        hub.init(*write_trust(tmp_path, [server.trusted]), read_url=server.read_url)
        before = pathlib.Path(hub.directory, "outbox.db")
        first = hub.record("r1", "--no-wait")
        kept = before.read_bytes()
        assert first["state"] == "pending"
        logged = hub.record("r1")
        before.write_bytes(kept)
        again = hub.record("r1")
        assert again["repeated"]
        assert (again["leafIndex"], again["number"]) == (logged["leafIndex"], logged["number"])
        assert hub.audit()["logged"] == 2


def test_a_strangers_copy_of_a_signature_is_linked_by_a_scan_and_the_lowest_place_counts(hub, tmp_path):
    """Anybody can make (r, n-s) of a signature, and the real log takes it: it is the same event, and no proof of our bytes."""
    with rekor_v2(tmp_path / "rekor") as server:
        hub.init(*write_trust(tmp_path, [server.trusted]), read_url=server.read_url)
        hub.record("r1", "--no-wait")
        hub.record("r2", "--no-wait")
        reader = open_for_reading(pathlib.Path(hub.directory))
        signed = reader.accepted.prover.signed(next(reader.read(1, 2, size=2)))
        copy = replace(signed, signature=twin(signed.signature))
        taken = httpx.post(f"{server.url}/api/v2/log/entries", content=format_request(copy), timeout=30)
        assert taken.status_code == 201
        # Not lost among the entries of others, and not taken for an entry that no statement is about.
        facts = hub.call("index", "rebuild", hub.directory, "--scan")["scan"]
        assert (facts["added"], facts["withoutStatement"], facts["withoutEntry"]) == (1, [], 2)
        assert hub.call("outbox", "retry", hub.directory, "--seconds", "60")["pending"] == 0
        again = hub.record("r1")
        assert (
            (again["leafIndex"], again["state"]) == (int(taken.json()["logIndex"]), "logged") == (0, "logged")
        )
        # Ours was submitted all the same: the copy is no proof of the bytes that we have.
        assert [each["leafIndex"] > 0 for each in again["alsoAt"]] == [True]
        bundle = str(tmp_path / "e.json")
        hub.call("proof", hub.directory, "1", "-o", bundle)
        hub.call("verify", "--bundle", bundle, "--trust", f"{hub.directory}/trust.toml", "--log-only")
        facts = hub.call("index", "rebuild", hub.directory, "--scan")["scan"]
        assert (facts["withoutStatement"], facts["notShown"], facts["withoutEntry"]) == ([], [], 0)
        assert hub.audit()["logged"] == 3


def test_a_frozen_shard_is_followed_by_the_next_with_timestamps(hub, tmp_path):
    with (
        timestamp_server(tmp_path) as authority,
        rekor_v2(tmp_path / "old", origin="old.example") as old,
        rekor_v2(tmp_path / "new", origin="new.example") as new,
    ):
        read = {each.origin: each.read_url for each in (old, new)}
        root, signing = write_trust(tmp_path, [old.trusted], [authority])
        hub.init(root, signing, read_url=read["old.example"])
        settings = pathlib.Path(hub.directory, "hubledger.toml")
        text = settings.read_text().replace("timestamps = false", "timestamps = true")
        settings.write_text(text)
        receipt = hub.record("r1")
        assert (receipt["shard"], receipt["timestamps"]) == ("old.example", 1)
        database = pathlib.Path(hub.directory, "outbox.db")
        kept = database.read_bytes()
        with contextlib.closing(sqlite3.connect(database)) as connection:
            # The timestamp of another signature.
            connection.execute(
                "UPDATE receipts SET timestamps = (SELECT timestamps FROM receipts WHERE number = 0)"
            )
            connection.commit()
        assert "timestamp" in hub.call("log", "audit", hub.directory, code=61)["message"]
        database.write_bytes(kept)
        old.freeze()
        assert hub.record("r2", "--wait-seconds", "3")["lastError"]["error"] == "FrozenError"
        # The operator publishes a new trust root, in which the old shard stays: positions count from it.
        hub.put_trust([old.trusted, new.trusted], [authority])
        hub.call("outbox", "retry", hub.directory, "--seconds", "30")
        assert hub.positions() == [("r1", "logged", 0), ("r2", "logged", 1)]
        hub.audit(code=ConfigError.exit_code)  # readers are still to be told of the new shard
        hub.add_shard(new.trusted)
        assert hub.audit()["logged"] == 3


def test_a_hub_key_is_replaced_while_a_shard_is_closed(hub, tmp_path):
    """The next key is added in the old shard, and the one before retired in the new one."""
    with (
        rekor_v2(tmp_path / "old", origin="old.example") as old,
        rekor_v2(tmp_path / "new", origin="new.example") as new,
    ):
        hub.init(*write_trust(tmp_path, [old.trusted]), read_url=old.read_url)
        publish(hub)
        hub.record("r1", "-o", str(tmp_path / "r1.json"))
        added = hub.rotate("--begin")
        publish(hub, added["trustFile"])
        old.freeze()
        hub.record("r2", "--no-wait")
        assert hub.rotate("--wait-seconds", "3")["state"] == "pending"
        hub.put_trust([old.trusted, new.trusted])
        hub.add_shard(new.trusted)
        retired = hub.rotate()
        assert (retired["state"], retired["shardOrder"]) == ("retired", 1)
        publish(hub, retired["trustFile"])
        hub.record("r3", "-o", str(tmp_path / "r3.json"))
        before, after = parse_trust(pathlib.Path(hub.directory, "trust.toml").read_bytes()).hub_keys
        assert before.range == f"0 to {retired['leafIndex']} of shard 1"
        assert after.range == f"{added['leafIndex'] + 1} to …"
        assert hub.positions() == [("r1", "logged", 0), ("r2", "logged", 1), ("r3", "logged", 1)]
        for name in ("r1", "r3"):
            proof = ("--bundle", str(tmp_path / f"{name}.json"), "--trust", f"{hub.directory}/trust.toml")
            hub.call("verify", *proof, "--log-only")
        assert hub.audit()["logged"] == 6


def test_a_hub_key_is_replaced_in_a_real_rekor_v1(hub, tmp_path):
    with backend() as machinery, machinery.server() as server:
        hub.init(*server.write_trust(tmp_path), kind="rekor-v1")
        publish(hub)
        hub.record("r1", "--no-wait")
        publish(hub, hub.rotate("--begin")["trustFile"])
        hub.record("r2", "--no-wait")
        retired = hub.rotate()
        assert (retired["state"], retired["leafIndex"]) == ("retired", 4)
        publish(hub, retired["trustFile"])
        hub.record("r3", "-o", str(tmp_path / "r3.json"))
        proof = ("--bundle", str(tmp_path / "r3.json"), "--trust", f"{hub.directory}/trust.toml")
        hub.call("verify", *proof, "--log-only")
        assert hub.audit()["logged"] == 6


def test_a_ledger_in_a_real_rekor_v1_survives_an_outage(hub, tmp_path):
    with backend() as machinery:
        with machinery.server() as server:
            hub.init(*server.write_trust(tmp_path), kind="rekor-v1")
            receipt = hub.record("r1")
            assert (receipt["state"], receipt["shardOrder"]) == ("logged", 0)
            assert receipt["integratedTime"] > 0
            assert hub.record("r1")["repeated"]
            trust, bundle = str(tmp_path / "ledger/trust.toml"), str(tmp_path / "e.json")
            hub.call("proof", hub.directory, "1", "-o", bundle)
            assert (
                hub.call("verify", "--bundle", bundle, "--trust", trust, "--log-only")["log"]
                == "INCLUDED_ONLY"
            )
            key, tree, port = server.key, server.tree, server.port
        for number in range(2, 12):
            assert hub.record(f"r{number}", "--no-wait")["state"] == "pending"
        assert hub.call("outbox", "retry", hub.directory, "--seconds", "1", code=50)["logged"] == 0
        with machinery.server(key=key, tree=tree, port=port):
            assert hub.call("outbox", "retry", hub.directory, "--seconds", "60")["logged"] == 10
        assert hub.audit()["logged"] == 12
