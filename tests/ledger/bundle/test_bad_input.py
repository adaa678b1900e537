"""Whatever somebody uploads as a signature has an outcome and a reason code. Nothing raises, nothing hangs."""

import contextlib
import json

import pytest

from ledger.bundle import MAX_BUNDLE_BYTES
from ledger.bundle.reasons import REASONS, NotVerifiedError, refused
from ledger.bundle.trust_material import TrustMaterial
from ledger.verification import verify_manifest, verify_revision
from tests import oms

MEDIA = b'{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json",'


def test_a_bundle_of_200_MB(model):
    with (model / "model.sig").open("wb") as file:
        file.write(MEDIA)
        file.truncate(200_000_000)
    found = verify_revision(model, trust=TrustMaterial())
    assert (found.outcome, found.reasons) == ("UNSUPPORTED", ("bundle-too-large",))
    assert found.evidence == (), "its digest is all that is kept of the bundle"
    manifest = verify_revision(model.parent / "model/config.json", trust=TrustMaterial()).manifest
    handed_in = verify_manifest(manifest, [("s", bytes(MAX_BUNDLE_BYTES + 1))], trust=TrustMaterial())
    assert handed_in.reasons == ("bundle-too-large",)


def envelope(change):
    """Bend the envelope of a good bundle."""

    def bend(bundle):
        change(bundle["dsseEnvelope"])
        return oms.raw(bundle)

    return bend


def material(**changed):
    def bend(bundle):
        bundle["verificationMaterial"] = {**bundle["verificationMaterial"], **changed}
        return oms.raw(bundle)

    return bend


BUNDLES = {
    "10,000 levels deep": (
        lambda _: MEDIA + b'"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        "bundle-malformed",
    ),
    "100 levels deep": (lambda _: MEDIA + b'"x":' + b"[" * 100 + b"]" * 100 + b"}", "bundle-malformed"),
    "a key twice": (lambda b: oms.raw(b)[:-1] + b',"dsseEnvelope":{}}', "bundle-malformed"),
    "an integer of 5,000 digits": (
        lambda b: oms.raw(b)[:-1] + b',"x":' + b"9" * 5_000 + b"}",
        "bundle-malformed",
    ),
    "NaN": (lambda b: oms.raw(b)[:-1] + b',"x":NaN}', "bundle-malformed"),
    "not UTF-8": (lambda b: oms.raw(b)[:-1] + b',"x":"\xff"}', "bundle-malformed"),
    "UTF-16": (lambda b: MEDIA + json.dumps(b).encode("utf-16"), "bundle-malformed"),
    "a million of nothing": (lambda _: MEDIA + b'"x":[' + b"[]," * 1_000_000 + b"[]]}", "bundle-malformed"),
    "cut off": (lambda b: oms.raw(b)[:-20], "bundle-malformed"),
    "no envelope": (lambda b: oms.raw({**b, "dsseEnvelope": None}), "bundle-malformed"),
    "no material": (lambda b: oms.raw({**b, "verificationMaterial": []}), "bundle-malformed"),
    "two kinds of key": (material(certificate={"rawBytes": ""}), "bundle-malformed"),
    "no kind of key": (material(publicKey=None), "bundle-malformed"),
    "a signature over one file's bytes": (
        lambda b: oms.raw({**b, "messageSignature": {}, "dsseEnvelope": None}),
        "message-signature",
    ),
    "both kinds of content": (lambda b: oms.raw({**b, "messageSignature": {}}), "bundle-malformed"),
    "another payload type": (envelope(lambda e: e.update(payloadType="text/plain")), "payload-type"),
    "no signature": (envelope(lambda e: e.update(signatures=[])), "several-signatures"),
    "two signatures": (envelope(lambda e: e.update(signatures=e["signatures"] * 2)), "several-signatures"),
    "a signature without sig": (envelope(lambda e: e.update(signatures=[{}])), "bundle-malformed"),
    "a signature that is no base64": (
        envelope(lambda e: e.update(signatures=[{"sig": "é"}])),
        "bundle-malformed",
    ),
    "a signature of 10 kB": (
        envelope(lambda e: e.update(signatures=[{"sig": oms.b64(bytes(10_000))}])),
        "bundle-malformed",
    ),
    "a payload without padding": (envelope(lambda e: e.update(payload="e30")), "bundle-malformed"),
}


