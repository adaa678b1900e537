"""Puts files in their places in a process of its own, while whoever makes them goes on making them.

It is given names and bytes through a pipe, does with them what ``placing`` does, and answers each ``commit``. Whatever goes wrong
there, or with it, fails that commit: nothing is spoken of that was not answered for. What went wrong is not tried again here, where
nobody knows how far the process came; the next publication puts it right, as after any crash.
"""

import contextlib
import multiprocessing
import queue
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection

from ledger import __version__
from ledger.errors import WriteError
from monitor.processes import end_process, start_process
from monitor.publish.placing import File, Placing

_START_SECONDS = 10.0
"""Until it is taken for one that cannot be started."""
_AHEAD = 64
"""Messages that wait in the process, of a quarter of a megabyte each."""
_Message = Sequence[File] | EOFError | None
"""Files, or that nobody is there any more, or to commit."""
_Answer = int | tuple[object, ...]
"""To a commit: how many files were put in their places, or what an OSError is made of."""


class PlacingProcess:
    """Puts files below one folder as ``Placing`` does. ``close`` ends the process.

    The process holds the ``lock`` as long as it lives: should we be killed, nobody else publishes before it has ended, too.

    Raises:
        OSError: no process can be started; from a method, what ``Placing`` raises there.
        WriteError: from a method, the process ended.
    """

    def __init__(self, root: str, *, lock: int) -> None:
        self._root, self._is_ready = root, False
        with contextlib.ExitStack() as opened:
            self._ours, theirs = multiprocessing.Pipe()
            opened.callback(self._ours.close)
            with theirs:
                self._process = start_process(__name__, theirs.fileno(), lock)
            opened.pop_all()

    def is_ready(self) -> bool:
        """Whether it came to life, with the same modules as we have: it is waited for until it says so, or ends."""
        if not self._is_ready:
            with contextlib.suppress(OSError, EOFError):
                if self._ours.poll(_START_SECONDS) and self._ours.recv() == __version__:
                    self._ours.send(self._root)
                    self._is_ready = True
        return self._is_ready

    def write(self, files: Sequence[File]) -> None:
        """Let files be written aside. What goes wrong with that is said by ``commit``."""
        if files:
            with self._noticing():
                self._ours.send(files)

    def commit(self) -> int:
        """Wait until everything is in its place, durably; returns how many files that were from the beginning."""
        with self._noticing():
            self._ours.send(None)
            answer: _Answer = self._ours.recv()
        if isinstance(answer, int):
            return answer
        raise OSError(*answer)

    def close(self) -> None:
        """End the process. It is at nothing that cannot be broken off."""
        self._ours.close()
        end_process(self._process, at_once=not self._is_ready)

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError) as error:
            raise WriteError(
                f"publishing {self._root}",
                expected="the process that puts files in their places",
                actual="it ended",
                next_step="Publish again, which puts everything right; where it ends again, look whether memory is short",
            ) from error


# In the process


def work(connection: int, _lock: int) -> None:
    """Say that we are there; be given the folder, then files, or nothing: to commit. End when there is nobody who asks.

    Once something went wrong nothing is done any more, and each commit is answered with it.
    """
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # who is stopped closes the pipe when it has ended
    asked = Connection(connection)
    with contextlib.suppress(EOFError, OSError):
        asked.send(__version__)
        root: str = asked.recv()
        # Taken from the pipe beside our work: who hands them over does not wait while files take their places.
        handed: queue.Queue[_Message] = queue.Queue(_AHEAD)
        threading.Thread(target=_take, args=(asked, handed), daemon=True).start()
        placing: Placing | None = None
        answer: _Answer = 0
        while True:
            files = handed.get()
            if isinstance(files, EOFError):
                return
            if isinstance(answer, int):
                try:
                    placing = placing or Placing(root)
                    if files is None:
                        answer = placing.commit()
                    else:
                        placing.write(files)
                except OSError as error:
                    answer = error.errno, error.strerror, error.filename
            if files is None:
                asked.send(answer)


def _take(asked: Connection, handed: "queue.Queue[_Message]") -> None:
    try:
        while True:
            handed.put(asked.recv())
    except (EOFError, OSError):
        handed.put(EOFError())
