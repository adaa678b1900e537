"""What is said of one log that is covered: facts for pages and for ``index.json``, its checkpoints, what the monitor signs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.encoding import format_base64
from ledger.monitor_statement import MonitorStatement
from ledger.open_findings import OpenFindings, OpenList
from ledger.tlog.checkpoint import Checkpoint
from monitor.checkpoints import SeenCheckpoint
from monitor.publish import layout
from monitor.publish.accounts import Account
from monitor.publish.listings import LogFacts, ShardFacts
from monitor.publish.shards import Shard
from monitor.state import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class CoveredLog:
    """One log that is covered. ``checkpoints`` and ``statements`` go by the files that they are written to.

    ``parts``, by their names, are of the list that all of these statements have. ``trees`` are what findings about it are filed under.
    """

    facts: LogFacts
    account: Account
    trees: Sequence[str]
    index: Mapping[str, Any]
    checkpoints: Mapping[str, bytes]
    statements: Mapping[str, MonitorStatement]
    parts: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name in the settings."""
        return self.facts.name

    @property
    def in_rekor(self) -> bool:
        """Whether its entries are in shards, where an index alone says not which entry is meant."""
        return self.facts.kind != "tiles"


def statement_of(
    position: Position, seen: SeenCheckpoint, found: OpenList, *, log: OpenFindings | None
) -> MonitorStatement:
    """Return what the monitor says of a tree that it has verified, and of what is open."""
    tree = Checkpoint(origin=position.origin, size=seen.size, root_hash=seen.root)
    return MonitorStatement.of(tree, found, checked_at=position.succeeded_at or 0, log=log)


def common_index(facts: LogFacts) -> dict[str, Any]:
    """Return what ``index.json`` has of a log of whatever kind."""
    return {
        "log": facts.name,
        "kind": facts.kind,
        "ledger": facts.ledger,
        "models": facts.models,
        "openFindings": facts.open,
    }


def shard_facts(shard: Shard, stated: int | None) -> ShardFacts:
    """Return what pages say of a shard; ``stated`` is the size of its statement, if one is signed."""
    return ShardFacts(
        order=shard.order,
        origin=shard.position.origin,
        size=shard.checkpoint.size,
        root=format_base64(shard.checkpoint.root),
        checked_at=shard.position.succeeded_at,
        stated=stated,
    )


def shard_index(log: str, shard: ShardFacts) -> dict[str, Any]:
    """Return what ``index.json`` has of a shard."""
    facts: dict[str, Any] = {
        "shard": shard.order,
        "origin": shard.origin,
        "size": shard.size,
        "checkpoint": layout.of_shard(log, shard.order, layout.CHECKPOINT),
    }
    if shard.stated is not None:
        facts |= {"statement": layout.of_shard(log, shard.order, layout.STATEMENT)}
    return facts
