"""Holds signed checkpoints against the replayed tree, and against each other: consistent, or a contradiction with proof.

Only the two forms of architecture section 8 accuse a log. Both are made from a remembered note, the note in question, and
hashes that verify under one of the two; whatever else is wrong convicts nobody.
"""

from collections.abc import Iterator, Sequence

from ledger.client.evidence import Misbehaviour, Prefix, format_evidence, verify_evidence
from ledger.client.trust import TrustFile
from ledger.errors import LedgerError, ProofError, SignatureError
from ledger.log.published import PublishedLog
from ledger.tlog import merkle
from ledger.tlog.checkpoint import VerifiedCheckpoint, verify_checkpoint
from ledger.tlog.cosignature import Cosignature, verify_cosignature
from ledger.tlog.signed_note import NoteSignature, VerifierKey, format_note
from ledger.tlog.tiles import TILE_HEIGHT, TILE_WIDTH, TileReader
from monitor.checkpoints import SeenCheckpoint
from monitor.state import Position, State

MAX_UNKNOWN_BYTES = 4096
"""Of a line by a key that we do not know: an ML-DSA-44 cosignature has 2,428 bytes, and a name."""
MAX_UNKNOWN = 16
"""Such lines that are remembered of a checkpoint which the log itself serves."""


def kept_note(seen: VerifiedCheckpoint, witnesses: Sequence[VerifierKey], *, others: int = 0) -> bytes:
    """Return a signed checkpoint as it is remembered: with the log's own signatures, the cosignatures that hold, and at most so
    many short lines by keys that we do not know, which are published with it: others may know them.

    Anybody can add lines to a note on its way. Kept, they would fill the disk; and one that fails under the name of a witness
    would be met again with every run that begins at this checkpoint.
    """
    parsed = seen.parsed
    lines = [next(each for each in parsed.signatures if _is_by(each, key)) for key in seen.signers]
    lines += [line for line, _ in holding(seen, witnesses)]
    known = (*seen.signers, *witnesses)
    unknown = [each for each in parsed.signatures if not any(_is_by(each, key) for key in known)]
    lines += [each for each in unknown if len(each.name) + len(each.signature) <= MAX_UNKNOWN_BYTES][:others]
    return format_note(parsed.text, lines)


def holding(
    seen: VerifiedCheckpoint, witnesses: Sequence[VerifierKey]
) -> Iterator[tuple[NoteSignature, Cosignature]]:
    """Yield the cosignatures of a checkpoint that hold, one for each witness; those that fail say nothing."""
    for key in witnesses:
        for each in (one for one in seen.parsed.signatures if _is_by(one, key)):
            try:
                cosignature = verify_cosignature(each, key=key, checkpoint=seen.checkpoint)
            except LedgerError:
                continue
            yield each, cosignature
            break


def witness_keys(trust: TrustFile) -> tuple[VerifierKey, ...]:
    """Return the keys of the witnesses of a trust file."""
    return tuple(each.key for each in trust.policy.witnesses)


def _is_by(line: NoteSignature, key: VerifierKey) -> bool:
    return (line.name, line.key_id) == (key.name, key.key_id)


