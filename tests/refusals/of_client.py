"""Refusals of ledger.client: trust files, proofs, evidence, and what a check turns into a result."""

import json
from dataclasses import replace

from cryptography.hazmat.primitives import serialization

from ledger.client.evidence import prefix_by_consistency, verify_evidence
from ledger.client.opening import parse_identity, parse_opening
from ledger.client.proof_bundle import FORMAT, MAX_STATEMENTS, parse_bundle
from ledger.client.proof_extra import Consistency, ProofExtra, format_extra, parse_extra
from ledger.client.steps import CannotCheckError
from ledger.client.trust import MAX_TRUST_BYTES, parse_trust
from ledger.client.trust_writing import format_trust
from ledger.client.trusted_keys import HubKey, load_hub_key
from ledger.client.trusted_monitor import TrustedMonitor
from ledger.client.verify import check_proof, verify_remembered
from ledger.encoding import format_base64, format_canonical_json
from ledger.errors import (
    ConfigError,
    LimitError,
    MalformedError,
    MisbehaviourError,
    ProofError,
    SignatureError,
)
from ledger.event import RecordedBy, format_statement
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.proof import format_proof
from ledger.tlog.trust_policy import TrustPolicy
from tests import world
from tests.refusals.table import refused, turned

SPKI = world.spki_of(world.p256_key("hub"))
TRUST = world.World().trust()

# Trust files


def _trust(**changes):
    return replace(TRUST, **changes)


def _edit(old, new, *, trust=TRUST):
    text = format_trust(trust).decode()
    assert old in text
    return parse_trust(text.replace(old, new, 1).encode())


