"""What a monitor signs: how far it verified a log, when, and which histories it has open findings about.

A c2sp.org/signed-note by the monitor's Ed25519 key, whose key name is the monitor's name; docs/spec/monitor-statement.md.
Pure: the time is a value, and nothing here says how old is too old.
"""

import functools
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from ledger.encoding import format_base64, parse_base64, parse_decimal
from ledger.errors import LimitError, MalformedError, NotFoundError, SignatureError
from ledger.open_findings import (
    MAX_FINDINGS,
    MAX_HISTORIES,
    HistoryFindings,
    ListPart,
    OpenFindings,
    OpenList,
    check_parts,
    check_rows,
    history_digest,
    parse_open,
    parse_parts,
    parse_rows,
    verify_part,
)
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import HASH_BYTES
from ledger.tlog.signed_note import KeyType, NoteSigner, VerifierKey, open_note, parse_note, sign_note

FORMAT = "hubledger/monitor-statement/v1"
MAX_STATEMENT_BYTES = 512 << 10
"""Of the whole note: all rows that it may have, and signatures."""
MAX_CHECKED = 253_402_300_799
"""The last second of the year 9999, beyond which no calendar here goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorStatement:
    """What a monitor verified of one log, or one shard of Rekor, and what is open.

    ``size`` and ``root_hash`` are of the tree that the monitor computed from the entries themselves and found signed by the
    log. ``checked_at``: POSIX seconds at which the newest checkpoint that the log showed was held against it. ``log``: open
    findings that are about no history that could be read. ``histories``: sorted, each once; or ``parts``: of a list that is
    too long for a statement, in the order of the digests; or ``not_listed``: how many are too many even for that.
    """

    ledger: str
    origin: str
    size: int
    root_hash: bytes
    checked_at: int
    log: OpenFindings | None = None
    histories: tuple[HistoryFindings, ...] = ()
    parts: tuple[ListPart, ...] = ()
    not_listed: int = 0

    def __post_init__(self) -> None:
        if not self.ledger or not self.ledger.isprintable():
            raise MalformedError(
                "ledger of a monitor's statement", expected="a non-empty line", actual=self.ledger
            )
        Checkpoint(origin=self.origin, size=self.size, root_hash=self.root_hash)
        if not 0 <= self.checked_at <= MAX_CHECKED:
            raise MalformedError(
                "time of a monitor's statement",
                expected=f"POSIX seconds up to {MAX_CHECKED}",
                actual=self.checked_at,
            )
        check_rows(self.histories, most=MAX_HISTORIES, what="histories of a monitor's statement")
        check_parts(self.parts)
        forms = bool(self.histories) + bool(self.parts) + bool(self.not_listed)
        if not 0 <= self.not_listed <= MAX_FINDINGS or forms > 1:
            raise MalformedError(
                "histories of a monitor's statement",
                expected="a list, its parts, or how many are not listed",
                actual=f"{len(self.histories)} listed, {len(self.parts)} parts, {self.not_listed} not",
            )

    @classmethod
    def of(
        cls, tree: Checkpoint, found: OpenList, *, checked_at: int, log: OpenFindings | None = None
    ) -> "MonitorStatement":
        """Return the statement about a verified tree, and about what is open in its ledger."""
        return cls(
            ledger=found.ledger,
            origin=tree.origin,
            size=tree.size,
            root_hash=tree.root_hash,
            checked_at=checked_at,
            log=log,
            histories=found.histories,
            parts=found.parts,
            not_listed=found.not_listed,
        )

    def parts_for(self, histories: Iterable[str]) -> tuple[ListPart, ...]:
        """Return the parts that these history keys fall in, each once; none where the statement has no parts."""
        digests = [history_digest(self.ledger, key) for key in histories]
        return tuple(part for part in self.parts if any(map(part.holds, digests)))

    def open_for(self, histories: Iterable[str], parts: Iterable[bytes] = ()) -> OpenFindings | None:
        """Return the open findings listed for any of these history keys; with ``not_listed`` nothing is known of them.

        ``parts`` are those that somebody handed over; others may be among them.

        Raises:
            NotFoundError: a part that has to be looked into is not among them. MalformedError: the monitor signed one that is none.
        """
        keys = tuple(histories)
        wanted = {history_digest(self.ledger, key) for key in keys}
        rows = [*self.histories]
        given = {sha256(data).digest(): data for data in parts}
        for part in self.parts_for(keys):
            data = given.get(part.sha256)
            if data is None:
                raise NotFoundError(
                    "part of a monitor's list",
                    expected=f"one with the SHA-256 {part.name}",
                    actual=f"none among {len(given)}",
                    next_step="Ask the monitor for it",
                )
            rows += verify_part(data, part)
        found = [each.open for each in rows if each.history in wanted]
        return functools.reduce(operator.add, found) if found else None


def _text(statement: MonitorStatement) -> bytes:
    lines = [
        FORMAT,
        f"ledger {statement.ledger}",
        f"origin {statement.origin}",
        f"size {statement.size}",
        f"root {format_base64(statement.root_hash)}",
        f"checked {statement.checked_at}",
        f"log {statement.log or 'none'}",
        *_list(statement),
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def _list(statement: MonitorStatement) -> list[str]:
    if statement.not_listed:
        return [f"not-listed {statement.not_listed}"]
    if statement.parts:
        return [f"parts {len(statement.parts)}", *map(str, statement.parts)]
    return [f"listed {len(statement.histories)}", *map(str, statement.histories)]


def format_monitor_statement(statement: MonitorStatement, key: NoteSigner) -> bytes:
    """Sign a statement. Raises MalformedError: the key is not an Ed25519 note key (type 0x01)."""
    if key.verifier.kind is not KeyType.ED25519:
        raise MalformedError(
            "key of a monitor", expected="an Ed25519 key (0x01)", actual=key.verifier.kind.name
        )
    return sign_note(_text(statement), [key])


def verify_monitor_statement(note: bytes, *, vkeys: Sequence[VerifierKey]) -> MonitorStatement:
    """Return the statement that at least one of these monitors' keys signed.

    Raises:
        LimitError: larger than ``MAX_STATEMENT_BYTES``. MalformedError: no signed note, or no such statement.
        SignatureError: none of the keys signed it, one's signature fails, or one is not an Ed25519 key.
    """
    if len(note) > MAX_STATEMENT_BYTES:
        raise LimitError(
            "monitor's statement",
            expected=f"at most {MAX_STATEMENT_BYTES} bytes",
            actual=f"{len(note)} bytes",
        )
    for key in vkeys:
        if key.kind is not KeyType.ED25519:
            raise SignatureError(
                f"key of the monitor {key.name}", expected="an Ed25519 key (0x01)", actual=key.kind.name
            )
    return _parse(open_note(note, vkeys).note.text)


def unverified_statement(note: bytes) -> MonitorStatement:
    """Return what a note says, for whoever copies it with what belongs to it. No signature is verified: nothing may rest on it.

    Raises MalformedError, LimitError.
    """
    return _parse(parse_note(note).text)


_LABELS = ("ledger", "origin", "size", "root", "checked", "log")


def _parse(text: bytes) -> MonitorStatement:
    first, *lines = text.decode().removesuffix("\n").split("\n")
    if first != FORMAT:
        raise MalformedError("first line of a monitor's statement", expected=FORMAT, actual=first)
    values = [_labelled(lines, at, label) for at, label in enumerate(_LABELS)]
    ledger, origin, size, root, checked, log = values
    rows = lines[len(_LABELS) + 1 :]
    form, many = _form(lines, len(rows))
    statement = MonitorStatement(
        ledger=ledger,
        origin=origin,
        size=parse_decimal(size, what="size of a monitor's statement"),
        root_hash=parse_base64(root, what="root of a monitor's statement", max_bytes=HASH_BYTES),
        checked_at=parse_decimal(checked, what="time of a monitor's statement"),
        log=None if log == "none" else parse_open(log),
        histories=parse_rows(rows) if form == "listed" else (),
        parts=parse_parts(rows) if form == "parts" else (),
        not_listed=many if form == "not-listed" else 0,
    )
    if _text(statement) != text:
        raise MalformedError("monitor's statement", expected="its own formatting", actual="other bytes")
    return statement


def _labelled(lines: Sequence[str], at: int, label: str) -> str:
    line = lines[at] if at < len(lines) else ""
    name, _, value = line.partition(" ")
    if name != label or not value:
        raise MalformedError(
            f"line {at + 2} of a monitor's statement", expected=f"{label} and its value", actual=line
        )
    return value


def _form(lines: Sequence[str], rows: int) -> tuple[str, int]:
    """Return in which form the open histories are, and the number in that line: of the lines after it, which must be as many."""
    line = lines[len(_LABELS)] if len(lines) > len(_LABELS) else ""
    form, _, value = line.partition(" ")
    if line == f"listed {rows}" or (line == f"parts {rows}" and rows):
        return form, rows
    if form == "not-listed" and rows == 0 and value not in ("", "0"):
        return form, parse_decimal(value, what="histories of a monitor's statement")
    raise MalformedError(
        "histories of a monitor's statement",
        expected=f"listed {rows}, parts {rows}, or not-listed and how many",
        actual=line,
    )
