"""Verifies Ed25519ph: Ed25519 over the SHA-512 of a message, behind a prefix that sets it apart (RFC 8032, section 5.1).

Rekor takes Ed25519 keys for a ``hashedrekord`` in this form alone, and ``cryptography`` does not have it. Verifying knows no
secret, so nothing here must take constant time, and nothing here signs. Without the prefix it is plain Ed25519, which the
tests hold against ``cryptography``.
"""

import hashlib

from cryptography.exceptions import InvalidSignature

PREFIX = b"SigEd25519 no Ed25519 collisions\x01\x00"
"""``dom2(1, "")``: prehashed, without a context."""
DIGEST_BYTES = 64
SIGNATURE_BYTES = 64
_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT_OF_MINUS_ONE = pow(2, (_P - 1) // 4, _P)

_Point = tuple[int, int, int, int]
"""(X, Y, Z, T) with x = X/Z, y = Y/Z and xy = T/Z."""
_NEUTRAL: _Point = (0, 1, 1, 0)


def verify_ed25519ph(key: bytes, signature: bytes, digest: bytes) -> None:
    """Return if ``key`` (32 bytes) signed a message with this SHA-512, without a context.

    Raises:
        InvalidSignature: it did not, or one of the three cannot be what it should be.
    """
    if len(digest) != DIGEST_BYTES:
        raise InvalidSignature
    verify_equation(key, signature, digest, prefix=PREFIX)


def verify_equation(key: bytes, signature: bytes, message: bytes, *, prefix: bytes) -> None:
    """Return if [S]B = R + [k]A, without the cofactor, as Go and OpenSSL have it (RFC 8032, section 5.1.7).

    Raises:
        InvalidSignature: it is not so, or something has a second spelling.
    """
    # 1. The scalar is reduced: a larger one would be another signature for the same message.
    scalar = int.from_bytes(signature[32:], "little")
    if len(signature) != SIGNATURE_BYTES or scalar >= _ORDER:
        raise InvalidSignature
    # 2. The key is a point, and not one of small order: such a key "signs" everything, and so is nobody's.
    public = _decode(key)
    if _encode(_multiply(8, public)) == _encode(_NEUTRAL):
        raise InvalidSignature
    # 3. The equation, as [S]B + [k](-A) = R. R is compared as bytes, so a point that is no point is refused, too.
    hashed = hashlib.sha512(prefix + signature[:32] + key + message).digest()
    factor = int.from_bytes(hashed, "little") % _ORDER
    if _encode(_add(_multiply(scalar, _BASE), _multiply(factor, _negate(public)))) != signature[:32]:
        raise InvalidSignature


def _decode(raw: bytes) -> _Point:
    """Decode a point (section 5.1.3). Raises InvalidSignature."""
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if len(raw) != 32 or y >= _P:
        raise InvalidSignature
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if x * x % _P != square:
        x = x * _ROOT_OF_MINUS_ONE % _P
    if x * x % _P != square or (x == 0 and sign):
        raise InvalidSignature
    x = _P - x if x & 1 != sign else x
    return x, y, 1, x * y % _P


def _encode(point: _Point) -> bytes:
    x, y, z, _ = point
    inverse = pow(z, -1, _P)
    return (y * inverse % _P | (x * inverse % _P & 1) << 255).to_bytes(32, "little")


def _negate(point: _Point) -> _Point:
    x, y, z, t = point
    return _P - x, y, z, _P - t


def _add(one: _Point, other: _Point) -> _Point:
    """Add two points; also of a point to itself (section 5.1.4: complete on this curve)."""
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c = 2 * one[3] * other[3] * _D % _P
    d = 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _multiply(factor: int, point: _Point) -> _Point:
    total = _NEUTRAL
    while factor:
        if factor & 1:
            total = _add(total, point)
        point, factor = _add(point, point), factor >> 1
    return total


_BASE = _decode((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))
