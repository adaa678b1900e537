"""Checks any Sigstore bundle, offline: what its log proves, and who signed what (docs/reference/results.md).

Ours and everybody else's, v0.1 to v0.3, of Rekor v1 and v2. The log part is our own verifier's alone, certificates are
sigstore-python's beside it; what either refuses is refused. Nothing in a bundle is believed: the key of a public-key
bundle is the one that its proven log entry names and that made the signature, and it is nobody's until somebody expects it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ledger.bundle.any_bundle import AnyBundle, SignedEnvelope, SignedFile
from ledger.bundle.any_key import ED25519_PH, HASHES_BY_NAME, AnyVerifier
from ledger.bundle.log_entry import ProvenEntry
from ledger.bundle.logged import Promised, UnknownKindError, key_in_entry, prove_entries, verify_promised
from ledger.bundle.subjects import Subjects, parse_subjects
from ledger.client.expect import Expectation
from ledger.client.result import Check, Failure, LogResult, ModelResult
from ledger.client.roots import Root, parse_root
from ledger.client.signers import SIGNER_STEP, Signer, explain_unexpected
from ledger.errors import (
    ConfigError,
    InputError,
    LedgerError,
)
from ledger.identity import KeyFacts, SignerFacts, fingerprint
from ledger.log.timestamping import verify_timestamp

ARTIFACT_STEP = "artifact"
PROMISE_STEP = "inclusion promise"
_NAMES = {each.name: name for name, each in HASHES_BY_NAME.items()}
SUBJECT_HASHES = {"sha256": "SHA2_256", "sha384": "SHA2_384", "sha512": "SHA2_512"}
"""By in-toto's name of a hash. An artifact is held against those that a statement has and we know."""


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
class _State:
    """What has been established so far, step by step."""

    checks: list[Check] = field(default_factory=list)
    failure: Failure | None = None
    digest: bytes | None = None
    entries: list[ProvenEntry] = field(default_factory=list)
    promised: list[Promised] = field(default_factory=list)
    timestamps: list[datetime] = field(default_factory=list)
    signer: Signer | None = None
    subjects: Subjects | None = None

    def passed(self, step: str, against: str) -> None:
        self.checks.append(Check(step=step, passed=True, against=against))

    def skipped(self, step: str, why: str) -> None:
        self.checks.append(Check(step=step, passed=None, against=why))

    def failed(self, failure: Failure) -> None:
        self.checks.append(
            Check(step=failure.step, passed=False, against=failure.expected, found=failure.actual)
        )
        self.failure = self.failure or failure


def hashes_needed(bundle: AnyBundle) -> tuple[str, ...]:
    """Return by which hashes (Sigstore's names) an artifact is held against the bundle."""
    if isinstance(bundle.content, SignedFile):
        return (bundle.content.algorithm,) if bundle.content.algorithm else tuple(HASHES_BY_NAME)
    return ("SHA2_256", "SHA2_512")


def check_bundle(
    bundle: AnyBundle,
    *,
    root: bytes,
    artifact: Mapping[str, bytes] | None = None,
    expected: Sequence[Expectation] = (),
    expect_all: bool = False,
    log_only: bool = False,
) -> BundleResult:
    """Check a bundle against a trusted root (JSON) and what the caller expects.

    ``artifact`` is the digests of a file, by the names of ``hashes_needed``.

    Raises:
        ConfigError: the root cannot be used; everything about the bundle is in the result.
    """
    state = _State()
    log = LogResult.INVALID
    trusted = parse_root(root)
    try:
        log = _check_bundle(bundle, trusted, root, artifact, state)
    except UnknownKindError as error:
        log = LogResult.CANNOT_CHECK
        state.failed(_explain(error, "the bundle is of a kind that is newer, or older, than this version"))
    except ConfigError:
        raise
    except LedgerError as error:
        state.failed(explain_bundle(error))
    signature = ModelResult.NOT_CHECKED
    if log is LogResult.INCLUDED_ONLY:
        signature = _check_who_and_what(
            bundle, artifact, expected, expect_all=expect_all, log_only=log_only, state=state
        )
    allowed = (ModelResult.ACCEPTED, ModelResult.NOT_CHECKED) if log_only else (ModelResult.ACCEPTED,)
    return BundleResult(
        log=log,
        signature=signature,
        satisfied=log is LogResult.INCLUDED_ONLY and signature in allowed,
        checks=tuple(state.checks),
        content=bundle.content,
        digest=state.digest,
        failure=state.failure,
        entries=tuple(state.entries),
        promised=tuple(state.promised),
        timestamps=tuple(state.timestamps),
        signer=state.signer if log is LogResult.INCLUDED_ONLY else None,
        subjects=state.subjects,
    )


