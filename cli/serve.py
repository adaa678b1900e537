"""`hubledger serve`: the service over HTTP."""

import contextlib
import json
import logging
import pathlib
import queue
import re
import sys
import threading
from collections.abc import Callable, Iterator

import click

from cli.options import writing_options


@click.command()
@click.argument("directory", type=click.Path(path_type=pathlib.Path))
@click.option(
    "--listen", metavar="HOST:PORT", help="Where to answer, instead of serve.listen in the settings."
)
@click.option("--read-only", is_flag=True, help="Only read; another process may write the directory.")
@writing_options
def command(
    directory: pathlib.Path,
    listen: str | None,
    not_older_than: tuple[pathlib.Path, ...],
    *,
    read_only: bool,
    start_unchecked: bool,
) -> None:
    """Answer over HTTP for the ledger in DIRECTORY, until SIGTERM or Ctrl-C.

    The log is at the root, for every C2SP client; histories, badges and feeds are below /v1, and hubs record there with a
    token (`hubledger token create`). The page /docs of the running service lists every address. It is the one writer of
    the directory. Settings are in the table [serve] of hubledger.toml.
    """
    from ledger.config import load_config
    from ledger.server.serving import Start, serve

    start = Start(
        listen=listen, read_only=read_only, not_older_than=not_older_than, start_unchecked=start_unchecked
    )
    settings = load_config(directory).serve
    with log_to(sys.stderr.write, requests=settings.access_log, form=FORMS[settings.log_format]):
        serve(
            directory, start, ready=lambda url: click.echo(f"Answering at {url} (every address: {url}/docs)")
        )


MAX_LINES = 10_000
"""Lines that wait to be written; more are left out and counted: nobody's request waits for whoever reads the log."""


Form = Callable[[dict[str, object]], str]


def format_logfmt(facts: dict[str, object]) -> str:
    """Return facts as ``key=value`` words. A value that is more than a word is quoted as in JSON: it cannot begin a line."""
    return " ".join(f"{name}={_word(value)}" for name, value in facts.items())


def _word(value: object) -> str:
    text = str(value)
    return text if re.fullmatch(r"[A-Za-z0-9._/:{}+-]+", text) else json.dumps(text)


FORMS: dict[str, Form] = {"json": json.dumps, "logfmt": format_logfmt}


class _Lines(logging.Handler):
    """One line each: the facts of a request, or what the program says. Written by a thread of its own."""

    def __init__(self, write: Callable[[str], object], form: "Form") -> None:
        super().__init__()
        self._write, self._form = write, form
        self._lines: queue.Queue[str | None] = queue.Queue(MAX_LINES)
        self._left_out = 0
        self._thread = threading.Thread(target=self._drain, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a line to the thread."""
        facts = getattr(record, "facts", None)
        if facts is None:
            facts = {"level": record.levelname.lower(), "message": self.format(record)}
        try:
            self._lines.put_nowait(self._form({"at": round(record.created, 3), **facts}) + "\n")
        except queue.Full:
            self._left_out += 1

    def _drain(self) -> None:
        while (line := self._lines.get()) is not None:
            if self._left_out:
                left_out, self._left_out = self._left_out, 0
                line += self._form({"level": "warning", "message": f"{left_out} lines were left out"}) + "\n"
            try:
                self._write(line)
            except OSError:  # its disk is full: the service goes on, and so does its log when there is room
                self._left_out += 1

    def stop(self) -> None:
        """Write what waits, as far as somebody reads it. Not ``close``: whoever configures logging anew calls that."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=1)
            self._thread.join(timeout=5)
        self.close()


@contextlib.contextmanager
def log_to(
    write: Callable[[str], object], *, requests: bool = True, form: Form = json.dumps
) -> Iterator[None]:
    """Send what the program says, and each request where wanted, to ``write`` meanwhile."""
    root, lines = logging.getLogger("ledger"), _Lines(write, form)
    before = root.handlers[:], root.level, root.propagate
    root.handlers[:], root.propagate = [lines], False
    root.setLevel(logging.INFO)
    logging.getLogger("ledger.server.access").setLevel(logging.INFO if requests else logging.WARNING)
    try:
        yield
    finally:
        root.handlers[:], level, root.propagate = before
        root.setLevel(level)
        lines.stop()
