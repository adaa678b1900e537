"""`hubledger monitor ack|resolve|expect|expected`: what people say of findings, for the record."""

import pathlib
from typing import TYPE_CHECKING, Any

import click

from cli.monitor_options import config_option, format_time, now_seconds
from cli.monitor_show import show_findings
from cli.output import columns, echo_json, format_table, json_option

if TYPE_CHECKING:
    from monitor.record import Expected


class _Number(click.IntRange):
    """The number of a finding; the file that it is looked for in has none above 2^63."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return it. A word that is none ends in usage."""
        from ledger.encoding import parse_decimal
        from ledger.errors import MalformedError

        try:
            number = parse_decimal(value)
        except MalformedError:
            number = 0
        if not number:
            self.fail(
                f"{value!r} is not the number of a finding: `hubledger monitor findings` begins each with its own.",
                param,
                ctx,
            )
        return number


_NUMBERS = click.argument("numbers", metavar="NUMBER", nargs=-1, required=True, type=_Number(1))
_NOTE = click.option("--note", default="", help="Why, for the record.")


@click.command()
@_NUMBERS
@config_option
@_NOTE
@json_option
def ack(numbers: tuple[int, ...], config_file: pathlib.Path, note: str, *, as_json: bool) -> None:
    """Say that somebody looks at finding NUMBER (repeatable): it does not fail `once` any more."""
    _move(numbers, config_file, to="acknowledged", note=note, as_json=as_json)


@click.command()
@_NUMBERS
@config_option
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
        moved = state.move(numbers, to=to, note=note, now=now_seconds())
    finally:
        state.close()
    if as_json:
        echo_json({"findings": [each.as_json() for each in moved]})
    else:
        show_findings(moved)


@click.command()
@click.argument("model", metavar="MODEL")
@config_option
@click.option("--log", required=True, help="The log, as the settings call it.")
@click.option(
    "--signer",
    required=True,
    help="The signer's digest, as a finding shows it (64 hex digits), or its identity, as `history --json` shows it.",
)
@_NOTE
@click.option("--withdraw", is_flag=True, help="Expect the signer no longer. What it settled stays settled.")
@json_option
def expect(
    model: str, config_file: pathlib.Path, log: str, signer: str, note: str, *, withdraw: bool, as_json: bool
) -> None:
    """Say before that a signer is expected for MODEL: findings about exactly that signer alert nobody."""
    from ledger.event import escape_name
    from monitor.config import load_config
    from monitor.state import State
    from monitor.watch import signer_digest

    digest, name = signer_digest(signer, what="--signer"), escape_name(model)
    state = State(load_config(config_file).folder, check=False)
    try:
        state.position(log)
        if withdraw:
            state.record.withdraw(log, model=name, signer=digest)
        else:
            state.record.expect(log, model=name, signer=digest, note=note, now=now_seconds())
        known = state.record.expectations()
    finally:
        state.close()
    _show_expected(known, as_json=as_json)


@click.command()
@config_option
@json_option
def expected(config_file: pathlib.Path, *, as_json: bool) -> None:
    """List which signers are expected, of which models, since when and why."""
    from monitor.config import load_config
    from monitor.state import State

    state = State(load_config(config_file).folder, check=False)
    try:
        known = state.record.expectations()
    finally:
        state.close()
    _show_expected(known, as_json=as_json)


def _show_expected(known: "list[Expected]", *, as_json: bool) -> None:
    if as_json:
        echo_json({"expected": [{**each.as_json(), "since": format_time(each.made_at)} for each in known]})
    elif not known:
        click.echo("No signer is expected before it signs: name one with `hubledger monitor expect`.")
    else:
        rows = [
            (each.log, each.model, each.signer, format_time(each.made_at) or "", each.note) for each in known
        ]
        click.echo(format_table(("LOG", "MODEL", "SIGNER", "SINCE", "NOTE"), rows, columns=columns()))
