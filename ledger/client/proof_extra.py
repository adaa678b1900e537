"""What our ``.tlog-proof`` files carry in ``extra``: the entry, and on request a link to an older checkpoint.

``extra`` is the entry's bytes, or the RFC 8785 object ``{"consistency":{"hashes":[…],"size":"…"},"entry":{…}}`` whose
``entry`` re-encodes to the entry's bytes (docs/spec/proof.md). Nothing here is authenticated: the entry is checked
by its leaf hash, the hashes by the consistency proof that they are.
"""

from dataclasses import dataclass

from ledger.encoding import (
    format_base64,
    format_canonical_json,
    parse_base64,
    parse_canonical_json,
    parse_decimal,
)
from ledger.errors import LimitError, MalformedError
from ledger.tlog.merkle import HASH_BYTES, MAX_PROOF_HASHES
from ledger.tlog.proof import MAX_EXTRA_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Consistency:
    """A consistency proof from ``size`` to the proof's checkpoint."""

    size: int
    hashes: tuple[bytes, ...]

    def __post_init__(self) -> None:
        wrong = next((len(each) for each in self.hashes if len(each) != HASH_BYTES), None)
        if wrong is not None:
            raise MalformedError(
                "hash of the consistency proof", expected=f"{HASH_BYTES} bytes", actual=f"{wrong} bytes"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofExtra:
    """The entry of the proven leaf, and perhaps a consistency proof."""

    entry: bytes
    consistency: Consistency | None = None


def format_extra(extra: ProofExtra) -> bytes:
    """Format ``extra``. Raises LimitError: an entry too large to go with a consistency proof."""
    if extra.consistency is None:
        return extra.entry
    data = format_canonical_json(
        {
            "consistency": {
                "hashes": [format_base64(each) for each in extra.consistency.hashes],
                "size": str(extra.consistency.size),
            },
            "entry": parse_canonical_json(extra.entry, what="entry", max_bytes=MAX_EXTRA_BYTES),
        }
    )
    if len(data) > MAX_EXTRA_BYTES:
        raise LimitError("extra of the proof", expected=f"at most {MAX_EXTRA_BYTES} bytes", actual=len(data))
    return data


def parse_extra(data: bytes) -> ProofExtra:
    """Parse ``extra``. Raises MalformedError, LimitError."""
    value = parse_canonical_json(data, what="extra of the proof", max_bytes=MAX_EXTRA_BYTES)
    match value:
        case {"consistency": {"hashes": list(hashes), "size": str(size)} as link, "entry": dict(entry)} if (
            len(value) == len(link) == 2
            and len(hashes) <= MAX_PROOF_HASHES
            and all(isinstance(each, str) for each in hashes)
        ):
            return ProofExtra(
                entry=format_canonical_json(entry),
                consistency=Consistency(
                    size=parse_decimal(size, what="size of the consistency proof"),
                    hashes=tuple(
                        parse_base64(each, what="consistency hash", max_bytes=HASH_BYTES) for each in hashes
                    ),
                ),
            )
        case dict() if "consistency" not in value:
            return ProofExtra(entry=data)
    raise MalformedError(
        "extra of the proof", expected="an entry, or consistency and entry", actual="another form"
    )