def _check_bundle(
    bundle: AnyBundle,
    trusted: Root,
    root: bytes,
    artifact: Mapping[str, bytes] | None,
    state: _State,
) -> LogResult:
    """Everything that can be wrong with the bundle itself.

    1. the signature; 2. every log entry; 3. every timestamp; 4. the certificate.
    """
    if not bundle.log_entries:
        raise _no_entry("none")
    verifier = _verifier(bundle)
    digest = state.digest = _digest(bundle.content, verifier, artifact)
    if verifier.details == ED25519_PH and "hashedrekord" in _kinds(bundle):
        raise UnknownKindError(
            "signature of the bundle", expected="one by a key that is known here", actual="Ed25519ph"
        )
    verifier.verify(bundle.content, digest)
    state.passed("signature", f"by the {_named(verifier)} over {_what(bundle.content)}")
    unproven = [each for each in bundle.log_entries if _has_no_proof(each)] if bundle.may_be_promised else []
    for each in unproven:
        promised = verify_promised(each, bundle, verifier, digest=digest, root=trusted.logs)
        state.promised.append(promised)
        state.passed(PROMISE_STEP, f"promised on {promised.at} by a log of the trusted root")
    rest = [each for each in bundle.log_entries if each not in unproven]
    for proven in prove_entries(rest, bundle, verifier, digest=digest, root=trusted.logs):
        _add_proven(proven, state)
    for stamp in bundle.timestamps:
        at = verify_timestamp(stamp, bundle.content.signature, authorities=trusted.authorities)
        state.timestamps.append(at)
        state.passed("timestamp", f"{at.isoformat()}, by an authority of the trusted root")
    if state.promised:
        state.failed(_PROMISED)
        return LogResult.CANNOT_CHECK
    state.signer = Signer(facts=_signer_facts(bundle, verifier, root, digest, state))
    return LogResult.INCLUDED_ONLY


def _kinds(bundle: AnyBundle) -> set[str]:
    """Return the kinds that the log entries say they are."""
    return {
        str(kind)
        for entry in bundle.log_entries
        if isinstance(entry, dict) and isinstance(entry.get("kindVersion"), dict)
        for kind in [entry["kindVersion"].get("kind")]
    }


def _has_no_proof(entry: object) -> bool:
    return isinstance(entry, dict) and entry.get("inclusionProof") is None


def _no_entry(found: str) -> UnknownKindError:
    return UnknownKindError(
        "log entry of the bundle",
        expected="at least one",
        actual=found,
        next_step="Ask whoever signed for a bundle with a log entry",
    )


_PROMISED = Failure(
    step="inclusion",
    expected="a proof that the entry is in the log",
    actual="promised, not proven: the log said that it would include the entry, and nothing shows that it did",
    causes=("the bundle was made before proofs were part of it (version 0.1)",),
    next_step="Ask whoever signed for a newer bundle, or fetch the entry's proof from the log",
)


def _verifier(bundle: AnyBundle) -> AnyVerifier:
    """Return whose key the bundle claims: its certificate's, or the one that its first log entry names."""
    if bundle.certificate is not None:
        return AnyVerifier(bundle.certificate, is_certificate=True)
    return AnyVerifier(key_in_entry(bundle.log_entries[0]))


def _digest(
    content: SignedEnvelope | SignedFile, verifier: AnyVerifier, artifact: Mapping[str, bytes] | None
) -> bytes:
    """Return the digest of what was signed; of a file, the bundle's word, which the signature is then held against."""
    if isinstance(content, SignedEnvelope):
        return verifier.digest(content.message)
    if content.digest is not None:
        return content.digest
    name = _NAMES[verifier.algorithm.name]
    if artifact is None or name not in artifact:
        raise UnknownKindError(
            "digest of the signed file",
            expected="one in the bundle, or the artifact",
            actual="neither",
            next_step="Name the signed file with --artifact",
        )
    return artifact[name]


def _named(verifier: AnyVerifier) -> str:
    return "certificate's key" if verifier.is_certificate else f"key {fingerprint(_sha256(verifier.der))}"


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _what(content: SignedEnvelope | SignedFile) -> str:
    return "the statement in it" if isinstance(content, SignedEnvelope) else "the digest of a file"


def _add_proven(proven: ProvenEntry, state: _State) -> None:
    state.entries.append(proven)
    tree = proven.tree
    state.passed("checkpoint signature", f"log {tree.origin} of the trusted root")
    state.passed("inclusion", f"leaf {proven.leaf_index} in the signed tree of {tree.size}")
    if proven.integrated_time is None:
        state.skipped(PROMISE_STEP, "this log makes none")
    else:
        state.passed(PROMISE_STEP, f"the log's signature over index {proven.index} and its time")
    state.passed("log entry", f"{' '.join(proven.kind)} about this signature, key and content, byte for byte")


