"""What a check of any Sigstore bundle says: its two results, the steps that led to them, and for a failure what to do.

As in ``result``, no text here suggests a way around a check.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ledger.bundle.any_bundle import SignedEnvelope, SignedFile
from ledger.bundle.log_entry import ProvenEntry
from ledger.bundle.logged import Promised
from ledger.bundle.subjects import Subjects
from ledger.client.result import Check, Failure, LogResult, ModelResult, Steps
from ledger.client.signers import Signer
from ledger.client.unexpected import SIGNER_STEP
from ledger.errors import InputError, LedgerError

ARTIFACT_STEP = "artifact"
PROMISE_STEP = "inclusion promise"
LOGGED = (LogResult.INCLUDED_ONLY, LogResult.PROMISED)
"""What a signature may rest on: a proof, or in version 0.1 the log's promise."""
PROMISED_ONLY = (
    "promised, not proven: the log said that it would include the entry, and nothing shows that it did"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleResult:
    """Both results and everything they rest on.

    ``signature`` uses the words for models: ``ACCEPTED`` is a signature by somebody whom the caller expects, over the
    artifact that was given, or over a statement that the bundle itself carries. ``entries`` are proven; ``promised`` is
    what a log promised and nobody proved. ``signer`` is there only if both results rest on a signature that holds.
    """

    log: LogResult
    signature: ModelResult
    satisfied: bool
    checks: tuple[Check, ...]
    content: SignedEnvelope | SignedFile
    digest: bytes | None
    failure: Failure | None = None
    entries: tuple[ProvenEntry, ...] = ()
    promised: tuple[Promised, ...] = ()
    timestamps: tuple[datetime, ...] = ()
    signer: Signer | None = None
    subjects: Subjects | None = None

    @property
    def skipped(self) -> tuple[Check, ...]:
        """The steps that were not checked, and why."""
        return tuple(each for each in self.checks if each.passed is None)


@dataclass(slots=True)
class BundleState(Steps):
    """What has been established so far, step by step."""

    digest: bytes | None = None
    entries: list[ProvenEntry] = field(default_factory=list)
    promised: list[Promised] = field(default_factory=list)
    timestamps: list[datetime] = field(default_factory=list)
    signer: Signer | None = None
    subjects: Subjects | None = None


NOT_PROVEN = Failure(
    step="inclusion",
    expected="a proof that the entry is in the log",
    actual=PROMISED_ONLY,
    causes=("the bundle was made before proofs were part of it (version 0.1)",),
    next_step="Ask whoever signed for a newer bundle, or fetch the entry's proof from the log",
)


def nobody_expected(signer: str) -> Failure:
    """Return what to say where the caller expects nobody."""
    return Failure(
        step=SIGNER_STEP,
        expected="somebody whom you expect",
        actual=f"nobody given; signed by {signer}",
        causes=("anybody can sign anything with a key or account of their own",),
        next_step="Say whom you expect: --public-key, or --expect-signer and --expect-issuer",
    )


def no_artifact(digest: str) -> Failure:
    """Return what to say about the signature of a file that was not given."""
    return Failure(
        step=ARTIFACT_STEP,
        expected=f"a file with the signed digest {digest}",
        actual="none given, so the digest was compared with nothing",
        causes=("--artifact was left out",),
        next_step="Name the signed file with --artifact",
    )


def artifact_differs(signed: str, artifact: Mapping[str, bytes]) -> Failure:
    """Return what to say about an artifact that is not what was signed."""
    return Failure(
        step=ARTIFACT_STEP,
        expected=signed,
        actual=", ".join(each.hex() for each in artifact.values()),
        causes=("the file is another one, or another version of it", "the file was changed after signing"),
        next_step="Do not use the file; get it again, with its bundle, from whoever signed it",
    )


def explain_bundle(error: LedgerError) -> Failure:
    """Return what to say about a bundle that does not hold."""
    cause = (
        "the bundle is damaged or was changed"
        if isinstance(error, InputError)
        else "the bundle was changed, or the trusted root is of another Sigstore instance"
    )
    return explain(error, cause, "Get the bundle again; if it fails again, do not use what it signs")


def explain(error: LedgerError, cause: str, next_step: str | None = None) -> Failure:
    """Return what to say about an error, with its likely cause."""
    return Failure(
        step=error.what,
        expected=str(error.expected),
        actual=str(error.actual),
        causes=(cause,),
        next_step=next_step or error.next_step,
    )
