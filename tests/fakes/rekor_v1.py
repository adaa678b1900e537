"""A small Rekor v1 in memory: real trees, real signatures, the answers that the real server gives, over real HTTP.

It can be told to misbehave: ``bend`` changes each entry before it leaves, ``fail`` gives another answer in the place of
the right one, and ``late`` is how many looks it takes until an entry is in the tree.
"""

import base64
import contextlib
import copy
import hashlib
import http.server
import json
import sys
import threading
import urllib.parse
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from ledger.bundle.bodies import Verifier
from ledger.bundle.log_entry import LogKeys
from ledger.encoding import format_canonical_json
from ledger.entry import pae
from ledger.errors import MalformedError, ProofError, SignatureError, SourceError
from ledger.log.remote import Shard
from ledger.tlog.merkle import leaf_hash, prove_consistency, prove_inclusion
from ledger.tlog.signed_note import KeyType, VerifierKey
from tests.fakes.rekor import FakeTree
from tests.world import digest

NAME = "rekor-v1.example"
TIME = 1_700_000_000
ECDSA = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
PEM = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
DER = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo


def ecdsa_key(name):
    """A P-256 key that is derived from its name."""
    return ec.derive_private_key(int.from_bytes(digest(name)[:31], "big"), ec.SECP256R1())


@dataclass(frozen=True)
class EcdsaNoteSigner:
    """Signs checkpoints as Rekor v1 does: the key id is the hash of the key alone."""

    name: str
    key: ec.EllipticCurvePrivateKey

    @property
    def verifier(self):
        spki = self.key.public_key().public_bytes(*DER)
        return VerifierKey(name=self.name, kind=KeyType.ECDSA, public_key=spki)

    def sign(self, message):
        return self.key.sign(message, ECDSA)


class FakeV1Tree(FakeTree):
    """One tree of Rekor v1."""

    def __init__(self, tree_id=7_000_000_000_000_000_007, *, name=NAME, key="rekor v1"):
        super().__init__(name)
        self.origin = f"{name} - {tree_id}"
        self.tree_id, self.key = tree_id, ecdsa_key(key)
        self.signer = EcdsaNoteSigner(name, self.key)

    @property
    def log_id(self):
        return hashlib.sha256(self.spki).digest()

    def uuid(self, leaf):
        return f"{self.tree_id:016x}{leaf_hash(self.entries[leaf]).hex()}"

    def answered(self, leaf, first, size=None):
        """The map that the server answers about a leaf; ``first`` is the global index of leaf 0."""
        tree, body = self.tree(size), self.entries[leaf]
        entry = {
            "body": base64.b64encode(body).decode(),
            "integratedTime": TIME + first + leaf,
            "logID": self.log_id.hex(),
            "logIndex": first + leaf,
        }
        promise = self.key.sign(format_canonical_json(entry), ECDSA)
        proof = {
            "checkpoint": self.checkpoint(size).decode(),
            "hashes": [each.hex() for each in prove_inclusion(leaf, tree.size, self.read)],
            "logIndex": leaf,
            "rootHash": tree.root_hash.hex(),
            "treeSize": tree.size,
        }
        promised = {"signedEntryTimestamp": base64.b64encode(promise).decode()}
        return {self.uuid(leaf): entry | {"verification": {"inclusionProof": proof} | promised}}

    def info(self):
        tree = self.tree()
        return {
            "rootHash": tree.root_hash.hex(),
            "treeSize": tree.size,
            "signedTreeHead": self.checkpoint().decode(),
            "treeID": str(self.tree_id),
        }


