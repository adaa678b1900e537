"""Sigstore bundles of public keys, of every kind of log entry: what is proven, who signed what, and what was not checked."""

import hashlib
import json
import re

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from ledger.bundle.any_bundle import parse_any_bundle
from ledger.bundle.bodies import Verifier, hashedrekord_v2
from ledger.client.bundle_result import NOT_PROVEN, PROMISED_ONLY
from ledger.client.expect import Expectation
from ledger.client.result import LogResult, ModelResult
from ledger.client.sigstore_bundle import check_bundle
from ledger.encoding import format_base64
from ledger.errors import ConfigError, InputError
from ledger.identity import KeyFacts
from tests.bundle_mutations import mutations
from tests.sigstore_world import (
    ARTIFACT,
    FIRST_INDEX,
    PREDICATE,
    TIME,
    Prehashing,
    RekorOne,
    RekorTwo,
    sign,
    sign_file,
    sign_payload,
    trusted_root,
)
from tests.world import ed25519_key, p256_key, spki_of

OLD = "application/vnd.dev.sigstore.bundle+json;version=0.1"


def key(name):
    return Expectation(key_sha256=hashlib.sha256(spki_of(p256_key(name))).digest())


def digests(data):
    return {"SHA2_256": hashlib.sha256(data).digest(), "SHA2_512": hashlib.sha512(data).digest()}


def check(bundle, *logs, **known):
    known = {"artifact": digests(ARTIFACT), "expected": (key("alice"),)} | known
    return check_bundle(parse_any_bundle(json.dumps(bundle).encode()), root=trusted_root(*logs), **known)


MADE = {
    "a file in Rekor v2": (RekorTwo, sign_file, {}),
    "a statement in Rekor v2": (RekorTwo, sign_payload, {}),
    "a file in Rekor v1": (RekorOne, sign_file, {}),
    "a statement in Rekor v1": (RekorOne, sign_payload, {}),
    "a statement in Rekor v1, as its digest": (RekorOne, sign_payload, {"kind": ("hashedrekord", "0.0.1")}),
    "a statement in Rekor v1, as intoto": (RekorOne, sign_payload, {"kind": ("intoto", "0.0.2")}),
    "a statement in Rekor v1, as the first intoto": (RekorOne, sign_payload, {"kind": ("intoto", "0.0.1")}),
}


def make(name, **changes):
    log, make_bundle, known = MADE[name]
    log = log()
    return log, make_bundle(log, **known | changes)


@pytest.mark.parametrize("name", MADE)
def test_a_bundle_of_a_key_verifies(name):
    log, bundle = make(name)
    result = check(bundle, log)
    assert (result.log, result.signature, result.satisfied) == (
        LogResult.INCLUDED_ONLY,
        ModelResult.ACCEPTED,
        True,
    )
    assert result.signer.facts == KeyFacts(spki_sha256=key("alice").key_sha256)
    proven = result.entries[0]
    is_v1 = isinstance(log, RekorOne)
    assert (proven.leaf_index, proven.index, proven.integrated_time) == (
        1,
        FIRST_INDEX + 1 if is_v1 else 1,
        TIME if is_v1 else None,
    )


@pytest.mark.parametrize("name", MADE)
def test_every_mutation_that_changes_a_fact_is_refused(name):
    log, bundle = make(name)
    _, other = make(name, key="bob")
    whole = facts(check(bundle, log))
    accepted = set()
    for mutation, bent in mutations(bundle, other, bits=64):
        try:
            result = check(bent, log)
        except InputError:
            continue
        if result.satisfied:
            assert facts(result) == whole, mutation
            accepted.add(mutation.split(" ")[0].removeprefix("verificationMaterial/"))
        else:
            assert result.failure is not None, mutation
    # What remains: the hint, which nobody signs, a digest beside the artifact, and lines that are not the log's.
    assert accepted <= {
        "publicKey",
        "publicKey/hint",
        "messageSignature/messageDigest",
        "note/signature",
        "note/with",
    }
    assert {"publicKey/hint", "note/with"} <= accepted


def facts(result):
    return (
        result.log,
        result.signature,
        result.signer,
        result.content.signature,
        getattr(result.content, "payload", None),
        getattr(result.content, "payload_type", None),
        result.digest,
        result.subjects,
        [
            (each.tree, each.leaf_index, each.index, each.kind, each.body, each.integrated_time)
            for each in result.entries
        ],
    )


