"""Proves the log entry of a keyless signature: that this log holds an entry for exactly this signature, and where.

Rekor v1 (``dsse`` 0.0.1) has two indices: the global one, which only the signed entry timestamp covers, and that of
the proof. Rekor v2 (``hashedrekord`` 0.0.2 over the DSSE pre-authentication encoding) has one. Sizes and roots come
from the checkpoint that the log signed; the numbers beside the proof are not believed.
"""

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.bundle import Bundle
from ledger.bundle.bodies import Verifier, dsse_v1, hashedrekord_v2
from ledger.bundle.log_entry import (
    HASHES,
    MAX_BODY_BYTES,
    LogEntry,
    LogKeys,
    parse_log_entry,
    verify_leaf,
    verify_promise,
    verify_tree,
)
from ledger.bundle.reasons import refused
from ledger.encoding import parse_json
from ledger.errors import InputError, ProofError, SignatureError
from ledger.event import UpstreamLog
from ledger.event.fields import cap
from ledger.event.schemas import ORIGIN_CAP

__all__ = ["prove_upstream"]


def prove_upstream(
    value: Any, *, bundle: Bundle, certificate: x509.Certificate, keys: LogKeys
) -> UpstreamLog:
    """Return where the signature of ``bundle`` is logged.

    Raises:
        NotVerifiedError: INVALID_SIGNATURE or UNSUPPORTED, with one of the codes ``upstream-…``.
    """
    try:
        entry = parse_log_entry(value)
    except SignatureError as error:
        raise refused("upstream-promise-false", error) from error
    except InputError as error:
        raise refused("upstream-log-unproven", error) from error
    try:
        # 1. The checkpoint is signed by a log of the trust root, under the name that its origin has.
        tree = verify_tree(entry, keys)
        # 2. The entry is in the tree that was signed.
        verify_leaf(entry, tree)
    except SignatureError as error:
        raise refused("upstream-checkpoint-unsigned", error.actual) from error
    except (ProofError, InputError) as error:
        raise refused("upstream-log-unproven", error) from error
    # 3. The outer index and the time are the log's word only where its promise covers them.
    if entry.promise is not None:
        try:
            verify_promise(entry, entry.promise, keys)
        except SignatureError as error:
            raise refused("upstream-promise-false") from error
    elif entry.index != entry.proof_index:
        raise refused("upstream-index-false", f"{entry.index} instead of {entry.proof_index}")
    # 4. The entry is about this statement, signature and certificate, and no other.
    _check_body(entry, bundle, certificate)
    promised_time = entry.integrated_time if entry.promise is not None else 0
    return UpstreamLog(
        origin=cap(tree.origin, ORIGIN_CAP),
        log_id=entry.log_id,
        kind=":".join(entry.kind),
        index=entry.index,
        integrated_time=promised_time or None,
    )


def _check_body(entry: LogEntry, bundle: Bundle, certificate: x509.Certificate) -> None:
    """Compare the body with the one that this signature must have."""
    match entry.kind:
        case ("dsse", "0.0.1"):
            wanted = _dsse_of(entry, bundle, _verifier(certificate))
        case ("hashedrekord", "0.0.2"):
            key = certificate.public_key()
            if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in HASHES:
                raise refused("upstream-entry-other", ":".join(entry.kind))
            verifier = _verifier(certificate)
            wanted = hashedrekord_v2(verifier.digest(bundle.message), bundle.signature, verifier)
        case _:
            raise refused("upstream-entry-kind", ":".join(entry.kind)[:100])
    if entry.body != wanted:
        raise refused("upstream-entry-other", ":".join(entry.kind))


def _verifier(certificate: x509.Certificate) -> Verifier:
    return Verifier(certificate.public_bytes(serialization.Encoding.DER), is_certificate=True)


def _dsse_of(entry: LogEntry, bundle: Bundle, verifier: Verifier) -> bytes:
    """Return the body of Rekor v1. It also names the envelope's digest, which cannot be held against anything."""
    try:
        body = parse_json(entry.body, what="entry body", max_bytes=MAX_BODY_BYTES)
    except InputError as error:
        raise refused("upstream-entry-other", error) from error
    match body:
        case {"spec": {"envelopeHash": {"value": str(envelope)}}}:
            return dsse_v1(bundle.payload, bundle.signature, verifier, envelope_sha256=envelope)
    raise refused("upstream-entry-other", ":".join(entry.kind))
