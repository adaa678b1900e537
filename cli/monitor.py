"""`hubledger monitor init|once|run|status|publish|key|findings|ack|resolve|expect`: watch logs and be told."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli.output import columns, echo_json, format_table, json_option, printable, wrap
from cli.progress import progress_bar
from ledger.embedded.wording import plural

if TYPE_CHECKING:
    from monitor.config import MonitorConfig
    from monitor.follow import Look
    from monitor.record import Stored
    from monitor.state import State

_Command = TypeVar("_Command", bound=Callable[..., Any])
_USAGE, _COULD_NOT_CHECK = 2, 3


def _config_option(command: _Command) -> _Command:
    return click.option(
        "--config",
        "config_file",
        required=True,
        type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False),
        help="The settings of the monitor (TOML).",
    )(command)


@click.group()
def command() -> None:
    """Follow logs, and be told when a signer changes or a log contradicts itself."""


@command.command()
@_config_option
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
    begun = make(config, pinned=dict.fromkeys(names, pin), now=_now())
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


@command.command()
@_config_option
@json_option
def once(config_file: pathlib.Path, *, as_json: bool) -> int:
    """Look once at every log up to its newest checkpoint, and deliver what is due.

    Exit code 0: clean; 1: tampering, something malformed or a finding is open; 2: usage; 3: something could not be checked.
    """
    from cli.main import show_error
    from ledger.errors import InputError, LedgerError
    from monitor.config import load_config
    from monitor.daemon import exit_code, open_monitor

    try:
        config = load_config(config_file)
        with (
            progress_bar("replay", quiet=as_json) as advance,
            open_monitor(config, progress=lambda _log, done, size: advance(done, size)) as monitor,
        ):
            before = _newest(monitor.state)
            looks = monitor.look()
            delivered = monitor.deliver()
            unpublished = monitor.publish()
            new = [each for each in monitor.state.record.findings() if each.number > before]
            code = exit_code(monitor.state, looks)
            if unpublished and code == 0:
                code = _COULD_NOT_CHECK
    except LedgerError as error:
        # Whoever calls this from a schedule goes by the code: what stopped it is said, and is neither clean nor a finding.
        show_error(error, as_json=as_json)
        return _USAGE if isinstance(error, InputError) else _COULD_NOT_CHECK
    problems = dict(delivered.problems)
    if as_json:
        echo_json(
            {
                "logs": [_look_facts(each) for each in looks],
                "findings": [each.as_json() for each in reversed(new)],
                "delivered": dict(delivered.taken),
                "undelivered": problems,
                **({"unpublished": unpublished} if unpublished else {}),
                "exitCode": code,
            }
        )
        return code
    for line in _look_lines(looks):
        click.echo(line)
    _show_findings(new[::-1])
    more = sum(each.new_findings for each in looks) - len(new)
    if more > 0:
        click.echo(f"… and {plural(more, 'more finding')}: `hubledger monitor findings`")
    for sink, problem in problems.items():
        click.echo(f"Sink {sink} did not take a finding; it is sent again: {printable(problem)}")
    if unpublished:
        click.echo(f"Not published in full; it is tried again: {printable(unpublished)}")
    return code


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


@command.command()
@_config_option
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
    from monitor.daemon import open_monitor
    from monitor.daemon import run as follow

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

    with open_monitor(config, stopping=stop.is_set) as monitor:
        follow(
            monitor,
            interval=interval or config.interval,
            stop=stop,
            told=told,
            unpublished=unpublished,
        )


@command.command()
@_config_option
@json_option
def status(config_file: pathlib.Path, *, as_json: bool) -> None:
    """Say how far each log is verified, what is open, and what each sink is owed. Reads only."""
    from monitor.config import load_config
    from monitor.state import State

    config = load_config(config_file)
    state = State(config.folder, check=False)
    try:
        facts = _status_facts(config, state)
    finally:
        state.close()
    if as_json:
        echo_json(facts)
        return
    rows = [
        (
            each["log"],
            str(each["largestSeen"]),
            str(each["verifiedSize"]),
            str(each["lag"]),
            each["checkedAt"] or "never",
            str(each["open"]),
            printable(each.get("problem", "")) or "as signed",
        )
        for each in facts["logs"]
    ]
    click.echo(
        format_table(
            ("LOG", "SEEN", "VERIFIED", "LAG", "LAST CHECKED", "OPEN", "RESULT"), rows, columns=columns()
        )
    )
    if facts["sinks"]:
        click.echo()
        sinks = [
            (each["sink"], str(each["delivered"]), str(each["waiting"]), printable(each["problem"]) or "-")
            for each in facts["sinks"]
        ]
        click.echo(format_table(("SINK", "DELIVERED", "WAITING", "LAST PROBLEM"), sinks, columns=columns()))


def _status_facts(config: "MonitorConfig", state: "State") -> dict[str, Any]:
    counts, sinks = state.record.count_findings(), state.outbox.sink_counts()
    logs = []
    for name in (tree for log in config.log for tree in log.trees):
        position = state.position(name)
        seen = max(state.largest_seen(name), position.size)
        logs.append(
            {
                "log": name,
                "origin": position.origin,
                "first": position.first,
                "largestSeen": seen,
                "verifiedSize": position.size,
                "lag": seen - position.size,
                "checkedAt": _time(position.checked_at),
                "succeededAt": _time(position.succeeded_at),
                "open": counts.get((name, "open"), 0),
                **({"problem": position.problem} if position.problem else {}),
            }
        )
    return {
        "logs": logs,
        "sinks": [
            dict(
                zip(("delivered", "waiting", "problem"), sinks.get(each.name, (0, 0, "")), strict=True),
                sink=each.name,
            )
            for each in config.sink
        ],
    }


@command.command()
@_config_option
@json_option
def publish(config_file: pathlib.Path, *, as_json: bool) -> int:
    """Publish what was verified and found, into the folder of the settings. `once` and `run` do it by themselves.

    Exit code 3: of some log not all could be published, because its entries could not be read again.
    """
    from ledger.errors import ConfigError
    from monitor.config import load_config
    from monitor.publish.publishing import publish as show
    from monitor.state import State

    config = load_config(config_file)
    if not config.publish.folder:
        raise ConfigError("setting publish.folder of the monitor", expected="a folder", actual="nothing")
    state = State(config.folder, check=False)
    try:
        done = show(config, state)
    finally:
        state.close()
    code = _COULD_NOT_CHECK if done.problems else 0
    if as_json:
        echo_json(
            {
                "folder": str(config.published),
                "logs": [{"log": log, "size": size} for log, size in done.sizes.items()],
                "filesWritten": done.files,
                "problems": dict(done.problems),
            }
        )
        return code
    click.echo(f"Published  {printable(str(config.published))}")
    for log, size in done.sizes.items():
        click.echo(f"Log        {log}, {plural(size, 'entry', 'entries')}")
    click.echo(f"Written    {plural(done.files, 'file')}")
    for log, problem in done.problems.items():
        click.echo(f"Missing    {log}: {printable(problem)}")
    return code


@command.command()
@click.argument("name", metavar="[NAME]", required=False)
@_config_option
@json_option
def key(config_file: pathlib.Path, name: str | None, *, as_json: bool) -> None:
    """Make the key that signs statements, under the monitor's NAME; without NAME, show that of the settings."""
    import secrets

    from ledger.embedded.keys import load_note_key
    from ledger.errors import ConfigError, UsageError
    from monitor.config import load_config
    from monitor.publish.publishing import make_key

    config = load_config(config_file)
    if not config.publish.key:
        raise ConfigError("setting publish.key of the monitor", expected="a file", actual="nothing")
    path = config.base / config.publish.key
    if name is None:
        verifier = load_note_key(path).verifier
    elif path.exists() or path.is_symlink():
        raise UsageError(
            f"key {path}",
            expected="no file yet",
            actual="a key",
            next_step="Leave NAME out to see its public half; another key would be another monitor",
        )
    else:
        verifier = make_key(path, name, secrets.token_bytes(32))
    if as_json:
        echo_json({"key": str(path), "vkey": verifier.format()})
        return
    click.echo(f"Key       {printable(str(path))}, which only you can read")
    click.echo(f"For trust files: {verifier.format()}")


