"""Keyless bundles of a real Rekor v1, of the entries that it alone writes: we verify them, and cosign where it does."""

import hashlib
import json
import time

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ledger.encoding import format_base64, parse_base64
from tests.keyless_world import IDENTITY, ISSUER, KINDS, Keyless
from tests.sigstore_world import ARTIFACT, PREDICATE, Prehashing, bundle_of, sign_file, sign_payload
from tests.system import peers
from tests.system.rekor import rekor_v2, write_trust
from tests.system.rekor_v1 import backend
from tests.system.test_rekor_bundles import cosign
from tests.world import ed25519_key, spki_of

SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


class RealRekorOne:
    """A real Rekor v1, as a log of ``Keyless``."""

    def __init__(self, server, folder):
        self.url = server.url
        self.tlogs = json.loads(server.write_trust(folder)[0].read_bytes())["tlogs"]

    def log_content(self, content, cert, kind):
        """Have it log what was signed; return the entry as bundles have it."""
        pem = x509.load_der_x509_certificate(cert).public_bytes(serialization.Encoding.PEM)
        return self.submit(kind, _proposed(content, pem, kind))

    def submit(self, kind, spec):
        """Submit an entry; return it as bundles have it."""
        entry = {"kind": kind[0], "apiVersion": kind[1], "spec": spec}
        answer = httpx.post(f"{self.url}/api/v1/log/entries", json=entry, timeout=30)
        assert answer.status_code == 201, answer.text
        (found,) = answer.json().values()
        proof = found["verification"]["inclusionProof"]
        return {
            "logIndex": str(found["logIndex"]),
            "logId": {"keyId": _base64(found["logID"])},
            "kindVersion": {"kind": kind[0], "version": kind[1]},
            "integratedTime": str(found["integratedTime"]),
            "inclusionPromise": {"signedEntryTimestamp": found["verification"]["signedEntryTimestamp"]},
            "inclusionProof": {
                "logIndex": str(proof["logIndex"]),
                "rootHash": _base64(proof["rootHash"]),
                "treeSize": str(proof["treeSize"]),
                "hashes": [_base64(each) for each in proof["hashes"]],
                "checkpoint": {"envelope": proof["checkpoint"]},
            },
            "canonicalizedBody": found["body"],
        }


def _base64(text):
    return format_base64(bytes.fromhex(text))


def _proposed(content, pem, kind):
    """What is sent to have it logged (rekor's openapi)."""
    key = format_base64(pem)
    if kind[0] == "hashedrekord":
        signed = content["messageSignature"]
        digest = parse_base64(signed["messageDigest"]["digest"])
        return {
            "data": {"hash": {"algorithm": {32: "sha256", 64: "sha512"}[len(digest)], "value": digest.hex()}},
            "signature": {"content": signed["signature"], "publicKey": {"content": key}},
        }
    envelope = content["dsseEnvelope"]
    text = json.dumps(envelope, separators=(",", ":"), sort_keys=True)
    match kind:
        case ("dsse", _):
            return {"proposedContent": {"envelope": text, "verifiers": [key]}}
        case ("intoto", "0.0.1"):
            return {"content": {"envelope": text}, "publicKey": key}
    sig = format_base64(envelope["signatures"][0]["sig"].encode())
    return {
        "content": {
            "hash": {"algorithm": "sha256", "value": hashlib.sha256(text.encode()).hexdigest()},
            "payloadHash": {
                "algorithm": "sha256",
                "value": hashlib.sha256(parse_base64(envelope["payload"])).hexdigest(),
            },
            "envelope": {
                "payload": format_base64(envelope["payload"].encode()),
                "payloadType": envelope["payloadType"],
                "signatures": [{"sig": sig, "publicKey": key}],
            },
        }
    }


@pytest.fixture(scope="module")
def server():
    peers.tool("cosign")
    with backend() as running, running.server() as found:
        yield found


@pytest.fixture
def world(server, tmp_path):
    made = Keyless(at=int(time.time()), log=RealRekorOne(server, tmp_path))
    (tmp_path / "root.json").write_bytes(made.root)
    (tmp_path / "weights").write_bytes(ARTIFACT)
    return made


def verify(hubledger, folder, bundle, *known):
    (folder / "x.sigstore.json").write_text(json.dumps(bundle))
    code, out, err = hubledger(
        *("verify", "--bundle", folder / "x.sigstore.json", "--trusted-root", folder / "root.json", "--json"),
        *("--artifact", folder / "weights", *known),
    )
    return code, json.loads(out) if out else err


ALICE = ("--expect-signer", IDENTITY, "--expect-issuer", ISSUER)


@pytest.mark.parametrize("kind", [each for each in KINDS if each != "a digest of a statement"])
@pytest.mark.parametrize(("version", "proven"), [("0.3", True), ("0.1", True), ("0.1", False)])
def test_we_verify_every_kind_of_entry_of_a_real_rekor(world, tmp_path, hubledger, kind, version, proven):
    key = f"{kind} {version} {proven}"  # one entry each
    bundle = world.bundle(kind, version=version, proven=proven, key=key)
    code, facts = verify(hubledger, tmp_path, bundle, *ALICE)
    assert (code, facts["log"]) == (0, "INCLUDED_ONLY" if proven else "PROMISED"), facts
    assert facts["signature"] == "ACCEPTED"
    code, facts = verify(
        hubledger, tmp_path, bundle, "--expect-signer", "bob@example.org", "--expect-issuer", ISSUER
    )
    assert (code, facts["signature"]) == (21, "UNEXPECTED_SIGNER")
    (tmp_path / "x.sigstore.json").write_text(json.dumps(bundle))
    asked = ("verify", "--bundle", tmp_path / "x.sigstore.json", "--trusted-root", tmp_path / "root.json")
    code, out, _ = hubledger(*asked, "--log-only")
    assert (code, "promised, not proven" in " ".join(out.split())) == ((0, False) if proven else (15, True))


