"""`hubledger attestation`: what the hub signs about a revision, for tools that know nothing of ledgers."""

import pathlib

import click

from cli.output import echo_json, json_option, printable

_DEFAULT_SECONDS = 7 * 86_400


@click.command()
@click.argument("directory", type=click.Path(path_type=pathlib.Path))
@click.argument("name", metavar="MODEL")
@click.option("--revision", help="This revision; default: the one with the latest event.")
@click.option(
    "--form",
    type=click.Choice(["vsa", "svr"]),
    default="vsa",
    show_default=True,
    help="A SLSA Verification Summary v1, or a Simple Verification Result v0.2.",
)
@click.option(
    "--valid-seconds",
    type=int,
    default=_DEFAULT_SECONDS,
    show_default=True,
    help="How long it says that it is good for.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=pathlib.Path, dir_okay=False),
    help="The Sigstore bundle to write.",
)
@json_option
def command(  # noqa: PLR0917 - click passes each option
    directory: pathlib.Path,
    name: str,
    revision: str | None,
    form: str,
    valid_seconds: int,
    output: pathlib.Path,
    *,
    as_json: bool,
) -> None:
    """Sign, with the hub's key, what the ledger in DIRECTORY says of a revision of MODEL.

    The attestation points at the event. Our client goes there: `hubledger verify MODEL --attestation FILE`.
    """
    from ledger.attestation import Form
    from ledger.embedded.attesting import write_attestation

    facts = write_attestation(
        directory, name, revision, form=Form(form), output=output, seconds=valid_seconds
    )
    if as_json:
        echo_json(facts)
        return
    said = ", ".join(facts["levels"]) if facts["passed"] else "FAILED"
    click.echo(
        printable(
            f"{facts['model']} at {facts['revision']}: {said}; about leaf {facts['leafIndex']}, until {facts['expires']}; "
            f"attestation in {output}"
        )
    )
