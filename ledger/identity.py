"""Who signed: raw facts, and the versioned canonical identity derived from them (``identity/v1``).

Facts are logged as found, so nothing is lost. The canonical identity is computed when reading: it drops what
changes from release to release (the tag in a workflow's address, the leaf certificate) and keeps what must not.
"""

import hashlib
import hmac
from dataclasses import dataclass
from functools import lru_cache

from ledger.encoding import Json, format_canonical_json
from ledger.errors import MalformedError

IDENTITY_VERSION = "identity/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overflow:
    """Stands for a value above its byte cap: its bytes (or items) and the SHA-256 of the whole.

    A string's digest is of its UTF-8 bytes, a list's or object's of its RFC 8785 form.
    """

    count: int
    sha256: bytes

    def as_json(self) -> Json:
        """Return ``{"count", "sha256"}``."""
        return {"count": self.count, "sha256": self.sha256.hex()}


Capped = str | Overflow


def overflow_text(text: str) -> Overflow:
    """Return the overflow form of a string."""
    raw = text.encode("utf-8", "surrogatepass")
    return Overflow(count=len(raw), sha256=hashlib.sha256(raw).digest())


def overflow_value(value: Json) -> Overflow:
    """Return the overflow form of a list or object."""
    return Overflow(count=len(value), sha256=hashlib.sha256(format_canonical_json(value)).digest())


