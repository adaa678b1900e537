"""`hubledger monitor publish` and `key`, and that `once` publishes by itself."""

import json
import shlex
import stat

import pytest

from ledger.client.trust_writing import format_trust
from ledger.client.trusted_monitor import TrustedMonitor
from ledger.tlog.signed_note import VerifierKey
from monitor.publish import layout
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


@pytest.fixture
def audited(run, tmp_path):
    """A trust file that asks for this monitor, after the log has grown past the first event."""
    vkey = VerifierKey.parse(json.loads(run("key", "monitor.example", "--json")[1])["vkey"])
    monitor = TrustedMonitor(key=vkey, max_age=86_400)
    trust = run.hub.world.trust(require="audited", monitors=(monitor,))
    (tmp_path / "audited.toml").write_bytes(format_trust(trust))
    for at in range(4):
        run.hub.publish(tmp_path / "log")
        assert run("once")[0] == 0
        run.hub.record(A, revision="1", name=f"acme/other-{at}")
    return tmp_path / "audited.toml"


@pytest.mark.parametrize("what", ["0", "acme/model"])
def test_a_published_proof_and_the_statement_meet_a_trust_file_that_asks_for_the_monitor(
    run, hubledger, tmp_path, audited, what
):
    proof, statement = tmp_path / "x.tlog-proof", tmp_path / "said"
    code, out, _ = hubledger(
        "proof", tmp_path / "public/models", what, "--published", "--statement", statement, "-o", proof
    )
    assert (code, out.splitlines()[0]) == (
        0,
        f"Leaf 0 is in {run.hub.world.origin} at size 4; proof in {proof}",
    )
    command = shlex.split(out.splitlines()[1].removeprefix("Check it: "))
    own = [str(audited) if word == "TRUST_FILE" else word for word in command[2:]]
    code, out, _ = hubledger("verify", *own, "--json")
    found = json.loads(out)
    assert (code, found["log"]) == (0, "INCLUDED_ONLY")
    (row,) = [each for each in found["checks"] if each["step"] == "monitor monitor.example"]
    assert row["result"] == "ok"
    assert row["against"].startswith("verified up to size 4, leaf 0 among it")
    assert hubledger("verify", "--proof", proof, "--trust", audited, "--log-only")[0] == 15
    explained = hubledger("verify", *own, "--explain")[1]
    assert "hubledger/monitor-statement/v1" in explained


def test_the_statement_of_a_model_whose_proof_is_older_names_the_command_that_links_them(
    hubledger, tmp_path, audited
):
    public = tmp_path / "public/models"
    proof = public / layout.model("acme/model", layout.LATEST_PROOF)
    code, out, _ = hubledger(
        *("verify", "--proof", proof, "--statement", public / "statement", "--trust", audited),
        *("--log-only", "--json"),
    )
    failure = json.loads(out)["failure"]
    assert (code, failure["actual"]) == (
        15,
        "one of size 4, not linked: the checkpoint of the proof is older",
    )
    assert "hubledger proof ADDRESS/LOG 0 --published --statement FILE" in failure["nextStep"]


@pytest.mark.parametrize(
    "beside", [("--bundle", "x"), ("--name", "hub.example/acme/model"), ("--evidence", "x")]
)
def test_a_statement_is_refused_where_nobody_would_hear_it(hubledger, tmp_path, beside):
    code, _, err = hubledger("verify", *beside, "--statement", "said", "--trust", "trust.toml")
    assert code == 2
    assert "--statement" in err


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
