"""What is returned is what was checked: the files of a download are looked at again under the names that they are loaded by."""

import errno
import os
import pathlib

import pytest

from ledger.client.download_files import real_files
from ledger.errors import SourceError
from ledger.verification import read_content
from ledger.verification.second_look import look_again

GOOD = b"good"
LINK = os.link


@pytest.fixture(params=["hard links", "copies"])
def way(request, monkeypatch):
    """A disk that has hard links, and one that has none."""
    if request.param == "copies":

        def link(*_, **__):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", link)


@pytest.fixture(params=["cache", "local_dir"])
def place(request, tmp_path, way):
    """The folder that is returned, the file that its `weights` stand for, and whether it is in the cache."""
    if request.param == "local_dir":
        folder = tmp_path / "mine"
        folder.mkdir()
        (folder / "weights").write_bytes(GOOD)
        return folder, folder / "weights", False
    home = tmp_path / "models--acme--tiny"
    folder = home / "snapshots/c1"
    folder.mkdir(parents=True)
    (home / "blobs").mkdir()
    (home / "blobs/etag").write_bytes(GOOD)
    (folder / "weights").symlink_to("../../blobs/etag")
    return folder, home / "blobs/etag", True


def checked(place, change, *, names=None):
    """Check a download, during which somebody changes it."""
    folder, blob, in_cache = place
    with real_files(folder, names, in_cache=in_cache) as real:
        seen = read_content(real).seen
        change(folder, blob)
        look_again(seen)


def rename(folder, blob, data=b"evil"):
    """As the library puts a file to its place that `force_download` brought in another process."""
    other = folder.parent / "etag.incomplete"
    other.write_bytes(data)
    other.replace(blob)


def rename_with_the_old_times(folder, blob):
    before = blob.stat()
    rename(folder, blob)
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))


def make_a_link(folder, blob):
    (folder.parent / "elsewhere").write_bytes(GOOD)
    (folder / "weights").unlink()
    (folder / "weights").symlink_to(folder.parent / "elsewhere")


def remove(folder, blob):
    blob.unlink()


def write_in_place_with_the_old_times(folder, blob):
    before = blob.stat()
    blob.write_bytes(b"evil")
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change", [rename, rename_with_the_old_times, make_a_link, remove, write_in_place_with_the_old_times]
)
@pytest.mark.parametrize("names", [None, [pathlib.Path("weights")]], ids=["all", "one"])
def test_what_took_the_place_of_a_file_is_no_result(place, change, names):
    with pytest.raises(SourceError):
        checked(place, change, names=names)


def test_it_says_which_file(place):
    with pytest.raises(SourceError) as refused:
        checked(place, rename)
    assert str(refused.value).startswith(
        f"second look at {place[0] / 'weights'}: expected what was there when it was read, got another file: "
    )


def test_what_was_added_is_no_result(place):
    with pytest.raises(SourceError, match="got names that were added or removed: it changed meanwhile"):
        checked(place, lambda folder, _: (folder / "modeling.py").write_bytes(b"evil"))


def test_of_one_file_it_does_not_matter_what_came_beside_it(place):
    checked(place, lambda folder, _: (folder / "more").write_bytes(b"more"), names=[pathlib.Path("weights")])


def test_a_second_name_or_the_same_bytes_again_are_no_change(place):
    """As when two processes download one model."""
    checked(place, lambda _, blob: LINK(blob, place[0].parent / "second"))
    checked(place, lambda folder, blob: rename(folder, blob, GOOD))


def test_a_refusal_is_not_replaced_by_what_changed_meanwhile(place):

    def refuse(folder, blob):
        rename(folder, blob)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        checked(place, refuse)


def test_a_link_that_leads_to_itself_is_a_link_that_leads_elsewhere(tmp_path):
    folder = tmp_path / "models--acme--tiny/snapshots/c1"
    folder.mkdir(parents=True)
    (folder / "weights").symlink_to("weights")
    with pytest.raises(SourceError, match="expected a file in "), real_files(folder, None, in_cache=True):
        pass
