"""Keyless bundles of the kinds that sigstore-python does not read: a Sigstore of our own, its certificates and a Rekor v1."""

import hashlib
import json
from datetime import UTC, datetime

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cli.demo_world import DemoSigstore
from ledger.bundle.any_key import AnyVerifier
from ledger.bundle.bodies import dsse_v1, hashedrekord_v1, intoto_v1, intoto_v2
from ledger.bundle.log_entry import HASHES
from ledger.encoding import format_base64, parse_base64
from ledger.entry import PAYLOAD_TYPE, pae
from tests.sigstore_world import ARTIFACT, TIME, RekorOne, sign, statement, trusted_root
from tests.world import p256_key

IDENTITY, ISSUER = "alice@example.org", "https://issuer.example"
MEDIA = {
    "0.1": "application/vnd.dev.sigstore.bundle+json;version=0.1",
    "0.2": "application/vnd.dev.sigstore.bundle+json;version=0.2",
    "0.3": "application/vnd.dev.sigstore.bundle.v0.3+json",
}
KINDS = {
    "hashedrekord": ("hashedrekord", "0.0.1"),
    "dsse": ("dsse", "0.0.1"),
    "old intoto": ("intoto", "0.0.1"),
    "intoto": ("intoto", "0.0.2"),
    "a digest of a statement": ("hashedrekord", "0.0.1"),
}


class Keyless:
    """A Sigstore at a moment: an authority that issues certificates, and a Rekor v1 that is in its trusted root.

    ``log`` is a fake one unless another is given: a real one has ``tlogs``, its JSON in a trusted root, and
    ``log_content``, which has something signed logged and returns the entry.
    """

    def __init__(self, *, at=TIME, authority="authority", certificate_log="certificate log", log=None):
        self.sigstore = DemoSigstore(
            root_key=p256_key(authority),
            ct_key=p256_key(certificate_log),
            log_key=p256_key("unused"),
            now=datetime.fromtimestamp(at, UTC),
        )
        self.log = log or RekorOne()

    @property
    def root(self):
        """The trusted root: the authority's, and the one log."""
        logs = getattr(self.log, "tlogs", None) or json.loads(trusted_root(self.log))["tlogs"]
        logs[0]["publicKey"]["keyDetails"] = "PKIX_ECDSA_P256_SHA_256"
        return json.dumps(json.loads(self.sigstore.trusted_root()) | {"tlogs": logs}).encode()

    def bundle(
        self, kind="intoto", *, version="0.3", proven=True, time=TIME, key="alice", by=IDENTITY, private=None
    ):
        """A bundle by ``by``; ``kind`` is one of ``KINDS``, and ``time`` when the log says that it took it."""
        private = private or p256_key(key)
        cert = self.sigstore.issue(private, by, ISSUER).public_bytes(serialization.Encoding.DER)
        content, body = _sign(kind, private, AnyVerifier(cert, is_certificate=True))
        log = getattr(self.log, "log_content", None)  # a real one makes the body itself
        if log is None:
            entry = self.log.log(body, KINDS[kind], time=time)
        else:
            entry = log(content, cert, KINDS[kind])
            assert parse_base64(entry["canonicalizedBody"]) == body
        if not proven:
            del entry["inclusionProof"]
        raw = {"rawBytes": format_base64(cert)}
        chain = (
            {"certificate": raw} if version == "0.3" else {"x509CertificateChain": {"certificates": [raw]}}
        )
        return {
            "mediaType": MEDIA[version],
            "verificationMaterial": {**chain, "tlogEntries": [entry]},
            **content,
        }


def _sign(kind, private, verifier):
    if kind == "hashedrekord":
        digest, signature = hashlib.sha256(ARTIFACT).digest(), sign(private, ARTIFACT)
        content = {
            "messageDigest": {"algorithm": "SHA2_256", "digest": format_base64(digest)},
            "signature": format_base64(signature),
        }
        return {"messageSignature": content}, hashedrekord_v1(digest, signature, verifier)
    payload = statement()
    if isinstance(private, ec.EllipticCurvePrivateKey):
        by_curve = ec.ECDSA(HASHES[private.curve.name], deterministic_signing=True)
        signature = private.sign(pae(payload), by_curve)
    else:
        signature = sign(private, pae(payload))
    envelope = {
        "payload": format_base64(payload),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"sig": format_base64(signature)}],
    }
    sent = json.dumps(envelope, separators=(",", ":"), sort_keys=True).encode()
    sha256 = hashlib.sha256(sent).hexdigest()
    bodies = {
        "dsse": lambda: dsse_v1(payload, signature, verifier, envelope_sha256=sha256),
        "old intoto": lambda: intoto_v1(payload, verifier, envelope_sha256=sha256),
        "intoto": lambda: intoto_v2(
            payload,
            signature,
            verifier_pem=verifier.pem,
            payload_type=PAYLOAD_TYPE,
            keyid="",
            envelope_sha256=sha256,
        ),
        "a digest of a statement": lambda: hashedrekord_v1(
            verifier.digest(pae(payload)), signature, verifier
        ),
    }
    return {"dsseEnvelope": envelope}, bodies[kind]()
