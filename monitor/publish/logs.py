"""Covers each log of the settings, by its kind, and gathers what is said of it."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from ledger.client.trust import TrustFile
from ledger.encoding import format_base64
from ledger.errors import LedgerError, StorageError
from ledger.open_findings import OpenList
from monitor.assembling import finder_of, open_service, trees_of
from monitor.checkpoints import SeenCheckpoint
from monitor.config import MonitorConfig
from monitor.findings import Kind
from monitor.log_config import LogConfig
from monitor.logged import MAX_UNSETTLED, LoggedEntry
from monitor.publish import layout
from monitor.publish.accounts import OPEN, TOLD, Account, account, is_public, place_of, show
from monitor.publish.covered import CoveredLog, common_index, shard_facts, shard_index, statement_of
from monitor.publish.covering import Coverage
from monitor.publish.ledgers import LedgerCoverage, Pieces
from monitor.publish.listings import LogFacts, ShardFacts
from monitor.publish.receipts import ReceiptPieces
from monitor.publish.shards import Shard, ShardPieces
from monitor.publish.store import Store
from monitor.publish.writing import Writer
from monitor.state import State


class LogCovering:
    """Covers the logs of one publication. ``signs``: whether the monitor has a key; ``problems`` says why one came no further."""

    def __init__(
        self,
        config: MonitorConfig,
        state: State,
        store: Store,
        *,
        writer: Writer,
        signs: bool,
        stopping: Callable[[], bool],
    ) -> None:
        self._config, self._state, self._store, self._writer = config, state, store, writer
        self._signs, self._stopping = signs, stopping
        self.problems: dict[str, str] = {}

    def cover(self, settings: LogConfig) -> CoveredLog | None:
        """Cover a log up to what was verified of it; None where nothing ever was. Raises ConfigError, StorageError."""
        trust = self._config.trust(settings)
        if settings.by_receipt:
            return self._receipts(settings, trust)
        if settings.is_rekor:
            return self._shards(settings, trust)
        return self._tiles(settings, trust)

    def _run(self, name: str, coverage: Coverage | LedgerCoverage) -> None:
        try:
            coverage.run(stopping=self._stopping)
        except StorageError:
            raise
        except LedgerError as error:
            # What is known is published all the same: that entries are not served again must not hide a finding.
            self.problems[name] = error.finding

    def _account(self, settings: LogConfig, number: Callable[[int, int], int | None]) -> Account:
        """Sum up what is open of a log. Of what was shown before, nothing is read again but where it stands."""
        name, record = settings.name, self._state.record

        def histories(shard: int, at: int) -> Sequence[str] | None:
            found = number(shard, at)
            return None if found is None else self._store.histories(name, found)

        standing = {
            at: (id_, state)
            for each in settings.trees
            for at, id_, state in record.standing(each, kinds=TOLD, states=OPEN)
        }
        before = self._store.shown(name)
        # By its id: in another memory, as one that was restored or begun anew, the same number is another finding.
        known = {
            at: each
            for at, each in before.items()
            if each.is_final and each.id == standing.get(at, ("", ""))[0]
        }
        known |= {
            each.number: show(each, histories)
            for each in record.numbered([at for at in standing if at not in known])
            if is_public(each)
        }
        shown = [
            known[at] if known[at].state == state else known[at]._replace(state=state)
            for at, (_, state) in standing.items()
            if at in known
        ]
        self._store.show(name, before, shown)
        return account(shown)

    # A tile log

    def _tiles(self, settings: LogConfig, trust: TrustFile) -> CoveredLog | None:
        name = settings.name
        # The position first: what was checked last is then never later than the tree that it is said of.
        position = self._state.position(name)
        newest = self._state.checkpoints.newest_verified(name)
        # The leaves of a Rekor hold no statements: what is published of a tile log cannot be made of them.
        if newest is None or trust.is_rekor:
            return None
        coverage = Coverage(
            state=self._state,
            store=self._store,
            writer=self._writer,
            trust=trust,
            sources=self._config.sources(settings),
            position=position,
            checkpoint=newest,
        )
        self._run(name, coverage)
        covered = self._store.covered(name)
        seen = self._state.checkpoints.newest_verified(name, most=covered)
        if seen is None or seen.size != covered:
            return None
        summed = self._account(settings, lambda _shard, at: at)
        # Not about entries that nobody looked at here, and not before a first check.
        stated = self._signs and not position.first and position.succeeded_at is not None
        statement = layout.of_log(name, layout.STATEMENT)
        found = OpenList.of(trust.ledger, summed.histories if stated else {})
        facts = LogFacts(
            name=name,
            origin=position.origin,
            ledger=trust.ledger,
            first=position.first,
            size=seen.size,
            root=format_base64(seen.root),
            checked_at=position.succeeded_at,
            open=summed.count,
            models=self._store.count_models(name),
            statement=stated,
        )
        index = {
            **common_index(facts),
            "origin": position.origin,
            "firstLeaf": position.first,
            "size": seen.size,
            **({"statement": statement} if stated else {}),
        }
        return CoveredLog(
            facts=facts,
            account=summed,
            trees=settings.trees,
            index=index,
            checkpoints={layout.of_log(name, layout.CHECKPOINT): seen.note},
            statements={statement: statement_of(position, seen, found, log=summed.log)} if stated else {},
            parts=found.files,
        )

    # A ledger in Rekor v2

    def _shards(self, settings: LogConfig, trust: TrustFile) -> CoveredLog | None:
        """Cover the shards of a ledger. The order of reading is what makes the statement true:

        1. when each was checked, then its tree: as of a tile log;
        2. what is published of it;
        3. which entries wait for somebody to have their statements. These bound what is signed;
        4. the findings: of whatever has been settled before that, each is there.
        """
        name = settings.name
        shards = self._verified_shards(settings)
        if not shards:
            return None
        pieces = ShardPieces(
            name,
            shards,
            state=self._state,
            store=self._store,
            finder=finder_of(self._config, settings, self._state, ledger=trust.ledger),
            trust=trust,
        )
        self._run(name, self._ledger(name, pieces, trust))
        unsettled = self._state.logged.unsettled(name)
        summed = self._account(settings, lambda shard, at: self._store.number(name, shard, at))
        missing = self._unheard_of(settings.trees)
        stated = {
            each.order: tree
            for each in shards
            if (tree := self._stated(each, name, unsettled, missing)) is not None
        }
        found = OpenList.of(trust.ledger, summed.histories if stated else {})
        statements = {
            layout.of_shard(name, each.order, layout.STATEMENT): statement_of(
                each.position, stated[each.order], found, log=summed.log
            )
            for each in shards
            if each.order in stated
        }
        if statements:  # an address that stays when a shard follows: the newest
            statements[layout.of_log(name, layout.STATEMENT)] = list(statements.values())[-1]
        facts = self._ledger_facts(
            settings,
            trust,
            summed,
            shards=tuple(
                shard_facts(each, stated[each.order].size if each.order in stated else None)
                for each in shards
            ),
        )
        return CoveredLog(
            facts=facts,
            account=summed,
            trees=settings.trees,
            index={
                **common_index(facts),
                "entries": facts.size,
                "shards": [shard_index(name, s) for s in facts.shards],
            },
            checkpoints={
                layout.of_shard(name, each.order, layout.CHECKPOINT): each.checkpoint.note for each in shards
            },
            statements=statements,
            parts=found.files,
        )

    def _verified_shards(self, settings: LogConfig) -> list[Shard]:
        found = []
        for order, tree in enumerate(trees_of(self._config, settings)):
            position = self._state.position(tree.name)
            newest = self._state.checkpoints.newest_verified(tree.name)
            if newest is not None:
                found.append(Shard(order=order, tree=tree, position=position, checkpoint=newest))
        return found

    def _unheard_of(self, trees: Sequence[str]) -> frozenset[tuple[int, int] | None]:
        """Return the shards and indices of the entries of which it is told that nobody has their statements."""
        return frozenset(
            place_of(each)
            for tree in trees
            for each in self._state.record.of_kind(tree, Kind.STATEMENT_MISSING)
        )

    def _stated(
        self,
        shard: Shard,
        log: str,
        unsettled: Sequence[LoggedEntry],
        missing: AbstractSet[tuple[int, int] | None],
    ) -> SeenCheckpoint | None:
        """Return the tree that a statement may be signed of: the newest before the first entry whose statement nobody has.

        Whoever hides a statement must not have it vouched for. Once its absence is a finding, the statement says so.
        """
        if not self._signs or shard.position.succeeded_at is None:
            return None
        order, most = shard.order, self._store.reached(log, shard.order)
        for each in unsettled:
            if each.shard == order and (order, each.leaf) not in missing:
                most = min(most, each.leaf)
        if (
            len(unsettled) == MAX_UNSETTLED and order >= unsettled[-1].shard
        ):  # there may be more behind the last
            most = min(most, unsettled[-1].leaf if order == unsettled[-1].shard else 0)
        return self._state.checkpoints.newest_verified(shard.tree.name, most=min(most, shard.checkpoint.size))

    # A ledger in Rekor v1

    def _receipts(self, settings: LogConfig, trust: TrustFile) -> CoveredLog | None:
        """Cover a ledger by its receipts. Nothing is signed: no tree was replayed, and what the hub did not list was not seen."""
        name = settings.name
        if self._state.position(name).succeeded_at is None and not self._state.receipts.asked(name):
            return None
        pieces = ReceiptPieces(
            name, open_service(settings), state=self._state, store=self._store, trust=trust
        )
        self._run(name, self._ledger(name, pieces, trust))
        summed = self._account(settings, lambda shard, at: self._store.number(name, shard, at))
        facts = self._ledger_facts(settings, trust, summed)
        return CoveredLog(
            facts=facts,
            account=summed,
            trees=settings.trees,
            index={**common_index(facts), "entries": facts.size},
            checkpoints={},
            statements={},
        )

    # Both

    def _ledger(self, name: str, pieces: Pieces, trust: TrustFile) -> LedgerCoverage:
        return LedgerCoverage(
            name, pieces, state=self._state, store=self._store, writer=self._writer, trust=trust
        )

    def _ledger_facts(
        self,
        settings: LogConfig,
        trust: TrustFile,
        summed: Account,
        *,
        shards: tuple[ShardFacts, ...] = (),
    ) -> LogFacts:
        checked = (
            [each.checked_at for each in shards]
            if shards
            else [self._state.position(settings.name).succeeded_at]
        )
        known = [each for each in checked if each is not None]
        return LogFacts(
            name=settings.name,
            origin=", ".join(each.origin for each in trust.shards),
            ledger=trust.ledger,
            first=0,
            size=self._store.size(settings.name) or 0,
            root="",
            checked_at=min(known) if len(known) == len(checked) else None,
            open=summed.count,
            models=self._store.count_models(settings.name),
            statement=any(each.stated is not None for each in shards),
            kind=settings.kind,
            shards=shards,
        )
