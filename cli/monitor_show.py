"""`hubledger monitor status|findings`: say what is known. Both read only."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from cli.monitor_options import COULD_NOT_CHECK, config_option, format_time, now_seconds
from cli.output import columns, echo_json, format_table, json_option, printable, wrap

if TYPE_CHECKING:
    from monitor.findings import Severity
    from monitor.health import Health
    from monitor.record import Stored


@click.command()
@config_option
@click.option(
    "--check",
    is_flag=True,
    help="End with 1 while something that accuses is open, and with 3 where the monitor cannot be relied on.",
)
@json_option
def status(config_file: pathlib.Path, *, check: bool, as_json: bool) -> int:
    """Say how far each log is verified, what is open, and what each sink is owed. Reads only."""
    from monitor.config import load_config
    from monitor.health import assess
    from monitor.state import State

    config = load_config(config_file)
    state = State(config.folder, check=False)
    try:
        health = assess(config, state, now=now_seconds())
    finally:
        state.close()
    if as_json:
        echo_json(_health_facts(health))
    else:
        _show_health(health, canary=config.canary is not None)
    if not check:
        return 0
    return 1 if health.accuses else COULD_NOT_CHECK if health.problems else 0


def _show_health(health: "Health", *, canary: bool) -> None:
    rows = [
        (
            each.log,
            str(each.seen),
            str(each.verified),
            str(each.lag),
            format_time(each.checked_at) or "never",
            format_severities(each.severities),
            printable(each.problem) or "as signed",
        )
        for each in health.logs
    ]
    head = ("LOG", "SEEN", "VERIFIED", "LAG", "LAST CHECKED", "OPEN", "RESULT")
    click.echo(format_table(head, rows, columns=columns()))
    if health.sinks:
        click.echo()
        sinks = [
            (
                each.sink,
                str(each.delivered),
                str(each.waiting),
                format_time(each.asked_again_at) or "-",
                printable(each.problem) or "-",
            )
            for each in health.sinks
        ]
        sink_head = ("SINK", "DELIVERED", "WAITING", "ASKED AGAIN", "LAST PROBLEM")
        click.echo(format_table(sink_head, sinks, columns=columns()))
    for each in health.sinks:
        show_left_out(each.sink, each.left_out)
    if canary:
        click.echo()
        click.echo(
            f"Canary    sent {format_time(health.canary_sent_at) or 'never'}, arrived {format_time(health.canary_arrived_at) or 'never'}"
        )
    if health.own:
        click.echo(f"Monitor   {format_severities(health.own)} open about itself")
    for problem in health.problems:
        click.echo(f"Not ready {printable(problem)}")


def show_left_out(sink: str, names: Sequence[str]) -> None:
    """Say which files of a folder of hooks are not run: one that lost its right to be is like one that is not there."""
    for name in names:
        click.echo(f"Left out  {sink}: {printable(name)} is not executable, and is not run")


def format_severities(counts: Mapping["Severity", int]) -> str:
    """Word how many are open: those for the record are told apart from those that somebody should look at."""
    return ", ".join(f"{count} {severity}" for severity, count in counts.items()) or "0"


def _health_facts(health: "Health") -> dict[str, Any]:
    return {
        "logs": [
            {
                "log": each.log,
                "origin": each.origin,
                "first": each.first,
                "largestSeen": each.seen,
                "verifiedSize": each.verified,
                "lag": each.lag,
                "checkedAt": format_time(each.checked_at),
                "succeededAt": format_time(each.succeeded_at),
                "open": each.open,
                "openBySeverity": dict(each.severities),
                **({} if each.quorum_met is None else {"quorumMet": each.quorum_met}),
                **({} if each.cosigned_at is None else {"cosignedAt": format_time(each.cosigned_at)}),
                **({"problem": each.problem} if each.problem else {}),
            }
            for each in health.logs
        ],
        "sinks": [
            {
                "sink": each.sink,
                "delivered": each.delivered,
                "waiting": each.waiting,
                "waitingSince": format_time(each.waiting_since),
                "askedAgainAt": format_time(each.asked_again_at),
                "problem": each.problem,
                "notExecutable": list(each.left_out),
            }
            for each in health.sinks
        ],
        "canary": {
            "sentAt": format_time(health.canary_sent_at),
            "arrivedAt": format_time(health.canary_arrived_at),
        },
        "ownOpenBySeverity": dict(health.own),
        "problems": list(health.problems),
    }


_STATES = ("open", "expected", "acknowledged", "resolved")
_SEVERITIES = ("info", "low", "medium", "high", "critical")
"""The least first."""


@click.command()
@config_option
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(_STATES),
    help="Only these (repeatable); default: open.",
)
@click.option("--all", "everything", is_flag=True, help="All of the record, whatever became of it.")
@click.option("--log", "logs", multiple=True, help="Of this log, as the settings call it (repeatable).")
@click.option("--model", "models", multiple=True, help="About this model (repeatable).")
@click.option("--kind", "kinds", multiple=True, help="Of this kind, as `signer-changed` (repeatable).")
@click.option(
    "--severity",
    type=click.Choice(_SEVERITIES),
    default=_SEVERITIES[0],
    show_default=True,
    help="At least so grave.",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=1000,
    show_default=True,
    help="How many, newest first.",
)
@json_option
def findings(
    config_file: pathlib.Path,
    *,
    states: tuple[str, ...],
    logs: tuple[str, ...],
    models: tuple[str, ...],
    kinds: tuple[str, ...],
    severity: str,
    limit: int,
    everything: bool,
    as_json: bool,
) -> None:
    """List findings, newest first. They stay in the record, also when they are settled. Reads only."""
    from ledger.errors import UsageError
    from ledger.event import escape_name
    from monitor.config import load_config
    from monitor.findings import Kind
    from monitor.state import State

    for each in kinds:
        if each not in list(Kind):
            raise UsageError(
                "--kind",
                expected="a kind of finding",
                actual=each,
                next_step="Name one of " + ", ".join(Kind),
            )
    state = State(load_config(config_file).folder, check=False)
    try:
        found = state.record.findings(
            states=() if everything else states or ("open",),
            logs=logs,
            models=[escape_name(each) for each in models],
            kinds=kinds,
            severities=_SEVERITIES[_SEVERITIES.index(severity) :],
            limit=limit,
        )
    finally:
        state.close()
    if as_json:
        echo_json({"findings": [{**each.as_json(), "foundAt": format_time(each.found_at)} for each in found]})
    elif found:
        show_findings(found, when=True)
    else:
        click.echo("No findings")


def show_findings(found: Sequence["Stored"], *, when: bool = False) -> None:
    """Print findings, a head line and the words of each; and when each was found, where that is not now."""
    for each in found:
        facts: Mapping[str, Any] = each.facts
        state = "" if each.state == "open" else f", {each.state}{f': {each.note}' if each.note else ''}"
        head = f"{each.number}  {facts['severity']} {facts['kind']}, {facts['log']}{state}"
        click.echo(printable(head))
        if when:
            click.echo(f"    found {format_time(each.found_at)}")
        click.echo(wrap(printable(str(facts["text"])), columns=columns(), first="    "))
        for signer in facts.get("signers", ()):
            click.echo(f"    signer {signer}")
