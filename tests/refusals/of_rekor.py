"""Refusals of Rekor as the log: its entries, the bodies that they must have, its shards, and the settings of it."""

import asyncio
import copy
from dataclasses import replace
from unittest import mock

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ledger.bundle.bodies import Verifier
from ledger.bundle.log_entry import (
    LogKeys,
    parse_log_entry,
    prove_log_entry,
    verify_promise,
)
from ledger.config import AnchorConfig, RekorConfig, parse_config
from ledger.errors import (
    ConfigError,
    FrozenError,
    LimitError,
    MalformedError,
    NotFoundError,
    ProofError,
    RejectedError,
    SignatureError,
    SourceError,
    UsageError,
)
from ledger.log.fetch import fetch_from_url
from ledger.log.hashedrekord import MAX_ANSWER_BYTES
from ledger.log.posting import Poster
from ledger.log.rekor_v2 import RekorV2
from ledger.log.timestamping import MAX_TIMESTAMP_BYTES, Authority, request_timestamp, verify_timestamp
from ledger.log.trusted_root import MAX_TRUST_BYTES, load_instance, read_instance
from ledger.log.wire import TooLargeError
from tests.fakes.rekor import FakeRekor, FakeTree, problem, signed_payload, submit, trust_of
from tests.refusals.table import refused
from tests.world import ed25519_key

AGAIN = "Get it again from where it came; if it stays the same, tell whoever wrote it"
CORRECT = "Correct what is named, and try again"
UNSIGNED = "Treat it as unsigned: get the real one from whom you trust"


def _tree():
    tree = FakeTree()
    for word in (b"one", b"two", b"three"):
        tree.append(word)
    return tree


def _entry(**changes):
    return _tree().entry(1) | changes


def _prove(**changes):
    return prove_log_entry(parse_log_entry(_entry(**changes)), _tree().keys)


def _promised(time):
    entry = replace(parse_log_entry(_entry()), integrated_time=time)
    return verify_promise(entry, b"signature", _tree().keys)


