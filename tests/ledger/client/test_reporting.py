"""Where evidence of misbehaviour goes: whoever the trust file names, shown so that no name and no address misleads."""

import json

import pytest

from cli.main import run
from ledger.client.named import Asked, check_named
from ledger.client.pins import Pins
from ledger.client.proof_bundle import ProofBundle
from ledger.client.reporting import recipients_of, where_to_send
from ledger.client.result import LogResult
from ledger.client.trust_store import Origin, StoredTrust
from ledger.client.trust_writing import format_trust
from ledger.client.trusted_monitor import TrustedMonitor
from ledger.tlog.trust_policy import LogKey, TrustPolicy, Witness
from tests.refusals.bypass import find_bypasses
from tests.world import NOW, World

STATEMENT = "https://monitor.example/hub.example/statement"
WORLD = World().grow(5)
FORK = World().grow(2).grow(3, word="forked")


def monitor(name="monitor.example", url=STATEMENT):
    return TrustedMonitor(key=WORLD.monitor(name).verifier, max_age=60, url=url)


def said(**changes):
    return where_to_send(recipients_of(WORLD.trust(**changes)))


def watched():
    witness = Witness(name="w1", key=WORLD.cosigner("w.example").verifier, url="https://w.example/add")
    clock = Witness(name="log-clock", key=WORLD.cosigner(WORLD.origin).verifier)
    policy = TrustPolicy(logs=(LogKey(key=WORLD.log_signer.verifier),), witnesses=(clock, witness))
    return WORLD.trust(policy=policy, monitors=(monitor(), monitor("other.example", None)))


WATCHED = (
    "Keep the evidence and send it to the monitor monitor.example (https://monitor.example/hub.example/statement), "
    "the monitor other.example, the witness w.example (https://w.example/add): it convinces anybody who has the log's key"
)


def test_monitors_and_witnesses_are_named_with_the_addresses_that_are_known_and_the_logs_own_clock_is_not():
    assert where_to_send(recipients_of(watched())) == WATCHED


def test_where_nobody_is_known_the_hub_is_not_the_only_one_to_hear():
    assert said() == (
        "Keep the evidence and show it in public, and to whoever gave you the trust file, which names no monitor and no "
        "witness; not to the hub alone. It convinces anybody who has the log's key"
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example/x) or load it anyway: nothing is wrong (",
        "https://a.example/\n  next: load it",
        "https://user:secret@a.example/x",
        "https://a.example/x?token=secret",
        "https://\u0430.example/x",
        "https://a.example/\u202ex",
        "javascript:alert(1)",
        "ftp://a.example/x",
        "https:///x",
        "https://a.example/" + "x" * 1000,
        "",
    ],
)
def test_an_address_that_is_more_than_one_is_left_out(url):
    text = said(monitors=(monitor(url=url),))
    assert text.startswith("Keep the evidence and send it to the monitor monitor.example: ")


def test_a_name_is_shown_so_that_it_is_not_taken_for_another_and_is_never_long():
    text = said(monitors=(monitor("m\u043enitor.example"), monitor("x" * 5000)))
    assert "the monitor m\\u043enitor.example (" in text
    assert "x" * 101 not in text


def test_a_flood_of_monitors_is_counted():
    text = said(monitors=tuple(monitor(f"m{at}.example", None) for at in range(200)))
    assert " and 190 more: it convinces" in text
    assert len(text) < 1000


def test_no_text_of_it_suggests_a_bypass():
    for text in (said(), WATCHED):
        assert not find_bypasses(text, next_step=True)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "trust.toml").write_bytes(format_trust(watched()))
    (tmp_path / "pin").write_bytes(FORK.checkpoint(5))
    (tmp_path / "a.tlog-proof").write_bytes(WORLD.proof(0))
    monkeypatch.chdir(tmp_path)
    return tmp_path


VERIFY = ("verify", "--proof", "a.tlog-proof", "--trust", "trust.toml", "--pin", "pin", "--log-only")
SEND_TO = [
    {"watcher": "monitor", "name": "monitor.example", "url": STATEMENT},
    {"watcher": "monitor", "name": "other.example"},
    {"watcher": "witness", "name": "w.example", "url": "https://w.example/add"},
]


def test_a_check_writes_the_evidence_and_says_where_to_send_it(folder, capsys):
    assert run(VERIFY) == 14
    out = capsys.readouterr().out
    assert f"  next: {WATCHED}\nEvidence: misbehaviour.json\n" in out
    assert run([*VERIFY, "--json"]) == 14
    facts = json.loads(capsys.readouterr().out)
    assert (facts["sendTo"], facts["evidence"]) == (SEND_TO, "misbehaviour-1.json")
    assert facts["failure"]["nextStep"] == WATCHED


def test_who_checks_the_evidence_is_told_as_well(folder, capsys):
    run(VERIFY)
    capsys.readouterr()
    words = ["verify", "--evidence", "misbehaviour.json", "--trust", "trust.toml"]
    assert run(words) == 0
    assert capsys.readouterr().out.endswith(f"\n  next: {WATCHED}\n")
    assert run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sendTo"] == SEND_TO


def test_where_the_log_is_sound_nobody_is_named(folder, capsys):
    (folder / "pin").write_bytes(WORLD.checkpoint(5))
    assert run([*VERIFY, "--json"]) == 0
    assert "sendTo" not in json.loads(capsys.readouterr().out)


def test_a_check_by_name_says_it_too(tmp_path):
    trust = watched()
    stored = StoredTrust(
        data=format_trust(trust), trust=trust, source="https://hub.example", origin=Origin.CONFIRMED
    )
    found = [
        check_named(
            ProofBundle(name="other/model-0", proof=world.proof(0), claims=(), fetched_at=NOW),
            Asked(name="other/model-0", log_only=True),
            stored=stored,
            pins=Pins(tmp_path),
            source="test",
            now=NOW,
        ).result
        for world in (WORLD, FORK)
    ]
    assert [each.log for each in found] == [LogResult.INCLUDED_ONLY, LogResult.MISBEHAVIOUR]
    assert [len(each.send_to) for each in found] == [0, 3]
