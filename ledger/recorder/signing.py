"""Signs statements as the hub."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.entry import format_entry, pae


class Signer(Protocol):
    """Signs statements as the hub. Thread-safe; may sign the same statement differently each time."""

    @property
    def keyid(self) -> str:
        """Hex SHA-256 of the SubjectPublicKeyInfo."""
        ...

    def sign_run(self, statements: Sequence[bytes]) -> list[bytes]:
        """Return the whole entries for a run of statements, in order. Raises SourceError: it is elsewhere and away."""
        ...


_ALGORITHM = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSigner:
    """The hub's ECDSA P-256 key; signs deterministically (RFC 6979)."""

    key: ec.EllipticCurvePrivateKey
    keyid: str

    def sign_run(self, statements: Sequence[bytes]) -> list[bytes]:
        """Return the whole entries for a run of statements.

        Signing releases the interpreter lock: in a loop with nothing else in it, two threads share two cores.
        """
        encoded = [pae(statement) for statement in statements]
        signatures = [self.key.sign(data, _ALGORITHM) for data in encoded]
        return [
            format_entry(statement, keyid=self.keyid, signature=signature)
            for statement, signature in zip(statements, signatures, strict=True)
        ]