def _signer_facts(
    bundle: AnyBundle, verifier: AnyVerifier, root: bytes, digest: bytes, state: _State
) -> SignerFacts:
    """Return who signed, as far as the bundle can say."""
    if bundle.certificate is None:
        return KeyFacts(spki_sha256=_sha256(verifier.der))
    old = next((each for each in state.entries if each.kind[0] == "intoto"), None)
    if old is not None:
        raise UnknownKindError(
            "certificate of the signature",
            expected="an entry of a kind that sigstore-python verifies certificates with",
            actual=" ".join(old.kind),
            next_step="Check the certificate with cosign; the log entry itself is proven",
        )
    # Imported here because a public key needs none of it, and it takes five times as long as all the rest.
    from ledger.bundle.sigstore_method import verify_keyless

    facts = verify_keyless(bundle, root, digest=digest)
    state.passed("certificate", "sigstore-python, at every time that the log or an authority signed")
    return facts


def _check_who_and_what(
    bundle: AnyBundle,
    artifact: Mapping[str, bytes] | None,
    expected: Sequence[Expectation],
    *,
    expect_all: bool,
    log_only: bool,
    state: _State,
) -> ModelResult:
    """Hold the signer against those who are expected, and what was signed against the artifact."""
    signer = _check_signer(expected, expect_all=expect_all, log_only=log_only, state=state)
    content = _check_artifact(bundle.content, artifact, log_only=log_only, state=state)
    if content is False:
        return ModelResult.CONTENT_DIFFERS
    if signer is False:
        return ModelResult.UNEXPECTED_SIGNER
    return ModelResult.NOT_CHECKED if None in (signer, content) else ModelResult.ACCEPTED


def _check_signer(
    expected: Sequence[Expectation], *, expect_all: bool, log_only: bool, state: _State
) -> bool | None:
    """Say whether the signer is expected; None where nobody is."""
    signer = state.signer
    if not expected or signer is None:
        if log_only:
            state.skipped(SIGNER_STEP, f"none given; signed by {signer}")
        else:
            state.failed(_nobody_expected(str(signer)))
        return None
    met = [signer.meets(one) for one in expected]
    if all(met) if expect_all else any(met):
        state.passed(SIGNER_STEP, str(signer))
        return True
    missing = [str(one) for one, holds in zip(expected, met, strict=True) if not holds]
    joined = (" and " if expect_all else " or ").join(missing)
    state.failed(explain_unexpected([signer], joined, shown=str(signer), openings_given=False))
    return False


def _nobody_expected(signer: str) -> Failure:
    return Failure(
        step=SIGNER_STEP,
        expected="somebody whom you expect",
        actual=f"nobody given; signed by {signer}",
        causes=("anybody can sign anything with a key or account of their own",),
        next_step="Say whom you expect: --public-key, or --expect-signer and --expect-issuer; --log-only asks about the log alone",
    )


def _check_artifact(
    content: SignedEnvelope | SignedFile,
    artifact: Mapping[str, bytes] | None,
    *,
    log_only: bool,
    state: _State,
) -> bool | None:
    """Say whether the artifact is what was signed; None where that is not known and matters."""
    if isinstance(content, SignedFile):
        return _check_file(content, artifact, log_only=log_only, state=state)
    state.subjects = parse_subjects(content)
    if artifact is None:
        state.skipped(ARTIFACT_STEP, f"none given; what is signed is {state.subjects}")
        return True
    named = {
        digest
        for name, digest in state.subjects.digests
        if artifact.get(SUBJECT_HASHES.get(name, "")) == digest
    }
    if named:
        state.passed(ARTIFACT_STEP, "a subject of the signed statement has its digest")
        return True
    state.failed(_differs(str(state.subjects), artifact))
    return False


def _check_file(
    content: SignedFile, artifact: Mapping[str, bytes] | None, *, log_only: bool, state: _State
) -> bool | None:
    shown = "" if state.digest is None else state.digest.hex()
    if artifact is None:
        why = f"none given: the signature is over a file with the digest {shown}, and no file was compared with it"
        if log_only:
            state.skipped(ARTIFACT_STEP, why)
        else:
            state.failed(_no_artifact(shown))
        return None
    if state.digest in artifact.values() and (
        content.algorithm is None or artifact.get(content.algorithm) == state.digest
    ):
        state.passed(ARTIFACT_STEP, f"its digest is the signed one, {shown}")
        return True
    state.failed(_differs(f"a file with the digest {shown}", artifact))
    return False


def _no_artifact(digest: str) -> Failure:
    return Failure(
        step=ARTIFACT_STEP,
        expected=f"a file with the signed digest {digest}",
        actual="none given, so the digest was compared with nothing",
        causes=("--artifact was left out",),
        next_step="Name the signed file with --artifact, or ask about the log alone with --log-only",
    )


def _differs(signed: str, artifact: Mapping[str, bytes]) -> Failure:
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
    return _explain(error, cause, "Get the bundle again; if it fails again, do not use what it signs")


def _explain(error: LedgerError, cause: str, next_step: str | None = None) -> Failure:
    return Failure(
        step=error.what,
        expected=str(error.expected),
        actual=str(error.actual),
        causes=(cause,),
        next_step=next_step or error.next_step,
    )
