"""A small Rekor v2 in memory: a real tree, real signatures, and the answers that the real server gives.

``FakeRekor.answer`` is the whole server; ``transport`` puts it behind httpx, ``serve`` behind a socket. It can be told
to misbehave: ``bend`` changes each answer before it leaves, ``fail`` gives another one in its place.
"""

import contextlib
import http.server
import json
import threading
from dataclasses import dataclass, field
from functools import lru_cache

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from ledger.bundle.bodies import SignedPayload, Verifier, hashedrekord_v2
from ledger.bundle.log_entry import HASHES, LogKeys
from ledger.encoding import format_base64, parse_base64
from ledger.entry import pae
from ledger.errors import LedgerError
from ledger.log.remote import Shard
from ledger.tlog.checkpoint import Checkpoint, format_checkpoint
from ledger.tlog.merkle import leaf_hash, node_hash, prove_inclusion, tree_root
from ledger.tlog.signed_note import Ed25519NoteSigner, KeyType, sign_note
from ledger.tlog.tiles import TILE_HEIGHT, TILE_WIDTH, EntryBundle, format_bundle, parse_path
from tests.world import digest, ed25519_key

ORIGIN = "rekor.example"
KIND = {"kind": "hashedrekord", "version": "0.0.2"}


class FakeTree:
    """A log: its entries, and the hash of every complete subtree."""

    def __init__(self, origin=ORIGIN, *, key="rekor"):
        self.origin = origin
        self.key = ed25519_key(key)
        self.signer = Ed25519NoteSigner(origin, self.key)
        self.entries = []
        self.levels = [[]]

    @property
    def log_id(self):
        """The whole hash, of which a key id is the first four bytes."""
        return digest_of_key(self.origin, self.key)

    @property
    def spki(self):
        return self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def keys(self):
        return LogKeys({self.log_id: self.key.public_key()})

    def shard(self, **changes):
        facts = {
            "kind": "rekor-v2",
            "order": 0,
            "origin": self.origin,
            "log_id": self.log_id,
            "spki": self.spki,
            "write_url": f"http://{self.origin}",
            "read_url": f"http://{self.origin}/read",
        }
        return Shard(**facts | changes)

    def append(self, body):
        self.entries.append(body)
        at, hash_ = len(self.entries) - 1, leaf_hash(body)
        self.levels[0].append(hash_)
        level = 0
        while at & 1:
            hash_ = node_hash(self.levels[level][at - 1], hash_)
            at, level = at >> 1, level + 1
            if level == len(self.levels):
                self.levels.append([])
            self.levels[level].append(hash_)
        return len(self.entries) - 1

    def read(self, nodes):
        return [self.levels[level][index] for level, index in nodes]

    def tree(self, size=None):
        size = len(self.entries) if size is None else size
        return Checkpoint(origin=self.origin, size=size, root_hash=tree_root(size, self.read))

    def checkpoint(self, size=None, *, signers=None):
        return sign_note(format_checkpoint(self.tree(size)), signers or [self.signer])

    def entry(self, index, size=None):
        """The entry as the server's protobuf writes it, with every field that it knows."""
        tree = self.tree(size)
        return {
            "logIndex": str(index),
            "logId": {"keyId": format_base64(self.log_id)},
            "kindVersion": dict(KIND),
            "integratedTime": "0",
            "inclusionPromise": None,
            "inclusionProof": {
                "logIndex": str(index),
                "rootHash": format_base64(tree.root_hash),
                "treeSize": str(tree.size),
                "hashes": [format_base64(each) for each in prove_inclusion(index, tree.size, self.read)],
                "checkpoint": {"envelope": self.checkpoint(size).decode()},
            },
            "canonicalizedBody": format_base64(self.entries[index]),
        }

    def object(self, path, size=None):
        """A published object: the checkpoint, a tile or a bundle; None where there is none of the size."""
        size = len(self.entries) if size is None else size
        if path == "checkpoint":
            return self.checkpoint(size)
        part = parse_path(path)
        start, end = part.index * TILE_WIDTH, part.index * TILE_WIDTH + part.width
        if isinstance(part, EntryBundle):
            return format_bundle(self.entries[start:end]) if end <= size else None
        if end > size >> (TILE_HEIGHT * part.level):
            return None
        return b"".join(self.levels[TILE_HEIGHT * part.level][start:end])


def digest_of_key(name, key):
    import hashlib

    raw = key.public_key().public_bytes_raw()
    return hashlib.sha256(name.encode() + b"\n" + bytes([KeyType.ED25519]) + raw).digest()


def signed_payload(word="payload", *, curve=None, verifier=None):
    """A payload, signed by a key of the curve that is derived from its name."""
    curve = curve or ec.SECP256R1()
    key, signer = _signer(type(curve))
    payload = json.dumps({"word": word}).encode()
    hash_ = HASHES.get(curve.name, HASHES["secp256r1"])
    signature = key.sign(pae(payload), ec.ECDSA(hash_, deterministic_signing=True))
    return SignedPayload(payload=payload, signature=signature, verifier=verifier or signer)


