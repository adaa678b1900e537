"""Which statements name which digest, and which manifests hold which file: the part of the mirror that needs evidence.

Derived, as ``ledger.index`` is: from the log and the manifests in the evidence store, and made again with it. What is
withdrawn is taken out when the statement that says so is mirrored. A position is a ``leaf_index``.
"""

import contextlib
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.encoding import parse_audited_json, parse_base64
from ledger.entry import MapCommit, parse_entry
from ledger.errors import LedgerError
from ledger.event import parse_statement
from ledger.event.digests import NamedDigest, Use, named_digests, named_in_event
from ledger.event.schemas import STATEMENTS, VERIFICATION_EVENT
from ledger.manifest import ManifestFile, read_items
from ledger.storage.mirror import Mirror, MirrorForm

_BATCH = 500
_TABLES = {"named": "1, 2, 3", "manifests": "1", "files": "1, 2"}

ReadManifest = Callable[[bytes], Iterator[bytes]]
"""Yields the bytes of a manifest, its digest checked at the end; raises a LedgerError where it cannot."""


@dataclass(frozen=True, slots=True)
class Naming:
    """One statement that names a digest, and as what."""

    leaf_index: int
    use: Use


class DigestIndex(Mirror):
    """The file. One process writes it, any number read."""

    FORM = MirrorForm(
        name="digest index",
        tables="""
CREATE TABLE named(
    sha256 BLOB NOT NULL, leaf_index INTEGER NOT NULL, use TEXT NOT NULL,
    PRIMARY KEY (sha256, leaf_index, use)
) STRICT, WITHOUT ROWID;
CREATE TABLE manifests(id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE files(
    sha256 BLOB NOT NULL, manifest INTEGER NOT NULL, PRIMARY KEY (sha256, manifest)
) STRICT, WITHOUT ROWID;
""",
        version=1,
        rebuild="Run `hubledger index rebuild`: it holds nothing that log and evidence do not",
        unharmed="recorded events",
    )

    def __init__(self, path: pathlib.Path, *, read_only: bool = False) -> None:
        super().__init__(path, read_only=read_only)
        self._policies = set[bytes]()
        """Policies that are named already, as far as that was asked."""

    def namings(self, sha256: bytes) -> list[Naming]:
        """Return the statements that name a digest, in log order; of a policy the first one only."""
        rows = self._all("SELECT leaf_index, use FROM named WHERE sha256 = ? ORDER BY 1, 2", sha256)
        return [Naming(leaf_index, Use(use)) for leaf_index, use in rows]

    def manifests_with(self, file_sha256: bytes) -> list[bytes]:
        """Return the digests of the manifests that list a file with this content, oldest first."""
        statement = (
            "SELECT manifests.sha256 FROM files JOIN manifests ON manifests.id = files.manifest "
            "WHERE files.sha256 = ? ORDER BY manifests.id"
        )
        return [row[0] for row in self._all(statement, file_sha256)]

    def catch_up(
        self, entries: Iterator[bytes], start: int, read_manifest: ReadManifest, *, own: bool = False
    ) -> int:
        """Mirror entries from ``start`` (the position) on; returns the new position. Raises WriteError.

        ``own``: they were parsed strictly when they were appended, and are not checked again.
        """
        named = named_in_own if own else named_in
        while run := list(itertools.islice(entries, _BATCH)):
            start = self.add([named(entry) for entry in run], start, read_manifest)
        return start

    def add(self, leaves: Sequence[Sequence[NamedDigest]], start: int, read_manifest: ReadManifest) -> int:
        """Mirror what the leaves from ``start`` (the position) on name; returns the new position. Raises WriteError."""
        for at in range(0, len(leaves), _BATCH):
            self._add(start + at, leaves[at : at + _BATCH], read_manifest)
        return start + len(leaves)

    def dump(self, table: str) -> Iterator[tuple[Any, ...]]:
        """Yield a table's rows in key order, for comparison."""
        yield from self._connection.execute(f"SELECT * FROM {table} ORDER BY {_TABLES[table]}")  # noqa: S608 - a fixed name

    def _add(self, start: int, leaves: Sequence[Sequence[NamedDigest]], read_manifest: ReadManifest) -> None:
        with self._advancing(start, len(leaves)):
            policies = self._insert(start, leaves, read_manifest)
        self._policies |= policies

    def _insert(
        self, start: int, leaves: Sequence[Sequence[NamedDigest]], read_manifest: ReadManifest
    ) -> set[bytes]:
        """Insert the rows of a run of leaves, those of one table together; returns the policies that are named now.

        Nearly every event names the same policy: of one the first statement is enough.
        """
        policies = set[bytes]()
        rows: list[tuple[bytes, int, str]] = []
        manifests: dict[bytes, None] = {}
        for leaf_index, named in enumerate(leaves, start):
            for each in named:
                if each.use is Use.POLICY:
                    if each.sha256 in self._policies or each.sha256 in policies:
                        continue
                    policies.add(each.sha256)
                    if self._names_policy(each.sha256):
                        continue
                elif each.use is Use.MANIFEST:
                    manifests[each.sha256] = None
                elif each.use is Use.ERASED:  # only what was here before: in log order
                    self._add_manifests(manifests, read_manifest)
                    manifests = {}
                    self._drop_files(each.sha256)
                rows.append((each.sha256, leaf_index, each.use.value))
        self._connection.executemany("INSERT OR IGNORE INTO named VALUES (?, ?, ?)", sorted(rows))
        self._add_manifests(manifests, read_manifest)
        return policies

    def _names_policy(self, sha256: bytes) -> bool:
        statement = "SELECT 1 FROM named WHERE sha256 = ? AND use = ? LIMIT 1"
        return self._connection.execute(statement, (sha256, Use.POLICY.value)).fetchone() is not None

    def _drop_files(self, manifest: bytes) -> None:
        self._connection.execute(
            "DELETE FROM files WHERE manifest = (SELECT id FROM manifests WHERE sha256 = ?)", (manifest,)
        )

    def _add_manifests(self, manifests: Iterable[bytes], read_manifest: ReadManifest) -> None:
        """Add the files of manifests, of each once; one that cannot be read has none: the audit says why."""
        execute = self._connection.execute
        wanted = list(manifests)
        marks = ",".join("?" * len(wanted))
        known = {row[0] for row in execute(f"SELECT sha256 FROM manifests WHERE sha256 IN ({marks})", wanted)}  # noqa: S608 - marks only
        new = [sha256 for sha256 in wanted if sha256 not in known]
        (last,) = execute("SELECT coalesce(max(id), 0) FROM manifests").fetchone()
        self._connection.executemany("INSERT INTO manifests VALUES (?, ?)", enumerate(new, last + 1))
        for number, sha256 in enumerate(new, last + 1):
            with contextlib.suppress(LedgerError, StopIteration):
                chunks = read_manifest(sha256)
                self._add_files(itertools.chain((next(chunks),), chunks), number)

    def _add_files(self, chunks: Iterator[bytes], manifest: int) -> None:
        """Add the files of one manifest, all or none. Raises what reading it raises."""
        connection = self._connection
        connection.execute("SAVEPOINT manifest")
        try:
            connection.executemany("INSERT OR IGNORE INTO files VALUES (?, ?)", _file_rows(chunks, manifest))
        except LedgerError:
            connection.execute("ROLLBACK TO manifest")
            raise
        finally:
            connection.execute("RELEASE manifest")


