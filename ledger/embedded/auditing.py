"""Replays a ledger of ours, and everything that hangs on its log (``hubledger log audit DIR``)."""

import functools
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

from ledger.embedded import chains
from ledger.embedded.directory import ReadLedger, open_for_reading
from ledger.embedded.evidence_audit import NamedEvidence
from ledger.embedded.examining import Examine, Examined
from ledger.embedded.foreign import audit_report
from ledger.embedded.index_check import index_problems
from ledger.embedded.indexing import open_published, read_tail
from ledger.embedded.observers import observers_in
from ledger.embedded.wording import plural
from ledger.errors import CorruptError
from ledger.index.staging import Staged
from ledger.log.audit import audit
from ledger.storage.sqlite import SqliteCommits

Progress = Callable[[int, int], None]


def audit_ledger(
    directory: pathlib.Path,
    *,
    workers: int | None,
    progress: Progress,
    evidence: NamedEvidence | None = None,
) -> dict[str, Any]:
    """Audit a ledger of ours: the log, every entry's signature, every chain, the commit store and the index.

    With ``evidence``, which collects what the entries name, also every piece of evidence. A writer may go on meanwhile: what it adds after the checkpoint that is audited is held against the chains too.

    Raises:
        CorruptError, ProofError, SignatureError, ChainError, MalformedError: what does not hold, and where.
    """
    ledger = open_for_reading(directory)
    if ledger.accepted is not None:
        from ledger.embedded.remote_audit import audit_remote

        return audit_remote(ledger, ledger.accepted, progress=progress, evidence=evidence)
    checkpoint = ledger.log.checkpoint()
    size = checkpoint.checkpoint.size
    observers = observers_in(ledger, size)
    keys = {key.keyid: key.spki for key in ledger.trust.hub_keys}
    keys |= {keyid: each.spki for keyid, each in observers.items() if keyid not in keys}
    with tempfile.TemporaryDirectory(prefix="hubledger-audit-") as folder:
        examine = Examine(keys, ledger.config.ledger, pathlib.Path(folder), observers)
        take = functools.partial(_take, ledger, evidence)
        done = audit(
            functools.partial(open_published, directory),
            checkpoint,
            examine=examine,
            found=take,
            progress=lambda count: progress(count, size),
            workers=workers,
        )
        heads, events, pending = _compare_commits(ledger, examine, size, take=take)
        pieces = evidence.check(ledger.layout.evidence, workers=workers) if evidence is not None else None
        leaves = _compare_index(ledger, pathlib.Path(folder), size + pending, least=size)
    whose = "keys of the hub and its observers" if observers else "the hub's keys"
    return audit_report(
        done,
        [
            (
                f"{plural(done.entries, 'entry', 'entries')} signed by {whose}, each at a leaf index where its "
                "key counts"
            ),
            (
                f"{plural(heads, 'history', 'histories')} without a gap or fork, "
                f"{plural(events, 'event id')} used once"
            ),
            f"commit store: heads and event ids as replayed, {plural(pending, 'entry', 'entries')} durable and not yet published",
            f"index: {plural(leaves, 'leaf', 'leaves')}, as rebuilt",
            "evidence: not checked" if pieces is None else f"evidence: {pieces}",
        ],
    )


def _take(ledger: ReadLedger, evidence: NamedEvidence | None, examined: Examined) -> None:
    """Key ranges have no holes: a key that counts at the first and at the last of its leaves counts between."""
    for keyid, span in examined.spans.items():
        for leaf_index in span:
            ledger.trust.check_key(keyid, leaf_index)
    if evidence is not None:
        evidence.add_formatted(examined.named)


def _compare_commits(
    ledger: ReadLedger, examine: Examine, size: int, *, take: Callable[[Examined], None]
) -> tuple[int, int, int]:
    """Compare heads and event ids with the commit store, after replaying what came after the checkpoint.

    Returns how many histories, event ids, and entries after ``size`` there are.
    """
    commits = SqliteCommits(ledger.layout.commits, read_only=True)
    try:
        with commits.snapshot():
            commits.check()
            waiting = read_tail(ledger, commits, size)
            take(examine(size, waiting))
            staged = Staged(examine.folder)
            try:
                return (
                    chains.compare_heads(staged, commits),
                    chains.compare_events(staged, commits),
                    len(waiting),
                )
            finally:
                staged.close()
    finally:
        commits.close()


def _compare_index(ledger: ReadLedger, folder: pathlib.Path, leaves: int, *, least: int) -> int:
    """Compare the index with what was staged of every leaf."""
    problems = index_problems(ledger, folder, leaves, least=least)
    if problems:
        raise CorruptError(
            "index",
            expected="what the log says",
            actual="; ".join(problems),
            next_step="Run `hubledger index rebuild`",
        )
    return leaves
