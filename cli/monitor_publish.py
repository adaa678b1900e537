"""`hubledger monitor publish|key`: the folder that others read, and the key that signs its statements."""

import pathlib

import click

from cli.monitor_options import COULD_NOT_CHECK, config_option, now_seconds
from cli.output import echo_json, json_option, printable
from ledger.embedded.wording import plural


@click.command()
@config_option
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
        done = show(config, state, now=now_seconds())
    finally:
        state.close()
    code = COULD_NOT_CHECK if done.problems else 0
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


@click.command()
@click.argument("name", metavar="[NAME]", required=False)
@config_option
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
