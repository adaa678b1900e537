"""Proves the log entry of a keyless signature: that this log holds an entry for exactly this signature, and where.

Rekor v1 (``dsse`` 0.0.1) has two indices: the global one, which only the signed entry timestamp covers, and that of
the proof. Rekor v2 (``hashedrekord`` 0.0.2 over the DSSE pre-authentication encoding) has one. Sizes and roots come
from the checkpoint that the log signed; the numbers beside the proof are not believed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from ledger.bundle import Bundle
from ledger.bundle.reasons import refused
from ledger.bundle.signature import HASHES, cap
from ledger.encoding import (
    format_base64,
    format_canonical_json,
    parse_base64,
    parse_decimal,
    parse_json,
    parse_whole,
)
from ledger.errors import InputError, ProofError
from ledger.event import UpstreamLog
from ledger.event.schemas import ORIGIN_CAP
from ledger.tlog.checkpoint import Checkpoint, parse_checkpoint
from ledger.tlog.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from ledger.tlog.signed_note import parse_note

MAX_BODY_BYTES = 1 << 20
"""An entry holds digests, a signature and a certificate: a few kilobytes."""
MAX_SET_BYTES = 4096
_NAMES = {"secp256r1": "SHA2_256", "secp384r1": "SHA2_384", "secp521r1": "SHA2_512"}


class LogKeys:
    """The keys of the logs in a trusted root, by log id. An id that is not there stands for no key at all."""

    def __init__(self, by_id: Mapping[bytes, Any]) -> None:
        self.by_id = by_id
        # sigstore-python asks first and prove_upstream again, about the same bytes.
        self.signed = lru_cache(maxsize=64)(self._signed)

    @classmethod
    def of(cls, tlogs: Iterable[Any]) -> "LogKeys":
        """Read the logs of a trusted root; a key of a kind that is not known here is left out, and so never used."""
        found: dict[bytes, Any] = {}
        for log in tlogs:
            try:
                found[bytes(log.log_id.key_id)] = serialization.load_der_public_key(log.public_key.raw_bytes)
            except (ValueError, TypeError, UnsupportedAlgorithm):
                continue
        return cls(found)

    def _signed(self, log_id: bytes, signature: bytes, data: bytes) -> bool:
        """Whether the log made the signature; a question, whose answer its callers turn into a refusal."""
        key = self.by_id.get(log_id)
        try:
            match key:
                case ec.EllipticCurvePublicKey():
                    key.verify(signature, data, ec.ECDSA(HASHES[key.curve.name]))
                case ed25519.Ed25519PublicKey():
                    key.verify(signature, data)
                case rsa.RSAPublicKey():
                    key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
                case _:
                    return False
        except (InvalidSignature, KeyError):
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A log entry's fields, parsed and not yet checked."""

    log_id: bytes
    index: int
    kind: tuple[str, str]
    body: bytes
    integrated_time: int
    promise: bytes | None
    proof_index: int
    hashes: Sequence[bytes]
    note: bytes


def prove_upstream(
    value: Any, *, bundle: Bundle, certificate: x509.Certificate, keys: LogKeys
) -> UpstreamLog:
    """Return where the signature of ``bundle`` is logged.

    Raises:
        NotVerifiedError: INVALID_SIGNATURE or UNSUPPORTED, with one of the codes ``upstream-…``.
    """
    entry = _parse_entry(value)
    # 1. The checkpoint is signed by a log of the trust root, under the name that its origin has.
    tree = _verify_checkpoint(entry, keys)
    # 2. The entry is in the tree that was signed.
    try:
        verify_inclusion(
            leaf_hash(entry.body),
            index=entry.proof_index,
            size=tree.size,
            root=tree.root_hash,
            proof=entry.hashes,
        )
    except (ProofError, InputError) as error:
        raise refused("upstream-log-unproven", error) from error
    # 3. The outer index and the time are the log's word only where its promise covers them.
    if entry.promise is not None:
        _verify_promise(entry, entry.promise, keys)
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


def _parse_entry(value: Any) -> _Entry:
    match value:
        case {
            "logId": {"keyId": str(key_id)},
            "logIndex": index,
            "kindVersion": {"kind": str(kind), "version": str(version)},
            "canonicalizedBody": str(body),
            "inclusionProof": {
                "logIndex": proof_index,
                "checkpoint": {"envelope": str(note)},
                "hashes": list(listed),
            },
        }:
            pass
        case _:
            raise refused("upstream-log-unproven", "no inclusion proof with a checkpoint")
    try:
        return _Entry(
            log_id=parse_base64(key_id, what="log id", max_bytes=HASH_BYTES),
            index=_parse_number(index, "index of the entry"),
            kind=(kind, version),
            body=parse_base64(body, what="entry body", max_bytes=MAX_BODY_BYTES),
            integrated_time=_parse_number(value.get("integratedTime") or 0, "time of the entry"),
            promise=_parse_promise(value.get("inclusionPromise")),
            proof_index=_parse_number(proof_index, "index of the inclusion proof"),
            hashes=[parse_base64(each, what="hash of the proof", max_bytes=HASH_BYTES) for each in listed],
            note=note.encode(),
        )
    except (InputError, UnicodeEncodeError, TypeError) as error:
        raise refused("upstream-log-unproven", error) from error


