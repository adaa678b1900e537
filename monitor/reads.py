"""Entries as far as they can be read, each by itself: what they are held against, and what they say."""

import functools
import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from ledger.client.trusted_keys import load_hub_key
from ledger.entry import Entry, MapCommit, parse_entry
from ledger.errors import LedgerError
from ledger.event import (
    Common,
    Statement,
    UnknownStatement,
    VerificationEvent,
    parse_audited_statement,
    parse_statement,
)
from monitor.event_facts import EventFacts, Links, facts_of, links_of
from monitor.policies import notes_of, policies_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An entry and the statement in it, as parsed."""

    entry: Entry
    statement: Statement | UnknownStatement


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One entry as far as it could be read. ``problem`` says why it could not; then nothing else is there.

    A map commit has neither, and is never a finding. ``facts`` are those of a verification event. ``key`` is there where
    somebody checked the signature before, by the key of this key id; whether that key may sign there is decided later.
    ``opened`` is absent where it is not parsed yet: ``data``, which was found good, is parsed when it is asked for.
    """

    leaf_index: int
    keyid: str = ""
    sha256: bytes = b""
    facts: EventFacts | None = None
    problem: str | None = None
    key: EllipticCurvePublicKey | None = None
    opened: Opened | None = None
    data: bytes = b""

    @property
    def is_statement(self) -> bool:
        """Whether there is a statement: neither a map commit nor what cannot be read."""
        return bool(self.keyid)

    @property
    def entry(self) -> Entry | None:
        """The envelope."""
        opened = self._open()
        return None if opened is None else opened.entry

    @property
    def statement(self) -> Statement | UnknownStatement | None:
        """What the entry says."""
        opened = self._open()
        return None if opened is None else opened.statement

    @property
    def common(self) -> Common | None:
        """What every statement says, where it could be read."""
        statement = self.statement
        return None if statement is None else statement.common

    @property
    def links(self) -> Links:
        """Its places in the chains."""
        if self.facts is not None:
            return self.facts.links
        common = self.common
        return () if common is None else links_of(common)

    @property
    def histories(self) -> tuple[str, ...]:
        """The keys of the histories that it belongs to."""
        return tuple([key for key, _, _ in self.links])

    @property
    def revision(self) -> bytes | None:
        """The key of the revision that it is about."""
        return None if self.facts is None else self.facts.revision_key

    @property
    def policies(self) -> tuple[str, ...]:
        """The keys of the policies that it is held against."""
        return policies_of(self.statement if self.facts is None else self.facts)

    @property
    def notes(self) -> tuple[str, ...]:
        """The keys of the other notes that it is held against."""
        return notes_of(self.statement if self.facts is None else self.facts)

    def _open(self) -> Opened | None:
        if self.opened is not None or not self.data:
            return self.opened
        entry = parse_entry(self.data)
        if isinstance(entry, MapCommit):  # never: it has no key id, and nobody finds it good
            return None
        return Opened(entry=entry, statement=parse_audited_statement(entry.payload))


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
    key: EllipticCurvePublicKey | None = None,
) -> Read:
    """Return an entry whose statement is parsed as what was read."""
    return Read(
        leaf_index=leaf_index,
        keyid=entry.keyid,
        sha256=hashlib.sha256(entry.payload).digest(),
        facts=facts_of(statement) if isinstance(statement, VerificationEvent) else None,
        key=key,
        opened=Opened(entry=entry, statement=statement),
    )


@functools.lru_cache(maxsize=64)
def load_key(spki: bytes) -> EllipticCurvePublicKey:
    """Load a hub key: the same object every time. Raises ConfigError."""
    return load_hub_key(spki)
