"""A progress bar for long work, when a person watches."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import ProgressColumn


@contextlib.contextmanager
def progress_bar(
    what: str, *, quiet: bool = False, unit: str = "items"
) -> Iterator[Callable[[int, int], None]]:
    """Yield ``advance(done, total)``; draws on standard error if that is a terminal, else does nothing.

    With ``unit="bytes"`` it shows the rate and the time that remains. ``advance`` may be called from any thread.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(*_columns(what, unit), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _columns(what: str, unit: str) -> "tuple[ProgressColumn, ...]":
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    name, bar, left = TextColumn(what), BarColumn(), TimeRemainingColumn()
    if unit == "bytes":
        return name, bar, DownloadColumn(), TransferSpeedColumn(), left
    return name, bar, MofNCompleteColumn(), left
