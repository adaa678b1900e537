"""Looks at a revision once more after it was read: whether it still is what was read.

A check takes as long as hashing and the network take, and somebody may write to the folder meanwhile. What is looked at again is
the list of names, and of each file size, inode, device, ``mtime`` and ``ctime``; a file where one of them moved is read again, since
a second name for a file (a hard link) moves its ``ctime`` and nothing else. What changes after the second look, nobody sees: a folder
that others can write to must be copied before it is checked. Neither does anybody see
what comes through a mapping (``mmap``) into pages that were written before the check and are not flushed yet: no time of the file
moves for that.
"""

import os

from ledger.errors import LedgerError, SourceError
from ledger.verification.reading import (
    STATE_BYTES,
    Meter,
    Seen,
    digest_names,
    read_some,
    state_of,
    walk,
)


def look_again(seen: Seen) -> None:
    """Return if a path is as it was when it was read. Raises SourceError: it changed meanwhile."""
    try:
        walked = walk(seen.path)
    except LedgerError as error:
        raise other_now(str(seen.path), error.finding) from error
    folder, names = walked.folder, walked.names
    if digest_names(names) != seen.names_sha256:
        raise other_now(str(seen.path), "names that were added, removed or made links")
    if walked.special != seen.special:
        raise other_now(str(seen.path), "a pipe, a socket or a device that was added or removed")
    root = os.path.join(os.fsencode(folder), b"")
    moved = [
        each
        for at, each in enumerate(names)
        if _state(root, each[0]) != seen.states[at * STATE_BYTES : (at + 1) * STATE_BYTES]
    ]
    if not moved:
        return
    before = {each.path: each for each in seen.manifest.items}
    items, _, _ = read_some(folder, moved, meter=Meter(None, 0))
    for item in items:
        if before[item.path] != item:
            raise other_now(item.path, "other bytes")


def _state(root: bytes, name: bytes) -> bytes | None:
    """Return the state of a file; None: it is gone, which reading it again says."""
    try:
        return state_of(os.lstat(root + name))
    except OSError:
        return None


def other_now(what: str, actual: str) -> SourceError:
    """Return the error of a second look, for whoever takes one elsewhere."""
    return SourceError(
        f"second look at {what}",
        expected="what was there when it was read",
        actual=f"{actual}: it changed meanwhile",
        next_step="Let whoever writes there finish, or copy the model to a folder of your own, then check that",
    )
