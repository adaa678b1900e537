"""What a monitor remembers: positions, every signed checkpoint ever seen, histories, findings, outbox.

A finding, its rows in the outbox and the position that covers it are written in one transaction, so a crash loses no
finding and the position is never ahead of what was verified. ``State`` has what is known of the logs, ``checkpoints`` what they signed, ``record`` the
findings, ``outbox`` the deliveries; what changes more than one of them is here.
"""

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ledger.encoding import Json, format_canonical_json
from ledger.errors import NotFoundError
from ledger.tlog.merkle import HASH_BYTES, Frontier
from monitor import checkpoints, histories, logged, outbox, receipts, record, replays
from monitor.checkpoints import Checkpoints
from monitor.database import Database, damaged, parse_json
from monitor.findings import Finding
from monitor.histories import Histories
from monitor.known import Known
from monitor.layers import Layers
from monitor.logged import Logged, LoggedEntry
from monitor.outbox import Outbox
from monitor.policies import POLICY_NOTE
from monitor.receipts import Receipts
from monitor.record import Record, Stored
from monitor.replays import Replays

_SCHEMA = """
CREATE TABLE clock(id INTEGER PRIMARY KEY CHECK (id = 1), latest INTEGER NOT NULL) STRICT;
CREATE TABLE logs(
    name TEXT PRIMARY KEY, origin TEXT NOT NULL, first INTEGER NOT NULL,
    size INTEGER NOT NULL, frontier BLOB NOT NULL, keys TEXT NOT NULL,
    checked_at INTEGER, succeeded_at INTEGER, problem TEXT NOT NULL DEFAULT '', CHECK (first <= size)
) STRICT;
CREATE TABLE nodes(log TEXT NOT NULL, level INTEGER NOT NULL, idx INTEGER NOT NULL, hash BLOB NOT NULL,
    PRIMARY KEY (log, level, idx)) STRICT, WITHOUT ROWID;
CREATE TABLE leaves(log TEXT NOT NULL, tile INTEGER NOT NULL, hashes BLOB NOT NULL, PRIMARY KEY (log, tile)) STRICT;
"""
_NOTES = Layers.schema("notes", key="TEXT", columns="value TEXT NOT NULL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far one log is verified. ``first`` is where following began."""

    name: str
    origin: str
    first: int
    frontier: Frontier
    checked_at: int | None = None
    succeeded_at: int | None = None
    problem: str = ""

    @property
    def size(self) -> int:
        """The verified size: every entry before it was hashed and is in a tree that the log signed."""
        return self.frontier.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What one verified run of entries changes, all of it or nothing.

    ``leaves`` are the leaf hashes of each touched tile, whole; ``nodes`` the roots of tiles that are full now.
    ``ledger`` is what ``known`` is about, where that is not the log itself but has several; ``logged`` are its entries in Rekor.
    """

    log: str
    before: int
    frontier: Frontier
    leaves: Mapping[int, bytes]
    nodes: Mapping[int, bytes]
    known: Known
    findings: Sequence[Finding]
    ledger: str = ""
    logged: Sequence[LoggedEntry] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What became of some numbers of a hub's listing, all of it or nothing: ``asked`` is where the next ones begin."""

    asked: int
    proven: Sequence[int]
    missing: Sequence[int]
    known: Known
    findings: Sequence[Finding]
    logged: Sequence[LoggedEntry]


class Routes(Protocol):
    """Says which sinks a finding goes to. Pure: the same finding always goes to the same ones."""

    def sinks(self, finding: Finding, /) -> tuple[str, ...]:
        """Return the names of the sinks."""
        ...


class State:
    """What is in the file. Thread-safe: each write is one transaction, durable on return."""

    def __init__(self, folder: pathlib.Path, *, check: bool = True) -> None:
        self._database = Database(folder, check=check)
        self.checkpoints = Checkpoints(self._database)
        self.record = Record(self._database)
        self.outbox = Outbox(self._database)
        self.replays = Replays(self._database)
        self.logged = Logged(self._database)
        self.receipts = Receipts(self._database)
        self._histories = Histories(self._database)
        self._notes = Layers(self._database, "notes", columns=("value",))

    @classmethod
    def create(cls, folder: pathlib.Path, *, now: int) -> None:
        """Make an empty state. Raises WriteError, also where there is one: a state is never replaced."""
        clock = f"INSERT INTO clock VALUES (1, {now:d});"  # noqa: S608  # a number
        parts = (each.SCHEMA for each in (checkpoints, histories, record, outbox, replays, logged, receipts))
        Database.create(folder, schema="".join((_SCHEMA, _NOTES, *parts, clock)))

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    # Positions

    def add_log(
        self, position: Position, *, leaves: Mapping[int, bytes], nodes: Mapping[tuple[int, int], bytes]
    ) -> None:
        """Begin to follow a log. Raises WriteError: it is followed already."""
        with self._database.transaction() as execute:
            execute(
                "INSERT INTO logs(name, origin, first, size, frontier, keys) VALUES (?, ?, ?, ?, ?, '{}')",
                (
                    position.name,
                    position.origin,
                    position.first,
                    position.size,
                    b"".join(position.frontier.hashes),
                ),
            )
            for tile, hashes in leaves.items():
                execute("INSERT INTO leaves VALUES (?, ?, ?)", (position.name, tile, hashes))
            for (level, index), hash_ in nodes.items():
                execute("INSERT INTO nodes VALUES (?, ?, ?, ?)", (position.name, level, index, hash_))

    def position(self, log: str) -> Position:
        """Return how far a log is verified.

        Raises:
            NotFoundError: it was never begun. CorruptError: what is stored cannot be what was stored.
        """
        row = self._database.row(
            "SELECT origin, first, size, frontier, checked_at, succeeded_at, problem FROM logs WHERE name = ?",
            log,
        )
        if row is None:
            raise NotFoundError(
                f"log {log} in the state of the monitor",
                expected="a log that was begun",
                actual="none of that name",
                next_step="Run `hubledger monitor init`, which begins the logs that are new in the settings",
            )
        origin, first, size, frontier, checked_at, succeeded_at, problem = row
        if len(frontier) != HASH_BYTES * size.bit_count():
            raise damaged(f"a position of log {log} that is none")
        hashes = [frontier[i : i + HASH_BYTES] for i in range(0, len(frontier), HASH_BYTES)]
        return Position(
            name=log,
            origin=origin,
            first=first,
            frontier=Frontier(size, hashes),
            checked_at=checked_at,
            succeeded_at=succeeded_at,
            problem=problem,
        )

    def logs(self) -> list[str]:
        """Return the names of the logs that were begun."""
        return [name for (name,) in self._database.rows("SELECT name FROM logs ORDER BY name")]

    def checked(self, log: str, *, now: int, problem: str) -> None:
        """Remember that a log was looked at, and why it could not be checked, if so."""
        with self._database.transaction() as execute:
            execute(
                "UPDATE logs SET checked_at = ?, problem = ?, succeeded_at = CASE WHEN ? = '' THEN ? ELSE succeeded_at END "
                "WHERE name = ?",
                (now, problem, problem, now, log),
            )

    def clock(self) -> int:
        """Return the latest time that was ever noted, in POSIX seconds."""
        row = self._database.row("SELECT latest FROM clock")
        if row is None:
            raise damaged("no clock")
        return int(row[0])

    def note_time(self, now: int) -> None:
        """Note the time; it never goes back here."""
        with self._database.transaction() as execute:
            execute("UPDATE clock SET latest = max(latest, ?)", (now,))

    # The tree

    def node(self, log: str, level: int, index: int) -> bytes | None:
        """Return a stored node of a log's tree."""
        row = self._database.row(
            "SELECT hash FROM nodes WHERE log = ? AND level = ? AND idx = ?", log, level, index
        )
        return None if row is None else bytes(row[0])

    def leaves(self, log: str, tile: int) -> bytes:
        """Return the stored leaf hashes of a tile, one after the other."""
        row = self._database.row("SELECT hashes FROM leaves WHERE log = ? AND tile = ?", log, tile)
        return b"" if row is None else bytes(row[0])

    def keep_note(self, log: str, key: str, value: Mapping[str, Any]) -> None:
        """Remember a small fact about a log, in the place of the one before."""
        with self._database.transaction() as execute:
            self._notes.keep(execute, log, [(key, format_canonical_json(dict(value)).decode())])

    # What is known

    def load(self, log: str, *, histories: Iterable[str] = (), revisions: Iterable[bytes] = ()) -> Known:
        """Return what is known of these histories and revisions, and the announced keys."""
        known = Known(has_policies=self._has_policies(log))
        self._histories.load(known, log, histories=histories, revisions=revisions)
        row = self._database.row("SELECT keys FROM logs WHERE name = ?", log)
        known.keys.update(parse_json(row[0]) if row else {})
        return known

    def notes(self, log: str, keys: Iterable[str]) -> dict[str, dict[str, Json]]:
        """Return the notes of these keys, where there are such."""
        return {key: parse_json(value) for key, value in self._notes.select(log, sorted(set(keys)))}

    def _has_policies(self, log: str) -> bool:
        # From the prefix up to what follows it: every key of a policy.
        return self._notes.has_between(log, POLICY_NOTE, POLICY_NOTE[:-1] + chr(ord(POLICY_NOTE[-1]) + 1))

    def advance(self, progress: Progress, *, routes: Routes, now: int) -> int:
        """Store a verified run: findings, their deliveries and the position, in one transaction; returns how many are new.

        If we stop before COMMIT, the run is replayed and found again; after it, nothing of it is looked at again.
        """
        log, ledger = progress.log, progress.ledger or progress.log
        with self._database.transaction() as execute:
            new = sum(self._report(execute, each, routes, now) for each in progress.findings)
            many = self._database.execute_many
            many(
                "INSERT OR REPLACE INTO leaves VALUES (?, ?, ?)",
                [(log, *each) for each in progress.leaves.items()],
            )
            many(
                "INSERT OR REPLACE INTO nodes VALUES (?, 8, ?, ?)",
                [(log, *each) for each in progress.nodes.items()],
            )
            self._learn(execute, ledger, progress.known)
            self.logged.keep(ledger, progress.logged)
            changed = execute(
                "UPDATE logs SET size = ?, frontier = ? WHERE name = ? AND size = ?",
                (
                    progress.frontier.size,
                    b"".join(progress.frontier.hashes),
                    log,
                    progress.before,
                ),
            ).rowcount
            if changed != 1:
                raise damaged(f"a position of log {log} other than {progress.before}: somebody else wrote it")
        return new

    def settle(
        self,
        ledger: str,
        *,
        known: Known,
        findings: Sequence[Finding],
        logged: Sequence[LoggedEntry],
        routes: Routes,
        now: int,
    ) -> int:
        """Store what became of entries in Rekor that waited; returns how many findings are new."""
        with self._database.transaction() as execute:
            self._learn(execute, ledger, known)
            self.logged.keep(ledger, logged)
            return sum(self._report(execute, each, routes, now) for each in findings)

    def receive(self, log: str, received: Received, *, routes: Routes, now: int) -> int:
        """Store what receipts say, with how far they were asked for, in one transaction; returns how many findings are new."""
        with self._database.transaction() as execute:
            self._learn(execute, log, received.known)
            self.logged.keep(log, received.logged)
            self.receipts.keep(
                execute, log, asked=received.asked, proven=received.proven, missing=received.missing, now=now
            )
            return sum(self._report(execute, each, routes, now) for each in received.findings)

    def _learn(self, execute: Any, ledger: str, known: Known) -> None:
        self._histories.keep(execute, ledger, known)
        notes = [(key, format_canonical_json(known.notes[key]).decode()) for key in sorted(known.new_notes)]
        self._notes.keep(execute, ledger, notes)
        keys = format_canonical_json(known.keys).decode()
        execute("UPDATE logs SET keys = ? WHERE name = ? AND keys != ?", (keys, ledger, keys))

    # Findings

    def report(self, finding: Finding, *, routes: Routes, now: int) -> bool:
        """Store a finding about a log itself and owe it to its sinks; returns whether it is new."""
        with self._database.transaction() as execute:
            return self._report(execute, finding, routes, now)

    def _report(self, execute: Any, finding: Finding, routes: Routes, now: int) -> bool:
        stored = self.record.add(execute, finding, now)
        if stored is not None and stored.state == "open":
            self.outbox.add(execute, stored.number, routes.sinks(finding), now)
        return stored is not None

    def past_run(self, findings: Sequence[Finding], *, rules: Sequence[str], to: int, now: int) -> int:
        """Store what rules find in entries of the past, owed to nobody: all of it is told at once when it is whole."""
        with self._database.transaction() as execute:
            new = sum(self.record.add(execute, each, now) is not None for each in findings)
            self.replays.moved(execute, rules, to)
        return new

    def past_told(self, finding: Finding | None, *, rule: str, routes: Routes, now: int) -> bool:
        """Store what the past of a rule came to, and that it is done; returns whether there is something new."""
        with self._database.transaction() as execute:
            self.replays.done(execute, rule, now)
            return finding is not None and self._report(execute, finding, routes, now)

    def move(self, numbers: Sequence[int], *, to: str, note: str, now: int) -> list[Stored]:
        """Acknowledge or resolve findings; they stay in the record. Raises NotFoundError, and then none is moved."""
        with self._database.transaction() as execute:
            moved = [self.record.move(execute, number, to=to, note=note, now=now) for number in numbers]
            if to == "resolved":  # what is settled is not told any more
                for number in numbers:
                    self.outbox.drop(execute, number)
        return moved
