"""Anchors: checkpoints of ours that were signed for another log, and what that log and the clocks answered.

::

    anchors/<size>-<16 hex digits>/anchor.json       the checkpoint, and the envelope that the anchor key signed
                                  /log-entry.json    the TransparencyLogEntry, once it is proven
                                  /timestamps.json   RFC 3161 responses, once they are verified
                                  /refused.json      why the log will never take it
    anchors/state.json                               when to send again, when to ask the outside again
    anchors/trusted_root.json                        of Sigstore's public instance, as it was when an anchor was last made

A folder and not SQLite: there are a few thousand in a year, each file is written once and never changed, so an anchor
survives whatever happens to the others, can be copied by itself, and is evidence in the form in which it is handed on.
Every file is durable before its name is there. The folder's digits are of the envelope's SHA-256.
"""

import hashlib
import pathlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ledger.encoding import (
    Json,
    format_base64,
    format_canonical_json,
    parse_base64,
    parse_canonical_json,
    parse_decimal,
    parse_whole,
)
from ledger.errors import CorruptError, InputError, LedgerError, MalformedError, NotFoundError
from ledger.storage.directory import DirectoryObjects
from ledger.tlog.signed_note import MAX_NOTE_BYTES

KIND = "https://hubledger/stored-anchor/v1"
MAX_ANCHOR_BYTES = 2 * MAX_NOTE_BYTES
"""A note, escaped as a JSON string, and an envelope of a few hundred bytes."""
MAX_LOG_ENTRY_BYTES = 4 << 20
"""A body of at most 1 MiB in base64, and the other log's checkpoint."""
MAX_TIMESTAMPS = 16
MAX_TIMESTAMP_BYTES = 64 << 10
"""An RFC 3161 response with a chain of certificates has some 6 KiB."""
MAX_STAMPS_BYTES = 2 * MAX_TIMESTAMPS * MAX_TIMESTAMP_BYTES
MAX_STATE_BYTES = 1 << 13
MAX_REASON = 1000
"""Characters of a refusal: it may quote what a stranger wrote."""
_LOGS = ("", "rekor-v2", "rekor-v1")
_NAME = re.compile(r"(0|[1-9][0-9]{0,14})-([0-9a-f]{16})")

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAnchor:
    """What is stored before anything is sent.

    ``made_at`` is in POSIX seconds and this machine's word. ``log`` and ``wants_timestamps`` say what was configured then:
    an anchor is finished when it has both.
    """

    size: int
    made_at: int
    log: str
    wants_timestamps: bool
    note: bytes
    envelope: bytes

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.size}-{hashlib.sha256(self.envelope).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnchor:
    """An anchor as it is stored; nothing of it is verified. ``refused``: why the log will never take it."""

    new: NewAnchor
    log_entry: bytes | None = None
    timestamps: tuple[bytes, ...] = ()
    refused: str | None = None

    @property
    def wants_log(self) -> bool:
        """Whether the log's answer is still to come."""
        return bool(self.new.log) and self.log_entry is None and self.refused is None

    @property
    def wants_stamps(self) -> bool:
        """Whether timestamps are still to come."""
        return self.new.wants_timestamps and not self.timestamps

    @property
    def is_pending(self) -> bool:
        """Whether anything is still to come."""
        return self.wants_log or self.wants_stamps


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorState:
    """What may be lost: how often in a row sending failed, when to send again, and when to ask the outside again.

    ``asked_in`` is the folder that asked (``AnchorStore.place``): a copy of it has not asked yet.
    """

    failures: int = 0
    not_before: int = 0
    ask_after: int = 0
    asked_in: str = ""


class AnchorStore:
    """The folder ``anchors``. One process writes at a time; readers need no lock."""

    def __init__(self, root: pathlib.Path) -> None:
        self._root = root
        self._objects = DirectoryObjects(root)

    def names(self) -> list[str]:
        """Every anchor's name, the smallest size first. Raises CorruptError.

        A folder of another name is none, and one without a file is what a crash left of one that was never sent.
        """
        return [name for name in self._sorted() if self._holds_something(name)]

    def newest(self) -> StoredAnchor | None:
        """The anchor of the largest size. Raises CorruptError."""
        name = next((each for each in reversed(self._sorted()) if self._holds_something(each)), None)
        return None if name is None else self.load(name)

    def _sorted(self) -> list[str]:
        try:
            found = [_NAME.fullmatch(each.name) for each in self._root.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CorruptError(
                "folder of the anchors", expected="a folder that can be read", actual=error.strerror
            ) from error
        known = sorted(filter(None, found), key=lambda each: (parse_decimal(each[1]), each[2]))
        return [each[0] for each in known]

    def _holds_something(self, name: str) -> bool:
        try:
            return any(not each.name.startswith(".tmp-") for each in (self._root / name).iterdir())
        except NotADirectoryError:
            return False
        except OSError:
            return True  # it cannot be read: whoever loads it says so

    def load(self, name: str) -> StoredAnchor:
        """Return one anchor. Raises CorruptError, which names the file."""
        new = self._read(name, "anchor.json", MAX_ANCHOR_BYTES, _parse_new)
        if new is None or new.name != name:
            raise CorruptError(
                f"{name}/anchor.json of the anchors",
                expected="the size and envelope that its folder is named after",
                actual="no file" if new is None else new.name,
            )
        return StoredAnchor(
            new=new,
            log_entry=self._read(name, "log-entry.json", MAX_LOG_ENTRY_BYTES, bytes),
            timestamps=self._read(name, "timestamps.json", MAX_STAMPS_BYTES, _parse_timestamps) or (),
            refused=self._read(name, "refused.json", MAX_STATE_BYTES, _parse_refusal),
        )

    def create(self, new: NewAnchor) -> StoredAnchor:
        """Store what is going to be sent, durably, before it is sent. The same anchor again is no error."""
        # If we stop here, nothing was stored and nothing sent: the next occasion makes it again.
        self._objects.put([(f"{new.name}/anchor.json", _format_new(new))])
        # If we stop here, it is pending: the next occasion sends these bytes.
        return StoredAnchor(new=new)

    def add_log_entry(self, name: str, log_entry: bytes) -> None:
        """Store the log's answer, durably. If we stop before, the log is asked again and says that it has it."""
        self._objects.put([(f"{name}/log-entry.json", log_entry)])

    def add_timestamps(self, name: str, timestamps: tuple[bytes, ...]) -> None:
        """Store timestamps, durably. If we stop before, others are asked for: more of them do no harm."""
        listed: Json = [format_base64(each) for each in timestamps]
        self._objects.put([(f"{name}/timestamps.json", format_canonical_json(listed))])

    def add_refusal(self, name: str, why: str) -> None:
        """Store why the log will never take it, so that later anchors do not wait for this one."""
        text = why[:MAX_REASON].encode("utf-8", "backslashreplace").decode()
        self._objects.put([(f"{name}/refused.json", format_canonical_json({"why": text}))])

    @property
    def place(self) -> str:
        """What tells this folder from a copy of it: its inode, which no copy has. Empty: there is no folder yet."""
        try:
            return str(self._root.stat().st_ino)
        except OSError:
            return ""

    def state(self) -> AnchorState:
        """Return the state; the first one where it is lost or damaged, because nothing rests on it."""
        try:
            value = parse_canonical_json(
                self._objects.get("state.json", max_bytes=MAX_STATE_BYTES), max_bytes=MAX_STATE_BYTES
            )
            match value:
                case {
                    "failures": failures,
                    "notBefore": not_before,
                    "askAfter": ask_after,
                    "askedIn": str(asked_in),
                }:
                    return AnchorState(
                        failures=parse_whole(failures),
                        not_before=parse_whole(not_before),
                        ask_after=parse_whole(ask_after),
                        asked_in=asked_in,
                    )
        except (NotFoundError, InputError, CorruptError):
            pass
        return AnchorState()

    def save_state(self, state: AnchorState) -> None:
        """Replace the state."""
        value: Json = {
            "failures": state.failures,
            "notBefore": state.not_before,
            "askAfter": state.ask_after,
            "askedIn": state.asked_in,
        }
        self._objects.replace("state.json", format_canonical_json(value))

    def trusted_root(self) -> bytes | None:
        """Return the trusted root that was kept, if any. Raises CorruptError, LimitError."""
        try:
            return self._objects.get("trusted_root.json", max_bytes=MAX_LOG_ENTRY_BYTES)
        except NotFoundError:
            return None

    def save_trusted_root(self, data: bytes) -> None:
        """Keep a trusted root, in the place of an older one."""
        if self.trusted_root() != data:
            self._objects.replace("trusted_root.json", data)

    def sweep(self) -> None:
        """Remove temporary files that a crash left behind."""
        self._objects.sweep()

    def _read(self, name: str, file: str, limit: int, parse: Callable[[bytes], _Part]) -> _Part | None:
        """Read a file and parse it; None where it is not there."""
        try:
            return parse(self._objects.get(f"{name}/{file}", max_bytes=limit))
        except NotFoundError:
            return None
        except LedgerError as error:
            raise CorruptError(
                f"{name}/{file} of the anchors", expected="what was stored", actual=error.finding
            ) from error


def _format_new(new: NewAnchor) -> bytes:
    return format_canonical_json(
        {
            "checkpoint": new.note.decode("utf-8"),
            "envelope": parse_canonical_json(new.envelope, what="anchor", max_bytes=MAX_ANCHOR_BYTES),
            "kind": KIND,
            "log": new.log,
            "madeAt": new.made_at,
            "size": new.size,
            "timestamps": new.wants_timestamps,
        }
    )


def _parse_new(data: bytes) -> NewAnchor:
    match parse_canonical_json(data, what="stored anchor", max_bytes=MAX_ANCHOR_BYTES):
        case {
            "checkpoint": str(note),
            "envelope": dict(envelope),
            "kind": str(kind),
            "log": str(log),
            "madeAt": made_at,
            "size": size,
            "timestamps": bool(timestamps),
            **more,
        } if kind == KIND and not more and log in _LOGS:
            return NewAnchor(
                size=parse_whole(size, what="size of the anchor"),
                made_at=parse_whole(made_at, what="time of the anchor"),
                log=log,
                wants_timestamps=timestamps,
                note=note.encode(),
                envelope=format_canonical_json(envelope),
            )
    raise MalformedError("stored anchor", expected=f"an object of kind {KIND}", actual="another form")


def _parse_timestamps(data: bytes) -> tuple[bytes, ...]:
    match parse_canonical_json(data, what="stored timestamps", max_bytes=MAX_STAMPS_BYTES):
        case list(listed) if 0 < len(listed) <= MAX_TIMESTAMPS and all(
            isinstance(each, str) for each in listed
        ):
            return tuple(
                parse_base64(each, what="stored timestamp", max_bytes=MAX_TIMESTAMP_BYTES) for each in listed
            )
    raise MalformedError(
        "stored timestamps", expected=f"1 to {MAX_TIMESTAMPS} in base64", actual="another form"
    )


def _parse_refusal(data: bytes) -> str:
    match parse_canonical_json(data, what="stored refusal", max_bytes=MAX_STATE_BYTES):
        case {"why": str(why)}:
            return why
    raise MalformedError("stored refusal", expected="why the log refuses it", actual="another form")
