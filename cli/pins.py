"""`hubledger pins`: what this user's checks remember of logs and histories."""

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from cli.output import echo_json, format_table, json_option, printable
from cli.trust import data_folder

if TYPE_CHECKING:
    from ledger.client.contradictions import Contradiction
    from ledger.client.pins import HistoryPin, LogPin, Pins


@click.group()
def command() -> None:
    """Show or forget what checks remember: the last checkpoint of each log, the last event of each history."""


@command.command(name="list")
@json_option
def list_pins(*, as_json: bool) -> None:
    """List what is remembered."""
    from ledger.client.contradictions import Contradictions

    found, contradictions = open_pins().known(), Contradictions(data_folder()).known()
    if as_json:
        echo_json(
            {
                "pins": [_facts(each) for each in found],
                "misbehaviour": [_contradiction_facts(each) for each in contradictions],
            }
        )
        return
    if not found and not contradictions:
        click.echo(
            "Nothing is remembered yet. `hubledger verify MODEL --name NAME` remembers what it has seen."
        )
        return
    rows = [
        (
            each.ledger,
            f"log {each.origin}",
            f"contradicted itself, seen on {each.day}; evidence: {each.evidence}",
        )
        for each in contradictions
    ]
    click.echo(format_table(("LEDGER", "OF", "REMEMBERED"), [*rows, *(_row(each) for each in found)]))


@command.command()
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show what is remembered of NAME: a ledger, a log's origin, a model such as acme/tiny, or a history such as name:acme/tiny.

    A model may be named with its hub, as `hubledger verify` has it: hub.example/acme/tiny.
    """
    from ledger.client.pins import unknown_pin

    facts = [_facts(each) for each in open_pins().known()]
    found = [each for each in facts if name in (each["ledger"], each.get("origin"), each.get("key"))]
    found = found or _of_model(name, facts)
    if not found:
        raise unknown_pin(name)
    if as_json:
        echo_json({"pins": found})
        return
    for each in found:
        for key, value in each.items():
            if key == "refused" and not value:
                continue
            shown = _shown(value)
            for line in shown.rstrip("\n").split("\n"):
                click.echo(f"{key:<10}  {printable(line)}")
        click.echo("")


@command.command()
@click.argument("name")
@json_option
def forget(name: str, *, as_json: bool) -> None:
    """Forget what is remembered of NAME: a ledger, a log's origin, or a history.

    The next check begins anew, and cannot tell whether the log went back since.
    """
    gone = open_pins().forget(name)
    if as_json:
        echo_json({"forgotten": [_facts(each) for each in gone]})
    else:
        click.echo(f"Forgot {len(gone)} of {printable(name)}")


def open_pins() -> "Pins":
    """Return this user's pins."""
    from ledger.client.pins import Pins

    return Pins(data_folder())


def _of_model(name: str, facts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the pins of a model, which may be named with a hub of the trust store."""
    from ledger.client.trust_store import TrustStore
    from ledger.errors import NotFoundError
    from ledger.event import escape_name

    found = [each for each in facts if each.get("key") == f"name:{escape_name(name)}"]
    with contextlib.suppress(NotFoundError):
        stored, model = TrustStore(data_folder()).find(name)
        key = f"name:{escape_name(model)}"
        found += [each for each in facts if (each["ledger"], each.get("key")) == (stored.trust.ledger, key)]
    return found


def _shown(value: object) -> str:
    match value:
        case list():
            return ", ".join(map(_shown, value))
        case {"revision": revision, "leafIndex": leaf}:
            return f"{revision} at leaf {leaf}"
        case bool():
            return "yes" if value else "no"
    return str(value)


def _row(pin: "LogPin | HistoryPin") -> tuple[str, str, str]:
    facts = _facts(pin)
    if "origin" in facts:
        return facts["ledger"], f"log {facts['origin']}", f"checkpoint of size {facts['size']}"
    return (
        facts["ledger"],
        facts["key"],
        f"event {facts['sequence']} at leaf {facts['leafIndex']}, {facts['revision']}, {facts['level']}",
    )


def _contradiction_facts(found: "Contradiction") -> dict[str, Any]:
    return {
        "ledger": found.ledger,
        "origin": found.origin,
        "seen": found.day,
        "evidence": str(found.evidence),
    }


def _facts(pin: "LogPin | HistoryPin") -> dict[str, Any]:
    from ledger.client.pins import LogPin
    from ledger.tlog.checkpoint import parse_checkpoint
    from ledger.tlog.signed_note import parse_note

    facts: dict[str, Any] = pin.as_json()
    del facts["kind"]
    if isinstance(pin, LogPin):
        tree = parse_checkpoint(parse_note(pin.note).text)
        return {"size": tree.size, "rootHash": tree.root_hash.hex(), **facts}
    return facts | {"seen": datetime.fromtimestamp(pin.seen, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
