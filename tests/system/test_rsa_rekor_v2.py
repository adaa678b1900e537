"""RSA in a real Rekor v2: what it takes of keys and certificates, `hubledger verify --bundle` verifies, and so does cosign."""

import asyncio
import dataclasses
import json
import time

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ledger.bundle.any_key import AnyVerifier
from ledger.bundle.bodies import Verifier, hashedrekord_v2
from ledger.encoding import format_base64, parse_base64
from ledger.entry import pae
from ledger.errors import RejectedError
from ledger.log.rekor_v2 import RekorV2
from ledger.log.trusted_root import read_instance
from tests.fakes.rekor import signed_payload
from tests.keyless_world import IDENTITY, ISSUER, Keyless
from tests.sigstore_world import ARTIFACT, MEDIA, PREDICATE, sign, sign_file, sign_payload, statement
from tests.system import peers
from tests.system.rekor import rekor_v2, signing_config, timestamp_server, trusted_root
from tests.system.test_keyless_stamps import stamp
from tests.system.test_rekor_bundles import cosign
from tests.world import spki_of

BITS = (2048, 3072, 4096)
SIGN = {"a file": sign_file, "a statement": sign_payload}


def rsa_key(bits):
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


class Log:
    """A real Rekor v2, as a log of ``sign_file`` and ``sign_payload``."""

    kind = ("hashedrekord", "0.0.2")

    def __init__(self, server):
        self.server = server

    def post(self, request):
        """Submit a request; return the answer, whatever it is."""
        url = f"{self.server.url}/api/v2/log/entries"
        return httpx.post(url, json={"hashedRekordRequestV002": request}, timeout=30)

    def log(self, body, kind=None):
        """Have it log what this body is about; return its entry, whose body must be the very same."""
        del kind
        spec = json.loads(body)["spec"]["hashedRekordV002"]
        answer = self.post({"digest": spec["data"]["digest"], "signature": spec["signature"]})
        assert answer.status_code == 201, answer.text
        found = answer.json()
        assert parse_base64(found["canonicalizedBody"]) == body
        return found


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    with rekor_v2(tmp_path_factory.mktemp("rekor"), interval="100ms") as server:
        yield Log(server)


@pytest.fixture
def verify(hubledger, tmp_path):
    """Write a bundle, and verify it against a trusted root; returns the exit code and the facts."""

    def call(bundle, root, *known, artifact=ARTIFACT):
        for name, data in (
            ("x.sigstore.json", json.dumps(bundle).encode()),
            ("root.json", root),
            ("weights", artifact),
        ):
            (tmp_path / name).write_bytes(data)
        code, out, err = hubledger(
            *("verify", "--bundle", tmp_path / "x.sigstore.json", "--trusted-root", tmp_path / "root.json"),
            *("--artifact", tmp_path / "weights", "--json", *known),
        )
        return code, json.loads(out) if out else err

    return call


def root_of(log):
    return json.dumps(trusted_root([log.server.trusted])).encode()


def write_key(folder, name, private):
    pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / name).write_bytes(pem)
    return folder / name


@pytest.mark.parametrize("what", SIGN)
@pytest.mark.parametrize("bits", BITS)
def test_rsa_keys_are_taken_and_verified_and_nothing_else_passes_for_them(log, tmp_path, verify, bits, what):
    private = rsa_key(bits)
    bundle = SIGN[what](log, private=private)
    entry = bundle["verificationMaterial"]["tlogEntries"][0]
    logged = json.loads(parse_base64(entry["canonicalizedBody"]))["spec"]["hashedRekordV002"]
    assert logged["signature"]["verifier"]["keyDetails"] == f"PKIX_RSA_PKCS1V15_{bits}_SHA256"
    ours = ("--public-key", write_key(tmp_path, "alice.pem", private))
    code, facts = verify(bundle, root_of(log), *ours)
    assert (code, facts["log"], facts["signature"]) == (0, "INCLUDED_ONLY", "ACCEPTED"), facts
    assert facts["logEntries"][0]["leafIndex"] == int(entry.get("logIndex", 0))

    other = ("--public-key", write_key(tmp_path, "bob.pem", rsa_key(2048)))
    code, facts = verify(bundle, root_of(log), *other)
    assert (code, facts["signature"]) == (21, "UNEXPECTED_SIGNER")
    code, facts = verify(bundle, root_of(log), *ours, artifact=b"other weights")
    assert (code, facts["signature"]) == (22, "CONTENT_DIFFERS")
    # By the same key, but not as it is named in the entry.
    code, facts = verify(under_pss(bundle, private), root_of(log), *ours)
    assert (code, facts["log"]) == (13, "INVALID"), facts


