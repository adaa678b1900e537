"""The proof of a published leaf, as a file."""

from ledger.client.proof_extra import Consistency, ProofExtra, format_extra
from ledger.errors import NotFoundError
from ledger.log.published import PublishedLog
from ledger.tlog.proof import TlogProof, format_proof


def make_proof(log: PublishedLog, leaf_index: int, entry: bytes, *, since: int | None = None) -> bytes:
    """Return a ``.tlog-proof`` of a published leaf with its entry, linked to the size ``since`` where given.

    Raises:
        NotFoundError: the leaf is not published yet, or ``since`` is a later size.
    """
    checkpoint = log.checkpoint()
    size = checkpoint.checkpoint.size
    if leaf_index >= size:
        raise NotFoundError(
            f"leaf {leaf_index}", expected=f"a leaf below {size}", actual="one that is not published"
        )
    if since is not None and since > size:
        raise NotFoundError(
            f"size {since}", expected=f"at most {size}", actual="a size that is not published"
        )
    link = None
    if since:
        link = Consistency(size=since, hashes=log.prove_consistency(since, size))
    return format_proof(
        TlogProof(
            index=leaf_index,
            hashes=log.prove_inclusion(leaf_index, size),
            checkpoint_note=checkpoint.note,
            extra=format_extra(ProofExtra(entry=entry, consistency=link)),
        )
    )
