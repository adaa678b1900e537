"""What a hub logged in a Rekor v1, with the receipt of each entry: the Sigstore bundle that the hub's service gives.

Each is asked for again and proven as when it was followed. Its checkpoint must be one that was held against the log's trees, and
its statement one that was looked at: what the hub shows now and did not show then is not published.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from ledger.bundle.any_bundle import parse_any_bundle
from ledger.client.event_receipt import Placed, prove_places, read_event
from ledger.client.trust import TrustFile
from ledger.entry import format_entry, pae
from ledger.errors import LedgerError, SourceError, StorageError
from ledger.log.fetch import Fetch, fetch_ahead
from monitor.publish import layout
from monitor.publish.chains import Piece
from monitor.publish.store import Store
from monitor.publish.writing import Writer
from monitor.reads import read_entry
from monitor.rekor_v1 import MAX_MISSING, MAX_RECEIPT_BYTES, fetch_receipt
from monitor.state import State

RUN_RECEIPTS = 64
"""Receipts in memory at a time, at most 4 MB each and seldom more than 10 KB."""


class ReceiptPieces:
    """What is new in the listing of one hub, whose numbers are the places here."""

    def __init__(self, log: str, service: Fetch, *, state: State, store: Store, trust: TrustFile) -> None:
        self._log, self._service, self._state, self._store, self._trust = log, service, state, store, trust
        self.reached: dict[int, int] = {}
        self.awaited: list[tuple[int, int]] = []

    def batches(self) -> Iterator[Sequence[Piece]]:
        """Yield what was proven since, some at a time. Raises SourceError: the hub cannot be asked."""
        asked = self._state.receipts.asked(self._log)
        missing = self._state.receipts.missing(self._log, limit=2 * MAX_MISSING)
        begin = self._store.reached(self._log, 0)
        numbers = [*(at for _, at in self._store.awaited(self._log)), *range(begin, asked)]
        self.reached, self.awaited = {0: asked}, [(0, at) for at in numbers if at in missing]
        wanted = [at for at in numbers if at not in missing]
        for start in range(0, len(wanted), RUN_RECEIPTS):
            yield self._pieces(wanted[start : start + RUN_RECEIPTS])

    def _pieces(self, numbers: Sequence[int]) -> list[Piece]:
        names = {number: f"v1/entries/{number}/bundle" for number in numbers}
        fetch = fetch_ahead(self._service, dict.fromkeys(names.values(), MAX_RECEIPT_BYTES))
        found = []
        for number, name in names.items():
            try:
                data = fetch_receipt(fetch, name)
                piece = None if data is None else self._piece(data)
            except (SourceError, StorageError):
                raise
            except LedgerError:  # it was proven before: what the hub shows now does not hold
                piece = None
            if piece is None:
                self.awaited.append((0, number))
            elif self._store.number(self._log, *piece.place) is None:
                found.append(piece)
        return found

    def _piece(self, data: bytes) -> Piece | None:
        """Return what a receipt proves; None where that was not held against the log's trees, or not looked at yet."""
        event = read_event(parse_any_bundle(data), self._trust)
        places = prove_places(event, self._trust)
        order, at = places[0].position
        digest = hashlib.sha256(pae(event.content.payload)).digest()
        done = self._state.logged.done(self._log, (order, at), (order, at + 1), limit=1)
        if [each.digest for each in done] != [digest] or not all(self._is_held(each) for each in places):
            return None
        entry = format_entry(event.content.payload, keyid=event.keyid, signature=event.content.signature)
        return Piece(shard=order, at=at, read=read_entry(entry, at), proof=data)

    def _is_held(self, placed: Placed) -> bool:
        tree = placed.checkpoint.checkpoint
        seen = self._state.checkpoints.between(f"{self._log} {tree.origin}", least=tree.size, most=tree.size)
        return any(each.verified and each.root == tree.root_hash for each in seen)

    def keep(self, writer: Writer, proofs: Mapping[int, bytes]) -> Mapping[int, str]:
        """Write each receipt as a file of its own."""
        names = {number: layout.of_bundle(self._log, number) for number in proofs}
        for number, data in proofs.items():
            writer.put(names[number], data)
        return names
