"""`hubledger monitor`: from init to a resolved finding, its exit codes, and what it refuses."""

import hashlib
import json
import re
from unittest.mock import ANY

import pytest

from cli.monitor_follow import _to_its_own_log
from ledger.log.lock import writer_lock
from tests.monitor.hub import Hub
from tests.world import key_signer, signed_by

A, B = signed_by(key_signer("a")), signed_by(key_signer("b"))


class Watched:
    """A hub, its published log, and the settings of a monitor."""

    def __init__(self, folder, hubledger):
        self.folder, self.hub, self.call = folder, Hub(), hubledger
        self.hub.trust_file(folder / "trust.toml")
        self.settings = folder / "monitor.toml"
        self.settings.write_text(
            '[[log]]\nname = "models"\nfolder = "log"\ntrust = "trust.toml"\n'
            '[[sink]]\nname = "pager"\nhooks = "hooks.d"\n'
        )
        (folder / "hooks.d").mkdir()
        self.hook("cat >> ../alerts; echo >> ../alerts")
        self.publish()

    def hook(self, script):
        path = self.folder / "hooks.d/a"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def publish(self, size=None):
        self.hub.publish(self.folder / "log", size)

    def run(self, command, *arguments):
        return self.call("monitor", command, *arguments, "--config", self.settings)

    def json(self, command, *arguments):
        code, out, _ = self.run(command, *arguments, "--json")
        return code, json.loads(out)

    def alerts(self):
        path = self.folder / "alerts"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def watched(tmp_path, hubledger):
    return Watched(tmp_path, hubledger)


@pytest.fixture
def changed(watched):
    """A monitor that was begun, of a log with a change of signer."""
    assert watched.run("init", "--from", "genesis")[0] == 0
    watched.hub.record(A)
    watched.hub.record(B, revision="2")
    watched.publish()
    return watched


def test_a_change_of_signer_is_found_delivered_acknowledged_and_resolved(changed):
    code, facts = changed.json("once")
    assert code == facts["exitCode"] == 1
    assert [each["kind"] for each in facts["findings"]] == ["first-signer", "signer-changed"]
    assert facts["delivered"] == {"pager": 1}
    assert facts["logs"] == [{"log": "models", "verifiedSize": 2, "shownSize": 2, "newFindings": 2}]
    assert [each["kind"] for each in changed.alerts()] == ["signer-changed"]
    # It stays 1 until somebody looks, and nobody is told again.
    assert changed.json("once")[0] == 1
    assert len(changed.alerts()) == 1
    code, facts = changed.json("ack", "2", "--note", "asked them")
    assert (code, facts["findings"][0]["state"], facts["findings"][0]["note"]) == (
        0,
        "acknowledged",
        "asked them",
    )
    assert changed.json("once")[0] == 0
    assert changed.json("resolve", "2")[0] == 0
    assert changed.json("findings")[1]["findings"][0]["kind"] == "first-signer"
    assert len(changed.json("findings", "--all")[1]["findings"]) == 2
    assert len(changed.json("findings", "--state", "resolved")[1]["findings"]) == 1


def test_a_change_does_not_drown_in_what_is_for_the_record(changed):
    """More than a page of first signers came after it."""
    for at in range(1100):
        changed.hub.record(A, name=f"acme/model-{at}")
    changed.publish()
    code, out, _ = changed.run("once")
    assert code == 1
    assert "… and 102 more findings: `hubledger monitor findings`" in out
    code, out, _ = changed.run("once")
    assert (code, "Open findings of before are why this ends with 1" in out) == (1, True)
    changed.run("ack", "2")
    code, out, _ = changed.run("once")
    assert (code, "Open findings" in out) == (0, False)


