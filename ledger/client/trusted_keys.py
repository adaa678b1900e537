"""Keys that a trust file names: the hub's with the positions at which each counts, and those of a log or shard."""

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.encoding import MAX_SAFE_INTEGER
from ledger.entry import keyid_of
from ledger.errors import ConfigError
from ledger.tlog.signed_note import KeyType, VerifierKey

TREE_ID = " - "
"""What stands before the tree id in the origins of Rekor v1, whose checkpoints are signed under the name before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubKey:
    """A key of the hub, and the positions from ``(first_shard, first)`` to before ``(end_shard, end)`` that it may sign.

    A position is (order of the shard, leaf index); a tile log has one shard, 0. ``end`` None: no end.
    """

    spki: bytes
    first: int = 0
    end: int | None = None
    first_shard: int = 0
    end_shard: int = 0

    def __post_init__(self) -> None:
        numbers = (self.first, self.first_shard, self.end_shard, self.end or 0)
        if not all(0 <= each <= MAX_SAFE_INTEGER for each in numbers) or (
            self.end is not None and not self._from < (self.end_shard, self.end)
        ):
            raise ConfigError(
                "leaf indices of a hub key",
                expected="0 <= first < end",
                actual=f"{format_place(*self._from)} to {None if self.end is None else format_place(self.end_shard, self.end)}",
            )
        load_hub_key(self.spki)

    @property
    def _from(self) -> tuple[int, int]:
        return self.first_shard, self.first

    @property
    def keyid(self) -> str:
        """Hex SHA-256 of the SubjectPublicKeyInfo."""
        return keyid_of(self.spki)

    @property
    def range(self) -> str:
        """The positions at which the key counts, for a message."""
        if self.end is None:
            return f"{format_place(*self._from)} to …"
        if self.end == 0:
            return f"{format_place(*self._from)} to before {format_place(self.end_shard, 0)}"
        return f"{format_place(*self._from)} to {format_place(self.end_shard, self.end - 1)}"

    def covers(self, leaf_index: int, *, shard: int = 0) -> bool:
        """Whether the key counts at this position."""
        at = shard, leaf_index
        return self._from <= at and (self.end is None or at < (self.end_shard, self.end))


def format_place(shard: int, leaf_index: int) -> str:
    """Write a position for a message."""
    return f"{leaf_index} of shard {shard}" if shard else str(leaf_index)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedLog:
    """A log, or one shard of Rekor: the origin of its checkpoints, and the keys that sign them.

    A shard without keys only holds its place among the others: nothing that is said to be from it verifies.
    """

    origin: str
    keys: tuple[VerifierKey, ...]

    @property
    def log_id(self) -> bytes:
        """What Sigstore calls a shard: SHA-256 of name, type and key, or of the SubjectPublicKeyInfo for ECDSA."""
        if not self.keys:
            return b""  # which is the id of no log
        key = self.keys[0]
        if key.kind is KeyType.ECDSA:
            return hashlib.sha256(key.public_key).digest()
        return hashlib.sha256(key.name.encode() + b"\n" + bytes([key.kind]) + key.public_key).digest()


_P256_SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
"""How every DER SubjectPublicKeyInfo of an uncompressed P-256 point begins (RFC 5480); the point is the rest."""
_P256_POINT_BYTES = 65


def load_hub_key(spki: bytes) -> ec.EllipticCurvePublicKey:
    """Load a hub key. Raises ConfigError: not a DER ECDSA P-256 key."""
    point = spki.removeprefix(_P256_SPKI)
    if len(point) == _P256_POINT_BYTES and len(spki) == len(_P256_SPKI) + _P256_POINT_BYTES:
        try:
            return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        except ValueError as error:
            raise ConfigError("hub key", expected="a point on P-256", actual=str(error)) from error
    return _load_other_form(spki)


def _load_other_form(spki: bytes) -> ec.EllipticCurvePublicKey:
    """Load a key in a rarer form, or say what it is instead of one."""
    # Imported here because it takes a tenth of the time of a whole check to load, and no hub of ours needs it.
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError("hub key", expected="a DER SubjectPublicKeyInfo", actual=str(error)) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError("hub key", expected="an ECDSA P-256 key", actual=type(key).__name__)
    return key


_ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")
"""How every DER SubjectPublicKeyInfo of an Ed25519 key begins (RFC 8410)."""


def shard_key(origin: str, spki: bytes) -> VerifierKey:
    """Return the key of a shard's checkpoints. Rekor v1 signs under the first word of its origin, ``<name> - <tree id>``."""
    name = origin.partition(TREE_ID)[0]
    if spki.startswith(_ED25519_SPKI):
        return VerifierKey(name=name, kind=KeyType.ED25519, public_key=spki.removeprefix(_ED25519_SPKI))
    return VerifierKey(name=name, kind=KeyType.ECDSA, public_key=spki)
