"""Refusals of ledger.encoding, entry, event, identity, manifest and history: bytes that are not their format."""

import json
from dataclasses import replace

from ledger.encoding import (
    MAX_JSON_DEPTH,
    format_base64,
    format_canonical_json,
    parse_base64,
    parse_canonical_json,
    parse_decimal,
    parse_hex,
    parse_json,
    parse_whole,
)
from ledger.entry import MapCommit, format_entry, format_map_commit, parse_entry, verify_entry
from ledger.errors import ChainError, LimitError, MalformedError, SignatureError
from ledger.event import (
    HistoryLink,
    PlainStatement,
    Statement,
    format_statement,
    parse_statement,
    schemas,
)
from ledger.event.subjects import subject_of
from ledger.history import ChainHead, check_link, parse_state
from ledger.identity import commit_identity, parse_capped
from ledger.manifest import Manifest, ManifestFile, check_path, parse_listing, parse_manifest, read_items
from tests import events, world
from tests.refusals.table import refused

# Encoding

ENCODING = (
    refused(
        MalformedError,
        "decimal: expected canonical decimal digits below 2^63, got +1. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_decimal("+1"),
    ),
    refused(
        MalformedError,
        "tree size: expected canonical decimal digits below 2^63, got 9223372036854775808. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_decimal("9223372036854775808", what="tree size"),
    ),
    refused(
        MalformedError,
        "base64: expected padded standard base64, got AA. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_base64("AA"),
    ),
    refused(
        MalformedError,
        "base64: expected canonical base64, got b'AB=='. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_base64(b"AB=="),
    ),
    refused(
        LimitError,
        "key: expected at most 3 bytes, got 8 base64 characters. Check that it is what you meant: the limit cannot be changed",
        lambda _: parse_base64("AAAAAAAA", what="key", max_bytes=3),
    ),
    refused(
        MalformedError,
        "hex: expected lower-case hex, got AB. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_hex("AB"),
    ),
    refused(
        MalformedError,
        "key id: expected 8 lower-case hex digits, got ab. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_hex("ab", length=4, what="key id"),
    ),
    refused(
        MalformedError,
        "canonical JSON: expected RFC 8785 values, got Integer exceeds 53-bit range. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: format_canonical_json(2**53),
    ),
    refused(
        MalformedError,
        "canonical JSON: expected its own RFC 8785 encoding, got other bytes for the same value. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_canonical_json(b'{"a": 1}', max_bytes=100),
    ),
    refused(
        LimitError,
        "canonical JSON: expected at most 5 bytes, got 7 bytes. Check that it is what you meant: the limit cannot be changed",
        lambda _: parse_canonical_json(b"[1,2,3]", max_bytes=5),
    ),
    refused(
        LimitError,
        "JSON: expected at most 64 levels of nesting, got more. Check that it is what you meant: the limit cannot be changed",
        lambda _: parse_json(b"[" * 100_000, max_bytes=200_000),
    ),
    refused(
        LimitError,
        "JSON: expected at most 64 levels of nesting, got more. Check that it is what you meant: the limit cannot be changed",
        lambda _: parse_json(b"[" * (MAX_JSON_DEPTH + 1) + b"]" * (MAX_JSON_DEPTH + 1), max_bytes=200),
    ),
    refused(
        MalformedError,
        "JSON: expected UTF-8 JSON, got Expecting property name enclosed in double quotes: line 1 column 2 (char 1). Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_json(b"{", max_bytes=10),
    ),
    refused(
        MalformedError,
        "JSON number: expected an integer, got 1.5. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_canonical_json(b"1.5", max_bytes=10),
    ),
    refused(
        MalformedError,
        "JSON object: expected each key once, got a duplicate key. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_json(b'{"a":1,"a":2}', max_bytes=20),
    ),
)

# Entries


def _map_commit(**changes):
    value = json.loads(format_map_commit(MapCommit(covers=7, root=bytes(32)))) | changes
    return format_canonical_json({key: item for key, item in value.items() if item is not None})


def _entry(key="hub"):
    return parse_entry(world.sign_statement(b"{}", key=key))


ENTRIES = (
    refused(
        LimitError,
        "entry: expected at most 49000 bytes, got 53592 bytes. Check that it is what you meant: the limit cannot be changed",
        lambda _: format_entry(bytes(40_000), keyid="0" * 64, signature=bytes(70)),
    ),
    refused(
        MalformedError,
        "entry: expected a DSSE envelope with one signature, got something else. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_entry(b"{}"),
    ),
    refused(
        MalformedError,
        "map commit: expected covers, kind, mapFn hubledger/v1, root, got ['covers', 'kind', 'mapFn']. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_entry(_map_commit(root=None)),
    ),
    refused(
        MalformedError,
        "map commit: expected covers as a decimal string, got 7. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_entry(_map_commit(covers=7)),
    ),
    refused(
        MalformedError,
        "covers of a map commit: expected 8, got 7. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_entry(_map_commit(), leaf_index=8),
    ),
    refused(
        SignatureError,
        "key of the entry: expected a known hub key, got <hex>. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda _: verify_entry(_entry(), {}),
    ),
    refused(
        SignatureError,
        "signature of the entry by <hex>…: expected a valid signature, got one that fails. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda _: verify_entry(
            replace(_entry(), payload=b"[]"), {_entry().keyid: world.p256_key("hub").public_key()}
        ),
    ),
)

