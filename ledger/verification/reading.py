"""Reads one revision from disk: every file hashed once, and the bundles among them found by content.

Links are never followed, special files never opened: neither is content. A manifest leaves special files out; they are named beside it,
and a check refuses them, because a loader would read from them what nobody signed. What cannot be read, or changes while it is read,
is an error, because a manifest without it would be another revision. What changes after it was read is seen by a second look
(``ledger.verification.second_look``). Files are read in several threads: hashing releases the interpreter lock. Small ones go to them many at a time, large ones one by one; results come back in order, a bounded
number ahead, so that memory does not grow with the bytes.
"""

import hashlib
import os
import pathlib
import stat
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, Self

from ledger.bundle import MAX_BUNDLE_BYTES, MEDIA_TYPE, NotVerifiedError
from ledger.errors import NotFoundError, SourceError
from ledger.manifest import Manifest, ManifestFile, ManifestLink, escape_path

MAX_BUNDLES_BYTES = 256 << 20
"""All bundles of one revision that are kept whole; of further ones the digest alone, as of a single large one."""
_SCAN_BYTES = 64 << 10
"""How much of a file above 16 MiB is searched for a bundle's media type."""
_BLOCK_BYTES = 256 << 10
"""Fits a core's cache: a block is copied there, and hashed from there."""
_FILES_A_TASK = 256
_BYTES_A_TASK = 8 << 20
_TASKS_AHEAD = 3
"""Tasks that wait for each thread: enough to keep it busy while results are taken in order."""
_MEDIA = MEDIA_TYPE.encode()

Progress = Callable[[int, int], None]
"""``progress(bytes done, bytes in all)``; called from several threads, one at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundBundle:
    """A file that is, or says it is, a signature bundle. ``raw`` None: too large to be kept, digest only."""

    path: str
    sha256: bytes
    raw: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A path as it was read, for a second look: the digest of its names, the state of each file, in the order of names, and what
    was in them. ``special``: the paths of pipes, sockets and devices, which no manifest has.
    """

    path: pathlib.Path
    names_sha256: bytes
    states: bytes
    manifest: Manifest
    special: tuple[str, ...] = ()


class Files:
    """The bytes of a revision, for hashes that the manifest does not hold. Raises NotVerifiedError without them."""

    def __init__(
        self,
        manifest: Manifest,
        folder: pathlib.Path | None,
        raw_paths: Mapping[str, bytes] | None = None,
        *,
        seen: Seen | None = None,
    ) -> None:
        self.manifest, self.seen = manifest, seen
        self._folder, self._raw_paths = folder, raw_paths or {}

    def digest(self, path: str, algorithm: str, start: int | None, end: int | None) -> bytes:
        """Return the digest of a file, or of its bytes ``[start, end)``."""
        file = self.manifest.files[path]
        if algorithm == "sha256" and start is None:
            return file.sha256
        if self._folder is None:
            raise NotVerifiedError("UNSUPPORTED", "needs-file-bytes", path)
        digest = _hasher(algorithm)
        first, left = start or 0, (file.size if end is None else min(end, file.size)) - (start or 0)
        with _OpenFile(os.fsencode(self._folder), self._raw_paths.get(path) or _raw_path(path)) as source:
            for block in source.blocks(first, left):
                digest.update(block)
        return bytes(digest.digest())


def _raw_path(path: str) -> bytes:
    """Undo ``escape_path``."""
    first, *rest = path.split("%")
    pieces = [first.encode()]
    for each in rest:
        pieces += (bytes.fromhex(each[:2]), each[2:].encode())
    return b"".join(pieces)


def _hasher(algorithm: str) -> Any:
    if algorithm == "blake3":
        try:
            from blake3 import blake3
        except ImportError as error:
            raise NotVerifiedError("UNSUPPORTED", "blake3-not-installed") from error
        return blake3()
    return hashlib.new(algorithm)


Name = tuple[bytes, int | None]
"""A path's bytes and its size as the folder says; None for a symbolic link."""
_SPECIAL = -1
"""Stands for the size of what is a pipe, a socket or a device, until the names are taken apart."""
_Item = ManifestFile | ManifestLink


