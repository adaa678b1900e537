"""Bundles of keys that nobody certified, in logs of our own: a Rekor v1 and a Rekor v2, made with the real code."""

import hashlib
import json

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from ledger.bundle.any_key import AnyVerifier
from ledger.bundle.bodies import dsse_v1, hashedrekord_v1, hashedrekord_v2, intoto_v1, intoto_v2
from ledger.bundle.ed25519ph import _BASE, _encode, _multiply
from ledger.bundle.export import format_sigstore_bundle, key_hint
from ledger.client.trusted_keys import HubKey, TrustedLog
from ledger.encoding import format_base64, format_canonical_json
from ledger.event import format_statement
from ledger.tlog.checkpoint import format_checkpoint
from ledger.tlog.signed_note import KeyType, NoteSignature, VerifierKey, format_note
from ledger.tlog.trust_policy import LogKey, TrustPolicy
from tests.fakes.rekor import FakeTree
from tests.world import World, make_event, p256_key, sign_statement, spki_of

ECDSA = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
ARTIFACT = b"weights"
PREDICATE = "https://example.org/predicate/v1"
TIME = 1_767_323_045
FIRST_INDEX = 100_000
"""The global index of the first entry of ``RekorOne``: its shards before have so many."""
MEDIA = "application/vnd.dev.sigstore.bundle.v0.3+json"


def statement(artifact=ARTIFACT):
    """An in-toto statement about a file."""
    subject = {"name": "weights", "digest": {"sha256": hashlib.sha256(artifact).hexdigest()}}
    return format_canonical_json(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "predicate": {},
            "predicateType": PREDICATE,
            "subject": [subject],
        }
    )


class RekorTwo(FakeTree):
    """A Rekor v2."""

    kind = ("hashedrekord", "0.0.2")

    def __init__(self, origin="rekor.example"):
        super().__init__(origin, key=origin)
        self.append(b"an earlier entry")

    @property
    def trusted(self):
        return self.spki, self.log_id

    @property
    def shard_of_trust(self):
        raw = self.key.public_key().public_bytes_raw()
        key = VerifierKey(name=self.origin, kind=KeyType.ED25519, public_key=raw)
        return TrustedLog(origin=self.origin, keys=(key,))

    def log(self, body, kind=None):
        """Log a body; return the entry as bundles have it."""
        index = self.append(body)
        self.append(b"a later entry")
        found = self.entry(index)
        del found["inclusionPromise"], found["integratedTime"]
        found["kindVersion"] = {"kind": (kind or self.kind)[0], "version": (kind or self.kind)[1]}
        found["canonicalizedBody"] = format_base64(body)
        return found


class RekorOne(FakeTree):
    """A shard of a Rekor v1: an ECDSA key, a tree id in the origin, a global index, promises."""

    kind = ("hashedrekord", "0.0.1")

    def __init__(self, name="rekor-one.example", tree_id=7):
        super().__init__(name)
        self.origin = f"{name} - {tree_id}"
        self.name, self.ecdsa = name, p256_key(name)
        self.append(b"an earlier entry")

    @property
    def trusted(self):
        spki = spki_of(self.ecdsa)
        return spki, hashlib.sha256(spki).digest()

    @property
    def shard_of_trust(self):
        key = VerifierKey(name=self.name, kind=KeyType.ECDSA, public_key=self.trusted[0])
        return TrustedLog(origin=self.origin, keys=(key,))

    def checkpoint(self, size=None, *, signers=None):
        del signers
        text = format_checkpoint(self.tree(size))
        key_id = self.trusted[1][:4]
        return format_note(
            text, [NoteSignature(name=self.name, key_id=key_id, signature=self.ecdsa.sign(text, ECDSA))]
        )

    def log(self, body, kind=None, time=TIME):
        """Log a body; return the entry as bundles have it."""
        index = self.append(body)
        found = self.entry(index)
        kind, version = kind or self.kind
        return self.promise(
            found
            | {
                "logIndex": str(FIRST_INDEX + index),
                "logId": {"keyId": format_base64(self.trusted[1])},
                "kindVersion": {"kind": kind, "version": version},
                "canonicalizedBody": format_base64(body),
                "integratedTime": str(time),
            }
        )

    def promise(self, entry):
        """Sign the entry's promise."""
        message = {
            "body": entry["canonicalizedBody"],
            "integratedTime": int(entry["integratedTime"]),
            "logID": self.trusted[1].hex(),
            "logIndex": int(entry["logIndex"]),
        }
        made = self.ecdsa.sign(format_canonical_json(message), ECDSA)
        return entry | {"inclusionPromise": {"signedEntryTimestamp": format_base64(made)}}