class Unlogged:
    """A log that was never asked."""

    kind = ("hashedrekord", "0.0.2")

    def log(self, body, kind=None):
        del body, kind
        return {}


def under_pss(bundle, private):
    """The same content under a signature of the scheme that is not in the entry."""
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
    if "messageSignature" in bundle:
        signature = private.sign(ARTIFACT, pss, hashes.SHA256())
        content = {"messageSignature": bundle["messageSignature"] | {"signature": format_base64(signature)}}
    else:
        signature = private.sign(pae(statement()), pss, hashes.SHA256())
        signatures = [{"sig": format_base64(signature)}]
        content = {"dsseEnvelope": bundle["dsseEnvelope"] | {"signatures": signatures}}
    return bundle | content


# Certificates


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Rekor v2 gives no time: when a certificate was valid is what a timestamp says."""
    peers.tool("cosign")
    with timestamp_server(tmp_path_factory.mktemp("stamps")) as running:
        yield running


def certified(log, authority, bits, what):
    """A bundle by a certificate of an RSA key in the real log, and the trusted root of all of it."""
    private, world = rsa_key(bits), Keyless(at=int(time.time()))
    cert = world.sigstore.issue(private, IDENTITY, ISSUER).public_bytes(serialization.Encoding.DER)
    verifier = AnyVerifier(cert, is_certificate=True)
    made = SIGN[what](Unlogged(), private=private)
    if what == "a file":
        message, signature = ARTIFACT, parse_base64(made["messageSignature"]["signature"])
    else:
        message = pae(statement())
        signature = parse_base64(made["dsseEnvelope"]["signatures"][0]["sig"])
    entry = log.log(hashedrekord_v2(verifier.digest(message), signature, verifier))
    when = format_base64(stamp(authority.url, signature))
    bundle = made | {
        "mediaType": MEDIA,
        "verificationMaterial": {
            "certificate": {"rawBytes": format_base64(cert)},
            "tlogEntries": [entry],
            "timestampVerificationData": {"rfc3161Timestamps": [{"signedTimestamp": when}]},
        },
    }
    more = trusted_root([log.server.trusted], [authority])
    root = json.loads(world.sigstore.trusted_root()) | {
        name: more[name] for name in ("tlogs", "timestampAuthorities")
    }
    return bundle, json.dumps(root).encode()


ALICE = ("--expect-signer", IDENTITY, "--expect-issuer", ISSUER)


@pytest.mark.parametrize("what", SIGN)
@pytest.mark.parametrize("bits", BITS)
def test_certificates_of_rsa_keys_are_taken_and_verified_by_us_and_by_cosign(
    log, authority, tmp_path, verify, bits, what
):
    bundle, root = certified(log, authority, bits, what)
    body = parse_base64(bundle["verificationMaterial"]["tlogEntries"][0]["canonicalizedBody"])
    assert b"x509Certificate" in body
    assert f"PKIX_RSA_PKCS1V15_{bits}_SHA256".encode() in body
    code, facts = verify(bundle, root, *ALICE)
    assert (code, facts["log"], facts["signature"]) == (0, "INCLUDED_ONLY", "ACCEPTED"), facts
    assert len(facts["timestamps"]) == 1
    command = ("verify-blob",) if what == "a file" else ("verify-blob-attestation", "--type", PREDICATE)
    cosign(
        tmp_path,
        *(*command, "--bundle", str(tmp_path / "x.sigstore.json"), "--use-signed-timestamps"),
        *("--trusted-root", str(tmp_path / "root.json")),
        *("--certificate-identity", IDENTITY, "--certificate-oidc-issuer", ISSUER),
        str(tmp_path / "weights"),
    )
    code, facts = verify(bundle, root, "--expect-signer", "bob@example.org", "--expect-issuer", ISSUER)
    assert (code, facts["signature"]) == (21, "UNEXPECTED_SIGNER")
    # Nothing but the timestamp says that the certificate was valid then.
    unstamped = {**bundle, "verificationMaterial": {**bundle["verificationMaterial"]}}
    del unstamped["verificationMaterial"]["timestampVerificationData"]
    code, facts = verify(unstamped, root, *ALICE)
    assert code != 0
    assert facts["signature"] != "ACCEPTED", facts


# What it does not take


def request_of(private, details, signature):
    digest = hashes.Hash(hashes.SHA256())
    digest.update(ARTIFACT)
    return {
        "digest": format_base64(digest.finalize()),
        "signature": {
            "content": format_base64(signature),
            "verifier": {
                "keyDetails": details,
                "publicKey": {"rawBytes": format_base64(spki_of(private))},
            },
        },
    }


def test_what_the_real_log_does_not_take_of_rsa(log):
    """A signature of another scheme, and a key that is too small."""
    key, small = rsa_key(2048), rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is the point
    pss = key.sign(ARTIFACT, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    good = sign(key, ARTIFACT)
    name = "PKIX_RSA_PKCS1V15_2048_SHA256"
    refused = {
        "pss under the name of the other scheme": request_of(key, name, pss),
        "pss under its own name": request_of(key, "PKIX_RSA_PSS_2048_SHA256", pss),
        "a small key": request_of(small, name, sign(small, ARTIFACT)),
    }
    answers = {why: log.post(request).status_code for why, request in refused.items()}
    assert answers == dict.fromkeys(refused, 400)
    assert log.post(request_of(key, name, good)).status_code == 201, "the request itself is right"


def test_a_key_that_is_named_by_another_size_is_taken_by_the_real_log_and_refused_by_us(
    log, tmp_path, verify
):
    """Rekor logs the name as it was sent, for a key that it does not fit; a bundle of such an entry says two things."""
    key, name = rsa_key(2048), "PKIX_RSA_PKCS1V15_4096_SHA256"
    answer = log.post(request_of(key, name, sign(key, ARTIFACT)))
    assert answer.status_code == 201, answer.text
    assert name.encode() in parse_base64(answer.json()["canonicalizedBody"])
    bundle = sign_file(Unlogged(), private=key)
    bundle["verificationMaterial"]["tlogEntries"] = [answer.json()]
    code, facts = verify(bundle, root_of(log), "--public-key", write_key(tmp_path, "alice.pem", key))
    assert (code, facts["log"]) == (13, "INVALID"), facts
    assert [(each["step"], each["result"], each.get("found")) for each in facts["checks"]] == [
        ("signature", "ok", None),
        ("body of the log entry", "FAILED", "another hashedrekord 0.0.2"),
    ]


def test_no_event_is_submitted_with_an_rsa_key(log):
    """Keys of hubs are on P-256: one of RSA ends before anything is sent, although the log would take it."""
    trusted = log.server.trusted
    instance = read_instance(
        trusted_root([trusted]), signing_config([trusted]), where="the test", read_url=log.server.read_url
    )
    private = rsa_key(2048)
    signed = signed_payload("by RSA")
    signed = dataclasses.replace(
        signed, signature=sign(private, pae(signed.payload)), verifier=Verifier(spki_of(private))
    )

    async def submit():
        client = RekorV2(instance.shards[0], instance.keys)
        size = client.checkpoint().checkpoint.size
        try:
            with pytest.raises(RejectedError) as refused:
                await client.submit(signed)
            return refused.value.finding, client.checkpoint().checkpoint.size - size
        finally:
            await client.close()

    finding, grown = asyncio.run(submit())
    assert finding == (
        "key of a signature: expected an elliptic-curve key on P-256, P-384 or P-521, got RSAPublicKey"
    )
    assert grown == 0
