"""Manifests: every file of a revision by path, digest and size (docs/spec/manifest.md).

RFC 8785 list of ``{path, sha256, size}``, of a symbolic link ``{path, link}``, sorted by the bytes of the path.
Paths are not normalised; ``%`` and bytes that are not UTF-8 become ``%XX``.
"""

import hashlib
import re
import unicodedata
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise

from ledger.encoding import (
    MAX_SAFE_INTEGER,
    Json,
    format_canonical_json,
    parse_canonical_json,
    parse_hex,
    parse_json,
)
from ledger.errors import LimitError, MalformedError

MAX_MANIFEST_BYTES = 1 << 30
MAX_PATH_BYTES = 65_535
"""Longer than any file system's; bounds one line of a manifest."""
MAX_ITEM_BYTES = 1 << 20
"""One item in canonical JSON: a path and a link of 65,535 bytes, each escaped to six times that."""
_ITEMS_A_CHUNK = 1000
_SHOWN = 80
"""Characters of a path in a message that names two."""

_NOT_CONTENT = frozenset((".gitignore", ".gitattributes"))
_NOT_CONTENT_FOLDER = ".github/"


def escape_path(raw: bytes) -> str:
    """Escape a path's bytes: ``%`` and bytes that are not part of valid UTF-8 become ``%XX``, upper case."""
    text = raw.decode("utf-8", "surrogateescape").replace("%", "%25")
    if text.isascii():
        return text
    return "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFile:
    """A regular file; ``path`` is escaped, ``size`` in bytes."""

    path: str
    sha256: bytes
    size: int

    def as_json(self) -> Json:
        """Return the element of the list."""
        return {"path": self.path, "sha256": self.sha256.hex(), "size": self.size}


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestLink:
    """A symbolic link and where it points, both escaped; never followed."""

    path: str
    link: str

    def as_json(self) -> Json:
        """Return the element of the list."""
        return {"link": self.link, "path": self.path}


Item = ManifestFile | ManifestLink


