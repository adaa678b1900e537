"""`hubledger history`: a model's events in order."""

import pathlib

import click

from cli.output import echo_json, format_table, json_option


@click.command()
@click.argument("directory", type=click.Path(path_type=pathlib.Path))
@click.argument("name")
@json_option
def command(directory: pathlib.Path, name: str, *, as_json: bool) -> None:
    """Show every recorded event of model NAME in DIRECTORY; `!` marks a row where the signer changed."""
    from ledger.embedded.reading import model_history

    rows = model_history(directory, name)
    if as_json:
        echo_json({"name": name, "events": rows})
        return
    table = [
        (
            "!" if row["changed"] else " ",
            str(row["leafIndex"]),
            row["recordedAt"],
            row.get("revision", "")[:12],
            row.get("outcome", row["type"]),
            row.get("signedBy", ""),
            row.get("decision", ""),
            row.get("change", ""),
        )
        for row in rows
    ]
    click.echo(
        format_table(
            ("", "LEAF", "RECORDED", "REVISION", "OUTCOME", "SIGNED BY", "DECISION", "WHAT CHANGED"), table
        )
    )
