"""Brings a published proof to the tree that the published statement is about, so that both can be checked without network.

A proof is made once, under the checkpoint that first covered its entry, and the statement goes on with the log. What links them
needs no file of its own: the proof of the last entry of a complete subtree shows the subtree's root, so the path of an entry in a
larger tree is found in the proofs of at most 2·log₂(size) other entries. Nothing here is believed: a path that does not lead to the
root is refused, and whoever checks verifies the checkpoint.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ledger.encoding import format_base64
from ledger.errors import MalformedError, NotFoundError, SourceError
from ledger.log.fetch import Fetch
from ledger.monitor_statement import MAX_STATEMENT_BYTES
from ledger.tlog.checkpoint import Checkpoint, parse_checkpoint
from ledger.tlog.merkle import leaf_hash, node_hash, prove_inclusion, verify_inclusion
from ledger.tlog.proof import TlogProof, format_proof
from ledger.tlog.signed_note import MAX_NOTE_BYTES, parse_note
from monitor.publish import layout
from monitor.publish.packs import fetch_proof

_HEAD_LINES = 8
"""Of a statement: those before its list."""
_UNDER_WAY = "Try again: a publication is under way"


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """A proof and the statement about its tree, as bytes of files: nothing of them is verified."""

    proof: bytes
    tree: Checkpoint
    statement: bytes


def link_proof(fetch: Fetch, found: TlogProof) -> Linked:
    """Fetch the statement from where a proof is published, and bring the proof to the statement's tree.

    Raises:
        NotFoundError: no statement is published. SourceError: a publication is under way. MalformedError, LimitError,
            ProofError: what is published does not fit together.
    """
    statement, note, tree = _fetch_newest(fetch)
    if found.index >= tree.size:
        raise SourceError(
            "statement to link the proof to",
            expected=f"one that reaches entry {found.index}",
            actual=f"one of size {tree.size}",
            next_step=_UNDER_WAY,
        )
    path = prove_inclusion(found.index, tree.size, _Known(fetch, found))
    leaf = leaf_hash(_entry_of(found))
    verify_inclusion(leaf, index=found.index, size=tree.size, proof=path, root=tree.root_hash)
    proof = format_proof(replace(found, hashes=path, checkpoint_note=note))
    return Linked(proof=proof, tree=tree, statement=statement)


def _fetch_newest(fetch: Fetch) -> tuple[bytes, bytes, Checkpoint]:
    """Return the statement, and the checkpoint of the tree that it is about. Files of a folder do not change together."""
    try:
        statement = fetch(layout.STATEMENT, max_bytes=MAX_STATEMENT_BYTES)
        note = fetch(layout.CHECKPOINT, max_bytes=MAX_NOTE_BYTES)
    except NotFoundError as error:
        raise NotFoundError(
            "statement to link the proof to",
            expected=f"the files {layout.STATEMENT} and {layout.CHECKPOINT} of a log",
            actual=error.actual,
            next_step="Take the proof without --statement: a monitor without a key signs none, and of a ledger in Rekor "
            "it publishes nothing that links them",
        ) from error
    tree = parse_checkpoint(parse_note(note).text)
    head = parse_note(statement).text.decode("utf-8", "replace").split("\n")[:_HEAD_LINES]
    if not {f"size {tree.size}", f"root {format_base64(tree.root_hash)}"} <= set(head):
        raise SourceError(
            "statement to link the proof to",
            expected=f"one about the published checkpoint of size {tree.size}",
            actual="one about another tree",
            next_step=_UNDER_WAY,
        )
    return statement, note, tree


class _Known:
    """Reads nodes of the tree from published proofs: first from that of the entry, which has all that lies before it.

    Packs are kept as they were fetched, since many nodes come from few of them.
    """

    def __init__(self, fetch: Fetch, first: TlogProof) -> None:
        self._fetch = fetch
        self._packs: dict[str, bytes] = {}
        self._nodes = dict(_shown(first))

    def __call__(self, nodes: Sequence[tuple[int, int]]) -> list[bytes]:
        return [self._node(*each) for each in nodes]

    def _node(self, level: int, index: int) -> bytes:
        if (level, index) not in self._nodes:
            last = ((index + 1) << level) - 1
            self._nodes.update(_shown(fetch_proof(self._read, last)[1]))
        return self._nodes[level, index]

    def _read(self, path: str, *, max_bytes: int) -> bytes:
        if path not in self._packs:
            self._packs[path] = self._fetch(path, max_bytes=max_bytes)
        return self._packs[path]


def _entry_of(proof: TlogProof) -> bytes:
    """Return the entry, which in the proofs of a tile log is all that ``extra`` has."""
    if proof.extra is None:
        raise MalformedError(
            f"proof of entry {proof.index}",
            expected="the entry in extra",
            actual="none: the entry is too large for it",
            next_step="Take the proof without --statement, or ask the log itself: hubledger fetch-proof",
        )
    return proof.extra


def _shown(proof: TlogProof) -> Iterator[tuple[tuple[int, int], bytes]]:
    """Yield the complete subtrees whose roots a proof shows: of its leaf, on its path, and beside it.

    Raises ProofError: it does not hold in the tree of its own checkpoint, so it shows nothing.
    """
    tree = parse_checkpoint(parse_note(proof.checkpoint_note).text)
    node = leaf_hash(_entry_of(proof))
    verify_inclusion(node, index=proof.index, size=tree.size, proof=proof.hashes, root=tree.root_hash)
    level, index, last = 0, proof.index, tree.size - 1
    yield (level, index), node
    for beside in proof.hashes:
        # At the right edge a node has nothing beside it, and goes up as it is until something lies to its left.
        while index == last and not index & 1:
            level, index, last = level + 1, index >> 1, last >> 1
        if ((index ^ 1) + 1) << level <= tree.size:
            yield (level, index ^ 1), beside
        node = node_hash(beside, node) if index & 1 else node_hash(node, beside)
        level, index, last = level + 1, index >> 1, last >> 1
        if (index + 1) << level <= tree.size:
            yield (level, index), node
