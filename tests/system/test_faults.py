"""Full, read-only, damaged and copied-back directories: nothing answered is lost, and a refusal changes nothing."""

import contextlib
import hashlib
import pathlib
import shutil
import subprocess

import pytest

from tests.conftest import missing
from tests.fakes.web import showing


@pytest.fixture
def record(hubledger, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights").write_bytes(b"weights")

    def call(ledger, revision, *more):
        return hubledger("record", ledger, "acme/tiny", "--revision", revision, "--model", model, *more)

    return call


@pytest.fixture
def ledger(hubledger, record, tmp_path):
    """A ledger with two recorded events."""
    folder = tmp_path / "ledger"
    assert hubledger("init", folder, "--origin", "log.example/models", "--hub", "hub.example")[0] == 0
    for revision in ("r1", "r2"):
        assert record(folder, revision)[0] == 0
    return folder


def tree(folder):
    """The digest of every file but SQLite's shared memory, which readers touch too."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


def mounted(*command):
    done = subprocess.run(["mount", *map(str, command)], capture_output=True)
    if done.returncode:
        missing(f"mount is not allowed here: {done.stderr.decode().strip()}")


@contextlib.contextmanager
def small_disk(folder, size):
    folder.mkdir()
    mounted("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_refuses_and_loses_nothing_that_was_answered(hubledger, record, tmp_path):
    with small_disk(tmp_path / "disk", "8m") as disk:
        ledger = disk / "ledger"
        assert hubledger("init", ledger, "--origin", "log.example/models", "--hub", "hub.example")[0] == 0
        assert record(ledger, "r1")[0] == 0
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        code, _, err = record(ledger, "r2")
        assert code == 63, err
        assert "next" in err or "Free space" in err
        filler.unlink()
        assert record(ledger, "r2")[0] == 0
        code, out, _ = hubledger("history", ledger, "acme/tiny", "--json")
        assert code == 0
        assert out.count('"revision"') == 2
        assert hubledger("log", "audit", ledger)[0] == 0


def test_a_read_only_directory_is_refused_and_still_read(hubledger, record, ledger):
    mounted("--bind", ledger, ledger)
    try:
        mounted("-o", "remount,ro,bind", ledger)
        before = tree(ledger)
        code, _, err = record(ledger, "r3")
        assert (code, tree(ledger)) == (63, before)
        assert "opening lock for writing: expected a writable directory, got Read-only file system" in err
        assert "Make the directory writable" in err
        assert hubledger("history", ledger, "acme/tiny")[0] == 0
    finally:
        subprocess.run(["umount", "-l", str(ledger)], check=True)
    assert record(ledger, "r3")[0] == 0


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


PARTS = ["log/tile/0/000.p/3", "log/tile/entries/000.p/3"]


@pytest.mark.parametrize("damage", [flip, cut])
@pytest.mark.parametrize("part", PARTS)
def test_a_damaged_tile_or_bundle_stops_the_writer_and_the_audit(hubledger, record, ledger, part, damage):
    damage(ledger / part)
    before = tree(ledger)
    code, _, err = record(ledger, "r3")
    assert (code, tree(ledger)) == (61, before)
    assert "right edge of the log at size 3" in err
    assert "Restore the newest copy of this directory; do not delete ledger.db" in err
    code, _, err = hubledger("log", "audit", ledger)
    assert code in (42, 61), err
    assert "000" in err


@pytest.mark.parametrize("damage", [flip, cut])
def test_a_damaged_checkpoint_is_shown_again_from_the_store(hubledger, record, ledger, damage):
    whole = (ledger / "log/checkpoint").read_bytes()
    damage(ledger / "log/checkpoint")
    assert hubledger("log", "audit", ledger)[0] != 0
    assert record(ledger, "r3")[0] == 0
    assert (ledger / "log/checkpoint").read_bytes().split(b"\n")[1] == b"4" != whole.split(b"\n")[1]
    assert hubledger("log", "audit", ledger)[0] == 0


@pytest.mark.parametrize("name", ["ledger.db", "index.db"])
def test_a_damaged_sqlite_file_is_reported(hubledger, record, ledger, name):
    path = ledger / name
    path.write_bytes(b"not a database" * 100)
    for suffix in ("-wal", "-shm"):
        path.with_name(name + suffix).unlink(missing_ok=True)
    before = tree(ledger)
    code, _, err = record(ledger, "r3")
    assert (code, tree(ledger)) == (61, before)
    assert "file is not a database" in err
    code, _, err = hubledger("log", "audit", ledger)
    assert code == 61
    if name == "index.db":
        assert "index rebuild" in err
        assert hubledger("index", "rebuild", ledger)[0] == 0
        assert hubledger("index", "check", ledger)[0] == 0
        assert record(ledger, "r3")[0] == 0


@pytest.fixture
def copied_back(record, ledger, tmp_path):
    """A directory put back from an old copy, and the checkpoint that its log had reached."""
    old = tmp_path / "old"
    shutil.copytree(ledger, old)
    assert record(ledger, "r3")[0] == 0
    newest = tmp_path / "newest"
    shutil.copytree(ledger / "log", newest)
    shutil.rmtree(ledger)
    old.rename(ledger)
    return ledger, newest


def test_a_copied_back_directory_is_refused_by_a_kept_checkpoint(hubledger, record, copied_back):
    ledger, newest = copied_back
    before = tree(ledger)
    code, _, err = record(ledger, "r4", "--not-older-than", newest / "checkpoint")
    assert (code, tree(ledger)) == (62, before)
    assert "size 4" in err
    assert "size 3" in err


def test_a_copied_back_directory_is_refused_by_the_public_address(record, copied_back):
    ledger, newest = copied_back
    settings = ledger / "hubledger.toml"
    with showing(newest) as url:
        text = settings.read_text()
        settings.write_text(text.replace('public_url = ""', f'public_url = "{url}"'))
        assert settings.read_text() != text
        before = tree(ledger)
        code, _, err = record(ledger, "r4")
        assert (code, tree(ledger)) == (62, before)
        assert "size 4" in err
    code, _, err = record(ledger, "r4")
    assert (code, tree(ledger)) == (51, before), err
    assert "--start-unchecked" in err
    assert record(ledger, "r4", "--start-unchecked")[0] == 0


def test_an_older_store_under_newer_public_files_is_refused(hubledger, record, ledger, tmp_path):
    old = tmp_path / "old.db"
    for suffix in ("-wal", "-shm"):
        assert not pathlib.Path(f"{ledger / 'ledger.db'}{suffix}").exists()
    shutil.copy(ledger / "ledger.db", old)
    assert record(ledger, "r3")[0] == 0
    shutil.copy(old, ledger / "ledger.db")
    before = tree(ledger)
    code, _, err = record(ledger, "r4")
    assert (code, tree(ledger)) == (62, before)
    assert "ledger.db is older than the published files: restore its newest copy" in err
