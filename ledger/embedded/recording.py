"""From files to a receipt: verify, keep the evidence, record, publish, prove (``hubledger record``)."""

import hashlib
import pathlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.bundle import MAX_BUNDLE_BYTES
from ledger.bundle.trust_material import TrustMaterial
from ledger.config import Config, load_config
from ledger.embedded.clock import DEFAULT_WAIT, posix_of, utc_now
from ledger.embedded.committing import commit_findings
from ledger.embedded.digests import mirror_digests
from ledger.embedded.facts import receipt_facts
from ledger.embedded.opening import OpenLedger, open_for_recording
from ledger.embedded.proving import make_proof
from ledger.embedded.witnesses import has_quorum
from ledger.encoding import format_canonical_json, parse_json
from ledger.errors import ConflictError, LimitError, MalformedError, NotFoundError, UsageError
from ledger.event import Model, escape_name
from ledger.event.digests import named_digests
from ledger.event.schemas import MAX_PARENTS, PARENTS_CAP
from ledger.identity import Overflow, overflow_value
from ledger.log.local import LocalLog
from ledger.manifest import Manifest, parse_listing, read_items
from ledger.recorder import Facts, Receipt
from ledger.storage.directory import read_file, write_file_durably
from ledger.storage.sqlite import event_key
from ledger.verification import Explanation, Findings, judge, verify_revision
from ledger.verification.reading import Files, FoundBundle, Progress

MAX_PEM_BYTES = 1 << 20
MAX_TRUST_CONFIG_BYTES = 16 << 20
MAX_LISTING_BYTES = 64 << 20
"""A list of files in a layout that can only be parsed whole: some 500,000 files."""
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRequest:
    """What the caller of ``record`` says; names may hold anything and are escaped.

    The files are a folder or file (``model``), or a manifest that the hub has already, with the bundles among its files.
    """

    name: str
    revision: str
    model: pathlib.Path | None = None
    manifest: pathlib.Path | None = None
    bundles: Sequence[pathlib.Path] = ()
    private: bool = False
    repo_id: str | None = None
    ref: str | None = None
    parents: Sequence[str] = ()
    event_id: str | None = None
    uploader: str | None = None
    public_keys: Sequence[pathlib.Path] = ()
    anchors: Sequence[pathlib.Path] = ()
    trust_config: pathlib.Path | None = None

    def __post_init__(self) -> None:
        said = {
            "NAME": (self.name,),
            "--revision": (self.revision,),
            "--repo-id": (self.repo_id,),
            "--ref": (self.ref,),
            "--parent": self.parents,
            "--event-id": (self.event_id,),
            "--uploader": (self.uploader,),
        }
        for option, values in said.items():
            # A statement with an empty name is one that no reader accepts, and the log keeps it for ever.
            if "" in values:
                raise UsageError(option, expected="at least one character", actual="nothing")


