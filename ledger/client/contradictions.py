"""Logs that this user's checks saw contradict themselves: remembered beside the pins, with the evidence, and said at each later check.

A log that signed two histories shows one of them to whoever asks again, and that one holds. So what was seen once must not depend on
being seen again: only a person can judge what explains it.
"""

import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ledger.client import cautions
from ledger.client.evidence import MAX_EVIDENCE_BYTES
from ledger.client.result import Check, CheckResult, LogResult
from ledger.client.trust import TrustFile
from ledger.client.user_store import UserFolder, file_name
from ledger.encoding import Json, parse_whole
from ledger.errors import CorruptError, InputError, SourceError, WriteError
from ledger.storage.directory import write_file_durably

_MAX_RECORD_BYTES = 1 << 16
_SUFFIX = ".evidence"
_WHEN_DAMAGED = "The evidence is in the file of the same name that ends with .evidence: check it with `hubledger verify --evidence`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """A log that was seen to contradict itself; ``seen`` is when, in POSIX seconds, ``evidence`` the file that anybody can check."""

    ledger: str
    origin: str
    seen: int
    evidence: pathlib.Path

    @property
    def day(self) -> str:
        """The day, in UTC."""
        return datetime.fromtimestamp(self.seen, UTC).strftime("%Y-%m-%d")


class Contradictions:
    """What was seen, below ``folder``: the first evidence of each log, which is enough, so that nobody can fill the disk."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._at = folder / "misbehaviour"
        self._folder = UserFolder(
            self._at,
            what="memory of misbehaviour",
            max_bytes=_MAX_RECORD_BYTES,
            when_damaged=_WHEN_DAMAGED,
        )

    def known(self) -> list[Contradiction]:
        """Return all that is remembered, by ledger. Raises CorruptError."""
        found = [each for name in self._folder.names() if (each := self._read(name)) is not None]
        return sorted(found, key=lambda each: (each.ledger, each.origin))

    def of(self, ledger: str, origin: str) -> Contradiction | None:
        """Return what is remembered of a log, or None. Raises CorruptError."""
        return self._read(_file(ledger, origin))

    def keep(self, ledger: str, origin: str, evidence: bytes, *, now: int) -> None:
        """Remember evidence that convicts, if there is none of this log yet. Raises WriteError, CorruptError."""
        if len(evidence) > MAX_EVIDENCE_BYTES or self.of(ledger, origin) is not None:
            return
        name = _file(ledger, origin)
        with self._folder.changing():
            write_file_durably(self._path(name), evidence, mode=0o600)
            # If we stop here, nothing is remembered yet: the pin did not move, and the next check sees it again.
            value: dict[str, Json] = {"ledger": ledger, "origin": origin, "seen": now}
            self._folder.write(name, value)

    def _path(self, name: str) -> pathlib.Path:
        return (self._at / name).with_suffix(_SUFFIX)

    def _read(self, name: str) -> Contradiction | None:
        value = self._folder.read(name)
        if value is None:
            return None
        try:
            return _parse(value, self._path(name))
        except (InputError, OverflowError, OSError, ValueError) as error:
            raise self._folder.damaged(name, "another object") from error


def _parse(value: Mapping[str, Json], evidence: pathlib.Path) -> Contradiction:
    match value:
        case {"ledger": str(ledger), "origin": str(origin), "seen": seen}:
            at = parse_whole(seen, what="seen")
            datetime.fromtimestamp(at, UTC)  # a time that no calendar has was not written here
            return Contradiction(ledger=ledger, origin=origin, seen=at, evidence=evidence)
    raise ValueError


def _file(ledger: str, origin: str) -> str:
    return file_name(f"{ledger}\n{origin}")


def with_memory(result: CheckResult, trust: TrustFile, folder: pathlib.Path, *, now: int) -> CheckResult:
    """Return a result that says what was seen of its log before; remember evidence that it found. Never fails for its own sake."""
    seen = Contradictions(folder)
    origin = result.checkpoint.checkpoint.origin if result.checkpoint else trust.origin
    try:
        before = seen.of(trust.ledger, origin)
        said = None if before is None else cautions.contradicted(before.day, str(before.evidence))
    except CorruptError as error:
        # Damage is no reason to say nothing. Where this user may not look at all, a check by name has failed for its pins.
        unseen = isinstance(error.__cause__, SourceError)
        said = None if unseen else cautions.memory_damaged(error.what)
    if said is not None and result.log is not LogResult.MISBEHAVIOUR:  # which says it better
        return replace(result, cautions=(said, *result.cautions))
    if result.evidence is None or said is not None:
        return result
    try:
        seen.keep(trust.ledger, origin, result.evidence, now=now)
    except (WriteError, CorruptError) as error:
        row = Check(step="remembering", passed=None, against=f"misbehaviour not remembered: {error.finding}")
        return replace(result, checks=(*result.checks, row))
    return result
