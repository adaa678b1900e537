"""What a download brings into the cache of huggingface_hub: left there if it was checked, and otherwise without a name.

The cache keeps bytes under their digests in ``blobs``. Programs load them by names: the links in ``snapshots``, and the commits
in ``refs`` that branches lead to. A name that came with a download which did not pass is taken away again, so that no program
that checks nothing finds it. What had its name before stays: somebody else brought it, and may be using it.

Bytes stay, so that the next try downloads nothing twice. Only where they are not those that the hub verified, they go too: the
library would never ask for them again, even if it was this copy alone that is bad.

Only what this call brought goes: names of the commit that it returned or asked for, and branches that lead there now. Other programs
fill the same cache, and ask nobody.

Checked downloads of one model come one after the other. Else of several processes that load the same model, one that cannot
check it would take away what another has just checked.
"""

import contextlib
import fcntl
import os
import pathlib
import secrets
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ledger.client.checking import CheckFailedError
from ledger.client.result import ModelResult

LOCK = "hubledger"
"""Beside the library's own locks: those end in ".lock" after what the server calls a file, so no server names this one."""
_BLOBS, _REFS = "blobs", "refs"
_OURS = ".hubledger-"
_MAX_REF_BYTES = 1 << 10
"""A commit is 40; what is longer is not put back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a call asks of a model's part of the cache.

    ``revision`` is a branch or a tag, or a commit, which ``commit`` is too, then. ``own`` is the folder that the files are downloaded to
    where that is not the cache; nothing is taken out of it, and the library brings nothing into the cache but where the branch leads.
    """

    revision: str
    commit: str | None = None
    own: pathlib.Path | None = None


@dataclass(frozen=True, slots=True)
class _Named:
    """What a name leads to: the file behind it, and of a branch its commit. It is another once its bytes were replaced."""

    file: tuple[int, int, int, int] | None
    commit: bytes | None


@contextlib.contextmanager
def named_if_checked(home: pathlib.Path, wanted: Wanted) -> Iterator[Callable[[str], object]]:
    """Download and check in here: if it ends by an error, the names go that came into a model's part of the cache.

    What is returned is to be called with the commit that came, as soon as it is known.
    """
    came: list[str] = [] if wanted.commit is None else [wanted.commit]
    with _alone(home):
        before = _names(home)
        try:
            yield came.append
        except BaseException as error:
            # If we stop here, the names stay: no lock of ours keeps others from loading what is not checked yet, either.
            try:
                commit = came[-1].encode() if came else None
                brought = _take_back(home, before, wanted, commit, with_bytes=_are_others(error))
                left = wanted.own or (None if brought else home)
                if _are_others(error) and left is not None:
                    error.add_note(
                        f"What was refused is still in {left}; force_download=True fetches it anew"
                    )
            except OSError as cause:
                error.add_note(f"What was not checked is still in {home}: {cause.strerror or cause}")
            raise


@contextlib.contextmanager
def _alone(home: pathlib.Path) -> Iterator[None]:
    """Wait for other checked downloads of this model. Into a cache that this user cannot write they bring nothing."""
    folder = home.parent / ".locks" / home.name  # where the library has its own
    with contextlib.ExitStack() as held:
        try:
            descriptor = _open_lock(folder)
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if _can_write(home):
                warnings.warn(
                    f"No lock in {folder}: {error.strerror or error}. Of several checked downloads of this model at once, one "
                    "that fails may take away what another has just checked",
                    RuntimeWarning,
                    stacklevel=6,  # whoever called the function that downloads: two context managers lie between
                )
        yield


def _open_lock(folder: pathlib.Path) -> int:
    """Open the lock of a model, which is another user's where the cache is: to wait for it is no writing."""
    path, flags = folder / LOCK, os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
    except OSError:
        with contextlib.suppress(OSError):
            return os.open(path, os.O_RDONLY | flags)
        raise


def _can_write(folder: pathlib.Path) -> bool:
    while not os.access(folder, os.F_OK):
        folder = folder.parent
    return os.access(folder, os.W_OK)


def _are_others(error: BaseException) -> bool:
    """Whether the bytes are not those that the hub verified; everything else may be right at the next check."""
    return isinstance(error, CheckFailedError) and error.result.result.model is ModelResult.CONTENT_DIFFERS


def _take_back(
    home: pathlib.Path,
    before: Mapping[pathlib.Path, _Named],
    wanted: Wanted,
    commit: bytes | None,
    *,
    with_bytes: bool,
) -> bool:
    """Take away what this call brought; returns whether that was anything. Raises OSError: not all of it could be."""
    now = _names(home)
    brought = _brought(before, now, wanted, commit)
    behind = _blobs(home, brought) - _blobs(home, now.keys() - brought)
    steps = [partial(_put_back, home, path, now[path], before.get(path)) for path in brought]
    if with_bytes:
        steps += [partial(_remove, home, path) for path in behind]
    failures = []
    for step in steps:
        try:
            step()
        except OSError as error:  # the others must go all the same
            failures.append(error)
    if failures:
        raise failures[0]
    return bool(brought)


