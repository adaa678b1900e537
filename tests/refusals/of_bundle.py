"""Refusals of ledger.bundle and ledger.verification: the hub's own material, signatures, and files that cannot be read.

What an upload contains never makes recording fail: those refusals become an outcome with a reason code, and the
sentence of ``ledger.bundle.reasons`` that goes with it. The tests of tests/ledger/bundle hold every place by its code;
here are those codes that no upload of theirs brings about.
"""

import base64
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
from cryptography.x509.oid import NameOID

from cli.demo_world import DemoSigstore
from ledger.bundle import NotVerifiedError, parse_bundle
from ledger.bundle.fulcio import signer_facts
from ledger.bundle.reasons import REASONS
from ledger.bundle.signature import verify_signature
from ledger.bundle.statement import PREDICATE_TYPE
from ledger.bundle.trust_material import TrustMaterial
from ledger.entry import PAYLOAD_TYPE
from ledger.errors import ConfigError, NotFoundError, SourceError
from ledger.manifest import Manifest, ManifestFile
from ledger.verification import verify_revision
from ledger.verification.reading import Files, _OpenFile, _read_link, _read_small, _scan, read_revision
from tests.refusals.table import refused, turned
from tests.world import ed25519_key, p256_key


def b64(raw):
    return base64.b64encode(raw).decode()


