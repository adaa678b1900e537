"""`monitor status --check`, `compare` and `crosscheck`: what they print, and what a script goes by."""

import json

import pytest

from tests.monitor.hub import Hub
from tests.monitor.test_follow import A, B


@pytest.fixture
def hub(tmp_path, hubledger):
    """A log of three entries, followed and verified."""
    hub = Hub()
    for at in range(3):
        hub.record(A, revision=f"r{at}")
    hub.publish(tmp_path / "log")
    hub.trust_file(tmp_path / "trust.toml")
    (tmp_path / "monitor.toml").write_text(
        '[[log]]\nname = "models"\nfolder = "log"\ntrust = "trust.toml"\n'
        '[crosscheck]\nlog = "models"\nlist = "served"\n'
    )
    (tmp_path / "served").write_text("acme/model\tr0\t2026-01-02T03:04:05Z\n")
    config = tmp_path / "monitor.toml"
    assert hubledger("monitor", "init", "--config", config, "--from", "genesis")[0] == 0
    assert hubledger("monitor", "once", "--config", config)[0] == 0
    hub.config = config
    return hub


def compare(hub, hubledger, tmp_path, note, *options):
    (tmp_path / "note").write_bytes(note)
    return hubledger("monitor", "compare", tmp_path / "note", "--config", hub.config, *options)


def test_a_checkpoint_is_compared(hub, hubledger, tmp_path):
    code, out, _ = compare(hub, hubledger, tmp_path, hub.world.checkpoint(2))
    assert (code, out.splitlines()[0]) == (0, "consistent: models at size 2")
    other = hub.fork(1)
    other.record(B, revision="x")
    code, out, _ = compare(hub, hubledger, tmp_path, other.world.checkpoint())
    assert (code, out.splitlines()[0]) == (1, "inconsistent: models at size 2")
    (file,) = (tmp_path / "state/evidence").iterdir()
    assert f"Evidence  {file}" in out
    hub.record(A, revision="new")
    code, out, _ = compare(hub, hubledger, tmp_path, hub.world.checkpoint(), "--json")
    assert (code, json.loads(out)["result"]) == (3, "pending")


def test_status_is_a_check(hub, hubledger, tmp_path):
    assert hubledger("monitor", "status", "--check", "--config", hub.config)[0] == 0
    other = hub.fork(1)
    other.record(B, revision="x")
    compare(hub, hubledger, tmp_path, other.world.checkpoint())
    assert hubledger("monitor", "status", "--check", "--config", hub.config)[0] == 1
    assert hubledger("monitor", "status", "--config", hub.config)[0] == 0


def test_status_says_what_cannot_be_relied_on(hubledger, tmp_path):
    Hub().trust_file(tmp_path / "trust.toml")
    (tmp_path / "hooks").mkdir()
    config = tmp_path / "monitor.toml"
    config.write_text(
        '[[log]]\nname = "models"\nfolder = "none"\ntrust = "trust.toml"\n'
        '[[sink]]\nname = "desk"\nhooks = "hooks"\n[canary]\nsink = "desk"\n'
    )
    assert hubledger("monitor", "init", "--config", config, "--from", "genesis")[0] == 0
    code, out, _ = hubledger("monitor", "status", "--check", "--config", config)
    assert code == 3
    assert "Canary    sent never, arrived never\n" in out
    assert out.endswith("Not ready log models was never checked successfully\n")


def test_the_list_is_held_against_the_log(hub, hubledger, tmp_path):
    code, out, _ = hubledger("monitor", "crosscheck", "--config", hub.config)
    assert (code, out.splitlines()[1:3]) == (0, ["Recorded  1", "Missing   0, 0 new findings"])
    with (tmp_path / "served").open("a") as file:
        file.write("acme/model\tr9\t2026-01-02T03:04:05Z\n")
    code, out, _ = hubledger("monitor", "crosscheck", "--config", hub.config, "--json")
    assert (code, json.loads(out)["missing"]) == (1, 1)
    (tmp_path / "served").unlink()
    code, out, _ = hubledger("monitor", "crosscheck", "--config", hub.config)
    assert code == 3
    assert "could not be read" in out
