"""What our ``.tlog-proof`` files carry in ``extra``: the entry, and on request a link to an older checkpoint.

``extra`` is the entry's bytes, or the RFC 8785 object ``{"consistency":{"hashes":[…],"size":"…"},"entry":{…}}`` whose
``entry`` re-encodes to the entry's bytes (docs/spec/proof.md). Where the log is Rekor, whose leaves hold digests alone, it
also has ``"kind":"hashedrekord 0.0.2"``: how to make the leaf from the entry. Nothing here is authenticated: the entry is
checked by its leaf hash, the hashes by the consistency proof that they are.
"""

from dataclasses import dataclass

from ledger.encoding import (
    Json,
    format_base64,
    format_canonical_json,
    parse_base64,
    parse_canonical_json,
    parse_decimal,
)
from ledger.errors import LimitError, MalformedError
from ledger.tlog.merkle import HASH_BYTES, MAX_PROOF_HASHES
from ledger.tlog.proof import MAX_EXTRA_BYTES

MAX_KIND = 64


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
    """The entry of the proven leaf, and perhaps a consistency proof. ``kind``: of Rekor's leaf; None: the entry is the leaf."""

    entry: bytes
    consistency: Consistency | None = None
    kind: str | None = None


def format_extra(extra: ProofExtra) -> bytes:
    """Format ``extra``. Raises LimitError: an entry too large to go with a consistency proof."""
    if extra.consistency is None and extra.kind is None:
        return extra.entry
    value: dict[str, Json] = {
        "entry": parse_canonical_json(extra.entry, what="entry", max_bytes=MAX_EXTRA_BYTES)
    }
    if extra.kind is not None:
        value["kind"] = extra.kind
    if extra.consistency is not None:
        value["consistency"] = {
            "hashes": [format_base64(each) for each in extra.consistency.hashes],
            "size": str(extra.consistency.size),
        }
    data = format_canonical_json(value)
    if len(data) > MAX_EXTRA_BYTES:
        raise LimitError("extra of the proof", expected=f"at most {MAX_EXTRA_BYTES} bytes", actual=len(data))
    return data


def parse_extra(data: bytes) -> ProofExtra:
    """Parse ``extra``. Raises MalformedError, LimitError."""
    value = parse_canonical_json(data, what="extra of the proof", max_bytes=MAX_EXTRA_BYTES)
    match value:
        case {"entry": dict(entry)} if value.keys() <= {"entry", "kind", "consistency"} and len(value) > 1:
            kind = value.get("kind", "")
            if isinstance(kind, str) and len(kind) <= MAX_KIND:
                link = _parse_consistency(value["consistency"]) if "consistency" in value else None
                return ProofExtra(entry=format_canonical_json(entry), consistency=link, kind=kind or None)
        case dict() if "consistency" not in value:
            return ProofExtra(entry=data)
    raise _another_form()


def _parse_consistency(value: Json) -> Consistency:
    match value:
        case {"hashes": list(hashes), "size": str(size)} if (
            len(value) == 2
            and len(hashes) <= MAX_PROOF_HASHES
            and all(isinstance(each, str) for each in hashes)
        ):
            return Consistency(
                size=parse_decimal(size, what="size of the consistency proof"),
                hashes=tuple(
                    parse_base64(each, what="consistency hash", max_bytes=HASH_BYTES) for each in hashes
                ),
            )
    raise _another_form()


def _another_form() -> MalformedError:
    return MalformedError(
        "extra of the proof", expected="an entry, or consistency and entry", actual="another form"
    )
