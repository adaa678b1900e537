"""Evidence by SHA-256: bundles, manifests, policies. Written before the event that names it, never overwritten."""

import hashlib
from collections.abc import Iterable

from ledger.errors import CorruptError
from ledger.storage import ObjectStore

MAX_EVIDENCE_BYTES = 1 << 30
"""A manifest of a very large repository; everything else is far smaller."""


class Evidence:
    """Content-addressed bytes in an object store."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def put(self, pieces: Iterable[bytes]) -> None:
        """Store pieces under their digests, durable on return. Raises CorruptError, WriteError."""
        self._objects.put((_name(hashlib.sha256(data).digest()), data) for data in pieces)

    def get(self, sha256: bytes, *, max_bytes: int = MAX_EVIDENCE_BYTES) -> bytes:
        """Return a piece and check it against its name. Raises NotFoundError, CorruptError."""
        data = self._objects.get(_name(sha256), max_bytes=max_bytes)
        if hashlib.sha256(data).digest() != sha256:
            raise CorruptError(
                f"evidence {sha256.hex()}",
                expected="bytes with this SHA-256",
                actual="other bytes",
                next_step="Restore it from a copy; the log itself is not affected",
            )
        return data


def _name(sha256: bytes) -> str:
    text = sha256.hex()
    return f"{text[:2]}/{text}"
