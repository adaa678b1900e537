"""Begins to follow a log: from its first entry, or from a checkpoint that somebody pinned."""

from ledger.log.published import PublishedLog
from ledger.tlog import merkle
from ledger.tlog.checkpoint import verify_checkpoint
from ledger.tlog.merkle import Frontier
from ledger.tlog.tiles import TILE_WIDTH, Tile
from monitor.judge import kept_note, witness_keys
from monitor.looks import Followable
from monitor.proven import not_signed
from monitor.state import Position, State


def begin(followable: Followable, state: State, *, pinned: bytes | None, now: int) -> Position:
    """Begin to follow a log: from its first entry, or from a checkpoint that somebody pinned.

    Of what is before the pin nothing is looked at; its tree is fetched and must give the pinned root.

    Raises:
        SignatureError, MalformedError: the pin is not a checkpoint of this log. ProofError: the log does not serve that
            tree. SourceError, NotFoundError: it cannot be read. WriteError: the log is followed already.
    """
    trust = followable.trust
    if pinned is None:
        position = Position(name=followable.name, origin=trust.origin, first=0, frontier=Frontier())
        state.add_log(position, leaves={}, nodes={})
        return position
    fetched = verify_checkpoint(pinned, origin=trust.origin, keys=trust.log_keys)
    published = PublishedLog(followable.sources[0], origin=trust.origin, keys=trust.log_keys)
    size = fetched.checkpoint.size
    peaks: list[bytes] = []
    leaves: dict[int, bytes] = {}
    nodes: dict[tuple[int, int], bytes] = {}
    level, count = 0, size
    while count:
        if width := count % TILE_WIDTH:
            hashes = published.tile(Tile(level=level, index=count // TILE_WIDTH, width=width))
            peaks[:0] = merkle.complete_subtrees(hashes)
            if level == 0:
                leaves[count // TILE_WIDTH] = b"".join(hashes)
            else:
                nodes |= {(8 * level, count - width + at): each for at, each in enumerate(hashes)}
        level, count = level + 1, count // TILE_WIDTH
    if merkle.fold(peaks) != fetched.checkpoint.root_hash:
        raise not_signed(size, fetched.checkpoint.root_hash, merkle.fold(peaks))
    position = Position(name=followable.name, origin=trust.origin, first=size, frontier=Frontier(size, peaks))
    state.add_log(position, leaves=leaves, nodes=nodes)
    note = kept_note(fetched, witness_keys(trust))
    state.checkpoints.saw(followable.name, size=size, root=fetched.checkpoint.root_hash, note=note, now=now)
    state.checkpoints.mark_verified(followable.name, size=size, root=fetched.checkpoint.root_hash)
    return position
