"""Alerts still arrive: a canary goes the way of all findings, and its silence is told to everybody else."""

import pytest

from ledger.tlog.merkle import Frontier
from monitor.canary import Canary
from monitor.checks import CanaryConfig
from monitor.config import load_config
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
