"""A finding as every sink gets it."""

from ledger.encoding import Json, format_canonical_json
from monitor.record import Stored

_FORMAT = "https://hubledger/monitor-finding/v1"


def format_finding(finding: Stored) -> bytes:
    """Format a finding as every sink gets it: RFC 8785 JSON."""
    value: dict[str, Json] = {"format": _FORMAT, "foundAt": finding.found_at, **finding.as_json()}
    return format_canonical_json(value)
