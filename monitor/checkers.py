"""Checks the form and the signature of many entries in processes of their own, beside the one that acts on what they say.

That is most of a replay, needs no order, and nothing but the entries and the hub's keys. Threads would not do: they take turns.
What the processes answer is which checks can be left out, and of a good event the facts that it is held against others by. Of an
entry about which they say nothing, because they did not come to it, because one of them is gone or because something is wrong
with it, everything is looked at here, and said.

They begin at the end of a run and we at its start, and where we meet they go on with the next one: nobody waits for anybody.
"""

import contextlib
import errno
import gc
import hashlib
import marshal
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import BinaryIO

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from ledger import __version__
from ledger.client.trust import TrustFile
from ledger.entry import Entry, keyid_of, parse_entry, verify_entry
from ledger.errors import LedgerError
from ledger.event import VerificationEvent, parse_statement
from monitor.event_facts import EventFacts, facts_of
from monitor.processes import end_process, start_process
from monitor.reads import Read, load_key, read_entry

FROM = 1024
"""Entries of a run from which on processes are worth their start."""
MOST_PROCESSES = 2
"""More would wait for the one that acts. It has a processor to itself where there are two."""
_PIECE = 32
"""Entries of one answer: we listen as often."""
_GOOD, _OTHERWISE = 1, 2
"""What an answer says of an entry. 0: nobody looked at it."""
_BUFFERS = 1024
"""Of one write: what every system takes (IOV_MAX)."""
_OBJECTS = 200_000
"""Objects between two looks for circles: what is made of an entry has none."""

_SAME = (__version__, EventFacts._fields)
"""What both sides must have alike: facts are handed over by their places."""
_Row = tuple[str, bytes, tuple[object, ...]]
"""What is handed over of a good event: the key id, the SHA-256 of the statement, the facts."""


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
        taken = [process.take() for process in self._processes]  # before what comes next is written over it
        if then is not None:
            self.begin(then)
        rows = self._rows(taken)
        return [
            reads.get(at)
            or (self._read_good(entry, first + at, rows.get(at)) if good[at] == _GOOD else None)
            or read_entry(entry, first + at)
            for at, entry in enumerate(entries)
        ]

    def _rows(self, taken: "Sequence[_Taken]") -> dict[int, _Row]:
        """Return what is handed over, by the place in the run."""
        found: dict[int, _Row] = {}
        apart = len(self._processes)
        for at, (first, pieces) in enumerate(taken):
            rows = [row for piece in pieces for row in marshal.loads(piece)]  # noqa: S302  # our own process wrote it
            found.update(
                (at + (first + place) * apart, row) for place, row in enumerate(rows) if row is not None
            )
        return found

    def _read_good(self, data: bytes, leaf_index: int, row: _Row | None) -> Read:
        """Return what was found good, as it was handed over; of what is no event the signature alone is known."""
        if row is None:
            read = read_entry(data, leaf_index)
            return replace(read, key=self._keys.get(read.keyid))
        keyid, sha256, facts = row
        return Read(
            leaf_index=leaf_index,
            keyid=keyid,
            sha256=sha256,
            facts=EventFacts._make(facts),
            key=self._keys.get(keyid),
            data=data,
        )

    def close(self) -> None:
        """End the processes."""
        for each in self._processes:
            each.close()


