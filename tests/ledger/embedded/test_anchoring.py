"""A log that is anchored in somebody else's: what is sent, what is stored, and what a bad day does not break."""

import asyncio
import http.server
import json
import logging
import shutil
import threading
from dataclasses import replace

import pytest

from ledger.embedded.anchoring import anchor
from ledger.errors import (
    ConfigError,
    FrozenError,
    RejectedError,
    RestoredError,
    SourceError,
    WriterLockedError,
)
from ledger.log.lock import writer_lock
from ledger.storage.anchors import AnchorStore
from tests.anchors import new_ledger, settings, trust_of
from tests.fakes.rekor import FakeRekor, FakeTree, problem
from tests.system.rekor import TrustedLog, write_trust


@pytest.fixture
def rekor():
    return FakeRekor()


@pytest.fixture
def served(rekor):
    with rekor.serve() as url:
        yield url


@pytest.fixture
def ledger(tmp_path, rekor, served):
    return new_ledger(tmp_path).configure(**settings(trust_of(tmp_path, rekor, served)))


DOWN = (503, {"content-type": "text/html"}, b"<h1>down</h1>")


def test_a_checkpoint_is_anchored_once_and_the_next_one_after_the_interval(ledger, rekor):
    ledger.anchor()
    assert ledger.store.names()[0].startswith("2-")
    assert len(rekor.tree.entries) == 1
    assert ledger.anchor(forced=False).made is None  # nothing new
    ledger.configure(interval=3600.0).record("r2")  # the recording itself is not yet due
    assert len(rekor.tree.entries) == 1
    ledger.now += 3600
    assert ledger.anchor(forced=False).made is not None
    assert [each.as_json()["log"]["index"] for each in ledger.list().anchors] == [0, 1]
    assert ledger.problems() == []


def test_a_recording_anchors_what_it_published(tmp_path, rekor, served):
    ledger = new_ledger(tmp_path).configure(**settings(trust_of(tmp_path, rekor, served)))
    ledger.record("r2")
    assert [each.checkpoint.checkpoint.size for each in ledger.list().anchors] == [3]
    assert ledger.problems() == []


def test_a_recording_succeeds_while_rekor_is_down_and_is_anchored_later(ledger, rekor, caplog):
    rekor.fail = DOWN
    with caplog.at_level(logging.WARNING):
        assert ledger.record("r2")["leafIndex"] == 2
    assert "an anchor is pending (events are recorded)" in caplog.text
    assert [each.state for each in ledger.list().anchors] == ["pending"]
    assert ledger.problems() == []  # pending is no failure
    rekor.fail = None
    requests = len(rekor.requests)
    ledger.record("r3")  # too soon: the pause after the failure is not over
    assert len(rekor.requests) == requests
    ledger.now += 3600
    finished = ledger.anchor(forced=False).finished
    assert [each.new.name for each in finished] == ledger.store.names()
    assert [each.as_json()["state"] for each in ledger.list().anchors] == ["logged", "logged"]


def test_nobody_at_the_address_costs_a_warning_and_no_event(tmp_path, rekor, caplog):
    with rekor.serve() as url:
        config = trust_of(tmp_path, rekor, url)
    ledger = new_ledger(tmp_path).configure(**settings(config))
    with caplog.at_level(logging.WARNING):
        assert ledger.record("r2")["leafIndex"] == 2
    assert "an anchor is pending (events are recorded)" in caplog.text


def test_trust_files_that_are_gone_cost_a_warning_and_no_event(tmp_path, caplog):
    ledger = new_ledger(tmp_path).configure(log="rekor-v2", trusted_root="gone.json", signing_config="gone")
    with caplog.at_level(logging.WARNING):
        assert ledger.record("r2")["leafIndex"] == 2
    assert "the checkpoint was not anchored (events are recorded)" in caplog.text


def test_an_answer_that_does_not_come_in_time_leaves_the_anchor_pending(ledger, rekor):
    rekor.fail = None

    class Silent:
        shard = None

        async def submit(self, signed):
            await asyncio.Event().wait()

        async def close(self):
            pass

    outcome = ledger.anchor(budget=0.05, open_outside=outside(Silent()))
    assert [type(each) for each in outcome.failures] == [SourceError]
    assert "expected an answer within 0.05 s" in str(outcome.failures[0])
    assert outcome.pending == 1
    assert ledger.anchor().pending == 0


def test_the_authority_is_asked_while_the_log_says_nothing(ledger):
    class Silent:
        async def submit(self, signed):
            await asyncio.Event().wait()

    class Clock:
        asked = 0

        async def stamp(self, signature):
            self.asked += 1
            return (b"a response",)

    clock = Clock()
    outcome = ledger.configure(timestamps=True).anchor(budget=0.1, open_outside=outside(Silent(), clock))
    assert (outcome.pending, clock.asked) == (1, 1)
    assert ledger.store.newest().timestamps == (b"a response",)