@pytest.mark.parametrize("name", MADE)
def test_who_signed_is_the_key_that_did_and_not_the_one_that_is_expected(name):
    log, bundle = make(name)
    result = check(bundle, log, expected=(key("bob"),))
    assert (result.log, result.signature) == (LogResult.INCLUDED_ONLY, ModelResult.UNEXPECTED_SIGNER)
    assert result.signer.facts == KeyFacts(spki_sha256=key("alice").key_sha256)
    both = check(bundle, log, expected=(key("bob"), key("alice")))
    assert both.signature is ModelResult.ACCEPTED
    assert check(bundle, log, expected=(key("bob"), key("alice")), expect_all=True).signature is (
        ModelResult.UNEXPECTED_SIGNER
    )


@pytest.mark.parametrize("name", MADE)
def test_nobody_expected_is_not_accepted(name):
    log, bundle = make(name)
    result = check(bundle, log, expected=())
    assert (result.signature, result.satisfied) == (ModelResult.NOT_CHECKED, False)
    assert result.failure.step == "expected signer"
    assert check(bundle, log, expected=(), artifact=None, log_only=True).satisfied


@pytest.mark.parametrize("name", MADE)
def test_another_artifact_differs(name):
    log, bundle = make(name)
    result = check(bundle, log, artifact=digests(b"other weights"))
    assert (result.log, result.signature) == (LogResult.INCLUDED_ONLY, ModelResult.CONTENT_DIFFERS)
    assert result.failure.step == "artifact"


def test_without_the_file_its_signature_is_over_a_digest_alone():
    log, bundle = make("a file in Rekor v2")
    result = check(bundle, log, artifact=None)
    assert (result.log, result.signature) == (LogResult.INCLUDED_ONLY, ModelResult.NOT_CHECKED)
    assert result.failure.actual == "none given, so the digest was compared with nothing"


def test_without_a_file_a_statement_is_what_was_signed():
    log, bundle = make("a statement in Rekor v2")
    result = check(bundle, log, artifact=None)
    assert result.satisfied
    skipped = [each for each in result.skipped if each.step == "artifact"]
    assert skipped[0].against == (
        f"none given; what is signed is {PREDICATE} about sha256:{hashlib.sha256(ARTIFACT).hexdigest()}"
    )


def test_a_bundle_that_does_not_say_the_digest_needs_the_file():
    log, bundle = make("a file in Rekor v2")
    del bundle["messageSignature"]["messageDigest"]
    assert check(bundle, log).satisfied
    missing = check(bundle, log, artifact=None)
    assert (missing.log, missing.failure.step) == (LogResult.CANNOT_CHECK, "digest of the signed file")
    assert check(bundle, log, artifact=digests(b"other")).log is LogResult.INVALID


def test_a_payload_of_another_type_is_about_nothing_that_can_be_compared():
    log = RekorTwo()
    bundle = sign_payload(log, payload=b"any bytes", payload_type="application/octet-stream")
    result = check(bundle, log)
    assert (result.log, result.signature) == (LogResult.INCLUDED_ONLY, ModelResult.CONTENT_DIFFERS)
    assert check(bundle, log, artifact=None).satisfied


def test_a_payload_type_that_has_no_bytes_is_refused():
    bundle = sign_payload(RekorTwo(), payload=b"any bytes", payload_type="application/octet-stream")
    bundle["dsseEnvelope"]["payloadType"] = "\ud83d"
    with pytest.raises(InputError, match="payload type"):
        check(bundle, RekorTwo())


@pytest.mark.parametrize(
    "payload",
    [
        b"not JSON",
        b"[" * 200_000,
        b'{"predicateType":"p","subject":7}',
        b'{"predicateType":"p","subject":[7,{}]}',
    ],
)
def test_a_statement_that_cannot_be_read_is_about_nothing(payload):
    log = RekorTwo()
    result = check(sign_payload(log, payload=payload), log)
    assert result.signature is ModelResult.CONTENT_DIFFERS
    assert not result.subjects.digests


def test_the_first_entry_of_a_log_has_no_index_and_no_hashes():
    """As protobuf's JSON writes them: what is 0 or empty is left out."""
    log = RekorTwo()
    log.entries, log.levels = [], [[]]
    private = p256_key("alice")
    digest = hashlib.sha256(ARTIFACT).digest()
    body = hashedrekord_v2(digest, sign(private, ARTIFACT), Verifier(spki_of(private)))
    log.append(body)
    entry = log.entry(0) | {"canonicalizedBody": format_base64(body)}
    del entry["inclusionPromise"], entry["integratedTime"], entry["logIndex"]
    assert entry["inclusionProof"].pop("logIndex") == "0"
    assert entry["inclusionProof"].pop("hashes") == []
    bundle = sign_file(RekorTwo())
    bundle["messageSignature"]["signature"] = format_base64(sign(private, ARTIFACT))
    bundle["verificationMaterial"]["tlogEntries"] = [entry]
    result = check(bundle, log)
    assert result.satisfied, result.failure
    assert (result.entries[0].leaf_index, result.entries[0].tree.size) == (0, 1)


