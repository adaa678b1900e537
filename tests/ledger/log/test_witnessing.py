"""Witnesses: what is asked, what is kept of the answers, and what a log shows with and without them."""

import contextlib
import logging
import threading
import time

import pytest

from ledger.errors import QuorumError, RestoredError, SourceError
from ledger.log.freshness import from_file
from ledger.log.local import LocalLog
from ledger.log.local_config import LocalLogConfig
from ledger.log.witnessing import Witnesses, WitnessingConfig
from ledger.storage.directory import DirectoryObjects
from ledger.storage.sqlite import SqliteCommits
from ledger.tlog.checkpoint import parse_checkpoint, verify_checkpoint
from ledger.tlog.cosignature import verify_cosignatures
from ledger.tlog.signed_note import open_note
from ledger.tlog.trust_policy import parse_policy
from ledger.tlog.witness import MAX_SKEW_SECONDS, SIZE_TYPE
from tests.fakes.witness import FakeWitness, format_line, serving
from tests.ledger.log.test_local import KEY, ORIGIN, audited, create, entries_of, opened, raw, sign


@pytest.fixture
def folder(tmp_path):
    create(tmp_path)
    return tmp_path


def policy_of(*witnesses, quorum="all"):
    lines = [each.line() for each in witnesses]
    if quorum == "none":
        return parse_policy("\n".join([*lines, "quorum none\n"]).encode())
    names = " ".join(each.name for each in witnesses)
    return parse_policy(
        "\n".join([*lines, f"group all-of-us {quorum} {names}", "quorum all-of-us\n"]).encode()
    )


@contextlib.contextmanager
def writing(folder, *witnesses, quorum="all", commits=None, objects=None, signing=sign, **settings):
    """Open the log of a folder with these witnesses; waits are as short as they can be."""
    ours = {name: settings.pop(name) for name in ("sources", "start_unchecked") if name in settings}
    config = {"timeout": 5.0, "interval": 0.0, **settings}
    asked = Witnesses(
        WitnessingConfig(
            origin=ORIGIN, keys=[KEY.verifier], policy=policy_of(*witnesses, quorum=quorum), **config
        )
    )
    store = SqliteCommits(folder / "ledger.db")
    try:
        yield LocalLog(
            commits(store) if commits else store,
            objects or DirectoryObjects(folder / "log"),
            LocalLogConfig(
                origin=ORIGIN,
                keys=[KEY.verifier],
                sign=signing,
                publish_interval=0.1,
                witnesses=asked,
                **ours,
            ),
            pause=lambda _: None,
        )
    finally:
        store.close()
        asked.close()


def shown(folder, *witnesses):
    """(size, names of those whose cosignature a client counts) of what is shown."""
    verified = opened(folder).checkpoint()
    found = verify_cosignatures(verified, [each.key for each in witnesses])
    return verified.checkpoint.size, sorted(each.key.name.rpartition("/")[2] for each in found)


def known(**ways):
    return FakeWitness(logs=[KEY.verifier], **ways)


def two():
    return FakeWitness("w1", [KEY.verifier]), FakeWitness("w2", [KEY.verifier])


@pytest.mark.parametrize("required", [True, False])
def test_what_is_shown_carries_the_cosignatures_of_its_witnesses(folder, required):
    """Each checkpoint, in one request per witness once its size is known: the proof is from what it saw last."""
    w1, w2 = two()
    with serving(w1, w2), writing(folder, w1, w2, required=required) as log:
        for size in (1, 300, 700):
            log.append(raw(*entries_of(log.size, size)))
            assert log.is_witnessed(log.publish())
            assert shown(folder, w1, w2) == (size, ["w1", "w2"])
        assert w1.requests == [(0, 0), (0, 1), (1, 300), (300, 700)]
    assert audited(folder).entries == 700


def test_a_witness_that_saw_an_older_size_gets_a_proof_from_there(folder):
    """It names its size in a 409, once: somebody else may have submitted our checkpoint, or we forgot what it saw."""
    w1 = known()
    with serving(w1):
        with writing(folder, w1) as log:
            log.append(raw(*entries_of(0, 5)))
            log.publish()
        with writing(folder, w1, start_unchecked=True) as log:
            log.append(raw(*entries_of(5, 9)))
            log.witnesses._all[0].known = 0
            log.publish()
        assert w1.requests[-2:] == [(0, 9), (5, 9)]
        assert shown(folder, w1) == (9, ["w1"])


def of_text(witness, text):
    """A cosignature by the right key over another tree."""
    return format_line(witness.cosigner.cosign(parse_checkpoint(text), timestamp=int(time.time())))


