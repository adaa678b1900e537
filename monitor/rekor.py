"""Follows a ledger in Rekor v2: every shard is replayed whole, and what the hub's keys signed there is looked at.

An entry of Rekor has the digest of what was signed, not the statement: that comes from the hub's evidence. Statements are
logged in any order, so each waits until what precedes it in its histories is there; the order is that of the chains. Several
places of one statement are one event, at the lowest that was seen first.
"""

import contextlib
import hashlib
import pathlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ledger.encoding import format_base64
from ledger.entry import Entry, pae
from ledger.errors import CorruptError, LedgerError, NotFoundError, SourceError, StorageError, WithdrawnError
from ledger.event import parse_statement
from ledger.log.hashedrekord import signed_by
from ledger.storage.directory import DirectoryObjects
from ledger.storage.evidence import Evidence
from monitor.detect import Detector
from monitor.findings import Finding, Kind
from monitor.follow import Follower
from monitor.known import Context, Known
from monitor.logged import Logged, LoggedEntry
from monitor.looks import Folded, Look
from monitor.reads import Read, load_key, read_of
from monitor.recall import recall
from monitor.state import Routes, State

MISSING_SECONDS = 3600
"""How long a statement may be logged before it is in the evidence: a copy of it may be made every quarter of an hour."""
WAITING_SECONDS = 86_400
"""How long a statement may be logged before the one that precedes it: a hub's outbox may wait a day."""
_MAX_STATEMENT_BYTES = 32 << 10
_GONE = (NotFoundError, WithdrawnError, CorruptError)
"""Why one piece cannot be had: it is missing, and holds up nothing else."""


class Finder(Protocol):
    """Finds statements by the digests that Rekor has of them."""

    def find(self, digests: Collection[bytes]) -> dict[bytes, bytes]:
        """Return those that there are, each with this digest. Raises SourceError: nobody can say which there are."""
        ...


