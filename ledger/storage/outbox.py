"""The outbox of a ledger in Rekor, in one SQLite file: what was accepted, what of it is logged where, and where heads live.

An entry's *number* is its place in the order of acceptance, which the chains follow. It is *pending* until it has a
receipt or is dropped; an entry that the log refused is pending too, and waits for a person. Nothing is ever deleted
but the notes that something is pending, and where it was tried. Positions (order of the shard, index in it) belong to one number each; a number
may have several, and the lowest counts.

Whoever reads asks for pages: no call loads more than it was asked for, however much is pending.
"""

import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from ledger.encoding import Json, format_base64, format_canonical_json, parse_base64, parse_canonical_json
from ledger.errors import ConfigError, CorruptError, LedgerError
from ledger.storage import Head
from ledger.storage.heads import HeadStore, reading

_SCHEMA = """
CREATE TABLE accepted(
    number INTEGER PRIMARY KEY, statement_sha256 BLOB NOT NULL, accepted_at INTEGER NOT NULL, entry BLOB NOT NULL
) STRICT;
CREATE TABLE pending(
    number INTEGER PRIMARY KEY, barrier INTEGER NOT NULL, refused INTEGER NOT NULL,
    attempts INTEGER NOT NULL, next_attempt REAL NOT NULL, code TEXT NOT NULL, text TEXT NOT NULL
) STRICT;
CREATE INDEX pending_due ON pending(next_attempt, number) WHERE NOT refused;
CREATE INDEX pending_barriers ON pending(number) WHERE barrier;
CREATE INDEX pending_failed ON pending(code) WHERE code <> '';
CREATE TABLE receipts(
    number INTEGER NOT NULL, shard INTEGER NOT NULL, log_index INTEGER NOT NULL, stored_at INTEGER NOT NULL,
    log_entry BLOB NOT NULL, timestamps BLOB NOT NULL, UNIQUE (shard, log_index)
) STRICT;
CREATE INDEX receipts_numbers ON receipts(number, shard, log_index);
CREATE TABLE tried(number INTEGER NOT NULL, shard INTEGER NOT NULL, PRIMARY KEY (number, shard)) STRICT, WITHOUT ROWID;
CREATE TABLE drops(number INTEGER PRIMARY KEY, reason TEXT NOT NULL, dropped_at INTEGER NOT NULL) STRICT;
CREATE TABLE shards(shard INTEGER PRIMARY KEY, kind TEXT NOT NULL, log_id BLOB NOT NULL UNIQUE) STRICT;
"""
FOLD_AT = 4096
"""Recent events that are folded into their table at once; they are in memory until then."""
LONGEST_WAIT = 3600.0
"""Seconds. Nobody waits longer before the next attempt: one that is further off was written by a clock that was ahead."""
MAX_TEXT = 500
"""Characters of an error that are kept with an entry: it may quote what a stranger answered."""
MAX_TIMESTAMPS_BYTES = 1 << 20
_PAGE = 500
_NEVER = float("inf")
_DAMAGED = "Stop the writer, keep the directory, and run `hubledger log audit`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An entry on its way into the outbox. ``barrier``: it is submitted alone, after everything before it."""

    entry: bytes
    statement_sha256: bytes
    barrier: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReceipt:
    """A place of an entry as it was stored: proven then, and to be proven again before anybody is shown it.

    ``shard`` and ``log_index`` are its position; see ``ledger.log.remote.LogReceipt``.
    """

    number: int
    shard: int
    log_index: int
    stored_at: int
    log_entry: bytes
    timestamps: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An attempt that gave no receipt: the class of the error, its text, and when to try again; None: never by itself."""

    number: int
    code: str
    text: str
    next_attempt: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """What is known of an entry that waits. ``code`` and ``text`` are the last error's, empty before the first attempt."""

    number: int
    accepted_at: int
    barrier: bool
    refused: bool
    attempts: int
    next_attempt: float
    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """An entry that somebody gave up: why and when, in POSIX seconds."""

    number: int
    reason: str
    dropped_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many entries were accepted, and how many of them are in which state. ``refused`` are among ``pending``."""

    accepted: int
    pending: int
    refused: int
    dropped: int

    @property
    def logged(self) -> int:
        """How many have a receipt and were not dropped."""
        return self.accepted - self.pending - self.dropped


class OutboxStore(HeadStore):
    """The file. Every write is one transaction, durable on return. Not thread-safe: ``ledger.log.outbox`` holds a lock.

    A failed write raises WriteError; when its fate is unknown, nothing is written with this object any more.
    """

    version = 2
    cache_kib = 8192

    @classmethod
    def create(cls, path: pathlib.Path) -> "OutboxStore":
        """Make an empty outbox. Raises WriteError, also when it exists."""
        cls._create(path, _SCHEMA)
        return cls(path)

    def _fold_at(self) -> int:
        return FOLD_AT

    # Accepting

    def size(self) -> int:
        """How many entries were accepted."""
        (last,) = self._row("SELECT max(number) FROM accepted")
        return 0 if last is None else int(last) + 1

    def accept(
        self,
        first: int,
        entries: Sequence[Accepted],
        *,
        events: Sequence[tuple[bytes, int]],
        heads: Sequence[tuple[str, Head]],
        now: int,
    ) -> None:
        """Store entries from the number ``first`` on, which must be the size, with their event ids and heads."""
        with self._moving(first, events, heads) as execute:
            (last,) = execute("SELECT max(number) FROM accepted").fetchone()
            if first != (0 if last is None else last + 1):
                raise CorruptError("accepting", expected=f"a stored size of {first}", actual="another size")
            self._connection.executemany(
                "INSERT INTO accepted VALUES (?, ?, ?, ?)",
                [(at, each.statement_sha256, now, each.entry) for at, each in enumerate(entries, first)],
            )
            self._connection.executemany(
                "INSERT INTO pending VALUES (?, ?, 0, 0, 0, '', '')",
                [(at, int(each.barrier)) for at, each in enumerate(entries, first)],
            )

    # Reading

    def read(self, start: int, end: int) -> list[bytes]:
        """Return accepted entries from ``start`` on: as many as a page holds, before ``end``."""
        rows = self._rows(
            "SELECT entry FROM accepted WHERE number >= ? AND number < ? ORDER BY number LIMIT ?",
            start,
            end,
            _PAGE,
        )
        return [row[0] for row in rows]

    def entries(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """Return the named entries."""
        with reading("accepted entries"):
            return dict(self._select("SELECT number, entry FROM accepted WHERE number", numbers))

    def statements(self, start: int) -> list[tuple[int, bytes]]:
        """Return a page of (number, digest of the statement) from ``start`` on."""
        return self._rows(
            "SELECT number, statement_sha256 FROM accepted WHERE number >= ? ORDER BY number LIMIT ?",
            start,
            _PAGE,
        )

    # Pending

    def due(self, now: float, limit: int, busy: AbstractSet[int]) -> list[int]:
        """Return up to ``limit`` numbers that may be submitted now, those that wait longest first, without ``busy`` ones.

        What is put off for longer than anybody waits comes too: the clock was ahead when that was written.
        A barrier comes alone, when nothing before it is pending, and nothing behind it comes before it is gone.
        """
        (barrier,) = self._row("SELECT min(number) FROM pending WHERE barrier")
        if barrier is not None:
            (first,) = self._row("SELECT min(number) FROM pending")
            below = barrier + 1 if first == barrier else barrier
        else:
            below = 1 << 62
        found: list[int] = []
        for first, last in ((now + LONGEST_WAIT, _NEVER), (-_NEVER, now)):
            rows = self._rows(
                "SELECT number FROM pending WHERE NOT refused AND next_attempt > ? AND next_attempt <= ?"
                " AND number < ? ORDER BY next_attempt, number LIMIT ?",
                first,
                last,
                below,
                limit + len(busy),
            )
            found += [row[0] for row in rows if row[0] not in busy]
        return found[:limit]

    def next_attempt(self) -> float | None:
        """Return when the next entry may be tried, in POSIX seconds; None: nothing is going to be."""
        (at,) = self._row("SELECT min(next_attempt) FROM pending WHERE NOT refused")
        return None if at is None else float(at)

    def pending(self, numbers: Sequence[int]) -> dict[int, Pending]:
        """Return those of the named entries that are pending."""
        with reading("pending entries"):
            rows = self._select(f"{_PENDING} WHERE p.number", numbers)
            return {row[0]: _pending(row) for row in rows}

    def pending_from(self, start: int, *, failed: bool = False) -> list[Pending]:
        """Return a page of pending entries from ``start`` on; ``failed``: only those whose last attempt failed."""
        where = "AND code <> ''" if failed else ""
        rows = self._rows(f"{_PENDING} WHERE p.number >= ? {where} ORDER BY p.number LIMIT ?", start, _PAGE)
        return [_pending(row) for row in rows]

    def oldest_pending(self) -> int | None:
        """Return when the entry that waits longest was accepted, in POSIX seconds; None: nothing waits."""
        rows = self._rows("SELECT accepted_at FROM accepted WHERE number = (SELECT min(number) FROM pending)")
        return int(rows[0][0]) if rows else None

    def failures(self) -> list[tuple[str, int, str]]:
        """Return for each class of error how many pending entries failed with it, and one of its texts."""
        return self._rows(
            "SELECT code, count(*), max(text) FROM pending WHERE code <> '' GROUP BY code ORDER BY 2 DESC"
        )

    def counts(self) -> Counts:
        """Count."""
        (pending, refused) = self._row("SELECT count(*), coalesce(sum(refused), 0) FROM pending")
        (dropped,) = self._row("SELECT count(*) FROM drops")
        return Counts(accepted=self.size(), pending=pending, refused=refused, dropped=dropped)

    # Settling

    def note_tries(self, numbers: Sequence[int], shard: int) -> dict[int, frozenset[int]]:
        """Note, durably, that entries are about to be submitted to a shard; returns where each was tried before.

        An answer that is lost leaves nothing else behind. The note is gone when the entry has a receipt.
        """
        tried = self.tries(numbers)
        new = [(each, shard) for each in numbers if shard not in tried[each]]
        if new:
            with self._transaction():
                self._connection.executemany("INSERT INTO tried VALUES (?, ?)", new)
            self._certain = True
        return tried

    def forget_try(self, number: int, shard: int) -> None:
        """Take back the note of a try that the shard itself says it did not take."""
        with self._transaction() as execute:
            execute("DELETE FROM tried WHERE number = ? AND shard = ?", (number, shard))
        self._certain = True

    def tries(self, numbers: Sequence[int]) -> dict[int, frozenset[int]]:
        """Return for each of the named entries the shards in which it was tried, and may be without our knowledge."""
        found: dict[int, set[int]] = {each: set() for each in numbers}
        with reading("tries of entries"):
            for number, shard in self._select("SELECT number, shard FROM tried WHERE number", numbers):
                found[number].add(shard)
        return {number: frozenset(shards) for number, shards in found.items()}

    def settle(
        self,
        receipts: Sequence[StoredReceipt],
        failures: Sequence[Failure],
        *,
        open_still: AbstractSet[int] = frozenset(),
    ) -> None:
        """Store how attempts ended, in one transaction. A receipt for an entry that has one is another place of it.

        ``open_still`` are numbers whose receipts here are not what they wait for: those stay pending.

        Raises:
            CorruptError: a place that another entry has.
        """
        with self._transaction() as execute:
            for each in receipts:
                stored = execute(
                    "INSERT INTO receipts VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET number = number"
                    " WHERE number = excluded.number",
                    (
                        each.number,
                        each.shard,
                        each.log_index,
                        each.stored_at,
                        each.log_entry,
                        _format_timestamps(each.timestamps),
                    ),
                ).rowcount
                if stored != 1:
                    raise CorruptError(
                        f"index {each.log_index} of shard {each.shard} in the outbox",
                        expected=f"no entry, or number {each.number}",
                        actual="another entry",
                        next_step=_DAMAGED,
                    )
            done = [(each.number,) for each in receipts if each.number not in open_still]
            self._connection.executemany("DELETE FROM pending WHERE number = ?", done)
            self._connection.executemany("DELETE FROM tried WHERE number = ?", done)
            self._connection.executemany(
                "UPDATE pending SET attempts = attempts + 1, code = ?, text = ?, refused = ?, next_attempt = ?"
                " WHERE number = ?",
                [
                    (
                        each.code,
                        each.text[:MAX_TEXT],
                        int(each.next_attempt is None),
                        each.next_attempt or 0,
                        each.number,
                    )
                    for each in failures
                ],
            )
        self._certain = True

    def receipts(self, number: int) -> list[StoredReceipt]:
        """Return the places of an entry, the lowest first."""
        rows = self._rows(f"{_RECEIPTS} WHERE number = ? ORDER BY shard, log_index", number)
        return [_receipt(row) for row in rows]

    def receipts_from(self, start: int) -> list[StoredReceipt]:
        """Return the places of a page of entries from ``start`` on, whole entries only, in the order of numbers."""
        rows = self._rows(
            f"{_RECEIPTS} WHERE number >= ? AND number < ? ORDER BY number, shard, log_index",
            start,
            start + _PAGE,
        )
        return [_receipt(row) for row in rows]

    def number_at(self, shard: int, log_index: int) -> int | None:
        """Return the entry that has this place, or None."""
        rows = self._rows("SELECT number FROM receipts WHERE shard = ? AND log_index = ?", shard, log_index)
        return rows[0][0] if rows else None

    # What people decide

    def retry(self, numbers: Sequence[int] | None) -> int:
        """Let pending entries be tried at once, refused ones too; None: every one. Returns how many."""
        with self._transaction() as execute:
            if numbers is None:
                count = execute("UPDATE pending SET refused = 0, next_attempt = 0").rowcount
            else:
                count = self._connection.executemany(
                    "UPDATE pending SET refused = 0, next_attempt = 0 WHERE number = ?",
                    [(each,) for each in numbers],
                ).rowcount
        self._certain = True
        return count

    def drop(self, number: int, *, reason: str, now: int) -> None:
        """Give up a pending entry. Its statement, its place in the chains and its event id stay."""
        with self._transaction() as execute:
            execute("DELETE FROM pending WHERE number = ?", (number,))
            execute("INSERT INTO drops VALUES (?, ?, ?)", (number, reason, now))
        self._certain = True

    def drops(self, start: int = 0) -> list[Drop]:
        """Return a page of what was given up, in the order of numbers."""
        rows = self._rows("SELECT * FROM drops WHERE number >= ? ORDER BY number LIMIT ?", start, _PAGE)
        return [Drop(number=row[0], reason=row[1], dropped_at=row[2]) for row in rows]

    def dropped(self, number: int) -> Drop | None:
        """Return why and when an entry was given up, or None."""
        return next((each for each in self.drops(number)[:1] if each.number == number), None)

    # Shards

    def know_shards(self, shards: Mapping[int, tuple[str, bytes]]) -> None:
        """Hold the shards (kind and log id, by order) against those that receipts name, and remember new ones.

        Raises:
            ConfigError: the order of shards changed: positions would mean other entries.
        """
        known = {row[0]: (row[1], bytes(row[2])) for row in self._rows("SELECT * FROM shards ORDER BY shard")}
        for order, (kind, log_id) in known.items():
            if shards.get(order) != (kind, log_id):
                raise ConfigError(
                    f"shard {order} of the trusted root",
                    expected=f"{kind} log {log_id.hex()}, as when it was first used",
                    actual=_show_shard(shards.get(order)),
                    next_step="Keep old logs in the trusted root, in their order: a position is (order of the shard, leaf index)",
                )
        new = {order: each for order, each in shards.items() if order not in known}
        if new:
            with self._transaction():
                self._connection.executemany(
                    "INSERT INTO shards VALUES (?, ?, ?)",
                    [(order, kind, log_id) for order, (kind, log_id) in sorted(new.items())],
                )
            self._certain = True

    def _row(self, statement: str, *values: object) -> tuple[Any, ...]:
        return self._rows(statement, *values)[0]

    def _rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with reading("the outbox"):
            return self._connection.execute(statement, values).fetchall()


_PENDING = (
    "SELECT p.number, accepted_at, barrier, refused, attempts, next_attempt, code, text"
    " FROM pending p JOIN accepted a ON a.number = p.number"
)
_RECEIPTS = "SELECT number, shard, log_index, stored_at, log_entry, timestamps FROM receipts"


def _pending(row: tuple[Any, ...]) -> Pending:
    return Pending(
        number=row[0],
        accepted_at=row[1],
        barrier=bool(row[2]),
        refused=bool(row[3]),
        attempts=row[4],
        next_attempt=row[5],
        code=row[6],
        text=row[7],
    )


def _receipt(row: tuple[Any, ...]) -> StoredReceipt:
    return StoredReceipt(
        number=row[0],
        shard=row[1],
        log_index=row[2],
        stored_at=row[3],
        log_entry=row[4],
        timestamps=_parse_timestamps(row[5]),
    )


def _format_timestamps(timestamps: Iterable[bytes]) -> bytes:
    return format_canonical_json([format_base64(each) for each in timestamps])


def _parse_timestamps(data: bytes) -> tuple[bytes, ...]:
    """Parse stored timestamps. Raises CorruptError."""
    try:
        value: Json = parse_canonical_json(data, what="timestamps", max_bytes=MAX_TIMESTAMPS_BYTES)
        return tuple(parse_base64(each, what="timestamp") for each in value)
    except (LedgerError, TypeError, AttributeError) as error:
        raise CorruptError(
            "timestamps in the outbox",
            expected="a list of base64",
            actual=error.finding if isinstance(error, LedgerError) else "another form",
            next_step=_DAMAGED,
        ) from error


def _show_shard(shard: tuple[str, bytes] | None) -> str:
    return "none" if shard is None else f"{shard[0]} log {shard[1].hex()}"


def pages(store: OutboxStore, start: int, end: int) -> Iterator[bytes]:
    """Yield accepted entries ``[start, end)``, a page at a time. Raises CorruptError: fewer than there must be."""
    while start < end:
        page = store.read(start, end)
        if not page:
            raise CorruptError(
                f"number {start} in the outbox",
                expected="an accepted entry",
                actual="none",
                next_step=_DAMAGED,
            )
        yield from page
        start += len(page)