@pytest.mark.parametrize("kind", ["hashedrekord", "dsse", "intoto"])
@pytest.mark.parametrize("proven", [True, False])
def test_cosign_accepts_them_too(world, tmp_path, kind, proven):
    """So our fake authority is one for others, too; it does not take ``intoto`` 0.0.1 in a bundle."""
    version = "0.3" if proven else "0.1"
    bundle = world.bundle(kind, version=version, proven=proven, key=f"cosign {kind} {proven}")
    (tmp_path / "x.sigstore.json").write_text(json.dumps(bundle))
    command = ("verify-blob",) if kind == "hashedrekord" else ("verify-blob-attestation", "--type", PREDICATE)
    cosign(
        tmp_path,
        *(*command, "--bundle", str(tmp_path / "x.sigstore.json")),
        *("--trusted-root", str(tmp_path / "root.json")),
        *("--certificate-identity", IDENTITY, "--certificate-oidc-issuer", ISSUER),
        str(tmp_path / "weights"),
    )


@pytest.mark.parametrize("kind", ["hashedrekord", "dsse", "intoto"])
def test_certificates_of_rsa_keys_are_verified_by_us_and_by_cosign(world, tmp_path, hubledger, kind):
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    bundle = world.bundle(kind, private=private)
    code, facts = verify(hubledger, tmp_path, bundle, *ALICE)
    assert (code, facts["log"], facts["signature"]) == (0, "INCLUDED_ONLY", "ACCEPTED"), facts
    command = ("verify-blob",) if kind == "hashedrekord" else ("verify-blob-attestation", "--type", PREDICATE)
    cosign(
        tmp_path,
        *(*command, "--bundle", str(tmp_path / "x.sigstore.json")),
        *("--trusted-root", str(tmp_path / "root.json")),
        *("--certificate-identity", IDENTITY, "--certificate-oidc-issuer", ISSUER),
        str(tmp_path / "weights"),
    )


def test_a_real_rekor_v1_takes_ed25519_keys_as_ed25519ph(world, tmp_path, hubledger):
    private = Prehashing(ed25519_key("alice"))
    pem = private.public_key().public_bytes(serialization.Encoding.PEM, SPKI)
    signed = sign_file(_NoLog(), private=private)
    content = {"messageSignature": signed["messageSignature"]}
    kind = KINDS["hashedrekord"]
    entry = world.log.submit(kind, _proposed(content, pem, kind))
    (tmp_path / "alice.pem").write_bytes(pem)
    bundle = bundle_of(content, [entry], spki=spki_of(private))
    code, facts = verify(hubledger, tmp_path, bundle, "--public-key", tmp_path / "alice.pem")
    assert (code, facts["log"]) == (0, "INCLUDED_ONLY"), facts


class _NoLog:
    kind = ("hashedrekord", "0.0.2")

    def log(self, body, kind=None):
        del body, kind
        return {}


@pytest.mark.parametrize("make", [sign_file, sign_payload])
def test_a_real_rekor_v2_takes_ed25519_keys_as_ed25519ph(tmp_path, hubledger, make):
    private = Prehashing(ed25519_key("alice"))
    spki = spki_of(private)
    with rekor_v2(tmp_path / "rekor") as log:
        root, _ = write_trust(tmp_path, [log.trusted])
        asked = _RekorTwo(log.url, spki)
        bundle = make(asked, private=private)
    (tmp_path / "root.json").write_bytes(root.read_bytes())
    (tmp_path / "weights").write_bytes(ARTIFACT)
    (tmp_path / "alice.pem").write_bytes(private.public_key().public_bytes(serialization.Encoding.PEM, SPKI))
    code, facts = verify(hubledger, tmp_path, bundle, "--public-key", tmp_path / "alice.pem")
    assert (code, facts["log"], facts["signature"]) == (0, "INCLUDED_ONLY", "ACCEPTED"), facts


class _RekorTwo:
    """A real Rekor v2, as a log of ``sign_file`` and ``sign_payload``."""

    kind = ("hashedrekord", "0.0.2")

    def __init__(self, url, spki):
        self.url, self.spki = url, spki

    def log(self, body, kind=None):
        """Have it log what this body is about; return its answer."""
        del kind
        spec = json.loads(body)["spec"]["hashedRekordV002"]
        request = {"digest": spec["data"]["digest"], "signature": spec["signature"]}
        answer = httpx.post(
            f"{self.url}/api/v2/log/entries", json={"hashedRekordRequestV002": request}, timeout=30
        )
        assert answer.status_code == 201, answer.text
        found = answer.json()
        assert found["canonicalizedBody"] == format_base64(body)
        return found
