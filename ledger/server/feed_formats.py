"""How feeds are written down: Atom (RFC 4287) and JSON Feed 1.1. Names in them are whatever strangers chose."""

from dataclasses import dataclass
from html import escape
from typing import Any

from ledger.encoding import format_canonical_json

MAX_ENTRIES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One event as a reader shows it."""

    leaf_index: int
    link: str
    title: str
    text: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A feed before it is written down; ``about`` tells feeds of one ledger apart."""

    ledger: str
    title: str
    about: str
    items: tuple[Item, ...]

    @property
    def id(self) -> str:
        """An identifier that is the same for ever, wherever the feed is served."""
        return f"urn:hubledger:{self.ledger}:{self.about}"


def format_json(feed: Feed) -> bytes:
    """Format as JSON Feed."""
    value: dict[str, Any] = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": feed.title,
        "items": [
            {
                "id": f"{feed.id}:{item.leaf_index}",
                "url": item.link,
                "title": item.title,
                "content_text": item.text,
                "date_published": item.at,
            }
            for item in feed.items
        ],
    }
    return format_canonical_json(value)


def format_atom(feed: Feed) -> bytes:
    """Format as Atom."""
    updated = feed.items[0].at if feed.items else "1970-01-01T00:00:00Z"
    parts = [
        '<?xml version="1.0" encoding="utf-8"?>\n<feed xmlns="http://www.w3.org/2005/Atom">',
        f"<id>{_xml(feed.id)}</id><title>{_xml(feed.title)}</title><updated>{updated}</updated>",
        f"<author><name>{_xml(feed.ledger)}</name></author>",
    ]
    parts += [
        f"<entry><id>{_xml(f'{feed.id}:{item.leaf_index}')}</id><title>{_xml(item.title)}</title>"
        f'<updated>{item.at}</updated><link rel="alternate" href="{_xml(item.link)}"/>'
        f'<content type="text">{_xml(item.text)}</content></entry>'
        for item in feed.items
    ]
    return "\n".join([*parts, "</feed>\n"]).encode("utf-8", "replace")


def _xml(text: str) -> str:
    """Escape for XML 1.0, which has no way to write most control characters."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return escape(text, quote=True)
