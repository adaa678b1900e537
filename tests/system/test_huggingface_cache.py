"""What was not checked has no name in the download cache: a program that checks nothing does not find it."""

import errno
import fcntl
import importlib
import os
import pathlib
import shutil
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler

import pytest

from ledger.client import CheckFailedError, download_cache, huggingface
from ledger.client.expect import Expectation
from ledger.client.huggingface import Verify, hf_hub_download, snapshot_download
from ledger.errors import NotFoundError, SourceError
from tests.fakes.web import answering
from tests.system import test_huggingface
from tests.system.test_huggingface import REPO, VERIFY

world = test_huggingface.world
POISON = b"poison"


def offline(world, **options):
    """What a program gets that checks nothing, asks nobody and looks for the model by its name; None where it finds none."""
    library = importlib.import_module("huggingface_hub")
    try:
        return library.snapshot_download(REPO, local_files_only=True, cache_dir=world.cache, **options)
    except library.errors.LocalEntryNotFoundError:
        return None


def names(world):
    """Everything in the cache that is no bytes under a digest, and no lock."""
    return sorted(
        path.relative_to(world.cache).as_posix()
        for path in world.cache.rglob("*")
        if not path.is_dir() and "blobs" not in path.parts and ".locks" not in path.parts
    )


def spoil(data):
    return bytes(each ^ 1 for each in data)


def blobs(world):
    return {path.read_bytes() for path in world.cache.rglob("blobs/*")}


def test_a_refused_snapshot_is_not_found_by_name_or_commit(world):
    world.change(**{"weights.bin": POISON})
    with pytest.raises(CheckFailedError) as refused:
        snapshot_download(REPO, verify=VERIFY, **world.options)
    assert not hasattr(refused.value, "__notes__")
    assert offline(world) is None
    assert offline(world, revision=world.commit) is None
    assert [each for each in names(world) if "models--" in each] == []
    assert list(world.cache.glob("models--*/snapshots")) == [], (
        "older versions take an empty folder for a model"
    )
    assert POISON not in blobs(world)
    world.change()
    assert snapshot_download(REPO, verify=VERIFY, **world.options) == offline(world), "the next one is whole"


def test_bytes_that_a_mirror_spoiled_are_asked_for_again(world):
    """They came under the digest of the right ones, which the library would not fetch a second time."""
    world.repository.instead["weights.bin"] = spoil(world.files["weights.bin"])
    with pytest.raises(CheckFailedError):
        snapshot_download(REPO, verify=VERIFY, **world.options)
    world.repository.instead.clear()
    path = pathlib.Path(snapshot_download(REPO, verify=VERIFY, **world.options))
    assert (path / "weights.bin").read_bytes() == world.files["weights.bin"]


def test_what_was_checked_before_stays_and_is_what_the_name_leads_to(world):
    good = snapshot_download(REPO, verify=VERIFY, **world.options)
    kept = names(world)
    world.repository.commit(REPO, world.files | {"weights.bin": POISON})
    with pytest.raises(NotFoundError):
        snapshot_download(REPO, verify=VERIFY, **world.options)
    assert offline(world) == good
    assert names(world) == kept
    assert (pathlib.Path(good) / "weights.bin").read_bytes() == world.files["weights.bin"]


def test_one_bad_file_goes_and_the_good_ones_beside_it_stay(world):
    good = hf_hub_download(REPO, "config.json", verify=VERIFY, **world.options)
    world.change(**{"weights.bin": POISON})
    with pytest.raises(CheckFailedError):
        hf_hub_download(REPO, "weights.bin", verify=VERIFY, **world.options)
    assert [each.name for each in pathlib.Path(good).parent.iterdir()] == ["config.json"]
    assert pathlib.Path(good).read_bytes() == world.files["config.json"]
    assert POISON not in blobs(world)


