"""Refusals of any Sigstore bundle: its form, its log entries, trusted roots, ledgers in Rekor, and the command."""

import json
from dataclasses import replace

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cli.verify import command as verify
from ledger.bundle import MAX_BUNDLE_BYTES
from ledger.bundle.any_bundle import MAX_ENTRIES, parse_any_bundle
from ledger.bundle.any_key import AnyVerifier
from ledger.bundle.bodies import Verifier
from ledger.bundle.export import format_rekor_proof
from ledger.bundle.log_entry import LogKeys, parse_log_entry, parse_promised_entry
from ledger.bundle.logged import (
    RootLogs,
    Span,
    UnknownKindError,
    check_body,
    key_in_entry,
    prove_entries,
    prove_entry,
    verify_promised,
)
from ledger.bundle.sigstore_method import verify_keyless
from ledger.client import roots
from ledger.client.event_bundle import check_event_bundle
from ledger.client.evidence import KIND, verify_evidence
from ledger.client.proof_extra import ProofExtra, parse_extra
from ledger.client.proof_leaf import HASHEDREKORD, leaf_of
from ledger.client.sigstore_bundle import check_bundle
from ledger.client.steps import CannotCheckError
from ledger.client.trust import parse_trust
from ledger.client.trust_writing import format_trust
from ledger.encoding import format_base64, format_canonical_json
from ledger.entry import MapCommit, format_map_commit
from ledger.errors import (
    ConfigError,
    LimitError,
    MalformedError,
    NotFoundError,
    ProofError,
    SignatureError,
    UsageError,
)
from tests.refusals.table import refused, turned
from tests.sigstore_world import (
    HUB_SPKI,
    RekorOne,
    RekorTwo,
    event_bundle,
    log_event,
    pem,
    sign_file,
    trust_of,
    trusted_root,
)
from tests.world import NOW, World, p256_key, sign_statement, spki_of

AGAIN = "Get it again from where it came; if it stays the same, tell whoever wrote it"
LIMIT = "Check that it is what you meant: the limit cannot be changed"
CORRECT = "Correct what is named, and try again"
FETCH = "Fetch it again, from another mirror if there is one; do not use it as it is"
NEWER = "Check it with a newer version of hubledger, or with another tool"
OPTIONS = "Compare with the command's --help"
KEYS = "Check that the keys are those of this log and hub; if they are, do not use what was signed"

# The form


def _parse(bundle):
    return parse_any_bundle(json.dumps(bundle).encode())


def _bent(change):
    bundle = sign_file(RekorTwo())
    change(bundle)
    return _parse(bundle)


def _material(bundle):
    return bundle["verificationMaterial"]


FORM = (
    refused(
        LimitError,
        f"Sigstore bundle: expected at most 16777216 bytes, got 16777217. {LIMIT}",
        lambda _: parse_any_bundle(b" " * (MAX_BUNDLE_BYTES + 1)),
    ),
    refused(
        MalformedError,
        f"Sigstore bundle: expected the format's own fields, got unknown field note in bundle. {AGAIN}",
        lambda _: _bent(lambda bundle: bundle.update(note="x")),
    ),
    refused(
        MalformedError,
        "Sigstore bundle: expected version 0.1, 0.2 or 0.3, with verification material, got version=9. "
        + AGAIN,
        lambda _: _bent(lambda bundle: bundle.update(mediaType="version=9")),
    ),
    refused(
        LimitError,
        f"log entries and timestamps of the bundle: expected at most 16 of each, got 17 and 0. {LIMIT}",
        lambda _: _bent(
            lambda bundle: _material(bundle).update(tlogEntries=[{} for _ in range(MAX_ENTRIES + 1)])
        ),
    ),
    refused(
        MalformedError,
        f"who signed the bundle: expected publicKey or certificate, got certificate, publicKey. {AGAIN}",
        lambda _: _bent(lambda bundle: _material(bundle).update(certificate={"rawBytes": "QUJD"})),
    ),
    refused(
        MalformedError,
        "what the bundle signs: expected one DSSE envelope with one signature, or one signature of a file, got "
        f"something else. {AGAIN}",
        lambda _: _bent(lambda bundle: bundle.pop("messageSignature")),
    ),
    refused(
        MalformedError,
        "digest of the signed file: expected one of SHA2_256, SHA2_384, SHA2_512, got <any>. " + AGAIN,
        lambda _: _bent(lambda bundle: bundle["messageSignature"]["messageDigest"].update(algorithm="MD5")),
    ),
    refused(
        MalformedError,
        f"timestamp of the bundle: expected a signedTimestamp, got nothing. {AGAIN}",
        lambda _: _bent(
            lambda bundle: _material(bundle).update(timestampVerificationData={"rfc3161Timestamps": [{}]})
        ),
    ),
)

