"""Proofs of our entries in Rekor, in the forms that others read: a Sigstore bundle v0.3, and a C2SP ``.tlog-proof``.

Both are made from what is stored: the entry's bytes, the hub's key, and protobuf's JSON of the log entry. What is written
here was proven when it was stored, and is proven again by whoever reads it.
"""

import hashlib
from collections.abc import Sequence

from ledger.bundle.bodies import SignedPayload, hashedrekord_v2
from ledger.bundle.log_entry import MAX_BODY_BYTES, LogEntry, parse_log_entry
from ledger.encoding import Json, format_base64, format_canonical_json, parse_json
from ledger.entry import MAX_ANCHOR_SIGNATURE_BYTES, Entry, parse_entry
from ledger.errors import MalformedError
from ledger.tlog.proof import TlogProof, format_proof

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MAX_LOG_ENTRY_BYTES = 2 * MAX_BODY_BYTES
HASHEDREKORD = "hashedrekord 0.0.2"
"""What ``extra`` of a proof calls the leaf of Rekor v2."""


def key_hint(spki: bytes) -> str:
    """Return what cosign writes, and looks for, as the hint of a public key: base64 of SHA-256 of the DER."""
    return format_base64(hashlib.sha256(spki).digest())


def format_sigstore_bundle(
    entry: bytes, *, spki: bytes, log_entries: Sequence[bytes], timestamps: Sequence[bytes] = ()
) -> bytes:
    """Format a bundle v0.3 of one of our entries, whose key is ``spki`` (DER).

    ``log_entries`` are protobuf's JSON of each ``TransparencyLogEntry``; ``timestamps`` RFC 3161 responses (DER).

    Raises:
        MalformedError, LimitError: an entry that is no envelope of ours, or a log entry that is none.
    """
    envelope = _parse(entry)
    material: dict[str, Json] = {
        "publicKey": {"hint": key_hint(spki)},
        "tlogEntries": [_parse_log_entry(each) for each in log_entries],
    }
    if timestamps:
        material["timestampVerificationData"] = {
            "rfc3161Timestamps": [{"signedTimestamp": format_base64(each)} for each in timestamps]
        }
    return format_canonical_json(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": material,
            "dsseEnvelope": {
                "payload": format_base64(envelope.payload),
                "payloadType": "application/vnd.in-toto+json",
                # Without our keyid: cosign takes one for the fingerprint of an SSH key, and finds no key for it.
                "signatures": [{"sig": format_base64(envelope.signature)}],
            },
        }
    )


def format_rekor_proof(entry: bytes, *, spki: bytes, log_entry: bytes) -> bytes:
    """Format a c2sp.org/tlog-proof of one of our entries in Rekor v2, with all that is needed to make the leaf again.

    Raises:
        MalformedError, LimitError: no entry of ours, or a log entry that is not Rekor v2's about it.
    """
    proof = parse_log_entry(_parse_log_entry(log_entry))
    signed = SignedPayload.of_entry(_value(entry), spki)
    if proof.body != hashedrekord_v2(signed.digest, signed.signature, signed.verifier):
        raise MalformedError(
            "log entry for a proof file",
            expected=f"{HASHEDREKORD} about this entry",
            actual=" ".join(proof.kind),
            next_step="Export a Sigstore bundle: a proof file exists for Rekor v2 alone",
        )
    return format_proof(_tlog_proof(entry, proof))


def _tlog_proof(entry: bytes, proof: LogEntry) -> TlogProof:
    extra = format_canonical_json({"entry": _value(entry), "kind": HASHEDREKORD})
    return TlogProof(
        index=proof.proof_index, hashes=tuple(proof.hashes), checkpoint_note=proof.note, extra=extra
    )


def _parse(entry: bytes) -> Entry:
    """Read an envelope of a hub's, or of an anchor's, whose key may be on a larger curve."""
    parsed = parse_entry(entry, max_signature_bytes=MAX_ANCHOR_SIGNATURE_BYTES)
    if not isinstance(parsed, Entry):
        raise MalformedError("entry for a bundle", expected="an envelope", actual="a map commit")
    return parsed


def _value(entry: bytes) -> Json:
    """Return an entry as JSON, for other JSON to hold."""
    _parse(entry)
    return parse_json(entry, what="entry", max_bytes=len(entry))


_KEPT = (
    "logIndex",
    "logId",
    "kindVersion",
    "integratedTime",
    "inclusionPromise",
    "inclusionProof",
    "canonicalizedBody",
)


def _parse_log_entry(data: bytes) -> dict[str, Json]:
    """Return a log entry without what is unset: some readers refuse null, and a time of 0 is none."""
    value = parse_json(data, what="log entry", max_bytes=MAX_LOG_ENTRY_BYTES)
    parse_log_entry(value)
    return {
        name: value[name]
        for name in _KEPT
        if value.get(name) is not None and (name != "integratedTime" or str(value[name]) != "0")
    }
