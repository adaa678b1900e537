"""Options that several commands take, in the same words."""

import pathlib
from collections.abc import Callable
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


def writing_options(command: _Command) -> _Command:
    """Add what every command takes that writes the log: how to tell that its directory is no old copy."""
    unchecked = click.option(
        "--start-unchecked",
        is_flag=True,
        help="Write without asking the outside first; a warning says so.",
    )
    kept = click.option(
        "--not-older-than",
        multiple=True,
        type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False),
        help="A checkpoint of this log that was kept elsewhere.",
    )
    return kept(unchecked(command))


def withdrawal_options(command: _Command) -> _Command:
    """Add what every command takes that withdraws evidence: why, for all to read."""
    reference = click.option("--reference", help="Where the decision is written down. It becomes public.")
    reason = click.option(
        "--reason", required=True, help='Why, as a code such as "personal-data". It becomes public.'
    )
    return reason(reference(command))
