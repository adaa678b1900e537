"""Checks the form and the signature of many entries in processes of their own, beside the one that acts on what they say.

That is most of a replay, needs no order, and nothing but the entries and the hub's keys. Threads would not do: they take turns.
What the processes answer is only which checks can be left out: of an entry about which they say nothing, because they did not
come to it, because one of them is gone or because something is wrong with it, everything is looked at here, and said.

They begin at the end of a run and we at its start, and where we meet they go on with the next one: nobody waits for anybody.
"""

import contextlib
import errno
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
MOST_PROCESSES = 2
"""More would wait for the one that acts. It has a processor to itself where there are two."""
_STOP_SECONDS = 5.0
_PIECE = 32
"""Entries of one answer: we listen as often."""
_GOOD, _OTHERWISE = 1, 2
"""What an answer says of an entry. 0: nobody looked at it."""
_BUFFERS = 1024
"""Of one write: what every system takes (IOV_MAX)."""


class Checkers:
    """Checks entries against the hub's keys of a trust file. One thread at a time; ``close`` ends the processes.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, trust: TrustFile) -> None:
        self._keys = {key.keyid: load_key(key.spki) for key in trust.hub_keys}
        self._processes: list[_Process] = []
        self._count = 0
        try:
            for _ in range(max(1, min(MOST_PROCESSES, _processors() - 1))):
                self._processes.append(_Process([key.spki for key in trust.hub_keys]))
        except OSError:
            self.close()
            raise

    def begin(self, entries: Sequence[bytes]) -> None:
        """Let entries be checked from now on, the last ones first. What was begun before is forgotten."""
        self._count = len(entries)
        for at, process in enumerate(self._processes):
            process.begin(entries[at :: len(self._processes)])

    def answer(self, *, wait_seconds: float = 0.0) -> bytes:
        """Return a byte for each entry that was begun last: 1 where form and signature were found good, 0 where nobody looked."""
        found, apart = bytearray(self._count), len(self._processes)
        for at, process in enumerate(self._processes):
            answer = process.answer(wait_seconds)
            of_all = len(range(at, self._count, apart))
            found[at + (of_all - len(answer)) * apart :: apart] = answer
        return bytes(found)

    def read(
        self, entries: Sequence[bytes], first: int, *, then: Sequence[bytes] | None = None
    ) -> list[Read]:
        """Read entries that were begun last, or the first of them; those that were found good without their form again.

        The processes turn to ``then`` as soon as somebody has looked at each of these.
        """
        reads: dict[int, Read] = {}
        good = b""
        for at, entry in enumerate(entries):
            if at % _PIECE == 0:
                good = self.answer()
            if not good[at]:
                reads[at] = read_entry(entry, first + at)
        if then is not None:
            self.begin(then)
        return [
            reads.get(at)
            or (_read_good(entry, first + at, self._keys) if good[at] == _GOOD else None)
            or read_entry(entry, first + at)
            for at, entry in enumerate(entries)
        ]

    def close(self) -> None:
        """End the processes."""
        for each in self._processes:
            each.close()


def _processors() -> int:
    """Return how many processors we may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class _Process:
    """One process, and what it was given. If it is gone, silent, or of another version, it has found nothing good."""

    def __init__(self, spkis: Sequence[bytes]) -> None:
        self._number = self._asked = self._count = 0
        self._answer = b""
        self._heard, self._gone = True, False
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
        self._listen(0.0)
        self._number, self._count, self._answer = self._number + 1, len(entries), b""
        # One that never answered what it was given last, as one that was stopped, is given no more: its pipe would be full one
        # day, and we would wait.
        if entries and self._heard and not self._gone:
            self._heard, self._asked = False, self._number
            with self._noticing():
                _write(self._shared, entries)
            self._send((self._number, [len(each) for each in entries]))

    def answer(self, wait_seconds: float) -> bytes:
        """Return what it said so far of the last of the entries; it begins at the end."""
        while len(self._answer) < self._count and self._listen(wait_seconds):
            pass
        return self._answer

    def _listen(self, wait_seconds: float) -> bool:
        """Take what it said, if it said something; answers to what was asked before the last time say nothing."""
        heard = False
        with self._noticing():
            while not self._gone and self._ours.poll(0.0 if heard else wait_seconds):
                number, part = self._ours.recv()
                heard = True
                self._heard = self._heard or number == self._asked
                if number == self._number:
                    self._answer = part + self._answer
        if len(self._answer) > self._count:
            self._gone = True
        if self._gone:
            self._answer = b""
        return heard and not self._gone

    def _send(self, message: object) -> None:
        with self._noticing():
            self._ours.send(message)

    @contextlib.contextmanager
    def _noticing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError):
            self._gone = True

    def close(self) -> None:
        self._ours.close()
        self._shared.close()
        if self._gone or not self._heard:
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


def _write(file: BinaryIO, entries: Sequence[bytes]) -> None:
    at = 0
    for start in range(0, len(entries), _BUFFERS):
        some = entries[start : start + _BUFFERS]
        wanted = at + sum(map(len, some))
        at += os.pwritev(file.fileno(), some, at)
        if at < wanted:
            raise OSError(errno.ENOSPC, "memory that is shared is full")


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
            at = sum(lengths)
            for end in range(len(lengths), 0, -_PIECE):
                part = lengths[max(0, end - _PIECE) : end]
                at -= sum(part)
                asked.send((number, _look_at(os.pread(shared, sum(part), at), part, keys)))
                if asked.poll():
                    break  # the next batch is there: the rest of this one was looked at


def _look_at(data: bytes, lengths: Sequence[int], keys: Mapping[str, EllipticCurvePublicKey]) -> bytes:
    at, answer = 0, bytearray()
    for length in lengths:
        answer.append(_GOOD if _is_good(data[at : at + length], keys) else _OTHERWISE)
        at += length
    return bytes(answer)


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
