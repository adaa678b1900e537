"""What the outside has seen of our log: a restored backup must not fork it (architecture section 4).

Before the first write after a start, the newest checkpoint that each configured source knows is compared
with ours. One that is newer, under our own key, means that this directory is older than what was shown.
"""

import logging
import pathlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ledger.errors import LedgerError, RestoredError, SourceError
from ledger.log.fetch import fetch_from_url
from ledger.log.witnessing import Answer
from ledger.tlog.checkpoint import Checkpoint, verify_checkpoint
from ledger.tlog.signed_note import MAX_NOTE_BYTES, VerifierKey

_logger = logging.getLogger(__name__)

RootAt = Callable[[int], bytes]
"""Root of our own tree at a size up to ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Somebody outside who may remember our newest checkpoint; ``fetch`` raises UnavailableError."""

    name: str
    fetch: Callable[[], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """Something that may show that this directory is old, and whose silence says nothing.

    ``ask`` compares our newest signed checkpoint with what it knows: it raises RestoredError, or any other error
    where it could not find out. It never stands in for a ``Source``: an answer is not one by the outside's newest memory.
    """

    name: str
    ask: Callable[[Checkpoint, RootAt], None]


def from_url(url: str) -> Source:
    """Ask the log's public address; never our own listener or a cache of ours (the operator names it)."""
    return Source(name=url, fetch=lambda: fetch_from_url(url)("checkpoint", max_bytes=MAX_NOTE_BYTES))


def from_file(path: pathlib.Path) -> Source:
    """Take a checkpoint that the operator kept elsewhere (``--not-older-than``)."""

    def fetch() -> bytes:
        try:
            with path.open("rb") as file:
                return file.read(MAX_NOTE_BYTES + 1)
        except OSError as error:
            raise SourceError(
                f"checkpoint file {path.name}", expected="a readable file", actual=error.strerror
            ) from error

    return Source(name=str(path), fetch=fetch)


def check_not_restored(
    sources: Sequence[Source],
    *,
    signed: Checkpoint,
    root_at: RootAt,
    origin: str,
    keys: Sequence[VerifierKey],
    sizes: Sequence[Answer] = (),
) -> None:
    """Compare our newest signed checkpoint with what the sources know, and with the ``sizes`` that witnesses saw last.

    A checkpoint that does not verify under our key says nothing about us: that source did not answer. The word of a
    witness is enough here, where the operator can look before anything is lost.

    Raises:
        RestoredError: a source knows a newer checkpoint of ours, or another root for a size that we have.
        SourceError: sources are configured and none answered.
    """
    failures: list[str] = []
    for source in sources:
        try:
            theirs = verify_checkpoint(source.fetch(), origin=origin, keys=keys)
        except LedgerError as error:
            failures.append(f"{source.name}: {error.finding}")
            continue
        compare(source.name, theirs.checkpoint, signed=signed, root_at=root_at)
    for answer in sizes:
        if answer.size is None:
            failures.append(f"{answer.name}: {answer.problem}")
        else:
            _compare_size(answer, answer.size, signed)
    if failures and len(failures) == len(sources) + len(sizes):
        raise SourceError(
            "comparing this log with what the outside knows",
            expected="one source that answers",
            actual="; ".join(failures),
            next_step="Make a source reachable, or start once with --start-unchecked if you are sure "
            "that this directory was never restored from a copy",
        )


def _compare_size(answer: Answer, size: int, signed: Checkpoint) -> None:
    if size > signed.size:
        raise RestoredError(
            f"size that the witness {answer.name} saw last",
            expected=f"at most {signed.size}, the newest that we signed",
            actual=str(size),
            next_step="This directory is older than what was cosigned: restore the newest copy. Where that is the newest, "
            "the witness is wrong: take it out of the policy, or start once with --start-unchecked",
        )


def take_hints(hints: Sequence[Hint], *, signed: Checkpoint, root_at: RootAt) -> None:
    """Ask each hint; one that cannot say anything is a warning in the program's log.

    Raises:
        RestoredError: one of them shows that this directory is older than what was shown, or another log.
    """
    for hint in hints:
        try:
            hint.ask(signed, root_at)
        except RestoredError:
            raise
        except LedgerError as error:
            _logger.warning("%s could not say whether this directory is an old copy: %s", hint.name, error)
        except Exception:
            _logger.exception("a bug in asking %s whether this directory is an old copy", hint.name)


def compare(name: str, newer: Checkpoint, *, signed: Checkpoint, root_at: RootAt) -> None:
    """Hold a checkpoint of ours that ``name`` knows against our newest signed one. Raises RestoredError."""
    if newer.size > signed.size:
        raise RestoredError(
            f"newest checkpoint that {name} knows",
            expected=f"at most size {signed.size}",
            actual=f"size {newer.size}",
            next_step="This directory is older than the log that was shown: restore the newest copy, "
            "or start a successor log; writing here would fork the log",
        )
    ours = root_at(newer.size)
    if newer.root_hash != ours:
        raise RestoredError(
            f"root of size {newer.size} that {name} knows",
            expected=ours.hex(),
            actual=newer.root_hash.hex(),
            next_step="The log has been forked: stop, keep both checkpoints as evidence, and tell your monitors",
        )
