"""What a monitor signs: the bounds, and what an overflowing statement says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import LedgerError, SignatureError
from ledger.monitor_statement import (
    MAX_HISTORIES,
    MAX_STATEMENT_BYTES,
    MonitorStatement,
    OpenClass,
    OpenFindings,
    OpenSeverity,
    format_monitor_statement,
    verify_monitor_statement,
)
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.signed_note import Ed25519NoteSigner
from tests.world import ed25519_key

KEY = Ed25519NoteSigner("monitor.example", ed25519_key("monitor.example"))
TREE = Checkpoint(origin="log.example/models", size=9, root_hash=bytes(32))
HIGH = OpenFindings(count=2**53 - 1, severity=OpenSeverity.CRITICAL, kind=OpenClass.MALFORMED)
LOW = OpenFindings(count=1, severity=OpenSeverity.LOW, kind=OpenClass.TAMPER)


def of(findings=None, **more):
    known = {"ledger": "log.example/models", "checked_at": 1_000, "findings": findings or {}}
    return MonitorStatement.of(TREE, **known, **more)


findings = st.builds(
    OpenFindings,
    count=st.integers(1, 2**53 - 1),
    severity=st.sampled_from(OpenSeverity),
    kind=st.sampled_from(OpenClass),
)


@given(st.dictionaries(st.text(max_size=9), findings, max_size=9), st.none() | findings)
def test_what_was_signed_comes_back(table, log):
    made = of(table, log=log)
    note = format_monitor_statement(made, KEY)
    read = verify_monitor_statement(note, vkeys=[KEY.verifier])
    assert read == made
    assert {key: read.open_for([key]) for key in table} == table
    assert read.open_for(["name:somebody/else"]) is None


def test_the_most_that_can_be_listed_fits_and_one_more_is_counted_only():
    """A client that is shown no list must not read it as nothing."""
    table = {f"name:m{number}": HIGH for number in range(MAX_HISTORIES)}
    note = format_monitor_statement(of(table, log=HIGH), KEY)
    assert len(note) <= MAX_STATEMENT_BYTES
    assert len(verify_monitor_statement(note, vkeys=[KEY.verifier]).histories) == MAX_HISTORIES
    over = of(table | {"name:more": HIGH})
    assert (over.histories, over.not_listed) == ((), MAX_HISTORIES + 1)
    assert verify_monitor_statement(format_monitor_statement(over, KEY), vkeys=[KEY.verifier]) == over


def test_what_stops_no_client_is_left_out_before_nothing_is_listed():
    """A hub whose clock is wrong has a low finding about each of its models: no reason to refuse all of them."""
    low = {f"name:m{number}": LOW for number in range(MAX_HISTORIES)}
    assert len(of(low).histories) == MAX_HISTORIES
    over = of(low | {"name:bad": HIGH})
    assert (len(over.histories), over.not_listed) == (1, 0)
    assert over.open_for(["name:bad"]) == HIGH
    assert of(low | {"name:more": LOW}).histories == ()


def test_findings_of_several_histories_add_up_to_the_gravest():
    """An event is in the history of its name and in that of its repository."""
    both = of(
        {"name:a": LOW, "repo:1": OpenFindings(count=2, severity=OpenSeverity.HIGH, kind=OpenClass.FINDING)}
    )
    found = both.open_for(["name:a", "repo:1", "name:a"])
    assert (found.count, found.severity, found.kind) == (3, OpenSeverity.HIGH, OpenClass.TAMPER)
    assert (found.blocks, LOW.blocks) == (True, False)


def test_one_of_several_monitors_keys_is_enough_and_a_stranger_is_not():
    note = format_monitor_statement(of(), KEY)
    other = Ed25519NoteSigner("other.example", ed25519_key("other")).verifier
    assert verify_monitor_statement(note, vkeys=[other, KEY.verifier]) == of()
    with pytest.raises(SignatureError):
        verify_monitor_statement(note, vkeys=[other])
    with pytest.raises(SignatureError):
        verify_monitor_statement(note, vkeys=[])


@given(st.data())
def test_no_change_of_one_byte_is_read(data):
    """Every byte is signed, or is the signature, or the name that it is known by."""
    note = format_monitor_statement(of({"name:a": HIGH}, log=LOW), KEY)
    at = data.draw(st.integers(0, len(note) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda each: each != note[at]))
    with pytest.raises(LedgerError):
        verify_monitor_statement(
            note[:at] + bytes([byte]) + note[at + 1 :],
            vkeys=[KEY.verifier],
        )
