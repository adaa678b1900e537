"""Signs the statements of one batch after another: in a process of its own where that is worth it, otherwise in threads.

With the process, statements are signed in runs while those after them are still being decided; without, all at the end.
The entries are the same: a key in a file signs deterministically.
"""

import hashlib
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from cryptography.hazmat.primitives.asymmetric import ec

from ledger.entry import format_entry, pae
from ledger.recorder.signing import HubSigner, Signer
from ledger.recorder.signing_process import RUNS_AHEAD, SigningProcess

_logger = logging.getLogger(__name__)

_PARALLEL_FROM = 32
"""Statements below which handing signatures to somebody else costs more than it gives."""
_RUN = 64
"""Statements that are handed to the process at once: more would be waited for at the end of a batch."""
PROCESS_FROM = 4096
"""Statements signed in batches that are large enough, from which on a process is worth its start, some 0.1 s of processor."""
_MOST_STARTS = 3
"""How often a process that ended is replaced: where none lives long, threads sign."""


class BatchSigning:
    """Signs as one signer does. Not thread-safe: whoever records holds a lock. ``close`` ends threads and process.

    A process is started, beside the work, once ``PROCESS_FROM`` statements were signed in large batches and the signer is a
    ``HubSigner``; it is asked from the first batch on that finds it ready.
    """

    def __init__(self, signer: Signer, *, threads: int | None = None) -> None:
        self.signer = signer
        self._threads = threads or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="sign")
        self._process: SigningProcess | None = None
        self._signed = self._starts = 0
        self._forget()

    @property
    def process(self) -> SigningProcess | None:
        """The process, from its start to its end."""
        return self._process

    def begin(self) -> None:
        """Begin a batch; what was left of one that was broken off is forgotten."""
        self._forget()
        self._asks = self._can_ask()

    def add(self, statement: bytes) -> None:
        """Take the next statement of the batch; it is signed from now on, or at the end."""
        self._statements.append(statement)
        if self._asks:
            self._digests.append(hashlib.sha256(pae(statement)).digest())
            if len(self._digests) == _RUN:
                self._ask()

    def end(self) -> list[bytes]:
        """Return the entries of all that was added, in order. Raises SourceError: the key is elsewhere and away."""
        if self._asks and len(self._statements) >= _PARALLEL_FROM:
            self._ask()
            self._collect(down_to=0)
        statements, signatures = self._statements, self._signatures
        self._forget()
        if len(signatures) < len(statements):  # nobody was asked, or the process was lost
            return self._sign_here(statements)
        keyid = self.signer.keyid
        return [
            format_entry(statement, keyid=keyid, signature=signature)
            for statement, signature in zip(statements, signatures, strict=True)
        ]

    def close(self) -> None:
        """End the threads and the process; no other one is started."""
        self._starts = _MOST_STARTS
        self._drop()
        self._pool.shutdown()

    def _forget(self) -> None:
        self._statements: list[bytes] = []
        self._digests: list[bytes] = []
        self._signatures: list[bytes] = []
        self._asks = False

    # In threads

    def _sign_here(self, statements: Sequence[bytes]) -> list[bytes]:
        if len(statements) < _PARALLEL_FROM:
            return self.signer.sign_run(statements)
        self._signed += len(statements)
        self._maybe_start()
        step = -(-len(statements) // self._threads)
        runs = [statements[at : at + step] for at in range(0, len(statements), step)]
        return [entry for run in self._pool.map(self.signer.sign_run, runs) for entry in run]

    # In the process

    def _maybe_start(self) -> None:
        """Start a process, and do not wait for it."""
        key = self.signer.key if isinstance(self.signer, HubSigner) else None
        if (
            not isinstance(key, ec.EllipticCurvePrivateKey)
            or self._process is not None
            or self._signed < PROCESS_FROM
            or self._starts >= _MOST_STARTS
        ):
            return
        self._starts += 1
        try:
            self._process = SigningProcess(key)
        except OSError as error:
            self._starts = _MOST_STARTS
            _logger.warning("no signing process can be started, so that threads sign: %s", error)

    def _can_ask(self) -> bool:
        process = self._process
        if process is None or not process.is_ours:
            return False
        try:
            while process.waiting:  # of a batch that was broken off
                process.collect()
            return process.is_ready()
        except OSError as error:
            self._lose(error)
            return False

    def _ask(self) -> None:
        """Hand over what has come together. Where the process is lost, all of the batch is signed here at the end."""
        digests, self._digests = self._digests, []
        self._collect(down_to=RUNS_AHEAD - 1)
        if digests and self._asks and self._process is not None:
            try:
                self._process.ask(digests)
            except OSError as error:
                self._lose(error)

    def _collect(self, *, down_to: int) -> None:
        process = self._process
        try:
            while process is not None and process.waiting > down_to:
                self._signatures += process.collect()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        _logger.warning("the signing process was lost, so that threads sign (nothing else is): %s", error)
        self._asks = False
        self._drop()

    def _drop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.close()
