"""Which watch rules were held against the past of a log, and up to where."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from monitor.database import Database

SCHEMA = """
CREATE TABLE rules(
    id TEXT PRIMARY KEY, log TEXT NOT NULL, at INTEGER NOT NULL, target INTEGER NOT NULL, newest INTEGER NOT NULL,
    done_at INTEGER) STRICT;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A rule that is being held against the past: entries from ``at`` up to ``target``, findings up to ``newest``."""

    id: str
    at: int
    target: int
    newest: int


class Replays:
    """The rules in the file of a monitor. What takes ``execute`` is part of somebody's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, log: str, ids: Collection[str], *, first: int, size: int, newest: int) -> None:
        """Note the rules of a log that are new, and forget those that are gone: what comes again is new again."""
        with self._database.transaction() as execute:
            known = {id_ for (id_,) in execute("SELECT id FROM rules WHERE log = ?", (log,))}
            for id_ in known - set(ids):
                execute("DELETE FROM rules WHERE id = ?", (id_,))
            for id_ in sorted(set(ids) - known):
                execute("INSERT INTO rules VALUES (?, ?, ?, ?, ?, NULL)", (id_, log, first, size, newest))

    def waiting(self, log: str) -> list[Replay]:
        """Return the rules whose past was not looked at whole."""
        rows = self._database.rows(
            "SELECT id, at, target, newest FROM rules WHERE log = ? AND done_at IS NULL ORDER BY id", log
        )
        return [Replay(id=id_, at=at, target=target, newest=newest) for id_, at, target, newest in rows]

    def moved(self, execute: Any, ids: Collection[str], to: int) -> None:
        """Remember how far the entries were read for these rules."""
        for id_ in ids:
            execute("UPDATE rules SET at = ? WHERE id = ?", (to, id_))

    def done(self, execute: Any, id_: str, now: int) -> None:
        """Remember that the past of a rule is told."""
        execute("UPDATE rules SET done_at = ? WHERE id = ?", (now, id_))
