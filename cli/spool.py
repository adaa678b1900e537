"""`hubledger spool`: events of a hub that wait for the ledger."""

import pathlib

import click

from cli.output import echo_json, json_option
from ledger.embedded.wording import plural


@click.group()
def command() -> None:
    """Look at, or send, the events of a hub that wait for the ledger."""


_SPOOL = click.argument("spool", type=click.Path(path_type=pathlib.Path, exists=True, file_okay=False))


@command.command()
@_SPOOL
@json_option
def status(spool: pathlib.Path, *, as_json: bool) -> None:
    """Say how many events wait in SPOOL, since when, and how many the ledger refused."""
    from datetime import UTC, datetime

    from ledger.client.spool import Spool

    state = Spool(spool).state()
    oldest = (
        None
        if state.oldest is None
        else datetime.fromtimestamp(state.oldest, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    )
    if as_json:
        echo_json({"waiting": state.waiting, "refused": state.refused, "oldest": oldest})
        return
    since = f", the oldest since {oldest}" if oldest else ""
    click.echo(f"{plural(state.waiting, 'event')} wait{'s' if state.waiting == 1 else ''}{since}")
    if state.refused:
        click.echo(f"{plural(state.refused, 'event')} refused for good: see {spool / 'refused'}")


@command.command()
@_SPOOL
@click.option("--url", required=True, help="The address of the ledger's service.")
@click.option(
    "--token-file",
    required=True,
    type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False),
    help="A file that holds the token, and that only its owner reads.",
)
@json_option
def drain(spool: pathlib.Path, url: str, token_file: pathlib.Path, *, as_json: bool) -> None:
    """Send what waits in SPOOL, in order, and end when nothing does or the ledger does not answer."""
    from cli.options import read_token
    from ledger.client.spool import Spool, open_client
    from ledger.client.spool import drain as send

    waiting = Spool(spool)
    with open_client(url, read_token(token_file)) as client:
        sent = send(waiting, client)
    state = waiting.state()
    if as_json:
        echo_json({"sent": sent, "waiting": state.waiting, "refused": state.refused})
    else:
        click.echo(f"Sent {plural(sent, 'event')}; {state.waiting} wait, {state.refused} refused")
