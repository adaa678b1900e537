"""Ends a log, and says in the one that continues it where it ended (`hubledger log retire`, `hubledger init --continues`).

A log that is retired is read for as long as proofs from it are asked for, and never written again: its last checkpoint lies
beside it. The new log has an origin and keys of its own. Its first entry is ``succession/v1`` with that checkpoint, so
that whoever follows the new one knows how much of the old one the hub stands by.
"""

import pathlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ledger.client.trust import MAX_TRUST_BYTES, parse_trust
from ledger.embedded.directory import Layout, open_for_reading
from ledger.embedded.opening import OpenLedger
from ledger.encoding import Json
from ledger.errors import CorruptError, LedgerError, LimitError, UsageError
from ledger.event.schemas import MAX_FINAL_CHECKPOINT
from ledger.log.local import LocalLog
from ledger.storage.directory import read_file, write_file_durably
from ledger.tlog.checkpoint import VerifiedCheckpoint, verify_checkpoint
from ledger.tlog.cosignature import Cosignature, verify_cosignatures
from ledger.tlog.signed_note import MAX_NOTE_BYTES, VerifierKey, format_note

_LAST_SECOND = 253_402_300_799
"""Of the year 9999: a cosigner may name any time, and no calendar here goes beyond."""
_IN_REKOR = "This ledger needs no other log: Rekor's shards follow each other, and its trust file lists them"


def retire(
    directory: pathlib.Path, *, opened: Callable[[], AbstractContextManager[OpenLedger]]
) -> VerifiedCheckpoint:
    """Publish all that is durable and let nothing follow it; returns the last checkpoint. Repeated, it returns the same.

    Raises:
        UsageError: the ledger is in Rekor. CorruptError: what lies there as the last checkpoint is none of this log.
        What ``opened`` and ``publish`` raise.
    """
    layout = Layout(root=directory)
    if layout.final.exists():
        return _final(layout)
    with opened() as ledger:
        if not isinstance(ledger.log, LocalLog):
            raise UsageError(
                "log to retire", expected="a log of one's own", actual=ledger.config.log, next_step=_IN_REKOR
            )
        ledger.log.publish()
        last = ledger.log.checkpoint()
        # The lock is held: nobody has appended since. If we stop here, the log goes on, and the same call ends it.
        write_file_durably(layout.final, last.note, mode=0o644)
    return last


def _final(layout: Layout) -> VerifiedCheckpoint:
    ledger = open_for_reading(layout.root)
    try:
        return verify_checkpoint(
            read_file(layout.final, max_bytes=MAX_NOTE_BYTES),
            origin=ledger.config.ledger,
            keys=ledger.trust.log_keys,
        )
    except LedgerError as error:
        raise CorruptError(
            f"file {layout.final.name}",
            expected="the last checkpoint of this log",
            actual=error.finding,
            next_step="Put back the file that `hubledger log retire` wrote; log/checkpoint is a copy of it",
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession:
    """How much of which log a new one continues: ``fields`` are those of ``succession/v1``.

    ``time`` is as of when its cosigners say that the checkpoint is the newest, in POSIX seconds; None where they do not. Neither
    says that the log has no later one.
    """

    fields: dict[str, Json]
    predecessor: str
    size: int
    time: int | None


def succeed(
    checkpoint: pathlib.Path, trust: pathlib.Path, *, origin: str, reason: str | None = None
) -> Succession:
    """Return what the log ``origin``, which continues the one that signed ``checkpoint``, says of that.

    The keys are those of its trust file, which is not the file that the checkpoint came with: of a log that is lost
    the newest checkpoint is the one that a monitor, a witness or a backup has. Lines by anybody else are left out: what
    nobody can verify would stand in the new log for ever.

    Raises:
        UsageError: the trust file is of a ledger in Rekor, or both logs have one name. SignatureError, MalformedError: no checkpoint of that log,
        or a signature of a known witness that fails. LimitError: more signatures than an entry holds.
        NotFoundError, ConfigError: files that cannot be read.
    """
    trusted = parse_trust(read_file(trust, max_bytes=MAX_TRUST_BYTES))
    if trusted.is_rekor:
        raise UsageError(
            "log to continue", expected="a log of one's own", actual="a ledger in Rekor", next_step=_IN_REKOR
        )
    if origin == trusted.origin:
        raise UsageError(
            "origin of the new log",
            expected="another than that of the log that it continues",
            actual=origin,
            next_step="Two logs of one name are a fork, for everybody who knows the first",
        )
    note = read_file(checkpoint, max_bytes=MAX_NOTE_BYTES)
    verified = verify_checkpoint(note, origin=trusted.origin, keys=trusted.log_keys)
    cosignatures = verify_cosignatures(verified, [each.key for each in trusted.policy.witnesses])
    time = trusted.policy.time_of(cosignatures)
    fields: dict[str, Json] = {
        "predecessor": trusted.origin,
        "finalCheckpoint": _known_lines(verified, cosignatures),
    }
    return Succession(
        fields=fields if reason is None else fields | {"reason": reason},
        predecessor=trusted.origin,
        size=verified.checkpoint.size,
        time=time if time is not None and time <= _LAST_SECOND else None,
    )


def _known_lines(verified: VerifiedCheckpoint, cosignatures: tuple[Cosignature, ...]) -> str:
    """Return the note with the signatures that were verified and no others. Raises LimitError."""
    keys: tuple[VerifierKey, ...] = (*verified.signers, *(each.key for each in cosignatures))
    wanted = {(key.name, key.key_id) for key in keys}
    lines = []
    for line in verified.parsed.signatures:
        if (line.name, line.key_id) in wanted:
            wanted.remove((line.name, line.key_id))  # of two lines by one key the first was verified
            lines.append(line)
    note = format_note(verified.parsed.text, lines).decode()
    if len(note) > MAX_FINAL_CHECKPOINT:
        raise LimitError(
            f"last checkpoint of {verified.checkpoint.origin}",
            expected=f"at most {MAX_FINAL_CHECKPOINT} characters, which an entry of a log holds",
            actual=f"{len(note)} with {len(lines)} signatures of the log and of witnesses",
            next_step="Take lines of witnesses away until it fits, and keep that of the log; keep the whole note beside it",
        )
    return note
