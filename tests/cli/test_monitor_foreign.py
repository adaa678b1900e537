"""A log of somebody else's, known by its policy alone: it is held to what it signs, and nobody looks at what its entries say."""

import json

import pytest

from ledger.tlog.trust_policy import format_policy
from tests.monitor.hub import Hub
from tests.world import key_signer, signed_by

TESSERA = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "monitor.toml"
    path.write_text('[[log]]\nname = "theirs"\nfolder = "log"\npolicy = "policy"\n')
    return path


@pytest.fixture
def monitor(hubledger, settings):
    def call(command, *arguments):
        code, out, err = hubledger("monitor", command, *arguments, "--config", settings, "--json")
        return code, json.loads(out) if out else err

    return call


@pytest.fixture
def theirs(tmp_path):
    """A log whose entries are no statements of anybody."""
    hub = Hub()
    hub.world.entries += [b"entry %d" % at for at in range(300)]
    hub.publish(tmp_path / "log")
    (tmp_path / "policy").write_text(format_policy(hub.world.trust().policy))
    return hub


def test_the_log_that_tessera_wrote(tmp_path, monitor, settings, vectors):
    folder = vectors / "vectors/tessera-testdata-log/testdata/log"
    settings.write_text(f'[[log]]\nname = "theirs"\nfolder = "{folder}"\npolicy = "policy"\n')
    (tmp_path / "policy").write_text(f"log {TESSERA}\nquorum none\n")
    assert monitor("init", "--from", "genesis")[0] == 0
    code, looked = monitor("once")
    assert code == 0
    assert looked["logs"][0]["verifiedSize"] == 15
    assert monitor("findings", "--all")[1]["findings"] == []


def test_what_its_entries_say_is_no_finding(tmp_path, theirs, monitor):
    assert monitor("init", "--from", "genesis")[0] == 0
    assert monitor("once")[0] == 0
    theirs.record(signed_by(key_signer("a")))
    theirs.publish(tmp_path / "log")
    code, looked = monitor("once")
    assert (code, looked["logs"][0]["verifiedSize"]) == (0, 301)
    assert monitor("findings", "--all")[1]["findings"] == []


def test_a_fork_of_it_is_tamper(tmp_path, theirs, monitor, hubledger):
    assert monitor("init", "--from", "genesis")[0] == 0
    assert monitor("once")[0] == 0
    fork = theirs.fork(299)
    fork.world.entries += [b"another entry", b"and one more"]
    fork.publish(tmp_path / "log")
    assert monitor("once")[0] == 1
    (found,) = monitor("findings")[1]["findings"]
    assert found["kind"] == "log-forked"
    (evidence,) = (tmp_path / "state/evidence").iterdir()
    code, out, _ = hubledger("verify", "--evidence", evidence, "--policy", tmp_path / "policy", "--json")
    assert (code, json.loads(out)["convicts"]) == (0, True)
    (tmp_path / "tessera").write_text(f"log {TESSERA}\nquorum none\n")
    code, out, err = hubledger("verify", "--evidence", evidence, "--policy", tmp_path / "tessera", "--json")
    assert (code, out, json.loads(err)["expected"]) == (41, "", "example.com/log/testdata")


def test_entries_that_are_not_what_it_signed_are_found(tmp_path, theirs, monitor):
    assert monitor("init", "--from", "genesis")[0] == 0
    (bundle,) = (tmp_path / "log/tile/entries/000",)
    bundle.write_bytes(bundle.read_bytes().replace(b"entry 7\x00", b"entry 8\x00"))
    code, looked = monitor("once")
    assert (code, looked["logs"][0]["verifiedSize"]) == (1, 0)
    assert [each["kind"] for each in monitor("findings")[1]["findings"]] == ["log-malformed"]


def test_it_is_not_published_beside_ledgers(tmp_path, theirs, monitor, settings):
    settings.write_text(settings.read_text() + '[publish]\nfolder = "public"\nkey = "monitor.key"\n')
    assert monitor("key", "monitor.example")[0] == 0
    assert monitor("init", "--from", "genesis")[0] == 0
    assert monitor("once")[0] == 0
    assert not [path for path in (tmp_path / "public").rglob("*") if "theirs" in path.name]
