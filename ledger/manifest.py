"""Manifests: every file of a revision by path, digest and size (docs/spec/manifest.md).

RFC 8785 list of ``{path, sha256, size}``, of a symbolic link ``{path, link}``, sorted by the bytes of the path.
Paths are not normalised; ``%`` and bytes that are not UTF-8 become ``%XX``.
"""

import hashlib
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from ledger.encoding import Json, format_canonical_json, parse_canonical_json, parse_hex
from ledger.errors import MalformedError

MAX_MANIFEST_BYTES = 1 << 30
MAX_PATH_BYTES = 65_535
"""Longer than any file system's; bounds one line of a manifest."""

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
        paths = [item.path.encode() for item in self.items]
        wrong = next(((left, right) for left, right in pairwise(paths) if left >= right), None)
        if wrong is not None:
            raise MalformedError(
                "manifest",
                expected="distinct paths in the order of their bytes",
                actual=" before ".join(path.decode() for path in wrong),
            )

    @classmethod
    def of(cls, items: Iterable[Item]) -> "Manifest":
        """Sort items into a manifest. Raises MalformedError: a path that occurs twice."""
        return cls(tuple(sorted(items, key=lambda item: item.path.encode())))

    @cached_property
    def data(self) -> bytes:
        """The manifest's bytes; their SHA-256 is the subject of a verification event."""
        return format_canonical_json([item.as_json() for item in self.items])

    @cached_property
    def sha256(self) -> bytes:
        """SHA-256 of ``data``."""
        return hashlib.sha256(self.data).digest()

    @cached_property
    def files(self) -> dict[str, ManifestFile]:
        """Regular files by escaped path."""
        return {item.path: item for item in self.items if isinstance(item, ManifestFile)}

    @property
    def total_bytes(self) -> int:
        """The sum of the file sizes."""
        return sum(item.size for item in self.files.values())

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


def _parse_item(value: Json) -> Item:
    match value:
        case {"path": str(path), "sha256": sha256, "size": size} if (
            len(value) == 3 and type(size) is int and size >= 0  # true is an int to Python
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
    if "\0" in path or len(path.encode()) > MAX_PATH_BYTES or any(part in ("", ".", "..") for part in parts):
        raise MalformedError("path", expected="a relative path without empty, . or .. parts", actual=path)
    return path
