"""The hub's key of a ledger in Rekor is replaced: nothing by the old key comes to lie behind its end, whatever happens."""

import hashlib
import json
import pathlib
import shutil
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization

from cli.exit_codes import ExitCode
from ledger.client.trust import parse_trust
from ledger.client.trust_signature import sign_trust
from ledger.client.trust_writing import format_trust
from ledger.embedded.trust_versions import publish_trust
from ledger.encoding import parse_base64
from ledger.errors import UsageError
from ledger.tlog.signed_note import Ed25519NoteSigner
from tests.cli.test_outbox import Hub, mirror, scanned
from tests.fakes.rekor import problem
from tests.ledger.embedded.test_kms import put_key
from tests.ledger.embedded.test_rotating_elsewhere import edit_settings
from tests.world import ed25519_key, p256_key

OFFLINE = Ed25519NoteSigner("hub.example/trust", ed25519_key("offline"))


def trust_of(hub):
    return parse_trust((pathlib.Path(hub.directory) / "trust.toml").read_bytes())


def publish(hub, draft=None):
    """Sign the next version of the trust file, with the offline key in it if there is no draft, and publish it."""
    old = trust_of(hub)
    data = (
        format_trust(replace(old, version=old.version + 1, update_key=OFFLINE.verifier))
        if draft is None
        else pathlib.Path(draft).read_bytes()
    )
    publish_trust(pathlib.Path(hub.directory), data, sign_trust(data, [OFFLINE]))


def rotate(hub, *words, code=0):
    return hub.call("keys", "rotate", "hub", hub.directory, *words, code=code)


def keys_in(tree):
    """Whose key signed each entry of the log, by the SHA-256 of the key that the body names."""
    bodies = [json.loads(each)["spec"]["hashedRekordV002"] for each in tree.entries]
    keys = [parse_base64(each["signature"]["verifier"]["publicKey"]["rawBytes"]) for each in bodies]
    return [hashlib.sha256(each).hexdigest() for each in keys]


@pytest.fixture
def hub(tmp_path, capsys):
    hub = Hub(tmp_path, capsys)
    with hub.rekor.serve() as url:
        hub.init(url)
        publish(hub)
        yield hub


def test_a_key_is_replaced_step_by_step_and_clients_of_every_age_know_what_counts(hub, tmp_path):
    hub.record("r1", "-o", str(tmp_path / "r1.json"))
    added = rotate(hub, "--begin")
    assert (added["state"], added["shardOrder"]) == ("announced", 0)
    assert rotate(hub) == added, "said again, nothing is added"
    hub.record("r2", "-o", str(tmp_path / "r2.json"))
    publish(hub, added["trustFile"])
    shutil.copyfile(f"{hub.directory}/trust.toml", tmp_path / "both.toml")
    retired = rotate(hub)
    assert retired["state"] == "retired"
    publish(hub, retired["trustFile"])
    hub.record("r3", "-o", str(tmp_path / "r3.json"))
    assert rotate(hub) == {"state": "none"}
    old, new = trust_of(hub).hub_keys
    assert (old.first, old.end, new.first, new.end) == (
        0,
        retired["leafIndex"] + 1,
        added["leafIndex"] + 1,
        None,
    )
    assert keys_in(hub.rekor.tree) == [old.keyid] * 4 + [new.keyid] * 2
    for trust in (tmp_path / "both.toml", f"{hub.directory}/trust.toml"):
        for name in ("r1.json", "r2.json", "r3.json"):
            hub.call("verify", "--bundle", str(tmp_path / name), "--trust", str(trust), "--log-only")
    first = f"{hub.directory}/trust/1.toml"
    hub.call("verify", "--bundle", str(tmp_path / "r1.json"), "--trust", first, "--log-only")
    late = ("verify", "--bundle", str(tmp_path / "r3.json"), "--trust", first, "--log-only")
    hub.call(*late, code=ExitCode.INVALID)
    assert hub.audit()["logged"] == 6
    scanned(hub)


def test_a_key_moves_to_a_service_in_the_same_steps(hub, tmp_path):
    """Its signatures differ each time: what is submitted is what was stored first, also where Rekor was away meanwhile."""
    source = put_key(tmp_path, "one")
    added = rotate(hub, "--begin", "--hub-signer", source.uri, "--hub-public-key", str(source.public_key))
    publish(hub, added["trustFile"])
    hub.record("r1")
    switch = rotate(hub)
    assert switch["state"] == "switch"
    edit_settings(pathlib.Path(hub.directory), switch["settings"])
    hub.rekor.fail = problem(503, "down")
    assert rotate(hub, "--wait-seconds", "0.2")["state"] == "pending"
    hub.record("r2", "--no-wait")
    hub.rekor.fail = None
    retired = rotate(hub)
    publish(hub, retired["trustFile"])
    assert rotate(hub) == {"state": "none"}
    hub.call("outbox", "retry", hub.directory)
    hub.record("r3", "-o", str(tmp_path / "r3.json"))
    old, new = (each.keyid for each in trust_of(hub).hub_keys)
    assert (old, new) == (switch["oldKeyId"], added["newKeyId"])
    assert keys_in(hub.rekor.tree) == [old] * 3 + [new] * 3
    trust = f"{hub.directory}/trust.toml"
    hub.call("verify", "--bundle", str(tmp_path / "r3.json"), "--trust", trust, "--log-only")
    assert hub.audit()["logged"] == 6


