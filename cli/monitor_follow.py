"""`hubledger monitor init|once|run`: follow the logs of the settings."""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from cli.live import catching_up
from cli.monitor_options import COULD_NOT_CHECK, USAGE, config_option, format_time, now_seconds
from cli.monitor_show import show_findings, show_left_out
from cli.output import columns, echo_json, format_table, json_option, printable
from cli.readiness import tell_ready
from ledger.embedded.wording import plural

if TYPE_CHECKING:
    from monitor.health import SinkHealth
    from monitor.looks import Look
    from monitor.state import State


@click.command()
@config_option
@click.option(
    "--from",
    "start",
    required=True,
    metavar="genesis|FILE",
    help="Where to begin: the first entry, or a signed checkpoint that you pinned.",
)
@click.option(
    "--log", "logs", multiple=True, help="Only this log of the settings (repeatable); needed with a FILE."
)
@json_option
def init(config_file: pathlib.Path, start: str, logs: tuple[str, ...], *, as_json: bool) -> None:
    """Make the monitor's memory, and begin the logs of the settings that were not begun before."""
    from ledger.errors import UsageError
    from ledger.tlog.signed_note import MAX_NOTE_BYTES
    from monitor.config import load_config
    from monitor.daemon import init as make
    from monitor.daemon import read_pin

    config = load_config(config_file)
    names = logs or tuple(each.name for each in config.log)
    pin = None if start == "genesis" else read_pin(pathlib.Path(start), max_bytes=MAX_NOTE_BYTES + 1)
    if pin is not None and len(names) != 1:
        raise UsageError("--from", expected="--log NAME with a checkpoint", actual=f"{len(names)} logs")
    begun = make(config, pinned=dict.fromkeys(names, pin), now=now_seconds())
    if as_json:
        echo_json(
            {"state": str(config.folder), "begun": [{"log": each.name, "size": each.size} for each in begun]}
        )
        return
    click.echo(f"State     {printable(str(config.folder))}")
    for each in begun:
        where = f"from size {each.size}, which you pinned" if each.size else "from its first entry"
        click.echo(f"Begun     {each.name}, {where}")
    if not begun:
        click.echo("Nothing new to begin: every log was begun before")


@click.command()
@config_option
@json_option
def once(config_file: pathlib.Path, *, as_json: bool) -> int:
    """Look once at every log up to its newest checkpoint, and deliver what is due.

    Exit code 0: clean; 1: tampering, something malformed or a finding is open; 2: usage; 3: something could not be checked.
    """
    from cli.main import show_error
    from ledger.errors import InputError, LedgerError
    from monitor.config import load_config
    from monitor.daemon import FOUND, exit_code, open_monitor
    from monitor.health import accuses, assess

    try:
        config = load_config(config_file)
        with (
            catching_up(quiet=as_json) as advance,
            open_monitor(config, progress=advance) as monitor,
        ):
            before = _newest(monitor.state)
            looks = monitor.look()
            monitor.check_beside()
            delivered = monitor.deliver()
            monitor.check_canary()  # whether the one that was just handed over arrived
            unpublished = monitor.publish()
            new = [each for each in monitor.state.record.findings() if each.number > before]
            sinks = assess(config, monitor.state, now=now_seconds()).sinks
            code = exit_code(monitor.state, looks)
            if unpublished and code == 0:
                code = COULD_NOT_CHECK
    except LedgerError as error:
        # Whoever calls this from a schedule goes by the code: what stopped it is said, and is neither clean nor a finding.
        show_error(error, as_json=as_json)
        return USAGE if isinstance(error, InputError) else COULD_NOT_CHECK
    problems = dict(delivered.problems)
    if as_json:
        echo_json(
            {
                "logs": [_look_facts(each) for each in looks],
                "findings": [each.as_json() for each in reversed(new)],
                "delivered": dict(delivered.taken),
                "undelivered": problems,
                **_waiting_facts(sinks),
                **({"unpublished": unpublished} if unpublished else {}),
                "exitCode": code,
            }
        )
        return code
    for line in _look_lines(looks):
        click.echo(line)
    show_findings(new[::-1])
    more = sum(each.new_findings for each in looks) - len(new)
    if more > 0:
        click.echo(f"… and {plural(more, 'more finding')}: `hubledger monitor findings`")
    if code == FOUND and not accuses(str(each.facts["kind"]) for each in new if each.state == "open"):
        click.echo("Open findings of before are why this ends with 1: `hubledger monitor findings`")
    for sink, problem in problems.items():
        click.echo(f"Sink {sink} did not take a finding; it is sent again: {printable(problem)}")
    for each in sinks:
        if each.waiting and each.sink not in problems:
            click.echo(f"Sink {each.sink} is owed {plural(each.waiting, 'finding')}: {_why_waiting(each)}")
        show_left_out(each.sink, each.left_out)
    if unpublished:
        click.echo(f"Not published in full; it is tried again: {printable(unpublished)}")
    return code


