"""The order of publishing, and a stop in each of its gaps, with the write lost and with the write kept.

The stores here are the real ones; what stands before them only looks at the disk when a write begins, or stops there.
"""

import contextlib
import itertools
import sqlite3

import pytest

from ledger.errors import ProofError, RestoredError, SourceError, WriteError
from ledger.log import Committed, Submission
from ledger.log.audit import audit
from ledger.log.fetch import fetch_from_folder
from ledger.log.freshness import Source, check_not_restored
from ledger.log.local import LocalLog
from ledger.log.local_config import LocalLogConfig
from ledger.log.published import PublishedLog
from ledger.storage.directory import DirectoryObjects
from ledger.storage.sqlite import SqliteCommits
from ledger.tlog import merkle
from ledger.tlog.checkpoint import Checkpoint, parse_checkpoint
from ledger.tlog.signed_note import parse_note
from tests.ledger.log.test_local import KEY, ORIGIN, create, sign

WRITES = ("commit", "save_publication", "put", "replace", "delete")


class Before:
    """A store that calls ``look(method, arguments)`` before each write; its answer ``True`` goes on."""

    def __init__(self, store, look):
        self._store, self._look = store, look

    def __getattr__(self, name):
        method = getattr(self._store, name)
        if name not in WRITES:
            return method

        def write(*arguments):
            # What is generated is written out, so that looking at it takes nothing away.
            given = [list(each) if name in ("put", "delete") else each for each in arguments]
            return self._look(name, given, lambda: method(*given))

        return write


class Opened:
    """A log of a folder behind two stores that look first."""

    def __init__(self, folder, look, *, signing=sign):
        self.commits = SqliteCommits(folder / "ledger.db")
        config = LocalLogConfig(origin=ORIGIN, keys=[KEY.verifier], sign=signing)
        self.log = LocalLog(
            Before(self.commits, look),
            Before(DirectoryObjects(folder / "log"), look),
            config,
            clock=lambda: 0.0,
            pause=lambda _: None,
        )

    def __enter__(self):
        return self.log

    def __exit__(self, *_):
        self.commits.close()


@pytest.fixture
def folder(tmp_path):
    create(tmp_path)
    return tmp_path


def stored(folder):
    """What is on the disk at this moment, as somebody else would find it."""
    commits = SqliteCommits(folder / "ledger.db", read_only=True)
    try:
        return commits.load()
    finally:
        commits.close()


def shown(folder):
    return (folder / "log/checkpoint").read_bytes()


def size_of(note):
    return parse_checkpoint(parse_note(note).text).size


def audited(folder):
    log = PublishedLog(fetch_from_folder(folder / "log"), origin=ORIGIN, keys=[KEY.verifier])
    return audit(lambda: log, log.checkpoint(), workers=1).entries


def entries(first, count):
    return [Submission(entry=b"entry %d" % at) for at in range(first, first + count)]


def go_on(_method, _arguments, write):
    return write()


# The order


@pytest.mark.parametrize("sizes", [(3,), (3, 5), (255, 257), (256, 300), (300, 600)])
def test_each_write_rests_on_those_before_it(folder, sizes):
    """A size is stored before it is signed, signed before it is shown, whole before it is shown, and shown before it
    counts as published.
    """
    steps = []

    def signing(checkpoint):
        state = stored(folder)
        assert (state.target_size, state.target_root) == (checkpoint.size, checkpoint.root_hash)
        steps.append("sign")
        return sign(checkpoint)

    def look(method, arguments, write):
        steps.append(method)
        if method == "replace":
            name, note = arguments
            assert name == "checkpoint"
            assert stored(folder).signed_note == note, "shown before its signature was kept"
            tree = PublishedLog(fetch_from_folder(folder / "log"), origin=ORIGIN, keys=[KEY.verifier])
            assert len(list(tree.read(0, size_of(note), size=size_of(note)))) == size_of(note)
            assert merkle.tree_root(size_of(note), tree.nodes(size_of(note))) == stored(folder).target_root
        if method == "save_publication" and arguments[0].published_size > stored(folder).published_size:
            assert size_of(shown(folder)) == arguments[0].published_size, "published before it was shown"
        if method == "delete":
            assert audited(folder) == stored(folder).published_size
        return write()

    with Opened(folder, look, signing=signing) as log:
        for size in sizes:
            log.append(entries(log.size, size - log.size))
            log.publish()
            assert audited(folder) == size
    one = ["commit", "save_publication", "sign", "save_publication", "put", "replace", "save_publication"]
    assert [step for step in steps if step != "delete"] == one * len(sizes)


