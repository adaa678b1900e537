"""Proves where an event of a ledger in Rekor is logged, from the Sigstore bundle that its hub hands out (its *receipt*).

Keys of hub and shards come from the trust file, never from a trusted root of Sigstore: who runs a log may say which logs there
are, but not which of them this ledger is in. Whoever checks one event and whoever follows all of a hub's call this.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from ledger.bundle.any_bundle import AnyBundle, SignedEnvelope
from ledger.bundle.bodies import Verifier
from ledger.bundle.log_entry import LogKeys, ProvenEntry
from ledger.bundle.logged import RootLogs, Span, key_in_entry, prove_entries
from ledger.client.steps import CannotCheckError
from ledger.client.trust import TrustFile
from ledger.client.trusted_keys import TREE_ID, TrustedLog
from ledger.entry import PAYLOAD_TYPE, keyid_of
from ledger.errors import SignatureError
from ledger.tlog.checkpoint import VerifiedCheckpoint, verify_checkpoint
from ledger.tlog.signed_note import KeyType


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBundle:
    """A bundle that is about an event, by a key of the hub; nothing is verified. ``spki`` is the trust file's."""

    bundle: AnyBundle
    content: SignedEnvelope
    keyid: str
    spki: bytes


class Placed:
    """A proven entry, and the checkpoint of the shard that it is in."""

    def __init__(self, proven: ProvenEntry, trust: TrustFile) -> None:
        order, log = trust.log_of(proven.note)
        self.proven = proven
        self.checkpoint: VerifiedCheckpoint = verify_checkpoint(proven.note, origin=log.origin, keys=log.keys)
        self.position = order, _index(proven)


def read_event(bundle: AnyBundle, trust: TrustFile) -> EventBundle:
    """Return what a bundle is about.

    Raises:
        CannotCheckError: no envelope with a statement and a log entry. SignatureError: a key that is none of the hub's.
    """
    content = bundle.content
    if (
        not isinstance(content, SignedEnvelope)
        or content.payload_type != PAYLOAD_TYPE
        or not bundle.log_entries
    ):
        raise CannotCheckError(
            "event of the bundle",
            expected="an envelope with a statement, and a log entry",
            actual="another bundle",
            next_step="Ask for the bundle of the event: hubledger proof writes one",
        )
    # Which of the hub's keys signed is the log entry's word; the key itself is the trust file's.
    keyid = keyid_of(key_in_entry(bundle.log_entries[0]))
    spki = next((key.spki for key in trust.hub_keys if key.keyid == keyid), None)
    if spki is None:
        raise SignatureError("key of the entry", expected="a hub key of the trust file", actual=keyid)
    return EventBundle(bundle=bundle, content=content, keyid=keyid, spki=spki)


def prove_places(event: EventBundle, trust: TrustFile) -> list[Placed]:
    """Return the places of an event, each proven: signature, body, inclusion, checkpoint, and the promise where there is one.

    The first is the one that counts. One statement at several positions is one event, at the lowest (architecture section 4) at
    which its key counts: anybody can copy it into an older shard.

    Raises:
        SignatureError, ProofError, MalformedError, UnknownKindError: a place that does not hold.
    """
    verifier = Verifier(event.spki)
    digest = verifier.digest(event.content.message)
    root = RootLogs(keys=_keys(trust.shards), spans=_always(trust.shards))
    proven = prove_entries(event.bundle.log_entries, event.bundle, verifier, digest=digest, root=root)
    placed = [Placed(each, trust) for each in proven]
    return sorted(placed, key=lambda each: (not trust.key_counts(event.keyid, each.position), each.position))


def _index(proven: ProvenEntry) -> int:
    """Return the index of a position: in Rekor v1 the global one, since its trees follow each other under one key.

    Raises:
        SignatureError: nothing but a promise says which that is, and there is none.
    """
    if TREE_ID in proven.tree.origin and proven.integrated_time is None:
        raise SignatureError(
            "inclusion promise", expected="the log's, which alone covers the index", actual="none"
        )
    return proven.index


def _keys(shards: Sequence[TrustedLog]) -> LogKeys:
    return LogKeys({each.log_id: load_log_key(each) for each in shards if each.keys})


def load_log_key(shard: TrustedLog) -> object:
    """Load the key of a shard that has one."""
    key = shard.keys[0]
    if key.kind is KeyType.ED25519:
        return ed25519.Ed25519PublicKey.from_public_bytes(key.public_key)
    return serialization.load_der_public_key(key.public_key)


def _always(shards: Sequence[TrustedLog]) -> dict[bytes, Span]:
    return {each.log_id: Span() for each in shards if each.keys}
