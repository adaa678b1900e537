"""`hubledger record` from files and from a manifest: the same event, and every refusal in words."""

import hashlib
import json
import shutil

import pytest

from ledger.embedded.recording import read_listing
from ledger.errors import LimitError
from ledger.manifest import Manifest, ManifestFile


@pytest.fixture
def signed(vectors, tmp_path):
    """A model with a real signature, its key, and the list of its files as a hub may have it."""
    oms = vectors / "samples/oms"
    model = tmp_path / "model"
    shutil.copytree(oms / "tiny-model", model)
    shutil.copy(oms / "key-p256.model.sig", model / "model.sig")
    listing = [
        {"size": path.stat().st_size, "path": path.relative_to(model).as_posix(),
         "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(model.rglob("*"), reverse=True) if path.is_file()
    ]  # fmt: skip
    (tmp_path / "files.json").write_text(json.dumps(listing, indent=1))
    return model, oms / "keys/ec-p256.pub", tmp_path / "files.json"


def facts(receipt):
    return {name: receipt[name] for name in ("outcome", "signatures", "manifestSha256", "reasons")}


def test_a_manifest_and_its_bundles_give_the_same_event_as_the_files(hubledger, ledger, signed, tmp_path):
    model, key, listing = signed
    base = ("record", ledger, "acme/tiny", "--public-key", key, "--json", "--revision")
    files = json.loads(hubledger(*base, "r1", "--model", model)[1])
    code, out, err = hubledger(*base, "r2", "--manifest", listing, "--bundle", model / "model.sig")
    assert code == 0, err
    assert facts(json.loads(out)) == facts(files)
    assert files["outcome"] == "VERIFIED"
    # The same facts are the same event: a retry from the manifest finds what was recorded from the files.
    again = json.loads(hubledger(*base, "r1", "--manifest", listing, "--bundle", model / "model.sig")[1])
    assert (again["repeated"], again["leafIndex"]) == (True, files["leafIndex"])
    canonical = ledger / "evidence" / files["manifestSha256"][:2] / files["manifestSha256"]
    third = json.loads(hubledger(*base, "r3", "--manifest", canonical, "--bundle", model / "model.sig")[1])
    assert facts(third) == facts(files)
    unsigned = json.loads(hubledger(*base, "r4", "--manifest", listing)[1])
    assert (unsigned["outcome"], unsigned["manifestSha256"]) == ("UNSIGNED", files["manifestSha256"])
    assert hubledger("log", "audit", ledger)[0] == 0


def test_what_contradicts_itself_is_refused_and_nothing_recorded(hubledger, ledger, signed, tmp_path):
    model, _, listing = signed
    (tmp_path / "bad.json").write_text('[{"path":"../x","link":"y"}]')
    (tmp_path / "stray.sig").write_bytes(b"{}")
    checkpoint = (ledger / "log/checkpoint").read_bytes()
    base = ("record", ledger, "acme/tiny", "--revision", "r1")
    for arguments, code, refusal in (
        ((), 2, "files of the revision: expected --model, or --manifest with --bundle, got neither"),
        (
            ("--model", model, "--manifest", listing),
            2,
            "expected --model, or --manifest with --bundle, got both",
        ),
        (("--model", model, "--bundle", model / "model.sig"), 2, "got both"),
        (
            ("--manifest", tmp_path / "bad.json"),
            31,
            "path: expected a relative path without empty, . or .. parts",
        ),
        (
            ("--manifest", listing, "--bundle", tmp_path / "stray.sig"),
            34,
            "expected a file of the manifest, got none",
        ),
    ):
        found, _, err = hubledger(*base, *arguments)
        assert (found, refusal in err) == (code, True), err
    assert (ledger / "log/checkpoint").read_bytes() == checkpoint


def test_a_bundle_of_17_MB_beside_a_manifest_is_kept_by_digest(hubledger, ledger, tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.write(b'{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"')
        file.truncate(17 << 20)
    digest = hashlib.sha256((tmp_path / "large").read_bytes()).hexdigest()
    (tmp_path / "m").write_text(json.dumps([{"path": "model.sig", "sha256": digest, "size": 17 << 20}]))
    code, out, err = hubledger(
        "record", ledger, "acme/tiny", "--revision", "r1", "--manifest", tmp_path / "m",
        "--bundle", tmp_path / "large", "--json",
    )  # fmt: skip
    assert code == 0, err
    receipt = json.loads(out)
    assert (receipt["outcome"], receipt["reasons"]) == ("UNSUPPORTED", ["bundle-too-large"])
    assert not (ledger / "evidence" / digest[:2] / digest).exists()


def test_a_large_list_must_be_in_canonical_form(tmp_path, monkeypatch):
    monkeypatch.setattr("ledger.embedded.recording.MAX_LISTING_BYTES", 1000)
    manifest = Manifest.of(ManifestFile(path=f"{n:03}", sha256=bytes(32), size=n) for n in range(100))
    (tmp_path / "canonical").write_bytes(manifest.data)
    (tmp_path / "other").write_bytes(manifest.data.replace(b",", b", "))
    assert read_listing(tmp_path / "canonical") == manifest
    with pytest.raises(
        LimitError, match="expected at most 1000 bytes, or a manifest in canonical form, got a larger"
    ):
        read_listing(tmp_path / "other")
