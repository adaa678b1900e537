"""From files to a receipt: verify, keep the evidence, record, publish, prove (``hubledger record``)."""

import hashlib
import pathlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.bundle.signature import TrustMaterial
from ledger.client.proof_extra import Consistency, ProofExtra, format_extra
from ledger.embedded.directory import OpenLedger, open_for_recording, utc_now
from ledger.errors import LimitError, NotFoundError
from ledger.event import Model, VerificationEvent, escape_name
from ledger.event.schemas import MAX_PARENTS, PARENTS_CAP
from ledger.identity import Overflow, canonical_identity, display, overflow_value
from ledger.log.published import PublishedLog
from ledger.recorder import Facts, Receipt
from ledger.storage.directory import write_file_durably
from ledger.tlog.checkpoint import VerifiedCheckpoint
from ledger.tlog.proof import TlogProof, format_proof
from ledger.verification import Findings, verify_revision

MAX_PEM_BYTES = 1 << 20
MAX_TRUST_CONFIG_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRequest:
    """What the caller of ``record`` says; names may hold anything and are escaped."""

    name: str
    revision: str
    model: pathlib.Path
    repo_id: str | None = None
    ref: str | None = None
    parents: Sequence[str] = ()
    event_id: str | None = None
    uploader: str | None = None
    public_keys: Sequence[pathlib.Path] = ()
    anchors: Sequence[pathlib.Path] = ()
    trust_config: pathlib.Path | None = None


def record_revision(
    directory: pathlib.Path,
    request: RecordRequest,
    *,
    not_older_than: Sequence[pathlib.Path] = (),
    start_unchecked: bool = False,
    proof_out: pathlib.Path | None = None,
    now: Callable[[], str] = utc_now,
) -> dict[str, Any]:
    """Verify and record one revision, publish it, and return its receipt as JSON facts.

    Raises:
        ConflictError: the event id stands for other facts. RestoredError, WriterLockedError, WriteError: the ledger
            cannot be written. NotFoundError, SourceError: the files cannot be read.
    """
    trust = TrustMaterial(
        public_keys=[_read(path, MAX_PEM_BYTES) for path in request.public_keys],
        anchors=[_read(path, MAX_PEM_BYTES) for path in request.anchors],
        sigstore_json=_read(request.trust_config, MAX_TRUST_CONFIG_BYTES) if request.trust_config else None,
    )
    _ = trust.keys, trust.anchor_certificates  # refuse unusable material before anything is written
    findings = verify_revision(request.model, trust=trust)
    with open_for_recording(
        directory, not_older_than=not_older_than, start_unchecked=start_unchecked, now=now
    ) as ledger:
        receipt = record_findings(ledger, request, findings)
        checkpoint = ledger.recorder.publish()
        if proof_out is not None:
            write_file_durably(
                proof_out, make_proof(ledger.log.published, receipt.leaf_index, receipt.entry), mode=0o644
            )
    return receipt_facts(receipt, checkpoint)


def record_findings(ledger: OpenLedger, request: RecordRequest, findings: Findings) -> Receipt:
    """Keep the evidence, then record the event that names it; durable on return."""
    ledger.evidence.put(findings.evidence)
    # If we stop here, evidence exists that no event names; the next recording of the same files finds it.
    return ledger.recorder.record(facts_of(request, findings))


def facts_of(request: RecordRequest, findings: Findings) -> Facts:
    """Return what is recorded. Without an event id, one is made from what identifies the observation."""
    model = Model(
        name=escape_name(request.name),
        revision=escape_name(request.revision),
        repo_id=None if request.repo_id is None else escape_name(request.repo_id),
        ref=None if request.ref is None else escape_name(request.ref),
        parents=_parents(request.parents),
    )
    facts = f"{model.name}\n{model.revision}\n{model.repo_id}\n{model.ref}\n{findings.reference.sha256.hex()}"
    return Facts(
        event_id=request.event_id or "auto-" + hashlib.sha256(facts.encode()).hexdigest(),
        model=model,
        manifest=findings.reference,
        outcome=findings.outcome,
        signatures=findings.signatures,
        more_signatures=findings.more_signatures,
        reasons=findings.reasons,
        uploader_account=None if request.uploader is None else escape_name(request.uploader),
    )


def _parents(parents: Sequence[str]) -> tuple[str, ...] | Overflow | None:
    if not parents:
        return None
    escaped = tuple(escape_name(each) for each in parents)
    fits = len(escaped) <= MAX_PARENTS and sum(len(each) + 3 for each in escaped) + 2 <= PARENTS_CAP
    return escaped if fits else overflow_value(list(escaped))


def _read(path: pathlib.Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise NotFoundError(
            f"file {path}", expected="a readable file", actual=error.strerror, next_step="Check the path"
        ) from error
    if len(data) > max_bytes:
        raise LimitError(f"file {path}", expected=f"at most {max_bytes} bytes", actual="more")
    return data


def make_proof(log: PublishedLog, leaf_index: int, entry: bytes, *, since: int | None = None) -> bytes:
    """Return a ``.tlog-proof`` of a published leaf with its entry, linked to the size ``since`` where given.

    Raises:
        NotFoundError: the leaf is not published yet, or ``since`` is a later size.
    """
    checkpoint = log.checkpoint()
    size = checkpoint.checkpoint.size
    if leaf_index >= size:
        raise NotFoundError(
            f"leaf {leaf_index}", expected=f"a leaf below {size}", actual="one that is not published"
        )
    if since is not None and since > size:
        raise NotFoundError(
            f"size {since}", expected=f"at most {size}", actual="a size that is not published"
        )
    link = None
    if since:
        link = Consistency(size=since, hashes=log.prove_consistency(since, size))
    return format_proof(
        TlogProof(
            index=leaf_index,
            hashes=log.prove_inclusion(leaf_index, size),
            checkpoint_note=checkpoint.note,
            extra=format_extra(ProofExtra(entry=entry, consistency=link)),
        )
    )


def receipt_facts(receipt: Receipt, checkpoint: VerifiedCheckpoint) -> dict[str, Any]:
    """Return a receipt as JSON facts."""
    event, tree = receipt.event, checkpoint.checkpoint
    return {
        "eventId": event.common.event_id,
        "leafIndex": receipt.leaf_index,
        "repeated": receipt.repeated,
        "name": event.model.name,
        "revision": event.model.revision,
        "outcome": event.outcome,
        "decision": event.policy.decision,
        "reasons": list(event.reasons),
        "signatures": signature_facts(event),
        **({"moreSignatures": event.more_signatures.as_json()} if event.more_signatures else {}),
        "manifestSha256": event.manifest.sha256.hex(),
        "checkpoint": {"origin": tree.origin, "size": tree.size, "rootHash": tree.root_hash.hex()},
    }


def signature_facts(event: VerificationEvent) -> list[dict[str, Any]]:
    """Return what people are shown of each signature."""
    shown = []
    for signature in event.signatures:
        facts: dict[str, Any] = {"outcome": signature.outcome, "bundleSha256": signature.bundle_sha256.hex()}
        if signature.method is not None:
            facts["method"] = signature.method
        who = signature.signer or signature.claimed_signer
        if who is not None:
            identity = canonical_identity(who)
            facts["signer" if signature.signer else "claimedSigner"] = display(identity)
            facts["identity"] = identity.as_json()
        shown.append(facts)
    return shown
