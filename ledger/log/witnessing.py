"""Asks the witnesses of a log to cosign its checkpoints (c2sp.org/tlog-witness; architecture section 4).

Every witness is asked by a thread of its own, one request at a time and no oftener than it permits: a slow one holds nobody.
Whatever it answers is checked before it is kept. A witness that says that it knows more of this log than we have signed
may be right: then this directory is an old copy, and its word is held against a checkpoint under our own key.
"""

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.errors import LedgerError, ProofError, RestoredError, SourceError
from ledger.log.fetch import fetch_from_url
from ledger.log.witness_wire import Wire, known_size
from ledger.tlog.checkpoint import Checkpoint, VerifiedCheckpoint, verify_checkpoint
from ledger.tlog.cosignature import verify_cosignatures
from ledger.tlog.merkle import verify_consistency
from ledger.tlog.signed_note import MAX_NOTE_BYTES, NoteSignature, VerifierKey, format_note
from ledger.tlog.trust_policy import TrustPolicy, Witness
from ledger.tlog.witness import (
    checkpoint_path,
    format_request,
    verify_answer,
)

if TYPE_CHECKING:
    import httpx

_logger = logging.getLogger(__name__)

PROMPT_SECONDS = 1.0
"""How long a checkpoint that may be shown without cosignatures waits for them; who takes longer is not waited for again."""
LONGEST_PAUSE = 60.0
"""Seconds before a witness that failed is asked again, at most; twice as long each time."""
MAX_RETRY_AFTER = 3600
"""Seconds that a witness that is asked too often may keep us away (Retry-After); what is more counts as this."""
_LOOK_SECONDS = 0.25
"""How often to look for an answer that is late."""

Prove = Callable[[int, int], Sequence[bytes]]
"""Proves the tree of one size to be a prefix of that of another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessingConfig:
    """Whom to ask and how. Seconds everywhere; ``keys`` are the log's own.

    ``required``: a checkpoint without the policy's quorum is not shown. ``interval`` is between two requests to one witness,
    ``refresh`` the age at which a cosignature is asked for anew. ``backlog`` entries may be durable and not shown while
    the quorum is missing. ``newest`` fetch the log's newest checkpoint from where others read it.
    """

    origin: str
    keys: Sequence[VerifierKey]
    policy: TrustPolicy
    required: bool = False
    timeout: float = 5.0
    interval: float = 1.0
    refresh: float = 3600.0
    backlog: int = 100_000
    newest: Sequence[Callable[[], bytes]] = ()


@dataclass(slots=True, kw_only=True)
class _Asked:
    """One witness: what it saw last of us, its newest cosignature, and when it may be asked again (by our clock)."""

    witness: Witness
    known: int = 0
    tree: Checkpoint | None = None
    line: NoteSignature | None = None
    dated: int = 0
    busy: bool = False
    late: bool = False
    aside: bool = False
    failures: int = 0
    next_at: float = 0.0
    retry_after: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a witness said about the newest size that it knows of us; ``size`` None: nothing, because of ``problem``."""

    name: str
    size: int | None
    problem: str = ""


