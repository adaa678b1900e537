"""Reads one revision from disk: every file hashed once, and the bundles among them found by content.

Links are never followed. What cannot be read is an error, because a manifest without it would be another revision.
"""

import hashlib
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, BinaryIO

from ledger.bundle import MAX_BUNDLE_BYTES, MEDIA_TYPE, NotVerifiedError
from ledger.errors import NotFoundError, SourceError
from ledger.manifest import Manifest, ManifestFile, ManifestLink, escape_path

_SCAN_BYTES = 64 << 10
"""How much of a file above 16 MiB is searched for a bundle's media type."""
_READ_BYTES = 1 << 20

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundBundle:
    """A file that is, or says it is, a signature bundle. ``raw`` None: larger than 16 MiB, digest only."""

    path: str
    sha256: bytes
    raw: bytes | None


class Files:
    """The bytes of a revision, for hashes that the manifest does not hold. Raises NotVerifiedError without them."""

    def __init__(
        self, manifest: Manifest, folder: pathlib.Path | None, raw_paths: Mapping[str, bytes]
    ) -> None:
        self.manifest = manifest
        self._folder, self._raw_paths = folder, raw_paths

    def digest(self, path: str, algorithm: str, start: int | None, end: int | None) -> bytes:
        """Return the digest of a file, or of its bytes ``[start, end)``."""
        file = self.manifest.files[path]
        if algorithm == "sha256" and start is None:
            return file.sha256
        if self._folder is None:
            raise NotVerifiedError("UNSUPPORTED", "needs-file-bytes", path)
        digest = _hasher(algorithm)
        first, left = start or 0, (file.size if end is None else min(end, file.size)) - (start or 0)
        with _open(self._folder, self._raw_paths[path]) as source:
            source.seek(first)
            while left > 0 and (block := source.read(min(left, _READ_BYTES))):
                digest.update(block)
                left -= len(block)
        return bytes(digest.digest())


def _hasher(algorithm: str) -> Any:
    if algorithm == "blake3":
        try:
            from blake3 import blake3
        except ImportError as error:
            raise NotVerifiedError("UNSUPPORTED", "blake3-not-installed") from error
        return blake3()
    return hashlib.new(algorithm)


def read_revision(
    path: pathlib.Path, *, progress: Progress | None = None, workers: int | None = None
) -> tuple[Manifest, list[FoundBundle], Files]:
    """Walk and hash a directory (or one file): its manifest, and the bundles in it. Links are never followed.

    Raises:
        NotFoundError: no such path. SourceError: a file that cannot be read, or that changed meanwhile.
    """
    folder, names = _walk(path)
    raw_paths = {escape_path(name): name for name, _ in names}
    total = sum(size or 0 for _, size in names)
    manifest_items: list[ManifestFile | ManifestLink] = []
    bundles: list[FoundBundle] = []
    done = 0
    with ThreadPoolExecutor(workers or min(8, (os.cpu_count() or 1) + 2)) as pool:
        for item, bundle in pool.map(lambda each: _read_one(folder, each[0], each[1]), names):
            manifest_items.append(item)
            if bundle is not None:
                bundles.append(bundle)
            done += item.size if isinstance(item, ManifestFile) else 0
            if progress:
                progress(done, total)
    manifest = Manifest.of(manifest_items)
    return manifest, bundles, Files(manifest, folder, raw_paths)


def _walk(path: pathlib.Path) -> tuple[pathlib.Path, list[tuple[bytes, int | None]]]:
    """Return the folder and ``(path bytes, size)`` of each file; the size of a link is None."""
    if path.is_file():
        return path.parent, [(os.fsencode(path.name), path.stat().st_size)]
    if not path.is_dir():
        raise NotFoundError(
            f"model {path}", expected="a folder or a file", actual="nothing", next_step="Check --model"
        )
    return path, sorted(_scan(os.fsencode(path), b""))


def _scan(root: bytes, prefix: bytes) -> Iterator[tuple[bytes, int | None]]:
    pending = [prefix]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(os.path.join(root, folder) if folder else root) as found:
                for each in found:
                    name = folder + b"/" + each.name if folder else each.name
                    if each.is_symlink():
                        yield name, None
                    elif each.is_dir():
                        if name != b".git":
                            pending.append(name)
                    elif each.is_file():
                        yield name, each.stat().st_size
        except OSError as error:
            raise SourceError(
                f"reading folder {escape_path(folder)}", expected="a readable folder", actual=error.strerror
            ) from error


def _open(folder: pathlib.Path, name: bytes) -> BinaryIO:
    """Open a file of the revision, refusing a link that took its place."""
    try:
        descriptor = os.open(os.path.join(os.fsencode(folder), name), os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise SourceError(
            f"reading {escape_path(name)}", expected="a readable file", actual=error.strerror
        ) from error
    return os.fdopen(descriptor, "rb")


def _read_one(
    folder: pathlib.Path, name: bytes, size: int | None
) -> tuple[ManifestFile | ManifestLink, FoundBundle | None]:
    path = escape_path(name)
    if size is None:
        target = os.readlink(os.path.join(os.fsencode(folder), name))
        return ManifestLink(path=path, link=escape_path(target)), None
    with _open(folder, name) as file:
        head = file.read(_SCAN_BYTES)
        digest, read = hashlib.sha256(head), len(head)
        kept = [head] if size <= MAX_BUNDLE_BYTES and _may_be_json(head) else None
        tail = b""
        while block := file.read(_READ_BYTES):
            digest.update(block)
            read += len(block)
            if kept is not None:
                kept.append(block)
            tail = block[-_SCAN_BYTES:]
    if read != size:
        raise SourceError(
            f"reading {path}",
            expected=f"{size} bytes",
            actual=f"{read} bytes: it changed meanwhile",
            next_step="Try again when nothing writes to the model",
        )
    item = ManifestFile(path=path, sha256=digest.digest(), size=size)
    media = MEDIA_TYPE.encode()
    if kept is not None and media in (raw := b"".join(kept)):
        return item, FoundBundle(path=path, sha256=item.sha256, raw=raw)
    if size > MAX_BUNDLE_BYTES and _may_be_json(head) and (media in head or media in tail):
        return item, FoundBundle(path=path, sha256=item.sha256, raw=None)
    return item, None


def _may_be_json(head: bytes) -> bool:
    return head[:64].lstrip().startswith(b"{")
