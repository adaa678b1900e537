"""Refusals of ledger.bundle and ledger.verification: signatures, certificates, and files that cannot be read.

What an upload contains never makes recording fail: those refusals become an outcome with a reason code, which is what
their text begins with.
"""

import base64
import dataclasses
import datetime as dt
import functools
import hashlib
import json
import os
import pathlib
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cli.demo_world import DemoSigstore
from ledger.bundle import NotVerifiedError, parse_bundle, parse_signed_files
from ledger.bundle.fulcio import signer_facts
from ledger.bundle.signature import TrustMaterial, verify_signature
from ledger.entry import PAYLOAD_TYPE, pae
from ledger.errors import ConfigError, MalformedError, NotFoundError, SourceError
from ledger.manifest import Manifest, ManifestFile
from ledger.tlog.signed_note import parse_note
from ledger.verification import verify_revision
from ledger.verification.reading import Files, _scan, read_revision
from tests.refusals.table import refused, turned
from tests.world import ed25519_key, p256_key


def b64(raw):
    return base64.b64encode(raw).decode()


# Bundles and statements


def _statement(**changes):
    """The statement over one file ``weights`` with these bytes."""
    digest = hashlib.sha256(b"weights").digest()
    value = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "m", "digest": {"sha256": hashlib.sha256(digest).hexdigest()}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "ignore_paths": []},
            "resources": [{"name": "weights", "algorithm": "sha256", "digest": digest.hex()}],
        },
    }
    value["predicate"] |= changes.pop("predicate", {})
    return json.dumps(value | changes).encode()


def _bundle(*, material=None, statement=None, signature=b"sig", media="v0.3+json", **envelope):
    """A bundle whose parts may be wrong."""
    return json.dumps(
        {
            "mediaType": f"application/vnd.dev.sigstore.bundle.{media}",
            "verificationMaterial": {"publicKey": {"hint": ""}} if material is None else material,
            "dsseEnvelope": {
                "payload": b64(statement or _statement()),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": b64(signature)}],
            }
            | envelope,
        }
    ).encode()


def _signed(**changes):
    return lambda _: parse_signed_files(parse_bundle(_bundle(statement=_statement(**changes))))


def _serialized(**changes):
    return _signed(
        predicate={"serialization": {"method": "files", "hash_type": "sha256", "ignore_paths": []} | changes}
    )


def _shard(name):
    resource = {"name": name, "algorithm": "sha256-sharded-1000", "digest": "0" * 64}
    return _signed(
        predicate={
            "serialization": {"method": "shards", "hash_type": "sha256", "shard_size": 1000},
            "resources": [resource],
        }
    )


RESOURCE = {"name": "weights", "algorithm": "sha256", "digest": hashlib.sha256(b"weights").hexdigest()}

BUNDLES = (
    refused(
        MalformedError,
        "signature bundle: expected a Sigstore bundle with one DSSE signature, got another form. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_bundle(b"{}"),
    ),
    refused(
        MalformedError,
        "payload type of the bundle: expected application/vnd.in-toto+json, got text/plain. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_bundle(_bundle(payloadType="text/plain")),
    ),
    refused(
        MalformedError,
        "verification material: expected one of publicKey, x509CertificateChain, certificate, got none. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_bundle(_bundle(material={})),
    ),
    refused(
        MalformedError,
        "signed statement: expected https://model_signing/signature/v1.0 with one subject, got another form. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _signed(predicateType="https://slsa.dev/provenance/v1"),
    ),
    refused(
        MalformedError,
        "signed statement: expected at most 2000000 resources, got 2000001. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _signed(predicate={"resources": [0] * 2_000_001}),
    ),
    refused(
        MalformedError,
        "signed statement: expected each resource once, got a name twice. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _signed(predicate={"resources": [RESOURCE, RESOURCE]}),
    ),
    refused(
        MalformedError,
        "root digest of the statement: expected <hex>, got <hex>. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _signed(subject=[{"name": "m", "digest": {"sha256": "0" * 64}}]),
    ),
    refused(
        MalformedError,
        "hash type of the statement: expected sha256, blake2b or blake3, got md5. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _serialized(hash_type="md5"),
    ),
    refused(
        MalformedError,
        "serialization of the statement: expected files or shards, got archive. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _serialized(method="archive"),
    ),
    refused(
        MalformedError,
        "ignore_paths of the statement: expected a list of paths, got another form. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _serialized(ignore_paths="*"),
    ),
    refused(
        MalformedError,
        "resource of the statement: expected name, digest and sha256, got another form. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _signed(predicate={"resources": ["weights"]}),
    ),
    refused(
        MalformedError,
        "shard of the statement: expected path:start:end, got weights:zero:1000. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _shard("weights:zero:1000"),
    ),
    refused(
        MalformedError,
        "shard of the statement: expected path:start:end, got weights:1000:0. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _shard("weights:1000:0"),
    ),
)