# Statements


def _changed(change, statement: Statement | None = None):
    """Parse a statement after changing its JSON."""
    value = json.loads(format_statement(statement or events.event(events.key("a"))))
    change(value, value["predicate"])
    return parse_statement(format_canonical_json(value))


def _set(path, value):
    """Change one field of the predicate; None removes it."""

    def change(_statement, predicate):
        *folders, name = path.split("/")
        for folder in folders:
            predicate = predicate[int(folder) if folder.isdigit() else folder]
        if value is None:
            del predicate[name]
        else:
            predicate[name] = value

    return lambda _: _changed(change)


def _set_subject(value, statement=None):
    def change(whole, _predicate):
        whole["subject"][0]["name"] = value

    return lambda _: _changed(change, statement)


def _sigstore(**fields):
    signer = {
        "certificateSha256": "0" * 64,
        "claims": {},
        "issuer": "i",
        "kind": "sigstore",
        "san": "s",
        "sanType": "uri",
    }
    return _set("signatures/0/signer", signer | fields)


def _erasure(**fields):
    return PlainStatement(
        predicate_type=schemas.ERASURE,
        fields={"evidence": ["0" * 64], "reason": "request"} | fields,
        common=events.event().common,
    )


def _parse_erasure(**fields):
    def change(_whole, predicate):
        predicate.update(fields)

    return lambda _: _changed(change, _erasure())


def _hub_key(**fields):
    spki = world.spki_of(world.p256_key("hub"))
    given = {"keyid": "0" * 64, "spki": format_base64(spki), "state": "added", "holder": "h", "role": "hub"}
    return PlainStatement(predicate_type=schemas.HUB_KEY, fields=given | fields, common=events.event().common)


def _large_policy():
    identities = [f"{number:064x}" for number in range(64)]
    links = [HistoryLink(key=f"name:{letter * 250}", sequence=0) for letter in "abcdefgh"]
    common = replace(events.event().common, histories=tuple(links))
    text = "\\" * 128
    return (
        PlainStatement(
            predicate_type=schemas.SUCCESSION,
            fields={"predecessor": "log.example/old", "finalCheckpoint": "\n" * 16_384},
            common=common,
        ),
        identities,
        text,
    )


_ZERO = "0" * 64

