"""Key bundles: the registered keys are tried, those first that the bundle's hint or embedded key names; neither is believed."""

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.bundle import Bundle
from ledger.bundle.log_entry import HASHES
from ledger.bundle.reasons import NotVerifiedError, refused
from ledger.bundle.statement import DIGESTS_TYPE
from ledger.bundle.trust_material import RegisteredKey, TrustMaterial, VerifiedSignature
from ledger.encoding import parse_base64
from ledger.errors import LedgerError
from ledger.identity import KeyFacts

MAX_KEY_BYTES = 4096


def embedded_key(bundle: Bundle) -> ec.EllipticCurvePublicKey | None:
    """Return the key that bundles before model-signing 1.1 carry as ``rawBytes`` (PEM or DER)."""
    match bundle.material:
        case {"rawBytes": str(text)}:
            pass
        case _:
            return None
    try:
        raw = parse_base64(text, what="public key of the bundle", max_bytes=MAX_KEY_BYTES)
        pem = b"-----BEGIN" in raw
        key = serialization.load_pem_public_key(raw) if pem else serialization.load_der_public_key(raw)
    except (LedgerError, ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey) else None


def verify_key(bundle: Bundle, trust: TrustMaterial, predicate_type: str) -> VerifiedSignature:
    """Try every registered key; a wrong hint neither hides the right key nor stands for one."""
    hint = bundle.material.get("hint") if isinstance(bundle.material, dict) else None
    embedded = embedded_key(bundle)
    claimed = None if embedded is None else RegisteredKey.of(embedded).spki_sha256
    named = {
        each.spki_sha256
        for each in trust.keys
        if each.spki_sha256 == claimed or (isinstance(hint, str) and hint in each.hints)
    }
    for each in sorted(trust.keys, key=lambda key: key.spki_sha256 not in named):
        try:
            remarks = verify_with_key(each.key, bundle, predicate_type)
        except NotVerifiedError:
            continue
        return VerifiedSignature(signer=KeyFacts(spki_sha256=each.spki_sha256), remarks=remarks)
    raise refused("signature-invalid" if named else "key-not-registered")


def verify_with_key(key: ec.EllipticCurvePublicKey, bundle: Bundle, predicate_type: str) -> tuple[str, ...]:
    """Return the remarks about a signature that the key made.

    model-signing 0.2 signed other bytes than DSSE's, always with SHA-256. That form is accepted for statements that
    only 0.2 wrote, so no later statement can be signed in it.

    Raises:
        NotVerifiedError: ``signature-invalid``.
    """
    try:
        key.verify(bundle.signature, bundle.message, ec.ECDSA(HASHES[key.curve.name]))
    except InvalidSignature:
        if predicate_type != DIGESTS_TYPE:
            raise refused("signature-invalid") from None
    else:
        return ()
    try:
        key.verify(bundle.signature, bundle.deprecated_message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise refused("signature-invalid") from None
    return ("deprecated-encoding",)
