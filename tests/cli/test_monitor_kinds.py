"""Every kind of finding about what a log holds: from entries on a disk, through the command, to whoever is alerted."""

import pathlib

import pytest

from ledger.event import HistoryLink, format_statement
from monitor.findings import CLASSES, Kind, Severity
from tests.cli.test_monitor import Watched
from tests.monitor.hub import OBSERVER
from tests.monitor.test_detect import CERTIFICATE, _announced
from tests.monitor.test_policies import ID_A, ID_B, OWNER, Story
from tests.world import digest, key_signer, make_event, sign_statement, signed_by

A, B = signed_by(key_signer("a")), signed_by(key_signer("b"))
REPOSITORY = pathlib.Path(__file__).parents[2]
OTHERS = "acme/model", "acme/more", "other/x"


def _gap(hub):
    hub.record(A)
    hub.record(A, revision="2", links=(HistoryLink(key="name:acme/model", sequence=2, previous=digest("x")),))


def _two(first, second, **more):
    def tell(hub):
        hub.record(*first, **{key: value[0] for key, value in more.items()})
        hub.record(*second, revision="2", **{key: value[1] for key, value in more.items()})

    return tell


def _observed(**words):
    def tell(hub):
        hub.record(A)
        hub.hub_key(*_announced("watcher"), role="observer")
        hub.record(A, recorded_by=OBSERVER, key="watcher", **words)

    return tell


def _thief(hub):
    hub.record(A)
    hub.record(B, revision="2", key="thief")


def _other_files(hub):
    hub.record(A)
    hub.record(A, files="others")


def _policy(change, **fields):
    def tell(hub):
        hub.record(A)
        hub.policy(change, **fields)

    return tell


def _pinned_twice(hub):
    hub.record(A)
    hub.policy("pin", identities=[ID_A])
    hub.policy("pin", identities=[ID_A, ID_B])


def _another_policy(hub):
    hub.decided(A)
    hub.decided(A, policy="other")


def _skipped(hub):
    hub.decided(A)
    hub.decided(B, decision="accepted")


def _answered_by_whom(hub):
    hub.record(A)
    hub.challenge("answered", **OWNER)


def _revoked(hub):
    hub.policy("revoke", policy="policy", identities=[ID_A])
    hub.decided(A)


def _shared(hub):
    for name in OTHERS:
        hub.record(A, name=name)


def _malformed(hub):
    hub.record(A)
    hub.world.append(b"[" * 30_000)


def _unknown(hub):
    hub.record(A)
    data = format_statement(make_event(A, revision="2"))
    hub.world.append(sign_statement(data.replace(b"verification-event/v1", b"verification-event/v9")))


