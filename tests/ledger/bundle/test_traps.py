"""The traps that a hub meets between the OMS text, model-signing and sigstore-python. We fall into none of them."""

import base64
import json
import os
import pathlib
import shutil

import pytest

from cli.demo_world import DemoSigstore
from ledger.bundle import NotVerifiedError, parse_bundle
from ledger.bundle.sigstore_method import verify_sigstore
from ledger.bundle.trust_material import TrustMaterial
from ledger.errors import ConfigError
from ledger.verification import verify_revision
from tests import oms


def trust_of(key):
    return TrustMaterial(public_keys=[oms.public_pem(key)])


# The OMS text against model-signing


def test_the_order_of_resources(tmp_path, key):
    """Trap: OMS orders by the whole name, model-signing by path components; the same tree has two root digests."""
    model = oms.write_model(tmp_path / "m", {name: name.encode() for name in ("B", "a-b", "a.txt", "a/b")})
    roots = set()
    for order in (["B", "a-b", "a.txt", "a/b"], ["B", "a/b", "a-b", "a.txt"]):
        value = oms.statement(model)
        value["predicate"]["resources"].sort(key=lambda each, order=order: order.index(each["name"]))
        value["subject"][0]["digest"]["sha256"] = oms.root_of(value["predicate"]["resources"])
        oms.put(model, oms.key_bundle(value, key))
        found = verify_revision(model, trust=trust_of(key))
        assert found.outcome == "VERIFIED"
        roots.add(found.signatures[0].oms_root_sha256)
    assert len(roots) == 2


def test_the_name_of_a_model_that_is_one_file(tmp_path, key):
    """Trap: OMS names the file by its base name, model-signing by a dot."""
    model = oms.write_model(tmp_path / "m", {"weights.bin": b"weights"})
    for name in (".", "weights.bin"):
        value = oms.statement(model)
        value["predicate"]["resources"][0]["name"] = name
        oms.put(model, oms.key_bundle(value, key))
        assert verify_revision(model, trust=trust_of(key)).outcome == "VERIFIED", name
    oms.write_model(model, {"another.bin": b"another"})
    value["predicate"]["resources"][0]["name"] = "."
    oms.put(model, oms.key_bundle(value, key))
    found = verify_revision(model, trust=trust_of(key))
    assert (found.outcome, found.reasons) == ("CONTENT_MISMATCH", ("unsigned-file",))


@pytest.mark.parametrize("name", ["key-p256-shards", "key-p256-blake2"])
def test_what_model_signing_cannot_verify_without_help(samples, sample_trust, tiny, name):
    """Trap: `sha256-sharded-8`, `shard_size` 8.0 and `blake2b` are written by model-signing, which then dies of them."""
    shutil.copy(samples / f"oms/{name}.model.sig", tiny / "model.sig")
    assert verify_revision(tiny, trust=sample_trust).outcome == "VERIFIED"


def test_an_expired_leaf_is_not_passed_over_in_silence(model):
    """Trap: model-signing checks a chain at the leaf's own beginning, so a certificate long expired verifies."""
    root = oms.authority()
    oms.put(model, oms.certificate_bundle(oms.statement(model), oms.certify("leaf", root, days=1)))
    found = verify_revision(
        model, trust=TrustMaterial(anchors=[root.pem]), received=oms.NOON.replace(year=2036)
    )
    assert (found.outcome, found.reasons) == ("VERIFIED", ("certificate-expired",))


def test_the_root_digest_does_not_bind_names(model, key):
    """Trap: the OMS root digest hashes digests only; a renamed file keeps it."""
    oms.put(model, oms.key_bundle(oms.statement(model), key))
    (model / "config.json").rename(model / "confih.json")
    found = verify_revision(model, trust=trust_of(key))
    assert found.signatures[0].oms_root_sha256.hex() == oms.root_of(oms.resources_of(model))
    assert found.reasons == ("missing-file", "unsigned-file")


# model-signing as a library