@dataclass
class FakeRekorV1:
    """The server. ``trees`` are oldest first, the last one is active; ``fail`` takes (method, path) and returns
    (status, body) and perhaps headers, or None: as it should."""

    trees: list = field(default_factory=lambda: [FakeV1Tree()])
    kinds: tuple = ("dsse", "hashedrekord")
    late: int = 0
    bend: object = None
    fail: object = None
    requests: list = field(default_factory=list)
    url: str = "http://127.0.0.1:9"
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def tree(self):
        return self.trees[-1]

    @property
    def keys(self):
        return LogKeys({self.tree.log_id: self.tree.key.public_key()})

    def shard(self, **changes):
        facts = {
            "kind": "rekor-v1",
            "order": 0,
            "origin": self.tree.origin,
            "log_id": self.tree.log_id,
            "spki": self.tree.spki,
            "write_url": self.url,
            "read_url": self.url,
        }
        return Shard(**facts | changes)

    def first_of(self, tree):
        """The global index of a tree's first leaf."""
        return sum(len(each.entries) for each in self.trees[: self.trees.index(tree)])

    def answer(self, method, path, body):
        """Return (status, body)."""
        with self.lock:
            self.requests.append((method, path))
            failed = self.fail and self.fail(method, path)
            if failed:
                return failed
            address = urllib.parse.urlsplit(path)
            query = dict(urllib.parse.parse_qsl(address.query))
            match method, address.path.removeprefix("/api/v1/log").strip("/").split("/"):
                case "GET", [""]:
                    return self._send(self._info())
                case "GET", ["proof"]:
                    return self._consistency(query)
                case "GET", ["entries"]:
                    return self._one(self._find(index=int(query["logIndex"])))
                case "GET", ["entries", uuid]:
                    return self._one(self._find(uuid=uuid))
                case "POST", ["entries"]:
                    return self._submit(json.loads(body))
                case "POST", ["entries", "retrieve"]:
                    return self._retrieve(json.loads(body))
            return 404, b""

    def _send(self, value, status=200):
        if self.bend is not None:
            value = self.bend(copy.deepcopy(value))
        return status, json.dumps(value).encode()

    def _info(self):
        return {**self.tree.info(), "inactiveShards": [each.info() for each in self.trees[:-1]] or None}

    def _find(self, *, index=None, uuid=None):
        for tree in self.trees:
            for leaf in range(len(tree.entries)):
                if index == self.first_of(tree) + leaf or (uuid and tree.uuid(leaf).endswith(uuid)):
                    return tree.answered(leaf, self.first_of(tree))
        return None

    def _one(self, found):
        if self.late > 0:
            self.late -= 1
            return 404, b""
        return (404, b"") if found is None else self._send(found)

    def _retrieve(self, query):
        asked = query.get("logIndexes", []) + query.get("entryUUIDs", [])
        if len(asked) > 10:
            return refusal(422, "more than 10")
        found = [self._find(index=each) for each in query.get("logIndexes", [])]
        found += [
            tree.answered(leaf, self.first_of(tree))
            for uuid in query.get("entryUUIDs", [])
            for tree in reversed(self.trees)
            for leaf in range(len(tree.entries))
            if tree.uuid(leaf).endswith(uuid)
        ]
        return self._send([each for each in found if each])

    def _consistency(self, query):
        tree = next(each for each in self.trees if str(each.tree_id) == query["treeID"])
        old, new = int(query["firstSize"]), int(query["lastSize"])
        proof = [each.hex() for each in prove_consistency(old, new, tree.read)]
        return self._send({"rootHash": tree.tree().root_hash.hex(), "hashes": proof})

    def _submit(self, request):
        kind = request["kind"]
        if kind not in self.kinds:
            return refusal(
                400,
                f"error processing entry: entry kind '{kind}' is not enabled for submission on this server",
            )
        body = (_dsse if kind == "dsse" else _hashedrekord)(request["spec"])
        tree = self.tree
        if body in tree.entries:
            uuid = tree.uuid(tree.entries.index(body))
            return refusal(
                409, f"an equivalent entry already exists in the transparency log with UUID {uuid}"
            )
        leaf = tree.append(body)
        return self._send(tree.answered(leaf, self.first_of(tree)), 201)

    @contextlib.contextmanager
    def serve(self):
        """Serve on loopback; yields this server, which then knows its address."""
        answer = self.answer

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def do_GET(self):
                sent = self.rfile.read(int(self.headers.get("content-length", 0)))
                status, data, *headers = answer(self.command, self.path, sent)
                self.send_response(status)
                for name, value in {"content-length": str(len(data)), **dict(*headers)}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def do_POST(self):
                self.do_GET()

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *arguments):
                """A client that has read enough hangs up; anything else is a fault of the fake."""
                if not isinstance(sys.exc_info()[1], ConnectionError):
                    super().handle_error(*arguments)

        with Server(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
            thread.start()
            self.url = f"http://127.0.0.1:{server.server_port}"
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


def refusal(status, message):
    """A refusal as Rekor v1 writes it."""
    return status, json.dumps({"code": status, "message": message}).encode()


def _dsse(spec):
    """The body that the server logs of an envelope, written down from its schema and not by our code."""
    content = spec["proposedContent"]
    text, pem = content["envelope"], base64.b64decode(content["verifiers"][0])
    envelope = json.loads(text)
    payload, signature = base64.b64decode(envelope["payload"]), envelope["signatures"][0]["sig"]
    key = serialization.load_pem_public_key(pem)
    key.verify(base64.b64decode(signature), pae(payload), ECDSA)
    canonical = base64.b64encode(key.public_bytes(*PEM)).decode()
    return _canonical(
        "dsse",
        {
            "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(text.encode()).hexdigest()},
            "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
            "signatures": [{"signature": signature, "verifier": canonical}],
        },
    )


def _hashedrekord(spec):
    key = serialization.load_pem_public_key(base64.b64decode(spec["signature"]["publicKey"]["content"]))
    algorithm = Verifier(key.public_bytes(*DER)).algorithm
    signature = base64.b64decode(spec["signature"]["content"])
    key.verify(signature, bytes.fromhex(spec["data"]["hash"]["value"]), ec.ECDSA(Prehashed(algorithm)))
    return _canonical("hashedrekord", {"data": spec["data"], "signature": spec["signature"]})


def _canonical(kind, spec):
    value = {"apiVersion": "0.0.1", "kind": kind, "spec": spec}
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


# What a server, or whoever stands between, may do to the answer about one entry


def _other(text, at=0):
    """The text with another hex digit, which is another base64 character too."""
    return text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]


