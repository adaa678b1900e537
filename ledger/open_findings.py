"""What a monitor has open, by history: a list that its statement has itself or, where it is long, in parts beside it.

docs/spec/monitor-statement.md. Pure. The statement has the SHA-256 of each part, and whoever asks about a model needs only the parts
that the digests of its histories fall in. A part is cut in two at its middle, again and again, until it is short enough: so nobody who
chooses names can make one too long, and what is found about one model changes one part.
"""

import functools
import hashlib
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from operator import itemgetter

from ledger.encoding import parse_decimal, parse_hex
from ledger.errors import LimitError, MalformedError
from ledger.tlog.merkle import HASH_BYTES

MAX_HISTORIES = 4096
"""Histories that a statement lists itself."""
MAX_PART_HISTORIES = 1024
"""Histories of one part: all that a client fetches to ask about one of them, 101 KiB at most."""
MAX_PARTS = 4096
"""Parts whose digests a statement has, 300 KiB of them. That is enough for some millions of histories."""
MAX_FINDINGS = 2**53 - 1
_MAX_ROW_BYTES = len(f"{'0' * 64} {MAX_FINDINGS} critical malformed\n")
MAX_PART_BYTES = MAX_PART_HISTORIES * _MAX_ROW_BYTES
_DIGEST_BITS = 8 * HASH_BYTES


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
            count=min(self.count + other.count, MAX_FINDINGS),
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

    def __str__(self) -> str:
        return f"{self.history.hex()} {self.open}"


def history_digest(ledger: str, history: str) -> bytes:
    """Return what stands for a history: its map key (architecture section 6), so that names are not published twice."""
    return hashlib.sha256(f"hubledger/map-key/v1\n{ledger}\n{history}".encode()).digest()


# Lines of a list

_OPEN = re.compile("([1-9][0-9]{0,15}) (low|medium|high|critical) (malformed|finding|tamper)")


def parse_open(text: str) -> OpenFindings:
    """Parse count, severity and class. Raises MalformedError, of an unknown severity or class too: it may be a graver one."""
    match = _OPEN.fullmatch(text)
    if match is None:
        raise MalformedError(
            "open findings of a monitor's statement", expected="count, severity and class", actual=text
        )
    return OpenFindings(
        count=parse_decimal(match[1]), severity=OpenSeverity(match[2]), kind=OpenClass(match[3])
    )


def parse_rows(lines: Iterable[str]) -> tuple[HistoryFindings, ...]:
    """Parse the lines of a list, without their line feeds. Raises MalformedError."""
    return tuple(_parse_row(each) for each in lines)


def _parse_row(line: str) -> HistoryFindings:
    digest, _, found = line.partition(" ")
    return HistoryFindings(
        history=parse_hex(digest, length=HASH_BYTES, what="history of a monitor's statement"),
        open=parse_open(found),
    )


def check_rows(rows: Sequence[HistoryFindings], *, most: int, what: str) -> None:
    """Refuse a list that is too long, not sorted, or has a history twice. Raises MalformedError."""
    digests = [each.history for each in rows]
    if len(digests) > most or digests != sorted(set(digests)):
        raise MalformedError(
            what, expected=f"at most {most}, sorted, each once", actual=f"{len(digests)} histories"
        )


# Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPart:
    """What a statement has of one part: of the histories whose digests begin with the same ``bits`` bits as ``first``.

    ``first``: the least such digest, as a number. ``count``: how many histories are in it. ``sha256``: of the part itself.
    """

    first: int
    bits: int
    count: int
    sha256: bytes

    def __post_init__(self) -> None:
        if not (
            0 <= self.bits <= _DIGEST_BITS
            and self.first % (self.end - self.first) == 0
            and 0 <= self.count <= MAX_PART_HISTORIES
            and len(self.sha256) == HASH_BYTES
        ):
            raise MalformedError(
                "part of a monitor's statement",
                expected=f"0 to {_DIGEST_BITS} bits, where such a part begins, and at most {MAX_PART_HISTORIES} histories",
                actual=str(self),
            )

    @property
    def end(self) -> int:
        """The first digest after it, as a number."""
        return self.first + (1 << _DIGEST_BITS >> self.bits)

    @property
    def name(self) -> str:
        """What it is asked for by."""
        return self.sha256.hex()

    def holds(self, history: bytes) -> bool:
        """Whether the digest of a history falls in it."""
        return self.first <= int.from_bytes(history) < self.end

    def __str__(self) -> str:
        return f"{self.bits} {self.count} {self.name}"


_PART = re.compile("(0|[1-9][0-9]{0,2}) (0|[1-9][0-9]{0,3}) ([0-9a-f]{64})")


