"""Checks one event of one model, offline: a proof, a trust file, and what the caller knows (architecture section 8).

Pure: files are hashed elsewhere and come in as digests. Two results, never a boolean: what the log proves, and what
the model is. Sizes, roots and keys come from the signed checkpoint and the trust file, never from the proof.
Misbehaviour is looked for as soon as the log's signature is checked, so that nothing else that is wrong with a proof
can hide it; freshness matters to claims about "latest" and "complete" only, because inclusion does not expire.
"""

from collections.abc import Sequence

from ledger.client import cautions
from ledger.client.evidence import (
    Misbehaviour,
    format_evidence,
    prefix_by_consistency,
    prefix_by_inclusion,
)
from ledger.client.expect import Expectation
from ledger.client.opening import Opening
from ledger.client.partial import PartialFiles
from ledger.client.proof_extra import ProofExtra, parse_extra
from ledger.client.proof_leaf import leaf_of
from ledger.client.reporting import explain_misbehaviour, recipients_of
from ledger.client.result import (
    PIN_STEP,
    Check,
    CheckResult,
    Failure,
    LocalFiles,
    LogResult,
    ModelResult,
    explain_cannot_check,
    explain_invalid,
)
from ledger.client.signers import Signer
from ledger.client.steps import (
    CannotCheckError,
    State,
    check_entry,
    finish,
)
from ledger.client.trust import TrustFile
from ledger.client.vouching import Stated
from ledger.errors import LedgerError, MisbehaviourError
from ledger.tlog.checkpoint import VerifiedCheckpoint, verify_checkpoint
from ledger.tlog.merkle import leaf_hash, verify_inclusion
from ledger.tlog.proof import TlogProof, parse_proof
from ledger.tlog.signed_note import VerifierKey

__all__ = [
    "Check",
    "CheckResult",
    "Expectation",
    "Failure",
    "LocalFiles",
    "LogResult",
    "ModelResult",
    "PartialFiles",
    "Signer",
    "check_proof",
    "verify_remembered",
]


def check_proof(
    data: bytes,
    *,
    trust: TrustFile,
    now: int,
    files: LocalFiles | PartialFiles | None = None,
    expected: Sequence[Expectation] = (),
    expect_all: bool = False,
    log_only: bool = False,
    pin: bytes | None = None,
    openings: Sequence[Opening] = (),
    stated: Sequence[Stated] = (),
) -> CheckResult:
    """Check a ``.tlog-proof`` against a trust file.

    ``now`` is in POSIX seconds, for the age of the checkpoint. ``pin`` is a checkpoint that the caller remembers.
    ``openings`` say who stands behind commitments, ``stated`` what monitors say.

    Raises:
        SignatureError, MalformedError: the *pin* is not a checkpoint of this log; everything about the proof itself
            is in the result.
    """
    state = State(openings=openings)
    pinned = None if pin is None else _verify_pin(pin, trust)
    try:
        entry = _check_log(data, trust, pinned, state)
        check_entry(entry, trust, state)
        state.log = LogResult.INCLUDED_ONLY
    except MisbehaviourError as error:
        state.log = LogResult.MISBEHAVIOUR
        state.send_to = recipients_of(trust)
        state.failed(explain_misbehaviour(error, state.send_to))
    except CannotCheckError as error:
        state.log = LogResult.CANNOT_CHECK
        state.failed(explain_cannot_check(error))
    except LedgerError as error:
        state.failed(explain_invalid(error))
    return finish(
        state,
        trust,
        now=now,
        files=files,
        expected=expected,
        expect_all=expect_all,
        log_only=log_only,
        stated=stated,
    )


def _verify_pin(pin: bytes, trust: TrustFile) -> VerifiedCheckpoint:
    try:
        _, log = trust.log_of(pin)
    except LedgerError:
        log = trust.logs[0]  # any stands for a pin that is of none
    return verify_remembered(pin, origin=log.origin, keys=log.keys)


def verify_remembered(data: bytes, *, origin: str, keys: Sequence[VerifierKey]) -> VerifiedCheckpoint:
    """Return a checkpoint that the caller kept.

    Raises:
        MalformedError, LimitError, SignatureError: it is not one of this log, and the message says that it is this one.
    """
    try:
        return verify_checkpoint(data, origin=origin, keys=keys)
    except LedgerError as error:
        raise type(error)(
            f"remembered checkpoint: {error.what}",
            expected=error.expected,
            actual=error.actual,
            next_step="Name a copy of this log's `checkpoint` file",
        ) from error


