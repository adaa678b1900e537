"""A signature file is no content, so nothing else hides in one: the format's fields, and texts that are no templates."""

import copy
import json

import pytest

from ledger.bundle import parse_bundle
from ledger.bundle.reasons import NotVerifiedError
from ledger.bundle.trust_material import TrustMaterial
from ledger.verification import read_content, verify_revision
from tests import oms

LOADER = {"base_model_name_or_path": "evil/model", "peft_type": "LORA"}


def samples_of(folder):
    """Every bundle with a DSSE envelope among the samples: of model-signing 0.2 to 1.1, sigstore-python and cosign."""
    for path in sorted(folder.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        if data.startswith(b"{") and b'"dsseEnvelope"' in data and b'"mediaType"' in data:
            yield path, json.loads(data)


def test_everything_that_signers_write_is_a_bundle(samples, vectors):
    found = [*samples_of(samples), *samples_of(vectors / "vectors/rekor-bundles")]
    assert len(found) >= 15
    for path, value in found:
        assert parse_bundle(path.read_bytes()).payload, path
        assert set(value) == {"mediaType", "verificationMaterial", "dsseEnvelope"}


def objects_in(value, path=()):
    """Yield the place of every object in a bundle, the bundle itself first."""
    if isinstance(value, dict):
        yield path
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(each, dict | list):
            yield from objects_in(each, (*path, key))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def test_no_object_of_any_bundle_takes_another_field(samples):
    """Wherever one is put: at the top, beside the signature, in a certificate, in a proof of the log."""
    places = set()
    for path, value in samples_of(samples):
        for place in objects_in(value):
            bent = copy.deepcopy(value)
            at(bent, place)["base_model_name_or_path"] = "evil/model"
            with pytest.raises(NotVerifiedError, match=r"unknown field base_model_name_or_path in ") as error:
                parse_bundle(oms.raw(bent))
            assert (error.value.outcome, error.value.reason) == ("UNSUPPORTED", "bundle-malformed"), path
            places.add(tuple(key for key in place if isinstance(key, str)))
    assert ("verificationMaterial", "tlogEntries", "inclusionProof", "checkpoint") in places
    assert ("verificationMaterial", "timestampVerificationData", "rfc3161Timestamps") in places
    assert ("verificationMaterial", "publicKey") in places
    assert ("dsseEnvelope", "signatures") in places


def put(value, *path):
    def bend(bundle):
        at(bundle, path[:-1])[path[-1]] = value

    return bend


MATERIAL = "verificationMaterial"
SMUGGLED = {
    "a template as hint": put("{% for x in y %}{{ x }}{% endfor %}", MATERIAL, "publicKey", "hint"),
    "a page as keyid": put("<script>", "dsseEnvelope", "signatures", 0, "keyid"),
    "a template as media type": put("application/vnd.dev.sigstore.bundle{{x}}", "mediaType"),
    "an object for a text": put({"a": "b"}, MATERIAL, "publicKey", "hint"),
    "a list for an object": put([{"rawBytes": ""}], MATERIAL, "publicKey"),
    "an object for a list": put({"a": 1}, MATERIAL, "tlogEntries"),
    "a text for an object": put("x", MATERIAL, "timestampVerificationData"),
    "a number for a text": put(1, "dsseEnvelope", "signatures", 0, "keyid"),
    "a truth for a number": put([{"logIndex": True}], MATERIAL, "tlogEntries"),
    "a fraction for a number": put([{"logIndex": 1.5}], MATERIAL, "tlogEntries"),
    "a text in a list of objects": put(["x"], MATERIAL, "tlogEntries"),
    "another signature's own fields": put({"x": 1}, "messageSignature"),
}


@pytest.mark.parametrize("what", SMUGGLED)
def test_nothing_of_another_kind_is_in_a_bundle(model, key, what):
    bundle = oms.key_bundle(oms.statement(model), key)
    parse_bundle(oms.raw(bundle))
    SMUGGLED[what](bundle)
    with pytest.raises(NotVerifiedError) as error:
        parse_bundle(oms.raw(bundle))
    assert (error.value.outcome, error.value.reason) == ("UNSUPPORTED", "bundle-malformed")


def test_what_protobuf_may_write_is_accepted(model, key):
    """A null is an absent field, and an integer may be one or a string of one."""
    bundle = oms.key_bundle(oms.statement(model), key)
    bundle["dsseEnvelope"]["signatures"][0]["keyid"] = None
    bundle["messageSignature"] = None
    bundle[MATERIAL] |= {"timestampVerificationData": None, "certificate": None}
    bundle[MATERIAL]["tlogEntries"] = [{"logIndex": 1, "integratedTime": "2", "inclusionProof": None}]
    assert parse_bundle(oms.raw(bundle)).method == "key"


def test_settings_in_a_signature_file_are_content(model, key):
    """The publisher's own signature with a loader's fields, under the name that a loader looks for."""
    signed = oms.key_bundle(oms.statement(model), key)
    oms.put(model, signed)
    trust = TrustMaterial(public_keys=[oms.public_pem(key)])
    clean = verify_revision(model, trust=trust)
    assert clean.outcome == "VERIFIED"
    oms.put(model, signed | LOADER, "adapter_config.json")
    found = verify_revision(model, trust=trust)
    assert (found.outcome, found.reasons) == ("CONTENT_MISMATCH", ("bundle-malformed", "unsigned-file"))
    assert {each.location: each.outcome for each in found.signatures} == {
        "model.sig": "CONTENT_MISMATCH",
        "adapter_config.json": "UNSUPPORTED",
    }
    assert found.reference.content_sha256 != clean.reference.content_sha256
    assert "adapter_config.json" in [item.path for item in read_content(model).content.items]


def test_a_copy_of_a_signature_file_is_no_content(model, key):
    """A file that is a bundle and nothing else counts as a signature under any name."""
    signed = oms.key_bundle(oms.statement(model), key)
    oms.put(oms.put(model, signed), signed, "copy.json")
    found = verify_revision(model, trust=TrustMaterial(public_keys=[oms.public_pem(key)]))
    assert (found.outcome, len(found.signatures)) == ("VERIFIED", 1)