def parse_parts(lines: Iterable[str]) -> tuple[ListPart, ...]:
    """Parse the lines of parts, without their line feeds; each begins where the one before it ends. Raises MalformedError."""
    found, first = [], 0
    for line in lines:
        match = _PART.fullmatch(line)
        if match is None:
            raise MalformedError(
                "part of a monitor's statement", expected="bits, count and SHA-256", actual=line
            )
        bits, count = parse_decimal(match[1]), parse_decimal(match[2])
        part = ListPart(first=first, bits=bits, count=count, sha256=parse_hex(match[3], length=HASH_BYTES))
        found.append(part)
        first = part.end
    return tuple(found)


def check_parts(parts: Sequence[ListPart]) -> None:
    """Refuse parts that are too many, or do not hold every digest, each exactly once. Raises MalformedError."""
    ends = [0, *(each.end for each in parts)]
    if parts and (
        len(parts) > MAX_PARTS or ends[-1] != 1 << _DIGEST_BITS or ends[:-1] != [each.first for each in parts]
    ):
        raise MalformedError(
            "parts of a monitor's statement",
            expected=f"at most {MAX_PARTS}, which hold every digest once",
            actual=f"{len(parts)} others",
        )


def verify_part(data: bytes, part: ListPart) -> tuple[HistoryFindings, ...]:
    """Return the lines of a part of which a statement has the SHA-256.

    Raises:
        LimitError: larger than ``MAX_PART_BYTES``. MalformedError: other bytes than the statement signed, or not such lines.
    """
    if len(data) > MAX_PART_BYTES:
        raise LimitError(
            "part of a monitor's list",
            expected=f"at most {MAX_PART_BYTES} bytes",
            actual=f"{len(data)} bytes",
        )
    digest = hashlib.sha256(data).digest()
    if digest != part.sha256:
        raise MalformedError(
            "part of a monitor's list", expected=f"SHA-256 {part.name}, as signed", actual=digest.hex()
        )
    # From here on it is the monitor that is wrong, and nobody on the way.
    rows = parse_rows(data.decode("utf-8", "replace").split("\n")[:-1])
    check_rows(rows, most=MAX_PART_HISTORIES, what="part of a monitor's list")
    if len(rows) != part.count or not all(part.holds(each.history) for each in rows):
        raise MalformedError(
            "part of a monitor's list",
            expected=f"{part.count} histories of this part",
            actual=f"{len(rows)}, or one of another part",
        )
    if b"".join(_format_row(each.history, each.open) for each in rows) != data:
        raise MalformedError("part of a monitor's list", expected="its own formatting", actual="other bytes")
    return rows


@functools.lru_cache(4096)
def _format_open(found: OpenFindings) -> str:
    return str(found)


def _format_row(history: bytes, found: OpenFindings) -> bytes:
    return f"{history.hex()} {_format_open(found)}\n".encode()


# The whole list

_Row = tuple[bytes, OpenFindings]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenList:
    """What is open in one ledger: ``histories``, or ``parts`` with ``files`` by their names, or how many are ``not_listed``."""

    ledger: str
    histories: tuple[HistoryFindings, ...] = ()
    parts: tuple[ListPart, ...] = ()
    not_listed: int = 0
    files: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        ledger: str,
        findings: Mapping[str, OpenFindings],
        *,
        most: int = MAX_HISTORIES,
        most_in_part: int = MAX_PART_HISTORIES,
    ) -> "OpenList":
        """Return the list of what is open, by history key (``name:…``, ``repo:…``).

        Of more than ``most``, those that stop no client are left out: a hub whose clock is wrong has a low one about each model.
        If there are still more, the list is in parts.
        """
        if len(findings) > most:
            findings = {key: found for key, found in findings.items() if found.blocks}
        rows = sorted(
            ((history_digest(ledger, key), found) for key, found in findings.items()), key=itemgetter(0)
        )
        if len(rows) <= most:
            histories = tuple(HistoryFindings(history=history, open=found) for history, found in rows)
            return cls(ledger=ledger, histories=histories)
        parts, files = [], {}
        for first, bits, some in cut(rows, most=most_in_part):
            data = b"".join(_format_row(*each) for each in some)
            part = ListPart(first=first, bits=bits, count=len(some), sha256=hashlib.sha256(data).digest())
            parts.append(part)
            files[part.name] = data
        if len(parts) > MAX_PARTS:
            return cls(ledger=ledger, not_listed=len(rows))
        return cls(ledger=ledger, parts=tuple(parts), files=files)


def cut(
    rows: Sequence[_Row], *, most: int, first: int = 0, bits: int = 0
) -> Iterator[tuple[int, int, Sequence[_Row]]]:
    """Yield parts of sorted rows, none longer than ``most``: where each begins, in how many bits its digests agree, its rows."""
    if len(rows) <= most:
        yield first, bits, rows
        return
    middle = first + (1 << (_DIGEST_BITS - bits - 1))
    at = bisect_left(rows, middle.to_bytes(HASH_BYTES), key=itemgetter(0))
    yield from cut(rows[:at], most=most, first=first, bits=bits + 1)
    yield from cut(rows[at:], most=most, first=middle, bits=bits + 1)
