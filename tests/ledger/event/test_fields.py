"""The quick test of a field lets nothing through that its check refuses."""

import pytest

from ledger.errors import MalformedError
from ledger.event import schemas
from ledger.event.fields import Boolean, Items, Position, Text, quick_check
from tests.events import key, workflow
from tests.ledger.server.conftest import facts
from tests.ledger.server.test_intake import HOSTILE, places, put

PARTS = {
    "signatures": [
        facts("acme/new", "r1", signer).signatures[0].as_json()
        | {"upstreamLog": {"origin": "rekor", "logId": "ab" * 32, "kind": "dsse", "index": 7}}
        for signer in (key("a"), workflow("refs/tags/v1"))
    ],
    "model": {"name": "a", "revision": "r", "parents": ["p"], "revisionTime": "2026-01-02T03:04:05Z"},
    "manifest": {"sha256": "ab" * 32, "contentSha256": "ab" * 32, "files": 1, "bytes": 2},
}
MORE = (
    b"ab",
    "\u2028",
    '"' * 200,
    "\\" * 300,
    ["n"] * 17,
    ["\\" * 256] * 3,
    {"kind": []},
    {"kind": None},
    "9" * 16,
    "a\n",
)


@pytest.mark.parametrize("name", PARTS)
def test_the_quick_check_refuses_what_the_check_refuses(name):
    kind = schemas.STATEMENTS[schemas.VERIFICATION_EVENT].required[name]
    kind.check(PARTS[name], name)
    assert kind.fits()(PARTS[name]), "what hubs send is let through by the quick test"
    refused = 0
    for path in list(places(PARTS[name])):
        for new in (..., *HOSTILE, *MORE, {"more": 1}):
            if path or new is not ...:
                refused += _refused(kind, put(PARTS[name], path, new) if path else new)
    assert refused > 50


@pytest.mark.parametrize("kind", [Boolean(), Position(), Text(4), Items(Text(4), 2, least=1, cap=20)])
def test_kinds_that_events_have_not(kind):
    assert (
        sum(_refused(kind, each) for each in (*HOSTILE, *MORE, [1], ["abcd"], ["abcd", "x"], ["a", "b", "c"]))
        > 5
    )


def _refused(kind, value):
    """Hold the quick check against the check; returns 1 where both refuse."""
    said, quickly = _words(kind.check, value), _words(quick_check(kind), value)
    assert quickly == said
    return int(said is not None)


def _words(check, value):
    try:
        check(value, "it")
    except MalformedError as error:
        return str(error)
    return None