def trusted_root(*logs, end=None):
    """A trusted root of these logs alone."""
    return json.dumps(
        {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [
                {
                    "baseUrl": f"https://{each.origin.partition(' ')[0]}",
                    "hashAlgorithm": "SHA2_256",
                    "publicKey": {
                        "rawBytes": format_base64(each.trusted[0]),
                        "keyDetails": "PKIX_ED25519",
                        "validFor": {"start": "2024-01-01T00:00:00Z"} | ({"end": end} if end else {}),
                    },
                    "logId": {"keyId": format_base64(each.trusted[1])},
                }
                for each in logs
            ],
        }
    ).encode()


def bundle_of(content, entries, *, media=MEDIA, spki, timestamps=()):
    """A bundle of a public key."""
    return {
        "mediaType": media,
        "verificationMaterial": {
            "publicKey": {"hint": key_hint(spki)},
            "tlogEntries": list(entries),
            **(
                {
                    "timestampVerificationData": {
                        "rfc3161Timestamps": [{"signedTimestamp": format_base64(each)} for each in timestamps]
                    }
                }
                if timestamps
                else {}
            ),
        },
        **content,
    }


class Prehashing:
    """An Ed25519 key that signs as Ed25519ph (RFC 8032, section 5.1.6), with points from ``cryptography``'s plain one."""

    def __init__(self, key):
        self.key = key

    def public_key(self):
        return self.key.public_key()

    def sign(self, message):
        """Sign the SHA-512 of a message. The secret scalar is worked with in the open: these are keys of tests."""
        digest = hashlib.sha512(message).digest()
        secret = hashlib.sha512(self.key.private_bytes_raw()).digest()
        scalar = int.from_bytes(secret[:32], "little") & ~7 & (2**254 - 1) | 2**254
        order = 2**252 + 27742317777372353535851937790883648493
        prefix = b"SigEd25519 no Ed25519 collisions\x01\x00"
        nonce = int.from_bytes(hashlib.sha512(prefix + secret[32:] + digest).digest(), "little") % order
        point = _encode(_multiply(nonce, _BASE))
        hashed = hashlib.sha512(prefix + point + self.key.public_key().public_bytes_raw() + digest).digest()
        made = (nonce + int.from_bytes(hashed, "little") * scalar) % order
        return point + made.to_bytes(32, "little")


def sign(private, message):
    """Sign as cosign does with a key of this kind."""
    match private:
        case ec.EllipticCurvePrivateKey():
            return private.sign(message, ECDSA)
        case rsa.RSAPrivateKey():
            return private.sign(message, padding.PKCS1v15(), hashes.SHA256())
    return private.sign(message)


def sign_file(log, *, key="alice", artifact=ARTIFACT, private=None, hashing=None):
    """A bundle of a signed file, logged as ``hashedrekord``."""
    private = private or p256_key(key)
    hashing = hashing or ("sha512" if isinstance(private, Prehashing) else "sha256")
    digest = hashlib.new(hashing, artifact).digest()
    signature = sign(private, artifact)
    make = hashedrekord_v1 if isinstance(log, RekorOne) else hashedrekord_v2
    body = make(digest, signature, AnyVerifier(spki_of(private)))
    content = {
        "messageSignature": {
            "messageDigest": {"algorithm": f"SHA2_{hashing[3:]}", "digest": format_base64(digest)},
            "signature": format_base64(signature),
        }
    }
    return bundle_of(content, [log.log(body)], spki=spki_of(private))


