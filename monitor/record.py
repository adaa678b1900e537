"""The record of findings: each one once, where it stands, and what was expected before it happened."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.encoding import Json, format_canonical_json
from ledger.errors import NotFoundError
from monitor.database import Database, parse_json
from monitor.findings import Finding

# Both indexes grow at an end of theirs while a log is read: an id alone, which is a digest, has a page of its own to be written.
SCHEMA = """
CREATE TABLE findings(
    number INTEGER PRIMARY KEY, log TEXT NOT NULL, leaf INTEGER NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL,
    about TEXT NOT NULL, found_at INTEGER NOT NULL, seen_at INTEGER NOT NULL, state TEXT NOT NULL,
    note TEXT NOT NULL DEFAULT '', moved_at INTEGER, facts TEXT NOT NULL, UNIQUE (log, leaf, id),
    CHECK (state IN ('open', 'expected', 'acknowledged', 'resolved'))
) STRICT;
CREATE TABLE expected(
    log TEXT NOT NULL, model TEXT NOT NULL, signer TEXT NOT NULL, made_at INTEGER NOT NULL, note TEXT NOT NULL,
    PRIMARY KEY (log, model, signer)) STRICT, WITHOUT ROWID;
CREATE INDEX standing ON findings(log, kind, state, number, id);
"""
STORED = "number, id, state, note, found_at, seen_at, facts"
"""The columns of a finding, in the order of ``parse_stored``."""
_NO_LEAF = -1
"""The leaf index of a finding that is about a log itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A signer, by its hex digest, that is expected for a model; ``made_at`` is in POSIX seconds."""

    log: str
    model: str
    signer: str
    made_at: int
    note: str

    def as_json(self) -> dict[str, Json]:
        """Return it for reports."""
        return {
            "log": self.log,
            "model": self.model,
            "signer": self.signer,
            "note": self.note,
        }


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


class Record:
    """The findings in the file of a monitor. What takes ``execute`` is part of somebody's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, execute: Any, finding: Finding, now: int) -> Stored | None:
        """Store a finding; None where it is known. A passing state is told once while it lasts."""
        state = "expected" if self._is_expected(execute, finding) else "open"
        episode = 0
        if finding.passing:
            (episode,) = execute(
                "SELECT count(*) FROM findings WHERE log = ? AND kind = ? AND about = ? AND state = 'resolved'",
                (finding.log, finding.kind, finding.about),
            ).fetchone()
        facts, id_ = finding.as_json(), finding.id(episode)
        leaf = _NO_LEAF if finding.leaf_index is None else finding.leaf_index
        text = format_canonical_json(facts).decode()
        row = execute(
            "INSERT INTO findings(log, leaf, id, kind, about, found_at, seen_at, state, facts) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(log, leaf, id) DO NOTHING RETURNING number",
            (finding.log, leaf, id_, finding.kind, finding.about, now, now, state, text),
        ).fetchone()
        if row is None:
            execute(
                "UPDATE findings SET seen_at = max(seen_at, ?) WHERE log = ? AND leaf = ? AND id = ?",
                (now, finding.log, leaf, id_),
            )
            return None
        return Stored(number=row[0], id=id_, state=state, note="", found_at=now, seen_at=now, facts=facts)

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

    def move(self, execute: Any, number: int, *, to: str, note: str, now: int) -> Stored:
        """Say where a finding stands now. Raises NotFoundError."""
        row = execute(
            f"UPDATE findings SET state = ?, note = ?, moved_at = ? WHERE number = ? RETURNING {STORED}",  # noqa: S608  # our own columns
            (to, note, now, number),
        ).fetchone()
        if row is None:
            raise NotFoundError(
                f"finding {number}",
                expected="the number of a finding",
                actual="none of that number",
                next_step="See `hubledger monitor findings`",
            )
        return parse_stored(row)

    def findings(
        self,
        *,
        states: Sequence[str] = (),
        logs: Sequence[str] = (),
        models: Sequence[str] = (),
        kinds: Sequence[str] = (),
        severities: Sequence[str] = (),
        limit: int = 1000,
    ) -> list[Stored]:
        """Return findings, newest first: those that are one of each that is named; where none is named, any."""
        wanted = [
            ("state", states),
            ("log", logs),
            ("kind", kinds),
            ("json_extract(facts, '$.model')", models),
            ("json_extract(facts, '$.severity')", severities),
        ]
        tests = " AND ".join(f"{what} IN ({','.join('?' * len(any_))})" for what, any_ in wanted if any_)
        values = [each for _, any_ in wanted for each in any_]
        query = (
            f"SELECT {STORED} FROM findings {'WHERE ' + tests if tests else ''} "  # noqa: S608  # our own columns
            "ORDER BY number DESC LIMIT ?"
        )
        return [parse_stored(row) for row in self._database.rows(query, *values, limit)]

    def of_kind(self, log: str, kind: str) -> list[Stored]:
        """Return the findings of a kind about a log, wherever they stand."""
        query = f"SELECT {STORED} FROM findings WHERE log = ? AND kind = ?"  # noqa: S608  # our own columns
        return [parse_stored(row) for row in self._database.rows(query, log, kind)]

    def standing(
        self, log: str, *, kinds: Sequence[str], states: Sequence[str], limit: int = -1
    ) -> list[tuple[int, str, str]]:
        """Return number, id and state of the findings about a log of these kinds, newest first: many cost little."""
        marks = [",".join("?" * len(each)) for each in (kinds, states)]
        query = (
            f"SELECT number, id, state FROM findings WHERE log = ? AND kind IN ({marks[0]}) AND state IN ({marks[1]}) "  # noqa: S608  # marks
            "ORDER BY number DESC LIMIT ?"
        )
        return self._database.rows(query, log, *kinds, *states, limit)

    def numbered(self, numbers: Sequence[int]) -> Iterator[Stored]:
        """Yield the findings of these numbers, as far as there are such."""
        for row in self._database.chosen(f"SELECT {STORED} FROM findings WHERE number", numbers):  # noqa: S608  # our own columns
            yield parse_stored(row)

    def newest(self, log: str, kind: str) -> Stored | None:
        """Return the newest finding of a kind about a log, wherever it stands."""
        row = self._database.row(
            f"SELECT {STORED} FROM findings WHERE log = ? AND kind = ? ORDER BY number DESC LIMIT 1",  # noqa: S608  # our own columns
            log,
            kind,
        )
        return row and parse_stored(row)

    def moved_at(self, log: str, kind: str, *, note: str) -> int | None:
        """Return when a finding of a kind was last settled with this note."""
        row = self._database.row(
            "SELECT max(moved_at) FROM findings WHERE log = ? AND kind = ? AND note = ?", log, kind, note
        )
        return None if row[0] is None else int(row[0])

    def count_open(self) -> dict[tuple[str, str], int]:
        """Return how many findings of each log and kind are open."""
        rows = self._database.rows(
            "SELECT log, kind, count(*) FROM findings WHERE state = 'open' GROUP BY 1, 2"
        )
        return {(log, kind): n for log, kind, n in rows}

    def after(self, log: str, number: int, *, limit: int = 500) -> list[Stored]:
        """Return the findings about a log after one, oldest first."""
        return [
            parse_stored(row)
            for row in self._database.rows(
                f"SELECT {STORED} FROM findings WHERE log = ? AND number > ? ORDER BY number LIMIT ?",  # noqa: S608  # our own columns
                log,
                number,
                limit,
            )
        ]

    def open_kinds(self) -> frozenset[str]:
        """Return the kinds of which a finding is open."""
        return frozenset(
            kind for (kind,) in self._database.rows("SELECT DISTINCT kind FROM findings WHERE state = 'open'")
        )

    def recovered(self, log: str, *, kinds: Sequence[str], now: int, about: str | None = None) -> None:
        """Resolve the passing states of a log that is over, of one thing or of all; what waits to be told is told nevertheless."""
        with self._database.transaction() as execute:
            for kind in kinds:
                execute(
                    "UPDATE findings SET state = 'resolved', note = 'passed', moved_at = ? "
                    "WHERE log = ? AND kind = ? AND (? IS NULL OR about = ?) AND state IN ('open', 'acknowledged')",
                    (now, log, kind, about, about),
                )

    def open_about(self, log: str, kind: str) -> list[str]:
        """Return what the findings of a kind are about that are not settled."""
        rows = self._database.rows(
            "SELECT about FROM findings WHERE log = ? AND kind = ? AND state IN ('open', 'acknowledged')",
            log,
            kind,
        )
        return [about for (about,) in rows]

    def expect(self, log: str, *, model: str, signer: str, note: str, now: int) -> None:
        """Remember that a signer is expected for a model: its next change to that signer alerts nobody."""
        with self._database.transaction() as execute:
            execute("INSERT OR REPLACE INTO expected VALUES (?, ?, ?, ?, ?)", (log, model, signer, now, note))

    def withdraw(self, log: str, *, model: str, signer: str) -> None:
        """Expect a signer no longer; what was settled by it stays so. Raises NotFoundError: it was not expected."""
        with self._database.transaction() as execute:
            gone = execute(
                "DELETE FROM expected WHERE log = ? AND model = ? AND signer = ?", (log, model, signer)
            ).rowcount
            if not gone:
                raise NotFoundError(
                    f"expected signer {signer} of {model} in {log}",
                    expected="one that was named before",
                    actual="none",
                    next_step="See which there are with `hubledger monitor expected`",
                )

    def expectations(self) -> list[Expected]:
        """Return what is expected, by log, model and signer."""
        rows = self._database.rows(
            "SELECT log, model, signer, made_at, note FROM expected ORDER BY log, model, signer"
        )
        return [
            Expected(log=log, model=model, signer=signer, made_at=made_at, note=note)
            for log, model, signer, made_at, note in rows
        ]


def parse_stored(row: Any) -> Stored:
    """Return the finding of a row of the columns ``STORED``."""
    number, id_, state, note, found_at, seen_at, facts = row
    return Stored(
        number=number,
        id=id_,
        state=state,
        note=note,
        found_at=found_at,
        seen_at=seen_at,
        facts=parse_json(facts),
    )
