"""Every method, serialisation and format that model-signing has written is read, and every sample has its outcome."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.bundle.trust_material import TrustMaterial
from ledger.identity import CertificateFacts, KeyFacts, SigstoreFacts
from ledger.verification import verify_revision
from tests import oms
from tests.conftest import REPOSITORY, missing

IBM = ("sigstore", "https://sigstore.verify.ibm.com/oauth2")
FAKE = ("sigstore", "https://idp.example.org")
LEAF = ("certificate", "CN=signer@example.org,O=Sample Hub Test")
RELEASED_LEAF = ("certificate", "CN=intermediate-ca")
P256, P384 = ("key", "oms/keys/ec-p256.pub"), ("key", "oms/keys/ec-p384.pub")
RELEASED_KEY = ("key", "oms-released/keys/signing-key-pub.pem")

SAMPLES = {
    "oms/key-p256.model.sig": ("VERIFIED", P256),
    "oms/key-p384.model.sig": ("VERIFIED", P384),
    "oms/key-p256-shards.model.sig": ("VERIFIED", P256),
    "oms/key-p256-blake2.model.sig": ("VERIFIED", P256),
    "oms/key-p256-blake3.model.sig": ("VERIFIED", P256),
    "oms/single-file.model.sig": ("VERIFIED", P256),
    "oms/cert.model.sig": ("VERIFIED", LEAF),
    "oms/fake-sigstore/sigstore-rekor-v1.model.sig": ("VERIFIED", FAKE),
    "oms/fake-sigstore/sigstore-rekor-v2.model.sig": ("VERIFIED", FAKE),
    "oms-released/v0.3.1-certificate/model.sig": ("VERIFIED", RELEASED_LEAF),
    "oms-released/v0.3.1-elliptic-key/model.sig": ("VERIFIED", RELEASED_KEY),
    "oms-released/v0.3.1-sigstore/model.sig": ("VERIFIED", IBM),
    "oms-released/v1.0.0-certificate/model.sig": ("VERIFIED", RELEASED_LEAF),
    "oms-released/v1.0.0-elliptic-key/model.sig": ("VERIFIED", RELEASED_KEY),
    "oms-released/v1.0.0-sigstore/model.sig": ("VERIFIED", IBM),
    # Made with `ignore-me` left out on the command line, which 1.0.1 did not write into the statement.
    "oms-released/v1.0.1-certificate/model.sig": ("CONTENT_MISMATCH", RELEASED_LEAF),
    "oms-released/v1.0.1-elliptic-key/model.sig": ("CONTENT_MISMATCH", RELEASED_KEY),
    "oms-released/v1.0.1-sigstore/model.sig": ("CONTENT_MISMATCH", IBM),
}


def test_the_table_names_every_sample(samples):
    found = {str(path.relative_to(samples)) for path in samples.rglob("*.sig")}
    assert found == SAMPLES.keys()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_has_its_outcome_and_signer(samples, sample_trust, tmp_path, name):
    """The IBM ones are real and public: they verify against the production root that sigstore embeds."""
    model = model_of(samples / name, tmp_path)
    outcome, (kind, who) = SAMPLES[name]
    trust = sample_trust
    if who == IBM[1]:
        trust = TrustMaterial()
    found = verify_revision(model, trust=trust, received=oms.NOON.replace(year=2027))
    (fact,) = found.signatures
    assert (fact.outcome, fact.method) == (outcome, kind)
    assert found.reasons == (("unsigned-file",) if outcome == "CONTENT_MISMATCH" else ())
    match fact.signer:
        case KeyFacts():
            assert fact.signer.spki_sha256 == spki_of((samples / who).read_bytes())
        case CertificateFacts():
            assert fact.signer.subject == who
            assert fact.signer.anchor_spki_sha256 is not None
        case SigstoreFacts():
            assert (fact.signer.issuer, fact.signer.san_type) == (who, "email")
            assert fact.upstream_log is not None
        case other:
            raise AssertionError(other)


def model_of(bundle, folder):
    """A copy of the files that a sample is about, with the bundle among them."""
    if bundle.parent.parent.name == "oms-released":
        return pathlib.Path(shutil.copytree(bundle.parent, folder / "model"))
    tiny = (
        bundle.parent / "tiny-model"
        if (bundle.parent / "tiny-model").exists()
        else bundle.parents[1] / "tiny-model"
    )
    target = folder / "model"
    if bundle.name.startswith("single-file"):
        target.mkdir()
        shutil.copy(tiny / "model.safetensors", target)
    else:
        shutil.copytree(tiny, target)
    shutil.copy(bundle, target / "model.sig")
    return target


def spki_of(pem):
    import hashlib

    key = serialization.load_pem_public_key(pem[pem.find(b"-----BEGIN") :])
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, oms.SPKI)).digest()


@pytest.mark.parametrize("curve", [ec.SECP256R1, ec.SECP384R1, ec.SECP521R1])
def test_keys_of_every_curve(model, judge, curve):
    key = oms.new_key(curve)
    signed = oms.key_bundle(oms.statement(model), key)
    assert judge(signed, public_keys=[oms.public_pem(key)]) == ("VERIFIED", ())


SERIALISATIONS = [
    *({"hash_type": each} for each in ("sha256", "blake2b", "blake3")),
    *(
        {"hash_type": each, "shard_size": size}
        for each in ("sha256", "blake2b")
        for size in (1, 7, 8, 40, 10**9)
    ),
]


@pytest.mark.parametrize("options", SERIALISATIONS, ids=str)
def test_files_and_shards_of_any_size_and_hash(model, key, judge, options):
    signed = oms.key_bundle(oms.statement(model, **options), key)
    assert judge(signed) == ("VERIFIED", ())
    (model / "weights.bin").write_bytes(bytes(range(39)) + b"x")
    assert judge(signed) == ("CONTENT_MISMATCH", ("content-differs",))


def test_spellings_that_are_in_use(model, key, judge):
    """`algorithm` as the hash or with its shard size, `shard_size` as 8, 8.0 or absent, `blake2` for `blake2b`."""
    for size in (8, 8.0, None):
        value = oms.statement(model, shard_size=8)
        value["predicate"]["serialization"]["shard_size"] = size
        if size is None:
            del value["predicate"]["serialization"]["shard_size"]
        for spelled in ("sha256", "sha256-sharded-8"):
            for each in value["predicate"]["resources"]:
                each["algorithm"] = spelled
            wanted = "UNSUPPORTED" if size is None and spelled != "sha256" else "VERIFIED"
            assert judge(oms.key_bundle(value, key))[0] == wanted, (size, spelled)
    for spelled in ("blake2", "blake2b"):
        value = oms.statement(model, hash_type="blake2b")
        value["predicate"]["serialization"]["hash_type"] = "blake2"
        for each in value["predicate"]["resources"]:
            each["algorithm"] = spelled
        assert judge(oms.key_bundle(value, key)) == ("VERIFIED", ())


@pytest.mark.parametrize("size", [0, -8, 8.5, 1e300, "8", True, [8], 2**53])
def test_a_shard_size_that_is_no_whole_number_of_bytes(model, key, judge, size):
    value = oms.statement(model, shard_size=8)
    value["predicate"]["serialization"]["shard_size"] = size
    assert judge(oms.key_bundle(value, key)) == ("UNSUPPORTED", ("statement-malformed",))


def test_shards_must_lie_where_the_shard_size_puts_them(model, key, judge):
    """Else one statement could be read as covering a file in two ways."""
    value = oms.statement(model, shard_size=8)
    value["predicate"]["serialization"]["shard_size"] = 16
    for each in value["predicate"]["resources"]:
        each["algorithm"] = "sha256"
    assert judge(oms.key_bundle(value, key)) == ("UNSUPPORTED", ("statement-malformed",))


@pytest.mark.parametrize(
    "media", ["+json;version=0.1", "+json;version=0.2", "+json;version=0.3", ".v0.3+json"]
)
def test_bundles_of_every_version(model, key, judge, media):
    signed = oms.key_bundle(oms.statement(model), key, media=f"application/vnd.dev.sigstore.bundle{media}")
    assert judge(signed) == ("VERIFIED", ())


@pytest.mark.parametrize("media", [".v0.4+json", "+json;version=0.9", ""])
def test_bundles_of_unknown_versions_are_unsupported(model, key, judge, media):
    signed = oms.key_bundle(oms.statement(model), key, media=f"application/vnd.dev.sigstore.bundle{media}")
    assert judge(signed) == ("UNSUPPORTED", ("bundle-version",))


def test_a_keyid_may_be_absent_empty_or_null(model, key, judge):
    for keyid in ("", None, "anything"):
        signed = oms.key_bundle(oms.statement(model), key)
        signed["dsseEnvelope"]["signatures"][0]["keyid"] = keyid
        assert judge(signed) == ("VERIFIED", ())
    del signed["dsseEnvelope"]["signatures"][0]["keyid"]
    assert judge(signed) == ("VERIFIED", ())


def test_log_entries_that_a_hub_added_to_a_key_or_certificate_bundle_are_left_alone(model, key, judge):
    """OMS allows them; they make no keyless signature of it."""
    root = oms.authority()
    leaf = oms.certify("leaf", root)
    value = oms.statement(model)
    for signed in (oms.key_bundle(value, key), oms.certificate_bundle(value, leaf)):
        signed["verificationMaterial"]["tlogEntries"] = [{"logIndex": "1"}]
        assert judge(signed, anchors=[root.pem]) == ("VERIFIED", ())


# model-signing 0.2


@pytest.mark.parametrize("curve", [ec.SECP256R1, ec.SECP384R1])
@pytest.mark.parametrize("algorithm", ["file-sha256", "file-blake2b"])
def test_statements_of_version_0_2_with_their_wrong_encoding(model, judge, curve, algorithm):
    key = oms.new_key(curve)
    signed = oms.key_bundle_v02(oms.statement_v02(model, algorithm), key)
    trust = {"public_keys": [oms.public_pem(key)]}
    assert judge(signed, **trust) == ("VERIFIED", ("deprecated-encoding",))
    (model / "config.json").write_bytes(b"{}")
    assert judge(signed, **trust) == ("CONTENT_MISMATCH", ("content-differs",))


def test_statements_of_version_0_2_in_the_right_encoding(model, key, judge):
    assert judge(oms.key_bundle(oms.statement_v02(model), key)) == ("VERIFIED", ())


def test_the_wrong_encoding_is_for_statements_of_version_0_2_alone(model, key, judge):
    assert judge(oms.key_bundle_v02(oms.statement(model), key)) == (
        "INVALID_SIGNATURE",
        ("signature-invalid",),
    )


@pytest.mark.parametrize("kind", ["Digest", "DigestOfDigests", "DigestOfShardDigests", "ShardDigests"])
def test_other_statements_of_version_0_2_are_unsupported_as_they_are_today(model, key, judge, kind):
    value = oms.statement_v02(model)
    value["predicateType"] = f"https://model_signing/{kind}/v0.1"
    assert judge(oms.key_bundle(value, key)) == ("UNSUPPORTED", ("statement-unsupported",))


OLD_SIGNER = """
import pathlib, sys
from model_signing import model
from model_signing.hashing import file, memory
from model_signing.serialization import serialize_by_file
from model_signing.signature import key, pki
from model_signing.signing import in_toto, in_toto_signature

