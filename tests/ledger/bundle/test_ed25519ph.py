"""Ed25519ph against the vector of RFC 8032, and the equation under it against ``cryptography``'s Ed25519."""

import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519

from ledger.bundle.ed25519ph import verify_ed25519ph, verify_equation
from tests.world import ed25519_key

ORDER = 2**252 + 27742317777372353535851937790883648493
P = 2**255 - 19
SECRET = bytes.fromhex("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42")
KEY = ed25519.Ed25519PrivateKey.from_private_bytes(SECRET).public_key().public_bytes_raw()
SIGNATURE = bytes.fromhex(
    "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41"
    "31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406"
)
"""RFC 8032, section 7.3: the signature over "abc"."""
DIGEST = hashlib.sha512(b"abc").digest()
SMALL = [
    (1).to_bytes(32, "little"),
    (P - 1).to_bytes(32, "little"),
    bytes(32),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
]
"""Points of order 1, 2, 4, 8 and 8."""


def bent(raw, at):
    return raw[: at // 8] + bytes([raw[at // 8] ^ 1 << at % 8]) + raw[at // 8 + 1 :]


def test_the_vector_of_the_rfc():
    verify_ed25519ph(KEY, SIGNATURE, DIGEST)


@pytest.mark.parametrize("at", range(0, 512, 5))
def test_every_bit_counts(at):
    with pytest.raises(InvalidSignature):
        verify_ed25519ph(KEY, bent(SIGNATURE, at), DIGEST)
    with pytest.raises(InvalidSignature):
        verify_ed25519ph(KEY, SIGNATURE, bent(DIGEST, at))
    with pytest.raises(InvalidSignature):
        verify_ed25519ph(bent(KEY, at // 2), SIGNATURE, DIGEST)


@pytest.mark.parametrize(
    ("key", "signature", "digest"),
    [
        (KEY, SIGNATURE, b"abc"),
        (KEY, SIGNATURE, DIGEST[:32]),
        (KEY[:31], SIGNATURE, DIGEST),
        (KEY + b"\0", SIGNATURE, DIGEST),
        (KEY, SIGNATURE[:63], DIGEST),
        (KEY, SIGNATURE + b"\0", DIGEST),
        (b"", b"", b""),
    ],
)
def test_nothing_of_another_length(key, signature, digest):
    with pytest.raises(InvalidSignature):
        verify_ed25519ph(key, signature, digest)


def test_a_scalar_that_is_not_reduced_is_another_spelling():
    scalar = int.from_bytes(SIGNATURE[32:], "little") + ORDER
    with pytest.raises(InvalidSignature):
        verify_ed25519ph(KEY, SIGNATURE[:32] + scalar.to_bytes(32, "little"), DIGEST)


@pytest.mark.parametrize("key", SMALL, ids=bytes.hex)
def test_a_key_of_small_order_is_nobodys(key):
    """With a scalar of 0 and R = -[k]A the equation holds for about one message in eight, whoever "signs"."""
    for word in range(32):
        for point in SMALL:
            with pytest.raises(InvalidSignature):
                verify_ed25519ph(key, point + bytes(32), hashlib.sha512(b"%d" % word).digest())


def test_a_point_has_one_spelling():
    second = (P + 3).to_bytes(32, "little")  # y = 3, and y = 3 + p has 255 bits, too
    for key in (second, (2).to_bytes(32, "little"), bent((1).to_bytes(32, "little"), 255)):
        with pytest.raises(InvalidSignature):
            verify_ed25519ph(key, SIGNATURE, DIGEST)


@pytest.mark.parametrize("word", range(24))
def test_without_the_prefix_it_is_the_ed25519_of_cryptography(word):
    private, message = ed25519_key(f"key {word}"), b"message" * word
    raw, signature = private.public_key().public_bytes_raw(), private.sign(message)
    verify_equation(raw, signature, message, prefix=b"")
    for change in (word, 200 + word, 300 + word, 480 + word):
        other = bent(signature, change)
        with pytest.raises(InvalidSignature):
            private.public_key().verify(other, message)
        with pytest.raises(InvalidSignature):
            verify_equation(raw, other, message, prefix=b"")