STATEMENTS = (
    # What a field may hold
    refused(
        MalformedError,
        "predicate.recordedAt: expected a time as YYYY-MM-DDTHH:MM:SSZ, got 2026-01-02 03:04:05. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _set("recordedAt", "2026-01-02 03:04:05"),
    ),
    refused(
        MalformedError,
        "predicate.manifest.files: expected an integer from 0 to 2^53 - 1, got -1. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _set("manifest/files", -1),
    ),
    refused(
        MalformedError,
        "predicate.signatures.upstreamLog.index: expected an integer below 2^53, or a decimal string from there on, got 7. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _set(
            "signatures/0/upstreamLog",
            {"origin": "o", "logId": _ZERO, "kind": "dsse:0.0.1", "index": "7"},
        ),
    ),
    refused(
        MalformedError,
        "predicate.trigger: expected one of upload, backfill, recheck, got whim. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _set("trigger", "whim"),
    ),
    refused(
        MalformedError,
        "predicate.keysDestroyed: expected true or false, got yes. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _parse_erasure(keysDestroyed="yes"),
    ),
    refused(
        MalformedError,
        "predicate.signatures.signer.san: expected at most 256 encoded bytes, got 257 bytes. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _sigstore(san="x" * 257),
    ),
    refused(
        MalformedError,
        "predicate.reasons: expected a list of 0 to 64, got 65. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _set("reasons", ["code"] * 65),
    ),
    refused(
        MalformedError,
        "predicate.reasons: expected a list of 0 to 64, got code. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _set("reasons", "code"),
    ),
    refused(
        MalformedError,
        "predicate.model.parents: expected a list of at most 512 bytes, got a longer one. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _set("model/parents", ["p" * 100] * 6),
    ),
    refused(
        MalformedError,
        "predicate.model: expected an object, got acme/tiny. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _set("model", "acme/tiny"),
    ),
    refused(
        MalformedError,
        "predicate.model.name: expected a value, got nothing. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _set("model/name", None),
    ),
    refused(
        MalformedError,
        "predicate.model.licence: expected no field of this name, got one. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _set("model/licence", "mit"),
    ),
    refused(
        MalformedError,
        "predicate.signatures.signer.claims: expected an object of at most 40 fields, got 41 fields. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _sigstore(claims={str(number): "" for number in range(41)}),
    ),
    refused(
        MalformedError,
        "predicate.signatures.signer.claims name: expected 1 to 64 letters, digits and dots, got a b. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _sigstore(claims={"a b": ""}),
    ),
    refused(
        MalformedError,
        "predicate.signatures.signer.kind: expected one of sigstore, key, certificate, nothing, got palm. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _set("signatures/0/signer", {"kind": "palm"}),
    ),
    # What the whole says
    refused(
        MalformedError,
        "statement: expected an in-toto statement, got list. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_statement(b"[]"),
    ),
    refused(
        MalformedError,
        "subject: expected acme/tiny with <hex>, from the predicate, got acme/other with <hex>. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _set_subject("acme/other"),
    ),
    refused(
        MalformedError,
        "subject: expected evidence with <hex>, from the predicate, got other with <hex>. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _set_subject("other", _erasure()),
    ),
    refused(
        MalformedError,
        "histories: expected distinct keys in order, got ['name:b', 'name:a']. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _set("histories", [{"key": "name:b", "sequence": 0}, {"key": "name:a", "sequence": 0}]),
    ),
    refused(
        MalformedError,
        "history name:acme/tiny: expected sequence and previous of a hub's chain, or neither of an observer, got {'key': 'name:acme/tiny', 'sequence': 1}. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _set("histories", [{"key": "name:acme/tiny", "sequence": 1}]),
    ),
    refused(
        MalformedError,
        "outcome: expected VERIFIED, from the signatures, got UNSIGNED. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _set("outcome", "UNSIGNED"),
    ),
    refused(
        MalformedError,
        "signer of a signature: expected the signer of what is VERIFIED, got none. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _set("signatures/0/signer", None),
    ),
    refused(
        MalformedError,
        "signer of a signature: expected signer or claimedSigner, got both of them. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _set("signatures/0/claimedSigner", {"kind": "key", "spkiSha256": _ZERO}),
    ),
    refused(
        MalformedError,
        "signer of a signature: expected a claimed signer, because the outcome is UNKNOWN_KEY, got a signer. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _changed(
            lambda _whole, predicate: (
                predicate.update(outcome="UNKNOWN_KEY"),
                predicate["signatures"][0].update(outcome="UNKNOWN_KEY"),
            )
        ),
    ),
    refused(
        MalformedError,
        "histories of a verification event: expected ['name:acme/tiny'], got ['name:acme/other']. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _set("histories", [{"key": "name:acme/other", "sequence": 0}]),
    ),
    # Making one
    refused(
        MalformedError,
        "predicate type: expected a type with plain fields, got https://x/y. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: PlainStatement(predicate_type="https://x/y", fields={}),
    ),
    refused(
        MalformedError,
        "predicate type: expected a type with plain fields, got https://hubledger/verification-event/v1. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: subject_of(schemas.VERIFICATION_EVENT, {}),
    ),
    refused(
        MalformedError,
        "keyid of the hub key: expected <hex>, of its spki, got <hex>. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _hub_key(),
    ),
    refused(
        LimitError,
        "statement: expected at most 32768 bytes, got 35448 bytes. Check that it is what you meant: the limit cannot be changed",
        lambda _: format_statement(_large_policy()[0]),
    ),
)

