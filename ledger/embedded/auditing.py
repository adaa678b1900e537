"""Replays a log and, of a ledger of ours, everything that hangs on it (``hubledger log audit``, ``index``)."""

import functools
import hashlib
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from ledger.client.trust import load_hub_key
from ledger.embedded.directory import ReadLedger, open_for_reading
from ledger.entry import MapCommit, parse_entry, verify_entry
from ledger.errors import ChainError, CorruptError, LedgerError, MalformedError, UsageError
from ledger.event import HistoryLink, UnknownStatement, facts_digest, parse_statement
from ledger.history import ChainHead, check_link
from ledger.index import Index, differences
from ledger.log.audit import Audited, audit
from ledger.log.local import writer_lock
from ledger.log.published import PublishedLog, fetch_from_folder, fetch_from_url
from ledger.storage import StoredEvent
from ledger.storage.sqlite import SqliteCommits, event_key
from ledger.tlog.signed_note import VerifierKey
from ledger.tlog.tiles import parse_bundle

Progress = Callable[[int, int], None]


def open_foreign(source: str, origin: str, keys: Sequence[VerifierKey]) -> PublishedLog:
    """Open any tlog-tiles log: an http(s) address or a folder."""
    fetch = (
        fetch_from_url(source)
        if source.startswith(("http://", "https://"))
        else fetch_from_folder(pathlib.Path(source))
    )
    return PublishedLog(fetch, origin=origin, keys=keys)


def audit_foreign(
    source: str, vkeys: Sequence[str], *, origin: str | None, workers: int | None, progress: Progress
) -> dict[str, Any]:
    """Audit somebody's log: leaf hashes, tiles, bundles, root and the signature by ``vkeys``.

    Raises:
        MalformedError: a verifier key that is none. UsageError: keys of several names without ``origin``.
        CorruptError, ProofError, SignatureError: what does not hold.
    """
    keys = [VerifierKey.parse(text) for text in vkeys]
    names = {key.name for key in keys}
    if origin is None and len(names) != 1:
        raise UsageError("origin of the log", expected="--origin, or keys of one name", actual=sorted(names))
    open_log = functools.partial(open_foreign, source, origin or names.pop(), tuple(keys))
    checkpoint = open_log().checkpoint()
    size = checkpoint.checkpoint.size
    done = audit(open_log, checkpoint, workers=workers, progress=lambda count: progress(count, size))
    return _report(done, [])


def _report(done: Audited, more: list[str]) -> dict[str, Any]:
    checkpoint = done.checkpoint.checkpoint
    return {
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "rootHash": checkpoint.root_hash.hex(),
        "entries": done.entries,
        "checked": [
            "signature of the checkpoint by the log's key",
            f"{done.entries} leaf hashes against {done.tiles} tiles, {done.bundles} bundles, and the signed root",
            *more,
        ],
    }


@dataclass(frozen=True, slots=True)
class _Line:
    """What one entry says about chains and event ids; small, because it crosses processes."""

    statement_sha256: bytes
    links: tuple[tuple[str, int | None, bytes | None], ...]
    event: bytes | None
    facts: bytes | None
    keyid: str


def examine_entries(
    keys: dict[str, bytes], ledger: str, start: int, entries: Sequence[bytes]
) -> list[_Line | None]:
    """Check signatures and statements of a run of entries. Raises, naming the leaf index."""
    lines: list[_Line | None] = []
    for offset, entry in enumerate(entries):
        try:
            lines.append(_examine(keys, ledger, start + offset, entry))
        except LedgerError as error:
            raise type(error)(
                f"entry {start + offset}: {error.what}",
                expected=error.expected,
                actual=error.actual,
                next_step=error.next_step,
            ) from error
    return lines


