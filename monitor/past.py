"""Holds new watch rules against the past: what was found before, and every entry that was verified before.

The entries are read again (``past_entries``). What is found is marked as past and told in one finding for each rule and log, not in
a thousand.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ledger.encoding import Json
from monitor.detect import Detector
from monitor.findings import Finding, Kind, Severity
from monitor.known import Context
from monitor.past_entries import PastEntries
from monitor.reads import Read
from monitor.record import Stored
from monitor.replays import Replay
from monitor.state import State
from monitor.watch import Routing, Rule
from monitor.watched import signed_by_watched

LISTED = 50
"""Numbers of findings that are listed: the rest is counted, and in the record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """A remembered finding, as a rule asks of it."""

    log: str
    kind: Kind
    severity: Severity
    model: str | None
    signers: tuple[str, ...]


class Past:
    """The past of one log, for the rules that are new. One thread at a time."""

    def __init__(
        self,
        context: Context,
        entries: PastEntries,
        state: State,
        *,
        routing: Routing,
        clock: Callable[[], float],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._context, self._entries, self._state, self._routing = context, entries, state, routing
        self._clock, self._stopping = clock, stopping
        self._log = context.log
        self._rules: dict[str, Rule] = {rule.config.id(self._log): rule for rule in routing.of_log(self._log)}

    def begin(self) -> None:
        """Note which rules are new, before anything new is replayed: what comes from now on is told as it is found."""
        first, size = self._entries.bounds()
        last = self._state.record.findings(limit=1)
        self._state.replays.begin(
            self._log,
            self._rules,
            first=first,
            size=size,
            newest=last[0].number if last else 0,
        )

    def catch_up(self) -> int:
        """Look at the past of every new rule, and tell it; returns how many findings are new.

        Raises:
            SourceError, NotFoundError: entries cannot be read now. ProofError: they are others than were replayed.
        """
        new = 0
        while (waiting := self._state.replays.waiting(self._log)) and not self._stopping():
            unread = [
                each for each in waiting if each.at < each.target and self._rules[each.id].config.watched
            ]
            if unread:
                new += self._run(unread)
                continue
            for each in waiting:
                told = self._state.past_told(
                    self._summary(each), rule=each.id, routes=self._routing, now=int(self._clock())
                )
                new += told
        return new

    def _run(self, unread: Sequence[Replay]) -> int:
        """Read some entries for all rules that are at the same place."""
        start = min(each.at for each in unread)
        here = [each for each in unread if each.at == start]
        others = [each.at for each in unread if each.at > start]
        run = self._entries.read(start, min([*others, *(each.target for each in here)]))
        watched = frozenset().union(*(self._rules[each.id].config.watched for each in here))
        keys = self._state.load(self._log)
        findings = list(run.missing)
        for shard, read in run.reads:
            context = replace(self._context, watched=watched, shard=shard)
            findings += _found(context, Detector(context, keys), read)
        marked = [replace(found, facts={**found.facts, "past": True}) for found in findings]
        return self._state.past_run(
            marked, rules=[each.id for each in here], to=run.end, now=int(self._clock())
        )

    def _summary(self, replay: Replay) -> Finding | None:
        """Return what the past of a rule came to; None where it has none."""
        rule = self._rules[replay.id]
        numbers = [each.number for each in self._matching(rule, replay)]
        if not numbers:
            return None
        listed: list[Json] = list(numbers[:LISTED])
        return Finding(
            log=self._log,
            kind=Kind.WATCH_REPLAYED,
            text=f"Rule {rule.config.name} is new, and {len(numbers)} findings of the past of {self._log} meet it: see them "
            "with `hubledger monitor findings --all`.",
            about=replay.id,
            facts={"rule": rule.config.name, "past": True, "count": len(numbers), "findings": listed},
        )

    def _matching(self, rule: Rule, replay: Replay) -> Iterator[Stored]:
        number = 0
        while some := self._state.record.after(self._log, number):
            number = some[-1].number
            for each in some:
                told = _told(each)
                before = each.number <= replay.newest or bool(each.facts.get("facts", {}).get("past"))
                if before and told.kind is not Kind.WATCH_REPLAYED and rule.matches(told):
                    yield each


def _found(context: Context, detector: Detector, read: Read) -> Iterator[Finding]:
    """Yield what somebody watched has signed, where the entry is by a key that may sign there."""
    found = list(signed_by_watched(context, read))
    if found and detector.refuse_key(read) is None:
        yield from found


def _told(stored: Stored) -> _Told:
    facts: dict[str, Json] = dict(stored.facts)
    return _Told(
        log=facts["log"],
        kind=Kind(facts["kind"]),
        severity=Severity(facts["severity"]),
        model=facts.get("model"),
        signers=tuple(facts.get("signers", ())),
    )
