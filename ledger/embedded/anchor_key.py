"""The key that signs a directory's anchors: made when it is first needed, with its public half beside it for others.

::

    keys/anchor.key                    private, 0600
    keys/anchor-<16 hex digits>.pub    public, PEM; those of earlier keys stay, because their anchors do
"""

import hashlib
import pathlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.bundle.log_entry import HASHES
from ledger.embedded.keys import MAX_KEY_BYTES, format_key, read_secret
from ledger.errors import ConfigError, CorruptError
from ledger.log.anchor_proofs import AnchorSigner
from ledger.storage.directory import write_file_durably

_KEY = "an ECDSA private key on P-256, P-384 or P-521 in PEM, without a password"


def load_or_make(path: pathlib.Path) -> AnchorSigner:
    """Return the anchor key, a new one on P-256 where there is none; its public half is written before it is used.

    Raises:
        ConfigError: a file that others can read, or that holds no such key. WriteError: it could not be written.
    """
    if not path.exists() and not path.is_symlink():
        write_file_durably(path, format_key(ec.generate_private_key(ec.SECP256R1())), mode=0o600)
        # If we stop here, there is a key that has signed nothing.
    signer = _load(path)
    public = path.with_name(f"{path.stem}-{hashlib.sha256(signer.spki).hexdigest()[:16]}.pub")
    if not public.exists():
        write_file_durably(public, _format_public(signer), mode=0o644)
    return signer


def _load(path: pathlib.Path) -> AnchorSigner:
    """Load the private key. Raises ConfigError, which never repeats what is in the file."""
    try:
        key = serialization.load_pem_private_key(read_secret(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it wants a password
        raise _unusable(path, "something else") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in HASHES:
        raise _unusable(path, type(key).__name__)
    return AnchorSigner(key)


def _unusable(path: pathlib.Path, actual: str) -> ConfigError:
    return ConfigError(
        f"anchor key {path}",
        expected=_KEY,
        actual=actual,
        next_step="Restore the key file from its backup, or remove it: the next anchor makes a new one",
    )


def _format_public(signer: AnchorSigner) -> bytes:
    return signer.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def public_keys(path: pathlib.Path) -> dict[str, bytes]:
    """Return the public keys beside the anchor key: DER SubjectPublicKeyInfo by key id.

    Raises:
        CorruptError: a file that is not the key that its name says.
    """
    found: dict[str, bytes] = {}
    for each in sorted(path.parent.glob(f"{path.stem}-*.pub")):
        try:
            with each.open("rb") as file:
                key = serialization.load_pem_public_key(file.read(MAX_KEY_BYTES))
            spki = key.public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise _damaged(each, str(error)) from error
        keyid = hashlib.sha256(spki).hexdigest()
        if each.stem != f"{path.stem}-{keyid[:16]}":
            raise _damaged(each, f"key {keyid}")
        found[keyid] = spki
    return found


def _damaged(path: pathlib.Path, actual: str) -> CorruptError:
    return CorruptError(
        f"public key {path}",
        expected="the anchor key that its name says, in PEM",
        actual=actual,
        next_step="Restore the file from a copy; that of the present key is written again if you remove it",
    )
