"""What an anchor is, and what a stored one must hold up to: a checkpoint of ours as an ``anchor/v1`` statement, signed.

The statement is in docs/spec/event.md. Each step has a function of its own, because who lists anchors names the one that
fails; nothing here asks for the time or for anything outside.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.bundle.bodies import HASHEDREKORDS, SignedPayload, Verifier, dsse_v1
from ledger.bundle.log_entry import (
    HASHES,
    LogKeys,
    ProvenEntry,
    format_log_entry,
    parse_log_entry,
    prove_log_entry,
)
from ledger.encoding import Json, parse_canonical_json, parse_json
from ledger.entry import MAX_ANCHOR_SIGNATURE_BYTES, format_entry, keyid_of, pae, parse_envelope
from ledger.errors import MalformedError, ProofError, RestoredError, SignatureError
from ledger.event.formatting import format_statement
from ledger.event.parsing import parse_statement
from ledger.event.schemas import ANCHOR
from ledger.event.statements import PlainStatement
from ledger.log.freshness import RootAt
from ledger.storage.anchors import MAX_ANCHOR_BYTES, MAX_LOG_ENTRY_BYTES
from ledger.tlog.checkpoint import Checkpoint

# What is signed


def anchor_statement(checkpoint: Checkpoint) -> bytes:
    """Return the ``anchor/v1`` statement of a checkpoint: equal bytes for equal trees.

    Raises:
        MalformedError: it has extension lines, which the statement has no place for, or an origin that is no name.
    """
    if checkpoint.extensions:
        raise MalformedError(
            "checkpoint to be anchored", expected="no extension lines", actual=checkpoint.extensions[0]
        )
    size = checkpoint.size
    fields: dict[str, Json] = {
        "origin": checkpoint.origin,
        "size": size if size < 2**53 else str(size),
        "rootHash": checkpoint.root_hash.hex(),
    }
    return format_statement(PlainStatement(predicate_type=ANCHOR, fields=fields))


@dataclass(frozen=True, slots=True)
class AnchorSigner:
    """The anchor key, ECDSA on P-256, P-384 or P-521; signs deterministically (RFC 6979).

    The same tree therefore gives the same envelope: an anchor that a crash lost is not made a second time.
    """

    key: ec.EllipticCurvePrivateKey

    @property
    def spki(self) -> bytes:
        """The public key as DER SubjectPublicKeyInfo."""
        return self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, checkpoint: Checkpoint) -> bytes:
        """Return the envelope of the checkpoint's statement, as RFC 8785 JSON."""
        statement = anchor_statement(checkpoint)
        algorithm = ec.ECDSA(HASHES[self.key.curve.name], deterministic_signing=True)
        return format_entry(
            statement, keyid=keyid_of(self.spki), signature=self.key.sign(pae(statement), algorithm)
        )


# What a stored anchor must hold up to


def verify_envelope(envelope: bytes, keys: Mapping[str, bytes]) -> SignedPayload:
    """Return the envelope as what one of the anchor ``keys`` (DER SubjectPublicKeyInfo by key id) signed.

    Raises:
        MalformedError, LimitError: no envelope. SignatureError: another key, or a signature that fails.
    """
    value = parse_canonical_json(envelope, what="envelope of the anchor", max_bytes=MAX_ANCHOR_BYTES)
    entry = parse_envelope(value, max_signature_bytes=MAX_ANCHOR_SIGNATURE_BYTES)
    spki = keys.get(entry.keyid)
    if spki is None:
        raise SignatureError(
            "key of the anchor",
            expected="a key of this directory's anchors: " + (", ".join(sorted(keys)) or "there is none"),
            actual=entry.keyid,
        )
    signed = SignedPayload(
        payload=entry.payload, signature=entry.signature, verifier=Verifier(spki), keyid=entry.keyid
    )
    try:
        key = signed.verifier.key
        key.verify(signed.signature, signed.message, ec.ECDSA(signed.verifier.algorithm))
    except InvalidSignature as error:
        raise SignatureError(
            f"signature of the anchor by {entry.keyid[:16]}…",
            expected="a valid signature",
            actual="one that fails",
        ) from error
    return signed


