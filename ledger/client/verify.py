"""Checks one event of one model, offline: a proof, a trust file, and what the caller knows (architecture section 8).

Pure: files are hashed elsewhere and come in as digests. Two results, never a boolean: what the log proves, and what
the model is. Sizes, roots and keys come from the signed checkpoint and the trust file, never from the proof.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ledger.client.proof_extra import ProofExtra, parse_extra
from ledger.client.trust import TrustFile
from ledger.entry import Entry, parse_entry, verify_entry
from ledger.errors import (
    InputError,
    LedgerError,
    MisbehaviourError,
    ProofError,
    SignatureError,
    VerificationError,
)
from ledger.event import UnknownStatement, VerificationEvent, parse_statement
from ledger.identity import (
    CertificateFacts,
    KeyFacts,
    SignerFacts,
    SigstoreFacts,
    canonical_identity,
    display,
)
from ledger.tlog.checkpoint import VerifiedCheckpoint, verify_checkpoint
from ledger.tlog.cosignature import Cosignature
from ledger.tlog.merkle import leaf_hash, verify_consistency, verify_inclusion
from ledger.tlog.proof import TlogProof, parse_proof


class LogResult(StrEnum):
    """What the log proves about the event."""

    COMPLETE = "COMPLETE"
    COMPLETE_UNAUDITED = "COMPLETE_UNAUDITED"
    INCLUDED_ONLY = "INCLUDED_ONLY"
    STALE = "STALE"
    NOT_LOGGED = "NOT_LOGGED"
    CANNOT_CHECK = "CANNOT_CHECK"
    INVALID = "INVALID"
    MISBEHAVIOUR = "MISBEHAVIOUR"


class ModelResult(StrEnum):
    """What the model is, as far as it was checked."""

    ACCEPTED = "ACCEPTED"
    NOT_ACCEPTED = "NOT_ACCEPTED"
    UNEXPECTED_SIGNER = "UNEXPECTED_SIGNER"
    CONTENT_DIFFERS = "CONTENT_DIFFERS"
    SUPERSEDED = "SUPERSEDED"
    NOT_CHECKED = "NOT_CHECKED"


_SATISFIES = {
    "included": frozenset((LogResult.INCLUDED_ONLY, LogResult.COMPLETE_UNAUDITED, LogResult.COMPLETE)),
    "complete": frozenset((LogResult.COMPLETE_UNAUDITED, LogResult.COMPLETE)),
    "audited": frozenset((LogResult.COMPLETE,)),
}
"""What the trust file's ``require`` is content with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One acceptable signer: a Sigstore subject with its issuer, or a key, or an anchor by SPKI digest."""

    issuer: str | None = None
    signer: str | None = None
    key_sha256: bytes | None = None
    anchor_sha256: bytes | None = None

    def met_by(self, facts: SignerFacts) -> bool:
        """Whether verified facts are this signer: whole strings, byte for byte; look-alikes never match."""
        match facts:
            case SigstoreFacts():
                return self.signer is not None and (self.signer, self.issuer) == (facts.san, facts.issuer)
            case KeyFacts():
                return self.key_sha256 is not None and self.key_sha256 == facts.spki_sha256
            case CertificateFacts():
                return self.anchor_sha256 is not None and self.anchor_sha256 == facts.anchor_spki_sha256
            case _:
                return False

    def __str__(self) -> str:
        if self.signer is not None:
            return f"{self.signer} ({self.issuer})"
        if self.key_sha256 is not None:
            return f"key sha256:{self.key_sha256.hex()}"
        return f"anchor sha256:{self.anchor_sha256.hex() if self.anchor_sha256 else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFiles:
    """Digests of the files at hand: of the whole manifest, and of its content without signatures."""

    manifest_sha256: bytes
    content_sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One step: what was checked, whether it held, and against what. ``passed`` None: it was skipped."""

    step: str
    passed: bool | None
    against: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The step that failed, what was expected and found, likely causes in order, and one safe next step."""

    step: str
    expected: str
    actual: str
    causes: tuple[str, ...]
    next_step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Both results and everything they rest on. ``satisfied``: both are what the trust file asks for."""

    log: LogResult
    model: ModelResult
    satisfied: bool
    checks: tuple[Check, ...]
    failure: Failure | None = None
    event: VerificationEvent | None = None
    leaf_index: int | None = None
    checkpoint: VerifiedCheckpoint | None = None
    cosignatures: tuple[Cosignature, ...] = ()
    evidence: bytes | None = None


@dataclass(slots=True)
class _State:
    """What has been established so far, step by step."""

    checks: list[Check] = field(default_factory=list)
    log: LogResult = LogResult.INVALID
    model: ModelResult = ModelResult.NOT_CHECKED
    failure: Failure | None = None
    checkpoint: VerifiedCheckpoint | None = None
    cosignatures: tuple[Cosignature, ...] = ()
    proof: TlogProof | None = None
    event: VerificationEvent | None = None
    evidence: bytes | None = None

    def passed(self, step: str, against: str) -> None:
        self.checks.append(Check(step=step, passed=True, against=against))

    def skipped(self, step: str, why: str) -> None:
        self.checks.append(Check(step=step, passed=None, against=why))

    def failed(self, failure: Failure) -> None:
        self.checks.append(Check(step=failure.step, passed=False, against=failure.expected))
        self.failure = self.failure or failure


def check_proof(
    data: bytes,
    *,
    trust: TrustFile,
    now: int,
    files: LocalFiles | None = None,
    expected: Sequence[Expectation] = (),
    expect_all: bool = False,
    log_only: bool = False,
    pin: bytes | None = None,
) -> CheckResult:
    """Check a ``.tlog-proof`` against a trust file.

    ``now`` is in POSIX seconds, for the age of the checkpoint. ``pin`` is a checkpoint that the caller remembers.

    Raises:
        SignatureError, MalformedError: the *pin* is not a checkpoint of this log; everything about the proof itself
            is in the result.
    """
    state = _State()
    pinned = None if pin is None else verify_checkpoint(pin, origin=trust.origin, keys=trust.log_keys)
    try:
        extra = _check_log(data, trust, state)
        _check_pin(pinned, extra, state)
        _check_entry(extra.entry, trust, state)
        state.log = LogResult.INCLUDED_ONLY
    except MisbehaviourError as error:
        state.log = LogResult.MISBEHAVIOUR
        state.failed(_misbehaviour(error))
    except LedgerError as error:
        state.log = LogResult.INVALID
        state.failed(_invalid(error))
    if state.log is LogResult.INCLUDED_ONLY:
        _check_age(trust, now, state)
        if state.event is not None:
            _check_model(state.event, files, expected, expect_all=expect_all, state=state)
    allowed = {ModelResult.ACCEPTED} | ({ModelResult.NOT_CHECKED} if log_only else set())
    return CheckResult(
        log=state.log,
        model=state.model,
        satisfied=state.log in _SATISFIES[trust.require] and state.model in allowed and not _stale(state),
        checks=tuple(state.checks),
        failure=state.failure,
        event=state.event,
        leaf_index=state.proof.index if state.proof and state.log is not LogResult.INVALID else None,
        checkpoint=state.checkpoint,
        cosignatures=state.cosignatures,
        evidence=state.evidence,
    )


def _stale(state: _State) -> bool:
    return state.log is LogResult.STALE


def _check_log(data: bytes, trust: TrustFile, state: _State) -> ProofExtra:
    """Structure, then signatures, then inclusion; the tree's size and root come from the signed checkpoint."""
    proof = parse_proof(data)
    if proof.extra is None:
        raise ProofError("proof file", expected="the entry in extra", actual="none")
    extra = parse_extra(proof.extra)
    state.passed("proof file", "c2sp.org/tlog-proof")
    counted = trust.policy.verify(proof.checkpoint_note, origin=trust.origin)
    state.checkpoint, state.cosignatures = counted.verified, counted.cosignatures
    tree = counted.verified.checkpoint
    state.passed("checkpoint signature", f"log key of {trust.origin} in the trust file")
    if counted.quorum is not None:
        state.passed("witness cosignatures", f"quorum {counted.quorum}")
    else:
        state.skipped("witness cosignatures", "the trust file asks for none")
    verify_inclusion(
        leaf_hash(extra.entry), index=proof.index, size=tree.size, proof=proof.hashes, root=tree.root_hash
    )
    state.proof = proof
    state.passed("inclusion", f"leaf {proof.index} in the signed tree of {tree.size}")
    return extra


