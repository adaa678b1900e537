"""Cosignatures: c2sp.org/tlog-cosignature. "As of this time, this is the largest consistent tree that I have seen."

Ed25519 (type 0x04) signs a header line, the time and the whole note text; ML-DSA-44 (0x06) signs a binary message
of cosigner, time, origin, size and root. Both carry ``u64 POSIX seconds || signature``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

from ledger.encoding import MAX_DECIMAL
from ledger.errors import LimitError, MalformedError, SignatureError
from ledger.tlog.checkpoint import Checkpoint, VerifiedCheckpoint, format_checkpoint, parse_checkpoint
from ledger.tlog.signed_note import KeyType, Note, NoteSignature, VerifierKey, format_note

_LABEL = b"subtree/v1\n\x00"
_SIGNATURE_BYTES = {KeyType.COSIGNATURE_V1: 64, KeyType.ML_DSA_44: 2420}
_TIME_BYTES = 8
MAX_NAME_BYTES = 255
"""The one-byte lengths of the ML-DSA message."""

CosignerKey = ed25519.Ed25519PrivateKey | mldsa.MLDSA44PrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosignature:
    """A verified cosignature: who, and when in POSIX seconds by the cosigner's clock."""

    key: VerifierKey
    timestamp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigner:
    """A private key that cosigns under ``name``; one operator's cosigners need distinct keys."""

    name: str
    key: CosignerKey

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        kind = (
            KeyType.COSIGNATURE_V1 if isinstance(self.key, ed25519.Ed25519PrivateKey) else KeyType.ML_DSA_44
        )
        return VerifierKey(name=self.name, kind=kind, public_key=self.key.public_key().public_bytes_raw())

    def cosign(self, checkpoint: Checkpoint, *, timestamp: int) -> NoteSignature:
        """Cosign a checkpoint that the caller has verified to extend all that it cosigned before.

        Raises:
            MalformedError: a timestamp outside 1 to 2^63 - 1.
        """
        if not 1 <= timestamp <= MAX_DECIMAL:
            raise MalformedError("time of a cosignature", expected="1 to 2^63 - 1", actual=timestamp)
        key = self.verifier
        signature = self.key.sign(_message(key, checkpoint, timestamp))
        return NoteSignature(
            name=key.name, key_id=key.key_id, signature=timestamp.to_bytes(_TIME_BYTES, "big") + signature
        )


def add_cosignatures(note: Note, cosignatures: Sequence[NoteSignature]) -> bytes:
    """Return the note with further signature lines."""
    return format_note(note.text, [*note.signatures, *cosignatures])


def verify_cosignature(line: NoteSignature, *, key: VerifierKey, checkpoint: Checkpoint) -> Cosignature:
    """Return the cosignature by ``key`` over ``checkpoint``.

    Raises:
        SignatureError: another key, or a signature that fails.
        MalformedError: a payload of another length, or a time above 2^63 - 1 or 0.
    """
    if (line.name, line.key_id) != (key.name, key.key_id):
        raise SignatureError(
            "cosigner", expected=f"{key.name}+{key.key_id.hex()}", actual=f"{line.name}+{line.key_id.hex()}"
        )
    wanted = _SIGNATURE_BYTES.get(key.kind)
    if wanted is None:
        raise SignatureError(
            f"cosignature by {key.name}", expected="a key of type 0x04 or 0x06", actual=key.kind.name
        )
    if len(line.signature) != _TIME_BYTES + wanted:
        raise MalformedError(
            f"cosignature by {key.name}",
            expected=f"{_TIME_BYTES + wanted} bytes",
            actual=f"{len(line.signature)} bytes",
        )
    timestamp = int.from_bytes(line.signature[:_TIME_BYTES], "big")
    if not 1 <= timestamp <= MAX_DECIMAL:
        raise MalformedError(
            f"time of the cosignature by {key.name}", expected="1 to 2^63 - 1", actual=timestamp
        )
    try:
        _public(key).verify(line.signature[_TIME_BYTES:], _message(key, checkpoint, timestamp))
    except InvalidSignature as error:
        raise SignatureError(
            f"cosignature by {key.name}", expected="a valid signature", actual="one that fails"
        ) from error
    return Cosignature(key=key, timestamp=timestamp)


def verify_cosignatures(verified: VerifiedCheckpoint, keys: Sequence[VerifierKey]) -> tuple[Cosignature, ...]:
    """Return the cosignatures by known ``keys``, each key once; lines by others are ignored.

    Raises:
        SignatureError, MalformedError: a known key's cosignature fails.
    """
    found: dict[VerifierKey, Cosignature] = {}
    checkpoint = parse_checkpoint(verified.parsed.text)
    for line in verified.parsed.signatures:
        for key in keys:
            if (line.name, line.key_id) == (key.name, key.key_id) and key not in found:
                found[key] = verify_cosignature(line, key=key, checkpoint=checkpoint)
    return tuple(found.values())


def _public(key: VerifierKey) -> ed25519.Ed25519PublicKey | mldsa.MLDSA44PublicKey:
    if key.kind is KeyType.COSIGNATURE_V1:
        return ed25519.Ed25519PublicKey.from_public_bytes(key.public_key)
    return mldsa.MLDSA44PublicKey.from_public_bytes(key.public_key)


def _message(key: VerifierKey, checkpoint: Checkpoint, timestamp: int) -> bytes:
    if key.kind is KeyType.COSIGNATURE_V1:
        return b"cosignature/v1\n" + f"time {timestamp}\n".encode() + format_checkpoint(checkpoint)
    return b"".join(
        (
            _LABEL,
            _short(key.name, "cosigner name"),
            timestamp.to_bytes(8, "big"),
            _short(checkpoint.origin, "origin"),
            (0).to_bytes(8, "big"),
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root_hash,
        )
    )


def _short(text: str, what: str) -> bytes:
    raw = text.encode()
    if len(raw) > MAX_NAME_BYTES:
        raise LimitError(what, expected=f"at most {MAX_NAME_BYTES} bytes", actual=f"{len(raw)} bytes")
    return bytes([len(raw)]) + raw
