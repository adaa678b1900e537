"""What a client remembers of a log and of histories, and that neither may go back (architecture section 8).

One file a log and one a history, below ``pins/`` of the user's folder. A check is held against what was remembered when it
began; what it found is remembered only if nobody else moved the pin meanwhile, so that a pin is never replaced by a
checkpoint that was not linked to it.
"""

import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ledger.client.result import LogResult, explain_not_accepted
from ledger.client.trust import TrustFile
from ledger.client.user_store import UserFolder, file_name
from ledger.encoding import MAX_SAFE_INTEGER, Json, parse_hex, parse_whole
from ledger.errors import ChainError, InputError, MisbehaviourError, NotFoundError, SignatureError
from ledger.event import VerificationEvent, format_statement
from ledger.tlog.checkpoint import VerifiedCheckpoint, verify_checkpoint
from ledger.tlog.signed_note import MAX_NOTE_BYTES

_MAX_PIN_BYTES = 2 * MAX_NOTE_BYTES
_WHEN_DAMAGED = "Restore the file from a copy, and ask a monitor what the log had shown"
_MAX_REFUSED = 100
"""Revisions of one model that are remembered as refused, the latest: 256 bytes each, beside all that a pin has."""
LEVELS = (LogResult.INCLUDED_ONLY, LogResult.COMPLETE_UNAUDITED, LogResult.COMPLETE)
"""What the log may prove, weakest first; what is none of these is remembered as nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPin:
    """The last checkpoint of a log that was linked to the one before, as its signed note."""

    ledger: str
    origin: str
    note: bytes

    def as_json(self) -> dict[str, Json]:
        """Return the object of the store."""
        return {"kind": "log", "ledger": self.ledger, "note": self.note.decode(), "origin": self.origin}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A revision whose last event that was seen does not accept it: that event's place in the chain and in the log."""

    revision: str
    sequence: int
    leaf_index: int

    def as_json(self) -> dict[str, Json]:
        """Return the object of the store."""
        return {"leafIndex": self.leaf_index, "revision": self.revision, "sequence": self.sequence}


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPin:
    """The last proven event of a history: its place in the chain, who had signed, and the strongest level seen.

    ``sha256`` is that of the statement; ``signers`` are as they were shown; ``accepted`` is what the hub said of the revision;
    ``seen`` is when, in POSIX seconds. ``refused`` are revisions that the hub took back, which a later event of another revision does not
    make good.
    """

    ledger: str
    key: str
    sequence: int
    sha256: bytes
    leaf_index: int
    revision: str
    signers: tuple[str, ...]
    level: LogResult
    accepted: bool
    seen: int
    refused: tuple[Refused, ...] = ()

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(self.level)

    def as_json(self) -> dict[str, Json]:
        """Return the object of the store."""
        return {
            "accepted": self.accepted,
            "key": self.key,
            "kind": "history",
            "leafIndex": self.leaf_index,
            "ledger": self.ledger,
            "level": self.level.value,
            "refused": [each.as_json() for each in self.refused],
            "revision": self.revision,
            "seen": self.seen,
            "sequence": self.sequence,
            "sha256": self.sha256.hex(),
            "signers": list(self.signers),
        }


