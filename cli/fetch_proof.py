"""`hubledger fetch-proof`: all that a check without network needs, in one file."""

import pathlib
import time

import click

from cli.output import echo_json, json_option, printable


@click.command()
@click.argument("name")
@click.option("--revision", help="This revision; default: the one with the latest event.")
@click.option("--url", help="The hub's service, if not where its trust file came from.")
@click.option(
    "--trust",
    "trust_file",
    type=click.Path(path_type=pathlib.Path, dir_okay=False),
    help="A trust file; default: the one of the hub that you added.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=pathlib.Path, dir_okay=False),
    help="The file to write.",
)
@json_option
def command(
    name: str,
    revision: str | None,
    url: str | None,
    trust_file: pathlib.Path | None,
    output: pathlib.Path,
    *,
    as_json: bool,
) -> None:
    """Fetch the proof of the latest event of NAME, which is HUB/NAMESPACE/MODEL, for `hubledger verify --name … --from FILE`.

    Nothing is verified here: that is done where the file is used, against the trust file that is there.
    """
    from cli.verify_named import find_trust
    from ledger.client.checking import refuse_empty, user_folder
    from ledger.client.pins import Pins
    from ledger.client.proof_source import Wanted, ask, service_of
    from ledger.event import escape_name
    from ledger.storage.directory import write_file_durably

    refuse_empty({"NAME": name, "--revision": revision})
    folder = user_folder()
    stored, at_hub = find_trust(trust_file, name, folder)
    wanted = Wanted(name=escape_name(at_hub), revision=None if revision is None else escape_name(revision))
    now = int(time.time())  # noqa: TID251 - the edge that asks the clock
    bundle = ask(service_of(stored, url), wanted, stored, Pins(folder), now=now)
    data = bundle.format()
    write_file_durably(output, data, mode=0o644)
    if as_json:
        echo_json({"name": bundle.name, "output": str(output), "bytes": len(data)})
    else:
        click.echo(
            f"Fetched the proof of {printable(bundle.name)}: {printable(str(output))}, {len(data)} bytes"
        )
