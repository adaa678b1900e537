"""Anchoring: submits checkpoints of ours to somebody else's log, so that nobody can be shown another history.

Architecture section 4, "Anchoring". When the next anchor is due is decided by functions that take the time as an
argument. The order of durability is ``Anchoring.run``: an anchor is stored before it is sent, and only stored bytes are
ever sent. An outside that does not answer leaves the anchor pending; it fails nobody who records.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ledger.bundle.bodies import SignedPayload
from ledger.errors import LedgerError, RejectedError, RestoredError, SourceError, StorageError
from ledger.log.anchor_proofs import verify_envelope, verify_extends
from ledger.log.freshness import RootAt
from ledger.log.remote import RemoteLog
from ledger.storage.anchors import AnchorState, AnchorStore, NewAnchor, StoredAnchor
from ledger.tlog.checkpoint import Checkpoint, VerifiedCheckpoint, verify_checkpoint
from ledger.tlog.signed_note import VerifierKey

_logger = logging.getLogger(__name__)

FIRST_PAUSE = 30
LONGEST_PAUSE = 3600
"""Seconds before a failed submission is tried again: twice as long each time, up to this."""


# When


def is_due(newest: StoredAnchor | None, size: int, *, now: int, interval: float) -> bool:
    """Whether a checkpoint of ``size`` is to be anchored: newer than the last anchored one, and not too soon.

    A clock that was set back must not put the next anchor off: a last one far in the future is no reason to wait.
    """
    if newest is None:
        return size > 0
    return size > newest.new.size and abs(now - newest.new.made_at) >= interval


def failed(state: AnchorState, *, now: int) -> AnchorState:
    """Return the state after one more failure."""
    pause = min(LONGEST_PAUSE, FIRST_PAUSE << min(state.failures, 16))
    return replace(state, failures=state.failures + 1, not_before=now + pause)


def may_try(state: AnchorState, *, now: int) -> bool:
    """Whether the pause after a failure is over; one that is longer than any we make is of a clock that was wrong."""
    return not 0 < state.not_before - now <= LONGEST_PAUSE


# Doing it


class Stamper(Protocol):
    """Asks timestamp authorities. Nothing is retried."""

    async def stamp(self, signature: bytes) -> tuple[bytes, ...]:
        """Return RFC 3161 responses over ``signature``, each verified. Raises SourceError, VerificationError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one run did: the new anchor, those that are finished now, how many are pending still, and why."""

    made: StoredAnchor | None = None
    finished: tuple[StoredAnchor, ...] = ()
    pending: int = 0
    failures: tuple[LedgerError, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchoringConfig:
    """What one log needs to know to be anchored.

    ``interval`` and ``budget``, how long one run may wait for the outside, are in seconds.
    """

    log: str
    timestamps: bool
    interval: float
    budget: float
    origin: str
    log_keys: Sequence[VerifierKey]


def lacks_entry(anchor: StoredAnchor, config: AnchoringConfig) -> bool:
    """Whether the log's answer is to come; one that was meant for another log than today's is not waited for."""
    return anchor.wants_log and anchor.new.log == config.log


def lacks_stamps(anchor: StoredAnchor, config: AnchoringConfig) -> bool:
    """Whether timestamps are to come, and the settings still ask for them."""
    return anchor.wants_stamps and config.timestamps


def lacks(anchor: StoredAnchor, config: AnchoringConfig) -> bool:
    """Whether anything is to come."""
    return lacks_entry(anchor, config) or lacks_stamps(anchor, config)


def has_work(store: AnchorStore, config: AnchoringConfig, size: int, *, now: int) -> bool:
    """Whether ``run`` would do anything for a checkpoint of ``size``: a cheap question, asked after each recording."""
    newest = store.newest()
    if newest is not None and lacks(newest, config):
        return may_try(store.state(), now=now)
    return is_due(newest, size, now=now, interval=config.interval)


class Anchoring:
    """Makes and finishes the anchors of one log. Whoever runs it holds the lock of the store.

    ``anchor_keys`` are DER SubjectPublicKeyInfo by key id: the present one, and earlier ones whose anchors may be pending.
    ``remember`` asks what the outside knows of our anchors (``AnchorMemory.ask``) before a new one is made: afterwards
    it would be the newest, and whatever an old copy of this directory does not know would lie behind it.
    """

    def __init__(
        self,
        store: AnchorStore,
        config: AnchoringConfig,
        *,
        sign: Callable[[Checkpoint], bytes],
        anchor_keys: Mapping[str, bytes],
        root_at: RootAt,
        remote: RemoteLog | None,
        stamper: Stamper | None,
        remember: Callable[[], None] | None = None,
    ) -> None:
        self._store, self._config, self._remember = store, config, remember
        self._sign, self._anchor_keys, self._root_at = sign, anchor_keys, root_at
        self._remote, self._stamper = remote, stamper
        self._deadline = 0.0

    async def run(self, checkpoint: VerifiedCheckpoint, *, now: int, forced: bool = False) -> Outcome:
        """Finish what is pending, then anchor ``checkpoint`` where that is due, or ``forced`` and it is new.

        While something is pending no further anchor is made: the next one says all that it says, and more.

        Raises:
            RestoredError, ProofError: the checkpoint does not extend the last anchored one; nothing was signed.
            CorruptError, WriteError: stored anchors are damaged, or could not be written.
        """
        self._deadline = asyncio.get_running_loop().time() + self._config.budget
        # 1. What an earlier run could not finish. Whoever asks for it has all of them looked at, else the newest.
        names = self._store.names()
        pending = [
            each
            for each in map(self._store.load, names if forced else names[-1:])
            if lacks(each, self._config)
        ]
        if pending and not forced and not may_try(self._store.state(), now=now):
            return Outcome(pending=len(pending))
        outcome = await self._finish(pending, now=now)
        if outcome.failures:
            return outcome
        # 2. Whether the log is still the one that was anchored, and a new anchor is due.
        newest = self._store.newest()
        size = checkpoint.checkpoint.size
        if newest is not None:
            verify_extends(self._anchored(newest), size=size, root_at=self._root_at)
        if not is_due(newest, size, now=now, interval=0 if forced else self._config.interval):
            return outcome
        await self._ask_the_outside()
        # 3. Store it, then send it.
        made = self._store.create(self._new(checkpoint, now))
        # If we stop here, it is pending, and the next run sends the stored bytes.
        return _joined(outcome, await self._finish([made], now=now), made=made)

    async def _ask_the_outside(self) -> None:
        if self._remember is None:
            return
        try:
            await self._in_time(asyncio.to_thread(self._remember))
        except RestoredError:
            raise
        except LedgerError as error:
            _logger.warning("anchoring without having asked whether this directory is an old copy: %s", error)

    def _anchored(self, anchor: StoredAnchor) -> Checkpoint:
        note = anchor.new.note
        return verify_checkpoint(note, origin=self._config.origin, keys=self._config.log_keys).checkpoint

    def _new(self, checkpoint: VerifiedCheckpoint, now: int) -> NewAnchor:
        return NewAnchor(
            size=checkpoint.checkpoint.size,
            made_at=now,
            log=self._config.log,
            wants_timestamps=self._config.timestamps,
            note=checkpoint.note,
            envelope=self._sign(checkpoint.checkpoint),
        )

    async def _finish(self, anchors: Sequence[StoredAnchor], *, now: int) -> Outcome:
        """Send what is stored, oldest first; stop where the outside does not answer."""
        finished: list[StoredAnchor] = []
        failures: list[LedgerError] = []
        for anchor in anchors:
            failures += await self._send(anchor)
            if any(not isinstance(each, RejectedError) for each in failures):
                break
            finished.append(self._store.load(anchor.new.name))
        if failures:
            self._store.save_state(failed(self._store.state(), now=now))
        elif anchors:
            self._store.save_state(replace(self._store.state(), failures=0, not_before=0))
        return Outcome(
            finished=tuple(finished), pending=len(anchors) - len(finished), failures=tuple(failures)
        )

    async def _send(self, anchor: StoredAnchor) -> list[LedgerError]:
        """Ask for what one anchor lacks, both at once, so that neither waits for the other; returns what went wrong."""
        signed = verify_envelope(anchor.new.envelope, self._anchor_keys)
        asked = [
            self._in_time(ask(anchor.new.name, signed))
            for wanted, ask in ((lacks_entry, self._log), (lacks_stamps, self._stamp))
            if wanted(anchor, self._config)
        ]
        failures: list[LedgerError] = []
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, LedgerError) and not isinstance(answer, StorageError):
                failures.append(answer)
            elif answer is not None:
                raise answer
        return failures

    async def _log(self, name: str, signed: SignedPayload) -> None:
        """Submit it. The log may have it already, from before we stopped with its answer unstored: it says where."""
        if self._remote is None:
            return
        try:
            receipt = await self._remote.submit(signed)
        except RejectedError as error:
            self._store.add_refusal(name, error.finding)
            raise
        # If we stop here, the log has it and we do not know where: the next run asks with the same bytes.
        self._store.add_log_entry(name, receipt.log_entry)

    async def _stamp(self, name: str, signed: SignedPayload) -> None:
        if self._stamper is not None:
            self._store.add_timestamps(name, await self._stamper.stamp(signed.signature))

    async def _in_time(self, answer: Awaitable[None]) -> None:
        """Wait for an answer, for as long as this run may take. Raises SourceError when that is over."""
        try:
            async with asyncio.timeout_at(self._deadline):
                await answer
        except TimeoutError as error:
            raise SourceError(
                "anchoring a checkpoint",
                expected=f"an answer within {self._config.budget:g} s",
                actual="none",
                next_step="It is stored and pending: the next occasion sends it again, or run `hubledger log anchor`",
            ) from error


def _joined(first: Outcome, second: Outcome, *, made: StoredAnchor) -> Outcome:
    return replace(second, made=made, finished=first.finished + second.finished)
