"""Findings for executables in a folder, in the order of their names. Says which files there are none, and are left out."""

import os
import pathlib
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from ledger.errors import SourceError
from monitor.handed import format_finding
from monitor.record import Stored

Say = Callable[[str], None]
"""Takes a line for whoever runs the monitor, and for nobody else: what a hook said may hold a password."""
SAID_BYTES = 2000
"""Of what a hook that failed said last on standard error: enough for the end of a traceback."""
_LINES = 20
_SAID_SECONDS = 1.0
"""How long the end of it is waited for where the hook left a process behind that has standard error open."""
_CHUNK_BYTES = 4096
_VARIABLE_BYTES = 16384
"""Linux starts nothing with a variable over 128 KiB; the whole text is in the JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """What a folder of hooks holds: what is run, and the files beside them that are not executable."""

    hooks: tuple[pathlib.Path, ...]
    left_out: tuple[str, ...]


def look_into(folder: pathlib.Path) -> Folder:
    """Look at a folder of hooks; names that begin with a dot are nobody's. Raises SourceError: it cannot be read."""
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise SourceError(
            f"hooks in {folder}", expected="a readable folder", actual=error.strerror
        ) from error
    files = [each for each in found if not each.name.startswith(".") and each.is_file()]
    runs = {each: os.access(each, os.X_OK) for each in files}
    return Folder(
        hooks=tuple(each for each in files if runs[each]),
        left_out=tuple(each.name for each in files if not runs[each]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    code: int
    said: str


class Hooks:
    """Runs every executable of a folder, in the order of names: JSON on standard input, the key in the environment.

    All must end with 0; after one that does not, the others are run nevertheless, and all are run again later. ``say`` gets what
    one that failed said on standard error, and the names of files that are left out, at first and whenever they change; what it
    gets is in no finding, and comes as it was written.
    """

    def __init__(self, folder: pathlib.Path, *, timeout: float, say: Say | None = None) -> None:
        self._folder, self._timeout, self._say = folder, timeout, say
        self._told: tuple[str, ...] = ()

    def send(self, finding: Stored) -> None:
        """Run them all. Raises SourceError: there is none, or one failed or did not end in time."""
        failures = []
        hooks = self._executables()
        for hook in hooks:
            ended = self._run(hook, finding)
            if ended.code:
                failures.append(f"{hook.name}: {ended.said}")
        if failures or not hooks:
            raise SourceError(
                f"hooks in {self._folder}",
                expected="executables that all end with 0",
                actual="; ".join(failures) or "no executable",
                next_step="Run the executable by hand with the JSON of `hubledger monitor findings --json`",
            )

    def tell_left_out(self) -> None:
        """Say which files are left out, before there is something to send."""
        with suppress(SourceError):  # which is said when something is to be sent
            self._executables()

    def _executables(self) -> tuple[pathlib.Path, ...]:
        found = look_into(self._folder)
        if self._say and found.left_out != self._told:
            for name in found.left_out:
                self._say(f"hooks in {self._folder}: {name} is not executable, and is not run")
        self._told = found.left_out
        return found.hooks

    def _run(self, hook: pathlib.Path, finding: Stored) -> _Ended:
        try:
            process = subprocess.Popen(
                [str(hook.absolute())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE if self._say else subprocess.DEVNULL,
                env=_environment(finding),
                cwd=self._folder,
                start_new_session=True,
            )
        except OSError as error:
            return _Ended(code=126, said=f"cannot be run: {error.strerror}")
        words = _Words(process.stderr) if process.stderr else None
        process.stderr = (
            None  # read by a thread of its own: what the hook left behind may hold it open for ever
        )
        ended = self._wait(process, finding)
        if ended.code and words and self._say:
            for line in words.last_lines():
                self._say(f"{hook.name} said: {line}")
        return ended

    def _wait(self, process: subprocess.Popen[bytes], finding: Stored) -> _Ended:
        try:
            process.communicate(format_finding(finding), timeout=self._timeout)
        except subprocess.TimeoutExpired:
            # The whole group, before its leader is waited for: until then its number is nobody else's.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return _Ended(code=124, said=f"did not end within {self._timeout:g} s")
        return _Ended(code=process.returncode, said=f"ended with {process.returncode}")


class _Words:
    """Reads a pipe to its end, so that nobody who writes into it has to wait, and keeps the last of it."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe, self._kept = pipe, b""
        self._thread = threading.Thread(target=self._read, name="hook", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._pipe:
            while chunk := os.read(self._pipe.fileno(), _CHUNK_BYTES):
                self._kept = (self._kept + chunk)[-SAID_BYTES:]

    def last_lines(self) -> list[str]:
        """Return the last lines that were written, as text; waits a moment for the end."""
        self._thread.join(_SAID_SECONDS)
        return self._kept.decode("utf-8", "replace").splitlines()[-_LINES:]


def _environment(finding: Stored) -> dict[str, str]:
    facts = finding.as_json()
    return {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TZ")},
        "HUBLEDGER_ID": finding.id,
        "HUBLEDGER_KIND": str(facts["kind"]),
        "HUBLEDGER_CLASS": str(facts["class"]),
        "HUBLEDGER_SEVERITY": str(facts["severity"]),
        "HUBLEDGER_LOG": _variable(str(facts["log"])),
        "HUBLEDGER_TEXT": _variable(str(facts["text"])),
    }


def _variable(text: str) -> str:
    """Return a text as the environment can have it: one that cannot be handed over must not keep the hook from running."""
    shown = text.encode("utf-8", "replace").replace(b"\0", b"?")
    if len(shown) > _VARIABLE_BYTES:
        shown = shown[:_VARIABLE_BYTES] + " […]".encode()
    return shown.decode("utf-8", "ignore")
