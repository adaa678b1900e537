"""Anchors the log of a directory: after a recording, by a command, or from a server's background task.

Nothing here may fail a recording: the log of somebody else that is down, slow or dishonest costs a warning and, once in
``anchor.interval``, a few seconds. What could not be sent is stored and pending.
"""

import asyncio
import functools
import logging
import pathlib
from typing import Any

from ledger.bundle.log_entry import parse_log_entry
from ledger.config import Config
from ledger.embedded.anchor_key import load_or_make, public_keys
from ledger.embedded.anchor_outside import OpenOutside, is_wanted, names_files, open_configured
from ledger.embedded.clock import posix_now
from ledger.embedded.directory import ReadLedger, open_for_reading
from ledger.encoding import parse_json
from ledger.errors import ConfigError, LedgerError, WriteError, WriterLockedError
from ledger.log.anchor_memory import AnchorMemory
from ledger.log.anchoring import Anchoring, AnchoringConfig, Outcome, has_work
from ledger.log.freshness import RootAt
from ledger.log.lock import writer_lock
from ledger.log.published import PublishedLog
from ledger.storage.anchors import MAX_LOG_ENTRY_BYTES, AnchorStore, StoredAnchor
from ledger.storage.directory import sync_folder
from ledger.tlog import merkle
from ledger.tlog.checkpoint import parse_checkpoint
from ledger.tlog.signed_note import parse_note

_logger = logging.getLogger(__name__)

RECORDING_BUDGET = 5.0
"""Seconds that a recording waits for the outside, once in an interval. Rekor answers when its next checkpoint is out; an
answer that comes later is asked for again, and then it is there."""


# After a recording


def anchor_if_due(directory: pathlib.Path, config: Config, *, now: int) -> None:
    """Anchor the newest checkpoint if that is due; whatever goes wrong is a warning in the program's log."""
    if not is_wanted(config):
        return
    try:
        outcome = asyncio.run(anchor(directory, budget=RECORDING_BUDGET, now=now))
    except WriterLockedError:
        return  # somebody else is at it
    except LedgerError as error:
        _logger.warning("the checkpoint was not anchored (events are recorded): %s", error)
    except Exception:
        _logger.exception("a bug in anchoring (events are recorded)")
    else:
        for failure in outcome.failures:
            _logger.warning("an anchor is pending (events are recorded): %s", failure)


# One run


async def anchor(
    directory: pathlib.Path,
    *,
    budget: float,
    forced: bool = False,
    unchecked: bool = False,
    now: int | None = None,
    open_outside: OpenOutside | None = None,
) -> Outcome:
    """Finish pending anchors and make a new one where that is due, or ``forced`` and there is something new.

    May be called from a server's background task as often as it likes; one at a time runs, in all processes.
    ``unchecked``: without asking whether the outside knows anchors that this directory does not.

    Raises:
        ConfigError: no ``[anchor]``, or nowhere to send it. WriterLockedError: another process is at it.
        RestoredError, ProofError: this is not the log that was anchored. CorruptError, WriteError: its own files.
    """
    now = posix_now() if now is None else now
    ledger = open_for_reading(directory)
    if not is_wanted(ledger.config):
        raise ConfigError(
            "anchors of this ledger",
            expected='log = "local", and anchor.log or anchor.timestamps',
            actual="no anchoring",
            next_step="Say in [anchor] of hubledger.toml where checkpoints are to be anchored",
        )
    _make_folder(ledger.layout.anchors)
    with writer_lock(ledger.layout.anchors / "lock"):
        store = AnchorStore(ledger.layout.anchors)
        store.sweep()
        checkpoint = ledger.log.checkpoint()
        settings = _settings(ledger, budget)
        if not forced and not has_work(store, settings, checkpoint.checkpoint.size, now=now):
            return Outcome()
        key_path = directory / ledger.config.anchor.key
        signer = load_or_make(key_path)
        keys = public_keys(key_path)
        async with (open_outside or open_configured)(ledger.config.anchor, directory, now, budget) as outside:
            memory = AnchorMemory(
                store=store, shards=outside.shards, shard_keys=outside.shard_keys, anchor_keys=keys
            )
            ask = functools.partial(memory.ask, now=now, interval=settings.interval)
            run = Anchoring(
                store,
                settings,
                sign=signer.sign,
                anchor_keys=keys,
                root_at=root_reader(ledger.log, checkpoint.checkpoint.size),
                remote=outside.remote,
                stamper=outside.stamper,
                remember=ask if outside.shards and not unchecked else None,
            )
            if not names_files(ledger.config.anchor):
                store.save_trusted_root(outside.trusted_root)
            return await run.run(checkpoint, now=now, forced=forced)


def outcome_facts(outcome: Outcome) -> dict[str, Any]:
    """Return what a run did as JSON facts."""
    return {
        "made": None if outcome.made is None else outcome.made.new.name,
        "finished": [_anchor_facts(each) for each in outcome.finished],
        "pending": outcome.pending,
        "failures": [{"error": type(each).__name__, "message": str(each)} for each in outcome.failures],
    }


def _anchor_facts(anchor: StoredAnchor) -> dict[str, Any]:
    """Return where an anchor is that was proven just now."""
    facts: dict[str, Any] = {
        "name": anchor.new.name,
        "size": anchor.new.size,
        "timestamps": len(anchor.timestamps),
    }
    if anchor.log_entry is not None:
        value = parse_json(anchor.log_entry, what="log entry", max_bytes=MAX_LOG_ENTRY_BYTES)
        entry = parse_log_entry(value)
        origin = parse_checkpoint(parse_note(entry.note).text).origin
        facts["log"] = {"origin": origin, "index": entry.index}
    return facts


def _make_folder(folder: pathlib.Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)
    except OSError as error:
        raise WriteError(
            f"folder {folder}",
            expected="a writable folder",
            actual=error.strerror,
            next_step="Make its folder writable for this user",
        ) from error


def _settings(ledger: ReadLedger, budget: float) -> AnchoringConfig:
    table = ledger.config.anchor
    return AnchoringConfig(
        log=table.log,
        timestamps=table.timestamps,
        interval=table.interval,
        budget=budget,
        origin=ledger.config.ledger,
        log_keys=ledger.trust.log_keys,
    )


def root_reader(log: PublishedLog, size: int) -> RootAt:
    """Return what recomputes the root of every size up to ``size`` from the published tiles."""
    nodes = log.nodes(size)
    return lambda wanted: merkle.tree_root(wanted, nodes)