class Statements:
    """The statements in a folder of evidence, by the digest that Rekor has of them. Each file is looked at once."""

    def __init__(self, log: str, folder: pathlib.Path, logged: Logged) -> None:
        self._log, self._folder, self._logged = log, folder, logged
        self._evidence = Evidence(DirectoryObjects(folder))

    def find(self, digests: Collection[bytes]) -> dict[bytes, bytes]:
        """Return the statements that are there. Raises SourceError: the folder cannot be read."""
        found = self._stored(digests)
        if len(found) < len(set(digests)):
            self._look()
            found = self._stored(digests)
        return found

    def _stored(self, digests: Collection[bytes]) -> dict[bytes, bytes]:
        found = {}
        for digest, sha256 in self._logged.statements(self._log, digests):
            with contextlib.suppress(*_GONE):
                payload = self._evidence.get(sha256)
                if hashlib.sha256(pae(payload)).digest() == digest:
                    found[digest] = payload
        return found

    def _look(self) -> None:
        if (
            not self._folder.is_dir()
        ):  # a copy that is not mounted must not read as a hub that hides something
            raise SourceError(
                f"evidence of {self._log}", expected=f"the folder {self._folder}", actual="none"
            )
        for prefix in range(256):
            known = self._logged.pieces(self._log, prefix)
            new = [sha256 for sha256 in self._listed(prefix) if sha256 not in known]
            if new:
                self._logged.keep_pieces(self._log, self._pieces(new))

    def _listed(self, prefix: int) -> list[bytes]:
        try:
            return list(self._evidence.stored(prefix))
        except StorageError as error:  # of somebody else's storage, which says nothing about our own
            raise SourceError(error.what, expected=error.expected, actual=error.actual) from error

    def _pieces(self, digests: Sequence[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield what each piece would be logged as; what is damaged is looked at again when it is wanted."""
        for sha256 in digests:
            with contextlib.suppress(*_GONE):
                if self._evidence.info(sha256).size > _MAX_STATEMENT_BYTES:
                    yield sha256, None
                else:
                    yield sha256, hashlib.sha256(pae(self._evidence.get(sha256))).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settled:
    """What became of entries: those that changed, and what they gave."""

    entries: Sequence[LoggedEntry]
    known: Known
    findings: Sequence[Finding]


class RekorLedger:
    """What the hub logged in the shards of one ledger. One thread at a time."""

    def __init__(
        self, context: Context, state: State, statements: Finder, *, clock: Callable[[], float]
    ) -> None:
        self._context, self._state, self._statements, self._clock = context, state, statements, clock
        self._log = context.log
        keys = {key.keyid: key.spki for key in context.trust.hub_keys}
        self._keys = {keyid: (spki, format_base64(spki).encode()) for keyid, spki in keys.items()}

    def fold(self, shard: int, first: int, entries: Sequence[bytes]) -> Folded:
        """Return what a run of entries of a shard gives, from the leaf index ``first`` on."""
        found: dict[bytes, LoggedEntry] = {}
        for at, body in enumerate(entries, first):
            for keyid, digest in self._signed(body):
                entry = LoggedEntry(
                    digest=digest,
                    shard=shard,
                    leaf=at,
                    keyid=keyid,
                    state="missing",
                    since=int(self._clock()),
                )
                found.setdefault(digest, entry)
        for digest in self._state.logged.known(self._log, found):
            del found[digest]
        return self.take(list(found.values()))

    def take(self, new: Sequence[LoggedEntry]) -> Folded:
        """Return what entries give that were never seen before, together with what waited for them."""
        settled = self._settle(new)
        return Folded(
            ledger=self._log, known=settled.known, findings=settled.findings, logged=settled.entries
        )

    def _signed(self, body: bytes) -> Iterator[tuple[str, bytes]]:
        for keyid, (spki, needle) in self._keys.items():
            if needle in body and (digest := signed_by(spki, body)) is not None:
                yield keyid, digest

    def settle(self, routes: Routes) -> int:
        """Look again for statements that were missing, and for those that others wait for; returns how many findings are new."""
        if not self._state.logged.unsettled(self._log):
            return 0
        settled = self._settle([])
        return self._state.settle(
            self._log,
            known=settled.known,
            findings=settled.findings,
            logged=settled.entries,
            routes=routes,
            now=int(self._clock()),
        )

    def _settle(self, new: Sequence[LoggedEntry]) -> _Settled:
        entries = [*self._state.logged.unsettled(self._log), *new]
        payloads = self._statements.find([each.digest for each in entries])
        reads = {
            each.digest: self._read(each, payloads[each.digest])
            for each in entries
            if each.digest in payloads
        }
        known = recall(self._state, self._log, reads.values())
        now = int(self._clock())
        late = frozenset(each.digest for each in entries if now - each.since >= WAITING_SECONDS)
        findings: list[Finding] = []
        done: set[bytes] = set()
        for entry in _in_order([each for each in entries if each.digest in reads], reads, known, late=late):
            context = replace(self._context, shard=entry.shard)
            findings += Detector(context, known).apply(reads[entry.digest])
            done.add(entry.digest)
        findings += [
            self._finding_of(each)
            for each in entries
            if each.digest not in reads and now - each.since >= MISSING_SECONDS
        ]
        states = {each.digest: _state_of(each.digest, done=done, found=reads) for each in entries}
        olds = {each.digest for each in new}
        changed = [
            replace(each, state=states[each.digest])
            for each in entries
            if each.digest in olds or each.state != states[each.digest]
        ]
        return _Settled(entries=changed, known=known, findings=findings)

    def again(self, entries: Sequence[LoggedEntry]) -> tuple[list[tuple[int, Read]], list[Finding]]:
        """Read statements again that were looked at before, each with its shard, and say which are not there any more.

        Raises SourceError: nobody can say now which there are.
        """
        # What a key signed that the trust file dropped since is nobody's word any more.
        counted = [each for each in entries if each.keyid in self._keys]
        payloads = self._statements.find([each.digest for each in counted])
        reads = [
            (each.shard, self._read(each, payloads[each.digest]))
            for each in counted
            if each.digest in payloads
        ]
        return reads, [self._finding_of(each) for each in counted if each.digest not in payloads]

    def _read(self, entry: LoggedEntry, payload: bytes) -> Read:
        key = load_key(self._keys[entry.keyid][0])
        envelope = Entry(payload=payload, keyid=entry.keyid, signature=b"")
        try:
            # The key was verified by signed_by, over the same digest.
            return read_of(envelope, parse_statement(payload), entry.leaf, key=key)
        except LedgerError as error:
            return Read(leaf_index=entry.leaf, problem=error.finding)

    def _finding_of(self, entry: LoggedEntry) -> Finding:
        return replace(self._context, shard=entry.shard).found(
            Kind.STATEMENT_MISSING,
            entry.leaf,
            f"The hub logged {entry.digest.hex()[:16]}… at leaf {entry.leaf} of shard {entry.shard}, and the statement is "
            "not in its evidence: nobody can tell which model it is about; ask the hub for it.",
            about=entry.digest.hex(),
            facts={"digest": entry.digest.hex()},
        )


def _state_of(digest: bytes, *, done: Collection[bytes], found: Collection[bytes]) -> str:
    if digest in done:
        return "done"
    return "waiting" if digest in found else "missing"


def _in_order(
    entries: Sequence[LoggedEntry], reads: dict[bytes, Read], known: Known, *, late: Collection[bytes]
) -> Iterator[LoggedEntry]:
    """Yield entries in the order of their chains, each when it is to be applied to ``known``.

    One whose predecessor is not there is not yielded, unless it waited too long: then the gap is a finding. Two that claim
    one place are both yielded, in log order.
    """
    waiting = sorted(entries, key=lambda each: (each.shard, each.leaf))
    by_place: dict[tuple[str, int], list[LoggedEntry]] = {}
    for each in waiting:
        for key, sequence in _places(reads[each.digest]):
            by_place.setdefault((key, sequence), []).append(each)
    yielded: set[bytes] = set()

    def chain(ready: list[LoggedEntry]) -> Iterator[LoggedEntry]:
        while ready:
            following: list[LoggedEntry] = []
            for each in ready:
                places = _places(reads[each.digest])
                if each.digest not in yielded and all(_follows(known, *place) for place in places):
                    yielded.add(each.digest)
                    yield each
                    following += [one for key, at in places for one in by_place.get((key, at + 1), [])]
            ready = following

    yield from chain(waiting)
    for each in waiting:
        if each.digest in late and each.digest not in yielded:
            yielded.add(each.digest)
            yield each
            yield from chain(waiting)


def _places(read: Read) -> list[tuple[str, int]]:
    """The places of a statement in the chains; none of an observer's, and of what cannot be read."""
    return [(key, sequence) for key, sequence, _ in read.links if sequence is not None]


def _follows(known: Known, key: str, sequence: int) -> bool:
    head = known.history(key).head
    return sequence <= (0 if head is None else head.sequence + 1)


class RekorFollower:
    """Follows the shards of one ledger, the older before the newer: each is drained to its end before the next is looked at."""

    def __init__(self, log: str, shards: Sequence[Follower], settle: Callable[[], int]) -> None:
        self._log, self._shards, self._settle = log, tuple(shards), settle

    def look(self) -> Look:
        """Look once at every shard, and at what waits. What one shard came to hides nothing of another."""
        looks = [shard.look() for shard in self._shards]
        problems = [f"{each.log}: {each.problem}" for each in looks if each.problem]
        new = sum(each.new_findings for each in looks)
        try:
            new += self._settle()
        except SourceError as error:
            problems.append(error.finding)
        return Look(
            log=self._log,
            size=sum(each.size for each in looks),
            target=None
            if any(each.target is None for each in looks)
            else sum(each.target or 0 for each in looks),
            new_findings=new,
            problem="; ".join(problems),
        )
