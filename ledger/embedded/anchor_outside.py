"""Where anchors go, and where earlier ones are: the log, the authorities and the shards that `[anchor]` names."""

import contextlib
import pathlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from ledger.bundle.log_entry import LogKeys
from ledger.config import AnchorConfig, Config
from ledger.errors import ConfigError, LedgerError, SourceError
from ledger.log import shard_choice
from ledger.log.anchoring import Stamper
from ledger.log.authentic import AuthenticLog
from ledger.log.fetch import Fetch, fetch_from_url
from ledger.log.posting import Poster
from ledger.log.published import PublishedLog
from ledger.log.rekor_v1 import RekorV1
from ledger.log.rekor_v2 import RekorV2, note_key
from ledger.log.remote import RemoteLog, Shard
from ledger.log.timestamping import MAX_TIMESTAMP_BYTES, Authority, request_timestamp
from ledger.log.trusted_root import Instance, load_instance

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
    shard = shard_choice.newest_shard(instance.shards, kind, now=now)
    if shard is not None:
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
