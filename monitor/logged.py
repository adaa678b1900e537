"""What is remembered of a ledger in Rekor: where each statement of the hub is logged, and which evidence is which statement."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from monitor.database import Database

SCHEMA = """
CREATE TABLE logged(
    log TEXT NOT NULL, digest BLOB NOT NULL, shard INTEGER NOT NULL, leaf INTEGER NOT NULL, keyid TEXT NOT NULL,
    state TEXT NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (log, digest),
    CHECK (state IN ('missing', 'waiting', 'done'))) STRICT, WITHOUT ROWID;
CREATE INDEX unsettled ON logged(log, shard, leaf) WHERE state != 'done';
CREATE INDEX placed ON logged(log, shard, leaf);
CREATE TABLE pieces(log TEXT NOT NULL, sha256 BLOB NOT NULL, digest BLOB, PRIMARY KEY (log, sha256)) STRICT, WITHOUT ROWID;
CREATE INDEX statements ON pieces(log, digest) WHERE digest IS NOT NULL;
"""
MAX_UNSETTLED = 10_000
"""Entries that are looked at again at a time: those before the others in the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEntry:
    """The lowest place at which the hub logged what has this digest.

    ``state`` is ``missing`` (nobody has the statement), ``waiting`` (for the one before it in a history) or ``done``; ``since``
    is when it was first seen.
    """

    digest: bytes
    shard: int
    leaf: int
    keyid: str
    state: str
    since: int


class Logged:
    """The entries in the file of a monitor. What takes ``execute`` is part of somebody's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(self, log: str, digests: Collection[bytes]) -> set[bytes]:
        """Return those of these digests that were logged before."""
        return {
            digest
            for (digest,) in self._database.select(
                "SELECT digest FROM logged WHERE log = ? AND digest", log, sorted(digests)
            )
        }

    def unsettled(self, log: str) -> list[LoggedEntry]:
        """Return the entries that are not done, in log order."""
        rows = self._database.rows(
            "SELECT digest, shard, leaf, keyid, state, since FROM logged WHERE log = ? AND state != 'done' "
            "ORDER BY shard, leaf LIMIT ?",
            log,
            MAX_UNSETTLED,
        )
        return [_entry(row) for row in rows]

    def last(self, log: str) -> tuple[int, int] | None:
        """Return the highest place of an entry: shard and index."""
        row: tuple[int, int] | None = self._database.row(
            "SELECT shard, leaf FROM logged WHERE log = ? ORDER BY shard DESC, leaf DESC LIMIT 1", log
        )
        return row

    def done(
        self, log: str, start: tuple[int, int], end: tuple[int, int], *, limit: int
    ) -> list[LoggedEntry]:
        """Return entries that are done from one place to before another, in log order."""
        rows = self._database.rows(
            "SELECT digest, shard, leaf, keyid, state, since FROM logged WHERE log = ? AND (shard, leaf) >= (?, ?) "
            "AND (shard, leaf) < (?, ?) AND state = 'done' ORDER BY shard, leaf LIMIT ?",
            log,
            *start,
            *end,
            limit,
        )
        return [_entry(row) for row in rows]

    def keep(self, log: str, entries: Iterable[LoggedEntry]) -> None:
        """Remember entries, inside the transaction that the caller has begun."""
        self._database.execute_many(
            "INSERT OR REPLACE INTO logged VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (log, each.digest, each.shard, each.leaf, each.keyid, each.state, each.since)
                for each in entries
            ],
        )

    # Evidence

    def pieces(self, log: str, prefix: int) -> set[bytes]:
        """Return the evidence that was looked at and whose digest begins with this byte."""
        after = bytes((prefix + 1,)) if prefix < 255 else b"\xff" * 33
        rows = self._database.rows(
            "SELECT sha256 FROM pieces WHERE log = ? AND sha256 >= ? AND sha256 < ?",
            log,
            bytes((prefix,)),
            after,
        )
        return {sha256 for (sha256,) in rows}

    def keep_pieces(self, log: str, pieces: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Remember evidence that was looked at, and as which statement it would be logged."""
        rows = [(log, *each) for each in pieces]
        with self._database.transaction():
            self._database.execute_many("INSERT OR REPLACE INTO pieces VALUES (?, ?, ?)", rows)

    def statements(self, log: str, digests: Collection[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Yield digest and evidence of those statements that are there."""
        rows: Iterator[Any] = self._database.select(
            "SELECT digest, sha256 FROM pieces WHERE log = ? AND digest", log, sorted(digests)
        )
        yield from rows


def _entry(row: Any) -> LoggedEntry:
    digest, shard, leaf, keyid, state, since = row
    return LoggedEntry(digest=digest, shard=shard, leaf=leaf, keyid=keyid, state=state, since=since)
