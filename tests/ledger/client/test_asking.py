"""A history that a server gives page by page: it ends, whatever is on the pages and however long each takes."""

import itertools
import json

import pytest

from ledger.client import asking
from ledger.client.asking import fetch_bundle
from ledger.errors import LimitError, NotFoundError, SourceError


class Pages:
    """Pages without an end, each of so many bytes, and the time that fetching them takes."""

    def __init__(self, *, page_bytes=0, page_seconds=0.0):
        self.page_bytes, self.page_seconds = page_bytes, page_seconds
        self.now, self.received, self.pages = 0.0, 0, itertools.count()

    def __call__(self, name, /, *, max_bytes):
        if not name.startswith("v1/history?"):
            raise NotFoundError(name, expected="an object", actual="404")
        self.now += self.page_seconds
        page = json.dumps({"model": "acme/tiny", "events": [], "next": next(self.pages)}).encode()
        page += b" " * (self.page_bytes - len(page))
        assert len(page) <= max_bytes
        self.received += len(page)
        return page

    def clock(self):
        return self.now


def ask(pages):
    fetch_bundle(pages, "acme/tiny", now=0, clock=pages.clock)


def test_all_pages_together_are_bounded(monkeypatch):
    monkeypatch.setattr(asking, "_MAX_HISTORY_BYTES", 4000)
    pages = Pages(page_bytes=1000)
    with pytest.raises(LimitError, match="history of acme/tiny: expected at most 4000 bytes, got more"):
        ask(pages)
    assert pages.received == 5000


def test_pages_that_each_come_in_time_take_no_longer_than_all_may():
    pages = Pages(page_seconds=50)
    with pytest.raises(
        SourceError, match="history of acme/tiny: expected all pages within 120 s, got more to come"
    ):
        ask(pages)
    assert pages.now == 150