# Other keys


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.mark.parametrize("name", MADE)
def test_an_rsa_key_verifies_and_every_mutation_is_refused(name, rsa_key):
    log, bundle = make(name, private=rsa_key)
    known = {"expected": (Expectation(key_sha256=hashlib.sha256(spki_of(rsa_key)).digest()),)}
    whole = check(bundle, log, **known)
    assert whole.satisfied, whole.failure
    _, other = make(name, key="bob")
    for mutation, bent in mutations(bundle, other, bits=4):
        try:
            result = check(bent, log, **known)
        except InputError:
            continue
        assert not result.satisfied or facts(result) == facts(whole), mutation


@pytest.mark.parametrize("kind", [("dsse", "0.0.1"), ("intoto", "0.0.1"), ("intoto", "0.0.2")])
def test_an_ed25519_key_signs_statements_in_rekor_v1(kind):
    log, private = RekorOne(), ed25519_key("alice")
    bundle = sign_payload(log, private=private, kind=kind)
    known = {"expected": (Expectation(key_sha256=hashlib.sha256(spki_of(private)).digest()),)}
    assert check(bundle, log, **known).satisfied
    envelope = bundle["dsseEnvelope"]["signatures"][0]
    envelope["sig"] = format_base64(bytes(64))
    result = check(bundle, log, **known)
    assert (result.log, result.failure.step) == (LogResult.INVALID, "signature of the bundle")


PREHASHED = {
    "a file in Rekor v2": (RekorTwo, sign_file, {}),
    "a statement in Rekor v2": (RekorTwo, sign_payload, {}),
    "a file in Rekor v1": (RekorOne, sign_file, {}),
    "a statement in Rekor v1, as its digest": (RekorOne, sign_payload, {"kind": ("hashedrekord", "0.0.1")}),
}


@pytest.mark.parametrize("name", PREHASHED)
def test_an_ed25519_key_signs_digests_and_every_mutation_is_refused(name):
    make_log, make_bundle, more = PREHASHED[name]
    log, private = make_log(), Prehashing(ed25519_key("alice"))
    bundle = make_bundle(log, private=private, **more)
    known = {"expected": (Expectation(key_sha256=hashlib.sha256(spki_of(private)).digest()),)}
    whole = check(bundle, log, **known)
    assert whole.satisfied, whole.failure
    other = make_bundle(make_log(), private=Prehashing(ed25519_key("bob")), **more)
    accepted = []
    for mutation, bent in mutations(bundle, other, bits=4):
        try:
            result = check(bent, log, **known)
        except InputError:
            continue
        assert not result.satisfied or facts(result) == facts(whole), mutation
        accepted += [mutation] if result.satisfied else []
    assert [each for each in accepted if not re.fullmatch(HARMLESS, each)] == []


HARMLESS = (
    r"verificationMaterial/publicKey/hint .+|verificationMaterial/publicKey .+"  # never believed
    r"|messageSignature/messageDigest removed"  # the artifact is at hand
    r"|note/signature 0 twice|note/with a signature by a stranger"  # the log's own signature is there
)


@pytest.mark.parametrize("make_bundle", [sign_file, sign_payload])
def test_plain_ed25519_is_no_signature_of_a_digest(make_bundle):
    """Rekor would not have taken it: it is another message that was signed."""
    log, private = RekorTwo(), Prehashing(ed25519_key("alice"))
    good, plain = make_bundle(log, private=private), make_bundle(log, private=private.key, hashing="sha512")
    assert check(good, log).log is LogResult.INCLUDED_ONLY
    result = check(plain, log)
    assert (result.log, result.failure.step) == (LogResult.INVALID, "signature of the bundle")


def test_ed25519ph_over_another_digest_cannot_be_checked():
    log = RekorTwo()
    result = check(sign_file(log, private=ed25519_key("alice")), log)
    assert (result.log, result.failure.step) == (LogResult.CANNOT_CHECK, "digest of the signed file")


