"""Replays one tile log and keeps up with it: every entry is fetched and hashed, and nothing counts before a signed root.

One look at a log:

1. fetch the checkpoint, check its signature, and remember it, before anything is decided about it;
2. hold it against what was replayed: the same, smaller and consistent (stale), or a contradiction (tamper);
3. replay what is new, in runs. The root of each run is compared with every remembered checkpoint of its size, and is
   otherwise proven to be a prefix of the newest one. Only then are its entries looked at;
4. store a run in one transaction: findings, deliveries, histories, position.

The download position is that of the run at hand; it becomes the verified one in step 4, or is thrown away. So a log, a
mirror or a cache that gives other bytes than it signed can make neither a finding about a model nor hide one.
"""

import pathlib
import time
from collections.abc import Callable, Sequence
from functools import partial

from ledger.client.evidence import Misbehaviour
from ledger.encoding import Json
from ledger.errors import (
    InputError,
    LedgerError,
    NotFoundError,
    ProofError,
    SignatureError,
    StorageError,
    UnavailableError,
    VerificationError,
)
from ledger.log.published import PublishedLog
from ledger.tlog import merkle
from ledger.tlog.checkpoint import VerifiedCheckpoint
from ledger.tlog.cosignature import verify_cosignatures
from ledger.tlog.merkle import Frontier
from ledger.tlog.tiles import TILE_WIDTH, TileReader
from monitor.accuse import accuse
from monitor.detect import Detector
from monitor.findings import OVER_BY_ITSELF, Finding, Kind
from monitor.judge import MAX_UNKNOWN, compare_smaller, contradiction, kept_note, reopen, witness_keys
from monitor.known import COSIGNED
from monitor.looks import Folded, Followable, Look
from monitor.proven import context_of, prove_run, touched_tiles
from monitor.recall import recall
from monitor.runs import Checking, Run, Runs
from monitor.state import Position, Progress, Routes, State

RUN_ENTRIES = 10 * TILE_WIDTH
"""Entries of a run at most: what a crash fetches again. Two runs are in memory at once."""
CLOCK_SLACK = 60
"""Seconds that a clock may go back: it is set right now and then."""


