"""`hubledger history --content` and `--file`: the same bytes under every name, who signed and who uploaded them."""

import hashlib
import json
import shutil

import pytest

from ledger.digests import DigestIndex


@pytest.fixture
def uploads(hubledger, ledger, vectors, tmp_path):
    """A signed model, a copy of it without its signature by somebody else, and a model that shares one file."""
    oms = vectors / "samples/oms"
    for name, account, change in (
        ("acme/tiny", "alice", lambda m: shutil.copy(oms / "key-p256.model.sig", m / "model.sig")),
        ("copycat/tiny", "mallory", lambda m: (m / ".gitattributes").write_bytes(b"x")),
        ("other/model", "bob", lambda m: (m / "config.json").write_bytes(b"{}")),
    ):
        model = tmp_path / name
        shutil.copytree(oms / "tiny-model", model)
        change(model)
        code, _, err = hubledger(
            "record", ledger, name, "--revision", "r1", "--model", model, "--uploader", account,
            "--public-key", oms / "keys/ec-p256.pub", "--json",
        )  # fmt: skip
        assert code == 0, err
    return tmp_path


def search(hubledger, ledger, *arguments):
    code, out, err = hubledger("history", ledger, *arguments, "--json")
    assert code == 0, err
    return [(each["name"], each["uploadedBy"], each["signedBy"]) for each in json.loads(out)["events"]]


def content_of(hubledger, ledger, name):
    """The content digest of a model's first event."""
    (row,) = json.loads(hubledger("history", ledger, name, "--json")[1])["events"]
    manifest = json.loads(hubledger("evidence", "show", ledger, str(row["leafIndex"]), "--json")[1])[
        "pieces"
    ][0]
    found = json.loads(hubledger("history", ledger, "--content", manifest["sha256"], "--json")[1])
    return found["events"][0]["contentSha256"]


def test_content_is_found_under_every_name_with_who_signed_and_who_uploaded(hubledger, ledger, uploads):
    content = content_of(hubledger, ledger, "acme/tiny")
    found = search(hubledger, ledger, "--content", content)
    assert [(name, account) for name, account, _ in found] == [
        ("acme/tiny", "alice"),
        ("copycat/tiny", "mallory"),
    ]
    assert found[0][2][0].startswith("key SHA256:")
    assert found[1][2] == []
    text = hubledger("history", ledger, "--content", content)[1]
    assert "CONTENT SIGNED BY" in text
    assert "UPLOADED BY" in text
    assert text.splitlines()[2].split()[-2:] == ["nobody", "mallory"]


def test_a_file_is_found_in_every_manifest_that_lists_it(hubledger, ledger, uploads):
    def digest(path):
        return hashlib.sha256((uploads / path).read_bytes()).hexdigest()

    weights = search(hubledger, ledger, "--file", digest("acme/tiny/model.safetensors"))
    assert [name for name, _, _ in weights] == ["acme/tiny", "copycat/tiny", "other/model"]
    assert [
        name for name, _, _ in search(hubledger, ledger, "--file", digest("other/model/config.json"))
    ] == ["other/model"]
    assert [name for name, _, _ in search(hubledger, ledger, "--file", digest("acme/tiny/model.sig"))] == [
        "acme/tiny"
    ]


def test_what_was_withdrawn_is_not_found_by_its_files_any_more(hubledger, ledger, uploads):
    (row,) = json.loads(hubledger("history", ledger, "acme/tiny", "--json")[1])["events"]
    manifest = json.loads(hubledger("evidence", "show", ledger, str(row["leafIndex"]), "--json")[1])[
        "pieces"
    ][0]
    signature = hashlib.sha256((uploads / "acme/tiny/model.sig").read_bytes()).hexdigest()
    assert hubledger("evidence", "withdraw", ledger, manifest["sha256"], "--reason", "court-order")[0] == 0
    code, _, err = hubledger("history", ledger, "--file", signature)
    assert code == 34
    assert f"file {signature}: expected a recorded event, got none among 5 leaves. Digests are SHA-256" in err
    for _ in range(2):
        assert hubledger("index", "check", ledger)[0] == 0
        assert hubledger("index", "rebuild", ledger)[0] == 0
        assert hubledger("history", ledger, "--file", signature)[0] == 34


def test_the_digest_index_is_derived(hubledger, ledger, uploads):
    content = content_of(hubledger, ledger, "acme/tiny")
    found = search(hubledger, ledger, "--content", content)
    import sqlite3

    with sqlite3.connect(ledger / "digests.db") as database:
        database.execute("DELETE FROM files")
    database.close()
    code, _, err = hubledger("index", "check", ledger)
    assert code == 61
    assert "differs: files: expected " in err
    for suffix in ("", "-wal", "-shm"):
        (ledger / f"digests.db{suffix}").unlink(missing_ok=True)
    code, _, err = hubledger("history", ledger, "--content", content)
    assert code == 61
    assert "digest index digests.db: expected a sound SQLite file" in err
    assert "hubledger index rebuild" in err
    assert hubledger("index", "rebuild", ledger)[0] == 0
    assert search(hubledger, ledger, "--content", content) == found
    assert hubledger("index", "check", ledger)[0] == 0


def test_what_is_not_mirrored_yet_is_said(hubledger, ledger, uploads):
    content = content_of(hubledger, ledger, "other/model")
    for suffix in ("", "-wal", "-shm"):
        (ledger / f"digests.db{suffix}").unlink(missing_ok=True)
    DigestIndex(ledger / "digests.db").close()
    code, _, err = hubledger("history", ledger, "--content", content)
    assert code == 34
    assert "got none among 4 leaves, of which 4 are not mirrored yet. Run `hubledger index rebuild`" in err


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        ((), "what to show: expected one of NAME, --content and --file, got none"),
        (("x", "--file", "00" * 32), "what to show: expected one of NAME, --content and --file, got 2"),
    ],
)
def test_one_thing_at_a_time(hubledger, ledger, arguments, refusal):
    code, _, err = hubledger("history", ledger, *arguments)
    assert (code, refusal in err) == (2, True), err


def test_a_digest_must_be_one(hubledger, ledger):
    code, _, err = hubledger("history", ledger, "--file", "ABC")
    assert (code, "--file: expected 64 lower-case hex digits, got ABC" in err) == (31, True)
