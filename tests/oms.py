"""Makes model signatures by hand, with every part bendable: statements, envelopes, keys, certificate chains.

Written from the formats' texts and not with our code, so that a test of our readers does not read what they wrote.
"""

import base64
import datetime as dt
import hashlib
import json
import pathlib
from dataclasses import dataclass

from blake3 import blake3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

MEDIA = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
SIGNATURE_V1 = "https://model_signing/signature/v1.0"
DIGESTS_V01 = "https://model_signing/Digests/v0.1"
HASHES = {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512()}
DIGESTS = {"sha256": hashlib.sha256, "blake2b": hashlib.blake2b, "blake3": blake3}
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
GIT = [".git", ".gitignore", ".gitattributes", ".github"]
NOON = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)


def b64(raw):
    return base64.b64encode(raw).decode()


def new_key(curve=ec.SECP256R1):
    return ec.generate_private_key(curve())


def public_pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM, SPKI)


def spki_sha256(key):
    return hashlib.sha256(key.public_key().public_bytes(serialization.Encoding.DER, SPKI)).digest()


# Statements


def files_of(model):
    """Every regular file of a folder but git's and model.sig, in the order in which model-signing lists them."""
    found = [path.relative_to(model) for path in model.rglob("*") if path.is_file() and not path.is_symlink()]
    return sorted(path for path in found if path.parts[0] not in (*GIT, "model.sig"))


def resources_of(model, hash_type="sha256", shard_size=None):
    """The resources of a statement: of whole files, or of shards."""
    digest = DIGESTS[hash_type]
    listed = []
    for path in files_of(model):
        data = (model / path).read_bytes()
        if shard_size is None:
            listed.append({"name": str(path), "algorithm": hash_type, "digest": digest(data).hexdigest()})
            continue
        for start in range(0, len(data), shard_size):
            part = data[start : start + shard_size]
            listed.append(
                {
                    "name": f"{path}:{start}:{start + len(part)}",
                    "algorithm": f"{hash_type}-sharded-{shard_size}",
                    "digest": digest(part).hexdigest(),
                }
            )
    return listed


def root_of(resources):
    return hashlib.sha256(b"".join(bytes.fromhex(each["digest"]) for each in resources)).hexdigest()


def statement(model, *, hash_type="sha256", shard_size=None, ignore_paths=None, allow_symlinks=False):
    """A statement of OMS v1.0 about a folder."""
    listed = resources_of(model, hash_type, shard_size)
    serialization_ = {
        "method": "files" if shard_size is None else "shards",
        "hash_type": hash_type,
        "allow_symlinks": allow_symlinks,
        "ignore_paths": GIT if ignore_paths is None else ignore_paths,
    }
    if shard_size is not None:
        serialization_["shard_size"] = float(shard_size)
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": model.name, "digest": {"sha256": root_of(listed)}}],
        "predicateType": SIGNATURE_V1,
        "predicate": {"serialization": serialization_, "resources": listed},
    }


def statement_v02(model, algorithm="file-sha256"):
    """A statement of model-signing 0.2: the files are the subjects."""
    digest = DIGESTS[algorithm.removeprefix("file-")]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {
                "name": str(path),
                "digest": {"sha256": digest((model / path).read_bytes()).hexdigest()},
                "annotations": {"actual_hash_algorithm": algorithm},
            }
            for path in files_of(model)
        ],
        "predicateType": DIGESTS_V01,
        "predicate": {"unused": "Unused, just passed due to API requirements"},
    }


# Envelopes and bundles


def pae(payload, kind=PAYLOAD_TYPE):
    return b"DSSEv1 %d %s %d %s" % (len(kind.encode()), kind.encode(), len(payload), payload)


def pae_v02(payload):
    """What model-signing 0.2 signed: the text that Python prints for the bytes."""
    return f"DSSEV1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} {payload}".encode()


def sign(key, payload, *, message=None, algorithm=None):
    chosen = algorithm or HASHES[key.curve.name]
    return key.sign(pae(payload) if message is None else message, ec.ECDSA(chosen))


