"""What a monitor remembers, in one SQLite file: positions, every signed checkpoint ever seen, histories, findings, outbox.

A finding, its rows in the outbox and the position that covers it are written in one transaction (``journal_mode=WAL``,
``synchronous=FULL``), so a crash loses no finding and the position is never ahead of what was verified. A file that is
missing or damaged is refused: a monitor that starts again from nothing would call a forked log sound.
"""

import pathlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from ledger.encoding import Json, format_canonical_json, parse_canonical_json
from ledger.errors import CorruptError, NotFoundError, WriteError
from ledger.history import ChainHead, Standing
from ledger.identity import parse_signer
from ledger.storage.readonly import quote_path
from ledger.tlog.merkle import HASH_BYTES, Frontier
from monitor.detect import Followed, Known
from monitor.findings import Finding

FILE_NAME = "monitor.db"
VERSION = 1
_CHUNK = 500
"""Keys of one query: SQLite's historic limit of 999 variables, with room."""
_MAX_JSON_BYTES = 1 << 20
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
CREATE TABLE checkpoints(
    log TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL, seen_at INTEGER NOT NULL,
    verified INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (log, size, root)) STRICT, WITHOUT ROWID;
CREATE TABLE histories(
    log TEXT NOT NULL, key TEXT NOT NULL, sequence INTEGER, statement BLOB, standing TEXT NOT NULL,
    PRIMARY KEY (log, key)) STRICT, WITHOUT ROWID;
CREATE TABLE revisions(log TEXT NOT NULL, key BLOB NOT NULL, manifest BLOB NOT NULL, PRIMARY KEY (log, key))
    STRICT, WITHOUT ROWID;
CREATE TABLE findings(
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, log TEXT NOT NULL, kind TEXT NOT NULL, about TEXT NOT NULL,
    found_at INTEGER NOT NULL, seen_at INTEGER NOT NULL, state TEXT NOT NULL, note TEXT NOT NULL DEFAULT '',
    moved_at INTEGER, facts TEXT NOT NULL, CHECK (state IN ('open', 'expected', 'acknowledged', 'resolved'))
) STRICT;
CREATE TABLE outbox(
    finding INTEGER NOT NULL REFERENCES findings(number), sink TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt INTEGER NOT NULL, problem TEXT NOT NULL DEFAULT '', delivered_at INTEGER, PRIMARY KEY (finding, sink)
) STRICT, WITHOUT ROWID;
CREATE INDEX waiting ON outbox(sink, next_attempt) WHERE delivered_at IS NULL;
CREATE TABLE expected(
    log TEXT NOT NULL, model TEXT NOT NULL, signer TEXT NOT NULL, made_at INTEGER NOT NULL, note TEXT NOT NULL,
    PRIMARY KEY (log, model, signer)) STRICT, WITHOUT ROWID;