@pytest.mark.parametrize("bad", BUNDLES)
def test_a_bundle_that_is_none(model, key, judge, bad):
    bend, reason = BUNDLES[bad]
    assert judge(bend(oms.key_bundle(oms.statement(model), key))) == ("UNSUPPORTED", (reason,))


def resource(**changed):
    """Bend the first resource of a statement; the root digest is made right again where it can be."""

    def bend(value):
        listed = value["predicate"]["resources"]
        listed[0] = {**listed[0], **changed}
        return re_root(value)

    return bend


def re_root(value):
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        value["subject"][0]["digest"]["sha256"] = oms.root_of(value["predicate"]["resources"])
    return value


def serialization(**changed):
    def bend(value):
        value["predicate"]["serialization"] = {**value["predicate"]["serialization"], **changed}
        return value

    return bend


def top(**changed):
    return lambda value: {**value, **changed}


def twice(value):
    value["predicate"]["resources"].append(value["predicate"]["resources"][0])
    return re_root(value)


MALFORMED, UNSUPPORTED = "statement-malformed", "statement-unsupported"
STATEMENTS = {
    "an empty name": (resource(name=""), MALFORMED),
    "NUL in a name": (resource(name="a\0b"), MALFORMED),
    "a name upwards": (resource(name="../config.json"), MALFORMED),
    "a name upwards from within": (resource(name="sub/../../config.json"), MALFORMED),
    "an absolute name": (resource(name="/etc/passwd"), MALFORMED),
    "a drive letter": (resource(name="C:/config.json"), MALFORMED),
    "a drive letter alone": (resource(name="c:config.json"), MALFORMED),
    "a share": (resource(name="\\\\server\\share"), MALFORMED),
    "upwards with backslashes": (resource(name="sub\\..\\..\\x"), MALFORMED),
    "a dot": (resource(name="./config.json"), MALFORMED),
    "an empty part": (resource(name="sub//x"), MALFORMED),
    "a name of 100 kB": (resource(name="a" * 100_000), MALFORMED),
    "half a surrogate pair": (resource(name="\ud800"), MALFORMED),
    "a byte of no encoding": (resource(name="\udcff"), MALFORMED),
    "a name that is a number": (resource(name=1), MALFORMED),
    "no name": (resource(name=None), MALFORMED),
    "a name twice": (twice, MALFORMED),
    "an upper-case digest": (resource(digest="A" * 64), MALFORMED),
    "a short digest": (resource(digest="ab"), MALFORMED),
    "a digest that is none": (resource(digest=None), MALFORMED),
    "another algorithm than the statement's": (resource(algorithm="blake2b"), MALFORMED),
    "a sharded algorithm for whole files": (resource(algorithm="sha256-sharded-8"), MALFORMED),
    "two million lists in it": (
        lambda v: {**v, "x": [[]] * 2 * 10**6},
        MALFORMED,
    ),
    "a million entries that are none": (
        lambda v: {**v, "predicate": {**v["predicate"], "resources": [0] * 10**6}},
        MALFORMED,
    ),
    "resources that are no list": (
        lambda v: {**v, "predicate": {**v["predicate"], "resources": {}}},
        MALFORMED,
    ),
    "no predicate": (top(predicate=None), MALFORMED),
    "no subject": (top(subject=[]), MALFORMED),
    "two subjects": (lambda v: {**v, "subject": v["subject"] * 2}, MALFORMED),
    "a root that is another": (top(subject=[{"digest": {"sha256": "0" * 64}}]), "statement-inconsistent"),
    "a root in upper case": (
        lambda v: {**v, "subject": [{"digest": {"sha256": v["subject"][0]["digest"]["sha256"].upper()}}]},
        "statement-inconsistent",
    ),
    "a root that is no text": (top(subject=[{"digest": {"sha256": 5}}]), "statement-inconsistent"),
    "an unknown hash": (serialization(hash_type="md5"), UNSUPPORTED),
    "a hash that is a list": (serialization(hash_type=["sha256"]), UNSUPPORTED),
    "an unknown serialization": (serialization(method="tensors"), UNSUPPORTED),
    "ignore_paths that is text": (serialization(ignore_paths="model.sig"), MALFORMED),
    "ignore_paths of numbers": (serialization(ignore_paths=[1]), MALFORMED),
    "ignore_paths that is null": (serialization(ignore_paths=None), MALFORMED),
    "another statement": (top(_type="https://in-toto.io/Statement/v2"), UNSUPPORTED),
    "no statement": (top(_type="text"), MALFORMED),
    "a model signature of the future": (
        top(predicateType="https://model_signing/signature/v2.0"),
        UNSUPPORTED,
    ),
    "an attestation": (top(predicateType="https://slsa.dev/provenance/v1"), "attestation"),
    "no predicate type": (top(predicateType=None), MALFORMED),
}


