"""Statements that were handed over as files: each has the link that the proof carries, where it is of its size."""

import dataclasses

import pytest

from ledger.client.stated_files import stated_beside
from ledger.client.trusted_monitor import TrustedMonitor
from ledger.client.verify import check_proof
from tests.world import NOW, World

WORLD = World().grow(9)


def trust(*names):
    monitors = tuple(TrustedMonitor(key=WORLD.monitor(name).verifier, max_age=60) for name in names)
    return WORLD.trust(require="audited", monitors=monitors)


def check(proof, *notes, names=("monitor.example",)):
    stated = stated_beside(proof, notes, trust(*names))
    return check_proof(proof, trust=trust(*names), now=NOW, log_only=True, stated=stated)


@pytest.mark.parametrize("size", [5, 8, 9])
def test_a_proof_that_leads_back_to_the_size_of_the_statement_is_linked_to_it(size):
    proof = WORLD.proof(4, since=size)
    assert check(proof, WORLD.stated(size=size)).log_satisfied


def test_a_link_to_another_size_counts_for_no_statement():
    result = check(WORLD.proof(4, since=6), WORLD.stated(size=7))
    assert not result.log_satisfied
    assert result.failure.actual == "one of size 7, not linked: no consistency proof between them"


def test_a_link_that_does_not_hold_is_none():
    proof, size = WORLD.unformatted_proof(4), 7
    wrong = WORLD.fork(0).grow(9, "elsewhere").proof(4, since=size)
    (stated,) = stated_beside(wrong, [WORLD.stated(size=size)], trust("monitor.example"))
    (right,) = stated_beside(WORLD.proof(4, since=size), [stated.note], trust("monitor.example"))
    assert stated.consistency != right.consistency
    assert stated.consistency is not None
    result = check_proof(
        WORLD.proof(4), trust=trust("monitor.example"), now=NOW, log_only=True, stated=[stated]
    )
    assert proof.index == 4
    assert not result.log_satisfied


def test_each_monitor_is_heard_by_its_own_statement():
    names = ("m1.example", "m2.example")
    notes = [WORLD.stated(name="m2.example", size=7), WORLD.stated(name="m1.example")]
    assert check(WORLD.proof(4, since=7), *notes, names=names).log_satisfied
    assert not check(WORLD.proof(4, since=7), notes[0], names=names).log_satisfied


@pytest.mark.parametrize("note", [b"", b"no note at all", b"x" * (600 << 10)])
def test_what_is_no_statement_is_shown_by_the_check_and_stops_nothing_before(note):
    result = check(WORLD.proof(4), note)
    assert result.failure.step == "monitor monitor.example"
    assert not result.log_satisfied


@pytest.mark.parametrize("extra", [None, b"\xff not json"])
def test_a_proof_that_carries_no_link_links_nothing(extra):
    from ledger.tlog.proof import format_proof

    proof = format_proof(dataclasses.replace(WORLD.unformatted_proof(4), extra=extra))
    (stated,) = stated_beside(proof, [WORLD.stated()], trust("monitor.example"))
    assert stated.consistency is None
