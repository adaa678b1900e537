"""A tiny world in memory: one hub, one log, its events, checkpoints and proofs, made with the real code.

Nothing here is a fake. Keys are derived from names, so the same world comes out every time.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ledger.client.proof_extra import Consistency, ProofExtra, format_extra
from ledger.client.trust import TrustFile
from ledger.client.trusted_keys import HubKey
from ledger.entry import format_entry, keyid_of, pae
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
    format_statement,
    outcome_of,
)
from ledger.identity import CertificateFacts, KeyFacts, SignerFacts, SigstoreFacts
from ledger.monitor_statement import MonitorStatement, format_monitor_statement
from ledger.open_findings import OpenFindings, OpenList
from ledger.tlog.checkpoint import Checkpoint, format_checkpoint
from ledger.tlog.cosignature import Cosigner, add_cosignatures
from ledger.tlog.merkle import leaf_hash, prove_consistency, prove_inclusion, root_of
from ledger.tlog.proof import TlogProof, format_proof
from ledger.tlog.signed_note import Ed25519NoteSigner, parse_note, sign_note
from ledger.tlog.trust_policy import LogKey, TrustPolicy, Witness

LEDGER = "log.example/models"
HUB = "hub.example"
RECORDED_AT = "2026-01-02T03:04:05Z"
NOW = 1_767_323_045 + 60
"""A minute after `RECORDED_AT`, in POSIX seconds."""

ISSUER = "https://token.actions.example"
WORKFLOW = "https://git.example/acme/model/.github/workflows/release.yml@refs/tags/v1"

_ECDSA = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)


def digest(text: str) -> bytes:
    """SHA-256 of a word: a distinct digest with a name."""
    return hashlib.sha256(text.encode()).digest()


def ed25519_key(name: str) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(digest(f"ed25519 {name}"))


def p256_key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(digest(f"p256 {name}")[:31], "big"), ec.SECP256R1())


def spki_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def sigstore_signer(san: str = WORKFLOW, issuer: str = ISSUER) -> SigstoreFacts:
    return SigstoreFacts(
        issuer=issuer, san=san, san_type="uri", claims=(), certificate_sha256=digest("certificate")
    )


def key_signer(name: str) -> KeyFacts:
    return KeyFacts(spki_sha256=hashlib.sha256(spki_of(p256_key(name))).digest())


def certificate_signer(anchor: str, subject: str = "CN=Acme Models") -> CertificateFacts:
    return CertificateFacts(
        chain_sha256=(digest("leaf"), digest("root")), anchor_spki_sha256=digest(anchor), subject=subject
    )


def signed_by(signer: SignerFacts, *, outcome: str = "VERIFIED") -> SignatureFact:
    """One signature; a signer that did not verify is only claimed."""
    method = {SigstoreFacts: "sigstore", KeyFacts: "key", CertificateFacts: "certificate"}.get(type(signer))
    verified = outcome == "VERIFIED"
    return SignatureFact(
        bundle_sha256=digest(f"bundle {signer}"),
        outcome=outcome,
        method=method,
        signer=signer if verified else None,
        claimed_signer=None if verified else signer,
    )


def make_event(
    *signatures: SignatureFact,
    name: str = "acme/model",
    revision: str = "1" * 40,
    ref: str | None = "refs/heads/main",
    decision: str = "observed",
    files: str = "files",
    event_id: str = "event-1",
    ledger: str = LEDGER,
    hub: str = HUB,
    recorded_by: RecordedBy | None = None,
) -> VerificationEvent:
    """A first event of a model; its files have the digests of `files_of(files)`."""
    by = recorded_by or RecordedBy(id=hub, role="hub")
    return VerificationEvent(
        common=Common(
            ledger=ledger,
            hub_id=hub,
            recorded_by=by,
            histories=(HistoryLink(key=f"name:{name}", sequence=0 if by.role == "hub" else None),),
            event_id=event_id,
            recorded_at=RECORDED_AT,
        ),
        model=Model(name=name, revision=revision, ref=ref),
        trigger="upload",
        manifest=ManifestRef(
            sha256=digest(f"manifest {files}"), content_sha256=digest(f"content {files}"), files=3, bytes=1234
        ),
        signatures=signatures,
        outcome=outcome_of(signatures),
        policy=PolicyRef(sha256=digest("policy"), decision=decision),
        verified_at=RECORDED_AT,
        verifier=Verifier(name="hubledger", version="0.1.0"),
    )


def sign_statement(statement: bytes, *, key: str = "hub") -> bytes:
    """The entry for a statement, signed by the named hub key."""
    private = p256_key(key)
    return format_entry(
        statement, keyid=keyid_of(spki_of(private)), signature=private.sign(pae(statement), _ECDSA)
    )


@dataclass
class World:
    """A log that anybody in a story can append to, with its keys. `fork` makes a second one with the same keys."""

    origin: str = LEDGER
    log_key: str = "log"
    entries: list[bytes] = field(default_factory=list)

    def fork(self, size: int) -> "World":
        """A log with the same keys and the first `size` entries."""
        return replace(self, entries=self.entries[:size])

    @property
    def log_signer(self) -> Ed25519NoteSigner:
        return Ed25519NoteSigner(self.origin, ed25519_key(self.log_key))

    def cosigner(self, name: str = "witness.example") -> Cosigner:
        return Cosigner(name=name, key=ed25519_key(name))

    def monitor(self, name: str = "monitor.example") -> Ed25519NoteSigner:
        """The key of a monitor."""
        return Ed25519NoteSigner(name, ed25519_key(name))

    def stated(
        self,
        *,
        name: str = "monitor.example",
        size: int | None = None,
        at: int = NOW,
        findings: Mapping[str, OpenFindings] | None = None,
        log: OpenFindings | None = None,
        found: OpenList | None = None,
        **changes,
    ) -> bytes:
        """The statement of a monitor that has followed this log up to a size."""
        found = found or OpenList.of(LEDGER, findings or {})
        made = MonitorStatement.of(self.tree(size), found, checked_at=at, log=log)
        return format_monitor_statement(replace(made, **changes), self.monitor(name))

    def trust(self, *, witnesses: tuple[str, ...] = (), quorum: str | None = None, **changes) -> TrustFile:
        """The trust file of this log, with one hub key from leaf 0 on."""
        policy = TrustPolicy(
            logs=(LogKey(key=self.log_signer.verifier),),
            witnesses=tuple(Witness(name=name, key=self.cosigner(name).verifier) for name in witnesses),
            quorum=quorum,
        )
        trust = TrustFile(
            version=1,
            ledger=LEDGER,
            origin=self.origin,
            policy=policy,
            hub=HUB,
            hub_keys=(HubKey(spki=spki_of(p256_key("hub"))),),
        )
        return replace(trust, **changes)

    def append(self, entry: bytes) -> int:
        """Append raw entry bytes; return the leaf index."""
        self.entries.append(entry)
        return len(self.entries) - 1

    def record(self, event: VerificationEvent, *, key: str = "hub") -> int:
        """Sign and append an event; return the leaf index."""
        return self.append(sign_statement(format_statement(event), key=key))

    def grow(self, count: int, word: str = "other") -> "World":
        """Append `count` events of other models."""
        for _ in range(count):
            at = len(self.entries)
            self.record(make_event(name=f"{word}/model-{at}", event_id=f"{word}-{at}"))
        return self

    def tree(self, size: int | None = None) -> Checkpoint:
        leaves = self._leaves(size)
        return Checkpoint(origin=self.origin, size=len(leaves), root_hash=root_of(leaves))

    def checkpoint(self, size: int | None = None, *, cosigned: dict[str, int] | None = None) -> bytes:
        """The signed checkpoint of a size (all by default), cosigned by witnesses at given times."""
        return self.sign_tree(self.tree(size), cosigned=cosigned)

    def sign_tree(self, tree: Checkpoint, *, cosigned: dict[str, int] | None = None) -> bytes:
        """Sign any tree, true or not, as the log."""
        note = sign_note(format_checkpoint(tree), [self.log_signer])
        lines = [self.cosigner(name).cosign(tree, timestamp=time) for name, time in (cosigned or {}).items()]
        return add_cosignatures(parse_note(note), lines) if lines else note

    def proof(
        self,
        index: int,
        *,
        size: int | None = None,
        since: int | None = None,
        cosigned: dict[str, int] | None = None,
    ) -> bytes:
        """The `.tlog-proof` of an entry, with a consistency proof from `since`."""
        return format_proof(self.unformatted_proof(index, size=size, since=since, cosigned=cosigned))

    def unformatted_proof(self, index, *, size=None, since=None, cosigned=None) -> TlogProof:
        size = len(self.entries) if size is None else size
        link = None
        if since is not None:
            link = Consistency(size=since, hashes=prove_consistency(since, size, self._read))
        return TlogProof(
            index=index,
            hashes=prove_inclusion(index, size, self._read),
            checkpoint_note=self.checkpoint(size, cosigned=cosigned),
            extra=format_extra(ProofExtra(entry=self.entries[index], consistency=link)),
        )

    def _leaves(self, size: int | None) -> list[bytes]:
        return [leaf_hash(entry) for entry in self.entries[:size]]

    def _read(self, nodes):
        leaves = self._leaves(None)
        return [root_of(leaves[index << level : (index + 1) << level]) for level, index in nodes]
