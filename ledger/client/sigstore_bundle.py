"""Checks any Sigstore bundle, offline: what its log proves, and who signed what (docs/reference/results.md).

Ours and everybody else's, v0.1 to v0.3, of Rekor v1 and v2. The log part is our own verifier's alone, certificates are
sigstore-python's beside it; what either refuses is refused. Nothing in a bundle is believed: the key of a public-key
bundle is the one that its proven log entry names and that made the signature, and it is nobody's until somebody expects it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from ledger.bundle.any_bundle import AnyBundle, SignedEnvelope, SignedFile
from ledger.bundle.any_key import ED25519_PH, HASHES_BY_NAME, AnyVerifier
from ledger.bundle.log_entry import ProvenEntry, has_checkpoint
from ledger.bundle.logged import Promised, UnknownKindError, key_in_entry, prove_entries, verify_promises
from ledger.bundle.restated import Established
from ledger.bundle.subjects import parse_subjects
from ledger.client.bundle_result import (
    ARTIFACT_STEP,
    LOGGED,
    NOT_PROVEN,
    PROMISE_STEP,
    PROMISED_ONLY,
    BundleResult,
    BundleState,
    artifact_differs,
    explain,
    explain_bundle,
    no_artifact,
    nobody_expected,
)
from ledger.client.expect import Expectation
from ledger.client.result import LogResult, ModelResult
from ledger.client.roots import Root, parse_root
from ledger.client.signers import Signer
from ledger.client.unexpected import SIGNER_STEP, explain_unexpected
from ledger.errors import (
    ConfigError,
    LedgerError,
)
from ledger.identity import KeyFacts, SignerFacts, fingerprint
from ledger.log.timestamping import verify_timestamp

_NAMES = {each.name: name for name, each in HASHES_BY_NAME.items()}
SUBJECT_HASHES = {"sha256": "SHA2_256", "sha384": "SHA2_384", "sha512": "SHA2_512"}
"""By in-toto's name of a hash. An artifact is held against those that a statement has and we know."""


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
    state = BundleState()
    log = LogResult.INVALID
    trusted = parse_root(root)
    try:
        log = _check_bundle(bundle, trusted, root, artifact, state)
    except UnknownKindError as error:
        log = LogResult.CANNOT_CHECK
        state.failed(explain(error, "the bundle is of a kind that is newer, or older, than this version"))
    except ConfigError:
        raise
    except LedgerError as error:
        state.failed(explain_bundle(error))
    if log is LogResult.PROMISED and log_only:
        state.failed(NOT_PROVEN)  # whoever asks about the log alone asks whether the entry is in it
    elif log is LogResult.PROMISED:
        state.skipped("inclusion", PROMISED_ONLY)
    signature = ModelResult.NOT_CHECKED
    if log in LOGGED:
        signature = _check_who_and_what(
            bundle, artifact, expected, expect_all=expect_all, log_only=log_only, state=state
        )
    allowed = (ModelResult.ACCEPTED, ModelResult.NOT_CHECKED) if log_only else (ModelResult.ACCEPTED,)
    return BundleResult(
        log=log,
        signature=signature,
        satisfied=log in LOGGED and signature in allowed and state.failure is None,
        checks=tuple(state.checks),
        content=bundle.content,
        digest=state.digest,
        failure=state.failure,
        entries=tuple(state.entries),
        promised=tuple(state.promised),
        timestamps=tuple(state.timestamps),
        signer=state.signer if log in LOGGED else None,
        subjects=state.subjects,
    )


def _check_bundle(
    bundle: AnyBundle,
    trusted: Root,
    root: bytes,
    artifact: Mapping[str, bytes] | None,
    state: BundleState,
) -> LogResult:
    """Everything that can be wrong with the bundle itself.

    1. the signature; 2. every log entry; 3. every timestamp; 4. the certificate.
    """
    if not bundle.log_entries:
        raise _no_entry("none")
    verifier = _verifier(bundle)
    digest = state.digest = _digest(bundle.content, verifier, artifact)
    verifier.verify(bundle.content, digest, prehashed=_kinds(bundle) == {"hashedrekord"})
    state.passed("signature", f"by the {_named(verifier)} over {_what(bundle.content)}")
    # A proof that nobody signed is none; only version 0.1 may be without (docs/decisions/0006-any-sigstore-bundle.md).
    unproven = [each for each in bundle.log_entries if bundle.may_be_promised and not has_checkpoint(each)]
    known: dict[str, Any] = {"digest": digest, "root": trusted.logs}
    for promised in verify_promises(unproven, bundle, verifier, **known):
        _add_promised(promised, state)
    rest = [each for each in bundle.log_entries if each not in unproven]
    for proven in prove_entries(rest, bundle, verifier, **known):
        _add_proven(proven, state)
    for stamp in bundle.timestamps:
        at = verify_timestamp(stamp, bundle.content.signature, authorities=trusted.authorities)
        state.timestamps.append(at)
        state.passed("timestamp", f"{at.isoformat()}, by an authority of the trusted root")
    state.signer = Signer(facts=_signer_facts(bundle, verifier, root, digest, state))
    return LogResult.PROMISED if state.promised else LogResult.INCLUDED_ONLY


def _kinds(bundle: AnyBundle) -> set[str]:
    """Return the kinds that the log entries say they are."""
    return {
        str(kind)
        for entry in bundle.log_entries
        if isinstance(entry, dict) and isinstance(entry.get("kindVersion"), dict)
        for kind in [entry["kindVersion"].get("kind")]
    }


