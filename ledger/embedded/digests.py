"""Keeps the digest index of a ledger's directory up to date, makes it again, and asks it."""

import contextlib
import logging
import pathlib
import tempfile
from collections.abc import Callable, Iterator

from ledger.digests import DigestIndex, ReadManifest, differences
from ledger.embedded.directory import open_for_reading
from ledger.embedded.opening import OpenLedger
from ledger.errors import LedgerError
from ledger.index.statements import StatementIndex, statement_differences
from ledger.log.lock import writer_lock
from ledger.storage.directory import DirectoryObjects
from ledger.storage.evidence import Evidence
from ledger.storage.sqlite import SqliteCommits
from ledger.tlog.tiles import parse_bundle

_logger = logging.getLogger(__name__)
Progress = Callable[[int, int], None]


def mirror_digests(ledger: OpenLedger) -> None:
    """Bring the digest index up to the log. It is derived: a failure must not fail what is recorded."""
    try:
        start, known = ledger.digests.position(), ledger.recorder.take_named()
        if known is not None and start <= known.start:
            start = _catch_up(ledger, start, known.start)
            start = ledger.digests.add(known.leaves, start, _reader(ledger.evidence))
        _catch_up(ledger, start, ledger.log.size)
        if ledger.instance is not None:
            _mirror_statements(ledger)
    except LedgerError as error:
        _logger.warning("the digest index is behind the log (events are recorded): %s", error)


def _catch_up(ledger: OpenLedger, start: int, end: int) -> int:
    """Mirror what is read from the log: only what was not handed over when it was recorded."""
    if start >= end:
        return start
    return ledger.digests.catch_up(ledger.log.read(start, end), start, _reader(ledger.evidence), own=True)


def _mirror_statements(ledger: OpenLedger) -> None:
    """Bring the statement index of a ledger in Rekor up to what was accepted."""
    with contextlib.closing(StatementIndex(ledger.layout.statements)) as index:
        start = index.position()
        if start < ledger.log.size:
            index.catch_up(ledger.log.read(start, ledger.log.size), start)


def _reader(evidence: Evidence) -> ReadManifest:
    """Read manifests that are here; to find out that one is not takes one look."""
    return lambda sha256: evidence.read(sha256) if evidence.holds(sha256) else iter(())


def rebuild_digests(directory: pathlib.Path, *, progress: Progress) -> int:
    """Make the digest index again beside the old one and put it in its place; returns how many leaves it mirrors."""
    reader = open_for_reading(directory)
    layout = reader.layout
    with writer_lock(layout.root / "lock"):
        fresh = layout.digests.with_name(".digests.db.new")
        leaves = _mirror(directory, fresh, progress)
        for suffix in ("-wal", "-shm"):
            layout.digests.with_name(layout.digests.name + suffix).unlink(missing_ok=True)
        fresh.replace(layout.digests)
        if reader.accepted is not None:
            # If we stop here, the index of statements is the old one; it is derived as well.
            _put_in_place(directory, layout.statements, reader.accepted.size())
    return leaves


def _put_in_place(directory: pathlib.Path, path: pathlib.Path, size: int) -> None:
    """Make the statement index again beside the old one and put it in its place."""
    fresh = path.with_name(f".{path.name}.new")
    _make_statements(directory, fresh, size)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    fresh.replace(path)


def _make_statements(directory: pathlib.Path, path: pathlib.Path, size: int) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    with contextlib.closing(StatementIndex(path)) as index:
        ledger = open_for_reading(directory)
        index.catch_up(ledger.read(0, size, size=size), 0)


def check_digests(directory: pathlib.Path, *, progress: Progress) -> list[str]:
    """Compare the digest index with one made afresh; returns a sentence for each difference."""
    reader = open_for_reading(directory)
    layout = reader.layout
    with tempfile.TemporaryDirectory(prefix="hubledger-digests-") as folder:
        fresh = pathlib.Path(folder) / "digests.db"
        _mirror(directory, fresh, progress)
        stored, rebuilt = DigestIndex(layout.digests, read_only=True), DigestIndex(fresh)
        try:
            found = list(differences(stored, rebuilt))
        finally:
            stored.close()
            rebuilt.close()
        return found + (_check_statements(directory, folder) if reader.accepted is not None else [])


def _check_statements(directory: pathlib.Path, folder: str) -> list[str]:
    """Compare the statement index with one made afresh, as far as it goes: what it lacks is looked for in the outbox."""
    path = open_for_reading(directory).layout.statements
    with contextlib.ExitStack() as stack:
        stored = StatementIndex(path, read_only=True)
        stack.callback(stored.close)
        fresh = pathlib.Path(folder) / path.name
        _make_statements(directory, fresh, stored.position())
        rebuilt = StatementIndex(fresh, read_only=True)
        stack.callback(rebuilt.close)
        return list(statement_differences(stored, rebuilt))


def _mirror(directory: pathlib.Path, path: pathlib.Path, progress: Progress) -> int:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    evidence = Evidence(DirectoryObjects(open_for_reading(directory).layout.evidence))
    index = DigestIndex(path)
    try:
        return index.catch_up(durable_entries(directory, progress=progress), 0, evidence.read)
    finally:
        index.close()


def durable_entries(directory: pathlib.Path, *, progress: Progress) -> Iterator[bytes]:
    """Yield every durable entry of a ledger, published or waiting; no lock is taken."""
    ledger = open_for_reading(directory)
    if ledger.accepted is not None:
        yield from ledger.accepted.read(0, ledger.accepted.size())
        return
    commits = SqliteCommits(ledger.layout.commits, read_only=True)
    try:
        size = commits.load().size
        published = ledger.log.checkpoint().checkpoint.size
        for done, entry in enumerate(ledger.log.read(0, published, size=published), 1):
            yield entry
            if not done % 1000:
                progress(done, size)
        for first, data in commits.pending():
            yield from parse_bundle(data, None)[max(0, published - first) :]
        progress(size, size)
    finally:
        commits.close()
