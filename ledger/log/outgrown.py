"""Which folders of partial objects may go, because the full object is there."""

from collections.abc import Iterator, Sequence

from ledger.tlog.tiles import (
    TILE_WIDTH,
    EntryBundle,
    Tile,
    objects_for_size,
)


def partial_folders(growth: Sequence[Tile | EntryBundle]) -> Iterator[str]:
    """Folders of partial objects beside every full object: of sizes that were signed and never shown."""
    for part in growth:
        if part.width == TILE_WIDTH:
            yield f"{part.path}.p"


def outgrown(published: int, target: int) -> Iterator[str]:
    """Folders of partial objects at the right edge of ``published`` whose full object exists at ``target``."""
    for part in objects_for_size(published):
        level = part.level if isinstance(part, Tile) else 0
        if part.width < TILE_WIDTH and (target >> (8 * level)) // TILE_WIDTH > part.index:
            yield part.path.rpartition("/")[0]