_STATES = ("open", "expected", "acknowledged", "resolved")


@command.command()
@_config_option
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(_STATES),
    help="Only these (repeatable); default: open.",
)
@click.option("--all", "everything", is_flag=True, help="All of the record, whatever became of it.")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=1000,
    show_default=True,
    help="How many, newest first.",
)
@json_option
def findings(
    config_file: pathlib.Path, states: tuple[str, ...], limit: int, *, everything: bool, as_json: bool
) -> None:
    """List findings, newest first. They stay in the record, also when they are settled. Reads only."""
    from monitor.config import load_config
    from monitor.state import State

    state = State(load_config(config_file).folder, check=False)
    try:
        found = state.record.findings(states=() if everything else states or ("open",), limit=limit)
    finally:
        state.close()
    if as_json:
        echo_json({"findings": [{**each.as_json(), "foundAt": _time(each.found_at)} for each in found]})
    elif found:
        _show_findings(found)
    else:
        click.echo("No findings")


def _show_findings(found: Sequence["Stored"]) -> None:
    for each in found:
        facts: Mapping[str, Any] = each.facts
        state = "" if each.state == "open" else f", {each.state}{f': {each.note}' if each.note else ''}"
        head = f"{each.number}  {facts['severity']} {facts['kind']}, {facts['log']}{state}"
        click.echo(printable(head))
        click.echo(wrap(printable(str(facts["text"])), columns=columns(), first="    "))
        for signer in facts.get("signers", ()):
            click.echo(f"    signer {signer}")


