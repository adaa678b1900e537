"""Decides what is told one by one and what in one message: a flood of findings becomes a digest. Values only."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.encoding import Json
from monitor.findings import Alert, Kind, Severity
from monitor.outbox import Due
from monitor.record import Stored

MOST = 10_000
"""Findings of one digest at most."""
_SHOWN = 1000
_AT_ONCE = frozenset((str(Kind.LOG_FORKED), str(Kind.CANARY), str(Kind.CANARY_SILENT), str(Kind.SINK_SILENT)))
"""What never waits for a digest: evidence against a log, and whether alerts arrive."""
_REFUSED = 3
"""Times that a receiver refused one message, after which its text may be why: a filter that dislikes the name of a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most so many messages in so many seconds; 0: no limit."""

    messages: int = 0
    seconds: int = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is handed over in one piece, and the deliveries that are done with it."""

    finding: Stored
    covers: tuple[Due, ...]


def plan(due: Sequence[Due], *, limit: Limit, sent: int) -> list[Message]:
    """Return what to hand over now, of what is due and after so many messages in this period.

    Where there is room for everything, it is told one by one, oldest first. Else the worst are, and the last message that
    there is room for sums up the others. Where there is no room, they wait. What was refused often comes last, and nobody
    quotes it, so that it keeps nothing else from being told.
    """
    if not limit.messages:
        return [_single(each) for each in due]
    urgent = [each for each in due if each.finding.facts["kind"] in _AT_ONCE]
    rest = [each for each in due if each.finding.facts["kind"] not in _AT_ONCE]
    room = max(0, limit.messages - sent)
    if len(rest) <= room:
        return [_single(each) for each in due]
    if not room:
        return [_single(each) for each in urgent]
    worst = sorted(rest, key=lambda each: (each.attempts >= _REFUSED, -_rank(each), each.finding.number))
    alone, others = worst[: room - 1], worst[room - 1 :]
    return [*map(_single, urgent), *map(_single, alone), sum_up(others)]


def sum_up(due: Sequence[Due]) -> Message:
    """Return one message for several deliveries, in the order of ``plan``. Its id follows from theirs."""
    numbers = sorted(each.finding.number for each in due)
    worst = max(due, key=_rank).finding.facts
    kinds = Counter(str(each.finding.facts["kind"]) for each in due)
    logs = sorted({str(each.finding.facts["log"]) for each in due})
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    facts: dict[str, Json] = {
        "log": logs[0] if len(logs) == 1 else "(several)",
        "class": worst["class"],
        "kind": "digest",
        "severity": worst["severity"],
        "text": f"{len(due)} findings in one message, because there were too many for one each: {listed}. {_quote(due[0])}"
        "See all with `hubledger monitor findings`.",
        "facts": {
            "count": len(due),
            "kinds": dict(kinds),
            "logs": list(logs),
            "numbers": list(numbers[:_SHOWN]),
        },
    }
    identity = hashlib.sha256(",".join(sorted(each.finding.id for each in due)).encode()).hexdigest()[:32]
    newest = max(each.finding.found_at for each in due)
    return Message(
        finding=Stored(
            number=0, id=identity, state="open", note="", found_at=newest, seen_at=newest, facts=facts
        ),
        covers=tuple(due),
    )


def _quote(due: Due) -> str:
    return "" if due.attempts >= _REFUSED else f"The worst of them: {due.finding.facts['text']} "


def _single(due: Due) -> Message:
    return Message(finding=due.finding, covers=(due,))


def _rank(due: Due) -> int:
    facts = due.finding.facts
    return Severity(str(facts["severity"])).rank + (100 if facts["class"] == Alert.TAMPER else 0)