def differences(stored: DigestIndex, rebuilt: DigestIndex) -> Iterator[str]:
    """Yield one sentence for each table whose rows differ; nothing when the two say the same."""
    for table in _TABLES:
        mine, true = stored.dump(table), rebuilt.dump(table)
        while (pair := (next(mine, None), next(true, None))) != (None, None):
            if pair[0] != pair[1]:
                yield f"{table}: expected {_show(pair[1])}, got {_show(pair[0])}"
                break
    if stored.position() != rebuilt.position():
        yield f"position: expected {rebuilt.position()} leaves, got {stored.position()}"


def _show(row: Iterable[Any] | None) -> str:
    if row is None:
        return "no row"
    return ", ".join(each.hex() if isinstance(each, bytes) else str(each) for each in row)


_EVENT_FIELDS = (
    STATEMENTS[VERIFICATION_EVENT].required.keys() | STATEMENTS[VERIFICATION_EVENT].optional.keys()
)


def named_in_own(entry: bytes) -> list[NamedDigest]:
    """Return what ``named_in`` does, of an entry that was found sound before: in a fifth of the time."""
    try:
        statement = parse_audited_json(parse_base64(parse_audited_json(entry)["payload"]))
        predicate = statement["predicate"]
        if statement["predicateType"] == VERIFICATION_EVENT and predicate.keys() <= _EVENT_FIELDS:
            return list(named_in_event(predicate))
    except (LedgerError, LookupError, TypeError, AttributeError, ValueError):
        pass
    return named_in(entry)


def named_in(entry: bytes) -> list[NamedDigest]:
    """Return what an entry names; nothing for one that is not ours to understand."""
    try:
        parsed = parse_entry(entry)
        return [] if isinstance(parsed, MapCommit) else list(named_digests(parse_statement(parsed.payload)))
    except LedgerError:
        return []


def _file_rows(chunks: Iterator[bytes], manifest: int) -> Iterator[tuple[bytes, int]]:
    for item in read_items(chunks):
        if isinstance(item, ManifestFile):
            yield item.sha256, manifest
