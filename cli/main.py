"""The `hubledger` command: which commands there are, and how every failure is shown.

A command's module is imported when that command runs, never before, so `--help` stays quick and a command
pays only for what it uses. Each module `cli.<name>` (`_` for `-`) holds one click command or group named
`command`.
"""

import contextlib
import errno
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from ledger.errors import LedgerError, WriteError

COMMANDS: dict[str, str] = {
    "init": "Make a ledger: keys, trust file, settings, and a signed log.",
    "record": "Verify one model revision and record what was found.",
    "history": "Show a model's events, with a marker where the signer changed.",
    "proof": "Write the proof that an event is in the log.",
    "verify": "Check a model before it is loaded, by its name, a proof or a bundle.",
    "attestation": "Sign what the ledger says of a revision, for tools that know no ledgers.",
    "fetch-proof": "Fetch all that a check without network needs, into one file.",
    "trust": "Add, compare, update or sign the trust files that checks rely on.",
    "pins": "Show or forget what checks remember of logs and histories.",
    "log": "Show the signed checkpoint, audit or end a log, or anchor it in another.",
    "evidence": "Show, export, withdraw or collect what events name by digest.",
    "identity": "Open or erase identities that were recorded as commitments.",
    "index": "Rebuild or check the local index.",
    "outbox": "Show, retry or drop what is not yet in Rekor.",
    "serve": "Answer over HTTP: the log, histories, badges; and record what the hub sends.",
    "token": "Make, list or revoke the tokens of those who write over HTTP.",
    "spool": "Look at, or send, the events of a hub that wait for the ledger.",
    "monitor": "Follow logs, and be told when a signer changes or a log lies.",
    "hub": "Compare what a hub serves with what its ledger holds.",
    "keys": "Show the public keys of a ledger.",
    "demo": "Record, prove and tamper in a temporary directory, without network.",
}
"""Name and one line for `hubledger --help`, in the order in which a newcomer meets them."""

OBJECTS_OF_A_LARGE_COMMAND = 200_000
"""Objects that a command may make before garbage is looked for: sigstore with all it needs makes about 150,000."""
BUG_EXIT_CODE = 1
INTERRUPTED_EXIT_CODE = 130
"""128 + SIGINT, as shells report it."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one only to run it or to show its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every name of `COMMANDS`, in its order."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command `cmd_name`, or None where there is none (click words that refusal)."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        loaded = importlib.import_module(f"cli.{cmd_name.replace('-', '_')}").command
        if not isinstance(loaded, click.Command):
            raise TypeError(f"cli.{cmd_name}.command is {type(loaded).__name__}")
        return loaded

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from the table: nothing is imported."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _show_version(ctx: click.Context, _parameter: click.Parameter, asked: bool) -> None:  # noqa: FBT001  # click's signature
    if not asked:
        return
    from importlib.metadata import version

    click.echo(f"hubledger {version('hubledger')}")
    ctx.exit()


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version and exit.",
)
def group() -> None:
    """Record who signed each version of each model, in a log that nobody can rewrite, and check it."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave the process with its exit code.

    0 means that everything asked for holds. Errors of `ledger.errors` have the code of their class, the
    results of `verify` those of `cli.exit_codes.ExitCode`, usage errors 2, and 1 is a bug of ours.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    # Start time is a promise. What a command loads lives until it ends: to search it for garbage while it is loaded,
    # and once more on leaving, finds nothing and takes a seventh of the time of a short command.
    gc.set_threshold(OBJECTS_OF_A_LARGE_COMMAND)
    code = run(arguments)
    if "granian" in sys.modules:
        _leave_at_once(code)
    gc.freeze()
    sys.exit(code)


def _leave_at_once(code: int) -> NoReturn:
    """End the process without taking the interpreter apart: everything of ours is closed already.

    The web server has threads of its own that come back to Python to clear up. One that comes while the interpreter ends is
    ended by it, in the middle of Rust code, which then aborts the process: exit code 134 for a service that stopped well.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(
            OSError, ValueError, AttributeError
        ):  # closed, full, or None: nobody is there to be told
            stream.flush()
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command; failures are one message on standard error (JSON if `--json` was among the arguments)."""
    as_json = "--json" in arguments
    try:
        code = group.main(args=list(arguments), prog_name="hubledger", standalone_mode=False)
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.Abort:
        click.echo("hubledger: interrupted", err=True)
        return INTERRUPTED_EXIT_CODE
    except click.ClickException as error:
        return _refuse_usage(error, as_json=as_json)
    except LedgerError as error:
        show_error(error, as_json=as_json)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output (head, a pager) has left: nobody is there to be told.
        sys.stdout = None  # or the interpreter complains again when it flushes
        return 128 + 13
    except OSError as error:
        if error.errno not in _NO_ROOM or error.filename is not None:
            _show_bug(error, as_json=as_json)
            return BUG_EXIT_CODE
        return _show_not_printed(error, as_json=as_json)
    except Exception as error:  # noqa: BLE001  # the outermost edge: whatever else escapes is a bug, and says so
        _show_bug(error, as_json=as_json)
        return BUG_EXIT_CODE
    return code if isinstance(code, int) else 0


_NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO))


def _show_not_printed(error: OSError, *, as_json: bool) -> int:
    """Say that standard output takes no more: files of ours have errors of their own."""
    refusal = WriteError(
        "standard output",
        expected="a place that takes what is printed",
        actual=error.strerror,
        next_step="Make room, or print elsewhere, and run it again: what was found was not said",
    )
    show_error(refusal, as_json=as_json)
    return refusal.exit_code


def _refuse_usage(error: click.ClickException, *, as_json: bool) -> int:
    if as_json:
        _echo_json({"error": "UsageError", "message": error.format_message(), "exitCode": error.exit_code})
    else:
        error.show()
    return error.exit_code


def show_error(error: LedgerError, *, as_json: bool) -> None:
    """Say what went wrong on standard error, as JSON where that was asked for."""
    if not as_json:
        click.echo(f"hubledger: {error}", err=True)
        return
    _echo_json(
        {
            "error": type(error).__name__,
            "message": str(error),
            "what": error.what,
            "expected": _plain(error.expected),
            "actual": _plain(error.actual),
            "nextStep": error.next_step,
            "exitCode": error.exit_code,
        }
    )


def _show_bug(error: Exception, *, as_json: bool) -> None:
    import traceback

    text = f"{type(error).__name__}: {error}"
    if as_json:
        _echo_json(
            {"error": "Bug", "message": f"this is a bug in hubledger: {text}", "exitCode": BUG_EXIT_CODE}
        )
        return
    click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    click.echo(
        f"hubledger: this is a bug in hubledger, please report it with the lines above: {text}", err=True
    )


def _plain(value: object) -> str | int | None:
    return value if value is None or isinstance(value, (str, int)) else str(value)


def _echo_json(value: dict[str, object]) -> None:
    import json

    click.echo(json.dumps({key: item for key, item in value.items() if item not in (None, "")}), err=True)


if __name__ == "__main__":
    main()