def sign_payload(
    log,
    *,
    key="alice",
    payload=None,
    kind=None,
    payload_type="application/vnd.in-toto+json",
    private=None,
    hashing=None,
):
    """A bundle of a signed statement, logged as the kind that the log takes, or as another."""
    del hashing  # comes with the key
    private = private or p256_key(key)
    verifier = AnyVerifier(spki_of(private))
    payload = statement() if payload is None else payload
    message = b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)
    signature = sign(private, message)
    sha256 = hashlib.sha256(b"as it was sent").hexdigest()
    kind = kind or (("dsse", "0.0.1") if isinstance(log, RekorOne) else log.kind)
    match kind:
        case ("dsse", _):
            body = dsse_v1(payload, signature, verifier, envelope_sha256=sha256)
        case ("intoto", "0.0.1"):
            text = {"payloadType": payload_type, "payload": format_base64(payload)}
            text["signatures"] = [{"keyid": "", "sig": format_base64(signature)}]
            sent = json.dumps(text, separators=(",", ":")).encode()
            body = intoto_v1(payload, verifier, envelope_sha256=hashlib.sha256(sent).hexdigest())
        case ("intoto", _):
            body = intoto_v2(
                payload,
                signature,
                verifier_pem=verifier.pem,
                payload_type=payload_type,
                keyid="",
                envelope_sha256=sha256,
            )
        case ("hashedrekord", "0.0.1"):
            body = hashedrekord_v1(verifier.digest(message), signature, verifier)
        case _:
            body = hashedrekord_v2(verifier.digest(message), signature, verifier)
    content = {
        "dsseEnvelope": {
            "payload": format_base64(payload),
            "payloadType": payload_type,
            "signatures": [{"sig": format_base64(signature)}],
        }
    }
    return bundle_of(content, [log.log(body, kind)], spki=spki_of(private))


HUB_SPKI = spki_of(p256_key("hub"))


def log_event(log, event=None, *, key="hub"):
    """Log an event of ours; return its entry and protobuf's JSON of the log entry."""
    entry = sign_statement(format_statement(event or make_event()), key=key)
    spki = spki_of(p256_key(key))
    envelope = json.loads(entry)
    signed = _signed(envelope, spki)
    if isinstance(log, RekorOne):
        sha256 = hashlib.sha256(entry).hexdigest()
        body = dsse_v1(signed.payload, signed.signature, signed.verifier, envelope_sha256=sha256)
        return entry, format_canonical_json(log.log(body, ("dsse", "0.0.1")))
    body = hashedrekord_v2(signed.digest, signed.signature, signed.verifier)
    return entry, format_canonical_json(log.log(body))


def _signed(envelope, spki):
    from ledger.bundle.bodies import SignedPayload

    return SignedPayload.of_entry(envelope, spki)


def event_bundle(log, event=None, *, key="hub"):
    """A bundle of an event of ours, as we export it."""
    entry, log_entry = log_event(log, event, key=key)
    return format_sigstore_bundle(entry, spki=spki_of(p256_key(key)), log_entries=[log_entry])


def trust_of(*logs, **changes):
    """The trust file of a ledger in these shards."""
    shards = tuple(each.shard_of_trust for each in logs)
    keys = (key for each in shards for key in each.keys if key.name == each.origin)
    policy = TrustPolicy(logs=tuple(LogKey(key=key) for key in keys))
    known = {"origin": "", "policy": policy, "shards": shards, "hub_keys": (HubKey(spki=HUB_SPKI),)}
    return World().trust(**known | changes)


def pem(name):
    """A public key as PEM."""
    return (
        p256_key(name)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