def test_nothing_leaks_from_one_verification_into_the_next(tmp_path, key):
    """Trap: a verifying.Config that is used again keeps the ignored paths of the signature before."""
    first, second = oms.write_model(tmp_path / "a"), oms.write_model(tmp_path / "b")
    oms.put(first, oms.key_bundle(oms.statement(first, ignore_paths=["evil.py"]), key))
    strict = oms.key_bundle(oms.statement(second), key)
    oms.put(second, strict)
    for model in (first, second):
        (model / "evil.py").write_bytes(b"evil")
    trust = trust_of(key)
    assert verify_revision(first, trust=trust).outcome == "VERIFIED"
    assert verify_revision(second, trust=trust).outcome == "CONTENT_MISMATCH"
    both = oms.put(first, strict, "other.sig")
    outcomes = {fact.location: fact.outcome for fact in verify_revision(both, trust=trust).signatures}
    assert outcomes == {"model.sig": "VERIFIED", "other.sig": "CONTENT_MISMATCH"}


def test_a_relative_path(model, key, monkeypatch):
    """Trap: model-signing joins paths with an operator that a string does not have."""
    oms.put(model, oms.key_bundle(oms.statement(model), key))
    monkeypatch.chdir(model.parent)
    assert verify_revision(pathlib.Path("model"), trust=trust_of(key)).outcome == "VERIFIED"
    monkeypatch.chdir(model)
    assert verify_revision(pathlib.Path(), trust=trust_of(key)).outcome == "VERIFIED"


def test_signing_again_gives_other_bytes_of_the_same_content(model, key):
    """Trap: statements are not deterministic, signatures neither; the content's digest must be."""
    seen, contents = set(), set()
    for ignored in (oms.GIT, oms.GIT[::-1]):
        oms.put(model, oms.key_bundle(oms.statement(model, ignore_paths=ignored), key))
        found = verify_revision(model, trust=trust_of(key))
        seen.add((found.signatures[0].statement_sha256, found.signatures[0].bundle_sha256))
        contents.add((found.reference.content_sha256, found.signatures[0].oms_root_sha256))
    assert (len(seen), len(contents)) == (2, 1)


def test_what_a_signer_ignores_is_reported(model, key):
    """Trap: the signer chooses what is left out, and a verifier honours it."""
    (model / "payload.py").write_bytes(b"x")
    value = oms.statement(model, ignore_paths=["payload.py", ".git"])
    value["predicate"]["resources"] = [
        each for each in value["predicate"]["resources"] if each["name"] != "payload.py"
    ]
    value["subject"][0]["digest"]["sha256"] = oms.root_of(value["predicate"]["resources"])
    oms.put(model, oms.key_bundle(value, key))
    (fact,) = verify_revision(model, trust=trust_of(key)).signatures
    assert (fact.outcome, fact.ignored_paths) == ("VERIFIED", (".git", "payload.py"))


def test_sigstores_reader_refuses_key_and_certificate_bundles(model, key):
    """Trap: sigstore.models.Bundle knows keyless bundles only."""
    from sigstore.models import Bundle, InvalidBundle

    raw = oms.raw(oms.key_bundle(oms.statement(model), key))
    with pytest.raises(InvalidBundle):
        Bundle.from_json(raw)
    assert parse_bundle(raw).method == "key"


def test_a_cache_of_links_is_not_a_copy(tmp_path, model, key):
    """Trap: Hugging Face's cache is made of links that lead out of the snapshot; what they lead to is not followed."""
    oms.put(model, oms.key_bundle(oms.statement(model, allow_symlinks=True), key))
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for name in ("config.json", "weights.bin"):
        (model / name).rename(blobs / name)
        (model / name).symlink_to(os.path.relpath(blobs / name, model))
    found = verify_revision(model, trust=trust_of(key))
    assert (found.outcome, found.reasons) == ("CONTENT_MISMATCH", ("missing-file",))


