"""Alerts still arrive: a canary goes the way of all findings, and its silence is told to everybody else."""

import pytest

from ledger.errors import ConfigError
from ledger.tlog.merkle import Frontier
from monitor.canary import Canary
from monitor.checks import CanaryConfig
from monitor.config import load_config
from monitor.daemon import exit_code, init, open_monitor
from monitor.deliver import deliver
from monitor.findings import SELF, Kind
from monitor.health import assess
from monitor.state import Position, State
from tests.monitor.hub import Hub
from tests.monitor.test_deliver import Bad, Good

NOW = 100_000
DAY, HOUR = 86_400, 3600


class Scene:
    def __init__(self, folder, ping=None, **more):
        Hub().trust_file(folder / "trust.toml")
        text = '[[log]]\nname = "models"\nfolder = "log"\ntrust = "trust.toml"\n'
        text += "".join(f'[[sink]]\nname = "{name}"\nhooks = "{name}"\n' for name in ("desk", "other"))
        heartbeat = f'heartbeat = "{more["heartbeat"]}"\n' if "heartbeat" in more else ""
        (folder / "monitor.toml").write_text(text + f'[canary]\nsink = "desk"\n{heartbeat}')
        self.config = load_config(folder / "monitor.toml")
        State.create(self.config.folder, now=NOW)
        self.state = State(self.config.folder)
        self.state.add_log(
            Position(name="models", origin="log", first=0, frontier=Frontier()), leaves={}, nodes={}
        )
        self.time, self.sinks = NOW, {"desk": Good(), "other": Good()}
        self.canary = Canary(
            CanaryConfig(sink="desk", **more),
            self.state,
            others=("other",),
            base=folder,
            ping=ping,
            clock=lambda: self.time,
        )

    def round(self, seconds=0):
        self.time += seconds
        self.canary.look()
        deliver(self.state, self.sinks, clock=lambda: self.time)
        self.canary.look()

    def kinds(self, *states):
        return [each.facts["kind"] for each in reversed(self.state.record.findings(states=states))]

    @property
    def health(self):
        self.state.checked("models", now=self.time, problem="")
        return assess(self.config, self.state, now=self.time)


def test_one_a_day_to_one_sink_and_settled_when_it_arrived(tmp_path):
    scene = Scene(tmp_path)
    for _ in range(3):
        scene.round()
        scene.round(HOUR)
        scene.round(DAY - HOUR)
    assert len(scene.sinks["desk"].got) == 4
    assert scene.sinks["other"].got == []
    assert scene.kinds("open") == []
    health = scene.health
    assert (health.canary_sent_at, health.canary_arrived_at) == (scene.time, scene.time)
    assert health.problems == ()


def test_silence_is_told_to_the_others_once_and_ends_when_one_arrives(tmp_path):
    scene = Scene(tmp_path)
    scene.sinks["desk"] = Bad()
    scene.round()
    scene.round(HOUR - 1)
    assert scene.sinks["other"].got == []
    assert scene.health.problems == ()
    scene.round(1)
    scene.round(HOUR)
    assert scene.kinds("open") == ["canary", "canary-silent", "sink-silent"]
    assert len(scene.sinks["other"].got) == 2, "that alerts may not arrive, and at once why"
    assert scene.health.problems[-1] == "the canary did not arrive"
    text = scene.state.record.newest(SELF, Kind.CANARY_SILENT).facts["text"]
    assert "its last problem: sink: expected an answer, got none" in text
    scene.round(DAY)
    assert scene.kinds("open") == ["canary-silent", "sink-silent", "canary"], "the old one is not told late"
    assert scene.health.problems[-1] == "the canary did not arrive", "a new one alone repairs nothing"
    scene.sinks["desk"] = Good()
    scene.round(HOUR)
    assert scene.kinds("open") == []
    assert scene.health.problems == ()


def test_a_clock_that_went_back_ends_no_canaries(tmp_path):
    scene = Scene(tmp_path)
    scene.round(365 * DAY)
    scene.round(-365 * DAY)
    assert len(scene.sinks["desk"].got) == 2
    scene.round(30)
    assert len(scene.sinks["desk"].got) == 2, "and not one with each look"


def test_where_a_heartbeat_is_wanted_the_far_end_must_write_it(tmp_path):
    scene = Scene(tmp_path, heartbeat="beat")
    scene.round()
    assert scene.sinks["desk"].got, "the sink took it"
    scene.round(HOUR)
    assert "canary-silent" in scene.kinds("open")
    (tmp_path / "beat").write_text("of another canary\n")
    scene.round(1)
    assert "canary-silent" in scene.kinds("open")
    canary = scene.state.record.newest(SELF, Kind.CANARY)
    (tmp_path / "beat").write_text(f"{canary.id}\n")
    scene.round(1)
    assert scene.kinds("open") == []


