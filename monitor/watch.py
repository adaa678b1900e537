"""Watch rules: who wants to know of what. Pure: the same finding always goes to the same sinks."""

import fnmatch
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from ledger.encoding import Json, format_canonical_json, parse_json
from ledger.errors import ConfigError, LedgerError
from monitor.findings import Finding, Kind, Severity
from monitor.forms import check_findings, check_name
from monitor.policies import namespace_of

MAX_RULES = 100
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_IDENTITY_BYTES = 16 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchConfig:
    """The table ``[[watch]]``: what is told to some sinks. Each field's comment is its manual page.

    A finding must meet every setting that is there, and of each one of its values.
    """

    # What the rule is called: small letters, digits and hyphens.
    name: str
    # The sinks that are told. They are told what rules say, and nothing else.
    sinks: tuple[str, ...]
    # Hubs, by the id in the trust files of the logs.
    hubs: tuple[str, ...] = ()
    # Logs, by name.
    logs: tuple[str, ...] = ()
    # Namespaces: what is before the first slash of a model's name.
    namespaces: tuple[str, ...] = ()
    # Models: the whole name, with * and ?.
    models: tuple[str, ...] = ()
    # Signers: hex digests of identities, or identities as `hubledger history --json` shows them. Every version that one signs is told.
    signers: tuple[str, ...] = ()
    # Kinds of finding.
    kinds: tuple[str, ...] = ()
    # The least severity.
    severity: str = "info"

    def __post_init__(self) -> None:
        check_name("watch.name", self.name)
        if not self.sinks:
            raise ConfigError(f"sinks of rule {self.name}", expected="a sink", actual="none")
        check_findings(f"rule {self.name}", severity=self.severity, kinds=self.kinds)
        for signer in self.signers:
            self._digest(signer)

    @property
    def watched(self) -> frozenset[str]:
        """The hex digests of its signers."""
        return frozenset(map(self._digest, self.signers))

    def _digest(self, signer: str) -> str:
        return signer_digest(signer, what=f"signers of rule {self.name}")

    def matches(self, finding: "Tellable", *, logs: Collection[str]) -> bool:
        """Whether a finding is told by this rule, which is about these logs."""
        return (
            finding.log in logs
            and finding.severity.rank >= Severity(self.severity).rank
            and (not self.kinds or finding.kind in self.kinds)
            and self._is_about(finding.model)
            and (not self.signers or bool(self.watched & set(finding.signers)))
        )

    def _is_about(self, model: str | None) -> bool:
        name = model or ""
        in_namespace = not self.namespaces or (bool(name) and namespace_of(name) in self.namespaces)
        return in_namespace and (
            not self.models or (bool(name) and any(fnmatch.fnmatchcase(name, each) for each in self.models))
        )

    def id(self, log: str) -> str:
        """Return what tells this rule from others, and from itself before it was changed: a hex digest."""
        lists = (self.sinks, self.hubs, self.logs, self.namespaces, self.models, self.signers, self.kinds)
        value: list[Json] = [log, self.name, self.severity, *(sorted(each) for each in lists)]
        return hashlib.sha256(format_canonical_json(value)).hexdigest()


def signer_digest(text: str, *, what: str) -> str:
    """Return the hex digest of a signer that somebody named by it, or by its canonical identity. Raises ConfigError."""
    if _DIGEST.fullmatch(text):
        return text
    with suppress(LedgerError):
        value = parse_json(text.encode(), what="identity", max_bytes=_MAX_IDENTITY_BYTES)
        if isinstance(value, dict):
            return hashlib.sha256(format_canonical_json(value)).hexdigest()
    raise ConfigError(
        what,
        expected="64 hexadecimal digits, as `hubledger monitor findings` shows them, or an identity, as `hubledger history --json` does",
        actual=text,
    )


class Tellable(Protocol):
    """What a rule asks of a finding, new or remembered."""

    @property
    def log(self) -> str:
        """The name of its log."""
        ...

    @property
    def kind(self) -> Kind:
        """Its kind."""
        ...

    @property
    def severity(self) -> Severity:
        """Its severity."""
        ...

    @property
    def model(self) -> str | None:
        """The model that it is about, if it is about one."""
        ...

    @property
    def signers(self) -> tuple[str, ...]:
        """The hex digests of who signed."""
        ...


class Filters(Protocol):
    """The sinks that go by filters of their own."""

    def sinks(self, finding: Finding, /) -> tuple[str, ...]:
        """Return those that a finding goes to."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule, and the logs that it is about."""

    config: WatchConfig
    logs: frozenset[str]

    def matches(self, finding: Tellable) -> bool:
        """Whether a finding is told by this rule."""
        return self.config.matches(finding, logs=self.logs)


class Routing:
    """Says which sinks a finding goes to: by rules, and by their own filters where no rule names them."""

    def __init__(self, rules: Sequence[Rule], filters: Filters) -> None:
        self.rules, self._filters = tuple(rules), filters

    def sinks(self, finding: Finding) -> tuple[str, ...]:
        """Return the names of the sinks."""
        if finding.kind is Kind.WATCH_REPLAYED:
            return self._of(finding.about)
        told = [sink for rule in self.rules if rule.matches(finding) for sink in rule.config.sinks]
        return tuple(dict.fromkeys((*self._filters.sinks(finding), *told)))

    def of_log(self, log: str) -> tuple[Rule, ...]:
        """Return the rules that are about a log."""
        return tuple(rule for rule in self.rules if log in rule.logs)

    def watched(self, log: str) -> frozenset[str]:
        """Return the signers that somebody watches in a log."""
        return frozenset().union(*(rule.config.watched for rule in self.of_log(log)))

    def _of(self, id_: str) -> tuple[str, ...]:
        """What a new rule finds in the past concerns those whom it tells, and nobody else."""
        found = [rule for rule in self.rules for log in rule.logs if rule.config.id(log) == id_]
        return found[0].config.sinks if found else ()


def rules_of(watch: Iterable[WatchConfig], *, hubs: Mapping[str, str]) -> list[Rule]:
    """Return the rules, each with its logs; ``hubs`` are the hub of each log."""
    return [
        Rule(
            config=each,
            logs=frozenset(
                log
                for log, hub in hubs.items()
                if (not each.logs or log in each.logs) and (not each.hubs or hub in each.hubs)
            ),
        )
        for each in watch
    ]