@pytest.mark.parametrize("bad", STATEMENTS)
def test_a_statement_that_a_registered_key_signed_and_nobody_can_read(model, key, judge, bad):
    bend, reason = STATEMENTS[bad]
    signed = oms.key_bundle(bend(oms.statement(model)), key)
    assert judge(signed) == ("UNSUPPORTED", (reason,))


PAYLOADS = {
    "no JSON": b"statement",
    "not UTF-8": b"\xff",
    "deep": b"[" * 10_000,
    "a key twice": b'{"_type":1,"_type":2}',
    "a huge integer": b"9" * 5_000,
    "nothing": b"",
}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_signed_payload_that_is_no_statement(key, judge, payload):
    assert judge(oms.key_bundle(PAYLOADS[payload], key)) == ("UNSUPPORTED", (MALFORMED,))


SHARDS = [
    "a",
    "a:0",
    "a:0:8:",
    "a:8:0",
    "a:0:0",
    "a:-8:0",
    "a: 0:8",
    "a:0:8_0",
    "a:٠:8",
    "a:0:" + "9" * 40,
    ":0:8",
    "../a:0:8",
]


@pytest.mark.parametrize("name", SHARDS)
def test_a_shard_that_is_none(model, key, judge, name):
    value = oms.statement(model, shard_size=8)
    value["predicate"]["resources"][0]["name"] = name
    assert judge(oms.key_bundle(value, key)) == ("UNSUPPORTED", (MALFORMED,))


OLD = {
    "no list": ({"a": 1}, MALFORMED),
    "no digest": ([{"name": "a", "digest": {}}], MALFORMED),
    "a name upwards": ([{"name": "../a", "digest": {"sha256": "0" * 64}}], MALFORMED),
    "another hash": (
        [{"name": "a", "digest": {"sha256": "0" * 64}, "annotations": {"actual_hash_algorithm": "md5"}}],
        UNSUPPORTED,
    ),
    "a hash that is no text": (
        [{"name": "a", "digest": {"sha256": "0" * 64}, "annotations": {"actual_hash_algorithm": {}}}],
        UNSUPPORTED,
    ),
}


@pytest.mark.parametrize("bad", OLD)
def test_a_statement_of_version_0_2_that_is_none(model, key, judge, bad):
    subjects, reason = OLD[bad]
    value = {**oms.statement_v02(model), "subject": subjects}
    assert judge(oms.key_bundle(value, key)) == ("UNSUPPORTED", (reason,))


@pytest.mark.parametrize("hint", [None, "", "0" * 64, "\ud800", "é" * 1000])
def test_any_hint_is_only_a_hint(model, key, judge, hint):
    signed = oms.key_bundle(oms.statement(model), key)
    signed["verificationMaterial"]["publicKey"] = {"hint": hint}
    assert judge(signed) == ("VERIFIED", ())
    assert judge(signed, public_keys=[oms.public_pem(oms.new_key())]) == (
        "UNKNOWN_KEY",
        ("key-not-registered",),
    )


