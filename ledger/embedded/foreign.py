"""Replays somebody's tlog-tiles log (``hubledger log audit DIR|URL --vkey VKEY``). Knows nothing of ledgers."""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from ledger.embedded.wording import plural
from ledger.errors import UsageError
from ledger.log.audit import Audited, audit
from ledger.log.fetch import fetch_from_folder, fetch_from_url
from ledger.log.published import PublishedLog
from ledger.tlog.signed_note import VerifierKey

Progress = Callable[[int, int], None]


def open_foreign(source: str, origin: str, keys: Sequence[VerifierKey]) -> PublishedLog:
    """Open any tlog-tiles log: an http(s) address or a folder."""
    fetch = (
        fetch_from_url(source)
        if source.lower().startswith(("http://", "https://"))
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
    return audit_report(done, [])


def audit_report(done: Audited, more: list[str]) -> dict[str, Any]:
    """Return what was replayed as JSON facts; ``more`` says what else was checked."""
    checkpoint = done.checkpoint.checkpoint
    return {
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "rootHash": checkpoint.root_hash.hex(),
        "entries": done.entries,
        "checked": [
            "signature of the checkpoint by the log's key",
            (
                f"{plural(done.entries, 'leaf hash', 'leaf hashes')} against {plural(done.tiles, 'tile')}, "
                f"{plural(done.bundles, 'bundle')}, and the signed root"
            ),
            *more,
        ],
    }