def test_bytes_that_have_a_good_name_too_stay(world):
    """Of two files with the same bytes one is right."""
    good = hf_hub_download(REPO, "config.json", verify=VERIFY, **world.options)
    world.change(**{"weights.bin": world.files["config.json"]})
    with pytest.raises(CheckFailedError):
        hf_hub_download(REPO, "weights.bin", verify=VERIFY, **world.options)
    assert pathlib.Path(good).read_bytes() == world.files["config.json"]


def test_a_check_that_could_not_take_place_costs_no_second_download(world):
    """The bytes stay without a name."""
    nowhere = Verify(hub="hub.example", url="http://127.0.0.1:9")
    with pytest.raises(SourceError):
        snapshot_download(REPO, verify=nowhere, **world.options)
    assert offline(world) is None
    assert blobs(world) == set(world.files.values())
    world.repository.asked.clear()
    snapshot_download(REPO, verify=VERIFY, **world.options)
    assert [
        path for method, path, _ in world.repository.asked if method == "GET" and "/resolve/" in path
    ] == []


def test_a_signer_whom_the_caller_did_not_expect_costs_no_second_download(world):
    verify = Verify(hub="hub.example", expected=[Expectation(key_sha256=bytes(32))])
    with pytest.raises(CheckFailedError):
        snapshot_download(REPO, verify=verify, **world.options)
    assert offline(world) is None
    assert blobs(world) == set(world.files.values())


def test_bytes_that_somebody_else_brought_stay_theirs_until_they_are_fetched_anew(world):
    """Who loads it may be in the middle of it. With `force_download` it is this call that brings them."""
    path = pathlib.Path(snapshot_download(REPO, verify=VERIFY, **world.options))
    blob = (path / "weights.bin").resolve()
    blob.chmod(0o644)
    blob.write_bytes(POISON)
    with pytest.raises(CheckFailedError) as refused:
        snapshot_download(REPO, verify=VERIFY, **world.options)
    assert blob.read_bytes() == POISON
    home = world.cache / "models--acme--tiny"
    assert refused.value.__notes__ == [
        f"What was refused is still in {home}; force_download=True fetches it anew"
    ]
    assert snapshot_download(REPO, force_download=True, verify=VERIFY, **world.options) == str(path)
    assert (path / "weights.bin").read_bytes() == world.files["weights.bin"]
    world.repository.instead["weights.bin"] = spoil(world.files["weights.bin"])
    with pytest.raises(CheckFailedError):
        snapshot_download(REPO, force_download=True, verify=VERIFY, **world.options)
    assert not (path / "weights.bin").exists()


def test_a_download_into_a_folder_of_ones_own_leaves_the_folder_and_no_name_in_the_cache(world, tmp_path):
    world.change(**{"weights.bin": POISON})
    with pytest.raises(CheckFailedError) as refused:
        snapshot_download(REPO, local_dir=tmp_path / "mine", verify=VERIFY, **world.options)
    assert f"What was refused is still in {tmp_path / 'mine'};" in refused.value.__notes__[0]
    assert (tmp_path / "mine/weights.bin").read_bytes() == POISON
    assert [each for each in names(world) if "models--" in each] == []


def test_a_download_that_somebody_interrupts_leaves_no_name(world):
    class Impatient:
        """The progress that is shown, at a user who presses Ctrl-C."""

        def __init__(self, *args, **options):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        snapshot_download(REPO, tqdm_class=Impatient, verify=VERIFY, **world.options)
    assert [each for each in names(world) if "models--" in each] == []


def test_a_cache_that_cannot_be_changed_is_said_beside_the_refusal(world, monkeypatch):
    true = os.unlink

    def unlink(path, *, dir_fd=None):
        if stat.S_ISLNK(os.stat(path, dir_fd=dir_fd, follow_symlinks=False).st_mode):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        true(path, dir_fd=dir_fd)

    world.change(**{"weights.bin": POISON})
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink)
        with pytest.raises(CheckFailedError) as refused:
            snapshot_download(REPO, verify=VERIFY, **world.options)
    home = world.cache / "models--acme--tiny"
    assert refused.value.__notes__ == [f"What was not checked is still in {home}: Read-only file system"]
    assert f"models--acme--tiny/snapshots/{world.commit}/weights.bin" in names(world)
    assert POISON not in blobs(world), "what can go goes"
    assert offline(world) is None


