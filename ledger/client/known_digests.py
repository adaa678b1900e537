"""Digests of a model's files that were hashed before, so that who asks for it need not read unchanged files again (opt-in).

A file counts as unchanged where size, inode, device, ``mtime`` and ``ctime`` are what they were when it was hashed. Whoever writes
to a file can set its ``mtime`` back, and only the kernel sets its ``ctime``; so nothing is remembered of file systems where another
machine sets it (a network), or nobody does (a write through ``mmap`` into tmpfs). What has changed shortly before it was hashed is
not remembered either: a later change could carry the same time.
"""

import hashlib
import os
import pathlib
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from ledger.client.result import Check
from ledger.client.user_store import UserFolder, file_name
from ledger.encoding import Json, format_canonical_json, parse_hex
from ledger.errors import CorruptError, LedgerError
from ledger.manifest import escape_path

STEP = "reading of all files"
SETTLED_SECONDS = 60
"""How long a file must have been left alone before it was hashed. The clock of a file system ticks once in two seconds at most; a
page that a program writes to through ``mmap`` moves ``ctime`` only again once it was written back, which Linux does after 35."""
KINDS = frozenset(("btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "xfs"))
"""File systems on which this machine's kernel sets ``ctime`` with each change."""
MAX_FILES = 4096
"""Files of one model that are remembered; the largest are."""
MAX_MODELS = 256
"""Models that are remembered; the ones that were written longest ago go."""
_MAX_BYTES = 4 << 20
_ROW_BYTES = 256
"""More than a row takes beside its path: five numbers of at most 20 digits, a digest in hex, and punctuation."""
_NANO = 10**9
_MOUNTS = pathlib.Path("/proc/self/mountinfo")


class DigestStore:
    """What is remembered below ``folder``: one file a model. Safe for several processes at once."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = UserFolder(
            folder / "digests",
            what="remembered digests",
            max_bytes=_MAX_BYTES,
            when_damaged="Check the model again: every file is then read",
        )

    def of(self, path: pathlib.Path, *, now: int) -> "KnownDigests":
        """Return what is remembered of a folder or file. ``now``: POSIX seconds, before any of it is read."""
        real = os.path.realpath(path)
        root = real if os.path.isdir(real) else os.path.dirname(real)  # noqa: PTH112 - may be no UTF-8
        kind = _kind_of(root)
        try:
            device = os.stat(root).st_dev if kind in KINDS else None  # noqa: PTH116
        except OSError:  # the reading says so
            device = None
        return KnownDigests(self._folder, real, device=device, kind=kind, now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """One file as it was hashed: what identifies its state, and its digest."""

    state: str
    sha256: bytes
    size: int


class KnownDigests:
    """The digests of one model's files, for one reading: ``ledger.verification.reading.Remembered``."""

    def __init__(self, folder: UserFolder, real: str, *, device: int | None, kind: str, now: int) -> None:
        self._folder, self._real, self._device, self._kind = folder, real, device, kind
        self._newest = (now - SETTLED_SECONDS) * _NANO
        self._old: Mapping[str, tuple[str, bytes]] = {} if device is None else self._load()
        self._used: dict[str, _Known] = {}
        self._new: dict[str, _Known] = {}
        self._too_new = 0

    def digest(self, name: bytes, found: os.stat_result) -> bytes | None:
        """Return the digest of a file that is as it was hashed; ``found`` is of its open descriptor."""
        path = escape_path(name)
        known = self._old.get(path)
        if known is None or known[0] != _state(found) or not self._counts(found):
            return None
        self._used[path] = _Known(state=known[0], sha256=known[1], size=found.st_size)
        return known[1]

    def remember(self, name: bytes, found: os.stat_result, sha256: bytes) -> None:
        """Note the digest of a file that did not change while it was read."""
        if self._counts(found):
            self._new[escape_path(name)] = _Known(state=_state(found), sha256=sha256, size=found.st_size)
        else:
            self._too_new += 1

    def _counts(self, found: os.stat_result) -> bool:
        return found.st_dev == self._device and max(found.st_mtime_ns, found.st_ctime_ns) <= self._newest

    def finish(self) -> Check:
        """Keep what was learnt, and return the row of the result that says what was not read."""
        trouble = self._save()
        if not self._used:
            return Check(
                step=STEP, passed=True, against=f"all were read and hashed{self._outlook()}{trouble}"
            )
        total = sum(each.size for each in self._used.values())
        return Check(
            step=STEP,
            passed=None,
            against=f"files not read: {len(self._used)}, of {total} bytes, whose digests are remembered; size, inode, device, mtime and "
            f"ctime are as when they were hashed{trouble}",
        )

    @property
    def used(self) -> int:
        """How many files were not read."""
        return len(self._used)

    def _outlook(self) -> str:
        if self._device is None:
            return f"; on {self._kind} nothing is remembered, because there ctime does not show each change"
        parts = [f"remembered for the next check: {len(self._new)}"] if self._new else []
        if self._too_new:
            parts.append(
                f"not remembered: {self._too_new}, changed less than {SETTLED_SECONDS} s before or on another disk"
            )
        return "".join(f"; {each}" for each in parts)

    def _save(self) -> str:
        """Replace what is remembered of this model, if there is anything new; in words what went wrong."""
        gone = self._old.keys() - self._used.keys() - self._new.keys()
        if self._device is None or not (self._new or gone):
            return ""
        value = _largest(self._used | self._new)
        name = self._name()
        try:
            with self._folder.changing():
                self._folder.write(name, {"check": _checksum(self._key(), value), "files": value})
                for each in self._folder.oldest_first()[:-MAX_MODELS]:
                    self._folder.remove(each)
        except LedgerError as error:
            return f"; the digests were not kept ({error.finding})"
        return ""

    def _load(self) -> Mapping[str, tuple[str, bytes]]:
        """Return what is remembered; of a damaged file nothing, so that all is hashed anew and the file replaced."""
        with suppress(CorruptError):
            match self._folder.read(self._name()):
                case {"check": str(check), "files": dict(files)} if check == _checksum(self._key(), files):
                    with suppress(LedgerError, TypeError, ValueError):
                        return {path: _parse(each) for path, each in files.items()}
        return {}

    def _key(self) -> str:
        return f"digests\n{self._real}"

    def _name(self) -> str:
        return file_name(self._key())


def _largest(known: Mapping[str, _Known]) -> dict[str, Json]:
    """Return the rows of the largest files, as many as may be and fit."""
    found: dict[str, Json] = {}
    room = _MAX_BYTES
    for path, each in sorted(known.items(), key=lambda one: (-one[1].size, one[0]))[:MAX_FILES]:
        room -= _ROW_BYTES + 6 * len(
            path
        )  # JSON escapes a control character in six bytes, and none is longer
        if room < 0:
            break
        found[path] = [each.state, each.sha256.hex()]
    return found


def _parse(value: Json) -> tuple[str, bytes]:
    match value:
        case [str(state), str(sha256)]:
            return state, parse_hex(sha256, length=32)
    raise ValueError


def _state(found: os.stat_result) -> str:
    """Return what must be the same for a file to count as unchanged."""
    numbers = (found.st_size, found.st_ino, found.st_dev, found.st_mtime_ns, found.st_ctime_ns)
    return " ".join(map(str, numbers))


def _checksum(key: str, files: Mapping[str, Json]) -> str:
    """Return what finds a flipped bit, and a file that was copied over another's: no secret, and no defence against the user."""
    data = key.encode("utf-8", "surrogatepass") + b"\n" + format_canonical_json(dict(files))
    return hashlib.sha256(data).hexdigest()


def _kind_of(folder: str) -> str:
    try:
        return mounted_as(_MOUNTS.read_bytes(), folder)
    except OSError:
        return "a system without /proc"


def mounted_as(mountinfo: bytes, folder: str) -> str:
    """Return the kind of file system that a real path is on, by Linux's ``mountinfo``: the last mount of the longest path."""
    path, best, kind = os.fsencode(folder), b"", "an unknown file system"
    for line in mountinfo.splitlines():
        fields, _, after = line.partition(b" - ")
        parts = fields.split(b" ")
        if len(parts) < 5 or not after:
            continue
        point = re.sub(rb"\\(040|011|012|134)", lambda found: _ESCAPES[found[1]], parts[4])
        if len(point) >= len(best) and (path == point or path.startswith(point.rstrip(b"/") + b"/")):
            best, kind = point, after.split(b" ")[0].decode("ascii", "replace")
    return kind


_ESCAPES = {b"040": b" ", b"011": b"\t", b"012": b"\n", b"134": b"\\"}
