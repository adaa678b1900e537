"""Holds every checkpoint of a Rekor v1 that was seen, in receipts and from the log, against the newest of its tree.

Such a log has no tiles, so its tree is not replayed here. That each checkpoint is a prefix of the newest one rests on the
consistency proofs that the log gives for two sizes: a proof that holds cannot be made for a tree that was rewritten.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ledger.bundle.log_entry import LogKeys, parse_log_entry
from ledger.client.event_receipt import load_log_key
from ledger.client.evidence import Misbehaviour, prefix_by_consistency, prefix_by_inclusion
from ledger.client.trust import TrustFile
from ledger.client.trusted_keys import TrustedLog
from ledger.errors import ConfigError, ProofError, SignatureError
from ledger.log.fetch import Fetch
from ledger.log.rekor_v1_answers import read_json
from ledger.log.rekor_v1_reading import RekorV1Log
from ledger.log.remote import Shard
from ledger.tlog import merkle
from ledger.tlog.checkpoint import VerifiedCheckpoint, verify_checkpoint
from ledger.tlog.signed_note import KeyType
from monitor.judge import convict, kept_note
from monitor.state import State

Reader = Callable[[str], RekorV1Log]
"""Opens the tree of an origin: that of the name alone is the active one."""


class Growth:
    """The checkpoints of the trees of one ledger. ``readers`` reads each shard, by its order. One thread at a time."""

    def __init__(
        self,
        log: str,
        readers: Mapping[int, Reader],
        state: State,
        *,
        trust: TrustFile,
        clock: Callable[[], float],
    ) -> None:
        self._log, self._readers, self._state, self._trust, self._clock = log, readers, state, trust, clock

    def newest(self, order: int) -> VerifiedCheckpoint:
        """Ask a shard for the newest checkpoint of its active tree. Raises as ``RekorV1Log.tree``."""
        return self._readers[order](self._trust.shards[order].origin).checkpoint()

    def largest(self, origin: str) -> int:
        """Return the largest size of a tree that is known to be consistent with all others of it."""
        newest = self._state.checkpoints.newest_verified(self._name(origin))
        return 0 if newest is None else newest.size

    def hold(self, seen: VerifiedCheckpoint) -> Misbehaviour | None:
        """Remember a checkpoint and hold it against what is known of its tree: None where it is consistent.

        Raises:
            ProofError: the log proves no consistency, which convicts nobody. SourceError, NotFoundError, RejectedError: it
                does not answer. SignatureError, MalformedError: what it answers is not the log's.
        """
        tree = seen.checkpoint
        name = self._name(tree.origin)
        same = self._state.checkpoints.between(name, least=tree.size, most=tree.size)
        if any(each.verified and each.root == tree.root_hash for each in same):
            return None
        # Remembered before anything is decided about it: also what contradicts all else was signed.
        self._saw(seen)
        for each in same:
            other = self._reopen(each.note) if each.root != tree.root_hash else None
            if other is not None:
                return convict(Misbehaviour(older=other, newer=seen), self._trust)
        newest = self._newest_known(seen)
        older, newer = sorted((seen, newest), key=lambda each: each.checkpoint.size)
        found = self._hold_both(older, newer)
        if found is None:
            self._state.checkpoints.mark_verified(name, size=tree.size, root=tree.root_hash)
        return found

    def _newest_known(self, seen: VerifiedCheckpoint) -> VerifiedCheckpoint:
        """Return the newest consistent checkpoint of a tree; of a tree that is new to us, the one that the log shows now."""
        origin = seen.checkpoint.origin
        known = self._state.checkpoints.newest_verified(self._name(origin))
        reopened = None if known is None else self._reopen(known.note)
        if reopened is not None:
            return reopened
        order, _ = self._trust.log_of(seen.note)
        shown = self._readers[order](origin).checkpoint()
        self._saw(shown)
        tree = shown.checkpoint
        self._state.checkpoints.mark_verified(self._name(origin), size=tree.size, root=tree.root_hash)
        return shown

    def _hold_both(self, older: VerifiedCheckpoint, newer: VerifiedCheckpoint) -> Misbehaviour | None:
        old, new = older.checkpoint, newer.checkpoint
        if old.size == new.size and old.root_hash != new.root_hash:
            return convict(Misbehaviour(older=older, newer=newer), self._trust)
        if old.size in (0, new.size):  # the empty tree is a prefix of every tree
            return None
        order, _ = self._trust.log_of(older.note)
        hashes = self._readers[order](old.origin).prove_consistency(old.size, new.size)
        return self._judge(older, newer, hashes)

    def _judge(
        self, older: VerifiedCheckpoint, newer: VerifiedCheckpoint, hashes: Sequence[bytes]
    ) -> Misbehaviour | None:
        old, new = older.checkpoint, newer.checkpoint
        try:
            merkle.verify_consistency(
                old_size=old.size,
                old_root=old.root_hash,
                new_size=new.size,
                new_root=new.root_hash,
                proof=hashes,
            )
        except ProofError:
            # From a power of two a consistency proof begins at the old root, and so can show no other one.
            found = self._by_inclusion(older) if old.size & (old.size - 1) == 0 else None
            if found is None:
                prefix = prefix_by_consistency(old, new, hashes)  # raises where it shows nothing
                found = Misbehaviour(older=older, newer=newer, prefix=prefix)
            return convict(found, self._trust)
        return None

    def _by_inclusion(self, older: VerifiedCheckpoint) -> Misbehaviour | None:
        """Ask for the first leaf: its path in the newest tree has the root of the first 2^k leaves on its way."""
        old = older.checkpoint
        order, log = self._trust.log_of(older.note)
        reader = self._readers[order](old.origin)
        receipt = reader.entry_at(reader.tree().first)
        proven = receipt.proven
        if proven.tree.origin != old.origin or proven.leaf_index != 0 or proven.tree.size <= old.size:
            return None
        hashes = parse_log_entry(read_json(receipt.log_entry)).hashes
        prefix = prefix_by_inclusion(
            old.size, proven.tree, leaf=merkle.leaf_hash(proven.body), index=0, hashes=hashes
        )
        if prefix is None or prefix.root == old.root_hash:
            return None
        newer = verify_checkpoint(proven.note, origin=log.origin, keys=log.keys)
        return Misbehaviour(older=older, newer=newer, prefix=prefix)

    def _name(self, origin: str) -> str:
        """How the checkpoints of a tree are remembered: a name of a log has no blank, so this is no other log's."""
        return f"{self._log} {origin}"

    def _saw(self, seen: VerifiedCheckpoint) -> None:
        tree = seen.checkpoint
        self._state.checkpoints.saw(
            self._name(tree.origin),
            size=tree.size,
            root=tree.root_hash,
            note=kept_note(seen, ()),
            now=int(self._clock()),
        )

    def _reopen(self, note: bytes) -> VerifiedCheckpoint | None:
        """Verify a remembered note again; None where only a key signed it that the trust file dropped since."""
        try:
            _, log = self._trust.log_of(note)
            return verify_checkpoint(note, origin=log.origin, keys=log.keys)
        except SignatureError:
            return None