def _no_entry(found: str) -> UnknownKindError:
    return UnknownKindError(
        "log entry of the bundle",
        expected="at least one",
        actual=found,
        next_step="Ask whoever signed for a bundle with a log entry",
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


def _add_promised(promised: Promised, state: BundleState) -> None:
    state.promised.append(promised)
    entry = promised.entry
    state.passed(PROMISE_STEP, f"the log's signature over index {entry.index} and its time, {promised.at}")
    state.passed("log entry", f"{' '.join(entry.kind)} about this signature, key and content, byte for byte")


def _add_proven(proven: ProvenEntry, state: BundleState) -> None:
    state.entries.append(proven)
    tree = proven.tree
    state.passed("checkpoint signature", f"log {tree.origin} of the trusted root")
    state.passed("inclusion", f"leaf {proven.leaf_index} in the signed tree of {tree.size}")
    if proven.integrated_time is None:
        state.skipped(PROMISE_STEP, "none given; the index is the proven one")
    else:
        state.passed(PROMISE_STEP, f"the log's signature over index {proven.index} and its time")
    state.passed("log entry", f"{' '.join(proven.kind)} about this signature, key and content, byte for byte")


def _signer_facts(
    bundle: AnyBundle, verifier: AnyVerifier, root: bytes, digest: bytes, state: BundleState
) -> SignerFacts:
    """Return who signed, as far as the bundle can say."""
    if bundle.certificate is None:
        return KeyFacts(spki_sha256=_sha256(verifier.der))
    _check_certified(verifier)
    # Imported here because a public key needs none of it, and it takes five times as long as all the rest.
    from ledger.bundle.sigstore_method import verify_keyless

    facts = verify_keyless(
        bundle,
        root,
        digest=digest,
        entries=_established(state),
        certificate_alone=not _is_verified_by_sigstore(verifier, bundle.content),
    )
    state.passed("certificate", "sigstore-python, at every time that the log or an authority signed")
    return facts


def _check_certified(verifier: AnyVerifier) -> None:
    """Return if a certificate of such a key can be checked: sigstore-python would refuse one of Ed25519, whoever issued it."""
    if verifier.details == ED25519_PH:
        raise UnknownKindError(
            "key of the certificate",
            expected="one on P-256, P-384 or P-521, or RSA",
            actual="Ed25519",
            next_step="Check the certificate with cosign; the signature and its log entry hold",
        )


def _is_verified_by_sigstore(verifier: AnyVerifier, content: SignedEnvelope | SignedFile) -> bool:
    """Whether sigstore-python verifies signatures by such a key; where not, it would blame the signature."""
    curve = getattr(verifier.key, "curve", None)
    return curve is not None and (isinstance(content, SignedFile) or curve.name == "secp256r1")


def _established(state: BundleState) -> list[Established]:
    """Return what sigstore-python need not ask again, of each entry."""
    promised = [
        Established(
            log_id=each.entry.log_id,
            kind=each.entry.kind,
            integrated_time=each.entry.integrated_time,
            proven=False,
        )
        for each in state.promised
    ]
    return promised + [
        Established(log_id=each.log_id, kind=each.kind, integrated_time=each.integrated_time, proven=True)
        for each in state.entries
    ]


def _check_who_and_what(
    bundle: AnyBundle,
    artifact: Mapping[str, bytes] | None,
    expected: Sequence[Expectation],
    *,
    expect_all: bool,
    log_only: bool,
    state: BundleState,
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
    expected: Sequence[Expectation], *, expect_all: bool, log_only: bool, state: BundleState
) -> bool | None:
    """Say whether the signer is expected; None where nobody is."""
    signer = state.signer
    if not expected or signer is None:
        if log_only:
            state.skipped(SIGNER_STEP, f"none given; signed by {signer}")
        else:
            state.failed(nobody_expected(str(signer)))
        return None
    met = [signer.meets(one) for one in expected]
    if all(met) if expect_all else any(met):
        state.passed(SIGNER_STEP, str(signer))
        return True
    missing = dict.fromkeys(str(one) for one, holds in zip(expected, met, strict=True) if not holds)
    joined = (" and " if expect_all else " or ").join(missing)
    state.failed(explain_unexpected([signer], joined, shown=str(signer), openings_given=False))
    return False


def _check_artifact(
    content: SignedEnvelope | SignedFile,
    artifact: Mapping[str, bytes] | None,
    *,
    log_only: bool,
    state: BundleState,
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
    state.failed(artifact_differs(str(state.subjects), artifact))
    return False


def _check_file(
    content: SignedFile, artifact: Mapping[str, bytes] | None, *, log_only: bool, state: BundleState
) -> bool | None:
    shown = "" if state.digest is None else state.digest.hex()
    if artifact is None:
        why = f"none given: the signature is over a file with the digest {shown}, and no file was compared with it"
        if log_only:
            state.skipped(ARTIFACT_STEP, why)
        else:
            state.failed(no_artifact(shown))
        return None
    if state.digest in artifact.values() and (
        content.algorithm is None or artifact.get(content.algorithm) == state.digest
    ):
        state.passed(ARTIFACT_STEP, f"its digest is the signed one, {shown}")
        return True
    state.failed(artifact_differs(f"a file with the digest {shown}", artifact))
    return False
