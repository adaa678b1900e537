"""What a monitor tells people: findings, their classes, kinds and severities. Values only; nothing here does anything."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ledger.encoding import Json, format_canonical_json
from ledger.open_findings import Ranked

SELF = "(monitor)"
"""The log of a finding that is about the monitor: no log of the settings can be called that."""


class Alert(StrEnum):
    """What sort of thing was found (architecture section 9). Only ``TAMPER`` accuses, and only with evidence."""

    TAMPER = "tamper"
    FINDING = "finding"
    MALFORMED = "malformed"
    STALE = "stale"
    OPERATIONAL = "operational"


class Severity(Ranked):
    """How soon somebody should look. ``INFO`` is a record: it never makes ``monitor once`` fail."""

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Kind(StrEnum):
    """What was found. The text of a finding says it for people; programs go by this."""

    FIRST_SIGNER = "first-signer"
    SIGNER_CHANGED = "signer-changed"
    METHOD_CHANGED = "method-changed"
    SIGNATURE_LOST = "signature-lost"
    REPOSITORY_CHANGED = "repository-changed"
    REVISION_CHANGED = "revision-changed"
    CHAIN_BROKEN = "chain-broken"
    HUB_KEY_REFUSED = "hub-key-refused"
    HUB_KEY_CHANGED = "hub-key-changed"
    TIME_OUTSIDE = "time-outside"
    OBSERVER = "observer"
    HUB_EXPECTED = "hub-expected"
    POLICY_ANNOUNCED = "policy-announced"
    FIRST_K_CLOSED = "first-k-closed"
    POLICY_CHANGED = "policy-changed"
    POLICY_RELAXED = "policy-relaxed"
    POLICY_DIFFERS = "policy-differs"
    CHALLENGE_SKIPPED = "challenge-skipped"
    CHALLENGE_WRONG = "challenge-wrong"
    REVOKED_SIGNER = "revoked-signer"
    SIGNER_SHARED = "signer-shared"
    SIGNED_BY_WATCHED = "signed-by-watched"
    WATCH_REPLAYED = "watch-replayed"
    STATEMENT_MISSING = "statement-missing"
    RECEIPT_MISSING = "receipt-missing"
    RECEIPT_REFUSED = "receipt-refused"
    MALFORMED_ENTRY = "malformed-entry"
    UNKNOWN_ENTRY = "unknown-entry"
    LOG_FORKED = "log-forked"
    LOG_KEY_REFUSED = "log-key-refused"
    LOG_MALFORMED = "log-malformed"
    LOG_STALE = "log-stale"
    LOG_UNWITNESSED = "log-unwitnessed"
    LOG_UNREACHABLE = "log-unreachable"
    CLOCK_BACKWARDS = "clock-backwards"
    NOT_RECORDED = "not-recorded"
    SOURCE_UNREACHABLE = "source-unreachable"
    CANARY = "canary"
    CANARY_SILENT = "canary-silent"
    SINK_SILENT = "sink-silent"


CLASSES: Mapping[Kind, tuple[Alert, Severity]] = {
    Kind.FIRST_SIGNER: (Alert.FINDING, Severity.INFO),
    Kind.SIGNER_CHANGED: (Alert.FINDING, Severity.HIGH),
    Kind.METHOD_CHANGED: (Alert.FINDING, Severity.HIGH),
    Kind.SIGNATURE_LOST: (Alert.FINDING, Severity.HIGH),
    Kind.REPOSITORY_CHANGED: (Alert.FINDING, Severity.HIGH),
    Kind.REVISION_CHANGED: (Alert.FINDING, Severity.HIGH),
    Kind.CHAIN_BROKEN: (Alert.FINDING, Severity.CRITICAL),
    Kind.HUB_KEY_REFUSED: (Alert.FINDING, Severity.CRITICAL),
    Kind.HUB_KEY_CHANGED: (Alert.FINDING, Severity.MEDIUM),
    Kind.TIME_OUTSIDE: (Alert.FINDING, Severity.LOW),
    Kind.OBSERVER: (Alert.FINDING, Severity.LOW),
    Kind.HUB_EXPECTED: (Alert.FINDING, Severity.MEDIUM),
    Kind.POLICY_ANNOUNCED: (Alert.FINDING, Severity.INFO),
    Kind.FIRST_K_CLOSED: (Alert.FINDING, Severity.INFO),
    Kind.POLICY_CHANGED: (Alert.FINDING, Severity.MEDIUM),
    Kind.POLICY_RELAXED: (Alert.FINDING, Severity.HIGH),
    Kind.POLICY_DIFFERS: (Alert.FINDING, Severity.MEDIUM),
    Kind.CHALLENGE_SKIPPED: (Alert.FINDING, Severity.HIGH),
    Kind.CHALLENGE_WRONG: (Alert.FINDING, Severity.HIGH),
    Kind.REVOKED_SIGNER: (Alert.FINDING, Severity.CRITICAL),
    Kind.SIGNER_SHARED: (Alert.FINDING, Severity.MEDIUM),
    Kind.SIGNED_BY_WATCHED: (Alert.FINDING, Severity.INFO),
    Kind.WATCH_REPLAYED: (Alert.FINDING, Severity.INFO),
    Kind.STATEMENT_MISSING: (Alert.FINDING, Severity.HIGH),
    Kind.RECEIPT_MISSING: (Alert.FINDING, Severity.HIGH),
    Kind.RECEIPT_REFUSED: (Alert.MALFORMED, Severity.HIGH),
    Kind.MALFORMED_ENTRY: (Alert.MALFORMED, Severity.MEDIUM),
    Kind.UNKNOWN_ENTRY: (Alert.MALFORMED, Severity.LOW),
    Kind.LOG_FORKED: (Alert.TAMPER, Severity.CRITICAL),
    Kind.LOG_KEY_REFUSED: (Alert.FINDING, Severity.CRITICAL),
    Kind.LOG_MALFORMED: (Alert.MALFORMED, Severity.HIGH),
    Kind.LOG_STALE: (Alert.STALE, Severity.MEDIUM),
    Kind.LOG_UNWITNESSED: (Alert.OPERATIONAL, Severity.MEDIUM),
    Kind.LOG_UNREACHABLE: (Alert.OPERATIONAL, Severity.LOW),
    Kind.CLOCK_BACKWARDS: (Alert.OPERATIONAL, Severity.MEDIUM),
    Kind.NOT_RECORDED: (Alert.FINDING, Severity.HIGH),
    Kind.SOURCE_UNREACHABLE: (Alert.OPERATIONAL, Severity.LOW),
    Kind.CANARY: (Alert.OPERATIONAL, Severity.INFO),
    Kind.CANARY_SILENT: (Alert.OPERATIONAL, Severity.HIGH),
    Kind.SINK_SILENT: (Alert.OPERATIONAL, Severity.HIGH),
}
"""The class and severity of each kind: one table, so that a page on somebody's telephone never depends on a mood."""

