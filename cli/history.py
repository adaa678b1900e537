"""`hubledger history`: a model's events in order, or the events of a content."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from cli.output import columns, echo_json, format_table, json_option, printable, wrap
from ledger.embedded.wording import plural

_HEADER = ("", "LEAF", "RECORDED", "REVISION", "OUTCOME", "DECISION")
_REVISION_SHOWN = 12
"""Characters of a revision in the table: as many as git needs to tell commits apart; --json has all of them."""


@click.command()
@click.argument("directory", type=click.Path(path_type=pathlib.Path))
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--content", help="Instead of NAME: the events of this content, under every name.")
@click.option("--file", "file_digest", help="Instead of NAME: the events with a file of this SHA-256.")
@json_option
def command(
    directory: pathlib.Path, name: str | None, content: str | None, file_digest: str | None, *, as_json: bool
) -> None:
    """Show every published event of model NAME in DIRECTORY.

    `!` marks a row where the signer changed: nobody of the last signed row before it signed this one, or the name
    leads to another repository. `*` marks a row that is not by a pinned signer, one of those who signed the first
    verified version: this is what the hub's decision goes by.

    In a ledger in Rekor the order is that of acceptance (NUMBER); LEAF is the place in a shard, or says that there is
    none yet.

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
    else:
        click.echo(as_text(rows, columns=columns()))


def as_text(rows: Sequence[Mapping[str, Any]], *, columns: int | None, indent: str = "") -> str:
    """Lay out rows of ``model_history``: a table, and under each of its lines who signed, which may be long."""
    remote = any("number" in row for row in rows)
    header = (_HEADER[0], "NUMBER", "SHARD", *_HEADER[1:]) if remote else _HEADER
    heads = format_table(header, [_cells(row) for row in rows], indent=indent).split("\n")
    under = " " * (heads[0].index(header[1]) + 2)
    lines = [heads[0]]
    for head, row in zip(heads[1:], rows, strict=True):
        lines.append(head)
        lines += [wrap(printable(text), columns=columns, first=under) for text in _details(row)]
    return "\n".join([*lines, *_legend(rows, columns=columns, indent=indent)])


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    revision = row.get("revision", "")
    return (
        marks(row),
        *_place(row),
        row["recordedAt"],
        revision if len(revision) <= _REVISION_SHOWN else f"{revision[: _REVISION_SHOWN - 1]}…",
        row.get("outcome", ""),
        row.get("decision", ""),
    )


def _place(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The leaf; in a ledger in Rekor the number, the shard and the leaf there, or that it has none."""
    if "number" not in row:
        return (str(row["leafIndex"]),)
    if not row["logged"]:
        return str(row["number"]), "", row["state"]
    return str(row["number"]), str(row["shardOrder"]), str(row["leafIndex"])


def marks(row: Mapping[str, Any]) -> str:
    """Return the two markers of a row, each a sign or a space."""
    return ("!" if row["changed"] else " ") + ("*" if row.get("byPinned") is False else " ")


def _details(row: Mapping[str, Any]) -> Iterator[str]:
    """Who signed, what changed and the reason codes, each a line of its own."""
    if "erasure" in row:
        yield _withdrawn(row["erasure"])
        return
    if "outcome" not in row:
        yield f"Unknown event: {row['unknown']}" if "unknown" in row else row["type"]
        return
    if "observer" in row:
        yield f"Recorded by {row['observer']}, an observer, not by the hub"
    yield who_signed(row)
    if row["changed"]:
        yield row["change"]
    if row["reasons"]:
        yield f"Reasons: {', '.join(row['reasons'])}"


def _withdrawn(erasure: Mapping[str, Any]) -> str:
    reference = f", {erasure['reference']}" if "reference" in erasure else ""
    keys = "; keys of its identities destroyed" if erasure.get("keysDestroyed") else ""
    pieces = plural(len(erasure["evidence"]), "piece")
    return f"Evidence withdrawn: {erasure['reason']}{reference} ({pieces}){keys}"


def who_signed(row: Mapping[str, Any]) -> str:
    """Say who signed, in the words of every interface; what is only claimed is called so."""
    if row["outcome"] == "VERIFIED":
        return f"Signed by {row['signedBy']}"
    if not row["signatures"]:
        return "Unsigned"
    claims = [each.get("claimedSigner") or each.get("signer") for each in row["signatures"]]
    named = ", ".join(dict.fromkeys(each for each in claims if each))
    return f"Could not verify; claims {named}" if named else "Could not verify; names no signer"


def _legend(rows: Sequence[Mapping[str, Any]], *, columns: int | None, indent: str) -> Iterator[str]:
    """Explain the markers that occur, name who is pinned, and say where this version does not understand."""
    changed = any(row["changed"] for row in rows)
    strange = any(row.get("byPinned") is False for row in rows)
    unknown = any("unknown" in row for row in rows)
    lines = []
    if changed:
        lines.append("!  other signers than in the last signed row before, or another repository")
    if strange:
        lines.append("*  not by a pinned signer")
        pins = dict.fromkeys((_pinned_at(row["pin"]), row["pin"]["signedBy"]) for row in rows if "pin" in row)
        lines += [f"   pinned at {place}: {signers}" for place, signers in pins]
    if unknown:
        lines.append("This history has events that this version of hubledger does not understand.")
    if lines:
        yield ""
    for line in lines:
        yield wrap(printable(line), columns=columns, first=indent)


def _pinned_at(pin: Mapping[str, Any]) -> str:
    return f"number {pin['number']}" if "number" in pin else f"leaf {pin['leafIndex']}"


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
    remote = any("number" in each for each in found["events"])
    header = (
        *(("NUMBER", "SHARD") if remote else ()),
        "LEAF",
        "RECORDED",
        "MODEL",
        "REVISION",
        "OUTCOME",
        "CONTENT SIGNED BY",
        "UPLOADED BY",
    )
    click.echo(format_table(header, [_row(each) for each in found["events"]]))
    if found["count"] > len(found["events"]):
        click.echo(f"… and {found['count'] - len(found['events'])} more")
    if found["mirrored"] < found["size"]:
        click.echo(
            f"{found['size'] - found['mirrored']} newer leaves are not mirrored yet: `hubledger index rebuild`"
        )


def _row(event: dict[str, Any]) -> tuple[str, ...]:
    return (
        *_place(event),
        event.get("recordedAt", ""),
        event.get("name", ""),
        event.get("revision", "")[:12],
        event.get("outcome", ""),
        ", ".join(event.get("signedBy", ())) or "nobody",
        event.get("uploadedBy", ""),
    )