def _examine(keys: dict[str, bytes], ledger: str, leaf_index: int, entry: bytes) -> _Line | None:
    parsed = parse_entry(entry, leaf_index=leaf_index)
    if isinstance(parsed, MapCommit):
        return None
    verify_entry(parsed, _public_keys(tuple(sorted(keys.items()))))
    statement = parse_statement(parsed.payload)
    common = statement.common
    if common is None or common.ledger != ledger:
        raise MalformedError(
            "ledger of the statement", expected=ledger, actual=common.ledger if common else "none"
        )
    known = None if isinstance(statement, UnknownStatement) else statement
    return _Line(
        hashlib.sha256(parsed.payload).digest(),
        tuple([(link.key, link.sequence, link.previous) for link in common.histories]),
        event_key(common.recorded_by.id, common.event_id),
        facts_digest(known) if known else None,
        parsed.keyid,
    )


@functools.lru_cache(maxsize=4)
def _public_keys(keys: tuple[tuple[str, bytes], ...]) -> dict[str, ec.EllipticCurvePublicKey]:
    """Load hub keys once a process."""
    return {keyid: load_hub_key(spki) for keyid, spki in keys}


@dataclass(slots=True)
class _Chains:
    """Every history's chain and every event id while the log is replayed."""

    ledger: ReadLedger
    heads: dict[str, ChainHead] = field(default_factory=dict)
    events: dict[bytes, StoredEvent] = field(default_factory=dict)
    leaf_index: int = 0

    def take(self, lines: list[_Line | None]) -> None:
        """Hold the next entries against the chains. Raises ChainError, SignatureError."""
        for line in lines:
            if line is not None:
                self._take(line)
            self.leaf_index += 1

    def _take(self, line: _Line) -> None:
        at = self.leaf_index
        self.ledger.trust.check_key(line.keyid, at)
        for key, sequence, previous in line.links:
            if sequence is None:
                continue  # an observer's statement moves no head
            link = HistoryLink(key=key, sequence=sequence, previous=previous)
            check_link(link, self.heads.get(key), where=f"leaf {at}")
            self.heads[key] = ChainHead(sequence, line.statement_sha256)
        if line.event is not None and line.facts is not None:
            if line.event in self.events:
                first = self.events[line.event].leaf_index
                raise ChainError(
                    f"event id of leaf {at}", expected="an id used once", actual=f"that of leaf {first}"
                )
            self.events[line.event] = StoredEvent(leaf_index=at, facts_sha256=line.facts)


def audit_ledger(directory: pathlib.Path, *, workers: int | None, progress: Progress) -> dict[str, Any]:
    """Audit a ledger of ours: the log, every entry's signature, every chain, the commit store and the index.

    Raises:
        CorruptError, ProofError, SignatureError, ChainError, MalformedError: what does not hold, and where.
    """
    ledger = open_for_reading(directory)
    checkpoint = ledger.log.checkpoint()
    size = checkpoint.checkpoint.size
    keys = {key.keyid: key.spki for key in ledger.trust.hub_keys}
    chains = _Chains(ledger)
    done = audit(
        functools.partial(_open_own, directory),
        checkpoint,
        examine=functools.partial(examine_entries, keys, ledger.config.ledger),
        found=chains.take,
        progress=lambda count: progress(count, size),
        workers=workers,
    )
    pending = _compare_commits(ledger, chains, size)
    leaves, problems = check_index(directory, progress=lambda _done, _total: None)
    if problems:
        raise CorruptError(
            "index",
            expected="what the log says",
            actual="; ".join(problems),
            next_step="Run `hubledger index rebuild`",
        )
    return _report(
        done,
        [
            f"{done.entries} entries signed by the hub's keys, each at a leaf index where its key counts",
            f"{len(chains.heads)} histories without a gap or fork, {len(chains.events)} event ids used once",
            f"commit store: heads and event ids as replayed, {pending} entries durable and not yet published",
            f"index: {leaves} leaves, as rebuilt",
        ],
    )


def _open_own(directory: pathlib.Path) -> PublishedLog:
    return open_for_reading(directory).log


