"""What a download brings into the cache of huggingface_hub: left there if it was checked, and otherwise without a name.

The cache keeps bytes under their digests in ``blobs``. Programs load them by names: the links in ``snapshots``, and the commits
in ``refs`` that branches lead to. A name that came with a download which did not pass is taken away again, so that no program
that checks nothing finds it. What had its name before stays: somebody else brought it, and may be using it.

Bytes stay, so that the next try downloads nothing twice. Only where they are not those that the hub verified, they go too: the
library would never ask for them again, even if it was this copy alone that is bad.

Checked downloads of one model come one after the other. Else of several processes that load the same model, one that cannot
check it would take away what another has just checked.
"""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ledger.client.checking import CheckFailedError
from ledger.client.result import ModelResult

LOCK = "hubledger.lock"
_BLOBS, _REFS = "blobs", "refs"
_MAX_REF_BYTES = 1 << 10
"""A commit is 40; what is longer is not put back."""


@dataclass(frozen=True, slots=True)
class _Named:
    """What a name leads to: the file behind it, and of a branch its commit. It is another once its bytes were replaced."""

    file: tuple[int, int, int, int] | None
    commit: bytes | None


@contextlib.contextmanager
def named_if_checked(home: pathlib.Path, own: pathlib.Path | None = None) -> Iterator[None]:
    """Download and check in here: if it ends by an error, the names go that came into a model's part of the cache.

    ``own`` is the folder that the files are downloaded to where that is not the cache; nothing is taken out of it.
    """
    with _alone(home):
        before = _names(home)
        try:
            yield
        except BaseException as error:
            # If we stop here, the names stay: no lock of ours keeps others from loading what is not checked yet, either.
            try:
                brought = _take_back(home, before, with_bytes=_are_others(error))
                left = own or (None if brought else home)
                if _are_others(error) and left is not None:
                    error.add_note(
                        f"What was refused is still in {left}; force_download=True fetches it anew"
                    )
            except OSError as cause:
                error.add_note(f"What was not checked is still in {home}: {cause.strerror or cause}")
            raise


@contextlib.contextmanager
def _alone(home: pathlib.Path) -> Iterator[None]:
    """Wait for other checked downloads of this model. Into a cache where no lock can be made nobody brings anything, either."""
    folder = home.parent / ".locks" / home.name  # where the library has its own
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def _are_others(error: BaseException) -> bool:
    """Whether the bytes are not those that the hub verified; everything else may be right at the next check."""
    return isinstance(error, CheckFailedError) and error.result.result.model is ModelResult.CONTENT_DIFFERS


def _take_back(home: pathlib.Path, before: Mapping[pathlib.Path, _Named], *, with_bytes: bool) -> bool:
    """Take away what is new; returns whether anything was."""
    now = _names(home)
    brought = [path for path, named in now.items() if before.get(path) != named]
    behind = {path.resolve() for path in brought} - {path.resolve() for path in now.keys() - set(brought)}
    for path in brought:
        known = before.get(path)
        if known is None or known.commit is None:
            path.unlink(missing_ok=True)
        else:
            _write(path, known.commit)
        _prune(path.parent, home)
    blobs = (home / _BLOBS).resolve()
    for path in behind if with_bytes else ():
        if path.parent == blobs:
            path.unlink(missing_ok=True)
    return bool(brought)


def _names(home: pathlib.Path) -> dict[pathlib.Path, _Named]:
    """Return every name in a model's part of the cache."""
    found = {}
    for base, folders, files in os.walk(home):
        here = pathlib.Path(base)
        if here == home:
            folders[:] = [each for each in folders if each != _BLOBS and not each.startswith(".hubledger-")]
        linked = [each for each in folders if (here / each).is_symlink()]
        found.update({here / each: _named(here / each, home) for each in (*files, *linked)})
    return found


def _named(path: pathlib.Path, home: pathlib.Path) -> _Named:
    try:
        stat = path.stat()
        is_ref = path.relative_to(home).parts[0] == _REFS and stat.st_size <= _MAX_REF_BYTES
        commit = path.read_bytes() if is_ref else None
    except OSError:  # a link that leads nowhere, or a name that another process takes away
        return _Named(None, None)
    return _Named((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns), commit)


def _write(path: pathlib.Path, data: bytes) -> None:
    """Replace a small file in one step."""
    made = path.with_name(f".{path.name}.hubledger")
    made.write_bytes(data)
    made.replace(path)


def _prune(folder: pathlib.Path, home: pathlib.Path) -> None:
    """Remove folders that have become empty, up to the model's own."""
    with contextlib.suppress(OSError):
        while folder != home:
            folder.rmdir()
            folder = folder.parent