def test_what_was_expected_alerts_nobody(changed):
    signer = "".join(f"{byte:02x}" for byte in b"\0" * 32)
    assert changed.json("expect", "acme/model", "--log", "models", "--signer", signer)[0] == 0
    code, facts = changed.json("once")
    assert code == 1
    new = facts["findings"][1]["signers"][0]
    (changed.folder / "again").mkdir()
    again = Watched(changed.folder / "again", changed.call)
    again.hub = changed.hub
    again.run("init", "--from", "genesis")
    code, facts = again.json("expect", "acme/model", "--log", "models", "--signer", new, "--note", "ticket 7")
    (one,) = facts["expected"]
    assert re.fullmatch(r"20..-..-..T..:..:..Z", one.pop("since"))
    assert one == {"log": "models", "model": "acme/model", "signer": new, "note": "ticket 7"}
    assert again.json("expected") == (code, facts | {"expected": [{**one, "since": ANY}]})
    again.publish()
    assert again.json("once")[0] == 0
    assert again.alerts() == []
    assert [each["state"] for each in again.json("findings", "--all")[1]["findings"]] == ["expected", "open"]


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ((), ["signer-changed", "first-signer"]),
        (("--kind", "first-signer"), ["first-signer"]),
        (("--kind", "first-signer", "--kind", "signer-changed"), ["signer-changed", "first-signer"]),
        (("--severity", "low"), ["signer-changed"]),
        (("--severity", "critical"), []),
        (("--model", "acme/model", "--log", "models"), ["signer-changed", "first-signer"]),
        (("--model", "acme/other"), []),
        (("--log", "other"), []),
        (("--log", "models", "--limit", "1"), ["signer-changed"]),
    ],
)
def test_findings_are_picked_by_what_they_are_about(changed, options, kinds):
    changed.run("once")
    code, facts = changed.json("findings", *options)
    assert (code, [each["kind"] for each in facts["findings"]]) == (0, kinds)


def test_a_kind_that_there_is_not_is_refused_with_those_that_there_are(changed):
    code, _, error = changed.run("findings", "--kind", "signer-changes")
    assert (code, "Name one of first-signer, signer-changed," in error) == (2, True)


def test_what_is_expected_can_be_taken_back(changed):
    assert "No signer is expected" in changed.run("expected")[1]
    for signer in ("0" * 64, "1" * 64):
        assert changed.run("expect", "acme/tinny", "--log", "models", "--signer", signer)[0] == 0
    withdraw = ("expect", "acme/tinny", "--log", "models", "--signer", "0" * 64, "--withdraw")
    code, facts = changed.json(*withdraw)
    assert (code, [each["signer"] for each in facts["expected"]]) == (0, ["1" * 64])
    assert changed.json("expected")[1] == facts
    assert "1" * 64 in changed.run("expected")[1]
    code, _, error = changed.run(*withdraw)
    assert (code, f"expected signer {'0' * 64} of acme/tinny in models: expected one that" in error) == (
        34,
        True,
    )


def test_a_signer_who_is_expected_no_longer_alerts_again(changed):
    changed.run("once")
    new = changed.json("findings")[1]["findings"][0]["signers"][0]
    for more in ((), ("--withdraw",)):
        changed.run("expect", "acme/other", "--log", "models", "--signer", new, *more)
    changed.hub.record(B, name="acme/other")
    changed.publish()
    changed.run("once")
    states = {each["model"]: each["state"] for each in changed.json("findings", "--all")[1]["findings"]}
    assert states["acme/other"] == "open"


def test_a_signer_who_never_signed_is_expected_by_the_identity_of_its_key(changed):
    """Nobody has a finding of a key that is still to come; its identity is written from the key."""
    identity = '{"type": "key", "spkiSha256": "' + "ab" * 32 + '"}'
    code, facts = changed.json("expect", "acme/model", "--log", "models", "--signer", identity)
    canonical = ('{"spkiSha256":"' + "ab" * 32 + '","type":"key"}').encode()
    assert (code, facts["expected"][0]["signer"]) == (0, hashlib.sha256(canonical).hexdigest())
    for wrong in ("SHA256:abc", '"ab"', "7"):
        code, _, error = changed.run("expect", "acme/model", "--log", "models", "--signer", wrong)
        assert (code, "--signer: expected 64 hexadecimal digits, as" in error) == (33, True)


