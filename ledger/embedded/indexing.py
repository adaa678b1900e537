"""Makes the index of a ledger again, or compares it with what the log gives (``hubledger index``)."""

import functools
import pathlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ledger.embedded.directory import ReadLedger, open_for_reading
from ledger.embedded.index_check import index_problems
from ledger.errors import CorruptError
from ledger.index import Index, Rows
from ledger.index.staging import Staged, Staging, build
from ledger.log.lock import writer_lock
from ledger.log.published import PublishedLog
from ledger.log.replay import replay
from ledger.storage.directory import DirectoryObjects
from ledger.storage.evidence import Evidence
from ledger.storage.sqlite import SqliteCommits
from ledger.tlog.tiles import TILE_WIDTH, EntryBundle, parse_bundle

if TYPE_CHECKING:
    from ledger.embedded.remote import AcceptedLog

Progress = Callable[[int, int], None]


def rebuild_index(directory: pathlib.Path, *, progress: Progress, workers: int | None = None) -> int:
    """Make the index again beside the old one and put it in its place; returns how many leaves it mirrors."""
    ledger = open_for_reading(directory)
    layout = ledger.layout
    with (
        writer_lock(layout.root / "lock"),
        tempfile.TemporaryDirectory(prefix="hubledger-index-") as folder,
    ):
        if ledger.accepted is not None:
            _keep_statements(ledger, ledger.accepted)
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


def _keep_statements(ledger: ReadLedger, accepted: "AcceptedLog") -> None:
    from ledger.embedded.remote_audit import keep_statements

    keep_statements(accepted, Evidence(DirectoryObjects(ledger.layout.evidence, file_mode=0o600)))


def check_index(
    directory: pathlib.Path, *, progress: Progress, workers: int | None = None
) -> tuple[int, list[str]]:
    """Compare the index with what the log gives; returns how many leaves, and a sentence for each difference.

    A writer may go on meanwhile.
    """
    ledger = open_for_reading(directory)
    least = ledger.size()
    with tempfile.TemporaryDirectory(prefix="hubledger-index-") as folder:
        leaves = _stage(directory, pathlib.Path(folder), progress, workers)
        return leaves, index_problems(ledger, pathlib.Path(folder), leaves, least=least)


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
    if ledger.accepted is not None:
        from ledger.embedded.remote_audit import stage_accepted

        return stage_accepted(ledger.accepted, folder, progress)
    published = ledger.log.checkpoint().checkpoint.size
    commits = SqliteCommits(ledger.layout.commits, read_only=True)
    try:
        read, done = _Read(folder), 0
        size = commits.load().size
        for count in replay(functools.partial(open_published, directory), published, read, workers=workers):
            done += count
            progress(done, size)
        with commits.snapshot():
            done += read.stage(done, read_tail(ledger, commits, done))
        progress(done, done)
        return done
    finally:
        commits.close()


def _remove(path: pathlib.Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def open_published(directory: pathlib.Path) -> PublishedLog:
    """Open the public log of a ledger, for a worker process."""
    return open_for_reading(directory).log


def read_tail(ledger: ReadLedger, commits: SqliteCommits, start: int) -> list[bytes]:
    """Return every durable entry from ``start`` on, published since or waiting, in a snapshot of the commit store.

    Raises:
        CorruptError: the commit store has another number of entries than it says.
    """
    state = commits.load()
    tail = [*ledger.log.read(start, state.published_size, size=state.published_size)]
    for first, data in commits.pending():
        tail += parse_bundle(data, None)[max(0, start + len(tail) - first) :]
    if start + len(tail) != state.size:
        raise CorruptError("size of the commit store", expected=start + len(tail), actual=state.size)
    return tail