# Identity, manifest, history


def _file(path):
    return ManifestFile(path=path, sha256=bytes(32), size=1)


def _endless():
    """An item without an end: it is refused before it fills the memory."""
    yield b'[{"path":"'
    while True:
        yield b"a" * (1 << 18)


def _above_the_limit(scene):
    import ledger.manifest as module

    scene.after.callback(setattr, module, "MAX_MANIFEST_BYTES", module.MAX_MANIFEST_BYTES)
    module.MAX_MANIFEST_BYTES = 7
    return list(read_items([b'[{"link":"x","path":"a"}]']))


HISTORY = (
    refused(
        MalformedError,
        "issuer: expected a string or {count, sha256}, got int. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_capped(7, "issuer"),
    ),
    refused(
        MalformedError,
        "manifest: expected distinct paths in the order of their bytes, got b before a. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: Manifest((_file("b"), _file("a"))),
    ),
    refused(
        MalformedError,
        "manifest: expected distinct paths in the order of their bytes, got b before a. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: list(read_items([b'[{"link":"x","path":"b"},{"link":"x","path":"a"}]'])),
    ),
    *(
        refused(
            MalformedError,
            "manifest: expected a list of items, got another form. Get it again from where it came; if it stays the same, tell whoever wrote it",
            lambda _, chunks=chunks: list(read_items(chunks())),
        )
        for chunks in (lambda: [b"[x"], lambda: [b'[{"link":"x"'], _endless)
    ),
    refused(
        LimitError,
        "manifest: expected at most 7 bytes, got more. Check that it is what you meant: the limit cannot be changed",
        _above_the_limit,
    ),
    refused(
        MalformedError,
        "list of files: expected a list, got dict. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_listing(b"{}"),
    ),
    refused(
        MalformedError,
        "path 100%: expected % and two upper-case hex digits, %25 for a percent sign, got %. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_listing(b'[{"path":"100%","link":"x"}]'),
    ),
    refused(
        MalformedError,
        "key of a commitment: expected 32 bytes, got 0 bytes. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: commit_identity({}, b""),
    ),
    refused(
        MalformedError,
        "number: expected a whole number below 2^53, got 1.5. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_whole(1.5),
    ),
    refused(
        MalformedError,
        "manifest: expected a list, got dict. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_manifest(b"{}"),
    ),
    refused(
        MalformedError,
        "item of a manifest: expected {path, sha256, size} or {path, link}, got {'path': 'a'}. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_manifest(b'[{"path":"a"}]'),
    ),
    refused(
        MalformedError,
        "path: expected a relative path without empty, . or .. parts, got ../secrets. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: check_path("../secrets"),
    ),
    refused(
        MalformedError,
        "history state: expected a pin and a repository, got 7b2270696e223a6e756c6c7d. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_state(b'{"pin":null}'),
    ),
    refused(
        ChainError,
        "chain of name:acme/tiny at leaf 7: expected number 1 after <hex>…, got number 2 after <hex>…. A statement is missing, or two claim the same place: keep both and ask the hub",
        lambda _: check_link(
            HistoryLink(key="name:acme/tiny", sequence=2, previous=bytes(32)),
            ChainHead(0, b"\1" * 32),
            where="leaf 7",
        ),
    ),
    refused(
        ChainError,
        "chain of hub: at leaf 0: expected number 0 after nothing, got number None after nothing. A statement is missing, or two claim the same place: keep both and ask the hub",
        lambda _: check_link(HistoryLink(key="hub:"), None, where="leaf 0"),
    ),
)

CASES = (*ENCODING, *ENTRIES, *STATEMENTS, *HISTORY)
