"""A flood becomes a digest: nothing is left out, the worst is told alone, and evidence never waits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.digest import Limit, plan
from monitor.findings import Finding, Kind
from monitor.outbox import Due
from monitor.record import Stored


def due(number, kind=Kind.SIGNER_CHANGED, log="models", attempts=0):
    found = Finding(log=log, kind=kind, text=f"text {number}.", leaf_index=number)
    stored = Stored(
        number=number,
        id=found.id(),
        state="open",
        note="",
        found_at=number,
        seen_at=number,
        facts=found.as_json(),
    )
    return Due(finding=stored, sink="pager", attempts=attempts)


def numbers(messages):
    return [[each.finding.number for each in message.covers] for message in messages]


def test_without_a_limit_everything_is_told_alone_and_in_order():
    assert numbers(plan([due(n) for n in range(1, 31)], limit=Limit(), sent=99)) == [
        [n] for n in range(1, 31)
    ]


def test_what_fits_is_told_alone():
    assert numbers(plan([due(1), due(2)], limit=Limit(messages=3), sent=1)) == [[1], [2]]


def test_what_does_not_fit_is_one_message_and_the_worst_come_alone():
    waiting = [
        due(1, Kind.TIME_OUTSIDE),
        due(2),
        due(3, Kind.CHAIN_BROKEN),
        due(4, Kind.TIME_OUTSIDE),
        due(5),
    ]
    messages = plan(waiting, limit=Limit(messages=3), sent=0)
    assert numbers(messages) == [[3], [2], [5, 1, 4]]
    facts = messages[-1].finding.facts
    assert (facts["kind"], facts["severity"], facts["log"]) == ("digest", "high", "models")
    assert facts["facts"] == {
        "count": 3,
        "kinds": {"signer-changed": 1, "time-outside": 2},
        "logs": ["models"],
        "numbers": [1, 4, 5],
    }
    assert facts["text"] == (
        "3 findings in one message, because there were too many for one each: 2 time-outside, 1 signer-changed. "
        "The worst of them: text 5. See all with `hubledger monitor findings`."
    )


def test_what_a_receiver_refuses_again_and_again_keeps_nothing_else_from_being_told():
    """Once may be an outage, and the worst still comes first; often, its text may be why, and it is not quoted."""
    worst, others = Kind.CHAIN_BROKEN, [due(1), due(2, Kind.TIME_OUTSIDE)]
    once = plan([due(3, worst, attempts=2), *others], limit=Limit(messages=2), sent=0)
    assert numbers(once) == [[3], [1, 2]]
    often = plan([due(3, worst, attempts=3), *others], limit=Limit(messages=2), sent=0)
    assert numbers(often) == [[1], [2, 3]]
    facts = often[-1].finding.facts
    assert facts["severity"] == "critical"
    assert "text 2." in facts["text"]
    assert "text 3." not in facts["text"]
    alone = plan([due(3, worst, attempts=3), due(4, worst, attempts=3)], limit=Limit(messages=1), sent=0)
    assert alone[0].finding.facts["text"] == (
        "2 findings in one message, because there were too many for one each: 2 chain-broken. "
        "See all with `hubledger monitor findings`."
    )
    again = plan([due(3, worst, attempts=4), due(4, worst)], limit=Limit(messages=1), sent=0)
    assert again[0].finding.id == alone[0].finding.id


def test_where_there_is_no_room_they_wait_but_not_what_is_urgent():
    waiting = [due(1), due(2, Kind.LOG_FORKED), due(3, Kind.CANARY), due(4)]
    assert numbers(plan(waiting, limit=Limit(messages=5), sent=5)) == [[2], [3]]


def test_a_digest_is_the_same_when_it_is_sent_again():
    waiting = [due(1), due(2), due(3, log="other")]
    first, second = (plan(waiting, limit=Limit(messages=1), sent=0)[-1].finding for _ in range(2))
    assert first == second
    assert first.facts["log"] == "(several)"
    assert plan(waiting[:2], limit=Limit(messages=1), sent=0)[-1].finding.id != first.id


@given(
    kinds=st.lists(st.sampled_from(list(Kind)), max_size=60),
    most=st.integers(0, 20),
    sent=st.integers(0, 25),
)
def test_nothing_is_told_twice_and_a_limit_is_kept(kinds, most, sent):
    waiting = [due(n, kind) for n, kind in enumerate(kinds, 1)]
    messages = plan(waiting, limit=Limit(messages=most), sent=sent)
    covered = [number for message in numbers(messages) for number in message]
    assert len(covered) == len(set(covered))
    urgent = {Kind.LOG_FORKED, Kind.CANARY, Kind.CANARY_SILENT, Kind.SINK_SILENT}
    if most:
        ordinary = [each for each in messages if each.finding.facts["kind"] not in urgent]
        assert len(ordinary) <= max(0, most - sent)
    if not most or sent < most:
        assert sorted(covered) == list(range(1, len(kinds) + 1)), "where there is any room, nothing waits"


@pytest.mark.parametrize("most", [1, 2])
def test_one_that_is_left_over_is_itself_and_no_digest(most):
    messages = plan([due(n) for n in range(most)], limit=Limit(messages=most), sent=0)
    assert all(each.finding.facts["kind"] != "digest" for each in messages)