def record_revision(
    directory: pathlib.Path,
    request: RecordRequest,
    *,
    not_older_than: Sequence[pathlib.Path] = (),
    start_unchecked: bool = False,
    proof_out: pathlib.Path | None = None,
    wait: float | None = None,
    witnessed: bool = False,
    progress: Progress | None = None,
    now: Callable[[], str] = utc_now,
) -> dict[str, Any]:
    """Verify and record one revision, publish it, and return its receipt as JSON facts.

    A ledger in Rekor accepts it, submits it and waits for its place there for ``wait`` seconds (0: not at all; None: as
    long as is usual); without one by then the receipt says that it is pending. ``witnessed``: a log of our own is waited
    for until its quorum of witnesses cosigned the event's checkpoint, as long.

    Raises:
        UsageError: ``wait`` where the log is our own, unless for witnesses; ``witnessed`` where no quorum is asked for.
        QuorumError: the event is durable, and witnesses that are required or waited for have not cosigned it.
        ConflictError: the event id stands for other facts. RestoredError, WriterLockedError, WriteError: the ledger
            cannot be written. NotFoundError, SourceError: the files cannot be read.
    """
    config = load_config(directory)
    if witnessed and (config.log != "local" or not has_quorum(config, directory)):
        raise UsageError(
            "--wait-witnessed",
            expected="a log of its own whose witness.policy names a quorum",
            actual="a ledger in Rekor" if config.log != "local" else "none",
        )
    if config.log == "local" and wait is not None and not witnessed:
        raise UsageError(
            "--wait-seconds and --no-wait",
            expected="a ledger in Rekor, or --wait-witnessed",
            actual="one with a log of its own",
            next_step="Leave them out: what is recorded is in the log when the command ends",
        )
    if request.private and config.private == "skip":
        return {"skipped": True, "name": escape_name(request.name), "revision": escape_name(request.revision)}
    trust = TrustMaterial(
        public_keys=[read_file(path, max_bytes=MAX_PEM_BYTES) for path in request.public_keys],
        anchors=[read_file(path, max_bytes=MAX_PEM_BYTES) for path in request.anchors],
        sigstore_json=read_file(request.trust_config, max_bytes=MAX_TRUST_CONFIG_BYTES)
        if request.trust_config
        else None,
    )
    _ = trust.keys, trust.anchor_certificates  # refuse unusable material before anything is written
    if trust.sigstore_json is not None:
        # Only a first look: sigstore itself takes long to load, and is not needed where nothing is signed with it.
        parse_json(trust.sigstore_json, what="--trust-config", max_bytes=MAX_TRUST_CONFIG_BYTES)
    findings = find_out(request, trust, received=datetime.fromisoformat(now()), progress=progress)
    with open_for_recording(
        directory, not_older_than=not_older_than, start_unchecked=start_unchecked, now=now
    ) as ledger:
        receipt = record_findings(ledger, request, findings)
        seconds = DEFAULT_WAIT if wait is None else wait
        logged = _log_receipt(ledger, receipt, proof_out, quorum_within=seconds if witnessed else None)
        named = dict.fromkeys(each.sha256 for each in named_digests(receipt.event))
        withheld = [each.hex() for each in named if ledger.evidence.withdrawn(each) is not None]
    # From here on without the writer's lock: others record while this one waits.
    if config.log == "local":
        anchor_if_due(directory, config, now=posix_of(now()))
    else:
        from ledger.embedded.submitting import submit_event

        logged = submit_event(directory, receipt.leaf_index, wait=seconds, proof_out=proof_out)
    # What was withdrawn does not come back with a later recording: the event names it, and its bytes are not kept.
    return receipt_facts(receipt) | logged | ({"withheld": withheld} if withheld else {})


def _log_receipt(
    ledger: OpenLedger, receipt: Receipt, proof_out: pathlib.Path | None, *, quorum_within: float | None
) -> dict[str, Any]:
    """Publish what was recorded, where the log is our own; returns where it is as JSON facts."""
    checkpoint = ledger.publish(quorum_within=quorum_within)
    mirror_digests(ledger)
    if checkpoint is None or not isinstance(ledger.log, LocalLog):
        return {}
    if proof_out is not None:
        write_file_durably(
            proof_out, make_proof(ledger.log.published, receipt.leaf_index, receipt.entry), mode=0o644
        )
    tree = checkpoint.checkpoint
    return {
        "leafIndex": receipt.leaf_index,
        "checkpoint": {"origin": tree.origin, "size": tree.size, "rootHash": tree.root_hash.hex()},
    }


def anchor_if_due(directory: pathlib.Path, config: Config, *, now: int) -> None:
    """Anchor the checkpoint where ``[anchor]`` asks for it; who does not anchor pays nothing for it."""
    if config.anchor.log or config.anchor.timestamps:
        from ledger.embedded import anchoring

        anchoring.anchor_if_due(directory, config, now=now)


def find_out(
    request: RecordRequest, trust: TrustMaterial, *, received: datetime, progress: Progress | None = None
) -> Findings:
    """Verify what the request names, and what the hub ``received`` then. Raises UsageError: files and a manifest, or neither."""
    if (request.model is None) == (request.manifest is None) or (request.bundles and request.model):
        raise UsageError(
            "files of the revision",
            expected="--model, or --manifest with --bundle",
            actual="both" if request.model else "neither",
        )
    if request.model is not None:
        return verify_revision(request.model, trust=trust, received=received, progress=progress)
    manifest = read_listing(request.manifest or pathlib.Path())
    bundles = [each for path in request.bundles for each in _find_bundle(path, manifest)]
    return judge(manifest, bundles, Files(manifest, None), trust=trust, received=received)


def read_listing(path: pathlib.Path) -> Manifest:
    """Read a manifest from a file, item by item; in any other layout than the canonical one up to 64 MiB.

    Raises:
        NotFoundError: the file cannot be read. MalformedError, LimitError: it is no list of files.
    """
    try:
        with path.open("rb") as file:
            try:
                return Manifest(tuple(read_items(iter(lambda: file.read(_BLOCK_BYTES), b""))))
            except MalformedError:
                file.seek(0)
                data = file.read(MAX_LISTING_BYTES + 1)
    except OSError as error:
        raise NotFoundError(
            f"file {path}", expected="a readable file", actual=error.strerror, next_step="Check the path"
        ) from error
    if len(data) > MAX_LISTING_BYTES:
        raise LimitError(
            f"list of files {path.name}",
            expected=f"at most {MAX_LISTING_BYTES} bytes, or a manifest in canonical form",
            actual="a larger one in another form",
            next_step="Write it as docs/spec/manifest.md says: that is read piece by piece",
        )
    return parse_listing(data)


