"""Keyless signatures through sigstore-python: verified for any signer, then the signer is read.

sigstore-python compares neither the tree size nor the origin with the signed checkpoint and does not authenticate
a Rekor v2 entry's outer index. The upstream entry is therefore read again by ``upstream``, through our own proof
verifier: its true index, size and origin, or refusal.
"""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from ledger.bundle import Bundle
from ledger.bundle.any_bundle import AnyBundle, SignedFile
from ledger.bundle.fulcio import signer_facts
from ledger.bundle.log_entry import LogKeys
from ledger.bundle.logged import UnknownKindError
from ledger.bundle.reasons import NotVerifiedError, refused
from ledger.bundle.restated import Established, is_read_by_sigstore, restate
from ledger.bundle.trust_material import TrustMaterial, VerifiedSignature
from ledger.bundle.upstream import prove_upstream
from ledger.errors import ConfigError, SignatureError
from ledger.identity import SigstoreFacts

_CERTIFICATE_CHECK = "_verify_common_signing_cert"
"""Not public, and the only word of sigstore-python on a certificate (chain, transparency, usage, times) without an ECDSA
signature. Where it is missing, nothing is said of such a certificate (docs/decisions/0006-any-sigstore-bundle.md).
"""


def verify_sigstore(bundle: Bundle, trust: TrustMaterial) -> VerifiedSignature:
    """Return who signed, with the upstream log entry proven. Raises NotVerifiedError, ConfigError."""
    from sigstore.errors import Error
    from sigstore.models import Bundle as SigstoreBundle
    from sigstore.verify import policy

    verifier, log_keys = _instance(trust)
    if not isinstance(bundle.log_entries, list) or len(bundle.log_entries) != 1:
        raise refused("upstream-entries")
    try:
        parsed = SigstoreBundle.from_json(bundle.raw)
        # No identity policy: whoever signed is accepted, and named.
        verifier.verify_dsse(parsed, policy.UnsafeNoOp())
        certificate = parsed.signing_certificate
        facts = signer_facts(certificate)
    except NotVerifiedError:
        raise
    except Error as error:
        raise refused("sigstore-rejected", error) from error
    except Exception as error:  # a parser of foreign input: whatever it raises is about the input
        raise refused("sigstore-malformed", type(error).__name__) from error
    upstream = prove_upstream(bundle.log_entries[0], bundle=bundle, certificate=certificate, keys=log_keys)
    return VerifiedSignature(signer=facts, upstream_log=upstream)


def verify_keyless(
    bundle: AnyBundle,
    root: bytes,
    *,
    digest: bytes,
    entries: Sequence[Established],
    certificate_alone: bool = False,
) -> SigstoreFacts:
    """Return who signed any bundle with a certificate of Fulcio's, by sigstore-python's whole verification.

    ``root`` is a trusted root or a client trust config; ``digest`` is that of a signed file, by the hash that the bundle
    names; ``entries`` are those of the bundle, each proven or promised already. ``certificate_alone``: the signature is
    by a key that sigstore-python does not verify; the caller has, and asks about the certificate.

    Raises:
        SignatureError: sigstore-python refuses it. ConfigError: the root cannot be used. UnknownKindError: this version
        of sigstore-python says nothing about a certificate alone.
    """
    from sigstore.errors import Error
    from sigstore.hashes import Hashed
    from sigstore.models import Bundle as SigstoreBundle
    from sigstore.verify import policy
    from sigstore_models.common.v1 import HashAlgorithm

    material = _material(root)
    verifier, _ = _instance(material)
    if certificate_alone and not hasattr(verifier, _CERTIFICATE_CHECK):
        raise _no_certificate_check()
    try:
        raw = bundle.raw
        if not all(is_read_by_sigstore(each, bundle) for each in entries):
            restated = restate(bundle, entries, digest=digest)
            raw, verifier = restated.raw, _vouching(material, restated.vouched)
        parsed = SigstoreBundle.from_json(raw)
        # No identity policy: whoever signed is named, and held against what is expected afterwards.
        if certificate_alone:
            getattr(verifier, _CERTIFICATE_CHECK)(parsed, policy.UnsafeNoOp())
        elif isinstance(bundle.content, SignedFile):
            hashed = Hashed(digest=digest, algorithm=HashAlgorithm(bundle.content.algorithm or "SHA2_256"))
            verifier.verify_artifact(hashed, parsed, policy.UnsafeNoOp())
        else:
            verifier.verify_dsse(parsed, policy.UnsafeNoOp())
        return signer_facts(parsed.signing_certificate)
    except (NotVerifiedError, Error) as error:
        raise _refused(str(error)) from error
    except Exception as error:  # a parser of foreign input: whatever it raises is about the input
        raise _refused(type(error).__name__) from error


