"""ObjectStore in a directory: write aside, sync, rename, sync the folder.

A file gets its final name only after its bytes are on the disk, so a crash leaves an object whole or absent.
Left-over temporary files carry the prefix ``.tmp-`` and are removed by ``sweep``.
"""

import errno
import os
import pathlib
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import BinaryIO

from ledger.errors import CorruptError, LimitError, MalformedError, NotFoundError, WriteError
from ledger.storage import ObjectInfo

_TEMPORARY = ".tmp-"
_BLOCK_BYTES = 1 << 20


class DirectoryObjects:
    """Objects as files below ``root``; see ``ObjectStore`` for the contract."""

    def __init__(self, root: pathlib.Path, *, file_mode: int = 0o644) -> None:
        self._root = root
        self._file_mode = file_mode
        self._known_folders: set[pathlib.Path] = set()

    def get(self, name: str, *, max_bytes: int) -> bytes:
        """Return an object of at most ``max_bytes``."""
        try:
            with _open_regular(self._place(name)) as file:
                data = file.read(max_bytes + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _missing(name) from error
        except OSError as error:
            raise _unreadable(name, error) from error
        if len(data) > max_bytes:
            raise LimitError(f"object {name}", expected=f"at most {max_bytes} bytes", actual="more")
        return data

    def put(self, objects: Iterable[tuple[str, bytes]]) -> None:
        """Store immutable objects; all are durable on return.

        If we stop between two renames, some objects exist and some do not: the caller stores them again.
        """
        with _reporting("storing objects"):
            folders: set[pathlib.Path] = set()
            staged: list[tuple[pathlib.Path, pathlib.Path]] = []
            for name, data in objects:
                path = self._path(name)
                self._make_folder(path.parent)
                folders.add(path.parent)
                if not self._same_bytes(path, name, data):
                    staged.append((self._stage(path, data), path))
            # If we stop here, only temporary files are left.
            for temporary, path in staged:
                temporary.rename(path)
            # If we stop here, a name may be lost with its folder: nobody was answered yet.
            for folder in folders:
                sync_folder(folder)

    def put_stream(self, name: str, chunks: Iterable[bytes]) -> None:
        """Store one immutable object piece by piece; durable on return. What ``chunks`` raises leaves nothing."""
        with _reporting(f"storing {name}"):
            path = self._path(name)
            self._make_folder(path.parent)
            temporary = self._stage_stream(path, chunks)
            # If we stop here, only a temporary file is left.
            if path.exists():
                self._check_same(path, temporary, name)
                temporary.unlink()
            else:
                temporary.rename(path)
            # If we stop here, the name may be lost with its folder: nobody was answered yet.
            sync_folder(path.parent)

    def get_stream(self, name: str) -> Iterator[bytes]:
        """Yield an object's bytes in blocks of at most 1 MiB."""
        try:
            with _open_regular(self._place(name)) as file:
                while block := file.read(_BLOCK_BYTES):
                    yield block
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _missing(name) from error
        except OSError as error:
            raise _unreadable(name, error) from error

    def info(self, name: str) -> ObjectInfo:
        """Return an object's size and when it was stored."""
        try:
            found = os.stat(self._place(name))  # noqa: PTH116 - see _place
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _missing(name) from error
        except OSError as error:
            raise _unreadable(name, error) from error
        return ObjectInfo(size=found.st_size, stored_at=int(found.st_mtime))

    def erase(self, names: Iterable[str]) -> None:
        """Remove objects durably: their names do not come back after a crash."""
        with _reporting("erasing objects"):
            folders: set[pathlib.Path] = set()
            for name in names:
                path = self._path(name)
                path.unlink(missing_ok=True)
                folders.add(path.parent)
            for folder in folders:
                if folder.is_dir():
                    sync_folder(folder)

    def replace(self, name: str, data: bytes) -> None:
        """Replace one object in one step."""
        with _reporting(f"replacing {name}"):
            path = self._path(name)
            self._make_folder(path.parent)
            self._stage(path, data).rename(path)
            # If we stop here, the old or the new object is there, whole.
            sync_folder(path.parent)

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects, and folders that this leaves empty. Not synced: a name that comes back is harmless."""
        with _reporting("removing objects"):
            for name in names:
                path = self._path(name)
                path.unlink(missing_ok=True)
                if path.parent.name.endswith(".p"):
                    with suppress(OSError):
                        path.parent.rmdir()
                        self._known_folders.discard(path.parent)

    def names(self, prefix: str) -> Iterator[str]:
        """Walk the folder ``prefix``."""
        for folder, _, files in os.walk(self._path(prefix) if prefix else self._root):
            for file in files:
                if not file.startswith(_TEMPORARY):
                    yield (pathlib.Path(folder) / file).relative_to(self._root).as_posix()

    def sweep(self) -> None:
        """Remove temporary files that a crash left behind."""
        with _reporting("removing left-over temporary files"):
            for folder, _, files in os.walk(self._root):
                for file in files:
                    if file.startswith(_TEMPORARY):
                        (pathlib.Path(folder) / file).unlink(missing_ok=True)

    def _path(self, name: str) -> pathlib.Path:
        return pathlib.Path(self._place(name))

    def _place(self, name: str) -> str:
        """Return where an object lies, as text: to make a ``Path`` costs more than to look for the file."""
        parts = name.split("/")
        if not all(parts) or any(part.startswith("..") or part == "." or "\0" in part for part in parts):
            raise MalformedError("object name", expected="a relative path inside the store", actual=name)
        return f"{self._root}/{name}"

    def _stage(self, path: pathlib.Path, data: bytes) -> pathlib.Path:
        return self._stage_stream(path, (data,))

    def _stage_stream(self, path: pathlib.Path, chunks: Iterable[bytes]) -> pathlib.Path:
        temporary = path.with_name(_TEMPORARY + path.name)
        # A file that lies there is left over, or was laid there to be written through: it is never opened.
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, self._file_mode)
        try:
            for chunk in chunks:
                _write_all(descriptor, chunk)
            os.fsync(descriptor)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        return temporary

    @staticmethod
    def _check_same(path: pathlib.Path, staged: pathlib.Path, name: str) -> None:
        """Hold a stored object against staged bytes. Raises CorruptError."""
        with path.open("rb") as stored, staged.open("rb") as wanted:
            while True:
                block, other = stored.read(_BLOCK_BYTES), wanted.read(_BLOCK_BYTES)
                if block != other:
                    staged.unlink()
                    raise _other_bytes(name, path.stat().st_size)
                if not block:
                    os.fsync(stored.fileno())  # whoever wrote it may have stopped before its own sync
                    return

    def _same_bytes(self, path: pathlib.Path, name: str, data: bytes) -> bool:
        try:
            with path.open("rb") as file:
                stored = file.read(len(data) + 1)
                if stored == data:
                    os.fsync(file.fileno())  # the process that wrote it may have stopped before its own sync
                    return True
        except FileNotFoundError:
            return False
        raise _other_bytes(name, len(stored))

    def _make_folder(self, folder: pathlib.Path) -> None:
        if folder in self._known_folders:
            return
        if not folder.is_dir():
            if folder != self._root:
                self._make_folder(folder.parent)
            folder.mkdir(exist_ok=True)
            sync_folder(folder.parent)
        self._known_folders.add(folder)


def _missing(name: str) -> NotFoundError:
    return NotFoundError(f"object {name}", expected="a stored object", actual="nothing")


def _unreadable(name: str, error: OSError) -> CorruptError:
    return CorruptError(
        f"reading object {name}", expected="readable bytes", actual=error.strerror or str(error)
    )


def _other_bytes(name: str, size: int) -> CorruptError:
    return CorruptError(
        f"stored object {name}",
        expected="the bytes that the log commits to",
        actual=f"{size} other bytes",
        next_step="Stop the writer, keep the directory, and run `hubledger log audit`",
    )


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_folder(folder: pathlib.Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _reporting:  # noqa: N801 - reads as a sentence where it is used
    """Turn an operating-system error into a WriteError that says what was being done."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise WriteError(
                self._what,
                expected="a durable write",
                actual=error.strerror or str(error),
                next_step="Free space or make the directory writable, then start again: nothing answered is lost",
            ) from error


def _open_regular(path: str) -> BinaryIO:
    """Open a file for reading; a pipe or a device is an OSError at once, and nobody waits for its other end."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "not a regular file")


def read_file(path: pathlib.Path, *, max_bytes: int) -> bytes:
    """Read a file that somebody named. Raises NotFoundError, LimitError."""
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise NotFoundError(
            f"file {path}", expected="a readable file", actual=error.strerror, next_step="Check the path"
        ) from error
    if len(data) > max_bytes:
        raise LimitError(f"file {path}", expected=f"at most {max_bytes} bytes", actual="more")
    return data


def write_file_durably(path: pathlib.Path, data: bytes, *, mode: int) -> None:
    """Write a file and its name durably, in the place of a regular file or of nothing.

    Raises:
        WriteError: it could not be written, or the name is a link, a folder or a device, which is left as it is.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise WriteError(
            f"writing {path}",
            expected="a new name, or a regular file to replace",
            actual="a link" if path.is_symlink() else "something else",
            next_step="Name another file; links and devices are not replaced",
        )
    with _reporting(f"writing {path.name}"):
        store = DirectoryObjects(path.parent, file_mode=mode)
        store.replace(path.name, data)
