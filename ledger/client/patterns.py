"""Patterns of Sigstore subjects: a star stands for a part of an address, everything else for itself.

They are no regular expressions, in which ``.`` and a forgotten anchor match what nobody meant. A pattern is held against the
whole subject; a star is one or more characters, never a ``/`` or an ``@``, so that it stays between the two in which it was
written; and a subject with anything but printable ASCII matches no pattern, so that nothing that only looks like a letter
can stand where a star is. Pure.
"""

import re
from dataclasses import dataclass

from ledger.errors import UsageError

STAR = "*"
MAX_PATTERN_CHARACTERS = 2048
_BETWEEN = re.compile("([/@])")
_NEXT = "Write an address such as https://git.example/acme/*/.github/workflows/release.yml@refs/tags/*, or *@acme.example"


@dataclass(frozen=True, slots=True)
class SubjectPattern:
    """A pattern of subjects.

    Raises:
        UsageError: without a star, too long, not printable ASCII, or with a star in what says whose subjects these are: the
            host of an address with ``://``, or what follows the last ``@`` of any other.
    """

    text: str

    def __post_init__(self) -> None:
        if STAR not in self.text:
            raise _refused("a star, or an exact subject", self.text)
        if len(self.text) > MAX_PATTERN_CHARACTERS:
            raise _refused(f"at most {MAX_PATTERN_CHARACTERS} characters", f"{len(self.text)}")
        if not _is_plain(self.text):
            raise _refused("printable ASCII", ascii(self.text))
        if STAR in _owner(self.text):
            raise _refused("no star in the host, or behind the @", self.text)

    def matches(self, subject: str) -> bool:
        """Whether the whole subject is one of those that are meant. Takes time in proportion to its length."""
        parts, found = _BETWEEN.split(self.text), _BETWEEN.split(subject)
        return (
            _is_plain(subject)
            and len(parts) == len(found)
            and all(_fits(part, one) for part, one in zip(parts, found, strict=True))
        )


def _owner(pattern: str) -> str:
    scheme, separator, rest = pattern.partition("://")
    if separator:
        return scheme + rest.partition("/")[0]
    return pattern.rpartition("@")[2]


def _fits(part: str, text: str) -> bool:
    """Whether a text without separators is what a part of a pattern stands for: each piece is looked for once, from the left."""
    first, *pieces = part.split(STAR)
    if not pieces:
        return part == text
    if not text.startswith(first):
        return False
    at = len(first)
    *middle, last = pieces
    for piece in middle:
        at = text.find(piece, at + 1)
        if at < 0:
            return False
        at += len(piece)
    return len(text) - len(last) > at and text.endswith(last)


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _refused(expected: str, actual: str) -> UsageError:
    return UsageError("pattern of signers", expected=expected, actual=actual, next_step=_NEXT)
