"""Entries as far as they can be read, each by itself: parsed, signature checked, and the keys of what it is held against."""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from ledger.client.trust import TrustFile
from ledger.client.trusted_keys import load_hub_key
from ledger.entry import Entry, MapCommit, VerifiedEntry, parse_entry, verify_entry
from ledger.errors import LedgerError
from ledger.event import (
    Statement,
    UnknownStatement,
    VerificationEvent,
    parse_statement,
)
from ledger.history import verified_digests
from monitor.policies import notes_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One entry as far as it could be read. ``problem`` says why it could not; then ``statement`` is absent.

    A map commit has neither, and is never a finding. ``verified`` is there where somebody checked the signature before, by
    the key of the entry's key id; whether that key may sign there is decided later.
    """

    leaf_index: int
    entry: Entry | None = None
    sha256: bytes = b""
    statement: Statement | UnknownStatement | None = None
    problem: str | None = None
    verified: VerifiedEntry | None = None

    @property
    def histories(self) -> tuple[str, ...]:
        """The keys of the histories that it belongs to."""
        common = self.statement.common if self.statement is not None else None
        return tuple(link.key for link in common.histories) if common is not None else ()

    @property
    def revision(self) -> bytes | None:
        """The key of its revision, if it is about one."""
        return revision_key(self.statement) if isinstance(self.statement, VerificationEvent) else None

    @property
    def notes(self) -> tuple[str, ...]:
        """The keys of the notes that it is held against."""
        if isinstance(self.statement, VerificationEvent):
            return notes_of(self.statement, signers_of(self.statement))
        return notes_of(self.statement) if self.statement is not None else ()


def read_entry(data: bytes, leaf_index: int) -> Read:
    """Parse one entry. Never raises on account of what is in it: a strange entry must not hide behind its strangeness."""
    try:
        parsed = parse_entry(data, leaf_index=leaf_index)
        if isinstance(parsed, MapCommit):
            return Read(leaf_index=leaf_index)
        return Read(
            leaf_index=leaf_index,
            entry=parsed,
            sha256=hashlib.sha256(parsed.payload).digest(),
            statement=parse_statement(parsed.payload),
        )
    except (LedgerError, RecursionError) as error:
        problem = error.finding if isinstance(error, LedgerError) else "nested too deeply"
        return Read(leaf_index=leaf_index, problem=problem)


def verify_reads(reads: Sequence[Read], trust: TrustFile) -> list[Read]:
    """Check the signatures of entries by keys of the trust file; of the others nothing is said here.

    By itself, because it is half of the work and needs no order: a thread of its own can do it.
    """
    keys = {key.keyid: load_key(key.spki) for key in trust.hub_keys}
    return [_verified(read, keys) for read in reads]


def _verified(read: Read, keys: dict[str, EllipticCurvePublicKey]) -> Read:
    if read.entry is None:
        return read
    try:
        return replace(read, verified=verify_entry(read.entry, keys))
    except LedgerError:
        return read  # the detector says what is wrong with it


@functools.lru_cache(maxsize=64)
def load_key(spki: bytes) -> EllipticCurvePublicKey:
    """Load a hub key: the same object every time. Raises ConfigError."""
    return load_hub_key(spki)


def revision_key(event: VerificationEvent) -> bytes:
    """Return the key of a revision: of its repository where it has one, else of its name."""
    model = event.model
    return revision_key_of(model.name, model.repo_id, model.revision)


def revision_key_of(name: str, repo_id: str | None, revision: str) -> bytes:
    """Return the key of a revision by its parts."""
    of = f"repo:{repo_id}" if repo_id is not None else f"name:{name}"
    return hashlib.sha256(f"{of}\n{revision}".encode()).digest()[:16]


def signers_of(event: VerificationEvent) -> tuple[str, ...]:
    """Return the hex digests of the identities that signed a verified event."""
    return tuple(sorted(each.hex() for each in verified_digests(event)))
