"""Brings a published proof to the tree that the published statement is about, so that both can be checked without network.

A proof is made once, under the checkpoint that first covered its entry, and the statement goes on with the log. What links them
needs no file of its own: the proof of the last entry of a complete subtree shows the subtree's root, so the path of an entry in a
larger tree is found in the proofs of at most 2·log₂(size) other entries.

Of a shard of Rekor few entries are the hub's, and nobody else's are published. So what lies between them is read from the shard
itself. Its statement can be of a smaller tree than its checkpoint, where a statement of the hub is missing: then the proof also leads
back to that tree.

Nothing here is believed: a path that does not lead to the root is refused, and whoever checks verifies checkpoint and statement.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from ledger.client.proof_extra import Consistency, format_extra, parse_extra
from ledger.client.stated_files import histories_of
from ledger.errors import LimitError, MalformedError, NotFoundError, SourceError, UsageError
from ledger.log.fetch import Fetch
from ledger.log.published import PublishedLog
from ledger.monitor_statement import MAX_STATEMENT_BYTES, MonitorStatement, unverified_statement
from ledger.open_findings import MAX_PART_BYTES, verify_part
from ledger.tlog.checkpoint import Checkpoint, parse_checkpoint
from ledger.tlog.merkle import (
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
    verify_consistency,
    verify_inclusion,
)
from ledger.tlog.proof import TlogProof, format_proof
from ledger.tlog.signed_note import MAX_NOTE_BYTES, parse_note
from ledger.tlog.tiles import CachedNodes
from monitor.publish import layout
from monitor.publish.packs import fetch_proof

_UNDER_WAY = "Try again: a publication is under way"
_MAX_SHARDS = 256
"""Of one ledger that are looked through: a shard lasts for months."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """A proof, the statement about its tree, and the parts of its list that the event needs, by name: nothing of them is verified."""

    proof: bytes
    tree: Checkpoint
    statement: bytes
    parts: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Newest:
    """A statement, what it says, the checkpoint beside it, and the tree of that; ``at`` is where the statement is."""

    at: str
    statement: bytes
    stated: MonitorStatement
    note: bytes
    tree: Checkpoint


def link_proof(fetch: Fetch, found: TlogProof, *, shard: Fetch | None = None) -> Linked:
    """Fetch the statement from where a proof is published, and bring the proof to the statement's tree.

    ``shard``: where the tiles of its shard are, if the entry is in Rekor.

    Raises:
        NotFoundError: no statement is published, or not the whole of it. SourceError: a publication is under way.
        MalformedError, LimitError, ProofError: what is published does not fit together. UsageError: a shard is
            needed and not named, or named and not needed.
    """
    in_rekor = _is_of_rekor(_extra_of(found))
    if shard is not None and not in_rekor:
        raise UsageError(
            "--shard", expected="an entry of a ledger in Rekor", actual="one of a log of its own"
        )
    newest = _fetch_in_shard(fetch, found) if in_rekor else _fetch_newest(fetch)
    if found.index >= newest.stated.size:
        raise SourceError(
            "statement to link the proof to",
            expected=f"one that reaches entry {found.index}",
            actual=f"one of size {newest.stated.size}",
            next_step="Try again later: the monitor has not vouched for it yet, or a publication is under way",
        )
    linked = _link_in_shard(found, newest, shard) if in_rekor else _link(fetch, found, newest)
    return replace(linked, parts=_fetch_parts(fetch, newest, linked.proof))


def _is_of_rekor(extra: bytes) -> bool:
    """Whether ``extra`` says how Rekor's leaf is made. In a tile log anything can be an entry."""
    with suppress(MalformedError, LimitError):
        return parse_extra(extra).kind is not None
    return False


def _fetch_newest(fetch: Fetch) -> _Newest:
    """Return the statement, and the checkpoint of the tree that it is about. Files of a folder do not change together."""
    newest = _fetch(fetch, layout.STATEMENT, layout.CHECKPOINT)
    stated, tree = newest.stated, newest.tree
    if (stated.size, stated.root_hash) != (tree.size, tree.root_hash):
        raise SourceError(
            "statement to link the proof to",
            expected=f"one about the published checkpoint of size {tree.size}",
            actual="one about another tree",
            next_step=_UNDER_WAY,
        )
    return newest


def _fetch(fetch: Fetch, statement: str, checkpoint: str) -> _Newest:
    try:
        said = fetch(statement, max_bytes=MAX_STATEMENT_BYTES)
        note = fetch(checkpoint, max_bytes=MAX_NOTE_BYTES)
    except NotFoundError as error:
        raise NotFoundError(
            "statement to link the proof to",
            expected=f"the files {statement} and {checkpoint} of a log",
            actual=error.actual,
            next_step="Take the proof without --statement: a monitor without a key signs none",
        ) from error
    return _Newest(
        at=statement,
        statement=said,
        stated=unverified_statement(said),
        note=note,
        tree=parse_checkpoint(parse_note(note).text),
    )


