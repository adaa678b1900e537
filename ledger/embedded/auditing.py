"""Replays a log and, of a ledger of ours, everything that hangs on it (``hubledger log audit``, ``index``)."""

import functools
import hashlib
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from ledger.client.trust import load_hub_key
from ledger.embedded import chains
from ledger.embedded.directory import ReadLedger, open_for_reading
from ledger.embedded.wording import plural
from ledger.entry import MapCommit, parse_entry, verify_entry
from ledger.errors import CorruptError, LedgerError, MalformedError, UsageError
from ledger.event import parse_statement
from ledger.index import Index, Rows
from ledger.index.staging import Staged, Staging, build, compare
from ledger.log.audit import Audited, audit
from ledger.log.fetch import fetch_from_folder, fetch_from_url
from ledger.log.local import writer_lock
from ledger.log.published import PublishedLog
from ledger.log.replay import replay
from ledger.storage.readonly import read_only_uri
from ledger.storage.sqlite import SqliteCommits, event_key
from ledger.tlog.signed_note import VerifierKey
from ledger.tlog.tiles import TILE_WIDTH, EntryBundle, parse_bundle

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
            (
                f"{plural(done.entries, 'leaf hash', 'leaf hashes')} against {plural(done.tiles, 'tile')}, "
                f"{plural(done.bundles, 'bundle')}, and the signed root"
            ),
            *more,
        ],
    }


@dataclass(slots=True)
class Examine:
    """Checks signatures and statements of a run of entries, and stages what they say of chains and for the index.

    Picklable: each process opens a staging file of its own when it gets its first run.
    """

    keys: Mapping[str, bytes]
    ledger: str
    folder: pathlib.Path
    _staging: Staging | None = field(default=None, init=False)

    def __call__(self, start: int, entries: Sequence[bytes]) -> dict[str, tuple[int, int]]:
        """Return the first and last leaf index of each hub key that signed. Raises, naming the leaf index."""
        rows = Rows(start)
        links: list[tuple[Any, ...]] = []
        events: list[tuple[bytes, int]] = []
        spans: dict[str, tuple[int, int]] = {}
        for at, entry in enumerate(entries, start):
            try:
                self._one(at, entry, rows, links, events, spans)
            except LedgerError as error:
                raise type(error)(
                    f"entry {at}: {error.what}",
                    expected=error.expected,
                    actual=error.actual,
                    next_step=error.next_step,
                ) from error
        if self._staging is None:
            self._staging = Staging(self.folder, more=chains.TABLES)
        self._staging.add(rows, (chains.INSERT_LINK, links), (chains.INSERT_EVENT, events))
        return spans

    def _one(  # noqa: PLR0917 - the four lists of one run
        self,
        at: int,
        entry: bytes,
        rows: Rows,
        links: list[tuple[Any, ...]],
        events: list[tuple[bytes, int]],
        spans: dict[str, tuple[int, int]],
    ) -> None:
        parsed = parse_entry(entry, leaf_index=at)
        if isinstance(parsed, MapCommit):
            rows.add(hashlib.sha256(entry).digest(), parsed)
            return
        verify_entry(parsed, _public_keys(tuple(sorted(self.keys.items()))))
        statement = parse_statement(parsed.payload)
        common = statement.common
        if common is None or common.ledger != self.ledger:
            raise MalformedError(
                "ledger of the statement", expected=self.ledger, actual=common.ledger if common else "none"
            )
        sha256 = hashlib.sha256(parsed.payload).digest()
        rows.add(sha256, statement)
        links += [(link.key, at, link.sequence, link.previous, sha256) for link in common.histories]
        events.append((event_key(common.recorded_by.id, common.event_id), at))
        spans[parsed.keyid] = (spans.get(parsed.keyid, (at, at))[0], at)


@functools.lru_cache(maxsize=4)
def _public_keys(keys: tuple[tuple[str, bytes], ...]) -> dict[str, ec.EllipticCurvePublicKey]:
    """Load hub keys once a process."""
    return {keyid: load_hub_key(spki) for keyid, spki in keys}


def audit_ledger(directory: pathlib.Path, *, workers: int | None, progress: Progress) -> dict[str, Any]:
    """Audit a ledger of ours: the log, every entry's signature, every chain, the commit store and the index.

    A writer may go on meanwhile: what it adds after the checkpoint that is audited is held against the chains too.

    Raises:
        CorruptError, ProofError, SignatureError, ChainError, MalformedError: what does not hold, and where.
    """
    ledger = open_for_reading(directory)
    checkpoint = ledger.log.checkpoint()
    size = checkpoint.checkpoint.size
    with tempfile.TemporaryDirectory(prefix="hubledger-audit-") as folder:
        examine = Examine(
            {key.keyid: key.spki for key in ledger.trust.hub_keys}, ledger.config.ledger, pathlib.Path(folder)
        )
        done = audit(
            functools.partial(_open_own, directory),
            checkpoint,
            examine=examine,
            found=functools.partial(_check_keys, ledger),
            progress=lambda count: progress(count, size),
            workers=workers,
        )
        heads, events, pending = _compare_commits(ledger, examine, size)
        leaves = _compare_index(ledger, pathlib.Path(folder), size + pending)
    return _report(
        done,
        [
            (
                f"{plural(done.entries, 'entry', 'entries')} signed by the hub's keys, each at a leaf index where its "
                "key counts"
            ),
            (
                f"{plural(heads, 'history', 'histories')} without a gap or fork, "
                f"{plural(events, 'event id')} used once"
            ),
            f"commit store: heads and event ids as replayed, {plural(pending, 'entry', 'entries')} durable and not yet published",
            f"index: {plural(leaves, 'leaf', 'leaves')}, as rebuilt",
        ],
    )


