"""Bytes to statements: strictly, or as unknown where this version may not claim to understand."""

from typing import Any

from ledger.encoding import parse_audited_json, parse_canonical_json
from ledger.errors import LedgerError, MalformedError
from ledger.event import schemas
from ledger.event.building import COMMON_FIELDS, build_common, build_event
from ledger.event.parts import Common
from ledger.event.rules import check_event
from ledger.event.schemas import MAX_STATEMENT_BYTES, STATEMENT, STATEMENTS, VERIFICATION_EVENT
from ledger.event.statements import PlainStatement, Statement, UnknownStatement

_NAMES = {kind: frozenset((*table.required, *table.optional)) for kind, table in STATEMENTS.items()}


def parse_statement(data: bytes) -> Statement | UnknownStatement:
    """Parse a statement that equals its own re-encoding.

    Raises:
        LimitError: longer than 32 KiB.
        MalformedError: not canonical JSON, not an in-toto statement with one subject, or a known type with a field
            that is missing or of another kind. Unknown types, versions and fields give ``UnknownStatement``.
    """
    value = parse_canonical_json(data, what="statement", max_bytes=MAX_STATEMENT_BYTES)
    if not isinstance(value, dict) or "predicate" not in value:
        raise MalformedError("statement", expected="an in-toto statement", actual=type(value).__name__)
    predicate = value.pop("predicate")
    STATEMENT.check(value, "statement")
    kind = value["predicateType"]
    if kind not in STATEMENTS:
        return UnknownStatement(
            predicate_type=kind, reason="unknown type or version", common=_try_common(predicate)
        )
    unknown = _unknown_fields(kind, predicate)
    if unknown:
        return UnknownStatement(
            predicate_type=kind, reason=f"unknown field {unknown}", common=_try_common(predicate)
        )
    STATEMENTS[kind].check(predicate, "predicate")
    subject = value["subject"][0]
    return _build(kind, predicate, subject["name"], bytes.fromhex(subject["digest"]["sha256"]))


def parse_audited_statement(data: bytes) -> Statement | UnknownStatement:
    """Return what ``parse_statement`` does, of a statement that it let through before, by an audit or by ourselves.

    Of an event of the type that we know nothing of its form is checked again, in a fifth of the time.

    Raises:
        LimitError, MalformedError: as ``parse_statement``, which reads everything else.
    """
    try:
        value = parse_audited_json(data)
        predicate = value["predicate"]
        if value["predicateType"] == VERIFICATION_EVENT and not _unknown_fields(
            VERIFICATION_EVENT, predicate
        ):
            return build_event(predicate)
    except (LedgerError, LookupError, TypeError, ValueError, AttributeError):
        pass
    return parse_statement(data)


def _unknown_fields(kind: str, predicate: Any) -> str | None:
    """Return the first field of the predicate that this version does not name."""
    if not isinstance(predicate, dict):
        return None
    if predicate.keys() <= _NAMES[kind]:
        return None
    unknown = sorted(predicate.keys() - _NAMES[kind])
    return unknown[0][:64] if unknown else None


def _build(kind: str, predicate: Any, name: str, sha256: bytes) -> Statement:
    if kind == VERIFICATION_EVENT:
        event = build_event(predicate)
        if (name, sha256) != (event.model.name, event.manifest.sha256):
            raise MalformedError(
                "subject",
                expected=f"{event.model.name} with {event.manifest.sha256.hex()}, from the predicate",
                actual=f"{name} with {sha256.hex()}",
            )
        check_event(event)
        return event
    common = None if kind == schemas.ANCHOR else build_common(predicate)
    fields = {key: item for key, item in predicate.items() if common is None or key not in COMMON_FIELDS}
    statement = PlainStatement(predicate_type=kind, fields=fields, common=common)
    if (name, sha256) != statement.subject:
        raise MalformedError(
            "subject",
            expected=f"{statement.subject[0]} with {statement.subject[1].hex()}, from the predicate",
            actual=f"{name} with {sha256.hex()}",
        )
    return statement


def _try_common(predicate: Any) -> Common | None:
    """Read the common part of a statement that we do not understand, where it is as we know it."""
    try:
        schemas.COMMON.check({key: predicate[key] for key in COMMON_FIELDS}, "predicate")
        return build_common(predicate)
    except (LedgerError, KeyError, TypeError):
        return None