class Remembered(Protocol):
    """Digests of larger files that were hashed before; called from several threads at once."""

    def digest(self, name: bytes, found: os.stat_result) -> bytes | None:
        """Return the SHA-256 of a file in this state, or None: it is read then. ``found`` is of its open descriptor."""
        ...

    def remember(self, name: bytes, found: os.stat_result, sha256: bytes) -> None:
        """Note what was read of a file, which was in this state before and after."""
        ...


class Meter:
    """Counts bytes for whoever watches."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0
        self._guard = threading.Lock()

    def add(self, count: int) -> None:
        """Count bytes that were read."""
        if self._progress is None:
            return
        with self._guard:
            self._done += count
            self._progress(self._done, self._total)


def read_revision(
    path: pathlib.Path,
    *,
    progress: Progress | None = None,
    workers: int | None = None,
    remembered: Remembered | None = None,
) -> tuple[Manifest, list[FoundBundle], Files]:
    """Walk and hash a directory (or one file): its manifest, and the bundles in it. Links are never followed.

    What is ``remembered`` is not read again; small files and bundles always are.

    Raises:
        NotFoundError: no such path. SourceError: a file that cannot be read, or that changed meanwhile.
    """
    walked = walk(path)
    folder, names = walked.folder, walked.names
    names_sha256 = digest_names(names)
    meter = Meter(progress, sum(size or 0 for _, size in names))
    states = bytearray()
    items: list[_Item] = []
    bundles: list[FoundBundle] = []
    kept = 0
    read = partial(read_some, folder, meter=meter, remembered=remembered)
    for found, candidates, as_read in _in_threads(names, read, workers or os.cpu_count() or 1):
        items += found
        states += as_read
        for each in candidates:
            kept += len(each.raw or b"")
            fits = kept <= MAX_BUNDLES_BYTES
            bundles.append(each if fits else FoundBundle(path=each.path, sha256=each.sha256, raw=None))
    manifest = Manifest.of(items)
    seen = Seen(
        path=path,
        names_sha256=names_sha256,
        states=bytes(states),
        manifest=manifest,
        special=walked.special,
    )
    return manifest, bundles, Files(manifest, folder, seen=seen)


# Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """A folder, each file and link in it in the order of their bytes, and the escaped paths of what is neither."""

    folder: pathlib.Path
    names: list[Name]
    special: tuple[str, ...] = ()


def walk(path: pathlib.Path) -> Walked:
    """Return what is in a folder, or the one file. Raises NotFoundError, SourceError."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            return Walked(folder=path.parent, names=[(os.fsencode(path.name), path.stat().st_size)])
        if path.is_dir():
            return _apart(path, sorted(_scan(os.fsencode(path), b"")))
    except OSError as error:
        raise NotFoundError(
            f"model {path}",
            expected="a folder or a file",
            actual=error.strerror,
            next_step="Check the path of the model",
        ) from error
    raise NotFoundError(
        f"model {path}",
        expected="a folder or a file",
        actual="a symbolic link" if stat.S_ISLNK(mode) else "a special file",
        next_step="Name the file itself: links are not followed"
        if stat.S_ISLNK(mode)
        else "Name a folder or a regular file",
    )


def _apart(folder: pathlib.Path, found: list[Name]) -> Walked:
    special = tuple(escape_path(name) for name, size in found if size == _SPECIAL)
    names = [each for each in found if each[1] != _SPECIAL] if special else found
    return Walked(folder=folder, names=names, special=special)


def digest_names(names: Sequence[Name]) -> bytes:
    """Return the SHA-256 of all names, and of which are links: a name has no NUL."""
    return hashlib.sha256(
        b"\0".join(b"l" + name if size is None else b"f" + name for name, size in names)
    ).digest()


STATE_BYTES = 40
_STATE = struct.Struct("5Q")
_MASK = 2**64 - 1


def state_of(found: os.stat_result) -> bytes:
    """Return, in ``STATE_BYTES``, what changes with every write to a file, and when another takes its place."""
    return _STATE.pack(
        found.st_size & _MASK,
        found.st_ino & _MASK,
        found.st_dev & _MASK,
        found.st_mtime_ns & _MASK,
        found.st_ctime_ns & _MASK,
    )