@pytest.mark.parametrize(
    "raw", ["", "é", "AAAA", oms.b64(b"-----BEGIN"), oms.b64(bytes(10_000)), oms.b64(b"\x30\x00")]
)
def test_any_embedded_key_is_only_a_claim(model, key, judge, raw):
    signed = oms.key_bundle(oms.statement(model), key)
    signed["verificationMaterial"]["publicKey"] = {"rawBytes": raw}
    assert judge(signed) == ("VERIFIED", ())
    assert judge(signed, public_keys=[]) == ("UNKNOWN_KEY", ("key-not-registered",))


@pytest.mark.parametrize(
    "value", ["text", 5, ["hint"], True, *({"hint": each} for each in (5, [], {}, ["x"])), {"rawBytes": 5}]
)
def test_a_public_key_that_is_no_object_of_texts(model, key, judge, value):
    """Such a file is no bundle, and so nothing that a signature may leave out."""
    signed = oms.key_bundle(oms.statement(model), key)
    signed["verificationMaterial"]["publicKey"] = value
    assert judge(signed) == ("UNSUPPORTED", ("bundle-malformed",))


def test_a_signature_over_another_payload_type(model, key, judge):
    """The type is part of what is signed, so one for another use of the key does not count here."""
    payload = oms.raw(oms.statement(model))
    signed = oms.key_bundle(payload, key)
    other = oms.sign(key, payload, message=oms.pae(payload, "application/vnd.oci.image.manifest.v1+json"))
    signed["dsseEnvelope"]["signatures"][0]["sig"] = oms.b64(other)
    assert judge(signed) == ("INVALID_SIGNATURE", ("signature-invalid",))


@pytest.mark.parametrize("signature", [b"", b"\x30\x00", bytes(64), bytes(72)])
def test_a_signature_that_is_no_signature(model, key, judge, signature):
    signed = oms.key_bundle(oms.statement(model), key)
    signed["dsseEnvelope"]["signatures"][0]["sig"] = oms.b64(signature)
    assert judge(signed) == ("INVALID_SIGNATURE", ("signature-invalid",))


def test_an_ignored_path_that_no_file_can_have(model, key, judge):
    assert judge(oms.key_bundle(oms.statement(model, ignore_paths=["\ud800", "\udcff", "a\0"]), key)) == (
        "VERIFIED",
        (),
    )


def test_100_000_ignored_paths_and_10_000_files_take_no_hour(tmp_path, key):
    """The cost is files plus paths, not files times paths."""
    model = oms.write_model(tmp_path / "m")
    manifest = verify_revision(model, trust=TrustMaterial()).manifest
    many = type(manifest).of(
        [
            *manifest.items,
            *(type(manifest.items[0])(path=f"x/{n}", sha256=bytes(32), size=0) for n in range(10_000)),
        ]
    )
    value = oms.statement(model, ignore_paths=["x", *(f"ignored/{n}" for n in range(100_000))])
    signed = oms.raw(oms.key_bundle(value, key))
    found = verify_manifest(many, [("s", signed)], trust=TrustMaterial(public_keys=[oms.public_pem(key)]))
    assert found.outcome == "VERIFIED"


def test_a_code_and_its_sentence_are_what_an_error_says():
    error = refused("key-not-registered", "a detail")
    assert isinstance(error, NotVerifiedError)
    assert str(error) == "key-not-registered: no registered key made this signature (a detail)"
    assert error.outcome == "UNKNOWN_KEY"
    assert all(len(code) <= 40 for code in REASONS)


def test_an_explanation_names_the_bundle_the_outcome_and_the_file(model, key):
    oms.put(model, oms.key_bundle(oms.statement(model), key))
    for name in ("one.py", "two.py"):
        (model / name).write_bytes(b"x")
    (why,) = verify_revision(model, trust=TrustMaterial(public_keys=[oms.public_pem(key)])).explanations
    assert str(why) == (
        "model.sig: CONTENT_MISMATCH unsigned-file: a file is there that the signature neither lists nor ignores "
        "(one.py and 1 more)"
    )