# The hub's own material


def _ed25519_pem():
    return (
        ed25519_key("a")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


MATERIAL = (
    refused(
        ConfigError,
        "anchor: expected PEM certificates, got <any>. Correct what is named, and try again",
        lambda _: TrustMaterial(anchors=[b"none"]).anchor_certificates,
    ),
    refused(
        ConfigError,
        "public key: expected a PEM public key, got <any>. Correct what is named, and try again",
        lambda _: TrustMaterial(public_keys=[b"none"]).keys,
    ),
    refused(
        ConfigError,
        "public key: expected an elliptic-curve key on P-256, P-384 or P-521, got Ed25519PublicKey. Correct what is named, and try again",
        lambda _: TrustMaterial(public_keys=[_ed25519_pem()]).keys,
    ),
    refused(
        ConfigError,
        "Sigstore trust config: expected a client trust config or trusted root, got <any>. Correct what is named, and try again",
        lambda _: verify_signature(
            parse_bundle(_sigstore_bundle()), TrustMaterial(sigstore_json=b'{"mediaType":"?"}')
        ),
    ),
)

# Keys


def _pem(name):
    return (
        p256_key(name)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def _by_key(*, hint=""):
    bundle = parse_bundle(_bundle(material={"publicKey": {"hint": hint}}))
    return verify_signature(bundle, TrustMaterial(public_keys=[_pem("registered")]))


# Certificates

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def _name(common_name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    *, subject="leaf", key=None, issuer="anchor", signer=None, ca=False, san=None, broken_san=False
):
    signer = signer or p256_key("anchor")
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key or p256_key(subject).public_key())
        .serial_number(7)
        .not_valid_before(START)
        .not_valid_after(START + dt.timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not ca,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=ca,
                crl_sign=ca,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key or p256_key(subject).public_key()), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if not ca:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
        )
    if san is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([san]), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _anchor():
    return _certificate(subject="anchor", ca=True)


def _der(certificate):
    return certificate.public_bytes(serialization.Encoding.DER)


def _by_chain(*chain, anchors=None, signer="leaf"):
    """Verify a bundle with a chain against the anchor; the leaf's key signs unless another does."""
    raw = [each if isinstance(each, bytes) else _der(each) for each in chain]
    material = {"x509CertificateChain": {"certificates": [{"rawBytes": b64(each)} for each in raw]}}
    signature = p256_key(signer).sign(pae(_statement()), ec.ECDSA(hashes.SHA256()))
    anchors = [_anchor()] if anchors is None else anchors
    pem = [each.public_bytes(serialization.Encoding.PEM) for each in anchors]
    bundle = parse_bundle(_bundle(material=material, signature=signature))
    return verify_signature(bundle, TrustMaterial(anchors=pem))


def _its_own_anchor():
    leaf = _certificate()
    return _by_chain(leaf, anchors=[leaf])


