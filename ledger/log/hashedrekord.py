"""What is sent to Rekor v2 for an envelope, and what an answer must say of it: ``hashedrekord`` 0.0.2 (rekor-tiles).

Nothing here touches the network. An answer that lies in any field is refused, in those too that nothing needs: who lies
there is not the log that we think we speak with.
"""

from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from ledger.bundle.bodies import SignedPayload, Verifier, hashedrekord_v2
from ledger.bundle.log_entry import (
    LogEntry,
    LogKeys,
    ProvenEntry,
    format_log_entry,
    parse_log_entry,
    prove_log_entry,
)
from ledger.encoding import Json, format_base64, format_canonical_json, parse_base64, parse_json
from ledger.entry import MAX_ANCHOR_SIGNATURE_BYTES
from ledger.errors import InputError, MalformedError, ProofError, SignatureError, SourceError
from ledger.log.remote import LogReceipt, Shard
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import HASH_BYTES
from ledger.tlog.tiles import MAX_ENTRY_BYTES

KIND = ("hashedrekord", "0.0.2")
MAX_ANSWER_BYTES = 1 << 20
"""An entry has at most 64 KiB (tlog-tiles), a checkpoint with a hundred large cosignatures a third of a megabyte; a
thousand answers may arrive at once."""


def format_request(signed: SignedPayload) -> bytes:
    """Format what Rekor v2 takes for this envelope. Raises ConfigError: a key of another kind."""
    verifier = signed.verifier
    raw: Json = {"rawBytes": format_base64(verifier.der)}
    return format_canonical_json(
        {
            "hashedRekordRequestV002": {
                "digest": format_base64(signed.digest),
                "signature": {
                    "content": format_base64(signed.signature),
                    "verifier": {
                        ("x509Certificate" if verifier.is_certificate else "publicKey"): raw,
                        "keyDetails": verifier.details,
                    },
                },
            }
        }
    )


def format_body(signed: SignedPayload) -> bytes:
    """Format the entry that the log must have of this envelope. Raises ConfigError: a key of another kind."""
    return hashedrekord_v2(signed.digest, signed.signature, signed.verifier)


def read_answer(data: bytes, *, body: bytes, shard: Shard, keys: LogKeys) -> LogReceipt:
    """Return what an answer proves: that the shard holds ``body``, and where.

    Raises:
        SourceError: no JSON: somebody answered in the place of the log. MalformedError, LimitError: no entry.
        SignatureError: this shard did not sign it. ProofError: it is about another entry, or does not prove it.
    """
    try:
        value = parse_json(data, what="answer of the log", max_bytes=MAX_ANSWER_BYTES)
    except InputError as error:
        raise SourceError(
            "answer of the log", expected="JSON", actual=error.actual if data else "nothing"
        ) from error
    entry = parse_log_entry(value)
    # An answer about something else proves that something else: say so before the proof is looked at.
    if entry.body != body or entry.kind != KIND:
        raise ProofError(
            "entry of the answer", expected="the one of what was sent", actual=f"another {entry.kind[0]}"
        )
    receipt = prove_entry(entry, shard=shard, keys=keys)
    _check_beside(value, receipt.proven.tree)
    return receipt


def prove_entry(entry: LogEntry, *, shard: Shard, keys: LogKeys) -> LogReceipt:
    """Return the receipt of an entry that this shard, and no other of the trusted root, holds.

    Raises:
        SignatureError: another log, or no signature of it. ProofError: it is not at this place. MalformedError,
        LimitError: no checkpoint.
    """
    if entry.log_id != shard.log_id:
        raise SignatureError(
            "log of the answer", expected=f"the shard {shard.log_id.hex()}", actual=entry.log_id.hex()
        )
    proven: ProvenEntry = prove_log_entry(entry, keys)
    if proven.tree.origin != shard.origin:
        raise SignatureError("origin of the checkpoint", expected=shard.origin, actual=proven.tree.origin)
    return LogReceipt(shard=shard, log_entry=format_log_entry(entry, proven.tree), proven=proven)


def _check_beside(value: Any, tree: Checkpoint) -> None:
    """Hold what nothing signs against what is signed: size and root beside the proof, and a time that v2 has not."""
    proof = value["inclusionProof"]
    match proof:
        case {"treeSize": size} if str(size) != str(tree.size):
            raise ProofError(
                "tree size beside the proof", expected=f"{tree.size}, as signed", actual=str(size)
            )
    match proof:
        case {"rootHash": str(text)}:
            root = parse_base64(text, what="root hash beside the proof", max_bytes=HASH_BYTES)
            if root != tree.root_hash:
                raise ProofError(
                    "root hash beside the proof",
                    expected=f"{tree.root_hash.hex()}, as signed",
                    actual=root.hex(),
                )
        case {"rootHash": other}:
            raise MalformedError("root hash beside the proof", expected="base64", actual=other)
    if value.get("integratedTime", "0") not in ("0", 0) or value.get("inclusionPromise") is not None:
        raise MalformedError(
            "time of the answer", expected="none, as Rekor v2 gives none", actual=value.get("integratedTime")
        )


def signed_by(spki: bytes, entry: bytes) -> bytes | None:
    """Return the digest that an entry says the key signed, None where the key did not."""
    found = signature_by(spki, entry)
    return None if found is None else found[0]


def signature_by(spki: bytes, entry: bytes) -> tuple[bytes, bytes] | None:
    """Return the digest that an entry says the key signed, and the signature; None where the key did not.

    A log that is not honest could name our key over anything; and (r, n-s) of a signature of ours has its digest.
    """
    verifier = Verifier(spki)
    try:
        match parse_json(entry, what="entry of the log", max_bytes=MAX_ENTRY_BYTES):
            case {
                "spec": {
                    "hashedRekordV002": {
                        "data": {"digest": str(said)},
                        "signature": {"content": str(content)},
                    }
                }
            }:
                digest = parse_base64(said, what="digest of the entry")
                signature = parse_base64(content, what="signature", max_bytes=MAX_ANCHOR_SIGNATURE_BYTES)
            case _:
                return None
        if hashedrekord_v2(digest, signature, verifier) != entry:
            return None
        verifier.key.verify(signature, digest, ec.ECDSA(Prehashed(verifier.algorithm)))
    except (InputError, InvalidSignature, ValueError):
        return None
    return digest, signature