STORIES = {
    Kind.FIRST_SIGNER: lambda hub: hub.record(A),
    Kind.SIGNER_CHANGED: _two([A], [B]),
    Kind.METHOD_CHANGED: _two([A], [CERTIFICATE]),
    Kind.SIGNATURE_LOST: _two([A], []),
    Kind.REPOSITORY_CHANGED: _two([A], [A], repo_id=("1", "2")),
    Kind.REVISION_CHANGED: _other_files,
    Kind.CHAIN_BROKEN: _gap,
    Kind.HUB_KEY_REFUSED: _thief,
    Kind.HUB_KEY_CHANGED: lambda hub: (hub.hub_key(*_announced("hub")), hub.hub_key(*_announced("new"))),
    Kind.TIME_OUTSIDE: lambda hub: hub.record(A, verified_at="2026-02-31T03:04:05Z"),
    Kind.OBSERVER: _observed(),
    Kind.HUB_EXPECTED: _observed(revision="2"),
    Kind.POLICY_ANNOUNCED: _policy("set"),
    Kind.FIRST_K_CLOSED: _policy("pin", identities=[ID_A, ID_B]),
    Kind.POLICY_CHANGED: _pinned_twice,
    Kind.POLICY_RELAXED: _policy("relax"),
    Kind.POLICY_DIFFERS: _another_policy,
    Kind.CHALLENGE_SKIPPED: _skipped,
    Kind.CHALLENGE_WRONG: _answered_by_whom,
    Kind.REVOKED_SIGNER: _revoked,
    Kind.SIGNER_SHARED: _shared,
    Kind.MALFORMED_ENTRY: _malformed,
    Kind.UNKNOWN_ENTRY: _unknown,
}
ELSEWHERE = {
    Kind.SIGNED_BY_WATCHED: "tests/monitor/test_watch.py",
    Kind.WATCH_REPLAYED: "tests/monitor/test_watch.py",
    Kind.STATEMENT_MISSING: "tests/monitor/test_rekor.py",
    Kind.RECEIPT_MISSING: "tests/monitor/test_rekor_v1.py",
    Kind.RECEIPT_REFUSED: "tests/monitor/test_rekor_v1.py",
    Kind.LOG_FORKED: "tests/system/test_lies.py",
    Kind.LOG_KEY_REFUSED: "tests/monitor/test_follow.py",
    Kind.LOG_MALFORMED: "tests/monitor/test_follow.py",
    Kind.LOG_STALE: "tests/monitor/test_follow.py",
    Kind.LOG_UNWITNESSED: "tests/monitor/test_follow.py",
    Kind.LOG_UNREACHABLE: "tests/monitor/test_follow.py",
    Kind.CLOCK_BACKWARDS: "tests/monitor/test_follow.py",
    Kind.NOT_RECORDED: "tests/monitor/test_crosscheck.py",
    Kind.SOURCE_UNREACHABLE: "tests/monitor/test_crosscheck.py",
    Kind.CANARY: "tests/monitor/test_canary.py",
    Kind.CANARY_SILENT: "tests/monitor/test_canary.py",
    Kind.SINK_SILENT: "tests/monitor/test_deliver.py",
}
"""About the log itself or its surroundings, or by a rule: driven to their finding there."""


def test_every_kind_has_a_story():
    assert STORIES.keys() | ELSEWHERE.keys() == set(Kind)
    assert not STORIES.keys() & ELSEWHERE.keys()
    for kind, path in ELSEWHERE.items():
        text = (REPOSITORY / path).read_text()
        assert kind.name in text or f'"{kind}"' in text, (kind, path)


@pytest.mark.parametrize("step", [1, 99], ids=["entry by entry", "all at once"])
@pytest.mark.parametrize("kind", STORIES, ids=str)
def test_from_the_entries_to_the_alert(tmp_path, hubledger, kind, step):
    watched = Watched(tmp_path, hubledger)
    watched.hub = Story(world=watched.hub.world)
    assert watched.run("init", "--from", "genesis")[0] == 0
    STORIES[kind](watched.hub)
    for size in range(step, len(watched.hub.world.entries), step):
        watched.publish(size)
        watched.json("once")
    watched.publish()
    code, facts = watched.json("once")
    (found, *_) = [each for each in facts["findings"] if each["kind"] == kind]
    alert, severity = CLASSES[kind]
    assert (found["class"], found["severity"], found["log"]) == (alert, severity, "models")
    text = found["text"]
    assert text.count("\n") == 0
    assert text[-1] == "."
    # What is for the record ends no script and wakes nobody.
    told = [each["id"] for each in watched.alerts()]
    assert (found["id"] in told) is (severity is not Severity.INFO)
    assert code == (0 if all(each["severity"] == "info" for each in facts["findings"]) else 1)
    # It is in the record, found once, however often the log is looked at.
    again, more = watched.json("once")
    assert (again, more["logs"][0]["newFindings"]) == (code, 0)
    code, listed, _ = watched.run("findings")
    assert code == 0
    assert str(kind) in listed
    assert len(watched.alerts()) == len(told)