def _scan(root: bytes, prefix: bytes) -> Iterator[Name]:
    pending = [prefix]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(os.path.join(root, folder) if folder else root) as found:
                for each in found:
                    name = folder + b"/" + each.name if folder else each.name
                    if each.is_file(follow_symlinks=False):
                        yield name, each.stat(follow_symlinks=False).st_size
                    elif each.is_symlink():
                        yield name, None
                    elif not each.is_dir(follow_symlinks=False):
                        yield name, _SPECIAL
                    elif name != b".git":
                        pending.append(name)
        except OSError as error:
            raise SourceError(
                f"reading folder {escape_path(folder) or '.'}",
                expected="a readable folder",
                actual=error.strerror,
            ) from error


# Reading


_Read = tuple[list[_Item], list[FoundBundle], bytes]


def _in_threads(names: list[Name], read: Callable[[Sequence[Name]], _Read], workers: int) -> Iterator[_Read]:
    """Yield what was found, task by task in order, a bounded number of tasks ahead. Empties ``names``."""
    names.reverse()
    with ThreadPoolExecutor(workers, thread_name_prefix="hash") as pool:
        running: deque[Future[_Read]] = deque()
        try:
            while names or running:
                while names and len(running) < workers * _TASKS_AHEAD:
                    running.append(pool.submit(read, _take_task(names)))
                yield running.popleft().result()
        finally:
            for each in running:
                each.cancel()


def _take_task(names: list[Name]) -> list[Name]:
    """Take the next names off the end: many small files, or one that is large."""
    task: list[Name] = []
    size = 0
    while names and len(task) < _FILES_A_TASK and size < _BYTES_A_TASK:
        task.append(names.pop())
        size += task[-1][1] or 0
    return task


def read_some(
    folder: pathlib.Path, names: Sequence[Name], *, meter: Meter, remembered: Remembered | None = None
) -> _Read:
    """Read files: what each is, the bundles among them, and the states in which they were read. Raises SourceError."""
    items: list[_Item] = []
    bundles: list[FoundBundle] = []
    states: list[bytes] = []
    root, small = os.path.join(os.fsencode(folder), b""), 0
    for name, size in names:
        if size is None:
            link, state = _read_link(root, name)
            items.append(link)
            states.append(state)
            continue
        read = _read_small(root, name) if size <= _BLOCK_BYTES else None
        if read is None:
            item, bundle, state = _read_large(root, name, meter, remembered)
            if bundle is not None:
                bundles.append(bundle)
        else:
            raw, state = read
            item = ManifestFile(path=escape_path(name), sha256=hashlib.sha256(raw).digest(), size=len(raw))
            small += len(raw)
            if _may_be_json(raw) and _MEDIA in raw:
                bundles.append(FoundBundle(path=item.path, sha256=item.sha256, raw=raw))
        items.append(item)
        states.append(state)
    meter.add(small)
    return items, bundles, b"".join(states)


def _read_link(root: bytes, name: bytes) -> tuple[ManifestLink, bytes]:
    place = os.path.join(root, name)
    try:
        state = state_of(os.lstat(place))
        target = os.readlink(place)
    except OSError as error:
        raise _unreadable(name, error) from error
    return ManifestLink(path=escape_path(name), link=escape_path(target)), state


