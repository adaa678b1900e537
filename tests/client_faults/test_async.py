"""``check_async``: the same answers as ``check``, for programs that must not wait, and that may stop waiting."""

import asyncio
import shutil
import threading

import pytest

from ledger.client import CheckFailedError, check, check_async, checking
from ledger.client.pins import Pins
from ledger.client.result import LogResult, ModelResult
from ledger.errors import NotFoundError, SourceError
from tests.client_faults.hub import LEDGER, NAME, Hub, between, stored
from tests.system.service import serving
from tests.world import NOW


@pytest.fixture(autouse=True)
def one_moment(monkeypatch):
    """Ages are shown in seconds: two checks are only equal at one time."""
    monkeypatch.setattr(checking, "posix_now", lambda: NOW)


@pytest.fixture
def trust(hub, proxy):
    return stored(hub.trust, proxy.url)


def both(model, **more):
    """How the question ends, asked in both ways; each is a result or an error."""

    def ended(ask):
        try:
            return ask()
        except Exception as error:
            return error

    return (
        ended(lambda: check(model, name=NAME, **more)),
        ended(lambda: asyncio.run(check_async(model, name=NAME, **more))),
    )


def test_success(hub, trust):
    check(hub.new, name=NAME, trust=trust)  # from here on something is remembered
    one, other = both(hub.new, trust=trust)
    assert one == other
    assert other.result.satisfied
    with pytest.raises(AttributeError):
        other.name = "x"


def test_failure(hub, trust, tmp_path):
    model = shutil.copytree(hub.new, tmp_path / "model")
    (model / "weights").write_bytes(b"other")
    check(hub.new, name=NAME, trust=trust)
    one, other = both(model, trust=trust)
    assert type(one) is type(other) is CheckFailedError
    assert one.result == other.result
    assert (other.result.result.model, str(other)) == (ModelResult.CONTENT_DIFFERS, str(one))


def test_could_not_check(hub, proxy, trust, tmp_path):
    proxy.bend = lambda _: (503, b"")
    for ask, kind in (
        ({"trust": trust}, SourceError),
        ({"trust": trust, "offline": True}, NotFoundError),
        ({}, NotFoundError),
    ):
        one, other = both(hub.new, **ask)
        assert type(one) is type(other) is kind
        assert str(one) == str(other)
    one, other = both(tmp_path / "none", trust=trust)
    assert (type(one), str(one)) == (type(other), str(other)) == (NotFoundError, str(one))


def test_misbehaviour(hub, trust, tmp_path, data):
    """Another tree of the same size by the same keys: a copy of the ledger before the last event that went on by itself."""
    check(hub.new, name=NAME, trust=trust)
    fork = Hub.__new__(Hub)
    fork.folder, fork.key, fork.pem = tmp_path, hub.key, hub.pem
    fork.ledger = shutil.copytree(hub.early, tmp_path / "fork")
    model = fork.sign("forked", b"forked")
    fork.record("r2", model)
    before = Pins(data).known()
    with serving(fork.ledger, "--read-only") as (url, _):
        one, other = both(model, trust=trust, url=url)
    assert type(one) is type(other) is CheckFailedError
    assert one.result == other.result
    assert other.result.result.log is LogResult.MISBEHAVIOUR
    assert other.result.result.evidence is not None
    assert Pins(data).known() == before


def test_the_loop_goes_on_meanwhile(hub, proxy, trust):
    """The service answers only after the loop has done something else: a check that kept the loop would wait for ever."""
    asked, go = threading.Event(), threading.Event()

    def bend(_):
        asked.set()
        assert go.wait(30)

    proxy.bend = bend

    async def main():
        task = asyncio.create_task(check_async(hub.new, name=NAME, trust=trust))
        assert await asyncio.to_thread(asked.wait, 30)
        assert not task.done()
        go.set()
        return await task

    assert asyncio.run(main()).result.satisfied


def test_a_caller_that_stops_waiting_is_not_kept(hub, proxy, trust, data):
    """The caller goes on at once; the thread ends when the service answers, and what it then remembers is as proven as ever."""
    asked, go = threading.Event(), threading.Event()

    def bend(_):
        asked.set()
        assert go.wait(30)

    proxy.bend = bend

    async def main():
        task = asyncio.create_task(check_async(hub.new, name=NAME, trust=trust))
        assert await asyncio.to_thread(asked.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert Pins(data).known() == []
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(check_async(hub.new, name=NAME, trust=trust), timeout=0)
        go.set()

    asyncio.run(main())
    proxy.bend = lambda _: None
    assert check(hub.new, name=NAME, trust=trust).result.satisfied


def test_many_at_once(hub, service, trust, data):
    """In one loop, with one user's folder: each succeeds, and what is remembered is one history."""

    async def main():
        asks = [check_async(model, name=NAME, trust=trust) for model in (hub.new, hub.old) * 5]
        return await asyncio.gather(*asks)

    with between(service):
        found = asyncio.run(main())
    assert [each.result.event.model.revision for each in found] == ["r2", "r1"] * 5
    assert [each.ledger for each in Pins(data).known()] == [LEDGER, LEDGER]
