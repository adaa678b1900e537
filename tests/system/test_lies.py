"""Each lie of docs/threat-model.md, acted out against server processes, and who catches it.

The hub's own ledger is served by `hubledger serve`; copies, forks and garbage by a file server over a copied folder, as a mirror
or a restored bucket would. The monitor is a process too.
"""

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace

import httpx
import pytest

from ledger.embedded.opening import open_for_recording
from tests.events import NOW, digest, key
from tests.ledger.test_recorder import facts
from tests.monitor.hub import Hub
from tests.system import peers
from tests.system.service import serving
from tests.system.test_monitor import end, finish, start
from tests.world import key_signer, signed_by

A, B = signed_by(key_signer("a")), signed_by(key_signer("b"))


@contextmanager
def files(folder):
    """Serve a folder by a process of its own; yields its address. What is in the folder may be exchanged meanwhile."""
    port = peers.free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        peers.wait_until(lambda: peers.get(f"{url}/checkpoint") is not None, running=process)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


@dataclass
class Monitor:
    """The settings of one monitor in a folder of its own, and its commands as processes."""

    folder: object

    def write(self, url, trust, *, log="", more=""):
        self.folder.mkdir(exist_ok=True)
        shutil.copy(trust, self.folder / "trust.toml")
        (self.folder / "monitor.toml").write_text(
            f'{more}[[log]]\nname = "models"\nurl = "{url}"\ntrust = "trust.toml"\n{log}'
            '[[sink]]\nname = "pager"\nhooks = "hooks.d"\nseverity = "medium"\n'
        )
        hook = self.folder / "hooks.d/a"
        if not hook.exists():
            hook.parent.mkdir()
            hook.write_text('#!/bin/sh\necho "$HUBLEDGER_KIND" >> ../told\n')
            hook.chmod(0o755)
        return self

    def begin(self):
        code, out = finish(start(self.folder, "init", "--from", "genesis"))
        assert code == 0, out
        return self

    def once(self):
        """Return the exit code and the kinds of the new findings that the pager is told, oldest first.

        The real ledger's uploads are dated long before they are recorded here, which is a finding of its own (`low`).
        """
        code, out = finish(start(self.folder, "once", "--json"))
        found = json.loads(out)["findings"]
        return code, [each["kind"] for each in found if each["severity"] not in ("info", "low")]

    def told(self):
        return (self.folder / "told").read_text().split() if (self.folder / "told").exists() else []

    def evidence(self, hubledger):
        """The evidence convinces a third person, offline, with the trust file alone."""
        files = list((self.folder / "state/evidence").iterdir())
        assert files
        for each in files:
            code, out, err = hubledger("verify", "--evidence", each, "--trust", self.folder / "trust.toml")
            assert code == 0, out + err
            assert "contradict" in out.lower() or "two histories" in out.lower(), out


class Ledger:
    """A real ledger of a hub; it records as a hub does."""

    def __init__(self, hubledger, folder):
        self.folder, self.count = folder, 0
        assert hubledger("init", folder, "--origin", "log.example", "--hub", "hub.example")[0] == 0

    def record(self, *events):
        with open_for_recording(self.folder, now=lambda: NOW) as ledger:
            for each in events:
                ledger.recorder.record(each)
            ledger.recorder.publish()
        return self

    @property
    def trust(self):
        return self.folder / "trust.toml"


@pytest.fixture
def ledger(hubledger, tmp_path):
    return Ledger(hubledger, tmp_path / "ledger").record(facts("e0", key("a"), revision="r0"))


@pytest.fixture
def monitor(tmp_path):
    return Monitor(tmp_path / "monitor")


def test_the_hub_omits_an_upload(ledger, monitor):
    """Caught by whoever has a list of what the hub serves, after the time of grace; over by itself once it is recorded."""
    with serving(ledger.folder) as (url, _):
        more = '[crosscheck]\nlog = "models"\nlist = "served.tsv"\ngrace = 1\n'
        monitor.write(url, ledger.trust).begin()
        text = (monitor.folder / "monitor.toml").read_text()
        (monitor.folder / "monitor.toml").write_text(text + more)
        lines = "".join(f"acme/tiny\t{each}\t2026-01-02T03:04:05Z\n" for each in ("r0", "r1"))
        (monitor.folder / "served.tsv").write_text(lines)
        assert monitor.once() == (1, ["not-recorded"])
        assert monitor.told() == ["not-recorded"]
    ledger.record(facts("e1", key("a"), revision="r1"))
    with serving(ledger.folder) as (url, _):
        text = (monitor.folder / "monitor.toml").read_text()
        (monitor.folder / "monitor.toml").write_text(
            "\n".join(f'url = "{url}"' if line.startswith("url") else line for line in text.splitlines())
        )
        assert monitor.once()[1] == []
    _, out = finish(start(monitor.folder, "findings", "--all", "--json"))
    (omitted,) = [each for each in json.loads(out)["findings"] if each["kind"] == "not-recorded"]
    assert (omitted["state"], omitted["note"]) == ("resolved", "passed")


