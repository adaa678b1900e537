"""Every lie about a value: each field of JSON, each line of text and each end of it, bent in several ways.

Nothing here knows what a field means; what an answer has is walked, so a new field is lied about from its first day on.
"""

import base64
import copy
import json
import re
from dataclasses import dataclass
from typing import Any

HEX = re.compile("[0-9a-f]{40,}")
TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
HUGE = 70_000
"""Longer than any field may be, and shorter than what an answer may be: the field's own limit is met, not the answer's."""
WRONG = (None, True, 0, -1, 1.5, "x", "", "\ud800", "é\0\u202e", [], {})
"""One of each type of JSON, and strings that are none."""
WORDS = (
    *("VERIFIED", "UNSIGNED", "INVALID_SIGNATURE", "CONTENT_MISMATCH", "UNKNOWN_KEY", "UNSUPPORTED", "ERROR"),
    *("observed", "accepted", "challenged", "rejected", "upload", "backfill", "recheck"),
    *("hub", "observer", "key", "sigstore", "certificate", "proven", "none", "unknown"),
)
"""Words that a field may have, for lies that are well formed."""


@dataclass(frozen=True)
class Lie:
    """``place``: the field as a path, with [] for whichever item; ``how``: what became of it; ``value``: the whole with the lie."""

    place: str
    how: str
    value: Any

    def __str__(self):
        return f"{self.place} {self.how}"


def walk(value, path=()):
    """Every (path, value) below a value, itself left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield (*path, key), child
        yield from walk(child, (*path, key))


def named(path):
    """A path as people read it: the same for every item of a list."""
    return "".join("[]" if isinstance(each, int) else f".{each}" for each in path).lstrip(".")


def others(value):
    """Other values of the same form."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1, 2**53, 2**63, 10**400]
    if not isinstance(value, str):
        return []
    if HEX.fullmatch(value):
        return [value[:-1] + ("0" if value[-1] != "0" else "1"), value.upper(), "0" * len(value)]
    if TIME.fullmatch(value):
        return ["2001" + value[4:], "2999" + value[4:], "9999-99-99T99:99:99Z"]
    if value.isdigit():
        return [str(int(value) + 1), str(abs(int(value) - 1)), f"0{value}", f"+{value}", str(2**63)]
    words = [each for each in WORDS if each != value] if value in WORDS else []
    return [*words, value + "x", value[:-1], value.swapcase(), f" {value}"]


def lies_about(value, *, huge=HUGE, long=20_000):
    """Yield every lie about a JSON value."""
    for path, child in walk(value):
        place = named(path)

        def bent(new, how, path=path, place=place):
            return Lie(place, how, _with(value, path, new))

        yield Lie(place, "missing", _without(value, path))
        for wrong in WRONG:
            if type(wrong) is not type(child) or wrong != child:
                yield bent(wrong, f"= {wrong!a}")
        for other in others(child):
            if other != child:
                yield bent(other, f"= {str(other)[:80]!a}")
        yield bent("A" * huge, "huge")
        yield bent(_deep(100), "deep")
        if isinstance(child, list) and child:
            yield bent([*child, child[0]], "with an item twice")
            yield bent(child * (1 + long // len(child)), "long")
        if isinstance(child, dict):
            yield bent({**child, "unknown": 1}, "with a field more")
    if isinstance(value, dict):
        yield Lie("", "with a field more", {**value, "unknown": 1})
    for wrong in WRONG:
        yield Lie("", f"= {wrong!a}", wrong)


def _deep(levels):
    found: Any = 1
    for _ in range(levels):
        found = [found]
    return found


def _with(value, path, new):
    made = copy.deepcopy(value)
    _parent(made, path)[path[-1]] = new
    return made


def _without(value, path):
    made = copy.deepcopy(value)
    del _parent(made, path)[path[-1]]
    return made


def _parent(value, path):
    for each in path[:-1]:
        value = value[each]
    return value


def lies_in_text(text):
    """Yield every lie about lines: each one missing, twice, empty, longer, huge, out of its place, and with a letter changed."""
    yield from (lie for lie in _lies_in_text(text) if lie.value != text)


def _lies_in_text(text):
    lines = text.split("\n")
    for at, line in enumerate(lines):
        place = f"line {at + 1}"

        def put(*new, at=at):
            return "\n".join([*lines[:at], *new, *lines[at + 1 :]])

        yield Lie(place, "missing", put())
        yield Lie(place, "twice", put(line, line))
        yield Lie(place, "empty", put(""))
        yield Lie(place, "longer", put(line + "A"))
        yield Lie(place, "with a space", put(line + " "))
        yield Lie(place, "with a carriage return", put(line + "\r"))
        yield Lie(place, "huge", put(line + "A" * HUGE))
        if at + 1 < len(lines):
            yield Lie(place, "after the next", "\n".join(_swapped(lines, at)))
        for where in sorted({0, 1, len(line) // 2, len(line) - 1} & set(range(len(line)))):
            yield Lie(
                place, f"letter {where} changed", put(line[:where] + _other(line[where]) + line[where + 1 :])
            )
        if line.isdigit():
            for number in (int(line) + 1, int(line) - 1, 0, 2**63 - 1, 2**63, f"0{line}", f"+{line}", "٤"):
                yield Lie(place, f"= {number}", put(str(number)))
    yield from ends(text)


def ends(text):
    """Yield the text cut off, and with more behind it."""
    for part in range(8):
        yield Lie("end", f"cut at {part}/8", text[: len(text) * part // 8])
    yield Lie("end", "cut by a byte", text[:-1])
    for more in ("\n", "A", "\0", text):
        yield Lie("end", f"with {more[:8]!a} behind", text + more)


def _swapped(lines, at):
    made = list(lines)
    made[at], made[at + 1] = made[at + 1], made[at]
    return made


def _other(letter):
    return "B" if letter == "A" else "A"


def as_bytes(value):
    """JSON as a server writes it; half of a surrogate pair stays what it is."""
    return json.dumps(value, separators=(",", ":")).encode()


def canonical(value):
    """JSON in the form of RFC 8785, as far as values without floats need it; half of a pair is no UTF-8."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode(
        "utf-8", "replace"
    )


def b64(data):
    return base64.b64encode(data).decode()
