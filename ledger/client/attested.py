"""Holds an attestation against the event that it points at. Pure.

An attestation is the hub's word, outside of the log: it says where to look and never suffices (architecture section 8). The event
is proven as always; then the attestation must be by a key of the hub that counts there, and agree with it.
"""

from dataclasses import replace

from ledger.attestation import Pointer
from ledger.attestation.comparing import MAX_SKEW, Difference, first_difference
from ledger.attestation.envelope import Attestation
from ledger.client.named import NamedResult
from ledger.client.proof_extra import parse_extra
from ledger.client.result import Check, Failure, LogResult, ModelResult, with_failure
from ledger.client.trust import TrustFile
from ledger.client.trusted_keys import load_hub_key
from ledger.entry import verify_entry
from ledger.errors import LedgerError
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.proof import parse_proof

STEP = "attestation"
_ANOTHER = "Ask the hub for a new attestation of the revision that you have"
_NEWER = "Fetch the newer proof, with `hubledger fetch-proof` or from the service, and check again"


def check_attested(
    found: NamedResult, attestation: Attestation, *, trust: TrustFile, now: int
) -> NamedResult:
    """Return the result of a check by name, with what the attestation is worth beside it."""
    found = replace(found, attestation=attestation)
    event, index = found.result.event, found.result.leaf_index
    if event is None or index is None or found.result.log not in (LogResult.INCLUDED_ONLY, LogResult.STALE):
        return _add(
            found, Check(step=STEP, passed=None, against="a pointer: the event that it names is not proven")
        )
    pointer = attestation.pointer
    if pointer.leaf_index < index and _not_signed(attestation, trust, at=pointer.leaf_index) is None:
        return _fail(
            found,
            expected=f"the latest event of the revision, which is at leaf {index}",
            actual=f"an attestation about leaf {pointer.leaf_index}",
            causes=("the hub looked at the revision again since",),
            model=ModelResult.SUPERSEDED,
        )
    if pointer.leaf_index > index and _not_signed(attestation, trust, at=pointer.leaf_index) is None:
        # Nobody lied: the proof, a file or a kept one, was fetched before the hub looked at the revision again.
        return _fail(
            found,
            expected=f"the proof of leaf {pointer.leaf_index}, which the attestation is about",
            actual=f"that of leaf {index}, which came before",
            causes=("the proof is older than the attestation",),
            log=LogResult.CANNOT_CHECK,
            next_step=_NEWER,
        )
    if (wrong := _disagrees(found, attestation, trust)) is not None:
        return _fail(
            found,
            expected=wrong.expected,
            actual=wrong.actual,
            causes=_MORE if wrong.more else _LIES,
            log=LogResult.CANNOT_CHECK if wrong.more else LogResult.INVALID,
        )
    if attestation.made > now + MAX_SKEW:
        return _fail(
            found,
            expected="an attestation that was made by now",
            actual=f"one that is made in {attestation.made - now} s",
            causes=_CLOCKS,
            log=LogResult.CANNOT_CHECK,
        )
    if now >= attestation.expires:
        return _fail(
            found,
            expected="an attestation that has not expired",
            actual=f"one that expired {now - attestation.expires} s ago",
            causes=("it was made a while ago",),
            log=LogResult.STALE,
        )
    levels = ", ".join(attestation.levels) or "nothing"
    said = f"a pointer to leaf {index}, which was checked itself; it says {levels}, by key {attestation.entry.keyid[:16]}…"
    return _add(found, Check(step=STEP, passed=True, against=said))


_LIES = (
    "the attestation was changed, or is of another hub",
    "the hub says one thing in the log and another here",
)
_MORE = ("the hub runs a newer version", "the hub says more here than in the log")
_CLOCKS = ("the clock of this machine is slow", "the hub's clock is fast")


def _disagrees(found: NamedResult, attestation: Attestation, trust: TrustFile) -> Difference | None:
    """Return what was expected and what is there, where signature or contents do not fit the proven event."""
    event, index = found.result.event, found.result.leaf_index
    if event is None or index is None:
        return None
    if (unsigned := _not_signed(attestation, trust, at=index)) is not None:
        return unsigned
    pointer = Pointer(
        hub=trust.hub,
        revision=event.model.revision,
        ledger=trust.ledger,
        leaf_index=index,
        leaf_hash=_leaf_hash(found.proof),
        policy_sha256=event.policy.sha256,
    )
    return first_difference(attestation, event, pointer)


def _not_signed(attestation: Attestation, trust: TrustFile, *, at: int) -> Difference | None:
    """Return what was expected and what is there, where no key of the hub that counts at this leaf signed the attestation."""
    try:
        key = load_hub_key(trust.check_key(attestation.entry.keyid, at).spki)
        verify_entry(attestation.entry, {attestation.entry.keyid: key})
    except LedgerError as error:
        return Difference(expected=f"{error.what}: {error.expected}", actual=str(error.actual))
    return None


def _leaf_hash(proof: bytes) -> bytes:
    """Return the leaf hash of a proof that was verified."""
    return leaf_hash(parse_extra(parse_proof(proof).extra or b"").entry)


def _add(found: NamedResult, check: Check) -> NamedResult:
    return replace(found, result=replace(found.result, checks=(*found.result.checks, check)))


def _fail(
    found: NamedResult,
    *,
    expected: str,
    actual: str,
    causes: tuple[str, ...],
    log: LogResult | None = None,
    model: ModelResult | None = None,
    next_step: str = _ANOTHER,
) -> NamedResult:
    failure = Failure(step=STEP, expected=expected, actual=actual, causes=causes, next_step=next_step)
    return replace(found, result=with_failure(found.result, failure, log=log, model=model))
