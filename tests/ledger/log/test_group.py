"""Group commit: first come first served, everybody answered once, whoever runs the lock."""

import threading

import pytest

from ledger.errors import ConflictError, WriteError
from ledger.log.group import GroupCommit


class Doubling:
    """Doubles numbers, and keeps what it was given at a time; waits where it is told to."""

    def __init__(self, limit):
        self.batches, self.stop = [], None
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.group = GroupCommit(threading.RLock(), self.run, limit=limit)

    def run(self, numbers):
        self.batches.append(numbers)
        if len(self.batches) == 1 and self.stop == "wait":
            self.entered.set()
            assert self.go_on.wait(20)
        elif isinstance(self.stop, BaseException):
            raise self.stop
        return [number * 2 for number in numbers]

    def behind(self, *batches):
        """Submit one batch from a thread of its own, and the others while it is being run; returns their answers."""
        self.stop, answers = "wait", {}

        def call(place, batch):
            try:
                answers[place] = self.group.submit(batch)
            except BaseException as error:
                answers[place] = error

        threads = [threading.Thread(target=call, args=each) for each in enumerate(batches)]
        threads[0].start()
        assert self.entered.wait(20)
        for count, thread in enumerate(threads[1:], 1):
            thread.start()
            while self.group.waiting() < count:
                pass
        self.go_on.set()
        for thread in threads:
            thread.join()
        return [answers[place] for place in range(len(batches))]


def test_those_who_wait_are_run_together_and_answered_apart():
    doubling = Doubling(limit=10)
    assert doubling.behind([1], [2, 3], [], [4]) == [[2], [4, 6], [], [8]]
    assert doubling.batches == [[1], [2, 3, 4]]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_nobody_is_forgotten_where_one_run_does_not_reach_everybody(limit):
    """The lock need not go to the first in the queue: whoever has it serves until its own turn has come."""
    doubling = Doubling(limit=limit)
    batches = [[number] for number in range(8)]
    assert doubling.behind(*batches) == [[number * 2] for number in range(8)]
    assert max(map(len, doubling.batches)) <= limit


def test_more_than_the_limit_goes_in_several_runs_and_is_answered_in_order():
    doubling = Doubling(limit=3)
    assert doubling.group.submit(list(range(8))) == [number * 2 for number in range(8)]
    assert list(map(len, doubling.batches)) == [3, 3, 2]


def test_a_refusal_reaches_everybody_whose_items_were_in_the_run():
    doubling = Doubling(limit=10)
    doubling.stop = ConflictError("event id", expected="a new one", actual="an old one")
    with pytest.raises(ConflictError):
        doubling.group.submit([1])
    assert doubling.group.waiting() == 0


def test_an_interruption_is_raised_once_and_leaves_the_others_in_doubt():
    doubling = Doubling(limit=10)
    inner = doubling.run

    def run(numbers):
        answers = inner(numbers)
        if len(doubling.batches) == 2:
            raise KeyboardInterrupt
        return answers

    doubling.group._run = run
    first, *others = doubling.behind([1], [2], [3])
    assert first == [2]
    assert sorted(type(each).__name__ for each in others) == ["KeyboardInterrupt", "WriteError"]
    (doubt,) = (each for each in others if isinstance(each, WriteError))
    assert str(doubt) == (
        "committing: expected a known outcome, got an interrupted writer. "
        "Open the ledger again: it continues from what is certain"
    )
