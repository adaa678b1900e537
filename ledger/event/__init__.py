"""The statements that a log holds: ten types, one strict form (docs/spec/event.md).

``schemas`` is the table of fields and caps, ``statements`` the values, ``names`` the escapes.
"""

from ledger.event.names import escape_bytes, escape_name
from ledger.event.schemas import MAX_SIGNATURES, MAX_STATEMENT_BYTES
from ledger.event.statements import (
    Common,
    HistoryLink,
    ManifestRef,
    Model,
    PlainStatement,
    PolicyRef,
    PreparedFacts,
    RecordedBy,
    SignatureFact,
    Statement,
    UnknownStatement,
    UpstreamLog,
    VerificationEvent,
    Verifier,
    build_parts,
    check_outcome,
    facts_digest,
    fit,
    format_statement,
    outcome_of,
    parse_manifest_ref,
    parse_signatures,
    parse_statement,
    prepare_facts,
)

__all__ = [
    "MAX_SIGNATURES",
    "MAX_STATEMENT_BYTES",
    "Common",
    "HistoryLink",
    "ManifestRef",
    "Model",
    "PlainStatement",
    "PolicyRef",
    "PreparedFacts",
    "RecordedBy",
    "SignatureFact",
    "Statement",
    "UnknownStatement",
    "UpstreamLog",
    "VerificationEvent",
    "Verifier",
    "build_parts",
    "check_outcome",
    "escape_bytes",
    "escape_name",
    "facts_digest",
    "fit",
    "format_statement",
    "outcome_of",
    "parse_manifest_ref",
    "parse_signatures",
    "parse_statement",
    "prepare_facts",
]
