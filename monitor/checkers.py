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
_GOOD = 1


class Checkers:
    """Checks entries against the hub's keys of a trust file. One thread at a time; ``close`` ends the processes."""

    def __init__(self, trust: TrustFile) -> None:
        self._keys = {key.keyid: load_key(key.spki) for key in trust.hub_keys}
        self._processes = [_Process([key.spki for key in trust.hub_keys]) for _ in range(PROCESSES)]
        self._begun = False

    def begin(self, entries: Sequence[bytes]) -> None:
        """Let entries be checked from now on. What was begun before and never asked for is forgotten."""
        if self._begun:
            self.answer()
        share = -(-len(entries) // PROCESSES)
        for at, process in enumerate(self._processes):
            process.begin(entries[at * share : (at + 1) * share])
        self._begun = True

    def answer(self) -> bytes:
        """Return a byte for each entry that was begun, 1 where form and signature are good. Waits for it."""
        self._begun = False
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
    """One process, and what it was given. If it is gone, it has found nothing good."""

    def __init__(self, spkis: Sequence[bytes]) -> None:
        self._waiting, self._gone = 0, False
        # The entries lie in memory that both have: a pipe would make us wait until they are taken from it.
        self._shared = _shared_memory()
        self._ours, theirs = multiprocessing.Pipe()
        with theirs:
            # Neither a fork, since a copy would wait for the locks of our other threads, nor what multiprocessing calls
            # spawn, which runs the main module of whoever uses us once more.
            fds = [theirs.fileno(), self._shared.fileno()]
            # -P: not from the folder that we happen to be in, which may have a monitor of its own.
            command = [sys.executable, "-P", "-m", "monitor.checkers", *map(str, fds)]
            self._process = subprocess.Popen(command, pass_fds=fds, stdin=subprocess.DEVNULL)
        self._send(list(spkis))

    def begin(self, entries: Sequence[bytes]) -> None:
        self._waiting = len(entries)
        with self._noticing():
            _write(self._shared, b"".join(entries))
        self._send([len(each) for each in entries])

    def answer(self) -> bytes:
        answer = b""
        if not self._gone:
            with self._noticing():
                answer = self._ours.recv_bytes(self._waiting)
        return answer if len(answer) == self._waiting else bytes(self._waiting)

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
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _read_good(data: bytes, leaf_index: int, keys: Mapping[str, EllipticCurvePublicKey]) -> Read | None:
    entry = parse_audited_entry(data)
    if entry is None or entry.keyid not in keys:
        return None
    verified = VerifiedEntry(entry=entry, key=keys[entry.keyid])
    return read_of(entry, parse_audited_statement(entry.payload), leaf_index, verified=verified)


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


def _work(connection: Connection, shared: int) -> None:
    """Answer each batch with a byte for each entry, until there is nobody who asks. Before the first come the keys."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who is interrupted closes the pipe when it has ended
    with contextlib.suppress(EOFError, OSError):
        keys = {keyid_of(each): load_key(each) for each in connection.recv()}
        while True:
            at, good = 0, bytearray()
            for length in connection.recv():
                good.append(_is_good(os.pread(shared, length, at), keys))
                at += length
            connection.send_bytes(good)


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


if __name__ == "__main__":
    _work(Connection(int(sys.argv[1])), int(sys.argv[2]))
