"""The command's frame: what help costs, and how each kind of failure leaves the process."""

import importlib.util
import json
import pathlib
import shlex
import subprocess
import sys

import click
import pytest

from cli import main
from cli.main import COMMANDS, LazyGroup, run
from ledger.errors import ConflictError


@pytest.fixture
def with_command(monkeypatch):
    """Add a command that does what the test wants."""

    def add(action):
        command = click.Command("try", callback=action)
        monkeypatch.setitem(COMMANDS, "try", "For a test.")
        real = LazyGroup.get_command
        monkeypatch.setattr(
            LazyGroup,
            "get_command",
            lambda self, ctx, name: command if name == "try" else real(self, ctx, name),
        )
        return command

    return add


def test_help_lists_every_command_and_imports_none():
    code = (
        "import sys; from cli.main import run; run(['--help']); "
        "print(sorted(name for name in sys.modules if name.startswith(('cli.', 'ledger.')) or name in "
        "('sigstore', 'httpx', 'rich', 'sqlite_utils', 'cryptography')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *text, loaded = done.stdout.splitlines()
    assert loaded == "['cli.main', 'ledger.errors']"
    for name in COMMANDS:
        assert any(line.split()[:1] == [name] for line in text)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_is_there_and_explains_itself(name, capsys):
    assert importlib.util.find_spec(f"cli.{name.replace('-', '_')}") is not None
    assert run([name, "--help"]) == 0
    assert f"Usage: hubledger {name}" in capsys.readouterr().out


def test_version_is_that_of_the_distribution(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("hubledger 0.")


def test_an_error_of_ours_is_one_message_with_its_class_s_exit_code(with_command, capsys):
    def fail():
        raise ConflictError(
            "event id e1", expected="the facts of leaf 0", actual="others", next_step="Use a new id"
        )

    with_command(fail)
    assert run(["try"]) == ConflictError.exit_code
    assert capsys.readouterr() == (
        "",
        "hubledger: event id e1: expected the facts of leaf 0, got others. Use a new id\n",
    )


def test_with_json_an_error_is_one_object(capsys):
    assert run(["verify", "--proof", "/nonexistent", "--trust", "/nonexistent", "--json"]) == 34
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err) == {
        "error": "NotFoundError",
        "message": "file /nonexistent: expected a readable file, got No such file or directory. Check the path",
        "what": "file /nonexistent",
        "expected": "a readable file",
        "actual": "No such file or directory",
        "nextStep": "Check the path",
        "exitCode": 34,
    }


def test_an_unexpected_exception_says_that_it_is_a_bug(with_command, capsys):
    def fail():
        raise ZeroDivisionError("oops")

    with_command(fail)
    assert run(["try"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith(
        "hubledger: this is a bug in hubledger, please report it with the lines above: ZeroDivisionError: oops\n"
    )


def test_output_that_cannot_be_printed_is_no_bug_and_no_success(with_command, capsys):
    """As of `hubledger verify … > FILE` on a full disk."""

    def fail():
        with pathlib.Path("/dev/full").open("w", encoding="utf-8") as full:
            full.write("text")

    with_command(fail)
    assert run(["try"]) == 63
    assert capsys.readouterr().err == (
        "hubledger: standard output: expected a place that takes what is printed, got No space left on device. Make room, or "
        "print elsewhere, and run it again: what was found was not said\n"
    )


def test_a_closed_output_is_no_bug():
    """`>&-`: what is printed goes nowhere, and the exit code says it all."""
    code = "import sys; from cli.output import columns; print(columns(), file=sys.stderr)"
    line = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} >&-"
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=True)
    assert done.stderr == "None\n"


def test_an_interrupt_is_130_and_no_bug(with_command, capsys):
    def fail():
        raise KeyboardInterrupt

    with_command(fail)
    assert run(["try"]) == main.INTERRUPTED_EXIT_CODE
    assert "bug" not in capsys.readouterr().err


@pytest.mark.parametrize("words", [["nothing"], ["proof"], ["verify", "--nothing"], ["--nothing"]])
def test_a_usage_error_is_2_in_text_and_in_json(words, capsys):
    assert run(words) == 2
    assert "Error: " in capsys.readouterr().err
    assert run([*words, "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["error"] == "UsageError"
