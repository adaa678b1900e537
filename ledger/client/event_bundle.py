"""Checks one event of a ledger in Rekor from a Sigstore bundle: the same as ``verify`` does with a ``.tlog-proof``.

The bundle holds the event's envelope and the log entry; keys of hub and shards come from the trust file, never from a
trusted root of Sigstore: who runs a log may say which logs there are, but not which of them this ledger is in.
"""

from collections.abc import Sequence

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from ledger.bundle.any_bundle import AnyBundle, SignedEnvelope
from ledger.bundle.bodies import Verifier
from ledger.bundle.log_entry import LogKeys, ProvenEntry
from ledger.bundle.logged import RootLogs, Span, UnknownKindError, key_in_entry, prove_entries
from ledger.client.expect import Expectation
from ledger.client.opening import Opening
from ledger.client.partial import PartialFiles
from ledger.client.result import CheckResult, LocalFiles, LogResult, explain_cannot_check, explain_invalid
from ledger.client.steps import (
    CannotCheckError,
    State,
    check_entry,
    finish,
)
from ledger.client.trust import TrustFile
from ledger.client.trusted_keys import TREE_ID, TrustedLog
from ledger.entry import PAYLOAD_TYPE, format_entry, keyid_of
from ledger.errors import ConfigError, LedgerError, SignatureError
from ledger.tlog.checkpoint import VerifiedCheckpoint, verify_checkpoint
from ledger.tlog.signed_note import KeyType


def check_event_bundle(
    bundle: AnyBundle,
    *,
    trust: TrustFile,
    now: int,
    files: LocalFiles | PartialFiles | None = None,
    expected: Sequence[Expectation] = (),
    expect_all: bool = False,
    log_only: bool = False,
    openings: Sequence[Opening] = (),
) -> CheckResult:
    """Check a bundle of one of our events against a trust file. See ``check_proof``.

    Raises:
        ConfigError: the trust file is of a tile log.
    """
    if not trust.is_rekor:
        raise ConfigError(
            "trust file",
            expected="one of a ledger in Rekor, for a bundle",
            actual=f"the tile log {trust.origin}",
            next_step="Name the trust file of the ledger that the bundle is of; a .tlog-proof is checked with --proof",
        )
    state = State(openings=openings)
    try:
        entry = _check_log(bundle, trust, state)
        check_entry(entry, trust, state)
        state.log = LogResult.INCLUDED_ONLY
    except (CannotCheckError, UnknownKindError) as error:
        state.log = LogResult.CANNOT_CHECK
        state.failed(explain_cannot_check(error))
    except LedgerError as error:
        state.failed(explain_invalid(error))
    return finish(
        state, trust, now=now, files=files, expected=expected, expect_all=expect_all, log_only=log_only
    )


def _check_log(bundle: AnyBundle, trust: TrustFile, state: State) -> bytes:
    """Return the entry that the bundle's envelope is, proven at its lowest position that counts."""
    content = bundle.content
    if (
        not isinstance(content, SignedEnvelope)
        or content.payload_type != PAYLOAD_TYPE
        or not bundle.log_entries
    ):
        raise CannotCheckError(
            "event of the bundle",
            expected="an envelope with a statement, and a log entry",
            actual="another bundle",
            next_step="Ask for the bundle of the event: hubledger proof writes one",
        )
    # Which of the hub's keys signed is the log entry's word; the key itself is the trust file's.
    keyid = keyid_of(key_in_entry(bundle.log_entries[0]))
    spki = next((key.spki for key in trust.hub_keys if key.keyid == keyid), None)
    if spki is None:
        raise SignatureError("key of the entry", expected="a hub key of the trust file", actual=keyid)
    state.passed("bundle", bundle.media_type)
    verifier = Verifier(spki)
    digest = verifier.digest(content.message)
    root = RootLogs(keys=_keys(trust.shards), spans=_always(trust.shards))
    proven = prove_entries(bundle.log_entries, bundle, verifier, digest=digest, root=root)
    # One statement at several positions is one event, at the lowest (architecture section 4) at which its key counts:
    # anybody can copy it into an older shard.
    placed = sorted((_Placed(each, trust) for each in proven), key=lambda each: each.position)
    _report(min(placed, key=lambda each: not trust.key_counts(keyid, each.position)), state)
    if bundle.timestamps:
        state.skipped("timestamps", "the trust file names no authority")
    return format_entry(content.payload, keyid=keyid, signature=content.signature)


class _Placed:
    """A proven entry, and the checkpoint of the shard that it is in."""

    def __init__(self, proven: ProvenEntry, trust: TrustFile) -> None:
        order, log = trust.log_of(proven.note)
        self.proven = proven
        self.checkpoint: VerifiedCheckpoint = verify_checkpoint(proven.note, origin=log.origin, keys=log.keys)
        self.position = order, _index(proven)


def _index(proven: ProvenEntry) -> int:
    """Return the index of a position: in Rekor v1 the global one, since its trees follow each other under one key.

    Raises:
        SignatureError: nothing but a promise says which that is, and there is none.
    """
    if TREE_ID in proven.tree.origin and proven.integrated_time is None:
        raise SignatureError(
            "inclusion promise", expected="the log's, which alone covers the index", actual="none"
        )
    return proven.index


def _report(placed: _Placed, state: State) -> None:
    proven, state.checkpoint = placed.proven, placed.checkpoint
    state.shard, state.log_index = placed.position
    state.leaf_index = proven.leaf_index
    state.passed("checkpoint signature", f"log key of {proven.tree.origin} in the trust file")
    state.passed("inclusion", f"leaf {proven.leaf_index} in the signed tree of {proven.tree.size}")
    state.passed("log entry", f"{' '.join(proven.kind)} about this envelope and the hub's key, byte for byte")


def _keys(shards: Sequence[TrustedLog]) -> LogKeys:
    return LogKeys({each.log_id: _load(each) for each in shards if each.keys})


def _load(shard: TrustedLog) -> object:
    key = shard.keys[0]
    if key.kind is KeyType.ED25519:
        return ed25519.Ed25519PublicKey.from_public_bytes(key.public_key)
    return serialization.load_der_public_key(key.public_key)


def _always(shards: Sequence[TrustedLog]) -> dict[bytes, Span]:
    return {each.log_id: Span() for each in shards if each.keys}