def wrong_key(witness):
    other = FakeWitness("w1", [KEY.verifier], key="another")
    return lambda handler, body: handler.send(*other_answer(other, body))


def other_answer(other, body):
    note = body.partition(b"\n\n")[2]
    tree = parse_checkpoint(open_note(note, [KEY.verifier]).note.text)
    return 200, "text/plain", format_line(other.cosigner.cosign(tree, timestamp=int(time.time())))


def at(seconds):
    def lie(witness):
        witness.wall = lambda: time.time() + seconds

    return lie


def answering(status, kind, body, *, headers=()):
    def lie(_witness):
        return lambda handler, _body: handler.send(status, kind, body, headers=headers)

    return lie


def over_other_bytes(witness):
    line = of_text(witness, sign_text())
    return lambda handler, _body: handler.send(200, "text/plain", line)


def sign_text():
    return f"{ORIGIN}\n7\n{'A' * 43}=\n".encode()


def endless(_witness):
    def lie(handler, _body):
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write("\u2014 x AAAA\n".encode() * 1000)

    return lie


def always_409(_witness):
    sizes = iter([0, 1] * 1000)
    return lambda handler, _body: handler.send(409, SIZE_TYPE, b"%d\n" % next(sizes))


LIES = {
    "another key": (wrong_key, "expected one by witness.example/w1+"),
    "other bytes": (over_other_bytes, "expected a valid signature, got one that fails"),
    "from the future": (at(MAX_SKEW_SECONDS + 60), "expected within 300 s of"),
    "long ago": (at(-MAX_SKEW_SECONDS - 60), "expected within 300 s of"),
    "an endless body": (endless, "got more to come"),
    "a size, again and again": (always_409, "got another size, "),
    "a size that is none": (answering(409, SIZE_TYPE, b"+3\n"), "got +3"),
    "a size without a newline": (answering(409, SIZE_TYPE, b"3"), "expected a decimal and a newline, got 3"),
    "a conflict of somebody else": (answering(409, "text/html", b"<p>no</p>"), "got 409"),
    "a page": (answering(200, "text/html", b"<html>hello</html>\n"), "signature line: expected"),
    "nothing": (answering(200, "text/plain", b""), "another layout"),
    "an empty line": (answering(200, "text/plain", b"a\n\nb\n"), "got an empty line"),
    "no such log": (answering(404, "text/plain", b""), "got 404, it does not know this log"),
    "no such key": (answering(403, "text/plain", b""), "got 403, no signature by a key that it trusts"),
    "a proof that it does not like": (answering(422, "text/plain", b""), "got 422, the proof does not hold"),
    "too many": (answering(429, "text/plain", b""), "got 429, too many requests"),
    "an error": (answering(500, "text/plain", b""), "got 500"),
    "elsewhere": (
        answering(302, "text/plain", b"", headers=[("location", "http://127.0.0.1:1/")]),
        "got 302, redirects are not followed",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_witness_that_lies_adds_nothing_and_holds_nobody(folder, lie):
    """Best effort: the checkpoint is shown without it, and with the one that is honest. Required: it is not shown."""
    make, says = LIES[lie]
    w1, w2 = two()
    with serving(w1, w2):
        with writing(folder, w1, w2) as log:
            log.append(raw(b"a"))
            w1.lie = make(w1)
            published = log.publish()
            assert says in log.witnesses.problems(published.checkpoint)
            assert shown(folder, w1, w2) == (1, ["w2"])
            assert not log.is_witnessed(published)
        with writing(folder, w1, w2, required=True) as log:
            log.append(raw(b"b"))
            with pytest.raises(QuorumError) as caught:
                log.publish()
            assert says in caught.value.actual
            assert shown(folder, w1, w2) == (1, ["w2"])
            w1.lie, w1.wall = None, time.time
            assert log.await_quorum(20).checkpoint.size == 2
            assert shown(folder, w1, w2) == (2, ["w1", "w2"])


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        (429, "900", 900),
        (503, "900", 900),
        (429, "9" * 15, 3600),
        (429, "", 1),
        (429, "-900", 1),
        (429, "Wed, 21 Oct 2065 07:28:00 GMT", 1),
        (500, "900", 1),
    ],
)
def test_a_witness_that_says_retry_after_is_asked_no_sooner(folder, status, header, seconds):
    """Only where it says that it is asked too often, only a number of seconds, and an hour at most."""
    w1 = known()
    w1.lie = lambda handler, _body: handler.send(status, "text/plain", b"", headers=[("retry-after", header)])
    with serving(w1), writing(folder, w1, interval=0.5, start_unchecked=True) as log:
        log.append(raw(b"a"))
        log.publish()
        assert max(0, seconds - 5) <= log.witnesses.due(log.checkpoint().checkpoint) <= seconds
        w1.lie = None
        assert shown(folder, w1) == (1, [])


