"""Refusals of bundles that sigstore-python does not read, of keys that it cannot verify, and of all authorities at once."""

import json

import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sigstore.verify import Verifier

from ledger.bundle.any_bundle import parse_any_bundle
from ledger.bundle.logged import UnknownKindError
from ledger.client.sigstore_bundle import check_bundle
from ledger.encoding import format_base64, parse_base64
from ledger.entry import pae
from ledger.errors import ProofError, SourceError
from tests.keyless_world import Keyless
from tests.ledger.log.test_rekor_v2 import World
from tests.refusals.table import refused, turned
from tests.sigstore_world import RekorTwo, sign_file, trusted_root
from tests.world import ed25519_key, p256_key

NEWER = "Check it with a newer version of hubledger, or with another tool"
FETCH = "Fetch it again, from another mirror if there is one; do not use it as it is"


def _check(bundle, root):
    return check_bundle(parse_any_bundle(json.dumps(bundle).encode()), root=root)


def _keyless(kind, change=lambda bundle: None, **known):
    world = Keyless()
    bundle = world.bundle(kind, **known)
    change(bundle)
    return _check(bundle, world.root)


def _sign_again(bundle):
    envelope = bundle["dsseEnvelope"]
    message = pae(parse_base64(envelope["payload"]))
    again = p256_key("alice").sign(message, ec.ECDSA(hashes.SHA256()))
    envelope["signatures"][0]["sig"] = format_base64(again)


def _promise_twice(bundle):
    bundle["verificationMaterial"]["tlogEntries"] *= 2


def _over_sha256():
    log = RekorTwo()
    return _check(sign_file(log, private=ed25519_key("alice")), trusted_root(log))


def _no_authority_answers():
    world = World()
    real = world.server.transport()

    class Dead(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            if request.url.host.startswith("stamps"):
                return httpx.Response(404, stream=httpx.ByteStream(b""))
            return await real.handle_async_request(request)

    return world.submit(transport=Dead(), tsa_urls=["http://stamps1.example", "http://stamps2.example"])


def _with_another_sigstore(scene):
    """A sigstore-python whose private method is gone."""
    check = Verifier._verify_common_signing_cert
    scene.after.callback(lambda: setattr(Verifier, "_verify_common_signing_cert", check))
    del Verifier._verify_common_signing_cert
    return _keyless("dsse", private=ec.generate_private_key(ec.SECP384R1()))


CASES = (
    turned(
        UnknownKindError,
        "envelope of the log entry: expected the digest of a text of this envelope, as intoto 0.0.1 keeps no signature, got "
        "the digest of a text that is not known here. Ask whoever signed for a bundle with another kind of log entry",
        lambda _: _keyless("old intoto", _sign_again),
    ),
    turned(
        ProofError,
        f"log entries of the bundle: expected each once, got index 100001 of the log <any>… twice. {FETCH}",
        lambda _: _keyless("intoto", _promise_twice, version="0.1", proven=False),
    ),
    turned(
        UnknownKindError,
        f"digest of the signed file: expected SHA-512, which Ed25519ph signs, got one of 32 bytes. {NEWER}",
        lambda _: _over_sha256(),
    ),
    turned(
        UnknownKindError,
        "key of the certificate: expected one on P-256, P-384 or P-521, or RSA, got Ed25519. "
        "Check the certificate with cosign; the signature and its log entry hold",
        lambda _: _keyless("dsse", private=ed25519_key("alice")),
    ),
    turned(
        UnknownKindError,
        "certificate of the signature: expected a sigstore-python that checks one by itself, got a version that does not. "
        "Check the certificate with cosign; the signature and its log entry hold",
        _with_another_sigstore,
    ),
    refused(
        SourceError,
        "timestamp: expected one by any of 2 authorities, got http://stamps1.example: 404 and nothing; "
        "http://stamps2.example: 404 and nothing. Make it reachable and readable, and try again",
        lambda _: _no_authority_answers(),
    ),
)
