"""The private keys of a ledger, as files that only their owner reads."""

import os
import pathlib
import shlex
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.client.trusted_keys import load_hub_key as check_hub_key
from ledger.config import Config
from ledger.embedded.clock import posix_now
from ledger.embedded.key_files import KeyFiles
from ledger.errors import ConfigError, MalformedError
from ledger.storage.directory import read_file
from ledger.tlog.checkpoint import Checkpoint, format_checkpoint
from ledger.tlog.cosignature import Cosigner, add_cosignatures
from ledger.tlog.signed_note import Ed25519NoteSigner, VerifierKey, parse_note, sign_note

MAX_KEY_BYTES = 64 << 10


def spki_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the public key as DER SubjectPublicKeyInfo."""
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The private keys of one ledger; never shown, never logged.

    ``spki`` is the hub's public key as DER SubjectPublicKeyInfo; ``hub`` is None where its private key is elsewhere
    (``hub_signer``). ``next_log`` signs beside ``log`` while the log's key is rotated.
    """

    log: Ed25519NoteSigner
    cosigner: Ed25519NoteSigner
    spki: bytes
    hub: ec.EllipticCurvePrivateKey | None = None
    next_log: Ed25519NoteSigner | None = None

    @property
    def clock(self) -> Cosigner:
        """The log's own timestamped cosigner: a key of its own under the log's name."""
        return Cosigner(name=self.cosigner.verifier.name, key=self.cosigner.key)

    @property
    def verifier(self) -> VerifierKey:
        """The log's public key."""
        return self.log.verifier

    @property
    def signers(self) -> tuple[Ed25519NoteSigner, ...]:
        """Those who sign each checkpoint for the log."""
        return (self.log,) if self.next_log is None else (self.log, self.next_log)

    def sign(self, checkpoint: Checkpoint) -> bytes:
        """Sign a checkpoint with the log key and cosign it with the time, by the log's own second key."""
        signed = parse_note(sign_note(format_checkpoint(checkpoint), self.signers))
        timestamp = posix_now()
        return add_cosignatures(signed, [self.clock.cosign(checkpoint, timestamp=timestamp)])


def load_keys(root: pathlib.Path, config: Config) -> Keys:
    """Load the private keys. Raises ConfigError, which names the file and never repeats what is in it."""
    hub = None if config.hub_signer else load_hub_key(root / config.hub_key)
    following = KeyFiles(root / config.log_key).next
    return Keys(
        next_log=load_note_key(following) if following.exists() else None,
        log=load_note_key(root / config.log_key),
        cosigner=load_note_key(root / config.cosigner_key),
        spki=load_public_key(root / config.hub_key) if hub is None else spki_of(hub),
        hub=hub,
    )


def hub_spki(root: pathlib.Path, config: Config) -> bytes:
    """Return the hub's public key as DER SubjectPublicKeyInfo. Raises ConfigError, NotFoundError, LimitError."""
    path = root / config.hub_key
    return load_public_key(path) if config.hub_signer else spki_of(load_hub_key(path))


def load_public_key(path: pathlib.Path) -> bytes:
    """Load the hub's public key in PEM as DER SubjectPublicKeyInfo. Raises ConfigError, NotFoundError, LimitError."""
    try:
        key = serialization.load_pem_public_key(read_file(path, max_bytes=MAX_KEY_BYTES))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"public key {path}", expected="an ECDSA P-256 public key in PEM", actual="something else"
        ) from error
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    check_hub_key(spki)
    return spki


def load_hub_key(path: pathlib.Path) -> ec.EllipticCurvePrivateKey:
    """Load the hub's key. Raises ConfigError, as ``load_keys`` does."""
    try:
        key = serialization.load_pem_private_key(read_secret(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it wants a password
        raise _unusable(path, expected=_HUB_KEY, actual="something else") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _unusable(path, expected=_HUB_KEY, actual=type(key).__name__)
    return key


def load_note_key(path: pathlib.Path) -> Ed25519NoteSigner:
    """Load a private note key. Raises ConfigError, which names the file and never repeats what is in it."""
    # Bytes that are not ASCII become characters that no key has: an error of decoding would carry the key.
    text = read_secret(path).decode("ascii", "replace").strip()
    try:
        return Ed25519NoteSigner.parse_private(text)
    except MalformedError:  # whatever it repeats of the file, a name or an id, may be misplaced
        raise _unusable(path, expected=_NOTE_KEY, actual="something else") from None


_NOTE_KEY = "PRIVATE+KEY+<name>+<key id>+<base64>, as init wrote it"
_HUB_KEY = "an ECDSA P-256 private key in PEM, without a password"


def _unusable(path: pathlib.Path, *, expected: object, actual: object) -> ConfigError:
    return ConfigError(
        f"private key {path}",
        expected=expected,
        actual=actual,
        next_step="Restore the key file from its backup: another key would be another signer",
    )


def read_secret(path: pathlib.Path) -> bytes:
    """Read a private key that only its owner can read. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise ConfigError(
                    f"permissions of {path}",
                    expected="readable by its owner only",
                    actual="readable by others",
                    next_step=f"Run `chmod 600 {shlex.quote(str(path))}` and consider the key as seen",
                )
            return file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise ConfigError(f"private key {path}", expected="a readable file", actual=error.strerror) from error


def format_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Format a private key as PEM (PKCS#8), without a password."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