def test_a_slow_witness_holds_nobody_and_its_answer_is_added_when_it_comes(folder):
    """One that is late is waited for once; then checkpoints go out without it, until it answers."""
    w1, w2 = two()
    with serving(w1, w2), writing(folder, w1, w2, timeout=20.0) as log:
        log.append(raw(b"a"))
        log.publish()
        w1.hold.clear()
        log.append(raw(b"b"))
        log.publish()
        assert shown(folder, w1, w2) == (2, ["w2"])
        log.append(raw(b"c"))
        assert log.publish().checkpoint.size == 3
        assert shown(folder, w1, w2) == (3, ["w2"])
        w1.hold.set()
        assert log.await_quorum(20).checkpoint.size == 3
        assert shown(folder, w1, w2) == (3, ["w1", "w2"])
        assert w1.requests[-1] == (2, 3)


def test_a_quorum_does_not_wait_for_those_whom_it_does_not_need(folder):
    w1, w2 = two()
    w1.hold.clear()
    with serving(w1, w2), writing(folder, w1, w2, quorum="any", required=True, start_unchecked=True) as log:
        log.append(raw(b"a"))
        assert log.publish().checkpoint.size == 1
        assert shown(folder, w1, w2) == (1, ["w2"])


def test_without_its_quorum_nothing_is_shown_and_a_larger_checkpoint_replaces_it(folder):
    """What was signed meanwhile is never shown, and leaves no partial tile behind once its full one exists."""
    w1 = known()
    with serving(w1), writing(folder, w1, required=True) as log:
        log.append(raw(*entries_of(0, 10)))
        log.publish()
        w1.lie = (503, "text/plain", b"")
        for size in (20, 300, 400, 900):
            log.append(raw(*entries_of(log.size, size)))
            log.witnesses._all[0].next_at = 0.0  # as if the pause after a failure were over
            with pytest.raises(QuorumError):
                log.publish()
            assert shown(folder, w1) == (10, ["w1"])
        w1.lie = None
        assert log.await_quorum(20).checkpoint.size == 900
        assert shown(folder, w1) == (900, ["w1"])
        assert w1.requests[-1] == (10, 900)
    assert audited(folder).entries == 900
    assert [p for p in (folder / "log").rglob("*.p") if (p.parent / p.name.removesuffix(".p")).exists()] == []


def test_other_keys_sign_the_same_checkpoint_and_its_cosignatures_stay(folder):
    """Whoever rotates the log's key must not take the quorum from clients meanwhile."""
    w1, w2 = two()
    marked = []

    def signing(checkpoint):
        marked.append(checkpoint)
        return sign(checkpoint)

    with serving(w1, w2), writing(folder, w1, w2, required=True, signing=signing) as log:
        log.append(raw(*entries_of(0, 3)))
        log.publish()
        marked.clear()
        again = log.sign_again()
        assert [each.size for each in marked] == [3]
        assert shown(folder, w1, w2) == (3, ["w1", "w2"])
        assert again.note == (folder / "log/checkpoint").read_bytes()


def test_while_nobody_may_be_asked_nothing_larger_is_signed(folder):
    """Every signed size has tiles that must stay: an outage of a day must not make one a second."""
    w1 = known()
    with serving(w1), writing(folder, w1, required=True) as log:
        log.append(raw(b"a"))
        log.publish()
        w1.lie = (503, "text/plain", b"")
        log.append(raw(b"b"))
        with pytest.raises(QuorumError):
            log.publish()
        log.append(raw(b"c"))
        with pytest.raises(QuorumError) as caught:
            log.publish()
        assert "of size 2" in caught.value.what


def test_past_its_backlog_a_log_without_its_quorum_takes_no_more(folder):
    w1 = known()
    with serving(w1), writing(folder, w1, required=True, backlog=3, start_unchecked=True) as log:
        w1.lie = (503, "text/plain", b"")
        log.append(raw(*entries_of(0, 3)))
        with pytest.raises(QuorumError):
            log.publish()
        with pytest.raises(QuorumError, match="entries that wait for the quorum"):
            log.append(raw(b"more"))
        assert log.size == 3
        w1.lie = None
        log.await_quorum(20)
        log.append(raw(b"more"))
        assert log.size == 4