class Witnesses:
    """The witnesses of one log. Thread-safe."""

    def __init__(
        self,
        config: WitnessingConfig,
        *,
        transport: "httpx.BaseTransport | None" = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,  # noqa: TID251 - the edge that asks the clock
    ) -> None:
        import httpx  # only a log with witnesses pays for it

        self.config = config
        self._clock, self._now, self._transport = clock, now, transport
        client = httpx.Client(
            timeout=config.timeout,
            follow_redirects=False,
            transport=transport,
            headers={"Accept-Encoding": "identity", "Content-Type": "text/plain; charset=utf-8"},
        )
        self._wire = Wire(client, timeout=config.timeout, clock=clock)
        self._all = [_Asked(witness=each) for each in config.policy.witnesses]
        self._changed = threading.Condition()
        self._pool = ThreadPoolExecutor(max(1, len(self._all)), thread_name_prefix="witness")
        self._signed_size = 0
        self._news = False
        self._ahead: RestoredError | None = None

    def close(self) -> None:
        """Stop asking; what is under way ends by its timeout, and nobody waits for it."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._changed:
            is_idle = not any(each.busy for each in self._all)
        if is_idle:  # else whoever is under way still needs it, and ends by its timeout
            self._wire.close()

    # What they said

    def remember(self, signed: VerifiedCheckpoint) -> None:
        """Take the cosignatures that our stored checkpoint has already."""
        keys = [each.witness.key for each in self._all]
        found = {each.key: each for each in verify_cosignatures(signed, keys)}
        with self._changed:
            for each in self._all:
                cosignature = found.get(each.witness.key)
                if cosignature is not None:
                    each.tree, each.dated = signed.checkpoint, cosignature.timestamp
                    each.line = next(
                        line
                        for line in signed.parsed.signatures
                        if (line.name, line.key_id) == (each.witness.key.name, each.witness.key.key_id)
                    )
                    each.known = max(each.known, signed.checkpoint.size)

    def is_met(self, checkpoint: Checkpoint) -> bool:
        """Whether the cosignatures that we have of exactly this checkpoint make the quorum."""
        with self._changed:
            return self._is_met(checkpoint)

    def _is_met(self, checkpoint: Checkpoint) -> bool:
        return self.config.policy.is_met_by(
            each.witness.name for each in self._all if each.tree == checkpoint
        )

    def merge(self, signed: VerifiedCheckpoint) -> bytes:
        """Return the note with the newest cosignature that each witness made for it."""
        keys = {(each.witness.key.name, each.witness.key.key_id) for each in self._all}
        with self._changed:
            self._news = False
            lines = [line for line in signed.parsed.signatures if (line.name, line.key_id) not in keys]
            lines += [each.line for each in self._all if each.line and each.tree == signed.checkpoint]
        return format_note(signed.parsed.text, lines)

    def problems(self, checkpoint: Checkpoint) -> str:
        """Say why cosignatures of this checkpoint are missing, witness by witness."""
        with self._changed:
            return "; ".join(
                f"{each.witness.name}: {each.problem or 'no answer yet'}"
                for each in self._all
                if each.tree != checkpoint
            )

    def state(self) -> list[dict[str, object]]:
        """Say how each witness is, for whoever watches the log."""
        with self._changed:
            return [
                {
                    "name": each.witness.name,
                    "state": "set-aside" if each.aside else "failing" if each.failures else "ok",
                    "size": each.tree.size if each.tree else None,
                    "cosignedAt": each.dated or None,
                }
                for each in self._all
            ]

    def check_ahead(self) -> None:
        """Raise RestoredError where a witness led us to a newer checkpoint under our own key."""
        if self._ahead is not None:
            raise self._ahead

    # Asking

    def due(self, checkpoint: Checkpoint) -> float:
        """In how many seconds there is something to do for this checkpoint: an answer to take, or a request to make."""
        with self._changed:
            if self._news:
                return 0.0
            times = [self._due(each, checkpoint) for each in self._all if each.witness.url and not each.aside]
        return max(0.0, min(times, default=LONGEST_PAUSE))

    def _due(self, each: _Asked, checkpoint: Checkpoint) -> float:
        if each.busy:
            return _LOOK_SECONDS
        soonest = each.next_at - self._clock()
        if each.tree != checkpoint:
            return soonest
        return max(soonest, each.dated + self.config.refresh - self._now())

    def can_ask(self, checkpoint: Checkpoint) -> bool:
        """Whether some witness may be asked for this checkpoint at once."""
        with self._changed:
            return any(self._may_ask(each, checkpoint) for each in self._all)

    def _may_ask(self, each: _Asked, checkpoint: Checkpoint) -> bool:
        return not (each.aside or each.busy or each.witness.url is None) and self._due(each, checkpoint) <= 0

    def permitted_in(self) -> float:
        """In how many seconds all witnesses that answer may be asked again."""
        with self._changed:
            waits = [each.next_at - self._clock() for each in self._all if not (each.failures or each.aside)]
        return max(0.0, max(waits, default=0.0))

    def ask(self, signed: VerifiedCheckpoint, prove: Prove, *, wait: bool = True) -> None:
        """Ask whoever may be asked. ``wait``: until the quorum is there, nobody is left to wait for, or it takes too long.

        Raises:
            RestoredError: a newer checkpoint of ours is known outside.
        """
        checkpoint = signed.checkpoint
        self._signed_size = max(self._signed_size, checkpoint.size)
        with self._changed:
            for each in self._all:
                if self._may_ask(each, checkpoint):
                    each.busy = True
                    each.next_at = self._clock() + self.config.interval
                    self._pool.submit(self._work, each, signed, prove)
            if wait and not self._changed.wait_for(lambda: self._is_enough(checkpoint), self._patience()):
                for each in self._all:
                    each.late = each.late or each.busy
        self.check_ahead()

    def _patience(self) -> float:
        return self.config.timeout if self.config.required else min(PROMPT_SECONDS, self.config.timeout)

    def _is_enough(self, checkpoint: Checkpoint) -> bool:
        if self.config.policy.quorum is not None and self._is_met(checkpoint):
            return True
        return not any(each.busy and (self.config.required or not each.late) for each in self._all)

    def _work(self, each: _Asked, signed: VerifiedCheckpoint, prove: Prove) -> None:
        began, problem, line = self._clock(), "", None
        try:
            line = self._exchange(each, signed, prove)
        except RestoredError as error:
            self._ahead, problem = error, error.finding
        except LedgerError as error:
            problem = error.finding
        except Exception:  # the outermost edge of this thread
            _logger.exception("a bug in asking the witness %s", each.witness.name)
            problem = "a bug"
        with self._changed:
            each.late = self._clock() - began > PROMPT_SECONDS
            self._settle(each, signed.checkpoint, line, problem)
            each.busy = False
            self._changed.notify_all()

    def _settle(self, each: _Asked, checkpoint: Checkpoint, line: NoteSignature | None, problem: str) -> None:
        if line is not None:
            each.tree, each.line, each.known = checkpoint, line, checkpoint.size
            each.dated = int.from_bytes(line.signature[:8], "big")
            each.failures, each.problem = 0, ""
            self._news = True
            return
        if not each.failures:
            _logger.warning("the witness %s did not cosign: %s", each.witness.name, problem)
        pause = min(LONGEST_PAUSE, max(self.config.interval, 0.5) * 2.0 ** min(each.failures, 10))
        each.failures, each.problem = each.failures + 1, problem
        each.next_at = self._clock() + max(pause, min(each.retry_after, MAX_RETRY_AFTER))

    def _exchange(self, each: _Asked, signed: VerifiedCheckpoint, prove: Prove) -> NoteSignature:
        """Ask for one cosignature; a witness that knows another size of ours gets a proof from there, once."""
        checkpoint, note = signed.checkpoint, self._bare(signed)
        each.retry_after = 0
        for _ in range(2):
            old = min(each.known, checkpoint.size)
            proof = prove(old, checkpoint.size) if 0 < old < checkpoint.size else ()
            answer = self._wire.post(each.witness, format_request(old_size=old, proof=proof, note=note))
            each.retry_after = answer.retry_after
            if answer.status == 200:
                return verify_answer(
                    bytes(answer.data), key=each.witness.key, checkpoint=checkpoint, now=int(self._now())
                )
            if answer.status == 422:
                self._check_fork(each, checkpoint, prove)
            size = known_size(each.witness, answer)
            if size > checkpoint.size:
                raise self._set_aside(each, size, checkpoint)
            each.known = size
        raise SourceError(
            f"witness {each.witness.name}",
            expected="a cosignature after a proof from the size that it named",
            actual=f"another size, {each.known}",
        )

    def _bare(self, signed: VerifiedCheckpoint) -> bytes:
        """Return the checkpoint with the log's own signatures alone: a witness needs no other."""
        signers = {(key.name, key.key_id) for key in signed.signers}
        return format_note(
            signed.parsed.text,
            [line for line in signed.parsed.signatures if (line.name, line.key_id) in signers],
        )

    def _set_aside(self, each: _Asked, size: int, checkpoint: Checkpoint) -> LedgerError:
        """Look for the newer checkpoint that a witness says there is; anybody can say a number.

        Returns RestoredError where there is one under our key; else the witness is set aside until the next start.
        """
        for theirs in self._shown_outside(each):
            if theirs.size > self._signed_size:
                return RestoredError(
                    f"newest checkpoint of this log, which the witness {each.witness.name} knows",
                    expected=f"at most size {self._signed_size}, the newest that we signed",
                    actual=f"size {theirs.size}",
                    next_step="This directory is older than the log that was shown: restore the newest copy, "
                    "or start a successor log; writing here would fork the log",
                )
        each.aside = True
        _logger.error(
            "the witness %s is set aside: it says that it cosigned size %d of this log, whose newest is %d, and nobody "
            "shows such a checkpoint under our key",
            each.witness.name,
            size,
            checkpoint.size,
        )
        return SourceError(
            f"size that the witness {each.witness.name} knows",
            expected=f"at most {checkpoint.size}, the newest that we signed",
            actual=f"{size}, and no checkpoint that shows it",
            next_step="Ask its operator what it holds for this log; it is asked again after a restart",
        )

    def _check_fork(self, each: _Asked, checkpoint: Checkpoint, prove: Prove) -> None:
        """A witness that refuses a proof may have seen another tree under our key. Raises RestoredError where that is shown."""
        for theirs in self._shown_outside(each):
            if not 0 < theirs.size <= checkpoint.size:
                continue
            try:
                verify_consistency(
                    old_size=theirs.size,
                    old_root=theirs.root_hash,
                    new_size=checkpoint.size,
                    new_root=checkpoint.root_hash,
                    proof=prove(theirs.size, checkpoint.size) if theirs.size < checkpoint.size else (),
                )
            except ProofError as error:
                raise RestoredError(
                    f"checkpoint of size {theirs.size}, which others know",
                    expected=f"a beginning of our log of size {checkpoint.size}",
                    actual=f"another tree, with root {theirs.root_hash.hex()}",
                    next_step="The log has been forked: stop, keep both checkpoints as evidence, and tell your monitors",
                ) from error

    def _shown_outside(self, each: _Asked) -> Iterator[Checkpoint]:
        """Yield what the log's public address and the witness show under our own key; who shows nothing of ours is left out."""
        own = functools.partial(self._monitored, each.witness)
        shown: tuple[Callable[[], bytes], ...] = (*self.config.newest, own)
        for fetch in shown:
            with contextlib.suppress(LedgerError):
                yield verify_checkpoint(fetch(), origin=self.config.origin, keys=self.config.keys).checkpoint

    def _monitored(self, witness: Witness) -> bytes:
        fetch = fetch_from_url(
            witness.url or "", timeout=self.config.timeout, transport=self._transport, tries=1
        )
        return fetch(checkpoint_path(self.config.origin), max_bytes=MAX_NOTE_BYTES)

    # Before the first write

    def newest_sizes(self, signed: VerifiedCheckpoint) -> list[Answer]:
        """Ask every witness, at once, which size of this log it saw last: it may be newer than ours."""
        self._signed_size = max(self._signed_size, signed.checkpoint.size)
        asked = [each for each in self._all if each.witness.url is not None]
        return list(self._pool.map(lambda each: self._newest_size(each, signed), asked))

    def _newest_size(self, each: _Asked, signed: VerifiedCheckpoint) -> Answer:
        size, name = signed.checkpoint.size, each.witness.name
        try:
            request = format_request(old_size=size, proof=(), note=self._bare(signed))
            answer = self._wire.post(each.witness, request)
            if answer.status != 200:
                known = known_size(each.witness, answer)
                each.known = min(known, size)
                return Answer(name=name, size=known)
            line = verify_answer(
                bytes(answer.data), key=each.witness.key, checkpoint=signed.checkpoint, now=int(self._now())
            )
        except LedgerError as error:
            return Answer(name=name, size=None, problem=error.finding)
        with self._changed:
            self._settle(each, signed.checkpoint, line, "")
        return Answer(name=name, size=size)
