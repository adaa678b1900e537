"""`hubledger monitor compare|crosscheck`: what others were shown, and what a hub serves, against what is verified here."""

import pathlib
from typing import BinaryIO

import click

from cli.monitor_options import COULD_NOT_CHECK, config_option
from cli.output import columns, echo_json, json_option, printable, wrap
from ledger.embedded.wording import plural


@click.command()
@click.argument("note", metavar="FILE|-", type=click.File("rb"))
@config_option
@json_option
def compare(note: BinaryIO, config_file: pathlib.Path, *, as_json: bool) -> int:
    """Hold a signed checkpoint that somebody else was shown against what was verified here.

    Exit code 0: consistent; 1: inconsistent, the evidence is written; 3: pending, it is remembered for later.
    """
    import time

    from ledger.tlog.signed_note import MAX_NOTE_BYTES
    from monitor.assembling import open_views
    from monitor.compare import Judgement
    from monitor.config import load_config
    from monitor.state import State

    config = load_config(config_file)
    state = State(config.folder, check=False)
    try:
        judged = open_views(config, state, clock=time.time).judge(note.read(MAX_NOTE_BYTES + 1))  # noqa: TID251  # the edge
    finally:
        state.close()
    if as_json:
        echo_json(judged.as_json())
    else:
        click.echo(f"{judged.judgement}: {printable(judged.log)} at size {judged.size}")
        click.echo(wrap(printable(judged.text), columns=columns(), first="    "))
        if judged.evidence:
            click.echo(f"Evidence  {printable(judged.evidence)}")
    return {Judgement.CONSISTENT: 0, Judgement.INCONSISTENT: 1, Judgement.PENDING: COULD_NOT_CHECK}[
        judged.judgement
    ]


@click.command()
@config_option
@json_option
def crosscheck(config_file: pathlib.Path, *, as_json: bool) -> int:
    """Hold the list of what the hub serves (`[crosscheck]`) against what is verified here.

    Exit code 0: everything is recorded; 1: something is not; 3: the list could not be read.
    """
    import dataclasses
    import time

    from monitor.beside import open_crosscheck
    from monitor.config import load_config
    from monitor.state import State

    config = load_config(config_file)
    state = State(config.folder, check=False)
    try:
        done = open_crosscheck(config, state, clock=time.time).look()  # noqa: TID251  # the edge
    finally:
        state.close()
    if as_json:
        echo_json(dataclasses.asdict(done))
    else:
        click.echo(f"Listed    {done.listed}")
        click.echo(f"Recorded  {done.recorded}")
        click.echo(f"Missing   {done.missing}, {plural(done.new_findings, 'new finding')}")
        click.echo(f"Too new   {done.waiting}")
        if done.problem:
            click.echo(wrap(printable(done.problem), columns=columns(), first=""))
    return COULD_NOT_CHECK if done.problem else 1 if done.missing else 0
