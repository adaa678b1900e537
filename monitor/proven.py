"""What a run must hold up to before its entries are looked at, what they are held against, and which hashes are kept."""

from collections.abc import Iterator, Sequence

from ledger.client.trust import TrustFile
from ledger.errors import (
    ProofError,
)
from ledger.tlog import merkle
from ledger.tlog.checkpoint import VerifiedCheckpoint
from ledger.tlog.merkle import Frontier
from ledger.tlog.tiles import TILE_WIDTH, TileReader
from monitor.judge import holding, reopen, witness_keys
from monitor.known import Context
from monitor.looks import Followable
from monitor.state import Position, State


def prove_run(
    state: State, log: str, *, frontier: Frontier, fetched: VerifiedCheckpoint, tiles: TileReader
) -> list[bytes]:
    """Compare the root of a run with each signed one of its size, and prove it a prefix of the newest.

    Returns the signed roots that it equals. Raises ProofError: it is not what the log signed.
    """
    tree, root = fetched.checkpoint, frontier.root()
    seen = state.checkpoints.between(log, least=frontier.size)
    signed = [each.root for each in seen if each.size == frontier.size]
    if frontier.size == tree.size:
        signed.append(tree.root_hash)
    for wanted in signed:
        if wanted != root:
            raise not_signed(frontier.size, wanted, root)
    if frontier.size < tree.size:
        proof = merkle.prove_consistency(frontier.size, tree.size, tiles)
        merkle.verify_consistency(
            old_size=frontier.size,
            old_root=root,
            new_size=tree.size,
            new_root=tree.root_hash,
            proof=proof,
        )
    return signed


def touched_tiles(
    state: State, log: str, *, start: int, end: int, leaves: Sequence[bytes]
) -> tuple[dict[int, bytes], dict[int, bytes]]:
    """Return the leaf hashes of each touched tile, whole, and the roots of those that are full now."""
    stored: dict[int, bytes] = {}
    nodes: dict[int, bytes] = {}
    data = b"".join(leaves)
    at = start
    while at < end:
        tile, inside = divmod(at, TILE_WIDTH)
        until = min(end, (tile + 1) * TILE_WIDTH)
        before = state.leaves(log, tile)[: inside * merkle.HASH_BYTES] if inside else b""
        stored[tile] = before + data[(at - start) * merkle.HASH_BYTES : (until - start) * merkle.HASH_BYTES]
        if until % TILE_WIDTH == 0:
            row = stored[tile]
            nodes[tile] = merkle.root_of(
                [row[i : i + merkle.HASH_BYTES] for i in range(0, len(row), merkle.HASH_BYTES)]
            )
        at = until
    return stored, nodes


def context_of(log: Followable, state: State, *, position: Position, fetched: VerifiedCheckpoint) -> Context:
    """Return what the entries of a run are held against beside what is known: keys, and the times that witnesses vouch for."""
    trust = log.trust
    before = state.checkpoints.newest_verified(log.name)
    older = reopen(before, fetched, trust) if before is not None and before.size <= position.size else None
    return Context(
        log=log.name,
        trust=trust,
        first=position.first,
        not_before=min(times_of(older, trust), default=None) if older is not None else None,
        not_after=max(times_of(fetched, trust), default=None),
        revoked=log.revoked,
        watched=log.watched,
    )


def not_signed(size: int, wanted: bytes, root: bytes) -> ProofError:
    """Return the refusal of a tree whose root is not the signed one."""
    return ProofError(f"root of {size} entries", expected=f"{wanted.hex()}, as signed", actual=root.hex())


def times_of(checkpoint: VerifiedCheckpoint, trust: TrustFile) -> Iterator[int]:
    """Yield the times of the cosignatures by keys of the trust file: an Ed25519 checkpoint itself carries none."""
    for _, each in holding(checkpoint, witness_keys(trust)):
        yield each.timestamp
