"""What is published and what is due, in one SQLite file beside the monitor's own, which it never touches.

Everything here is derived: where the file or the published folder is gone, both are made again from the log. What an entry
changes is stored together with what has to be written because of it; that is struck off only when it is written.
"""

import pathlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from ledger.encoding import Json, format_canonical_json
from ledger.errors import WriteError
from ledger.history import Standing, parse_state
from ledger.identity import parse_signer
from ledger.storage.readonly import is_of_the_disk
from monitor.database import parse_json
from monitor.publish.layout import CHUNK
from monitor.publish.rows import KeyState, Published

FILE_NAME = "publish.db"
VERSION = 5
# Tables with long rows have rowids: without, whole rows lie on the way to a row, three or four on a page, and the way is long.
_SCHEMA = """
CREATE TABLE made(token TEXT NOT NULL, look TEXT NOT NULL) STRICT;
CREATE TABLE logs(log TEXT PRIMARY KEY, size INTEGER NOT NULL, covered INTEGER NOT NULL) STRICT;
CREATE TABLE entries(log TEXT NOT NULL, leaf INTEGER NOT NULL, facts TEXT NOT NULL, histories TEXT NOT NULL,
    PRIMARY KEY (log, leaf)) STRICT;
CREATE TABLE models(id INTEGER PRIMARY KEY, log TEXT NOT NULL, name TEXT NOT NULL, rows INTEGER NOT NULL,
    leaf INTEGER NOT NULL, UNIQUE (log, name)) STRICT;
CREATE INDEX recent ON models(log, leaf);
CREATE TABLE rows(model INTEGER NOT NULL, ordinal INTEGER NOT NULL, leaf INTEGER NOT NULL,
    PRIMARY KEY (model, ordinal)) STRICT, WITHOUT ROWID;
CREATE TABLE states(log TEXT NOT NULL, key TEXT NOT NULL, pins BLOB NOT NULL, standing TEXT NOT NULL,
    PRIMARY KEY (log, key)) STRICT;
CREATE TABLE signers(log TEXT NOT NULL, signer TEXT NOT NULL, shown TEXT NOT NULL, PRIMARY KEY (log, signer))
    STRICT, WITHOUT ROWID;
CREATE TABLE signed(log TEXT NOT NULL, signer TEXT NOT NULL, leaf INTEGER NOT NULL, PRIMARY KEY (log, signer, leaf))
    STRICT, WITHOUT ROWID;
CREATE TABLE due(log TEXT NOT NULL, kind TEXT NOT NULL, what TEXT NOT NULL, PRIMARY KEY (log, kind, what))
    STRICT, WITHOUT ROWID;
CREATE TABLE places(log TEXT NOT NULL, shard INTEGER NOT NULL, at INTEGER NOT NULL, leaf INTEGER NOT NULL,
    PRIMARY KEY (log, shard, at)) STRICT, WITHOUT ROWID;
CREATE TABLE heads(log TEXT NOT NULL, key TEXT NOT NULL, sequence INTEGER NOT NULL, PRIMARY KEY (log, key))
    STRICT, WITHOUT ROWID;
CREATE TABLE reached(log TEXT NOT NULL, shard INTEGER NOT NULL, size INTEGER NOT NULL, PRIMARY KEY (log, shard))
    STRICT, WITHOUT ROWID;
CREATE TABLE awaited(log TEXT NOT NULL, shard INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (log, shard, at))
    STRICT, WITHOUT ROWID;
CREATE TABLE shown(log TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, state TEXT NOT NULL,
    severity TEXT NOT NULL, kind TEXT NOT NULL, keys TEXT NOT NULL, final INTEGER NOT NULL, PRIMARY KEY (log, number)) STRICT, WITHOUT ROWID;
"""
_EVERYTHING = """
INSERT OR IGNORE INTO due SELECT log, 'model', name FROM models;
INSERT OR IGNORE INTO due SELECT log, 'name', name FROM models;
INSERT OR IGNORE INTO due SELECT log, 'signer', signer FROM signers;
INSERT OR IGNORE INTO due SELECT DISTINCT log, 'events', leaf / {chunk} FROM entries;
INSERT OR IGNORE INTO due SELECT log, 'all', '' FROM logs;
"""
_TABLES = (
    *("logs", "entries", "models", "rows", "states", "signers", "signed", "due", "shown"),
    *("places", "heads", "reached", "awaited"),
)
_CHUNK = 500
MODEL, NAME, SIGNER, EVENTS, ALL = "model", "name", "signer", "events", "all"


