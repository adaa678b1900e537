"""Refusals of Rekor v1 as the log: what its answers are refused for, and what is asked of it that it cannot do."""

import asyncio
import json

from ledger.bundle.bodies import SignedPayload, Verifier
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
from ledger.log import Admitted, Submission
from ledger.log.rekor_v1 import RekorV1
from ledger.log.rekor_v1_answers import MAX_ANSWER_BYTES
from ledger.log.rekor_v1_reading import RekorV1Log
from tests.fakes.rekor import signed_payload
from tests.fakes.rekor_v1 import CORRUPTIONS, NAME, STATE_CORRUPTIONS, FakeRekorV1, FakeV1Tree, refusal
from tests.refusals.table import refused

DOWN = "http://127.0.0.1:9"


def _server(scene, **settings):
    """A server with two trees: three entries in the first, five in the second."""
    trees = FakeV1Tree(11), FakeV1Tree(12)
    for number in range(8):
        spec = b'{"signatures":[{"signature":"%040d"}]}' % number
        trees[number >= 3].append(b'{"apiVersion":"0.0.1","kind":"dsse","spec":%s}' % spec)
    server = FakeRekorV1(trees=list(trees))
    for name, value in settings.items():
        setattr(server, name, value)
    return scene.after.enter_context(server.serve())


async def _nothing(_seconds):
    """A pause that takes no time."""


def _submitting(signed=None, *, options=(), shard=(), **settings):
    """Submit to a server with these settings."""

    def trigger(scene):
        server = _server(scene, **settings)
        asyncio.run(_submit(server, signed or signed_payload("mine"), dict(options), dict(shard)))

    return trigger


async def _submit(server, signed, options, shard):
    log = RekorV1(server.shard(**shard), server.keys, pause=_nothing, **options)
    try:
        return await log.submit(signed)
    finally:
        await log.close()


def _corrupted(name):
    return _submitting(bend=CORRUPTIONS[name][0])


def _answered(*answer):
    return _submitting(fail=lambda *_: answer)


def _duplicate_of_nothing(method, _path):
    return refusal(409, "an equivalent entry already exists") if method == "POST" else None


def _reading(use, *, shard=(), signers=(), **settings):
    """Read from a server with these settings."""

    def trigger(scene):
        server = _server(scene, **settings)
        log = RekorV1Log(server.shard(**dict(shard)), server.keys, signers=dict(signers))
        scene.after.callback(log.close)
        use(log)

    return trigger


def _state(name):
    return _reading(RekorV1Log.checkpoint, bend=STATE_CORRUPTIONS[name][0])


def _shifted(by):
    """A server that says that its first tree is so much smaller than it is."""

    def bend(value):
        if isinstance(value, dict) and value.get("inactiveShards"):
            value["inactiveShards"][0]["treeSize"] -= by
        return value

    return bend


def _append(submission, **signers):
    """Append one entry; what ``append`` answers is raised here."""

    def use(log):
        (answer,) = log.append([submission])
        raise answer

    return _reading(use, signers=signers)


def _other_entry(value):
    """A valid answer about the first entry of the second tree."""
    tree = FakeV1Tree(12)
    tree.append(b'{"apiVersion":"0.0.1","kind":"dsse","spec":{"signatures":[{"signature":"%040d"}]}}' % 3)
    return tree.answered(0, 3)


def _first_entry(_method, path):
    """The same in the place of every entry."""
    return (200, json.dumps(_other_entry(None)).encode()) if "entries" in path else None


def _without_kind(_value):
    """A true entry whose body is of no kind."""
    tree = FakeV1Tree(12)
    tree.append(b"{}")
    return tree.answered(0, 3)


def _without_hashes(value):
    return {"rootHash": "00" * 32} if "hashes" in value else value


def _not_a_list(value):
    return {} if isinstance(value, list) else value


ENVELOPE = signed_payload("mine").envelope.replace(b'"keyid":""', b'"keyid":"%s"' % (b"00" * 32))