def test_what_another_log_did_not_take_is_not_sent_to_this_one(ledger):
    """Its timestamp is still to come, and is asked for."""

    class Log:
        def __init__(self):
            self.sent = 0

        async def submit(self, signed):
            self.sent += 1
            raise SourceError("the log", expected="an answer", actual="none")

    class Clock:
        async def stamp(self, signature):
            if first.sent == 1:
                raise SourceError("the clock", expected="an answer", actual="none")
            return (b"a response",)

    first, second = Log(), Log()
    ledger.configure(timestamps=True)
    assert len(ledger.anchor(open_outside=outside(first, Clock())).failures) == 2
    first.sent = 0
    ledger.configure(log="rekor-v1")
    assert ledger.anchor(open_outside=outside(second, Clock())).failures == ()
    assert (second.sent, ledger.store.newest().timestamps) == (0, (b"a response",))


def outside(remote, stamper=None):
    """What ``[anchor]`` would open, of a log that the test brings along."""
    import contextlib

    from ledger.bundle.log_entry import LogKeys
    from ledger.embedded.anchor_outside import Outside

    @contextlib.asynccontextmanager
    async def opened(config, directory, now, budget):
        yield Outside(remote=remote, stamper=stamper, shards=(), shard_keys=LogKeys({}), trusted_root=b"{}")

    return opened


def test_an_answer_about_something_else_is_not_stored(ledger, rekor):
    stranger = FakeTree(rekor.tree.origin, key="somebody else")
    stranger.append(b"another entry")
    rekor.bend = lambda value: stranger.entry(0)
    outcome = ledger.anchor()
    assert len(outcome.failures) == 1
    assert ledger.list().anchors[0].state == "pending"
    rekor.bend = None  # it was logged nevertheless: the log says that it has it
    assert ledger.anchor().failures == ()
    assert len(rekor.tree.entries) == 1
    assert ledger.problems() == []


def test_a_refusal_for_good_is_kept_and_the_next_checkpoint_goes_on(ledger, rekor):
    rekor.fail = problem(400, "no such keys here")
    outcome = ledger.anchor()
    assert [type(each) for each in outcome.failures] == [RejectedError]
    rekor.fail = None
    ledger.now += 3600
    ledger.anchor()  # nothing new: what was refused is not sent again
    assert rekor.tree.entries == []
    ledger.record("r2")
    ledger.anchor()
    listed = [each.as_json() for each in ledger.list().anchors]
    assert [each["state"] for each in listed] == ["refused", "logged"]
    assert "no such keys here" in listed[0]["refused"]
    assert ledger.problems() == []


def test_a_frozen_shard_leaves_it_pending_until_the_next_shard_is_configured(tmp_path, rekor, served):
    """Anchors of both shards hold. The closed one is not asked what it knows: it takes nothing that is newer."""
    ledger = new_ledger(tmp_path).configure(**settings(trust_of(tmp_path, rekor, served)))
    ledger.anchor()
    rekor.frozen = True
    ledger.record("r2")
    assert [type(each) for each in ledger.anchor().failures] == [FrozenError]
    following = FakeRekor(tree=FakeTree("rekor2.example", key="the next shard"))
    with following.serve() as url:
        old, new = (
            TrustedLog(base_url=f"http://{each.tree.origin}", spki=each.tree.spki, log_id=each.tree.log_id)
            for each in (rekor, following)
        )
        shards = [
            replace(old, end="2026-01-01T00:00:00Z"),
            replace(new, write_url=url, start="2025-01-01T00:00:00Z"),
        ]
        write_trust(tmp_path, shards)
        ledger.configure(read_url=f"{url}/read")
        assert ledger.anchor().failures == ()
        ledger.record("r3", at=86_400)
        ledger.anchor()
    origins = [each.as_json()["log"]["origin"] for each in ledger.list().anchors]
    assert origins == ["rekor.example", "rekor2.example", "rekor2.example"]
    assert ledger.problems() == []


# Crashes: the write that is lost, and the write that is kept


class Stop(BaseException):
    """The machine stops here."""


@pytest.mark.parametrize("method", ["create", "add_log_entry"])
@pytest.mark.parametrize("kept", [False, True], ids=["lost", "kept"])
def test_a_crash_around_each_write_loses_nothing_and_logs_nothing_twice(
    ledger, rekor, monkeypatch, method, kept
):
    original = getattr(AnchorStore, method)

    def stop(self, *arguments):
        if kept:
            original(self, *arguments)
        raise Stop

    with monkeypatch.context() as patched:
        patched.setattr(AnchorStore, method, stop)
        with pytest.raises(Stop):
            ledger.anchor()
    ledger.anchor()
    assert len(rekor.tree.entries) == 1
    assert [each.state for each in ledger.list().anchors] == ["logged"]
    assert ledger.problems() == []
    assert ledger.anchor().made is None


def test_a_folder_that_a_crash_left_empty_is_no_anchor(ledger):
    folder = ledger.folder / "anchors" / "9-0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / ".tmp-anchor.json").write_bytes(b"half")
    assert ledger.list().anchors == ()
    assert ledger.anchor().made is not None
    assert not (folder / ".tmp-anchor.json").exists()


