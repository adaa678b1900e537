"""What a check says: two results, the steps that led to them, and for a failure what to do next.

No text here suggests a way around a check; each next step is safe whatever the cause.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from ledger.errors import InputError, LedgerError, SignatureError
from ledger.event import VerificationEvent
from ledger.manifest import Item, Manifest, ManifestFile
from ledger.tlog.checkpoint import VerifiedCheckpoint
from ledger.tlog.cosignature import Cosignature

if TYPE_CHECKING:
    from ledger.client.reporting import Recipient
    from ledger.client.signers import Signer

MAX_NAMED = 10
"""Paths that one sentence names; the rest is counted."""
PIN_STEP = "link to your pin"
AGE_STEP = "age limit"
MODEL_STEP = "model"


class LogResult(StrEnum):
    """What the log proves about the event."""

    COMPLETE = "COMPLETE"
    COMPLETE_UNAUDITED = "COMPLETE_UNAUDITED"
    INCLUDED_ONLY = "INCLUDED_ONLY"
    PROMISED = "PROMISED"
    STALE = "STALE"
    NOT_LOGGED = "NOT_LOGGED"
    CANNOT_CHECK = "CANNOT_CHECK"
    INVALID = "INVALID"
    MISBEHAVIOUR = "MISBEHAVIOUR"


PROVEN = frozenset(
    (LogResult.COMPLETE, LogResult.COMPLETE_UNAUDITED, LogResult.INCLUDED_ONLY, LogResult.STALE)
)
"""Where the event is in the log. Elsewhere nothing is said of the model: what is not proven is not the hub's word."""
_WORSE = (LogResult.STALE, LogResult.CANNOT_CHECK, LogResult.INVALID, LogResult.MISBEHAVIOUR)
"""What a later step can make of the log's result, the worst at the end."""


class ModelResult(StrEnum):
    """What the model is, as far as it was checked."""

    ACCEPTED = "ACCEPTED"
    NOT_ACCEPTED = "NOT_ACCEPTED"
    UNEXPECTED_SIGNER = "UNEXPECTED_SIGNER"
    CONTENT_DIFFERS = "CONTENT_DIFFERS"
    SUPERSEDED = "SUPERSEDED"
    NOT_CHECKED = "NOT_CHECKED"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFiles:
    """Digests of the files at hand: of the whole manifest, and of its content without signatures.

    ``bundles`` are the signature files, which the content leaves out; ``outside`` are links that lead out of the folder,
    ``special`` pipes, sockets and devices, which no digest covers. ``items`` is the content, and ``listed`` a manifest that may be
    the event's, from anywhere: only to say which files differ.
    """

    manifest_sha256: bytes
    content_sha256: bytes
    bundles: tuple[ManifestFile, ...] = ()
    outside: tuple[str, ...] = ()
    special: tuple[str, ...] = ()
    items: tuple[Item, ...] = ()
    listed: Manifest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One step: what was checked, whether it held, against what, and what was found where it did not.

    ``passed`` None: it was skipped, and ``against`` says why.
    """

    step: str
    passed: bool | None
    against: str
    found: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The step that failed, what was expected and found, likely causes in order, and one safe next step."""

    step: str
    expected: str
    actual: str
    causes: tuple[str, ...]
    next_step: str


