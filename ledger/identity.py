"""Who signed: raw facts, and the versioned canonical identity derived from them (``identity/v1``).

Facts are logged as found, so nothing is lost. The canonical identity is computed when reading: it drops what
changes from release to release (the tag in a workflow's address, the leaf certificate) and keeps what must not.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from functools import lru_cache

from ledger.encoding import Json, format_base64, format_canonical_json
from ledger.errors import MalformedError

IDENTITY_VERSION = "identity/v1"
_REMEMBERED = 1024
"""Signers about whom nothing is derived again: one mostly signs many models. What one says is 1 to 3 KB in memory."""


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


@lru_cache(maxsize=_REMEMBERED)
def ref_class(ref: str) -> str:
    """Return ``branch``, ``tag``, ``pull`` or ``other`` for a full git ref."""
    return next((name for prefix, name in _REF_CLASSES if ref.startswith(prefix)), "other")


@lru_cache(maxsize=_REMEMBERED)
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


@lru_cache(maxsize=_REMEMBERED)
def identity_digest(identity: Identity) -> bytes:
    """Return the SHA-256 of the canonical identity's RFC 8785 form; pins hold these."""
    return hashlib.sha256(format_canonical_json(identity.as_json())).digest()


@lru_cache(maxsize=_REMEMBERED)
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


# For people: docs/guides/verify.md says how to compare what is shown here. JSON has the same in full, in hex.


_ISSUERS = {
    "https://accounts.google.com": "Google",
    "https://agent.buildkite.com": "Buildkite",
    "https://gitlab.com": "GitLab CI",
    "https://github.com/login/oauth": "GitHub",
    "https://login.microsoftonline.com": "Microsoft",
    "https://oauth2.sigstore.dev/auth": "Sigstore login",
    "https://oidc.codefresh.io": "Codefresh",
    "https://sigstore.verify.ibm.com/oauth2": "IBM",
    "https://token.actions.githubusercontent.com": "GitHub Actions",
    "https://www.kaggle.com/api/v1/models/signing": "Kaggle",
}
"""Identity providers by their exact address; any other is shown by its address, so that none can look like one."""
_WORKFLOWS = {
    "https://token.actions.githubusercontent.com": re.compile(
        r"https://github\.com/(?P<repo>[^/]+/[^/]+)/\.github/workflows/(?P<file>[^/]+)"
    ),
    "https://gitlab.com": re.compile(r"https://gitlab\.com/(?P<repo>[^/]+(?:/[^/]+)+)//(?P<file>.+)"),
}
"""How a provider of CI identities writes workflow and repository."""
_REF_WORDS = {"branch": "a branch", "tag": "a tag", "pull": "a pull request", "other": "another ref"}


def fingerprint(sha256: bytes) -> str:
    """Return a digest as ssh writes it: ``SHA256:`` and base64 without padding.

    Of a key it is the digest of the DER SubjectPublicKeyInfo, which is what the log holds; ``ssh-keygen -l`` hashes
    ssh's own form of a key and so prints another one for it.
    """
    return "SHA256:" + format_base64(sha256).rstrip("=")


@lru_cache(maxsize=_REMEMBERED)
def display(identity: Identity) -> str:
    """Return one line that a person recognises the signer by. Nothing in it moves a cursor."""
    match identity:
        case KeySigner():
            return f"key {fingerprint(identity.spki_sha256)}"
        case CertificateSigner():
            anchor = identity.anchor_spki_sha256
            return f"{_shown(identity.subject)} ({f'anchor {fingerprint(anchor)}' if anchor else 'no trusted anchor'})"
        case CommittedSigner():
            return f"committed identity {fingerprint(identity.commitment)}"
        case SigstoreSigner():
            ref = f", from {_ref(identity.ref_class)}" if identity.ref_class else ""
            workflow = _workflow(identity)
            who = f"workflow {workflow[1]} of {workflow[0]}" if workflow else _shown(identity.subject)
            return f"{who}{ref} ({_issuer(identity.issuer)})"


def _shown(value: Capped | None) -> str:
    if value is None:
        return "none"
    if isinstance(value, Overflow):
        return f"[{value.count} bytes, {fingerprint(value.sha256)}]"
    return (
        value if value.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in value)
    )


def _issuer(issuer: Capped) -> str:
    return _ISSUERS.get(issuer, _shown(issuer)) if isinstance(issuer, str) else _shown(issuer)


def _ref(ref_class: str | None) -> str:
    return "no ref" if ref_class is None else _REF_WORDS.get(ref_class, ref_class)


def _workflow(identity: SigstoreSigner) -> tuple[str, str] | None:
    """Return repository and workflow file of a CI identity whose provider writes them in a known way."""
    if not isinstance(identity.issuer, str) or not isinstance(identity.subject, str):
        return None
    pattern = _WORKFLOWS.get(identity.issuer)
    found = pattern.fullmatch(identity.subject) if pattern else None
    return (_shown(found["repo"]), _shown(found["file"])) if found else None


def describe_change(old: Identity, new: Identity) -> str:
    """Say in one line what differs between two signers."""
    if old == new:
        return "unchanged"
    match old, new:
        case CertificateSigner(), CertificateSigner() if old.subject == new.subject:
            return f"same name, now under another authority: {display(old)} → {display(new)}"
        case CertificateSigner(), CertificateSigner() if old.anchor_spki_sha256 == new.anchor_spki_sha256:
            return f"same authority, now {_shown(new.subject)} instead of {_shown(old.subject)}"
        case SigstoreSigner(), SigstoreSigner():
            return _describe_keyless(old, new)
        case _ if type(old) is not type(new):
            return f"now {_method(new)} instead of {_method(old)}: {display(old)} → {display(new)}"
    return f"{display(old)} → {display(new)}"


def _method(identity: Identity) -> str:
    match identity:
        case KeySigner():
            return "a key"
        case CertificateSigner():
            return "a certificate"
        case CommittedSigner():
            return "a committed identity"
        case SigstoreSigner():
            return "a keyless signature"


def _describe_keyless(old: SigstoreSigner, new: SigstoreSigner) -> str:
    was, now = _workflow(old), _workflow(new)
    parts = []
    if old.subject == new.subject:
        same = "same workflow" if now or new.ref_class else "same signer"
        if (old.repository_id, old.owner_id) != (new.repository_id, new.owner_id):
            same = (
                "same workflow name"  # the name was given to somebody else, or its repository was made again
            )
    elif was and now and was[0] == now[0]:
        same = f"same repository {now[0]}"
        parts.append(f"workflow {now[1]} instead of {was[1]}")
    else:
        return f"{display(old)} → {display(new)}"
    if old.ref_class != new.ref_class:
        parts.append(f"from {_ref(new.ref_class)} instead of {_ref(old.ref_class)}")
    if old.trigger != new.trigger:
        parts.append(f"started by {_shown(new.trigger)} instead of {_shown(old.trigger)}")
    if old.repository_id != new.repository_id:
        parts.append(f"in repository id {_shown(new.repository_id)} instead of {_shown(old.repository_id)}")
    if old.owner_id != new.owner_id:
        parts.append(f"under owner id {_shown(new.owner_id)} instead of {_shown(old.owner_id)}")
    if old.issuer != new.issuer:
        parts.append(f"vouched for by {_issuer(new.issuer)} instead of {_issuer(old.issuer)}")
    return f"{same}, now " + ", ".join(parts)


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
                else tuple([(name, parse_capped(claims[name], name)) for name in sorted(claims)]),
                certificate_sha256=bytes.fromhex(value["certificateSha256"]),
            )