def _entry(change):
    def bend(value):
        ((uuid, entry),) = value.items()
        return {uuid: change(entry) or entry}

    return bend


def _proof(change):
    return _entry(lambda entry: change(entry["verification"]["inclusionProof"]))


def _put(name, change):
    return lambda value: value.__setitem__(name, change(value[name]))


def _body(text):
    """A body that says another signature."""
    value = json.loads(base64.b64decode(text))
    spec = value["spec"]
    holder, name = (
        (spec["signatures"][0], "signature") if "signatures" in spec else (spec["signature"], "content")
    )
    holder[name] = _other(holder[name], 20)
    return base64.b64encode(format_canonical_json(value)).decode()


def _line(number, change):
    def bend(note):
        lines = note.split("\n")
        lines[number] = change(lines[number])
        return "\n".join(lines)

    return bend


def _drop(*names):
    def bend(value):
        for name in names[:-1]:
            value = value[name]
        del value[names[-1]]

    return _entry(bend)


CORRUPTIONS = {
    "uuid-leaf": (lambda value: {_other(k, 40): v for k, v in value.items()}, ProofError),
    "uuid-tree": (lambda value: {_other(k): v for k, v in value.items()}, ProofError),
    "uuid-short": (lambda value: {k[2:]: v for k, v in value.items()}, ProofError),
    "uuid-upper": (lambda value: {k.upper(): v for k, v in value.items()}, MalformedError),
    "body": (_entry(_put("body", _body)), ProofError),
    "body-no-json": (_entry(_put("body", lambda text: "AAAA" + text)), MalformedError),
    "body-no-base64": (_entry(_put("body", lambda text: "!" + text)), MalformedError),
    "time": (_entry(_put("integratedTime", lambda time: time + 1)), SignatureError),
    "log-id": (_entry(_put("logID", _other)), SignatureError),
    "global-index": (_entry(_put("logIndex", lambda index: index + 1)), SignatureError),
    "global-index-negative": (_entry(_put("logIndex", lambda _: -1)), MalformedError),
    "promise": (
        _entry(lambda entry: _put("signedEntryTimestamp", lambda t: _other(t, 40))(entry["verification"])),
        SignatureError,
    ),
    "origin": (_proof(_put("checkpoint", _line(0, lambda _: f"{NAME} - 99999"))), SignatureError),
    "checkpoint-size": (_proof(_put("checkpoint", _line(1, lambda size: size + "0"))), SignatureError),
    "checkpoint-root": (_proof(_put("checkpoint", _line(2, _other))), SignatureError),
    "checkpoint-signature": (_proof(_put("checkpoint", _line(4, lambda x: _other(x, -30)))), SignatureError),
    "checkpoint-key": (_proof(_put("checkpoint", _line(4, lambda x: x.replace(NAME, "b")))), SignatureError),
    "checkpoint-unsigned": (
        _proof(_put("checkpoint", lambda note: note.partition("\n\n")[0])),
        MalformedError,
    ),
    "checkpoint-no-text": (_proof(_put("checkpoint", lambda note: "\ud800" + note)), MalformedError),
    "hash": (_proof(_put("hashes", lambda hashes: [_other(hashes[0]), *hashes[1:]])), ProofError),
    "hash-missing": (_proof(_put("hashes", lambda hashes: hashes[1:])), ProofError),
    "hash-more": (_proof(_put("hashes", lambda hashes: [*hashes, "00" * 32])), ProofError),
    "hash-short": (_proof(_put("hashes", lambda hashes: [each[2:] for each in hashes])), MalformedError),
    "leaf-index": (_proof(_put("logIndex", lambda index: index - 1)), ProofError),
    "root": (_proof(_put("rootHash", _other)), ProofError),
    "size": (_proof(_put("treeSize", lambda size: size + 1)), ProofError),
    "size-as-text": (_proof(_put("treeSize", str)), MalformedError),
    **{
        f"no-{name}": (_drop(name), MalformedError)
        for name in ("body", "integratedTime", "logID", "logIndex", "verification")
    },
    "no-promise": (_drop("verification", "signedEntryTimestamp"), MalformedError),
    **{
        f"no-proof-{name}": (_drop("verification", "inclusionProof", name), MalformedError)
        for name in ("checkpoint", "hashes", "logIndex", "rootHash", "treeSize")
    },
    "no-proof": (_drop("verification", "inclusionProof"), SourceError),
    "beyond-the-tree": (_proof(_put("logIndex", lambda index: index + 1000)), SourceError),
    "two-entries": (lambda value: value | {k[:-2] + "00": v for k, v in value.items()}, SourceError),
    "no-entry": (lambda _: {}, SourceError),
    "a-list": (lambda value: [value], MalformedError),
}
"""By what is changed: how, and what it must be found to be. For an entry that is not the first of its tree."""