def test_two_processes_do_not_anchor_at_once(ledger, rekor):
    (ledger.folder / "anchors").mkdir()
    with writer_lock(ledger.folder / "anchors" / "lock"):
        with pytest.raises(WriterLockedError):
            ledger.anchor()
        assert ledger.record("r2")["leafIndex"] == 2  # who records does not care
    assert rekor.tree.entries == []


# Nothing of anchors fails a recording


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: shutil.rmtree(folder / "anchors"),
        lambda folder: (shutil.rmtree(folder / "anchors"), (folder / "anchors").write_bytes(b"")),
        lambda folder: next((folder / "anchors").rglob("anchor.json")).write_bytes(b"{}"),
        lambda folder: next((folder / "anchors").rglob("log-entry.json")).write_bytes(b"{}"),
        lambda folder: next((folder / "anchors").rglob("anchor.json")).unlink(),
        lambda folder: (folder / "anchors/state.json").write_bytes(b"\xff"),
        lambda folder: (folder / "anchors/9-0123456789abcdef").write_bytes(b""),
        lambda folder: (folder / "keys/anchor.key").write_bytes(b"none"),
        lambda folder: next((folder / "keys").glob("anchor-*.pub")).write_bytes(b"none"),
        lambda folder: next((folder / "keys").glob("anchor-*.pub")).unlink(),
    ],
    ids=["gone", "a file", "anchor", "entry", "unlinked", "state", "name", "key", "public key", "no public"],
)
def test_whatever_is_damaged_an_event_is_recorded(ledger, rekor, harm):
    ledger.record("r2")
    # Nothing of the other log says that this is an old copy: that is another test.
    rekor.tree = FakeTree(key="another log")
    harm(ledger.folder)
    assert ledger.record("r3", at=86_400)["leafIndex"] == 3


def test_a_read_address_that_says_nothing_holds_up_nobody(tmp_path, rekor):
    """The log has the entry already, and where it can be read nobody answers: one request, then it is pending."""
    asked, end = [], threading.Event()

    class Silent(http.server.BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            asked.append(self.path)
            end.wait(60)

    with (
        rekor.serve() as url,
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            ledger = new_ledger(tmp_path).configure(**settings(trust_of(tmp_path, rekor, url)))
            ledger.anchor()
            name = ledger.store.names()[0]
            (ledger.folder / "anchors" / name / "log-entry.json").unlink()
            ledger.configure(read_url=f"http://127.0.0.1:{server.server_port}")
            outcome = ledger.anchor(budget=0.5)
        finally:
            end.set()
            server.shutdown()
    assert (outcome.pending, asked) == (1, ["/checkpoint"])


# Keys


def test_a_new_anchor_key_goes_on_and_the_anchors_of_the_old_one_still_hold(ledger, rekor):
    ledger.anchor()
    (ledger.folder / "keys" / "anchor.key").unlink()
    ledger.record("r2")
    ledger.anchor()
    assert len({each.signed.keyid for each in ledger.list().anchors}) == 2
    assert ledger.problems() == []
    key = ledger.folder / "keys" / "anchor.key"
    assert key.stat().st_mode & 0o777 == 0o600


def test_a_pending_anchor_of_an_old_key_is_sent_as_it_was_stored(ledger, rekor):
    rekor.fail = DOWN
    ledger.anchor()
    stored = ledger.store.newest().new.envelope
    (ledger.folder / "keys" / "anchor.key").unlink()
    rekor.fail = None
    ledger.anchor()
    assert ledger.store.newest().new.envelope == stored
    assert ledger.problems() == []


# What is not signed


def test_a_log_that_is_older_than_its_anchors_is_not_anchored(ledger, tmp_path):
    shutil.copytree(ledger.folder / "log", tmp_path / "old-log")
    shutil.copy(ledger.folder / "ledger.db", tmp_path / "old.db")
    ledger.record("r2")
    shutil.rmtree(ledger.folder / "log")
    shutil.copytree(tmp_path / "old-log", ledger.folder / "log")
    with pytest.raises(RestoredError, match="expected at least 3, which was anchored, got 2"):
        ledger.anchor()
    assert ledger.problems() == [("tree", "RestoredError")]


def test_a_ledger_without_anchor_settings_has_nowhere_to_send(tmp_path):
    with pytest.raises(ConfigError, match="got no anchoring"):
        new_ledger(tmp_path).anchor()


def test_a_shard_that_takes_nothing_now_is_refused(ledger, rekor, tmp_path, served):
    value = json.loads((tmp_path / "signing_config.json").read_text())
    value["rekorTlogUrls"][0]["validFor"] = {"start": "2024-01-01T00:00:00Z", "end": "2025-01-01T00:00:00Z"}
    (tmp_path / "signing_config.json").write_text(json.dumps(value))
    with pytest.raises(ConfigError, match="a shard of rekor-v2 that takes entries now"):
        ledger.anchor()


def test_a_background_task_may_call_it_from_a_running_loop(ledger):
    async def task():
        return await anchor(ledger.folder, budget=20, now=ledger.now)

    assert asyncio.run(task()).made is not None
