"""Checks what the entries of a ledger of ours say, run by run, beside the hashing (``hubledger log audit``)."""

import functools
import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from ledger.client.trusted_keys import load_hub_key
from ledger.embedded import chains
from ledger.embedded.evidence_audit import format_named
from ledger.embedded.observers import Observer
from ledger.entry import MapCommit, parse_entry, verify_entry
from ledger.errors import LedgerError, MalformedError, SignatureError
from ledger.event import parse_statement
from ledger.event.digests import named_digests
from ledger.index import Rows
from ledger.index.staging import Staging
from ledger.storage.sqlite import event_key


@dataclass(slots=True)
class Examine:
    """Checks signatures and statements of a run of entries, and stages what they say of chains and for the index.

    ``keys`` are those of the hub and of ``observers``, by key id. Picklable: each process opens a staging file of its own when it gets its first run.
    """

    keys: Mapping[str, bytes]
    ledger: str
    folder: pathlib.Path
    observers: Mapping[str, Observer] = field(default_factory=dict)
    _staging: Staging | None = field(default=None, init=False)

    def __call__(self, start: int, entries: Sequence[bytes]) -> "Examined":
        """Return which keys signed where, and what was named. Raises, naming the leaf index."""
        run = _Run(Rows(start))
        for at, entry in enumerate(entries, start):
            try:
                self._one(at, entry, run)
            except LedgerError as error:
                raise type(error)(
                    f"entry {at}: {error.what}",
                    expected=error.expected,
                    actual=error.actual,
                    next_step=error.next_step,
                ) from error
        if self._staging is None:
            self._staging = Staging(self.folder, more=chains.TABLES)
        self._staging.add(run.rows, (chains.INSERT_LINK, run.links), (chains.INSERT_EVENT, run.events))
        return Examined(spans=run.spans, named=bytes(run.named))

    def _one(self, at: int, entry: bytes, run: "_Run") -> None:
        parsed = parse_entry(entry, leaf_index=at)
        if isinstance(parsed, MapCommit):
            run.rows.add(hashlib.sha256(entry).digest(), parsed)
            return
        verify_entry(parsed, _public_keys(tuple(sorted(self.keys.items()))))
        statement = parse_statement(parsed.payload)
        common = statement.common
        if common is None or common.ledger != self.ledger:
            raise MalformedError(
                "ledger of the statement", expected=self.ledger, actual=common.ledger if common else "none"
            )
        observer, by = self.observers.get(parsed.keyid), common.recorded_by
        if (by.role == "observer") != (observer is not None) or (observer and observer.id != by.id):
            raise SignatureError(
                "key of the statement",
                expected=f"one of {by.role} {by.id}",
                actual=f"one of observer {observer.id}" if observer else "one of the hub",
            )
        if observer is not None:
            observer.check(at)
        sha256 = hashlib.sha256(parsed.payload).digest()
        run.rows.add(sha256, statement)
        run.links += [(link.key, at, link.sequence, link.previous, sha256) for link in common.histories]
        run.events.append((event_key(common.recorded_by.id, common.event_id), at))
        if observer is None:
            run.spans[parsed.keyid] = (run.spans.get(parsed.keyid, (at, at))[0], at)
        run.named += format_named(at, named_digests(statement))


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What comes back from a worker about a run: for each hub key its first and last leaf index, and what was named.

    ``named`` is in the form of ``evidence_audit.format_named``.
    """

    spans: Mapping[str, tuple[int, int]]
    named: bytes


@dataclass(slots=True)
class _Run:
    """What a run of entries says, while it is read."""

    rows: Rows
    links: list[tuple[Any, ...]] = field(default_factory=list)
    events: list[tuple[bytes, int]] = field(default_factory=list)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    named: bytearray = field(default_factory=bytearray)


@functools.lru_cache(maxsize=4)
def _public_keys(keys: tuple[tuple[str, bytes], ...]) -> dict[str, ec.EllipticCurvePublicKey]:
    """Load hub keys once a process."""
    return {keyid: load_hub_key(spki) for keyid, spki in keys}