def bundle(payload, signature, material, media=MEDIA, kind=PAYLOAD_TYPE):
    """The bundle as a dict; ``payload`` is bytes or a value."""
    return {
        "mediaType": media,
        "verificationMaterial": {**material, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": b64(payload),
            "payloadType": kind,
            "signatures": [{"sig": b64(signature), "keyid": ""}],
        },
    }


def hint_of(key):
    return {"publicKey": {"hint": hashlib.sha256(public_pem(key)).hexdigest()}}


def key_bundle(value, key, **options):
    """A statement (a value, or bytes) signed with a bare key, as a dict."""
    payload = value if isinstance(value, bytes) else json.dumps(value).encode()
    return bundle(payload, sign(key, payload), hint_of(key), **options)


def key_bundle_v02(value, key):
    """As model-signing 0.2 wrote it: the key's PEM within, the wrong encoding signed with SHA-256."""
    payload = json.dumps(value, indent=2).encode()
    signature = sign(key, payload, message=pae_v02(payload), algorithm=hashes.SHA256())
    made = bundle(
        payload,
        signature,
        {"publicKey": {"rawBytes": b64(public_pem(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256"}},
    )
    del made["verificationMaterial"]["tlogEntries"], made["dsseEnvelope"]["signatures"][0]["keyid"]
    return made


def raw(value):
    return json.dumps(value).encode()


def put(model, value, name="model.sig"):
    """Write a bundle into a model; returns the model."""
    (model / name).write_bytes(value if isinstance(value, bytes) else raw(value))
    return model


def sign_with_a_new_key(model):
    """Put a signature into a model's folder; returns the public key as PEM."""
    key = new_key()
    put(model, key_bundle(statement(model), key))
    return public_pem(key)


def write_model(folder, files=None):
    """A small model in a new folder."""
    files = files or {
        "config.json": b'{"a": 1}',
        "weights.bin": bytes(range(40)),
        "sub/vocab.txt": b"hello\n",
    }
    for name, data in files.items():
        path = pathlib.Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return pathlib.Path(folder)


# Certificates


@dataclass(frozen=True)
class Certified:
    """A certificate with its key and the one who issued it."""

    key: object
    cert: x509.Certificate
    issuer: "Certified | None" = None

    @property
    def pem(self):
        return self.cert.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self):
        return self.cert.public_bytes(serialization.Encoding.DER)


def usage(**on):
    every = [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ]
    return x509.KeyUsage(**{name: on.get(name, False) for name in every})


CODE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
LEAF = ((usage(digital_signature=True), True), (CODE, False), (x509.BasicConstraints(False, None), True))
AUTHORITY = ((usage(key_cert_sign=True, crl_sign=True), True), (x509.BasicConstraints(True, None), True))


def certify(name, issuer=None, *, key=None, extensions=LEAF, start=NOON, days=365, serial=None):
    """Issue a certificate; without an issuer it signs itself."""
    key = key or new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) if name else x509.Name([])
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.cert.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return Certified(key, builder.sign(signer, hashes.SHA256()), issuer)


def authority(name="Root", issuer=None, **options):
    return certify(name, issuer, **{"extensions": AUTHORITY, "days": 3650, **options})


def rsa_key(bits=2048):
    return rsa.generate_private_key(65537, bits)


def chain_material(*certified):
    return {"x509CertificateChain": {"certificates": [{"rawBytes": b64(each.der)} for each in certified]}}


def certificate_bundle(value, leaf, *chain, **options):
    """A statement signed with a certificate's key; the chain follows the leaf."""
    payload = value if isinstance(value, bytes) else json.dumps(value).encode()
    if isinstance(leaf.key, rsa.RSAPrivateKey):
        from cryptography.hazmat.primitives.asymmetric import padding

        signature = leaf.key.sign(pae(payload), padding.PKCS1v15(), hashes.SHA256())
    else:
        signature = sign(leaf.key, payload)
    return bundle(payload, signature, chain_material(leaf, *chain), **options)
