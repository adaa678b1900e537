"""Feeds of events, for people's readers: Atom (RFC 4287) and JSON Feed 1.1.

Links are relative to the feed: the service does not know by which names it is reached, and does not believe a header.
"""

from ledger.embedded.reading import read_statement_at
from ledger.embedded.searching import event_facts
from ledger.errors import NotFoundError
from ledger.event import RecordedBy, VerificationEvent
from ledger.event.readable import readable_name
from ledger.server.feed_formats import MAX_ENTRIES, Feed, Item, format_atom, format_json
from ledger.server.histories import Histories
from ledger.server.messages import Request, Response
from ledger.server.views import View
from ledger.server.words import UNSIGNED, UNVERIFIED, standing_of


class Feeds:
    """Makes feeds."""

    def __init__(self, view: View, histories: Histories) -> None:
        self._view, self._histories = view, histories

    def atom(self, request: Request) -> Response:
        """Return the feed as Atom."""
        feed = self._feed(request)
        return _response(feed, format_atom(feed), "application/atom+xml; charset=utf-8")

    def json(self, request: Request) -> Response:
        """Return the feed as JSON Feed."""
        feed = self._feed(request)
        return _response(feed, format_json(feed), "application/feed+json")

    def _feed(self, request: Request) -> Feed:
        if "model" in request.wanted:
            return self._of_model(request)
        ledger, size = self._view.ledger, self._view.size
        if (signer := request.text("signer")) is not None:
            identity = bytes.fromhex(signer)
            shown = self._view.index.shown(identity)
            if shown is None:
                raise NotFoundError(
                    f"signer {signer}",
                    expected="the SHA-256 of a canonical identity",
                    actual="one that no event names",
                    next_step="Events name identities with their digests: see `signers` of /v1/standings",
                )
            leaves = self._view.index.newest_by_signer(identity, before=size, limit=MAX_ENTRIES)
            title, about = f"Signed by {shown}", f"signer:{signer}"
        else:
            leaves = list(range(max(0, size - MAX_ENTRIES), size))[::-1]
            title, about = f"Events of {ledger.config.hub}", "all"
        items = tuple(self._item(each, size) for each in leaves)
        return Feed(ledger=ledger.config.ledger, title=title, about=about, items=items)

    def _of_model(self, request: Request) -> Feed:
        history = self._histories.asked(request)
        items = []
        for row in self._histories.derive(history.name)[::-1][:MAX_ENTRIES]:
            standing, event = standing_of(row), row.statement
            if standing is None or not isinstance(event, VerificationEvent):
                items.append(self._item(row.leaf_index, self._view.size))
                continue
            items.append(
                Item(
                    leaf_index=row.leaf_index,
                    link=_link(row.leaf_index),
                    title=f"{readable_name(event.model.name)} {event.model.revision}: {standing}",
                    text=(row.change or str(standing)) + _whose(event.common.recorded_by),
                    at=event.common.recorded_at,
                )
            )
        return Feed(
            ledger=self._view.ledger.config.ledger,
            title=f"Signatures of {readable_name(history.name)}",
            about=f"model:{history.name}",
            items=tuple(items),
        )

    def _item(self, leaf_index: int, size: int) -> Item:
        facts = event_facts(self._view.ledger, leaf_index, size)
        if "name" not in facts:
            return self._other(leaf_index, size)
        if facts["outcome"] == "VERIFIED":
            standing = f"Signed by {' and '.join(facts['signedBy'])}"
        else:
            standing = UNSIGNED if facts["outcome"] == "UNSIGNED" else UNVERIFIED
        text = "Signer changed: " + standing if facts["decision"] == "challenged" else standing
        return Item(
            leaf_index=leaf_index,
            link=_link(leaf_index),
            title=f"{readable_name(facts['name'])} {facts['revision']}: {standing}",
            text=text + (f" ({facts['observer']}, an observer)" if "observer" in facts else ""),
            at=facts["recordedAt"],
        )

    def _other(self, leaf_index: int, size: int) -> Item:
        statement = read_statement_at(self._view.ledger, leaf_index, size)
        kind = statement.predicate_type.removeprefix("https://hubledger/")
        at = statement.common.recorded_at if statement.common is not None else "1970-01-01T00:00:00Z"
        return Item(
            leaf_index=leaf_index,
            link=_link(leaf_index),
            title=f"Leaf {leaf_index}: {kind}",
            text=kind,
            at=at,
        )


def _whose(recorded_by: RecordedBy) -> str:
    return f" ({recorded_by.id}, an observer)" if recorded_by.role == "observer" else ""


def _response(feed: Feed, body: bytes, content_type: str) -> Response:
    newest = feed.items[0].leaf_index if feed.items else 0
    return Response(body=body, content_type=content_type, etag=f"{len(feed.items)}-{newest}", weak=True)


def _link(leaf_index: int) -> str:
    return f"/v1/entries/{leaf_index}"
