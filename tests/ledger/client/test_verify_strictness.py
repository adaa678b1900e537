"""What a lax check would take: the hub's name without its role, a signer whose signature failed, an old time."""

from dataclasses import replace

import pytest

from ledger.client.verify import Expectation, LocalFiles, check_proof
from ledger.event import RecordedBy
from ledger.identity import SigstoreFacts, overflow_text
from ledger.tlog.trust_policy import Group
from tests.world import HUB, NOW, World, digest, key_signer, make_event, signed_by


def check(event, *, files="files", trust=None, cosigned=None, **options):
    """Check the proof of a log's only event against its own files."""
    log = World()
    log.record(event)
    given = LocalFiles(manifest_sha256=digest(f"manifest {files}"), content_sha256=digest(f"content {files}"))
    options = {"now": NOW, "files": given} | options
    return check_proof(log.proof(0, cosigned=cosigned), trust=trust or log.trust(), **options)


SIGNED = make_event(signed_by(key_signer("alice")))


def test_the_event_of_these_tests_is_accepted():
    assert check(SIGNED).satisfied


@pytest.mark.parametrize(
    ("recorded_by", "shown"),
    [
        (RecordedBy(id=HUB, role="observer"), f"the observer {HUB}"),
        (RecordedBy(id="mirror.example", role="hub"), "the hub mirror.example"),
        (RecordedBy(id="mirror.example", role="observer"), "the observer mirror.example"),
    ],
)
def test_the_hub_recorded_it_in_its_own_name_and_as_the_hub(recorded_by, shown):
    """An observer may be called as the hub is, and anybody can call itself a hub: both must hold."""
    result = check(make_event(signed_by(key_signer("alice")), recorded_by=recorded_by))
    assert (result.log, result.failure.step) == ("INVALID", "recorder of the event")
    assert result.failure.expected == f"the hub {HUB}"
    assert result.failure.actual == shown
    assert result.event is None


def mixed():
    """Alice signed these files; Bob signed others, and his signature lies beside hers."""
    bob = signed_by(key_signer("bob"), outcome="VERIFIED")
    beside = type(bob)(
        bundle_sha256=digest("bob's bundle"), outcome="CONTENT_MISMATCH", method="key", signer=bob.signer
    )
    return make_event(signed_by(key_signer("alice")), beside)


def expect(name):
    return Expectation(key_sha256=key_signer(name).spki_sha256)


def test_only_who_signed_these_files_is_a_signer():
    """The event is VERIFIED, by Alice; that Bob is named in it as well makes him no signer of it."""
    assert check(mixed(), expected=[expect("alice")]).model == "ACCEPTED"
    result = check(mixed(), expected=[expect("bob")])
    assert (result.model, result.satisfied) == ("UNEXPECTED_SIGNER", False)
    assert "bob" not in result.failure.actual
    assert check(mixed(), expected=[expect("alice"), expect("bob")]).satisfied
    assert not check(mixed(), expected=[expect("alice"), expect("bob")], expect_all=True).satisfied


def step(result, name):
    return next(each for each in result.checks if each.step == name)


@pytest.mark.parametrize("cosigned", [{"w1": NOW - 500, "w2": NOW - 20}, {"w1": NOW - 20, "w2": NOW - 500}])
def test_the_newest_counted_cosignature_dates_the_checkpoint(cosigned):
    """Whoever saw the log last saw it exist then; an older cosignature beside it takes nothing away."""
    trust = World().trust(witnesses=("w1", "w2"), max_age=60)
    result = check(SIGNED, trust=trust, cosigned=cosigned)
    assert step(result, "age limit").passed is True
    assert step(result, "age limit").against == (
        "at most 60 s; the checkpoint is 20 s old by its newest counted cosignature"
    )


@pytest.mark.parametrize(
    ("quorum", "times", "age"),
    [
        ("w1", {"w1": NOW - 500, "log-clock": NOW - 5}, 500),
        ("w1", {"w1": NOW - 5, "log-clock": NOW - 500}, 5),
        ("two", {"w1": NOW - 500, "w2": NOW - 70, "w3": NOW - 5, "log-clock": NOW}, 70),
        ("two", {"w1": NOW - 500, "w2": NOW - 70}, 500),
    ],
)
def test_a_quorum_dates_a_checkpoint_by_the_last_cosigner_without_whom_it_is_none(quorum, times, age):
    """The log's own clock, or one witness of three, could make an old checkpoint young."""
    trust = World().trust(witnesses=("log-clock", "w1", "w2", "w3"), max_age=60)
    group = Group(name="two", threshold=2, members=("w1", "w2", "w3"))
    trust = replace(trust, policy=replace(trust.policy, groups=(group,), quorum=quorum))
    found = step(check(SIGNED, trust=trust, cosigned=times), "age limit")
    assert f"the checkpoint is {age} s old by its quorum {quorum}" in found.against
    assert found.passed is (True if age <= 60 else None)


@pytest.mark.parametrize(("age", "passed"), [(59, True), (60, True), (61, None)])
def test_the_greatest_age_is_allowed_and_no_second_more(age, passed):
    trust = World().trust(witnesses=("w1",), max_age=60)
    assert step(check(SIGNED, trust=trust, cosigned={"w1": NOW - age}), "age limit").passed is passed


def test_a_clock_that_runs_behind_a_witness_sees_no_negative_age():
    trust = World().trust(witnesses=("w1",), max_age=60)
    against = step(check(SIGNED, trust=trust, cosigned={"w1": NOW + 200}), "age limit").against
    assert against == "at most 60 s; the checkpoint is 0 s old by its newest counted cosignature"


def test_files_are_held_against_the_manifest_and_the_content_each_against_its_own():
    manifest, content = digest("manifest files"), digest("content files")
    whole = check(SIGNED)
    assert step(whole, "files").against == f"manifest sha256:{manifest.hex()[:16]}…, 3 files"
    crossed = LocalFiles(manifest_sha256=content, content_sha256=manifest)
    log = World()
    log.record(SIGNED)
    result = check_proof(log.proof(0), trust=log.trust(), now=NOW, files=crossed)
    assert result.model == "CONTENT_DIFFERS"
    resigned = LocalFiles(manifest_sha256=digest("another bundle beside it"), content_sha256=content)
    result = check_proof(log.proof(0), trust=log.trust(), now=NOW, files=resigned)
    assert result.model == "ACCEPTED"
    assert step(result, "files").against.startswith(f"content sha256:{content.hex()[:16]}…")


def test_a_signer_without_an_issuer_meets_nobody():
    """Two providers may both know an ``a@example.org``; also where the issuer is so long that only its digest is logged."""
    facts = SigstoreFacts(
        issuer=overflow_text("https://idp.example/" + "x" * 300),
        san="a@example.org",
        san_type="email",
        claims=(),
        certificate_sha256=bytes(32),
    )
    assert not Expectation(signer="a@example.org").met_by(facts)
    assert not Expectation(signer="a@example.org", issuer="https://idp.example/").met_by(facts)
    assert Expectation(signer="a@example.org", issuer="https://idp.example/" + "x" * 300).met_by(facts)
