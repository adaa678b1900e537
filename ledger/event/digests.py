"""Which evidence a statement names, by digest and use: what an audit looks for and an index finds again.

A digest of content (``contentSha256``) is named and never stored: it is the manifest without its signatures.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ledger.encoding import Json
from ledger.event import schemas
from ledger.event.statements import PlainStatement, Statement, UnknownStatement, VerificationEvent

TOO_LARGE = "bundle-too-large"
"""The reason code of an event that names a bundle above 16 MiB: its digest alone is kept."""


class Use(StrEnum):
    """What a statement names a digest as. ``reasons`` is named beside the log, by the event's id."""

    MANIFEST = "manifest"
    CONTENT = "content"
    BUNDLE = "bundle"
    MORE = "more-signatures"
    POLICY = "policy"
    EVIDENCE = "evidence"
    ERASED = "erased"
    REASONS = "reasons"


@dataclass(frozen=True, slots=True)
class NamedDigest:
    """One digest in a statement. ``stored``: its bytes belong in the evidence store, unless they were withdrawn.

    Of a bundle that could not be parsed, beside one that was too large, the statement does not say which of them it is:
    ``stored`` is false, and the manifest, which has the sizes, decides.
    """

    use: Use
    sha256: bytes
    stored: bool = True


def named_digests(statement: Statement | UnknownStatement) -> Iterator[NamedDigest]:
    """Yield what a statement names; nothing for one that we do not understand."""
    match statement:
        case VerificationEvent():
            yield from _of_event(statement)
        case PlainStatement():
            yield from _of_plain(statement.predicate_type, dict(statement.fields))
        case UnknownStatement():
            return


def _of_event(event: VerificationEvent) -> Iterator[NamedDigest]:
    yield NamedDigest(Use.MANIFEST, event.manifest.sha256)
    yield NamedDigest(Use.CONTENT, event.manifest.content_sha256, stored=False)
    yield NamedDigest(Use.POLICY, event.policy.sha256)
    for signature in event.signatures:
        digest_only = signature.method is None and TOO_LARGE in event.reasons
        yield NamedDigest(Use.BUNDLE, signature.bundle_sha256, stored=not digest_only)
    if event.more_signatures is not None:
        # The overflow form is the digest of the list's canonical JSON: the list itself is evidence under it.
        yield NamedDigest(Use.MORE, event.more_signatures.sha256)


def named_in_event(predicate: Json) -> Iterator[NamedDigest]:
    """Yield what ``named_digests`` does, of the predicate of an event whose form was checked before."""
    manifest = predicate["manifest"]
    yield NamedDigest(Use.MANIFEST, bytes.fromhex(manifest["sha256"]))
    yield NamedDigest(Use.CONTENT, bytes.fromhex(manifest["contentSha256"]), stored=False)
    yield NamedDigest(Use.POLICY, bytes.fromhex(predicate["policy"]["sha256"]))
    for signature in predicate["signatures"]:
        digest_only = "method" not in signature and TOO_LARGE in predicate["reasons"]
        yield NamedDigest(Use.BUNDLE, bytes.fromhex(signature["bundleSha256"]), stored=not digest_only)
    if "moreSignatures" in predicate:
        yield NamedDigest(Use.MORE, bytes.fromhex(predicate["moreSignatures"]["sha256"]))


_FIELDS = {
    schemas.IDENTITY_POLICY: ("policySha256", Use.POLICY),
    schemas.CHALLENGE: ("policySha256", Use.POLICY),
    schemas.DERIVATION: ("attestationSha256", Use.EVIDENCE),
    schemas.ACCOUNT_LINK: ("evidenceSha256", Use.EVIDENCE),
}


def _of_plain(predicate_type: str, fields: dict[str, Json]) -> Iterator[NamedDigest]:
    if predicate_type == schemas.ERASURE:
        for each in fields["evidence"]:
            yield NamedDigest(Use.ERASED, bytes.fromhex(each), stored=False)
    name, use = _FIELDS.get(predicate_type, ("", Use.EVIDENCE))
    if name in fields:
        yield NamedDigest(use, bytes.fromhex(fields[name]))