class Follower:
    """Follows one log. One thread at a time."""

    def __init__(
        self,
        followable: Followable,
        state: State,
        *,
        routes: Routes,
        evidence: pathlib.Path,
        clock: Callable[[], float] = time.time,  # noqa: TID251  # the edge
        stopping: Callable[[], bool] = lambda: False,
        progress: Callable[[int, int], None] = lambda _done, _size: None,
        elapsed: Callable[[], float] = time.monotonic,
        past: Callable[[], int] = lambda: 0,
        folding: Callable[[int, Sequence[bytes]], "Folded"] | None = None,
    ) -> None:
        self._elapsed = elapsed
        self._folding = folding
        self._log, self._state, self._routes, self._evidence = followable, state, routes, evidence
        self._clock, self._stopping, self._progress = clock, stopping, progress
        self._published = [
            PublishedLog(fetch, origin=followable.trust.origin, keys=followable.trust.log_keys)
            for fetch in followable.sources
        ]
        self._past, self._new = past, 0
        self._cosigned: dict[str, Json] | None = None
        self._checking = Checking(followable.trust if folding is None else None)

    def look(self) -> Look:
        """Look once, up to the newest checkpoint, and store what was found.

        Raises:
            StorageError: our own state is in doubt; nothing more may be written.
        """
        self._new = 0
        target: int | None = None
        now = self._now()
        try:
            fetched = self._fetch_checkpoint(now)
            target = fetched.checkpoint.size
            problem = self._follow(fetched)
            if not problem:
                self._new += self._past()
                problem = self._check_quorum(fetched)
        except StorageError:
            raise
        except LedgerError as error:
            problem = self._tell(error)
        finally:
            self._checking.close()
        if not problem:
            self._state.record.recovered(self._log.name, kinds=OVER_BY_ITSELF, now=now)
        self._state.checked(self._log.name, now=now, problem=problem)
        size = self._state.position(self._log.name).size
        return Look(log=self._log.name, size=size, target=target, new_findings=self._new, problem=problem)

    def _now(self) -> int:
        """Return the time. A clock that went back is told, because every time that we note rests on it."""
        now, latest = int(self._clock()), self._state.clock()
        if now < latest - CLOCK_SLACK:
            self._report(
                Kind.CLOCK_BACKWARDS,
                f"The clock of this machine says {latest - now} seconds less than it did before: set it right, or the times "
                "in this monitor's record mean nothing.",
                about=str(latest),
            )
        self._state.note_time(now)
        return now

    # 1. The checkpoint

    def _fetch_checkpoint(self, now: int) -> VerifiedCheckpoint:
        """Fetch from the first source that answers; every signed checkpoint is remembered."""
        errors: list[LedgerError] = []
        for published in self._published:
            try:
                fetched = published.checkpoint()
            except LedgerError as refused:
                errors.append(refused)
                if isinstance(refused, SignatureError):
                    self._tell(refused)  # a mirror that answers must not hide that somebody else did
                continue
            tree = fetched.checkpoint
            note = kept_note(fetched, witness_keys(self._log.trust), others=MAX_UNKNOWN)
            self._state.checkpoints.saw(
                self._log.name, size=tree.size, root=tree.root_hash, note=note, now=now
            )
            return fetched
        raise errors[0]

    # 2. What is known already

    def _follow(self, fetched: VerifiedCheckpoint) -> str:
        """Return why the log could not be checked, empty where it was."""
        tree, position = fetched.checkpoint, self._state.position(self._log.name)
        for seen in self._state.checkpoints.between(self._log.name, least=tree.size):
            differs = seen.size == tree.size and seen.root != tree.root_hash
            other = reopen(seen, fetched, self._log.trust) if differs else None
            if other is not None:
                return self._tamper(Misbehaviour(older=other, newer=fetched))
        if tree.size > position.size:
            return self._replay(fetched, position)
        if tree.size >= position.first:
            found = compare_smaller(fetched, state=self._state, position=position, trust=self._log.trust)
            if found is not None:
                return self._tamper(found)
            self._state.checkpoints.mark_verified(self._log.name, size=tree.size, root=tree.root_hash)
        return self._stale(fetched, position)

    def _stale(self, fetched: VerifiedCheckpoint, position: Position) -> str:
        """Say where the log shows less than it did: to us, of what we hold, or of what it signed before."""
        most = max(self._state.checkpoints.largest(self._log.name), position.size)
        if fetched.checkpoint.size >= most:
            return ""
        return self._report(
            Kind.LOG_STALE,
            f"The log {self._log.name} shows size {fetched.checkpoint.size}, and it has signed {most} before: an old copy or a "
            "cache answers; ask its operator, and do not take what it shows for the newest.",
        )

    def _check_quorum(self, fetched: VerifiedCheckpoint) -> str:
        """Say where clients of the trust file would not take this checkpoint; what it covers was looked at all the same."""
        policy = self._log.trust.policy
        if not policy.witnesses:
            return ""
        counted = verify_cosignatures(fetched, [each.key for each in policy.witnesses])
        found = {each.key for each in counted}
        met = policy.is_met_by(each.name for each in policy.witnesses if each.key in found)
        self._note_cosigned({"met": met, "at": policy.time_of(counted)})
        if met:
            return ""
        return self._report(
            Kind.LOG_UNWITNESSED,
            f"The checkpoint that the log {self._log.name} shows lacks the quorum {policy.quorum} of your trust file: nobody "
            "but the log vouches that others see the same; ask its operator which witnesses answer.",
        )

    def _note_cosigned(self, value: dict[str, Json]) -> None:
        if value != self._cosigned:
            self._state.keep_note(self._log.name, COSIGNED, value)
            self._cosigned = value

    # 3. Replay

    def _replay(self, fetched: VerifiedCheckpoint, position: Position) -> str:
        trust, tree = self._log.trust, fetched.checkpoint
        held = self._state.checkpoints.newest_verified(self._log.name)
        since = held.size if held is not None else position.first
        errors: list[LedgerError] = []
        for published in (*self._published[:1], *self._published):  # asked for again, then from each mirror
            try:
                self._replay_from(published, fetched)
            except (VerificationError, InputError, UnavailableError) as error:
                position = self._state.position(self._log.name)
                found = contradiction(
                    fetched, log=published, state=self._state, position=position, trust=trust
                )
                if found is not None:
                    return self._tamper(found)
                errors.append(error)
            else:
                now_at = self._state.position(self._log.name)
                if now_at.size < tree.size:
                    if self._stopping():
                        return "stopped before its newest checkpoint was reached"
                    return self._stale(fetched, now_at)  # the rest waits for a full tile
                self._state.checkpoints.mark_verified(self._log.name, size=tree.size, root=tree.root_hash)
                return self._look_back(fetched, since) or self._stale(fetched, now_at)
        raise errors[0]

    def _look_back(self, fetched: VerifiedCheckpoint, since: int) -> str:
        """Hold the checkpoints that were handed in while their entries were replayed against what was."""
        log, trust, position = self._log.name, self._log.trust, self._state.position(self._log.name)
        for seen in self._state.checkpoints.between(log, least=since + 1, most=position.size - 1):
            other = None if seen.verified else reopen(seen, fetched, trust)
            if other is None:
                continue
            try:
                found = compare_smaller(other, state=self._state, position=position, trust=trust)
            except ProofError:
                continue  # before what is known here
            if found is not None:
                return self._tamper(found)
            self._state.checkpoints.mark_verified(log, size=seen.size, root=seen.root)
        return ""

    def _replay_from(self, published: PublishedLog, fetched: VerifiedCheckpoint) -> None:
        size = fetched.checkpoint.size
        until = size if self._waited(size) else size - size % TILE_WIDTH
        tiles = TileReader(published.tile, size)
        end_of = partial(self._end_of, until=until)
        runs = Runs(published, size=size, until=until, end_of=end_of, elapsed=self._elapsed)
        while not self._stopping():
            position = self._state.position(self._log.name)
            self._progress(position.size, size)
            if position.size >= until:
                return
            self._run(runs.next(position.size, self._checking), fetched, position, tiles)

    def _waited(self, size: int) -> bool:
        """Whether the last tile may be read though it is not full: something in it waited long enough, or nothing waits.

        The time counts from the first checkpoint that covers what is not verified yet, so that a log which grows slowly and
        all the time is not put off for ever.
        """
        wait = self._log.partial_wait
        if not wait or not size % TILE_WIDTH:
            return True
        full = max(size - size % TILE_WIDTH, self._state.position(self._log.name).size)
        seen = [each.seen_at for each in self._state.checkpoints.between(self._log.name, least=full + 1)]
        return bool(seen) and self._clock() - min(seen) >= wait

    def _end_of(self, start: int, until: int) -> int:
        """Return where a run ends at most: at the next checkpoint that was seen, since its root is compared."""
        seen = [
            each.size
            for each in self._state.checkpoints.between(self._log.name, least=start + 1)
            if each.size <= until
        ]
        return min([until, *seen, (start // RUN_ENTRIES + 1) * RUN_ENTRIES])

    def _run(self, run: Run, fetched: VerifiedCheckpoint, position: Position, tiles: TileReader) -> None:
        """Hash and prove one run; then look at its entries and store what they say."""
        log, end = self._log.name, run.end
        leaves = merkle.leaf_hashes(run.entries)
        frontier = Frontier(position.size, position.frontier.hashes)
        for leaf in leaves:
            frontier.append(leaf)
        matched = prove_run(self._state, log, frontier=frontier, fetched=fetched, tiles=tiles)
        # From here on the entries are known to be in the signed tree.
        folded = self._fold(run, position, fetched)
        stored, nodes = touched_tiles(self._state, log, start=position.size, end=end, leaves=leaves)
        progress = Progress(
            log=log,
            before=position.size,
            frontier=frontier,
            leaves=stored,
            nodes=nodes,
            known=folded.known,
            findings=folded.findings,
            ledger=folded.ledger,
            logged=folded.logged,
        )
        self._new += self._state.advance(progress, routes=self._routes, now=int(self._clock()))
        for root in matched:
            self._state.checkpoints.mark_verified(log, size=end, root=root)

    def _fold(self, run: Run, position: Position, fetched: VerifiedCheckpoint) -> "Folded":
        """Return what entries of the signed tree say."""
        if self._folding is not None:
            return self._folding(position.size, run.entries)
        log = self._log.name
        reads = self._checking.read(run)
        known = recall(self._state, log, reads)
        findings = Detector(
            context_of(self._log, self._state, position=position, fetched=fetched), known
        ).run(reads)
        return Folded(known=known, findings=findings)

    # What is told about the log itself

    def _tamper(self, found: Misbehaviour) -> str:
        finding = accuse(found, log=self._log.name, folder=self._evidence)
        self._new += self._state.report(finding, routes=self._routes, now=int(self._clock()))
        return finding.text

    def _tell(self, error: LedgerError) -> str:
        """Report why a log could not be checked, in the class that it belongs to: none of these accuses."""
        name = self._log.name
        match error:
            case UnavailableError() | NotFoundError():
                return self._report(
                    Kind.LOG_UNREACHABLE,
                    f"The log {name} could not be read ({error.finding}): what is new in it is unknown; see that it can be "
                    "reached from here.",
                )
            case SignatureError():
                return self._report(
                    Kind.LOG_KEY_REFUSED,
                    f"The checkpoint of {name} is not signed by a key of the trust file ({error.finding}): nothing behind it "
                    "was looked at; compare the log's keys with its publisher.",
                )
            case _:
                return self._report(
                    Kind.LOG_MALFORMED,
                    f"What {name} serves is not what it signed ({error.finding}), also when asked again: nothing of it was "
                    "believed; ask its operator, or add a mirror to the settings.",
                )

    def _report(self, kind: Kind, text: str, *, about: str = "", facts: dict[str, Json] | None = None) -> str:
        finding = Finding(log=self._log.name, kind=kind, text=text, about=about, facts=facts or {})
        self._new += self._state.report(finding, routes=self._routes, now=int(self._clock()))
        return text
