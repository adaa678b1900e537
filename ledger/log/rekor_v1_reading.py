"""Reads Rekor v1: its checkpoint, its entries, proofs between checkpoints. Everything is verified before it is returned.

``RekorV1Log`` is a ``Log`` as far as Rekor v1 lets it be one; its docstring says how far that is.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from ledger.bundle.bodies import SignedPayload
from ledger.bundle.log_entry import LogKeys, parse_log_entry
from ledger.encoding import Json, format_canonical_json, parse_canonical_json, parse_hex, parse_whole
from ledger.entry import MAX_ENTRY_BYTES, parse_envelope
from ledger.errors import LedgerError, MalformedError, NotFoundError, ProofError, SignatureError, UsageError
from ledger.log import Committed, Submission
from ledger.log.fetch import Fetch
from ledger.log.lines import Lines
from ledger.log.rekor_v1 import ENTRIES, RekorV1
from ledger.log.rekor_v1_answers import (
    AT_MOST,
    MAX_ANSWER_BYTES,
    Answered,
    giving_up,
    parse_answer,
    parse_list,
    prove_answer,
    read_json,
    tree_id_of,
)
from ledger.log.rekor_v1_http import TIMEOUT, Ask, ask_now, body_of
from ledger.log.remote import LogReceipt, Shard
from ledger.tlog.checkpoint import VerifiedCheckpoint, parse_checkpoint, verify_checkpoint
from ledger.tlog.merkle import HASH_BYTES, MAX_PROOF_HASHES, consistency_roots, leaf_hash, verify_consistency
from ledger.tlog.signed_note import KeyType, VerifierKey, parse_note


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One tree of the server: its newest checkpoint, and the global index of its first leaf, which nothing signs."""

    checkpoint: VerifiedCheckpoint
    tree_id: int
    first: int