def _check_pin(pinned: VerifiedCheckpoint | None, extra: ProofExtra, state: _State) -> None:
    """Hold the checkpoint against one that the caller remembers: it may only have grown."""
    if pinned is None or state.checkpoint is None:
        state.skipped("link to your pin", "no remembered checkpoint given")
        return
    old, new = pinned.checkpoint, state.checkpoint.checkpoint
    if old.size == new.size and old.root_hash != new.root_hash:
        state.evidence = format_evidence(pinned.note, state.checkpoint.note)
        raise MisbehaviourError(
            f"two signed checkpoints of size {old.size}",
            expected=f"one root, {old.root_hash.hex()}",
            actual=new.root_hash.hex(),
        )
    if old.size in (0, new.size):
        state.passed("link to your pin", f"remembered checkpoint of size {old.size}")
    elif extra.consistency is None or extra.consistency.size != old.size or old.size > new.size:
        state.skipped(
            "link to your pin", f"not linked to your pin of size {old.size}: no consistency proof from it"
        )
    else:
        verify_consistency(
            old_size=old.size,
            old_root=old.root_hash,
            new_size=new.size,
            new_root=new.root_hash,
            proof=extra.consistency.hashes,
        )
        state.passed("link to your pin", f"consistency proof from size {old.size}")