@dataclass(frozen=True)
class Manifest:
    """The files of one revision, sorted by the bytes of their paths, each path once."""

    items: tuple[Item, ...]

    def __post_init__(self) -> None:
        # Code points of valid text sort as their UTF-8 bytes do (Unicode 15.0 section 2.5).
        for left, right in pairwise(self.items):
            if left.path >= right.path:
                raise _other_order(left.path, right.path)

    @classmethod
    def of(cls, items: Iterable[Item]) -> "Manifest":
        """Sort items into a manifest. Raises MalformedError: a path that occurs twice."""
        return cls(tuple(sorted(items, key=lambda item: item.path)))

    @property
    def data(self) -> bytes:
        """The manifest's bytes, whole; their SHA-256 is the subject of a verification event."""
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """Yield the manifest's bytes in pieces, so that a large one is never whole in memory."""
        return format_items(self.items)

    @cached_property
    def sha256(self) -> bytes:
        """SHA-256 of ``data``."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.digest()

    @cached_property
    def files(self) -> dict[str, ManifestFile]:
        """Regular files by escaped path."""
        return {item.path: item for item in self.items if isinstance(item, ManifestFile)}

    @property
    def total_bytes(self) -> int:
        """The sum of the file sizes."""
        return sum(item.size for item in self.items if isinstance(item, ManifestFile))

    def content(self, bundles: Container[str]) -> "Manifest":
        """Return the manifest without the signature bundles (by path) and the top-level git files.

        Its SHA-256 is ``contentSha256``: forks and re-signed copies have the same.
        """
        return Manifest(tuple(self._content(bundles)))

    def _content(self, bundles: Container[str]) -> Iterator[Item]:
        for item in self.items:
            path = item.path
            if path not in bundles and path not in _NOT_CONTENT and not path.startswith(_NOT_CONTENT_FOLDER):
                yield item


def parse_manifest(data: bytes, *, max_bytes: int = MAX_MANIFEST_BYTES) -> Manifest:
    """Parse a manifest that equals its own re-encoding.

    Raises:
        LimitError: too large. MalformedError: another form, unsafe paths, a wrong order.
    """
    value = parse_canonical_json(data, what="manifest", max_bytes=max_bytes)
    if not isinstance(value, list):
        raise MalformedError("manifest", expected="a list", actual=type(value).__name__)
    return Manifest(tuple(_parse_item(item) for item in value))


def format_items(items: Iterable[Item]) -> Iterator[bytes]:
    """Yield the canonical JSON of sorted items in pieces."""
    rest, before = iter(items), b"["
    while run := [item.as_json() for item in islice(rest, _ITEMS_A_CHUNK)]:
        yield before + format_canonical_json(run)[1:-1]
        before = b","
    yield b"[]" if before == b"[" else b"]"


_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_ITEM = re.compile(
    rb'\{(?:"path":%b,"sha256":"[0-9a-f]{64}","size":[0-9]{1,16}|"link":%b,"path":%b)\}'
    % (_STRING, _STRING, _STRING)
)


def read_items(chunks: Iterable[bytes]) -> Iterator[Item]:
    """Parse a manifest as it comes, item by item, never whole in memory; as strict as ``parse_manifest``.

    Raises:
        LimitError: more than 1 GiB. MalformedError: another form, unsafe paths, a wrong order.
    """
    source = iter(chunks)
    buffer, position, total, last = b"[,", 0, 0, None
    opened = False
    while True:
        item = (
            _ITEM.match(buffer, position + 1) if opened and buffer[position : position + 1] == b"," else None
        )
        if item is not None:
            parsed = _parse_item(
                parse_canonical_json(item[0], what="item of a manifest", max_bytes=MAX_ITEM_BYTES)
            )
            if last is not None and parsed.path <= last:
                raise _other_order(last, parsed.path)
            last, position = parsed.path, item.end()
            yield parsed
            continue
        chunk = next(source, None)
        if chunk is None:
            break
        total += len(chunk)
        buffer = buffer[position:] + chunk
        if not opened and total >= 2:
            buffer = _open_list(buffer.removeprefix(b"[,"))
            opened = True
        position = 0
        if total > MAX_MANIFEST_BYTES:
            raise LimitError("manifest", expected=f"at most {MAX_MANIFEST_BYTES} bytes", actual="more")
        if len(buffer) > MAX_ITEM_BYTES + len(chunk):
            raise MalformedError("manifest", expected="a list of items", actual="another form")
    if not opened or buffer[position:] != b"]":
        raise MalformedError("manifest", expected="a list of items", actual="another form")


def _open_list(data: bytes) -> bytes:
    """Put a comma in the place of the opening bracket, so that every item has one before it."""
    if data == b"[]":
        return b"]"
    if not data.startswith(b"[{"):
        raise MalformedError("manifest", expected="a list of items", actual="another form")
    return b"," + data[1:]


_ESCAPE = re.compile(r"%(?![0-9A-F]{2})")


def parse_listing(data: bytes) -> Manifest:
    """Parse a list of files that somebody else wrote, in any layout and order, into the manifest of those files.

    Paths are escaped as in a manifest (docs/spec/manifest.md).

    Raises:
        LimitError: above 1 GiB. MalformedError: not such a list, a path twice, an unsafe one, or one with a bare ``%``.
    """
    value = parse_json(data, what="list of files", max_bytes=MAX_MANIFEST_BYTES)
    if not isinstance(value, list):
        raise MalformedError("list of files", expected="a list", actual=type(value).__name__)
    items = [_parse_item(item) for item in value]
    for item in items:
        for text in (item.path,) if isinstance(item, ManifestFile) else (item.path, item.link):
            if _ESCAPE.search(text):
                raise MalformedError(
                    f"path {text}",
                    expected="% and two upper-case hex digits, %25 for a percent sign",
                    actual="%",
                )
    return Manifest.of(items)


def _other_order(first: str, second: str) -> MalformedError:
    return MalformedError(
        "manifest",
        expected="distinct paths in the order of their bytes",
        actual=f"{first[:_SHOWN]} before {second[:_SHOWN]}",
    )


def _parse_item(value: Json) -> Item:
    match value:
        case {"path": str(path), "sha256": sha256, "size": int(size)} if (
            len(value) == 3 and type(size) is int and 0 <= size <= MAX_SAFE_INTEGER
        ):
            return ManifestFile(
                path=check_path(path),
                sha256=parse_hex(sha256, length=32, what=f"sha256 of {path}"),
                size=size,
            )
        case {"path": str(path), "link": str(link)} if len(value) == 2:
            return ManifestLink(path=check_path(path), link=link)
    raise MalformedError("item of a manifest", expected="{path, sha256, size} or {path, link}", actual=value)


def check_path(path: str) -> str:
    """Return a path that stays inside its tree. Raises MalformedError: absolute, empty parts, ``.``, ``..``, NUL."""
    parts = path.split("/")
    size = len(path.encode("utf-8", "surrogatepass"))
    if "\0" in path or size > MAX_PATH_BYTES or any(part in ("", ".", "..") for part in parts):
        raise MalformedError("path", expected="a relative path without empty, . or .. parts", actual=path)
    return path


_RESERVED = frozenset(
    ("con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(1, 10)))
)
_MAX_PROBLEMS = 100


def portability_problems(paths: Iterable[str]) -> Iterator[str]:
    """Say which paths are not what they seem where names are folded or have other rules; at most 100 sentences.

    Paths are recorded as they are, whatever they are. Whoever writes them to a disk may be on a system where two of
    them are one file, or where one leads out of the folder.
    """
    return islice(_problems(paths), _MAX_PROBLEMS)


def _problems(paths: Iterable[str]) -> Iterator[str]:
    folded: dict[str, str] = {}
    for path in paths:
        parts = path.split("/")
        if re.match(r"[A-Za-z]:", path) or "\\" in path:
            yield f"{path} leads elsewhere on Windows"
        elif any(part.split(".")[0].lower() in _RESERVED or part[-1] in ". " for part in parts):
            yield f"{path} cannot be made on Windows"
        first = folded.setdefault(_fold(path), path)
        if first != path:
            yield f"{path} is the same file as {first} where case or Unicode form is folded"


def _fold(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