@dataclass(slots=True)
class Steps:
    """The steps of a check so far, and the first failure among them. ``cautions``: see ``CheckResult``."""

    checks: list[Check] = field(default_factory=list)
    cautions: list[str] = field(default_factory=list)
    failure: Failure | None = None

    def passed(self, step: str, against: str) -> None:
        """Add a step that held."""
        self.checks.append(Check(step=step, passed=True, against=against))

    def skipped(self, step: str, why: str) -> None:
        """Add a step that was not checked, and why."""
        self.checks.append(Check(step=step, passed=None, against=why))

    def failed(self, failure: Failure) -> None:
        """Add a step that failed; the first failure is the one that is explained."""
        self.show(failure)
        self.failure = self.failure or failure

    def show(self, failure: Failure) -> None:
        """Add the row of a step that failed, and leave open whether it is the one that is explained."""
        self.checks.append(
            Check(step=failure.step, passed=False, against=failure.expected, found=failure.actual)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Both results and everything they rest on.

    ``satisfied``: both are what the trust file asks for. ``event`` and ``leaf_index`` are absent unless they are proven
    and signed by a hub key that counts there. ``evidence`` is there exactly for ``MISBEHAVIOUR``, and ``send_to`` says who watches the log. ``cautions`` are sentences about what an old
    proof leaves open, which fail nothing. ``not_checked``: the files
    of a partial check that were not here. ``signers``: whose signatures verified, opened where an opening fits.
    """

    log: LogResult
    model: ModelResult
    log_satisfied: bool
    satisfied: bool
    checks: tuple[Check, ...]
    failure: Failure | None = None
    event: VerificationEvent | None = None
    signers: tuple["Signer", ...] = ()
    leaf_index: int | None = None
    checkpoint: VerifiedCheckpoint | None = None
    cosignatures: tuple[Cosignature, ...] = ()
    evidence: bytes | None = None
    send_to: tuple["Recipient", ...] = ()
    not_checked: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()

    @property
    def skipped(self) -> tuple[Check, ...]:
        """The steps that were not checked, and why."""
        return tuple(each for each in self.checks if each.passed is None)


def with_failure(
    result: CheckResult, failure: Failure, *, log: LogResult | None = None, model: ModelResult | None = None
) -> CheckResult:
    """Return a result with one more failed step: of the log where ``log`` says what that makes of it, else of the model.

    What is worse is never made better, and the failure that is explained is the one that the exit code is of: the log's
    before the model's, the worst of the log's, the first of what is as bad.
    """
    row = Check(step=failure.step, passed=False, against=failure.expected, found=failure.actual)
    result = replace(result, checks=(*result.checks, row), satisfied=False, failure=result.failure or failure)
    if log is not None:
        if _WORSE.index(log) <= _rank(result.log):
            return replace(result, log_satisfied=False)
        kept = result.model if log in PROVEN else ModelResult.NOT_CHECKED
        return replace(result, log=log, log_satisfied=False, model=kept, failure=failure)
    if model is None or result.model not in (ModelResult.ACCEPTED, ModelResult.NOT_CHECKED):
        return result
    return replace(result, model=model, failure=failure if result.log_satisfied else result.failure)


def _rank(log: LogResult) -> int:
    return _WORSE.index(log) if log in _WORSE else -1


def name_some(paths: Iterable[str]) -> str:
    """Name the first paths and count the rest."""
    listed = list(paths)
    more = f" and {len(listed) - MAX_NAMED} more" if len(listed) > MAX_NAMED else ""
    return ", ".join(listed[:MAX_NAMED]) + more


def count(number: int, what: str) -> str:
    """Say how many of something there are."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def explain_invalid(error: LedgerError) -> Failure:
    """Return what to say about a proof, a checkpoint or an entry that does not hold."""
    causes: tuple[str, ...] = (
        "the proof file was changed or damaged",
        "the trust file is of another ledger, or older than a key change",
    )
    if isinstance(error, InputError):
        causes = ("the proof file is damaged or of another kind",)
    elif isinstance(error, SignatureError):
        causes = (
            "the trust file is of another ledger, or older than a key change",
            "somebody else made the proof, or changed it",
        )
    return Failure(
        step=error.what,
        expected=str(error.expected),
        actual=str(error.actual),
        causes=causes,
        next_step="Fetch the proof again; if it fails again, compare your trust file with the publisher's",
    )


def explain_cannot_check(error: LedgerError) -> Failure:
    """Return what to say where nothing is wrong, but something is missing."""
    return Failure(
        step=error.what,
        expected=str(error.expected),
        actual=str(error.actual),
        causes=("the proof was made by another tool", "the hub runs a newer version"),
        next_step=error.next_step,
    )


def explain_stale(step: str, *, expected: str, actual: str) -> Failure:
    """Return what to say about a checkpoint that is too old for what the trust file asks for."""
    return Failure(
        step=step,
        expected=expected,
        actual=actual,
        causes=("the proof was fetched a while ago", "the log has stopped publishing"),
        next_step="Fetch a new proof of the same event",
    )


def explain_old(step: str, *, expected: str, actual: str) -> Failure:
    """Return what to say about a checkpoint whose date is older than the trust file allows: a new proof may be no newer."""
    return Failure(
        step=step,
        expected=expected,
        actual=actual,
        causes=(
            "nothing was recorded since: the log does not date itself anew without witnesses",
            "the proof was fetched a while ago",
            "the log has stopped publishing",
        ),
        next_step="Fetch a new proof of the same event; if that is as old, ask whoever runs the log who dates its checkpoints, "
        "and how often",
    )


def explain_key_range(error: LedgerError) -> Failure:
    """Return what to say about an entry by a hub key that does not count at its leaf index."""
    return Failure(
        step=error.what,
        expected=str(error.expected),
        actual=str(error.actual),
        causes=(
            "the hub changed its key and your trust file is older than that",
            "a retired or revoked key was used",
        ),
        next_step="Ask the hub for its trust file over another channel and compare the key ranges",
    )


_WHY_NOT_VERIFIED = {
    "UNSIGNED": "the revision was uploaded without a signature",
    "CONTENT_MISMATCH": "files were changed, added or removed after signing",
    "INVALID_SIGNATURE": "the signature is damaged, forged, or by another key than it names",
    "UNKNOWN_KEY": "the hub does not have the key of the signer",
    "UNSUPPORTED": "the signature is of a kind that the hub cannot check",
    "ERROR": "the hub could not finish its check",
}
_WHY_CHALLENGED = {
    "signer-changed": "the signer changed and nobody has confirmed it",
    "signature-lost": "earlier revisions were signed, and this one has no signature that holds",
    "other-repository": "the name leads to another repository than before",
    "repository-id-lost": "the name led to a repository with an id before, and to one without now",
}


def explain_not_accepted(event: VerificationEvent) -> Failure | None:
    """Return which of the hub's conditions fail and why, from the event's own facts; None where all hold."""
    found, causes = [], []
    if event.outcome != "VERIFIED":
        found.append(f"outcome {event.outcome}")
        causes.append(_WHY_NOT_VERIFIED[event.outcome])
    if event.policy.decision not in ("observed", "accepted"):
        found.append(f"decision {event.policy.decision}")
        causes += [_WHY_CHALLENGED[reason] for reason in event.reasons if reason in _WHY_CHALLENGED] or [
            "the hub's policy for this model does not accept the revision"
        ]
    if event.model.is_proposal:
        found.append("a proposal (pull ref)")
        causes.append("the revision was proposed, which anybody may do")
    if not found:
        return None
    return Failure(
        step="accepted by the hub",
        expected="VERIFIED, observed or accepted, no proposal",
        actual=", ".join(found) + (f" ({', '.join(event.reasons)})" if event.reasons else ""),
        causes=tuple(causes),
        next_step=f"Do not load this revision: ask the publisher of {event.model.name} about it, over another channel",
    )


NO_FILES = Failure(
    step="files",
    expected="the model's files",
    actual="none given",
    causes=("--model was left out",),
    next_step="Name the files with --model",
)
NO_EVENT = Failure(
    step=MODEL_STEP,
    expected="a verification event that this version understands",
    actual="another entry",
    causes=("the proof is of another entry of the log", "the hub runs a newer version"),
    next_step="Ask for the proof of the verification event of this revision",
)