def _ed25519_spki():
    return (
        world.ed25519_key("hub")
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def _no_point():
    """The form of a P-256 key around what is no point of the curve."""
    return SPKI[:-64] + bytes(64)


AGAIN = "Get it again from where it came; if it stays the same, tell whoever wrote it"


def _bundle_with(statements):
    value = {
        "claims": [],
        "fetchedAt": 0,
        "format": FORMAT,
        "name": "acme/tiny",
        "proof": "",
        "statements": statements,
    }
    return parse_bundle(format_canonical_json(value))


TRUST_FILES = (
    refused(
        ConfigError,
        "hub key: expected a point on P-256, got <any>. Correct what is named, and try again",
        lambda _: load_hub_key(_no_point()),
    ),
    refused(
        ConfigError,
        "leaf indices of a hub key: expected 0 <= first < end, got 7 to 7. Correct what is named, and try again",
        lambda _: HubKey(spki=SPKI, first=7, end=7),
    ),
    refused(
        ConfigError,
        "hub key: expected a DER SubjectPublicKeyInfo, got <any>. Correct what is named, and try again",
        lambda _: load_hub_key(b"key"),
    ),
    refused(
        ConfigError,
        "hub key: expected an ECDSA P-256 key, got Ed25519PublicKey. Correct what is named, and try again",
        lambda _: load_hub_key(_ed25519_spki()),
    ),
    refused(
        ConfigError,
        "version of the trust file: expected a number from 1 on, got 0. Correct what is named, and try again",
        lambda _: _trust(version=0),
    ),
    refused(
        ConfigError,
        "max_age: expected seconds, at least 1, got 0. Correct what is named, and try again",
        lambda _: _trust(max_age=0),
    ),
    refused(
        ConfigError,
        "log policy of the trust file: expected a log key named log.example/models, got none. Correct what is named, and try again",
        lambda _: _trust(policy=TrustPolicy(logs=())),
    ),
    refused(
        ConfigError,
        "hub keys of the trust file: expected at least one, got none. Correct what is named, and try again",
        lambda _: _trust(hub_keys=()),
    ),
    refused(
        ConfigError,
        "setting hub.id of the trust file: expected the id of a hub, got nothing. Correct what is named, and try again",
        lambda _: parse_trust(format_trust(TRUST).replace(b'id = "hub.example"', b'id = ""')),
    ),
    refused(
        ConfigError,
        "require: expected one of included, complete, audited, got perfect. Correct what is named, and try again",
        lambda _: _trust(require="perfect"),
    ),
    refused(
        SignatureError,
        "key of the entry: expected a hub key of the trust file, got <hex>. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda _: TRUST.check_key("0" * 64, 0),
    ),
    refused(
        SignatureError,
        "leaf index of an entry by key <hex>…: expected 2 to 4, 9 to …, got 7. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda _: _trust(hub_keys=(HubKey(spki=SPKI, first=2, end=5), HubKey(spki=SPKI, first=9))).check_key(
            HubKey(spki=SPKI).keyid, 7
        ),
    ),
    refused(
        LimitError,
        "trust file: expected at most 1048576 bytes, got 1048577 bytes. Check that it is what you meant: the limit cannot be changed",
        lambda _: parse_trust(bytes(MAX_TRUST_BYTES + 1)),
    ),
    refused(
        ConfigError,
        "trust file: expected TOML, got <any>. Correct what is named, and try again",
        lambda _: parse_trust(b"format ="),
    ),
    refused(
        ConfigError,
        "format of the trust file: expected 1, got 2. Use a version of hubledger that knows this format",
        lambda _: _edit("format = 1", "format = 2"),
    ),
    refused(
        ConfigError,
        "trust file: quorum: expected a defined name, or none, got w. Correct what is named, and try again",
        lambda _: _edit("quorum none", "quorum w"),
    ),
    refused(
        ConfigError,
        "setting monitor of the trust file: expected tables, got 7. Correct what is named, and try again",
        lambda _: _edit("[log]", "monitor = [7]\n[log]"),
    ),
    refused(
        ConfigError,
        "trust file: spki of a hub key: expected padded standard base64, got AA. Correct what is named, and try again",
        lambda _: _edit(f'spki = "{format_base64(SPKI)}"', 'spki = "AA"'),
    ),
    refused(
        ConfigError,
        "setting hub.key of the trust file: expected tables, got 'AA'. Correct what is named, and try again",
        lambda _: parse_trust(
            format_trust(TRUST).decode().split("[[hub.key]]")[0].encode() + b'key = ["AA"]\n'
        ),
    ),
    refused(
        ConfigError,
        "setting requires of the trust file: expected one of format, version, ledger, require, max_age, monitor, monitors_needed, update_key, log, hub, got unknown. Correct what is named, and try again",
        lambda _: _edit("require =", "requires ="),
    ),
    refused(
        ConfigError,
        "setting version of the trust file: expected a value of type int, got '1'. Correct what is named, and try again",
        lambda _: _edit("version = 1", 'version = "1"'),
    ),
    refused(
        ConfigError,
        "setting ledger of the trust file: expected a value, got nothing. Correct what is named, and try again",
        lambda _: _edit('ledger = "log.example/models"', ""),
    ),
)

MONITOR = world.World().monitor().verifier


def _monitored(*monitors, **changes):
    return lambda _: _trust(monitors=monitors, **changes)


MONITORS = (
    refused(
        ConfigError,
        "key of the monitor witness.example: expected an Ed25519 key (0x01), got COSIGNATURE_V1. Correct what is named, and try again",
        lambda _: TrustedMonitor(key=world.World().cosigner().verifier, max_age=1),
    ),
    refused(
        ConfigError,
        "max_age of the monitor monitor.example: expected seconds, at least 1, got 0. Correct what is named, and try again",
        lambda _: TrustedMonitor(key=MONITOR, max_age=0),
    ),
    refused(
        ConfigError,
        "monitors of the trust file: expected each once, got monitor.example, monitor.example. Correct what is named, and try again",
        _monitored(TrustedMonitor(key=MONITOR, max_age=1), TrustedMonitor(key=MONITOR, max_age=2)),
    ),
    refused(
        ConfigError,
        "monitors_needed: expected 1 to 1, the number of monitors, got 2. Correct what is named, and try again",
        _monitored(TrustedMonitor(key=MONITOR, max_age=1), monitors_needed=2),
    ),
    refused(
        MalformedError,
        f"statements of a proof bundle: expected a list of at most {MAX_STATEMENTS}, got {{}}. {AGAIN}",
        lambda _: _bundle_with({}),
    ),
    refused(
        MalformedError,
        f"statement of a proof bundle: expected note, consistency and parts, got {{'note': 1}}. {AGAIN}",
        lambda _: _bundle_with([{"note": 1}]),
    ),
)