def test_an_idle_log_asks_for_fresh_cosignatures_of_the_same_size(folder):
    w1 = known()
    with serving(w1), writing(folder, w1, refresh=1000.0) as log:
        log.append(raw(b"a"))
        log.publish()
        before = opened(folder).checkpoint()
        assert log.due() > 900
        log.publish()
        assert opened(folder).checkpoint().note == before.note
        w1.wall = lambda: time.time() + 100
        log.witnesses._all[0].dated -= 1000  # as if its cosignature were older
        assert log.due() == 0
        log.publish()
        _until(lambda: log.due() == 0)
        log.publish()
        after = opened(folder).checkpoint()
        assert after.checkpoint == before.checkpoint
        (fresh,) = verify_cosignatures(after, [w1.key])
        (stale,) = verify_cosignatures(before, [w1.key])
        assert fresh.timestamp >= stale.timestamp + 99
        assert w1.requests[-1] == (1, 1)


def _until(condition):
    never = threading.Event()
    for _ in range(400):
        if condition():
            return
        never.wait(0.05)
    raise AssertionError("nothing after 20 s")


def test_a_witness_is_asked_no_oftener_than_it_permits(folder):
    """A best-effort log goes on without it meanwhile; a required one waits."""
    w1 = known()
    with serving(w1), writing(folder, w1, interval=3600.0) as log:
        log.append(raw(b"a"))
        log.publish()
        log.append(raw(b"b"))
        log.publish()
        assert w1.requests == [(0, 0), (0, 1)]
        assert shown(folder, w1) == (2, [])
        assert 3000 < log.due() <= 3600


# A witness that knows more of us than we do


def older_copy(folder, tmp_path, w1):
    """A log that goes on after it was copied; returns the copy."""
    import shutil

    with writing(folder, w1) as log:
        log.append(raw(*entries_of(0, 5)))
        log.publish()
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("copy"))
    with writing(folder, w1) as log:
        log.append(raw(*entries_of(5, 8)))
        log.publish()
    return copy


def test_a_restored_copy_is_refused_because_a_witness_saw_more(folder, tmp_path):
    w1 = known()
    with serving(w1):
        copy = older_copy(folder, tmp_path, w1)
        with writing(copy, w1) as log, pytest.raises(RestoredError) as caught:
            log.append(raw(b"another history"))
        assert (caught.value.expected, caught.value.actual) == ("at most 5, the newest that we signed", "8")
        assert "--start-unchecked" in caught.value.next_step


def test_where_nobody_answers_nothing_is_written_unless_it_is_said_so(folder):
    w1 = known()
    w1.lie = (404, "text/plain", b"")
    with serving(w1):
        with writing(folder, w1) as log, pytest.raises(SourceError, match="w1: witness w1: expected"):
            log.append(raw(b"a"))
        with writing(folder, w1, start_unchecked=True) as log:
            log.append(raw(b"a"))
    kept = folder / "kept"
    kept.write_bytes((folder / "log" / "checkpoint").read_bytes())
    with serving(w1), writing(folder, w1, sources=[from_file(kept)]) as log:
        log.append(raw(b"b"))  # one source that answers is enough


def test_a_copy_that_was_started_unchecked_stops_when_the_newer_checkpoint_is_found(folder, tmp_path):
    """Under our own key, at the public address: what comes after it would fork the log."""
    w1 = known()
    newest = [(folder / "log" / "checkpoint").read_bytes]
    with serving(w1):
        copy = older_copy(folder, tmp_path, w1)
        with writing(copy, w1, start_unchecked=True, newest=newest) as log:
            log.append(raw(b"another history"))
            with pytest.raises(RestoredError, match="which the witness w1 knows"):
                log.publish()
            with pytest.raises(RestoredError):
                log.append(raw(b"more"))
        assert shown(copy, w1) == (5, ["w1"])


def test_a_copy_that_grew_past_what_the_witness_saw_stops_as_a_fork(folder, tmp_path):
    """The witness refuses its proof, and the public address shows the other history under our own key."""
    w1 = known()
    newest = [(folder / "log" / "checkpoint").read_bytes]
    with serving(w1):
        copy = older_copy(folder, tmp_path, w1)
        with writing(copy, w1, start_unchecked=True, newest=newest) as log:
            log.append(raw(*[b"other %d" % at for at in range(9)]))
            with pytest.raises(RestoredError, match="checkpoint of size 8, which others know"):
                log.publish()
            with pytest.raises(RestoredError):
                log.append(raw(b"more"))
        assert shown(copy, w1) == (5, ["w1"])


