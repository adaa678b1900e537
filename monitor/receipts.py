"""What is remembered of a ledger that is followed by its hub's receipts: how far they were asked for, and which are missing."""

from collections.abc import Collection, Iterable
from typing import Any

from monitor.database import Database

SCHEMA = """
CREATE TABLE listings(log TEXT PRIMARY KEY, asked INTEGER NOT NULL, listed INTEGER NOT NULL) STRICT;
CREATE TABLE unproven(log TEXT NOT NULL, number INTEGER NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (log, number))
    STRICT, WITHOUT ROWID;
"""
MAX_ASKED_AGAIN = 1000
"""Missing receipts that are asked for again at a look: those that are missing longest."""


class Receipts:
    """The receipts in the file of a monitor. What takes ``execute`` is part of somebody's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def asked(self, log: str) -> int:
        """Return the number up to which receipts were asked for: each before it is proven, or is missing."""
        row = self._database.row("SELECT asked FROM listings WHERE log = ?", log)
        return 0 if row is None else int(row[0])

    def listed(self, log: str) -> int:
        """Return the most entries that the hub ever said it has."""
        row = self._database.row("SELECT listed FROM listings WHERE log = ?", log)
        return 0 if row is None else int(row[0])

    def proven(self, log: str) -> int:
        """Return how many entries are proven to be logged."""
        row = self._database.row("SELECT count(*) FROM unproven WHERE log = ?", log)
        return self.asked(log) - int(row[0])

    def missing(self, log: str, *, limit: int = MAX_ASKED_AGAIN) -> dict[int, int]:
        """Return the numbers without a proven receipt, and since when in POSIX seconds; the longest first."""
        return dict(
            self._database.rows(
                "SELECT number, since FROM unproven WHERE log = ? ORDER BY since, number LIMIT ?", log, limit
            )
        )

    def list_up_to(self, log: str, listed: int) -> None:
        """Remember how many entries the hub says it has; that never becomes less here."""
        with self._database.transaction() as execute:
            execute(
                "INSERT INTO listings VALUES (?, 0, ?) ON CONFLICT(log) DO UPDATE SET listed = max(listed, excluded.listed)",
                (log, listed),
            )

    def keep(
        self, execute: Any, log: str, *, asked: int, proven: Collection[int], missing: Iterable[int], now: int
    ) -> None:
        """Remember what became of some numbers, inside the transaction that the caller has begun."""
        execute("UPDATE listings SET asked = max(asked, ?) WHERE log = ?", (asked, log))
        for number in proven:
            execute("DELETE FROM unproven WHERE log = ? AND number = ?", (log, number))
        for number in missing:
            execute("INSERT OR IGNORE INTO unproven VALUES (?, ?, ?)", (log, number, now))
