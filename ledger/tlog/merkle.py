"""Merkle tree hashes and proofs: RFC 6962 section 2.1, in the words of RFC 9162 section 2.1.

A tree is split at the largest power of two below its size. A *node* ``(level, index)`` is the complete subtree
over the leaves ``[index << level, (index + 1) << level)``; every proof is made from such nodes.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

from ledger.errors import MalformedError, ProofError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""MTH({}) = SHA-256 of the empty string (RFC 6962 section 2.1)."""
MAX_PROOF_HASHES = 64
"""A path in a tree below 2^63 leaves, and one hash for the old root of a consistency proof."""

NodeReader = Callable[[Sequence[tuple[int, int]]], Sequence[bytes]]
"""Reads the hashes of nodes ``(level, index)``, in the order asked."""

_sha256 = hashlib.sha256


def leaf_hash(entry: bytes) -> bytes:
    """MTH({d}) = SHA-256(0x00 || d)."""
    return _sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """Hash many entries."""
    return [_sha256(b"\x00" + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return _sha256(b"\x01" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the root over hashes of one level: MTH, where they are leaf hashes.

    Pairing neighbours and letting an odd last one rise gives the split of RFC 6962 at every level.
    """
    if not hashes:
        return EMPTY_ROOT
    row = list(hashes)
    while len(row) > 1:
        odd = row[-1:] if len(row) & 1 else []
        pairs = iter(row)
        row = [
            _sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)
        ] + odd
    return row[0]


def complete_subtrees(hashes: Sequence[bytes]) -> list[bytes]:
    """Return the roots, left to right, of the maximal complete subtrees over a run of equal-height nodes."""
    roots, start = [], 0
    for bit in range(len(hashes).bit_length() - 1, -1, -1):
        if len(hashes) & (1 << bit):
            roots.append(root_of(hashes[start : start + (1 << bit)]))
            start += 1 << bit
    return roots


def fold(roots: Sequence[bytes]) -> bytes:
    """Return the root of a tree from the roots of its maximal complete subtrees, left to right."""
    if not roots:
        return EMPTY_ROOT
    root = roots[-1]
    for left in reversed(roots[:-1]):
        root = node_hash(left, root)
    return root


class Frontier:
    """The right edge of a growing tree: the roots of its maximal complete subtrees (a compact range)."""

    __slots__ = ("_hashes", "size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        if size < 0 or len(hashes) != size.bit_count() or any(len(each) != HASH_BYTES for each in hashes):
            raise MalformedError(
                "frontier", expected=f"{max(size, 0).bit_count()} hashes of 32 bytes", actual=len(hashes)
            )
        self.size = size
        self._hashes = list(hashes)

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The subtree roots, left to right."""
        return tuple(self._hashes)

    def append(self, leaf: bytes) -> None:
        """Append a leaf hash; one node hash on average."""
        size = self.size
        hashes = self._hashes
        while size & 1:
            leaf = _sha256(b"\x01" + hashes.pop() + leaf).digest()
            size >>= 1
        hashes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Return the root hash."""
        return fold(self._hashes)


def tree_root(size: int, read: NodeReader) -> bytes:
    """Return the root of the tree of ``size`` from its nodes."""
    return fold(read(_cover(0, size))) if size else EMPTY_ROOT


def prove_inclusion(index: int, size: int, read: NodeReader) -> tuple[bytes, ...]:
    """Make PATH(index, D[size]) of RFC 6962 section 2.1.1, leaf sibling first.

    Raises:
        MalformedError: not 0 <= index < size.
    """
    if not 0 <= index < size:
        raise MalformedError("leaf index", expected=f"0 <= index < {size}", actual=index)
    return _read_ranges(_path(index, 0, size), read)


def prove_consistency(old: int, new: int, read: NodeReader) -> tuple[bytes, ...]:
    """Make PROOF(old, D[new]) of RFC 6962 section 2.1.2; empty where the sizes are equal.

    Raises:
        MalformedError: not 1 <= old <= new. The empty tree is a prefix of every tree; there is nothing to prove.
    """
    if not 1 <= old <= new:
        raise MalformedError("old size", expected=f"1 <= old size <= {new}", actual=old)
    return _read_ranges(_prefix(old, new), read)


def _path(index: int, start: int, end: int) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    while end - start > 1:
        middle = start + (1 << (end - start - 1).bit_length() - 1)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def _prefix(old: int, new: int) -> list[tuple[int, int]]:
    """SUBPROOF of RFC 6962 section 2.1.2, as the ranges whose roots it lists."""
    ranges: list[tuple[int, int]] = []
    start, end, whole = 0, new, True
    while old != end:
        middle = start + (1 << (end - start - 1).bit_length() - 1)
        if old <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start, whole = middle, False
    if not whole:
        ranges.append((start, end))
    return ranges[::-1]


def _cover(start: int, end: int) -> list[tuple[int, int]]:
    """Return the nodes whose leaves are ``[start, end)``: complete subtrees, left to right, where start is aligned."""
    nodes = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append((level, start >> level))
        start += 1 << level
    return nodes


def _read_ranges(ranges: Sequence[tuple[int, int]], read: NodeReader) -> tuple[bytes, ...]:
    covers = [_cover(start, end) for start, end in ranges]
    nodes = [node for cover in covers for node in cover]
    hashes = list(read(nodes)) if nodes else []
    out, at = [], 0
    for cover in covers:
        out.append(fold(hashes[at : at + len(cover)]))
        at += len(cover)
    return tuple(out)


def root_from_inclusion(leaf: bytes, *, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Recompute the root from a leaf hash and its path (RFC 9162 section 2.1.3.2).

    Raises:
        ProofError: the index is outside the tree, a hash is not 32 bytes, or the path has another length than
            this index and size give.
    """
    if not 0 <= index < size:
        raise ProofError("leaf index of an inclusion proof", expected=f"0 <= index < {size}", actual=index)
    inner = (index ^ (size - 1)).bit_length()
    _check_hashes("inclusion proof", proof, inner + (index >> inner).bit_count())
    _check_hashes("leaf hash", (leaf,), 1)
    node = leaf
    for level, sibling in enumerate(proof[:inner]):
        node = node_hash(sibling, node) if index >> level & 1 else node_hash(node, sibling)
    for sibling in proof[inner:]:
        node = node_hash(sibling, node)
    return node


def verify_inclusion(leaf: bytes, *, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bytes:
    """Return the root, proven to contain the leaf at ``index``. Raises ProofError.

    ``size`` and ``root`` must come from a checkpoint whose signature was checked, never from the proof.
    """
    computed = root_from_inclusion(leaf, index=index, size=size, proof=proof)
    if computed != root:
        raise ProofError(
            f"inclusion of leaf {index} in size {size}", expected=f"root {root.hex()}", actual=computed.hex()
        )
    return root


def consistency_roots(
    *, old_size: int, new_size: int, old_root: bytes, proof: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """Recompute the old and the new root from a consistency proof (RFC 9162 section 2.1.4.2).

    ``old_root`` is needed where the old tree is complete, because the proof then leaves it out.

    Raises:
        ProofError: sizes that are not 1 <= old <= new, or a proof of another length or hash size.
    """
    if not 1 <= old_size <= new_size:
        raise ProofError(
            "sizes of a consistency proof", expected=f"1 <= old size <= {new_size}", actual=old_size
        )
    if old_size == new_size:
        _check_hashes("consistency proof", proof, 0)
        return old_root, old_root
    skip = (old_size & -old_size).bit_length() - 1
    inner = ((old_size - 1) ^ (new_size - 1)).bit_length() - skip
    complete = old_size == 1 << skip
    index = (old_size - 1) >> skip
    _check_hashes("consistency proof", proof, (not complete) + inner + (index >> inner).bit_count())
    seed, rest = (old_root, proof) if complete else (proof[0], proof[1:])
    old = new = seed
    for level, sibling in enumerate(rest[:inner]):
        if index >> level & 1:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
        else:
            new = node_hash(new, sibling)
    for sibling in rest[inner:]:
        old, new = node_hash(sibling, old), node_hash(sibling, new)
    return old, new


def verify_consistency(
    *, old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> bytes:
    """Return the new root, proven to extend the old one. Raises ProofError.

    Both sizes and roots must come from signed checkpoints. A size of 0 is refused: callers treat the empty tree
    as a prefix of every tree, where that is what their protocol says.
    """
    old, new = consistency_roots(old_size=old_size, new_size=new_size, old_root=old_root, proof=proof)
    what = f"consistency of size {old_size} with size {new_size}"
    if old != old_root:
        raise ProofError(what, expected=f"old root {old_root.hex()}", actual=old.hex())
    if new != new_root:
        raise ProofError(what, expected=f"new root {new_root.hex()}", actual=new.hex())
    return new_root


def _check_hashes(what: str, hashes: Sequence[bytes], count: int) -> None:
    if len(hashes) != count:
        raise ProofError(what, expected=f"{count} hashes", actual=f"{len(hashes)} hashes")
    for each in hashes:
        if len(each) != HASH_BYTES:
            raise ProofError(what, expected="hashes of 32 bytes", actual=f"one of {len(each)} bytes")
