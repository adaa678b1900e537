"""The local log: what is durable, what is shown, and what a restart does."""

import shutil
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from ledger.errors import (
    CorruptError,
    HeadMovedError,
    LimitError,
    MalformedError,
    RestoredError,
    SourceError,
    WriterLockedError,
)
from ledger.log import Admitted, Committed, Submission
from ledger.log.audit import audit
from ledger.log.fetch import fetch_from_folder
from ledger.log.freshness import from_file
from ledger.log.local import LocalLog
from ledger.log.local_config import LocalLogConfig
from ledger.log.lock import writer_lock
from ledger.log.published import PublishedLog
from ledger.storage import Head, LogState
from ledger.storage.directory import DirectoryObjects
from ledger.storage.sqlite import SqliteCommits
from ledger.tlog import merkle
from ledger.tlog.checkpoint import Checkpoint, format_checkpoint
from ledger.tlog.signed_note import Ed25519NoteSigner, sign_note
from tests import reference

ORIGIN = "log.example/models"
KEY = Ed25519NoteSigner(ORIGIN, ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


def sign(checkpoint):
    return sign_note(format_checkpoint(checkpoint), [KEY])


def create(folder):
    note = sign(Checkpoint(origin=ORIGIN, size=0, root_hash=merkle.EMPTY_ROOT))
    state = LogState(
        size=0,
        root=merkle.EMPTY_ROOT,
        frontier=(),
        target_size=0,
        target_root=merkle.EMPTY_ROOT,
        signed_note=note,
        published_size=0,
    )
    SqliteCommits.create(folder / "ledger.db", state).close()
    DirectoryObjects(folder / "log").replace("checkpoint", note)


class Opened:
    """A log of a folder, with no real clock: pauses only advance it."""

    def __init__(self, folder, **settings):
        self.now = 0.0
        self.commits = SqliteCommits(folder / "ledger.db")
        config = LocalLogConfig(origin=ORIGIN, keys=[KEY.verifier], sign=sign, **settings)
        self.log = LocalLog(
            self.commits, DirectoryObjects(folder / "log"), config, clock=lambda: self.now, pause=self.advance
        )

    def advance(self, seconds):
        self.now += seconds

    def __enter__(self):
        return self.log

    def __exit__(self, *_):
        self.commits.close()


@pytest.fixture
def folder(tmp_path):
    create(tmp_path)
    return tmp_path


def raw(*entries):
    return [Submission(entry=entry) for entry in entries]


def entries_of(start, end):
    return [b"entry %d" % i for i in range(start, end)]


def opened(folder):
    return PublishedLog(fetch_from_folder(folder / "log"), origin=ORIGIN, keys=[KEY.verifier])


def audited(folder):
    log = opened(folder)
    return audit(lambda: log, log.checkpoint(), workers=1)


def test_a_new_log_shows_size_zero(folder):
    shown = opened(folder).checkpoint().checkpoint
    assert (shown.size, shown.root_hash) == (0, merkle.EMPTY_ROOT)
    assert audited(folder).entries == 0


def test_durable_is_not_yet_shown_and_publishing_shows_it(folder):
    with Opened(folder) as log:
        answers = log.append(raw(b"a", b"b", b"c"))
        assert answers == [Committed(leaf_index=0), Committed(leaf_index=1), Committed(leaf_index=2)]
        assert opened(folder).checkpoint().checkpoint.size == 0
        assert list(log.read(0, 3)) == [b"a", b"b", b"c"]
        shown = log.publish().checkpoint
    assert shown.root_hash == reference.mth([b"a", b"b", b"c"])
    assert opened(folder).checkpoint().checkpoint == shown


@pytest.mark.parametrize(
    "sizes", [(1,), (255, 1, 1), (256,), (257, 1000), (1, 254, 1, 255, 1, 3), (65_535, 1, 1), (70_000,)]
)
def test_every_growth_gives_a_log_that_audits(folder, sizes):
    """After each publication the roots, tiles and bundles are right and no partial object outlives its full one."""
    size = 0
    with Opened(folder) as log:
        for step in sizes:
            log.append(raw(*entries_of(size, size + step)))
            size += step
            log.publish()
            if size < 5000:
                assert audited(folder).checkpoint.checkpoint.root_hash == reference.mth(entries_of(0, size))
    assert audited(folder).entries == size
    full = [p for p in (folder / "log").rglob("*.p") if (p.parent / p.name.removesuffix(".p")).exists()]
    assert full == []


def test_a_log_that_is_closed_goes_on_where_it_was(folder):
    for start in range(0, 700, 70):
        with Opened(folder) as log:
            log.append(raw(*entries_of(start, start + 40)))
            log.publish()
            log.append(raw(*entries_of(start + 40, start + 70)))
    with Opened(folder) as log:
        assert list(log.read(0, 700)) == entries_of(0, 700)
        assert log.publish().checkpoint.root_hash == reference.mth(entries_of(0, 700))
    assert audited(folder).entries == 700


def test_proofs_from_the_published_files_verify(folder):
    with Opened(folder) as log:
        log.append(raw(*entries_of(0, 600)))
        old = log.publish().checkpoint
        log.append(raw(*entries_of(600, 1000)))
        new = log.publish().checkpoint
        for index in (0, 255, 256, 599, 999):
            merkle.verify_inclusion(
                merkle.leaf_hash(b"entry %d" % index),
                index=index,
                size=1000,
                proof=log.prove_inclusion(index, 1000),
                root=new.root_hash,
            )
        merkle.verify_consistency(
            old_size=600,
            old_root=old.root_hash,
            new_size=1000,
            new_root=new.root_hash,
            proof=log.prove_consistency(600, 1000),
        )


def test_publishing_waits_for_its_interval(folder):
    opened_log = Opened(folder, publish_interval=5.0)
    with opened_log as log:
        log.append(raw(b"a"))
        log.publish()
        log.append(raw(b"b"))
        log.publish()
        assert opened_log.now == 5.0
        log.publish()  # nothing new: no wait, no new signature
        assert opened_log.now == 5.0


def test_an_interval_under_100_ms_is_refused():
    with pytest.raises(LimitError, match=r"publish_interval: expected at least 0.1 s, got 0.05 s"):
        LocalLogConfig(origin=ORIGIN, keys=[], sign=sign, publish_interval=0.05)


def test_an_entry_that_is_too_long_is_refused_and_its_neighbours_are_not(folder):
    with Opened(folder) as log:
        first, second, third = log.append(raw(b"a", bytes(65_536), b"c"))
        assert (first, third) == (Committed(leaf_index=0), Committed(leaf_index=1))
        assert second.finding == "entry: expected at most 65535 bytes, got 65536 bytes"
        assert log.append(raw(bytes(65_535))) == [Committed(leaf_index=2)]
        log.publish()
    assert audited(folder).entries == 3


def chained(name, sequence):
    """A submission that is admitted only as number ``sequence`` of a history."""

    def admit(view, leaf_index):
        head = view.heads.get(name)
        if (head.sequence + 1 if head else 0) != sequence:
            raise HeadMovedError("head")
        return Admitted(
            events=[b"%016d" % leaf_index],
            heads=[(name, Head(sequence=sequence, statement_sha256=bytes(32), state=b""))],
        )

    return Submission(entry=b"%d" % sequence, histories=[name], admit=admit)


def test_admission_sees_what_came_before_it_in_its_batch(folder):
    with Opened(folder) as log:
        one, again, two = log.append([chained("name:m", 0), chained("name:m", 0), chained("name:m", 1)])
        assert (one, two) == (Committed(leaf_index=0), Committed(leaf_index=1))
        assert isinstance(again, HeadMovedError)
    with Opened(folder) as log:
        assert log.lookup([b"1"], ["name:m"])[1]["name:m"].sequence == 1


def test_racing_writers_get_each_place_once(folder):
    """Of eight threads that all want to be number 0, one is; every answered entry is there."""
    with Opened(folder) as log:
        answers = []

        def write():
            for number in range(10):
                answers.extend(log.append([chained("name:m", number), Submission(entry=b"raw")]))

        threads = [threading.Thread(target=write) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        committed = sorted(answer.leaf_index for answer in answers if isinstance(answer, Committed))
        assert committed == list(range(log.size))
        assert log.size == 80 + 10
        log.publish()
    assert audited(folder).entries == 90


def test_one_writer_a_directory(tmp_path):
    with writer_lock(tmp_path / "lock"), pytest.raises(WriterLockedError, match="expected no other writer"):
        with writer_lock(tmp_path / "lock"):
            pass
    with writer_lock(tmp_path / "lock"):
        pass


# A restored backup


def test_a_copied_back_directory_refuses_to_write(folder, tmp_path_factory):
    """The newest checkpoint is kept elsewhere; the directory goes back to yesterday's copy."""
    with Opened(folder) as log:
        log.append(raw(*entries_of(0, 10)))
        log.publish()
    copy = tmp_path_factory.mktemp("copy") / "ledger"
    shutil.copytree(folder, copy)
    with Opened(folder) as log:
        log.append(raw(b"shown to the world"))
        log.publish()
    sources = [from_file(folder / "log/checkpoint")]
    with (
        Opened(copy, sources=sources) as log,
        pytest.raises(RestoredError, match="expected at most size 10, got size 11"),
    ):
        log.append(raw(b"another history"))
    with Opened(copy, sources=sources) as log, pytest.raises(RestoredError):
        log.publish()
    assert opened(copy).checkpoint().checkpoint.size == 10


def test_a_restored_commit_store_beside_newer_files_refuses_to_write(folder, tmp_path):
    with Opened(folder) as log:
        log.append(raw(b"a"))
        log.publish()
    shutil.copy(folder / "ledger.db", tmp_path / "old.db")
    with Opened(folder) as log:
        log.append(raw(b"b"))
        log.publish()
    for name in ("ledger.db-wal", "ledger.db-shm"):
        (folder / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "old.db", folder / "ledger.db")
    with Opened(folder) as log, pytest.raises(RestoredError, match="published checkpoint of this directory"):
        log.append(raw(b"c"))


def test_a_fork_at_the_same_size_is_noticed(folder, tmp_path):
    note = sign(Checkpoint(origin=ORIGIN, size=1, root_hash=merkle.leaf_hash(b"other")))
    (tmp_path / "kept").write_bytes(note)
    with Opened(folder) as log:
        log.append(raw(b"a"))
        log.publish()
    with Opened(folder, sources=[from_file(tmp_path / "kept")]) as log:
        with pytest.raises(RestoredError, match="root of size 1"):
            log.append(raw(b"b"))


def test_silent_sources_refuse_unless_started_unchecked(folder, tmp_path):
    sources = [from_file(tmp_path / "missing")]
    with Opened(folder, sources=sources) as log, pytest.raises(SourceError, match="--start-unchecked"):
        log.append(raw(b"a"))
    with Opened(folder, sources=sources, start_unchecked=True) as log:
        assert log.append(raw(b"a")) == [Committed(leaf_index=0)]


# Damage


def grown(folder, size=600):
    with Opened(folder) as log:
        log.append(raw(*entries_of(0, size)))
        log.publish()


@pytest.mark.parametrize("name", ["tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/002.p/88"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_right_edge_refuses_to_open(folder, name, damage):
    grown(folder)
    path = folder / "log" / name
    data = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if damage == "truncate" else bytes([data[0] ^ 1]) + data[1:])
    with pytest.raises((CorruptError, MalformedError), match="right edge of the log"):
        Opened(folder)


@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/001", "tile/entries/001"])
def test_the_audit_names_a_damaged_full_object(folder, name):
    grown(folder)
    path = folder / "log" / name
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptError, match=name.replace("entries", "0")):
        audited(folder)


def test_a_damaged_checkpoint_is_written_again_from_the_store(folder, caplog):
    grown(folder)
    path = folder / "log/checkpoint"
    note = path.read_bytes()
    path.write_bytes(note[:-7])
    with Opened(folder) as log:
        log.append(raw(b"next"))
        assert "the published checkpoint is damaged" in caplog.text
        assert path.read_bytes() == note
        log.publish()
    assert audited(folder).entries == 601


def test_a_truncated_commit_store_is_reported(folder):
    grown(folder)
    path = folder / "ledger.db"
    path.write_bytes(path.read_bytes()[:5000])
    (folder / "ledger.db-wal").unlink(missing_ok=True)
    with pytest.raises(CorruptError):
        Opened(folder)
