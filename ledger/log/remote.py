"""Logs of somebody else: what submitting to one means, and what it gives back.

A *shard* is one log with one key. A remote log rotates through shards; the trust file lists them in order, and a
position is (order of the shard, leaf index).
"""

from dataclasses import dataclass
from typing import Protocol

from ledger.bundle.bodies import SignedPayload
from ledger.bundle.log_entry import ProvenEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One log of a trusted root: where it is written and read, and the key that signs its checkpoints.

    ``kind`` is ``rekor-v2`` or ``rekor-v1``; ``order`` counts from 0, oldest first. ``valid_from`` and ``valid_until`` are
    POSIX seconds and bound when it takes entries; ``read_url`` is where a v2 shard's checkpoint and tiles are.
    """

    kind: str
    order: int
    origin: str
    log_id: bytes
    spki: bytes
    write_url: str | None
    read_url: str
    valid_from: int = 0
    valid_until: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReceipt:
    """An entry that is proven to be in a shard. Only verification makes one.

    ``log_entry`` is protobuf's JSON of the ``TransparencyLogEntry``, in RFC 8785 form: it is stored, and checked again by
    whoever reads it. ``timestamps`` are RFC 3161 responses over the envelope's signature (DER), each verified.
    """

    shard: Shard
    log_entry: bytes
    proven: ProvenEntry
    timestamps: tuple[bytes, ...] = ()

    @property
    def position(self) -> tuple[int, int]:
        """(order of the shard, index in it): what "earlier" and "lowest" mean.

        The index is the leaf index, except in Rekor v1, where it is the global one: such a log goes on in another tree
        under the same key, whose leaves count from 0 again.
        """
        return self.shard.order, self.proven.index


class RemoteLog(Protocol):
    """Writes one shard. Nothing is retried here, and any number of submissions may be in flight."""

    shard: Shard

    async def submit(self, signed: SignedPayload, *, again: bool = False) -> LogReceipt:
        """Submit one envelope and return its place once that is completely verified; also where it was there before.

        ``again``: it may have been submitted to this shard before, and its answer lost.

        Raises:
            RejectedError: the log will never take it. FrozenError: this shard takes no more.
            SourceError: no answer, or one that says nothing about the entry; submit the same bytes again.
            SignatureError, ProofError, MalformedError, LimitError: an answer that does not hold.
        """
        ...

    async def find(self, signed: SignedPayload) -> LogReceipt | None:
        """Return the verified place of an envelope that may have been submitted here before; None: it is not found.

        Raises:
            SourceError: no answer. SignatureError, ProofError, MalformedError, LimitError: one that does not hold.
        """
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
