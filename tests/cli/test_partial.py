"""`hubledger verify --partial`: a download of some files, against the manifest beside the proof."""

import json
import shutil

import pytest


@pytest.fixture
def exported(hubledger, vectors, tmp_path):
    """A recorded, signed model, the export of its event, and a folder for a partial download."""
    oms, ledger, model = vectors / "samples/oms", tmp_path / "ledger", tmp_path / "model"
    assert hubledger("init", ledger, "--origin", "log.example/models", "--hub", "hub.example")[0] == 0
    shutil.copytree(oms / "tiny-model", model)
    shutil.copy(oms / "key-p256.model.sig", model / "model.sig")
    key = ("--public-key", oms / "keys/ec-p256.pub")
    assert hubledger("record", ledger, "acme/tiny", "--revision", "r1", "--model", model, *key)[0] == 0
    assert hubledger("evidence", "export", ledger, "1", "-o", tmp_path / "export")[0] == 0
    (tmp_path / "part").mkdir()
    shutil.copy(model / "config.json", tmp_path / "part")
    shutil.copy(ledger / "trust.toml", tmp_path / "trust.toml")
    return tmp_path


@pytest.fixture
def verify(hubledger, exported):
    def call(model, *more):
        return hubledger(
            "verify", "--proof", exported / "export/event.tlog-proof", "--trust", exported / "trust.toml",
            "--model", model, *more,
        )  # fmt: skip

    return call


def test_what_is_there_is_accepted_and_what_is_not_is_said(verify, exported):
    code, out, _ = verify(exported / "part", "--partial", "--json")
    facts = json.loads(out)
    assert (code, facts["model"], facts["satisfied"]) == (0, "ACCEPTED", True)
    assert facts["notChecked"] == ["README.md", "model.safetensors", "model.sig", "sub/vocab.txt"]
    code, out, _ = verify(exported / "part", "--partial")
    assert code == 0
    assert "files not here" in out
    assert "README.md, model.safetensors, model.sig, sub/vocab.txt" in out
    assert "Not checked: " in out
    assert verify(exported / "part")[0] == 22, "without --partial the same folder is not the model"


def test_one_file_from_a_folder_of_the_revision(verify, exported):
    shutil.copy(exported / "model/sub/vocab.txt", exported / "vocab.txt")
    code, out, _ = verify(exported / "vocab.txt", "--partial")
    assert code == 0
    assert "sub/vocab.txt in manifest sha256:" in out


def test_a_signature_that_is_here_is_not_said_to_be_missing(verify, exported):
    shutil.copy(exported / "model/model.sig", exported / "part")
    code, out, _ = verify(exported / "part", "--partial", "--json")
    assert code == 0
    assert json.loads(out)["notChecked"] == ["README.md", "model.safetensors", "sub/vocab.txt"]


@pytest.mark.parametrize("name", ["other.sig", "adapter_config.json", ".gitattributes"])
def test_a_signature_or_git_file_that_the_manifest_does_not_list_is_refused(verify, exported, vectors, name):
    shutil.copy(vectors / "samples/oms/cert.model.sig", exported / "part" / name)
    code, out, _ = verify(exported / "part", "--partial")
    assert code == 22
    assert f"got not in the manifest: {name}" in out


def test_a_cache_of_links_needs_a_real_copy(verify, exported):
    (exported / "cache/sub").mkdir(parents=True)
    for name in ("README.md", "config.json", "model.safetensors", "model.sig"):
        (exported / "cache" / name).symlink_to(f"../model/{name}")
    (exported / "cache/sub/vocab.txt").symlink_to("../../model/sub/vocab.txt")
    for more in ((), ("--partial",)):
        code, out, _ = verify(exported / "cache", *more)
        assert code == 22
        assert "possible: the files here are links, as a download cache makes them; links are never" in out
        assert "next: Copy the files themselves into an empty folder (cp -rL FOLDER COPY)" in out
    shutil.copytree(exported / "cache", exported / "copy")
    assert verify(exported / "copy")[0] == verify(exported / "copy", "--partial")[0] == 0


def test_a_signature_that_came_separately_is_named(verify, exported, vectors):
    """The whole model is still what the hub saw; whose signature lies beside it is not its word."""
    assert "unseen" not in verify(exported / "model")[1]
    shutil.copy(vectors / "samples/oms/cert.model.sig", exported / "model/other.sig")
    code, out, _ = verify(exported / "model", "--json")
    assert code == 0
    (row,) = [each for each in json.loads(out)["checks"] if each["step"] == "unseen signatures"]
    assert (row["result"], row["against"]) == (
        "skipped",
        "other.sig: not seen by the hub; the event says nothing of them",
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda part: (part / "config.json").write_bytes(b"{}"), "other bytes in config.json"),
        (lambda part: (part / "evil.py").write_bytes(b"x"), "not in the manifest: evil.py"),
        (lambda part: (part / "link").symlink_to("/etc/passwd"), "not in the manifest: link"),
    ],
)
def test_what_should_not_be_there_is_refused(verify, exported, change, said):
    change(exported / "part")
    code, out, _ = verify(exported / "part", "--partial")
    assert code == 22
    assert f"got {said}" in out
    assert "next: Download what you need of acme/tiny at r1 into an empty folder" in out


def test_another_manifest_or_none_checks_nothing(verify, exported):
    (exported / "other.json").write_bytes(b"[]")
    code, out, _ = verify(exported / "part", "--partial", "--manifest", exported / "other.json")
    assert code == 24
    assert "Failed: manifest: expected sha256:" in out
    assert "it needs no trust" in out
    (exported / "other.json").write_bytes(b"{}")
    code, _, err = verify(exported / "part", "--partial", "--manifest", exported / "other.json")
    assert (code, "manifest: expected a list of items, got another form" in err) == (31, True)
    (exported / "export/manifest.json").unlink()
    code, _, err = verify(exported / "part", "--partial")
    assert code == 34
    assert "Name it with --manifest; `hubledger evidence export` writes it beside the proof" in err


def test_partial_needs_files(hubledger, verify, exported):
    base = ("verify", "--proof", exported / "export/event.tlog-proof", "--trust", exported / "trust.toml")
    for arguments in (("--partial",), ("--model", exported / "part", "--manifest", exported / "trust.toml")):
        code, _, err = hubledger(*base, *arguments)
        assert code == 2
        assert "--partial: expected --model and --partial, with or without --manifest, got less" in err
