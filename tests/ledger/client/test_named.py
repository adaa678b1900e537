"""A check by name, against hubs that lie in each field, and against what was seen before."""

import dataclasses
import hashlib
import os

import pytest

from ledger.client.checking import CheckFailedError
from ledger.client.named import Asked, check_named
from ledger.client.pins import HistoryPin, Pins
from ledger.client.proof_bundle import Claim, ProofBundle, choose, parse_bundle
from ledger.client.result import LocalFiles, LogResult, ModelResult
from ledger.client.trust_store import Origin, StoredTrust
from ledger.client.trust_writing import format_trust
from ledger.client.trusted_keys import HubKey
from ledger.errors import InputError, SignatureError
from ledger.event import HistoryLink, format_statement
from ledger.verification import Explanation, Findings
from tests.world import NOW, World, digest, key_signer, make_event, p256_key, signed_by, spki_of

NAME = "acme/model"


def trusted(world, *, origin=Origin.CONFIRMED, **changes):
    trust = world.trust(**changes)
    return StoredTrust(data=format_trust(trust), trust=trust, source="https://hub.example", origin=origin)


def local(word="files"):
    return LocalFiles(manifest_sha256=digest(f"manifest {word}"), content_sha256=digest(f"content {word}"))


def events(*plans):
    """A chain of events of one model: (revision, signer, decision, files) each."""
    made, previous = [], None
    for sequence, (revision, signer, decision, files) in enumerate(plans):
        event = make_event(
            signed_by(key_signer(signer)),
            name=NAME,
            revision=revision,
            decision=decision,
            files=files,
            event_id=f"e-{sequence}",
        )
        link = HistoryLink(key=f"name:{NAME}", sequence=sequence, previous=previous)
        event = dataclasses.replace(event, common=dataclasses.replace(event.common, histories=(link,)))
        previous = hashlib.sha256(format_statement(event)).digest()
        made.append(event)
    return made


PLAN = (("r1", "alice", "observed", "old"), ("r2", "alice", "observed", "files"))


@pytest.fixture
def world():
    made = World().grow(3)
    for each in events(*PLAN):
        made.record(each)
    return made.grow(2)


@pytest.fixture
def pins(tmp_path):
    return Pins(tmp_path)


def check(world, pins, index=4, *, stored=None, name=NAME, proof=None, since=None, files="files", **asked):
    bundle = ProofBundle(name=name, proof=proof or world.proof(index, since=since), claims=(), fetched_at=NOW)
    question = Asked(name=name, files=local(files) if files else None, log_only=files is None, **asked)
    return check_named(bundle, question, stored=stored or trusted(world), pins=pins, source="test", now=NOW)


def test_how_many_events_the_hub_shows_is_said_as_its_word(world, pins):
    bundle = ProofBundle(name=NAME, proof=world.proof(4), claims=(claim(3), claim(4, "r2")), fetched_at=NOW)
    question = Asked(name=NAME, files=local())
    found = check_named(bundle, question, stored=trusted(world), pins=pins, source="test", now=NOW)
    row = step(found, "events of this model")
    assert (row.passed, row.against.startswith("2 that the hub shows, the last at leaf 4")) == (None, True)


def step(found, name):
    return next(each for each in found.result.checks if each.step == name)


def test_what_holds_is_accepted_and_remembered(world, pins):
    found = check(world, pins, revision="r2")
    assert (found.result.log, found.result.model) == (LogResult.INCLUDED_ONLY, ModelResult.ACCEPTED)
    assert found.result.satisfied
    assert step(found, "what you saw before").passed is None
    again = check(world, pins)
    assert step(again, "what you saw before").passed
    assert step(again, "link to your pin").passed
    assert again.changes == ()


def test_tls_only_is_said(world, pins):
    found = check(world, pins, stored=trusted(world, origin=Origin.TLS_ONLY))
    row = step(found, "trust file")
    assert (row.passed, row.against.startswith("TLS_ONLY")) == (None, True)
    assert step(check(world, pins), "trust file").passed


