"""Single entries, their proofs, and evidence over HTTP. What is handed out is checked before its first byte goes."""

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ledger.embedded.erasures import find_erasures, holds_back
from ledger.embedded.evidence import describe_digest, open_evidence
from ledger.embedded.proving import make_proof
from ledger.embedded.reading import read_entry_at, read_statement_at
from ledger.embedded.searching import find_content, find_file
from ledger.encoding import format_base64, format_canonical_json, parse_audited_json, parse_decimal
from ledger.entry import Entry, parse_entry
from ledger.errors import LedgerError, NotFoundError
from ledger.event import VerificationEvent
from ledger.event.digests import Use
from ledger.index.statements import digests_of
from ledger.server import messages, problems
from ledger.server.messages import FOREVER, Request, Response, json_response
from ledger.server.views import Remembered, View
from ledger.storage.evidence import Evidence
from ledger.tlog.merkle import leaf_hash

if TYPE_CHECKING:
    from ledger.server.places import Places

_TELLING = (Use.BUNDLE, Use.MORE)
"""Pieces that say who signed."""
MAX_LISTED = 200
"""Statements that one answer lists; each is read from the log. The whole number is beside them."""
MAX_REMEMBERED = 4096
_WHOLE_BYTES = 16 << 20
"""Larger pieces are read twice, once to check them, and never held whole."""


