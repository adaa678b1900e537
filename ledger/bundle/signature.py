"""Verifies a bundle for *whoever* signed it, and says who that is; one module for each method does it."""

from datetime import datetime

from ledger.bundle import VERSIONS, Bundle
from ledger.bundle.key_method import embedded_key, verify_key
from ledger.bundle.reasons import refused
from ledger.bundle.trust_material import RegisteredKey, TrustMaterial, VerifiedSignature
from ledger.errors import LedgerError
from ledger.identity import KeyFacts, SignerFacts


def verify_signature(
    bundle: Bundle, trust: TrustMaterial, *, predicate_type: str, received: datetime | None = None
) -> VerifiedSignature:
    """Return who signed the bundle's statement, whose type was read before.

    ``received`` is when the hub got the revision: no time in a key or certificate bundle can be trusted.

    Raises:
        NotVerifiedError: with the outcome INVALID_SIGNATURE, UNKNOWN_KEY or UNSUPPORTED, and a reason code.
        ConfigError: the hub's own material cannot be used.
    """
    if bundle.media_type not in VERSIONS:
        raise refused("bundle-version", bundle.media_type[:100])
    match bundle.method:
        case "key":
            return verify_key(bundle, trust, predicate_type)
        case "certificate":
            from ledger.bundle.certificates import verify_certificate

            return verify_certificate(bundle, trust, predicate_type=predicate_type, received=received)
        case _:
            from ledger.bundle.sigstore_method import verify_sigstore

            return verify_sigstore(bundle, trust)


def claimed_signer(bundle: Bundle) -> SignerFacts | None:
    """Return who a bundle says signed it, where it says so without being believed."""
    from ledger.bundle.certificates import certificate_facts, parse_chain
    from ledger.bundle.fulcio import signer_facts

    try:
        if bundle.method == "key":
            key = embedded_key(bundle)
            return None if key is None else KeyFacts(spki_sha256=RegisteredKey.of(key).spki_sha256)
        chain = parse_chain(bundle)
        return certificate_facts(chain, None) if bundle.method == "certificate" else signer_facts(chain[0])
    except LedgerError:
        return None
