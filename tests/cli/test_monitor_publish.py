"""`hubledger monitor publish` and `key`, and that `once` publishes by itself."""

import json
import shlex
import stat

import pytest

from ledger.tlog.signed_note import VerifierKey
from tests.monitor.hub import Hub
from tests.world import key_signer, signed_by

A, B = signed_by(key_signer("a")), signed_by(key_signer("b"))


@pytest.fixture
def run(tmp_path, hubledger):
    hub = Hub()
    hub.record(A, revision="1")
    hub.publish(tmp_path / "log")
    hub.trust_file(tmp_path / "trust.toml")
    settings = tmp_path / "monitor.toml"
    settings.write_text(
        '[[log]]\nname = "models"\nfolder = "log"\ntrust = "trust.toml"\n'
        '[publish]\nfolder = "public"\nkey = "keys/monitor.key"\n'
    )

    def call(command, *arguments):
        return hubledger("monitor", command, *arguments, "--config", settings)

    call.hub = hub
    assert call("init", "--from", "genesis")[0] == 0
    return call


def test_the_key_is_made_once_for_its_owner_alone_and_shown_as_others_need_it(run, tmp_path):
    code, out, _ = run("key", "monitor.example", "--json")
    made = VerifierKey.parse(json.loads(out)["vkey"])
    assert (code, made.name) == (0, "monitor.example")
    path = tmp_path / "keys/monitor.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = path.read_text().strip()
    assert secret not in out
    assert run("key")[1].splitlines()[1] == f"For trust files: {made.format()}"
    assert run("key", "other.example")[0] == 2
    assert path.read_text().strip() == secret


def test_once_publishes_and_publish_says_what_it_wrote(run, tmp_path):
    run("key", "monitor.example")
    assert run("once")[0] == 0
    assert json.loads((tmp_path / "public/index.json").read_bytes())["logs"][0]["size"] == 1
    code, out, _ = run("publish", "--json")
    assert (code, json.loads(out)["logs"]) == (0, [{"log": "models", "size": 1}])
    assert json.loads(out)["filesWritten"] == 0
    assert run("publish")[1].splitlines()[1:] == ["Log        models, 1 entry", "Written    0 files"]


def test_a_published_proof_is_checked_with_the_command_that_is_printed(run, hubledger, tmp_path):
    run("key", "monitor.example")
    run("once")
    code, out, _ = hubledger(
        "proof", tmp_path / "public/models", "0", "--published", "-o", tmp_path / "0.tlog-proof"
    )
    assert code == 0
    command = shlex.split(out.splitlines()[1].removeprefix("Check it: "))
    assert command[:2] == ["hubledger", "verify"]
    own = [str(tmp_path / "trust.toml") if word == "TRUST_FILE" else word for word in command[2:]]
    assert hubledger("verify", *own)[0] == 0


def test_a_publication_that_fails_is_said_and_is_not_exit_code_0(run, tmp_path):
    code, out, _ = run("once", "--json")  # the key was not made
    assert (code, json.loads(out)["exitCode"]) == (3, 3)
    assert "private key" in json.loads(out)["unpublished"]
    assert "Not published in full" in run("once")[1]
    run("key", "monitor.example")
    assert run("once")[0] == 0


def test_entries_that_cannot_be_read_again_are_exit_code_3(run, tmp_path):
    run("key", "monitor.example")
    (tmp_path / "public").write_bytes(b"in the way")
    run.hub.record(A, revision="2")
    run.hub.publish(tmp_path / "log")
    assert run("once")[0] == 3
    (tmp_path / "public").unlink()
    for path in (tmp_path / "log/tile/entries").rglob("*"):
        if path.is_file():
            path.unlink()
    code, out, _ = run("publish", "--json")
    assert (code, list(json.loads(out)["problems"])) == (3, ["models"])
