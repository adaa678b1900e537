"""Proof files: c2sp.org/tlog-proof. An inclusion proof with the checkpoint that it leads to.

``extra`` is not authenticated by the format; what an application puts there it must check itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.encoding import MAX_DECIMAL, format_base64, parse_base64, parse_decimal
from ledger.errors import LimitError, MalformedError
from ledger.tlog.merkle import HASH_BYTES, MAX_PROOF_HASHES, verify_inclusion
from ledger.tlog.signed_note import MAX_NOTE_BYTES
from ledger.tlog.trust_policy import CountedCheckpoint, TrustPolicy

HEADER = "c2sp.org/tlog-proof@v1"
MAX_EXTRA_BYTES = 49_146
"""What a line of 65,535 bytes, the longest that Go's line scanner reads, holds after ``extra ``."""
MAX_PROOF_BYTES = MAX_NOTE_BYTES + 2 * 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class TlogProof:
    """A leaf's position, its path, and the note of the checkpoint. Nothing is verified."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint_note: bytes
    extra: bytes | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.index <= MAX_DECIMAL:
            raise MalformedError("index of the proof", expected="0 to 2^63 - 1", actual=self.index)
        if len(self.hashes) > MAX_PROOF_HASHES:
            raise LimitError(
                "hashes of the proof", expected=f"at most {MAX_PROOF_HASHES}", actual=len(self.hashes)
            )
        if any(len(each) != HASH_BYTES for each in self.hashes):
            raise MalformedError("hash of the proof", expected="32 bytes", actual="another length")
        if self.extra is not None and len(self.extra) > MAX_EXTRA_BYTES:
            raise LimitError(
                "extra of the proof", expected=f"at most {MAX_EXTRA_BYTES} bytes", actual=len(self.extra)
            )


def format_proof(proof: TlogProof) -> bytes:
    """Format a proof file."""
    lines = [HEADER]
    if proof.extra is not None:
        lines.append(f"extra {format_base64(proof.extra)}")
    lines.append(f"index {proof.index}")
    lines.extend(format_base64(each) for each in proof.hashes)
    return "".join(f"{line}\n" for line in lines).encode() + b"\n" + proof.checkpoint_note


def parse_proof(data: bytes) -> TlogProof:
    """Parse a proof file; what does not format back to itself is refused.

    Raises:
        LimitError: too large. MalformedError: another layout, lax numbers or base64.
    """
    if len(data) > MAX_PROOF_BYTES:
        raise LimitError(
            "proof file", expected=f"at most {MAX_PROOF_BYTES} bytes", actual=f"{len(data)} bytes"
        )
    head, blank, note = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise MalformedError(
            "proof file", expected="ASCII before the checkpoint", actual="other bytes"
        ) from error
    if not blank or lines[0] != HEADER:
        raise MalformedError(
            "proof file", expected=f"{HEADER}, and a checkpoint after a blank line", actual=lines[0]
        )
    rest = lines[1:]
    extra = None
    if rest and rest[0].startswith("extra "):
        extra = parse_base64(
            rest.pop(0).removeprefix("extra "), what="extra of the proof", max_bytes=MAX_EXTRA_BYTES
        )
    if not rest or not rest[0].startswith("index "):
        raise MalformedError(
            "proof file", expected="a line with the index", actual=rest[0] if rest else "nothing"
        )
    proof = TlogProof(
        index=parse_decimal(rest[0].removeprefix("index "), what="index of the proof"),
        hashes=_hashes(rest[1:]),
        checkpoint_note=note,
        extra=extra,
    )
    if format_proof(proof) != data:
        raise MalformedError("proof file", expected="its own formatting", actual="other bytes")
    return proof


def _hashes(lines: Sequence[str]) -> tuple[bytes, ...]:
    if len(lines) > MAX_PROOF_HASHES:
        raise LimitError("hashes of the proof", expected=f"at most {MAX_PROOF_HASHES}", actual=len(lines))
    return tuple(parse_base64(line, what="hash of the proof", max_bytes=HASH_BYTES) for line in lines)


def verify_proof(proof: TlogProof, leaf: bytes, *, policy: TrustPolicy, origin: str) -> CountedCheckpoint:
    """Return the checkpoint that contains ``leaf`` (a leaf hash) at the proof's index.

    Size and root come from the checkpoint, whose signatures are checked first.

    Raises:
        SignatureError: the policy does not hold. ProofError: the leaf is not there.
    """
    counted = policy.verify(proof.checkpoint_note, origin=origin)
    tree = counted.verified.checkpoint
    verify_inclusion(leaf, index=proof.index, size=tree.size, proof=proof.hashes, root=tree.root_hash)
    return counted
