"""The hub's spool: nothing is lost while the ledger is away, order is kept, and what is refused for good is put aside."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from ledger.client.reconcile import find_missing, parse_pairs
from ledger.client.spool import Recorder, Spool, drain, open_client
from ledger.errors import MalformedError, SourceError
from tests.ledger.server.events import body


class Service:
    """What the ledger's service answers, as its reference says; it can be away, and refuse by event id."""

    def __init__(self):
        self.got, self.refused, self.away = [], {}, 0

    def __call__(self, request):
        if self.away:
            self.away -= 1
            raise httpx.ConnectError("away")
        answers = []
        for line in request.content.splitlines():
            event_id = json.loads(line)["eventId"]
            if event_id in self.refused:
                status = self.refused[event_id]
                answers.append({"type": "/problems/some", "status": status, "detail": "no"})
            else:
                if event_id not in self.got:
                    self.got.append(event_id)
                answers.append({"eventId": event_id, "leafIndex": len(self.got)})
        return httpx.Response(200, content=b"".join(json.dumps(each).encode() + b"\n" for each in answers))

    def client(self):
        return open_client("http://ledger.example", "hl_a_b", transport=httpx.MockTransport(self))


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


def test_events_go_in_the_order_in_which_they_came(spool):
    service = Service()
    for number in range(1200):
        spool.put(body(f"u-{number}", with_manifest=False))
    assert drain(spool, service.client()) == 1200
    assert service.got == [f"u-{number}" for number in range(1200)]
    assert spool.state().waiting == 0


def test_an_outage_loses_nothing_and_a_second_process_goes_on(tmp_path, spool):
    service = Service()
    service.away = 1
    spool.put(body("u-1"))
    with pytest.raises(SourceError, match="Nothing is lost"):
        drain(spool, service.client())
    again = Spool(tmp_path / "spool")
    again.put(body("u-2"))
    assert again.state().waiting == 2
    assert drain(again, service.client()) == 2
    assert service.got == ["u-1", "u-2"]


def test_a_number_lost_with_the_power_does_not_put_new_before_old(tmp_path, spool):
    for number in range(3):
        spool.put(body(f"u-{number}"))
    (tmp_path / "spool/.lock").write_bytes(b"")
    Spool(tmp_path / "spool").put(body("u-3"))
    service = Service()
    drain(spool, service.client())
    assert service.got == ["u-0", "u-1", "u-2", "u-3"]


def test_what_is_refused_for_good_is_put_aside_with_the_reason(tmp_path, spool):
    service = Service()
    service.refused = {"u-1": 409}
    for number in range(3):
        spool.put(body(f"u-{number}"))
    assert drain(spool, service.client()) == 2
    state = spool.state()
    assert (state.waiting, state.refused) == (0, 1)
    (problem,) = (tmp_path / "spool/refused").glob("*.problem.json")
    assert json.loads(problem.read_text())["status"] == 409


def test_what_follows_an_event_that_is_not_taken_now_waits_with_it(spool):
    service = Service()
    service.refused = {"u-1": 503}
    for number in range(3):
        spool.put(body(f"u-{number}"))
    with pytest.raises(SourceError):
        drain(spool, service.client())
    assert [json.loads(data)["eventId"] for _, data in spool.take(spool.waiting())] == ["u-1", "u-2"]


@pytest.mark.parametrize(
    "answer", [b"", b"{}", b"not json", b'{"eventId":1}', b'{"eventId":"a"}\n{"eventId":"b"}']
)
def test_an_answer_in_another_protocol_removes_nothing(spool, answer):
    spool.put(body("u-1"))
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=answer))
    with pytest.raises((SourceError, MalformedError)):
        drain(spool, open_client("http://ledger.example", "t", transport=transport))
    assert spool.state().waiting == 1


@pytest.mark.parametrize("status", [301, 401, 403, 404, 500, 503])
def test_a_refusal_of_everything_removes_nothing(spool, status):
    spool.put(body("u-1"))
    transport = httpx.MockTransport(
        lambda _: httpx.Response(status, headers={"location": "http://other.example/"})
    )
    with pytest.raises(SourceError):
        drain(spool, open_client("http://ledger.example", "t", transport=transport))
    assert spool.state().waiting == 1


def test_many_threads_that_record_each_keep_their_order(tmp_path):
    service = Service()
    service.away = 3
    waits, sent = [], threading.Event()

    def wait(seconds):
        waits.append(seconds)
        return False

    def answering(request):
        response = service(request)
        if len(service.got) == 80:
            sent.set()
        return response

    transport = httpx.MockTransport(answering)
    with (
        Recorder(
            "http://ledger.example", "t", tmp_path / "spool", transport=transport, wait=wait
        ) as recorder,
        ThreadPoolExecutor(4) as pool,
    ):
        list(
            pool.map(
                lambda worker: [
                    recorder.record(body(f"{worker}-{n}", with_manifest=False)) for n in range(20)
                ],
                range(4),
            )
        )
        assert sent.wait(30)
    for worker in range(4):
        mine = [each for each in service.got if each.startswith(f"{worker}-")]
        assert mine == [f"{worker}-{n}" for n in range(20)]
    assert waits == [0.5, 1.0, 2.0]


def test_bytes_that_are_no_event_are_not_kept(spool):
    for event in ({}, {"eventId": ""}, {"eventId": "a b"}, {"eventId": 7}):
        with pytest.raises(MalformedError):
            spool.put(event)
    assert spool.state().waiting == 0


def test_the_spool_is_for_its_owner_only(tmp_path, spool):
    spool.put(body("u-1"))
    (event,) = (tmp_path / "spool/events").iterdir()
    assert event.stat().st_mode & 0o077 == 0
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0


def test_reconciling_asks_a_hundred_at_a_time_and_lists_what_is_missing():
    asked = []

    def answer(request):
        pairs = json.loads(request.content)["pairs"]
        asked.append(len(pairs))
        return httpx.Response(
            200,
            json={
                "standings": [
                    {"model": p["model"], **({} if p["revision"] == "r7" else {"leafIndex": 1})}
                    for p in pairs
                ]
            },
        )

    lines = [json.dumps({"model": "m\t\u202e", "revision": f"r{n}"}).encode() for n in range(250)] + [b"\n"]
    client = httpx.Client(base_url="http://ledger.example", transport=httpx.MockTransport(answer))
    assert list(find_missing(parse_pairs(lines), client)) == [("m\t\u202e", "r7")]
    assert asked == [100, 100, 50]
