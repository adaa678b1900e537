"""The log itself: checkpoint, tiles and entry bundles, as c2sp.org/tlog-tiles has them at the root of the log."""

import zlib

from ledger.errors import MalformedError, NotFoundError
from ledger.log.published import MAX_BUNDLE_BYTES, MAX_TILE_BYTES
from ledger.server import messages
from ledger.server.messages import Request, Response
from ledger.server.views import Remembered, View
from ledger.tlog.tiles import TILE_HEIGHT, TILE_WIDTH, EntryBundle, Tile, parse_path

MAX_REMEMBERED_BYTES = 16 << 20
"""Objects kept in memory: tiles of 8 KiB, bundles of some 500, packed ones of some 200."""
_LEVEL = 1
"""Of gzip: digests and signatures do not shrink, the JSON around them does at once."""
_GZIP = 31
"""zlib's window bits for a gzip stream without a time in it: the same bytes every time."""


class Tiles:
    """Hands out the objects of a published log."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._objects: Remembered[bytes] = Remembered(MAX_REMEMBERED_BYTES, weigh=len)

    def checkpoint(self, request: Request) -> Response:
        """Return the newest checkpoint; asked for again every time, because it is what changes."""
        del request
        self._check_own()
        shown = self._view.ledger.log.checkpoint()
        tree = shown.checkpoint
        return Response(
            body=shown.note,
            content_type=messages.TEXT,
            cache="public, max-age=0, must-revalidate",
            etag=f"{tree.size}-{zlib.crc32(shown.note):08x}",
        )

    def tile(self, request: Request) -> Response:
        """Return one tile or bundle. Raises NotFoundError: a path of another form, or nothing that was published."""
        self._check_own()
        try:
            part = parse_path(f"tile/{request.captured}")
        except MalformedError as error:  # no object is called so: another spelling of a path is no path
            raise _missing(request.captured) from error
        data = self._get(part)
        packed = isinstance(part, EntryBundle) and _takes_gzip(
            str(request.headers.get("accept-encoding") or "")
        )
        headers: tuple[tuple[str, str], ...] = ()
        if isinstance(part, EntryBundle):
            headers = (("vary", "Accept-Encoding"),)
        if packed:
            data = self._pack(part, data)
            headers = (*headers, ("content-encoding", "gzip"))
        return Response(
            body=data,
            content_type=messages.BYTES,
            cache=messages.FOREVER if part.width == TILE_WIDTH else messages.A_DAY,
            # A path stands for one content for ever, and a ledger has its origin for ever.
            etag=f"{part.path}{'-gz' if packed else ''}",
            headers=headers,
        )

    def _check_own(self) -> None:
        """Refuse, where the log is Rekor: its own servers have its objects. Raises Refusal."""
        if self._view.in_rekor:
            from ledger.server.places import no_log_here

            raise no_log_here(self._view)

    def _get(self, part: Tile | EntryBundle) -> bytes:
        """Return a published object; full ones are remembered, because they never change."""
        if (known := self._objects.get(part.path)) is not None:
            return known
        # Objects are written before the checkpoint that needs them: until it is shown, nobody may see them.
        if _end(part) > self._view.size:
            raise _missing(part.path)
        most = MAX_BUNDLE_BYTES if isinstance(part, EntryBundle) else MAX_TILE_BYTES
        data = self._view.ledger.log.fetch(part.path, max_bytes=most)
        if part.width == TILE_WIDTH:
            self._objects.put(part.path, data)
        return data

    def _pack(self, part: Tile | EntryBundle, data: bytes) -> bytes:
        name = f"{part.path} gzip"
        if (known := self._objects.get(name)) is not None:
            return known
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        packed = packer.compress(data) + packer.flush()
        self._objects.put(name, packed)
        return packed


def _end(part: Tile | EntryBundle) -> int:
    """Return the size of the smallest tree that has this object."""
    level = part.level if isinstance(part, Tile) else 0
    return (part.index * TILE_WIDTH + part.width) << (TILE_HEIGHT * level)


def _missing(path: str) -> NotFoundError:
    return NotFoundError(
        f"object {path}",
        expected="a published tile or bundle",
        actual="none of this path",
        next_step="Take paths from the size of the checkpoint (c2sp.org/tlog-tiles); a partial one goes when the full one exists",
    )


def _takes_gzip(accepted: str) -> bool:
    """Whether gzip is named without being refused (RFC 9110 section 12.5.3)."""
    for each in accepted.lower().split(","):
        coding, _, weight = each.partition(";")
        if coding.strip() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