"""


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
class SeenCheckpoint:
    """A signed checkpoint as it was seen. ``verified``: its root is that of the replayed entries."""

    size: int
    root: bytes
    note: bytes
    seen_at: int
    verified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A finding as it is remembered."""

    number: int
    id: str
    state: str
    note: str
    found_at: int
    seen_at: int
    facts: Mapping[str, Json]

    def as_json(self) -> dict[str, Json]:
        """Return what ``--json`` and every sink show."""
        note = {"note": self.note} if self.note else {}
        return {"number": self.number, "id": self.id, "state": self.state, **note, **dict(self.facts)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A delivery that waits: a finding for one sink."""

    finding: Stored
    sink: str
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What one verified run of entries changes, all of it or nothing.

    ``leaves`` are the leaf hashes of each touched tile, whole; ``nodes`` the roots of tiles that are full now.
    """

    log: str
    before: int
    frontier: Frontier
    leaves: Mapping[int, bytes]
    nodes: Mapping[int, bytes]
    known: Known
    findings: Sequence[Finding]


class Routes(Protocol):
    """Says which sinks a finding goes to. Pure: the same finding always goes to the same ones."""

    def sinks(self, finding: Finding, /) -> tuple[str, ...]:
        """Return the names of the sinks."""
        ...


class State:
    """The file. Thread-safe: each write is one transaction, durable on return."""

    def __init__(self, folder: pathlib.Path, *, check: bool = True) -> None:
        path = folder / FILE_NAME
        if not path.is_file():
            raise CorruptError(
                f"state of the monitor in {folder}",
                expected=f"{FILE_NAME}, which `hubledger monitor init` made",
                actual="no file",
                next_step="Restore the newest copy; only for a new monitor, run `hubledger monitor init`",
            )
        self._lock = threading.RLock()
        with _reading():
            self._connection = sqlite3.connect(
                f"file:{quote_path(path)}?mode=rw",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=10,
            )
            self._prepare(check=check)

    @classmethod
    def create(cls, folder: pathlib.Path, *, now: int) -> None:
        """Make an empty state. Raises WriteError, also where there is one: a state is never replaced."""
        path = folder / FILE_NAME
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with path.open("xb"):
                pass
            path.chmod(0o600)
            connection = sqlite3.connect(path, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.executescript(
                    f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION:d}; COMMIT;"
                )
                connection.execute("INSERT INTO clock VALUES (1, ?)", (now,))
            finally:
                connection.close()
        except (OSError, sqlite3.Error) as error:
            raise WriteError(
                f"making the state {path}",
                expected="a new file",
                actual=error.strerror if isinstance(error, OSError) else str(error),
                next_step="Name a new folder as `state`: what a monitor remembers is never replaced",
            ) from error

    def _prepare(self, *, check: bool) -> None:
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA cache_size = -32768")
        # 32 MB of changes before they go into the file: while catching up, the same pages change in every run.
        self._connection.execute("PRAGMA wal_autocheckpoint = 8192")
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            raise CorruptError(
                f"{FILE_NAME} of the monitor",
                expected=f"version {VERSION}",
                actual=f"version {version}",
                next_step="Use the version of hubledger that wrote it, or restore the newest copy",
            )
        found = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0] if check else "ok"
        if found != "ok":
            raise _damaged(found)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # Positions

    def add_log(
        self, position: Position, *, leaves: Mapping[int, bytes], nodes: Mapping[tuple[int, int], bytes]
    ) -> None:
        """Begin to follow a log. Raises WriteError: it is followed already."""
        with self._transaction() as execute:
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
        row = self._row(
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
            raise _damaged(f"a position of log {log} that is none")
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
        return [name for (name,) in self._rows("SELECT name FROM logs ORDER BY name")]

    def checked(self, log: str, *, now: int, problem: str) -> None:
        """Remember that a log was looked at, and why it could not be checked, if so."""
        with self._transaction() as execute:
            execute(
                "UPDATE logs SET checked_at = ?, problem = ?, succeeded_at = CASE WHEN ? = '' THEN ? ELSE succeeded_at END "
                "WHERE name = ?",
                (now, problem, problem, now, log),
            )

    def clock(self) -> int:
        """Return the latest time that was ever noted, in POSIX seconds."""
        row = self._row("SELECT latest FROM clock")
        if row is None:
            raise _damaged("no clock")
        return int(row[0])

    def note_time(self, now: int) -> None:
        """Note the time; it never goes back here."""
        with self._transaction() as execute:
            execute("UPDATE clock SET latest = max(latest, ?)", (now,))

    # The tree

    def node(self, log: str, level: int, index: int) -> bytes | None:
        """Return a stored node of a log's tree."""
        row = self._row("SELECT hash FROM nodes WHERE log = ? AND level = ? AND idx = ?", log, level, index)
        return None if row is None else bytes(row[0])

    def leaves(self, log: str, tile: int) -> bytes:
        """Return the stored leaf hashes of a tile, one after the other."""
        row = self._row("SELECT hashes FROM leaves WHERE log = ? AND tile = ?", log, tile)
        return b"" if row is None else bytes(row[0])

    # Checkpoints

    def saw(self, log: str, *, size: int, root: bytes, note: bytes, now: int) -> None:
        """Remember a signed checkpoint, before anything is decided about it."""
        with self._transaction() as execute:
            execute(
                "INSERT OR IGNORE INTO checkpoints VALUES (?, ?, ?, ?, ?, 0)", (log, size, root, note, now)
            )

    def verified_checkpoint(self, log: str, *, size: int, root: bytes) -> None:
        """Remember that the root of a signed checkpoint is that of the replayed entries."""
        with self._transaction() as execute:
            execute(
                "UPDATE checkpoints SET verified = 1 WHERE log = ? AND size = ? AND root = ?",
                (log, size, root),
            )

    def checkpoints(self, log: str, *, least: int = 0) -> list[SeenCheckpoint]:
        """Return the signed checkpoints of at least a size, smallest first."""
        rows = self._rows(
            "SELECT size, root, note, seen_at, verified FROM checkpoints WHERE log = ? AND size >= ? ORDER BY size, seen_at",
            log,
            least,
        )
        return [
            SeenCheckpoint(size=size, root=root, note=note, seen_at=seen_at, verified=bool(verified))
            for size, root, note, seen_at, verified in rows
        ]

    def largest_seen(self, log: str) -> int:
        """Return the largest size that the log ever signed for us, 0 where it signed nothing."""
        row = self._row("SELECT max(size) FROM checkpoints WHERE log = ?", log)
        return int(row[0] or 0)

    def newest_verified(self, log: str) -> SeenCheckpoint | None:
        """Return the largest signed checkpoint whose root is that of the replayed entries."""
        row = self._row(
            "SELECT size, root, note, seen_at FROM checkpoints WHERE log = ? AND verified = 1 ORDER BY size DESC LIMIT 1",
            log,
        )
        return row and SeenCheckpoint(size=row[0], root=row[1], note=row[2], seen_at=row[3], verified=True)

    # What is known

    def load(self, log: str, *, histories: Iterable[str], revisions: Iterable[bytes]) -> Known:
        """Return what is known of these histories and revisions, and of the announced keys."""
        known = Known()
        for key, sequence, statement, standing in self._select(
            "SELECT key, sequence, statement, standing FROM histories WHERE log = ? AND key",
            log,
            sorted(set(histories)),
        ):
            head = None if sequence is None else ChainHead(sequence, statement)
            known.histories[key] = Followed(head=head, standing=_parse_standing(standing))
        for key, manifest in self._select(
            "SELECT key, manifest FROM revisions WHERE log = ? AND key", log, sorted(set(revisions))
        ):
            known.revisions[key] = manifest
        row = self._row("SELECT keys FROM logs WHERE name = ?", log)
        known.keys.update(_parse(row[0]) if row else {})
        return known

    def advance(self, progress: Progress, *, routes: Routes, now: int) -> int:
        """Store a verified run: findings, their deliveries and the position, in one transaction; returns how many are new.

        If we stop before COMMIT, the run is replayed and found again; after it, nothing of it is looked at again.
        """
        log, known = progress.log, progress.known
        with self._transaction() as execute:
            new = sum(self._report(execute, each, routes, now) for each in progress.findings)
            many = self._connection.executemany
            many(
                "INSERT OR REPLACE INTO leaves VALUES (?, ?, ?)",
                [(log, *each) for each in progress.leaves.items()],
            )
            many(
                "INSERT OR REPLACE INTO nodes VALUES (?, 8, ?, ?)",
                [(log, *each) for each in progress.nodes.items()],
            )
            many(
                "INSERT OR REPLACE INTO histories VALUES (?, ?, ?, ?, ?)",
                [(log, key, *_format_followed(known.histories[key])) for key in sorted(known.changed)],
            )
            many(
                "INSERT OR REPLACE INTO revisions VALUES (?, ?, ?)",
                [(log, *each) for each in sorted(known.new_revisions.items())],
            )
            changed = execute(
                "UPDATE logs SET size = ?, frontier = ?, keys = ? WHERE name = ? AND size = ?",
                (
                    progress.frontier.size,
                    b"".join(progress.frontier.hashes),
                    format_canonical_json(known.keys).decode(),
                    log,
                    progress.before,
                ),
            ).rowcount
            if changed != 1:
                raise _damaged(
                    f"a position of log {log} other than {progress.before}: somebody else wrote it"
                )
        return new

    # Findings

    def report(self, finding: Finding, *, routes: Routes, now: int) -> bool:
        """Store a finding about a log itself; returns whether it is new. A passing state is told once while it lasts."""
        with self._transaction() as execute:
            return self._report(execute, finding, routes, now)

    def _report(self, execute: Any, finding: Finding, routes: Routes, now: int) -> bool:
        state = "expected" if self._is_expected(execute, finding) else "open"
        episode = 0
        if finding.passing:
            (episode,) = execute(
                "SELECT count(*) FROM findings WHERE log = ? AND kind = ? AND about = ? AND state = 'resolved'",
                (finding.log, finding.kind, finding.about),
            ).fetchone()
        facts = format_canonical_json(finding.as_json()).decode()
        id_ = finding.id(episode)
        row = execute(
            "INSERT INTO findings(id, log, kind, about, found_at, seen_at, state, facts) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT(id) DO NOTHING RETURNING number",
            (id_, finding.log, finding.kind, finding.about, now, now, state, facts),
        ).fetchone()
        if row is None:
            execute("UPDATE findings SET seen_at = max(seen_at, ?) WHERE id = ?", (now, id_))
            return False
        if state == "open":
            for sink in routes.sinks(finding):
                execute(
                    "INSERT INTO outbox(finding, sink, next_attempt) VALUES (?, ?, ?)", (row[0], sink, now)
                )
        return True

    def _is_expected(self, execute: Any, finding: Finding) -> bool:
        """Whether somebody said before that exactly these sign here: each of them."""
        if not finding.signers or finding.model is None:
            return False
        return all(
            execute(
                "SELECT 1 FROM expected WHERE log = ? AND model = ? AND signer = ?",
                (finding.log, finding.model, each),
            ).fetchone()
            for each in finding.signers
        )

    def findings(
        self, *, states: Sequence[str] = (), log: str | None = None, limit: int = 1000
    ) -> list[Stored]:
        """Return findings, newest first."""
        query = f"SELECT {_STORED} FROM findings WHERE (? = '' OR instr(?, ' ' || state || ' ')) AND (? IS NULL OR log = ?) "  # noqa: S608  # our own columns
        wanted = f" {' '.join(states)} " if states else ""
        return [
            _stored(row)
            for row in self._rows(f"{query} ORDER BY number DESC LIMIT ?", wanted, wanted, log, log, limit)
        ]

    def open_kinds(self) -> frozenset[str]:
        """Return the kinds of which a finding is open."""
        return frozenset(
            kind for (kind,) in self._rows("SELECT DISTINCT kind FROM findings WHERE state = 'open'")
        )

    def count_findings(self) -> dict[tuple[str, str], int]:
        """Return how many findings there are of each log and state."""
        return {
            (log, state): n
            for log, state, n in self._rows("SELECT log, state, count(*) FROM findings GROUP BY 1, 2")
        }

    def move(self, numbers: Sequence[int], *, to: str, note: str, now: int) -> list[Stored]:
        """Acknowledge or resolve findings; they stay in the record. Raises NotFoundError, and then none is moved."""
        with self._transaction() as execute:
            for number in numbers:
                done = execute(
                    "UPDATE findings SET state = ?, note = ?, moved_at = ? WHERE number = ?",
                    (to, note, now, number),
                )
                if not done.rowcount:
                    raise NotFoundError(
                        f"finding {number}",
                        expected="the number of a finding",
                        actual="none of that number",
                        next_step="See `hubledger monitor findings`",
                    )
                if to == "resolved":  # what is settled is not told any more
                    execute("DELETE FROM outbox WHERE finding = ? AND delivered_at IS NULL", (number,))
            return [
                _stored(execute(f"SELECT {_STORED} FROM findings WHERE number = ?", (number,)).fetchone())  # noqa: S608  # our own columns
                for number in numbers
            ]

    def recovered(self, log: str, *, kinds: Sequence[str], now: int) -> None:
        """Resolve the passing states of a log that is over; what waits to be told of them is told nevertheless."""
        with self._transaction() as execute:
            for kind in kinds:
                execute(
                    "UPDATE findings SET state = 'resolved', note = 'passed', moved_at = ? "
                    "WHERE log = ? AND kind = ? AND state IN ('open', 'acknowledged')",
                    (now, log, kind),
                )

    def expect(self, log: str, *, model: str, signer: str, note: str, now: int) -> None:
        """Remember that a signer is expected for a model: its next change to that signer alerts nobody."""
        with self._transaction() as execute:
            execute("INSERT OR REPLACE INTO expected VALUES (?, ?, ?, ?, ?)", (log, model, signer, now, note))

    def expectations(self) -> list[tuple[str, str, str, str]]:
        """Return what is expected: log, model, signer, note."""
        return self._rows("SELECT log, model, signer, note FROM expected ORDER BY log, model, signer")

    # Deliveries

    def due(self, sink: str, *, now: int, limit: int = 100) -> list[Due]:
        """Return what a sink is owed now, oldest first."""
        rows = self._rows(
            f"SELECT {_STORED}, attempts FROM outbox JOIN findings ON finding = number "  # noqa: S608  # our own columns
            "WHERE sink = ? AND delivered_at IS NULL AND next_attempt <= ? ORDER BY finding LIMIT ?",
            sink,
            now,
            limit,
        )
        return [Due(finding=_stored(row[:-1]), sink=sink, attempts=row[-1]) for row in rows]

    def delivered(self, due: Due, *, now: int) -> None:
        """Remember that a sink took a finding."""
        with self._transaction() as execute:
            execute(
                "UPDATE outbox SET delivered_at = ?, problem = '', attempts = attempts + 1 WHERE finding = ? AND sink = ?",
                (now, due.finding.number, due.sink),
            )

    def failed(self, due: Due, *, problem: str, next_attempt: int) -> None:
        """Remember that a sink did not take a finding, and when it is asked again: nothing goes to it before."""
        with self._transaction() as execute:
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
        rows = self._rows(
            "SELECT sink, count(delivered_at), count(*) - count(delivered_at), max(problem) FROM outbox GROUP BY sink"
        )
        return {sink: (done, waiting, problem) for sink, done, waiting, problem in rows}

    # SQLite

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection.execute
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise WriteError(
                    f"writing {FILE_NAME} of the monitor",
                    expected="a transaction that ends",
                    actual=str(error),
                    next_step="Repair the disk and start again: what was found is found again, and nothing is lost",
                ) from error

    def _rows(self, query: str, *values: object) -> list[Any]:
        with self._lock, _reading():
            return self._connection.execute(query, values).fetchall()

    def _row(self, query: str, *values: object) -> Any:
        with self._lock, _reading():
            return self._connection.execute(query, values).fetchone()

    def _select(self, query: str, log: str, keys: Sequence[Any]) -> Iterator[Any]:
        for start in range(0, len(keys), _CHUNK):
            some = keys[start : start + _CHUNK]
            yield from self._rows(f"{query} IN ({','.join('?' * len(some))})", log, *some)


_STORED = "number, id, state, note, found_at, seen_at, facts"


def _stored(row: Any) -> Stored:
    number, id_, state, note, found_at, seen_at, facts = row
    return Stored(
        number=number, id=id_, state=state, note=note, found_at=found_at, seen_at=seen_at, facts=_parse(facts)
    )


def _parse(text: str) -> Any:
    return parse_canonical_json(text.encode(), what="stored facts of the monitor", max_bytes=_MAX_JSON_BYTES)


def _format_followed(followed: Followed) -> tuple[int | None, bytes | None, str]:
    head, standing = followed.head, followed.standing
    value: dict[str, Json] = {"signers": [each.as_json() for each in standing.signers]}
    if standing.repo is not None:
        value["repo"] = standing.repo
    text = format_canonical_json(value).decode() if standing != Standing() else ""
    return (None if head is None else head.sequence, None if head is None else head.statement_sha256, text)


def _parse_standing(text: str) -> Standing:
    if not text:
        return Standing()
    value = _parse(text)
    return Standing(signers=tuple(parse_signer(each) for each in value["signers"]), repo=value.get("repo"))


def _damaged(actual: str) -> CorruptError:
    return CorruptError(
        f"{FILE_NAME} of the monitor",
        expected="the file as it was written",
        actual=actual,
        next_step="Restore the newest copy; without one, keep the file, and begin anew in another folder",
    )


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _damaged(str(error)) from error
