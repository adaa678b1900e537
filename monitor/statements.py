"""The statements behind the digests in Rekor, asked from the service of the hub's ledger (``evidence = "https://…"``).

Nothing of an answer is believed: what does not have the digest that the hub's key signed in Rekor is no statement of the
hub's, and counts as missing, as in a folder. That the service cannot be asked says nothing about the hub.
"""

import hashlib
from collections.abc import Collection, Iterator

from ledger.encoding import Json, parse_json
from ledger.entry import MAX_ENTRY_BYTES, Entry, pae, parse_entry
from ledger.errors import InputError, NotFoundError, SourceError
from ledger.log.fetch import Fetch, fetch_ahead

STATEMENT_SECONDS = 60.0
"""How long the answer with one statement may take."""
_AT_ONCE = 256
"""Statements that are on their way or held at a time, at most 50 KB each."""
_MAX_LOG_BYTES = 1 << 20
GONE = "410"


def is_address(evidence: str) -> bool:
    """Whether a setting names a service, and not a folder."""
    return evidence.startswith(("https://", "http://"))


class FetchedStatements:
    """The statements that the service of a ledger has. ``ledger`` is the id that it must say it has."""

    def __init__(self, log: str, fetch: Fetch, *, ledger: str) -> None:
        self._log, self._fetch, self._ledger = log, fetch, ledger

    def find(self, digests: Collection[bytes]) -> dict[bytes, bytes]:
        """Return the statements that the service has. Raises SourceError: it cannot be asked, or is another."""
        wanted = sorted(set(digests))
        found: dict[bytes, bytes] = {}
        for at in range(0, len(wanted), _AT_ONCE):
            found.update(self._some(wanted[at : at + _AT_ONCE]))
        if len(found) < len(wanted):
            self.said()
        return found

    def _some(self, digests: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
        names = {digest: f"v1/statements/{digest.hex()}" for digest in digests}
        fetch = fetch_ahead(self._fetch, dict.fromkeys(names.values(), MAX_ENTRY_BYTES))
        for digest, name in names.items():
            payload = _statement(fetch, name)
            # The digest is what the hub's key signed: who has these bytes has what the hub said.
            if payload is not None and hashlib.sha256(pae(payload)).digest() == digest:
                yield digest, payload

    def said(self) -> dict[str, Json]:
        """Return what the service says of its ledger.

        A wrong address must not read as a hub that hides something. Raises SourceError: it cannot be asked, or is another.
        """
        try:
            value = parse_json(
                self._fetch("v1/log", max_bytes=_MAX_LOG_BYTES), what="/v1/log", max_bytes=_MAX_LOG_BYTES
            )
        except (NotFoundError, InputError) as error:
            raise self._another(error.finding) from error
        if not isinstance(value, dict) or value.get("ledger") != self._ledger:
            raise self._another("another ledger, or none")
        return value

    def _another(self, actual: str) -> SourceError:
        return SourceError(
            f"evidence of {self._log}",
            expected=f"the service of {self._ledger}",
            actual=actual,
            next_step="Correct `evidence`: the address at which `hubledger serve` answers for this ledger",
        )


def _statement(fetch: Fetch, name: str) -> bytes | None:
    """Return the statement of an envelope; None where there is none, or no envelope. Raises SourceError."""
    try:
        parsed = parse_entry(fetch(name, max_bytes=MAX_ENTRY_BYTES))
    except (NotFoundError, InputError):
        return None
    except SourceError as error:
        if error.actual == GONE:  # withdrawn: it does not come back
            return None
        raise
    return parsed.payload if isinstance(parsed, Entry) else None
