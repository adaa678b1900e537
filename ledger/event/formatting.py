"""Statements to bytes: RFC 8785 JSON, and the digest of what a retry does not change."""

import hashlib

from ledger.encoding import Json, format_canonical_json
from ledger.errors import LimitError
from ledger.event.schemas import MAX_STATEMENT_BYTES, VERIFICATION_EVENT
from ledger.event.statements import PreparedFacts, Statement, VerificationEvent

_TYPE = "https://in-toto.io/Statement/v1"


def format_statement(statement: Statement) -> bytes:
    """Format a statement as RFC 8785 JSON.

    Raises:
        LimitError: longer than 32 KiB; a verification event is brought below by ``fit``.
    """
    common: dict[str, Json] = {} if statement.common is None else statement.common.as_json()
    kind = statement.predicate_type
    if isinstance(statement, VerificationEvent):
        if statement.prepared is not None:
            return _join(statement, statement.prepared, common)
        predicate = {**common, **statement.facts(), **statement.verdict()}
        return _format(kind, statement.model.name, statement.manifest.sha256, predicate)
    data = _format(kind, *statement.subject, {**common, **statement.fields})
    if len(data) > MAX_STATEMENT_BYTES:
        raise LimitError(
            "statement", expected=f"at most {MAX_STATEMENT_BYTES} bytes", actual=f"{len(data)} bytes"
        )
    return data


_HEAD = f'{{"_type":"{_TYPE}","predicate":'.encode()
_TAIL = f',"predicateType":"{VERIFICATION_EVENT}","subject":'.encode()


def _join(event: VerificationEvent, prepared: PreparedFacts, common: dict[str, Json]) -> bytes:
    """Put the members of a predicate around the prepared ones, in the order of their names; nothing else is not ASCII."""
    verdict = event.verdict()
    before = {name: common[name] for name in ("eventId", "histories", "hub", "ledger")}
    between = {name: verdict[name] for name in ("policy", "reasons")}
    between |= {name: common[name] for name in ("recordedAt", "recordedBy")}
    after = {name: verdict[name] for name in ("verifiedAt", "verifier")}
    subject = [{"digest": {"sha256": event.manifest.sha256.hex()}, "name": event.model.name}]
    return b"".join(
        (
            _HEAD,
            format_canonical_json(before)[:-1],
            b",",
            prepared.manifest_to_outcome,
            b",",
            format_canonical_json(between)[1:-1],
            b",",
            prepared.signatures_to_uploader,
            b",",
            format_canonical_json(after)[1:],
            _TAIL,
            format_canonical_json(subject),
            b"}",
        )
    )


def _format(predicate_type: str, name: str, sha256: bytes, predicate: dict[str, Json]) -> bytes:
    return format_canonical_json(
        {
            "_type": _TYPE,
            "predicate": predicate,
            "predicateType": predicate_type,
            "subject": [{"digest": {"sha256": sha256.hex()}, "name": name}],
        }
    )


def facts_digest(statement: Statement) -> bytes:
    """Return the digest that is equal for equal facts: what a retry may change is left out.

    SHA-256 of the canonical predicate, its type and subject without ``recordedAt``, ``sequence`` and ``previous``,
    and for a verification event also without ``verifiedAt``, ``verifier``, ``policy``, ``reasons`` and
    ``accountLink``.
    """
    common: dict[str, Json] = {} if statement.common is None else statement.common.as_json()
    if common:
        del common["recordedAt"]
        common["histories"] = [{"key": link["key"]} for link in common["histories"]]
    if isinstance(statement, VerificationEvent):
        facts, name, sha256 = statement.facts(), statement.model.name, statement.manifest.sha256
        for signature in facts["signatures"]:
            del signature["accountLink"]
    else:
        facts, (name, sha256) = dict(statement.fields), statement.subject
    return hashlib.sha256(_format(statement.predicate_type, name, sha256, {**common, **facts})).digest()
