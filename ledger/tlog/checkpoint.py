"""Checkpoints: c2sp.org/tlog-checkpoint. A signed note over origin, tree size and root hash."""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.encoding import MAX_DECIMAL, format_base64, parse_base64, parse_decimal
from ledger.errors import MalformedError, SignatureError
from ledger.tlog.merkle import EMPTY_ROOT, HASH_BYTES
from ledger.tlog.signed_note import Note, VerifierKey, parse_note, verify_signatures


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A tree: ``size`` leaves with ``root_hash`` in the log ``origin``. Says nothing about who signed it."""

    origin: str
    size: int
    root_hash: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.origin or not self.origin.isprintable():
            raise MalformedError("origin", expected="a non-empty line", actual=self.origin)
        if not 0 <= self.size <= MAX_DECIMAL:
            raise MalformedError("tree size", expected="0 to 2^63 - 1", actual=self.size)
        if len(self.root_hash) != HASH_BYTES:
            raise MalformedError("root hash", expected="32 bytes", actual=f"{len(self.root_hash)} bytes")
        if self.size == 0 and self.root_hash != EMPTY_ROOT:
            raise MalformedError(
                "root hash of size 0", expected=EMPTY_ROOT.hex(), actual=self.root_hash.hex()
            )
        if any(not line or "\n" in line for line in self.extensions):
            raise MalformedError("extension line", expected="a non-empty line", actual=self.extensions)


def format_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Format the note text, its final newline included."""
    lines = (
        checkpoint.origin,
        str(checkpoint.size),
        format_base64(checkpoint.root_hash),
        *checkpoint.extensions,
    )
    return "".join(f"{line}\n" for line in lines).encode()


def parse_checkpoint(text: bytes) -> Checkpoint:
    """Parse note text. Raises MalformedError for what does not format back to itself."""
    try:
        lines = text.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise MalformedError("checkpoint", expected="UTF-8", actual=str(error)) from error
    if len(lines) < 4 or lines[-1]:
        raise MalformedError(
            "checkpoint", expected="origin, size and root hash, a line each", actual=f"{len(lines) - 1} lines"
        )
    checkpoint = Checkpoint(
        origin=lines[0],
        size=parse_decimal(lines[1], what="tree size of the checkpoint"),
        root_hash=parse_base64(lines[2], what="root hash of the checkpoint", max_bytes=HASH_BYTES),
        extensions=tuple(lines[3:-1]),
    )
    if format_checkpoint(checkpoint) != text:
        raise MalformedError("checkpoint", expected="its own formatting", actual="other bytes")
    return checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedCheckpoint:
    """A checkpoint that ``signers`` signed, with the whole note. Only verification makes one."""

    checkpoint: Checkpoint
    note: bytes
    signers: tuple[VerifierKey, ...]
    parsed: Note


def verify_checkpoint(data: bytes, *, origin: str, keys: Sequence[VerifierKey]) -> VerifiedCheckpoint:
    """Return the checkpoint of ``origin`` that at least one of the log's ``keys`` signed.

    Raises:
        MalformedError, LimitError: not a checkpoint.
        SignatureError: no key of the log signed it, one's signature fails, or it is of another origin.
    """
    note = parse_note(data)
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != origin:
        raise SignatureError("origin of the checkpoint", expected=origin, actual=checkpoint.origin)
    return VerifiedCheckpoint(
        checkpoint=checkpoint, note=data, signers=verify_signatures(note, keys), parsed=note
    )