def test_nobody_is_answered_before_the_commit_is_on_the_disk(folder):
    """The caller hears a position only once the batch is stored; a commit that fails answers nobody."""

    def look(method, _arguments, write):
        if method == "commit":
            raise WriteError("storing", expected="space", actual="none")
        return write()

    with Opened(folder, look) as log, pytest.raises(WriteError, match="storing: expected space, got none"):
        log.append(entries(0, 2))
    assert stored(folder).size == 0


@pytest.mark.parametrize("method", ["commit", "put"])
def test_after_a_failed_write_nothing_more_is_written(folder, method):
    """The fate of the write is unknown to this object, so it stops for good; only a new one may look and go on."""
    failures = iter([True])

    def look(name, _arguments, write):
        if name == method and next(failures, False):
            raise WriteError("storing", expected="space", actual="none")
        return write()

    def write(log):
        log.append(entries(0, 2))
        log.publish()

    with Opened(folder, look) as log:
        with pytest.raises(WriteError, match="storing"):
            write(log)
        before = (stored(folder), shown(folder))
        for again in (lambda: log.append(entries(2, 1)), log.publish):
            with pytest.raises(WriteError, match="storing"):
                again()
        assert (stored(folder), shown(folder)) == before
    with Opened(folder, go_on) as log:
        log.append(entries(log.size, 1))
        log.publish()
        assert audited(folder) == log.size


# The gaps