def _find_bundle(path: pathlib.Path, manifest: Manifest) -> list[FoundBundle]:
    """Return a bundle at each path at which the manifest lists it. Raises NotFoundError: it does not."""
    digest, raw = hashlib.sha256(), bytearray()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                raw += block if len(raw) <= MAX_BUNDLE_BYTES else b""
    except OSError as error:
        raise NotFoundError(
            f"bundle {path}", expected="a readable file", actual=error.strerror, next_step="Check the path"
        ) from error
    sha256 = digest.digest()
    kept = bytes(raw) if len(raw) <= MAX_BUNDLE_BYTES else None
    places = [item.path for item in manifest.files.values() if item.sha256 == sha256]
    if not places:
        raise NotFoundError(
            f"bundle {path}",
            expected="a file of the manifest",
            actual=f"none with sha256 {sha256.hex()}",
            next_step="A bundle is a file of the revision: list it in the manifest, or leave it out",
        )
    return [FoundBundle(path=place, sha256=sha256, raw=kept) for place in places]


def record_findings(ledger: OpenLedger, request: RecordRequest, findings: Findings) -> Receipt:
    """Keep the evidence, then record the event that names it; durable on return."""
    committed = request.private or ledger.config.identity_mode == "committed"
    if committed:
        history = f"name:{escape_name(request.name)}"
        ledger.identities.hold_back(history)
        findings = commit_findings(findings, history=history, keys=ledger.identities)
        # If we stop here, keys exist that no event uses: the next recording takes them.
    facts = facts_of(request, findings)
    store_evidence(ledger, findings, event_key(ledger.config.hub, facts.event_id))
    # If we stop here, evidence exists that no event names: the next recording of the same files finds it, or
    # `evidence gc` collects it.
    try:
        return ledger.recorder.record(facts)
    except ConflictError as error:
        if not committed:
            raise
        raise ConflictError(
            error.what, expected=error.expected, actual=error.actual, next_step=_OTHER_COMMITMENTS
        ) from error


_OTHER_COMMITMENTS = (
    "After `hubledger identity erase` the same signer has another commitment, so the same revision is a new observation: "
    "give it a new event id (--event-id). So is one with other keys"
)


def store_evidence(ledger: OpenLedger, findings: Findings, event: bytes) -> list[bytes]:
    """Store what the event (by the key of its id) is going to name; returns what was withheld as withdrawn."""
    manifest = findings.manifest
    withheld = ledger.evidence.put(findings.evidence)
    if not ledger.evidence.put_stream(manifest.sha256, manifest.chunks()):
        withheld.append(manifest.sha256)
    known, _ = ledger.log.lookup([event], [])
    # An event that was recorded before keeps the text that was written then.
    if findings.explanations and event not in known:
        ledger.evidence.put_text(event, format_reasons(findings.explanations))
    return withheld


MAX_TEXT = 2000
"""Characters of one explanation: it may quote what a stranger wrote."""
REASONS_KIND = "https://hubledger/reasons/v1"


def format_reasons(explanations: Sequence[Explanation]) -> bytes:
    """Format why signatures have their outcome, in words, as evidence: statements hold codes only."""
    return format_canonical_json(
        {
            "details": [
                {"bundleSha256": each.bundle_sha256.hex(), "reason": each.code, "text": _printable(str(each))}
                for each in explanations
            ],
            "kind": REASONS_KIND,
        }
    )


def _printable(text: str) -> str:
    return text[:MAX_TEXT].encode("utf-8", "backslashreplace").decode()


def facts_of(request: RecordRequest, findings: Findings) -> Facts:
    """Return what is recorded. Without an event id, one is made from what identifies the observation."""
    model = Model(
        name=escape_name(request.name),
        revision=escape_name(request.revision),
        repo_id=None if request.repo_id is None else escape_name(request.repo_id),
        ref=None if request.ref is None else escape_name(request.ref),
        parents=escape_parents(request.parents),
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


def escape_parents(parents: Sequence[str]) -> tuple[str, ...] | Overflow | None:
    """Return the parents of a revision as a statement holds them."""
    if not parents:
        return None
    escaped = tuple(escape_name(each) for each in parents)
    fits = len(escaped) <= MAX_PARENTS and sum(len(each) + 3 for each in escaped) + 2 <= PARENTS_CAP
    return escaped if fits else overflow_value(list(escaped))