# The extra of a proof, and evidence


def _two_trees(*, old_root=None, prefix=True):
    """Evidence from a log that first signed one tree of two and later one of five."""
    log = world.World().grow(5)
    proof = log.unformatted_proof(0, since=2)
    hashes = [format_base64(each) for each in parse_extra(proof.extra).consistency.hashes]
    tree = log.tree(2)
    older = log.sign_tree(replace(tree, root_hash=old_root or tree.root_hash))
    value = {
        "checkpoints": [older.decode(), log.checkpoint().decode()],
        "kind": "https://hubledger/misbehaviour/v1",
    }
    if prefix:
        value["prefix"] = {"hashes": hashes, "root": tree.root_hash.hex()}
    return value


def _evidence(value, trust=TRUST):
    return verify_evidence(format_canonical_json(value), trust=trust)


def _by_another_log(which):
    """Evidence of which one note is signed by another log of the same name."""
    value = _two_trees()
    value["checkpoints"][which] = world.World(log_key="another").grow(5).checkpoint().decode()
    return _evidence(value)


def _another_prefix():
    value = _two_trees()
    return _evidence(value | {"prefix": value["prefix"] | {"root": "0" * 64}})


EVIDENCE = (
    refused(
        LimitError,
        "extra of the proof: expected at most 49146 bytes, got 49479. Check that it is what you meant: the limit cannot be changed",
        lambda _: format_extra(
            ProofExtra(
                entry=format_canonical_json({"a": "b" * 49_000}),
                consistency=Consistency(size=7, hashes=(bytes(32),) * 9),
            )
        ),
    ),
    refused(
        MalformedError,
        "hash of the consistency proof: expected 32 bytes, got 33 bytes. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: Consistency(size=7, hashes=(bytes(33),)),
    ),
    refused(
        MalformedError,
        "extra of the proof: expected an entry, or consistency and entry, got another form. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_extra(b'{"consistency":7,"entry":{}}'),
    ),
    refused(
        ProofError,
        "consistency of size 1 with size 2: expected root <hex>, got <hex>. Fetch it again, from another mirror if there is one; do not use it as it is",
        lambda _: prefix_by_consistency(
            Checkpoint(origin="a", size=1, root_hash=bytes(32)),
            Checkpoint(origin="a", size=2, root_hash=bytes(32)),
            [bytes(32)],
        ),
    ),
    refused(
        MalformedError,
        "evidence of misbehaviour: expected two checkpoints of kind https://hubledger/misbehaviour/v1, got another form. Ask for the file that `hubledger verify --evidence-out` wrote",
        lambda _: _evidence({"kind": "https://hubledger/misbehaviour/v2"}),
    ),
    refused(
        MalformedError,
        "prefix of the evidence: expected hashes and root, got another form. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _evidence(_two_trees() | {"prefix": {"hashes": []}}),
    ),
    *(
        refused(
            SignatureError,
            f"{word} checkpoint of the evidence: signatures of the note: expected one by <vkey>, got <vkey>. It accuses another log, or nobody: compare the trust file with the log's publisher",
            lambda _, which=which: _by_another_log(which),
        )
        for which, word in enumerate(("first", "second"))
    ),
    refused(
        ProofError,
        "proof of the evidence: consistency of size 2 with size 5: expected new root <hex>, got <hex>. It convicts nobody; ask whoever sent it for the checkpoints that they saw",
        lambda _: _another_prefix(),
    ),
    refused(
        ProofError,
        "evidence of misbehaviour: expected two roots for one size, got checkpoints of sizes 2 and 5 that do not contradict each other. It convicts nobody; ask whoever sent it for the checkpoints that they saw",
        lambda _: _evidence(_two_trees()),
    ),
)