def test_a_small_rsa_key_cannot_be_checked():
    log = RekorTwo()
    private = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - that is the point
    body = json.loads(parse(sign_file(log)["verificationMaterial"]["tlogEntries"][0]["canonicalizedBody"]))
    body["spec"]["hashedRekordV002"]["signature"]["verifier"]["publicKey"]["rawBytes"] = format_base64(
        spki_of(private)
    )
    bundle = sign_file(log)
    bundle["verificationMaterial"]["tlogEntries"] = [log.log(json.dumps(body).encode())]
    small = check(bundle, log)
    assert (small.log, small.failure.step) == (LogResult.CANNOT_CHECK, "key of a signature")


# Promises


def promised(name="a file in Rekor v1", media=OLD):
    log, bundle = make(name)
    bundle["mediaType"] = media
    del bundle["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]
    return log, bundle


@pytest.mark.parametrize("name", [name for name, (log, _, _) in MADE.items() if log is RekorOne])
def test_a_promise_alone_is_promised_and_not_proven(name):
    log, bundle = promised(name)
    result = check(bundle, log)
    assert (result.log, result.signature, result.satisfied) == (
        LogResult.PROMISED,
        ModelResult.ACCEPTED,
        True,
    ), result.failure
    assert [each.against for each in result.skipped] == [PROMISED_ONLY]
    assert [each.entry.integrated_time for each in result.promised] == [TIME]
    assert not result.entries
    assert check(bundle, log, expected=(key("bob"),)).signature is ModelResult.UNEXPECTED_SIGNER


@pytest.mark.parametrize("name", [name for name, (log, _, _) in MADE.items() if log is RekorOne])
def test_every_mutation_of_a_promise_is_refused(name):
    log, bundle = promised(name)
    _, other = promised(name)
    _, signed_by_bob = make(name, key="bob")
    other |= {each: signed_by_bob[each] for each in ("messageSignature", "dsseEnvelope") if each in other}
    whole, accepted = check(bundle, log), []
    for mutation, bent in mutations(bundle, other, bits=8):
        try:
            result = check(bent, log)
        except InputError:
            continue
        assert not result.satisfied or facts(result) == facts(whole), mutation
        accepted += [mutation] if result.satisfied else []
    assert [each for each in accepted if not re.fullmatch(HARMLESS, each)] == []


def test_a_promise_does_not_answer_whether_the_entry_is_in_the_log():
    log, bundle = promised()
    result = check(bundle, log, artifact=None, expected=(), log_only=True)
    assert (result.log, result.satisfied, result.failure) == (LogResult.PROMISED, False, NOT_PROVEN)


def test_a_proof_without_a_checkpoint_is_no_proof():
    """Early writers left the checkpoint out: what is said beside the promise must hold, and proves nothing."""
    log, bundle = make("a file in Rekor v1")
    bundle["mediaType"] = OLD
    proof = bundle["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]
    del proof["checkpoint"]
    assert check(bundle, log).log is LogResult.PROMISED
    proof["rootHash"] = format_base64(bytes(32))
    result = check(bundle, log)
    assert (result.log, result.failure.step) == (LogResult.INVALID, "inclusion of leaf 1 in size 2")


def test_a_promise_is_given_once():
    log, bundle = promised()
    bundle["verificationMaterial"]["tlogEntries"] *= 2
    result = check(bundle, log)
    assert (result.log, result.failure.step) == (LogResult.INVALID, "log entries of the bundle")


def test_only_version_0_1_may_promise():
    log, bundle = promised(media="application/vnd.dev.sigstore.bundle+json;version=0.2")
    assert check(bundle, log).log is LogResult.INVALID


@pytest.mark.parametrize("field", ["integratedTime", "logIndex"])
def test_a_false_promise_is_invalid(field):
    log, bundle = promised()
    entry = bundle["verificationMaterial"]["tlogEntries"][0]
    entry[field] = str(int(entry[field]) + 1)
    result = check(bundle, log)
    assert (result.log, result.failure.step) == (LogResult.INVALID, "signed entry timestamp")


def test_no_promise_and_no_proof_is_invalid():
    log, bundle = promised()
    del bundle["verificationMaterial"]["tlogEntries"][0]["inclusionPromise"]
    assert check(bundle, log).log is LogResult.INVALID


def test_a_promise_is_about_this_signature_too():
    log, bundle = promised()
    _, other = make("a file in Rekor v1", key="bob")
    bundle["messageSignature"] = other["messageSignature"]
    assert check(bundle, log).log is LogResult.INVALID


# Logs and entries


def test_no_log_entry_cannot_be_checked():
    log, bundle = make("a file in Rekor v2")
    bundle["verificationMaterial"]["tlogEntries"] = []
    result = check(bundle, log)
    assert (result.log, result.failure.step) == (LogResult.CANNOT_CHECK, "log entry of the bundle")


def test_every_log_entry_must_hold():
    log, bundle = make("a statement in Rekor v2")
    other = RekorTwo("other.example")
    entries = bundle["verificationMaterial"]["tlogEntries"]
    body = parse(entries[0]["canonicalizedBody"])
    entries.append(other.log(body))
    assert [each.tree.origin for each in check(bundle, log, other).entries] == [
        "rekor.example",
        "other.example",
    ]
    assert check(bundle, log).log is LogResult.INVALID  # the second log is not in the root
    entries[1] = entries[0]
    assert check(bundle, log).failure.step == "log entries of the bundle"


def parse(text):
    from ledger.encoding import parse_base64

    return parse_base64(text)


def test_the_time_that_a_log_promised_must_be_one_at_which_it_counts():
    log, bundle = make("a file in Rekor v1")
    raw = json.dumps(bundle).encode()
    known = {"artifact": digests(ARTIFACT), "expected": (key("alice"),)}
    good = check_bundle(parse_any_bundle(raw), root=trusted_root(log, end="2026-01-02T03:04:05Z"), **known)
    late = check_bundle(parse_any_bundle(raw), root=trusted_root(log, end="2026-01-02T03:04:04Z"), **known)
    assert (good.satisfied, late.log, late.failure.step) == (True, LogResult.INVALID, "time of the log entry")


def test_numbers_beside_the_proof_are_those_of_the_signed_checkpoint():
    """sigstore-python takes the size from here; in Rekor v2 nothing else is refused about this bundle."""
    log, bundle = make("a file in Rekor v2")
    proof = bundle["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]
    proof["treeSize"] = "4"
    result = check(bundle, log)
    assert (result.log, result.failure.step) == (LogResult.INVALID, "size and root beside the proof")


def test_a_kind_that_is_not_known_cannot_be_checked():
    log = RekorTwo()
    bundle = sign_file(log)
    body = json.loads(parse(bundle["verificationMaterial"]["tlogEntries"][0]["canonicalizedBody"]))
    body |= {"kind": "cose", "apiVersion": "0.0.1"}
    raw = json.dumps(body).encode()
    bundle["verificationMaterial"]["tlogEntries"] = [log.log(raw, ("cose", "0.0.1"))]
    result = check(bundle, log)
    assert (result.log, result.failure.step) == (LogResult.CANNOT_CHECK, "kind of the log entry")


def test_an_entry_for_a_statement_is_none_for_a_file():
    log = RekorOne()
    file, payload = sign_file(log), sign_payload(log)
    file["verificationMaterial"]["tlogEntries"] = payload["verificationMaterial"]["tlogEntries"]
    result = check(file, log)
    assert (result.log, result.failure.step) == (LogResult.INVALID, "body of the log entry")


@pytest.mark.parametrize(
    "root",
    [b"", b"[]", b"{}", b'{"tlogs": [7]}', b'{"tlogs": [{"logId": {"keyId": 7}}]}', b'{"tlogs": {}}'],
)
def test_what_is_no_trusted_root_ends_the_check(root):
    _, bundle = make("a file in Rekor v2")
    with pytest.raises(ConfigError, match="trusted root"):
        check_bundle(parse_any_bundle(json.dumps(bundle).encode()), root=root)


def test_a_log_without_a_beginning_is_refused():
    log, bundle = make("a file in Rekor v2")
    root = json.loads(trusted_root(log))
    del root["tlogs"][0]["publicKey"]["validFor"]["start"]
    with pytest.raises(ConfigError, match="trusted root"):
        check_bundle(parse_any_bundle(json.dumps(bundle).encode()), root=json.dumps(root).encode())


def test_a_client_trust_config_holds_a_trusted_root():
    log, bundle = make("a file in Rekor v2")
    config = {
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": json.loads(trusted_root(log)),
    }
    raw = json.dumps(bundle).encode()
    result = check_bundle(parse_any_bundle(raw), root=json.dumps(config).encode(), log_only=True)
    assert result.satisfied


def test_a_timestamp_that_no_authority_made_is_refused():
    log, bundle = make("a file in Rekor v2")
    bundle["verificationMaterial"]["timestampVerificationData"] = {
        "rfc3161Timestamps": [{"signedTimestamp": format_base64(b"timestamp")}]
    }
    result = check(bundle, log)
    assert (result.log, result.failure.step) == (LogResult.INVALID, "timestamp")
