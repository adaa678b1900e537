"""What is open, as strangers may read it: for pages, and for the statement that the monitor signs."""

import functools
import operator
import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from ledger.open_findings import OpenClass, OpenFindings, OpenSeverity
from monitor.findings import CLASSES, Alert, Kind, Severity
from monitor.publish.store import Shown
from monitor.record import Stored

OPEN = ("open", "acknowledged")
"""A finding is open until it is resolved: that somebody looks at it changes nothing for those who rely on the monitor."""
SHOWN = (*OPEN, "resolved")
"""What the list of findings has: what was expected is no news."""
_NAME = "name:"
_PUBLIC = (Alert.TAMPER, Alert.MALFORMED, Alert.FINDING)
_ABOUT_THE_LOG: Mapping[str, str] = {
    Kind.LOG_KEY_REFUSED: "A checkpoint of this log was served that none of its keys signed.",
    Kind.LOG_MALFORMED: "What was served for this log is not what it signed.",
}
"""In the place of texts that repeat addresses and paths of whoever runs the monitor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What is open in one log: by history key, about no history, on the page of each model by its recorded name; how many."""

    histories: Mapping[str, OpenFindings]
    log: OpenFindings | None
    models: Mapping[str, Sequence[Shown]]
    count: int


def is_told(alert: Alert, severity: Severity) -> bool:
    """Whether strangers are told: what concerns only our view of the log is told by the time of the last check."""
    return alert in _PUBLIC and severity is not Severity.INFO


TOLD = tuple(kind for kind, (alert, severity) in CLASSES.items() if is_told(alert, severity))
"""Not what is for the record: a log of a million models has as many of those, and no page shows them."""
WITH_EVIDENCE = tuple(kind for kind, (alert, _) in CLASSES.items() if alert is Alert.TAMPER)
"""What convinces a third person."""


def is_public(stored: Stored) -> bool:
    """Whether strangers are told of a stored finding."""
    return is_told(Alert(str(stored.facts["class"])), Severity(str(stored.facts["severity"])))


def account(findings: Sequence[Shown]) -> Account:
    """Sum up the open findings of a log, newest first."""
    by_key: dict[str, OpenFindings] = {}
    of_log: list[OpenFindings] = []
    by_model: dict[str, list[Shown]] = {}
    for each in findings:
        found = _one(each.severity, each.kind)
        for key in each.keys:
            by_key[key] = by_key[key] + found if key in by_key else found
            if key.startswith(_NAME):
                by_model.setdefault(key.removeprefix(_NAME), []).append(each)
        if not each.keys:
            of_log.append(found)
    return Account(
        histories=by_key,
        log=reduce(operator.add, of_log) if of_log else None,
        models=by_model,
        count=len(findings),
    )


@functools.cache
def _one(severity: str, kind: str) -> OpenFindings:
    return OpenFindings(count=1, severity=OpenSeverity(severity), kind=OpenClass(kind))


def show(stored: Stored, histories: Callable[[int, int], Sequence[str] | None]) -> Shown:
    """Return how a finding is shown. ``histories`` are the keys of the entry at a shard and index, None where it is not covered."""
    place, model = place_of(stored), stored.facts.get("model")
    found = () if place is None else histories(*place)
    keys = {*(found or ()), *(() if model is None else (f"{_NAME}{model}",))}
    return Shown(
        number=stored.number,
        id=stored.id,
        state=stored.state,
        severity=str(stored.facts["severity"]),
        kind=str(stored.facts["class"]),
        keys=tuple(sorted(keys)),
        is_final=found is not None,
    )


def place_of(stored: Stored) -> tuple[int, int] | None:
    """Return the shard and index that a finding is about, None where it is about no entry."""
    leaf, more = stored.facts.get("leafIndex"), stored.facts.get("facts")
    shard = more.get("shard", 0) if isinstance(more, dict) else 0
    return (shard, leaf) if isinstance(leaf, int) and isinstance(shard, int) else None


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
