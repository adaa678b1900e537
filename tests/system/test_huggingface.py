"""Downloads by the real `huggingface_hub` from a hub on loopback, checked against the real service."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

from ledger.client import CheckFailedError
from ledger.client.huggingface import Verify, hf_hub_download, snapshot_download
from ledger.client.result import ModelResult
from ledger.embedded.recording import RecordRequest, record_revision
from ledger.errors import NotFoundError, SourceError, UsageError
from tests.conftest import missing
from tests.fakes.hf_hub import Repository, serve
from tests.oms import sign_with_a_new_key, write_model
from tests.system import peers
from tests.system.service import serving

REPO = "acme/tiny"
VERIFY = Verify(hub="hub.example")


@pytest.fixture
def world(hubledger, tmp_path, monkeypatch):
    """A hub that serves one signed commit, the ledger that has its event, and a user who trusts it."""
    if importlib.util.find_spec("huggingface_hub") is None:
        missing("no huggingface_hub: install the extra hf")
    monkeypatch.setenv("HUBLEDGER_DATA", str(tmp_path / "data"))
    ledger, model = tmp_path / "ledger", tmp_path / "model"
    assert hubledger("init", ledger, "--origin", "log.example/models", "--hub", "hub.example")[0] == 0
    model.mkdir()
    write_model(model)
    public = sign_with_a_new_key(model)
    (model / ".gitattributes").write_bytes(b"*.bin filter=lfs\n")
    files = {
        path.relative_to(model).as_posix(): path.read_bytes() for path in model.rglob("*") if path.is_file()
    }
    repository = Repository()
    commit = repository.commit(REPO, files)
    pem = tmp_path / "key.pub"
    pem.write_bytes(public)
    record_revision(ledger, RecordRequest(name=REPO, revision=commit, model=model, public_keys=[pem]))
    with serve(repository) as endpoint, serving(ledger, "--read-only") as (url, _):
        assert hubledger("trust", "add", url)[0] == 0
        yield World(repository, files, commit, endpoint, tmp_path / "cache", public)


class World:
    def __init__(self, repository, files, commit, endpoint, cache, pem):
        self.repository, self.files, self.commit = repository, files, commit
        self.options = {"endpoint": endpoint, "cache_dir": str(cache)}
        self.cache, self.pem = cache, pem

    def change(self, **files):
        """Serve other files under the same commit."""
        self.repository.models[REPO][self.commit] = self.files | files


def test_a_snapshot_is_downloaded_checked_and_returned(world):
    told = []
    verify = Verify(hub="hub.example", public_keys=[world.pem], tell=told.append)
    path = pathlib.Path(snapshot_download(REPO, verify=verify, **world.options))
    (found,) = told
    assert (found.result.event.model.revision, found.result.model) == (world.commit, ModelResult.ACCEPTED)
    assert path.name == world.commit
    assert {each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file()} == set(
        world.files
    )
    huggingface_hub = importlib.import_module("huggingface_hub")
    assert str(path) == huggingface_hub.snapshot_download(REPO, **world.options)
    assert not list(world.cache.rglob(".hubledger-*"))


def test_the_same_into_a_folder_of_ones_own(world, tmp_path):
    path = snapshot_download(REPO, local_dir=tmp_path / "mine", verify=VERIFY, **world.options)
    assert (pathlib.Path(path) / "weights.bin").read_bytes() == world.files["weights.bin"]
    (tmp_path / "mine/extra.py").write_bytes(b"print()")
    with pytest.raises(CheckFailedError):
        snapshot_download(REPO, local_dir=tmp_path / "mine", verify=VERIFY, **world.options)


@pytest.mark.parametrize(
    "change",
    [{"weights.bin": b"other"}, {"loader.py": b"import os"}],
    ids=["a file was changed", "a file was added"],
)
def test_what_the_hub_serves_is_not_what_it_verified(world, change):
    world.change(**change)
    told = []
    verify = Verify(hub="hub.example", tell=told.append)
    with pytest.raises(CheckFailedError) as refused:
        snapshot_download(REPO, verify=verify, **world.options)
    assert told == []
    assert refused.value.result.result.model is ModelResult.CONTENT_DIFFERS


def test_a_commit_without_an_event_is_not_checked_as_another(world):
    world.repository.commit(REPO, world.files | {"weights.bin": b"new"})
    with pytest.raises(NotFoundError, match="event of acme/tiny at "):
        snapshot_download(REPO, verify=VERIFY, **world.options)
    assert snapshot_download(REPO, revision=world.commit, verify=VERIFY, **world.options)


def test_some_of_the_files_are_checked_against_the_whole(world):
    path = snapshot_download(REPO, allow_patterns="*.bin", verify=VERIFY, **world.options)
    assert [each.name for each in pathlib.Path(path).iterdir()] == ["weights.bin"]
    world.change(**{"weights.bin": b"other"})
    fresh = world.options | {"cache_dir": str(world.cache / "fresh")}
    with pytest.raises(CheckFailedError):
        snapshot_download(REPO, allow_patterns="*.bin", verify=VERIFY, **fresh)


def test_one_file_is_checked_at_its_own_place(world):
    path = hf_hub_download(REPO, "vocab.txt", subfolder="sub", verify=VERIFY, **world.options)
    assert pathlib.Path(path).read_bytes() == world.files["sub/vocab.txt"]
    assert hf_hub_download(REPO, "sub/vocab.txt", verify=VERIFY, **world.options) == path
    world.change(**{"config.json": world.files["weights.bin"]})
    with pytest.raises(CheckFailedError):
        hf_hub_download(REPO, "config.json", verify=VERIFY, **world.options)


def test_a_link_of_the_cache_that_leads_elsewhere_is_not_followed(world, tmp_path):
    path = pathlib.Path(snapshot_download(REPO, verify=VERIFY, **world.options))
    outside = tmp_path / "outside"
    outside.write_bytes(world.files["weights.bin"])
    (path / "weights.bin").unlink()
    (path / "weights.bin").symlink_to(outside)
    with pytest.raises(SourceError, match=r"link .*weights\.bin"):
        snapshot_download(REPO, verify=VERIFY, **world.options, local_files_only=True)


def test_a_poisoned_cache_is_seen(world):
    path = pathlib.Path(snapshot_download(REPO, verify=VERIFY, **world.options))
    blob = (path / "weights.bin").resolve()
    blob.chmod(0o644)
    blob.write_bytes(b"poison")
    with pytest.raises(CheckFailedError):
        snapshot_download(REPO, verify=VERIFY, **world.options, local_files_only=True)


def test_one_file_goes_into_a_folder_of_ones_own(world, tmp_path):
    mine = tmp_path / "mine"
    path = hf_hub_download(REPO, "sub/vocab.txt", local_dir=mine, verify=VERIFY, **world.options)
    assert path == str(mine / "sub/vocab.txt")
    assert (mine / "sub/vocab.txt").read_bytes() == world.files["sub/vocab.txt"]
    (mine / "sub/vocab.txt").write_bytes(b"other")
    with pytest.raises(CheckFailedError, match=r"files: expected files of the manifest.*sub/vocab\.txt"):
        hf_hub_download(
            REPO, "sub/vocab.txt", local_dir=mine, verify=VERIFY, local_files_only=True, **world.options
        )
    assert (mine / "sub/vocab.txt").read_bytes() == b"other", "the folder is the user's"
    (mine / "unknown").write_bytes(b"beside it, and not asked for")
    (mine / "sub/vocab.txt").unlink()
    assert hf_hub_download(REPO, "sub/vocab.txt", local_dir=mine, verify=VERIFY, **world.options) == path


def test_a_file_that_is_a_link_in_a_folder_of_ones_own_is_not_followed(world, tmp_path):
    path = pathlib.Path(
        hf_hub_download(REPO, "weights.bin", local_dir=tmp_path / "mine", verify=VERIFY, **world.options)
    )
    elsewhere = path.rename(tmp_path / "elsewhere")
    path.symlink_to(elsewhere)
    with pytest.raises(CheckFailedError, match=r"a link in the place of weights\.bin"):
        hf_hub_download(
            REPO,
            "weights.bin",
            local_dir=path.parent,
            verify=VERIFY,
            local_files_only=True,
            **world.options,
        )


def test_a_folder_of_ones_own_is_checked_as_the_commit_that_was_resolved(world, tmp_path):
    """The value of `huggingface_hub.resolve_revision` reads as the branch, and is passed on as it is."""
    library = importlib.import_module("huggingface_hub")
    if not hasattr(library, "resolve_revision"):
        missing("this huggingface_hub resolves no revisions")
    world.repository.commit(REPO, world.files | {"config.json": b"{}"})
    revision = library.HfApi(endpoint=world.options["endpoint"]).resolve_revision(
        REPO, revision="main", cache_dir=world.cache
    )
    assert revision == "main"
    with pytest.raises(NotFoundError, match=f"event of acme/tiny at {revision.resolved}"):
        snapshot_download(
            REPO, revision=revision, local_dir=tmp_path / "mine", verify=VERIFY, **world.options
        )


def test_what_is_asked_of_the_hub_carries_what_was_given(world):
    """Through the library itself, to the hub; the ledger is told none of it."""
    snapshot_download(
        REPO,
        token="hf_secret",
        headers={"x-team": "red"},
        library_name="ours",
        library_version="7",
        user_agent="more/1",
        verify=VERIFY,
        **world.options,
    )
    (headers, *_) = [headers for _, path, headers in world.repository.asked if path.startswith("/api/")]
    assert (headers["authorization"], headers["x-team"]) == ("Bearer hf_secret", "red")
    assert "ours/7" in headers["user-agent"]
    assert "more/1" in headers["user-agent"]


def test_patterns_that_match_nothing_are_no_checked_model(world):
    with pytest.raises(
        CheckFailedError, match=r"expected at least one of the \d+ files of the manifest, got none"
    ):
        snapshot_download(REPO, allow_patterns=["*.none"], verify=VERIFY, **world.options)


def test_a_part_is_not_checked_offline(world):
    verify = Verify(hub="hub.example", offline=True)
    for call in (
        lambda: snapshot_download(REPO, ignore_patterns="*.bin", verify=verify, **world.options),
        lambda: hf_hub_download(REPO, "weights.bin", verify=verify, **world.options),
    ):
        with pytest.raises(UsageError, match="expected a download of the whole model, got some of its files"):
            call()
    assert world.repository.asked == []


def test_a_hub_that_nobody_here_trusts_is_not_downloaded_from(world):
    with pytest.raises(NotFoundError, match="trust"):
        snapshot_download(REPO, verify=Verify(hub="other.example"), **world.options)
    assert world.repository.asked == []
    assert not world.cache.exists()


def test_what_the_ledger_has_no_events_of_is_refused(world):
    for options in ({"repo_type": "dataset"}, {"dry_run": True}):
        with pytest.raises(UsageError):
            snapshot_download(REPO, verify=VERIFY, **world.options, **options)
    with pytest.raises(UsageError):
        hf_hub_download(REPO, "../weights.bin", verify=VERIFY, **world.options)
    with pytest.raises(NotFoundError, match=r"hub\.example\), got 127\.0\.0\.1"):
        snapshot_download(REPO, **world.options)


def in_a_process_of_its_own(world, verify):
    """A download as a program of others does it: nothing is loaded yet, and HF_ENDPOINT says where the hub is."""
    code = (
        "from ledger.client.huggingface import *; "
        f"print(snapshot_download({REPO!r}, cache_dir={str(world.cache)!r}, verify={verify}))"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"HF_ENDPOINT": world.options["endpoint"]},
        capture_output=True,
        text=True,
        timeout=60,
        cwd=peers.REPOSITORY,
    )


def test_the_address_in_the_environment_is_used(world):
    done = in_a_process_of_its_own(world, "Verify(hub='hub.example')")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(world.commit)


def test_the_host_in_the_environment_is_the_hub_where_nobody_says_which(world):
    done = in_a_process_of_its_own(world, None)
    assert done.returncode == 1
    assert "of a hub that you have added (hub.example), got 127.0.0.1" in done.stderr
    assert done.stderr.endswith("downloaded from; Verify(hub=…) names a hub with another id\n")
