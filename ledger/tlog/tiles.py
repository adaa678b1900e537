"""Tiles, entry bundles and their paths: c2sp.org/tlog-tiles.

A tile of level L holds up to 256 node hashes of tree level 8*L; an entry bundle holds the entries under one
level-0 tile, each with a 16-bit length before it. A partial object's width is part of its name.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ledger.encoding import parse_decimal
from ledger.errors import LimitError, MalformedError
from ledger.tlog.merkle import HASH_BYTES, NodeReader, node_hash, root_of

TILE_HEIGHT = 8
TILE_WIDTH = 256
MAX_LEVEL = 63
MAX_ENTRY_BYTES = 65_535
"""The 16-bit length before each entry (tlog-tiles, "Log entries")."""

_INDEX = re.compile(r"(?:x[0-9]{3}/)*[0-9]{3}")
_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([0-9]{1,3}))?")
MAX_PATH_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """``width`` node hashes of tree level ``8 * level``, from node ``256 * index`` on."""

    level: int
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        if not 0 <= self.level <= MAX_LEVEL:
            raise MalformedError("tile level", expected=f"0 to {MAX_LEVEL}", actual=self.level)
        _check(self.index, self.width)

    @property
    def path(self) -> str:
        """Return ``tile/<L>/<N>[.p/<W>]``."""
        return f"tile/{self.level}/{_format_index(self.index)}{_suffix(self.width)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryBundle:
    """The entries ``[256 * index, 256 * index + width)``."""

    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        _check(self.index, self.width)

    @property
    def path(self) -> str:
        """Return ``tile/entries/<N>[.p/<W>]``."""
        return f"tile/entries/{_format_index(self.index)}{_suffix(self.width)}"


def _check(index: int, width: int) -> None:
    if not 0 <= index < 2**55:
        raise MalformedError("tile index", expected="0 to 2^55 - 1", actual=index)
    if not 1 <= width <= TILE_WIDTH:
        raise MalformedError("tile width", expected="1 to 256", actual=width)


def _suffix(width: int) -> str:
    return "" if width == TILE_WIDTH else f".p/{width}"


def _format_index(index: int) -> str:
    text = f"{index % 1000:03d}"
    while index := index // 1000:
        text = f"x{index % 1000:03d}/{text}"
    return text


def parse_path(path: str) -> Tile | EntryBundle:
    """Parse the path of a tile or bundle; what does not format back to itself is refused.

    Raises:
        MalformedError: any other path: leading zeros, a width of 0 or above 255, another level.
    """
    match = _PATH.fullmatch(path) if len(path) <= MAX_PATH_BYTES and path.isascii() else None
    if match is None:
        raise MalformedError("tile path", expected="tile/<L>/<N>[.p/<W>]", actual=path)
    kind, digits, partial = match.groups()
    index = int(digits.replace("x", "").replace("/", ""))
    width = TILE_WIDTH if partial is None else parse_decimal(partial, what="tile width")
    parsed = (
        EntryBundle(index=index, width=width)
        if kind == "entries"
        else Tile(level=parse_decimal(kind, what="tile level"), index=index, width=width)
    )
    if parsed.path != path:
        raise MalformedError("tile path", expected=parsed.path, actual=path)
    return parsed


def objects_for_growth(old: int, new: int) -> tuple[Tile | EntryBundle, ...]:
    """Return exactly the objects to write so that ``new`` can be shown when ``old`` is.

    Bundles first, then tiles from the leaves up. A partial object of ``old`` is not among them, a larger partial
    one or the full one of ``new`` is.

    Raises:
        MalformedError: not 0 <= old <= new.
    """
    if not 0 <= old <= new:
        raise MalformedError("growth of a log", expected=f"0 <= old size <= {new}", actual=old)
    parts: list[Tile | EntryBundle] = [
        EntryBundle(index=index, width=width) for index, width in _growth(old, new)
    ]
    level = 0
    while new:
        parts.extend(Tile(level=level, index=index, width=width) for index, width in _growth(old, new))
        level, old, new = level + 1, old // TILE_WIDTH, new // TILE_WIDTH
    return tuple(parts)


def _growth(old: int, new: int) -> list[tuple[int, int]]:
    if old == new:
        return []
    return [
        (index, min(TILE_WIDTH, new - index * TILE_WIDTH))
        for index in range(old // TILE_WIDTH, -(-new // TILE_WIDTH))
    ]


def objects_for_size(size: int) -> tuple[Tile | EntryBundle, ...]:
    """Return the right edge of a size: the last, perhaps partial, bundle and the last tile of each level."""
    parts: list[Tile | EntryBundle] = []
    if size:
        index = (size - 1) // TILE_WIDTH
        parts.append(EntryBundle(index=index, width=size - index * TILE_WIDTH))
    level = 0
    while size:
        index = (size - 1) // TILE_WIDTH
        parts.append(Tile(level=level, index=index, width=size - index * TILE_WIDTH))
        level, size = level + 1, size // TILE_WIDTH
    return tuple(parts)


def format_bundle(entries: Sequence[bytes]) -> bytes:
    """Format entries, each with its big-endian 16-bit length before it.

    Raises:
        LimitError: an entry longer than 65,535 bytes.
    """
    try:
        return b"".join([part for entry in entries for part in (len(entry).to_bytes(2, "big"), entry)])
    except OverflowError as error:
        raise LimitError("entry", expected=f"at most {MAX_ENTRY_BYTES} bytes", actual="more") from error


def parse_bundle(data: bytes, width: int | None) -> list[bytes]:
    """Parse a bundle of exactly ``width`` entries that ends exactly; ``None`` takes any number.

    Raises:
        MalformedError: truncated, with bytes left over, or with another number of entries.
    """
    entries: list[bytes] = []
    at, end = 0, len(data)
    while at + 2 <= end:
        start = at + 2
        at = start + (data[at] << 8 | data[at + 1])
        entries.append(data[start:at])
    if at != end:
        raise MalformedError(
            "entry bundle", expected=f"to end at an entry's end, byte {at}", actual=f"{end} bytes"
        )
    if width is not None and len(entries) != width:
        raise MalformedError("entry bundle", expected=f"{width} entries", actual=f"{len(entries)} entries")
    return entries


class TileReader:
    """A ``NodeReader`` of the tree of ``size`` over a function that fetches a tile's hashes.

    Nodes inside a tile are computed from its hashes. Tiles are fetched once per reader.
    """

    def __init__(self, fetch: Callable[[Tile], Sequence[bytes]], size: int) -> None:
        self._fetch, self._size = fetch, size
        self._tiles: dict[tuple[int, int], Sequence[bytes]] = {}

    def __call__(self, nodes: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the hashes of complete subtrees ``(level, index)``. Raises MalformedError outside the tree."""
        return [self._node(level, index) for level, index in nodes]

    def _node(self, level: int, index: int) -> bytes:
        if (index + 1) << level > self._size:
            raise MalformedError(
                "node", expected=f"a complete subtree below size {self._size}", actual=(level, index)
            )
        tile_level, inside = divmod(level, TILE_HEIGHT)
        first = index << inside
        hashes = self._tile(tile_level, first // TILE_WIDTH)
        at = first % TILE_WIDTH
        return root_of(hashes[at : at + (1 << inside)])

    def _tile(self, level: int, index: int) -> Sequence[bytes]:
        key = (level, index)
        if key not in self._tiles:
            width = min(TILE_WIDTH, (self._size >> (TILE_HEIGHT * level)) - index * TILE_WIDTH)
            tile = Tile(level=level, index=index, width=width)
            hashes = self._fetch(tile)
            if len(hashes) != width or any(len(each) != HASH_BYTES for each in hashes):
                raise MalformedError(
                    f"tile {tile.path}",
                    expected=f"{width} hashes of {HASH_BYTES} bytes",
                    actual=f"{len(hashes)} hashes",
                )
            self._tiles[key] = hashes
        return self._tiles[key]


class CachedNodes:
    """A reader of nodes that computes each one once; those on the edge of a tile are read."""

    def __init__(self, read: NodeReader) -> None:
        self._read = read
        self._known: dict[tuple[int, int], bytes] = {}

    def __call__(self, nodes: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the hashes of complete subtrees."""
        return [self._node(level, index) for level, index in nodes]

    def _node(self, level: int, index: int) -> bytes:
        if (known := self._known.get((level, index))) is not None:
            return known
        if level % TILE_HEIGHT:
            value = node_hash(self._node(level - 1, 2 * index), self._node(level - 1, 2 * index + 1))
        else:
            (value,) = self._read([(level, index)])
        self._known[level, index] = value
        return value
