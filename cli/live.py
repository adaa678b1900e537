"""How a monitor catches up, while a person watches: one line for each log that is behind, with rate and remaining time."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn, TaskID

Advance = Callable[[str, int, int], None]


@contextlib.contextmanager
def catching_up(*, quiet: bool = False, console: "Console | None" = None) -> Iterator[Advance]:
    """Yield ``advance(log, done, size)``, for any thread. Draws on standard error if that is a terminal, else does nothing.

    A log that has caught up is not shown.
    """
    if quiet or (console is None and not sys.stderr.isatty()):
        yield lambda _log, _done, _size: None
        return
    from rich.console import Console
    from rich.progress import Progress

    lock, tasks = threading.Lock(), dict[str, "TaskID"]()
    with Progress(*_columns(), console=console or Console(stderr=True), transient=True) as progress:

        def advance(log: str, done: int, size: int) -> None:
            with lock:
                if done >= size:
                    if log in tasks:
                        progress.remove_task(tasks.pop(log))
                elif log in tasks:
                    progress.update(tasks[log], completed=done, total=size)
                else:  # begun where it was left, so that what was verified before is no part of the rate
                    tasks[log] = progress.add_task(log, completed=done, total=size)

        yield advance


def _columns() -> "tuple[ProgressColumn, ...]":
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Entries a second."""

        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f}/s" if task.speed else "")

    return (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
