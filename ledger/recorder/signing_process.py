"""Signs digests in a process of its own, beside the thread that decides, which then has the interpreter to itself.

Over a socket that both inherit: the private key in DER, with its length before it, once; one byte, that it is ready; then for
each run how many, and their SHA-256 digests, answered by as many slots of ``signing_child.SLOT_BYTES``, in order. The key is in no
command line, environment or file. The process ends when our end of the socket does, however that comes.
"""

import contextlib
import os
import pathlib
import select
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from ledger.recorder import signing_child
from ledger.recorder.signing_child import COUNT_BYTES, SLOT_BYTES, read_exactly

RUNS_AHEAD = 8
"""Runs that wait in the process, at most: they and their answers fit into the socket, so that nobody waits for nobody."""
MAX_RUN = 128
_ANSWER_SECONDS = 10.0
"""Until a process that does not answer is taken for one that never will."""
_SHA256 = ec.ECDSA(Prehashed(hashes.SHA256()))


class SigningProcess:
    """Signs runs of SHA-256 digests with one key, in the order in which they are handed over. Not thread-safe.

    It is the caller's who started it: a copy of that process made by a fork must not use it (``is_ours``).

    Raises:
        OSError: no process can be started; from a method, it is gone, does not answer, or answers nonsense: close it, and sign
            what was asked for some other way. The signatures would have been the same.
    """

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._public, self._owner, self._is_ready = key.public_key(), os.getpid(), False
        self._asked: deque[Sequence[bytes]] = deque()
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as opened:
            opened.callback(ours.close)
            with theirs:
                self._process = _start(theirs.fileno())
            opened.pop_all()
        self._socket = ours
        ours.settimeout(_ANSWER_SECONDS)
        with contextlib.suppress(OSError):  # it has ended already, which ``is_ready`` says
            self._send(_counted(_der(key)))

    @property
    def is_ours(self) -> bool:
        """Whether we are the process that started it, not a copy of that."""
        return os.getpid() == self._owner

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def is_ready(self, *, within: float = 0.0) -> bool:
        """Whether it can be asked; waits so many seconds for that. Raises OSError: it ended before it was."""
        if not self._is_ready:
            with self._in_step():
                if self._socket.fileno() < 0:
                    raise EOFError
                looking = select.poll()  # of any number of open files, of which a service has many
                looking.register(self._socket, select.POLLIN)
                if looking.poll(within * 1000):
                    read_exactly(self._socket, 1)
                    self._is_ready = True
        return self._is_ready

    @property
    def waiting(self) -> int:
        """How many runs were asked for and not yet collected; no more than ``RUNS_AHEAD``."""
        return len(self._asked)

    def ask(self, digests: Sequence[bytes]) -> None:
        """Hand over a run of at most ``MAX_RUN`` digests; only while fewer than ``RUNS_AHEAD`` wait."""
        with self._in_step():
            self._send(len(digests).to_bytes(COUNT_BYTES) + b"".join(digests))
            self._asked.append(digests)

    def collect(self) -> list[bytes]:
        """Return the signatures of the run that was asked for first, as ASN.1 DER.

        One of each run is verified: should question and answer ever be out of step, nothing of that is used.
        """
        with self._in_step():
            digests = self._asked.popleft()
            slots = read_exactly(self._socket, len(digests) * SLOT_BYTES)
            signatures = [slots[at + 1 : at + 1 + slots[at]] for at in range(0, len(slots), SLOT_BYTES)]
            self._public.verify(signatures[-1], digests[-1], _SHA256)
        return signatures

    def close(self) -> None:
        """End the process. It is at nothing that cannot be broken off."""
        self._socket.close()
        if self.is_ours:
            _end(self._process)

    def _send(self, data: bytes) -> None:
        # No SIGPIPE, whatever our host made of that signal.
        view = memoryview(data)
        while view:
            view = view[self._socket.send(view, socket.MSG_NOSIGNAL) :]

    @contextlib.contextmanager
    def _in_step(self) -> Iterator[None]:
        """Whatever breaks off a message leaves the socket of no use: nothing that comes through it later may be believed."""
        try:
            yield
        except (EOFError, InvalidSignature) as error:
            self._socket.close()
            raise ConnectionError("the signing process is gone or out of step") from error
        except BaseException:
            self._socket.close()
            raise


def _start(fd: int) -> "subprocess.Popen[bytes]":
    """Start the script isolated (-I): neither the folder that we happen to be in nor the environment says what a module is.

    Neither a fork, since a copy would wait for the locks of our other threads, nor what multiprocessing calls spawn, which
    runs the main module of whoever uses us once more.
    """
    if not sys.executable or getattr(sys, "frozen", False):
        raise OSError("this program has no Python of its own to start")
    script = str(pathlib.Path(signing_child.__file__).absolute())
    paths = [path for path in sys.path if path]
    return subprocess.Popen(
        [sys.executable, "-IS", script, str(fd), *paths],
        pass_fds=(fd,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def _der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _counted(data: bytes) -> bytes:
    return len(data).to_bytes(COUNT_BYTES) + data
