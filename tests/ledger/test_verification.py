"""Every sample bundle has its right outcome and signer; nothing in an upload makes verification raise."""

import hashlib
import json
import os
import pathlib
import shutil

import pytest

from ledger.bundle.trust_material import TrustMaterial
from ledger.encoding import parse_canonical_json
from ledger.identity import CertificateFacts, KeyFacts, SigstoreFacts
from ledger.verification import verify_manifest, verify_revision


@pytest.fixture(scope="session")
def oms(vectors):
    return vectors / "samples/oms"


@pytest.fixture(scope="session")
def trust(oms, vectors):
    """Everything that the samples were made with, and the synthetic Sigstore instance."""
    released = vectors / "samples/oms-released/keys"
    return TrustMaterial(
        public_keys=[
            path.read_bytes()
            for path in (*sorted((oms / "keys").glob("*.pub")), released / "signing-key-pub.pem")
        ],
        anchors=[(oms / "keys/root-cert.pem").read_bytes(), (released / "ca-cert.pem").read_bytes()],
        sigstore_json=(oms / "fake-sigstore/trust_config.json").read_bytes(),
    )


@pytest.fixture
def model(oms, tmp_path):
    """The tiny model with a place for a bundle."""
    return pathlib.Path(shutil.copytree(oms / "tiny-model", tmp_path / "tiny-model"))


def spki(path):
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_public_key(path.read_bytes())
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).digest()


KEY_SAMPLES = {
    "key-p256.model.sig": "ec-p256.pub",
    "key-p384.model.sig": "ec-p384.pub",
    "key-p256-shards.model.sig": "ec-p256.pub",
    "key-p256-blake2.model.sig": "ec-p256.pub",
    "key-p256-blake3.model.sig": "ec-p256.pub",
}


@pytest.mark.parametrize("name", KEY_SAMPLES)
def test_key_samples_verify_and_name_their_key(oms, model, trust, name):
    shutil.copy(oms / name, model / "model.sig")
    found = verify_revision(model, trust=trust)
    assert (found.outcome, found.reasons) == ("VERIFIED", ())
    assert found.signatures[0].signer == KeyFacts(spki_sha256=spki(oms / "keys" / KEY_SAMPLES[name]))


def test_a_single_file_is_a_model(oms, tmp_path, trust):
    shutil.copy(oms / "tiny-model/model.safetensors", tmp_path)
    shutil.copy(oms / "single-file.model.sig", tmp_path / "anything.json")
    assert verify_revision(tmp_path, trust=trust).outcome == "VERIFIED"


def test_the_certificate_sample_names_anchor_and_subject(oms, model, trust):
    shutil.copy(oms / "cert.model.sig", model / "model.sig")
    found = verify_revision(model, trust=trust)
    assert found.outcome == "VERIFIED"
    signer = found.signatures[0].signer
    assert isinstance(signer, CertificateFacts)
    assert signer.subject == "CN=signer@example.org,O=Sample Hub Test"
    assert len(signer.chain_sha256) == 2


@pytest.mark.parametrize(
    ("name", "kind", "index"), [("v1", "dsse:0.0.1", 101), ("v2", "hashedrekord:0.0.2", 1)]
)
def test_the_sigstore_samples_name_signer_and_log_entry(oms, model, trust, name, kind, index):
    shutil.copy(oms / f"fake-sigstore/sigstore-rekor-{name}.model.sig", model / "model.sig")
    found = verify_revision(model, trust=trust)
    assert found.outcome == "VERIFIED"
    fact = found.signatures[0]
    assert isinstance(fact.signer, SigstoreFacts)
    assert (fact.signer.san, fact.signer.issuer) == ("signer@example.org", "https://idp.example.org")
    assert (fact.upstream_log.kind, fact.upstream_log.index) == (kind, index)