def _parse_number(value: Any, what: str) -> int:
    """Parse a 64-bit number, which protobuf's JSON writes as a string."""
    return parse_decimal(value, what=what) if isinstance(value, str) else parse_whole(value, what=what)


def _parse_promise(value: Any) -> bytes | None:
    match value:
        case None:
            return None
        case {"signedEntryTimestamp": str(text)}:
            return parse_base64(text, what="signed entry timestamp", max_bytes=MAX_SET_BYTES)
    raise refused("upstream-promise-false", "no signed entry timestamp")


def _verify_checkpoint(entry: _Entry, keys: LogKeys) -> Checkpoint:
    try:
        note = parse_note(entry.note)
        tree = parse_checkpoint(note.text)
    except InputError as error:
        raise refused("upstream-log-unproven", error) from error
    for line in note.signatures:
        # Rekor v1's origin is its name and a tree id; the name alone signs.
        named = tree.origin == line.name or tree.origin.startswith(f"{line.name} - ")
        if named and line.key_id == entry.log_id[:4] and keys.signed(entry.log_id, line.signature, note.text):
            return tree
    raise refused("upstream-checkpoint-unsigned", tree.origin[:100])


def _verify_promise(entry: _Entry, promise: bytes, keys: LogKeys) -> None:
    """Verify Rekor v1's signed entry timestamp: over the canonical JSON of body, time, log id and global index."""
    try:
        message = format_canonical_json(
            {
                "body": format_base64(entry.body),
                "integratedTime": entry.integrated_time,
                "logID": entry.log_id.hex(),
                "logIndex": entry.index,
            }
        )
    except InputError as error:
        raise refused("upstream-promise-false", error) from error
    if not keys.signed(entry.log_id, promise, message):
        raise refused("upstream-promise-false")


def _check_body(entry: _Entry, bundle: Bundle, certificate: x509.Certificate) -> None:
    """Compare the body with the one that this signature must have."""
    try:
        body = parse_json(entry.body, what="entry body", max_bytes=MAX_BODY_BYTES)
    except InputError as error:
        raise refused("upstream-entry-other", error) from error
    match entry.kind:
        case ("dsse", "0.0.1"):
            matches = _is_dsse_of(body, bundle, certificate)
        case ("hashedrekord", "0.0.2"):
            matches = _is_hashedrekord_of(body, bundle, certificate)
        case _:
            raise refused("upstream-entry-kind", ":".join(entry.kind)[:100])
    if not matches:
        raise refused("upstream-entry-other", ":".join(entry.kind))


def _is_dsse_of(body: Any, bundle: Bundle, certificate: x509.Certificate) -> bool:
    """Whether a Rekor v1 body names this payload, and this signature by this certificate and no other.

    It also names the envelope's digest, which cannot be held against anything: an envelope has no canonical bytes.
    """
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    match body:
        case {
            "kind": "dsse",
            "apiVersion": "0.0.1",
            "spec": {
                "payloadHash": {"algorithm": "sha256", "value": payload},
                "signatures": [{"signature": signature, "verifier": verifier}],
            },
        }:
            wanted = bundle.statement_sha256.hex(), format_base64(bundle.signature), format_base64(pem)
            return (payload, signature, verifier) == wanted
    return False


def _is_hashedrekord_of(body: Any, bundle: Bundle, certificate: x509.Certificate) -> bool:
    """Whether a Rekor v2 body is over this envelope's encoding, with this signature and certificate."""
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in HASHES:
        return False
    digest = hashes.Hash(HASHES[key.curve.name])
    digest.update(bundle.message)
    match body:
        case {
            "kind": "hashedrekord",
            "apiVersion": "0.0.2",
            "spec": {
                "hashedRekordV002": {
                    "data": {"algorithm": algorithm, "digest": signed},
                    "signature": {
                        "content": signature,
                        "verifier": {"x509Certificate": {"rawBytes": der}},
                    },
                }
            },
        }:
            wanted = (
                _NAMES[key.curve.name],
                format_base64(digest.finalize()),
                format_base64(bundle.signature),
                format_base64(certificate.public_bytes(serialization.Encoding.DER)),
            )
            return (algorithm, signed, signature, der) == wanted
    return False
