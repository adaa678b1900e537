"""What is followed, and what one look at it came to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ledger.client.trust import TrustFile
from ledger.log.fetch import Fetch
from monitor.findings import Finding
from monitor.known import Known
from monitor.logged import LoggedEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Followable:
    """One log of the settings: the trust file that says who signs it, where it is served, mirrors last, who may not sign, and
    whose signatures somebody watches.

    ``partial_wait``: seconds that a tile which is not full is left alone, in the hope that it fills.
    """

    name: str
    trust: TrustFile
    sources: tuple[Fetch, ...]
    partial_wait: float = 0.0
    revoked: frozenset[str] = frozenset()
    watched: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look at a log came to. ``problem`` says why it could not be checked, empty where it was."""

    log: str
    size: int
    target: int | None
    new_findings: int
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """What a run of entries gives. ``ledger`` and ``logged`` as in ``Progress``."""

    known: Known
    findings: Sequence[Finding]
    ledger: str = ""
    logged: Sequence[LoggedEntry] = ()


class Looker(Protocol):
    """Follows a log, of one tree or of several."""

    def look(self) -> Look:
        """Look once."""
        ...
