"""`hubledger evidence show|export|withdraw|gc`: the bytes that events name by digest."""

import pathlib
import re
from typing import Any

import click

from cli.options import withdrawal_options, writing_options
from cli.output import echo_json, json_option, printable
from cli.progress import progress_bar
from ledger.embedded.wording import plural

_DIRECTORY = click.Path(path_type=pathlib.Path)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@click.group()
def command() -> None:
    """Show, export, withdraw or collect what events name by digest: manifests, bundles, policies, texts."""


@command.command()
@click.argument("directory", type=_DIRECTORY)
@click.argument("what", metavar="DIGEST|EVENT")
@json_option
def show(directory: pathlib.Path, what: str, *, as_json: bool) -> None:
    """Say what DIGEST is and who names it, or what EVENT (a leaf index or an event id) names."""
    from ledger.embedded.evidence import show_evidence

    facts = show_evidence(directory, what)
    if as_json:
        echo_json(facts)
    elif "pieces" in facts:
        click.echo(f"leaf {facts['leafIndex']}  {printable(facts['eventId'])}")
        for piece in facts["pieces"]:
            click.echo(f"  {_line(piece)}")
    else:
        click.echo(_line(facts))
        for each in facts.get("warnings", ()):
            click.echo(f"  warning     {printable(each)}")
        for each in facts["namedBy"]:
            about = f"{each['name']} at {each['revision']}" if "name" in each else each.get("eventId", "")
            click.echo(f"  named by    leaf {each['leafIndex']} as {each['as']}  {printable(about)}")
        left = facts["namedByCount"] - len(facts["namedBy"])
        if left:
            click.echo(f"  and by      {left} more")


def _line(piece: dict[str, Any]) -> str:
    state = piece["state"]
    if state == "withdrawn":
        state = f"withdrawn: {piece['reason']}, leaf {piece['leafIndex']}"
    elif "size" in piece:
        state = f"stored, {piece['size']} bytes"
    return f"{piece['use']:<11} {piece['sha256']}  {state}"


@command.command()
@click.argument("directory", type=_DIRECTORY)
@click.argument("event", metavar="INDEX|EVENT-ID")
@click.option("-o", "--output", required=True, type=_DIRECTORY, help="A new or empty folder.")
@json_option
def export(directory: pathlib.Path, event: str, output: pathlib.Path, *, as_json: bool) -> None:
    """Write all that somebody else needs to verify an event again: proof, entry, manifest, bundles, policy."""
    from ledger.embedded.evidence import export_evidence

    facts = export_evidence(directory, event, output=output)
    if as_json:
        echo_json(facts)
        return
    place = f"Leaf {facts['leafIndex']}" if "leafIndex" in facts else f"Number {facts['number']}"
    click.echo(f"{place} of {facts['ledger']}, in {output}")
    for piece in facts["pieces"]:
        click.echo(f"  {piece.get('file', '-'):<14} {_line(piece)}")
    option = "--proof" if facts["proof"].endswith(".tlog-proof") else "--bundle"
    click.echo(
        f"Check it: hubledger verify {option} {output}/{facts['proof']} --trust YOUR-TRUST-FILE --log-only"
    )


@command.command()
@click.argument("directory", type=_DIRECTORY)
@click.argument("digests", metavar="DIGEST", nargs=-1, required=True)
@withdrawal_options
@writing_options
@json_option
def withdraw(
    directory: pathlib.Path,
    digests: tuple[str, ...],
    reason: str,
    reference: str | None,
    not_older_than: tuple[pathlib.Path, ...],
    *,
    start_unchecked: bool,
    as_json: bool,
) -> None:
    """Remove the bytes of DIGEST (repeatable) for good; the log says that, when and why. Every proof still verifies."""
    from ledger.embedded.evidence import withdraw_evidence
    from ledger.encoding import parse_hex

    facts = withdraw_evidence(
        directory,
        [parse_hex(each, length=32, what="digest of the evidence") for each in digests],
        reason=reason,
        reference=reference,
        not_older_than=not_older_than,
        start_unchecked=start_unchecked,
    )
    if as_json:
        echo_json(facts)
        return
    for each in facts["withdrawn"]:
        again = "  (withdrawn before)" if each["repeated"] else ""
        if "cameBack" in each:
            again = "  (withdrawn before; its bytes had come back and are removed)"
        click.echo(f"withdrawn   {each['sha256']}  {each['reason']}, leaf {each['leafIndex']}{again}")


@command.command()
@click.argument("directory", type=_DIRECTORY)
@click.option(
    "--older-than", default="24h", show_default=True, help="Only what was stored at least this long ago."
)
@click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
@json_option
def gc(directory: pathlib.Path, older_than: str, *, dry_run: bool, as_json: bool) -> None:
    """Remove what recordings left behind that never became an event: pieces that no statement names."""
    from ledger.embedded.collecting import collect_garbage

    with progress_bar("reading the log", quiet=as_json) as advance:
        facts = collect_garbage(directory, older_than=_seconds(older_than), dry_run=dry_run, progress=advance)
    if as_json:
        echo_json(facts)
        return
    for each in facts["collected"]:
        click.echo(each)
    verb = "would be removed" if dry_run else "removed"
    click.echo(
        f"{plural(len(facts['collected']), 'piece')} that no event names, {facts['bytes']} bytes: {verb}"
    )


def _seconds(text: str) -> int:
    """Read ``90``, ``30m``, ``24h`` or ``7d``."""
    from ledger.errors import UsageError

    found = re.fullmatch(r"([0-9]{1,6})([smhd]?)", text, re.ASCII)
    if found is None:
        raise UsageError("--older-than", expected="a number with s, m, h or d", actual=text)
    return int(found[1]) * _UNITS[found[2] or "s"]
