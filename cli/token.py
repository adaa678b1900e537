"""`hubledger token`: who may write over HTTP."""

import pathlib

import click

from cli.output import echo_json, format_table, json_option, printable


@click.group()
def command() -> None:
    """Make, list or revoke the tokens of those who write over HTTP."""


_DIRECTORY = click.argument("directory", type=click.Path(path_type=pathlib.Path))


@command.command()
@_DIRECTORY
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(("record", "observe", "policy", "admin")),
    help="What it may do (repeatable). `policy` and `admin` are for later versions.",
)
@click.option("--label", default="", help="The program or person that it is for.")
@json_option
def create(directory: pathlib.Path, scopes: tuple[str, ...], label: str, *, as_json: bool) -> None:
    """Make a token and print it, once: only its hash is kept, in tokens.json of DIRECTORY."""
    from ledger.config import load_config
    from ledger.embedded.clock import utc_now
    from ledger.server.tokens import TokenFile

    load_config(directory)  # a token of a directory that is no ledger would be of no use
    token = TokenFile(directory).create(scopes=scopes, label=label, now=utc_now())
    if as_json:
        echo_json({"token": token, "id": token.split("_")[1], "scopes": list(scopes)})
    else:
        click.echo(token)


@command.command(name="list")
@_DIRECTORY
@json_option
def list_tokens(directory: pathlib.Path, *, as_json: bool) -> None:
    """List the tokens of DIRECTORY by id; their secrets are not kept anywhere."""
    from ledger.config import load_config
    from ledger.server.tokens import TokenFile

    load_config(directory)
    tokens = TokenFile(directory).list()
    if as_json:
        rows = [each.as_json() for each in tokens]
        echo_json({"tokens": [{name: row[name] for name in row if name != "secretSha256"} for row in rows]})
        return
    header = ("ID", "SCOPES", "CREATED", "REVOKED", "LABEL")
    cells = [
        (each.id, " ".join(each.scopes), each.created, each.revoked or "", printable(each.label))
        for each in tokens
    ]
    click.echo(format_table(header, cells))


@command.command()
@_DIRECTORY
@click.argument("token_id", metavar="ID")
@json_option
def revoke(directory: pathlib.Path, token_id: str, *, as_json: bool) -> None:
    """Revoke the token ID of DIRECTORY for good; a running service refuses it from the next request on."""
    from ledger.config import load_config
    from ledger.embedded.clock import utc_now
    from ledger.server.tokens import TokenFile

    load_config(directory)
    token = TokenFile(directory).revoke(token_id, now=utc_now())
    if as_json:
        echo_json({"id": token.id, "revoked": token.revoked})
    else:
        click.echo(f"Revoked {token.id}")