def verify_statement(payload: bytes, text: bytes) -> None:
    """Return if the payload is the ``anchor/v1`` statement of this note's text, without its signature lines.

    Raises:
        MalformedError, LimitError: no statement of that type. ProofError: it is of another tree.
    """
    statement = parse_statement(payload)
    if not isinstance(statement, PlainStatement) or statement.predicate_type != ANCHOR:
        raise MalformedError(
            "statement of the anchor", expected=f"type {ANCHOR}", actual=statement.predicate_type
        )
    _, said = statement.subject  # which the parser held against the predicate
    digest = hashlib.sha256(text).digest()
    if said != digest:
        raise ProofError(
            "subject of the anchor",
            expected=f"{digest.hex()}, of the checkpoint's text",
            actual=f"{said.hex()}, of size {statement.fields['size']}",
            next_step="The stored checkpoint is not the one that was anchored: restore the file from a copy",
        )


def verify_logged(signed: SignedPayload, log_entry: bytes, keys: LogKeys) -> ProvenEntry:
    """Return the place of the anchor in a log of the trusted root, proven, for exactly this envelope.

    Raises:
        MalformedError, LimitError: no log entry. SignatureError: not signed by a log of ``keys``.
        ProofError: it is not in the signed tree, or is the entry of something else.
    """
    value = parse_json(log_entry, what="log entry of the anchor", max_bytes=MAX_LOG_ENTRY_BYTES)
    entry = parse_log_entry(value)
    if entry.body != _body_of(signed, entry.kind):
        raise ProofError(
            "body of the log entry",
            expected=f"{' '.join(entry.kind)} of this anchor's envelope",
            actual="another body",
            next_step="It is the entry of something else: restore the file from a copy",
        )
    proven = prove_log_entry(entry, keys)
    if log_entry != format_log_entry(entry, proven.tree):
        raise ProofError(
            "log entry of the anchor",
            expected="the form in which a proven one is stored",
            actual="another one: a number beside the proof, or a field, is not what the log signed",
            next_step="Restore the file from a copy; what is proven of it holds",
        )
    return proven


def _body_of(signed: SignedPayload, kind: tuple[str, str]) -> bytes:
    """Return the body that a log of this kind must have of the envelope; the text that was sent is the stored one."""
    if build := HASHEDREKORDS.get(kind):
        return build(signed.digest, signed.signature, signed.verifier)
    if kind == ("dsse", "0.0.1"):
        sent = hashlib.sha256(signed.envelope).hexdigest()
        return dsse_v1(signed.payload, signed.signature, signed.verifier, envelope_sha256=sent)
    raise MalformedError(
        "kind of the log entry", expected="hashedrekord or dsse of a known version", actual=" ".join(kind)
    )


def verify_extends(anchored: Checkpoint, *, size: int, root_at: RootAt) -> None:
    """Return if the log's tree of ``size`` begins with the anchored one.

    Raises:
        RestoredError: the anchored tree is larger, so this directory is older than what was anchored.
        ProofError: the tree had another root at that size.
    """
    if anchored.size > size:
        raise RestoredError(
            "size of this log",
            expected=f"at least {anchored.size}, which was anchored",
            actual=size,
            next_step="This directory is older than its anchors: restore the newest copy of all of it",
        )
    root = root_at(anchored.size)
    if root != anchored.root_hash:
        raise ProofError(
            f"root of size {anchored.size}, which was anchored",
            expected=anchored.root_hash.hex(),
            actual=f"{root.hex()}, from the tiles",
            next_step="Run `hubledger log anchors`: if the log has been forked, it writes evidence of it; else a tile is damaged",
        )
