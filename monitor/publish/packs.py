"""Packs of proofs: those of ``layout.PACK`` entries in one file, a line of JSON for each, so that a million entries are not a
million files.

A line is ``{"leafIndex":N,"proof":"…"}``, and the text in it is a whole proof file (docs/spec/proof.md). Of a ledger in Rekor it
is ``{"number":N,"proof":"…"}``: the leaves of several shards go by the number under which they are published. Who has the log's key
checks it, so a pack needs no trust: whoever serves it can only fail to prove.
"""

import pathlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ledger.encoding import format_canonical_json, parse_json
from ledger.errors import MalformedError, NotFoundError, UsageError
from ledger.tlog.proof import MAX_PROOF_BYTES, TlogProof, parse_proof
from monitor.publish import layout

if TYPE_CHECKING:
    from ledger.log.fetch import Fetch

MAX_PACK_BYTES = 32 << 20
"""Entries as large as a proof can hold, under checkpoints of 64 KiB, are 8.4 MB; a reader is not made to take much more."""
_MAX_LINE_BYTES = 2 * MAX_PROOF_BYTES
"""A newline of the proof has two characters in JSON."""


LEAF, NUMBER = "leafIndex", "number"
"""What entries go by in a pack."""


def format_pack(proofs: Mapping[int, bytes], *, by: str = LEAF) -> bytes:
    """Format the proofs of some entries, by leaf index or number."""
    return b"".join(
        format_canonical_json({by: at, "proof": proofs[at].decode()}) + b"\n" for at in sorted(proofs)
    )


def parse_pack(data: bytes) -> dict[int, bytes]:
    """Return the proofs of a pack, by what they go by. Nothing is verified, nor do they have to be proofs."""
    return {at: proof for _, at, proof in _lines(data)}


def _lines(data: bytes) -> Iterator[tuple[str, int, bytes]]:
    for line in data.splitlines():
        value = parse_json(line, what="line of a pack", max_bytes=_MAX_LINE_BYTES)
        match value:
            case {"leafIndex": int(at), "proof": str(proof)}:
                yield LEAF, at, proof.encode("utf-8", "replace")
            case {"number": int(at), "proof": str(proof)}:
                yield NUMBER, at, proof.encode("utf-8", "replace")
            case _:
                raise MalformedError(
                    "line of a pack",
                    expected="leafIndex and proof",
                    actual=line[:60].decode("utf-8", "replace"),
                )


def fetch_proof(fetch: "Fetch", leaf_index: int) -> tuple[bytes, TlogProof]:
    """Fetch the proof of an entry from what a monitor publishes of a log: the file, and what it says.

    In a ledger in Rekor ``leaf_index`` is the number of the entry: where that is logged, the proof alone says.

    Raises:
        NotFoundError: it is not published. MalformedError: it is no proof of that entry. LimitError, SourceError.
    """
    try:
        lines = list(_lines(fetch(layout.pack(leaf_index), max_bytes=MAX_PACK_BYTES)))
    except NotFoundError as error:
        raise _absent(leaf_index, layout.pack(leaf_index)) from error
    found = next(((by, data) for by, at, data in lines if at == leaf_index), None)
    if found is None:
        raise _absent(leaf_index, layout.pack(leaf_index))
    by, data = found
    proof = parse_proof(data)
    if by == LEAF and proof.index != leaf_index:
        raise MalformedError("proof in a pack", expected=f"entry {leaf_index}", actual=f"entry {proof.index}")
    return data, proof


def fetch_latest(fetch: "Fetch", name: str) -> tuple[bytes, TlogProof]:
    """Fetch the proof of a model's newest entry, by its recorded name: the file, and what it says. Raises as `fetch_proof`."""
    path = layout.model(name, layout.LATEST_PROOF)
    try:
        data = fetch(path, max_bytes=MAX_PROOF_BYTES)
    except NotFoundError as error:
        raise NotFoundError(
            f"proof of the newest entry of {name}",
            expected=path,
            actual="none",
            next_step="Check the name, as the log has it; of a ledger in Rekor v1 take the file "
            f"{layout.model(name, layout.LATEST_BUNDLE)}",
        ) from error
    return data, parse_proof(data)


def open_published(where: str) -> "Fetch":
    """Return what fetches from a folder, or an address, that a monitor publishes a log at. Raises UsageError."""
    return _open(
        where,
        what="monitor",
        expected="the folder or address of a log in what a monitor publishes",
        next_step="Name it with the log, as in monitor/public/models",
    )


def open_shard(where: str) -> "Fetch":
    """Return what fetches from a folder, or an address, where a shard of Rekor is read. Raises UsageError."""
    return _open(
        where,
        what="shard",
        expected="the folder or address of a shard of Rekor",
        next_step="Name that which has its checkpoint and tiles",
    )


def _open(where: str, *, what: str, expected: str, next_step: str) -> "Fetch":
    from ledger.client.trust_source import open_source
    from ledger.log.fetch import fetch_from_folder

    if "://" in where:
        return open_source(where.rstrip("/"), what=what)
    folder = pathlib.Path(where)
    if not folder.is_dir():
        raise UsageError(where, expected=expected, actual="no folder", next_step=next_step)
    return fetch_from_folder(folder)


def _absent(leaf_index: int, pack: str) -> NotFoundError:
    return NotFoundError(
        f"proof of entry {leaf_index}",
        expected=f"a line of {pack}",
        actual="none",
        next_step="Check the number; a monitor that began later in the log has no earlier ones, and of a ledger in Rekor v1 take "
        f"{layout.bundle(leaf_index)}",
    )
