"""How every command shows its results: `--json`, and plain tables without a library that takes time to load."""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


def json_option(command: _Command) -> _Command:
    """Add `--json`: the same facts as the text, as one JSON object on standard output."""
    return click.option("--json", "as_json", is_flag=True, help="The same facts as one JSON object.")(command)


def echo_json(value: object) -> None:
    """Print one JSON value, indented for people, keys in the order in which they were put."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out left-aligned columns two spaces apart; control characters are escaped, so nothing can be painted over."""
    cells = [[printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )
    return "\n".join(lines)


def printable(text: str) -> str:
    """Escape what is not printable: terminals act on control characters, and names come from strangers."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
