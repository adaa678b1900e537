"""Anchors the log of a directory: after a recording, by a command, or from a server's background task.

Nothing here may fail a recording: the log of somebody else that is down, slow or dishonest costs a warning and, once in
``anchor.interval``, a few seconds. What could not be sent is stored and pending.
"""

import asyncio
import contextlib
import functools
import logging
import pathlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.bundle.log_entry import LogKeys, parse_log_entry
from ledger.config import AnchorConfig, Config
from ledger.embedded.anchor_key import load_or_make, public_keys
from ledger.embedded.clock import posix_now
from ledger.embedded.directory import Layout, ReadLedger, open_for_reading
from ledger.encoding import parse_json
from ledger.errors import ConfigError, LedgerError, SourceError, WriteError, WriterLockedError
from ledger.log.anchor_memory import AnchorMemory, is_time_to_ask, stored_hint
from ledger.log.anchoring import Anchoring, AnchoringConfig, Outcome, Stamper, has_work
from ledger.log.authentic import AuthenticLog
from ledger.log.fetch import Fetch, fetch_from_url
from ledger.log.freshness import Hint, RootAt
from ledger.log.local import writer_lock
from ledger.log.posting import Poster
from ledger.log.published import PublishedLog
from ledger.log.rekor_v1 import RekorV1
from ledger.log.rekor_v2 import RekorV2, note_key
from ledger.log.remote import RemoteLog, Shard
from ledger.log.timestamping import MAX_TIMESTAMP_BYTES, Authority, request_timestamp
from ledger.log.trusted_root import Instance, load_instance
from ledger.storage.anchors import MAX_LOG_ENTRY_BYTES, AnchorStore, StoredAnchor
from ledger.storage.directory import sync_folder
from ledger.tlog import merkle
from ledger.tlog.checkpoint import Checkpoint, parse_checkpoint
from ledger.tlog.signed_note import VerifierKey, parse_note

_logger = logging.getLogger(__name__)

RECORDING_BUDGET = 5.0
"""Seconds that a recording waits for the outside, once in an interval. Rekor answers when its next checkpoint is out; an
answer that comes later is asked for again, and then it is there."""
COMMAND_BUDGET = 60.0
"""Seconds for whoever asked for it: a few checkpoints of the other log."""
READ_TIMEOUT = 3.0
"""Seconds for one object of the other log."""
MEMORY_BUDGET = 5.0
"""Seconds for all that is read before the first write after a start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Where anchors go: a log, timestamp authorities, and the shards in which earlier anchors are."""

    remote: RemoteLog | None
    stamper: Stamper | None
    shards: Sequence[tuple[Shard, AuthenticLog]]
    shard_keys: LogKeys
    trusted_root: bytes


OpenOutside = Callable[
    [AnchorConfig, pathlib.Path, int, float], contextlib.AbstractAsyncContextManager[Outside]
]
"""Opens what ``[anchor]`` of a directory names, at a time in POSIX seconds, for some seconds; closed by whoever opened it."""


def is_wanted(config: Config) -> bool:
    """Whether this ledger's checkpoints are anchored: one in Rekor is in somebody else's log already."""
    return config.log == "local" and bool(config.anchor.log or config.anchor.timestamps)


def names_files(config: AnchorConfig) -> bool:
    """Whether the trust in the other log comes from files, and not from Sigstore's TUF repository."""
    return bool(config.trust_config or config.trusted_root)


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


# The outside


class Authorities:
    """A ``Stamper``: asks each timestamp authority of an instance, in order, until one answers."""

    def __init__(self, urls: Sequence[str], authorities: Sequence[Authority], poster: Poster) -> None:
        self._urls, self._authorities, self._poster = tuple(urls), tuple(authorities), poster

    async def stamp(self, signature: bytes) -> tuple[bytes, ...]:
        """Return one timestamp. Raises the last one's error where none answers as it should."""
        failure: LedgerError = ConfigError(
            "timestamp authorities", expected="one in the signing config", actual="none"
        )
        for url in self._urls:
            try:
                found = await request_timestamp(
                    signature, url=url, authorities=self._authorities, poster=self._poster
                )
            except LedgerError as error:
                failure = error
            else:
                return (found,)
        raise failure