def _read_small(root: bytes, name: bytes) -> tuple[bytes, bytes] | None:
    """Return the bytes of a small file and its state, or None where it is not small any more.

    Written out, because a million small files are a million of these calls: it must cost little beside its system calls.
    """
    try:
        descriptor = os.open(root + name, _FLAGS)
        try:
            before = os.fstat(descriptor)
            _check_regular(before, name)
            if before.st_size > _BLOCK_BYTES:
                return None
            raw = os.read(descriptor, before.st_size + 1)
            now = os.fstat(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _unreadable(name, error) from error
    if _changed(before, now) or len(raw) != before.st_size:
        raise _changed_meanwhile(name, before, now)
    return raw, state_of(now)


def _read_large(
    root: bytes, name: bytes, meter: Meter, remembered: Remembered | None
) -> tuple[ManifestFile, FoundBundle | None, bytes]:
    with _OpenFile(root, name) as file:
        state = state_of(file.found)
        known = None if remembered is None else remembered.digest(name, file.found)
        if known is not None:
            meter.add(file.size)
            return ManifestFile(path=escape_path(name), sha256=known, size=file.size), None, state
        item, bundle = _hash_large(file, escape_path(name), meter)
    if remembered is not None and bundle is None:  # the bytes of a bundle are needed each time
        remembered.remember(name, file.found, item.sha256)
    return item, bundle, state


def _hash_large(file: "_OpenFile", path: str, meter: Meter) -> tuple[ManifestFile, FoundBundle | None]:
    digest, kept, head, tail = hashlib.sha256(), None, b"", b""
    for block in file.blocks(0, file.size):
        digest.update(block)
        if not head:
            head = bytes(block[:_SCAN_BYTES])
            kept = bytearray() if file.size <= MAX_BUNDLE_BYTES and _may_be_json(head) else None
        if kept is not None:
            kept += block
        elif file.size > MAX_BUNDLE_BYTES:
            tail = bytes(block[-_SCAN_BYTES:])
        meter.add(len(block))
    file.check_unchanged()
    item = ManifestFile(path=path, sha256=digest.digest(), size=file.size)
    if kept is not None and _MEDIA in kept:
        return item, FoundBundle(path=item.path, sha256=item.sha256, raw=bytes(kept))
    if file.size > MAX_BUNDLE_BYTES and _may_be_json(head) and (_MEDIA in head or _MEDIA in tail):
        return item, FoundBundle(path=item.path, sha256=item.sha256, raw=None)
    return item, None


def _may_be_json(head: bytes) -> bool:
    start = head[:64]
    return b"{" in start and start.lstrip().startswith(b"{")


_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""A link in the place of a file is refused; a pipe in its place is opened without waiting for a writer, and refused."""


class _OpenFile:
    """A regular file of the revision, read in blocks."""

    def __init__(self, root: bytes, name: bytes) -> None:
        self._name = name
        try:
            self._descriptor = os.open(os.path.join(root, name), _FLAGS)
            self.found = os.fstat(self._descriptor)
        except OSError as error:
            raise _unreadable(name, error) from error
        self.size = self.found.st_size

    def __enter__(self) -> Self:
        try:
            _check_regular(self.found, self._name)
        except SourceError:
            os.close(self._descriptor)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def blocks(self, start: int, length: int) -> Iterator[memoryview]:
        """Yield ``length`` bytes from ``start`` on; each block is valid until the next. Short where the file is."""
        buffer = memoryview(bytearray(min(_BLOCK_BYTES, max(length, 1))))
        while length > 0:
            try:
                count = os.preadv(self._descriptor, [buffer[: min(length, len(buffer))]], start)
            except OSError as error:
                raise _unreadable(self._name, error) from error
            if not count:
                return
            yield buffer[:count]
            start, length = start + count, length - count

    def check_unchanged(self) -> None:
        """Compare the file with what it was when it was opened. Raises SourceError."""
        now = os.fstat(self._descriptor)
        if _changed(self.found, now):
            raise _changed_meanwhile(self._name, self.found, now)


def _check_regular(found: os.stat_result, name: bytes) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SourceError(
            f"reading {escape_path(name)}",
            expected="a regular file",
            actual="a special file: it changed meanwhile",
        )


def _changed(before: os.stat_result, now: os.stat_result) -> bool:
    """Whether a file was written to, or taken out of its folder, between two looks at its descriptor.

    ``mtime`` can be set back by whoever wrote the file; ``ctime`` cannot, and moves with a rename over the file as well.
    """
    return (
        before.st_ctime_ns != now.st_ctime_ns
        or before.st_mtime_ns != now.st_mtime_ns
        or before.st_size != now.st_size
    )


def _changed_meanwhile(name: bytes, before: os.stat_result, now: os.stat_result) -> SourceError:
    return SourceError(
        f"reading {escape_path(name)}",
        expected=f"the {before.st_size} bytes that it had when it was opened",
        actual=f"{'other' if now.st_size == before.st_size else now.st_size} bytes: it changed meanwhile",
        next_step="Let whoever writes it finish, then try again",
    )


def _unreadable(name: bytes, error: OSError) -> SourceError:
    return SourceError(
        f"reading {escape_path(name)}", expected="a readable file", actual=error.strerror or str(error)
    )
