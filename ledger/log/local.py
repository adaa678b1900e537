"""The local tile log: one writer, two clocks (architecture section 4).

Committing makes entries durable and gives them their leaf index; publishing, at most once per
``publish_interval``, signs one stored size and shows it. Nothing else is ever signed or shown. A restart runs
the same code over the same stored state. The layout on disk is plain c2sp.org/tlog-tiles.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ledger.errors import (
    CorruptError,
    LedgerError,
    NotFoundError,
    QuorumError,
    RestoredError,
    StorageError,
)
from ledger.log import Committed, Submission
from ledger.log.admission import Admissions, Changes
from ledger.log.freshness import check_not_restored, take_hints
from ledger.log.group import MAX_BATCH_ENTRIES, GroupCommit, interrupted
from ledger.log.local_config import LocalLogConfig
from ledger.log.outgrown import outgrown, partial_folders
from ledger.log.published import PublishedLog
from ledger.log.right_edge import RightEdge
from ledger.log.witnessing import Witnesses
from ledger.storage import Batch, CommitStore, Head, LogState, ObjectStore
from ledger.tlog import merkle
from ledger.tlog.checkpoint import Checkpoint, VerifiedCheckpoint, verify_checkpoint
from ledger.tlog.cosignature import verify_cosignatures
from ledger.tlog.signed_note import MAX_NOTE_BYTES, VerifierKey
from ledger.tlog.tiles import (
    EntryBundle,
    Tile,
    TileReader,
    format_bundle,
    objects_for_growth,
    parse_bundle,
)

_logger = logging.getLogger(__name__)


class LocalLog:
    """The only writer of a log directory. Thread-safe; see ``ledger.log.Log`` for the contract."""

    def __init__(
        self,
        commits: CommitStore,
        objects: ObjectStore,
        config: LocalLogConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._commits = commits
        self._objects = objects
        self._config = config
        self._clock, self._pause = clock, pause
        self._writer = threading.RLock()
        self._publisher = threading.Lock()
        self._waiting: GroupCommit[Submission, Committed | LedgerError] = GroupCommit(
            self._writer, self._commit, limit=MAX_BATCH_ENTRIES
        )
        self._failure: LedgerError | None = None
        self._writable = False
        self._next_publication = 0.0
        self._lacking = False  # the newest signed checkpoint may not be shown: its quorum is missing
        self._admissions = Admissions(commits.lookup)
        self.published = PublishedLog(objects.get, origin=config.origin, keys=config.keys)
        self._state = commits.load()
        self._edge = self._load_edge()
        self._unshown = self._state.target_size > self._state.published_size

    # Opening

    def _load_edge(self) -> RightEdge:
        """Read the right edge from tiles and pending batches, and check it against the committed root.

        Raises:
            CorruptError: tiles, bundles and commit store do not belong together.
        """
        state = self._state

        def fetch(part: Tile | EntryBundle) -> Sequence[bytes]:
            try:
                return self.published.tile(part) if isinstance(part, Tile) else self.published.bundle(part)
            except LedgerError as error:
                raise CorruptError(
                    f"right edge of the log at size {state.published_size}",
                    expected=f"a sound {part.path}",
                    actual=error.finding,
                    next_step="Restore the newest copy of this directory; do not delete ledger.db",
                ) from error

        edge = RightEdge.load(state.published_size, fetch)
        for first, data in self._commits.pending():
            entries = _parse_batch(first, data)
            edge.append(entries[max(0, edge.size - first) :])
        if edge.size != state.size or edge.frontier.root() != state.root:
            raise CorruptError(
                "right edge of the log",
                expected=f"size {state.size} with root {state.root.hex()}",
                actual=f"size {edge.size} with root {edge.frontier.root().hex()}",
                next_step="Restore the newest copy of this directory; do not delete ledger.db",
            )
        return edge

    def _make_writable(self) -> None:
        """Before the first write: make sure that we are the newest copy, then finish what a crash left open."""
        if self._failure:
            raise self._failure
        if self._writable:
            return
        signed = self._signed()
        self._check_own_checkpoint(signed.checkpoint)
        witnesses = self._config.witnesses
        if witnesses is not None:
            witnesses.remember(signed)
        if self._config.start_unchecked:
            _logger.warning(
                "writing without asking the outside (--start-unchecked), size %d", self._state.size
            )
        else:
            check_not_restored(
                self._config.sources,
                signed=signed.checkpoint,
                root_at=self._root_at,
                origin=self._config.origin,
                keys=self._config.keys,
                sizes=[] if witnesses is None else witnesses.newest_sizes(signed),
            )
            take_hints(self._config.hints, signed=signed.checkpoint, root_at=self._root_at)
        self._writable = True
        if self._state.target_size > self._state.published_size or self._shown() != self._state.signed_note:
            self._finish_publication()

    def _check_own_checkpoint(self, signed: Checkpoint) -> None:
        """Refuse when our public folder already shows more than our store has signed."""
        shown = self._shown()
        try:
            checkpoint = verify_checkpoint(
                shown, origin=self._config.origin, keys=self._config.keys
            ).checkpoint
        except LedgerError as error:
            _logger.warning("the published checkpoint is damaged and will be written again: %s", error)
            return
        if checkpoint.size > signed.size:
            raise RestoredError(
                "published checkpoint of this directory",
                expected=f"at most size {signed.size}, the newest signed",
                actual=f"size {checkpoint.size}",
                next_step="ledger.db is older than the published files: restore its newest copy",
            )

    def _shown(self) -> bytes:
        try:
            return self._objects.get("checkpoint", max_bytes=MAX_NOTE_BYTES)
        except LedgerError:
            return b""

    def _signed(self) -> VerifiedCheckpoint:
        try:
            return verify_checkpoint(
                self._state.signed_note, origin=self._config.origin, keys=self._config.keys
            )
        except LedgerError as error:
            raise CorruptError(
                "stored checkpoint", expected="our own signed checkpoint", actual=error.finding
            ) from error

    # Committing

    @property
    def size(self) -> int:
        """How many entries are durable."""
        return self._state.size

    def append(self, submissions: Sequence[Submission]) -> list[Committed | LedgerError]:
        """Commit entries in order; durable on return.

        Callers that arrive while a commit runs are committed together by whoever gets the lock next.

        Raises:
            RestoredError, SourceError: this directory may not be written.
            QuorumError: too much waits already for witnesses that must cosign it.
            WriteError: nothing of this call was answered; the log must be opened again.
        """
        self._check_backlog()
        return self._waiting.submit(submissions)

    def _check_backlog(self) -> None:
        witnesses, state = self._config.witnesses, self._state
        if self._lacking and witnesses and state.size - state.published_size >= witnesses.config.backlog:
            raise QuorumError(
                "entries that wait for the quorum of witnesses",
                expected=f"fewer than {witnesses.config.backlog}",
                actual=str(state.size - state.published_size),
                next_step="Nothing of this was recorded: try again when enough witnesses answer",
            )

    def lookup(
        self, events: Sequence[bytes], heads: Sequence[str]
    ) -> tuple[dict[bytes, int], dict[str, Head]]:
        """Return the named events and heads as of the last commit, for a decision that admission checks again."""
        with self._writer:
            return self._admissions.lookup(self._state.size, events, heads)

    def _commit(self, submissions: list[Submission]) -> list[Committed | LedgerError]:
        self._make_writable()
        with self._stopping("committing"):
            # 1. Take the waiting entries; look up once what their admissions need.
            # 2. Admit each against the heads as they are now, entries before it in this batch included.
            answers, changes = self._admissions.admit(self._state.size, submissions)
            if changes.entries:
                self._store(changes)
        # Only now is anybody answered. If we stop before this line, nobody was told anything.
        return answers

    @contextlib.contextmanager
    def _stopping(self, what: str) -> Iterator[None]:
        """Stop this object for good, whatever goes wrong meanwhile: memory and disk may no longer agree."""
        try:
            yield
        except BaseException as error:
            self._failure = error if isinstance(error, StorageError) else interrupted(what)
            raise

    def _store(self, changes: Changes) -> None:
        """Step 3: one transaction. A failure leaves memory ahead of the disk, so this object stops for good."""
        first = self._state.size
        self._edge.append(changes.entries)
        batch = Batch(
            first=first,
            count=len(changes.entries),
            data=format_bundle(changes.entries),
            root=self._edge.frontier.root(),
            frontier=tuple(self._edge.frontier.hashes),
            events=list(changes.events.items()),
            heads=list(changes.heads.items()),
        )
        self._commits.commit(batch)
        # If we stop here, the batch is durable and its callers were not answered: a retry finds its event ids.
        self._state = replace(self._state, size=first + batch.count, root=batch.root, frontier=batch.frontier)

    # Publishing

    def publish(self) -> VerifiedCheckpoint:
        """Show everything that is durable now; waits until ``publish_interval`` has passed since the last time.

        Raises:
            QuorumError: witnesses that must cosign it have not; it is tried again by the next call, with what is durable then.
            WriteError: a write failed; nothing smaller or other than the stored size is ever shown.
        """
        with self._publisher:
            self._await_turn()
            with self._writer:
                self._make_writable()
                state = self._state
                is_new = state.published_size < state.size
                if is_new:
                    self._check_askable()
                    with self._stopping("publishing"):
                        # The size to publish is stored before it is signed. If we stop here, a restart signs just it.
                        self._save(replace(state, target_size=state.size, target_root=state.root))
            if not is_new:
                with self._stopping("publishing"):
                    return self._refresh()
            self._next_publication = self._clock() + self._config.publish_interval
            with self._stopping("publishing"):
                verified = self._finish_publication()
        if self._lacking:
            raise self._missing(verified.checkpoint)
        return verified

    def _await_turn(self) -> None:
        """Wait until readers, and witnesses that must be asked, may have the next checkpoint."""
        if self._state.published_size == self._state.size:
            return
        wait = self._next_publication - self._clock()
        witnesses = self._config.witnesses
        if witnesses is not None and witnesses.config.required:
            wait = max(wait, witnesses.permitted_in())
        if wait > 0:
            self._pause(wait)

    def _check_askable(self) -> None:
        """Sign nothing larger while a checkpoint waits for witnesses and none of them may be asked: that only makes tiles."""
        witnesses = self._config.witnesses
        if self._lacking and witnesses is not None:
            signed = self._signed().checkpoint
            if not witnesses.is_met(signed) and not witnesses.can_ask(signed):
                raise self._missing(signed)

    def _missing(self, checkpoint: Checkpoint) -> QuorumError:
        witnesses = self._config.witnesses
        return QuorumError(
            f"cosignatures of the checkpoint of size {checkpoint.size}",
            expected=f"the quorum {witnesses.config.policy.quorum if witnesses else None}",
            actual=witnesses.problems(checkpoint) if witnesses else "none",
        )

    def is_witnessed(self, verified: VerifiedCheckpoint) -> bool:
        """Whether witnesses are asked, want a quorum, and this very note carries it: an answer that came since does not count."""
        witnesses = self._config.witnesses
        if witnesses is None or witnesses.config.policy.quorum is None:
            return False
        policy = witnesses.config.policy
        found = {each.key for each in verify_cosignatures(verified, [each.key for each in policy.witnesses])}
        return policy.is_met_by(each.name for each in policy.witnesses if each.key in found)

    @property
    def witnesses(self) -> Witnesses | None:
        """Who is asked to cosign, if anybody is."""
        return self._config.witnesses

    def due(self) -> float | None:
        """In how many seconds ``publish`` is to be called for the sake of witnesses, though nothing is new; None: never."""
        witnesses = self._config.witnesses
        return None if witnesses is None else witnesses.due(self._signed().checkpoint)

    def await_quorum(self, seconds: float) -> VerifiedCheckpoint:
        """Publish until a shown checkpoint covers what is durable now and has its quorum.

        Raises:
            QuorumError: it has not after ``seconds``; what is durable stays so.
        """
        deadline, wanted = self._clock() + seconds, self._state.size
        while True:
            try:
                verified = self.publish()
            except QuorumError:
                verified = self._signed()
            else:
                if verified.checkpoint.size >= wanted and self.is_witnessed(verified):
                    return verified
            left = deadline - self._clock()
            if left <= 0:
                raise self._missing(verified.checkpoint)
            self._pause(min(left, max(0.05, self.due() or 0.0)))

    def _refresh(self) -> VerifiedCheckpoint:
        """Take cosignatures that came late, and ask for fresh ones where they are due; the size stays what it is."""
        signed, witnesses = self._signed(), self._config.witnesses
        if witnesses is None:
            return signed
        self._ask(witnesses, signed, wait=False)
        if witnesses.merge(signed) == signed.note:
            return signed
        # Signed once more, so that the log's own cosignature is dated anew as well; it is the same checkpoint.
        verified = self._store_cosigned(self._sign(signed.checkpoint))
        # If we stop here, the older signatures are shown: a restart shows these.
        self._objects.replace("checkpoint", verified.note)
        return verified

    def _store_cosigned(self, signed: VerifiedCheckpoint) -> VerifiedCheckpoint:
        """Store a signed checkpoint with the cosignatures that there are."""
        witnesses = self._config.witnesses
        verified = signed if witnesses is None else self._verify_own(witnesses.merge(signed))
        if verified.note != self._state.signed_note:
            with self._writer:
                self._save(replace(self._state, signed_note=verified.note))
        return verified

    def _verify_own(self, note: bytes) -> VerifiedCheckpoint:
        return verify_checkpoint(note, origin=self._config.origin, keys=self._config.keys)

    def _cosign(self, signed: VerifiedCheckpoint) -> VerifiedCheckpoint:
        """Ask the witnesses, and say whether the checkpoint may be shown."""
        witnesses = self._config.witnesses
        if witnesses is None:
            return signed
        if not witnesses.is_met(signed.checkpoint) or witnesses.config.policy.quorum is None:
            self._ask(witnesses, signed, wait=True)
        verified = self._store_cosigned(signed)
        self._lacking = witnesses.config.required and not witnesses.is_met(signed.checkpoint)
        return verified

    def _ask(self, witnesses: Witnesses, signed: VerifiedCheckpoint, *, wait: bool) -> None:
        """Ask for cosignatures. A newer checkpoint of ours that this leads to stops this log for good."""
        try:
            witnesses.ask(signed, self.published.prove_consistency, wait=wait)
        except RestoredError as error:
            self._failure = error
            raise

    def sign_again(self) -> VerifiedCheckpoint:
        """Sign the newest checkpoint anew, by the keys of now, and show it: for whoever changes keys.

        Cosignatures stay: witnesses sign what a checkpoint says, not who signed it.

        Raises: as ``publish``; QuorumError: the newest one may not be shown yet.
        """
        with self._publisher, self._writer:
            self._make_writable()
            newest, witnesses = self._signed().checkpoint, self._config.witnesses
            if self._state.published_size < newest.size:
                raise self._missing(newest)
            with self._stopping("signing again"):
                verified = self._sign(newest)
                if witnesses is not None:
                    verified = self._verify_own(witnesses.merge(verified))
                self._save(replace(self._state, signed_note=verified.note))
                # If we stop here, the old signatures are still shown: a restart shows what is stored.
                self._objects.replace("checkpoint", verified.note)
                return verified

    def check_taken(self, key: VerifierKey) -> None:
        """Make sure that witnesses cosign what ``key`` signs alone, before the keys that they know stop signing.

        Else the next start asks them in vain, and where the quorum is required nothing is ever shown again.

        Raises: as ``publish``; QuorumError: too few of them take it.
        """
        with self._publisher, self._writer:
            self._make_writable()
            witnesses = self._config.witnesses
            if witnesses is None or self._config.start_unchecked:
                return
            # The newest checkpoint, as if no other key of ours had signed it.
            signed = verify_checkpoint(self._state.signed_note, origin=self._config.origin, keys=[key])
            answers = witnesses.newest_sizes(signed)
            taking = [each.name for each in answers if each.size is not None]
            if not taking or not witnesses.config.policy.is_met_by(taking):
                raise QuorumError(
                    f"witnesses that take the key {key.format()} alone",
                    expected=f"the quorum {witnesses.config.policy.quorum or 'none, and one of them'}",
                    actual="; ".join(f"{each.name}: {each.problem}" for each in answers if each.size is None),
                    next_step="Give the new key to the operators of the witnesses, and run this again. Nothing was changed",
                )

    def _finish_publication(self) -> VerifiedCheckpoint:
        """Step 4 for the stored target; also what recovery runs. Each step may be repeated."""
        target = self._state.target_size
        # (a) Sign, only what is proven to extend the last signed checkpoint, and store the signature.
        verified = self._signed()
        if verified.checkpoint.size < target:
            verified = self._sign_target(verified.checkpoint)
        # If we stop here, the checkpoint is signed and not shown: a restart shows it.
        # (b) Tiles and bundles of exactly this size, durable before the checkpoint that needs them.
        published = self._state.published_size
        growth = objects_for_growth(published, target)
        self._objects.put((part.path, self._edge.object_bytes(part)) for part in growth)
        # If we stop here, objects exist that nobody may ask for yet: they are written again, with equal bytes.
        # (c) Cosignatures, stored with the checkpoint. Where they are required and missing, it is not shown; its tiles stay.
        verified = self._cosign(verified)
        if self._lacking:
            self._unshown = True
            return verified
        # If we stop here, it has its cosignatures and is not shown: a restart shows it with them.
        # (d) Show it.
        self._objects.replace("checkpoint", verified.note)
        # If we stop here, it is shown and still counted as pending: (b) to (d) run again without effect.
        with self._writer:
            self._save(replace(self._state, published_size=target))
            self._edge.trim(target)
        # (e) Partial objects whose full object exists now. If we stop here, some stay; they are harmless.
        folders = partial_folders(growth) if self._unshown else outgrown(published, target)
        for folder in folders:
            self._objects.delete(list(self._objects.names(folder)))
        self._unshown = False
        return verified

    def _sign_target(self, last: Checkpoint) -> VerifiedCheckpoint:
        """Sign the stored target if, and only if, it extends the last signed checkpoint."""
        state = self._state
        reader = self._nodes(state.target_size)
        if last.size:
            proof = merkle.prove_consistency(last.size, state.target_size, reader)
            merkle.verify_consistency(
                old_size=last.size,
                old_root=last.root_hash,
                new_size=state.target_size,
                new_root=state.target_root,
                proof=proof,
            )
        elif merkle.tree_root(state.target_size, reader) != state.target_root:
            raise CorruptError(
                "root to be signed", expected=state.target_root.hex(), actual="another root from the tiles"
            )
        checkpoint = Checkpoint(
            origin=self._config.origin, size=state.target_size, root_hash=state.target_root
        )
        verified = self._sign(checkpoint)
        with self._writer:
            self._save(replace(self._state, signed_note=verified.note))
        return verified

    def _sign(self, checkpoint: Checkpoint) -> VerifiedCheckpoint:
        note = self._config.sign(checkpoint)
        verified = verify_checkpoint(note, origin=self._config.origin, keys=self._config.keys)
        if verified.checkpoint != checkpoint:
            raise CorruptError(
                "signed checkpoint",
                expected=f"size {checkpoint.size} with root {checkpoint.root_hash.hex()}",
                actual=f"size {verified.checkpoint.size} with root {verified.checkpoint.root_hash.hex()}",
            )
        return verified

    def _save(self, state: LogState) -> None:
        self._commits.save_publication(state)
        self._state = state

    # Reading

    def checkpoint(self) -> VerifiedCheckpoint:
        """Return the newest published checkpoint."""
        return self.published.checkpoint()

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the durable entries ``[start, end)``, published or not."""
        with self._writer:
            first, pending = (
                self._edge.first_entry(),
                self._edge.entries(max(start, self._edge.first_entry())),
            )
            size = self._state.published_size
        if start < first:
            yield from self.published.read(start, min(end, first), size=size)
        yield from pending[: max(0, end - max(start, first))]

    def prove_inclusion(self, leaf_index: int, size: int) -> tuple[bytes, ...]:
        """Prove inclusion in the tree of ``size``, which must be published."""
        return self.published.prove_inclusion(leaf_index, size)

    def prove_consistency(self, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """Prove consistency between two published sizes."""
        return self.published.prove_consistency(old_size, new_size)

    def _nodes(self, size: int) -> merkle.NodeReader:
        """Subtree hashes of a size that may be ahead of the published tiles."""
        return TileReader(lambda tile: self._edge.tile(tile) or self.published.tile(tile), size)

    def _root_at(self, size: int) -> bytes:
        if size > self._state.size:
            raise NotFoundError("root", expected=f"a size up to {self._state.size}", actual=size)
        return merkle.tree_root(size, self._nodes(size))


def _parse_batch(first: int, data: bytes) -> list[bytes]:
    try:
        return parse_bundle(data, None)
    except LedgerError as error:
        raise CorruptError(
            f"pending batch at {first}", expected="length-prefixed entries", actual=error.finding
        ) from error