PASSING = frozenset(
    (
        Kind.LOG_MALFORMED,
        Kind.LOG_STALE,
        Kind.LOG_UNREACHABLE,
        Kind.LOG_KEY_REFUSED,
        Kind.LOG_UNWITNESSED,
        Kind.NOT_RECORDED,
        Kind.SOURCE_UNREACHABLE,
        Kind.CANARY_SILENT,
        Kind.SINK_SILENT,
    )
)
"""States of a log: told once while they last, and once more when they come back after somebody resolved them."""
OVER_BY_ITSELF = (Kind.LOG_STALE, Kind.LOG_UNREACHABLE, Kind.LOG_UNWITNESSED)
"""Those that are resolved by themselves when the log can be checked again. The others want a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found. ``text`` is one plain sentence that a person can act on.

    ``leaf_index`` and ``model`` are absent where it is about the log itself. ``about`` is what tells two findings of one
    kind at one place apart. ``signers`` are the hex digests of the identities that signed, for ``monitor expect``.
    """

    log: str
    kind: Kind
    text: str
    leaf_index: int | None = None
    model: str | None = None
    about: str = ""
    signers: tuple[str, ...] = ()
    facts: Mapping[str, Json] = field(default_factory=dict)

    @property
    def alert(self) -> Alert:
        """Its class."""
        return CLASSES[self.kind][0]

    @property
    def severity(self) -> Severity:
        """How soon somebody should look."""
        return CLASSES[self.kind][1]

    @property
    def passing(self) -> bool:
        """Whether it is a state that may pass."""
        return self.kind in PASSING

    def id(self, episode: int = 0) -> str:
        """Return the idempotency key: equal for the same thing found again, whatever the words.

        ``episode`` tells a state that came back from the one that had passed.
        """
        identity = [self.log, self.kind, self.leaf_index, self.model, self.about, episode]
        return hashlib.sha256(format_canonical_json(identity)).hexdigest()[:32]

    def as_json(self) -> dict[str, Json]:
        """Return the facts, as every sink and ``--json`` show them."""
        value: dict[str, Json] = {
            "log": self.log,
            "class": str(self.alert),
            "kind": str(self.kind),
            "severity": str(self.severity),
            "text": self.text,
        }
        if self.leaf_index is not None:
            value["leafIndex"] = self.leaf_index
        if self.model is not None:
            value["model"] = self.model
        if self.signers:
            value["signers"] = list(self.signers)
        if self.facts:
            value["facts"] = dict(self.facts)
        return value
