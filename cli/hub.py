"""`hubledger hub`: what a hub asks about itself."""

import pathlib
import sys
from collections.abc import Iterable

import click

from cli.output import echo_json, json_option, printable

MISSING_EXIT_CODE = 34
"""That of NotFoundError: something that was looked for is not there."""


@click.group()
def command() -> None:
    """Compare what a hub serves with what its ledger holds."""


@command.command()
@click.argument("url")
@click.option(
    "--revisions",
    required=True,
    type=click.Path(path_type=pathlib.Path, allow_dash=True, dir_okay=False),
    help='What the hub serves: a JSON object {"model", "revision"} a line; - for standard input.',
)
@json_option
def reconcile(url: str, revisions: pathlib.Path, *, as_json: bool) -> int:
    """List the revisions that the ledger served at URL has no event of; exit code 34 where there are any."""
    if str(revisions) == "-":
        missing = _ask(url, sys.stdin.buffer)
    else:
        from ledger.errors import NotFoundError

        try:
            with revisions.open("rb") as file:
                missing = _ask(url, file)
        except OSError as error:
            raise NotFoundError(
                f"file {revisions}",
                expected="a readable file",
                actual=error.strerror,
                next_step="Check the path",
            ) from error
    if as_json:
        echo_json({"missing": [{"model": model, "revision": revision} for model, revision in missing]})
    else:
        for model, revision in missing:
            click.echo(f"{printable(model)}\t{printable(revision)}")
        click.echo(f"{len(missing)} without an event", err=True)
    return MISSING_EXIT_CODE if missing else 0


def _ask(url: str, lines: Iterable[bytes]) -> list[tuple[str, str]]:
    import httpx

    from ledger.client.reconcile import find_missing, parse_pairs

    with httpx.Client(base_url=url, timeout=60.0) as client:
        return list(find_missing(parse_pairs(lines), client))