# Log entries


def _root(log, last=None):
    spki, log_id = log.trusted
    keys = LogKeys({log_id: serialization.load_der_public_key(spki)})
    return RootLogs(keys=keys, spans={log_id: Span(last=last)})


def _prove(bundle, log, *, key="alice", digest=None, last=None, how=prove_entry):
    parsed = _parse(bundle)
    verifier = Verifier(spki_of(p256_key(key)))
    value = list(parsed.log_entries) if how is prove_entries else parsed.log_entries[0]
    digest = parsed.content.digest if digest is None else digest
    return how(value, parsed, verifier, digest=digest, root=_root(log, last))


def _proving(change, log=None, **known):
    log = log or RekorTwo()
    bundle = sign_file(log)
    change(bundle["verificationMaterial"]["tlogEntries"])
    return _prove(bundle, log, **known)


def _logged_as(body, kind, log=None):
    """The bundle of a signed file, with another body in the log."""
    log = log or RekorTwo()
    bundle = sign_file(log)
    bundle["verificationMaterial"]["tlogEntries"] = [log.log(body, kind)]
    return _prove(bundle, log)


def _promise(change):
    log = RekorOne()
    bundle = sign_file(log)
    entry = bundle["verificationMaterial"]["tlogEntries"][0]
    change(entry)
    return parse_promised_entry(entry)


def _without_promise(entry):
    del entry["inclusionProof"], entry["inclusionPromise"]


def _of_key(body):
    return key_in_entry({"canonicalizedBody": format_base64(json.dumps(body).encode())})


def _body_that_is_no_object():
    entry = replace(
        parse_log_entry(sign_file(RekorTwo())["verificationMaterial"]["tlogEntries"][0]), body=b"[]"
    )
    parsed = _parse(sign_file(RekorTwo()))
    return check_body(entry, parsed, Verifier(spki_of(p256_key("alice"))), digest=parsed.content.digest)


ENTRIES = (
    refused(
        MalformedError,
        f"log entry: expected a promise without a signed proof, got other fields. {AGAIN}",
        lambda _: _promise(lambda entry: None),
    ),
    refused(
        SignatureError,
        f"log entry: expected an inclusion proof or a promise, got neither. {KEYS}",
        lambda _: _promise(_without_promise),
    ),
    refused(
        ProofError,
        f"log entries of the bundle: expected each once, got leaf 1 of rekor.example twice. {FETCH}",
        lambda _: _proving(lambda entries: entries.append(entries[0]), how=prove_entries),
    ),
    refused(
        ProofError,
        f"size and root beside the proof: expected 3 and <any>, as signed, got 4 and <any>. {FETCH}",
        lambda _: _proving(lambda entries: entries[0]["inclusionProof"].update(treeSize="4")),
    ),
    refused(
        SignatureError,
        "time of the log entry: expected when the log counts, by the trusted root, got 2026-01-02T03:04:05+00:00. "
        + KEYS,
        lambda _: _proving(lambda entries: None, log=RekorOne(), last=1_767_323_044),
    ),
    refused(
        SignatureError,
        "time of the log entry: expected when the log counts, by the trusted root, got second 9000000000000000. "
        + KEYS,
        lambda _: _late_promise(),
    ),
    refused(
        MalformedError,
        f"kind of the log entry: expected hashedrekord 0.0.2, as its body says, got dsse 0.0.2. {AGAIN}",
        lambda _: _proving(lambda entries: entries[0]["kindVersion"].update(kind="dsse")),
    ),
    refused(
        MalformedError,
        "body of the log entry: expected one about this signature, key and content, got another hashedrekord 0.0.2. "
        "Do not use the bundle: its log entry is for something else",
        lambda _: _proving(lambda entries: None, key="bob"),
    ),
    refused(
        MalformedError,
        f"body of the log entry: expected a JSON object, got list. {AGAIN}",
        lambda _: _body_that_is_no_object(),
    ),
    refused(
        UnknownKindError,
        "kind of the log entry: expected hashedrekord 0.0.2, hashedrekord 0.0.1, dsse 0.0.1, intoto 0.0.2, intoto 0.0.1, got cose 0.0.1. "
        + NEWER,
        lambda _: _logged_as(b'{"apiVersion":"0.0.1","kind":"cose"}', ("cose", "0.0.1")),
    ),
    refused(
        UnknownKindError,
        f"hash of the log entry: expected sha256, which goes with the key, got 48 bytes. {NEWER}",
        lambda _: _proving(lambda entries: None, digest=bytes(48)),
    ),
    refused(
        MalformedError,
        f"body of the log entry: expected a canonicalizedBody, got none. {AGAIN}",
        lambda _: key_in_entry({}),
    ),
    refused(
        UnknownKindError,
        "kind of the log entry: expected hashedrekord 0.0.2, hashedrekord 0.0.1, dsse 0.0.1, intoto 0.0.2, intoto 0.0.1, got cose 1. "
        + NEWER,
        lambda _: _of_key({"kind": "cose", "apiVersion": "1"}),
    ),
    refused(
        MalformedError,
        f"key of the log entry: expected a public key, got KeyError('spec'). {AGAIN}",
        lambda _: _of_key({"kind": "dsse", "apiVersion": "0.0.1"}),
    ),
)