def test_one_process_does_not_take_away_what_another_has_just_checked(world):
    """Several load the same model at once, and one of them does not reach the ledger."""
    asked, answer = threading.Event(), threading.Event()

    class Away(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.set()
            answer.wait(60)
            self.send_error(500)

        def log_message(self, *_):
            pass

    with answering(Away) as nowhere, ThreadPoolExecutor(2) as processes:
        unlucky = processes.submit(
            snapshot_download, REPO, verify=Verify(hub="hub.example", url=nowhere), **world.options
        )
        assert asked.wait(60)
        lock = world.cache / ".locks/models--acme--tiny" / download_cache.LOCK
        with lock.open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        other = processes.submit(snapshot_download, REPO, verify=VERIFY, **world.options)
        answer.set()
        with pytest.raises(SourceError):
            unlucky.result(60)
        path = pathlib.Path(other.result(60))
    assert {each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file()} == set(
        world.files
    )


def while_checked(monkeypatch, change):
    """Have another program, which checks nothing, do something with the cache when the check is almost over."""

    def then(*arguments, **more):
        try:
            return answer(*arguments, **more)
        finally:
            change(importlib.import_module("huggingface_hub"))

    answer = huggingface.answer
    monkeypatch.setattr(huggingface, "answer", then)


def test_other_bytes_that_another_program_puts_under_the_name_are_not_returned(world, monkeypatch):
    def again(library):
        world.repository.instead["weights.bin"] = spoil(world.files["weights.bin"])
        library.snapshot_download(REPO, force_download=True, **world.options)

    while_checked(monkeypatch, again)
    with pytest.raises(SourceError, match=r"second look at .*/weights\.bin: .* got another file"):
        snapshot_download(REPO, verify=VERIFY, **world.options)
    assert offline(world) is None


def test_the_same_bytes_that_another_program_fetches_again_are(world, monkeypatch):
    while_checked(
        monkeypatch, lambda library: library.snapshot_download(REPO, force_download=True, **world.options)
    )
    assert snapshot_download(REPO, verify=VERIFY, **world.options) == offline(world)


def test_a_revision_that_another_program_brings_meanwhile_is_theirs(world, monkeypatch):
    theirs = []

    def newer(library):
        world.repository.commit(REPO, world.files | {"weights.bin": b"newer"})
        theirs.append(library.snapshot_download(REPO, **world.options))

    while_checked(monkeypatch, newer)
    with pytest.raises(SourceError):
        snapshot_download(REPO, verify=Verify(hub="hub.example", url="http://127.0.0.1:9"), **world.options)
    assert offline(world) == theirs[0]
    assert (pathlib.Path(theirs[0]) / "weights.bin").read_bytes() == b"newer"
    assert offline(world, revision=world.commit) is None


def test_a_cache_without_room_for_a_lock_is_checked_all_the_same(world):
    """It is said what that may lead to."""
    importlib.import_module("huggingface_hub").snapshot_download(REPO, **world.options)
    shutil.rmtree(world.cache / ".locks")
    (world.cache / ".locks").write_bytes(b"no folder")
    with pytest.warns(RuntimeWarning, match="No lock in .*: Not a directory. Of several ") as said:
        path = snapshot_download(REPO, local_files_only=True, verify=VERIFY, **world.options)
    assert [each.filename for each in said] == [__file__]
    assert path == offline(world)


def test_whoever_is_told_may_download_more_of_the_model(world):
    def more(_):
        told.append(hf_hub_download(REPO, "config.json", verify=VERIFY, **world.options))

    told = []
    path = snapshot_download(REPO, verify=Verify(hub="hub.example", tell=more), **world.options)
    assert told == [f"{path}/config.json"]
