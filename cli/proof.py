"""`hubledger proof`: write the proof that an event is in the log."""

import pathlib
import shlex

import click

from cli.output import echo_json, json_option, printable


@click.command()
@click.argument("directory", type=click.Path(path_type=pathlib.Path))
@click.argument("event", metavar="INDEX|EVENT-ID")
@click.option(
    "--since",
    type=click.Path(path_type=pathlib.Path, dir_okay=False, exists=True),
    help="A checkpoint you keep: the proof also links it to the current one.",
)
@click.option(
    "-o",
    "--output",
    "--proof-out",
    "output",
    required=True,
    type=click.Path(path_type=pathlib.Path, dir_okay=False),
    help="Where to write the .tlog-proof; in Rekor a Sigstore bundle, unless called ….tlog-proof.",
)
@click.option(
    "--by-id", is_flag=True, help="EVENT-ID is meant, also where it is all digits; else digits are an INDEX."
)
@json_option
def command(
    directory: pathlib.Path,
    event: str,
    since: pathlib.Path | None,
    output: pathlib.Path,
    *,
    by_id: bool,
    as_json: bool,
) -> None:
    """Write a C2SP tlog-proof of one event of the ledger in DIRECTORY, with the event inside.

    Of a ledger in Rekor: a Sigstore bundle, or where FILE is called so and it is Rekor v2, a tlog-proof.
    """
    from ledger.embedded.reading import write_proof

    facts = write_proof(directory, event, since=since, output=output, by_id=by_id)
    if as_json:
        echo_json(facts)
        return
    tree = facts.get("checkpoint", facts)
    click.echo(
        printable(
            f"Leaf {facts['leafIndex']} is in {tree['origin']} at size {tree['size']}; proof in {output}"
        )
    )
    form = "--bundle" if "checkpoint" in facts and output.suffix != ".tlog-proof" else "--proof"
    check = ["hubledger", "verify", form, str(output), "--trust", str(directory / "trust.toml")]
    pin = [] if since is None else ["--pin", str(since)]
    click.echo(printable(f"Check it: {shlex.join([*check, *pin, '--log-only'])}"))
