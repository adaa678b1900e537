"""The only parsers of bytes from outside: one spelling for each value, everything else refused."""

import base64
import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from ledger import encoding
from ledger.errors import LimitError, MalformedError

NOT_DECIMALS = [
    "",
    "+1",
    "-1",
    "01",
    "00",
    "1_000",
    " 1",
    "1 ",
    "1\n",
    "٤٢",
    "½",
    "0x1",
    "1e3",
    "1.0",
    str(2**63),
]


@pytest.mark.parametrize("text", NOT_DECIMALS)
def test_what_int_accepts_beyond_canonical_decimals_is_refused(text):
    with pytest.raises(
        MalformedError, match=r"^decimal: expected canonical decimal digits below 2\^63, got "
    ):
        encoding.parse_decimal(text)


@given(st.integers(0, 2**63 - 1))
def test_decimals_read_back(value):
    assert encoding.parse_decimal(str(value)) == value


@pytest.mark.parametrize(
    "text", ["A", "AA", "AAA", "AA=", "AA==\n", " AA==", "AB==", "AAB=", "A-_=", "AA==AA==", "AAAA=", "ÅA=="]
)
def test_lax_base64_is_refused(text):
    with pytest.raises(MalformedError):
        encoding.parse_base64(text)


@given(st.binary(max_size=100))
def test_base64_reads_back(value):
    text = encoding.format_base64(value)
    assert text == base64.b64encode(value).decode()
    assert encoding.parse_base64(text) == value


def test_base64_has_a_limit_before_it_is_decoded():
    with pytest.raises(LimitError, match="expected at most 32 bytes, got 48 base64 characters"):
        encoding.parse_base64("A" * 48, max_bytes=32)


@pytest.mark.parametrize("text", ["AA", "0", "0g", "00 ", " 00", "", None, 7])
def test_hex_is_lower_case_and_of_its_length(text):
    with pytest.raises(MalformedError):
        encoding.parse_hex(text, length=1)


NOT_CANONICAL = {
    "a space": b'{"a": 1}',
    "unsorted keys": b'{"b":1,"a":2}',
    "a duplicate key": b'{"a":1,"a":1}',
    "an escape that is not needed": b'{"a":"\\u0041"}',
    "an escaped slash": b'{"a":"\\/"}',
    "a trailing newline": b'{"a":1}\n',
    "a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "a float": b'{"a":1.0}',
    "an exponent": b'{"a":1e2}',
    "minus zero": b'{"a":-0}',
    "NaN": b'{"a":NaN}',
    "an integer from 2^53 on": b'{"a":9007199254740992}',
    "a lone surrogate": b'{"a":"\\ud800"}',
    "not UTF-8": b'{"a":"\xff"}',
    "two values": b"{}{}",
    "nothing": b"",
}


@pytest.mark.parametrize("why", NOT_CANONICAL)
def test_json_that_is_not_its_own_encoding_is_refused(why):
    with pytest.raises(MalformedError):
        encoding.parse_canonical_json(NOT_CANONICAL[why], max_bytes=1000)


@pytest.mark.parametrize("parse", [encoding.parse_canonical_json, encoding.parse_json])
def test_json_has_limits_of_size_and_depth(parse):
    with pytest.raises(LimitError, match="expected at most 10 bytes, got 11 bytes"):
        parse(b'"123456789"', max_bytes=10)
    with pytest.raises(LimitError, match="levels of nesting"):
        parse(b"[" * 200_000 + b"]" * 200_000, max_bytes=10**6)


def test_foreign_json_may_be_laid_out_freely_but_not_ambiguous():
    assert encoding.parse_json(b'{ "b": 1.5, "a": [] }\n', max_bytes=100) == {"a": [], "b": 1.5}
    for bad in (b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":Infinity}', b"{'a':1}"):
        with pytest.raises(MalformedError):
            encoding.parse_json(bad, max_bytes=100)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_the_fast_encoder_gives_rfc8785_bytes(value):
    """Whatever the value, orjson's bytes are used only where they are those of RFC 8785."""
    try:
        expected = rfc8785.dumps(value)
    except UnicodeEncodeError:
        with pytest.raises(MalformedError):
            encoding.format_canonical_json(value)
        return
    data = encoding.format_canonical_json(value)
    assert data == expected
    assert encoding.parse_canonical_json(data, max_bytes=len(data)) == value == json.loads(data)


def test_no_part_of_a_message_moves_a_cursor():
    """Names of strangers stand in what is checked, and even in the next step."""
    error = MalformedError(
        "path a\x1b[2J", expected="x\x07", actual="y\x9b", next_step="See \x1b]0;owned\x07"
    )
    assert str(error).isprintable()
    assert error.finding.isprintable()
    assert str(error).startswith("path a\\x1b[2J: expected x\\x07, got y\\x9b. See ")
