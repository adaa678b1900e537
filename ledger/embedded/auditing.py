"""Replays a log and, of a ledger of ours, everything that hangs on it (``hubledger log audit``, ``index``)."""

import functools
import pathlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.errors import LedgerError, UsageError
from ledger.log.audit import Audited, audit
from ledger.log.published import PublishedLog, fetch_from_folder, fetch_from_url
from ledger.tlog.signed_note import VerifierKey

Progress = Callable[[int, int], None]


def open_foreign(source: str, origin: str, keys: Sequence[VerifierKey]) -> PublishedLog:
    """Open any tlog-tiles log: an http(s) address or a folder."""
    fetch = (
        fetch_from_url(source)
        if source.startswith(("http://", "https://"))
        else fetch_from_folder(pathlib.Path(source))
    )
    return PublishedLog(fetch, origin=origin, keys=keys)


def audit_foreign(
    source: str, vkeys: Sequence[str], *, origin: str | None, workers: int | None, progress: Progress
) -> dict[str, Any]:
    """Audit somebody's log: leaf hashes, tiles, bundles, root and the signature by ``vkeys``.

    Raises:
        MalformedError: a verifier key that is none. UsageError: keys of several names without ``origin``.
        CorruptError, ProofError, SignatureError: what does not hold.
    """
    keys = [VerifierKey.parse(text) for text in vkeys]
    names = {key.name for key in keys}
    if origin is None and len(names) != 1:
        raise UsageError("origin of the log", expected="--origin, or keys of one name", actual=sorted(names))
    open_log = functools.partial(open_foreign, source, origin or names.pop(), tuple(keys))
    checkpoint = open_log().checkpoint()
    size = checkpoint.checkpoint.size
    done = audit(open_log, checkpoint, workers=workers, progress=lambda count: progress(count, size))
    return _report(done, [])


def _report(done: Audited, more: list[str]) -> dict[str, Any]:
    checkpoint = done.checkpoint.checkpoint
    return {
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "rootHash": checkpoint.root_hash.hex(),
        "entries": done.entries,
        "checked": [
            "signature of the checkpoint by the log's key",
            f"{done.entries} leaf hashes against {done.tiles} tiles, {done.bundles} bundles, and the signed root",
            *more,
        ],
    }


@dataclass(frozen=True, slots=True)
class _Line:
    """What one entry says about chains and event ids; small, because it crosses processes."""

    statement_sha256: bytes
    links: tuple[tuple[str, int | None, bytes | None], ...]
    event: bytes | None
    facts: bytes | None
    keyid: str


def examine_entries(
    keys: dict[str, bytes], ledger: str, start: int, entries: Sequence[bytes]
) -> list[_Line | None]:
    """Check signatures and statements of a run of entries. Raises, naming the leaf index."""
    lines: list[_Line | None] = []
    for offset, entry in enumerate(entries):
        try:
            lines.append(_examine(keys, ledger, start + offset, entry))
        except LedgerError as error:
            raise type(error)(
                f"entry {start + offset}: {error.what}",
                expected=error.expected,
                actual=error.actual,
                next_step=error.next_step,
            ) from error
    return lines
