"""What a field of a statement may hold: one small class a kind, used to check, and to write the JSON Schemas."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ledger.encoding import MAX_SAFE_INTEGER, format_canonical_json
from ledger.errors import MalformedError
from ledger.identity import Capped, overflow_text

Fits = Callable[[Any], object]
"""True, or what counts as true, only of a value that ``check`` lets through; it may raise TypeError for any other."""
Place = str | tuple["Place", str]
"""Where a value is: a name, or a place and the field of it. Put into words only where something is refused."""


class Kind(Protocol):
    """One kind of value."""

    def check(self, value: Any, what: Place) -> None:
        """Return if ``value`` is of this kind. Raises MalformedError."""
        ...

    def fits(self) -> Fits:
        """Return a quick test: what it is true of, ``check`` lets through. What it is not true of, ``check`` decides."""
        ...

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema (2020-12) of this kind, as far as it can say it."""
        ...


def _refuse(what: Place, expected: str, value: object) -> MalformedError:
    return MalformedError(_words(what), expected=expected, actual=value)


def _words(what: Place) -> str:
    return what if isinstance(what, str) else f"{_words(what[0])}.{what[1]}"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A string that a regular expression matches whole."""

    pattern: str
    says: str

    def check(self, value: Any, what: Place) -> None:
        """See ``Kind``."""
        if not isinstance(value, str) or not _compiled(self.pattern).fullmatch(value):
            raise _refuse(what, self.says, value)

    def fits(self) -> Fits:
        """See ``Kind``."""
        return _compiled(self.pattern).fullmatch

    def schema(self) -> dict[str, Any]:
        """See ``Kind``."""
        return {"type": "string", "pattern": f"^{self.pattern}$"}


_patterns: dict[str, re.Pattern[str]] = {}


def _compiled(pattern: str) -> re.Pattern[str]:
    if pattern not in _patterns:
        _patterns[pattern] = re.compile(pattern)
    return _patterns[pattern]


SHA256 = Pattern("[0-9a-f]{64}", "64 lower-case hex digits")
TIME = Pattern(
    "[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z",
    "a time as YYYY-MM-DDTHH:MM:SSZ",
)
NAME = Pattern("[\\x21-\\x7E]{1,256}", "1 to 256 bytes of 0x21-0x7E")
EVENT_ID = Pattern("[\\x21-\\x7E]{1,128}", "1 to 128 bytes of 0x21-0x7E")
CODE = Pattern("[a-z0-9][a-z0-9-]{0,39}", "a code of at most 40 letters, digits and hyphens")
HISTORY_KEY = Pattern(
    "(?:hub:|(?:repo|name|namespace):[\\x21-\\x7E]{1,256})", "hub:, repo:…, name:… or namespace:…"
)


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer from ``low`` to 2^53 - 1."""

    low: int = 0

    def check(self, value: Any, what: Place) -> None:
        """See ``Kind``."""
        if type(value) is not int or not self.low <= value <= MAX_SAFE_INTEGER:
            raise _refuse(what, f"an integer from {self.low} to 2^53 - 1", value)

    def fits(self) -> Fits:
        """See ``Kind``."""
        low = self.low
        return lambda value: type(value) is int and low <= value <= MAX_SAFE_INTEGER

    def schema(self) -> dict[str, Any]:
        """See ``Kind``."""
        return {"type": "integer", "minimum": self.low, "maximum": MAX_SAFE_INTEGER}


