"""The keys of any bundle: beside the curves of ``Verifier`` also RSA (PKCS #1 v1.5) and Ed25519.

Ed25519 signs a statement itself in the entries that have the whole envelope in view (``dsse``, ``intoto``); a ``hashedrekord``
has a digest alone, and takes Ed25519ph in its place, which is another signature.
"""

from functools import cached_property
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from ledger.bundle.any_bundle import SignedEnvelope, SignedFile
from ledger.bundle.bodies import Verifier
from ledger.bundle.ed25519ph import DIGEST_BYTES, verify_ed25519ph
from ledger.bundle.log_entry import HASHES
from ledger.bundle.logged import UnknownKindError
from ledger.errors import ConfigError, MalformedError, SignatureError

ED25519_PH = "PKIX_ED25519_PH"
RSA_BITS = (2048, 3072, 4096)
"""The sizes that Rekor v2 has names for."""
HASHES_BY_NAME: dict[str, hashes.HashAlgorithm] = {
    "SHA2_256": hashes.SHA256(),
    "SHA2_384": hashes.SHA384(),
    "SHA2_512": hashes.SHA512(),
}
"""By the name that Sigstore's protobuf has for a hash."""


class AnyVerifier(Verifier):
    """The key, or certificate, of any bundle."""

    @cached_property
    def key(self) -> Any:
        """The key.

        Raises:
            MalformedError: not DER. UnknownKindError: a key of a kind that is not known here.
        """
        try:
            key = self.loaded
        except ConfigError as error:
            raise MalformedError(error.what, expected=error.expected, actual=error.actual) from error
        match key:
            case ec.EllipticCurvePublicKey() if key.curve.name in HASHES:
                return key
            case rsa.RSAPublicKey() if key.key_size in RSA_BITS:
                return key
            case ed25519.Ed25519PublicKey():
                return key
        raise UnknownKindError(
            "key of a signature",
            expected="a key on P-256, P-384 or P-521, RSA of 2048, 3072 or 4096 bits, or Ed25519",
            actual=type(key).__name__,
        )

    @cached_property
    def details(self) -> str:
        """How Sigstore's protobuf names the algorithm."""
        match self.key:
            case rsa.RSAPublicKey():
                return f"PKIX_RSA_PKCS1V15_{self.key.key_size}_SHA256"
            case ed25519.Ed25519PublicKey():
                return ED25519_PH
        return super().details

    @cached_property
    def algorithm(self) -> hashes.HashAlgorithm:
        """The hash that goes with the key."""
        match self.key:
            case rsa.RSAPublicKey():
                return hashes.SHA256()
            case ed25519.Ed25519PublicKey():
                return hashes.SHA512()
        return HASHES[self.key.curve.name]

    def verify(self, content: SignedEnvelope | SignedFile, digest: bytes, *, prehashed: bool = True) -> None:
        """Return if the key signed the message of an envelope, or the digest of a file.

        ``prehashed`` is for the one kind of key that has two ways to sign an envelope: Ed25519ph, and not Ed25519.

        Raises:
            SignatureError: it did not. UnknownKindError: an Ed25519 key and a digest that is not SHA-512.
        """
        try:
            self._verify(content, digest, prehashed=prehashed)
        except InvalidSignature as error:
            what = "the statement in it" if isinstance(content, SignedEnvelope) else "the digest of a file"
            whose = "certificate" if self.is_certificate else "key"
            raise SignatureError(
                "signature of the bundle", expected=f"one by its {whose} over {what}", actual="one that fails"
            ) from error

    def _verify(self, content: SignedEnvelope | SignedFile, digest: bytes, *, prehashed: bool) -> None:
        if isinstance(self.key, ed25519.Ed25519PublicKey):
            self._verify_ed25519(content, digest, prehashed=prehashed)
            return
        algorithm = self.algorithm
        if isinstance(content, SignedFile) and content.algorithm is not None:
            algorithm = HASHES_BY_NAME[content.algorithm]
        if isinstance(self.key, rsa.RSAPublicKey):
            self.key.verify(content.signature, digest, padding.PKCS1v15(), Prehashed(algorithm))
        else:
            self.key.verify(content.signature, digest, ec.ECDSA(Prehashed(algorithm)))

    def _verify_ed25519(
        self, content: SignedEnvelope | SignedFile, digest: bytes, *, prehashed: bool
    ) -> None:
        if isinstance(content, SignedEnvelope) and not prehashed:
            self.key.verify(content.signature, content.message)
            return
        if len(digest) != DIGEST_BYTES:
            raise UnknownKindError(
                "digest of the signed file",
                expected="SHA-512, which Ed25519ph signs",
                actual=f"one of {len(digest)} bytes",
            )
        raw = self.key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        verify_ed25519ph(raw, content.signature, digest)