def plain(value: Capped | None) -> Json:
    """Return a capped string as JSON."""
    return value.as_json() if isinstance(value, Overflow) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class SigstoreFacts:
    """What a Fulcio certificate says: issuer, subject alternative name as it is, and the named claims."""

    issuer: Capped
    san: Capped
    san_type: str
    claims: tuple[tuple[str, Capped], ...] | Overflow
    certificate_sha256: bytes

    def as_json(self) -> Json:
        """Return the ``signer`` object of a statement."""
        claims = self.claims
        return {
            "certificateSha256": self.certificate_sha256.hex(),
            "claims": claims.as_json()
            if isinstance(claims, Overflow)
            else {name: plain(value) for name, value in claims},
            "issuer": plain(self.issuer),
            "kind": "sigstore",
            "san": plain(self.san),
            "sanType": self.san_type,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """A bare key, by the SHA-256 of its DER SubjectPublicKeyInfo."""

    spki_sha256: bytes

    def as_json(self) -> Json:
        """Return the ``signer`` object of a statement."""
        return {"kind": "key", "spkiSha256": self.spki_sha256.hex()}


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """A certificate chain: its fingerprints leaf first, the anchor's key, and the leaf's subject."""

    chain_sha256: tuple[bytes, ...] | Overflow
    anchor_spki_sha256: bytes | None
    subject: Capped

    def as_json(self) -> Json:
        """Return the ``signer`` object of a statement. A claimed signer may have no anchor."""
        chain = self.chain_sha256
        value = {
            "chainSha256": chain.as_json() if isinstance(chain, Overflow) else [each.hex() for each in chain],
            "kind": "certificate",
            "subject": plain(self.subject),
        }
        if self.anchor_spki_sha256 is not None:
            value["anchorSpkiSha256"] = self.anchor_spki_sha256.hex()
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedFacts:
    """An identity under a commitment that is constant within one history (``identity_mode = committed``)."""

    commitment: bytes

    def as_json(self) -> Json:
        """Return the ``signer`` object of a statement."""
        return {"commitment": self.commitment.hex(), "identity": IDENTITY_VERSION}


SignerFacts = SigstoreFacts | KeyFacts | CertificateFacts | CommittedFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class SigstoreSigner:
    """Canonical identity of a keyless signer; absent parts are None."""

    issuer: Capped
    subject: Capped
    repository_id: Capped | None
    owner_id: Capped | None
    ref_class: str | None
    trigger: Capped | None

    def as_json(self) -> Json:
        """Return the canonical form, with explicit nulls."""
        return {
            "issuer": plain(self.issuer),
            "ownerId": plain(self.owner_id),
            "refClass": self.ref_class,
            "repositoryId": plain(self.repository_id),
            "subject": plain(self.subject),
            "trigger": plain(self.trigger),
            "type": "sigstore",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySigner:
    """Canonical identity of a bare key."""

    spki_sha256: bytes

    def as_json(self) -> Json:
        """Return the canonical form."""
        return {"spkiSha256": self.spki_sha256.hex(), "type": "key"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSigner:
    """Canonical identity of a certificate's holder: anchor and name, so that a renewal is no change."""

    anchor_spki_sha256: bytes | None
    subject: Capped

    def as_json(self) -> Json:
        """Return the canonical form."""
        anchor = self.anchor_spki_sha256
        return {
            "anchorSpkiSha256": anchor.hex() if anchor else None,
            "subject": plain(self.subject),
            "type": "certificate",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedSigner:
    """An identity that only its commitment is known of."""

    commitment: bytes

    def as_json(self) -> Json:
        """Return the canonical form."""
        return {"commitment": self.commitment.hex(), "type": "committed"}


Identity = SigstoreSigner | KeySigner | CertificateSigner | CommittedSigner

_REF_CLASSES = (
    ("refs/heads/", "branch"),
    ("refs/tags/", "tag"),
    ("refs/pull/", "pull"),
    ("refs/merge-requests/", "pull"),
)


@lru_cache(maxsize=1024)
def ref_class(ref: str) -> str:
    """Return ``branch``, ``tag``, ``pull`` or ``other`` for a full git ref."""
    return next((name for prefix, name in _REF_CLASSES if ref.startswith(prefix)), "other")


@lru_cache(maxsize=4096)
def canonical_identity(facts: SignerFacts) -> Identity:
    """Derive the canonical identity (``identity/v1``) from logged facts."""
    match facts:
        case KeyFacts():
            return KeySigner(spki_sha256=facts.spki_sha256)
        case CertificateFacts():
            return CertificateSigner(anchor_spki_sha256=facts.anchor_spki_sha256, subject=facts.subject)
        case CommittedFacts():
            return CommittedSigner(commitment=facts.commitment)
        case SigstoreFacts():
            return _sigstore_signer(facts)


def _sigstore_signer(facts: SigstoreFacts) -> SigstoreSigner:
    """A CI address is ``<workflow>@<ref>``: the workflow stays, the ref becomes its class."""
    claims = {} if isinstance(facts.claims, Overflow) else dict(facts.claims)
    subject, kind = facts.san, None
    if facts.san_type == "uri" and isinstance(subject, str) and "@refs/" in subject:
        subject, _, ref = subject.rpartition("@refs/")
        kind = ref_class(f"refs/{ref}")
    return SigstoreSigner(
        issuer=facts.issuer,
        subject=subject,
        ref_class=kind,
        repository_id=claims.get("sourceRepositoryIdentifier"),
        owner_id=claims.get("sourceRepositoryOwnerIdentifier"),
        trigger=claims.get("buildTrigger"),
    )


@lru_cache(maxsize=4096)
def identity_digest(identity: Identity) -> bytes:
    """Return the SHA-256 of the canonical identity's RFC 8785 form; pins hold these."""
    return hashlib.sha256(format_canonical_json(identity.as_json())).digest()


@lru_cache(maxsize=1 << 14)
def signer_digest(facts: SignerFacts) -> bytes:
    """Return the digest of the canonical identity that logged facts stand for."""
    return identity_digest(canonical_identity(facts))


COMMITMENT_KEY_BYTES = 32
"""Exactly: HMAC pads shorter keys with zeros, so keys of several lengths would have twins."""


def commit_identity(identity: Json, key: bytes) -> bytes:
    """Return HMAC-SHA-256 of a canonical identity under the key of its history and itself (docs/spec/identity.md).

    Raises:
        MalformedError: a key of another length.
    """
    if len(key) != COMMITMENT_KEY_BYTES:
        raise MalformedError(
            "key of a commitment", expected=f"{COMMITMENT_KEY_BYTES} bytes", actual=f"{len(key)} bytes"
        )
    return hmac.new(key, format_canonical_json(identity), hashlib.sha256).digest()


def display(identity: Identity) -> str:
    """Return one line that a person recognises the signer by."""
    match identity:
        case KeySigner():
            return f"key sha256:{identity.spki_sha256.hex()[:16]}…"
        case CertificateSigner():
            anchor = identity.anchor_spki_sha256
            under = f"anchor sha256:{anchor.hex()[:16]}…" if anchor else "no trusted anchor"
            return f"{_shown(identity.subject)} ({under})"
        case CommittedSigner():
            return f"committed identity {identity.commitment.hex()[:16]}…"
        case SigstoreSigner():
            ref = f", {identity.ref_class}" if identity.ref_class else ""
            return f"{_shown(identity.subject)}{ref} ({_shown(identity.issuer)})"


def _shown(value: Capped) -> str:
    return value if isinstance(value, str) else f"[{value.count} bytes, sha256:{value.sha256.hex()[:16]}…]"


def describe_change(old: Identity, new: Identity) -> str:
    """Say in one line what differs between two signers."""
    if type(old) is not type(new):
        return f"method changed: {display(old)} → {display(new)}"
    if isinstance(old, SigstoreSigner) and isinstance(new, SigstoreSigner) and old.subject == new.subject:
        parts = [
            (name, getattr(old, field), getattr(new, field))
            for name, field in (
                ("issuer", "issuer"),
                ("repository id", "repository_id"),
                ("owner id", "owner_id"),
                ("ref", "ref_class"),
                ("trigger", "trigger"),
            )
        ]
        changed = [f"{name} {_part(was)} → {_part(now)}" for name, was, now in parts if was != now]
        return f"same {_shown(new.subject)}, but " + ", ".join(changed) if changed else "unchanged"
    return f"{display(old)} → {display(new)}"


def _part(value: Capped | None) -> str:
    return "none" if value is None else _shown(value)


def parse_capped(value: Json, what: str) -> Capped:
    """Parse a string or its overflow form, already checked to be one of the two."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return parse_overflow(value)
    raise MalformedError(what, expected="a string or {count, sha256}", actual=type(value).__name__)


def parse_overflow(value: Json) -> Overflow:
    """Parse a checked overflow form."""
    return Overflow(count=value["count"], sha256=bytes.fromhex(value["sha256"]))


def parse_signer(value: Json) -> SignerFacts:
    """Build signer facts from a ``signer`` object whose fields were checked."""
    if "commitment" in value:
        return CommittedFacts(commitment=bytes.fromhex(value["commitment"]))
    match value["kind"]:
        case "key":
            return KeyFacts(spki_sha256=bytes.fromhex(value["spkiSha256"]))
        case "certificate":
            chain, anchor = value["chainSha256"], value.get("anchorSpkiSha256")
            return CertificateFacts(
                chain_sha256=parse_overflow(chain)
                if isinstance(chain, dict)
                else tuple(bytes.fromhex(c) for c in chain),
                anchor_spki_sha256=bytes.fromhex(anchor) if anchor else None,
                subject=parse_capped(value["subject"], "subject"),
            )
        case _:
            claims = value["claims"]
            over = set(claims) == {"count", "sha256"} and isinstance(claims["count"], int)
            return SigstoreFacts(
                issuer=parse_capped(value["issuer"], "issuer"),
                san=parse_capped(value["san"], "san"),
                san_type=value["sanType"],
                claims=parse_overflow(claims)
                if over
                else tuple((name, parse_capped(claims[name], name)) for name in sorted(claims)),
                certificate_sha256=bytes.fromhex(value["certificateSha256"]),
            )
