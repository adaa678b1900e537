"""The outbox: which finding waits for which sink, how often it was tried, and when it is tried again."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from monitor.database import Database
from monitor.record import STORED, Stored, parse_stored

SCHEMA = """
CREATE TABLE outbox(
    finding INTEGER NOT NULL REFERENCES findings(number), sink TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt INTEGER NOT NULL, problem TEXT NOT NULL DEFAULT '', delivered_at INTEGER, PRIMARY KEY (finding, sink)
) STRICT, WITHOUT ROWID;
CREATE INDEX waiting ON outbox(sink, next_attempt) WHERE delivered_at IS NULL;
CREATE TABLE messages(sink TEXT NOT NULL, sent_at INTEGER NOT NULL) STRICT;
CREATE INDEX sent ON messages(sink, sent_at);
"""
LONGEST_WAIT = 86_400
"""Seconds after which a sink is asked again at the latest."""
_MESSAGES_SECONDS = 30 * 86_400
"""How long it is remembered when a message was handed over: as long as the longest period of a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A delivery that waits: a finding for one sink."""

    finding: Stored
    sink: str
    attempts: int


class Outbox:
    """The deliveries in the file of a monitor. What takes ``execute`` is part of somebody's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, execute: Any, number: int, sinks: Iterable[str], now: int) -> None:
        """Owe a finding to these sinks, from now on."""
        for sink in sinks:
            execute("INSERT INTO outbox(finding, sink, next_attempt) VALUES (?, ?, ?)", (number, sink, now))

    def drop(self, execute: Any, number: int) -> None:
        """Owe a finding to nobody any more."""
        execute("DELETE FROM outbox WHERE finding = ? AND delivered_at IS NULL", (number,))

    def due(self, sink: str, *, now: int, limit: int = 100) -> list[Due]:
        """Return what a sink is owed now: what it refused least often first, then the oldest.

        So one finding that a receiver never takes, for what somebody wrote into it, is not forever before the others. What is to
        wait for longer than any pause lasts was put off by a clock that has gone back since, and is due.
        """
        rows = self._database.rows(
            f"SELECT {STORED}, attempts FROM outbox JOIN findings ON finding = number "  # noqa: S608  # our own columns
            "WHERE sink = ? AND delivered_at IS NULL AND (next_attempt <= ? OR next_attempt > ?) "
            "ORDER BY attempts, finding LIMIT ?",
            sink,
            now,
            now + LONGEST_WAIT,
            limit,
        )
        return [Due(finding=parse_stored(row[:-1]), sink=sink, attempts=row[-1]) for row in rows]

    def delivered(self, covered: Sequence[Due], *, now: int) -> None:
        """Remember that a sink took one message, and the findings that it told, all of them or none."""
        with self._database.transaction() as execute:
            for due in covered:
                execute(
                    "UPDATE outbox SET delivered_at = ?, problem = '', attempts = attempts + 1 "
                    "WHERE finding = ? AND sink = ?",
                    (now, due.finding.number, due.sink),
                )
            sink = covered[0].sink
            execute("INSERT INTO messages VALUES (?, ?)", (sink, now))
            execute("DELETE FROM messages WHERE sink = ? AND sent_at < ?", (sink, now - _MESSAGES_SECONDS))

    def delivered_at(self, number: int, sink: str) -> int | None:
        """Return when a sink took a finding; None while it has not."""
        row = self._database.row(
            "SELECT delivered_at FROM outbox WHERE finding = ? AND sink = ?", number, sink
        )
        return None if row is None or row[0] is None else int(row[0])

    def oldest_waiting(self) -> dict[str, int]:
        """Return of each sink that is owed something since when: the time of the oldest finding that it did not take."""
        rows = self._database.rows(
            "SELECT sink, min(found_at) FROM outbox JOIN findings ON finding = number WHERE delivered_at IS NULL GROUP BY sink"
        )
        return {sink: int(found_at) for sink, found_at in rows}

    def messages_since(self, sink: str, moment: int, *, until: int) -> int:
        """Return how many messages a sink took after a moment and up to another: one from the future was sent by a clock that
        has gone back since.
        """
        row = self._database.row(
            "SELECT count(*) FROM messages WHERE sink = ? AND sent_at > ? AND sent_at <= ?",
            sink,
            moment,
            until,
        )
        return int(row[0])

    def refusals(self, sink: str) -> int:
        """Return how often a sink refused what it is owed still."""
        row = self._database.row(
            "SELECT coalesce(sum(attempts), 0) FROM outbox WHERE sink = ? AND delivered_at IS NULL", sink
        )
        return int(row[0])

    def waiting_since(self, sink: str) -> int | None:
        """Return when the oldest finding was found that a sink did not take yet; None where it is owed nothing."""
        row = self._database.row(
            "SELECT min(found_at) FROM outbox JOIN findings ON finding = number WHERE sink = ? AND delivered_at IS NULL",
            sink,
        )
        return None if row[0] is None else int(row[0])

    def took_at(self, sink: str) -> int | None:
        """Return when a sink last took a message; None where that is longer ago than is remembered."""
        row = self._database.row("SELECT max(sent_at) FROM messages WHERE sink = ?", sink)
        return None if row[0] is None else int(row[0])

    def paused_until(self, sink: str) -> int:
        """Return until when what a sink refused waits; 0 where it refused nothing that it is still owed."""
        row = self._database.row(
            "SELECT max(next_attempt) FROM outbox WHERE sink = ? AND delivered_at IS NULL AND attempts > 0",
            sink,
        )
        return int(row[0] or 0)

    def failed(self, due: Due, *, problem: str, next_attempt: int) -> None:
        """Remember that a sink did not take a finding, and when it is asked again: nothing goes to it before."""
        with self._database.transaction() as execute:
            execute(
                "UPDATE outbox SET attempts = attempts + 1, problem = ? WHERE finding = ? AND sink = ?",
                (problem, due.finding.number, due.sink),
            )
            execute(
                "UPDATE outbox SET next_attempt = max(next_attempt, ?) WHERE sink = ? AND delivered_at IS NULL",
                (next_attempt, due.sink),
            )

    def sink_counts(self) -> dict[str, tuple[int, int, str]]:
        """Return of each sink how much it took, how much waits, and the last problem."""
        rows = self._database.rows(
            "SELECT sink, count(delivered_at), count(*) - count(delivered_at), max(problem) FROM outbox GROUP BY sink"
        )
        return {sink: (done, waiting, problem) for sink, done, waiting, problem in rows}
