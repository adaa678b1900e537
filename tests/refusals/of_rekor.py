"""Refusals of Rekor as the log: its entries, the bodies that they must have, its shards, and the settings of it."""

from dataclasses import replace

from cryptography.hazmat.primitives import serialization

from ledger.bundle.bodies import Verifier
from ledger.bundle.log_entry import (
    LogKeys,
    parse_log_entry,
    prove_log_entry,
    verify_promise,
)
from ledger.config import AnchorConfig, RekorConfig, parse_config
from ledger.errors import ConfigError, MalformedError, ProofError, SignatureError
from tests.fakes.rekor import FakeTree
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

CASES = (*ENTRIES, *SETTINGS)