def _check_entry(entry: bytes, trust: TrustFile, state: _State) -> None:
    """The hub's signature by a key that counts at the proven index, then what the statement says of itself."""
    if state.proof is None:
        return
    index = state.proof.index
    parsed = parse_entry(entry, leaf_index=index)
    if not isinstance(parsed, Entry):
        raise VerificationError(f"entry {index}", expected="a signed statement", actual="a map commit")
    verify_entry(parsed, {parsed.keyid: trust.entry_key(parsed.keyid, index)})
    state.passed("hub signature", f"key {parsed.keyid[:16]}… of {trust.hub}, valid at leaf {index}")
    statement = parse_statement(parsed.payload)
    common = statement.common
    if common is None or common.ledger != trust.ledger:
        raise SignatureError(
            "ledger of the event", expected=trust.ledger, actual=common.ledger if common else "none"
        )
    if (common.hub_id, common.recorded_by.id, common.recorded_by.role) != (trust.hub, trust.hub, "hub"):
        raise SignatureError("hub of the event", expected=trust.hub, actual=common.recorded_by.id)
    state.passed("statement", f"ledger {trust.ledger}, hub {trust.hub}")
    if isinstance(statement, UnknownStatement):
        state.skipped("event", f"unknown event: {statement.reason}")
    elif isinstance(statement, VerificationEvent):
        state.event = statement
    else:
        state.skipped("model", f"the entry is a {statement.predicate_type} statement")


def _check_age(trust: TrustFile, now: int, state: _State) -> None:
    """Freshness is judged by counted cosignatures only; without any it is reported as not checked."""
    if not state.cosignatures:
        state.skipped("age of the checkpoint", "no timestamped cosignature by a key of the trust file")
        return
    age = max(0, now - max(each.timestamp for each in state.cosignatures))
    shown = f"{age} s by the newest counted cosignature"
    if trust.max_age is not None and age > trust.max_age:
        state.log = LogResult.STALE
        state.failed(
            Failure(
                step="age of the checkpoint",
                expected=f"at most {trust.max_age} s",
                actual=shown,
                causes=("the proof was fetched a while ago", "the log has stopped publishing"),
                next_step="Fetch a new proof of the same event",
            )
        )
    else:
        state.passed("age of the checkpoint", shown)


def _check_model(
    event: VerificationEvent,
    files: LocalFiles | None,
    expected: Sequence[Expectation],
    *,
    expect_all: bool,
    state: _State,
) -> None:
    """Section 8's definition of ACCEPTED, and else the first that applies."""
    state.passed(
        "event", f"{event.model.name} at {event.model.revision}: {event.outcome}, {event.policy.decision}"
    )
    content = _check_files(event, files, state)
    signer = _check_signer(event, expected, expect_all=expect_all, state=state)
    accepted = _check_acceptance(event, state)
    if files is None:
        state.model = ModelResult.NOT_CHECKED
    elif not content:
        state.model = ModelResult.CONTENT_DIFFERS
    elif not signer:
        state.model = ModelResult.UNEXPECTED_SIGNER
    else:
        state.model = ModelResult.ACCEPTED if accepted else ModelResult.NOT_ACCEPTED


