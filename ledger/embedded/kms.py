"""The hub's key where it cannot be copied: a KMS or HSM, through a signer of securesystemslib (``hub_signer``).

Such a signer may sign differently each time: ECDSA has a random part. That is why the bytes that are logged are stored
before they are sent anywhere, and a retry of an event finds them by its id. What comes back is verified before it is used,
by the public key that the ledger knows: a service that was given another key signs nothing of ours.
"""

import pathlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.client.trusted_keys import load_hub_key as parse_hub_key
from ledger.config import Config
from ledger.embedded.keys import hub_spki, load_hub_key, read_secret, spki_of
from ledger.entry import format_entry, keyid_of, pae
from ledger.errors import ConfigError, SourceError
from ledger.recorder import HubSigner, Signer

IN_FLIGHT = 32
"""Signatures that are asked for at once: each takes a round trip, and a service bills or limits by the second."""

_NO_STATEMENT = b"hubledger asks whether this key signs"
"""Without the prefix of PAE: nobody can take a signature of it for one of a statement."""

SignBytes = Callable[[bytes], bytes]
"""Signs with ECDSA over P-256 and SHA-256; returns ASN.1 DER. May raise anything."""


class _Signature(Protocol):
    signature: str


class RemoteSigner:
    """Signs statements as the hub, with a key that is elsewhere. Thread-safe."""

    def __init__(self, sign: SignBytes, *, spki: bytes, name: str) -> None:
        self._sign, self._public, self._name = sign, parse_hub_key(spki), name
        self.keyid = keyid_of(spki)
        self._threads = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="kms")

    def sign_run(self, statements: Sequence[bytes]) -> list[bytes]:
        """Return the whole entries for a run of statements, asked for side by side.

        Raises:
            SourceError: the service did not sign, or not with this key; nothing was recorded.
        """
        return list(self._threads.map(self._one, statements))

    def check(self) -> None:
        """Let it sign something that is no statement. Raises SourceError: it does not, or not with this key."""
        self._signature(_NO_STATEMENT)

    def _one(self, statement: bytes) -> bytes:
        return format_entry(statement, keyid=self.keyid, signature=self._signature(pae(statement)))

    def _signature(self, data: bytes) -> bytes:
        try:
            signature = self._sign(data)
        except Exception as error:  # each cloud's client has classes of its own, which nobody here knows
            raise self._unusable("a signature", type(error).__name__) from error
        try:
            self._public.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as error:
            raise self._unusable(f"a signature by key {self.keyid}", "another") from error
        return signature

    def _unusable(self, expected: str, actual: str) -> SourceError:
        return SourceError(
            f"signer {self._name}",
            expected=expected,
            actual=actual,
            next_step="Nothing was recorded. See that the service answers and that its key is the one in hub_key; then send the same event again",
        )


def load_signer(root: pathlib.Path, config: Config) -> Signer:
    """Return who signs statements: the key in its file, or the signer that the settings name. Raises ConfigError."""
    if config.hub_signer:
        secret = root / config.hub_signer_secret if config.hub_signer_secret else None
        return open_signer(config.hub_signer, spki=hub_spki(root, config), secret=secret)
    key = load_hub_key(root / config.hub_key)
    return HubSigner(key=key, keyid=keyid_of(spki_of(key)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerSource:
    """A hub key that is elsewhere when a ledger is made: the signer's URI, its public key in PEM, a file with its PIN."""

    uri: str
    public_key: pathlib.Path
    secret: pathlib.Path | None = None

    def settings(self) -> tuple[str, str, str]:
        """Return hub_key, hub_signer and hub_signer_secret."""
        secret = "" if self.secret is None else str(self.secret.absolute())
        return "keys/hub.pub", self.uri, secret


def open_signer(uri: str, *, spki: bytes, secret: pathlib.Path | None = None) -> RemoteSigner:
    """Open the signer that a URI of securesystemslib names; ``secret`` is a file with its PIN, where it wants one.

    Raises:
        ConfigError: no such signer, its library is not installed, or it cannot be opened.
    """
    # The scheme alone is shown: what follows may name accounts.
    name = uri.partition(":")[0]
    try:
        from securesystemslib.signer import Signer as Opener
        from securesystemslib.signer import SSlibKey
    except ImportError as error:
        raise _cannot_open(name, "its library is not installed") from error

    def ask(_what: str) -> str:
        if secret is None:
            raise _cannot_open(name, "it wants a secret, and hub_signer_secret names no file")
        return read_secret(secret).decode("utf-8", "replace").strip()

    try:
        signer = Opener.from_priv_key_uri(uri, SSlibKey.from_crypto(parse_hub_key(spki)), ask)
    except ConfigError:
        raise
    except Exception as error:  # as above; its text may repeat what it was given, so the class must do
        raise _cannot_open(name, type(error).__name__) from error

    def sign(data: bytes) -> bytes:
        signed: _Signature = signer.sign(data)
        return bytes.fromhex(signed.signature)

    return RemoteSigner(sign, spki=spki, name=name)


def _cannot_open(name: str, actual: str) -> ConfigError:
    return ConfigError(
        f"hub_signer {name}",
        expected="a signer of securesystemslib that can be opened",
        actual=actual,
        next_step="Run `pip install 'hubledger[kms]'` and the library of your service, and see that hub_key is its public key",
    )