def test_the_hub_rewrites_a_revision(ledger, monitor):
    """The same revision with other files: two signed events, of which one must be false."""
    other = facts("e1", key("a"), revision="r0")
    other = replace(other, manifest=replace(other.manifest, sha256=digest("other files")))
    with serving(ledger.folder) as (url, _):
        monitor.write(url, ledger.trust).begin()
        assert monitor.once() == (0, [])
    ledger.record(other)
    with serving(ledger.folder) as (url, _):
        monitor.write(url, ledger.trust)
        assert monitor.once() == (1, ["revision-changed"])


def test_a_name_is_registered_again_by_somebody_else(hubledger, tmp_path, monitor):
    ledger = Ledger(hubledger, tmp_path / "ledger").record(
        facts("e0", key("a"), revision="r0", repo_id="1"), facts("e1", key("b"), revision="r0", repo_id="2")
    )
    with serving(ledger.folder) as (url, _):
        monitor.write(url, ledger.trust).begin()
        code, found = monitor.once()
    assert code == 1
    assert "repository-changed" in found


def test_the_log_forks(ledger, monitor, hubledger, tmp_path):
    """The copy goes on by itself with the same keys. To the monitor one history was shown, then the other, which is longer."""
    copy = Ledger.__new__(Ledger)
    copy.folder = shutil.copytree(ledger.folder, tmp_path / "copy")
    ledger.record(facts("e1", key("a"), revision="r1"))
    copy.record(facts("x1", key("b"), revision="x1"), facts("x2", key("b"), revision="x2"))
    with serving(ledger.folder) as (url, _):
        monitor.write(url, ledger.trust).begin()
        assert monitor.once() == (0, [])
    with files(copy.folder / "log") as url:
        monitor.write(url, ledger.trust)
        assert monitor.once() == (1, ["log-forked"])
    assert monitor.told() == ["log-forked"]
    monitor.evidence(hubledger)


def test_a_split_view_is_caught_by_whoever_hands_in_what_they_were_shown(
    ledger, monitor, hubledger, tmp_path
):
    """The monitor is always shown one history, a user another: neither alone can know. The user asks the monitor."""
    copy = Ledger.__new__(Ledger)
    copy.folder = shutil.copytree(ledger.folder, tmp_path / "copy")
    ledger.record(facts("e1", key("a"), revision="r1"), facts("e2", key("a"), revision="r2"))
    copy.record(facts("x1", key("b"), revision="x1"))
    port = peers.free_port()
    with serving(ledger.folder) as (url, _):
        monitor.write(url, ledger.trust, more=f'interval = 0.2\nlisten = "127.0.0.1:{port}"\n').begin()
        process = start(monitor.folder, "run", "--json")
        try:
            assert json.loads(process.stdout.readline())["verifiedSize"] == 4
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                ours = client.post("/v1/checkpoint", content=(ledger.folder / "log/checkpoint").read_bytes())
                theirs = client.post("/v1/checkpoint", content=(copy.folder / "log/checkpoint").read_bytes())
        finally:
            end(process)
    assert (ours.status_code, ours.json()["result"]) == (200, "consistent")
    assert (theirs.status_code, theirs.json()["result"]) == (409, "inconsistent")
    monitor.evidence(hubledger)


def test_the_log_is_restored_from_a_backup_and_goes_on(ledger, monitor, hubledger, tmp_path):
    """As it was yesterday: stale, and nobody is accused. Signing on from there is a fork, at whatever size."""
    backup = Ledger.__new__(Ledger)
    backup.folder = shutil.copytree(ledger.folder, tmp_path / "backup")
    ledger.record(facts("e1", key("a"), revision="r1"), facts("e2", key("a"), revision="r2"))
    with serving(ledger.folder) as (url, _):
        monitor.write(url, ledger.trust).begin()
        assert monitor.once() == (0, [])
    with files(backup.folder / "log") as url:
        monitor.write(url, ledger.trust)
        assert monitor.once() == (3, ["log-stale"])
        backup.record(facts("x1", key("a"), revision="x1"))  # still smaller than what was shown
        assert monitor.once() == (1, ["log-forked"])
    monitor.evidence(hubledger)


def test_a_signer_is_stolen(ledger, monitor):
    """Until its owner says so, its signatures are like any other; from then on each is a finding."""
    with serving(ledger.folder) as (url, _):
        monitor.write(url, ledger.trust).begin()
        assert monitor.once() == (0, [])
    code, out = finish(start(monitor.folder, "findings", "--json"))
    (first,) = json.loads(out)["findings"]
    (stolen,) = first["signers"]
    ledger.record(facts("e1", key("a"), revision="r1"))
    with serving(ledger.folder) as (url, _):
        monitor.write(url, ledger.trust, log=f'revoked_signers = ["{stolen}"]\n')
        code, found = monitor.once()
    assert code == 1
    assert "revoked-signer" in found


