"""CommitStore in one SQLite file: the truth about what was accepted.

What it keeps of event ids and heads is ``HeadStore``'s. The file must never be restored without the check of
``ledger.log.freshness``: an older one could sign a second history.
"""

import pathlib
from collections.abc import Iterator

from ledger.errors import CorruptError
from ledger.storage import Batch, LogState
from ledger.storage.heads import HeadStore, event_key, reading

__all__ = ["SqliteCommits", "event_key"]

_SCHEMA = """
CREATE TABLE log_state(
    id INTEGER PRIMARY KEY CHECK (id = 1),
    size INTEGER NOT NULL, root BLOB NOT NULL, frontier BLOB NOT NULL,
    target_size INTEGER NOT NULL, target_root BLOB NOT NULL,
    signed_note BLOB NOT NULL, published_size INTEGER NOT NULL,
    CHECK (published_size <= target_size AND target_size <= size)
) STRICT;
CREATE TABLE batches(first INTEGER PRIMARY KEY, count INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
"""
FOLD_AT = 65_536
"""Recent events that are folded into their table at once: about 50 MB of memory with their heads."""


class SqliteCommits(HeadStore):
    """See ``CommitStore`` for the contract. Not thread-safe: the log calls it under its writer lock."""

    version = 2

    @classmethod
    def create(cls, path: pathlib.Path, state: LogState) -> "SqliteCommits":
        """Make the file with its first state. Raises WriteError, also when it exists."""
        cls._create(
            path,
            _SCHEMA,
            (
                "INSERT INTO log_state VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
                (
                    state.size,
                    state.root,
                    b"".join(state.frontier),
                    state.target_size,
                    state.target_root,
                    state.signed_note,
                    state.published_size,
                ),
            ),
        )
        return cls(path)

    def _fold_at(self) -> int:
        return FOLD_AT

    def load(self) -> LogState:
        """Return the state row."""
        with reading("log_state"):
            row = self._connection.execute(
                "SELECT size, root, frontier, target_size, target_root, signed_note, published_size FROM log_state"
            ).fetchone()
        if row is None or len(row[1]) != 32 or len(row[2]) % 32 or len(row[4]) != 32:
            raise CorruptError("log state", expected="one row with 32-byte hashes", actual=row)
        peaks = tuple(row[2][i : i + 32] for i in range(0, len(row[2]), 32))
        return LogState(
            size=row[0],
            root=row[1],
            frontier=peaks,
            target_size=row[3],
            target_root=row[4],
            signed_note=row[5],
            published_size=row[6],
        )

    def commit(self, batch: Batch) -> None:
        """Store a batch in one transaction."""
        with self._moving(batch.first, batch.events, batch.heads) as execute:
            execute("INSERT INTO batches VALUES (?, ?, ?)", (batch.first, batch.count, batch.data))
            changed = execute(
                "UPDATE log_state SET size = ?, root = ?, frontier = ? WHERE size = ?",
                (batch.first + batch.count, batch.root, b"".join(batch.frontier), batch.first),
            ).rowcount
            if changed != 1:
                raise CorruptError(
                    "commit", expected=f"a stored size of {batch.first}", actual="another size"
                )

    def save_publication(self, state: LogState) -> None:
        """Store how far publishing is."""
        with self._transaction() as execute:
            execute(
                "UPDATE log_state SET target_size = ?, target_root = ?, signed_note = ?, published_size = ?",
                (state.target_size, state.target_root, state.signed_note, state.published_size),
            )
            execute("DELETE FROM batches WHERE first + count <= ?", (state.published_size,))
        self._certain = True

    def pending(self) -> Iterator[tuple[int, bytes]]:
        """Yield batches that still wait for their tiles."""
        with reading("batches"):
            # Not `yield from`: that closes the cursor when nobody asks for more, also after `close` took its file away.
            for row in self._connection.execute("SELECT first, data FROM batches ORDER BY first"):  # noqa: UP028
                yield row
