"""`hubledger outbox status|retry|drop`: what a ledger in Rekor has accepted and Rekor has not yet."""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import click

from cli.output import echo_json, json_option, printable
from cli.progress import progress_bar
from ledger.embedded.wording import plural

_BY_ID = click.option(
    "--by-id",
    is_flag=True,
    help="EVENT is an event id, also where it is all digits; else digits are a number.",
)
_DIRECTORY = click.argument("directory", type=click.Path(path_type=pathlib.Path))


@click.group()
def command() -> None:
    """Show, retry or drop what a ledger in Rekor has accepted and Rekor has not yet."""


@command.command()
@_DIRECTORY
@json_option
def status(directory: pathlib.Path, *, as_json: bool) -> None:
    """Say how much of the ledger in DIRECTORY is logged, what waits and why, and when it is tried again."""
    from ledger.embedded.clock import posix_now
    from ledger.embedded.submitting import outbox_status

    facts = outbox_status(directory, now=posix_now())
    if as_json:
        echo_json(facts)
        return
    for label, text in _lines(facts):
        click.echo(f"{label:<14}{printable(text)}".rstrip())


def _lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for state in ("accepted", "logged", "pending", "refused", "dropped"):
        yield state.capitalize(), str(facts[state])
    if facts["oldestPending"] is not None:
        oldest = facts["oldestPending"]
        yield "Oldest", f"{_event(oldest)}, for {_span(oldest['waitingFor'])}"
    if facts["nextAttemptIn"] is not None:
        wait = facts["nextAttemptIn"]
        yield (
            "Next attempt",
            f"in {_span(wait)}" if wait else "as soon as something records, or `hubledger outbox retry` runs",
        )
    for each in facts["errors"]:
        yield "Error", f"{each['error']}, {plural(each['count'], 'entry', 'entries')}: {each['message']}"
    for each in facts["failed"]:
        if each["state"] == "refused":
            yield "Refused", f"{_event(each)}: {each['lastError']['message']}"
    for each in facts["drops"]:
        yield "Dropped", f"{_event(each)}: {each['reason']}"
    for each in facts["shards"]:
        yield f"Shard {each['order']}", each["origin"] + ("" if each["writable"] else "  (read only)")


def _event(facts: Mapping[str, Any]) -> str:
    model = f", {facts['name']} at {facts['revision']}" if "name" in facts else ""
    return f"number {facts['number']} ({facts.get('eventId', 'no event id')}{model})"


def _span(seconds: int) -> str:
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return plural(seconds // length, unit)
    return plural(seconds, "second")


@command.command()
@_DIRECTORY
@click.argument("events", nargs=-1, metavar="[EVENT]...")
@click.option("--all", "every", is_flag=True, help="Everything that is pending; also what the log refused.")
@click.option(
    "--seconds", type=click.FloatRange(min=0), default=600.0, show_default=True, help="How long to go on."
)
@_BY_ID
@json_option
def retry(
    directory: pathlib.Path,
    events: tuple[str, ...],
    seconds: float,
    *,
    every: bool,
    by_id: bool,
    as_json: bool,
) -> int:
    """Submit what is pending in DIRECTORY, at once, until it is logged or the time is up.

    Without EVENTs (numbers or event ids) or with --all it is everything. Exit code 50 if something is still pending,
    38 if all that is left was refused.
    """
    from ledger.embedded.submitting import retry_outbox
    from ledger.errors import RejectedError, UnavailableError, UsageError

    if every and events:
        raise UsageError("what to retry", expected="EVENTs or --all", actual="both")
    with progress_bar("logged", quiet=as_json) as advance:
        facts = retry_outbox(directory, events, seconds=seconds, progress=advance, by_id=by_id)
    if as_json:
        echo_json(facts)
    else:
        click.echo(
            f"Logged {facts['logged']}; {facts['pending']} still pending, {facts['refused']} refused by the log."
        )
    if facts["pending"]:
        return UnavailableError.exit_code
    return RejectedError.exit_code if facts["refused"] else 0


@command.command()
@_DIRECTORY
@click.argument("event")
@click.option(
    "--reason", required=True, help='Why, as a code such as "log-refuses-it". It is kept and shown.'
)
@_BY_ID
@json_option
def drop(directory: pathlib.Path, event: str, reason: str, *, by_id: bool, as_json: bool) -> None:
    """Give up EVENT (a number or event id) of DIRECTORY for good: it is not submitted any more.

    Its statement stays in its histories and is still served, and later ones follow it: whoever reads them sees that it
    is not in the log. If an earlier attempt reached the log after all, it is logged, and a scan finds it.
    """
    from ledger.embedded.submitting import drop_event

    facts = drop_event(directory, event, reason=reason, by_id=by_id)
    if as_json:
        echo_json(facts)
    else:
        click.echo(f"Dropped {printable(_event(facts))}: {reason}")
