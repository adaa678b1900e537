"""The files of a download as plain files, for as long as they are checked.

The download cache has links in the place of files, and links are never followed. So a folder of hard links is made of what they
lead to, only inside the model's own part of the cache.
"""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence

from ledger.errors import SourceError

_METADATA = (".cache", "huggingface")
"""What the hub's library keeps in a ``local_dir`` beside the files."""


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
    folder: pathlib.Path, names: Sequence[pathlib.Path], *, in_cache: bool
) -> Iterator[pathlib.Path]:
    """Make a folder of the files themselves, for as long as they are checked.

    Raises:
        SourceError: a link leads out of the model's part of the cache, or the files cannot be read.
    """
    # .../models--acme--tiny/snapshots/<commit> beside .../models--acme--tiny/blobs
    home = folder.parent.parent if in_cache else folder
    try:
        with tempfile.TemporaryDirectory(prefix=".hubledger-", dir=_room(home, in_cache=in_cache)) as made:
            real = pathlib.Path(made) / "files"
            real.mkdir()
            for name in names:
                target = real / name
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(_target(folder / name, home, in_cache=in_cache), target)
            yield real
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
    found = path.resolve()
    if found.parent != (home / "blobs").resolve() or not found.is_file():
        raise SourceError(
            f"link {path}",
            expected=f"a file in {home / 'blobs'}",
            actual=str(found),
            next_step="Remove the model from the download cache and download it again",
        )
    return found


def _link(source: pathlib.Path, target: pathlib.Path) -> None:
    """Give a file a second name, or copy it where that cannot be; a link stays a link."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