def _open_own(directory: pathlib.Path) -> PublishedLog:
    return open_for_reading(directory).log


def _check_keys(ledger: ReadLedger, spans: Mapping[str, tuple[int, int]]) -> None:
    """Key ranges have no holes: a key that counts at the first and at the last of its leaves counts between."""
    for keyid, span in spans.items():
        for leaf_index in span:
            ledger.trust.check_key(keyid, leaf_index)


def _compare_commits(ledger: ReadLedger, examine: Examine, size: int) -> tuple[int, int, int]:
    """Compare heads and event ids with the commit store, after replaying what came after the checkpoint.

    Returns how many histories, event ids, and entries after ``size`` there are.
    """
    commits = SqliteCommits(ledger.layout.commits, read_only=True)
    try:
        with commits.snapshot():
            commits.check()
            state = commits.load()
            waiting = [*ledger.log.read(size, state.published_size, size=state.published_size)]
            for first, data in commits.pending():
                waiting += parse_bundle(data, None)[max(0, size + len(waiting) - first) :]
            if size + len(waiting) != state.size:
                raise CorruptError(
                    "size of the commit store", expected=size + len(waiting), actual=state.size
                )
            _check_keys(ledger, examine(size, waiting))
            staged = Staged(examine.folder)
            try:
                return (
                    chains.compare_heads(staged, commits),
                    chains.compare_events(staged, commits),
                    len(waiting),
                )
            finally:
                staged.close()
    finally:
        commits.close()


def _compare_index(ledger: ReadLedger, folder: pathlib.Path, leaves: int) -> int:
    """Compare the index with what was staged of every leaf."""
    problems = _index_problems(ledger, folder, leaves)
    if problems:
        raise CorruptError(
            "index",
            expected="what the log says",
            actual="; ".join(problems),
            next_step="Run `hubledger index rebuild`",
        )
    return leaves


def _index_problems(ledger: ReadLedger, folder: pathlib.Path, leaves: int) -> list[str]:
    Index(ledger.layout.index, read_only=True).close()  # refuses what is no index at all
    staged = Staged(folder)
    try:
        return list(compare(staged, read_only_uri(ledger.layout.index), leaves))
    finally:
        staged.close()


# The index


def rebuild_index(directory: pathlib.Path, *, progress: Progress, workers: int | None = None) -> int:
    """Make the index again beside the old one and put it in its place; returns how many leaves it mirrors."""
    layout = open_for_reading(directory).layout
    with (
        writer_lock(layout.root / "lock"),
        tempfile.TemporaryDirectory(prefix="hubledger-index-") as folder,
    ):
        fresh = layout.index.with_name(".index.db.new")
        _remove(fresh)
        leaves = _stage(directory, pathlib.Path(folder), progress, workers)
        Index(fresh).close()
        staged = Staged(pathlib.Path(folder))
        try:
            build(staged, fresh, leaves)
        finally:
            staged.close()
        # If we stop here, the old index is in its place; it and the new one are derived.
        for suffix in ("-wal", "-shm"):
            layout.index.with_name(layout.index.name + suffix).unlink(missing_ok=True)
        fresh.replace(layout.index)
    return leaves


def check_index(
    directory: pathlib.Path, *, progress: Progress, workers: int | None = None
) -> tuple[int, list[str]]:
    """Compare the index with what the log gives; returns how many leaves, and a sentence for each difference."""
    with tempfile.TemporaryDirectory(prefix="hubledger-index-") as folder:
        leaves = _stage(directory, pathlib.Path(folder), progress, workers)
        return leaves, _index_problems(open_for_reading(directory), pathlib.Path(folder), leaves)


@dataclass(slots=True)
class _Read:
    """Reads a run of bundles of an audited log and stages its rows. Picklable, as ``Examine``."""

    folder: pathlib.Path
    _staging: Staging | None = field(default=None, init=False)

    def __call__(self, log: PublishedLog, bundles: list[EntryBundle]) -> int:
        return self.stage(
            bundles[0].index * TILE_WIDTH, [entry for bundle in bundles for entry in log.bundle(bundle)]
        )

    def stage(self, start: int, entries: Sequence[bytes]) -> int:
        """Stage the rows of entries; returns how many."""
        rows = Rows(start)
        for entry in entries:
            rows.add_audited(entry)
        if self._staging is None:
            self._staging = Staging(self.folder)
        self._staging.add(rows)
        return len(entries)


def _stage(directory: pathlib.Path, folder: pathlib.Path, progress: Progress, workers: int | None) -> int:
    """Stage the rows of every durable entry of a ledger, published or waiting; returns how many leaves."""
    ledger = open_for_reading(directory)
    published = ledger.log.checkpoint().checkpoint.size
    commits = SqliteCommits(ledger.layout.commits, read_only=True)
    try:
        read, done = _Read(folder), 0
        size = commits.load().size
        for count in replay(functools.partial(_open_own, directory), published, read, workers=workers):
            done += count
            progress(done, size)
        waiting: list[bytes] = []
        for first, data in commits.pending():
            waiting += parse_bundle(data, None)[max(0, done + len(waiting) - first) :]
        done += read.stage(done, waiting)
        progress(done, size)
        return done
    finally:
        commits.close()


def _remove(path: pathlib.Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
