"""Which accepted entry of a ledger in Rekor is meant by a digest: Rekor keeps nothing else of a statement.

Two digests lead to an entry: the SHA-256 of its statement, which the evidence store and later statements call it by, and that
of the statement's DSSE pre-authentication encoding, which Rekor has. Derived from the outbox, and made again with the index.
"""

import hashlib
import itertools
from collections.abc import Iterator
from typing import Any

from ledger.encoding import parse_audited_json, parse_base64
from ledger.entry import pae
from ledger.storage.mirror import Mirror, MirrorForm

_BATCH = 500


def digests_of(entry: bytes) -> tuple[bytes, bytes]:
    """Return the SHA-256 of the statement of an accepted entry, and that of its pre-authentication encoding."""
    payload = parse_base64(parse_audited_json(entry)["payload"], what="payload of an accepted entry")
    return hashlib.sha256(payload).digest(), hashlib.sha256(pae(payload)).digest()


class StatementIndex(Mirror):
    """The file. One process writes it, any number read."""

    FORM = MirrorForm(
        name="statement index",
        tables="""
CREATE TABLE statements(sha256 BLOB PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE logged(pae_sha256 BLOB PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;
""",
        version=1,
        rebuild="Run `hubledger index rebuild`: it holds nothing that the outbox does not",
        unharmed="accepted events",
    )

    def by_statement(self, sha256: bytes) -> int | None:
        """Return the number of the entry whose statement has this SHA-256, or None."""
        return self._number("SELECT number FROM statements WHERE sha256 = ?", sha256)

    def by_logged(self, pae_sha256: bytes) -> int | None:
        """Return the number of the entry that Rekor has under this digest, or None."""
        return self._number("SELECT number FROM logged WHERE pae_sha256 = ?", pae_sha256)

    def catch_up(self, entries: Iterator[bytes], start: int) -> int:
        """Mirror entries from ``start`` (the position) on; returns the new position. Raises WriteError."""
        while run := list(itertools.islice(entries, _BATCH)):
            self._add(start, [digests_of(entry) for entry in run])
            start += len(run)
        return start

    def dump(self) -> Iterator[tuple[Any, ...]]:
        """Yield every row in key order, for comparison."""
        yield from self._connection.execute("SELECT 'statements', * FROM statements ORDER BY 2")
        yield from self._connection.execute("SELECT 'logged', * FROM logged ORDER BY 2")

    def _add(self, start: int, digests: list[tuple[bytes, bytes]]) -> None:
        with self._advancing(start, len(digests)):
            # The first entry with a digest keeps it.
            self._connection.executemany(
                "INSERT OR IGNORE INTO statements VALUES (?, ?)",
                [(sha256, at) for at, (sha256, _) in enumerate(digests, start)],
            )
            self._connection.executemany(
                "INSERT OR IGNORE INTO logged VALUES (?, ?)",
                [(logged, at) for at, (_, logged) in enumerate(digests, start)],
            )

    def _number(self, statement: str, digest: bytes) -> int | None:
        rows = self._all(statement, digest)
        return int(rows[0][0]) if rows else None


def statement_differences(stored: StatementIndex, rebuilt: StatementIndex) -> Iterator[str]:
    """Yield a sentence where the two do not say the same."""
    mine, true = stored.dump(), rebuilt.dump()
    while (pair := (next(mine, None), next(true, None))) != (None, None):
        if pair[0] != pair[1]:
            yield f"statements: expected {_show(pair[1])}, got {_show(pair[0])}"
            return


def _show(row: tuple[Any, ...] | None) -> str:
    return "no row" if row is None else f"{row[0]} {row[1].hex()} as number {row[2]}"