def hub_log(tmp_path, count):
    hub = Hub()
    for at in range(count):
        hub.record(A, revision=str(at))
    hub.publish(tmp_path / "log")
    return hub, hub.trust_file(tmp_path / "trust.toml")


def test_the_hubs_key_is_stolen_and_revoked(tmp_path, monitor):
    hub, trust = hub_log(tmp_path, 1)
    hub.record(B, revision="x", key="stranger")
    hub.publish(tmp_path / "log")
    with files(tmp_path / "log") as url:
        monitor.write(url, trust).begin()
        code, found = monitor.once()
    assert code == 1
    assert "hub-key-refused" in found


def test_a_policy_is_quietly_relaxed(tmp_path, monitor):
    """The hub's own event says that the rule of a model became weaker; nobody was challenged before."""
    hub, trust = hub_log(tmp_path, 1)
    hub.policy("relax")
    hub.publish(tmp_path / "log")
    with files(tmp_path / "log") as url:
        monitor.write(url, trust).begin()
        code, found = monitor.once()
    assert code == 1
    assert "policy-relaxed" in found


def test_a_mirror_serves_garbage(tmp_path, monitor):
    """Nothing of it is believed, the log is not accused, and a sound mirror makes good for it."""
    _, trust = hub_log(tmp_path, 300)
    shutil.copytree(tmp_path / "log", tmp_path / "sound")
    bundle = tmp_path / "log/tile/entries/000"
    bundle.write_bytes(bundle.read_bytes().replace(b"a", b"b"))
    with files(tmp_path / "log") as url, files(tmp_path / "sound") as mirror:
        monitor.write(url, trust).begin()
        assert monitor.once() == (1, ["log-malformed"])
        assert not (monitor.folder / "state/evidence").exists()
        monitor.write(url, trust, log=f'mirrors = ["{mirror}"]\n')
        _, found = monitor.once()
        _, out = finish(start(monitor.folder, "status", "--json"))
    assert found == []
    assert json.loads(out)["logs"][0]["verifiedSize"] == 300


def test_the_monitor_is_restarted_from_an_old_state(tmp_path, monitor, hubledger):
    """It finds again what it had found, under the same ids. What the log forked off since its memory ends, it cannot see by
    itself: another monitor's checkpoint shows it.
    """
    hub, trust = hub_log(tmp_path, 3)
    with files(tmp_path / "log") as url:
        monitor.write(url, trust).begin()
        assert monitor.once() == (0, [])
        shutil.copytree(monitor.folder / "state", tmp_path / "old")
        fork = hub.fork(3)
        hub.record(B, revision="new")
        hub.publish(tmp_path / "log")
        shutil.copytree(tmp_path / "log", tmp_path / "seen")
        assert monitor.once() == (1, ["signer-changed"])
        first = ids(monitor)
        shutil.rmtree(monitor.folder / "state")
        shutil.copytree(tmp_path / "old", monitor.folder / "state")
        assert monitor.once() == (1, ["signer-changed"])
        assert ids(monitor) == first, "whoever is told again can tell that it is the same"
        # And now the log uses the gap.
        shutil.rmtree(monitor.folder / "state")
        shutil.copytree(tmp_path / "old", monitor.folder / "state")
        fork.record(A, revision="another")
        fork.record(A, revision="history")
        fork.publish(tmp_path / "log")
        assert monitor.once() == (0, []), "the old memory agrees with both"
        with files(tmp_path / "seen") as other:
            monitor.write(url, trust, log=f'compare = ["{other}/checkpoint"]\n')
            assert monitor.once() == (1, ["log-forked"])
    monitor.evidence(hubledger)


def ids(monitor):
    _, out = finish(start(monitor.folder, "findings", "--all", "--json"))
    return {each["id"] for each in json.loads(out)["findings"]}


def test_a_state_that_is_missing_or_damaged_is_refused(tmp_path, monitor):
    """A monitor that begins anew would call a forked log sound."""
    _, trust = hub_log(tmp_path, 3)
    with files(tmp_path / "log") as url:
        monitor.write(url, trust).begin()
        assert monitor.once() == (0, [])
        database = monitor.folder / "state/monitor.db"
        data = database.read_bytes()
        database.write_bytes(data[: len(data) // 2])
        code, out = finish(start(monitor.folder, "once"))
        assert (code, "monitor.db" in out) == (3, True), out
        database.unlink()
        code, out = finish(start(monitor.folder, "once"))
        assert (code, "no file" in out) == (3, True), out
        assert not database.exists()


def test_two_monitors_on_one_state_are_refused(tmp_path, monitor):
    _, trust = hub_log(tmp_path, 3)
    with files(tmp_path / "log") as url:
        monitor.write(url, trust).begin()
        process = start(monitor.folder, "run", "--json")
        try:
            assert json.loads(process.stdout.readline())["verifiedSize"] == 3
            code, out = finish(start(monitor.folder, "once"))
            assert code == 3, out
            code, out = finish(start(monitor.folder, "status", "--check"))
            assert code == 0, out
        finally:
            end(process)
