"""Entries that processes of their own have checked: the same is read of them, and the same found, as without."""

import contextlib
import json
import random
from dataclasses import replace

import pytest

from ledger.entry import Entry, MapCommit, format_map_commit, parse_entry, verify_entry
from ledger.errors import LedgerError
from monitor import follow, runs
from monitor.checkers import Checkers
from monitor.reads import load_key, read_entry
from tests.fuzz import bend_bytes
from tests.monitor.hub import Hub
from tests.monitor.test_follow import A, B, Scene
from tests.world import digest


@contextlib.contextmanager
def checkers(trust):
    found = Checkers(trust)
    try:
        yield found
    finally:
        found.close()


def hostile(count=300):
    """Entries of a hub, most of them bent: in bytes, in the signature, by another key, or something else altogether."""
    hub, rng = Hub(), random.Random(7)
    for at in range(count):
        hub.record((A, B)[at % 2], name=f"acme/model-{at % 7}", revision=str(at))
    entries = list(hub.world.entries)
    for at in range(0, count, 3):
        entries[at] = bend_bytes(rng, entries[at])
    for at in range(1, count, 9):  # the signature of another entry
        value = json.loads(entries[at])
        value["signatures"] = json.loads(hub.world.entries[at - 1])["signatures"]
        entries[at] = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
    entries[5] = format_map_commit(MapCommit(covers=5, root=digest("root")))
    entries[8], entries[11], entries[14] = b"", b"\xff" * 65_535, b"[" * 60_000
    return hub, entries


def is_good(entry, trust):
    """Whether a key of the trust file signed an entry, by the slow way."""
    try:
        parsed = parse_entry(entry)
        assert isinstance(parsed, Entry)
        verify_entry(parsed, {key.keyid: load_key(key.spki) for key in trust.hub_keys})
        read = read_entry(entry, 0)
    except (LedgerError, AssertionError):
        return False
    return read.statement is not None


def test_the_same_is_read_as_without():
    hub, entries = hostile()
    trust = hub.world.trust()
    with checkers(trust) as some:
        some.begin(entries)
        reads = some.read(entries, 1000, some.answer())
    assert [replace(each, verified=None) for each in reads] == [
        read_entry(each, at) for at, each in enumerate(entries, 1000)
    ]
    good = [is_good(each, trust) for each in entries]
    assert [each.verified is not None for each in reads] == good
    assert 50 < sum(good) < 250


def test_a_key_that_the_trust_file_does_not_have_verifies_nothing():
    hub = Hub()
    for key in ("hub", "a thief"):
        hub.record(A, name="acme/model", revision=key, key=key)
    with checkers(hub.world.trust()) as some:
        some.begin(hub.world.entries)
        assert list(some.answer()) == [1, 0]


@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_processes_that_are_gone_have_found_nothing_good(when):
    hub, entries = hostile()
    with checkers(hub.world.trust()) as some:
        if when != "before":
            some.begin(entries)
        if when == "after":
            some.answer()
        for each in some._processes:
            each._process.kill()
            each._process.wait()
        if when != "between":
            some.begin(entries)
        reads = some.read(entries, 0, some.answer())
    assert reads == [read_entry(each, at) for at, each in enumerate(entries)]


def test_a_monitor_in_the_folder_that_we_are_in_is_not_run(tmp_path, monkeypatch):
    (tmp_path / "monitor").mkdir()
    for name in ("__init__.py", "checkers.py"):
        (tmp_path / "monitor" / name).write_text(f"open({str(tmp_path / 'was run')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    hub = Hub()
    hub.record(A, name="acme/model", revision="1")
    with checkers(hub.world.trust()) as some:
        some.begin(hub.world.entries)
        assert list(some.answer()) == [1]
    assert not (tmp_path / "was run").exists()


def test_what_was_begun_and_never_asked_for_is_forgotten():
    hub, entries = hostile(60)
    with checkers(hub.world.trust()) as some:
        some.begin(entries)
        some.begin(entries[::-1][:7])
        good = some.answer()
    assert list(good) == [is_good(each, hub.world.trust()) for each in entries[::-1][:7]]


def test_the_same_is_found(tmp_path, monkeypatch):
    """In a log of what is hostile, in several runs, one of them ahead; and without."""
    monkeypatch.setattr(follow, "RUN_ENTRIES", 256)
    here, apart = (
        found(tmp_path / name, monkeypatch, least) for name, least in (("here", 1 << 30), ("apart", 1))
    )
    assert len(here) > 200
    assert apart == here


def found(folder, monkeypatch, least):
    """What a monitor finds that has runs of at least so many entries checked apart."""
    monkeypatch.setattr(runs, "FROM", least)
    folder.mkdir()
    scene = Scene(folder)
    scene.hub.world.entries += hostile(700)[1]
    scene.publish().begin()
    try:
        assert (scene.look().problem, scene.size) == ("", 700)
        return [each.facts for each in scene.state.record.findings(limit=1000)]
    finally:
        scene.state.close()
