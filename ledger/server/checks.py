"""All that a check by name needs, in one answer: what the hub knows of the model's events, and the proof of one of them."""

from typing import TYPE_CHECKING

from ledger.embedded.proving import make_proof
from ledger.embedded.reading import read_entry_at
from ledger.encoding import format_canonical_json
from ledger.errors import NotFoundError
from ledger.event import escape_name
from ledger.server.histories import Histories, as_recorded
from ledger.server.messages import Request, Response
from ledger.server.views import View

if TYPE_CHECKING:
    from ledger.server.places import Places

MAX_CLAIMS = 200
"""Events that are listed: with the proof some 50 KiB. Of a longer history a client asks page by page."""


class Checks:
    """Answers whoever is about to load a model."""

    def __init__(self, view: View, histories: Histories, places: "Places | None" = None) -> None:
        self._view, self._histories, self._places = view, histories, places

    def check(self, request: Request) -> Response:
        """Return the events, and the proof of the newest one, or of the newest of a revision. Raises NotFoundError."""
        found = self._histories.asked(request)
        revision = _revision(request)
        claims = found.claims()
        leaves = [leaf for leaf, of, _ in claims if revision in (None, of)]
        if not leaves:
            raise NotFoundError(f"event of {found.name}", expected="a recorded revision", actual="none such")
        ledger, size = self._view.ledger, self._view.size
        since = request.number("since", 0) or None
        if self._places is not None:
            from ledger.server.places import BUNDLE, refuse_since

            refuse_since(since)
            # In JSON as it is: a bundle is JSON itself.
            field, proof = b',"bundle":', self._places.proof(leaves[-1], name=BUNDLE)
        else:
            made = make_proof(ledger.log, leaves[-1], read_entry_at(ledger, leaves[-1], size), since=since)
            field, proof = b',"proof":', format_canonical_json(made.decode())
        listed = claims if len(claims) <= MAX_CLAIMS else ()
        pieces = [
            b'{"claims":[',
            b",".join([data for _, _, data in listed]),
            b'],"count":',
            str(len(claims)).encode(),
            b',"%s":' % ledger.place.encode(),
            str(leaves[-1]).encode(),
            b',"model":',
            format_canonical_json(found.name),
            field,
            proof,
            b"}",
        ]
        return Response(body=b"".join(pieces))


def _revision(request: Request) -> str | None:
    revision = request.wanted.get("revision")
    if revision is None:
        return None
    return as_recorded(revision) if request.text("as") == "recorded" else escape_name(revision)
