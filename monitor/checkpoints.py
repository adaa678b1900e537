"""Every signed checkpoint that was ever seen of a log, and which of them have the root of the replayed entries."""

from dataclasses import dataclass

from monitor.database import Database

MAX_TREE_SIZE = (1 << 63) - 1
SCHEMA = """
CREATE TABLE checkpoints(
    log TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL, seen_at INTEGER NOT NULL,
    verified INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (log, size, root)) STRICT, WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenCheckpoint:
    """A signed checkpoint as it was seen. ``verified``: its root is that of the replayed entries."""

    size: int
    root: bytes
    note: bytes
    seen_at: int
    verified: bool


class Checkpoints:
    """The signed checkpoints of all logs. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def saw(self, log: str, *, size: int, root: bytes, note: bytes, now: int) -> None:
        """Remember a signed checkpoint, before anything is decided about it."""
        with self._database.transaction() as execute:
            execute(
                "INSERT OR IGNORE INTO checkpoints VALUES (?, ?, ?, ?, ?, 0)", (log, size, root, note, now)
            )

    def mark_verified(self, log: str, *, size: int, root: bytes) -> None:
        """Remember that the root of a signed checkpoint is that of the replayed entries."""
        with self._database.transaction() as execute:
            execute(
                "UPDATE checkpoints SET verified = 1 WHERE log = ? AND size = ? AND root = ?",
                (log, size, root),
            )

    def between(self, log: str, *, least: int = 0, most: int = MAX_TREE_SIZE) -> list[SeenCheckpoint]:
        """Return the signed checkpoints from one size to another, both included, smallest first."""
        rows = self._database.rows(
            "SELECT size, root, note, seen_at, verified FROM checkpoints WHERE log = ? AND size BETWEEN ? AND ? "
            "ORDER BY size, seen_at",
            log,
            least,
            most,
        )
        return [
            SeenCheckpoint(size=size, root=root, note=note, seen_at=seen_at, verified=bool(verified))
            for size, root, note, seen_at, verified in rows
        ]

    def count(self, log: str, *, least: int, most: int = MAX_TREE_SIZE) -> int:
        """Return how many signed checkpoints are remembered from one size to another, both included."""
        row = self._database.row(
            "SELECT count(*) FROM checkpoints WHERE log = ? AND size BETWEEN ? AND ?", log, least, most
        )
        return int(row[0])

    def largest(self, log: str) -> int:
        """Return the largest size that the log ever signed for us, 0 where it signed nothing."""
        row = self._database.row("SELECT max(size) FROM checkpoints WHERE log = ?", log)
        return int(row[0] or 0)

    def began_at(self, log: str) -> int:
        """Return when the first checkpoint of a log was seen: that of the pin, where it is followed from one."""
        row = self._database.row("SELECT min(seen_at) FROM checkpoints WHERE log = ?", log)
        return int(row[0] or 0)

    def newest_verified(self, log: str, *, most: int = MAX_TREE_SIZE) -> SeenCheckpoint | None:
        """Return the largest signed checkpoint, of at most some size, whose root is that of the replayed entries."""
        row = self._database.row(
            "SELECT size, root, note, seen_at FROM checkpoints WHERE log = ? AND verified = 1 AND size <= ? ORDER BY size DESC LIMIT 1",
            log,
            most,
        )
        return row and SeenCheckpoint(size=row[0], root=row[1], note=row[2], seen_at=row[3], verified=True)