@dataclass(frozen=True, slots=True)
class Position:
    """An integer below 2^53, or a larger one as a decimal string."""

    def check(self, value: Any, what: Place) -> None:
        """See ``Kind``."""
        if type(value) is int and 0 <= value <= MAX_SAFE_INTEGER:
            return
        large = isinstance(value, str) and _compiled("[1-9][0-9]{15,19}").fullmatch(value)
        if not large or int(value) <= MAX_SAFE_INTEGER:
            raise _refuse(what, "an integer below 2^53, or a decimal string from there on", value)

    def fits(self) -> Fits:
        """See ``Kind``."""
        return lambda value: type(value) is int and 0 <= value <= MAX_SAFE_INTEGER

    def schema(self) -> dict[str, Any]:
        """See ``Kind``."""
        return {"oneOf": [Integer().schema(), {"type": "string", "pattern": "^[1-9][0-9]{15,19}$"}]}


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of a closed set of strings."""

    values: tuple[str, ...]

    def check(self, value: Any, what: Place) -> None:
        """See ``Kind``."""
        if value not in self.values or not isinstance(value, str):
            raise _refuse(what, "one of " + ", ".join(self.values), value)

    def fits(self) -> Fits:
        """See ``Kind``."""
        return frozenset(self.values).__contains__

    def schema(self) -> dict[str, Any]:
        """See ``Kind``."""
        return {"enum": list(self.values)}


@dataclass(frozen=True, slots=True)
class Boolean:
    """true or false."""

    def check(self, value: Any, what: Place) -> None:
        """See ``Kind``."""
        if not isinstance(value, bool):
            raise _refuse(what, "true or false", value)

    def fits(self) -> Fits:
        """See ``Kind``."""
        return lambda value: value is True or value is False

    def schema(self) -> dict[str, Any]:
        """See ``Kind``."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Text:
    """A string whose JSON form has at most ``cap`` bytes between its quotes; a longer one is ``{count, sha256}``."""

    cap: int

    def check(self, value: Any, what: Place) -> None:
        """See ``Kind``."""
        if isinstance(value, str):
            if encoded_bytes(value) > self.cap:
                raise _refuse(what, f"at most {self.cap} encoded bytes", f"{encoded_bytes(value)} bytes")
        else:
            OVERFLOW.check(value, what)

    def fits(self) -> Fits:
        """See ``Kind``."""
        cap = self.cap
        return lambda value: type(value) is str and len(value) <= cap and _is_plain(value)

    def schema(self) -> dict[str, Any]:
        """See ``Kind``."""
        return {"oneOf": [{"type": "string", "maxLength": self.cap}, OVERFLOW.schema()]}


def encoded_bytes(text: str) -> int:
    """Return the bytes of a string's RFC 8785 form without its quotes; what a byte cap counts."""
    return len(text) if _is_plain(text) else len(format_canonical_json(text)) - 2


def _is_plain(text: str) -> bool:
    """Whether the JSON form of a text is itself between quotes."""
    return text.isascii() and text.isprintable() and '"' not in text and "\\" not in text


