"""How every command shows its results: `--json`, and plain tables without a library that takes time to load.

A terminal wraps long lines in the middle of a word and back to its left edge, so text for a terminal is wrapped here,
under its own column. Into a pipe or a file every line stays whole, for grep.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])
_FALLBACK_COLUMNS = 80
_NARROWEST = 20
"""Columns left for text, below which wrapping would make it harder to read."""


def json_option(command: _Command) -> _Command:
    """Add `--json`: the same facts as the text, as one JSON object on standard output."""
    return click.option("--json", "as_json", is_flag=True, help="The same facts as one JSON object.")(command)


def echo_json(value: object) -> None:
    """Print one JSON value, indented for people, keys in the order in which they were put.

    A refusal repeats what it got, which may have half a character in it. That has no bytes, and JSON has an escape for it:
    the very one that Python writes.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False)
    click.echo(text.encode(errors="backslashreplace").decode())


def columns() -> int | None:
    """Return the width of the terminal that standard output is, or None where it is none."""
    if sys.stdout is None:  # closed before we began: what is printed goes nowhere
        return None
    if not sys.stdout.isatty():
        return None
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _FALLBACK_COLUMNS
    except OSError:
        return _FALLBACK_COLUMNS


def format_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, columns: int | None = None, indent: str = ""
) -> str:
    """Lay out left-aligned columns two spaces apart, the last one wrapped at ``columns``.

    Control characters are escaped, so nothing can be painted over.
    """
    cells = [[printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header) - 1)]
    lines = []
    for *fixed, last in cells:
        first = "".join(f"{cell:<{width}}  " for cell, width in zip(fixed, widths, strict=True))
        lines.append(wrap(last, columns=columns, first=indent + first))
    return "\n".join(lines)


def wrap(text: str, *, columns: int | None, first: str = "") -> str:
    """Put ``text`` after ``first``, its further lines under its beginning; words longer than a line stay whole.

    A word that a terminal breaks can still be selected and copied; one that we break cannot.
    """
    words = text.lstrip(" ")
    first += text[: len(text) - len(words)]
    space = columns - len(first) if columns is not None else 0
    if columns is None or len(words) <= space or space < _NARROWEST:
        return (first + words).rstrip()
    lines = [""]
    for word in words.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > space:
            lines.append(word)
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return first + f"\n{' ' * len(first)}".join(lines)


def printable(text: str) -> str:
    """Escape what is not printable: terminals act on control characters, and names come from strangers."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
