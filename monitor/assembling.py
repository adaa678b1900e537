"""Puts together what follows one log: its trees, with the keys of each, and the follower of them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ledger.client.trust import TrustFile
from ledger.client.trusted_keys import TrustedLog
from ledger.errors import ConfigError
from ledger.log.fetch import Fetch, fetch_from_url
from ledger.log.published import PublishedLog
from ledger.tlog.trust_policy import LogKey, TrustPolicy
from monitor.compare import Views
from monitor.config import MonitorConfig
from monitor.follow import Follower
from monitor.growth import Growth, reader_of
from monitor.known import Context, Known
from monitor.log_config import LogConfig
from monitor.looks import Folded, Followable, Looker
from monitor.past import Past
from monitor.past_entries import LoggedPast, PastEntries, TilePast
from monitor.rekor import Finder, RekorFollower, RekorLedger, Statements
from monitor.rekor_v1 import ReceiptFollower, ReceivedStatements
from monitor.sources import open_address
from monitor.state import State
from monitor.statements import STATEMENT_SECONDS, FetchedStatements, is_address
from monitor.watch import Routing

Progress = Callable[[str, int, int], None]


def follower_of(
    config: MonitorConfig,
    log: LogConfig,
    trees: Sequence[Followable],
    state: State,
    *,
    routing: Routing,
    clock: Callable[[], float],
    stopping: Callable[[], bool],
    progress: Progress,
) -> Looker:
    """Return what follows a log: one tree, or each shard of a ledger in Rekor."""
    context = Context(
        log=log.name,
        trust=config.trust(log),
        first=state.position(log.name).first,
        revoked=trees[0].revoked,
        watched=trees[0].watched,
    )
    if log.by_receipt:
        return _receipt_follower(
            config, log, context, state, routing=routing, clock=clock, stopping=stopping, progress=progress
        )

    def follower(tree: Followable, **more: Any) -> Follower:
        return Follower(
            tree,
            state,
            routes=routing,
            evidence=config.evidence,
            clock=clock,
            stopping=stopping,
            progress=lambda done, size: progress(tree.name, done, size),
            **more,
        )

    def past_of(entries: PastEntries) -> Past:
        past = Past(context, entries, state, routing=routing, clock=clock, stopping=stopping)
        past.begin()
        return past

    first = trees[0]
    if log.is_foreign:
        return follower(first, folding=lambda _first, _entries: Folded(known=Known(), findings=()))
    if not log.is_rekor:
        published = PublishedLog(first.sources[0], origin=first.trust.origin, keys=first.trust.log_keys)
        return follower(first, past=past_of(TilePast(log.name, published, state)).catch_up)
    ledger = RekorLedger(
        context, state, finder_of(config, log, state, ledger=context.trust.ledger), clock=clock
    )
    past = past_of(LoggedPast(log.name, state.logged, ledger))
    shards = [follower(tree, folding=partial(ledger.fold, order)) for order, tree in enumerate(trees)]
    return RekorFollower(log.name, shards, lambda: ledger.settle(routing) + past.catch_up())


def finder_of(config: MonitorConfig, log: LogConfig, state: State, *, ledger: str) -> Finder:
    """Return what finds the statements of a ledger in Rekor v2: a folder of evidence, or the hub's service."""
    if is_address(log.evidence):
        return FetchedStatements(log.name, open_service(log), ledger=ledger)
    return Statements(log.name, config.base / log.evidence, state.logged)


def open_service(log: LogConfig) -> Fetch:
    """Return what asks the service of a hub's ledger, as politely as the settings say. Raises UsageError: no web address."""
    return fetch_from_url(log.evidence, seconds=STATEMENT_SECONDS, per_second=log.max_requests_per_second)


def _receipt_follower(
    config: MonitorConfig,
    log: LogConfig,
    context: Context,
    state: State,
    *,
    routing: Routing,
    clock: Callable[[], float],
    stopping: Callable[[], bool],
    progress: Progress,
) -> Looker:
    """Return what follows a ledger in Rekor v1, by the receipts that its hub shows."""
    service = open_service(log)
    statements = ReceivedStatements(FetchedStatements(log.name, service, ledger=context.trust.ledger))
    ledger = RekorLedger(context, state, statements, clock=clock)
    past = Past(
        context,
        LoggedPast(log.name, state.logged, ledger),
        state,
        routing=routing,
        clock=clock,
        stopping=stopping,
    )
    past.begin()
    readers = {
        order: reader_of(order, shard, url, fetch=open_address(url, log))
        for order, (shard, url) in enumerate(zip(context.trust.shards, log.shards, strict=True))
        if shard.keys
    }
    return ReceiptFollower(
        context,
        state,
        ledger,
        statements=statements,
        service=service,
        growth=Growth(log.name, readers, state, trust=context.trust, clock=clock),
        routes=routing,
        evidence=config.evidence,
        clock=clock,
        stopping=stopping,
        progress=lambda done, size: progress(log.name, done, size),
        past=past.catch_up,
    )


def trees_of(
    config: MonitorConfig,
    log: LogConfig,
    *,
    watched: frozenset[str] = frozenset(),
    pinned: bool = False,
    patient: bool = False,
) -> list[Followable]:
    """Return the trees of a log: itself, or the shards of a ledger in Rekor, each with the keys of that shard."""
    trust = config.trust(log)
    sources = () if log.by_receipt else config.sources(log)
    revoked, wait = frozenset(log.revoked_signers), log.partial_wait if patient else 0.0
    if trust.is_rekor != log.is_rekor:
        raise ConfigError(
            f"kind of log {log.name}",
            expected="that of its trust file",
            actual=f"{log.kind}, and a trust file for {'Rekor' if trust.is_rekor else 'a tile log'}",
        )
    if not log.is_rekor:
        return [
            Followable(
                name=log.name,
                trust=trust,
                sources=sources,
                revoked=revoked,
                watched=watched,
                partial_wait=wait,
            )
        ]
    if len(log.shards) != len(trust.shards):
        raise ConfigError(
            f"shards of log {log.name}",
            expected=f"{len(trust.shards)}, as in its trust file",
            actual=len(log.shards),
        )
    if pinned:
        raise ConfigError(
            f"log {log.name}", expected="genesis: histories go through all shards", actual="a checkpoint"
        )
    if log.by_receipt:  # nothing is replayed, so that its shards are one
        one = _of_shard(trust, trust.shards[0])
        return [Followable(name=log.name, trust=one, sources=(), revoked=revoked, watched=watched)]
    return [
        Followable(
            name=name,
            trust=_of_shard(trust, shard),
            sources=(source,),
            revoked=revoked,
            watched=watched,
            partial_wait=wait,
        )
        for name, shard, source in zip(log.trees, trust.shards, sources, strict=True)
    ]


def _of_shard(trust: TrustFile, shard: TrustedLog) -> TrustFile:
    """Return the same trust in one shard, as in a log of its own; nobody cosigns it for us."""
    policy = TrustPolicy(logs=tuple(LogKey(key=key) for key in shard.keys), witnesses=())
    return replace(trust, origin=shard.origin, policy=policy, shards=(), update_key=None)


def open_views(config: MonitorConfig, state: State, *, clock: Callable[[], float]) -> Views:
    """Return what judges the checkpoints of the logs of the settings. Raises ConfigError: a trust file."""
    # A Rekor v1 has no replayed tree to hold a checkpoint against.
    trees = [tree for each in config.log if not each.by_receipt for tree in trees_of(config, each)]
    return Views(
        {each.name: each.trust for each in trees},
        state,
        routes=config.routing(),
        evidence=config.evidence,
        clock=clock,
    )
