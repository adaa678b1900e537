"""A log entry as Sigstore bundles carry it, and its proof: that this log holds this body, and where.

Rekor v1 has two indices: the global one, which only the signed entry timestamp covers, and that of the proof in its
shard. Rekor v2 has one. Sizes and roots come from the checkpoint that the log signed; the numbers beside the proof
are not believed. ``prove_log_entry`` is all steps; who must tell apart which one failed calls them one by one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from ledger.encoding import format_base64, format_canonical_json, parse_base64, parse_decimal, parse_whole
from ledger.errors import InputError, MalformedError, ProofError, SignatureError
from ledger.tlog.checkpoint import Checkpoint, parse_checkpoint
from ledger.tlog.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from ledger.tlog.signed_note import parse_note

MAX_BODY_BYTES = 1 << 20
"""An entry holds digests, a signature and a certificate: a few kilobytes."""
MAX_SET_BYTES = 4096
HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
"""By curve: OMS v1.0 and Rekor give each curve one hash."""


class LogKeys:
    """The keys of the logs in a trusted root, by log id. An id that is not there stands for no key at all."""

    def __init__(self, by_id: Mapping[bytes, Any]) -> None:
        self.by_id = by_id
        # Entries of one batch share a checkpoint, and sigstore-python asks about the same bytes as we do.
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
class LogEntry:
    """A log entry's fields, parsed and not yet checked. ``index`` is the outer one: global in v1, the leaf in v2."""

    log_id: bytes
    index: int
    kind: tuple[str, str]
    body: bytes
    integrated_time: int
    promise: bytes | None
    proof_index: int
    hashes: Sequence[bytes]
    note: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenEntry:
    """A body that is proven to be leaf ``leaf_index`` of a tree that the log ``log_id`` signed.

    ``index`` is what the log calls the entry: the global index of Rekor v1, else the leaf index. ``integrated_time``
    is in POSIX seconds and the log's word, None where it gave none.
    """

    log_id: bytes
    tree: Checkpoint
    note: bytes
    leaf_index: int
    index: int
    kind: tuple[str, str]
    body: bytes
    integrated_time: int | None


def prove_log_entry(entry: LogEntry, keys: LogKeys) -> ProvenEntry:
    """Return the entry with its place, proven.

    Raises:
        SignatureError: no log of ``keys`` signed the checkpoint or the promise. ProofError: the body is not in the
            signed tree at this index, or the outer index is another one. MalformedError: no checkpoint.
    """
    # 1. The checkpoint is signed by a log of the trust root, under the name that its origin has.
    tree = verify_tree(entry, keys)
    # 2. The entry is in the tree that was signed.
    verify_leaf(entry, tree)
    # 3. The outer index and the time are the log's word only where its promise covers them.
    if entry.promise is not None:
        verify_promise(entry, entry.promise, keys)
    elif entry.index != entry.proof_index:
        raise ProofError(
            "index of the log entry", expected=f"{entry.proof_index}, as proven", actual=entry.index
        )
    return ProvenEntry(
        log_id=entry.log_id,
        tree=tree,
        note=entry.note,
        leaf_index=entry.proof_index,
        index=entry.index,
        kind=entry.kind,
        body=entry.body,
        integrated_time=(entry.integrated_time or None) if entry.promise is not None else None,
    )


def parse_log_entry(value: Any) -> LogEntry:
    """Parse protobuf's JSON of a ``TransparencyLogEntry`` (Sigstore protobuf-specs), already read as JSON.

    Writers leave out what is 0 or empty: the indices of the first entry of a log, and the hashes of the only one.

    Raises:
        MalformedError, LimitError: a field of another form, or no inclusion proof with a checkpoint.
        SignatureError: a promise without a signature.
    """
    match value:
        case {
            "logId": {"keyId": str(key_id)},
            "kindVersion": {"kind": str(kind), "version": str(version)},
            "canonicalizedBody": str(body),
            "inclusionProof": {"checkpoint": {"envelope": str(note)}, **proof},
        } if isinstance(listed := proof.get("hashes", []), list):
            pass
        case _:
            raise MalformedError(
                "log entry", expected="an inclusion proof with a checkpoint", actual="other fields"
            )
    try:
        return LogEntry(
            log_id=parse_base64(key_id, what="log id", max_bytes=HASH_BYTES),
            index=_parse_number(value.get("logIndex", 0), "index of the entry"),
            kind=(kind, version),
            body=parse_base64(body, what="entry body", max_bytes=MAX_BODY_BYTES),
            integrated_time=_parse_number(value.get("integratedTime") or 0, "time of the entry"),
            promise=_parse_promise(value.get("inclusionPromise")),
            proof_index=_parse_number(proof.get("logIndex", 0), "index of the inclusion proof"),
            hashes=[parse_base64(each, what="hash of the proof", max_bytes=HASH_BYTES) for each in listed],
            note=note.encode(),
        )
    except (UnicodeEncodeError, TypeError) as error:
        raise MalformedError("log entry", expected="numbers and text", actual=str(error)) from error


def has_checkpoint(value: Any) -> bool:
    """Whether an entry has a proof that somebody signed; bundles of v0.1 may have one without a checkpoint, or none."""
    proof = value.get("inclusionProof") if isinstance(value, dict) else None
    return isinstance(proof, dict) and proof.get("checkpoint") is not None


