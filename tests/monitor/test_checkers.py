"""Entries that processes of their own have checked: the same is read of them, and the same found, as without."""

import contextlib
import json
import pathlib
import random
import signal
import subprocess

import pytest

from ledger import __version__
from ledger.entry import Entry, MapCommit, format_map_commit, parse_entry, verify_entry
from ledger.errors import LedgerError
from ledger.tlog.checkpoint import parse_checkpoint
from ledger.tlog.signed_note import parse_note
from monitor import checkers as module
from monitor import follow, runs
from monitor.checkers import Checkers
from monitor.compare import Views
from monitor.event_facts import EventFacts
from monitor.reads import load_key, read_entry
from tests.fuzz import bend_bytes
from tests.monitor.hub import Hub
from tests.monitor.test_follow import A, B, Everybody, Scene
from tests.world import digest

WAIT = 30.0
"""Seconds. Nothing is compared with it: it only ends a test that would never end."""


@pytest.fixture(autouse=True, params=[2, 3])
def processors(request, monkeypatch):
    """One process on two processors, two where there are more."""
    monkeypatch.setattr(module, "_processors", lambda: request.param)
    return request.param


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


def told(reads):
    """All that a read says, whether it was parsed here or handed over."""
    return [
        (
            *(each.leaf_index, each.problem, each.keyid, each.sha256, each.facts, each.entry, each.statement),
            *(each.is_statement, each.common, each.links, each.histories, each.revision),
            *(each.policies, each.notes),
        )
        for each in reads
    ]


def test_the_same_is_read_as_without():
    hub, entries = hostile()
    trust = hub.world.trust()
    with checkers(trust) as some:
        some.begin(entries)
        some.answer(wait_seconds=WAIT)
        reads = some.read(entries, 1000)
    assert told(reads) == told(read_entry(each, at) for at, each in enumerate(entries, 1000))
    good = [is_good(each, trust) for each in entries]
    assert [each.key is not None for each in reads] == good
    assert 50 < sum(good) < 250


def test_the_same_is_read_where_we_meet_in_the_middle(monkeypatch):
    """The processes have looked at some from the end when we begin, and at more while we read; then they turn to the next."""
    monkeypatch.setattr(module, "_PIECE", 4)
    hub, entries = hostile()
    trust = hub.world.trust()
    with checkers(trust) as some:
        some.begin(entries)
        for each in some._processes:
            each._listen(WAIT)
        reads = some.read(entries[:290], 1000, then=entries[200:])
        after = some.read(entries[200:], 1200)
    wanted = [read_entry(each, at) for at, each in enumerate(entries, 1000)]
    assert told(reads) == told(wanted[:290])
    assert told(after) == told(wanted[200:])
    good = [is_good(each, trust) for each in entries]
    assert all(fits for each, fits in zip(reads, good, strict=False) if each.key is not None)


def test_what_nobody_has_looked_at_is_told_from_what_is_not_good():
    hub, entries = hostile(40)
    with checkers(hub.world.trust()) as some:
        some.begin(entries)
        assert set(some.answer(wait_seconds=WAIT)) == {1, 2}
        some.begin([])
        assert some.answer() == b""


def test_a_key_that_the_trust_file_does_not_have_verifies_nothing():
    hub = Hub()
    for key in ("hub", "a thief"):
        hub.record(A, name="acme/model", revision=key, key=key)
    with checkers(hub.world.trust()) as some:
        some.begin(hub.world.entries)
        assert list(some.answer(wait_seconds=WAIT)) == [1, 2]


@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_processes_that_are_gone_have_found_nothing_good(when):
    hub, entries = hostile()
    with checkers(hub.world.trust()) as some:
        if when != "before":
            some.begin(entries)
        if when == "after":
            some.answer(wait_seconds=WAIT)
        for each in some._processes:
            each._process.kill()
            each._process.wait()
        if when != "between":
            some.begin(entries)
        reads = some.read(entries, 0)
    assert reads == [read_entry(each, at) for at, each in enumerate(entries)]


@pytest.mark.parametrize("where", ["the folder that we are in", "PYTHONPATH"])
def test_another_monitor_is_not_run(tmp_path, monkeypatch, where):
    (tmp_path / "monitor").mkdir()
    for name in ("__init__.py", "checkers.py"):
        (tmp_path / "monitor" / name).write_text(f"open({str(tmp_path / 'was run')!r}, 'w')")
    if where == "PYTHONPATH":
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    else:
        monkeypatch.chdir(tmp_path)
    hub = Hub()
    hub.record(A, name="acme/model", revision="1")
    with checkers(hub.world.trust()) as some:
        some.begin(hub.world.entries)
        assert list(some.answer(wait_seconds=WAIT)) == [1]
    assert not (tmp_path / "was run").exists()


@pytest.mark.parametrize(
    "same", [("0.0.0", EventFacts._fields), (__version__, EventFacts._fields[::-1])], ids=["version", "facts"]
)
def test_a_process_of_another_version_finds_nothing_good(monkeypatch, same):
    monkeypatch.setattr(module, "_SAME", same)
    hub = Hub()
    hub.record(A, name="acme/model", revision="1")
    with checkers(hub.world.trust()) as some:
        some.begin(hub.world.entries)
        assert list(some.answer(wait_seconds=WAIT)) == [0]


