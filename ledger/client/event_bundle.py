"""Checks one event of a ledger in Rekor from a Sigstore bundle: the same as ``verify`` does with a ``.tlog-proof``.

The bundle holds the event's envelope and the log entry; keys of hub and shards come from the trust file, never from a
trusted root of Sigstore: who runs a log may say which logs there are, but not which of them this ledger is in.
"""

from collections.abc import Sequence

from ledger.bundle.any_bundle import AnyBundle
from ledger.bundle.logged import UnknownKindError
from ledger.client.event_receipt import Placed, prove_places, read_event
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
from ledger.entry import format_entry
from ledger.errors import ConfigError, LedgerError


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
    event = read_event(bundle, trust)
    state.passed("bundle", bundle.media_type)
    _report(prove_places(event, trust)[0], state)
    if bundle.timestamps:
        state.skipped("timestamps", "the trust file names no authority")
    return format_entry(event.content.payload, keyid=event.keyid, signature=event.content.signature)


def _report(placed: Placed, state: State) -> None:
    proven, state.checkpoint = placed.proven, placed.checkpoint
    state.shard, state.log_index = placed.position
    state.leaf_index = proven.leaf_index
    state.passed("checkpoint signature", f"log key of {proven.tree.origin} in the trust file")
    state.passed("inclusion", f"leaf {proven.leaf_index} in the signed tree of {proven.tree.size}")
    state.passed("log entry", f"{' '.join(proven.kind)} about this envelope and the hub's key, byte for byte")