def _unknown_curve():
    """A leaf, rightly signed, whose key is on a curve that nobody knows."""
    tbs = _certificate().tbs_certificate_bytes
    p256 = bytes.fromhex("06082a8648ce3d030107")
    assert tbs.count(p256) == 1
    tbs = tbs.replace(p256, p256[:-1] + b"\x77")
    signature = b"\0" + p256_key("anchor").sign(tbs, ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    body = tbs + algorithm + b"\x03" + bytes([len(signature)]) + signature
    return b"\x30\x82" + len(body).to_bytes(2, "big") + body


def _odd_curve():
    key = ec.derive_private_key(7, ec.SECP256K1()).public_key()
    return _by_chain(_certificate(key=key))


# Sigstore


@functools.cache
def _sigstore():
    return DemoSigstore()


@functools.cache
def _sigstore_bundle():
    return _sigstore().sign(_statement(), identity="a@example.org", issuer="https://idp.example")


def _by_sigstore(change):
    """Verify a sound keyless bundle after one change to it."""
    value = json.loads(_sigstore_bundle())
    change(value, value["verificationMaterial"]["tlogEntries"])
    bundle = parse_bundle(json.dumps(value).encode())
    return verify_signature(bundle, TrustMaterial(sigstore_json=_sigstore().trusted_root()))


def _rejected(value, _entries):
    value["dsseEnvelope"]["signatures"][0]["sig"] = b64(bytes(70))


def _malformed(value, _entries):
    value["verificationMaterial"]["certificate"]["rawBytes"] = b64(b"certificate")


def _upstream(change):
    """Prove the log entry of a bundle that sigstore accepted; sigstore itself refuses some of these earlier."""
    from ledger.bundle.sigstore_method import _load_root, _upstream

    value = json.loads(_sigstore_bundle())
    change(value["verificationMaterial"])
    bundle = dataclasses.replace(parse_bundle(_sigstore_bundle()), material=value["verificationMaterial"])
    return lambda _: _upstream(bundle, _load_root(_sigstore().trusted_root()))


def _without_entries(material):
    material["tlogEntries"] = []


def _false_index(material):
    entry = material["tlogEntries"][0]
    del entry["inclusionPromise"]
    entry["logIndex"] = "7"


def _false_size(material):
    material["tlogEntries"][0]["inclusionProof"]["logIndex"] = "2"


def _stranger_signed(material):
    checkpoint = material["tlogEntries"][0]["inclusionProof"]["checkpoint"]
    note = parse_note(checkpoint["envelope"].encode())
    line = note.signatures[0]
    other = b64(bytes(4) + line.signature)
    checkpoint["envelope"] = f"{note.text.decode()}\n\u2014 {line.name} {other}\n"


def not_verified(text, trigger):
    """A signature that does not verify: the error is raised to ``ledger.verification``, which records it."""
    return turned(NotVerifiedError, text, _caught(trigger))


def _caught(trigger):
    """Return the refusal as a result, as ``ledger.verification`` does."""

    def call(scene):
        with pytest.raises(NotVerifiedError) as caught:
            trigger(scene)
        assert caught.value.outcome in ("INVALID_SIGNATURE", "UNKNOWN_KEY", "UNSUPPORTED")
        assert caught.value.reason == caught.value.what

    return call


SIGNATURES = (
    not_verified(
        "key-not-registered: expected a signature that verifies, got UNKNOWN_KEY", lambda _: _by_key()
    ),
    not_verified(
        "signature-invalid: expected a signature that verifies, got INVALID_SIGNATURE",
        lambda _: _by_key(hint=hashlib.sha256(_pem("registered")).hexdigest()),
    ),
    not_verified(
        "certificate-malformed: expected a signature that verifies, got no chain",
        lambda _: _by_chain(*[b""] * 17),
    ),
    not_verified(
        "certificate-malformed: expected a signature that verifies, got <any>",
        lambda _: _by_chain(b"certificate"),
    ),
    not_verified(
        "no-anchor: expected a signature that verifies, got UNKNOWN_KEY",
        lambda _: _by_chain(_certificate(), anchors=[]),
    ),
    not_verified(
        "chain-not-trusted: expected a signature that verifies, got <any>",
        lambda _: _by_chain(_certificate(signer=p256_key("stranger"))),
    ),
    not_verified(
        "certificate-malformed: expected a signature that verifies, got <any>",
        lambda _: _by_chain(_unknown_curve()),
    ),
    not_verified(
        "chain-not-trusted: expected a signature that verifies, got the leaf is no anchor",
        lambda _: _its_own_anchor(),
    ),
    not_verified("key-type: expected a signature that verifies, got ECPublicKey", lambda _: _odd_curve()),
    not_verified(
        "signature-invalid: expected a signature that verifies, got INVALID_SIGNATURE",
        lambda _: _by_chain(_certificate(), signer="stranger"),
    ),
    not_verified(
        "certificate-malformed: expected a signature that verifies, got <any>",
        lambda _: signer_facts(_certificate()),
    ),
    not_verified(
        "certificate-without-issuer: expected a signature that verifies, got INVALID_SIGNATURE",
        lambda _: signer_facts(_certificate(san=x509.RFC822Name("a@example.org"))),
    ),
    not_verified(
        "sigstore-rejected: expected a signature that verifies, got <any>", lambda _: _by_sigstore(_rejected)
    ),
    not_verified(
        "sigstore-malformed: expected a signature that verifies, got <any>",
        lambda _: _by_sigstore(_malformed),
    ),
    not_verified(
        "upstream-log-missing: expected a signature that verifies, got INVALID_SIGNATURE",
        _upstream(_without_entries),
    ),
    not_verified(
        "upstream-log-unproven: expected a signature that verifies, got leaf index of an inclusion proof: expected 0 <= index < 2, got 2. Fetch it again, from another mirror if there is one; do not use it as it is",
        _upstream(_false_size),
    ),
    not_verified(
        "upstream-checkpoint-unsigned: expected a signature that verifies, got INVALID_SIGNATURE",
        _upstream(_stranger_signed),
    ),
    not_verified(
        "upstream-index-false: expected a signature that verifies, got 7 instead of 1",
        _upstream(_false_index),
    ),
)

# Files


def _needs_bytes():
    manifest = Manifest((ManifestFile(path="weights", sha256=bytes(32), size=7),))
    return Files(manifest, None, {}).digest("weights", "blake2b", None, None)


def _swapped(scene):
    """A file that became a link after the folder was listed."""
    folder = scene.folder / "model"
    folder.mkdir()
    (folder / "weights").write_bytes(b"weights")
    _, _, files = read_revision(folder)
    (folder / "weights").unlink()
    (folder / "weights").symlink_to("/etc/hostname")
    return files.digest("weights", "blake2b", None, None)


def _growing(scene):
    """A file whose size is not what the folder's listing said: those of the kernel say 0."""
    del scene
    return read_revision(pathlib.Path("/proc/self/stat"))


def _without_blake3(scene):
    """The package is an extra: an import that fails as where it is not installed."""
    known = sys.modules.copy()
    sys.modules["blake3"] = None
    scene.after.callback(_restore, known, "blake3")
    (scene.folder / "weights").write_bytes(b"weights")
    _, _, files = read_revision(scene.folder)
    return files.digest("weights", "blake3", None, None)


def _restore(known, name):
    del sys.modules[name]
    if name in known:
        sys.modules[name] = known[name]


def _vanishing(scene):
    """A folder that goes away while its neighbours are listed."""
    (scene.folder / "shards").mkdir()
    (scene.folder / "weights").write_bytes(b"weights")
    walk = _scan(os.fsencode(scene.folder), b"")
    assert next(walk) == (b"weights", 7)
    (scene.folder / "shards").rmdir()
    return list(walk)


FILES = (
    not_verified(
        "needs-file-bytes: expected a signature that verifies, got weights", lambda _: _needs_bytes()
    ),
    not_verified(
        "blake3-not-installed: expected a signature that verifies, got UNSUPPORTED", _without_blake3
    ),
    refused(
        SourceError,
        "reading folder shards: expected a readable folder, got No such file or directory. Make it reachable and readable, and try again",
        _vanishing,
    ),
    refused(
        NotFoundError,
        "model <folder>/model: expected a folder or a file, got nothing. Check --model",
        lambda scene: verify_revision(scene.folder / "model", trust=TrustMaterial()),
    ),
    refused(
        SourceError,
        "reading weights: expected a readable file, got Too many levels of symbolic links. Make it reachable and readable, and try again",
        _swapped,
    ),
    refused(
        SourceError,
        "reading stat: expected 0 bytes, got <number> bytes: it changed meanwhile. Try again when nothing writes to the model",
        _growing,
    ),
)

CASES = (*BUNDLES, *MATERIAL, *SIGNATURES, *FILES)