def _late_promise():
    log = RekorOne()
    bundle = sign_file(log)
    bundle["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1"
    entry = bundle["verificationMaterial"]["tlogEntries"][0] | {"integratedTime": "9000000000000000"}
    del entry["inclusionProof"]
    bundle["verificationMaterial"]["tlogEntries"] = [log.promise(entry)]
    return _prove(bundle, log, last=0, how=verify_promised)


# Whole bundles: what a check turns into a result


def _check(bundle, *logs, raw_root=None, **known):
    return check_bundle(_parse(bundle), root=raw_root or trusted_root(*logs), **known)


def _checked(change, log=None, sign=sign_file, **known):
    log = log or RekorTwo()
    bundle = sign(log)
    change(bundle)
    return _check(bundle, log, **known)


CHECKS = (
    turned(
        UnknownKindError,
        "log entry of the bundle: expected at least one, got none. Ask whoever signed for a bundle with a log entry",
        lambda _: _checked(lambda bundle: bundle["verificationMaterial"].update(tlogEntries=[])),
    ),
    turned(
        UnknownKindError,
        "digest of the signed file: expected one in the bundle, or the artifact, got neither. Name the signed file with "
        "--artifact",
        lambda _: _checked(lambda bundle: bundle["messageSignature"].pop("messageDigest")),
    ),
    turned(
        SignatureError,
        "signature of the bundle: expected one by its key over the digest of a file, got one that fails. "
        + KEYS,
        lambda _: _checked(
            lambda bundle: bundle["messageSignature"].update(
                signature=sign_file(RekorTwo(), artifact=b"other")["messageSignature"]["signature"]
            )
        ),
    ),
    refused(
        UnknownKindError,
        "key of a signature: expected a key on P-256, P-384 or P-521, RSA of 2048, 3072 or 4096 bits, or Ed25519, got "
        f"ECPublicKey. {NEWER}",
        lambda _: AnyVerifier(spki_of(ec.generate_private_key(ec.SECP256K1()))).key,
    ),
    turned(
        MalformedError,
        f"key of a signature: expected DER, got <any>. {AGAIN}",
        lambda _: _checked(_with_no_certificate),
    ),
)


def _with_no_certificate(bundle):
    bundle["verificationMaterial"].pop("publicKey")
    bundle["verificationMaterial"]["certificate"] = {"rawBytes": format_base64(b"certificate")}


# Certificates


def _production():
    return roots.production_root()


def _keyless(raw):
    parsed = _parse(sign_file(RekorTwo()))
    return verify_keyless(replace(parsed, raw=raw), _production(), digest=bytes(32), entries=())


def _raw_with_no_certificate():
    bundle = sign_file(RekorTwo())
    _with_no_certificate(bundle)
    return json.dumps(bundle).encode()


CERTIFICATES = (
    refused(
        SignatureError,
        f"certificate of the signature: expected one that sigstore-python accepts, got <any>. {KEYS}",
        lambda _: _keyless(json.dumps(sign_file(RekorTwo())).encode()),
    ),
    refused(
        SignatureError,
        f"certificate of the signature: expected one that sigstore-python accepts, got ValueError. {KEYS}",
        lambda _: _keyless(_raw_with_no_certificate()),
    ),
)

# Trusted roots


def _no_package(scene):
    """Look for a package that is not installed, as where sigstore is missing."""
    found = roots.importlib.util.find_spec
    scene.after.callback(setattr, roots.importlib.util, "find_spec", found)
    roots.importlib.util.find_spec = lambda name: None
    return roots.production_root()


ROOTS = (
    refused(
        NotFoundError,
        "Sigstore's production root: expected the one in the sigstore package, got the sigstore package. Name a trusted "
        "root with --trusted-root",
        _no_package,
    ),
    refused(
        ConfigError,
        "trusted root: expected Sigstore's trusted_root.json, or a client trust config, got no list of logs. "
        + CORRECT,
        lambda _: roots.parse_root(b"{}"),
    ),
    refused(
        ConfigError,
        f"trusted root: expected Sigstore's trusted_root.json, or a client trust config, got 'logId'. {CORRECT}",
        lambda _: roots.parse_root(b'{"tlogs": [{}]}'),
    ),
)

# Ledgers in Rekor


def _edit(old, new):
    text = format_trust(trust_of(RekorTwo())).decode()
    assert old in text
    return parse_trust(text.replace(old, new, 1).encode())


def _event(raw, trust):
    return check_event_bundle(parse_any_bundle(raw), trust=trust, now=NOW)


def _proof_of(log):
    entry, log_entry = log_event(log)
    return format_rekor_proof(entry, spki=HUB_SPKI, log_entry=log_entry)


def _extra(**changes):
    entry = sign_statement(b"{}")
    return ProofExtra(**{"entry": entry, "kind": HASHEDREKORD} | changes)


MAP_COMMIT = format_map_commit(MapCommit(covers=0, root=bytes(32)))


def _without_a_promise():
    bundle = json.loads(event_bundle(RekorOne()))
    entry = bundle["verificationMaterial"]["tlogEntries"][0]
    del entry["inclusionPromise"]
    entry["logIndex"] = entry["inclusionProof"]["logIndex"]
    return json.dumps(bundle).encode()


REKOR = (
    refused(
        ConfigError,
        "trust file: expected one of a ledger in Rekor, for a bundle, got the tile log log.example/models. Name the "
        "trust file of the ledger that the bundle is of; a .tlog-proof is checked with --proof",
        lambda _: _event(event_bundle(RekorTwo()), World().trust()),
    ),
    turned(
        CannotCheckError,
        "event of the bundle: expected an envelope with a statement, and a log entry, got another bundle. Ask for "
        "the bundle of the event: hubledger proof writes one",
        lambda _: _event(json.dumps(sign_file(RekorTwo())).encode(), trust_of(RekorTwo())),
    ),
    turned(
        SignatureError,
        f"key of the entry: expected a hub key of the trust file, got <hex>. {KEYS}",
        lambda _: _event(event_bundle(RekorTwo(), key="stranger"), trust_of(RekorTwo())),
    ),
    turned(
        SignatureError,
        f"inclusion promise: expected the log's, which alone covers the index, got none. {KEYS}",
        lambda _: _event(_without_a_promise(), trust_of(RekorOne())),
    ),
    turned(
        SignatureError,
        "origin of the checkpoint: expected rekor-one.example - 7, got rekor-one.example - 8. " + KEYS,
        lambda _: _event(event_bundle(RekorOne(tree_id=8)), trust_of(RekorOne())),
    ),
    refused(
        MalformedError,
        f"extra of the proof: expected an entry, or consistency and entry, got another form. {AGAIN}",
        lambda _: parse_extra(b'{"entry":{},"kind":7}'),
    ),
    refused(
        MalformedError,
        f"kind of the leaf in the proof: expected hashedrekord 0.0.2, got none. {AGAIN}",
        lambda _: leaf_of(_extra(kind=None), trust_of(RekorTwo())),
    ),
    refused(
        MalformedError,
        f"entry in a Rekor log: expected an envelope, got a map commit. {AGAIN}",
        lambda _: leaf_of(_extra(entry=MAP_COMMIT), trust_of(RekorTwo())),
    ),
    refused(
        SignatureError,
        f"key of the entry: expected a hub key of the trust file, got <hex>. {KEYS}",
        lambda _: leaf_of(_extra(entry=sign_statement(b"{}", key="stranger")), trust_of(RekorTwo())),
    ),
    refused(
        MalformedError,
        "log entry for a proof file: expected hashedrekord 0.0.2 about this entry, got dsse 0.0.1. Export a Sigstore "
        "bundle: a proof file exists for Rekor v2 alone",
        lambda _: _proof_of(RekorOne()),
    ),
)


def _evidence_of(one, other):
    return verify_evidence(
        format_canonical_json(
            {"checkpoints": [one.checkpoint().decode(), other.checkpoint().decode()], "kind": KIND}
        ),
        trust=trust_of(one, other),
    )


EVIDENCE = (
    refused(
        ProofError,
        "checkpoints of the evidence: expected two of one shard, got one.example and other.example. It convicts nobody; ask "
        "whoever sent it for the checkpoints that they saw",
        lambda _: _evidence_of(RekorTwo("one.example"), RekorTwo("other.example")),
    ),
)

TRUST = (
    refused(
        ConfigError,
        f"setting log.kind of the trust file: expected one of tiles, rekor, got ct. {CORRECT}",
        lambda _: _edit('kind = "rekor"', 'kind = "ct"'),
    ),
    refused(
        ConfigError,
        f"settings of a log of kind rekor in the trust file: expected shard, got origin, shard. {CORRECT}",
        lambda _: _edit('kind = "rekor"', 'kind = "rekor"\norigin = "log.example"'),
    ),
    refused(
        ConfigError,
        f"settings of a log of kind tiles in the trust file: expected origin, policy, got shard. {CORRECT}",
        lambda _: _edit('kind = "rekor"', 'kind = "tiles"'),
    ),
    refused(
        ConfigError,
        f"shards of the trust file: expected at least one, each origin once, got 2. {CORRECT}",
        lambda _: _with_shards(2),
    ),
    refused(
        ConfigError,
        f"setting log.shard of the trust file: expected tables, got 7. {CORRECT}",
        lambda _: _with_shards(0),
    ),
    refused(
        ConfigError,
        f"key of a shard: expected vkey or spki, got both. {CORRECT}",
        lambda _: _edit("vkey", 'spki = "AAAA"\nvkey'),
    ),
    refused(
        ConfigError,
        f"key of a shard: expected an Ed25519 or ECDSA key, got COSIGNATURE_V1. {CORRECT}",
        lambda _: _edit(
            RekorTwo().shard_of_trust.keys[0].format(), World().cosigner("w.example").verifier.format()
        ),
    ),
)


def _with_shards(count):
    text = format_trust(trust_of(RekorTwo())).decode()
    shard = text.partition("[[log.shard]]")[2].partition("[hub]")[0]
    tables = f"[[log.shard]]{shard}" * count
    old = f"[[log.shard]]{shard}"
    return parse_trust(text.replace(old, tables or "shard = [7]\n").encode())


# The command


def _run(scene, *words, root=True):
    log = RekorTwo()
    scene.write("bundle.json", json.dumps(sign_file(log)).encode())
    scene.write("root.json", trusted_root(log))
    scene.write("alice.pem", pem("alice"))
    known = ("--bundle", str(scene.folder / "bundle.json"), "--trusted-root", str(scene.folder / "root.json"))
    return verify.main([*(known if root else ()), *words], standalone_mode=False)


COMMAND = (
    refused(
        UsageError,
        f"hubledger verify: expected --trust, got none. {OPTIONS}",
        lambda scene: _run(scene, "--proof", "x", root=False),
    ),
    refused(
        UsageError,
        f"--log-only: expected no --artifact, no key and nobody expected beside it, got both. {OPTIONS}",
        lambda scene: _run(scene, "--log-only", "--public-key", str(scene.folder / "alice.pem")),
    ),
    refused(
        UsageError,
        f"--expect-all: expected at least one expectation, got none. {OPTIONS}",
        lambda scene: _run(scene, "--expect-all"),
    ),
    refused(
        NotFoundError,
        "file <folder>/missing: expected a readable file, got No such file or directory. Check the path",
        lambda scene: _run(scene, "--artifact", str(scene.folder / "missing")),
    ),
    refused(
        UsageError,
        "--bundle without --trust: expected no --proof, --evidence, --model, --partial, --manifest, --opening, --pin, "
        f"--expect-anchor beside it, got --pin. {OPTIONS}",
        lambda scene: _run(scene, "--pin", "x"),
    ),
)

CASES = (*FORM, *ENTRIES, *CHECKS, *CERTIFICATES, *ROOTS, *REKOR, *EVIDENCE, *TRUST, *COMMAND)
