"""Checks the form and the signature of many entries in processes of their own, beside the one that acts on what they say.

That is most of a replay, needs no order, and nothing but the entries and the hub's keys. Threads would not do: they take turns.
What the processes answer is only which checks can be left out: of an entry about which they say nothing, because one of them
is gone or because something is wrong with it, everything is looked at here, and said.
"""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import BinaryIO

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from ledger import __version__
from ledger.client.trust import TrustFile
from ledger.entry import Entry, VerifiedEntry, keyid_of, parse_audited_entry, parse_entry, verify_entry
from ledger.errors import LedgerError
from ledger.event import Statement, UnknownStatement, parse_statement
from ledger.event.parsing import parse_audited_statement
from monitor.reads import Read, load_key, read_entry, read_of

FROM = 1024
"""Entries of a run from which on processes are worth their start."""
PROCESSES = 2
"""More would wait for the one that acts."""
_STOP_SECONDS = 5.0
_ANSWER_SECONDS = 30.0
"""A run takes a process well below a second. One that is stopped must not stop the monitor."""
_GOOD = 1


class Checkers:
    """Checks entries against the hub's keys of a trust file. One thread at a time; ``close`` ends the processes.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, trust: TrustFile) -> None:
        self._keys = {key.keyid: load_key(key.spki) for key in trust.hub_keys}
        self._processes: list[_Process] = []
        try:
            for _ in range(PROCESSES):
                self._processes.append(_Process([key.spki for key in trust.hub_keys]))
        except OSError:
            self.close()
            raise

    def begin(self, entries: Sequence[bytes]) -> None:
        """Let entries be checked from now on. What was begun before and never asked for is forgotten."""
        share = -(-len(entries) // PROCESSES)
        for at, process in enumerate(self._processes):
            process.begin(entries[at * share : (at + 1) * share])

    def answer(self) -> bytes:
        """Return a byte for each entry that was begun last, 1 where form and signature are good. Waits for it."""
        return b"".join([each.answer() for each in self._processes])

    def read(self, entries: Sequence[bytes], first: int, good: bytes) -> list[Read]:
        """Read entries; those that were found good without looking at their form again."""
        return [
            (_read_good(each, at, self._keys) if fits == _GOOD else None) or read_entry(each, at)
            for at, (each, fits) in enumerate(zip(entries, good, strict=True), first)
        ]

    def close(self) -> None:
        """End the processes."""
        for each in self._processes:
            each.close()


class _Process:
    """One process, and what it was given. If it is gone, silent, or of another version, it has found nothing good."""

    def __init__(self, spkis: Sequence[bytes]) -> None:
        self._number = self._waiting = 0
        self._gone = False
        with contextlib.ExitStack() as opened:
            # The entries lie in memory that both have: a pipe would make us wait until they are taken from it.
            self._shared = opened.enter_context(_shared_memory())
            self._ours, theirs = multiprocessing.Pipe()
            opened.callback(self._ours.close)
            with theirs:
                self._process = _start(theirs.fileno(), self._shared.fileno())
            opened.pop_all()
        self._send((__version__, list(spkis)))

    def begin(self, entries: Sequence[bytes]) -> None:
        if self._waiting:
            self.answer()  # it still reads what the new entries are about to replace
        self._number, self._waiting = self._number + 1, len(entries)
        with self._noticing():
            _write(self._shared, b"".join(entries))
        self._send((self._number, [len(each) for each in entries]))

    def answer(self) -> bytes:
        waiting, self._waiting = self._waiting, 0
        answer: tuple[int, bytes] = (0, b"")
        if waiting and not self._gone:
            with self._noticing():
                if not self._ours.poll(_ANSWER_SECONDS):
                    raise TimeoutError("a process that checks entries")
                answer = self._ours.recv()
        fits = answer[0] == self._number and len(answer[1]) == waiting
        self._gone = self._gone or (waiting > 0 and not fits)
        return answer[1] if fits and waiting else bytes(waiting)

    def _send(self, message: object) -> None:
        with self._noticing():
            self._ours.send(message)

    @contextlib.contextmanager
    def _noticing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError):  # a TimeoutError is an OSError
            self._gone = True

    def close(self) -> None:
        self._ours.close()
        self._shared.close()
        if self._gone:
            self._process.kill()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


_START = "import sys; fds, sys.path[:] = sys.argv[1:3], sys.argv[3:]; from monitor.checkers import work; work(*map(int, fds))"


def _start(connection: int, shared: int) -> "subprocess.Popen[bytes]":
    """Start a process that has our own modules, from where we have them.

    Neither a fork, since a copy would wait for the locks of our other threads, nor what multiprocessing calls spawn, which
    runs the main module of whoever uses us once more. Isolated (-I): neither the folder that we happen to be in nor the
    environment says what a module is.
    """
    paths = [path for path in sys.path if path]
    command = [sys.executable, "-I", "-c", _START, str(connection), str(shared), *paths]
    return subprocess.Popen(command, pass_fds=[connection, shared], stdin=subprocess.DEVNULL)


def _read_good(data: bytes, leaf_index: int, keys: Mapping[str, EllipticCurvePublicKey]) -> Read | None:
    """Read what was found good; None: look at all of it."""
    try:
        entry = parse_audited_entry(data)
        if entry is None or entry.keyid not in keys:
            return None
        verified = VerifiedEntry(entry=entry, key=keys[entry.keyid])
        return read_of(entry, parse_audited_statement(entry.payload), leaf_index, verified=verified)
    except (LedgerError, RecursionError):
        return None


def _shared_memory() -> BinaryIO:
    """Return a file that is nowhere but in memory, where the system has such."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("entries"), "r+b")
    return tempfile.TemporaryFile()


def _write(file: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.pwrite(file.fileno(), view, len(data) - len(view)) :]


# In the process


def work(connection: int, shared: int) -> None:
    """Answer each batch with a byte for each entry, until there is nobody who asks. Before the first come version and keys.

    Whoever asks from another version, as one that was installed over while it ran, gets no answer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who is interrupted closes the pipe when it has ended
    asked = Connection(connection)
    with contextlib.suppress(EOFError, OSError):
        version, spkis = asked.recv()
        if version != __version__:
            return
        keys = {keyid_of(each): load_key(each) for each in spkis}
        while True:
            number, lengths = asked.recv()
            at, good = 0, bytearray()
            for length in lengths:
                good.append(_is_good(os.pread(shared, length, at), keys))
                at += length
            asked.send((number, bytes(good)))


def _is_good(data: bytes, keys: Mapping[str, EllipticCurvePublicKey]) -> bool:
    try:
        entry = parse_entry(data)
        if isinstance(entry, Entry):
            verify_entry(entry, keys)
            _: Statement | UnknownStatement = parse_statement(entry.payload)
            return True
    except (LedgerError, RecursionError):
        pass
    return False