def test_could_not_check_is_neither_clean_nor_a_finding(watched):
    watched.run("init", "--from", "genesis")
    (watched.folder / "log/checkpoint").unlink()
    code, facts = watched.json("once")
    assert code == 3
    assert [each["class"] for each in facts["findings"]] == ["operational"]
    assert "could not be read" in facts["logs"][0]["problem"]
    assert [each["kind"] for each in watched.alerts()] == ["log-unreachable"]
    watched.publish()
    assert watched.json("once")[0] == 0


def test_missing_state_is_could_not_check_and_nothing_is_made(watched):
    code, _, err = watched.run("once")
    assert code == 3
    assert "run `hubledger monitor init`" in err
    assert not (watched.folder / "state").exists()


def test_two_monitors_on_one_state(changed):
    with writer_lock(changed.folder / "state/lock"):
        code, _, err = changed.run("once")
        assert code == 3
        assert "another process holds the lock" in err
        assert changed.run("status")[0] == 0
    assert changed.run("once")[0] == 1


@pytest.mark.parametrize(
    "settings",
    [
        "",
        "interval = 0\n",
        "unknown = 1\n",
        '[[log]]\nname = "models"\n',
        '[[log]]\nname = "models"\nfolder = "log"\nurl = "http://x"\ntrust = "trust.toml"\n',
        '[[log]]\nname = "models"\nfolder = "log"\ntrust = "none.toml"\n',
        '[[log]]\nname = "models"\nurl = "ftp://x"\ntrust = "trust.toml"\n',
    ],
)
def test_settings_that_are_wrong_are_usage(watched, settings):
    watched.settings.write_text(settings)
    assert watched.run("once")[0] == 2


def test_one_bracket_too_few_is_said_as_such(watched):
    watched.settings.write_text(watched.settings.read_text().replace("[[log]]", "[log]"))
    code, _, error = watched.run("once")
    assert (code, "setting log of the monitor: expected tables [[log]], got {" in error) == (2, True)


def test_a_broken_hook_is_said_and_told_again_later(changed):
    changed.hook("exit 9")
    code, facts = changed.json("once")
    assert code == 1
    assert "a: ended with 9" in facts["undelivered"]["pager"]
    status = changed.json("status")[1]
    assert (status["sinks"][0]["waiting"], status["sinks"][0]["delivered"]) == (1, 0)
    assert "a: ended with 9" in status["sinks"][0]["problem"]
    assert "a: ended with 9" in changed.run("status")[1]
    assert status["sinks"][0]["askedAgainAt"] is not None


def test_within_the_pause_of_a_sink_it_is_said_what_waits_and_until_when(changed):
    changed.hook("exit 9")
    changed.run("once")
    changed.hook("true")
    code, out, _ = changed.run("once")
    assert code == 1
    assert re.search(
        r"Sink pager is owed 1 finding: asked again after 20\S+Z, because of .*a: ended with 9", out
    )
    waiting = changed.json("once")[1]["waiting"]["pager"]
    assert (waiting["findings"], "a: ended with 9" in waiting["problem"]) == (1, True)
    assert waiting["askedAgainAt"].endswith("Z")


def test_nothing_is_said_to_wait_where_nothing_does(changed):
    assert "is owed" not in changed.run("once")[1]
    assert "waiting" not in changed.json("once")[1]


