"""The values of statements from JSON that was checked by its table."""

from typing import Any

from ledger.encoding import Json
from ledger.errors import LedgerError
from ledger.event.parts import (
    Common,
    HistoryLink,
    ManifestRef,
    Model,
    PolicyRef,
    RecordedBy,
    SignatureFact,
    UpstreamLog,
    Verifier,
)
from ledger.event.rules import check_common
from ledger.event.schemas import STATEMENTS, VERIFICATION_EVENT
from ledger.event.statements import VerificationEvent
from ledger.identity import (
    Overflow,
    parse_capped,
    parse_overflow,
    parse_signer,
)

COMMON_FIELDS = frozenset(("ledger", "hub", "recordedBy", "histories", "eventId", "recordedAt"))


def build_common(value: Any) -> Common:
    """Build the common part. Raises MalformedError."""
    links = tuple(
        [
            HistoryLink(
                key=link["key"],
                sequence=link.get("sequence"),
                previous=bytes.fromhex(link["previous"]) if "previous" in link else None,
            )
            for link in value["histories"]
        ]
    )
    common = Common(
        ledger=value["ledger"],
        hub_id=value["hub"]["id"],
        recorded_by=RecordedBy(id=value["recordedBy"]["id"], role=value["recordedBy"]["role"]),
        histories=links,
        event_id=value["eventId"],
        recorded_at=value["recordedAt"],
    )
    check_common(common)
    return common


def build_event(value: Any) -> VerificationEvent:
    """Build a verification event from a predicate that its table let through. Raises MalformedError: the common part."""
    model, more = value["model"], value.get("moreSignatures")
    return VerificationEvent(
        common=build_common(value),
        model=Model(
            name=model["name"],
            revision=model["revision"],
            repo_id=model.get("repoId"),
            ref=model.get("ref"),
            parents=_build_list(model.get("parents")),
            revision_time=model.get("revisionTime"),
        ),
        trigger=value["trigger"],
        manifest=_build_manifest(value["manifest"]),
        uploader_account=value["uploader"].get("account"),
        signatures=tuple([_build_signature(each) for each in value["signatures"]]),
        more_signatures=parse_overflow(more) if more is not None else None,
        outcome=value["outcome"],
        policy=PolicyRef(
            sha256=bytes.fromhex(value["policy"]["sha256"]), decision=value["policy"]["decision"]
        ),
        reasons=tuple(value["reasons"]),
        verified_at=value["verifiedAt"],
        verifier=Verifier(name=value["verifier"]["name"], version=value["verifier"]["version"]),
    )


def _build_list(value: Any) -> tuple[str, ...] | Overflow | None:
    if value is None:
        return None
    return parse_overflow(value) if isinstance(value, dict) else tuple(value)


def _build_signature(value: Any) -> SignatureFact:
    get = value.get
    statement, root, upstream = get("statementSha256"), get("omsRootSha256"), get("upstreamLog")
    return SignatureFact(
        bundle_sha256=bytes.fromhex(value["bundleSha256"]),
        outcome=value["outcome"],
        account_link=value["accountLink"],
        statement_sha256=bytes.fromhex(statement) if statement else None,
        oms_root_sha256=bytes.fromhex(root) if root else None,
        method=get("method"),
        location=get("location"),
        ignored_paths=_build_list(get("ignoredPaths")),
        signer=parse_signer(value["signer"]) if "signer" in value else None,
        claimed_signer=parse_signer(value["claimedSigner"]) if "claimedSigner" in value else None,
        upstream_log=None
        if upstream is None
        else UpstreamLog(
            origin=parse_capped(upstream["origin"], "origin"),
            log_id=bytes.fromhex(upstream["logId"]),
            kind=upstream["kind"],
            index=int(upstream["index"]),
            integrated_time=upstream.get("integratedTime"),
        ),
    )


def parse_signatures(value: Json) -> tuple[SignatureFact, ...]:
    """Build the ``signatures`` of an event from JSON of somebody else. Raises MalformedError."""
    STATEMENTS[VERIFICATION_EVENT].required["signatures"].check(value, "signatures")
    return tuple([_build_signature(each) for each in value])


def build_parts(value: Json) -> tuple[ManifestRef, tuple[SignatureFact, ...]] | None:
    """Build ``manifest`` and ``signatures`` of an event without a check, for whoever checks what they are written as.

    None where they cannot be built: the checking functions say why.
    """
    try:
        signatures = [_build_signature(each) for each in value.get("signatures", ())]
        return _build_manifest(value["manifest"]), tuple(signatures)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, LedgerError):
        return None


def parse_manifest_ref(value: Json) -> ManifestRef:
    """Build the ``manifest`` of an event from JSON of somebody else. Raises MalformedError."""
    STATEMENTS[VERIFICATION_EVENT].required["manifest"].check(value, "manifest")
    return _build_manifest(value)


def _build_manifest(value: Any) -> ManifestRef:
    return ManifestRef(
        sha256=bytes.fromhex(value["sha256"]),
        content_sha256=bytes.fromhex(value["contentSha256"]),
        files=value["files"],
        bytes=value["bytes"],
    )
