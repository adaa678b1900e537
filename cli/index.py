"""`hubledger index rebuild|check`: the local mirror of the log."""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import click

from cli.output import echo_json, json_option, printable
from cli.progress import progress_bar
from ledger.embedded.wording import plural


@click.group()
def command() -> None:
    """Rebuild or check the local index; it holds nothing that the log does not."""


@command.command()
@click.argument("directory", type=click.Path(path_type=pathlib.Path))
@click.option(
    "--scan", is_flag=True, help="In Rekor v2: first read whole shards for entries by the hub's key."
)
@json_option
def rebuild(directory: pathlib.Path, *, scan: bool, as_json: bool) -> int:
    """Make the index of DIRECTORY again from its log, in Rekor from its receipts, each verified again.

    With --scan every entry of each shard of Rekor v2 is read and proven, and what is by the hub's key is held against the
    outbox: new places of its statements are stored. Exit code 62 if the log has entries by the key that no statement here
    is about (this outbox is an old copy, or somebody else has the key), 42 if it does not show what a receipt proves.
    """
    from ledger.embedded.digests import rebuild_digests
    from ledger.embedded.indexing import rebuild_index
    from ledger.errors import ProofError, RestoredError

    found: dict[str, Any] = {}
    if scan:
        from ledger.embedded.scanning import scan_ledger

        with progress_bar("scan", quiet=as_json) as advance:
            found = scan_ledger(directory, progress=advance)
    with progress_bar("index", quiet=as_json) as advance:
        leaves = rebuild_index(directory, progress=advance)
    with progress_bar("digests", quiet=as_json) as advance:
        rebuild_digests(directory, progress=advance)
    if as_json:
        echo_json({"leaves": leaves, **({"scan": found} if scan else {})})
    else:
        for line in _scan_lines(found) if scan else ():
            click.echo(printable(line))
        click.echo(f"The index mirrors {plural(leaves, 'leaf', 'leaves')}.")
    if found.get("withoutStatementCount"):
        return RestoredError.exit_code
    return ProofError.exit_code if found.get("notShown") else 0


def _scan_lines(found: Mapping[str, Any]) -> Iterator[str]:
    for shard in found["shards"]:
        yield (
            f"Scanned {shard['origin']}: {plural(shard['size'], 'entry', 'entries')}, "
            f"{shard['byTheHubsKey']} by the hub's key"
        )
    yield f"New places of statements: {found['added']}. Statements without an entry: {found['withoutEntry']}"
    for each in found["withoutStatement"]:
        known = (
            f"; statement {each['statementSha256']} is among the evidence"
            if "statementSha256" in each
            else ""
        )
        yield f"By the hub's key, and about no statement here: leaf {each['leafIndex']} of shard {each['shardOrder']}{known}"
    if found["withoutStatementCount"]:
        yield "This outbox is an old copy, or somebody else has the hub's key: record nothing before you know which."
    for each in found["notShown"]:
        yield (
            f"Not shown: number {each['number']} at leaf {each['leafIndex']} of shard {each['shardOrder']}: "
            f"the log shows {each['why']}. Keep outbox.db as evidence"
        )


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
