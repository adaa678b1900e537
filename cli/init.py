"""`hubledger init`: make a ledger."""

import pathlib

import click

from cli.output import echo_json, json_option


@click.command()
@click.argument("directory", type=click.Path(path_type=pathlib.Path))
@click.option("--origin", required=True, help='The log\'s name for ever, such as "log.example/models".')
@click.option("--hub", required=True, help='The hub\'s id for ever, such as "hub.example".')
@json_option
def command(directory: pathlib.Path, origin: str, hub: str, *, as_json: bool) -> None:
    """Make a ledger in DIRECTORY: keys (readable by you only), trust file, settings, and a signed log.

    The log begins with one entry, which announces the hub's key.

    DIRECTORY must be new or empty. Give trust.toml to those who verify; back up keys/ where nobody else reads.
    """
    from ledger.embedded.directory import describe, init
    from ledger.errors import ConfigError

    try:
        init(directory, origin=origin, hub=hub)
    except ConfigError as error:
        # The settings are called by the options that gave them.
        what = {"ledger": "--origin", "hub": "--hub"}.get(error.what, error.what)
        raise ConfigError(
            what, expected=error.expected, actual=error.actual, next_step=error.next_step
        ) from error
    keys = describe(directory)
    if as_json:
        echo_json({"directory": str(directory), **keys})
        return
    click.echo(f"Made a ledger in {directory}")
    click.echo(f"  log       {keys['logKey']}")
    click.echo(f"  hub key   {keys['hubKeyId']}")
    click.echo("  for others  trust.toml, and the folder log/ on any web server")
    click.echo("  for you     keys/: a stolen key can sign in your name, a lost one ends the log")
    click.echo(f"Next: hubledger record {directory} NAMESPACE/MODEL --revision REV --model PATH")