def _fetch_parts(fetch: Fetch, newest: _Newest, proof: bytes) -> dict[str, bytes]:
    """Return those parts of the statement's list in which the histories of the proven event would be."""
    found = {}
    for part in newest.stated.parts_for(histories_of(proof)):
        path = layout.of_part(newest.at, part.name)
        try:
            found[part.name] = fetch(path, max_bytes=MAX_PART_BYTES)
        except NotFoundError as error:
            raise NotFoundError(
                "part of the statement's list",
                expected=f"the file {path}",
                actual=error.actual,
                next_step="Try again; if it stays away, tell whoever runs the monitor that this folder has to be served with the statement",
            ) from error
        verify_part(found[part.name], part)
    return found


# A tile log


def _link(fetch: Fetch, found: TlogProof, newest: _Newest) -> Linked:
    tree = newest.tree
    path = prove_inclusion(found.index, tree.size, _Known(fetch, found))
    leaf = leaf_hash(_extra_of(found))
    verify_inclusion(leaf, index=found.index, size=tree.size, proof=path, root=tree.root_hash)
    proof = format_proof(replace(found, hashes=path, checkpoint_note=newest.note))
    return Linked(proof=proof, tree=tree, statement=newest.statement)


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


def _extra_of(proof: TlogProof) -> bytes:
    """Return ``extra``, which in the proofs of a tile log is the entry and nothing else."""
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
    node = leaf_hash(_extra_of(proof))
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


# A shard of Rekor


def _fetch_in_shard(fetch: Fetch, found: TlogProof) -> _Newest:
    """Return statement and checkpoint of the shard that the proof is of. The statement may be of a smaller tree, never of a larger."""
    origin = parse_checkpoint(parse_note(found.checkpoint_note).text).origin
    order = _order_of(fetch, origin)
    newest = _fetch(fetch, layout.shard(order, layout.STATEMENT), layout.shard(order, layout.CHECKPOINT))
    if newest.stated.size > newest.tree.size:
        raise SourceError(
            "statement to link the proof to",
            expected=f"one of at most {newest.tree.size} entries, as the published checkpoint has",
            actual=f"one of size {newest.stated.size}",
            next_step=_UNDER_WAY,
        )
    return newest


def _order_of(fetch: Fetch, origin: str) -> int:
    with suppress(NotFoundError):
        for order in range(_MAX_SHARDS):
            note = fetch(layout.shard(order, layout.CHECKPOINT), max_bytes=MAX_NOTE_BYTES)
            if parse_checkpoint(parse_note(note).text).origin == origin:
                return order
    raise NotFoundError(
        "statement to link the proof to",
        expected=f"a published shard with the origin {origin}",
        actual="none",
        next_step=_UNDER_WAY,
    )


def _link_in_shard(found: TlogProof, newest: _Newest, shard: Fetch | None) -> Linked:
    tree, size = newest.tree, newest.stated.size
    proven = parse_checkpoint(parse_note(found.checkpoint_note).text)
    if (proven.size, proven.root_hash) == (size, newest.stated.root_hash):
        return Linked(proof=format_proof(found), tree=proven, statement=newest.statement)
    if shard is None:
        raise UsageError(
            "--statement",
            expected=f"--shard beside it: what links a proof under size {proven.size} with the statement of size {size}",
            actual="none",
            next_step="Name the address or folder where the tiles of "
            f"{tree.origin} are read: a monitor publishes only the hub's own entries of a shard",
        )
    nodes = CachedNodes(PublishedLog(shard, origin=tree.origin, keys=()).nodes(tree.size))
    (leaf,) = nodes([(0, found.index)])
    # The leaf that the proof is of, whatever the shard calls so: else the path would be of somebody else's entry.
    verify_inclusion(leaf, index=found.index, size=proven.size, proof=found.hashes, root=proven.root_hash)
    path = prove_inclusion(found.index, tree.size, nodes)
    verify_inclusion(leaf, index=found.index, size=tree.size, proof=path, root=tree.root_hash)
    extra = parse_extra(_extra_of(found))
    if size < tree.size:
        hashes = prove_consistency(size, tree.size, nodes)
        verify_consistency(
            old_size=size,
            old_root=newest.stated.root_hash,
            new_size=tree.size,
            new_root=tree.root_hash,
            proof=hashes,
        )
        extra = replace(extra, consistency=Consistency(size=size, hashes=hashes))
    linked = replace(found, hashes=path, checkpoint_note=newest.note, extra=format_extra(extra))
    return Linked(proof=format_proof(linked), tree=tree, statement=newest.statement)
