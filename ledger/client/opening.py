"""Opening a committed identity: the canonical identity and the key, checked against the commitment in the event. Pure.

An opening is handed over by the hub to whoever may know. It needs no trust: nobody can find another identity and key with
the same commitment. It counts for the history that it names, and for no other.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ledger.encoding import Json, format_canonical_json, parse_canonical_json, parse_hex
from ledger.errors import MalformedError
from ledger.event import VerificationEvent
from ledger.event.fields import OVERFLOW
from ledger.identity import (
    COMMITMENT_KEY_BYTES,
    Capped,
    CertificateSigner,
    CommittedFacts,
    Identity,
    KeySigner,
    SigstoreSigner,
    commit_identity,
    parse_capped,
)

MAX_OPENING_BYTES = 1 << 20
MAX_OPENINGS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What opens one commitment: the canonical identity as JSON and its key, in one ``name:`` history."""

    history: str
    identity: Json
    key: bytes

    @property
    def commitment(self) -> bytes:
        """The commitment that this opens."""
        return commit_identity(self.identity, self.key)


def format_opening(openings: Iterable[Opening]) -> bytes:
    """Format as RFC 8785 JSON."""
    return format_canonical_json(
        [{"history": each.history, "identity": each.identity, "key": each.key.hex()} for each in openings]
    )


def parse_opening(data: bytes) -> tuple[Opening, ...]:
    """Parse a file of openings. Raises MalformedError, LimitError."""
    value = parse_canonical_json(data, what="openings", max_bytes=MAX_OPENING_BYTES)
    if not isinstance(value, list) or len(value) > MAX_OPENINGS:
        raise MalformedError("openings", expected=f"a list of at most {MAX_OPENINGS}", actual="another form")
    return tuple(_parse_one(each) for each in value)


def _parse_one(value: Json) -> Opening:
    match value:
        case {"history": str(history), "identity": dict(identity), "key": str(key)} if len(value) == 3:
            parse_identity(identity)
            return Opening(
                history=history,
                identity=identity,
                key=parse_hex(key, length=COMMITMENT_KEY_BYTES, what="key of an opening"),
            )
    raise MalformedError("opening", expected="history, identity and key", actual="another form")


def parse_identity(value: Json) -> Identity:
    """Parse a canonical identity (``identity/v1``) that equals its own form. Raises MalformedError."""
    found: Identity | None = None
    match value:
        case {"type": "key", "spkiSha256": sha256}:
            found = KeySigner(spki_sha256=parse_hex(sha256, length=32, what="spkiSha256"))
        case {"type": "certificate", "anchorSpkiSha256": anchor, "subject": subject}:
            found = CertificateSigner(
                anchor_spki_sha256=None if anchor is None else parse_hex(anchor, length=32, what="anchor"),
                subject=_capped(subject, "subject"),
            )
        case {"type": "sigstore", "issuer": issuer, "subject": subject, "refClass": str() | None as kind}:
            optional = {
                name: None if value.get(name) is None else _capped(value[name], name)
                for name in ("repositoryId", "ownerId", "trigger")
            }
            found = SigstoreSigner(
                issuer=_capped(issuer, "issuer"),
                subject=_capped(subject, "subject"),
                repository_id=optional["repositoryId"],
                owner_id=optional["ownerId"],
                ref_class=kind,
                trigger=optional["trigger"],
            )
    if found is None or found.as_json() != value:
        raise MalformedError("identity of an opening", expected="a canonical identity", actual="another form")
    return found


def _capped(value: Json, what: str) -> Capped:
    if not isinstance(value, str):
        OVERFLOW.check(value, what)
    return parse_capped(value, what)


def open_commitment(
    event: VerificationEvent, facts: CommittedFacts, openings: Sequence[Opening]
) -> Identity | None:
    """Return who stands behind a commitment of this event, or None where no opening fits."""
    history = f"name:{event.model.name}"
    for each in openings:
        if each.history == history and each.commitment == facts.commitment:
            return parse_identity(each.identity)
    return None
