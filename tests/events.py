"""Verification events for tests, from a few words."""

import hashlib
from dataclasses import replace

from ledger.event import (
    Common,
    HistoryLink,
    ManifestRef,
    Model,
    PolicyRef,
    RecordedBy,
    SignatureFact,
    VerificationEvent,
    Verifier,
    outcome_of,
)
from ledger.history import history_keys
from ledger.identity import KeyFacts, SigstoreFacts

NOW = "2026-01-02T03:04:05Z"


def digest(text):
    return hashlib.sha256(text.encode()).digest()


def key(name):
    """A signer that is a key."""
    return KeyFacts(spki_sha256=digest(name))


def workflow(ref, *, repository="123", path=".github/workflows/release.yml", issuer="https://ci.example"):
    """A signer that is a CI workflow at a ref."""
    return SigstoreFacts(
        issuer=issuer,
        san=f"https://git.example/acme/tiny/{path}@{ref}",
        san_type="uri",
        claims=(("buildTrigger", "push"), ("sourceRepositoryIdentifier", repository)),
        certificate_sha256=digest(ref),
    )


def signed_by(*signers, outcome="VERIFIED"):
    return tuple(
        SignatureFact(
            bundle_sha256=digest(repr(signer)),
            outcome=outcome,
            method="key",
            location="model.sig",
            statement_sha256=digest("s"),
            oms_root_sha256=digest("r"),
            signer=signer if outcome in ("VERIFIED", "CONTENT_MISMATCH") else None,
            claimed_signer=None if outcome in ("VERIFIED", "CONTENT_MISMATCH") else signer,
        )
        for signer in signers
    )


def event(
    *signers,
    outcome="VERIFIED",
    name="acme/tiny",
    revision="r1",
    repo_id=None,
    ref=None,
    trigger="upload",
    signatures=None,
    event_id="e1",
    decision="observed",
):
    signatures = signed_by(*signers, outcome=outcome) if signatures is None else signatures
    return VerificationEvent(
        common=Common(
            ledger="log.example",
            hub_id="hub.example",
            recorded_by=RecordedBy(id="hub.example", role="hub"),
            histories=tuple(HistoryLink(key=key, sequence=0) for key in history_keys(name, repo_id)),
            event_id=event_id,
            recorded_at=NOW,
        ),
        model=Model(name=name, revision=revision, repo_id=repo_id, ref=ref),
        trigger=trigger,
        manifest=ManifestRef(
            sha256=digest("m" + revision), content_sha256=digest("c" + revision), files=3, bytes=4096
        ),
        signatures=signatures,
        outcome=outcome_of(signatures),
        policy=PolicyRef(sha256=digest("policy"), decision=decision),
        verified_at=NOW,
        verifier=Verifier(name="hubledger", version="0.1.0"),
    )


def decided(event, decision):
    return replace(event, policy=replace(event.policy, decision=decision))
