"""What is open, as strangers may read it: for pages, and for the statement that the monitor signs."""

import operator
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from ledger.monitor_statement import OpenClass, OpenFindings, OpenSeverity
from monitor.findings import Alert, Kind, Severity
from monitor.publish.store import Shown
from monitor.record import Stored

OPEN = ("open", "acknowledged")
"""A finding is open until it is resolved: that somebody looks at it changes nothing for those who rely on the monitor."""
_PUBLIC = (Alert.TAMPER, Alert.MALFORMED, Alert.FINDING)
_ABOUT_THE_LOG: Mapping[str, str] = {
    Kind.LOG_KEY_REFUSED: "A checkpoint of this log was served that none of its keys signed.",
    Kind.LOG_MALFORMED: "What was served for this log is not what it signed.",
}
"""In the place of texts that repeat addresses and paths of whoever runs the monitor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What is open in one log: by history key, and about no history; and which finding is on which page."""

    histories: Mapping[str, OpenFindings]
    log: OpenFindings | None
    shown: tuple[Shown, ...]

    @property
    def count(self) -> int:
        """How many findings are open."""
        return len(self.shown)


def is_told(alert: Alert, severity: Severity) -> bool:
    """Whether strangers are told: what concerns only our view of the log is told by the time of the last check."""
    return alert in _PUBLIC and severity is not Severity.INFO


def is_public(stored: Stored) -> bool:
    """Whether strangers are told of a stored finding."""
    return is_told(Alert(str(stored.facts["class"])), Severity(str(stored.facts["severity"])))


def account(findings: Iterable[Stored], histories: Callable[[int, int], Sequence[str]]) -> Account:
    """Sum up the open findings of a log; ``histories`` are the keys that the entry at a shard and index belongs to."""
    by_key: dict[str, OpenFindings] = {}
    of_log: list[OpenFindings] = []
    shown = []
    for each in findings:
        if each.state not in OPEN or not is_public(each):
            continue
        found = OpenFindings(
            count=1,
            severity=OpenSeverity(str(each.facts["severity"])),
            kind=OpenClass(str(each.facts["class"])),
        )
        keys = _keys(each, histories)
        for key in keys:
            by_key[key] = by_key[key] + found if key in by_key else found
        if not keys:
            of_log.append(found)
        models = tuple(key.removeprefix("name:") for key in keys if key.startswith("name:"))
        shown.append(Shown(number=each.number, log=str(each.facts["log"]), state=each.state, models=models))
    return Account(histories=by_key, log=reduce(operator.add, of_log) if of_log else None, shown=tuple(shown))


def place_of(stored: Stored) -> tuple[int, int] | None:
    """Return the shard and index that a finding is about, None where it is about no entry."""
    leaf, more = stored.facts.get("leafIndex"), stored.facts.get("facts")
    shard = more.get("shard", 0) if isinstance(more, dict) else 0
    return (shard, leaf) if isinstance(leaf, int) and isinstance(shard, int) else None


def _keys(stored: Stored, histories: Callable[[int, int], Sequence[str]]) -> tuple[str, ...]:
    place, model = place_of(stored), stored.facts.get("model")
    keys = set(histories(*place)) if place is not None else set()
    return tuple(sorted(keys | ({f"name:{model}"} if model is not None else set())))


def public_facts(stored: Stored, *, in_rekor: bool = False) -> dict[str, Any]:
    """Return a finding as strangers may read it: no notes of the operator, no paths, no addresses."""
    facts = stored.facts
    kept: dict[str, Any] = {
        name: facts[name]
        for name in ("log", "class", "kind", "severity", "leafIndex", "model", "signers")
        if name in facts
    }
    kept |= {"number": stored.number, "id": stored.id, "state": stored.state, "foundAt": stored.found_at}
    if in_rekor and (place := place_of(stored)) is not None:
        kept["shard"] = place[0]
    about_entries = "leafIndex" in facts or "model" in facts or facts["kind"] == Kind.LOG_FORKED
    kept["text"] = (
        facts["text"]
        if about_entries
        else _ABOUT_THE_LOG.get(str(facts["kind"]), "Ask whoever runs this monitor what it is.")
    )
    evidence = evidence_of(stored)
    return kept if evidence is None else kept | {"evidence": evidence.name}


def evidence_of(stored: Stored) -> pathlib.PurePath | None:
    """Return the evidence file of a finding, if it has one."""
    more = stored.facts.get("facts")
    path = more.get("evidence") if isinstance(more, dict) else None
    return pathlib.PurePath(path) if isinstance(path, str) else None