def test_what_the_old_key_signed_is_logged_before_its_retirement_is_submitted(hub):
    """Rekor is away from before the retirement until after it; a thousand things may wait, the order is kept."""
    publish(hub, rotate(hub, "--begin")["trustFile"])
    hub.rekor.fail = problem(503, "down")
    for number in range(8):
        hub.record(f"r{number}", "--no-wait")
    waiting = rotate(hub, "--wait-seconds", "0.2")
    assert (waiting["state"], waiting["number"]) == ("pending", 10)
    assert "trustFile" not in waiting, "nobody knows yet where the range of the old key ends"
    hub.record("by the new key", "--no-wait")
    assert rotate(hub, "--wait-seconds", "0") == waiting
    hub.rekor.fail = None
    retired = rotate(hub)
    assert (retired["state"], retired["leafIndex"]) == ("retired", 10)
    hub.call("outbox", "retry", hub.directory)
    old, new = (each.keyid for each in trust_of(hub).hub_keys)
    assert keys_in(hub.rekor.tree) == [old] * 10 + [new] * 2
    publish(hub, retired["trustFile"])
    assert hub.audit()["logged"] == 12


def test_an_event_that_rekor_refuses_holds_up_the_retirement_until_a_person_decides(hub):
    publish(hub, rotate(hub, "--begin")["trustFile"])
    hub.rekor.fail = problem(400, "no")
    assert hub.record("r1")["state"] == "refused"
    hub.rekor.fail = None
    assert rotate(hub, "--wait-seconds", "0.5")["state"] == "pending"
    text = hub.text("keys", "rotate", "hub", hub.directory, "--wait-seconds", "0")
    assert "hubledger outbox status" in text
    hub.call("outbox", "drop", hub.directory, "2", "--reason", "too-large")
    assert rotate(hub)["state"] == "retired"


def test_the_next_key_signs_nothing_before_its_place_is_known(hub):
    hub.record("r1")
    hub.rekor.fail = problem(503, "down")
    before = pathlib.Path(hub.directory, "keys/hub.key").read_bytes()
    assert rotate(hub, "--begin", "--wait-seconds", "0.2")["state"] == "pending"
    assert rotate(hub, "--wait-seconds", "0")["state"] == "pending"
    assert pathlib.Path(hub.directory, "keys/hub.key").read_bytes() == before
    hub.rekor.fail = None
    assert rotate(hub)["state"] == "announced"


def test_a_retirement_that_somebody_dropped_is_said_to_be_so(hub):
    publish(hub, rotate(hub, "--begin")["trustFile"])
    hub.rekor.fail = problem(503, "down")
    number = rotate(hub, "--wait-seconds", "0")["number"]
    hub.call("outbox", "drop", hub.directory, str(number), "--reason", "typo")
    failed = rotate(hub, code=UsageError.exit_code)
    assert failed["actual"] == "one that was dropped from the outbox (typo)"


def test_a_copy_by_a_stranger_moves_no_range(hub):
    """Anybody may log our entry again, under the twin of its signature; the range of a key stays where it was."""
    added = rotate(hub, "--begin")
    publish(hub, added["trustFile"])
    mirror(hub, 1)
    scanned(hub)
    retired = rotate(hub)
    mirror(hub, retired["leafIndex"] - 1)
    publish(hub, retired["trustFile"])
    scanned(hub)
    old, new = trust_of(hub).hub_keys
    assert (new.first, old.end) == (added["leafIndex"] + 1, retired["leafIndex"] + 1)


REFUSED = {
    ("rotate", "log"): "Rekor has keys of its own for its checkpoints; the trusted root names them",
    ("revoke", "hub", "0" * 64, "--from", "1"): (
        "A revocation names one leaf index, and Rekor has shards: end the key's range in the next trust.toml "
        "(end, end_shard), and publish that"
    ),
    ("observer", "add", "watcher.example", "--public-key", "watcher.pem"): (
        "A ledger in Rekor has no observers: let whoever observes keep a ledger of their own"
    ),
}


def _standing(hub):
    """What is accepted and waits, without how long it has: a second may pass meanwhile."""
    status = hub.status()
    del status["oldestPending"]["waitingFor"]
    return status


@pytest.mark.parametrize("words", REFUSED, ids=lambda words: " ".join(words[:2]))
def test_what_rekor_cannot_say_is_refused(hub, tmp_path, monkeypatch, words):
    """With the way that there is, and nothing is accepted: the audit after it finds what there was before."""
    monkeypatch.chdir(tmp_path)
    pathlib.Path("watcher.pem").write_bytes(
        p256_key("watcher")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    before = _standing(hub)
    group, command, *more = words
    failed = hub.call("keys", group, command, hub.directory, *more, code=UsageError.exit_code)
    assert failed == {
        "error": "UsageError",
        "message": (
            "log of log.example/models: expected one in this directory, got one in Rekor (rekor-v2). "
            f"{REFUSED[words]}"
        ),
        "what": "log of log.example/models",
        "expected": "one in this directory",
        "actual": "one in Rekor (rekor-v2)",
        "nextStep": REFUSED[words],
        "exitCode": UsageError.exit_code,
    }
    assert _standing(hub) == before
    assert hub.call("keys", "observer", "list", hub.directory) == {"observers": []}
    assert hub.record("r1")["logged"]
    assert hub.audit()["logged"] == 2