# A check: what is wrong with a proof is in the result, with the words of the error

LOG = world.World().grow(3)


def _check(log, index, *, pin=None, trust=None, result="INVALID", **changes):
    """Check a proof of a log, and hold the failure against the error's own words."""
    proof = replace(log.unformatted_proof(index), **changes)
    found = check_proof(
        format_proof(proof), trust=trust or log.trust(), now=world.NOW, log_only=True, pin=pin
    )
    assert (found.log.value, found.satisfied) == (result, False)
    assert found.failure is not None
    assert found.failure.next_step
    assert found.event is None
    return found


def _recorded(key="hub", **changes):
    """A log whose only event is changed in one way."""
    log = world.World()
    log.record(world.make_event(**changes), key=key)
    return log


def _unreadable():
    log = world.World()
    statement = json.loads(format_statement(world.make_event()))
    statement["predicateType"] = "https://hubledger/verification-event/v9"
    del statement["predicate"]["ledger"]
    log.append(world.sign_statement(format_canonical_json(statement)))
    return log


def _forked(size, index):
    """The log has grown to five after it signed another tree of ``size``."""
    log = world.World().grow(5)
    false = replace(log.tree(size), root_hash=world.digest("another tree"))
    return lambda _: _check(log, index, pin=log.sign_tree(false), result="MISBEHAVIOUR")


CHECKS = (
    turned(
        CannotCheckError,
        "proof file: expected the entry in extra, got a proof without extra. Ask for a proof that carries its entry: hubledger proof writes one",
        lambda _: _check(LOG, 0, extra=None, result="CANNOT_CHECK"),
    ),
    turned(
        MisbehaviourError,
        "two signed checkpoints of size 5: expected root <hex>, signed before, got <hex>. Keep both as evidence, and send them to the monitors of this log",
        _forked(5, 0),
    ),
    turned(
        MisbehaviourError,
        "the first 2 leaves of the signed tree of 5: expected root <hex>, signed before, got <hex>. Keep both as evidence, and send them to the monitors of this log",
        _forked(2, 0),
    ),
    turned(
        SignatureError,
        "key of the entry: expected a hub key of the trust file, got <hex>. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda _: _check(_recorded(key="stranger"), 0),
    ),
    turned(
        CannotCheckError,
        "ledger of the event: expected log.example/models, got a statement that this version cannot read (https://hubledger/verification-event/v9). Check it with a newer version of hubledger",
        lambda _: _check(_unreadable(), 0, result="CANNOT_CHECK"),
    ),
    turned(
        SignatureError,
        "ledger of the event: expected log.example/models, got log.example/other. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda _: _check(_recorded(ledger="log.example/other"), 0),
    ),
    turned(
        SignatureError,
        "hub of the event: expected hub.example, got hub.other. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda _: _check(_recorded(hub="hub.other"), 0),
    ),
    turned(
        SignatureError,
        "recorder of the event: expected the hub hub.example, got the observer mirror.example. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda _: _check(_recorded(recorded_by=RecordedBy(id="mirror.example", role="observer")), 0),
    ),
)

# What a caller keeps or is handed

GIVEN = (
    refused(
        MalformedError,
        "remembered checkpoint: signed note: expected text, a blank line and signature lines, got another layout. Name a copy of this log's `checkpoint` file",
        lambda _: verify_remembered(b"checkpoint", origin=TRUST.origin, keys=TRUST.log_keys),
    ),
    refused(
        MalformedError,
        "openings: expected a list of at most <number>, got another form. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_opening(b"{}"),
    ),
    refused(
        MalformedError,
        "opening: expected history, identity and key, got another form. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_opening(b"[{}]"),
    ),
    refused(
        MalformedError,
        "identity of an opening: expected a canonical identity, got another form. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_identity({"type": "key", "spkiSha256": "0" * 64, "name": "a"}),
    ),
)

CASES = (*TRUST_FILES, *MONITORS, *EVIDENCE, *CHECKS, *GIVEN)
