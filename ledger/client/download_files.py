"""The files of a download as plain files, for as long as they are checked.

The download cache has links in the place of files, and links are never followed. So a folder of hard links is made of what they
lead to, only inside the model's own part of the cache.

What is checked are those links, and what is loaded are the names of the download. So when the check is over, and the second look with
it, these are looked at too: another process may have renamed another file to the place of one of them, or added one.
"""

import contextlib
import filecmp
import os
import pathlib
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ledger.errors import SourceError
from ledger.verification.second_look import other_now

_METADATA = (".cache", "huggingface")
"""What the hub's library keeps in a ``local_dir`` beside the files."""


@dataclass(frozen=True, slots=True)
class _Source:
    """A file of the download, its state when it was linked or copied, and where to."""

    name: pathlib.Path
    state: tuple[int, ...]
    real: pathlib.Path

    def is_behind(self, path: pathlib.Path) -> bool:
        """Whether a path leads to that file, or to one with the same bytes, as after somebody else's download."""
        try:
            now, real = os.lstat(path), os.lstat(self.real)
            if os.path.samestat(now, real):
                # The second look has read it. A second name for a file moves its ctime, and nothing else.
                return _state(now)[:-1] == self.state[:-1]
            if _state(now) == self.state:
                return True
            return stat.S_ISREG(now.st_mode) and filecmp.cmp(path, self.real, shallow=False)
        except OSError:
            return False


def files_of(folder: pathlib.Path, *, in_cache: bool) -> list[pathlib.Path]:
    """Return the relative paths of all files; a folder that is a link counts as a file, and is refused later."""
    found: list[pathlib.Path] = []
    for base, folders, files in os.walk(folder):
        here = pathlib.Path(base)
        links = [each for each in folders if (here / each).is_symlink()]
        found += [(here / each).relative_to(folder) for each in (*files, *links)]
    return [each for each in found if in_cache or each.parts[:2] != _METADATA]


@contextlib.contextmanager
def real_files(
    folder: pathlib.Path, names: Sequence[pathlib.Path] | None, *, in_cache: bool
) -> Iterator[pathlib.Path]:
    """Make a folder of the files themselves, for as long as they are checked; ``names`` None: of all that there are.

    Raises:
        SourceError: a link leads out of the model's part of the cache, the files cannot be read, or, at the end, they are others
            than those that were checked.
    """
    # .../models--acme--tiny/snapshots/<commit> beside .../models--acme--tiny/blobs
    home = folder.parent.parent if in_cache else folder
    listed = files_of(folder, in_cache=in_cache) if names is None else names
    try:
        with tempfile.TemporaryDirectory(prefix=".hubledger-", dir=_room(home, in_cache=in_cache)) as made:
            real = pathlib.Path(made) / "files"
            real.mkdir()
            sources = []
            for name in listed:
                target = real / name
                target.parent.mkdir(parents=True, exist_ok=True)
                state = _link(_target(folder / name, home, in_cache=in_cache), target)
                sources.append(_Source(name, state, target))
            yield real
            if names is None and set(files_of(folder, in_cache=in_cache)) != set(listed):
                raise other_now(str(folder), "names that were added or removed")
            for source in sources:
                if not source.is_behind(_target(folder / source.name, home, in_cache=in_cache)):
                    raise other_now(str(folder / source.name), "another file")
    except OSError as error:
        raise SourceError(
            f"files in {folder}",
            expected="readable files",
            actual=error.strerror or str(error),
            next_step="Download the model again, into a folder that this user can write",
        ) from error


def _room(home: pathlib.Path, *, in_cache: bool) -> pathlib.Path | None:
    """Return a folder on the same disk, where a hard link costs nothing; None: the system's own, if that is read-only."""
    room = home if in_cache else home.joinpath(*_METADATA)
    return room if room.is_dir() and os.access(room, os.W_OK) else None


def _target(path: pathlib.Path, home: pathlib.Path, *, in_cache: bool) -> pathlib.Path:
    """Return the file behind a link of the cache; everything else stands for itself."""
    if not in_cache or not path.is_symlink():
        return path
    found = pathlib.Path(os.path.realpath(path))  # which a link that leads to itself does not trouble
    if found.parent != (home / "blobs").resolve() or not found.is_file():
        raise SourceError(
            f"link {path}",
            expected=f"a file in {home / 'blobs'}",
            actual=str(found),
            next_step="Remove the model from the download cache and download it again",
        )
    return found


def _link(source: pathlib.Path, target: pathlib.Path) -> tuple[int, ...]:
    """Give a file a second name, or copy it where that cannot be; a link stays a link. Returns the state of the file."""
    try:
        os.link(source, target, follow_symlinks=False)
        return _state(os.lstat(target))  # not that of the source, which may be another file by now
    except OSError:
        state = _state(os.lstat(source))  # before it is read: what is written from here on shows
        shutil.copy2(source, target, follow_symlinks=False)
        return state


def _state(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
