"""The list of open findings in parts: where each history falls, and every way in which a part can be another than the signed one."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import LedgerError, LimitError, NotFoundError
from ledger.monitor_statement import MonitorStatement
from ledger.open_findings import (
    MAX_PART_BYTES,
    MAX_PART_HISTORIES,
    MAX_PARTS,
    ListPart,
    OpenClass,
    OpenFindings,
    OpenList,
    OpenSeverity,
    check_parts,
    cut,
    history_digest,
    parse_parts,
    verify_part,
)
from ledger.tlog.checkpoint import Checkpoint

LEDGER = "log.example/models"
TREE = Checkpoint(origin=LEDGER, size=9, root_hash=bytes(32))
FOUND = OpenFindings(count=1, severity=OpenSeverity.HIGH, kind=OpenClass.FINDING)
WORST = OpenFindings(count=2**53 - 1, severity=OpenSeverity.CRITICAL, kind=OpenClass.MALFORMED)
ALL = 2**256

blocking = st.builds(
    OpenFindings,
    count=st.integers(1, 2**53 - 1),
    severity=st.sampled_from(list(OpenSeverity)[1:]),
    kind=st.sampled_from(OpenClass),
)
tables = st.dictionaries(st.text(max_size=9), blocking, min_size=4, max_size=60)


def divided(table, **limits):
    found = OpenList.of(LEDGER, table, most=3, **limits)
    return MonitorStatement.of(TREE, found, checked_at=1_000), found.files


@given(tables, st.integers(1, 5))
def test_every_history_is_in_exactly_one_part_and_that_part_is_enough(table, most):
    statement, files = divided(table, most_in_part=most)
    for key, found in table.items():
        (part,) = statement.parts_for([key])
        lines = [line for data in files.values() for line in data.splitlines()]
        assert [each for each in lines if each.startswith(history_digest(LEDGER, key).hex().encode())]
        assert len(lines) == len(table)
        assert statement.open_for([key], [files[part.name]]) == found
        others = [data for name, data in files.items() if name != part.name]
        with pytest.raises(NotFoundError):
            statement.open_for([key], others)
    (part,) = statement.parts_for(["name:nobody at all"])
    assert statement.open_for(["name:nobody at all"], [files[part.name]]) is None


@given(st.binary(min_size=32, max_size=32), st.sets(st.binary(min_size=1, max_size=2), max_size=30))
def test_digests_that_begin_alike_are_cut_apart_too(like, ends):
    """Whoever looks for names with such digests makes parts that lie deep, and none that is too long."""
    rows = sorted((like[: -len(end)] + end, FOUND) for end in ends)
    parts = [(first, bits, some) for first, bits, some in cut(rows, most=2)]
    assert [row for _, _, some in parts for row in some] == rows
    assert all(len(some) <= 2 for _, _, some in parts)
    bounds = [(first, first + ALL // 2**bits) for first, bits, _ in parts]
    assert [end for _, end in bounds] == [*(first for first, _ in bounds[1:]), ALL]
    assert bounds[0][0] == 0
    for (first, end), (_, _, some) in zip(bounds, parts, strict=True):
        assert all(first <= int.from_bytes(digest) < end for digest, _ in some)


@given(tables)
def test_a_list_has_one_form_and_is_cut_only_where_it_is_too_long(table):
    statement, _ = divided(table, most_in_part=3)
    assert divided(dict(reversed(table.items())), most_in_part=3)[0] == statement
    for one, other in zip(statement.parts, statement.parts[1:], strict=False):
        if one.bits == other.bits and one.first % (2 * (one.end - one.first)) == 0:
            assert one.count + other.count > 3


def test_a_further_history_changes_one_part():
    """So that a publication writes little."""
    table = {f"name:m{at}": FOUND for at in range(500)}
    before, after = divided(table, most_in_part=90)[1], divided(table | {"x": FOUND}, most_in_part=90)[1]
    assert len(before) == len(after) == 8
    assert len(after.keys() - before.keys()) == 1


def part_of(*rows, count=None, first=0, bits=0):
    """A part that a monitor signed, whatever is in it."""
    data = b"".join(rows)
    digest = hashlib.sha256(data).digest()
    return data, ListPart(first=first, bits=bits, count=len(rows) if count is None else count, sha256=digest)


def row(digit, found=FOUND):
    return f"{digit * 64} {found}\n".encode()


def test_a_part_that_was_signed_is_read():
    data, part = part_of(row("1"), row("2"), row("f"))
    assert [each.history.hex()[0] for each in verify_part(data, part)] == ["1", "2", "f"]
    assert verify_part(*part_of()) == ()


LIES = {
    "other bytes": (row("1") + row("3"), part_of(row("1"), row("2"))[1]),
    "cut off": (row("1"), part_of(row("1"), row("2"))[1]),
    "nothing": (b"", part_of(row("1"))[1]),
    "unsorted": part_of(row("2"), row("1")),
    "repeated": part_of(row("1"), row("1")),
    "of another part": part_of(row("1"), row("8"), bits=1),
    "of the part before": part_of(row("7"), row("8"), bits=1, first=ALL // 2),
    "fewer than it says": part_of(row("1"), count=2),
    "more than it says": part_of(row("1"), row("2"), count=1),
    "more than any has": part_of(*(f"{at:064x} {FOUND}\n".encode() for at in range(1025)), count=1024),
    "no line feed": part_of(row("1"), row("2")[:-1]),
    "something behind the last line": part_of(row("1"), b"x", count=1),
    "other line feeds": part_of(row("1").replace(b"\n", b"\r\n")),
    "capitals": part_of(row("a").upper()),
    "no text": part_of(b"\xff" * 64 + b" 1 high finding\n"),
    "a digit of another script": part_of("١".encode() * 64 + b" 1 high finding\n"),
    "a severity that nobody knows": part_of(row("1").replace(b"high", b"grave")),
    "none open": part_of(row("1").replace(b" 1 high", b" 0 high")),
    "a statement": part_of(b"hubledger/monitor-statement/v1\n"),
}


@pytest.mark.parametrize("lie", LIES)
def test_no_other_part_is_read(lie):
    data, part = LIES[lie]
    with pytest.raises(LedgerError):
        verify_part(data, part)


def test_the_largest_part_is_read_and_nothing_larger():
    rows = [f"{at:064x} {WORST}\n".encode() for at in range(MAX_PART_HISTORIES)]
    data, part = part_of(*rows)
    assert len(data) == MAX_PART_BYTES
    assert len(verify_part(data, part)) == MAX_PART_HISTORIES
    with pytest.raises(LimitError):
        verify_part(data + b"\n", part)


@given(st.lists(st.integers(0, 4), max_size=9))
def test_parts_are_read_only_where_they_hold_every_digest_once(sizes):
    lines = [f"{bits} 1 {'0' * 64}" for bits in sizes]
    at, fits = 0, True
    for bits in sizes:
        fits = fits and at % (16 >> bits) == 0
        at += 16 >> bits
    try:
        check_parts(parse_parts(lines))
    except LedgerError:
        assert not fits or at != 16
    else:
        assert not sizes or (fits and at == 16)


def test_more_parts_than_a_statement_may_have_are_refused():
    def even(bits):
        return parse_parts([f"{bits} 1 {'0' * 64}"] * 2**bits)

    check_parts(even(12))
    assert len(even(12)) == MAX_PARTS
    with pytest.raises(LedgerError):
        check_parts(even(13))


def test_a_part_of_another_statement_is_none_of_this():
    one, files = divided({f"name:m{at}": FOUND for at in range(9)}, most_in_part=4)
    other, _ = divided({f"name:m{at}": WORST for at in range(9)}, most_in_part=4)
    assert one.parts_for(["name:m1"])[0].first == other.parts_for(["name:m1"])[0].first
    with pytest.raises(NotFoundError):
        other.open_for(["name:m1"], files.values())
    mixed = replace(other, parts=one.parts)
    assert mixed.open_for(["name:m1"], files.values()) == FOUND
