"""`hubledger serve`: the service over HTTP."""

import json
import logging
import pathlib
import sys
from collections.abc import Callable

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

    log_to(sys.stderr.write, requests=load_config(directory).serve.access_log)
    start = Start(
        listen=listen, read_only=read_only, not_older_than=not_older_than, start_unchecked=start_unchecked
    )
    serve(directory, start, ready=lambda url: click.echo(f"Answering at {url} (every address: {url}/docs)"))


class _Lines(logging.Handler):
    """One JSON object a line: the facts of a request, or what the program says."""

    def __init__(self, write: Callable[[str], object]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        facts = getattr(record, "facts", None)
        if facts is None:
            facts = {"level": record.levelname.lower(), "message": self.format(record)}
        self._write(json.dumps({"at": round(record.created, 3), **facts}) + "\n")


def log_to(write: Callable[[str], object], *, requests: bool = True) -> None:
    """Send what the program says, and each request where wanted, to ``write``."""
    root = logging.getLogger("ledger")
    root.handlers[:] = [_Lines(write)]
    root.setLevel(logging.INFO)
    root.propagate = False
    logging.getLogger("ledger.server.access").setLevel(logging.INFO if requests else logging.WARNING)
