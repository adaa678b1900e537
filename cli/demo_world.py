"""A small world for the demo: a model, keys, and a synthetic Sigstore instance, all made here and thrown away.

Everything is real cryptography in Sigstore's real formats: a certificate authority that issues short-lived
certificates with a signed certificate timestamp, and a log of the Rekor v1 shape with a signed entry timestamp,
inclusion proof and checkpoint. Needs no network and no program beside Python.
"""

import hashlib
import json
import pathlib
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ledger.encoding import format_base64, format_canonical_json
from ledger.entry import PAYLOAD_TYPE, pae
from ledger.tlog.checkpoint import Checkpoint, format_checkpoint
from ledger.tlog.merkle import leaf_hash, node_hash
from ledger.tlog.signed_note import NoteSignature, format_note

_ECDSA = ec.ECDSA(hashes.SHA256())
_ISSUER_V1 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ISSUER_V2 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_ORIGIN = "rekor.demo.example - 1"


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _der(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.DER)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 - certificates are made for now


@dataclass(frozen=True, kw_only=True)
class DemoSigstore:
    """One synthetic instance: its authority, its certificate log and its signature log."""

    root_key: ec.EllipticCurvePrivateKey = field(default_factory=_new_key)
    ct_key: ec.EllipticCurvePrivateKey = field(default_factory=_new_key)
    log_key: ec.EllipticCurvePrivateKey = field(default_factory=_new_key)
    now: datetime = field(default_factory=_now)

    def root(self) -> x509.Certificate:
        """Return the authority's certificate."""
        name = _name("Demo Certificate Authority")
        public = self.root_key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(public)
            .serial_number(1)
            .not_valid_before(self.now - timedelta(days=1))
            .not_valid_after(self.now + timedelta(days=365))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self.root_key, hashes.SHA256())
        )

    def issue(self, key: ec.EllipticCurvePrivateKey, identity: str, issuer: str) -> x509.Certificate:
        """Issue a ten-minute certificate for an identity, with its signed certificate timestamp (RFC 6962)."""
        builder = self._leaf(key, identity, issuer)
        tbs = builder.sign(self.root_key, hashes.SHA256()).tbs_certificate_bytes
        stamp = int(self.now.timestamp() * 1000)
        body = struct.pack("!BBQH", 0, 0, stamp, 1) + hashlib.sha256(_spki(self.root_key)).digest()
        body += struct.pack("!I", len(tbs))[1:] + tbs + struct.pack("!H", 0)
        signature = self.ct_key.sign(body, _ECDSA)
        sct = b"\x00" + hashlib.sha256(_spki(self.ct_key)).digest() + struct.pack("!QH", stamp, 0)
        sct += b"\x04\x03" + struct.pack("!H", len(signature)) + signature
        listed = struct.pack("!HH", len(sct) + 2, len(sct)) + sct
        return builder.add_extension(
            x509.UnrecognizedExtension(_SCT_LIST, _octet_string(listed)), critical=False
        ).sign(self.root_key, hashes.SHA256())

    def _leaf(self, key: ec.EllipticCurvePrivateKey, identity: str, issuer: str) -> x509.CertificateBuilder:
        name = (
            x509.RFC822Name(identity)
            if "@" in identity.split("/", 1)[0]
            else x509.UniformResourceIdentifier(identity)
        )
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.root().subject)
            .public_key(key.public_key())
            .serial_number(int.from_bytes(hashlib.sha256(_spki(key)).digest()[:8], "big"))
            .not_valid_before(self.now - timedelta(minutes=1))
            .not_valid_after(self.now + timedelta(minutes=10))
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.root_key.public_key()), critical=False
            )
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(x509.UnrecognizedExtension(_ISSUER_V1, issuer.encode()), critical=False)
            .add_extension(x509.UnrecognizedExtension(_ISSUER_V2, _utf8_string(issuer)), critical=False)
        )

    def sign(self, statement: bytes, *, identity: str, issuer: str) -> bytes:
        """Sign an in-toto statement as ``identity`` and return the bundle, with its log entry."""
        key = _new_key()
        cert = self.issue(key, identity, issuer)
        signature = key.sign(pae(statement), _ECDSA)
        envelope = {
            "payload": format_base64(statement),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": format_base64(signature)}],
        }
        body = format_canonical_json(
            {
                "apiVersion": "0.0.1",
                "kind": "dsse",
                "spec": {
                    "envelopeHash": _sha256_of(json.dumps(envelope).encode()),
                    "payloadHash": _sha256_of(statement),
                    "signatures": [
                        {
                            "signature": format_base64(signature),
                            "verifier": format_base64(cert.public_bytes(serialization.Encoding.PEM)),
                        }
                    ],
                },
            }
        )
        bundle = {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": format_base64(_der(cert))},
                "tlogEntries": [self._log_entry(body)],
            },
            "dsseEnvelope": envelope,
        }
        return json.dumps(bundle).encode()

    def _log_entry(self, body: bytes) -> dict[str, Any]:
        """Log a body as the second of two leaves, with promise, proof and checkpoint."""
        log_id = hashlib.sha256(_spki(self.log_key)).digest()
        time = int(self.now.timestamp())
        promise = format_canonical_json(
            {"body": format_base64(body), "integratedTime": time, "logID": log_id.hex(), "logIndex": 1}
        )
        first = leaf_hash(b"an earlier entry")
        root = node_hash(first, leaf_hash(body))
        text = format_checkpoint(Checkpoint(origin=_ORIGIN, size=2, root_hash=root))
        signed = NoteSignature(
            name=_ORIGIN.split(" ", 1)[0], key_id=log_id[:4], signature=self.log_key.sign(text, _ECDSA)
        )
        return {
            "logIndex": "1",
            "logId": {"keyId": format_base64(log_id)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(time),
            "inclusionPromise": {"signedEntryTimestamp": format_base64(self.log_key.sign(promise, _ECDSA))},
            "inclusionProof": {
                "logIndex": "1",
                "rootHash": format_base64(root),
                "treeSize": "2",
                "hashes": [format_base64(first)],
                "checkpoint": {"envelope": format_note(text, [signed]).decode()},
            },
            "canonicalizedBody": format_base64(body),
        }

    def trusted_root(self) -> bytes:
        """Return the trusted root that clients of this instance use."""
        valid = {"start": (self.now - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")}

        def log(key: ec.EllipticCurvePrivateKey, url: str) -> dict[str, Any]:
            return {
                "baseUrl": url,
                "hashAlgorithm": "SHA2_256",
                "logId": {"keyId": format_base64(hashlib.sha256(_spki(key)).digest())},
                "publicKey": {
                    "rawBytes": format_base64(_spki(key)),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": valid,
                },
            }

        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [log(self.log_key, "https://rekor.demo.example")],
                "ctlogs": [log(self.ct_key, "https://ct.demo.example")],
                "certificateAuthorities": [
                    {
                        "subject": {"organization": "demo", "commonName": "Demo Certificate Authority"},
                        "uri": "https://ca.demo.example",
                        "certChain": {"certificates": [{"rawBytes": format_base64(_der(self.root()))}]},
                        "validFor": valid,
                    }
                ],
                "timestampAuthorities": [],
            }
        ).encode()


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _utf8_string(text: str) -> bytes:
    return b"\x0c" + _der_length(text.encode())


def _octet_string(raw: bytes) -> bytes:
    return b"\x04" + _der_length(raw)


def _der_length(raw: bytes) -> bytes:
    if len(raw) < 128:
        return bytes([len(raw)]) + raw
    size = len(raw).to_bytes((len(raw).bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(size)]) + size + raw


def _sha256_of(raw: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(raw).hexdigest()}


def oms_statement(model: pathlib.Path) -> bytes:
    """Return the statement over a model's files that model-signing would sign."""
    from google.protobuf import json_format
    from model_signing import hashing
    from model_signing._signing import signing

    config: Any = hashing.Config
    manifest = config().set_ignored_paths(paths=[model / "model.sig"]).hash(model)
    text: str = json_format.MessageToJson(signing.Payload(manifest).statement.pb)
    return text.encode()


def sign_with_key(model: pathlib.Path, private_key: pathlib.Path) -> None:
    """Sign a model with model-signing and an elliptic-curve key; the bundle is ``model.sig`` in it."""
    from model_signing import hashing, signing

    hashing_config: Any = hashing.Config
    signing_config: Any = signing.Config
    hashed = hashing_config().set_ignored_paths(paths=[model / "model.sig"])
    signer = signing_config().use_elliptic_key_signer(private_key=private_key).set_hashing_config(hashed)
    signer.sign(model, model / "model.sig")


def write_key_pair(folder: pathlib.Path, name: str) -> tuple[pathlib.Path, pathlib.Path]:
    """Write a new P-256 key pair as PEM; returns (private, public)."""
    key = _new_key()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.touch(mode=0o600)
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private, public