def cap(text: str, limit: int) -> Capped:
    """Return a string, or its overflow form above ``limit`` encoded bytes. Lone surrogates become U+FFFD."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if encoded_bytes(text) <= limit else overflow_text(text)


@dataclass(frozen=True, slots=True)
class Items:
    """A list of at most ``most`` items; ``overflow``: a longer one (or one above ``cap`` bytes) is ``{count, sha256}``."""

    kind: Kind
    most: int
    least: int = 0
    overflow: bool = False
    cap: int | None = None

    def check(self, value: Any, what: Place) -> None:
        """See ``Kind``."""
        if self.overflow and isinstance(value, dict):
            OVERFLOW.check(value, what)
            return
        if not isinstance(value, list) or not self.least <= len(value) <= self.most:
            raise _refuse(
                what,
                f"a list of {self.least} to {self.most}",
                value if not isinstance(value, list) else len(value),
            )
        for item in value:
            self.kind.check(item, what)
        if self.cap is not None and len(format_canonical_json(value)) > self.cap:
            raise _refuse(what, f"a list of at most {self.cap} bytes", "a longer one")

    def fits(self) -> Fits:
        """See ``Kind``."""
        fits, least, most = self.kind.fits(), self.least, self.most
        cap = self.cap  # JSON writes a character as six bytes at most

        def quick(value: Any) -> bool:
            if type(value) is not list or not least <= len(value) <= most:
                return False
            if cap is not None and 6 * len(str(value)) > cap:
                return False
            return all(map(fits, value)) if len(value) > 1 else not value or bool(fits(value[0]))

        return quick

    def schema(self) -> dict[str, Any]:
        """See ``Kind``."""
        listed = {"type": "array", "items": self.kind.schema(), "minItems": self.least, "maxItems": self.most}
        return {"oneOf": [listed, OVERFLOW.schema()]} if self.overflow else listed


@dataclass(frozen=True, slots=True)
class Table:
    """An object with these fields and no other; ``optional`` ones may be absent, none may be null."""

    required: Mapping[str, Kind]
    optional: Mapping[str, Kind]

    def check(self, value: Any, what: Place) -> None:
        """See ``Kind``."""
        if not isinstance(value, dict):
            raise _refuse(what, "an object", value)
        for name, kind in self.required.items():
            if name not in value:
                raise _refuse((what, name), "a value", "nothing")
            kind.check(value[name], (what, name))
        if len(value) > len(self.required):
            for name in value.keys() - self.required.keys():
                if name not in self.optional:
                    raise _refuse((what, name), "no field of this name", "one")
                self.optional[name].check(value[name], (what, name))

    def fits(self) -> Fits:
        """See ``Kind``."""
        required = [(name, kind.fits()) for name, kind in self.required.items()]
        optional = {name: kind.fits() for name, kind in self.optional.items()}
        names, count = self.required.keys(), len(required)

        def quick(value: Any) -> bool:
            if type(value) is not dict or len(value) < count:
                return False
            for name, fits in required:
                if name not in value or not fits(value[name]):
                    return False
            if len(value) > count:
                for name in value.keys() - names:
                    if name not in optional or not optional[name](value[name]):
                        return False
            return True

        return quick

    def schema(self) -> dict[str, Any]:
        """See ``Kind``."""
        properties = {
            name: kind.schema() for name, kind in sorted({**self.required, **self.optional}.items())
        }
        return {
            "type": "object",
            "properties": properties,
            "required": sorted(self.required),
            "additionalProperties": False,
        }


def quick_check(kind: Kind) -> Callable[[Any, Place], None]:
    """Return what does the same as ``kind.check``, several times as quick for what is let through."""
    fits = kind.fits()

    def check(value: Any, what: Place) -> None:
        try:
            if fits(value):
                return
        except TypeError:  # a value of another type: ``check`` says so
            pass
        kind.check(value, what)

    return check


def table(required: Mapping[str, Kind], **optional: Kind) -> Table:
    """Return a table from its required fields and, by keyword, its optional ones."""
    return Table(required, optional)


_CLAIM = re.compile("[A-Za-z0-9.]{1,64}")


@dataclass(frozen=True, slots=True)
class TextMap:
    """An object from claim names to capped strings, at most ``most``; a larger one is ``{count, sha256}``."""

    most: int
    cap: int

    def check(self, value: Any, what: Place) -> None:
        """See ``Kind``."""
        if isinstance(value, dict) and value.keys() == {"count", "sha256"} and type(value["count"]) is int:
            OVERFLOW.check(value, what)
            return
        if not isinstance(value, dict) or len(value) > self.most:
            shown = f"{len(value)} fields" if isinstance(value, dict) else value
            raise _refuse(what, f"an object of at most {self.most} fields", shown)
        kind = Text(self.cap)
        for name, text in value.items():
            if not _CLAIM.fullmatch(name):
                raise _refuse(f"{_words(what)} name", "1 to 64 letters, digits and dots", name)
            kind.check(text, (what, name))

    def fits(self) -> Fits:
        """See ``Kind``."""
        most, fits = self.most, Text(self.cap).fits()

        def quick(value: Any) -> bool:
            if type(value) is not dict or len(value) > most:
                return False
            return all(map(_CLAIM.fullmatch, value)) and all(map(fits, value.values()))

        return quick

    def schema(self) -> dict[str, Any]:
        """See ``Kind``."""
        free = {
            "type": "object",
            "maxProperties": self.most,
            "propertyNames": {"pattern": "^[A-Za-z0-9.]{1,64}$"},
            "additionalProperties": Text(self.cap).schema(),
        }
        return {"anyOf": [free, OVERFLOW.schema()]}


@dataclass(frozen=True, slots=True)
class Union:
    """An object whose form is chosen by the presence or value of one field."""

    choose: str
    forms: Mapping[str | None, Kind]

    def check(self, value: Any, what: Place) -> None:
        """See ``Kind``."""
        key = value.get(self.choose) if isinstance(value, dict) else None
        form = self.forms.get(key) if key is None or isinstance(key, str) else None
        if form is None:
            raise _refuse(
                (what, self.choose),
                "one of " + ", ".join(name or "nothing" for name in self.forms),
                key if isinstance(value, dict) else value,
            )
        form.check(value, what)

    def fits(self) -> Fits:
        """See ``Kind``."""
        choose, forms = self.choose, {key: form.fits() for key, form in self.forms.items()}
        return lambda value: (
            type(value) is dict and value.get(choose) in forms and forms[value.get(choose)](value)
        )

    def schema(self) -> dict[str, Any]:
        """See ``Kind``."""
        return {"oneOf": [form.schema() for form in self.forms.values()]}


OVERFLOW = Table({"count": Integer(), "sha256": SHA256}, {})
