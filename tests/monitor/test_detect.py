"""What is a finding, and what is not: a table of stories, each folded entry by entry."""

from dataclasses import replace

import pytest

from ledger.client.trusted_keys import HubKey
from ledger.encoding import format_base64
from ledger.entry import MapCommit, format_map_commit, keyid_of
from ledger.event import HistoryLink, UnknownStatement
from monitor.detect import EARLY_SECONDS, LATE_SECONDS, Detector
from monitor.findings import Alert, Kind, Severity
from monitor.known import Context, Known
from monitor.reads import read_entry
from tests.monitor.hub import OBSERVER, Hub
from tests.world import (
    NOW,
    certificate_signer,
    digest,
    key_signer,
    make_event,
    p256_key,
    sign_statement,
    signed_by,
    sigstore_signer,
    spki_of,
)

A, B = signed_by(key_signer("a")), signed_by(key_signer("b"))
KEYLESS = signed_by(sigstore_signer())
CERTIFICATE = signed_by(certificate_signer("anchor"))
UNVERIFIED = signed_by(key_signer("a"), outcome="INVALID_SIGNATURE")


def fold(hub, *, trust=None, first=0, start=0, known=None, **times):
    context = Context(log="models", trust=trust or hub.world.trust(), first=first, **times)
    known = known or Known()
    reads = [read_entry(entry, at) for at, entry in enumerate(hub.world.entries[start:], start)]
    return Detector(context, known).run(reads)


def kinds(found):
    return [(each.leaf_index, str(each.kind)) for each in found]


def story(*steps):
    hub = Hub()
    for signatures, words in steps:
        hub.record(*signatures, **words)
    return hub


FIRST = (0, "first-signer")


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([([A], {})], [FIRST]),
        ([([], {})], []),
        ([([], {}), ([A], {"revision": "2"})], [(1, "first-signer")]),
        ([([A], {}), ([A], {"revision": "2"})], [FIRST]),
        ([([A], {}), ([A, B], {"revision": "2"})], [FIRST]),
        ([([A], {}), ([B], {"revision": "2"})], [FIRST, (1, "signer-changed")]),
        ([([A], {}), ([B], {"revision": "2"}), ([B], {"revision": "3"})], [FIRST, (1, "signer-changed")]),
        ([([A], {}), ([KEYLESS], {"revision": "2"})], [FIRST, (1, "method-changed")]),
        ([([A], {}), ([CERTIFICATE], {"revision": "2"})], [FIRST, (1, "method-changed")]),
        ([([A], {}), ([], {"revision": "2"})], [FIRST, (1, "signature-lost")]),
        ([([A], {}), ([UNVERIFIED], {"revision": "2"})], [FIRST, (1, "signature-lost")]),
        ([([UNVERIFIED], {}), ([], {"revision": "2"})], []),
        ([([A], {}), ([B], {"revision": "2", "ref": "refs/pull/1/head"})], [FIRST]),
        (
            [([A], {"repo_id": "1"}), ([A], {"repo_id": "2", "revision": "2"})],
            [FIRST, (1, "repository-changed")],
        ),
        (
            [([A], {"repo_id": "1"}), ([B], {"repo_id": "2", "revision": "2"})],
            [FIRST, (1, "repository-changed"), (1, "signer-changed")],
        ),
        ([([A], {}), ([A], {"files": "others"})], [FIRST, (1, "revision-changed")]),
        ([([A], {}), ([A], {})], [FIRST]),
        ([([A], {"name": "a/x"}), ([B], {"name": "b/x"})], [FIRST, (1, "first-signer")]),
    ],
)
def test_events_of_one_hub(steps, expected):
    assert kinds(fold(story(*steps))) == expected


def test_a_change_says_what_changed_and_what_to_do_and_names_both_signers():
    found = fold(story(([A], {}), ([KEYLESS], {"revision": "2"})))[1]
    assert found.text.startswith(
        "acme/model at 2: Signer changed: now a keyless signature instead of a key: key SHA256:"
    )
    assert found.text.endswith(
        "(https://token.actions.example). Ask the publisher, by a way that you already trust, why it is signed in another way."
    )
    assert found.model == "acme/model"
    assert len(found.signers) == 1
    assert (found.alert, found.severity) == (Alert.FINDING, Severity.HIGH)
    assert found.facts["decision"] == "observed"


def test_a_gap_and_a_fork_are_found_once_each_and_the_chain_goes_on():
    hub = story(([A], {}))
    hub.record(A, revision="2", links=(HistoryLink(key="name:acme/model", sequence=2, previous=digest("x")),))
    hub.record(A, revision="3")
    hub.record(A, revision="4", links=(HistoryLink(key="name:acme/model", sequence=0),))
    hub.record(A, revision="5")
    assert kinds(fold(hub)) == [FIRST, (1, "chain-broken"), (3, "chain-broken")]


