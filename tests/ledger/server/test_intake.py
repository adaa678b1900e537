"""What a hub sends is checked once: by ``Facts``, and only where that says something of what came."""

import json
from copy import deepcopy
from dataclasses import replace

import pytest

from ledger.digests import named_in, named_in_own
from ledger.embedded.directory import open_for_reading
from ledger.errors import LedgerError
from ledger.event import parse_manifest_ref, parse_signatures
from ledger.server.intake import parse_upload
from tests.events import key, workflow
from tests.ledger.server.conftest import facts

HOSTILE = (
    None, True, False, 0, 1, 1.0, -1, 2**53, 2**70, 1e30, "", "0", "AB" * 32, "ab" * 32, "ab " * 21 + "a", "\u00e4", "x" * 5000,
    [], [[]], {}, {"count": 1, "sha256": "ab" * 32}, {"count": True, "sha256": "ab" * 32},
)  # fmt: skip


def event(*signers):
    made = facts("acme/new", "r1", *signers)
    value = made.signatures[0].as_json() | {
        "upstreamLog": {"origin": "rekor", "logId": "ab" * 32, "kind": "dsse", "index": 7}
    }
    return {
        "eventId": "u-1",
        "model": {"name": "acme/new", "revision": "r1"},
        "manifest": made.manifest.as_json(),
        "signatures": [value],
        "outcome": made.outcome,
    }


def places(value, path=()):
    """Every place in a JSON value, the inner ones too."""
    yield path
    if isinstance(value, (dict, list)):
        for name in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[name], (*path, name))


def put(value, path, new):
    """A copy of ``value`` with ``new`` at a place; with nothing there where ``new`` is ``...``."""
    copy = deepcopy(value)
    at = copy
    for name in path[:-1]:
        at = at[name]
    if new is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = new
    return copy


@pytest.mark.parametrize("signer", [key("a"), workflow("refs/tags/v1")])
@pytest.mark.parametrize("part", ["manifest", "signatures"])
def test_what_the_checks_of_a_part_refuse_is_refused_in_their_words(part, signer):
    good = event(signer)
    assert parse_upload(json.dumps(good).encode()).facts.signatures == parse_signatures(good["signatures"])
    refused = 0
    for path in list(places(good[part], (part,))):
        for new in (..., *HOSTILE, {"more": 1}):
            changed = put(good, path, new)
            if part not in changed:
                continue
            for data in (json.dumps(changed), json.dumps(changed, separators=(",", ":"), ensure_ascii=False)):
                refused += compare(changed, data.encode())
    assert refused > 100


def compare(value, data):
    """Compare with checking each part before anything is built; returns 1 where that refuses."""
    read = json.loads(data)
    wanted, refused = None, None
    try:
        wanted = parse_manifest_ref(read["manifest"]), parse_signatures(read["signatures"])
    except LedgerError as error:
        refused = error
    if refused is not None:
        with pytest.raises(type(refused)) as found:
            parse_upload(data)
        assert str(found.value) == str(refused), value
        return 1
    try:
        made = parse_upload(data).facts
    except LedgerError:
        return 0  # the outcome no longer fits, say
    assert (made.manifest, made.signatures) == wanted
    assert [each.as_json() for each in made.signatures] == read["signatures"]
    assert made.prepared == replace(made).prepared, "what came is what the values are written as"
    return 0


@pytest.mark.parametrize(
    "data",
    [b'{"eventId":"a","eventId":"b"}', b'{"eventId":{"a":1,"a":1}}', b"[" * 65 + b"1" + b"]" * 65],
)
def test_a_key_twice_and_deep_nesting_are_refused_in_compact_json_too(data):
    with pytest.raises(LedgerError, match=r"each key once|levels of nesting"):
        parse_upload(data)


def test_what_is_named_by_our_own_entries_is_what_a_strict_reader_finds(filled):
    log = open_for_reading(filled).log
    size = log.checkpoint().checkpoint.size
    entries = list(log.read(0, size, size=size))
    assert sum(len(named_in(each)) for each in entries) > size
    for entry in [*entries, b"", b"{}", b'{"payload":"e30="}', b'{"payload":1}']:
        assert named_in_own(entry) == named_in(entry)