class Remembered:
    """The nodes of the tree that was replayed, from stored leaf hashes. A ``merkle.NodeReader``.

    Of what was before the place where following began only the maximal complete subtrees are known, which is all that a
    proof between two later sizes needs.
    """

    def __init__(self, state: State, position: Position) -> None:
        self._state, self._position = state, position

    def __call__(self, nodes: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the hashes of complete subtrees. Raises ProofError: one that lies before what is known."""
        return [self._node(level, index) for level, index in nodes]

    def root_at(self, size: int) -> bytes:
        """Return the root of the first ``size`` entries. Raises ProofError: before what is known."""
        return merkle.tree_root(size, self)

    def _node(self, level: int, index: int) -> bytes:
        if level >= TILE_HEIGHT:
            stored = self._state.node(self._position.name, level, index)
            if stored is not None:
                return stored
            if level == TILE_HEIGHT:
                raise self._unknown(level, index)
            return merkle.node_hash(self._node(level - 1, 2 * index), self._node(level - 1, 2 * index + 1))
        first = index << level
        tile, at = divmod(first, TILE_WIDTH)
        data = self._state.leaves(self._position.name, tile)
        start, end = at * merkle.HASH_BYTES, (at + (1 << level)) * merkle.HASH_BYTES
        if len(data) < end:
            raise self._unknown(level, index)
        return merkle.root_of([data[i : i + merkle.HASH_BYTES] for i in range(start, end, merkle.HASH_BYTES)])

    def _unknown(self, level: int, index: int) -> ProofError:
        return ProofError(
            f"node {level}/{index} of the replayed tree of {self._position.name}",
            expected=f"a part of the tree from {self._position.first} to {self._position.size}",
            actual="one that was never replayed here",
            next_step="Ask a monitor that follows the log from its beginning",
        )


def compare_smaller(
    fetched: VerifiedCheckpoint, *, state: State, position: Position, trust: TrustFile
) -> Misbehaviour | None:
    """Hold a checkpoint of at most the verified size against what was replayed: None where it is consistent.

    Raises:
        ProofError: it is another tree, but no signed checkpoint that we hold proves that; or it is before what is known.
    """
    tree, remembered = fetched.checkpoint, Remembered(state, position)
    ours = remembered.root_at(tree.size)
    if ours == tree.root_hash:
        return None
    for seen in state.checkpoints.between(position.name, least=max(tree.size, 1)):
        other = reopen(seen, fetched, trust) if seen.verified else None
        if other is not None:
            proof = (
                merkle.prove_consistency(tree.size, seen.size, remembered) if seen.size != tree.size else ()
            )
            prefix = Prefix(root=ours, hashes=proof) if seen.size != tree.size else None
            return convict(Misbehaviour(older=fetched, newer=other, prefix=prefix), trust)
    raise ProofError(
        f"root of size {tree.size} of {position.name}",
        expected=f"{ours.hex()}, as replayed",
        actual=tree.root_hash.hex(),
        next_step="Keep both: no larger signed checkpoint was verified here that would prove which one is false",
    )


def contradiction(
    fetched: VerifiedCheckpoint, *, log: PublishedLog, state: State, position: Position, trust: TrustFile
) -> Misbehaviour | None:
    """Look for proof that a larger checkpoint is not an extension of one that was seen before.

    The tiles that the log serves under its new checkpoint show what the tree began with. They are believed only where
    they prove it; None where they prove nothing.
    """
    tree = fetched.checkpoint
    newest = state.checkpoints.newest_verified(position.name)
    # That of our own size too: if we stopped before it was marked as verified, it still is what the log signed.
    pending = state.checkpoints.between(position.name, least=position.size)
    nodes = TileReader(log.tile, tree.size)
    for old in (*([] if newest is None else [newest]), *pending):
        if not 1 <= old.size < tree.size:
            continue
        try:
            began = merkle.tree_root(old.size, nodes)
            hashes = merkle.prove_consistency(old.size, tree.size, nodes)
            merkle.verify_consistency(
                old_size=old.size, old_root=began, new_size=tree.size, new_root=tree.root_hash, proof=hashes
            )
        except LedgerError:
            continue  # anyone can serve tiles that prove nothing
        older = reopen(old, fetched, trust) if began != old.root else None
        if older is not None:
            prefix = Prefix(root=began, hashes=hashes)
            return convict(Misbehaviour(older=older, newer=fetched, prefix=prefix), trust)
    return None


def convict(found: Misbehaviour, trust: TrustFile) -> Misbehaviour:
    """Return misbehaviour that a third person will be convinced by: it is verified as they would. Raises as they would."""
    return verify_evidence(format_evidence(found), trust=trust)


def reopen(seen: SeenCheckpoint, like: VerifiedCheckpoint, trust: TrustFile) -> VerifiedCheckpoint | None:
    """Verify a remembered note again, by the keys of the trust file as they are now.

    None where only a key signed it that the trust file dropped since, as after a rotation: nobody is convicted by it any more,
    and what was replayed under it stays known.
    """
    try:
        return verify_checkpoint(seen.note, origin=like.checkpoint.origin, keys=trust.log_keys)
    except SignatureError:
        return None