def test_what_is_for_the_record_is_counted_apart_from_what_somebody_should_look_at(changed):
    changed.run("once")
    (log,) = changed.json("status")[1]["logs"]
    assert (log["open"], log["openBySeverity"]) == (2, {"high": 1, "info": 1})
    assert "  1 high, 1 info  as signed" in changed.run("status")[1]
    numbers = [str(each["number"]) for each in changed.json("findings")[1]["findings"]]
    changed.run("resolve", *numbers)
    assert re.search(r"Z  0 +as signed", changed.run("status")[1])


def test_a_fork_gives_a_file_that_verify_takes(changed):
    changed.run("once")
    changed.hub = changed.hub.fork(1)
    changed.hub.record(A, revision="2")
    changed.hub.record(A, revision="3")
    changed.publish()
    code, facts = changed.json("once")
    assert code == 1
    (fork,) = facts["findings"]
    assert (fork["class"], fork["severity"]) == ("tamper", "critical")
    evidence = fork["facts"]["evidence"]
    assert changed.call("verify", "--evidence", evidence, "--trust", changed.folder / "trust.toml")[0] == 0


def test_text_says_the_same(changed):
    code, out, _ = changed.run("init", "--from", "genesis")
    assert (code, "Nothing new to begin" in out) == (0, True)
    code, out, _ = changed.run("once")
    assert "models  2         as signed" in out
    assert "2  high signer-changed, models\n    acme/model at 2: Signer changed: " in out
    listed = changed.run("findings")[1]
    assert re.search(r"models\n    found 20..-..-..T..:..:..Z\n    acme/model at 2: Signer changed: ", listed)
    assert "models  2     2         0" in changed.run("status")[1]
    assert "2  high signer-changed, models, resolved: ok" in changed.run("resolve", "2", "--note", "ok")[1]
    assert (
        "ticket"
        in changed.run("expect", "a/b", "--log", "models", "--signer", "0" * 64, "--note", "ticket")[1]
    )
    changed.run("resolve", "1")
    assert changed.run("findings")[1] == "No findings\n"
    changed.hook("exit 9")
    changed.hub.record(A, revision="3")
    changed.publish()
    assert "Sink pager did not take a finding" in changed.run("once")[1]


def test_from_a_pinned_checkpoint(changed):
    pin = changed.folder / "pin"
    pin.write_bytes(changed.hub.world.checkpoint())
    changed.settings.write_text(
        changed.settings.read_text() + '[[log]]\nname = "again"\nfolder = "log"\ntrust = "trust.toml"\n'
    )
    assert changed.run("init", "--from", pin)[0] == 2
    code, facts = changed.json("init", "--from", pin, "--log", "again")
    assert (code, facts["begun"]) == (0, [{"log": "again", "size": 2}])
    assert "from size 2, which you pinned" not in changed.run("init", "--from", pin, "--log", "again")[1]


def test_a_hook_that_is_not_executable_beside_one_that_is_does_not_vanish(changed):
    assert "Left out" not in changed.run("status")[1]
    (changed.folder / "hooks.d/page").write_text("#!/bin/sh\n")
    (changed.folder / "hooks.d/page").chmod(0o644)
    text = "Left out  pager: page is not executable, and is not run\n"
    assert text in changed.run("once")[1]
    assert text in changed.run("status")[1]
    assert changed.json("once")[1]["notExecutable"] == {"pager": ["page"]}
    assert changed.json("status")[1]["sinks"][0]["notExecutable"] == ["page"]


def test_what_a_hook_said_cannot_paint_over_the_monitors_own_log(capsys):
    _to_its_own_log("a said: \x1b[2J")
    assert capsys.readouterr() == ("", "a said: \\x1b[2J\n")


@pytest.mark.parametrize("number", ["abc", "0", "-1", "1.5", "+1", "9" * 30])
@pytest.mark.parametrize("command", ["ack", "resolve"])
def test_what_is_no_number_of_a_finding_is_said_to_be_none(changed, command, number):
    code, _, error = changed.run(command, "--", number)
    assert code == 2
    assert f"{number!r} is not the number of a finding: `hubledger monitor findings`" in error
