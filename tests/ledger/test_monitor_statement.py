"""What a monitor signs: the bounds, and what an overflowing statement says."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import LedgerError, NotFoundError, SignatureError
from ledger.monitor_statement import (
    MAX_STATEMENT_BYTES,
    MonitorStatement,
    format_monitor_statement,
    verify_monitor_statement,
)
from ledger.open_findings import (
    MAX_HISTORIES,
    MAX_PART_BYTES,
    MAX_PARTS,
    OpenClass,
    OpenFindings,
    OpenList,
    OpenSeverity,
    parse_parts,
)
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.signed_note import Ed25519NoteSigner
from tests.world import ed25519_key

KEY = Ed25519NoteSigner("monitor.example", ed25519_key("monitor.example"))
TREE = Checkpoint(origin="log.example/models", size=9, root_hash=bytes(32))
HIGH = OpenFindings(count=2**53 - 1, severity=OpenSeverity.CRITICAL, kind=OpenClass.MALFORMED)
LOW = OpenFindings(count=1, severity=OpenSeverity.LOW, kind=OpenClass.TAMPER)


def of(findings=None, **more):
    return MonitorStatement.of(
        TREE, OpenList.of("log.example/models", findings or {}), checked_at=1_000, **more
    )


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


def test_the_most_that_can_be_listed_fits_and_one_more_makes_parts():
    """A client that is shown no list must not read it as nothing."""
    table = {f"name:m{number}": HIGH for number in range(MAX_HISTORIES)}
    note = format_monitor_statement(of(table, log=HIGH), KEY)
    assert len(note) <= MAX_STATEMENT_BYTES
    assert len(verify_monitor_statement(note, vkeys=[KEY.verifier]).histories) == MAX_HISTORIES
    over = of(table | {"name:more": HIGH})
    assert over.histories == ()
    assert sum(each.count for each in over.parts) == MAX_HISTORIES + 1
    assert verify_monitor_statement(format_monitor_statement(over, KEY), vkeys=[KEY.verifier]) == over
    with pytest.raises(NotFoundError):
        over.open_for(["name:more"])


def test_of_as_many_as_a_large_hub_has_the_statement_is_small_and_one_part_is_enough():
    table = {f"name:m{number}": HIGH for number in range(35_000)}
    found = OpenList.of("log.example/models", table)
    made = MonitorStatement.of(TREE, found, checked_at=1_000)
    note = format_monitor_statement(made, KEY)
    assert len(note) < 8 << 10
    read = verify_monitor_statement(note, vkeys=[KEY.verifier])
    for name in ("name:m17", "name:m34999"):
        (part,) = read.parts_for([name])
        assert len(found.files[part.name]) <= MAX_PART_BYTES
        assert read.open_for([name], [found.files[part.name]]) == HIGH
    (part,) = read.parts_for(["name:nobody"])
    assert read.open_for(["name:nobody"], [found.files[part.name]]) is None


def test_the_longest_statement_there_can_be_fits():
    """However deep its parts lie, which somebody can bring about who looks for names whose digests begin alike."""

    def down(bits, end):
        """A part whose halves are cut again and again, each time the second one."""
        return [*range(bits + 1, end + 1), end]

    depths = [*down(5, 53), *down(4, 256)[1:], *down(4, 256) * 15]
    parts = parse_parts(f"{bits} 1024 {'0' * 64}" for bits in depths)
    made = replace(of(log=HIGH), parts=parts)
    note = format_monitor_statement(made, KEY)
    assert len(parts) == MAX_PARTS
    assert len(note) < MAX_STATEMENT_BYTES
    assert verify_monitor_statement(note, vkeys=[KEY.verifier]) == made


def test_of_more_than_parts_can_hold_there_is_only_the_number():
    table = {f"name:m{number}": HIGH for number in range(MAX_PARTS + 1)}
    over = MonitorStatement.of(
        TREE, OpenList.of("log.example/models", table, most_in_part=1), checked_at=1_000
    )
    assert (over.histories, over.parts, over.not_listed) == ((), (), MAX_PARTS + 1)
    assert verify_monitor_statement(format_monitor_statement(over, KEY), vkeys=[KEY.verifier]) == over


def test_what_stops_no_client_is_left_out_before_nothing_is_listed():
    """A hub whose clock is wrong has a low finding about each of its models: no reason to refuse all of them."""
    low = {f"name:m{number}": LOW for number in range(MAX_HISTORIES)}
    assert len(of(low).histories) == MAX_HISTORIES
    over = of(low | {"name:bad": HIGH})
    assert (len(over.histories), over.parts, over.not_listed) == (1, (), 0)
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
    assert (HIGH + HIGH).count == HIGH.count, "more than can be written are as many as can be written"


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