# Bundles


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
        lambda _: _verify(
            parse_bundle(_sigstore_bundle()), TrustMaterial(sigstore_json=b'{"mediaType":"?"}')
        ),
    ),
    refused(
        ConfigError,
        "Sigstore trust config: expected a certificate transparency log, got none. Correct what is named, and try again",
        lambda _: _verify(parse_bundle(_sigstore_bundle()), TrustMaterial(sigstore_json=_without_ctlogs())),
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
    return _verify(bundle, TrustMaterial(public_keys=[_pem("registered")]))


def _verify(bundle, trust):
    return verify_signature(bundle, trust, predicate_type=PREDICATE_TYPE)


# Certificates


def _certificate(*, san=None):
    """A certificate that is no Fulcio's: it names no identity provider."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(p256_key("leaf").public_key())
        .serial_number(7)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([san]), critical=False)
    )
    return builder.sign(p256_key("leaf"), hashes.SHA256())


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
    return _verify(bundle, TrustMaterial(sigstore_json=_sigstore().trusted_root()))


def _without_ctlogs():
    value = json.loads(_sigstore().trusted_root())
    value["ctlogs"] = []
    return json.dumps(value).encode()


def _rejected(value, _entries):
    value["dsseEnvelope"]["signatures"][0]["sig"] = b64(bytes(70))


def _malformed(value, _entries):
    value["verificationMaterial"]["certificate"]["rawBytes"] = b64(b"certificate")


def not_verified(text, trigger):
    """A signature that does not verify: the error is raised to ``ledger.verification``, which records its code."""
    return turned(NotVerifiedError, text, _caught(trigger))


def _caught(trigger):
    """Return the refusal as a result, as ``ledger.verification`` does."""

    def call(scene):
        with pytest.raises(NotVerifiedError) as caught:
            trigger(scene)
        assert caught.value.outcome == REASONS[caught.value.reason].outcome

    return call


SIGNATURES = (
    not_verified("key-not-registered: no registered key made this signature", lambda _: _by_key()),
    not_verified(
        "signature-invalid: the signature is not by this key over this statement",
        lambda _: _by_key(hint=hashlib.sha256(_pem("registered")).hexdigest()),
    ),
    not_verified(
        "certificate-without-issuer: the certificate names no identity provider, so it is not Fulcio's",
        lambda _: signer_facts(_certificate(san=x509.RFC822Name("a@example.org"))),
    ),
    not_verified(
        "certificate-malformed: a certificate cannot be read (no alternative name of a kind that Fulcio issues)",
        lambda _: signer_facts(_certificate(san=x509.DNSName("example.org"))),
    ),
    not_verified(
        "sigstore-rejected: Sigstore's verification failed (<any>)", lambda _: _by_sigstore(_rejected)
    ),
    not_verified(
        "sigstore-malformed: the bundle is not what Sigstore's format demands (<any>)",
        lambda _: _by_sigstore(_malformed),
    ),
)

# Files


def _needs_bytes():
    manifest = Manifest((ManifestFile(path="weights", sha256=bytes(32), size=7),))
    return Files(manifest, None).digest("weights", "blake2b", None, None)


def _model(scene):
    """A folder with one file, and what was read of it."""
    folder = scene.folder / "model"
    folder.mkdir()
    (folder / "weights").write_bytes(b"weights")
    return folder, read_revision(folder)[2]


def _swapped(scene):
    """A file that became a link after the folder was listed."""
    folder, files = _model(scene)
    (folder / "weights").unlink()
    (folder / "weights").symlink_to("/etc/hostname")
    return files.digest("weights", "blake2b", None, None)


def _piped(scene):
    """A file that became a pipe: opening it waits for nobody."""
    folder, files = _model(scene)
    (folder / "weights").unlink()
    os.mkfifo(folder / "weights")
    return files.digest("weights", "blake2b", None, None)


def _written_meanwhile(scene):
    """A large file that somebody writes while it is read."""
    folder, _ = _model(scene)
    with _OpenFile(os.fsencode(folder), b"weights") as file:
        (folder / "weights").write_bytes(b"weights, more")
        file.check_unchanged()


def _of_the_kernel(name):
    """A file that is not what its listing says: those of the kernel say 0 bytes."""
    return read_revision(pathlib.Path("/proc/self") / name)


def _unreadable_memory():
    """Nothing is mapped at address 0."""
    with _OpenFile(b"/proc/self", b"mem") as file:
        return next(file.blocks(0, 1))


def _gone(read):
    """A name that was listed and is not there any more."""
    return lambda scene: read(os.path.join(os.fsencode(scene.folder), b""), b"weights")


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
        "needs-file-bytes: the files were hashed in a way that needs their bytes, and only a manifest was given (weights)",
        lambda _: _needs_bytes(),
    ),
    not_verified(
        "blake3-not-installed: the files were hashed with BLAKE3, which is not installed here",
        _without_blake3,
    ),
    refused(
        SourceError,
        "reading folder shards: expected a readable folder, got No such file or directory. Make it reachable and readable, and try again",
        _vanishing,
    ),
    refused(
        NotFoundError,
        "model <folder>/model: expected a folder or a file, got No such file or directory. Check the path of the model",
        lambda scene: verify_revision(scene.folder / "model", trust=TrustMaterial()),
    ),
    refused(
        NotFoundError,
        "model /dev/null: expected a folder or a file, got a special file. Name a folder or a regular file",
        lambda _: verify_revision(pathlib.Path("/dev/null"), trust=TrustMaterial()),
    ),
    refused(
        SourceError,
        "reading weights: expected a readable file, got Too many levels of symbolic links. Make it reachable and readable, and try again",
        _swapped,
    ),
    refused(
        SourceError,
        "reading weights: expected a regular file, got a special file: it changed meanwhile. Make it reachable and readable, and try again",
        _piped,
    ),
    refused(
        SourceError,
        "reading weights: expected a readable file, got No such file or directory. Make it reachable and readable, and try again",
        _gone(_read_small),
    ),
    refused(
        SourceError,
        "reading weights: expected a readable file, got No such file or directory. Make it reachable and readable, and try again",
        _gone(_read_link),
    ),
    refused(
        SourceError,
        "reading mem: expected a readable file, got Input/output error. Make it reachable and readable, and try again",
        lambda _: _unreadable_memory(),
    ),
    refused(
        SourceError,
        "reading stat: expected the 0 bytes that it had when it was opened, got other bytes: it changed meanwhile. Let whoever writes it finish, then try again",
        lambda _: _of_the_kernel("stat"),
    ),
    refused(
        SourceError,
        "reading weights: expected the 7 bytes that it had when it was opened, got 13 bytes: it changed meanwhile. Let whoever writes it finish, then try again",
        _written_meanwhile,
    ),
)

CASES = (*MATERIAL, *SIGNATURES, *FILES)