@pytest.mark.parametrize("ping", [Good(), Bad()])
def test_an_outside_switch_is_told_of_each_that_arrived(tmp_path, ping):
    scene = Scene(tmp_path, ping=ping)
    scene.round()
    arrived = isinstance(ping, Good)
    assert (scene.kinds("open") == []) is arrived
    scene.round(HOUR)
    assert ("canary-silent" in scene.kinds("open")) is not arrived


def test_a_canary_is_not_held_back_by_a_flood(tmp_path):
    from monitor.digest import Limit
    from monitor.findings import Finding

    scene = Scene(tmp_path)
    for at in range(30):
        found = Finding(log="models", kind=Kind.SIGNER_CHANGED, text="x", leaf_index=at)
        scene.state.report(found, routes=scene.config.routing(), now=NOW)
    limits = {"desk": Limit(messages=5)}
    deliver(scene.state, scene.sinks, clock=lambda: NOW, limits=limits)
    scene.canary.look()
    deliver(scene.state, scene.sinks, clock=lambda: NOW, limits=limits)
    scene.canary.look()
    assert scene.state.record.newest(SELF, Kind.CANARY).state == "resolved"


# The hub's canary


class Hubs:
    """A hub that records a model for this, its log on a disk, and a monitor with a real hook."""

    def __init__(self, folder):
        self.folder, self.hub, self.time, self.count = folder, Hub(), NOW, 0
        self.hub.trust_file(folder / "trust.toml")
        (folder / "desk").mkdir()
        (folder / "desk/a").write_text('#!/bin/sh\necho "$HUBLEDGER_KIND" >> ../told\n')
        (folder / "desk/a").chmod(0o755)
        sinks = "".join(f'[[sink]]\nname = "{name}"\nhooks = "desk"\n' for name in ("desk", "other"))
        (folder / "monitor.toml").write_text(
            f'[[log]]\nname = "models"\nfolder = "log"\ntrust = "trust.toml"\n{sinks}'
            '[canary]\nsink = "desk"\nmodel = "hub/canary"\nlog = "models"\n'
        )
        self.hub.record(name="acme/other", revision="0")
        self.publish()
        init(load_config(folder / "monitor.toml"), pinned={"models": None}, now=NOW)

    def publish(self):
        self.hub.publish(self.folder / "log")

    def sing(self, name="hub/canary"):
        self.count += 1
        self.hub.record(name=name, revision=str(self.count))
        self.publish()

    def once(self, seconds=0):
        """Look once, as the command does; returns the exit code, and which kinds were told since."""
        self.time += seconds
        told = self.folder / "told"
        told.write_text("")
        with open_monitor(load_config(self.folder / "monitor.toml"), clock=lambda: self.time) as monitor:
            looks = monitor.look()
            monitor.check_beside()
            monitor.deliver()
            monitor.check_canary()
            return exit_code(monitor.state, looks), told.read_text().split()


@pytest.fixture
def hubs(tmp_path):
    return Hubs(tmp_path)


def test_each_version_of_the_hubs_model_is_a_canary(hubs):
    assert hubs.once() == (0, []), "none was recorded yet"
    for _ in range(3):
        hubs.sing()
        assert hubs.once(DAY) == (0, ["canary"])
        assert hubs.once(HOUR) == (0, []), "each once"


@pytest.mark.parametrize("sung", [0, 2])
def test_a_hub_that_records_none_any_more_is_told_to_the_others_once_and_over_when_it_does(hubs, sung):
    assert hubs.once() == (0, [])
    for _ in range(sung):
        hubs.sing()
        assert hubs.once(DAY) == (0, ["canary"])
    hubs.sing("acme/other")
    assert hubs.once(DAY + HOUR - 1) == (0, []), "other models are no canary"
    assert hubs.once(1) == (3, ["canary-silent"])
    assert hubs.once(DAY) == (3, [])
    hubs.sing()
    assert hubs.once() == (0, ["canary"])


def test_a_log_that_is_kept_from_us_is_silence_too(hubs):
    """An old copy answers, with everything in order: after a day somebody is told, whatever the log says."""
    hubs.sing()
    assert hubs.once() == (0, ["canary"])
    assert hubs.once(DAY + HOUR) == (3, ["canary-silent"])


def test_a_hub_cannot_flood_the_sink(hubs):
    told = []
    for _ in range(48):
        hubs.sing()
        told += hubs.once(HOUR)[1]
    assert 3 <= len(told) <= 4


def test_the_log_of_a_canary_is_one_of_the_settings(hubs):
    settings = hubs.folder / "monitor.toml"
    settings.write_text(settings.read_text().replace('log = "models"', 'log = "x"'))
    with pytest.raises(ConfigError, match=r"canary\.log: expected the name of a log of this file, got x"):
        load_config(settings)