def test_a_process_that_is_stopped_does_not_stop_us():
    """However much there is to check: what it is asked would fill its pipe."""
    hub, entries = hostile(30)
    wanted = [read_entry(each, at) for at, each in enumerate(entries)]
    with checkers(hub.world.trust()) as some:
        for each in some._processes:
            each._process.send_signal(signal.SIGSTOP)
        for _ in range(100):
            some.begin(entries * 100)
            assert not any(some.answer())
        assert some.read(entries, 0) == wanted


def test_a_process_that_goes_on_is_given_work_again():
    hub, entries = hostile(30)
    with checkers(hub.world.trust()) as some:
        for each in some._processes:
            each._process.send_signal(signal.SIGSTOP)
        some.begin(entries)
        some.begin(entries[::-1])
        for each in some._processes:
            each._process.send_signal(signal.SIGCONT)
            each._listen(WAIT)
        assert not any(some.answer()), (
            "what it says is of what it was given, and nobody asks for that any more"
        )
        some.begin(entries[::-1])
        assert list(some.answer(wait_seconds=WAIT)) == verdicts(entries[::-1], hub)


def test_what_was_begun_and_never_asked_for_is_forgotten():
    hub, entries = hostile(600)
    with checkers(hub.world.trust()) as some:
        some.begin(entries)
        for each in some._processes:
            each._listen(WAIT)
        some.begin(entries[::-1][:7])
        assert list(some.answer(wait_seconds=WAIT)) == verdicts(entries[::-1][:7], hub)


def test_a_process_that_says_too_much_is_not_believed():
    hub, entries = hostile(30)
    with checkers(hub.world.trust()) as some:
        some.begin(entries)
        for each in some._processes:
            each._listen(WAIT)
            each._count -= 1
            each._listen(0.0)
        assert not any(some.answer())
        some.begin(entries)
        assert not any(some.answer()), "nor ever again"


def verdicts(entries, hub):
    return [1 if is_good(each, hub.world.trust()) else 2 for each in entries]


@pytest.mark.parametrize("which", [1, 2])
def test_where_no_process_can_be_started_everything_is_looked_at_here(
    tmp_path, monkeypatch, which, processors
):
    which = min(which, processors - 1)
    real, asked = subprocess.Popen, []

    def fails(*arguments, **options):
        asked.append(arguments)
        if len(asked) >= which:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return real(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", fails)
    before = set(pathlib.Path("/proc/self/fd").iterdir())
    scene = Scene(tmp_path)
    scene.hub.world.entries += hostile(1200)[1]
    scene.publish().begin()
    try:
        assert (scene.look().problem, scene.size) == ("", 1200)
        assert len(scene.kinds()) > 200
    finally:
        scene.state.close()
    assert len(asked) == which, "it is tried once a look"
    assert len(set(pathlib.Path("/proc/self/fd").iterdir()) - before) <= 1


def forked(tmp_path):
    """A log of forty entries, and what was signed in the place of the last thirty-one of them."""
    scene = Scene(tmp_path)
    scene.publish().begin()
    scene.grow(9)
    fork = scene.hub.world.fork(9)
    for at in range(9, 40):
        fork.append(b"fork %d" % at)
    scene.grow(31).publish()
    return scene, fork


def test_a_fork_that_is_handed_in_while_its_entries_are_read_ahead_is_found(tmp_path, monkeypatch):
    """A checkpoint of a size inside the run that is on its way: its root is compared all the same."""
    monkeypatch.setattr(follow, "RUN_ENTRIES", 8)
    monkeypatch.setattr(runs, "FROM", 1)
    scene, fork = forked(tmp_path)
    views = Views(
        {"models": scene.trust or scene.followable.trust},
        scene.state,
        routes=Everybody(),
        evidence=tmp_path / "evidence",
        clock=lambda: scene.time,
    )
    handed = []

    def progress(done, _size):
        if done == 8:
            handed.append(views.judge(fork.checkpoint(13)))

    try:
        scene.look(progress=progress)
        assert [each.judgement for each in handed] == ["pending"]
        assert scene.kinds().count("log-forked") == 1
        assert scene.evidence()
    finally:
        scene.state.close()


@pytest.mark.parametrize("size", [13, 16, 20])
def test_a_checkpoint_that_is_handed_in_at_the_last_moment_is_held_against_what_was_replayed(
    tmp_path, monkeypatch, size
):
    """While a run is being stored nothing can be cut any more: it is looked at when all is replayed."""
    monkeypatch.setattr(follow, "RUN_ENTRIES", 32)
    scene, fork = forked(tmp_path)
    note, real = fork.checkpoint(size), follow.prove_run

    def late(state, log, **more):
        tree = parse_checkpoint(parse_note(note).text)
        state.checkpoints.saw(log, size=tree.size, root=tree.root_hash, note=note, now=scene.time)
        return real(state, log, **more)

    monkeypatch.setattr(follow, "prove_run", late)
    try:
        scene.look()
        assert scene.kinds().count("log-forked") == 1
    finally:
        scene.state.close()


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
