"""Signed notes and verifier keys: c2sp.org/signed-note.

A key is the pair of its name and a 32-bit key id; signatures by an unknown pair are ignored, a known pair whose
signature fails rejects the whole note.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ledger.encoding import format_base64, parse_base64, parse_hex
from ledger.errors import LimitError, MalformedError, SignatureError

MAX_NOTE_BYTES = 1 << 20
"""What Go's implementation accepts; a hundred ML-DSA signatures need a third of it."""
MAX_SIGNATURES = 100
"""Signature lines, as Go's implementation: more would let a stranger cost us verifications."""
KEY_ID_BYTES = 4


class KeyType(IntEnum):
    """The first byte of the key material in a verifier key."""

    ED25519 = 0x01
    ECDSA = 0x02
    COSIGNATURE_V1 = 0x04
    ML_DSA_44 = 0x06


_KEY_BYTES = {KeyType.ED25519: 32, KeyType.COSIGNATURE_V1: 32, KeyType.ML_DSA_44: 1312}


def key_id_of(name: str, kind: KeyType, public_key: bytes) -> bytes:
    """Return the key id: by name, type and key, except that ECDSA hashes the SPKI alone (type 0x02)."""
    if kind is KeyType.ECDSA:
        return hashlib.sha256(public_key).digest()[:KEY_ID_BYTES]
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public_key).digest()[:KEY_ID_BYTES]


def check_key_name(name: str) -> str:
    """Return a key name. Raises MalformedError: empty, with white space, ``+`` or control characters."""
    if not name or "+" in name or any(c.isspace() or not c.isprintable() for c in name):
        raise MalformedError("key name", expected="characters without white space and '+'", actual=name)
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """A public key of a log or a cosigner; ``public_key`` is raw, or the DER SPKI for ECDSA."""

    name: str
    kind: KeyType
    public_key: bytes

    def __post_init__(self) -> None:
        check_key_name(self.name)
        wanted = _KEY_BYTES.get(self.kind)
        if wanted is not None and len(self.public_key) != wanted:
            raise MalformedError(
                "verifier key", expected=f"{wanted} bytes", actual=f"{len(self.public_key)} bytes"
            )
        if self.kind is KeyType.ECDSA:
            _load_ecdsa(self.public_key)

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that stand before each signature by this key."""
        return key_id_of(self.name, self.kind, self.public_key)

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Parse ``<name>+<8 hex digits>+<base64(type || key)>``; base64 may hold further ``+``.

        Raises:
            MalformedError: another form, an unknown type, or a printed key id that is not the key's.
        """
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise MalformedError("verifier key", expected="<name>+<key id>+<base64>", actual=text)
        name, printed, material = parts
        key_id = parse_hex(printed, length=KEY_ID_BYTES, what="key id of a verifier key")
        raw = parse_base64(material, what="key of a verifier key", max_bytes=2048)
        if not raw or raw[0] not in set(KeyType):
            shown = f"0x{raw[0]:02x}" if raw else "nothing"
            raise MalformedError("type of a verifier key", expected="0x01, 0x02, 0x04 or 0x06", actual=shown)
        key = cls(name=name, kind=KeyType(raw[0]), public_key=raw[1:])
        if key.key_id != key_id:
            raise MalformedError(f"key id of verifier key {name}", expected=key.key_id.hex(), actual=printed)
        return key

    def format(self) -> str:
        """Format the key as ``parse`` reads it."""
        return f"{self.name}+{self.key_id.hex()}+{format_base64(bytes([self.kind]) + self.public_key)}"

    def verify(self, signature: bytes, message: bytes) -> bytes:
        """Return the message that this Ed25519 (0x01) or ECDSA (0x02) key signed. Raises SignatureError."""
        try:
            match self.kind:
                case KeyType.ED25519:
                    ed25519.Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
                case KeyType.ECDSA:
                    _load_ecdsa(self.public_key).verify(signature, message, ec.ECDSA(hashes.SHA256()))
                case _:
                    raise SignatureError(
                        f"signature by {self.name}",
                        expected="a key that signs note text",
                        actual=self.kind.name,
                    )
        except (InvalidSignature, ValueError) as error:
            raise SignatureError(
                f"signature by {self.name}+{self.key_id.hex()}",
                expected="a valid signature",
                actual="one that fails",
            ) from error
        return message


