"""`hubledger keys show`: the public keys of a ledger."""

import pathlib

import click

from cli.output import echo_json, json_option


@click.group()
def command() -> None:
    """Show the public keys of a ledger."""


@command.command()
@click.argument("directory", type=click.Path(path_type=pathlib.Path))
@json_option
def show(directory: pathlib.Path, *, as_json: bool) -> None:
    """Show the verifier keys of the ledger in DIRECTORY; never a private one."""
    from ledger.embedded.directory import describe

    keys = describe(directory)
    if as_json:
        echo_json(keys)
        return
    if "logKey" in keys:
        click.echo(f"log key    {keys['logKey']}")
        click.echo(f"cosigner   {keys['cosignerKey']}")
    for shard in keys.get("shards", ()):
        click.echo(f"shard      {shard['key']}")
    click.echo(f"hub key    {keys['hubKeyId']}   (SHA-256 of its SubjectPublicKeyInfo)")
    click.echo(keys["hubKey"], nl=False)