def _brought(
    before: Mapping[pathlib.Path, _Named],
    now: Mapping[pathlib.Path, _Named],
    wanted: Wanted,
    commit: bytes | None,
) -> set[pathlib.Path]:
    """Return what is new and of this call's commit. Of a call that ended before it said which, that is where its branch leads now."""
    ref = pathlib.Path(_REFS, wanted.revision)
    if commit is None and ref in now:
        commit = now[ref].commit
    if not commit:
        return set()
    new = {path for path, named in now.items() if before.get(path) != named}
    refs = {path for path in new if now[path].commit == commit}
    # snapshots/<commit>/…, trees/<commit>.json, .no_exist/<commit>/…
    names = {
        path
        for path in new
        if path.parts[0] != _REFS and os.fsencode(path.parts[1].partition(".")[0]) == commit
    }
    if wanted.own is None:
        return refs | names
    # Files of that commit are somebody else's, and so the branch may be theirs too.
    return set() if names else refs & {ref}


def _blobs(home: pathlib.Path, names: Iterable[pathlib.Path]) -> set[pathlib.Path]:
    """Return the bytes under digests that names lead to."""
    blobs = os.path.realpath(home / _BLOBS)
    found = {os.path.split(os.path.realpath(home / name)) for name in names}
    return {pathlib.Path(_BLOBS, name) for folder, name in found if folder == blobs}


def _names(home: pathlib.Path) -> dict[pathlib.Path, _Named]:
    """Return every name in a model's part of the cache, below its children, which may be links to a larger disk."""
    found: dict[pathlib.Path, _Named] = {}
    _, children, _ = next(os.walk(home), ("", [], []))
    for child in children:
        if child == _BLOBS or child.startswith(_OURS):
            continue
        for base, folders, files in os.walk(home / child):
            here = pathlib.Path(base)
            linked = [each for each in folders if (here / each).is_symlink()]
            for each in (*files, *linked):
                path = (here / each).relative_to(home)
                found[path] = _named(home, path)
    return found


def _named(home: pathlib.Path, path: pathlib.Path) -> _Named:
    try:
        found = (home / path).stat()
        is_ref = path.parts[0] == _REFS and stat.S_ISREG(found.st_mode) and found.st_size <= _MAX_REF_BYTES
        commit = (home / path).read_bytes() if is_ref else None
    except OSError:  # a link that leads nowhere, or a name that another process takes away
        return _Named(None, None)
    return _Named((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns), commit)


def _put_back(home: pathlib.Path, path: pathlib.Path, now: _Named, before: _Named | None) -> None:
    """Have a name lead to where it led before, if that was anywhere."""
    if now.commit is not None and _named(home, path).commit != now.commit:
        return  # another program has moved the branch since
    if before is not None and before.commit is not None:
        _write(home, path, before.commit)
    else:
        _remove(home, path, with_folders=True)


@contextlib.contextmanager
def _entered(home: pathlib.Path, folders: Sequence[str]) -> Iterator[list[int]]:
    """Open a folder by way of those above it, the model's own first.

    Links are followed among the children of that one alone, where `_names` follows them. Who puts one to the place of a folder below
    would have us remove files outside of the cache.
    """
    with contextlib.ExitStack() as held:
        opened: list[int] = []
        way: list[str | pathlib.Path] = [home, *folders]
        for depth, each in enumerate(way):
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (os.O_NOFOLLOW if depth > 1 else 0)
            opened.append(os.open(each, flags, dir_fd=opened[-1] if opened else None))
            held.callback(os.close, opened[-1])
        yield opened


def _write(home: pathlib.Path, path: pathlib.Path, data: bytes) -> None:
    """Replace a small file in one step."""
    *folders, name = path.parts
    made = _OURS + secrets.token_hex(8)  # as short as it is whatever a branch is called
    with _entered(home, folders) as opened:
        inside = opened[-1]
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=inside)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            os.replace(made, name, src_dir_fd=inside, dst_dir_fd=inside)
        except OSError:
            os.unlink(made, dir_fd=inside)
            raise


def _remove(home: pathlib.Path, path: pathlib.Path, *, with_folders: bool = False) -> None:
    """Remove a name, and folders that have become empty by it; what is gone already is no error."""
    *folders, name = path.parts
    with contextlib.suppress(FileNotFoundError), _entered(home, folders) as opened:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=opened[-1])
        if with_folders:
            with contextlib.suppress(OSError):
                for folder, above in zip(reversed(folders), reversed(opened[:-1]), strict=True):
                    os.rmdir(folder, dir_fd=above)