def test_an_outer_index_that_the_log_did_not_prove_is_refused(oms, model, trust):
    """sigstore-python accepts any outer index of a Rekor v2 entry (hub-side trap); we do not."""
    bundle = json.loads((oms / "fake-sigstore/sigstore-rekor-v2.model.sig").read_bytes())
    bundle["verificationMaterial"]["tlogEntries"][0]["logIndex"] = "7777"
    (model / "model.sig").write_text(json.dumps(bundle))
    found = verify_revision(model, trust=trust)
    assert (found.outcome, found.reasons) == ("INVALID_SIGNATURE", ("upstream-index-false",))
    assert found.signatures[0].signer is None
    assert found.signatures[0].claimed_signer is not None


RELEASED = {
    "v0.3.1-certificate": "VERIFIED",
    "v0.3.1-elliptic-key": "VERIFIED",
    "v0.3.1-sigstore": "VERIFIED",
    "v1.0.0-certificate": "VERIFIED",
    "v1.0.0-elliptic-key": "VERIFIED",
    "v1.0.0-sigstore": "VERIFIED",
    "v1.0.1-certificate": "VERIFIED",
    "v1.0.1-elliptic-key": "VERIFIED",
    "v1.0.1-sigstore": "VERIFIED",
}


@pytest.mark.parametrize("name", RELEASED)
def test_bundles_of_released_versions_verify(vectors, trust, tmp_path, name):
    """Real signatures of 2025, the keyless ones against the production root that sigstore embeds."""
    folder = pathlib.Path(shutil.copytree(vectors / "samples/oms-released" / name, tmp_path / name))
    material = TrustMaterial(public_keys=trust.public_keys, anchors=trust.anchors)
    if (folder / "ignore-me").exists():
        found = verify_revision(folder, trust=material)
        assert (found.outcome, found.reasons) == ("CONTENT_MISMATCH", ("unsigned-file",))
        (folder / "ignore-me").unlink()
    found = verify_revision(folder, trust=material)
    assert found.outcome == RELEASED[name]
    if name.endswith("sigstore"):
        assert found.signatures[0].signer.issuer == "https://sigstore.verify.ibm.com/oauth2"
        assert found.signatures[0].upstream_log.index in (206342049, 206344181, 588939812)


def flip(path):
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


CHANGES = {
    "a changed byte": (lambda m: flip(m / "model.safetensors"), "content-differs"),
    "a longer file": (
        lambda m: (m / "config.json").write_bytes((m / "config.json").read_bytes() + b" "),
        "content-differs",
    ),
    "an empty file": (lambda m: (m / "config.json").write_bytes(b""), "content-differs"),
    "a missing file": (lambda m: (m / "config.json").unlink(), "missing-file"),
    "an extra file": (lambda m: (m / "evil.py").write_bytes(b"x"), "unsigned-file"),
    "a link to outside": (lambda m: (m / "link").symlink_to("/etc/passwd"), "unsigned-file"),
    "a file that became a link": (
        lambda m: (
            (m / "config.json").rename(m.parent / "c"),
            (m / "config.json").symlink_to(m.parent / "c"),
        ),
        "missing-file",
    ),
}


@pytest.mark.parametrize(
    "sample", ["key-p256.model.sig", "key-p256-shards.model.sig", "key-p256-blake2.model.sig"]
)
@pytest.mark.parametrize("change", CHANGES)
def test_files_that_differ_are_a_content_mismatch(oms, model, trust, change, sample):
    shutil.copy(oms / sample, model / "model.sig")
    CHANGES[change][0](model)
    found = verify_revision(model, trust=trust)
    assert (found.outcome, found.reasons[0]) == ("CONTENT_MISMATCH", CHANGES[change][1])
    assert found.signatures[0].signer is not None


def test_a_renamed_file_is_noticed_although_the_root_digest_is_not(oms, model, trust):
    """The OMS root digest does not bind names."""
    shutil.copy(oms / "key-p256.model.sig", model / "model.sig")
    (model / "config.json").rename(model / "config2.json")
    assert verify_revision(model, trust=trust).reasons == ("missing-file", "unsigned-file")


