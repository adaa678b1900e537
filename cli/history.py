"""`hubledger history`: a model's events in order, or the events of a content."""

import pathlib
from typing import Any

import click

from cli.output import echo_json, format_table, json_option


@click.command()
@click.argument("directory", type=click.Path(path_type=pathlib.Path))
@click.argument("name", metavar="NAME", required=False)
@click.option("--content", help="Instead of NAME: the events of this content, under every name.")
@click.option("--file", "file_digest", help="Instead of NAME: the events with a file of this SHA-256.")
@json_option
def command(
    directory: pathlib.Path, name: str | None, content: str | None, file_digest: str | None, *, as_json: bool
) -> None:
    """Show every recorded event of model NAME in DIRECTORY; `!` marks a row where the signer changed.

    With --content or --file, the events that have the same content, or the same file, whatever they are called.
    """
    from ledger.errors import UsageError

    given = [each for each in (name, content, file_digest) if each is not None]
    if len(given) != 1:
        raise UsageError(
            "what to show", expected="one of NAME, --content and --file", actual=len(given) or "none"
        )
    if name is None:
        _show_content(directory, content, file_digest, as_json=as_json)
        return
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


def _show_content(
    directory: pathlib.Path, content: str | None, file_digest: str | None, *, as_json: bool
) -> None:
    from ledger.embedded.searching import events_with_content, events_with_file
    from ledger.encoding import parse_hex

    if content is not None:
        found = events_with_content(directory, parse_hex(content, length=32, what="--content"))
    else:
        found = events_with_file(directory, parse_hex(file_digest, length=32, what="--file"))
    if as_json:
        echo_json(found)
        return
    header = ("LEAF", "RECORDED", "MODEL", "REVISION", "OUTCOME", "CONTENT SIGNED BY", "UPLOADED BY")
    click.echo(format_table(header, [_row(each) for each in found["events"]]))
    if found["count"] > len(found["events"]):
        click.echo(f"… and {found['count'] - len(found['events'])} more")
    if found["mirrored"] < found["size"]:
        click.echo(
            f"{found['size'] - found['mirrored']} newer leaves are not mirrored yet: `hubledger index rebuild`"
        )


def _row(event: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(event["leafIndex"]),
        event.get("recordedAt", ""),
        event.get("name", ""),
        event.get("revision", "")[:12],
        event.get("outcome", ""),
        ", ".join(event.get("signedBy", ())) or "nobody",
        event.get("uploadedBy", ""),
    )