def test_two_broken_histories_of_one_entry_are_two_findings():
    hub = Hub()
    links = tuple(
        HistoryLink(key=key, sequence=1, previous=digest("x")) for key in ("name:acme/model", "repo:7")
    )
    hub.record(A, repo_id="7", links=links)
    broken = [each for each in fold(hub) if each.kind is Kind.CHAIN_BROKEN]
    assert len({each.id() for each in broken}) == 2


def test_an_entry_by_an_unknown_key_is_refused_and_moves_nothing():
    hub = story(([A], {}))
    heads = dict(hub.heads)
    hub.record(B, revision="2", key="thief")
    hub.heads = heads
    hub.record(A, revision="3")
    found = fold(hub)
    assert kinds(found) == [FIRST, (1, "hub-key-refused")]
    assert found[1].facts == {"keyid": keyid_of(spki_of(p256_key("thief")))}


def test_a_key_counts_only_where_the_trust_file_says():
    hub = story(([A], {}), ([A], {"revision": "2"}))
    key = HubKey(spki=spki_of(p256_key("hub")), first=0, end=1)
    found = fold(hub, trust=hub.world.trust(hub_keys=(key,)))
    assert kinds(found) == [FIRST, (1, "hub-key-refused")]


def test_a_signature_that_fails_is_refused():
    hub = story(([A], {}))
    entry = hub.world.entries[0]
    other = sign_statement(b'{"a":1}')
    mixed = entry[: entry.rindex(b'"sig"')] + other[other.rindex(b'"sig"') :]
    hub.world.entries[0] = mixed
    assert kinds(fold(hub)) == [(0, "hub-key-refused")]


def _announced(name):
    spki = spki_of(p256_key(name))
    return keyid_of(spki), format_base64(spki)


def test_a_key_that_the_log_revokes_is_refused_from_then_on_though_the_trust_file_has_it():
    hub = Hub()
    both = tuple(HubKey(spki=spki_of(p256_key(name))) for name in ("hub", "old"))
    hub.hub_key(*_announced("old"))
    hub.record(A, key="old")
    hub.hub_key(*_announced("old"), state="revoked", **{"from": 2})
    hub.record(A, key="old", revision="2")
    hub.hub_key(*_announced("old"))
    hub.record(A, key="old", revision="3")
    assert kinds(fold(hub, trust=hub.world.trust(hub_keys=both))) == [
        (1, "first-signer"),
        (2, "hub-key-changed"),
        (3, "hub-key-refused"),
        (5, "hub-key-refused"),
    ]


def test_a_new_key_that_the_trust_file_does_not_have_is_told():
    hub = Hub()
    hub.hub_key(*_announced("hub"))
    hub.hub_key(*_announced("new"))
    found = fold(hub)
    assert kinds(found) == [(1, "hub-key-changed")]
    assert found[0].facts == {"keyid": _announced("new")[0], "role": "hub", "state": "added"}


def test_an_observer_is_told_apart_and_never_counts():
    hub = story(([A], {}))
    hub.hub_key(*_announced("watcher"), role="observer")
    hub.record(B, revision="2", recorded_by=OBSERVER, key="watcher")
    hub.record(A, revision="3")
    assert kinds(fold(hub)) == [FIRST, (1, "hub-key-changed"), (2, "hub-expected")]


@pytest.mark.parametrize(
    ("words", "kind"),
    [({}, "observer"), ({"revision": "2"}, "hub-expected"), ({"name": "acme/other"}, "observer")],
)
def test_the_hub_is_missed_where_it_records_the_model_and_not_the_revision(words, kind):
    hub = story(([A], {}))
    hub.hub_key(*_announced("watcher"), role="observer")
    hub.record(A, recorded_by=OBSERVER, key="watcher", **words)
    assert kinds(fold(hub))[2:] == [(2, kind)]


def test_an_observer_is_compared_and_never_the_measure():
    hub = story(([A], {}))
    hub.hub_key(*_announced("watcher"), role="observer")
    hub.record(A, files="others", recorded_by=OBSERVER, key="watcher")
    hub.record(A)
    assert kinds(fold(hub))[2:] == [(2, "revision-changed"), (2, "observer")]


def test_the_hubs_next_key_breaks_no_chain_for_a_monitor_that_was_not_given_it_yet():
    """The key is refused, and whoever takes the next trust file late finds no gap where there is none."""
    hub = story(([A], {}))
    hub.hub_key(*_announced("next"))
    hub.hub_key(*_announced("hub"), state="retired", key="next")
    hub.record(A, revision="2", key="next")
    early = fold(hub)
    assert kinds(early)[1:] == [(1, "hub-key-changed"), (2, "hub-key-refused"), (3, "hub-key-refused")]
    hub.record(A, revision="3")
    hub.hub_key(*_announced("other"))
    assert kinds(fold(hub))[4:] == [(5, "hub-key-changed")]