def test_keys_that_nobody_registered_are_unknown(oms, model, trust):
    shutil.copy(oms / "key-p256.model.sig", model / "model.sig")
    other = TrustMaterial(public_keys=[(oms / "keys/ec-p384.pub").read_bytes()])
    found = verify_revision(model, trust=other)
    assert (found.outcome, found.reasons) == ("UNKNOWN_KEY", ("key-not-registered",))
    shutil.copy(oms / "cert.model.sig", model / "model.sig")
    assert verify_revision(model, trust=other).outcome == "UNKNOWN_KEY"
    leaf = TrustMaterial(anchors=[(oms / "keys/leaf-cert.pem").read_bytes()])
    assert verify_revision(model, trust=leaf).outcome == "UNKNOWN_KEY"


def test_a_bent_signature_by_a_registered_key_is_invalid(oms, model, trust):
    bundle = json.loads((oms / "key-p256.model.sig").read_bytes())
    signature = bundle["dsseEnvelope"]["signatures"][0]
    signature["sig"] = (
        signature["sig"][:20] + ("A" if signature["sig"][20] != "A" else "B") + signature["sig"][21:]
    )
    (model / "model.sig").write_text(json.dumps(bundle))
    assert verify_revision(model, trust=trust).outcome == "INVALID_SIGNATURE"


def test_two_signatures_are_found_by_content_and_neither_is_content(oms, model, trust):
    shutil.copy(oms / "key-p256.model.sig", model / "a.json")
    (model / "deep").mkdir()
    shutil.copy(oms / "cert.model.sig", model / "deep/b")
    shutil.copy(oms / "cert.model.sig", model / "again")
    found = verify_revision(model, trust=trust)
    assert [fact.outcome for fact in found.signatures] == ["VERIFIED", "VERIFIED"]
    unsigned = verify_revision(oms / "tiny-model", trust=trust)
    assert unsigned.outcome == "UNSIGNED"
    assert found.reference.content_sha256 == unsigned.reference.content_sha256
    assert found.reference.sha256 != unsigned.reference.sha256


MEDIA = b'{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"'


def test_junk_is_recorded_the_same_each_time(model, trust):
    """Forty junk bundles, names that are not UTF-8, a bundle above 16 MiB: an outcome, no exception."""
    for number in range(40):
        (model / f"junk{number}").write_bytes(MEDIA + b"," * number)
    (model / "deep.json").write_bytes(MEDIA + b', "x": ' + b"[" * 100_000)
    with (model / "huge").open("wb") as file:
        file.write(MEDIA)
        file.truncate(17 << 20)
    pathlib.Path(os.fsdecode(os.fsencode(model) + b"/\xff\xfe")).write_bytes(b"x")
    first, second = verify_revision(model, trust=trust), verify_revision(model, trust=trust)
    assert first == second
    assert (first.outcome, len(first.signatures), first.more_signatures.count) == ("UNSUPPORTED", 16, 26)
    assert "%FF%FE" in first.manifest.files
    assert {"bundle-malformed", "bundle-too-large"} == set(first.reasons)


def test_a_manifest_that_the_hub_knows_needs_no_files(oms, model, trust):
    manifest = verify_revision(model, trust=trust).manifest
    raw = (oms / "key-p256.model.sig").read_bytes()
    assert verify_manifest(manifest, [("model.sig", raw)], trust=trust).outcome == "VERIFIED"
    blake = verify_manifest(
        manifest, [("model.sig", (oms / "key-p256-blake3.model.sig").read_bytes())], trust=trust
    )
    assert (blake.outcome, blake.reasons) == ("UNSUPPORTED", ("needs-file-bytes",))


def test_the_manifest_lists_every_file_and_leaves_git_out(model, trust):
    (model / ".git").mkdir()
    (model / ".git/config").write_bytes(b"x")
    (model / ".gitattributes").write_bytes(b"y")
    found = verify_revision(model, trust=trust)
    listed = parse_canonical_json(found.manifest.data, max_bytes=1 << 20)
    assert [item["path"] for item in listed] == sorted(
        [".gitattributes", "README.md", "config.json", "model.safetensors", "sub/vocab.txt"], key=str.encode
    )
    assert found.reference.content_sha256 != found.reference.sha256