CASES = (
    refused(
        ConfigError,
        "kinds of Rekor v1: expected dsse or hashedrekord, got intoto. Correct what is named, and try again",
        _submitting(options={"kinds": ["intoto"]}),
    ),
    refused(
        FrozenError,
        "log rekor-v1.example - 12: expected an address to submit to, got none: it is only read. Get the newest signing configuration: the log goes on in another shard",
        _submitting(shard={"write_url": None}),
    ),
    refused(
        RejectedError,
        "key of a signature: expected DER, got <any>. See what the log does not like; `hubledger outbox drop` gives the entry up, for all to see",
        _submitting(SignedPayload(payload=b"{}", signature=b"", verifier=Verifier(b"no key"))),
    ),
    refused(
        RejectedError,
        "POST http://127.0.0.1:<number>/api/v1/log/entries: expected a log that takes hashedrekord, got error processing entry: entry kind 'hashedrekord' is not enabled for submission on this server. See what the log does not like; `hubledger outbox drop` gives the entry up, for all to see",
        _submitting(kinds=()),
    ),
    refused(
        SourceError,
        "GET http://127.0.0.1:<number>/api/v1/log/entries/<hex>: expected the entry that the log has taken, got 404. Submit the same bytes again: the log answers with the proof once it has one",
        _submitting(fail=_duplicate_of_nothing),
    ),
    refused(
        ProofError,
        "body of the log entry: expected that of the submitted signature, SHA-256 <hex>, got <hex>. Fetch it again, from another mirror if there is one; do not use it as it is",
        _submitting(bend=_other_entry),
    ),
    refused(
        SourceError,
        "answer of the log: expected one entry, got 0 entries. Try again, and tell whoever runs the log",
        _corrupted("no-entry"),
    ),
    refused(
        SourceError,
        "answer of the log: expected JSON, got <html>. Try again, and tell whoever runs the log",
        _answered(201, b"<html>"),
    ),
    refused(
        MalformedError,
        "answer of the log: expected a map from UUIDs to entries, got list. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _corrupted("a-list"),
    ),
    refused(
        SourceError,
        "inclusion proof of the entry: expected one, got none yet. Submit the same bytes again: the log answers with the proof once it has one",
        _corrupted("no-proof"),
    ),
    refused(
        MalformedError,
        "entry of Rekor v1: expected body, time, log id, index and verification, got other fields. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _corrupted("no-logID"),
    ),
    refused(
        MalformedError,
        "entry body: expected kind and apiVersion, got other fields. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _reading(lambda log: log.entry_at(3), bend=_without_kind),
    ),
    refused(
        MalformedError,
        "checkpoint of the proof: expected UTF-8, got 'utf-8' codec can't encode character '\\ud800' in position 0: surrogates not allowed. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _corrupted("checkpoint-no-text"),
    ),
    refused(
        SignatureError,
        "log of the entry: expected <hex>, got <hex>. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        _corrupted("log-id"),
    ),
    refused(
        SourceError,
        "tree of the inclusion proof: expected more than 1005 leaves, got 6. Submit the same bytes again: the log answers with the proof once it has one",
        _corrupted("beyond-the-tree"),
    ),
    refused(
        ProofError,
        "root and size beside the proof: expected <hex> of 6, got <hex> of 7. Fetch it again, from another mirror if there is one; do not use it as it is",
        _corrupted("size"),
    ),
    refused(
        SignatureError,
        "origin of the checkpoint: expected rekor-v1.example - 11, got rekor-v1.example - 12. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        _submitting(shard={"origin": f"{NAME} - 11"}),
    ),
    refused(
        ProofError,
        "UUID of the entry: expected <hex>, got <hex>. Fetch it again, from another mirror if there is one; do not use it as it is",
        _corrupted("uuid-tree"),
    ),
    refused(
        SourceError,
        "content encoding of POST http://127.0.0.1:<number>/api/v1/log/entries: expected identity, got gzip. Nothing is known about the entry: submit the same bytes again later",
        _answered(201, b"", {"content-encoding": "gzip"}),
    ),
    refused(
        LimitError,
        "answer to POST http://127.0.0.1:<number>/api/v1/log/entries: expected at most 2097152 bytes, got more. Check that it is what you meant: the limit cannot be changed",
        _answered(201, b" " * (MAX_ANSWER_BYTES + 1)),
    ),
    refused(
        LimitError,
        "answer to GET http://127.0.0.1:<number>/api/v1/log: expected at most 2097152 bytes, got more. Check that it is what you meant: the limit cannot be changed",
        _reading(RekorV1Log.checkpoint, fail=lambda *_: (200, b" " * (MAX_ANSWER_BYTES + 1))),
    ),
    refused(
        SourceError,
        "POST http://127.0.0.1:9/api/v1/log/entries: expected an answer, got [Errno 111] Connect call failed ('127.0.0.1', 9). Nothing is known about the entry: submit the same bytes again later",
        _submitting(shard={"write_url": DOWN}),
    ),
    refused(
        SourceError,
        "GET http://127.0.0.1:9/api/v1/log: expected an answer, got <any>. Nothing is known about the entry: submit the same bytes again later",
        _reading(lambda log: log.checkpoint(), shard={"read_url": DOWN}),
    ),
    refused(
        RejectedError,
        "POST http://127.0.0.1:<number>/api/v1/log/entries: expected status 201 or 409, got 400: error processing entry: verifying signature. See what the log does not like; `hubledger outbox drop` gives the entry up, for all to see",
        _answered(*refusal(400, "error processing entry: verifying signature")),
    ),
    refused(
        RejectedError,
        "POST http://127.0.0.1:<number>/api/v1/log/entries: expected status 201 or 409, got 413. See what the log does not like; `hubledger outbox drop` gives the entry up, for all to see",
        _answered(413, b""),
    ),
    refused(
        SourceError,
        "POST http://127.0.0.1:<number>/api/v1/log/entries: expected status 201 or 409, got 502. Nothing is known about the entry: submit the same bytes again later",
        _answered(502, b"<html>"),
    ),
    refused(
        NotFoundError,
        "GET http://127.0.0.1:<number>/api/v1/log/entries?logIndex=99: expected an entry, got 404. Check the name, and that it has been recorded and published",
        _reading(lambda log: log.entry_at(99)),
    ),
    refused(
        ProofError,
        "place of global index 5: expected leaf 1 of rekor-v1.example - 12, got leaf 2 of rekor-v1.example - 12. Fetch it again, from another mirror if there is one; do not use it as it is",
        _reading(lambda log: list(log.read(1, 2)), bend=_shifted(-1)),
    ),
    refused(
        UsageError,
        "inclusion of leaf 0: expected the newest size, 5, got 4. Take the newest checkpoint: Rekor v1 proves nothing in an older tree",
        _reading(lambda log: log.prove_inclusion(0, 4)),
    ),
    refused(
        MalformedError,
        "consistency proof: expected hashes, got other fields. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _reading(lambda log: log.prove_consistency(1, 5), bend=_without_hashes),
    ),
    refused(
        NotFoundError,
        "entry 8 of the log: expected an entry, got none. Check the name, and that it has been recorded and published",
        _reading(lambda log: list(log.read(4, 6))),
    ),
    refused(
        NotFoundError,
        "entry <hex> of the log: expected an entry, got none. Check the name, and that it has been recorded and published",
        _reading(lambda log: list(log.entries_of(["00" * 32]))),
    ),
    refused(
        MalformedError,
        "state of the log: expected a tree id, got other fields. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _state("no-tree-id"),
    ),
    refused(
        SignatureError,
        "trees of the log: expected rekor-v1.example - 99, got 2 others. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        _reading(RekorV1Log.checkpoint, shard={"origin": f"{NAME} - 99"}),
    ),
    refused(
        ProofError,
        "tree id, size and root beside the checkpoint: expected ('12', 5, '<hex>'), got ('12', 5, '<hex>'). Fetch it again, from another mirror if there is one; do not use it as it is",
        _state("root"),
    ),
    refused(
        MalformedError,
        "state of the log: expected treeSize, got other fields. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _state("no-size"),
    ),
    refused(
        MalformedError,
        "answer of the log: expected at most 10 entries, got other fields. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _reading(lambda log: list(log.read(0, 1)), bend=_not_a_list),
    ),
    refused(
        ProofError,
        "global index of the entry: expected 4, got 3. Fetch it again, from another mirror if there is one; do not use it as it is",
        _reading(lambda log: log.entry_at(4), bend=_other_entry),
    ),
    refused(
        ProofError,
        "leaf hash of the entry: expected <hex>, got <hex>. Fetch it again, from another mirror if there is one; do not use it as it is",
        _reading(lambda log: log.entry_of("00" * 32), fail=_first_entry),
    ),
    refused(
        ProofError,
        "place of global index 2: expected leaf 0 of rekor-v1.example - 12, got leaf 2 of rekor-v1.example - 11. Fetch it again, from another mirror if there is one; do not use it as it is",
        _reading(lambda log: list(log.read(0, 1)), shard={"origin": NAME}, bend=_shifted(1)),
    ),
    refused(
        UsageError,
        "submission to Rekor v1: expected an entry that was admitted before, got an admission. Admit it in the outbox: Rekor has many writers and asks none of them",
        _append(Submission(entry=ENVELOPE, admit=lambda _view, _leaf: Admitted())),
    ),
    refused(
        UsageError,
        "key of the entry: expected a known signer, got <hex>. Give the public key: Rekor checks every signature",
        _append(Submission(entry=ENVELOPE)),
    ),
    refused(
        MalformedError,
        "UUID: expected 64 or 80 hex digits, got 00. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _reading(lambda log: log.entry_of("00")),
    ),
)