def _load_ecdsa(spki: bytes) -> ec.EllipticCurvePublicKey:
    # Imported here because it takes a tenth of the time of a whole check to load, and few logs have such keys.
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedError(
            "ECDSA verifier key", expected="a DER SubjectPublicKeyInfo", actual=str(error)
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise MalformedError(
            "ECDSA verifier key", expected="an elliptic-curve key", actual=type(key).__name__
        )
    canonical = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if canonical != spki:
        raise MalformedError("ECDSA verifier key", expected="its own DER encoding", actual="other bytes")
    return key


class NoteSigner(Protocol):
    """Signs the text of notes. ``sign`` returns the bytes after the key id."""

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        ...

    def sign(self, text: bytes) -> bytes:
        """Sign note text, its final newline included."""
        ...


_PRIVATE_PREFIX = "PRIVATE+KEY+"
_RESTORE_KEY = "Restore the key file from its backup; another key cannot sign for this log"


class Ed25519NoteSigner:
    """An Ed25519 (0x01) note key; its private form is that of Go's ``sumdb/note``."""

    def __init__(self, name: str, key: ed25519.Ed25519PrivateKey) -> None:
        self._key = key
        self._verifier = VerifierKey(
            name=name, kind=KeyType.ED25519, public_key=key.public_key().public_bytes_raw()
        )

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        return self._verifier

    @property
    def key(self) -> ed25519.Ed25519PrivateKey:
        """The private key itself."""
        return self._key

    def sign(self, text: bytes) -> bytes:
        """Sign note text (deterministic, RFC 8032)."""
        return self._key.sign(text)

    def format_private(self) -> str:
        """Format ``PRIVATE+KEY+<name>+<key id>+<base64(0x01 || seed)>``."""
        key = self._verifier
        seed = format_base64(bytes([KeyType.ED25519]) + self._key.private_bytes_raw())
        return f"{_PRIVATE_PREFIX}{key.name}+{key.key_id.hex()}+{seed}"

    @classmethod
    def parse_private(cls, text: str) -> "Ed25519NoteSigner":
        """Parse a private key. Raises MalformedError, which never repeats the key."""
        parts = text.removeprefix(_PRIVATE_PREFIX).split("+", 2)
        if not text.startswith(_PRIVATE_PREFIX) or len(parts) != 3:
            raise MalformedError(
                "private note key",
                expected="PRIVATE+KEY+<name>+<key id>+<base64>",
                actual="another form",
                next_step=_RESTORE_KEY,
            )
        try:
            raw = parse_base64(parts[2], max_bytes=64)
        except (MalformedError, LimitError):
            raise MalformedError(
                "private note key", expected="base64", actual="something else", next_step=_RESTORE_KEY
            ) from None
        if len(raw) != 33 or raw[0] != KeyType.ED25519:
            raise MalformedError(
                "private note key",
                expected="33 bytes, the type 0x01 before an Ed25519 seed",
                actual=f"{len(raw)} bytes" if len(raw) != 33 else "another type",
                next_step=_RESTORE_KEY,
            )
        signer = cls(parts[0], ed25519.Ed25519PrivateKey.from_private_bytes(raw[1:]))
        if signer.verifier.key_id.hex() != parts[1]:
            raise MalformedError(
                "key id of a private note key",
                expected=signer.verifier.key_id.hex(),
                actual=parts[1],
                next_step=_RESTORE_KEY,
            )
        return signer


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSignature:
    """One signature line: who says to have signed, and the bytes after the key id."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A note as parsed; nothing is verified. ``text`` ends with its newline."""

    text: bytes
    signatures: tuple[NoteSignature, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedNote:
    """A note that at least one of the given keys signed."""

    note: Note
    signers: tuple[VerifierKey, ...]


_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f]")
_SIGNATURE = re.compile("\u2014 ([^ ]+) ([A-Za-z0-9+/=]+)")


def parse_note(data: bytes) -> Note:
    """Split a note at its last blank line and parse every signature line.

    Raises:
        LimitError: more than ``MAX_NOTE_BYTES`` or ``MAX_SIGNATURES``.
        MalformedError: not UTF-8, control characters, no signature, or anything after the signatures.
    """
    if len(data) > MAX_NOTE_BYTES:
        raise LimitError(
            "signed note", expected=f"at most {MAX_NOTE_BYTES} bytes", actual=f"{len(data)} bytes"
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError("signed note", expected="UTF-8", actual=str(error)) from error
    if _CONTROL.search(data):
        raise MalformedError("signed note", expected="no control character but newline", actual="one")
    body, blank, lines = text.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise MalformedError(
            "signed note", expected="text, a blank line and signature lines", actual="another layout"
        )
    rows = lines[:-1].split("\n")
    if len(rows) > MAX_SIGNATURES:
        raise LimitError(
            "signed note", expected=f"at most {MAX_SIGNATURES} signatures", actual=f"{len(rows)}"
        )
    return Note(text=(body + "\n").encode(), signatures=tuple(_parse_signature(row) for row in rows))


def _parse_signature(row: str) -> NoteSignature:
    match = _SIGNATURE.fullmatch(row)
    if match is None:
        raise MalformedError("signature line", expected="\u2014 <key name> <base64>", actual=row)
    raw = parse_base64(match[2], what="signature line")
    if len(raw) <= KEY_ID_BYTES:
        raise MalformedError(
            "signature line", expected="a key id and a signature", actual=f"{len(raw)} bytes"
        )
    return NoteSignature(
        name=check_key_name(match[1]), key_id=raw[:KEY_ID_BYTES], signature=raw[KEY_ID_BYTES:]
    )


def open_note(data: bytes, keys: Sequence[VerifierKey]) -> VerifiedNote:
    """Return a note that at least one of ``keys`` (types 0x01, 0x02) signed.

    Raises:
        MalformedError, LimitError: not a note.
        SignatureError: a known key's signature fails, no known key signed, or two keys share name and id.
    """
    note = parse_note(data)
    return VerifiedNote(note=note, signers=verify_signatures(note, keys))


def verify_signatures(note: Note, keys: Sequence[VerifierKey]) -> tuple[VerifierKey, ...]:
    """Return those of ``keys`` that signed the note, each once. Raises SignatureError as ``open_note``."""
    signers: list[VerifierKey] = []
    for line in note.signatures:
        known = [key for key in dict.fromkeys(keys) if (key.name, key.key_id) == (line.name, line.key_id)]
        if len(known) > 1:
            raise SignatureError(
                "key of a signature", expected="one key", actual=f"two with {line.name}+{line.key_id.hex()}"
            )
        if known and known[0] not in signers:
            known[0].verify(line.signature, note.text)
            signers.append(known[0])
    if not signers:
        wanted = ", ".join(f"{key.name}+{key.key_id.hex()}" for key in keys) or "a known key"
        got = ", ".join(f"{line.name}+{line.key_id.hex()}" for line in note.signatures)
        raise SignatureError("signatures of the note", expected=f"one by {wanted}", actual=got)
    return tuple(signers)


def format_note(text: bytes, signatures: Sequence[NoteSignature]) -> bytes:
    """Format a note from its text and signature lines. Raises MalformedError: text without a final newline."""
    if not text.endswith(b"\n"):
        raise MalformedError("text of a note", expected="a final newline", actual="none")
    lines = [f"\u2014 {each.name} {format_base64(each.key_id + each.signature)}\n" for each in signatures]
    data = text + b"\n" + "".join(lines).encode()
    parse_note(data)
    return data


def sign_note(text: bytes, signers: Sequence[NoteSigner]) -> bytes:
    """Sign a text by every signer, in order. Raises MalformedError: text that no note can hold."""
    return format_note(text, [signature_by(signer, text) for signer in signers])


def signature_by(signer: NoteSigner, text: bytes) -> NoteSignature:
    """Return one signer's line."""
    key = signer.verifier
    return NoteSignature(name=key.name, key_id=key.key_id, signature=signer.sign(text))