class Stopped(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("kept", [False, True], ids=["lost", "kept"])
@pytest.mark.parametrize("gap", range(1, 13))
@pytest.mark.parametrize("sizes", [(3, 5), (255, 257)], ids=str)
def test_a_stop_in_any_gap_loses_nothing_and_signs_one_history(folder, sizes, gap, kept):
    """The write of the gap is lost, or it is there and nobody heard of it. A restart goes on from what is stored."""
    signed, answered = [], []
    count = itertools.count(1)

    def signing(checkpoint):
        signed.append((checkpoint.size, checkpoint.root_hash))
        return sign(checkpoint)

    def look(_method, _arguments, write):
        stop = next(count) == gap
        if not stop or kept:
            write()
        if stop:
            raise Stopped

    try:
        with Opened(folder, look, signing=signing) as log:
            for size in sizes:
                answered += log.append(entries(log.size, size - log.size))
                log.publish()
    except Stopped:
        pass
    with Opened(folder, go_on, signing=signing) as log:
        assert [each.leaf_index for each in answered] == list(range(len(answered)))
        assert log.size >= len(answered)
        assert list(log.read(0, len(answered))) == [b"entry %d" % at for at in range(len(answered))]
        before = size_of(shown(folder))
        (again,) = log.append(entries(log.size, 1))
        assert again == Committed(leaf_index=log.size - 1)
        log.publish()
        assert audited(folder) == log.size > before
    assert len(dict(signed)) == len(set(signed)), "one size, two roots"


def test_a_restart_first_shows_what_was_signed(folder):
    """A signed checkpoint that nobody saw is shown before anything new is written."""

    def look(method, _arguments, write):
        if method == "replace":
            raise Stopped
        return write()

    with Opened(folder, look) as log:
        log.append(entries(0, 3))
        with pytest.raises(Stopped):
            log.publish()
    assert (size_of(shown(folder)), size_of(stored(folder).signed_note)) == (0, 3)
    with Opened(folder, go_on) as log:
        log.append(entries(3, 1))
        assert size_of(shown(folder)) == 3


def test_nothing_is_signed_that_does_not_extend_what_was_signed_last(folder):
    """Whatever made the two differ: a second history is never signed, whoever asks."""
    with Opened(folder, go_on) as log:
        log.append(entries(0, 3))
        log.publish()
    other = sign(Checkpoint(origin=ORIGIN, size=3, root_hash=b"\7" * 32))
    with contextlib.closing(sqlite3.connect(folder / "ledger.db", isolation_level=None)) as connection:
        connection.execute("UPDATE log_state SET signed_note = ?", (other,))
    signed = []

    def signing(checkpoint):
        signed.append(checkpoint)
        return sign(checkpoint)

    with Opened(folder, go_on, signing=signing) as log:
        log.append(entries(3, 1))
        with pytest.raises(ProofError, match="consistency of size 3 with size 4: expected old root 0707"):
            log.publish()
    assert signed == []
    assert size_of(shown(folder)) == 3


# What the outside knows


TREE = Checkpoint(origin=ORIGIN, size=3, root_hash=b"\3" * 32)


def compare(*notes, signed=TREE):
    """Hold a log that signed three leaves against what sources answer; a note of None is no answer."""

    def source(number, note):
        def fetch():
            if note is None:
                raise SourceError("asking", expected="an answer", actual="none")
            return note

        return Source(name=f"source {number}", fetch=fetch)

    check_not_restored(
        [source(number, note) for number, note in enumerate(notes)],
        signed=signed,
        root_at=lambda size: bytes([size]) * 32,
        origin=ORIGIN,
        keys=[KEY.verifier],
    )


def note_of(size, root=None):
    return sign(Checkpoint(origin=ORIGIN, size=size, root_hash=bytes([size]) * 32 if root is None else root))


def test_what_the_outside_knows_of_us_is_no_reason_to_stop():
    compare()
    compare(note_of(3))
    compare(note_of(1), note_of(2))


def test_one_source_that_answers_is_enough():
    compare(None, note_of(3))
    compare(note_of(3), b"<html>")


@pytest.mark.parametrize("notes", [(None,), (None, None), (b"<html>", None)])
def test_sources_that_all_keep_silent_stop_the_writer(notes):
    with pytest.raises(SourceError, match="expected one source that answers, got source 0"):
        compare(*notes)


@pytest.mark.parametrize("size", [4, 5, 100])
@pytest.mark.parametrize("place", [0, 1])
def test_any_newer_checkpoint_of_ours_stops_the_writer_whoever_else_answers(size, place):
    notes = [note_of(3), note_of(3)]
    notes[place] = note_of(size)
    with pytest.raises(RestoredError, match=f"expected at most size 3, got size {size}"):
        compare(*notes)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_another_root_for_a_size_that_we_have_stops_the_writer(size):
    with pytest.raises(RestoredError, match=f"root of size {size} that source 1 knows"):
        compare(note_of(3), note_of(size, b"\7" * 32))


def test_a_newer_checkpoint_under_another_key_says_nothing_about_us():
    from cryptography.hazmat.primitives.asymmetric import ed25519

    from ledger.tlog.checkpoint import format_checkpoint
    from ledger.tlog.signed_note import Ed25519NoteSigner, sign_note

    other = Ed25519NoteSigner(ORIGIN, ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)))
    foreign = sign_note(format_checkpoint(Checkpoint(origin=ORIGIN, size=9, root_hash=b"\7" * 32)), [other])
    compare(foreign, note_of(3))
    with pytest.raises(SourceError, match="source 0: signatures of the note"):
        compare(foreign)