def test_only_the_very_next_key_goes_on_with_a_chain():
    """Not one that an unknown key announced, nor one whose signature fails or that the trust file holds to a range."""
    hub = story(([A], {}))
    hub.hub_key(*_announced("next"), key="thief")
    hub.heads.pop("hub:")
    hub.record(A, revision="2", key="next")
    hub.record(A, revision="3")
    assert (3, "chain-broken") in kinds(fold(hub))
    hub = story(([A], {}))
    hub.hub_key(*_announced("next"))
    hub.record(A, revision="2", key="next")
    hub.record(A, revision="3")
    keys = (HubKey(spki=spki_of(p256_key("hub"))), HubKey(spki=spki_of(p256_key("next")), first=9))
    assert (3, "chain-broken") in kinds(fold(hub, trust=hub.world.trust(hub_keys=keys)))


def test_an_observers_key_may_not_sign_for_the_hub():
    hub = Hub()
    hub.hub_key(*_announced("watcher"), role="observer")
    hub.record(A, key="watcher")
    assert kinds(fold(hub))[1:] == [(1, "hub-key-refused")]


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff" * 40, b"[" * 30_000, b"{" + b'"a":' * 5_000])
def test_an_entry_that_cannot_be_read_is_told(data):
    hub = story(([A], {}))
    hub.world.append(data)
    found = fold(hub)[1]
    assert (found.kind, found.alert, found.leaf_index) == (Kind.MALFORMED_ENTRY, Alert.MALFORMED, 1)


def test_a_map_commit_at_its_own_index_is_no_finding_and_elsewhere_it_is():
    hub = story(([A], {}))
    hub.world.append(format_map_commit(MapCommit(covers=1, root=digest("map"))))
    hub.world.append(format_map_commit(MapCommit(covers=1, root=digest("map"))))
    assert kinds(fold(hub)) == [FIRST, (2, "malformed-entry")]


def test_a_statement_of_another_ledger_is_told_and_counts_for_nothing():
    hub = story(([A], {}))
    hub.append(make_event(B, ledger="other.example", revision="2"))
    assert kinds(fold(hub)) == [FIRST, (1, "malformed-entry")]


def test_an_unknown_type_is_told_and_its_place_in_the_chain_is_kept():
    hub = story(([A], {}))
    from ledger.event import format_statement, parse_statement

    event = make_event(A, revision="2")
    link = hub._link("name:acme/model")
    data = format_statement(replace(event, common=replace(event.common, histories=(link,))))
    data = data.replace(b"verification-event/v1", b"verification-event/v9")
    assert isinstance(parse_statement(data), UnknownStatement)
    hub.world.append(sign_statement(data))
    import hashlib

    hub.heads["name:acme/model"] = (1, hashlib.sha256(data).digest())
    hub.record(A, revision="3")
    assert kinds(fold(hub)) == [FIRST, (1, "unknown-entry")]


RECORDED = NOW - 60


@pytest.mark.parametrize(
    ("times", "verified_at", "outside"),
    [
        ({}, "2036-01-02T03:04:05Z", False),
        ({"not_after": RECORDED}, "2026-01-02T03:04:05Z", False),
        ({"not_after": RECORDED - LATE_SECONDS}, "2026-01-02T03:04:05Z", False),
        ({"not_after": RECORDED - LATE_SECONDS - 1}, "2026-01-02T03:04:05Z", True),
        ({"not_before": RECORDED + EARLY_SECONDS}, "2026-01-02T03:04:05Z", False),
        ({"not_before": RECORDED + EARLY_SECONDS + 1}, "2026-01-02T03:04:05Z", True),
        ({}, "2026-02-31T03:04:05Z", True),
    ],
)
def test_a_time_outside_the_checkpoints_around_it_is_told(times, verified_at, outside):
    hub = Hub()
    hub.record(A, verified_at=verified_at)
    assert ((0, "time-outside") in kinds(fold(hub, **times))) is outside


def test_from_a_pinned_checkpoint_what_began_before_is_taken_as_it_is():
    hub = story(([A], {}), ([A], {"revision": "2"}), ([B], {"revision": "3"}), ([A], {"name": "acme/new"}))
    assert kinds(fold(hub, first=1, start=1)) == [(2, "signer-changed"), (3, "first-signer")]


def test_the_id_is_that_of_the_thing_and_not_of_its_words():
    found = fold(story(([A], {}), ([B], {"revision": "2"})))
    again = fold(story(([A], {}), ([B], {"revision": "2"})))
    assert [each.id() for each in found] == [each.id() for each in again]
    assert len({each.id() for each in found}) == 2
    assert replace(found[0], text="other").id() == found[0].id()
    assert found[0].id(1) != found[0].id(0)
