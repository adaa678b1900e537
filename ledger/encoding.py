"""Strict decimal, base64, hex and JSON: the only module that parses bytes from outside.

Parse, format again, compare; refuse what differs. JSON of our own is RFC 8785 (JCS) with integers below
2^53 and no floating-point numbers; base64 is RFC 4648 section 4, padded.
"""

import binascii
import json
import re
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

import orjson
import pybase64
import rfc8785

from ledger.errors import LimitError, MalformedError

Json = Any
"""What JSON can hold here: null, bool, int, str, lists and string-keyed dicts of these."""

MAX_DECIMAL = 2**63 - 1
"""The largest tree size or timestamp that C2SP formats carry."""
MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that every JSON implementation reads back unchanged (RFC 8785 section 3.2.2.3)."""
MAX_JSON_DEPTH = 64
"""Nesting of foreign JSON; a Sigstore bundle needs about ten."""

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_HEX = re.compile(r"(?:[0-9a-f]{2})*")


def parse_decimal(text: str, *, what: str = "decimal") -> int:
    """Parse a canonical decimal below 2^63: ASCII digits, no sign, no leading zero (c2sp.org/tlog-checkpoint).

    Raises:
        MalformedError: anything that ``int()`` accepts beyond that (signs, spaces, underscores, other digits).
    """
    if not _DECIMAL.fullmatch(text) or (value := int(text)) > MAX_DECIMAL:
        raise MalformedError(what, expected="canonical decimal digits below 2^63", actual=text)
    return value


def parse_whole(value: object, *, what: str = "number") -> int:
    """Return a JSON number that is whole, from 0 to 2^53 - 1; protobuf's Struct writes ``8`` as ``8.0``.

    Raises:
        MalformedError: a fraction, a negative or larger number, or none at all.
    """
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    if type(whole) is not int or not 0 <= whole <= MAX_SAFE_INTEGER:
        raise MalformedError(what, expected="a whole number below 2^53", actual=value)
    return whole


def parse_base64(text: str | bytes, *, what: str = "base64", max_bytes: int | None = None) -> bytes:
    """Decode padded standard base64 (RFC 4648 section 4) that is its own re-encoding.

    Raises:
        MalformedError: another alphabet, missing padding, stray characters, non-zero trailing bits.
        LimitError: more than ``max_bytes`` would come out.
    """
    if max_bytes is not None and len(text) > (max_bytes + 2) // 3 * 4:
        raise LimitError(what, expected=f"at most {max_bytes} bytes", actual=f"{len(text)} base64 characters")
    try:
        raw = text.encode("ascii") if isinstance(text, str) else text
        value = pybase64.b64decode(raw, validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError) as error:
        raise MalformedError(what, expected="padded standard base64", actual=str(text)) from error
    if pybase64.b64encode(value) != raw:
        raise MalformedError(what, expected="canonical base64", actual=str(text))
    return value


def format_base64(value: bytes) -> str:
    """Format padded standard base64 (RFC 4648 section 4)."""
    return pybase64.b64encode_as_string(value)


def parse_hex(text: object, *, length: int | None = None, what: str = "hex") -> bytes:
    """Decode lower-case hex, of exactly ``length`` bytes where given.

    Raises:
        MalformedError: not a string, upper case, odd or wrong length.
    """
    if (
        not isinstance(text, str)
        or not _HEX.fullmatch(text)
        or (length is not None and len(text) != 2 * length)
    ):
        wanted = "lower-case hex" if length is None else f"{2 * length} lower-case hex digits"
        raise MalformedError(what, expected=wanted, actual=text)
    return bytes.fromhex(text)


_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def parse_form(text: str, *, what: str = "query", max_chars: int) -> dict[str, bytes]:
    """Parse ``name=value&…`` as forms and queries of addresses write it: ``%XX`` and ``+`` decoded, each name once.

    Values are bytes, whatever they are: names of strangers are among them.

    Raises:
        LimitError: longer than ``max_chars``. MalformedError: a name twice or without a value, or a bare ``%``.
    """
    if len(text) > max_chars:
        raise LimitError(what, expected=f"at most {max_chars} characters", actual=f"{len(text)} characters")
    found: dict[str, bytes] = {}
    for pair in text.split("&") if text else ():
        name, equals, value = pair.partition("=")
        if not equals or name in found or not name.isalnum() or not name.isascii():
            raise MalformedError(what, expected="name=value, each name once", actual=pair)
        if _BARE_PERCENT.search(value):
            raise MalformedError(f"{what} {name}", expected="% and two hex digits", actual=value)
        found[name] = unquote_to_bytes(value.replace("+", " ").encode("utf-8", "surrogatepass"))
    return found


def format_canonical_json(value: Json) -> bytes:
    """Format RFC 8785 JSON of values without floating-point numbers.

    orjson with sorted keys gives RFC 8785 bytes as long as every key is ASCII, which is seen from the
    output; anything else takes the slow, complete encoder. Floating-point numbers are not looked for, because a walk
    over each value would cost more than encoding it: the types of ``ledger.event`` hold none, and none is parsed.

    Raises:
        MalformedError: an integer of 2^53 or more, a lone surrogate, a key that is not a string.
    """
    try:
        fast = orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER)
        return fast if fast.isascii() else rfc8785.dumps(value)
    except (TypeError, ValueError, UnicodeError, rfc8785.CanonicalizationError) as error:
        raise MalformedError("canonical JSON", expected="RFC 8785 values", actual=str(error)) from error


def prepare_json(value: Json) -> Json | None:
    """Return a value that stands for ``value`` inside of larger ones and costs nothing to format there.

    None where that is not possible: the complete encoder, which non-ASCII text needs, knows no prepared parts.

    Raises:
        MalformedError: as ``format_canonical_json``.
    """
    data = format_canonical_json(value)
    return orjson.Fragment(data) if data.isascii() else None


def parse_canonical_json(data: bytes, *, what: str = "canonical JSON", max_bytes: int) -> Json:
    """Parse JSON that equals its own RFC 8785 re-encoding.

    The comparison also refuses duplicate keys, spaces, other escapes and unsorted keys, because each of
    them re-encodes to other bytes.

    Raises:
        LimitError: longer than ``max_bytes``, or nested deeper than the parser allows.
        MalformedError: not JSON, not canonical, or with a number that is not an integer below 2^53.
    """
    value = _load(data, what=what, max_bytes=max_bytes, pairs_hook=None)
    if format_canonical_json(value) != data:
        raise MalformedError(
            what, expected="its own RFC 8785 encoding", actual="other bytes for the same value"
        )
    return value


def parse_json(data: bytes, *, what: str = "JSON", max_bytes: int) -> Json:
    """Parse JSON that others wrote: any layout, but no duplicate keys, no NaN, bounded size and depth.

    Floating-point numbers are allowed (protobuf writers produce them) and left to the caller.

    Raises:
        LimitError: longer than ``max_bytes`` or deeper than ``MAX_JSON_DEPTH``.
        MalformedError: not UTF-8, not JSON, or with a duplicate key.
    """
    if (value := _load_compact(data, max_bytes=max_bytes)) is not None:
        return value
    value = _load(data, what=what, max_bytes=max_bytes, pairs_hook=_unique, floats=True)
    _check_depth(value, what=what)
    return value


def _load_compact(data: bytes, *, max_bytes: int) -> Json | None:
    """Read JSON without spaces and escapes of choice, as most programs write it, in a tenth of the time; None: look closer.

    Nothing is refused here. What comes out as the same bytes again has no key twice, since one of the two would be
    missing, and nothing nests deeper than it has brackets. A newline may end it, as Go's encoder writes one.
    """
    if len(data) > max_bytes or data.count(b"{") + data.count(b"[") >= MAX_JSON_DEPTH:
        return None
    try:
        value = orjson.loads(data)
        return value if orjson.dumps(value) == data.removesuffix(b"\n") else None
    except (TypeError, ValueError):
        return None


def parse_audited_json(data: bytes) -> Json:
    """Read JSON that was found canonical before, by an audit or by ourselves: nothing of its form is checked again.

    Raises:
        MalformedError: not JSON at all.
    """
    try:
        return orjson.loads(data)
    except ValueError as error:
        raise MalformedError("audited JSON", expected="JSON", actual=str(error)) from error


def _load(data: bytes, *, what: str, max_bytes: int, pairs_hook: Any, floats: bool = False) -> Json:
    if len(data) > max_bytes:
        raise LimitError(what, expected=f"at most {max_bytes} bytes", actual=f"{len(data)} bytes")
    try:
        return json.loads(
            data.decode("utf-8"),
            parse_float=float if floats else _refuse_number,
            parse_constant=_refuse_number,
            object_pairs_hook=pairs_hook,
        )
    except MalformedError:
        raise
    except RecursionError as error:
        raise LimitError(
            what, expected=f"at most {MAX_JSON_DEPTH} levels of nesting", actual="more"
        ) from error
    except ValueError as error:
        raise MalformedError(what, expected="UTF-8 JSON", actual=str(error)) from error


def _refuse_number(text: str) -> NoReturn:
    raise MalformedError("JSON number", expected="an integer", actual=text)


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise MalformedError("JSON object", expected="each key once", actual="a duplicate key")
    return value


def _check_depth(value: Json, *, what: str) -> None:
    """Walk level by level; a deep value never costs interpreter stack here."""
    level: list[Json] = [value]
    for _ in range(MAX_JSON_DEPTH):
        level = [
            child
            for node in level
            if isinstance(node, (dict, list))
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return
    raise LimitError(what, expected=f"at most {MAX_JSON_DEPTH} levels of nesting", actual="more")