def reader_of(order: int, shard: TrustedLog, url: str, *, fetch: Fetch) -> Reader:
    """Return what opens the trees of a shard of the trust file; ``fetch`` gets what is below its address.

    Raises:
        ConfigError: a shard that is no Rekor v1.
    """
    key = shard.keys[0] if shard.keys else None
    if key is None or key.kind is not KeyType.ECDSA:
        raise ConfigError(
            f"shard {shard.origin} of the trust file",
            expected="the ECDSA key of a Rekor v1",
            actual="no key" if key is None else key.kind.name,
            next_step='Use kind = "rekor-v2" for a ledger in Rekor v2',
        )
    template = Shard(
        kind="rekor-v1",
        order=order,
        origin=shard.origin,
        log_id=shard.log_id,
        spki=key.public_key,
        write_url=None,
        read_url=url,
    )
    return _Trees(template, LogKeys({shard.log_id: load_log_key(shard)}), fetch)


class _Trees:
    """The trees of one shard, each opened once."""

    def __init__(self, shard: Shard, keys: LogKeys, fetch: Fetch) -> None:
        self._shard, self._keys, self._fetch = shard, keys, fetch
        self._opened: dict[str, RekorV1Log] = {}

    def __call__(self, origin: str) -> RekorV1Log:
        if origin not in self._opened:
            self._opened[origin] = RekorV1Log(
                replace(self._shard, origin=origin), self._keys, fetch=self._fetch
            )
        return self._opened[origin]