@pytest.mark.parametrize(
    ("changes", "log", "model"),
    [
        ({"name": "acme/other"}, LogResult.INVALID, ModelResult.NOT_CHECKED),
        ({"name": "acme/m\u043edel"}, LogResult.INVALID, ModelResult.NOT_CHECKED),
        ({"revision": "r1"}, LogResult.INVALID, ModelResult.NOT_CHECKED),
        ({"index": 3}, LogResult.INCLUDED_ONLY, ModelResult.CONTENT_DIFFERS),
        ({"files": "changed"}, LogResult.INCLUDED_ONLY, ModelResult.CONTENT_DIFFERS),
        ({"proof": b"<html>"}, LogResult.INVALID, ModelResult.NOT_CHECKED),
        ({"proof": World(log_key="thief").grow(5).proof(4)}, LogResult.INVALID, ModelResult.NOT_CHECKED),
        (
            {"proof": World(origin="other.example").grow(5).proof(4)},
            LogResult.INVALID,
            ModelResult.NOT_CHECKED,
        ),
    ],
    ids=["name", "look-alike", "revision", "older revision", "content", "html", "log key", "origin"],
)
def test_a_hub_that_lies_satisfies_nobody_and_leaves_no_pin_of_the_model(world, pins, changes, log, model):
    found = check(world, pins, **changes)
    assert (found.result.log, found.result.model, found.result.satisfied) == (log, model, False)
    assert found.result.failure is not None
    if log is LogResult.INVALID:
        assert pins.known() == []


def test_of_several_failures_the_one_is_explained_that_the_exit_code_is_of(world, pins):
    found = check(world, pins, name="acme/other", files="changed")
    assert [each.step for each in found.result.checks if each.passed is False] == [
        "files",
        "name and revision",
    ]
    assert (found.result.log, found.result.model) == (LogResult.INVALID, ModelResult.NOT_CHECKED)
    assert found.result.failure.step == "name and revision"


def test_an_entry_that_is_no_event_is_not_enough_even_for_the_log_alone(world, pins):
    at = world.append(b'{"mapRoot":"x"}')
    found = check(world, pins, at, files=None)
    assert not found.result.satisfied


def test_the_log_alone(world, pins):
    found = check(world, pins, files=None)
    assert (found.result.model, found.result.satisfied) == (ModelResult.NOT_CHECKED, True)


# What was seen before


def test_a_log_that_is_not_linked_to_the_pin_does_not_move_it(world, pins):
    check(world, pins)
    before = pins.log(world.origin, world.origin)
    world.grow(20)
    found = check(world, pins)
    assert "not linked to your pin" in step(found, "link to your pin").against
    assert pins.log(world.origin, world.origin) == before
    linked = check(world, pins, since=7)
    assert step(linked, "link to your pin").passed
    assert pins.log(world.origin, world.origin) != before


def test_another_tree_of_the_same_size_is_misbehaviour_with_evidence(world, pins):
    check(world, pins)
    fork = world.fork(6).grow(1, word="fork")
    found = check(fork, pins)
    assert (found.result.log, found.result.evidence is not None) == (LogResult.MISBEHAVIOUR, True)
    error = CheckFailedError(found)
    assert error.next_step.endswith("It is in error.result.result.evidence")
    assert error.result.result.evidence == found.result.evidence


def test_another_process_that_saw_another_tree_meanwhile_is_heard(world, pins, monkeypatch):
    """The pin moves between our check and our write."""
    fork = world.fork(6).grow(1, word="fork")
    real = Pins.move_log
    monkeypatch.setattr(
        Pins,
        "move_log",
        lambda self, trust, new, *, linked_to: (
            monkeypatch.setattr(Pins, "move_log", real),
            check(fork, self),
            real(self, trust, new, linked_to=linked_to),
        ),
    )
    assert check(world, pins).result.log is LogResult.MISBEHAVIOUR


def test_new_events_and_a_new_signer_are_told(pins):
    world, later = World(), World()
    plan = (*PLAN, ("r3", "bob", "accepted", "new"))
    for each in events(*PLAN):
        world.record(each)
    for each in events(*plan):
        later.record(each)
    check(world, pins, 1)
    found = check(later, pins, 2, since=2, files="new")
    assert found.result.satisfied
    assert found.changes[:2] == ("1 new event", "the latest revision that you had seen was r2")
    assert found.changes[2].startswith("the signer changed: key SHA256:")
    back = check(later, pins, 1)
    assert back.result.satisfied, "an older revision is no less in the log"
    assert back.changes == ("you have seen a later event of this model: r3 at leaf 2",)
    assert pins.history(world.origin, f"name:{NAME}").revision == "r3"


def test_a_newer_event_for_the_revision_that_was_seen_is_told(pins):
    world, later = World(), World()
    for each in events(*PLAN):
        world.record(each)
    again = (*PLAN, PLAN[1])
    for each in events(*again):
        later.record(each)
    check(world, pins, 1)
    found = check(later, pins, 2, since=2)
    assert found.result.satisfied
    assert found.changes == (
        "1 new event",
        "this revision has a newer event than the one that you had seen, at leaf 1",
    )


