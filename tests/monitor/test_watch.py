"""Who is told what: rules hold for what comes, and once for what was before."""

import json
from dataclasses import dataclass

import pytest

from ledger.encoding import format_canonical_json
from ledger.identity import canonical_identity, identity_digest
from monitor import past_entries
from monitor.config import load_config
from monitor.daemon import init, open_monitor
from monitor.findings import Finding, Kind
from monitor.watch import Routing, WatchConfig, rules_of
from tests.monitor.hub import OBSERVER, Hub
from tests.monitor.test_detect import _announced
from tests.world import NOW, key_signer, signed_by

A, B = signed_by(key_signer("a")), signed_by(key_signer("b"))
ID_A, ID_B = (identity_digest(canonical_identity(key_signer(each))).hex() for each in "ab")
IDENTITY_B = format_canonical_json(canonical_identity(key_signer("b")).as_json()).decode()
HUBS = {"one": "hub.example", "two": "other.example"}


def finding(kind=Kind.SIGNER_CHANGED, *, log="one", model="acme/model", signers=(ID_A,)):
    return Finding(log=log, kind=kind, text="text", leaf_index=1, model=model, signers=signers)


def rule(name="mine", sinks=("pager",), **words):
    return WatchConfig(name=name, sinks=sinks, **words)


class Nobody:
    def sinks(self, finding):
        return ()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({}, True),
        ({"logs": ("one",)}, True),
        ({"logs": ("two",)}, False),
        ({"hubs": ("hub.example",)}, True),
        ({"hubs": ("other.example",)}, False),
        ({"hubs": ("hub.example",), "logs": ("two",)}, False),
        ({"namespaces": ("acme",)}, True),
        ({"namespaces": ("acm",)}, False),
        ({"namespaces": ("acme/model",)}, False),
        ({"models": ("acme/*",)}, True),
        ({"models": ("acme/model",)}, True),
        ({"models": ("model",)}, False),
        ({"models": ("acme/mode",)}, False),
        ({"models": ("ACME/model",)}, False),
        ({"signers": (ID_A,)}, True),
        ({"signers": (ID_B,)}, False),
        ({"signers": (IDENTITY_B, ID_A)}, True),
        ({"kinds": ("signer-changed",)}, True),
        ({"kinds": ("first-signer",)}, False),
        ({"severity": "high"}, True),
        ({"severity": "critical"}, False),
    ],
)
def test_a_rule_tells_what_meets_all_of_it(words, told):
    routing = Routing(rules_of([rule(**words)], hubs=HUBS), Nobody())
    assert routing.sinks(finding()) == (("pager",) if told else ())


@pytest.mark.parametrize("words", [{"models": ("*",)}, {"namespaces": ("acme",)}, {"signers": (ID_A,)}])
def test_what_is_about_no_model_is_not_told_by_a_rule_about_models(words):
    about_the_log = Finding(log="one", kind=Kind.LOG_FORKED, text="text")
    assert Routing(rules_of([rule(**words)], hubs=HUBS), Nobody()).sinks(about_the_log) == ()
    assert Routing(rules_of([rule()], hubs=HUBS), Nobody()).sinks(about_the_log) == ("pager",)


def test_an_identity_as_json_is_the_same_signer_as_its_digest():
    assert rule(signers=(IDENTITY_B,)).watched == {ID_B}
    assert rule(signers=(json.dumps(json.loads(IDENTITY_B), indent=1),)).watched == {ID_B}


def test_a_sink_that_two_rules_name_is_told_once():
    routing = Routing(rules_of([rule("a"), rule("b", sinks=("pager", "chat"))], hubs=HUBS), Nobody())
    assert routing.sinks(finding()) == ("pager", "chat")


# A whole monitor


LOG = '[[log]]\nname = "models"\nfolder = "log"\ntrust = "trust.toml"\n'
SINKS = "".join(f'[[sink]]\nname = "{name}"\nhooks = "hooks.d"\n' for name in ("desk", "mine"))


@dataclass
class Scene:
    folder: object
    hub: Hub

    def configured(self, *rules):
        (self.folder / "monitor.toml").write_text("\n".join((LOG + SINKS, *rules)))
        return load_config(self.folder / "monitor.toml")

    def look(self, *rules, **words):
        """Look once, and return the kinds of new findings and what the sinks are owed in all."""
        self.hub.publish(self.folder / "log")
        with open_monitor(self.configured(*rules), clock=lambda: NOW, **words) as monitor:
            (look,) = monitor.look()
            stored = monitor.state.record.findings()
            owed = {
                name: [each.finding.facts for each in monitor.state.outbox.due(name, now=NOW)]
                for name in ("desk", "mine")
            }
        return look, stored, owed


def watch(name="mine", **words):
    lines = [f"{key} = {json.dumps(value)}" for key, value in words.items()]
    return "\n".join(["[[watch]]", f'name = "{name}"', 'sinks = ["mine"]', *lines])


@pytest.fixture
def scene(tmp_path):
    made = Scene(tmp_path, Hub())
    for at in range(4):
        made.hub.record(A, name=f"acme/model-{at}", revision=str(at))
    made.hub.record(B, name="other/model")
    made.hub.publish(tmp_path / "log")
    made.hub.trust_file(tmp_path / "trust.toml")
    init(made.configured(), pinned={"models": None}, now=NOW)
    return made


def kinds(facts):
    return [each["kind"] for each in facts]