def _compare_commits(ledger: ReadLedger, chains: _Chains, size: int) -> int:
    """Compare heads and event ids with the commit store, after replaying what waits there to be published.

    Returns how many entries wait.
    """
    commits = SqliteCommits(ledger.layout.commits, read_only=True)
    try:
        commits.check()
        state = commits.load()
        keys = {key.keyid: key.spki for key in ledger.trust.hub_keys}
        for first, data in commits.pending():
            entries = parse_bundle(data, None)
            skip = max(0, size - first)
            chains.take(examine_entries(keys, ledger.config.ledger, first + skip, entries[skip:]))
        stored_heads = {
            key: ChainHead(head.sequence, head.statement_sha256) for key, head in commits.all_heads()
        }
        stored_events = dict(commits.all_events())
    finally:
        commits.close()
    if chains.leaf_index != state.size:
        raise CorruptError("size of the commit store", expected=chains.leaf_index, actual=state.size)
    _compare("head", chains.heads, stored_heads)
    _compare("event id", chains.events, stored_events)
    return state.size - size


def _compare(what: str, replayed: Mapping[Any, Any], stored: Mapping[Any, Any]) -> None:
    for key in sorted(replayed.keys() | stored.keys()):
        if replayed.get(key) != stored.get(key):
            raise CorruptError(
                f"{what} {key.hex() if isinstance(key, bytes) else key} in the commit store",
                expected=_shown(replayed.get(key)),
                actual=_shown(stored.get(key)),
                next_step="Stop the writer: its decisions may rest on damaged heads; restore the newest copy",
            )


def _shown(value: ChainHead | StoredEvent | None) -> str:
    match value:
        case ChainHead():
            return f"number {value.sequence}, {value.statement_sha256.hex()}"
        case StoredEvent():
            return f"leaf {value.leaf_index}, facts {value.facts_sha256.hex()}"
        case None:
            return "none"


# The index


def rebuild_index(directory: pathlib.Path, *, progress: Progress) -> int:
    """Make the index again beside the old one and put it in its place; returns how many leaves it mirrors."""
    layout = open_for_reading(directory).layout
    with writer_lock(layout.root / "lock"):
        fresh = layout.index.with_name(".index.db.new")
        leaves = _mirror(directory, fresh, progress)
        for suffix in ("-wal", "-shm"):
            layout.index.with_name(layout.index.name + suffix).unlink(missing_ok=True)
        fresh.replace(layout.index)
    return leaves


def check_index(directory: pathlib.Path, *, progress: Progress) -> tuple[int, list[str]]:
    """Compare the index with one made afresh; returns how many leaves, and a sentence for each difference."""
    layout = open_for_reading(directory).layout
    with tempfile.TemporaryDirectory(prefix="hubledger-index-") as folder:
        fresh = pathlib.Path(folder) / "index.db"
        leaves = _mirror(directory, fresh, progress)
        stored, rebuilt = Index(layout.index, read_only=True), Index(fresh)
        try:
            return leaves, list(differences(stored, rebuilt))
        finally:
            stored.close()
            rebuilt.close()


def _mirror(directory: pathlib.Path, path: pathlib.Path, progress: Progress) -> int:
    """Mirror the durable entries of a ledger, published or waiting, into a new index file."""
    ledger = open_for_reading(directory)
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    commits = SqliteCommits(ledger.layout.commits, read_only=True)
    index = Index(path)
    try:
        size = commits.load().size
        published = ledger.log.checkpoint().checkpoint.size
        return index.catch_up(_counted(_durable(ledger, commits, published), size, progress), 0)
    finally:
        index.close()
        commits.close()


def _durable(ledger: ReadLedger, commits: SqliteCommits, published: int) -> Iterator[bytes]:
    yield from ledger.log.read(0, published, size=published)
    for first, data in commits.pending():
        yield from parse_bundle(data, None)[max(0, published - first) :]


def _counted(entries: Iterator[bytes], total: int, progress: Progress) -> Iterator[bytes]:
    for count, entry in enumerate(entries, 1):
        yield entry
        if not count % 1000 or count == total:
            progress(count, total)
