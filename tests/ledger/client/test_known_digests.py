"""Digests that are remembered: what makes a file count as unchanged, and everything that must not."""

import hashlib
import os
import stat
import threading
import time

import pytest

from ledger.bundle import MEDIA_TYPE
from ledger.client import known_digests
from ledger.client.known_digests import MAX_FILES, SETTLED_SECONDS, DigestStore, mounted_as
from ledger.verification.reading import read_revision

LARGE = 300 << 10
"""Above what is read in one piece anyway."""


@pytest.fixture(autouse=True)
def on_a_disk(tmp_path, monkeypatch):
    """Wherever the tests run, let their folder count as a file system that is believed."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text("1 0 8:1 / / rw - ext4 /dev/disk rw\n")
    monkeypatch.setattr(known_digests, "_MOUNTS", mounts)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "weights").write_bytes(b"w" * LARGE)
    (folder / "deep" / "more").write_bytes(b"m" * LARGE)
    (folder / "config.json").write_bytes(b"{}")
    return folder


@pytest.fixture
def store(tmp_path):
    return DigestStore(tmp_path / "data")


def later(seconds=SETTLED_SECONDS + 60):
    """A time at which files that were written just now have been left alone for long enough."""
    return int(time.time()) + seconds


def read(store, model, *, now=None):
    """Read a model with what is remembered; returns the digests, how many files were not read, and the row."""
    known = store.of(model, now=later() if now is None else now)
    manifest, _, _ = read_revision(model, remembered=known)
    row = known.finish()
    return {path: each.sha256 for path, each in manifest.files.items()}, known.used, row


def truth(model):
    """What the digests are, by reading everything."""
    found = (each for each in model.rglob("*") if each.is_file() and not each.is_symlink())
    return {each.relative_to(model).as_posix(): hashlib.sha256(each.read_bytes()).digest() for each in found}


def kept(tmp_path):
    return [
        each
        for each in (tmp_path / "data" / "digests").iterdir()
        if each.suffix == ".json" and each.name[0] != "."
    ]


def test_an_unchanged_file_is_not_read_again_and_the_row_says_so(store, model, monkeypatch):
    found, used, row = read(store, model)
    assert (found, used, row.passed) == (truth(model), 0, True)
    assert row.against == "all were read and hashed; remembered for the next check: 2"
    monkeypatch.setattr(os, "preadv", None)  # whoever reads a large file fails
    found, used, row = read(store, model)
    assert (found, used, row.passed) == (truth(model), 2, None)
    assert row.against.startswith(f"files not read: 2, of {2 * LARGE} bytes, whose digests are remembered")


def test_small_files_are_read_each_time(store, model):
    read(store, model)
    (model / "config.json").write_bytes(b"[]")
    assert read(store, model)[0] == truth(model)


def test_a_large_bundle_is_read_each_time_because_its_bytes_are_needed(store, model):
    (model / "model.sig").write_bytes(b'{"mediaType":"%s"%s}' % (MEDIA_TYPE.encode(), b" " * LARGE))
    read(store, model)
    known = store.of(model, now=later())
    _, bundles, _ = read_revision(model, remembered=known)
    assert ([each.path for each in bundles], known.used) == (["model.sig"], 2)
    assert bundles[0].raw == (model / "model.sig").read_bytes()


def _with_its_mtime_put_back(path):
    before = path.stat()
    path.write_bytes(b"x" * LARGE)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_mtime_ns, path.stat().st_size) == (before.st_mtime_ns, before.st_size)


def _by_another_file(path):
    other, before = path.with_name("other"), path.stat()
    other.write_bytes(b"x" * LARGE)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert path.stat().st_ino != before.st_ino


def _by_a_link(path):
    path.with_name("aside").write_bytes(b"x" * LARGE)
    path.unlink()
    path.symlink_to("aside")


def _by_a_link_to_itself(path):
    path.rename(path.with_name("aside"))
    path.symlink_to("aside")


@pytest.mark.parametrize(
    "change",
    [
        _with_its_mtime_put_back,
        _by_another_file,
        _by_a_link,
        _by_a_link_to_itself,
        lambda path: path.write_bytes(b"x" * (LARGE + 1)),
        lambda path: path.unlink(),
    ],
    ids=["mtime put back", "another inode", "link", "link to itself", "size", "gone"],
)
def test_a_file_that_was_changed_is_hashed_anew(store, model, change):
    read(store, model)
    change(model / "weights")
    found, used, _ = read(store, model)
    assert (found, used) == (truth(model), 1)


def test_what_changed_only_its_ctime_is_hashed_anew(store, model):
    """The kernel alone sets ctime: it is all that tells of a change whose mtime was put back."""
    read(store, model)
    (model / "weights").chmod(0o600)
    assert read(store, model)[1:2] == (1,)


@pytest.mark.parametrize(("age", "used"), [(0, 0), (SETTLED_SECONDS - 2, 0), (SETTLED_SECONDS + 2, 2)])
def test_what_changed_shortly_before_it_was_hashed_is_not_remembered(store, model, age, used):
    """A change in the same tick of the clock would not show."""
    _, _, row = read(store, model, now=later(age))
    assert read(store, model)[1] == used
    assert ("not remembered: 2, changed less than 60 s before" in row.against) == (used == 0)


def test_a_file_from_the_future_is_not_remembered(store, model):
    ahead = later(10_000) * 10**9
    os.utime(model / "weights", ns=(ahead, ahead))
    read(store, model)
    assert read(store, model)[1] == 1


def test_where_the_clock_went_back_nothing_is_believed(store, model):
    read(store, model)
    assert read(store, model, now=later(-1000))[1] == 0


def test_a_folder_by_way_of_a_link_is_what_the_link_leads_to_now(store, model, tmp_path):
    second = tmp_path / "second"
    second.mkdir()
    (second / "weights").write_bytes(b"x" * LARGE)
    before = (model / "weights").stat()
    os.utime(second / "weights", ns=(before.st_atime_ns, before.st_mtime_ns))
    link = tmp_path / "link"
    link.symlink_to(model)
    read(store, model)
    assert read(store, link)[1] == 2, "the same folder"
    link.unlink()
    link.symlink_to(second)
    found, used, _ = read(store, link)
    assert (found, used) == (truth(second), 0)


def test_one_file_is_remembered_as_a_folder_is(store, model):
    read(store, model / "weights")
    assert read(store, model / "weights")[1] == 1
    assert read(store, model)[1] == 0, "another model"


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"<html>",
        lambda data: data[:-10],
        lambda data: data.replace(b"config", b"weight"),
        lambda data: data.replace(hashlib.sha256(b"w" * LARGE).hexdigest().encode(), b"0" * 64),
        lambda data: data + b" " * (5 << 20),
    ],
    ids=["empty", "html", "short", "other name", "other digest", "endless"],
)
def test_what_is_damaged_is_hashed_anew_and_replaced(store, model, tmp_path, damage):
    read(store, model)
    (path,) = kept(tmp_path)
    before = path.read_bytes()
    path.write_bytes(damage(before))
    expected = 2 if damage(before) == before else 0
    found, used, _ = read(store, model)
    assert (found, used) == (truth(model), expected)
    assert path.read_bytes() == before


def test_a_record_of_another_model_is_not_believed(store, model, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "weights").write_bytes(b"o" * LARGE)
    read(store, model)
    (mine,) = kept(tmp_path)
    read(store, other)
    (theirs,) = set(kept(tmp_path)) - {mine}
    theirs.write_bytes(mine.read_bytes())
    assert read(store, other)[:2] == (truth(other), 0)


def test_the_store_is_the_users_own(store, model, tmp_path):
    read(store, model)
    assert [stat.S_IMODE(each.stat().st_mode) for each in kept(tmp_path)] == [0o600]
    assert stat.S_IMODE((tmp_path / "data" / "digests").stat().st_mode) == 0o700


def test_a_store_that_cannot_be_written_costs_nothing_but_time(model, tmp_path):
    (tmp_path / "data").write_bytes(b"a file in the place of the folder")
    found, used, row = read(DigestStore(tmp_path / "data"), model)
    assert (found, used) == (truth(model), 0)
    assert "the digests were not kept (remembered digests in" in row.against


def test_what_is_gone_is_forgotten_and_what_is_the_same_is_not_written_again(store, model, tmp_path):
    read(store, model)
    (path,) = kept(tmp_path)
    before = path.stat().st_ino, path.read_bytes()
    read(store, model)
    assert (path.stat().st_ino, path.read_bytes()) == before
    (model / "weights").unlink()
    read(store, model)
    assert b"weights" not in path.read_bytes()


def test_of_more_files_than_fit_the_largest_are_remembered(store, model, tmp_path, monkeypatch):
    monkeypatch.setattr(known_digests, "MAX_FILES", 1)
    (model / "deep" / "more").write_bytes(b"m" * (LARGE + 1))
    read(store, model)
    _, used, _ = read(store, model)
    (path,) = kept(tmp_path)
    assert (used, b"deep/more" in path.read_bytes()) == (1, True)
    assert MAX_FILES == 4096


def test_of_longer_paths_than_fit_the_largest_files_are_remembered(store, model, monkeypatch):
    """Otherwise a record would be written that is never read."""
    monkeypatch.setattr(known_digests, "_MAX_BYTES", 600)
    (model / "weights").write_bytes(b"w" * (LARGE + 1))
    read(store, model)
    assert read(store, model)[1] == 1


def test_of_more_models_than_fit_those_that_were_written_longest_ago_go(store, tmp_path, monkeypatch):
    monkeypatch.setattr(known_digests, "MAX_MODELS", 2)
    models = []
    for each in range(3):
        folder = tmp_path / f"model-{each}"
        folder.mkdir()
        (folder / "weights").write_bytes(b"%d" % each * LARGE)
        models.append(folder)
    for age, folder in zip((300, 200), models, strict=False):
        seen = set(kept(tmp_path)) if (tmp_path / "data").exists() else set()
        read(store, folder)
        (made,) = set(kept(tmp_path)) - seen
        os.utime(made, (time.time() - age,) * 2)
    read(store, models[2])
    assert [read(store, each)[1] for each in models[1:]] == [1, 1]
    assert len(kept(tmp_path)) == 2


def test_writers_at_the_same_time_leave_something_whole(store, model, tmp_path):
    """Each with files of its own to remember, into one record, while others read."""
    failed = []

    def work():
        try:
            for _ in range(10):
                found, _, row = read(DigestStore(tmp_path / "data"), model)
                assert found == truth(model)
                assert "not kept" not in row.against
        except BaseException as error:
            failed.append(error)
            raise

    def damage():
        for number in range(40):
            for each in kept(tmp_path) if (tmp_path / "data" / "digests").exists() else ():
                each.write_bytes(b"x" * number)

    threads = [threading.Thread(target=each) for each in (work, work, work, damage)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failed
    read(store, model)
    assert read(store, model)[1] == 2


# Where ctime shows each change


@pytest.mark.parametrize("kind", ["tmpfs", "nfs4", "fuse.sshfs", "vfat", "9p"])
def test_where_ctime_does_not_show_each_change_nothing_is_remembered(store, model, tmp_path, kind):
    (tmp_path / "mountinfo").write_text(f"1 0 8:1 / / rw - {kind} x rw\n")
    _, _, row = read(store, model)
    assert read(store, model)[1] == 0
    assert row.against.endswith(
        f"on {kind} nothing is remembered, because there ctime does not show each change"
    )


def test_on_a_system_without_mountinfo_nothing_is_remembered(store, model, tmp_path):
    (tmp_path / "mountinfo").unlink()
    read(store, model)
    assert read(store, model)[1] == 0


MOUNTS = rb"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:20 / /mnt rw - nfs4 server:/ rw
24 23 8:2 / /mnt/a\040b rw master:2 - xfs /dev/sdb rw
25 22 0:9 / /data rw - ext4 /dev/sdc rw
26 25 0:9 / /data rw - tmpfs none rw
no line of this file
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/m", "ext4"),
        ("/mnt", "nfs4"),
        ("/mnt/a b/m", "xfs"),
        ("/mnt/a bc", "nfs4"),
        ("/mntx", "ext4"),
        ("/data/m", "tmpfs"),
    ],
)
def test_the_last_mount_of_the_longest_path_counts(folder, kind):
    assert mounted_as(MOUNTS, folder) == kind


def test_without_any_mount_nothing_is_known():
    assert mounted_as(b"", "/") == "an unknown file system"