@contextlib.asynccontextmanager
async def open_configured(
    config: AnchorConfig, directory: pathlib.Path, now: int, budget: float
) -> AsyncIterator[Outside]:
    """Open what ``[anchor]`` names. Raises ConfigError, SourceError: it names nothing that takes anchors now."""
    instance = load_instance(config, directory)
    remote = _open_log(newest_shard(instance, config.log, now=now), instance, budget) if config.log else None
    poster = Poster(in_flight=1, max_bytes=MAX_TIMESTAMP_BYTES, timeout=COMMAND_BUDGET)
    try:
        yield Outside(
            remote=remote,
            stamper=Authorities(instance.tsa_urls, instance.authorities, poster),
            shards=open_shards(instance, config.log) if names_files(config) else (),
            shard_keys=instance.keys,
            trusted_root=instance.trusted_root,
        )
    finally:
        await poster.close()
        if remote is not None:
            await remote.close()


def newest_shard(instance: Instance, kind: str, *, now: int) -> Shard:
    """Return the shard that takes entries now. Raises ConfigError: there is none."""
    for shard in reversed(instance.shards):
        current = shard.valid_from <= now and (shard.valid_until is None or now <= shard.valid_until)
        if shard.kind == kind and shard.write_url is not None and current:
            return shard
    raise ConfigError(
        "log of the anchors",
        expected=f"a shard of {kind} that takes entries now, in the signing config",
        actual="none",
        next_step="Get the newest trust config, or correct anchor.log",
    )


def _open_log(shard: Shard, instance: Instance, budget: float) -> RemoteLog:
    if shard.kind == "rekor-v1":
        return RekorV1(shard, instance.keys)
    # What it reads, it reads in threads, and a thread that waits is waited for when the loop ends.
    return RekorV2(shard, instance.keys, in_flight=1, fetch=_hasty(shard.read_url, budget))


def open_shards(instance: Instance, kind: str) -> tuple[tuple[Shard, AuthenticLog], ...]:
    """Return those shards that can be read for what they know of our anchors: of Rekor v2; Rekor v1 has no tiles."""
    if kind != "rekor-v2":
        return ()
    return tuple(
        (
            shard,
            AuthenticLog(
                PublishedLog(
                    _hasty(shard.read_url, MEMORY_BUDGET), origin=shard.origin, keys=[note_key(shard)]
                )
            ),
        )
        for shard in instance.shards
        if shard.kind == kind
    )


def _hasty(url: str, seconds: float, clock: Callable[[], float] = time.monotonic) -> Fetch:
    """Read below an address, each object with one try, and all of them within some seconds from the first on."""
    fetch = fetch_from_url(url, timeout=READ_TIMEOUT, tries=1)
    deadline: float | None = None

    def within(name: str, /, *, max_bytes: int) -> bytes:
        nonlocal deadline
        deadline = clock() + seconds if deadline is None else deadline
        if clock() > deadline:
            raise SourceError(f"GET {url}/{name}", expected=f"all within {seconds:g} s", actual="more")
        return fetch(name, max_bytes=max_bytes)

    return within


# Before the first write


def hints(layout: Layout, config: Config, *, keys: Sequence[VerifierKey], now: int) -> list[Hint]:
    """Return what the stored anchors, and the log in which they are, may say about the age of this directory.

    Sigstore's public log is not asked: it grows by more entries in a minute than would be looked at.
    """
    store = AnchorStore(layout.anchors)
    found = [stored_hint(store, origin=config.ledger, keys=keys)]
    if not is_wanted(config) or config.anchor.log != "rekor-v2" or not names_files(config.anchor):
        return found

    def ask(signed: Checkpoint, root_at: RootAt) -> None:
        del signed, root_at
        anchor_keys = public_keys(layout.root / config.anchor.key)
        if not anchor_keys or not is_time_to_ask(store, now=now, interval=config.anchor.interval):
            return  # before anything is loaded: most recordings end here
        instance = load_instance(config.anchor, layout.root)
        memory = AnchorMemory(
            store=store,
            shards=open_shards(instance, config.anchor.log),
            shard_keys=instance.keys,
            anchor_keys=anchor_keys,
        )
        memory.ask(now=now, interval=config.anchor.interval)

    return [*found, Hint(name="the log of the anchors", ask=ask)]