def _no_certificate_check() -> UnknownKindError:
    return UnknownKindError(
        "certificate of the signature",
        expected="a sigstore-python that checks one by itself",
        actual="a version that does not",
        next_step="Check the certificate with cosign; the signature and its log entry hold",
    )


@lru_cache(maxsize=8)
def _material(root: bytes) -> TrustMaterial:
    """Keep what is made of a root: its keyrings cost more than a verification."""
    return TrustMaterial(sigstore_json=root)


def _refused(why: str) -> SignatureError:
    return SignatureError(
        "certificate of the signature", expected="one that sigstore-python accepts", actual=why
    )


def _instance(trust: TrustMaterial) -> tuple[Any, LogKeys]:
    """Return sigstore's verifier and the keys of its logs, made once for each material."""
    if "sigstore" not in trust.cache:
        from sigstore.verify import Verifier

        # It warns of the missing identity policy, each time.
        logging.getLogger("sigstore").setLevel(logging.ERROR)
        root = _load_root(trust.sigstore_json)
        if not root._inner.ctlogs:  # noqa: SLF001 - sigstore would blame each signature for it
            raise ConfigError(
                "Sigstore trust config", expected="a certificate transparency log", actual="none"
            )
        # The raw trusted root is the only way to the keys of its logs.
        log_keys = LogKeys.of(root._inner.tlogs)  # noqa: SLF001
        # sigstore makes its keyrings anew for each signature, and tries every key for a log that it does not know.
        root.ct_keyring = cache(root.ct_keyring)
        root.rekor_keyring = lambda _purpose: _StrictKeyring(log_keys)
        trust.cache["sigstore"] = Verifier(trusted_root=root), log_keys
        trust.cache["sigstore root"] = root
    instance: tuple[Any, LogKeys] = trust.cache["sigstore"]
    return instance


def _vouching(trust: TrustMaterial, messages: frozenset[bytes]) -> Any:
    """Return a verifier with the same authorities, for one bundle whose log entries were established here."""
    from sigstore.verify import Verifier

    root = copy.copy(trust.cache["sigstore root"])
    root.rekor_keyring = lambda _purpose: _VouchingKeyring(messages)
    return Verifier(trusted_root=root)


@dataclass(frozen=True, slots=True)
class _VouchingKeyring:
    """What sigstore-python asks about a log entry that was said again: only what was said here is vouched for."""

    messages: frozenset[bytes]

    def verify(self, *, key_id: bytes, signature: bytes, data: bytes) -> None:
        """Return if the message is one of ours. Raises sigstore's VerificationError."""
        from sigstore.errors import VerificationError

        del key_id, signature
        if data not in self.messages:
            raise VerificationError("not what was established about the log entry")


@dataclass(frozen=True, slots=True)
class _StrictKeyring:
    """What sigstore-python asks about signatures of a log: only the log that is named can have made one."""

    keys: LogKeys

    def verify(self, *, key_id: bytes, signature: bytes, data: bytes) -> None:
        """Return if the log made the signature. Raises sigstore's VerificationError."""
        from sigstore.errors import VerificationError

        if not self.keys.signed(key_id, signature, data):
            raise VerificationError("not signed by this log of the trust root")


def _load_root(raw: bytes | None) -> Any:
    from sigstore.errors import Error
    from sigstore.models import ClientTrustConfig, TrustedRoot
    from sigstore_models.trustroot.v1 import TrustedRoot as RawTrustedRoot

    try:
        if raw is None:
            return ClientTrustConfig.production(offline=True).trusted_root
        if b"clienttrustconfig" in raw:
            return ClientTrustConfig.from_json(raw.decode()).trusted_root
        return TrustedRoot(RawTrustedRoot.from_json(raw))
    except (Error, ValueError, OSError) as error:
        raise ConfigError(
            "Sigstore trust config", expected="a client trust config or trusted root", actual=str(error)
        ) from error
