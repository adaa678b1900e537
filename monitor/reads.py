"""Entries as far as they can be read, each by itself: parsed, and the keys of what it is held against."""

import functools
import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from ledger.client.trusted_keys import load_hub_key
from ledger.entry import Entry, MapCommit, VerifiedEntry, parse_entry
from ledger.errors import LedgerError
from ledger.event import (
    Statement,
    UnknownStatement,
    VerificationEvent,
    parse_statement,
)
from ledger.history import verified_digests
from monitor.policies import notes_of, policies_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One entry as far as it could be read. ``problem`` says why it could not; then ``statement`` is absent.

    A map commit has neither, and is never a finding. ``verified`` is there where somebody checked the signature before, by
    the key of the entry's key id; whether that key may sign there is decided later. ``revision`` is the key of the revision that
    it is about, ``signers`` are the hex digests of who signed that.
    """

    leaf_index: int
    entry: Entry | None = None
    sha256: bytes = b""
    statement: Statement | UnknownStatement | None = None
    problem: str | None = None
    verified: VerifiedEntry | None = None
    revision: bytes | None = None
    signers: tuple[str, ...] = ()

    @property
    def histories(self) -> tuple[str, ...]:
        """The keys of the histories that it belongs to."""
        common = self.statement.common if self.statement is not None else None
        return tuple([link.key for link in common.histories]) if common is not None else ()

    @property
    def policies(self) -> tuple[str, ...]:
        """The keys of the policies that it is held against."""
        return policies_of(self.statement) if self.statement is not None else ()

    @property
    def notes(self) -> tuple[str, ...]:
        """The keys of the other notes that it is held against."""
        return notes_of(self.statement, self.signers) if self.statement is not None else ()


def read_entry(data: bytes, leaf_index: int) -> Read:
    """Parse one entry. Never raises on account of what is in it: a strange entry must not hide behind its strangeness."""
    try:
        parsed = parse_entry(data, leaf_index=leaf_index)
        if isinstance(parsed, MapCommit):
            return Read(leaf_index=leaf_index)
        return read_of(parsed, parse_statement(parsed.payload), leaf_index)
    except (LedgerError, RecursionError) as error:
        problem = error.finding if isinstance(error, LedgerError) else "nested too deeply"
        return Read(leaf_index=leaf_index, problem=problem)


def read_of(
    entry: Entry,
    statement: Statement | UnknownStatement,
    leaf_index: int,
    *,
    verified: VerifiedEntry | None = None,
) -> Read:
    """Return an entry whose statement is parsed as what was read."""
    event = statement if isinstance(statement, VerificationEvent) else None
    return Read(
        leaf_index=leaf_index,
        entry=entry,
        sha256=hashlib.sha256(entry.payload).digest(),
        statement=statement,
        verified=verified,
        revision=None if event is None else revision_key(event),
        signers=() if event is None else signers_of(event),
    )


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
    return tuple(sorted([each.hex() for each in verified_digests(event)]))
