"""What a monitor signs: how far it verified a log, when, and which histories it has open findings about.

A c2sp.org/signed-note by the monitor's Ed25519 key, whose key name is the monitor's name; docs/spec/monitor-statement.md.
Pure: the time is a value, and nothing here says how old is too old.
"""

import functools
import hashlib
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ledger.encoding import format_base64, parse_base64, parse_decimal, parse_hex
from ledger.errors import LimitError, MalformedError, SignatureError
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import HASH_BYTES
from ledger.tlog.signed_note import KeyType, NoteSigner, VerifierKey, open_note, sign_note

FORMAT = "hubledger/monitor-statement/v1"
MAX_STATEMENT_BYTES = 512 << 10
"""Of the whole note: all rows that it may have, and signatures."""
MAX_HISTORIES = 4096
"""Histories that are listed one by one. Beyond that a client is told that any could be among them."""
MAX_FINDINGS = 2**53 - 1
MAX_CHECKED = 253_402_300_799
"""The last second of the year 9999, beyond which no calendar here goes."""


class Ranked(StrEnum):
    """Words in an order, the least first."""

    @property
    def rank(self) -> int:
        """Its place, so that two can be compared."""
        return tuple(type(self)).index(self)


class OpenSeverity(Ranked):
    """How grave an open finding is. What is only for the record (``info``) is never open."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class OpenClass(Ranked):
    """What sort of finding is open. A monitor that cannot see says so by ``checked``, not here."""

    MALFORMED = "malformed"
    FINDING = "finding"
    TAMPER = "tamper"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFindings:
    """How many findings are open, and the gravest severity and class among them: each by itself."""

    count: int
    severity: OpenSeverity
    kind: OpenClass

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_FINDINGS:
            raise MalformedError("open findings", expected=f"1 to {MAX_FINDINGS}", actual=self.count)

    @property
    def blocks(self) -> bool:
        """Whether a client that asks for ``audited`` must stop: at ``medium`` and above; a low one is shown."""
        return self.severity is not OpenSeverity.LOW

    def __str__(self) -> str:
        return f"{self.count} {self.severity} {self.kind}"

    def __add__(self, other: "OpenFindings") -> "OpenFindings":
        """Return both together."""
        return OpenFindings(
            count=self.count + other.count,
            severity=max(self.severity, other.severity, key=lambda each: each.rank),
            kind=max(self.kind, other.kind, key=lambda each: each.rank),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFindings:
    """The open findings about one history, by the SHA-256 of ``history_digest``."""

    history: bytes
    open: OpenFindings

    def __post_init__(self) -> None:
        if len(self.history) != HASH_BYTES:
            raise MalformedError(
                "digest of a history", expected=f"{HASH_BYTES} bytes", actual=f"{len(self.history)} bytes"
            )


def history_digest(ledger: str, history: str) -> bytes:
    """Return what stands for a history: its map key (architecture section 6), so that names are not published twice."""
    return hashlib.sha256(f"hubledger/map-key/v1\n{ledger}\n{history}".encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorStatement:
    """What a monitor verified of one log, or one shard of Rekor, and what is open.

    ``size`` and ``root_hash`` are of the tree that the monitor computed from the entries themselves and found signed by the
    log. ``checked_at``: POSIX seconds at which the newest checkpoint that the log showed was held against it. ``log``: open
    findings that are about no history that could be read. ``histories``: sorted, each once. ``not_listed``: how many
    histories have open findings that stop a client and are too many to list; then none is.
    """

    ledger: str
    origin: str
    size: int
    root_hash: bytes
    checked_at: int
    log: OpenFindings | None = None
    histories: tuple[HistoryFindings, ...] = ()
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
        digests = [each.history for each in self.histories]
        if len(digests) > MAX_HISTORIES or digests != sorted(set(digests)):
            raise MalformedError(
                "histories of a monitor's statement",
                expected=f"at most {MAX_HISTORIES}, sorted, each once",
                actual=f"{len(digests)}",
            )
        if not 0 <= self.not_listed <= MAX_FINDINGS or (self.not_listed and self.histories):
            raise MalformedError(
                "histories of a monitor's statement",
                expected="a list, or how many are not listed",
                actual=f"{len(digests)} listed, {self.not_listed} not",
            )

    @classmethod
    def of(
        cls,
        tree: Checkpoint,
        *,
        ledger: str,
        checked_at: int,
        findings: Mapping[str, OpenFindings],
        log: OpenFindings | None = None,
    ) -> "MonitorStatement":
        """Return the statement about a verified tree; ``findings`` by history key (``name:…``, ``repo:…``), listed if they fit.

        If they do not, those that stop no client are left out: a hub whose clock is wrong has a low one about each model.
        """
        if len(findings) > MAX_HISTORIES:
            findings = {key: found for key, found in findings.items() if found.blocks}
        fits = len(findings) <= MAX_HISTORIES
        rows = sorted((history_digest(ledger, key), found) for key, found in findings.items()) if fits else ()
        return cls(
            ledger=ledger,
            origin=tree.origin,
            size=tree.size,
            root_hash=tree.root_hash,
            checked_at=checked_at,
            log=log,
            histories=tuple(HistoryFindings(history=key, open=found) for key, found in rows),
            not_listed=0 if fits else len(findings),
        )

    def open_for(self, histories: Iterable[str]) -> OpenFindings | None:
        """Return the open findings listed for any of these history keys; with ``not_listed`` nothing is known of them."""
        wanted = {history_digest(self.ledger, key) for key in histories}
        found = [each.open for each in self.histories if each.history in wanted]
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
        f"not-listed {statement.not_listed}"
        if statement.not_listed
        else f"listed {len(statement.histories)}",
        *(f"{each.history.hex()} {each.open}" for each in statement.histories),
    ]
    return "".join(f"{line}\n" for line in lines).encode()


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


_LABELS = ("ledger", "origin", "size", "root", "checked", "log")
_OPEN = re.compile("([1-9][0-9]{0,15}) (low|medium|high|critical) (malformed|finding|tamper)")


def _parse(text: bytes) -> MonitorStatement:
    first, *lines = text.decode().removesuffix("\n").split("\n")
    if first != FORMAT:
        raise MalformedError("first line of a monitor's statement", expected=FORMAT, actual=first)
    values = [_labelled(lines, at, label) for at, label in enumerate(_LABELS)]
    ledger, origin, size, root, checked, log = values
    rows = lines[len(_LABELS) + 1 :]
    statement = MonitorStatement(
        ledger=ledger,
        origin=origin,
        size=parse_decimal(size, what="size of a monitor's statement"),
        root_hash=parse_base64(root, what="root of a monitor's statement", max_bytes=HASH_BYTES),
        checked_at=parse_decimal(checked, what="time of a monitor's statement"),
        log=None if log == "none" else _open(log),
        histories=tuple(_row(each) for each in rows),
        not_listed=_not_listed(lines, len(rows)),
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


def _not_listed(lines: Sequence[str], rows: int) -> int:
    """Return how many histories are not listed; what is listed must be as many as the line before them says."""
    line = lines[len(_LABELS)] if len(lines) > len(_LABELS) else ""
    if line == f"listed {rows}":
        return 0
    name, _, value = line.partition(" ")
    if name == "not-listed" and rows == 0 and value not in ("", "0"):
        return parse_decimal(value, what="histories of a monitor's statement")
    raise MalformedError(
        "histories of a monitor's statement",
        expected=f"listed {rows}, or not-listed and how many",
        actual=line,
    )


def _open(text: str) -> OpenFindings:
    match = _OPEN.fullmatch(text)
    if match is None:
        raise MalformedError(
            "open findings of a monitor's statement", expected="count, severity and class", actual=text
        )
    return OpenFindings(
        count=parse_decimal(match[1]), severity=OpenSeverity(match[2]), kind=OpenClass(match[3])
    )


def _row(line: str) -> HistoryFindings:
    digest, _, found = line.partition(" ")
    return HistoryFindings(
        history=parse_hex(digest, length=HASH_BYTES, what="history of a monitor's statement"),
        open=_open(found),
    )