def _ed25519_spki():
    return (
        ed25519_key("signer")
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


ENTRIES = (
    refused(
        ProofError,
        "index of the log entry: expected 1, as proven, got 7. <any>",
        lambda _: _prove(logIndex="7"),
    ),
    refused(
        MalformedError,
        f"log entry: expected an inclusion proof with a checkpoint, got other fields. {AGAIN}",
        lambda _: parse_log_entry(_entry(inclusionProof=None)),
    ),
    refused(
        MalformedError,
        f"log entry: expected numbers and text, got <any>. {AGAIN}",
        lambda _: parse_log_entry(
            _entry(inclusionProof=_entry()["inclusionProof"] | {"checkpoint": {"envelope": "\ud800"}})
        ),
    ),
    refused(
        SignatureError,
        "inclusion promise: expected a signed entry timestamp, got none. <any>",
        lambda _: parse_log_entry(_entry(inclusionPromise={})),
    ),
    refused(
        SignatureError,
        "checkpoint of the log entry: expected a signature by the log <hex>… of the trust root, got none, in a checkpoint of rekor.example. <any>",
        lambda _: prove_log_entry(parse_log_entry(_entry()), LogKeys({})),
    ),
    refused(
        SignatureError,
        "signed entry timestamp: expected numbers that JSON can hold, got <any>. <any>",
        lambda _: _promised(2**60),
    ),
    refused(
        SignatureError,
        "signed entry timestamp: expected the log's signature over body, time, log id and index, got one that fails. <any>",
        lambda _: _promised(1),
    ),
    refused(
        ConfigError,
        f"key of a signature: expected DER, got <any>. {CORRECT}",
        lambda _: Verifier(b"no key").key,
    ),
    refused(
        ConfigError,
        f"key of a signature: expected an elliptic-curve key on P-256, P-384 or P-521, got Ed25519PublicKey. {CORRECT}",
        lambda _: Verifier(_ed25519_spki()).key,
    ),
)

_SETTINGS = b'ledger = "l"\nhub = "h"\n'

SETTINGS = (
    refused(
        ConfigError,
        f"rekor.in_flight: expected 1 to 4096, got 0. {CORRECT}",
        lambda _: RekorConfig(in_flight=0),
    ),
    refused(
        ConfigError,
        f'anchor.log: expected "", "rekor-v2" or "rekor-v1", got local. {CORRECT}',
        lambda _: AnchorConfig(log="local"),
    ),
    refused(
        ConfigError,
        f"anchor.interval: expected 1 to 2592000 seconds, got 0.5. {CORRECT}",
        lambda _: AnchorConfig(interval=0.5),
    ),
    refused(
        ConfigError,
        f"rekor: expected trust_config, or trusted_root and signing_config, got both. {CORRECT}",
        lambda _: RekorConfig(trust_config="a", trusted_root="b", signing_config="c"),
    ),
    refused(
        ConfigError,
        f"anchor: expected trusted_root with signing_config, got one of them. {CORRECT}",
        lambda _: AnchorConfig(trusted_root="b"),
    ),
    refused(
        ConfigError,
        f"rekor.read_url: expected an http(s) address, or nothing, got rekor.example. {CORRECT}",
        lambda _: RekorConfig(read_url="rekor.example"),
    ),
    refused(
        ConfigError,
        f"setting rekor: expected a table [rekor], got 7. {CORRECT}",
        lambda _: parse_config(_SETTINGS + b"rekor = 7"),
    ),
)


# A shard of Rekor v2

POST = "POST http://rekor.example/api/v2/log/entries"
REACH = "Make it reachable and readable, and try again"
MIRROR = "Read the log at another address, or tell whoever serves this one"


def _server(**changes):
    return FakeRekor(tree=_tree(), **changes)


def _answered(*path, to):
    """Submit to a server whose answer has another value in one place."""

    def bend(value):
        value = copy.deepcopy(value)
        place = value
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to
        return value

    return submit(_server(bend=bend))


def _origin_of_v1(value):
    """A checkpoint of the same tree under an origin that only begins with the name of the key."""
    from ledger.tlog.signed_note import sign_note

    envelope = value["inclusionProof"]["checkpoint"]["envelope"]
    text = envelope.split("\n\n")[0].replace("rekor.example\n", "rekor.example - 7\n") + "\n"
    value["inclusionProof"]["checkpoint"]["envelope"] = sign_note(text.encode(), [_tree().signer]).decode()
    return value


def _twice(*, tree_object=None, **changes):
    """Submit the same again, to a server that has changed meanwhile."""
    server = _server()
    submit(server)
    for name, value in changes.items():
        setattr(server, name, value)
    if tree_object is not None:
        original = server.tree.object
        server.tree.object = lambda path, size=None: tree_object(path, original(path, size))
    return submit(server)


def _flip(wanted):
    return lambda path, data: data[:4] + bytes([data[4] ^ 1]) + data[5:] if path.startswith(wanted) else data


def _down(request):
    raise httpx.ConnectError("refused")


def _too_much(request):
    return httpx.Response(201, stream=httpx.ByteStream(bytes(MAX_ANSWER_BYTES + 1)))


def _too_much_on_the_wire(request):
    raise TooLargeError("too much")


def _log(**options):
    server = _server()
    shard = server.tree.shard()
    fetch = fetch_from_url(shard.read_url, transport=server.transport())
    return RekorV2(shard, server.tree.keys, transport=server.transport(), fetch=fetch, **options)


def _look_through():
    server = _server()
    shard = server.tree.shard()

    def gone(name, *, max_bytes):
        raise NotFoundError(name, expected="an object", actual="404")

    return asyncio.run(RekorV2(shard, server.tree.keys, fetch=gone).find(signed_payload()))


def _only_read():
    log = _log()
    log.shard = replace(log.shard, write_url=None)
    return asyncio.run(log.submit(signed_payload()))


REKOR_V2 = (
    refused(
        RejectedError,
        "key of a signature: expected an elliptic-curve key on P-256, P-384 or P-521, got Ed25519PublicKey. <any>",
        lambda _: submit(_server(), replace(signed_payload(), verifier=Verifier(_ed25519_spki()))),
    ),
    refused(
        RejectedError,
        f"{POST}: expected status 201, got 400: no such thing. <any>",
        lambda _: submit(_server(fail=problem(400, "no such thing"))),
    ),
    refused(
        SourceError,
        f"checkpoint: expected an object, got 404. {REACH}",
        lambda _: _look_through(),
    ),
    refused(
        FrozenError,
        "shard rekor.example: expected a place in the signing config, got none. <any>",
        lambda _: _only_read(),
    ),
    refused(
        FrozenError,
        f"{POST}: expected a shard that takes entries, got one that is frozen. <any>",
        lambda _: submit(_server(frozen=True)),
    ),
    refused(
        SourceError,
        f"{POST}: expected status 201, got 503 pushback. {REACH}",
        lambda _: submit(_server(fail=problem(503, "pushback"))),
    ),
    refused(
        SourceError,
        f"{POST}: expected an answer, got refused. {REACH}",
        lambda _: submit(_server(), transport=httpx.MockTransport(_down)),
    ),
    refused(
        LimitError,
        f"answer of the log: expected at most {MAX_ANSWER_BYTES} bytes, got more. <any>",
        lambda _: submit(_server(), transport=httpx.MockTransport(_too_much)),
    ),
    refused(
        LimitError,
        f"answer of the log: expected at most {MAX_ANSWER_BYTES} bytes, got more. <any>",
        lambda _: submit(_server(), transport=httpx.MockTransport(_too_much_on_the_wire)),
    ),
    refused(
        SourceError,
        f"answer of the log: expected JSON, got nothing. {REACH}",
        lambda _: submit(_server(fail=(201, {}, b""))),
    ),
    refused(
        ProofError,
        "entry of the answer: expected the one of what was sent, got another hashedrekord. <any>",
        lambda _: _answered("canonicalizedBody", to="AAAA"),
    ),
    refused(
        SignatureError,
        "log of the answer: expected the shard <hex>, got 000000. <any>",
        lambda _: _answered("logId", "keyId", to="AAAA"),
    ),
    refused(
        SignatureError,
        "origin of the checkpoint: expected rekor.example, got rekor.example - 7. <any>",
        lambda _: submit(_server(bend=_origin_of_v1)),
    ),
    refused(
        ProofError,
        "tree size beside the proof: expected 4, as signed, got 5. <any>",
        lambda _: _answered("inclusionProof", "treeSize", to="5"),
    ),
    refused(
        ProofError,
        "root hash beside the proof: expected <hex>, as signed, got 000000. <any>",
        lambda _: _answered("inclusionProof", "rootHash", to="AAAA"),
    ),
    refused(
        MalformedError,
        f"root hash beside the proof: expected base64, got 7. {AGAIN}",
        lambda _: _answered("inclusionProof", "rootHash", to=7),
    ),
    refused(
        MalformedError,
        f"time of the answer: expected none, as Rekor v2 gives none, got 7. {AGAIN}",
        lambda _: _answered("integratedTime", to="7"),
    ),
    refused(
        SourceError,
        f"checkpoint of rekor.example: expected a tree with leaf 3, got a smaller one. {REACH}",
        lambda _: _twice(published=2),
    ),
    refused(
        SourceError,
        f"header x-log-index of http://rekor.example/api/v2/log/entries: expected canonical decimal digits below 2^63, got . {REACH}",
        lambda _: submit(_server(fail=problem(409, "there already"))),
    ),
    refused(
        SourceError,
        f"entries of rekor.example near 0: expected the one that the log says to have, got others only. {REACH}",
        lambda _: submit(_server(fail=(409, {"x-log-index": "0"}, b""))),
    ),
    refused(
        SourceError,
        f"http://rekor.example/read/checkpoint: expected an object, got 404. {REACH}",
        lambda _: _twice(tree_object=lambda path, data: None),
    ),
    refused(
        ProofError,
        f"entry 0 of the log: expected leaf hash <hex>, got <hex>. {MIRROR}",
        lambda _: _twice(tree_object=_flip("tile/entries")),
    ),
    refused(
        ProofError,
        f"tiles of size 4: expected root <hex>, got <hex>. {MIRROR}",
        lambda _: _twice(tree_object=_flip("tile/0")),
    ),
    refused(
        UsageError,
        "submission to Rekor: expected entries that were admitted before, and the key that signed them, got no key. <any>",
        lambda _: _log().append([]),
    ),
    refused(
        NotFoundError,
        "tree of rekor.example: expected size 9 or more, got less. <any>",
        lambda _: _log().prove_inclusion(0, 9),
    ),
)


# Timestamps

STAMPS = "http://stamps.example/api/v1/timestamp"
AUTHORITY = Authority(chain=(b"leaf", b"root"))


def _stamp(status, kind, body):
    async def run():
        answer = httpx.Response(status, headers={"content-type": kind}, stream=httpx.ByteStream(body))
        poster = Poster(1, max_bytes=MAX_ANSWER_BYTES, transport=httpx.MockTransport(lambda request: answer))
        try:
            return await request_timestamp(b"signature", url=STAMPS, authorities=[AUTHORITY], poster=poster)
        finally:
            await poster.close()

    return asyncio.run(run())


def _real_timestamp():
    """A response that an authority of Sigstore made over another signature."""
    from tests.fakes.timestamp import RESPONSE

    return RESPONSE


TIMESTAMPS = (
    refused(
        ConfigError,
        f"timestamp authority: expected a chain of two certificates or more, got 1. {CORRECT}",
        lambda _: Authority(chain=(b"leaf",)),
    ),
    refused(
        SourceError,
        f"POST {STAMPS}: expected status 200 and application/timestamp-reply, got 500 and text/plain. {REACH}",
        lambda _: _stamp(500, "text/plain", b"no"),
    ),
    refused(
        LimitError,
        f"timestamp: expected at most {MAX_TIMESTAMP_BYTES} bytes, got more. <any>",
        lambda _: _stamp(200, "application/timestamp-reply", bytes(MAX_TIMESTAMP_BYTES + 1)),
    ),
    refused(
        SignatureError,
        "timestamp: expected a response of RFC 3161, got <any>. <any>",
        lambda _: verify_timestamp(b"no timestamp", b"signature", authorities=[]),
    ),
    refused(
        SignatureError,
        "timestamp: expected one by an authority of the trusted root, over this signature, got no authority is trusted at that time. <any>",
        lambda _: verify_timestamp(_real_timestamp(), b"signature", authorities=[]),
    ),
    refused(
        ConfigError,
        f"certificate of a timestamp authority: expected DER, got <any>. {CORRECT}",
        lambda _: verify_timestamp(_real_timestamp(), b"signature", authorities=[AUTHORITY]),
    ),
)


# The trusted root

FORM = "trust of the log, a file: expected a trusted root and a signing config of Sigstore, got"


def _instance(*path, to):
    """Read the trust of one log with another value in one place of the trusted root."""
    root, signing = trust_of(_tree())
    place = root
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    signing["rekorTlogUrls"] = []
    return read_instance(
        root,
        signing,
        where="a file",
        open_url=lambda url: lambda name, max_bytes: FakeTree("other.example").checkpoint(),
    )


def _services(*services):
    return read_instance(*trust_of(_tree(), services=list(services)), where="a file")


def _files(scene, root=b"{}", signing=b"{}"):
    scene.write("root.json", root)
    scene.write("signing.json", signing)
    return load_instance(
        RekorConfig(trusted_root="root.json", signing_config="signing.json"), scene.watch(scene.folder)
    )


def _rsa():
    key = rsa.generate_private_key(65537, 2048).public_key()
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _public():
    from sigstore.errors import TUFError
    from sigstore.models import ClientTrustConfig

    with mock.patch.object(ClientTrustConfig, "production", side_effect=TUFError("no way")):
        return load_instance(RekorConfig(), None)


TRUST = (
    refused(
        ConfigError,
        f"trust of the log, <folder>/root.json: expected a file, got No such file or directory. {CORRECT}",
        lambda scene: load_instance(
            RekorConfig(trusted_root="root.json", signing_config="signing.json"), scene.folder
        ),
    ),
    refused(
        LimitError,
        f"<folder>/root.json: expected at most {MAX_TRUST_BYTES} bytes, got more. <any>",
        lambda scene: _files(scene, root=bytes(MAX_TRUST_BYTES + 1)),
    ),
    refused(
        ConfigError,
        f"trust of the log, <folder>/root.json: expected JSON, got <any>. {CORRECT}",
        lambda scene: _files(scene, root=b"no JSON"),
    ),
    refused(
        ConfigError,
        f"trust of the log, <folder>/signing.json: expected a JSON object, got list. {CORRECT}",
        lambda scene: _files(scene, signing=b"[]"),
    ),
    refused(
        ConfigError,
        f"trust of the log, <folder>/trust.json: expected a client trust config with a trustedRoot, got none. {CORRECT}",
        lambda scene: load_instance(
            RekorConfig(trust_config=scene.write("trust.json", b"{}").name), scene.folder
        ),
    ),
    refused(
        SourceError,
        f"Sigstore's TUF repository: expected a trusted root, got no way. {REACH}",
        lambda _: _public(),
    ),
    refused(
        ConfigError,
        f"{FORM} log: expected a baseUrl, a publicKey and a logId, got other fields. {CORRECT}",
        lambda _: _instance("tlogs", to=[{}]),
    ),
    refused(
        ConfigError,
        f"{FORM} key of https://rekor.example: expected DER, got other bytes. {CORRECT}",
        lambda _: _instance("tlogs", 0, "publicKey", "rawBytes", to="AAAA"),
    ),
    refused(
        ConfigError,
        f"{FORM} log id of https://rekor.example: expected 32 bytes, got 3 bytes. {CORRECT}",
        lambda _: _instance("tlogs", 0, "logId", "keyId", to="AAAA"),
    ),
    refused(
        ConfigError,
        f"{FORM} checkpoint at https://elsewhere.example/api/v2: expected the name of the log <hex>…, got other.example. {CORRECT}",
        lambda _: _instance("tlogs", 0, "baseUrl", to="https://elsewhere.example"),
    ),
    refused(
        ConfigError,
        f"{FORM} key of a log: expected an Ed25519 or ECDSA key, got RSAPublicKey. {CORRECT}",
        lambda _: _instance("tlogs", 0, "publicKey", "rawBytes", to=_b64(_rsa())),
    ),
    refused(
        ConfigError,
        f"{FORM} timestamp authority: expected a certChain, got other fields. {CORRECT}",
        lambda _: _instance("timestampAuthorities", to=[{}]),
    ),
    refused(
        ConfigError,
        f"{FORM} time: expected a time with its zone, got 2026-01-02T03:04:05. {CORRECT}",
        lambda _: _instance("tlogs", 0, "publicKey", "validFor", "start", to="2026-01-02T03:04:05"),
    ),
    refused(
        ConfigError,
        f"{FORM} service: expected an http(s) url, got {{'url': 'ftp://rekor.example'}}. {CORRECT}",
        lambda _: _services({"url": "ftp://rekor.example"}),
    ),
    refused(
        ConfigError,
        f"{FORM} signing config: expected logs of the trusted root, got https://elsewhere.example. {CORRECT}",
        lambda _: _services(
            {"url": "https://rekor.example", "majorApiVersion": 2},
            {"url": "https://elsewhere.example", "majorApiVersion": 2},
        ),
    ),
)


def _b64(raw):
    from ledger.encoding import format_base64

    return format_base64(raw)


CASES = (*ENTRIES, *SETTINGS, *REKOR_V2, *TIMESTAMPS, *TRUST)