class Pieces:
    """Answers about entries and evidence."""

    def __init__(self, view: View, places: "Places | None" = None) -> None:
        self._view, self._places = view, places
        self._told: Remembered[bool] = Remembered(MAX_REMEMBERED)

    def entry(self, request: Request) -> Response:
        """Return what a leaf says."""
        return self._entry(parse_decimal(request.captured, what="leaf index"))

    def event(self, request: Request) -> Response:
        """Return what was recorded under an event id."""
        size, event_id = self._view.size, request.text("id") or ""
        hub = self._view.ledger.config.hub
        found = [each for each in self._view.index.find_event(event_id, hub=hub) if each < size]
        if not found:
            raise NotFoundError(
                f"event {event_id}",
                expected="the id of a published event",
                actual="none such",
                next_step="An event is published within seconds of being recorded",
            )
        return self._entry(found[0])

    def _entry(self, leaf_index: int) -> Response:
        size = self._view.size
        if leaf_index >= size:
            raise _unpublished(leaf_index, size)
        raw = read_entry_at(self._view.ledger, leaf_index, size)
        facts: dict[str, Any] = {"entry": format_base64(raw)}
        statement = _statement(raw)
        if statement is not None:
            facts["statement"] = statement
        if self._places is not None:
            # Asked for again every time: what waits is logged later, and may be found at further places.
            body = format_canonical_json(self._places.facts(leaf_index) | facts)
            return Response(body=body, etag=hashlib.sha256(body).hexdigest()[:32])
        facts |= {"leafIndex": leaf_index, "leafHash": leaf_hash(raw).hex()}
        # A leaf says the same for ever.
        return json_response(facts, cache=FOREVER, etag=facts["leafHash"])

    def proof(self, request: Request) -> Response:
        """Return the proof of a leaf, by the newest checkpoint."""
        leaf_index = parse_decimal(request.captured, what="leaf index")
        ledger, size = self._view.ledger, self._view.size
        if leaf_index >= size:
            raise _unpublished(leaf_index, size)
        if self._places is not None:
            from ledger.server.places import TLOG_PROOF, refuse_since

            refuse_since(request.number("since", 0) or None)
            return _download(
                self._places.proof(leaf_index, name=TLOG_PROOF), f"entry-{leaf_index}.tlog-proof"
            )
        entry = read_entry_at(ledger, leaf_index, size)
        since = request.number("since", 0) or None
        data = make_proof(ledger.log, leaf_index, entry, since=since)
        return _download(data, f"leaf-{leaf_index}.tlog-proof")

    def bundle(self, request: Request) -> Response:
        """Return the proof of an entry in Rekor as a Sigstore bundle. Raises NotFoundError: not logged. Refusal: no Rekor."""
        from ledger.server.places import BUNDLE, no_bundle_here

        if self._places is None:
            raise no_bundle_here()
        number, size = parse_decimal(request.captured, what="leaf index"), self._view.size
        if number >= size:
            raise _unpublished(number, size)
        return _download(
            self._places.proof(number, name=BUNDLE), f"entry-{number}.sigstore.json", media=messages.BUNDLE
        )

    def statement(self, request: Request) -> Response:
        """Return the envelope of a statement by the digest that Rekor has of it.

        Raises:
            NotFoundError: none of ours has it. WithdrawnError. Refusal: the ledger has a log of its own.
        """
        if self._places is None:
            from ledger.server.places import no_index_here

            raise no_index_here()
        number = self._places.number_of(_digest(request), logged=True)
        if number is None:
            raise NotFoundError(
                f"statement {request.captured}",
                expected="the SHA-256 of the DSSE encoding of an accepted statement",
                actual="none such",
                next_step="It is the digest in the body of an entry of Rekor by the hub's key",
            )
        ledger = self._view.ledger
        entry = read_entry_at(ledger, number, number + 1)
        sha256, _ = digests_of(entry)
        if (erased := find_erasures(ledger, (sha256,)).get(sha256)) is not None:
            raise erased.as_error()
        # A digest stands for the same bytes for ever.
        return Response(body=entry, cache=FOREVER, etag=request.captured)

    def content(self, request: Request) -> Response:
        """Return the events with a content."""
        return json_response(
            find_content(self._view.ledger, self._view.digests, _digest(request), most=MAX_LISTED)
        )

    def file(self, request: Request) -> Response:
        """Return the events with a file."""
        return json_response(
            find_file(self._view.ledger, self._view.digests, _digest(request), most=MAX_LISTED)
        )

    # Evidence

    def naming(self, request: Request) -> Response:
        """Say what a piece is and who names it."""
        return json_response(
            describe_digest(self._view.ledger, _digest(request), most=MAX_LISTED, inside=False)
        )

    def evidence(self, request: Request) -> Response:
        """Return the bytes of a piece that a published statement names, unless they are withdrawn or held back.

        Raises:
            WithdrawnError, NotFoundError, CorruptError. Refusal: it may name a signer who is held back.
        """
        sha256 = _digest(request)
        ledger = self._view.ledger
        if (erased := find_erasures(ledger, (sha256,)).get(sha256)) is not None:
            raise erased.as_error()
        self._check_named(sha256)
        evidence = open_evidence(ledger)
        size = evidence.info(sha256).size
        response = Response(
            content_type=messages.BYTES,
            etag=request.captured,
            headers=(
                # Strangers chose these bytes: they are never shown as a page of ours.
                ("content-disposition", f'attachment; filename="{request.captured}"'),
                ("content-security-policy", "default-src 'none'; sandbox"),
            ),
        )
        if size <= _WHOLE_BYTES:
            response.body = evidence.get(sha256, max_bytes=_WHOLE_BYTES)
        else:
            for _ in evidence.read(sha256):
                pass  # raises where the bytes are not those of the digest
            response.chunks = _chunks(evidence, sha256)
            response.headers = (*response.headers, ("content-length", str(size)))
        return response

    def _check_named(self, sha256: bytes) -> None:
        """Refuse what no published statement names, and what tells of a signer who is held back."""
        size = self._view.size
        if self._places is not None and self._places.number_of(sha256, logged=False) is not None:
            return  # a statement: it is in the answers of every other address
        namings = [
            each
            for each in self._view.digests.namings(sha256)
            if each.leaf_index < size and each.use not in (Use.CONTENT, Use.ERASED)
        ]
        if not namings:
            raise NotFoundError(
                f"evidence {sha256.hex()}",
                expected="a digest that a published statement names",
                actual="none such",
                next_step="/v1/entries/{leaf} shows the digests that a statement names",
            )
        # Whoever is held back once stays so; whoever is not may be from the next event on, so that is asked every time.
        telling = (each.leaf_index for each in namings if each.use in _TELLING)
        if self._told.get(sha256) or any(self._holds_back(each, size) for each in telling):
            self._told.put(sha256, value=True)
            raise problems.Refusal(
                problems.WITHHELD, "This piece may name a signer whom the ledger holds back"
            )

    def _holds_back(self, leaf_index: int, size: int) -> bool:
        statement = read_statement_at(self._view.ledger, leaf_index, size)
        return isinstance(statement, VerificationEvent) and holds_back(self._view.ledger, statement)


def _download(data: bytes, name: str, *, media: str = messages.TEXT) -> Response:
    disposition = ("content-disposition", f'attachment; filename="{name}"')
    return Response(body=data, content_type=media, headers=(disposition,))


def _chunks(evidence: Evidence, sha256: bytes) -> Iterator[bytes]:
    yield from evidence.read(sha256)


def _digest(request: Request) -> bytes:
    return bytes.fromhex(request.captured)


def _statement(raw: bytes) -> object | None:
    """Return the statement of an entry as JSON, or None where it has none that reads."""
    try:
        parsed = parse_entry(raw)
        return parse_audited_json(parsed.payload) if isinstance(parsed, Entry) else None
    except LedgerError:
        return None


def _unpublished(leaf_index: int, size: int) -> NotFoundError:
    return NotFoundError(
        f"leaf {leaf_index}",
        expected=f"a leaf below {size}",
        actual="one that is not published",
        next_step="Ask again after the next checkpoint",
    )