_NUMBERS = click.argument("numbers", metavar="NUMBER", nargs=-1, required=True, type=click.IntRange(1))
_NOTE = click.option("--note", default="", help="Why, for the record.")


@command.command()
@_NUMBERS
@_config_option
@_NOTE
@json_option
def ack(numbers: tuple[int, ...], config_file: pathlib.Path, note: str, *, as_json: bool) -> None:
    """Say that somebody looks at finding NUMBER (repeatable): it does not fail `once` any more."""
    _move(numbers, config_file, to="acknowledged", note=note, as_json=as_json)


@command.command()
@_NUMBERS
@_config_option
@_NOTE
@json_option
def resolve(numbers: tuple[int, ...], config_file: pathlib.Path, note: str, *, as_json: bool) -> None:
    """Say that finding NUMBER (repeatable) is settled: nobody is told of it any more."""
    _move(numbers, config_file, to="resolved", note=note, as_json=as_json)


def _move(numbers: tuple[int, ...], config_file: pathlib.Path, *, to: str, note: str, as_json: bool) -> None:
    from monitor.config import load_config
    from monitor.state import State

    state = State(load_config(config_file).folder, check=False)
    try:
        moved = state.move(numbers, to=to, note=note, now=_now())
    finally:
        state.close()
    if as_json:
        echo_json({"findings": [each.as_json() for each in moved]})
    else:
        _show_findings(moved)


@command.command()
@click.argument("model", metavar="MODEL")
@_config_option
@click.option("--log", required=True, help="The log, as the settings call it.")
@click.option("--signer", required=True, help="The signer's digest, as a finding shows it (64 hex digits).")
@_NOTE
@json_option
def expect(model: str, config_file: pathlib.Path, log: str, signer: str, note: str, *, as_json: bool) -> None:
    """Say before that a signer is expected for MODEL: findings about exactly that signer alert nobody."""
    from ledger.encoding import parse_hex
    from ledger.event import escape_name
    from monitor.config import load_config
    from monitor.state import State

    digest = parse_hex(signer, length=32, what="--signer").hex()
    state = State(load_config(config_file).folder, check=False)
    try:
        state.position(log)
        state.record.expect(log, model=escape_name(model), signer=digest, note=note, now=_now())
        known = state.record.expectations()
    finally:
        state.close()
    if as_json:
        echo_json(
            {"expected": [dict(zip(("log", "model", "signer", "note"), each, strict=True)) for each in known]}
        )
        return
    click.echo(format_table(("LOG", "MODEL", "SIGNER", "NOTE"), known, columns=columns()))


def _now() -> int:
    import time

    return int(time.time())  # noqa: TID251  # the edge


def _time(seconds: int | None) -> str | None:
    from datetime import UTC, datetime

    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