class Shown(NamedTuple):
    """An open finding as it is shown: where it stands, its class as ``kind``, and the histories that it is about.

    ``is_final``: nothing but its state will change. What is about an entry that is not covered may get further histories.
    A tuple, because each publication makes one for every finding that is open, and a log that nobody tends has tens of thousands.
    """

    number: int
    id: str
    state: str
    severity: str
    kind: str
    keys: tuple[str, ...]
    is_final: bool

    @property
    def models(self) -> tuple[str, ...]:
        """The models on whose pages it is, by recorded name."""
        return tuple(key.removeprefix("name:") for key in self.keys if key.startswith("name:"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where entries of a ledger in Rekor are logged, by number: shard and index; and how far that takes their histories."""

    places: Mapping[int, tuple[int, int]]
    heads: Mapping[str, int]


class Store:
    """The file. One process at a time, one thread."""

    def __init__(self, folder: pathlib.Path, *, token: str) -> None:
        """Open the file, an empty one under a new ``token`` where there is none or an unusable one."""
        self._path = folder / FILE_NAME
        try:
            self._open(token)
        except sqlite3.Error as error:
            if is_of_the_disk(error):
                with _writing():
                    raise
            # What is derived is made again: a damaged file costs time and nothing else.
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(FILE_NAME + suffix).unlink(missing_ok=True)
            with _writing():
                self._open(token)

    def _open(self, token: str) -> None:
        self._connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            self._path.chmod(0o600)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("PRAGMA cache_size = -32768")
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                self._connection.executescript(
                    f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION:d}; COMMIT;"
                )
            elif version != VERSION:
                raise sqlite3.DatabaseError("another version")
            row = self._connection.execute("SELECT token, look FROM made").fetchone()
            # Without a row we stopped before it was stored: whatever was published is of another store.
            self.token: str = row[0] if row else token
            self._look: str = row[1] if row else ""
        except sqlite3.Error:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def clear(self, *, token: str) -> None:
        """Forget everything, because the published folder is gone or is another one."""
        with self._transaction() as execute:
            for table in _TABLES:
                execute(f"DELETE FROM {table}")  # noqa: S608  # our own tables
            execute("DELETE FROM made")
            execute("INSERT INTO made VALUES (?, '')", (token,))
        self.token, self._look = token, ""

    def set_look(self, look: str) -> None:
        """Note how pages look now; where they looked otherwise, every page is due again."""
        if look == self._look:
            return
        with self._transaction() as execute:
            for statement in _EVERYTHING.format(chunk=CHUNK).strip().split("\n"):
                execute(statement)
            execute("UPDATE made SET look = ?", (look,))
        self._look = look

    # What entries say

    def size(self, log: str) -> int | None:
        """Return how many entries are covered, None where the log is new here."""
        row = self._row("SELECT size FROM logs WHERE log = ?", log)
        return None if row is None else int(row[0])

    def covered(self, log: str) -> int:
        """Return the size of the last signed tree that is covered whole."""
        row = self._row("SELECT covered FROM logs WHERE log = ?", log)
        return 0 if row is None else int(row[0])

    def begin(self, log: str, size: int) -> None:
        """Begin with a log, at the entry where following began."""
        with self._transaction() as execute:
            execute("INSERT OR IGNORE INTO logs VALUES (?, ?, 0)", (log, size))

    def cover(self, log: str, size: int) -> None:
        """Note that a signed tree is covered whole."""
        with self._transaction() as execute:
            execute("UPDATE logs SET covered = ? WHERE log = ?", (size, log))

    def states(self, log: str, keys: Iterable[str]) -> dict[str, KeyState]:
        """Return what is known of these histories."""
        found = {}
        wanted = sorted(set(keys))
        for start in range(0, len(wanted), _CHUNK):
            some = wanted[start : start + _CHUNK]
            marks = ",".join("?" * len(some))
            query = f"SELECT key, pins, standing FROM states WHERE log = ? AND key IN ({marks})"  # noqa: S608  # marks
            for key, pins, standing in self._rows(query, log, *some):
                found[key] = KeyState(pins=parse_state(pins), standing=_parse_standing(standing))
        return found

    def add(
        self,
        log: str,
        published: Sequence[Published],
        states: Mapping[str, KeyState],
        *,
        placed: Placed | None = None,
    ) -> None:
        """Store what a run of entries says, and what has to be written because of it; in Rekor, where they are logged."""
        with self._transaction() as execute:
            if placed is not None:
                self._connection.executemany(
                    "INSERT INTO places VALUES (?, ?, ?, ?)",
                    [(log, *place, number) for number, place in placed.places.items()],
                )
                self._connection.executemany(
                    "INSERT OR REPLACE INTO heads VALUES (?, ?, ?)",
                    [(log, key, sequence) for key, sequence in placed.heads.items()],
                )
            due = {(log, *each): None for entry in published for each in self._add(execute, log, entry)}
            self._connection.executemany("INSERT OR IGNORE INTO due VALUES (?, ?, ?)", list(due))
            self._connection.executemany(
                "INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?)",
                [
                    (log, key, state.pins.format(), _format_standing(state.standing))
                    for key, state in states.items()
                ],
            )
            execute("UPDATE logs SET size = ? WHERE log = ?", (published[-1].leaf_index + 1, log))

    def _add(self, execute: Any, log: str, entry: Published) -> list[tuple[str, str]]:
        """Store an entry; returns what is due because of it."""
        leaf = entry.leaf_index
        facts, histories = (
            format_canonical_json(dict(entry.facts)),
            format_canonical_json(list(entry.histories)),
        )
        execute("INSERT INTO entries VALUES (?, ?, ?, ?)", (log, leaf, facts.decode(), histories.decode()))
        due = [(EVENTS, str(leaf // CHUNK))]
        if leaf and leaf % CHUNK == 0:
            due.append((EVENTS, str(leaf // CHUNK - 1)))  # which has a newer page now
        for name in entry.models:
            model, rows = execute(
                "INSERT INTO models(log, name, rows, leaf) VALUES (?, ?, 1, ?) ON CONFLICT(log, name) "
                "DO UPDATE SET rows = rows + 1, leaf = excluded.leaf RETURNING id, rows",
                (log, name, leaf),
            ).fetchone()
            execute("INSERT INTO rows VALUES (?, ?, ?)", (model, rows - 1, leaf))
            due += [(MODEL, name), (NAME, name)] if rows == 1 else [(MODEL, name)]
        for signer, shown in entry.signers.items():
            execute("INSERT OR IGNORE INTO signers VALUES (?, ?, ?)", (log, signer, shown))
            execute("INSERT OR IGNORE INTO signed VALUES (?, ?, ?)", (log, signer, leaf))
            due.append((SIGNER, signer))
        return due

    # Ledgers in Rekor, whose entries are logged in any order and in several shards

    def number(self, log: str, shard: int, at: int) -> int | None:
        """Return the number under which what is logged at a place is published, None where it is not."""
        row = self._row("SELECT leaf FROM places WHERE log = ? AND shard = ? AND at = ?", log, shard, at)
        return None if row is None else int(row[0])

    def heads(self, log: str, keys: Iterable[str]) -> dict[str, int]:
        """Return the highest sequence that is published of each of these histories, where there is one."""
        found: dict[str, int] = {}
        for key in sorted(set(keys)):
            row = self._row("SELECT sequence FROM heads WHERE log = ? AND key = ?", log, key)
            if row is not None:
                found[key] = int(row[0])
        return found

    def reached(self, log: str, shard: int) -> int:
        """Return up to where a shard was looked through."""
        row = self._row("SELECT size FROM reached WHERE log = ? AND shard = ?", log, shard)
        return 0 if row is None else int(row[0])

    def awaited(self, log: str) -> list[tuple[int, int]]:
        """Return the places before that whose entries could not be published yet."""
        rows = self._rows("SELECT shard, at FROM awaited WHERE log = ? ORDER BY shard, at", log)
        return [(shard, at) for shard, at in rows]

    def reach(self, log: str, sizes: Mapping[int, int], awaited: Iterable[tuple[int, int]]) -> None:
        """Note up to where each shard was looked through, and what is awaited of it."""
        with self._transaction() as execute:
            execute("DELETE FROM awaited WHERE log = ?", (log,))
            self._connection.executemany(
                "INSERT OR IGNORE INTO awaited VALUES (?, ?, ?)", [(log, *each) for each in awaited]
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO reached VALUES (?, ?, ?)",
                [(log, *each) for each in sizes.items()],
            )

    # What pages show

    def entries(self, log: str, start: int, end: int) -> list[dict[str, Any]]:
        """Return what is published of the entries ``[start, end)``."""
        rows = self._rows(
            "SELECT facts FROM entries WHERE log = ? AND leaf >= ? AND leaf < ? ORDER BY leaf",
            log,
            start,
            end,
        )
        return [parse_json(facts) for (facts,) in rows]

    def histories(self, log: str, leaf: int) -> tuple[str, ...] | None:
        """Return the history keys that an entry belongs to, as far as it could be read; None where it is not covered."""
        row = self._row("SELECT histories FROM entries WHERE log = ? AND leaf = ?", log, leaf)
        return None if row is None else tuple(parse_json(row[0]))

    def count(self, log: str, name: str) -> int:
        """Return how many entries a model has."""
        row = self._row("SELECT rows FROM models WHERE log = ? AND name = ?", log, name)
        return 0 if row is None else int(row[0])

    def history(self, log: str, name: str, start: int, end: int) -> list[dict[str, Any]]:
        """Return the entries ``[start, end)`` of a model, counted from its first."""
        rows = self._rows(
            "SELECT facts FROM models JOIN rows ON model = id JOIN entries ON entries.log = models.log AND "
            "entries.leaf = rows.leaf WHERE models.log = ? AND name = ? AND ordinal >= ? AND ordinal < ? ORDER BY ordinal",
            log,
            name,
            start,
            end,
        )
        return [parse_json(facts) for (facts,) in rows]

    def recent(self, log: str, *, limit: int) -> list[tuple[str, dict[str, Any]]]:
        """Return the models with the newest entries: name, and what the entry says."""
        rows = self._rows(
            "SELECT name, facts FROM models JOIN entries USING (log, leaf) WHERE log = ? ORDER BY leaf DESC LIMIT ?",
            log,
            limit,
        )
        return [(name, parse_json(facts)) for name, facts in rows]

    def newest_by(self, log: str, signer: str, *, limit: int) -> tuple[str, list[dict[str, Any]]]:
        """Return how a signer is shown, and what it signed last, newest first."""
        row = self._row("SELECT shown FROM signers WHERE log = ? AND signer = ?", log, signer)
        rows = self._rows(
            "SELECT facts FROM signed JOIN entries USING (log, leaf) WHERE log = ? AND signer = ? ORDER BY leaf DESC LIMIT ?",
            log,
            signer,
            limit,
        )
        return str(row[0]), [parse_json(facts) for (facts,) in rows]

    def names(self, log: str, low: str, high: str, *, limit: int) -> list[str]:
        """Return the recorded names ``low <= name < high`` in the order of their bytes."""
        rows = self._rows(
            "SELECT name FROM models WHERE log = ? AND name >= ? AND name < ? ORDER BY name LIMIT ?",
            log,
            low,
            high,
            limit,
        )
        return [name for (name,) in rows]

    def last_name(self, log: str, low: str, high: str) -> str:
        """Return the last of the names ``low <= name < high``."""
        row = self._row(
            "SELECT max(name) FROM models WHERE log = ? AND name >= ? AND name < ?", log, low, high
        )
        return str(row[0])

    def count_models(self, log: str) -> int:
        """Return how many models a log has."""
        return int(self._row("SELECT count(*) FROM models WHERE log = ?", log)[0])

    # What is due

    def due(self, log: str, kind: str) -> Iterator[str]:
        """Yield what has to be written."""
        for (what,) in self._rows("SELECT what FROM due WHERE log = ? AND kind = ?", log, kind):
            yield what

    def due_models(self, log: str) -> Iterator[str]:
        """Yield the models that have to be written, by their newest entries: their proofs then lie beside each other."""
        query = (
            "SELECT what FROM due CROSS JOIN models ON models.log = due.log AND name = what "  # what is due first: it is less
            "WHERE due.log = ? AND kind = 'model' ORDER BY leaf"
        )
        for (what,) in self._rows(query, log):
            yield what

    def mark(self, log: str, kind: str, what: Iterable[str]) -> None:
        """Note that something has to be written."""
        with self._transaction():
            self._connection.executemany(
                "INSERT OR IGNORE INTO due VALUES (?, ?, ?)", [(log, kind, each) for each in what]
            )

    def done(self, log: str) -> None:
        """Strike off what was due of a log: it is written."""
        with self._transaction() as execute:
            execute("DELETE FROM due WHERE log = ?", (log,))

    # Findings on pages

    def shown(self, log: str) -> dict[int, Shown]:
        """Return the findings that pages of a log show, by number."""
        rows = self._rows(
            "SELECT number, id, state, severity, kind, keys, final FROM shown WHERE log = ?", log
        )
        return {
            number: Shown(
                number, id_, state, severity, kind, tuple(keys.split("\n")) if keys else (), bool(final)
            )
            for number, id_, state, severity, kind, keys, final in rows
        }

    def show(self, log: str, before: Mapping[int, Shown], findings: Iterable[Shown]) -> None:
        """Note which findings are shown from now on instead of those ``before``; pages on which that changes are due."""
        now = {each.number: each for each in findings}
        gone = [each for number, each in before.items() if number not in now]
        new = [each for number, each in now.items() if before.get(number) != each]
        if not gone and not new:
            return
        rows = [
            (log, e.number, e.id, e.state, e.severity, e.kind, "\n".join(e.keys), int(e.is_final))
            for e in new
        ]
        # A history that it is no longer about had it on its page, too.
        on = [each for e in (*gone, *new) for each in (e, before.get(e.number)) if each is not None]
        due = {(log, name): None for each in on for name in each.models}
        with self._transaction():
            many = self._connection.executemany
            many("DELETE FROM shown WHERE log = ? AND number = ?", [(log, each.number) for each in gone])
            many("INSERT OR REPLACE INTO shown VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            many("INSERT OR IGNORE INTO due VALUES (?, 'model', ?)", list(due))

    # SQLite

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        with _writing():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.execute
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _rows(self, query: str, *values: object) -> list[Any]:
        with _writing():
            return self._connection.execute(query, values).fetchall()

    def _row(self, query: str, *values: object) -> Any:
        with _writing():
            return self._connection.execute(query, values).fetchone()


def _format_standing(standing: Standing) -> str:
    value: dict[str, Json] = {"signers": [each.as_json() for each in standing.signers]}
    return format_canonical_json(
        value if standing.repo is None else {**value, "repo": standing.repo}
    ).decode()


def _parse_standing(text: str) -> Standing:
    value = parse_json(text)
    return Standing(signers=tuple(parse_signer(each) for each in value["signers"]), repo=value.get("repo"))


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise WriteError(
            f"using {FILE_NAME} of the monitor",
            expected="a file that can be read and written",
            actual=str(error),
            next_step=f"Repair the disk, or remove {FILE_NAME}: it is made again, and everything is published again",
        ) from error
