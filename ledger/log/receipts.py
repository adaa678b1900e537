"""Receipts of an outbox, proven: what is on the disk is never believed, also not by those who wrote it.

A place of an entry is proven with the keys of the trusted root, and its body must be the one that this entry has. The
signature in the body is the entry's own or its twin (r, n-s): who mirrors it makes the same statement, under another
leaf hash.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from ledger.bundle.bodies import HASHEDREKORDS, SignedPayload, dsse_v1
from ledger.bundle.log_entry import LogKeys, ProvenEntry, format_log_entry, parse_log_entry, prove_log_entry
from ledger.encoding import parse_canonical_json, parse_json
from ledger.entry import MAX_ENTRY_BYTES
from ledger.errors import CorruptError, InputError, LedgerError, ProofError, SignatureError
from ledger.log.remote import LogReceipt, Shard
from ledger.log.timestamping import Authority, verify_timestamp
from ledger.storage.outbox import StoredReceipt

MAX_LOG_ENTRY_BYTES = 2 << 20
"""A body of at most a mebibyte in base64, and a proof."""
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order n of the group of P-256 (SEC 2): with (r, s), (r, n-s) is a signature of the same message."""
_DSSE = ("dsse", "0.0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prover:
    """What receipts are proven with: the shards and their keys, the hub's keys (SubjectPublicKeyInfo by key id), and the
    authorities whose timestamps count. ``key_counts`` says whether the key of a key id counts at a position, ``first_shard``
    which shard is the first in which it does.
    """

    shards: Sequence[Shard]
    keys: LogKeys
    hub_keys: Mapping[str, bytes]
    authorities: Sequence[Authority] = ()
    key_counts: Callable[[str, tuple[int, int]], bool] = lambda _keyid, _position: True
    first_shard: Callable[[str], int] = lambda _keyid: 0

    def counting_first(self, keyid: str, receipts: Iterable[LogReceipt]) -> list[LogReceipt]:
        """Return the places of an entry, those at which its key counts before the others, else in their order.

        Anybody can copy an entry into an older shard, where a later key does not count: that takes nothing from it.
        """
        return sorted(receipts, key=lambda each: not self.key_counts(keyid, each.position))

    def is_own(self, signed: SignedPayload, receipt: LogReceipt) -> bool:
        """Whether a place of an entry proves it: with its own signature, and where its key counts."""
        return receipt.proven.body in bodies_of(signed, receipt.proven.kind)[:1] and self.key_counts(
            signed.keyid, receipt.position
        )

    def signed(self, entry: bytes) -> SignedPayload:
        """Read an accepted entry. Raises CorruptError, SignatureError: a key that is none of the hub's."""
        try:
            value = parse_canonical_json(entry, what="accepted entry", max_bytes=MAX_ENTRY_BYTES)
            keyid = value["signatures"][0]["keyid"]
            spki = self.hub_keys.get(keyid)
            if spki is None:
                raise SignatureError("key of the accepted entry", expected="a hub key", actual=keyid)
            return SignedPayload.of_entry(value, spki)
        except (InputError, KeyError, TypeError, IndexError) as error:
            raise CorruptError(
                "accepted entry in the outbox",
                expected="an envelope",
                actual=error.finding if isinstance(error, InputError) else "another form",
            ) from error

    def prove(self, entry: bytes, stored: StoredReceipt) -> LogReceipt:
        """Return a stored place of an entry, proven.

        Raises:
            ProofError, SignatureError: it does not hold. CorruptError: it is no receipt, or that of another entry.
        """
        try:
            return self._prove(entry, stored)
        except CorruptError:
            raise
        except LedgerError as error:
            raise CorruptError(
                f"receipt of number {stored.number}",
                expected="one that holds, as when it was stored",
                actual=error.finding,
                next_step="If the trusted root or trust.toml was changed, put the old logs, authorities and keys back into it; else "
                "restore the newest copy of outbox.db: what is logged stays logged",
            ) from error

    def _prove(self, entry: bytes, stored: StoredReceipt) -> LogReceipt:
        shard = next((each for each in self.shards if each.order == stored.shard), None)
        if shard is None:
            raise SignatureError(
                "shard of the receipt", expected="one of the trusted root", actual=stored.shard
            )
        value = parse_json(stored.log_entry, what="log entry", max_bytes=MAX_LOG_ENTRY_BYTES)
        logged = parse_log_entry(value)
        proven = prove_log_entry(logged, self.keys)
        # Others read what is stored: nothing may stand in it that the log did not sign, or that we did not write.
        if stored.log_entry != format_log_entry(logged, proven.tree):
            raise ProofError(
                "log entry of the receipt",
                expected="the form in which a proven one is stored",
                actual="another one: a number beside the proof, or a field, is not what the log signed",
            )
        check_shard(proven, shard)
        signed = self.signed(entry)
        check_body(proven, signed)
        for each in stored.timestamps:
            verify_timestamp(each, signed.signature, authorities=self.authorities)
        receipt = LogReceipt(
            shard=shard, log_entry=stored.log_entry, proven=proven, timestamps=stored.timestamps
        )
        if receipt.position != (stored.shard, stored.log_index):
            raise ProofError("index of the receipt", expected=stored.log_index, actual=receipt.position[1])
        return receipt


def check_shard(proven: ProvenEntry, shard: Shard) -> ProvenEntry:
    """Return an entry that is in this shard. Raises SignatureError: another log signed it, or under another name."""
    origin = proven.tree.origin
    # Rekor v1's origin is its name and a tree id.
    named = origin == shard.origin or origin.startswith(f"{shard.origin} - ")
    if proven.log_id != shard.log_id or not named:
        raise SignatureError("log of the receipt", expected=shard.origin, actual=origin)
    return proven


def check_body(proven: ProvenEntry, signed: SignedPayload) -> ProvenEntry:
    """Return an entry whose body is the one that this envelope has. Raises ProofError: it is somebody else's."""
    if proven.body not in bodies_of(signed, proven.kind):
        raise ProofError(
            "body of the log entry",
            expected="the digest, signature and key of this statement",
            actual="others",
        )
    return proven


def bodies_of(signed: SignedPayload, kind: tuple[str, str]) -> list[bytes]:
    """Return the bodies of a kind that make this statement: with its signature, and with the twin of that."""
    return [_body_of(each, kind) for each in (signed, replace(signed, signature=twin(signed.signature)))]


def _body_of(signed: SignedPayload, kind: tuple[str, str]) -> bytes:
    if kind == _DSSE:
        digest = hashlib.sha256(signed.envelope).hexdigest()
        return dsse_v1(signed.payload, signed.signature, signed.verifier, envelope_sha256=digest)
    if kind not in HASHEDREKORDS:
        raise ProofError("kind of the log entry", expected="hashedrekord or dsse", actual=" ".join(kind))
    return HASHEDREKORDS[kind](signed.digest, signed.signature, signed.verifier)


def twin(signature: bytes) -> bytes:
    """Return the other signature of the same message by the same key: (r, n-s). Raises SignatureError: no signature."""
    try:
        r, s = decode_dss_signature(signature)
        return encode_dss_signature(r, P256_ORDER - s)
    except ValueError as error:
        raise SignatureError("signature of the entry", expected="ASN.1 DER", actual=str(error)) from error
