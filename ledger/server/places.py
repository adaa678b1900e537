"""Where the entries of a ledger in Rekor are, for those who ask over HTTP: places, proofs, and what waits.

Such a ledger has no tree of its own. An entry is called by its *number* in the order of acceptance, which the chains
follow; where it is logged is proven again before it is shown, once for each of its stored bytes.
"""

from dataclasses import dataclass
from typing import Any

from ledger.embedded.remote import AcceptedLog, fate_facts, format_logged
from ledger.encoding import format_canonical_json
from ledger.errors import UsageError
from ledger.index.statements import digests_of
from ledger.log.outbox import Fate, fate_of
from ledger.server.problems import NOT_FOUND, NOT_IMPLEMENTED, Refusal, busy
from ledger.server.views import Remembered, View
from ledger.storage.outbox import StoredReceipt

MAX_REMEMBERED = 8192
"""Entries whose proven places are remembered, some 500 bytes each."""
MAX_TAIL = 2000
"""Entries that are looked at for one question because the index has not come to them: of some seconds of recording."""
BUNDLE, TLOG_PROOF = "event.sigstore.json", "event.tlog-proof"
"""File names that stand for the two forms of a proof, as for ``hubledger proof -o``."""


def no_log_here(view: View) -> Refusal:
    """Return the refusal of whoever asks a ledger in Rekor for checkpoint and tiles."""
    origins = ", ".join(each.origin for each in view.accepted.prover.shards)
    return Refusal(
        NOT_FOUND,
        f"The log of this ledger is Rekor ({view.ledger.config.log}: {origins}): ask there for its checkpoint and tiles",
    )


def no_bundle_here() -> Refusal:
    """Return the refusal of whoever asks a ledger with a log of its own for what only Rekor gives."""
    return Refusal(
        NOT_IMPLEMENTED, "This ledger has a log of its own: /v1/entries/{leaf}/proof is the proof of an entry"
    )


def no_index_here() -> Refusal:
    """Return the refusal of whoever asks a ledger with a log of its own for a statement by what Rekor has of it."""
    return Refusal(
        NOT_IMPLEMENTED, "This ledger has a log of its own: its bundles of entries have every statement"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What is accepted and not logged: how many, how many of them a person must look at, the seconds of the oldest."""

    pending: int
    refused: int
    failed: int
    oldest_seconds: int | None

    def as_json(self) -> dict[str, Any]:
        """Return the facts; no oldest one where nothing waits."""
        facts: dict[str, Any] = {"waiting": self.pending, "refused": self.refused, "failed": self.failed}
        return facts | ({} if self.oldest_seconds is None else {"oldestSeconds": self.oldest_seconds})


def waiting_of(accepted: AcceptedLog, *, now: int) -> Waiting:
    """Say what waits for Rekor. ``failed``: entries whose last attempt failed, refused ones among them."""
    store = accepted.store
    counts, oldest = store.counts(), store.oldest_pending()
    return Waiting(
        pending=counts.pending,
        refused=counts.refused,
        failed=sum(count for _, count, _ in store.failures()),
        oldest_seconds=None if oldest is None else max(0, now - oldest),
    )


class Places:
    """Proves where entries are. Safe for threads: each reads through its own connection."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._proven: Remembered[dict[str, Any]] = Remembered(MAX_REMEMBERED)

    def facts(self, number: int) -> dict[str, Any]:
        """Return what became of an entry as JSON facts: ``number``, ``state``, and where it is logged."""
        store = self._view.accepted.store
        stored: tuple[StoredReceipt, ...] = tuple(store.receipts(number))
        if not stored:  # it may be logged at any moment: nothing to remember
            return fate_facts(self._fate(number))
        key = (number, stored)
        known = self._proven.get(key)
        if known is None:
            known = fate_facts(self._fate(number))
            self._proven.put(key, known)
        return known

    def place(self, row: bytes, number: int) -> bytes:
        """Return a row of a history, as JSON, with what became of its entry; the row has its number."""
        facts = {name: value for name, value in self.facts(number).items() if name != "number"}
        return b"".join((format_canonical_json(facts)[:-1], b",", row[1:]))

    def number_of(self, digest: bytes, *, logged: bool) -> int | None:
        """Return the number of the entry whose statement has this digest, or which Rekor has under it (``logged``).

        What the index does not mirror yet is looked at here. Raises Refusal: that is too much.
        """
        index, accepted = self._view.statements, self._view.accepted
        if index is not None:
            number = index.by_logged(digest) if logged else index.by_statement(digest)
            if number is not None:
                return number
        size, start = accepted.size(), 0 if index is None else index.position()
        if size - start > MAX_TAIL:
            raise busy(
                "The index of statements is far behind the outbox: whoever runs the service makes it again"
            )
        for at, entry in enumerate(accepted.read(start, size), start):
            if digests_of(entry)[logged] == digest:
                return at
        return None

    def proof(self, number: int, *, name: str) -> bytes:
        """Return the proof of an entry in the form that a file of this name has.

        Raises:
            NotFoundError: it is not logged. Refusal: a `.tlog-proof` of Rekor v1, which has none.
        """
        if name == TLOG_PROOF and self._view.ledger.config.log != "rekor-v2":
            raise Refusal(
                NOT_IMPLEMENTED,
                "There is no .tlog-proof of an entry in Rekor v1: /v1/entries/{leaf}/bundle is its proof",
            )
        return format_logged(self._fate(number), self._view.accepted.prover, name=name)

    def _fate(self, number: int) -> Fate:
        accepted = self._view.accepted
        return fate_of(accepted.store, accepted.prover, number, next(accepted.read(number, number + 1)))


def refuse_since(since: int | None) -> None:
    """Refuse to link a proof from Rekor to another size. Raises UsageError."""
    if since is not None:
        raise UsageError(
            "since",
            expected="nothing, of a ledger in Rekor",
            actual=since,
            next_step="Leave it out: a proof from Rekor links to no checkpoint that you keep",
        )
