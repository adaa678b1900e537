"""Evidence that a log contradicts itself: it stands on its own, for anybody who has the log's key.

There are two forms and no third (architecture section 8): two signed checkpoints of one size with different roots, or
a signed (m, R) and a signed (n, S) with a *valid* proof that S has the prefix root R' ≠ R. A proof that fails
convinces nobody, because anyone can make one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.client.trust import TrustFile
from ledger.encoding import (
    Json,
    format_base64,
    format_canonical_json,
    parse_base64,
    parse_canonical_json,
    parse_hex,
)
from ledger.errors import LedgerError, MalformedError, ProofError
from ledger.tlog.checkpoint import Checkpoint, VerifiedCheckpoint, verify_checkpoint
from ledger.tlog.merkle import (
    HASH_BYTES,
    MAX_PROOF_HASHES,
    consistency_roots,
    root_from_inclusion,
    verify_consistency,
)
from ledger.tlog.signed_note import MAX_NOTE_BYTES

KIND = "https://hubledger/misbehaviour/v1"
MAX_EVIDENCE_BYTES = 4 * MAX_NOTE_BYTES
"""Two notes, each escaped as a JSON string, and one consistency proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """The root that a newer tree has over its first leaves, and the consistency proof that shows it."""

    root: bytes
    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Misbehaviour:
    """Two signed checkpoints that contradict each other; ``prefix`` is absent where their sizes are equal."""

    older: VerifiedCheckpoint
    newer: VerifiedCheckpoint
    prefix: Prefix | None = None


def prefix_by_consistency(old: Checkpoint, new: Checkpoint, hashes: Sequence[bytes]) -> Prefix:
    """Return the root that ``new`` has at the size of ``old``, by a consistency proof.

    Raises:
        ProofError: the proof does not lead to the root of ``new``, so it shows nothing.
    """
    prefix, root = consistency_roots(
        old_size=old.size, new_size=new.size, old_root=old.root_hash, proof=hashes
    )
    if root != new.root_hash:
        raise ProofError(
            f"consistency of size {old.size} with size {new.size}",
            expected=f"root {new.root_hash.hex()}",
            actual=root.hex(),
        )
    return Prefix(root=prefix, hashes=tuple(hashes))


def prefix_by_inclusion(
    old_size: int, new: Checkpoint, *, leaf: bytes, index: int, hashes: Sequence[bytes]
) -> Prefix | None:
    """Return the root that ``new`` has at ``old_size``, where an inclusion path happens to show it, else None.

    The first 2^k leaves are one node of every larger tree. The path of a leaf among them passes through that node
    after k steps, and what is left of the path is the consistency proof from 2^k. This matters because a consistency
    proof from such a size starts at the old root itself, and so can never show another one.
    """
    steps = old_size.bit_length() - 1
    if old_size != 1 << steps or not index < old_size <= new.size:
        return None
    if root_from_inclusion(leaf, index=index, size=new.size, proof=hashes) != new.root_hash:
        return None
    root = root_from_inclusion(leaf, index=index, size=old_size, proof=hashes[:steps])
    return Prefix(root=root, hashes=tuple(hashes[steps:]))


def format_evidence(found: Misbehaviour) -> bytes:
    """Format evidence as RFC 8785 JSON: both notes whole, and the proof of the second form."""
    value: dict[str, Json] = {
        "checkpoints": [found.older.note.decode("utf-8"), found.newer.note.decode("utf-8")],
        "kind": KIND,
    }
    if found.prefix is not None:
        value["prefix"] = {
            "hashes": [format_base64(each) for each in found.prefix.hashes],
            "root": found.prefix.root.hex(),
        }
    return format_canonical_json(value)


def verify_evidence(data: bytes, *, trust: TrustFile) -> Misbehaviour:
    """Return misbehaviour of the trust file's log that ``data`` proves.

    Raises:
        MalformedError, LimitError: not evidence. SignatureError: not signed by the log.
        ProofError: the checkpoints do not contradict each other, or the proof between them fails.
    """
    value = parse_canonical_json(data, what="evidence of misbehaviour", max_bytes=MAX_EVIDENCE_BYTES)
    match value:
        case {"kind": str(kind), "checkpoints": [str(one), str(other)], **rest} if (
            kind == KIND and rest.keys() <= {"prefix"}
        ):
            older = _verify_checkpoint(one, "first", trust)
            newer = _verify_checkpoint(other, "second", trust)
        case _:
            raise MalformedError(
                "evidence of misbehaviour",
                expected=f"two checkpoints of kind {KIND}",
                actual="another form",
                next_step="Ask for the file that `hubledger verify --evidence-out` wrote",
            )
    found = Misbehaviour(
        older=older, newer=newer, prefix=_parse_prefix(rest["prefix"]) if "prefix" in rest else None
    )
    _check(found)
    return found


def _verify_checkpoint(note: str, which: str, trust: TrustFile) -> VerifiedCheckpoint:
    """Check one of the two notes, and say of a failure which one it was. Raises what ``verify_evidence`` raises."""
    try:
        _, log = trust.log_of(note.encode("utf-8"))
        return verify_checkpoint(note.encode("utf-8"), origin=log.origin, keys=log.keys)
    except LedgerError as error:
        raise type(error)(
            f"{which} checkpoint of the evidence: {error.what}",
            expected=error.expected,
            actual=error.actual,
            next_step="It accuses another log, or nobody: compare the trust file with the log's publisher",
        ) from error


def _parse_prefix(value: Json) -> Prefix:
    match value:
        case {"hashes": list(hashes), "root": root} if (
            len(value) == 2
            and len(hashes) <= MAX_PROOF_HASHES
            and all(isinstance(each, str) for each in hashes)
        ):
            return Prefix(
                root=parse_hex(root, length=HASH_BYTES, what="prefix root"),
                hashes=tuple(
                    parse_base64(each, what="consistency hash", max_bytes=HASH_BYTES) for each in hashes
                ),
            )
    raise MalformedError("prefix of the evidence", expected="hashes and root", actual="another form")


_CONVICTS_NOBODY = "It convicts nobody; ask whoever sent it for the checkpoints that they saw"


def _check_prefix(prefix: Prefix, old: Checkpoint, new: Checkpoint) -> None:
    """Check that the newer tree has this root at the older size. Anyone can make a proof that fails (section 8)."""
    try:
        verify_consistency(
            old_size=old.size,
            old_root=prefix.root,
            new_size=new.size,
            new_root=new.root_hash,
            proof=prefix.hashes,
        )
    except ProofError as error:
        raise ProofError(
            f"proof of the evidence: {error.what}",
            expected=error.expected,
            actual=error.actual,
            next_step=_CONVICTS_NOBODY,
        ) from error


def _check(found: Misbehaviour) -> None:
    old, new = found.older.checkpoint, found.newer.checkpoint
    if old.origin != new.origin:
        raise ProofError(
            "checkpoints of the evidence",
            expected="two of one shard",
            actual=f"{old.origin} and {new.origin}",
            next_step=_CONVICTS_NOBODY,
        )
    shown = old.root_hash if old.size != new.size else new.root_hash
    if found.prefix is not None:
        _check_prefix(found.prefix, old, new)
        shown = found.prefix.root
    if shown == old.root_hash:
        raise ProofError(
            "evidence of misbehaviour",
            expected="two roots for one size",
            actual=f"checkpoints of sizes {old.size} and {new.size} that do not contradict each other",
            next_step=_CONVICTS_NOBODY,
        )