def test_anybody_who_signs_as_me_is_told_whatever_model_it_is(scene):
    scene.look(watch(signers=[ID_B]))
    scene.hub.record(B, name="acme/model-0", revision="9", ref="refs/pull/1/head")
    scene.hub.hub_key(*_announced("watcher"), role="observer")
    scene.hub.record(B, name="third/model", recorded_by=OBSERVER, key="watcher")
    scene.hub.record(signed_by(key_signer("b"), outcome="INVALID_SIGNATURE"), name="acme/no")
    _, stored, owed = scene.look(watch(signers=[ID_B]))
    told = [each.facts["leafIndex"] for each in stored if each.facts["kind"] == "signed-by-watched"]
    assert told == [7, 5, 4]
    assert {each["kind"] for each in owed["mine"]} == {"first-signer", "signed-by-watched"}


def test_a_new_rule_about_a_signer_reads_the_past_and_tells_it_once_to_its_own_sinks(scene):
    scene.look()
    _, stored, owed = scene.look(watch(signers=[ID_A]))
    past_ones = [each for each in stored if each.facts["kind"] == "signed-by-watched"]
    assert sorted(each.facts["leafIndex"] for each in past_ones) == [0, 1, 2, 3]
    assert all(each.facts["facts"]["past"] for each in past_ones)
    (told,) = owed["mine"]
    assert told["kind"] == "watch-replayed"
    assert told["facts"]["count"] == 8, "four first signers, and four signatures"
    assert "watch-replayed" not in kinds(owed["desk"])
    look, again, owed = scene.look(watch(signers=[ID_A]))
    assert (look.new_findings, len(again), len(owed["mine"])) == (0, len(stored), 1)


def test_a_new_rule_about_kinds_is_held_against_what_was_found(scene):
    scene.look()
    _, stored, owed = scene.look(watch(kinds=["first-signer"], namespaces=["other"]))
    (told,) = owed["mine"]
    (number,) = told["facts"]["findings"]
    assert [each.facts["model"] for each in stored if each.number == number] == ["other/model"]


def test_a_rule_that_nothing_of_the_past_meets_tells_nothing(scene):
    scene.look()
    look, _, owed = scene.look(watch(kinds=["log-forked"]))
    assert (look.new_findings, owed["mine"]) == (0, [])


def test_a_rule_that_changed_is_new_and_one_that_comes_again_too(scene):
    scene.look(watch(signers=[ID_B]))
    _, _, owed = scene.look(watch(signers=[ID_A]))
    assert kinds(owed["mine"]).count("watch-replayed") == 1
    scene.look()
    _, stored, _ = scene.look(watch(signers=[ID_A], models=["acme/*"]))
    assert [each.facts["kind"] for each in stored].count("watch-replayed") == 2


def test_entries_other_than_were_replayed_are_not_believed(scene):
    scene.look()
    honest = list(scene.hub.world.entries)
    checkpoint = scene.hub.world.checkpoint(None)
    forged = scene.hub.fork(0)
    for at in range(5):
        forged.record(B, name=f"acme/model-{at}", revision=str(at))
    with open_monitor(scene.configured(watch(signers=[ID_B])), clock=lambda: NOW) as monitor:
        forged.publish(scene.folder / "log", note=checkpoint)
        (look,) = monitor.look()
        assert "others" in look.problem
        assert "signed-by-watched" not in {each.facts["kind"] for each in monitor.state.record.findings()}
    scene.hub.world.entries[:] = honest
    look, stored, _ = scene.look(watch(signers=[ID_B]))
    assert look.problem == ""
    assert [each.facts["leafIndex"] for each in stored if each.facts["kind"] == "signed-by-watched"] == [4]


def test_an_entry_by_a_key_that_may_not_sign_there_is_not_by_a_watched_signer(scene):
    heads = dict(scene.hub.heads)
    scene.hub.record(B, name="acme/model-0", revision="9", key="thief")
    scene.hub.heads = heads
    scene.look()
    _, stored, _ = scene.look(watch(signers=[ID_B]))
    assert [each.facts["leafIndex"] for each in stored if each.facts["kind"] == "signed-by-watched"] == [4]


def test_a_replay_of_the_past_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(past_entries, "RUN_ENTRIES", 256)
    made = Scene(tmp_path, Hub())
    for at in range(600):
        made.hub.record(A if at % 100 else B, name=f"acme/model-{at % 7}", revision=str(at))
    made.hub.publish(tmp_path / "log")
    made.hub.trust_file(tmp_path / "trust.toml")
    init(made.configured(), pinned={"models": None}, now=NOW)
    made.look()
    stop, reads = [], []
    real = past_entries.read_entry

    def counted(entry, at):
        reads.append(at)
        if at == 300:
            stop.append(1)
        return real(entry, at)

    monkeypatch.setattr(past_entries, "read_entry", counted)
    _, _, owed = made.look(watch(signers=[ID_B]), stopping=lambda: bool(stop))
    assert "watch-replayed" not in kinds(owed["mine"])
    assert len(reads) == 512
    stop.append(1)
    _, stored, owed = made.look(watch(signers=[ID_B]))
    assert reads == list(range(600)), "each entry once"
    past_ones = [each for each in stored if each.facts["kind"] == "signed-by-watched"]
    assert sorted(each.facts["leafIndex"] for each in past_ones) == list(range(0, 600, 100))
    assert kinds(owed["mine"]).count("watch-replayed") == 1


def test_what_follows_a_pinned_checkpoint_is_all_the_past_there_is(tmp_path):
    made = Scene(tmp_path, Hub())
    for at in range(5):
        made.hub.record(A, name="acme/model", revision=str(at))
    made.hub.publish(tmp_path / "log", 3)
    made.hub.trust_file(tmp_path / "trust.toml")
    init(made.configured(), pinned={"models": made.hub.world.checkpoint(3)}, now=NOW)
    made.look()
    _, stored, _ = made.look(watch(signers=[ID_A]))
    past_ones = [each for each in stored if each.facts["kind"] == "signed-by-watched"]
    assert sorted(each.facts["leafIndex"] for each in past_ones) == [3, 4]
