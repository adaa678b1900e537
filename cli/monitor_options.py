"""What the commands of `hubledger monitor` share: the option --config, exit codes, and times."""

import pathlib
from collections.abc import Callable
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])
USAGE, COULD_NOT_CHECK = 2, 3


def config_option(command: _Command) -> _Command:
    """Give a command its settings."""
    return click.option(
        "--config",
        "config_file",
        required=True,
        type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False),
        help="The settings of the monitor (TOML).",
    )(command)


def now_seconds() -> int:
    """Return the time, in whole seconds."""
    import time

    return int(time.time())  # noqa: TID251  # the edge


def format_time(seconds: int | None) -> str | None:
    """Write a time as statements have it; None for none."""
    from datetime import UTC, datetime

    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