class RekorV1Log:
    """One tree of Rekor v1 as a ``Log``: the tree in the shard's origin, or the server's active one if there is none.

    What differs from a log of our own, and why:

    - ``append`` takes entries of ours, signed by one of ``signers`` (key id to DER SubjectPublicKeyInfo), and promises no
      order: Rekor's does not depend on ours, histories are chained before. It admits nothing, because a log that
      others write too has no single writer: heads and event ids live in the outbox. What it answers is published.
    - ``read`` yields the log's bodies, which are its leaves. They hold digests; statements are in the evidence store.
    - ``prove_inclusion`` proves in the newest tree only: Rekor v1 has neither tiles nor a way to ask for another size.
    - ``fetch``, where it is given, gets what one GET answers, below the shard's read address: as often, and within the time,
      that it sees fit.
    - ``prove_consistency`` returns the server's hashes, whose number alone can be checked without the two roots;
      ``verify_growth`` checks them against two checkpoints.
    """

    def __init__(
        self,
        shard: Shard,
        keys: LogKeys,
        *,
        signers: Mapping[str, bytes] | None = None,
        timeout: float = TIMEOUT,
        fetch: Fetch | None = None,
    ) -> None:
        self.shard = shard
        self._keys, self._signers, self._timeout = keys, dict(signers or {}), timeout
        self._fetch = fetch

    @cached_property
    def _lines(self) -> Lines:
        import httpx  # only what goes to the network pays for it

        one = httpx.Limits(max_connections=1)
        return Lines(partial(httpx.Client, follow_redirects=False, limits=one))

    def close(self) -> None:
        """Close connections."""
        if "_lines" in self.__dict__:
            self._lines.close()

    # Log

    def append(self, submissions: Sequence[Submission]) -> list[Committed | LedgerError]:
        """Submit entries; each is answered by its leaf index or by why it is not in the log."""
        return asyncio.run(self._append(submissions))

    def checkpoint(self) -> VerifiedCheckpoint:
        """Return the newest checkpoint of the tree, its signature checked. Raises as ``tree``."""
        return self.tree().checkpoint

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bodies of the leaves ``[start, end)``, each proven to be there.

        Raises:
            NotFoundError: a leaf that the tree does not have. Else as ``entries_at``.
        """
        tree = self.tree()
        for receipt in self.entries_at(range(tree.first + start, tree.first + end)):
            self._check_place(tree, receipt)
            yield receipt.proven.body

    def prove_inclusion(self, leaf_index: int, size: int) -> tuple[bytes, ...]:
        """Prove that the leaf is in the tree of ``size``, which must be the newest. Raises UsageError: it is not."""
        tree = self.tree()
        receipt = self.entry_at(tree.first + leaf_index)
        self._check_place(tree, receipt)
        if receipt.proven.tree.size != size:
            raise UsageError(
                f"inclusion of leaf {leaf_index}",
                expected=f"the newest size, {receipt.proven.tree.size}",
                actual=size,
                next_step="Take the newest checkpoint: Rekor v1 proves nothing in an older tree",
            )
        return tuple(parse_log_entry(read_json(receipt.log_entry)).hashes)

    def prove_consistency(self, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """Return the hashes that prove that the tree of ``old_size`` is a prefix of that of ``new_size``.

        Raises:
            ProofError: sizes that are not 1 <= old <= new, or a proof of another length. Else as ``tree``.
        """
        query = f"firstSize={old_size}&lastSize={new_size}&treeID={self.tree().tree_id}"
        value = self._ask(f"/api/v1/log/proof?{query}")
        match value:
            case {"hashes": list(hashes)} if len(hashes) <= MAX_PROOF_HASHES:
                pass
            case _:
                raise MalformedError("consistency proof", expected="hashes", actual="other fields")
        proof = tuple(parse_hex(each, length=HASH_BYTES, what="hash of the proof") for each in hashes)
        consistency_roots(old_size=old_size, new_size=new_size, old_root=bytes(HASH_BYTES), proof=proof)
        return proof

    # What Rekor v1 has beyond a log

    def verify_growth(self, old: VerifiedCheckpoint, new: VerifiedCheckpoint) -> bytes:
        """Return the root of ``new``, proven to extend ``old``. Raises ProofError: the log cannot prove it."""
        before, after = old.checkpoint, new.checkpoint
        if before.size == 0:  # the empty tree is a prefix of every tree, and Rekor proves nothing about it
            return after.root_hash
        return verify_consistency(
            old_size=before.size,
            old_root=before.root_hash,
            new_size=after.size,
            new_root=after.root_hash,
            proof=self.prove_consistency(before.size, after.size),
        )

    def entry_at(self, global_index: int) -> LogReceipt:
        """Return the entry at a global index, proven. Raises NotFoundError; else as ``RekorV1.submit``."""
        return self._at(global_index, self._one(f"{ENTRIES}?logIndex={global_index}"))

    def entry_of(self, uuid: str) -> LogReceipt:
        """Return the entry of a UUID (64 or 80 hex digits), proven. Raises NotFoundError; else as ``RekorV1.submit``."""
        return self._of(_leaf_of(uuid), self._one(f"{ENTRIES}/{uuid}"))

    def entries_at(self, global_indexes: Sequence[int]) -> Iterator[LogReceipt]:
        """Yield the entries at these global indexes, in their order, each proven. Raises as ``entry_at``."""
        for start in range(0, len(global_indexes), AT_MOST):
            asked = list(global_indexes[start : start + AT_MOST])
            found = {each.proven.index: each for each in self._retrieve({"logIndexes": asked})}
            for index in asked:
                if index not in found:
                    raise NotFoundError(f"entry {index} of the log", expected="an entry", actual="none")
                yield found[index]

    def entries_of(self, uuids: Sequence[str]) -> Iterator[LogReceipt]:
        """Yield the entries of these UUIDs, in their order, each proven. Raises as ``entry_of``."""
        for start in range(0, len(uuids), AT_MOST):
            asked = {_leaf_of(uuid): uuid for uuid in uuids[start : start + AT_MOST]}
            entries = self._retrieve({"entryUUIDs": list(asked.values())})
            found = {leaf_hash(each.proven.body): each for each in entries}
            for leaf, uuid in asked.items():
                if leaf not in found:
                    raise NotFoundError(f"entry {uuid} of the log", expected="an entry", actual="none")
                yield found[leaf]

    def tree(self) -> Tree:
        """Ask for the newest checkpoint of the tree, and where the tree begins.

        Raises:
            SourceError: no answer. MalformedError, LimitError: another form. SignatureError: not the log's.
            ProofError: root, size or tree id beside the checkpoint are not those that it signs.
        """
        match self._ask("/api/v1/log"):
            case {"inactiveShards": list(earlier), "treeID": str(active), **_more} as newest:
                pass
            case {"treeID": str(active), **_more} as newest:
                earlier = []
            case _:
                raise MalformedError("state of the log", expected="a tree id", actual="other fields")
        first = 0
        for row in (*earlier, newest):
            if self._is_ours(row, active):
                return self._verify_tree(row, first)
            first += parse_whole(_field(row, "treeSize"), what="size of a tree")
        raise SignatureError(
            "trees of the log", expected=self.shard.origin, actual=f"{len(earlier) + 1} others"
        )

    def _is_ours(self, row: Json, active: str) -> bool:
        number = _field(row, "treeID")
        return self.shard.origin.endswith(f" - {number}") or (
            " - " not in self.shard.origin and number == active
        )

    def _verify_tree(self, row: Json, first: int) -> Tree:
        note = str(_field(row, "signedTreeHead")).encode(errors="replace")
        origin = parse_checkpoint(parse_note(note).text).origin
        tree_id = tree_id_of(origin, self.shard)
        key = VerifierKey(name=origin.rpartition(" - ")[0], kind=KeyType.ECDSA, public_key=self.shard.spki)
        verified = verify_checkpoint(note, origin=origin, keys=[key])
        signed = verified.checkpoint
        wanted = str(tree_id), signed.size, signed.root_hash.hex()
        beside = tuple(_field(row, name) for name in ("treeID", "treeSize", "rootHash"))
        if beside != wanted:
            raise ProofError("tree id, size and root beside the checkpoint", expected=wanted, actual=beside)
        return Tree(checkpoint=verified, tree_id=tree_id, first=first)

    # Asking

    def _get(self, path: str) -> bytes:
        if self._fetch is not None:
            return self._fetch(path.removeprefix("/"), max_bytes=MAX_ANSWER_BYTES)
        url = self.shard.read_url.rstrip("/") + path
        return body_of(ask_now(self._lines, Ask(url=url), seconds=self._timeout), 200)

    def _ask(self, path: str) -> Json:
        return read_json(self._get(path))

    def _one(self, path: str) -> LogReceipt:
        data = self._get(path)
        with giving_up():
            return self._prove(parse_answer(data))

    def _retrieve(self, query: Json) -> list[LogReceipt]:
        """Ask for at most ten entries. Those that the log does not have are missing from the answer."""
        limit = AT_MOST * MAX_ANSWER_BYTES
        url = f"{self.shard.read_url.rstrip('/')}{ENTRIES}/retrieve"
        ask = Ask(url=url, body=format_canonical_json(query), max_bytes=limit)
        data = body_of(ask_now(self._lines, ask, seconds=self._timeout), 200)
        return [self._prove(each) for each in parse_list(data, max_bytes=limit)]

    def _prove(self, answered: Answered) -> LogReceipt:
        proven, stored = prove_answer(answered, self.shard, self._keys)
        return LogReceipt(shard=self.shard, log_entry=stored, proven=proven)

    def _at(self, global_index: int, receipt: LogReceipt) -> LogReceipt:
        if receipt.proven.index != global_index:
            raise ProofError("global index of the entry", expected=global_index, actual=receipt.proven.index)
        return receipt

    def _of(self, leaf: bytes, receipt: LogReceipt) -> LogReceipt:
        found = leaf_hash(receipt.proven.body)
        if found != leaf:
            raise ProofError("leaf hash of the entry", expected=leaf.hex(), actual=found.hex())
        return receipt

    def _check_place(self, tree: Tree, receipt: LogReceipt) -> None:
        """Return if the entry is where the tree's beginning, which nobody signed, makes its global index be.

        Raises:
            ProofError: it is another leaf, or in another tree.
        """
        proven, origin = receipt.proven, tree.checkpoint.checkpoint.origin
        wanted = origin, proven.index - tree.first
        if (proven.tree.origin, proven.leaf_index) != wanted:
            raise ProofError(
                f"place of global index {proven.index}",
                expected=f"leaf {wanted[1]} of {origin}",
                actual=f"leaf {proven.leaf_index} of {proven.tree.origin}",
            )

    async def _append(self, submissions: Sequence[Submission]) -> list[Committed | LedgerError]:
        writer = RekorV1(self.shard, self._keys, timeout=self._timeout)

        async def one(submission: Submission) -> Committed | LedgerError:
            try:
                receipt = await writer.submit(self._signed(submission))
            except LedgerError as error:
                return error
            return Committed(leaf_index=receipt.proven.leaf_index)

        try:
            return await asyncio.gather(*map(one, submissions))
        finally:
            await writer.close()

    def _signed(self, submission: Submission) -> SignedPayload:
        """Read a submission of ours. Raises UsageError: it wants to be admitted, or nobody knows its key."""
        if submission.admit is not None:
            raise UsageError(
                "submission to Rekor v1",
                expected="an entry that was admitted before",
                actual="an admission",
                next_step="Admit it in the outbox: Rekor has many writers and asks none of them",
            )
        envelope = parse_canonical_json(submission.entry, what="entry", max_bytes=MAX_ENTRY_BYTES)
        keyid = parse_envelope(envelope).keyid
        if keyid not in self._signers:
            raise UsageError(
                "key of the entry",
                expected=", ".join(self._signers) or "a known signer",
                actual=keyid,
                next_step="Give the public key: Rekor checks every signature",
            )
        return SignedPayload.of_entry(envelope, self._signers[keyid])


def _field(row: Json, name: str) -> Json:
    if not isinstance(row, dict) or name not in row:
        raise MalformedError("state of the log", expected=name, actual="other fields")
    return row[name]


def _leaf_of(uuid: str) -> bytes:
    """Return the leaf hash in a UUID. Raises MalformedError."""
    if len(uuid) not in (64, 80):
        raise MalformedError("UUID", expected="64 or 80 hex digits", actual=uuid)
    return parse_hex(uuid, what="UUID")[-HASH_BYTES:]
