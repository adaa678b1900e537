"""`hubledger index rebuild|check`: the local mirror of the log."""

import pathlib

import click

from cli.output import echo_json, json_option
from cli.progress import progress_bar
from ledger.embedded.wording import plural


@click.group()
def command() -> None:
    """Rebuild or check the local index; it holds nothing that the log does not."""


@command.command()
@click.argument("directory", type=click.Path(path_type=pathlib.Path))
@json_option
def rebuild(directory: pathlib.Path, *, as_json: bool) -> None:
    """Make the index of DIRECTORY again from its log."""
    from ledger.embedded.digests import rebuild_digests
    from ledger.embedded.indexing import rebuild_index

    with progress_bar("index", quiet=as_json) as advance:
        leaves = rebuild_index(directory, progress=advance)
    with progress_bar("digests", quiet=as_json) as advance:
        rebuild_digests(directory, progress=advance)
    if as_json:
        echo_json({"leaves": leaves})
    else:
        click.echo(f"The index mirrors {plural(leaves, 'leaf', 'leaves')}.")


@command.command()
@click.argument("directory", type=click.Path(path_type=pathlib.Path))
@json_option
def check(directory: pathlib.Path, *, as_json: bool) -> int:
    """Compare the index of DIRECTORY with one made afresh from its log; exit 61 where they differ."""
    from ledger.embedded.digests import check_digests
    from ledger.embedded.indexing import check_index
    from ledger.errors import CorruptError

    with progress_bar("index", quiet=as_json) as advance:
        leaves, problems = check_index(directory, progress=advance)
    with progress_bar("digests", quiet=as_json) as advance:
        problems += check_digests(directory, progress=advance)
    if as_json:
        echo_json({"leaves": leaves, "differences": problems})
    else:
        for problem in problems:
            click.echo(f"differs: {problem}", err=True)
        click.echo(
            "Run `hubledger index rebuild`."
            if problems
            else f"The index agrees with the log ({plural(leaves, 'leaf', 'leaves')})."
        )
    return CorruptError.exit_code if problems else 0
