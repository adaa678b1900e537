"""`hubledger identity open|erase`: identities that were recorded as commitments."""

import pathlib

import click

from cli.options import withdrawal_options, writing_options
from cli.output import echo_json, json_option, printable
from ledger.embedded.wording import plural

_DIRECTORY = click.Path(path_type=pathlib.Path)


@click.group()
def command() -> None:
    """Open or erase identities that were recorded as commitments."""


@command.command(name="open")
@click.argument("directory", type=_DIRECTORY)
@click.argument("event", metavar="INDEX|EVENT-ID")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=pathlib.Path, dir_okay=False),
    help="Where to write the openings; readable by you only.",
)
@json_option
def open_command(directory: pathlib.Path, event: str, output: pathlib.Path, *, as_json: bool) -> None:
    """Write who signed an event and the keys that prove it, for somebody who may know: `verify --opening` takes it."""
    from ledger.client.opening import parse_identity
    from ledger.embedded.identities import write_openings
    from ledger.identity import display

    facts = write_openings(directory, event, output=output)
    if as_json:
        echo_json(facts)
        return
    for each in facts["identities"]:
        click.echo(f"opened      {printable(display(parse_identity(each)))}")
    click.echo(f"in {output}: whoever has this file knows these signers in every event of this model")


@command.command()
@click.argument("directory", type=_DIRECTORY)
@click.argument("name")
@withdrawal_options
@writing_options
@json_option
def erase(
    directory: pathlib.Path,
    name: str,
    reason: str,
    reference: str | None,
    not_older_than: tuple[pathlib.Path, ...],
    *,
    start_unchecked: bool,
    as_json: bool,
) -> None:
    """Destroy the keys of model NAME's committed identities and withdraw its bundles, for good. The log says so."""
    from ledger.embedded.identities import erase_identities

    facts = erase_identities(
        directory,
        name,
        reason=reason,
        reference=reference,
        not_older_than=not_older_than,
        start_unchecked=start_unchecked,
    )
    if as_json:
        echo_json(facts)
        return
    bundles, keys = plural(len(facts["withdrawn"]), "bundle"), plural(facts["keysDestroyed"], "key")
    click.echo(f"erased      {printable(facts['name'])}: {bundles} withdrawn, {keys} destroyed")
    if facts["leafIndices"]:
        click.echo(f"  leaf      {', '.join(map(str, facts['leafIndices']))}")
    for each in facts["otherModels"]:
        click.echo(f"  also of   {printable(each)}: its history says that the bundle is gone")
