"""Rekor v1's answers: parsed, turned into the one form that all receipts have, and proven (sigstore/rekor openapi.yaml).

An answer is a map from an entry's UUID to ``{body, integratedTime, logID, logIndex, verification}``. Two numbers in it are
called ``logIndex``: the outer one is *global*, counts through all trees of the server and is covered by the signed entry
timestamp; the one of the inclusion proof is the *leaf index* in one tree, which its signed checkpoint covers. The UUID
is the leaf hash, usually with the tree id before it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ledger.bundle.log_entry import (
    MAX_BODY_BYTES,
    MAX_SET_BYTES,
    LogEntry,
    LogKeys,
    ProvenEntry,
    format_log_entry,
    prove_log_entry,
    verify_tree,
)
from ledger.encoding import (
    Json,
    parse_base64,
    parse_decimal,
    parse_hex,
    parse_json,
    parse_whole,
)
from ledger.errors import MalformedError, ProofError, SignatureError, SourceError
from ledger.log.remote import Shard
from ledger.tlog.merkle import HASH_BYTES, MAX_PROOF_HASHES, leaf_hash

TREE_ID_BYTES = 8
AT_MOST = 10
"""Entries that Rekor v1 hands out in one answer; it refuses to be asked for more (openapi.yaml, ``SearchLogQuery``)."""
MAX_ANSWER_BYTES = 2 << 20
"""One entry: its body in base64, and a proof. What Rekor calls attestation storage adds 100 KiB at most by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One entry of an answer: its UUID, and the root and size beside its proof. Nothing of it is checked."""

    uuid: str
    entry: LogEntry
    root: bytes
    size: int


class SignedTrees:
    """Checkpoints of one log that were verified lately, by their text.

    Rekor v1 signs its tree anew for each answer, a dozen times for one tree when it is busy. The text alone says what the
    tree is: where one signature under it holds, that one is kept with every entry of the tree, and the others are not
    looked at.
    """

    def __init__(self) -> None:
        self._notes: dict[bytes, bytes] = {}

    def stand_in(self, entry: LogEntry) -> LogEntry:
        """Return the entry with the checkpoint of the same text that was verified; as it came where there is none."""
        return replace(entry, note=self._notes.get(_text_of(entry.note), entry.note))

    def remember(self, note: bytes) -> None:
        """Remember a checkpoint whose signature was verified."""
        self._notes.setdefault(_text_of(note), note)
        if len(self._notes) > _REMEMBERED:
            del self._notes[next(iter(self._notes))]


_REMEMBERED = 16
"""Trees: answers that arrive together are of one or two."""


def _text_of(note: bytes) -> bytes:
    return note.rpartition(b"\n\n")[0]


class NotYet(Exception):  # noqa: N818 - not an error until somebody gives up
    """The log has taken an entry and cannot prove it: its tree has not grown over it. Asking again may help."""

    def __init__(self, what: str, *, expected: str, actual: object) -> None:
        self.refusal = SourceError(what, expected=expected, actual=actual, next_step=_AGAIN)
        super().__init__(str(self.refusal))


_AGAIN = "Submit the same bytes again: the log answers with the proof once it has one"


@contextmanager
def giving_up() -> Iterator[None]:
    """Refuse what is not there yet: for whoever does not ask again. Raises SourceError."""
    try:
        yield
    except NotYet as late:
        raise late.refusal from late


def parse_answer(data: bytes) -> Answered:
    """Parse the answer about one entry. Raises as ``parse_entries``; SourceError: about none, or several."""
    entries = parse_entries(read_json(data), what="answer of the log")
    if len(entries) != 1:
        raise SourceError(
            "answer of the log", expected="one entry", actual=f"{len(entries)} entries", next_step=_TELL
        )
    return entries[0]


def parse_list(data: bytes, *, max_bytes: int = MAX_ANSWER_BYTES) -> list[Answered]:
    """Parse the answer about several entries (``log/entries/retrieve``): those that the log does not have are missing.

    Raises as ``parse_answer``.
    """
    value = read_json(data, max_bytes=max_bytes)
    if not isinstance(value, list) or len(value) > AT_MOST:
        raise MalformedError(
            "answer of the log", expected=f"at most {AT_MOST} entries", actual="other fields"
        )
    return [each for one in value for each in parse_entries(one, what="answer of the log")]


_TELL = "Try again, and tell whoever runs the log"


def read_json(data: bytes, *, max_bytes: int = MAX_ANSWER_BYTES) -> Json:
    """Read an answer as JSON. Raises SourceError: it is none (an empty body, a page of HTML); LimitError."""
    try:
        return parse_json(data, what="answer of the log", max_bytes=max_bytes)
    except MalformedError as error:
        shown = data[:100].decode(errors="replace") or "nothing"
        raise SourceError("answer of the log", expected="JSON", actual=shown, next_step=_TELL) from error


def parse_entries(value: Json, *, what: str) -> list[Answered]:
    """Parse a map from UUIDs to entries.

    Raises:
        MalformedError, LimitError: a field that is missing or of another form. NotYet: no proof yet.
    """
    if not isinstance(value, dict):
        raise MalformedError(what, expected="a map from UUIDs to entries", actual=type(value).__name__)
    return [_parse_entry(uuid, entry) for uuid, entry in value.items()]


def _parse_entry(uuid: str, value: Json) -> Answered:
    match value:
        case {"verification": {"signedEntryTimestamp": str(), **more}} if not more.get("inclusionProof"):
            raise NotYet("inclusion proof of the entry", expected="one", actual="none yet")
        case {
            "body": str(body),
            "integratedTime": time,
            "logID": log_id,
            "logIndex": index,
            "verification": {
                "signedEntryTimestamp": str(promise),
                "inclusionProof": {
                    "checkpoint": str(note),
                    "hashes": list(hashes),
                    "logIndex": leaf_index,
                    "rootHash": root,
                    "treeSize": size,
                },
            },
        } if len(hashes) <= MAX_PROOF_HASHES:
            pass
        case _:
            raise MalformedError(
                "entry of Rekor v1",
                expected="body, time, log id, index and verification",
                actual="other fields",
            )
    raw = parse_base64(body, what="entry body", max_bytes=MAX_BODY_BYTES)
    try:
        text = note.encode()
    except UnicodeEncodeError as error:
        raise MalformedError("checkpoint of the proof", expected="UTF-8", actual=str(error)) from error
    entry = LogEntry(
        log_id=parse_hex(log_id, length=HASH_BYTES, what="log id"),
        index=parse_whole(index, what="index of the entry"),
        kind=_kind_of(raw),
        body=raw,
        integrated_time=parse_whole(time, what="time of the entry"),
        promise=parse_base64(promise, what="signed entry timestamp", max_bytes=MAX_SET_BYTES),
        proof_index=parse_whole(leaf_index, what="index of the inclusion proof"),
        hashes=[parse_hex(each, length=HASH_BYTES, what="hash of the proof") for each in hashes],
        note=text,
    )
    return Answered(
        uuid=uuid,
        entry=entry,
        root=parse_hex(root, length=HASH_BYTES, what="root hash of the proof"),
        size=parse_whole(size, what="tree size of the proof"),
    )


def _kind_of(body: bytes) -> tuple[str, str]:
    """Return the kind of entry that a body says that it is, and its version."""
    match parse_json(body, what="entry body", max_bytes=MAX_BODY_BYTES):
        case {"kind": str(kind), "apiVersion": str(version)}:
            return kind, version
    raise MalformedError("entry body", expected="kind and apiVersion", actual="other fields")


def prove_answer(
    answered: Answered, shard: Shard, keys: LogKeys, *, trees: SignedTrees | None = None
) -> tuple[ProvenEntry, bytes]:
    """Return the entry with its place, proven to be in a tree of ``shard``, and its stored form (RFC 8785 JSON).

    ``trees`` are those of this shard that were proven with ``keys``; what is proven now is added.

    Raises:
        SignatureError: another log, or no signature by this one. ProofError: not in the tree that it signed, or beside
            it stands a UUID, a root or a size that is not that tree's. NotYet: the tree is too small.
        MalformedError, LimitError: no checkpoint.
    """
    # 1. It is about this log.
    entry = answered.entry
    if entry.log_id != shard.log_id:
        raise SignatureError("log of the entry", expected=shard.log_id.hex(), actual=entry.log_id.hex())
    if trees is not None:
        entry = trees.stand_in(entry)
    # 2. Checkpoint and signed entry timestamp are the log's, and the body is in the tree. A tree that does not reach
    #    the leaf is an old one, not a wrong one, if it is this log's.
    try:
        proven = prove_log_entry(entry, keys)
    except ProofError:
        size = verify_tree(entry, keys).size
        if size <= entry.proof_index:
            raise NotYet(
                "tree of the inclusion proof", expected=f"more than {entry.proof_index} leaves", actual=size
            ) from None
        raise
    tree = proven.tree
    tree_id = tree_id_of(tree.origin, shard)
    # 3. Nothing that stands beside is another tree's: clients of others believe root and size, people the UUID.
    if (answered.root, answered.size) != (tree.root_hash, tree.size):
        raise ProofError(
            "root and size beside the proof",
            expected=f"{tree.root_hash.hex()} of {tree.size}",
            actual=f"{answered.root.hex()} of {answered.size}",
        )
    check_uuid(answered.uuid, leaf_hash(entry.body), tree_id)
    if trees is not None:
        trees.remember(entry.note)
    return proven, format_log_entry(entry, tree)


def tree_id_of(origin: str, shard: Shard) -> int:
    """Return the tree id in the origin of a checkpoint of ``shard``: ``name - tree id``.

    A shard whose origin is a name has all trees of that name: Rekor goes on with a new tree under the same key, of which
    a trusted root knows nothing. One whose origin has a tree id has that tree alone.

    Raises:
        SignatureError: another name or tree. MalformedError: no tree id.
    """
    name, _, number = origin.rpartition(" - ")
    if shard.origin not in (origin, name):
        raise SignatureError("origin of the checkpoint", expected=shard.origin, actual=origin)
    return parse_decimal(number, what="tree id of the checkpoint")


def check_uuid(uuid: str, leaf: bytes, tree_id: int) -> None:
    """Return if the UUID is that of the leaf: its hash, alone or after the tree id (64 or 80 hex digits).

    Raises:
        ProofError: another leaf or tree. MalformedError: another form.
    """
    raw = parse_hex(uuid, what="UUID of the entry")
    whole = tree_id.to_bytes(TREE_ID_BYTES, "big") + leaf
    if raw not in (leaf, whole):
        raise ProofError("UUID of the entry", expected=whole.hex(), actual=uuid)
