"""Holds the evidence store against the digests that statements name: what is missing, damaged, or back again.

Digests are spooled to disk by their first byte, as the store files them, so that memory stays flat whatever the log's
size: one byte's worth at a time is compared with one folder, in several processes.
"""

import os
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Self

from ledger.embedded.bundle_sizes import MAX_LIST_BYTES, kept_bundles, listed_bundles
from ledger.errors import CorruptError, MalformedError, NotFoundError, WithdrawnError
from ledger.event.digests import NamedDigest, Use
from ledger.storage.directory import DirectoryObjects
from ledger.storage.evidence import Evidence

_FLUSH_BYTES = 64 << 10
_RECORD_BYTES = 32 + 1 + 6
_USES = tuple(Use)
_NO_LEAF = (1 << 48) - 1
"""Stands in for the leaf of a text, which no statement names."""
_PARALLEL_FROM = 2000
"""Named digests below which starting processes costs more than it gives."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceReport:
    """How many distinct pieces were found right, and how many are gone for a reason in the log."""

    stored: int
    withdrawn: int
    digest_only: int

    def __str__(self) -> str:
        return (
            f"{self.stored} pieces hash to their digests, {self.withdrawn} withdrawn as the log says, "
            f"{self.digest_only} kept by digest only"
        )


def format_named(leaf_index: int, named: Iterable[NamedDigest]) -> bytes:
    """Format what the statement at ``leaf_index`` names: for each piece its digest, its use, and the leaf index."""
    return b"".join(
        each.sha256 + bytes((_USES.index(each.use) << 1 | each.stored,)) + leaf_index.to_bytes(6, "big")
        for each in named
        if each.use is not Use.CONTENT
    )


class NamedEvidence:
    """The digests that replayed statements name. ``add`` as they come, ``check`` at the end.

    A context manager: its spool is removed on leaving.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hubledger-evidence-")
        self._waiting = [bytearray() for _ in range(256)]
        self._count = 0
        self._manifest = (_NO_LEAF, b"")
        self._looks: dict[int, _Look] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the spool."""
        self._folder.cleanup()

    def add(self, leaf_index: int, named: Iterable[NamedDigest]) -> None:
        """Take what the statement at ``leaf_index`` names."""
        self.add_formatted(format_named(leaf_index, named))

    def add_formatted(self, records: bytes) -> None:
        """Take what ``format_named`` made, in another process perhaps."""
        for at in range(0, len(records), _RECORD_BYTES):
            prefix = records[at]
            self._note(records[at : at + 32], records[at + 32], records[at + 33 : at + _RECORD_BYTES])
            bucket = self._waiting[prefix]
            bucket += records[at : at + _RECORD_BYTES]
            self._count += 1
            if len(bucket) >= _FLUSH_BYTES:
                self._flush(prefix)

    def check(
        self, folder: pathlib.Path, *, progress: Progress | None = None, workers: int | None = None
    ) -> EvidenceReport:
        """Check every named digest against the evidence in ``folder``.

        Raises:
            CorruptError: a piece that is missing or damaged, or one whose withdrawal is logged and that is here again
                or is not known as withdrawn.
        """
        for _event, text in Evidence(DirectoryObjects(folder)).texts():
            self.add(_NO_LEAF, (NamedDigest(Use.REASONS, text),))
        self._look_closer(Evidence(DirectoryObjects(folder)))
        for prefix in range(256):
            self._flush(prefix)
        total = EvidenceReport(stored=0, withdrawn=0, digest_only=0)
        for done, each in enumerate(self._run(folder, workers), 1):
            total = EvidenceReport(
                stored=total.stored + each.stored,
                withdrawn=total.withdrawn + each.withdrawn,
                digest_only=total.digest_only + each.digest_only,
            )
            if progress:
                progress(done, 256)
        return total

    def _note(self, sha256: bytes, kind: int, leaf: bytes) -> None:
        """Note where a statement does not say all that it names: its manifest comes first."""
        use, kept, leaf_index = _USES[kind >> 1], kind & 1, int.from_bytes(leaf, "big")
        if use is Use.MANIFEST:
            self._manifest = (leaf_index, sha256)
        elif use is Use.MORE or (use is Use.BUNDLE and not kept):
            at, manifest = self._manifest
            look = self._looks.setdefault(leaf_index, _Look(manifest if at == leaf_index else None))
            if use is Use.MORE:
                look.more = sha256
            else:
                look.unsure.append(sha256)

    def _look_closer(self, evidence: Evidence) -> None:
        """Add the bundles past the sixteenth, and those that an event kept although another was too large."""
        looks, self._looks = self._looks, {}
        for leaf_index, look in sorted(looks.items()):
            kept, unsure = [], list(look.unsure)
            if look.more is not None:
                parsed, others = _read_list(evidence, look.more, leaf_index)
                kept, unsure = parsed, unsure + others
            if look.manifest is not None:
                kept += sorted(kept_bundles(evidence, look.manifest, unsure))
            left = sorted(set(unsure) - set(kept))
            self.add(leaf_index, (NamedDigest(Use.BUNDLE, each) for each in kept))
            self.add(leaf_index, (NamedDigest(Use.BUNDLE, each, stored=False) for each in left))

    def _run(self, folder: pathlib.Path, workers: int | None) -> Iterator[EvidenceReport]:
        spool, count = pathlib.Path(self._folder.name), workers or os.cpu_count() or 1
        if self._count < _PARALLEL_FROM or count == 1:
            yield from (_check_bucket(spool, folder, prefix) for prefix in range(256))
            return
        with ProcessPoolExecutor(count) as pool:
            running: list[Future[EvidenceReport]] = [
                pool.submit(_check_bucket, spool, folder, prefix) for prefix in range(256)
            ]
            try:
                yield from (each.result() for each in running)
            finally:
                for each in running:
                    each.cancel()

    def _flush(self, prefix: int) -> None:
        if self._waiting[prefix]:
            with (pathlib.Path(self._folder.name) / f"{prefix:02x}").open("ab") as file:
                file.write(self._waiting[prefix])
            self._waiting[prefix] = bytearray()


@dataclass(slots=True)
class _Look:
    """What a statement names through its evidence: its list of further signatures, and bundles of unsaid size."""

    manifest: bytes | None
    more: bytes | None = None
    unsure: list[bytes] = field(default_factory=list)


def _read_list(evidence: Evidence, sha256: bytes, leaf_index: int) -> tuple[list[bytes], list[bytes]]:
    """Return what a list names; nothing where it is withdrawn or missing, which the check of the list itself says."""
    try:
        return listed_bundles(evidence.get(sha256, max_bytes=MAX_LIST_BYTES))
    except (WithdrawnError, NotFoundError, CorruptError):
        return [], []
    except MalformedError as error:
        raise CorruptError(
            f"evidence {sha256.hex()}, {Use.MORE} of leaf {leaf_index}",
            expected=error.expected,
            actual=error.actual,
            next_step="The log commits to these bytes: whoever recorded the event stored no list",
        ) from error


@dataclass(slots=True)
class _Wanted:
    """What is known of one digest: where it is named first, and what must be true of its bytes."""

    leaf_index: int
    use: Use
    kept: bool = False
    erased_at: int | None = None


def _check_bucket(spool: pathlib.Path, folder: pathlib.Path, prefix: int) -> EvidenceReport:
    """Compare the digests of one first byte with the store."""
    evidence = Evidence(DirectoryObjects(folder))
    found = {"stored": 0, "withdrawn": 0, "digest_only": 0}
    for sha256, wanted in _read_spool(spool / f"{prefix:02x}").items():
        found[_check_one(evidence, sha256, wanted)] += 1
    return EvidenceReport(**found)


def _read_spool(path: pathlib.Path) -> dict[bytes, _Wanted]:
    data = path.read_bytes() if path.exists() else b""
    found: dict[bytes, _Wanted] = {}
    for at in range(0, len(data), _RECORD_BYTES):
        sha256, kind = data[at : at + 32], data[at + 32]
        use, leaf_index = _USES[kind >> 1], int.from_bytes(data[at + 33 : at + _RECORD_BYTES], "big")
        wanted = found.setdefault(sha256, _Wanted(leaf_index, use))
        if use is Use.ERASED:
            wanted.erased_at = leaf_index
        wanted.kept = wanted.kept or bool(kind & 1)
    return found


def _check_one(evidence: Evidence, sha256: bytes, wanted: _Wanted) -> str:
    """Say which of the three a piece is. Raises CorruptError where it is none of them."""
    leaf = "an event" if wanted.leaf_index == _NO_LEAF else f"leaf {wanted.leaf_index}"
    where = f"evidence {sha256.hex()}, {wanted.use} of {leaf}"
    try:
        # Read through, in blocks: the last step compares the digest.
        for _ in evidence.read(sha256):
            pass
    except WithdrawnError as error:
        return _check_withdrawn(evidence, sha256, wanted, error)
    except NotFoundError as error:
        if not wanted.kept and wanted.erased_at is None:
            return "digest_only"
        raise CorruptError(
            where,
            expected="stored bytes, or a note of their withdrawal",
            actual="neither",
            next_step="Restore it from a copy; the log itself is not affected",
        ) from error
    except CorruptError as error:
        raise CorruptError(
            where, expected=error.expected, actual=error.actual, next_step=error.next_step
        ) from error
    if wanted.erased_at is not None:
        raise _came_back(where, wanted.erased_at)
    return "stored"


def _check_withdrawn(evidence: Evidence, sha256: bytes, wanted: _Wanted, error: WithdrawnError) -> str:
    where = f"withdrawal of evidence {sha256.hex()}"
    if wanted.erased_at is None:
        raise CorruptError(
            where,
            expected="a statement in the log that says so",
            actual=f"a note of leaf {error.leaf_index} only",
            next_step="Restore the newest copy of the directory: what the log does not say was not withdrawn",
        )
    if evidence.holds(sha256):
        raise _came_back(where, wanted.erased_at)
    return "withdrawn"


def _came_back(where: str, erased_at: int) -> CorruptError:
    return CorruptError(
        where,
        expected=f"no bytes, as leaf {erased_at} says",
        actual="bytes on the disk",
        next_step="A copy was restored over a withdrawal, or one was interrupted: withdraw it again",
    )


def listed_digests(data: bytes) -> Iterator[bytes]:
    """Yield the bundles that a stored list of further signatures names. Raises MalformedError."""
    for each in listed_bundles(data):
        yield from each
