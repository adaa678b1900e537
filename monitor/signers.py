"""Who signed, as one text: what is kept of them, and compared without being parsed. Pure."""

from functools import lru_cache

from ledger.encoding import format_canonical_json, parse_json
from ledger.identity import SignerFacts, parse_signer

_SIGNERS = 256
"""Signers that are not parsed and formatted again: one mostly signs many models. What one says is 1 to 3 KB in memory."""
_MAX_BYTES = 1 << 16
"""Twice the longest statement."""


@lru_cache(maxsize=_SIGNERS)
def format_signers(signers: tuple[SignerFacts, ...]) -> str:
    """Format as the one text for these signers in this order; empty for nobody."""
    return format_canonical_json([each.as_json() for each in signers]).decode() if signers else ""


@lru_cache(maxsize=_SIGNERS)
def parse_signers(text: str) -> tuple[SignerFacts, ...]:
    """Parse what ``format_signers`` made. Raises MalformedError, LimitError."""
    if not text:
        return ()
    value = parse_json(text.encode(), what="signers that the monitor keeps", max_bytes=_MAX_BYTES)
    return tuple(parse_signer(each) for each in value)