def test_a_history_that_was_signed_twice_is_refused(world, pins):
    """Two events at one place of the chain, both in the same log."""
    check(world, pins)
    at = world.record(events(PLAN[0], ("r2", "mallory", "observed", "files"))[1])
    found = check(world, pins, at, since=7)
    assert (found.result.log, found.result.failure.step) == (LogResult.INVALID, "what you saw before")
    assert found.result.failure.expected.endswith("which you saw at leaf 4")


def test_an_event_that_does_not_follow_the_one_that_was_seen_is_refused(world, pins):
    """The same log, so that nothing but the chain of the history tells."""
    check(world, pins, 3, files="old")
    forked = events(("r0", "mallory", "observed", "files"), PLAN[1])[1]
    at = world.record(forked)
    found = check(world, pins, at, since=7)
    assert (found.result.log, found.result.failure.step) == (LogResult.INVALID, "what you saw before")
    assert pins.history(world.origin, f"name:{NAME}").sequence == 0


def test_an_event_that_a_later_one_took_back_is_superseded(pins):
    world = World()
    for each in events(*PLAN, ("r2", "alice", "rejected", "files")):
        world.record(each)
    assert check(world, pins, 2).result.model is ModelResult.NOT_ACCEPTED
    found = check(world, pins, 1)
    assert (found.result.model, found.result.satisfied) == (ModelResult.SUPERSEDED, False)


@pytest.mark.parametrize("order", [(2, 3), (3, 2)], ids=["as recorded", "the newest first"])
def test_a_revision_that_was_taken_back_stays_so_when_another_was_seen_since(pins, order):
    """Whoever replays the proof of before gains nothing by waiting until the pin has moved on."""
    world = World()
    for each in events(*PLAN, ("r2", "alice", "rejected", "files"), ("r3", "alice", "observed", "newer")):
        world.record(each)
    for index in order:
        check(world, pins, index, files="newer" if index == 3 else "files")
    found = check(world, pins, 1)
    assert (found.result.model, found.result.satisfied) == (ModelResult.SUPERSEDED, False)
    assert "which you saw at leaf 2" in found.result.failure.expected
    assert check(world, pins, 3, files="newer").result.satisfied
    assert check(world, pins, 0, files="old").result.satisfied


def test_a_revision_that_was_accepted_again_is_taken_back_no_more(pins):
    world = World()
    for each in events(*PLAN, ("r2", "alice", "rejected", "files"), ("r2", "alice", "accepted", "files")):
        world.record(each)
    assert not check(world, pins, 2).result.satisfied
    assert check(world, pins, 3).result.satisfied
    (pin,) = [each for each in pins.known() if isinstance(each, HistoryPin)]
    assert (pin.sequence, pin.refused) == (3, ())


def test_a_full_disk_is_said_and_does_not_fail_the_check(world, pins, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    found = check(world, pins)
    assert found.result.satisfied
    assert "No space left on device" in step(found, "remembering").against
    monkeypatch.undo()
    assert pins.known() == []


def test_a_pin_of_a_key_that_counts_no_more_stops_the_check(world, pins):
    check(world, pins)
    other = World(log_key="other")
    with pytest.raises(SignatureError, match="over another channel"):
        check(other.grow(5), pins, stored=trusted(other))


# The signatures here


def found_here(outcome, *, signer="alice", bundle=None):
    made = signed_by(key_signer(signer), outcome=outcome)
    fact = dataclasses.replace(
        made, bundle_sha256=bundle or signed_by(key_signer("alice")).bundle_sha256, location="model.sig"
    )
    event = events(*PLAN)[1]
    return Findings(
        manifest=None,
        reference=event.manifest,
        signatures=(fact,),
        more_signatures=None,
        outcome=outcome,
        reasons=(),
        evidence=(),
        explanations=(
            Explanation(bundle_sha256=fact.bundle_sha256, location="model.sig", code="key-not-registered"),
        ),
    )


@pytest.mark.parametrize(
    ("findings", "passed", "model"),
    [
        (found_here("VERIFIED"), True, ModelResult.ACCEPTED),
        (found_here("VERIFIED", signer="mallory"), False, ModelResult.NOT_ACCEPTED),
        (found_here("INVALID_SIGNATURE"), False, ModelResult.NOT_ACCEPTED),
        (found_here("CONTENT_MISMATCH"), False, ModelResult.NOT_ACCEPTED),
        (found_here("UNKNOWN_KEY"), None, ModelResult.ACCEPTED),
        (found_here("UNSUPPORTED"), None, ModelResult.ACCEPTED),
        (found_here("VERIFIED", bundle=digest("unseen")), None, ModelResult.ACCEPTED),
        (dataclasses.replace(found_here("VERIFIED"), signatures=()), None, ModelResult.ACCEPTED),
    ],
    ids=["holds", "by another", "broken", "of other files", "no key", "not supported", "not seen", "none"],
)
def test_a_signature_here_is_held_against_what_the_hub_says(world, pins, findings, passed, model):
    found = check(world, pins, findings=findings)
    assert (step(found, "signature, checked here").passed, found.result.model) == (passed, model)
    assert found.result.satisfied is (model is ModelResult.ACCEPTED)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (make_event(name=NAME), "there is none, and the hub names none"),
        (
            make_event(signed_by(key_signer("alice")), name=NAME),
            "there is none beside the files: that one verified is the hub's word",
        ),
        (
            make_event(signed_by(key_signer("alice"), outcome="INVALID_SIGNATURE"), name=NAME),
            "there is none beside the files: that none verified is the hub's word",
        ),
    ],
)
def test_where_no_signature_is_here_the_row_says_what_the_hub_says_of_some(pins, event, said):
    world = World()
    world.record(event)
    here = dataclasses.replace(found_here("VERIFIED"), signatures=())
    assert step(check(world, pins, 0, findings=here), "signature, checked here").against == said