def _waiting_facts(sinks: Sequence["SinkHealth"]) -> dict[str, Any]:
    """What each sink is owed still, and which files of its folder of hooks are not run; nothing where there is no such thing."""
    waiting = {
        each.sink: {
            "findings": each.waiting,
            "askedAgainAt": format_time(each.asked_again_at),
            "problem": each.problem,
        }
        for each in sinks
        if each.waiting
    }
    skipped = {each.sink: list(each.left_out) for each in sinks if each.left_out}
    return {
        **({"waiting": waiting} if waiting else {}),
        **({"notExecutable": skipped} if skipped else {}),
    }


def _why_waiting(sink: "SinkHealth") -> str:
    if sink.asked_again_at is None:
        return "its limit lets no more through now"
    return f"asked again after {format_time(sink.asked_again_at)}, because of {printable(sink.problem)}"


def _newest(state: "State") -> int:
    last = state.record.findings(limit=1)
    return last[0].number if last else 0


def _look_facts(look: "Look") -> dict[str, Any]:
    return {
        "log": look.log,
        "verifiedSize": look.size,
        "shownSize": look.target,
        "newFindings": look.new_findings,
        **({"problem": look.problem} if look.problem else {}),
    }


def _look_lines(looks: Sequence["Look"]) -> list[str]:
    rows = [(each.log, str(each.size), printable(each.problem) or "as signed") for each in looks]
    return [format_table(("LOG", "VERIFIED", "RESULT"), rows, columns=columns())]


@click.command()
@config_option
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 86_400),
    help="Seconds between two looks, in place of the settings'.",
)
@json_option
def run(config_file: pathlib.Path, interval: float | None, *, as_json: bool) -> None:
    """Follow every log and deliver, until SIGTERM or SIGINT. Says a line for each look that brought something."""
    import json
    import signal
    import threading

    from monitor.config import load_config
    from monitor.daemon import answering, open_monitor
    from monitor.running import run as follow

    config = load_config(config_file)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _signal, _frame: stop.set())
    last: dict[str, tuple[int, str]] = {}

    def told(look: "Look") -> None:
        if last.get(look.log) == (look.size, look.problem) and not look.new_findings:
            return
        last[look.log] = look.size, look.problem
        if as_json:
            click.echo(json.dumps(_look_facts(look)))
        else:
            what = printable(look.problem) or "as signed"
            found = f", {plural(look.new_findings, 'new finding')}" if look.new_findings else ""
            click.echo(f"{look.log}: verified to {look.size}{found}: {what}")

    def unpublished(problem: str) -> None:
        if as_json:
            click.echo(json.dumps({"unpublished": problem}))
        elif problem:
            click.echo(f"Not published in full; it is tried again: {printable(problem)}")
        else:
            click.echo("Published again")

    with (
        catching_up(quiet=as_json) as advance,
        open_monitor(
            config, stopping=stop.is_set, patient=True, progress=advance, say=_to_its_own_log
        ) as monitor,
        answering(monitor),
    ):
        tell_ready()
        follow(
            monitor,
            interval=interval or config.interval,
            stop=stop,
            told=told,
            unpublished=unpublished,
        )


def _to_its_own_log(line: str) -> None:
    click.echo(printable(line), err=True)