@lru_cache
def _signer(kind):
    curve = kind()
    key = ec.derive_private_key(int.from_bytes(digest(f"signer {curve.name}")[:31], "big"), curve)
    spki = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return key, Verifier(spki)


def body_of(signed):
    return hashedrekord_v2(signed.digest, signed.signature, signed.verifier)


@dataclass
class FakeRekor:
    """The server. ``fail`` is (status, headers, body) in the place of every answer to a submission."""

    tree: FakeTree = field(default_factory=FakeTree)
    frozen: bool = False
    published: int | None = None
    """The size that the read address shows; None: all of it."""
    bend: object = None
    fail: object = None
    known: dict = field(default_factory=dict)
    requests: list = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method, path, body):
        """Return (status, headers, body)."""
        with self.lock:
            self.requests.append((method, path))
            if method == "GET":
                return self._read(path)
            if callable(self.fail):
                return self.fail()
            if self.fail is not None:
                return self.fail
            return self._submit(body)

    def _read(self, path):
        if path == "/healthz":
            return 200, {}, b'{"status":"SERVING"}'
        try:
            data = self.tree.object(path.removeprefix("/read/"), self.published)
        except LedgerError:
            data = None
        return (404, {}, b"") if data is None else (200, {}, data)

    def _submit(self, data):
        if self.frozen:
            # The one answer that the real server writes as text.
            text = b"This log has been frozen, please switch to the latest log.\n"
            return 405, {"content-type": "text/plain; charset=utf-8"}, text
        try:
            body = _checked_body(json.loads(data))
        except (ValueError, KeyError, TypeError, InvalidSignature, LedgerError) as error:
            return problem(400, f"invalid hashedrekord request: {error}")
        if body in self.known:
            status, headers, text = problem(
                409, f"an equivalent entry already exists with index {self.known[body]}"
            )
            return status, headers | {"x-log-index": str(self.known[body])}, text
        index = self.known[body] = self.tree.append(body)
        value = self.tree.entry(index)
        if self.bend is not None:
            value = self.bend(value) or value
        return 201, {"content-type": "application/json"}, json.dumps(value).encode()

    def transport(self):
        """The server behind httpx, for asynchronous and other clients."""
        return httpx.MockTransport(self._over_httpx)

    def _over_httpx(self, request):
        status, headers, body = self.answer(request.method, request.url.path, request.read())
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))

    @contextlib.contextmanager
    def serve(self):
        """The server on loopback; yields its address. The read address is ``/read`` below it."""
        answer = self.answer

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                status, headers, data = answer(self.command, self.path, body)
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def do_POST(self):
                self.do_GET()

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()


def problem(status, message):
    """A refusal as the server's gateway writes it."""
    code = {400: 3, 405: 12, 409: 6, 503: 14}.get(status, 2)
    body = json.dumps({"code": code, "message": message, "details": []}).encode()
    return status, {"content-type": "application/json"}, body


def _checked_body(request):
    """The body that the server logs, if the signature is one; the algorithm is that of the key."""
    match request:
        case {
            "hashedRekordRequestV002": {
                "digest": str(digest_),
                "signature": {
                    "content": str(content),
                    "verifier": {"publicKey": {"rawBytes": str(raw)}, "keyDetails": str(details)},
                },
            }
        }:
            pass
        case _:
            raise ValueError("another form")
    verifier = Verifier(parse_base64(raw))
    if verifier.details != details:
        raise ValueError("the key is of another kind")
    digest_, content = parse_base64(digest_), parse_base64(content)
    verifier.key.verify(content, digest_, ec.ECDSA(Prehashed(verifier.algorithm)))
    return hashedrekord_v2(digest_, content, verifier)


def submit(server, signed=None, **options):
    """Submit one payload to a fake server through the real client; pauses take no time."""
    import asyncio

    from ledger.log.fetch import fetch_from_url
    from ledger.log.rekor_v2 import RekorV2

    async def pause(seconds):
        pass

    async def run():
        shard = server.tree.shard()
        facts = {
            "pause": pause,
            "transport": server.transport(),
            "fetch": fetch_from_url(shard.read_url, transport=server.transport(), pause=lambda seconds: None),
        }
        log = RekorV2(shard, server.tree.keys, **facts | options)
        try:
            return await log.submit(signed or signed_payload())
        finally:
            await log.close()

    return asyncio.run(run())


def trust_of(*trees, services=None):
    """The trusted root and the signing config of some logs, as JSON values."""
    root = {
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "tlogs": [
            {
                "baseUrl": f"https://{tree.origin}",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": format_base64(tree.spki),
                    "keyDetails": "PKIX_ED25519",
                    "validFor": {"start": "2026-01-02T03:04:05Z"},
                },
                "logId": {"keyId": format_base64(tree.log_id)},
            }
            for tree in trees
        ],
        "timestampAuthorities": [],
    }
    signing = {
        "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
        "rekorTlogUrls": services
        if services is not None
        else [
            {
                "url": f"https://{tree.origin}",
                "majorApiVersion": 2,
                "validFor": {"start": "2026-01-02T03:04:05Z"},
            }
            for tree in trees
        ],
        "tsaUrls": [],
    }
    return root, signing