def test_any_signer_is_verified_first_and_named_then(model):
    """Trap: model-signing wants to know the signer beforehand and returns nothing."""
    signed = DemoSigstore()
    oms.put(
        model, signed.sign(oms.raw(oms.statement(model)), identity="a@b.example", issuer="https://i.example")
    )
    (fact,) = verify_revision(model, trust=TrustMaterial(sigstore_json=signed.trusted_root())).signatures
    assert (fact.signer.san, fact.signer.issuer) == ("a@b.example", "https://i.example")


# sigstore-python


@pytest.fixture
def second_rekor(samples, sample_trust):
    """A bundle of Rekor v2's shape, and what verifying it answers: the entry, or the reason why not."""
    bundle = json.loads((samples / "oms/fake-sigstore/sigstore-rekor-v2.model.sig").read_bytes())

    def check(**changed):
        entry = {**bundle["verificationMaterial"]["tlogEntries"][0], **changed}
        material = {**bundle["verificationMaterial"], "tlogEntries": [entry]}
        raw = oms.raw({**bundle, "verificationMaterial": material})
        assert accepted_by_sigstore(raw, samples), "the trap: sigstore-python accepts it"
        try:
            return verify_sigstore(parse_bundle(raw), sample_trust).upstream_log
        except NotVerifiedError as error:
            return error.reason

    check.entry = bundle["verificationMaterial"]["tlogEntries"][0]
    return check


def accepted_by_sigstore(raw, samples):
    from sigstore.models import Bundle, TrustedRoot
    from sigstore.verify import Verifier, policy

    root = TrustedRoot.from_file(str(samples / "oms/fake-sigstore/trusted_root.json"))
    Verifier(trusted_root=root).verify_dsse(Bundle.from_json(raw), policy.UnsafeNoOp())
    return True


def test_the_outer_index_of_the_second_rekor(second_rekor):
    """Trap: sigstore-python authenticates no outer index of a Rekor v2 entry."""
    assert second_rekor().index == 1
    assert second_rekor(logIndex="7777") == "upstream-index-false"


def test_a_promise_that_nobody_looks_at(second_rekor):
    """Trap: sigstore-python verifies a promise only beside a time; one without it would vouch for any index."""
    nobody = {"signedEntryTimestamp": oms.b64(b"nobody")}
    assert second_rekor(logIndex="7777", inclusionPromise=nobody) == "upstream-promise-false"


def test_a_time_that_nobody_promised(second_rekor):
    """Trap: sigstore-python ignores the time of an entry without a promise; so it must not be recorded."""
    assert second_rekor(integratedTime="1700000000").integrated_time is None


def test_a_false_index_and_size_that_fit_the_hashes(second_rekor):
    """Trap: sigstore-python compares the root with the checkpoint, not the size: another place has the same path."""
    proof = {**second_rekor.entry["inclusionProof"], "logIndex": "2", "treeSize": "3"}
    assert second_rekor(logIndex="2", inclusionProof=proof) == "upstream-log-unproven"


def test_cosignatures_beside_the_logs_own(second_rekor):
    """Trap: other lines of a checkpoint are ignored by sigstore-python. They neither help nor harm here."""
    proof = second_rekor.entry["inclusionProof"]
    line = "\u2014 witness.example " + base64.b64encode(bytes(76)).decode() + "\n"
    note = {"envelope": proof["checkpoint"]["envelope"] + line}
    assert second_rekor(inclusionProof={**proof, "checkpoint": note}).index == 1


def test_a_trust_root_without_a_certificate_log(samples):
    """Trap: without one, sigstore-python refuses every signature; it is the hub's setting that is wrong."""
    root = json.loads((samples / "oms/fake-sigstore/trusted_root.json").read_bytes())
    raw = (samples / "oms/fake-sigstore/sigstore-rekor-v1.model.sig").read_bytes()
    with pytest.raises(ConfigError, match="expected a certificate transparency log, got none"):
        verify_sigstore(parse_bundle(raw), TrustMaterial(sigstore_json=oms.raw({**root, "ctlogs": []})))
