"""Objects in a directory: whole or absent, and never written through what somebody laid there."""

import os
import stat

import pytest

from ledger.errors import CorruptError, MalformedError, WriteError
from ledger.storage.directory import DirectoryObjects, write_file_durably


def test_a_pipe_is_no_object_and_nobody_waits_for_its_other_end(tmp_path):
    os.mkfifo(tmp_path / "checkpoint")
    with pytest.raises(
        CorruptError, match="reading object checkpoint: expected readable bytes, got not a regular file"
    ):
        DirectoryObjects(tmp_path).get("checkpoint", max_bytes=10)


@pytest.mark.parametrize("name", ["", "..", "../x", "a//b", "/etc/passwd", "a/../b", ".", "a\0b", "..hidden"])
def test_a_name_stays_inside_its_folder(tmp_path, name):
    with pytest.raises(MalformedError, match="object name: expected a relative path inside the store"):
        DirectoryObjects(tmp_path).get(name, max_bytes=10)


def test_a_secret_is_not_written_into_a_file_that_lay_there(tmp_path):
    """Whoever lays a temporary file with open permissions in advance, and keeps it open, reads nothing."""
    laid = tmp_path / ".tmp-secret"
    laid.write_bytes(b"")
    laid.chmod(0o666)
    with laid.open("rb") as kept:
        write_file_durably(tmp_path / "secret", b"key", mode=0o600)
        assert kept.read() == b""
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_a_link_laid_as_temporary_file_is_not_followed(tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (tmp_path / ".tmp-out").symlink_to(target)
    write_file_durably(tmp_path / "out", b"new", mode=0o644)
    assert (target.read_bytes(), (tmp_path / "out").read_bytes()) == (b"precious", b"new")


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_only_a_regular_file_is_replaced(tmp_path, kind):
    place = tmp_path / "out"
    if kind == "link":
        place.symlink_to(tmp_path / "elsewhere")
    elif kind == "folder":
        place.mkdir()
    else:
        os.mkfifo(place)
    with pytest.raises(
        WriteError, match=r"expected a new name, or a regular file to replace, got (a link|something else)"
    ):
        write_file_durably(place, b"new", mode=0o644)
    assert list(tmp_path.iterdir()) == [place]