def _check_files(event: VerificationEvent, files: LocalFiles | None, state: _State) -> bool:
    if files is None:
        state.skipped("files", "none given")
        return False
    if files.manifest_sha256 == event.manifest.sha256:
        state.passed(
            "files", f"manifest sha256:{event.manifest.sha256.hex()[:16]}…, {event.manifest.files} files"
        )
        return True
    if files.content_sha256 == event.manifest.content_sha256:
        state.passed(
            "files",
            f"content sha256:{event.manifest.content_sha256.hex()[:16]}… (signatures and git files differ)",
        )
        return True
    state.failed(
        Failure(
            step="files",
            expected=f"content sha256:{event.manifest.content_sha256.hex()}",
            actual=f"sha256:{files.content_sha256.hex()}",
            causes=(
                "another revision was downloaded",
                "the download is incomplete",
                "a file was changed after the hub saw it",
            ),
            next_step=f"Download {event.model.name} at {event.model.revision} again into an empty folder and check it",
        )
    )
    return False


def _check_signer(
    event: VerificationEvent, expected: Sequence[Expectation], *, expect_all: bool, state: _State
) -> bool:
    signers = [
        each.signer for each in event.signatures if each.outcome == "VERIFIED" and each.signer is not None
    ]
    shown = (
        ", ".join(display(canonical_identity(each)) for each in signers) or "nobody whose signature verified"
    )
    if not expected:
        state.skipped("expected signer", f"none given; signed by {shown}")
        return True
    met = [any(one.met_by(each) for each in signers) for one in expected]
    if all(met) if expect_all else any(met):
        state.passed("expected signer", shown)
        return True
    missing = [str(one) for one, holds in zip(expected, met, strict=True) if not holds]
    state.failed(
        Failure(
            step="expected signer",
            expected=(" and " if expect_all else " or ").join(missing),
            actual=shown,
            causes=(
                "the model has a new signer",
                "the expectation names another model's signer",
                "somebody else published under this name",
            ),
            next_step="Ask the publisher, over another channel, who signs this model now",
        )
    )
    return False


def _check_acceptance(event: VerificationEvent, state: _State) -> bool:
    problems = []
    if event.outcome != "VERIFIED":
        problems.append(f"outcome {event.outcome}")
    if event.policy.decision not in ("observed", "accepted"):
        problems.append(f"decision {event.policy.decision}")
    if event.is_proposal:
        problems.append("a proposal (pull ref)")
    if not problems:
        state.passed("accepted by the hub", f"{event.outcome}, {event.policy.decision}")
        return True
    state.failed(
        Failure(
            step="accepted by the hub",
            expected="VERIFIED, observed or accepted, no proposal",
            actual=", ".join(problems) + (f" ({', '.join(event.reasons)})" if event.reasons else ""),
            causes=(
                "the signer changed and nobody has confirmed it",
                "the revision was uploaded without a valid signature",
            ),
            next_step=f"Use an earlier revision of {event.model.name}, and ask its publisher about this one",
        )
    )
    return False


def _invalid(error: LedgerError) -> Failure:
    causes: tuple[str, ...] = (
        "the proof file was changed or damaged",
        "the trust file is of another ledger, or older than a key change",
    )
    if isinstance(error, InputError):
        causes = ("the proof file is damaged or of another kind",)
    return Failure(
        step=error.what,
        expected=str(error.expected),
        actual=str(error.actual),
        causes=causes,
        next_step="Fetch the proof again; if it fails again, compare your trust file with the publisher's",
    )


def _misbehaviour(error: LedgerError) -> Failure:
    return Failure(
        step=error.what,
        expected=str(error.expected),
        actual=str(error.actual),
        causes=("the log shows different people different histories",),
        next_step="Keep the evidence file and send it to the hub's monitors: it convinces anybody who has the log's key",
    )


def format_evidence(first: bytes, second: bytes) -> bytes:
    """Return both signed checkpoints in one file; with the log's key it proves misbehaviour to anybody (form 1)."""
    return b"hubledger evidence/v1\n\n" + first + b"\n" + second


def verify_evidence(data: bytes, *, trust: TrustFile) -> tuple[VerifiedCheckpoint, VerifiedCheckpoint]:
    """Return two signed checkpoints of one size with different roots.

    Raises:
        ProofError: they do not contradict each other. SignatureError, MalformedError: not signed by the log.
    """
    body = data.removeprefix(b"hubledger evidence/v1\n\n")
    head, origin, rest = body.partition(b"\n" + trust.origin.encode() + b"\n")
    first = verify_checkpoint(head, origin=trust.origin, keys=trust.log_keys)
    second = verify_checkpoint((origin + rest)[1:], origin=trust.origin, keys=trust.log_keys)
    one, other = first.checkpoint, second.checkpoint
    if one.size != other.size or one.root_hash == other.root_hash:
        raise ProofError(
            "evidence of misbehaviour",
            expected="two roots of one size",
            actual=f"sizes {one.size} and {other.size}",
        )
    return first, second