def _processors() -> int:
    """Return how many processors we may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


_Taken = tuple[int, Sequence[bytes]]
"""From which of its entries on a process handed something over, and that, a piece after the other."""


class _Process:
    """One process, and what it was given. If it is gone, silent, or of another version, it has found nothing good."""

    def __init__(self, spkis: Sequence[bytes]) -> None:
        self._number = self._asked = self._count = 0
        self._answer, self._lengths = b"", list[int]()
        self._heard, self._gone = True, False
        with contextlib.ExitStack() as opened:
            # The entries lie in memory that both have: a pipe would make us wait until they are taken from it.
            self._shared = opened.enter_context(_shared_memory())
            self._facts = opened.enter_context(_shared_memory())
            self._ours, theirs = multiprocessing.Pipe()
            opened.callback(self._ours.close)
            with theirs:
                fds = (theirs.fileno(), self._shared.fileno(), self._facts.fileno())
                self._process = start_process(__name__, *fds)
            opened.pop_all()
        self._send((_SAME, list(spkis)))

    def begin(self, entries: Sequence[bytes]) -> None:
        self._listen(0.0)
        self._number, self._count = self._number + 1, len(entries)
        self._answer, self._lengths = b"", []
        # One that never answered what it was given last, as one that was stopped, is given no more: its pipe would be full one
        # day, and we would wait.
        if entries and self._heard and not self._gone:
            self._heard, self._asked = False, self._number
            with self._noticing():
                _write(self._shared.fileno(), entries)
            self._send((self._number, [len(each) for each in entries]))

    def answer(self, wait_seconds: float) -> bytes:
        """Return what it said so far of the last of the entries; it begins at the end."""
        while len(self._answer) < self._count and self._listen(wait_seconds):
            pass
        return self._answer

    def take(self) -> "_Taken":
        """Take what it handed over so far: from which of the entries on, and the pieces in their order."""
        pieces: list[bytes] = []
        at = 0
        with self._noticing():
            for length in self._lengths:
                piece = os.pread(self._facts.fileno(), length, at)
                at += length
                if len(piece) < length:
                    raise EOFError
                pieces.append(piece)
        if self._gone:
            return self._count, []
        return self._count - len(self._answer), pieces[::-1]

    def _listen(self, wait_seconds: float) -> bool:
        """Take what it said, if it said something; answers to what was asked before the last time say nothing."""
        heard = False
        with self._noticing():
            while not self._gone and self._ours.poll(0.0 if heard else wait_seconds):
                number, part, length = self._ours.recv()
                heard = True
                self._heard = self._heard or number == self._asked
                if number == self._number:
                    self._answer = part + self._answer
                    self._lengths.append(length)
        if len(self._answer) > self._count:
            self._gone = True
        if self._gone:
            self._answer, self._lengths = b"", []
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
        self._facts.close()
        end_process(self._process, at_once=self._gone or not self._heard)


def _shared_memory() -> BinaryIO:
    """Return a file that is nowhere but in memory, where the system has such."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("entries"), "r+b")
    return tempfile.TemporaryFile()


def _write(file: int, buffers: Sequence[bytes], *, at: int = 0) -> None:
    for start in range(0, len(buffers), _BUFFERS):
        some = buffers[start : start + _BUFFERS]
        wanted = at + sum(map(len, some))
        at += os.pwritev(file, some, at)
        if at < wanted:
            raise OSError(errno.ENOSPC, "memory that is shared is full")


# In the process


def work(connection: int, shared: int, handed: int) -> None:
    """Answer each batch with a byte for each entry, until there is nobody who asks. Before the first come what must be the same, and keys.

    Whoever asks from another version, as one that was installed over while it ran, gets no answer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who is interrupted closes the pipe when it has ended
    gc.set_threshold(_OBJECTS)
    asked = Connection(connection)
    with contextlib.suppress(EOFError, OSError):
        same, spkis = asked.recv()
        if same != _SAME:
            return
        keys = {keyid_of(each): load_key(each) for each in spkis}
        while True:
            number, lengths = asked.recv()
            at, written = sum(lengths), 0
            for end in range(len(lengths), 0, -_PIECE):
                part = lengths[max(0, end - _PIECE) : end]
                at -= sum(part)
                rows = _look_at(os.pread(shared, sum(part), at), part, keys)
                facts = marshal.dumps([row or None for row in rows])
                _write(handed, [facts], at=written)
                written += len(facts)
                asked.send(
                    (number, bytes([_OTHERWISE if row is None else _GOOD for row in rows]), len(facts))
                )
                if asked.poll():
                    break  # the next batch is there: the rest of this one was looked at


def _look_at(
    data: bytes, lengths: Sequence[int], keys: Mapping[str, EllipticCurvePublicKey]
) -> "list[_Row | tuple[()] | None]":
    at, rows = 0, []
    for length in lengths:
        rows.append(_row_of(data[at : at + length], keys))
        at += length
    return rows


def _row_of(data: bytes, keys: Mapping[str, EllipticCurvePublicKey]) -> "_Row | tuple[()] | None":
    """Return what is handed over of an entry that is good: nothing of what is no event. None: it is not good."""
    try:
        entry = parse_entry(data)
        if not isinstance(entry, Entry):
            return None
        verify_entry(entry, keys)
        statement = parse_statement(entry.payload)
    except (LedgerError, RecursionError):
        return None
    if not isinstance(statement, VerificationEvent):
        return ()
    return (entry.keyid, hashlib.sha256(entry.payload).digest(), tuple(facts_of(statement)))