def test_a_witness_that_refuses_a_proof_without_a_reason_stops_nothing(folder):
    w1, w2 = two()
    newest = [(folder / "log" / "checkpoint").read_bytes]
    with serving(w1, w2), writing(folder, w1, w2, newest=newest) as log:
        log.append(raw(b"a"))
        log.publish()
        w1.lie = (422, "text/plain", b"")
        log.append(raw(b"b"))
        log.publish()
        assert shown(folder, w1, w2) == (2, ["w2"])


def test_a_witness_that_only_says_a_larger_size_is_set_aside(folder, caplog):
    """Anybody can say a number: it stops nothing, and whoever runs the log is told."""
    w1, w2 = two()
    newest = [(folder / "log" / "checkpoint").read_bytes]
    with serving(w1, w2), writing(folder, w1, w2, newest=newest) as log:
        log.append(raw(b"a"))
        w1.lie = (409, SIZE_TYPE, b"1000000\n")
        with caplog.at_level(logging.ERROR):
            log.publish()
        assert "the witness w1 is set aside: it says that it cosigned size 1000000" in caplog.text
        assert shown(folder, w1, w2) == (1, ["w2"])
        assert [each["state"] for each in log.witnesses.state()] == ["set-aside", "ok"]
        log.append(raw(b"b"))
        log.publish()
        assert shown(folder, w1, w2) == (2, ["w2"])


# A stop in each gap


class Stopped(BaseException):
    pass


class Stopping:
    """A store whose n-th write stops the process, before or after it took effect."""

    def __init__(self, store, writes):
        self._store, self._writes = store, writes

    def __getattr__(self, name):
        method = getattr(self._store, name)
        if name not in ("commit", "save_publication", "put", "replace", "delete"):
            return method
        return lambda *arguments: self._writes(lambda: method(*arguments))


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 7))
def test_a_stop_in_each_gap_shows_nothing_without_its_quorum_and_loses_nothing(
    folder, required, when, number
):
    """Whatever is on the disk then, a restart shows exactly the stored size, cosigned, and the log goes on."""
    w1 = known()
    count, armed = [], []

    def writes(write):
        count.extend(armed)
        stops = armed and len(count) == number
        if stops and when == "before":
            raise Stopped
        write()
        if stops:
            raise Stopped

    trees = {}

    def signing(checkpoint):
        trees.setdefault(checkpoint.size, set()).add(checkpoint.root_hash)
        return sign(checkpoint)

    with serving(w1):
        with writing(folder, w1, required=required) as log:
            log.append(raw(*entries_of(0, 3)))
            log.publish()
        with writing(
            folder,
            w1,
            required=required,
            commits=lambda store: Stopping(store, writes),
            objects=Stopping(DirectoryObjects(folder / "log"), writes),
            signing=signing,
        ) as log:
            log.append(raw(*entries_of(3, 300)))
            armed.append(1)
            with contextlib.suppress(Stopped):
                log.publish()
        stored = SqliteCommits(folder / "ledger.db", read_only=True)
        target = stored.load().target_size
        stored.close()
        now_shown, by = shown(folder, w1)
        assert now_shown in (3, 300)
        assert by == ["w1"] or not required
        with writing(folder, w1, required=required, signing=signing) as log:
            log.append(raw(b"next"))
            assert shown(folder, w1) == (target, ["w1"])
            log.publish()
            assert shown(folder, w1) == (301, ["w1"])
    assert all(len(roots) == 1 for roots in trees.values())
    assert audited(folder).entries == 301


def test_the_stops_reach_every_write_of_a_publication(folder):
    """Six numbers are enough: one more would stop nothing."""
    w1, seen = known(), []
    with (
        serving(w1),
        writing(
            folder,
            w1,
            commits=lambda store: Stopping(store, lambda write: (seen.append(1), write())),
            objects=Stopping(DirectoryObjects(folder / "log"), lambda write: (seen.append(1), write())),
        ) as log,
    ):
        log.append(raw(b"a"))
        seen.clear()
        log.publish()
    assert len(seen) == 6


def test_what_is_served_is_a_checkpoint_of_the_log_alone_with_lines_added(folder):
    """Nothing that a witness says changes the text, and the log's own signature stays."""
    w1 = known()
    with serving(w1), writing(folder, w1) as log:
        log.append(raw(b"a"))
        log.publish()
    note = (folder / "log" / "checkpoint").read_bytes()
    verified = verify_checkpoint(note, origin=ORIGIN, keys=[KEY.verifier])
    assert [line.name for line in verified.parsed.signatures] == [ORIGIN, "witness.example/w1"]
