"""The statements that a log holds: ten types, one strict form (docs/spec/event.md).

``schemas`` is the table of fields and caps, ``statements`` and ``parts`` the values, ``parsing`` and ``formatting`` the
way from bytes and back, ``names`` the escapes, ``readable`` how people see them.
"""

from ledger.event.building import build_parts, parse_manifest_ref, parse_signatures
from ledger.event.fitting import fit
from ledger.event.formatting import facts_digest, format_statement
from ledger.event.names import escape_bytes, escape_name
from ledger.event.parsing import parse_audited_statement, parse_statement
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
from ledger.event.rules import check_outcome, outcome_of
from ledger.event.schemas import MAX_SIGNATURES, MAX_STATEMENT_BYTES
from ledger.event.statements import (
    PlainStatement,
    PreparedFacts,
    Statement,
    UnknownStatement,
    VerificationEvent,
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
    "parse_audited_statement",
    "parse_manifest_ref",
    "parse_signatures",
    "parse_statement",
    "prepare_facts",
]