def test_what_the_hub_says_did_not_verify_is_not_made_better_here(pins):
    world = World()
    world.record(make_event(signed_by(key_signer("alice"), outcome="INVALID_SIGNATURE"), name=NAME))
    claimed = signed_by(key_signer("alice"), outcome="INVALID_SIGNATURE")
    for outcome in ("VERIFIED", "INVALID_SIGNATURE"):
        found = check(world, pins, 0, findings=found_here(outcome, bundle=claimed.bundle_sha256))
        assert (step(found, "signature, checked here").passed, found.result.satisfied) == (None, False)


# The file


def claim(leaf, revision="r1", word="files"):
    return Claim(
        leaf_index=leaf,
        revision=revision,
        content_sha256=digest(f"content {word}"),
        manifest_sha256=digest(f"manifest {word}"),
    )


def test_a_bundle_reads_back_as_it_was_written(world):
    bundle = ProofBundle(name=NAME, proof=world.proof(4), claims=(claim(1), claim(2)), fetched_at=NOW)
    assert parse_bundle(bundle.format()) == bundle


@pytest.mark.parametrize(
    "change",
    [
        {"format": "hubledger-proof-bundle/v2"},
        {"more": 1},
        {"fetchedAt": -1},
        {"fetchedAt": 10**15},
        {"claims": [{"leafIndex": "1"}]},
        {"proof": 1},
        {"name": None},
    ],
)
def test_a_bundle_of_another_form_is_refused(world, change):
    from ledger.encoding import format_canonical_json, parse_canonical_json

    data = ProofBundle(name=NAME, proof=world.proof(4), claims=(), fetched_at=NOW).format()
    value = parse_canonical_json(data, what="", max_bytes=1 << 20) | change
    with pytest.raises(InputError):
        parse_bundle(format_canonical_json(value))
    with pytest.raises(InputError):
        parse_bundle(data + b"\n")


def test_the_latest_event_of_what_was_asked_is_chosen():
    claims = (claim(1), claim(2, "r2", "new"), claim(3, "r1"), claim(4, "r3", "newest"))
    assert choose(claims, revision="r1", content=None) == claim(3, "r1")
    assert choose(claims, revision=None, content=digest("content new")) == claim(2, "r2", "new")
    assert choose(claims, revision=None, content=digest("none")) == claim(4, "r3", "newest")
    assert choose(claims, revision="r9", content=digest("content new")) is None
    assert choose((), revision=None, content=None) is None
    again = claim(5, "r2", "looked again")
    assert choose((*claims, again), revision=None, content=digest("content new")) == again


@pytest.mark.parametrize(("end", "accepted"), [(None, True), (5, True), (4, False)])
def test_an_entry_by_a_stolen_key_is_refused_by_whoever_has_the_update(world, pins, end, accepted):
    """The event is at leaf 4; the key was stolen, and counts only before ``end``."""
    stored = trusted(world, hub_keys=(HubKey(spki=spki_of(p256_key("hub")), end=end),))
    found = check(world, pins, stored=stored)
    assert found.result.satisfied is accepted
    if not accepted:
        assert found.result.model is ModelResult.NOT_ACCEPTED
        assert all(pin.as_json()["kind"] == "log" for pin in pins.known())