def parse_promised_entry(value: Any) -> tuple[LogEntry, bytes]:
    """Parse an entry with a promise and no signed proof, as bundles of v0.1 may have: the entry, and the promise.

    A proof without a checkpoint proves nothing, as anybody can make one; but one that fails is a lie.

    Raises:
        MalformedError, LimitError: a field of another form. SignatureError: no promise. ProofError: a proof without a
            checkpoint that does not lead to the root that is said beside it.
    """
    proof = value.get("inclusionProof") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(proof, dict | None) or has_checkpoint(value):
        raise MalformedError("log entry", expected="a promise without a signed proof", actual="other fields")
    unsigned = {"logIndex": 0, "hashes": [], **(proof or {}), "checkpoint": {"envelope": ""}}
    entry = parse_log_entry({**value, "inclusionProof": unsigned})
    if entry.promise is None:
        raise SignatureError("log entry", expected="an inclusion proof or a promise", actual="neither")
    if proof is not None:
        verify_inclusion(
            leaf_hash(entry.body),
            index=entry.proof_index,
            size=_parse_number(proof.get("treeSize", 0), "size beside the proof"),
            root=parse_base64(str(proof.get("rootHash")), what="root beside the proof", max_bytes=HASH_BYTES),
            proof=entry.hashes,
        )
    return entry, entry.promise


def _parse_number(value: Any, what: str) -> int:
    """Parse a 64-bit number, which protobuf's JSON writes as a string."""
    return parse_decimal(value, what=what) if isinstance(value, str) else parse_whole(value, what=what)


def _parse_promise(value: Any) -> bytes | None:
    match value:
        case None:
            return None
        case {"signedEntryTimestamp": str(text)}:
            return parse_base64(text, what="signed entry timestamp", max_bytes=MAX_SET_BYTES)
    raise SignatureError("inclusion promise", expected="a signed entry timestamp", actual="none")


def verify_tree(entry: LogEntry, keys: LogKeys) -> Checkpoint:
    """Return the tree of the entry's checkpoint, signed by the log that the entry names.

    Raises:
        MalformedError, LimitError: no checkpoint. SignatureError: that log did not sign it.
    """
    note = parse_note(entry.note)
    tree = parse_checkpoint(note.text)
    for line in note.signatures:
        # Rekor v1's origin is its name and a tree id; the name alone signs.
        named = tree.origin == line.name or tree.origin.startswith(f"{line.name} - ")
        if named and line.key_id == entry.log_id[:4] and keys.signed(entry.log_id, line.signature, note.text):
            return tree
    raise SignatureError(
        "checkpoint of the log entry",
        expected=f"a signature by the log {entry.log_id.hex()[:16]}… of the trust root",
        actual=f"none, in a checkpoint of {tree.origin[:100]}",
    )


def verify_leaf(entry: LogEntry, tree: Checkpoint) -> None:
    """Return if the body is the leaf at the proof's index. Raises ProofError, MalformedError, LimitError."""
    verify_inclusion(
        leaf_hash(entry.body),
        index=entry.proof_index,
        size=tree.size,
        root=tree.root_hash,
        proof=entry.hashes,
    )


def verify_promise(entry: LogEntry, promise: bytes, keys: LogKeys) -> None:
    """Return if Rekor v1's signed entry timestamp is the log's: canonical JSON of body, time, log id and global index.

    Raises:
        SignatureError: it is not.
    """
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
        raise SignatureError(
            "signed entry timestamp", expected="numbers that JSON can hold", actual=error.finding
        ) from error
    if not keys.signed(entry.log_id, promise, message):
        raise SignatureError(
            "signed entry timestamp",
            expected="the log's signature over body, time, log id and index",
            actual="one that fails",
        )


def format_log_entry(entry: LogEntry, tree: Checkpoint) -> bytes:
    """Format a proven entry as protobuf's JSON of a ``TransparencyLogEntry``, in RFC 8785 form.

    Size and root are those of the signed tree, and numbers are strings, as protobuf writes them.
    """
    value: dict[str, Any] = {
        "canonicalizedBody": format_base64(entry.body),
        "inclusionProof": {
            "checkpoint": {"envelope": ""},
            "hashes": [format_base64(each) for each in entry.hashes],
            "logIndex": str(entry.proof_index),
            "rootHash": format_base64(tree.root_hash),
            "treeSize": str(tree.size),
        },
        "kindVersion": {"kind": entry.kind[0], "version": entry.kind[1]},
        "logId": {"keyId": format_base64(entry.log_id)},
        "logIndex": str(entry.index),
    }
    if entry.promise is not None:
        value["inclusionPromise"] = {"signedEntryTimestamp": format_base64(entry.promise)}
        value["integratedTime"] = str(entry.integrated_time)
    # The dash of the signature lines would send all of it through the slow encoder, for the sake of one string. Inside of
    # strings quotes are escaped, so this is the only place with these bytes.
    note = format_canonical_json(entry.note.decode("utf-8"))
    return format_canonical_json(value).replace(b'{"envelope":""}', b'{"envelope":' + note + b"}")
