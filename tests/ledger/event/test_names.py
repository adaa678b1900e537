"""Names from outside: one escaped form each, printable, bounded, and nothing that two names share (docs/spec/event.md)."""

import hashlib
import re
import unicodedata
import urllib.parse

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.event.names import MAX_NAME_BYTES, escape_bytes, escape_name

SAFE = re.compile(r"(?:[\x21-\x24\x26-\x7E]|%[0-9A-F]{2})*")

texts = st.text(max_size=400)
names = texts | st.binary(max_size=400)


def reference(raw):
    """The rule as the text says it, byte by byte."""
    escaped = ""
    for byte in raw:
        escaped += chr(byte) if 0x21 <= byte <= 0x7E and chr(byte) != "%" else f"%{byte:02X}"
    if len(escaped) <= 256:
        return escaped
    kept = escaped[:180]
    for cut in (1, 2):  # before a partial %XX
        if kept[-cut] == "%":
            kept = kept[:-cut]
            break
    return kept + "%~" + hashlib.sha256(escaped.encode()).hexdigest()


def bytes_of(name):
    """NFC as UTF-8; what is no text stays the bytes that it is."""
    if isinstance(name, bytes):
        try:
            return unicodedata.normalize("NFC", name.decode()).encode()
        except UnicodeDecodeError:
            return name
    return unicodedata.normalize("NFC", name).encode()


@given(name=names)
@example(name="a" * 256)
@example(name="a" * 257)
@example(name="a" * 179 + "é" * 40)
@example(name="a" * 178 + "é" * 40)
@example(name="a" * 177 + "é" * 40)
@example(name="%" * 86)
@example(name=b"\xff" * 100)
def test_a_name_is_escaped_as_the_specification_says(name):
    assert escape_name(name) == reference(bytes_of(name))


@given(name=names)
def test_an_escaped_name_is_printable_and_bounded(name):
    escaped = escape_name(name)
    assert len(escaped) <= MAX_NAME_BYTES
    head, mark, digest = escaped.rpartition("%~")
    if mark:
        assert SAFE.fullmatch(head)
        assert len(head) <= 180
        assert re.fullmatch("[0-9a-f]{64}", digest)
    else:
        assert SAFE.fullmatch(escaped)


@given(raw=st.binary(max_size=80))
def test_escaped_bytes_read_back_with_any_percent_decoder(raw):
    assert urllib.parse.unquote_to_bytes(escape_bytes(raw)) == raw


@given(one=st.binary(max_size=300), other=st.binary(max_size=300))
def test_two_names_never_share_a_form(one, other):
    assert (escape_name(one) == escape_name(other)) == (bytes_of(one) == bytes_of(other))


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("acme/tiny-llm", "acme/tiny-llm"),
        ("", ""),
        ("100%", "100%25"),
        ("a b", "a%20b"),
        ("a\nb\x7f", "a%0Ab%7F"),
        ("modèle", "mod%C3%A8le"),
        ("mode\u0300le", "mod%C3%A8le"),
        ("名", "%E5%90%8D"),
        (b"\xff\xfe", "%FF%FE"),
        ("\ud800", "%ED%A0%80"),
        ("\udcff", "%FF"),
        ("a%~b", "a%25~b"),
    ],
)
def test_examples(name, escaped):
    assert escape_name(name) == escaped


def test_no_name_looks_like_a_longer_one_that_was_cut():
    """``%~`` is in no escaped name, so a hub cannot be sent a short name that is shown as another's long one."""
    long = escape_name("a" * 300)
    assert "%~" in long
    assert escape_name(long) != long
    assert "%~" not in escape_name(long).replace("%25~", "")


@pytest.mark.parametrize("length", [178, 179, 180])
def test_a_long_name_is_cut_before_a_partial_escape(length):
    escaped = escape_name(b"a" * length + b"\xff" * 60)
    assert escaped.index("%~") in (length, 180)
    assert SAFE.fullmatch(escaped.partition("%~")[0])


@given(text=texts)
def test_text_and_its_utf_8_are_one_name(text):
    assert escape_name(text) == escape_name(text.encode())


@given(raw=st.binary(max_size=100))
def test_a_name_from_the_file_system_is_the_bytes_that_it_was(raw):
    """Python reads bytes that are no UTF-8 as lone surrogates; the name is that of the bytes."""
    name = raw.decode("utf-8", "surrogateescape")
    try:
        raw.decode()
    except UnicodeDecodeError:
        assert escape_name(name) == escape_name(
            unicodedata.normalize("NFC", name).encode("utf-8", "surrogateescape")
        )
    else:
        assert escape_name(name) == escape_name(raw)
