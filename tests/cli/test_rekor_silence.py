"""`record --wait-seconds` before a Rekor that answers with nothing, or not at all: accepted, pending, and logged once in the end."""

import contextlib
import threading
from functools import partial

import pytest

from cli.main import run
from ledger.embedded import submitting
from ledger.embedded.remote import dispatching
from tests.cli.test_outbox import Hub
from tests.fakes.rekor import FakeRekor
from tests.fakes.rekor_v1 import FakeRekorV1
from tests.system.rekor_v1 import write_trust as write_v1_trust


class Mute:
    """A log that takes what is submitted, and whose answer is lost on the way: empty, or it does not come."""

    lost = None

    def answer(self, method, path, body):
        answer = super().answer(method, path, body)
        if method != "POST" or self.lost is None:
            return answer
        return self.lost(answer)


class MuteV1(Mute, FakeRekorV1):
    pass


class MuteV2(Mute, FakeRekor):
    pass


@contextlib.contextmanager
def hub_in(kind, folder, capsys):
    """A ledger in a log of this kind; yields (the hub, the log)."""
    hub = Hub(folder, capsys, kind=kind)
    if kind == "rekor-v2":
        fake = hub.rekor = MuteV2()
        with fake.serve() as url:
            hub.init(url)
            yield hub, fake
        return
    fake = MuteV1()
    with fake.serve():
        root, signing = write_v1_trust(folder, fake.tree.spki, fake.url)
        hub.call(
            *("init", hub.directory, "--origin", "log.example/models", "--hub", "hub.example"),
            *("--log", "rekor-v1", "--trusted-root", str(root), "--signing-config", str(signing)),
        )
        yield hub, fake


WAYS = ("empty", "slow")


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("kind", ["rekor-v1", "rekor-v2"])
def test_an_event_whose_answer_is_lost_is_pending_and_then_logged_once(
    tmp_path, capsys, monkeypatch, kind, how
):
    # What is under way when the time is over gets no time to be answered.
    monkeypatch.setattr(submitting, "dispatching", partial(dispatching, grace=0.0))
    release = threading.Event()

    def lost(answer):
        if how == "empty":
            return (200, b"") if kind == "rekor-v1" else (200, {}, b"")
        release.wait(30)
        return answer

    with hub_in(kind, tmp_path, capsys) as (hub, fake):
        fake.lost = lost
        receipt = hub.record("r1", "--wait-seconds", "1.5")
        assert (receipt["state"], receipt["logged"], receipt["number"]) == ("pending", False, 1)
        status = hub.status()
        assert (status["accepted"], status["pending"], status["logged"], status["refused"]) == (2, 2, 0, 0)
        if how == "empty":
            assert receipt["lastError"]["error"] == "SourceError"
            assert {each["error"] for each in status["errors"]} == {"SourceError"}
        else:  # nothing is known of what was cut short, not even an error
            assert status["errors"] == []
        hub.audit()
        before = list(fake.tree.entries)
        assert 0 < len(before) <= 2, "the log has taken what it never answered"

        fake.lost = None
        release.set()
        assert hub.call("outbox", "retry", hub.directory)["logged"] == 2
        assert len(fake.tree.entries) == 2
        assert fake.tree.entries[: len(before)] == before
        assert len(set(fake.tree.entries)) == 2, "each is there once"
        assert hub.record("r1")["logged"]
        assert hub.audit()["logged"] == 2


def test_a_person_is_told_that_it_is_accepted_and_what_the_log_answered(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(submitting, "dispatching", partial(dispatching, grace=0.0))
    with hub_in("rekor-v2", tmp_path, capsys) as (hub, fake):
        fake.lost = lambda _answer: (200, {}, b"")
        (hub.model / "weights").write_bytes(b"r1")
        command = ("record", hub.directory, "acme/tiny", "--revision", "r1", "--model", str(hub.model))
        assert run([*command, "--wait-seconds", "1.5"]) == 0
        text = "".join(capsys.readouterr())
        assert "Accepted, not yet logged  number 1" in text
        text = hub.text("outbox", "status", hub.directory)
        assert "Error         SourceError" in text
        assert "expected status 201, got 200" in " ".join(text.split())
        assert [each["count"] for each in hub.status()["errors"]] == [2]