def _head(number, change):
    return lambda state: state | {"signedTreeHead": _line(number, change)(state["signedTreeHead"])}


def _without(name):
    return lambda state: {key: value for key, value in state.items() if key != name}


STATE_CORRUPTIONS = {
    "root": (lambda state: state | {"rootHash": "00" * 32}, ProofError),
    "size": (lambda state: state | {"treeSize": state["treeSize"] + 1}, ProofError),
    "tree-id": (lambda state: state | {"treeID": "13"}, SignatureError),
    "head-origin": (_head(0, lambda _: f"{NAME} - 99999"), SignatureError),
    "head-size": (_head(1, lambda size: size + "0"), SignatureError),
    "head-root": (_head(2, _other), SignatureError),
    "head-signature": (_head(4, lambda line: _other(line, -30)), SignatureError),
    "head-of-another-tree": (
        lambda state: state | {"signedTreeHead": FakeV1Tree(11).checkpoint().decode()},
        SignatureError,
    ),
    "head-by-another-log": (
        lambda state: (
            state | {"signedTreeHead": FakeV1Tree(int(state["treeID"]), key="other").checkpoint().decode()}
        ),
        SignatureError,
    ),
    "no-head": (_without("signedTreeHead"), MalformedError),
    "no-size": (_without("treeSize"), MalformedError),
    "no-tree-id": (_without("treeID"), MalformedError),
    "earlier-tree-without-a-size": (
        lambda state: state | {"inactiveShards": [{"treeID": "11"}]},
        MalformedError,
    ),
    "a-list": (lambda state: [state], MalformedError),
}
"""The same for the state of the log."""