class Pins:
    """The pins below ``folder``; every method may be called from several processes at once."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = UserFolder(
            folder / "pins", what="pin", max_bytes=_MAX_PIN_BYTES, when_damaged=_WHEN_DAMAGED
        )

    def known(self) -> list[LogPin | HistoryPin]:
        """Return every pin: logs first, then histories, by name. Raises CorruptError."""
        found = [each for name in self._folder.names() if (each := self._read(name)) is not None]
        return sorted(found, key=lambda each: (isinstance(each, HistoryPin), each.ledger, _name(each)))

    def log(self, ledger: str, origin: str) -> LogPin | None:
        """Return what is remembered of a log, or None. Raises CorruptError."""
        found = self._read(_log_file(ledger, origin))
        return found if isinstance(found, LogPin) else None

    def history(self, ledger: str, key: str) -> HistoryPin | None:
        """Return what is remembered of a history, or None. Raises CorruptError."""
        found = self._read(_history_file(ledger, key))
        return found if isinstance(found, HistoryPin) else None

    def move_log(self, trust: TrustFile, new: VerifiedCheckpoint, *, linked_to: LogPin | None) -> LogPin:
        """Remember a checkpoint that was linked to ``linked_to``; return what is remembered now.

        Where another process moved the pin meanwhile, theirs stays, because nothing links the two.

        Raises:
            MisbehaviourError: theirs is of the same size with another root. WriteError, CorruptError.
        """
        tree = new.checkpoint
        name = _log_file(trust.ledger, tree.origin)
        with self._folder.changing():
            current = self.log(trust.ledger, tree.origin)
            if current is not None:
                kept = verify_pin(current, trust).checkpoint
                if kept.size == tree.size and kept.root_hash != tree.root_hash:
                    raise MisbehaviourError(
                        f"two signed checkpoints of size {kept.size}",
                        expected=f"root {kept.root_hash.hex()}, remembered",
                        actual=tree.root_hash.hex(),
                    )
                if current != linked_to or kept.size >= tree.size:
                    return current
            made = LogPin(ledger=trust.ledger, origin=tree.origin, note=new.note)
            self._folder.write(name, made.as_json())
            return made

    def move_history(self, new: HistoryPin) -> HistoryPin:
        """Remember a proven event of a history, if it is the latest; return what is remembered now.

        Raises:
            ChainError: another statement is remembered at its place. WriteError, CorruptError.
        """
        with self._folder.changing():
            current = self.history(new.ledger, new.key)
            if current is not None:
                check_history(current, new)
            known = [each for each in (current, new) if each is not None]
            latest = max(known, key=lambda each: each.sequence)
            made = replace(latest, refused=_refused_by(known))
            if made != current:
                self._folder.write(_history_file(new.ledger, new.key), made.as_json())
            return made

    def forget(self, name: str) -> list[LogPin | HistoryPin]:
        """Forget the pins of a ledger, a log or a history; return them. Raises NotFoundError, WriteError, CorruptError."""
        with self._folder.changing():
            gone = [each for each in self.known() if name in (each.ledger, _name(each))]
            for each in gone:
                self._folder.remove(_file(each))
        if not gone:
            raise unknown_pin(name)
        return gone

    def _read(self, name: str) -> LogPin | HistoryPin | None:
        value = self._folder.read(name)
        if value is None:
            return None
        try:
            return _parse(value)
        except (InputError, KeyError, TypeError, ValueError) as error:
            raise self._folder.damaged(name, "another object") from error


def refusals_of(pin: HistoryPin) -> tuple[Refused, ...]:
    """Return the revisions that are refused by what is remembered; pins of earlier versions have their own event alone."""
    return _refused_by([pin])


def _refused_by(pins: Sequence[HistoryPin]) -> tuple[Refused, ...]:
    """Return the revisions that are refused by the latest event of them that was seen."""
    said = [(each.sequence, each.revision, None if each.accepted else _taken_back(each)) for each in pins]
    said += [(each.sequence, each.revision, each) for pin in pins for each in pin.refused]
    by_revision = {revision: refusal for _, revision, refusal in sorted(said, key=lambda each: each[0])}
    found = [each for each in by_revision.values() if each is not None]
    return tuple(sorted(found, key=lambda each: each.sequence)[-_MAX_REFUSED:])


def _taken_back(pin: HistoryPin) -> Refused:
    return Refused(revision=pin.revision, sequence=pin.sequence, leaf_index=pin.leaf_index)


def _list_of(value: Json) -> list[Json]:
    if isinstance(value, list):
        return value
    raise ValueError


def _parse_refused(row: Json) -> Refused:
    match row:
        case {"revision": str(revision), "sequence": sequence, "leafIndex": leaf}:
            return Refused(revision=revision, sequence=parse_whole(sequence), leaf_index=parse_whole(leaf))
    raise ValueError


def _parse(value: Mapping[str, Json]) -> LogPin | HistoryPin:
    match value:
        case {"kind": "log", "ledger": str(ledger), "origin": str(origin), "note": str(note)}:
            return LogPin(ledger=ledger, origin=origin, note=note.encode())
        case {
            "kind": "history",
            "ledger": str(ledger),
            "key": str(key),
            "revision": str(revision),
            "signers": list(signers),
            "accepted": bool(accepted),
        }:
            return HistoryPin(
                ledger=ledger,
                key=key,
                sequence=parse_whole(value["sequence"]),
                sha256=parse_hex(value["sha256"], length=32),
                leaf_index=parse_whole(value["leafIndex"]),
                revision=revision,
                signers=tuple(str(each) for each in signers),
                level=LogResult(str(value["level"])),
                accepted=accepted,
                seen=parse_whole(value["seen"]),
                # Absent in what earlier versions wrote.
                refused=tuple(_parse_refused(each) for each in _list_of(value.get("refused", []))),
            )
    raise ValueError


def unknown_pin(name: str) -> NotFoundError:
    """Return what to raise where nothing is remembered under a name."""
    return NotFoundError(
        f"pin of {name}",
        expected="a ledger, a log or a history that is remembered",
        actual="none such",
        next_step="`hubledger pins list` shows what is",
    )


def _log_file(ledger: str, origin: str) -> str:
    return file_name(f"log\n{ledger}\n{origin}")


def _history_file(ledger: str, key: str) -> str:
    return file_name(f"history\n{ledger}\n{key}")


def _file(pin: LogPin | HistoryPin) -> str:
    if isinstance(pin, LogPin):
        return _log_file(pin.ledger, pin.origin)
    return _history_file(pin.ledger, pin.key)


def _name(pin: LogPin | HistoryPin) -> str:
    return pin.origin if isinstance(pin, LogPin) else pin.key


def verify_pin(pin: LogPin, trust: TrustFile) -> VerifiedCheckpoint:
    """Return the remembered checkpoint, its signature checked against the trust file that counts now.

    Raises:
        SignatureError: the log's key is not in the trust file any more, or the note was changed.
    """
    try:
        _, log = trust.log_of(pin.note)
        return verify_checkpoint(pin.note, origin=log.origin, keys=log.keys)
    except (InputError, SignatureError) as error:
        raise SignatureError(
            f"remembered checkpoint of {pin.origin}: {error.what}",
            expected=error.expected,
            actual=error.actual,
            next_step="Ask the publisher, over another channel, whether the log changed its key, and compare with a monitor",
        ) from error


def check_history(old: HistoryPin, new: HistoryPin) -> None:
    """Hold a proven event against the one that is remembered of its history.

    Raises:
        ChainError: both stand at one place of the chain and differ, or the new one is proven less strongly.
    """
    if old.sequence == new.sequence and old.sha256 != new.sha256:
        raise ChainError(
            f"event {new.sequence} of {new.key}",
            expected=f"{old.sha256.hex()}, which you saw at leaf {old.leaf_index}",
            actual=f"{new.sha256.hex()} at leaf {new.leaf_index}",
        )
    if LEVELS.index(new.level) < LEVELS.index(old.level):
        raise ChainError(
            f"what is proven of {new.key}",
            expected=f"{old.level}, as before",
            actual=new.level,
            next_step="Ask the hub for the proof that it gave before; the log may hold back later events",
        )


def check_link(old: HistoryPin, event: VerificationEvent) -> None:
    """Hold the event after a remembered one against it. Raises ChainError: it does not follow it."""
    for link in event.common.histories:
        if link.key == old.key and link.sequence == old.sequence + 1 and link.previous != old.sha256:
            raise ChainError(
                f"event {link.sequence} of {old.key}",
                expected=f"one that follows {old.sha256.hex()}, which you saw",
                actual="one that follows " + (link.previous.hex() if link.previous else "nothing"),
            )


def pins_of(
    event: VerificationEvent,
    *,
    ledger: str,
    leaf_index: int,
    signers: tuple[str, ...],
    level: LogResult,
    now: int,
) -> tuple[HistoryPin, ...]:
    """Return what to remember of a proven event: one pin for each history that it is chained to."""
    sha256 = hashlib.sha256(format_statement(event)).digest()
    return tuple(
        HistoryPin(
            ledger=ledger,
            key=link.key,
            sequence=link.sequence,
            sha256=sha256,
            leaf_index=leaf_index,
            revision=event.model.revision,
            signers=signers,
            level=level,
            accepted=explain_not_accepted(event) is None,
            seen=min(now, MAX_SAFE_INTEGER),
        )
        for link in event.common.histories
        if link.sequence is not None
    )
