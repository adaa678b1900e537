"""`hubledger monitor …`: watch logs and be told. The commands are in the modules `cli.monitor_…`."""

import click

from cli.monitor_compare import compare, crosscheck
from cli.monitor_follow import init, once, run
from cli.monitor_publish import key, publish
from cli.monitor_settle import ack, expect, expected, resolve
from cli.monitor_show import findings, status


@click.group()
def command() -> None:
    """Follow logs, and be told when a signer changes or a log contradicts itself."""


for _each in (
    init,
    once,
    run,
    status,
    findings,
    ack,
    resolve,
    expect,
    expected,
    compare,
    crosscheck,
    publish,
    key,
):
    command.add_command(_each)