folder, method, private, *chain = sys.argv[1:]
signer = key.ECKeySigner.from_path(private) if method == "key" else pki.PKISigner.from_path(private, chain[0], chain[1:])
serializer = serialize_by_file.ManifestSerializer(
    file_hasher_factory=lambda path: file.SimpleFileHasher(path, memory.SHA256())
)
signature = model.sign(
    pathlib.Path(folder),
    in_toto_signature.IntotoSigner(signer),
    in_toto.DigestsIntotoPayload.from_manifest,
    serializer,
)
signature.write(pathlib.Path(folder) / "model.sig")
"""


@pytest.mark.parametrize("curve", [ec.SECP256R1, ec.SECP384R1])
@pytest.mark.parametrize("method", ["key", "certificate"])
def test_what_model_signing_0_2_itself_signs(tmp_path, model, curve, method):
    """Its real code, installed by .ci/old-model-signing."""
    tools = pathlib.Path(os.environ.get("HUBLEDGER_TOOLS", REPOSITORY / ".tools"))
    python = tools / "model-signing-0.2/bin/python"
    if not python.exists():
        missing("no model-signing 0.2: .ci/old-model-signing installs it")
    root = oms.authority()
    middle = oms.authority("Middle", root)
    leaf = oms.certify("leaf", middle, key=oms.new_key(curve))
    files = {"key.pem": private_pem(leaf.key), "leaf.pem": leaf.pem, "middle.pem": middle.pem}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    arguments = [tmp_path / "key.pem", tmp_path / "leaf.pem", tmp_path / "middle.pem"]
    subprocess.run([python, "-c", OLD_SIGNER, model, method, *arguments], check=True, capture_output=True)
    assert b"rawBytes" in (model / "model.sig").read_bytes()
    assert b"Digests/v0.1" in json.dumps(oms_statement_of(model)).encode()
    trust = TrustMaterial(public_keys=[oms.public_pem(leaf.key)], anchors=[root.pem])
    found = verify_revision(model, trust=trust)
    assert (found.outcome, found.reasons, found.signatures[0].method) == (
        "VERIFIED",
        ("deprecated-encoding",),
        method,
    )


def private_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def oms_statement_of(model):
    import base64

    return json.loads(
        base64.b64decode(json.loads((model / "model.sig").read_bytes())["dsseEnvelope"]["payload"])
    )


# Several bundles, and files that are none


def test_seventeen_signatures_are_sixteen_and_a_count(tmp_path, model):
    keys = [oms.new_key() for _ in range(18)]
    for number, key in enumerate(keys):
        oms.put(model, oms.key_bundle(oms.statement(model), key), f"{number}.json")
    trust = TrustMaterial(public_keys=[oms.public_pem(key) for key in keys[:17]])
    found = verify_revision(model, trust=trust)
    assert [fact.outcome for fact in found.signatures] == ["VERIFIED"] * 16
    assert found.more_signatures.count == 2
    assert found.outcome == "VERIFIED"
    assert len(found.evidence) == 19, "all 18 bundles are kept, and the manifest"


def test_each_bundle_has_its_own_outcome(tmp_path, model, key):
    """One of this model, one of another, one by a stranger, one bent, one of no known kind: found by content."""
    other = oms.write_model(tmp_path / "other", {"other.bin": b"other"})
    good = oms.key_bundle(oms.statement(model), key)
    bent = oms.key_bundle(oms.statement(model), key)
    bent["dsseEnvelope"]["payload"] = oms.b64(oms.raw(oms.statement(other)))
    (model / "deep").mkdir()
    oms.put(model, good, "README.md")
    oms.put(model, oms.key_bundle(oms.statement(other), key), "deep/.sig")
    oms.put(model, oms.key_bundle(oms.statement(model), oms.new_key()), "stranger")
    oms.put(model, bent, "bent.json")
    oms.put(model, {**good, "mediaType": "application/vnd.dev.sigstore.bundle.v9+json"}, "v9")
    found = verify_revision(model, trust=TrustMaterial(public_keys=[oms.public_pem(key)]))
    by_place = {fact.location: fact.outcome for fact in found.signatures}
    assert by_place == {
        "README.md": "VERIFIED",
        "deep/.sig": "CONTENT_MISMATCH",
        "stranger": "UNKNOWN_KEY",
        "bent.json": "INVALID_SIGNATURE",
        "v9": "UNSUPPORTED",
    }
    assert found.outcome == "VERIFIED"
    assert len(found.explanations) == 5, "two for the other model: its file is missing, and ours are not its"


def test_an_attestation_beside_the_model_is_evidence_and_no_signature(model, key):
    """It is named and kept, is no content, and never turns an unsigned model into a badly signed one."""
    bare = verify_revision(model, trust=TrustMaterial())
    attestation = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "model", "digest": {"sha256": "0" * 64}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {},
    }
    oms.put(model, oms.key_bundle(attestation, oms.new_key()), "provenance.json")
    old = {**attestation, "_type": "https://in-toto.io/Statement/v0.1"}
    oms.put(model, oms.key_bundle(old, key), "old-provenance.json")
    alone = verify_revision(model, trust=TrustMaterial(public_keys=[oms.public_pem(key)]))
    assert (alone.outcome, alone.reasons) == ("UNSUPPORTED", ("attestation",))
    assert all(fact.signer is None for fact in alone.signatures)
    assert alone.reference.content_sha256 == bare.reference.content_sha256
    assert len(alone.evidence) == 2
    oms.put(model, oms.key_bundle(oms.statement(model), key))
    beside = verify_revision(model, trust=TrustMaterial(public_keys=[oms.public_pem(key)]))
    assert (beside.outcome, beside.reasons) == ("VERIFIED", ("attestation",)), "listed by the signature"
    oms.put(model, oms.key_bundle(attestation, oms.new_key()), "later.json")
    later = verify_revision(model, trust=TrustMaterial(public_keys=[oms.public_pem(key)]))
    assert later.outcome == "VERIFIED", "added after the model was signed"


# Links


def test_links_count_where_the_signer_allowed_them_and_they_stay_inside(tmp_path, model, key, judge):
    (model / "one").symlink_to("two")
    (model / "two").symlink_to("sub/../weights.bin")
    value = oms.statement(model, allow_symlinks=True)
    for name in ("one", "two"):
        listed = next(each for each in value["predicate"]["resources"] if each["name"] == "weights.bin")
        value["predicate"]["resources"].append({**listed, "name": name})
    value["subject"][0]["digest"]["sha256"] = oms.root_of(value["predicate"]["resources"])
    assert judge(oms.key_bundle(value, key)) == ("VERIFIED", ())
    value["predicate"]["serialization"]["allow_symlinks"] = False
    assert judge(oms.key_bundle(value, key)) == ("CONTENT_MISMATCH", ("missing-file",))
    value["predicate"]["serialization"]["allow_symlinks"] = True
    for outside in ("/etc/hostname", "../outside", "one"):
        (model / "two").unlink()
        (model / "two").symlink_to(outside)
        assert judge(oms.key_bundle(value, key)) == ("CONTENT_MISMATCH", ("missing-file",)), outside


@pytest.mark.parametrize("ignored", ["extra", "./extra", "extra/", "a//../extra/x", "/extra", "..", ".", ""])
def test_ignored_paths_are_what_their_plain_form_says(model, key, judge, ignored):
    """Only a path below the model ignores anything; none ignores the model itself."""
    signed = oms.key_bundle(oms.statement(model, ignore_paths=[ignored]), key)
    assert judge(signed) == ("VERIFIED", ())
    (model / "extra").mkdir()
    (model / "extra/evil.py").write_bytes(b"x")
    wanted = (
        ("VERIFIED", ())
        if ignored in ("extra", "./extra", "extra/")
        else ("CONTENT_MISMATCH", ("unsigned-file",))
    )
    assert judge(signed) == wanted
    (model / "extra.py").write_bytes(b"x")
    assert judge(signed) == ("CONTENT_MISMATCH", ("unsigned-file",))


def test_an_empty_file_cannot_be_listed_in_shards(model, key, judge):
    """model-signing lists no shard of it; we say that it is there. One with content is unsigned."""
    (model / "__init__.py").write_bytes(b"")
    signed = oms.key_bundle(oms.statement(model, shard_size=8), key)
    assert judge(signed) == ("VERIFIED", ("unlisted-empty-file",))
    (model / "__init__.py").write_bytes(b"x")
    assert judge(signed) == ("CONTENT_MISMATCH", ("unsigned-file",))