def _check_log(data: bytes, trust: TrustFile, pinned: VerifiedCheckpoint | None, state: State) -> bytes:
    """Return the proven entry. The tree's size and root come from the signed checkpoint.

    1. structure; 2. origin and the log's signature; 3. the pin; 4. the quorum; 5. inclusion.
    """
    proof = parse_proof(data)
    if proof.extra is None:
        raise CannotCheckError(
            "proof file",
            expected="the entry in extra",
            actual="a proof without extra",
            next_step="Ask for a proof that carries its entry: hubledger proof writes one",
        )
    extra = parse_extra(proof.extra)
    state.passed("proof file", "c2sp.org/tlog-proof")
    state.shard, log = trust.log_of(proof.checkpoint_note)
    state.checkpoint = verify_checkpoint(proof.checkpoint_note, origin=log.origin, keys=log.keys)
    tree = state.checkpoint.checkpoint
    state.passed("checkpoint signature", f"log key of {log.origin} in the trust file")
    leaf = leaf_hash(leaf_of(extra, trust))
    _check_pin(pinned, proof=proof, extra=extra, leaf=leaf, state=state)
    counted = trust.policy.verify(proof.checkpoint_note, origin=log.origin)
    state.cosignatures = counted.cosignatures
    if counted.quorum is not None:
        state.passed("witness cosignatures", f"quorum {counted.quorum}")
    else:
        state.skipped("witness cosignatures", "the trust file asks for none")
    verify_inclusion(leaf, index=proof.index, size=tree.size, proof=proof.hashes, root=tree.root_hash)
    state.leaf_index = proof.index
    state.passed("inclusion", f"leaf {proof.index} in the signed tree of {tree.size}")
    return extra.entry


def _check_pin(
    pinned: VerifiedCheckpoint | None, *, proof: TlogProof, extra: ProofExtra, leaf: bytes, state: State
) -> None:
    """Hold the checkpoint against the one that the caller remembers: the log may only have grown."""
    if pinned is None or state.checkpoint is None:
        state.skipped(PIN_STEP, "no remembered checkpoint given")
        return
    old, new = pinned.checkpoint, state.checkpoint.checkpoint
    if old.origin != new.origin:
        state.skipped(PIN_STEP, f"not linked to your pin, which is of another shard, {old.origin}")
        state.cautions.append(cautions.other_shard(old, new))
        return
    if old.size == new.size and old.root_hash != new.root_hash:
        raise _contradiction(Misbehaviour(older=pinned, newer=state.checkpoint), state)
    if old.size in (0, new.size):
        state.passed(PIN_STEP, f"remembered checkpoint of size {old.size}")
        return
    if old.size > new.size:
        state.older_than_pin = True
        state.cautions.append(cautions.older_than_pin(old, new))
        state.skipped(
            PIN_STEP,
            f"not linked to your pin of size {old.size}: the proof's checkpoint is older, size {new.size}",
        )
        return
    prefix = prefix_by_inclusion(old.size, new, leaf=leaf, index=proof.index, hashes=proof.hashes)
    if prefix is None and extra.consistency is not None and extra.consistency.size == old.size:
        prefix = prefix_by_consistency(old, new, extra.consistency.hashes)
    if prefix is None:
        state.skipped(PIN_STEP, f"not linked to your pin of size {old.size}: no consistency proof from it")
        state.cautions.append(cautions.not_linked(old, new))
    elif prefix.root != old.root_hash:
        raise _contradiction(Misbehaviour(older=pinned, newer=state.checkpoint, prefix=prefix), state)
    else:
        state.passed(PIN_STEP, f"the signed tree of {new.size} extends your pin of size {old.size}")


def _contradiction(found: Misbehaviour, state: State) -> MisbehaviourError:
    state.evidence = format_evidence(found)
    old, new = found.older.checkpoint, found.newer.checkpoint
    root = new.root_hash if found.prefix is None else found.prefix.root
    what = (
        f"two signed checkpoints of size {old.size}"
        if found.prefix is None
        else f"the first {old.size} leaves of the signed tree of {new.size}"
    )
    return MisbehaviourError(what, expected=f"root {old.root_hash.hex()}, signed before", actual=root.hex())
