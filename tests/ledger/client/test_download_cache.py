"""What a download that did not pass takes out of the cache: what it brought, and nothing that others brought or keep there."""

import errno
import fcntl
import os

import pytest

from ledger.client import download_cache
from ledger.client.download_cache import LOCK, Wanted, named_if_checked

C1, C2 = "1" * 40, "2" * 40
MAIN = Wanted(revision="main")


class AwayError(Exception):
    """The check did not take place."""


@pytest.fixture
def home(tmp_path):
    """A model's part of a cache, in which somebody has the first commit, of branch main."""
    home = tmp_path / "cache/models--acme--tiny"
    bring(home, C1)
    return home


def bring(home, commit, *, ref="main", names=("weights",)):
    """Do what the library does when it downloads."""
    for name in names:
        (home / "blobs").mkdir(parents=True, exist_ok=True)
        (home / "blobs" / (commit[:1] + name)).write_bytes(commit.encode() + name.encode())
        (home / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
        (home / "snapshots" / commit / name).symlink_to(home / "blobs" / (commit[:1] + name))
    if ref:
        (home / "refs").mkdir(exist_ok=True)
        (home / "refs" / ref).write_text(commit)


def fail(home, change, *, wanted=MAIN, came=None):
    """Have a checked download fail, while which the cache changes. Returns what is said beside the error."""

    def download():
        with named_if_checked(home, wanted) as say:
            change()
            if came:
                say(came)
            raise AwayError

    with pytest.raises(AwayError) as error:
        download()
    return getattr(error.value, "__notes__", [])


def has(home, commit, name="weights"):
    return (home / "snapshots" / commit / name).exists()


def main(home):
    return (home / "refs/main").read_text()


def test_what_it_brought_goes_and_the_branch_leads_where_it_led(home):
    assert fail(home, lambda: bring(home, C2), came=C2) == []
    assert (has(home, C1), (home / "snapshots" / C2).exists(), main(home)) == (True, False, C1)
    assert (home / "blobs/2weights").exists(), "for the next try"


def test_of_a_call_that_ended_before_it_said_which_commit_came_it_is_that_of_its_branch(home):
    fail(home, lambda: bring(home, C2))
    assert (has(home, C2), main(home)) == (False, C1)


@pytest.mark.parametrize("wanted", [MAIN, Wanted(revision=C1, commit=C1)], ids=["returned", "asked for"])
def test_a_commit_that_another_program_brought_meanwhile_stays_and_so_does_its_branch(home, wanted):
    def both():
        bring(home, C1, ref=None, names=["ours"])
        bring(home, C2)

    fail(home, both, wanted=wanted, came=C1 if wanted is MAIN else None)
    assert (has(home, C2), main(home)) == (True, C2)
    assert (has(home, C1), has(home, C1, "ours")) == (True, False)


def test_with_a_folder_of_ones_own_what_came_into_the_cache_is_somebody_elses(home, tmp_path):
    for wanted in (
        Wanted(revision="main", own=tmp_path / "mine"),
        Wanted(revision=C2, commit=C2, own=tmp_path / "mine"),
    ):
        fail(home, lambda: bring(home, C2, names=["weights"] if not has(home, C2) else ()), wanted=wanted)
        assert (has(home, C2), main(home)) == (True, C2)


def test_with_a_folder_of_ones_own_the_branch_goes_that_the_library_notes_there(home, tmp_path):
    fail(
        home,
        lambda: (home / "refs/main").write_text(C2),
        wanted=Wanted(revision="main", own=tmp_path / "mine"),
    )
    assert main(home) == C1


@pytest.mark.parametrize("child", ["snapshots", "refs"])
def test_a_child_that_is_a_link_to_a_larger_disk_stays_and_is_walked_through(home, tmp_path, child):
    (home / child).rename(tmp_path / "disk")
    (home / child).symlink_to(tmp_path / "disk")
    assert fail(home, lambda: bring(home, C2), came=C2) == []
    assert (home / child).is_symlink()
    assert (has(home, C1), has(home, C2), main(home)) == (True, False, C1)


def test_a_child_that_is_a_link_stays_also_when_all_below_it_goes(tmp_path):
    home = tmp_path / "cache/models--acme--tiny"
    for child in ("refs", "snapshots"):
        (tmp_path / child).mkdir()
        home.mkdir(parents=True, exist_ok=True)
        (home / child).symlink_to(tmp_path / child)
    assert fail(home, lambda: bring(home, C2), came=C2) == []
    assert [list((home / child).iterdir()) for child in ("refs", "snapshots")] == [[], []]


def test_nothing_is_removed_outside_of_the_cache_by_a_folder_that_becomes_a_link(home, tmp_path, monkeypatch):
    """Somebody exchanges it between the list of names and their removal."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "weights").write_bytes(b"precious")
    listed = []
    names = download_cache._names

    def then(of):
        listed.append(names(of))
        if len(listed) == 2:
            (home / "snapshots" / C2).rename(tmp_path / "gone")
            (home / "snapshots" / C2).symlink_to(victim)
        return listed[-1]

    monkeypatch.setattr(download_cache, "_names", then)
    (note,) = fail(home, lambda: bring(home, C2), came=C2)
    assert note.startswith(f"What was not checked is still in {home}: ")
    assert (victim / "weights").read_bytes() == b"precious"
    assert main(home) == C1, "the rest goes all the same"


@pytest.mark.parametrize("stuck", ["a", "m", "z"])
def test_a_name_that_cannot_be_removed_keeps_none_of_the_others(home, monkeypatch, stuck):
    unlink = os.unlink

    def refuse(path, *, dir_fd=None):
        if path == stuck:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", refuse)
    notes = fail(home, lambda: bring(home, C2, names="amz"), came=C2)
    assert notes == [f"What was not checked is still in {home}: Permission denied"]
    assert [each.name for each in (home / "snapshots" / C2).iterdir()] == [stuck]
    assert main(home) == C1


def test_a_branch_with_a_name_as_long_as_can_be_leads_back_too(home):
    name = "b" * 255
    (home / "refs" / name).write_text(C1)
    assert fail(home, lambda: bring(home, C2, ref=name), wanted=Wanted(revision=name), came=C2) == []
    assert (home / "refs" / name).read_text() == C1
    assert sorted(each.name for each in (home / "refs").iterdir()) == [name, "main"]


def test_no_name_that_a_server_gives_a_file_is_our_lock(home):
    """The library locks `<etag>.lock` in the same folder; waiting for our own lock it would never end."""
    locks = home.parent / ".locks" / home.name
    with named_if_checked(home, MAIN):
        ours = [each for each in locks.rglob("*") if each.is_file()]
        assert ours == [locks / LOCK]
        assert not LOCK.endswith(".lock")
        with (locks / "hubledger.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_lock_of_another_user_is_waited_for(home, monkeypatch):
    """Of a cache that several users share, where only one of them can write to it."""
    with named_if_checked(home, MAIN):
        pass
    really = os.open

    def refuse(path, flags, *more, **options):
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return really(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", refuse)
    with named_if_checked(home, MAIN):
        descriptor = really(home.parent / ".locks" / home.name / LOCK, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)


def without_locks(monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_a_disk_without_locks_is_said(home, monkeypatch):
    without_locks(monkeypatch)
    with (
        pytest.warns(RuntimeWarning, match="No lock in .*: No locks available. Of several checked downloads"),
        named_if_checked(home, MAIN),
    ):
        pass


def test_where_this_user_brings_nothing_no_lock_is_missed(home, monkeypatch):
    """A warning would be an error here."""
    without_locks(monkeypatch)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    with named_if_checked(home, MAIN):
        pass


def test_a_link_that_leads_to_itself_goes_with_the_others(home):
    def both():
        bring(home, C2)
        (home / "snapshots" / C2 / "loop").symlink_to("loop")

    assert fail(home, both, came=C2) == []
    assert not (home / "snapshots" / C2).exists()
