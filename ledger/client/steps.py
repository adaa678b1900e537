"""The steps of a check that do not depend on the form of the proof: what the hub says, how fresh it is, and the model.

``verify`` proves an entry of a tile log or of Rekor from a ``.tlog-proof``, ``event_bundle`` one of Rekor from a Sigstore bundle;
both then come here. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from ledger.client import cautions
from ledger.client.expect import Expectation
from ledger.client.files import compare_whole
from ledger.client.opening import Opening
from ledger.client.partial import PartialFiles, compare_partial
from ledger.client.reporting import Recipient
from ledger.client.result import (
    AGE_STEP,
    MODEL_STEP,
    NO_EVENT,
    NO_FILES,
    PIN_STEP,
    PROVEN,
    CheckResult,
    Failure,
    LocalFiles,
    LogResult,
    ModelResult,
    Steps,
    explain_key_range,
    explain_not_accepted,
    explain_old,
    explain_stale,
)
from ledger.client.signers import signers_of
from ledger.client.trust import TrustFile
from ledger.client.trusted_keys import load_hub_key
from ledger.client.unexpected import SIGNER_STEP, explain_unexpected
from ledger.client.vouching import MAX_AHEAD, Asked, Stated, Verdict, Word, judge_monitor, vouch
from ledger.entry import MapCommit, parse_entry, verify_entry
from ledger.errors import SignatureError, VerificationError
from ledger.event import PlainStatement, Statement, UnknownStatement, VerificationEvent, parse_statement
from ledger.tlog.checkpoint import VerifiedCheckpoint
from ledger.tlog.cosignature import Cosignature

_SATISFIES = {
    "included": frozenset((LogResult.INCLUDED_ONLY, LogResult.COMPLETE_UNAUDITED, LogResult.COMPLETE)),
    "complete": frozenset((LogResult.COMPLETE_UNAUDITED, LogResult.COMPLETE)),
    "audited": frozenset((LogResult.COMPLETE,)),
}
"""What the trust file's ``require`` is content with; for ``audited`` see also ``check_monitors``."""


class CannotCheckError(VerificationError):
    """Nothing is wrong with what was shown, but it is not enough to check."""


@dataclass(slots=True)
class State(Steps):
    """What has been established so far, step by step. The position of the entry is ``shard`` and ``log_index``, or
    ``leaf_index`` where the log has no other.
    """

    log: LogResult = LogResult.INVALID
    model: ModelResult = ModelResult.NOT_CHECKED
    checkpoint: VerifiedCheckpoint | None = None
    cosignatures: tuple[Cosignature, ...] = ()
    shard: int = 0
    leaf_index: int | None = None
    log_index: int | None = None
    older_than_pin: bool = False
    event: VerificationEvent | None = None
    evidence: bytes | None = None
    send_to: tuple[Recipient, ...] = ()
    not_checked: tuple[str, ...] = ()
    openings: Sequence[Opening] = ()
    vouched: bool = False
    disowned: Failure | None = None
    """Why the hub's word does not count. It is of the model, so any failure of the log is explained before it."""


def finish(
    state: State,
    trust: TrustFile,
    *,
    now: int,
    files: LocalFiles | PartialFiles | None,
    expected: Sequence[Expectation],
    expect_all: bool,
    log_only: bool,
    stated: Sequence[Stated] = (),
) -> CheckResult:
    """Go on from what the log proves to the model, whatever form the proof had, and return both results."""
    if state.log is LogResult.INCLUDED_ONLY:
        check_freshness(trust, now, state)
        contradicted = check_monitors(trust, stated, now, state)
        check_require(trust, state)
        if state.event is not None and not contradicted:
            check_model(state.event, files, expected, expect_all=expect_all, log_only=log_only, state=state)
    return conclude(state, trust, log_only=log_only)


def conclude(state: State, trust: TrustFile, *, log_only: bool) -> CheckResult:
    """Return the result: both words, and whether they are what the trust file asks for."""
    allowed = (ModelResult.ACCEPTED, ModelResult.NOT_CHECKED) if log_only else (ModelResult.ACCEPTED,)
    included = state.log in (LogResult.INCLUDED_ONLY, LogResult.STALE)
    vouched = trust.require == "audited" and state.vouched and state.log is LogResult.INCLUDED_ONLY
    log_satisfied = vouched or state.log in _SATISFIES[trust.require]
    state.failure = state.failure or state.disowned
    if log_satisfied and state.model not in allowed and state.failure is None:
        state.failed(NO_EVENT)
    return CheckResult(
        log=state.log,
        model=state.model if state.log in PROVEN else ModelResult.NOT_CHECKED,
        log_satisfied=log_satisfied,
        satisfied=log_satisfied and state.model in allowed,
        checks=tuple(state.checks),
        failure=state.failure,
        event=state.event if included else None,
        signers=signers_of(state.event, state.openings) if included and state.event else (),
        leaf_index=state.leaf_index if included else None,
        checkpoint=state.checkpoint,
        cosignatures=state.cosignatures,
        evidence=state.evidence,
        send_to=state.send_to,
        not_checked=state.not_checked,
        cautions=tuple(state.cautions),
    )


def check_entry(data: bytes, trust: TrustFile, state: State) -> None:
    """Check the hub's signature, then what the statement says of itself, then whether its key counts at the proven index."""
    index = state.leaf_index
    entry = parse_entry(data, leaf_index=index)
    if isinstance(entry, MapCommit):
        state.skipped(
            MODEL_STEP, "the entry is a map commit: it is authenticated by the checkpoint, not by the hub"
        )
        return
    known = {key.keyid: key.spki for key in trust.hub_keys}
    if entry.keyid not in known:
        raise SignatureError("key of the entry", expected="a hub key of the trust file", actual=entry.keyid)
    verify_entry(entry, {entry.keyid: load_hub_key(known[entry.keyid])})
    statement = parse_statement(entry.payload)
    _check_statement(statement, trust)
    state.passed("statement", f"ledger {trust.ledger}, hub {trust.hub}")
    try:
        at = state.log_index if state.log_index is not None else index
        trust.check_key(entry.keyid, at or 0, shard=state.shard)
    except SignatureError as error:
        # Section 4, keys: events of a key that does not count at their index are not accepted; nothing that they say
        # is shown as the hub's word.
        state.model = ModelResult.NOT_ACCEPTED
        state.disowned = explain_key_range(error)
        state.show(state.disowned)
        return
    state.passed("hub signature", f"key {entry.keyid[:16]}… of {trust.hub}, valid at leaf {index}")
    match statement:
        case VerificationEvent():
            state.event = statement
        case UnknownStatement():
            state.skipped(MODEL_STEP, f"unknown event: {statement.reason}")
        case PlainStatement():
            state.skipped(MODEL_STEP, f"the entry is a {statement.predicate_type} statement")
        case _:
            assert_never(statement)


def _check_statement(statement: Statement | UnknownStatement, trust: TrustFile) -> None:
    """Refuse an entry replayed from another ledger, of another hub, or by somebody else than the hub."""
    common = statement.common
    if common is None and isinstance(statement, UnknownStatement):
        raise CannotCheckError(
            "ledger of the event",
            expected=trust.ledger,
            actual=f"a statement that this version cannot read ({statement.predicate_type})",
            next_step="Check it with a newer version of hubledger",
        )
    if common is None or common.ledger != trust.ledger:
        raise SignatureError(
            "ledger of the event", expected=trust.ledger, actual=common.ledger if common else "none"
        )
    if common.hub_id != trust.hub:
        raise SignatureError("hub of the event", expected=trust.hub, actual=common.hub_id)
    by = common.recorded_by
    if (by.id, by.role) != (trust.hub, "hub"):
        raise SignatureError(
            "recorder of the event", expected=f"the hub {trust.hub}", actual=f"the {by.role} {by.id}"
        )


def check_freshness(trust: TrustFile, now: int, state: State) -> None:
    """Judge age by counted cosignatures only. Where it matters, a limit that can be held against nothing is not met."""
    matters = trust.require != "included"
    if state.older_than_pin and matters:
        state.log = LogResult.STALE
        state.failed(
            explain_stale(PIN_STEP, expected="a checkpoint not older than your pin", actual="an older one")
        )
    # One from the future says nothing of now: the clock here is slow, or whoever holds that key made it to last.
    counted = [each for each in state.cosignatures if each.timestamp <= now + MAX_AHEAD]
    dated = trust.policy.time_of(counted)
    if dated is None:
        ahead = len(counted) < len(state.cosignatures)
        _judge_unknown_age(trust, state, _AHEAD if ahead else _UNDATED)
        return
    age = max(0, now - dated)
    by = "newest counted cosignature" if trust.policy.quorum is None else f"quorum {trust.policy.quorum}"
    shown = f"{age} s old by its {by}"
    if trust.max_age is None:
        state.skipped(AGE_STEP, f"the trust file sets no max_age; the checkpoint is {shown}")
    elif age <= trust.max_age:
        state.passed(AGE_STEP, f"at most {trust.max_age} s; the checkpoint is {shown}")
    elif not matters:
        state.skipped(
            AGE_STEP,
            f"inclusion does not expire; the checkpoint is {shown}, more than max_age {trust.max_age} s",
        )
        state.cautions.append(cautions.too_old(age, trust.max_age))
    else:
        state.log = LogResult.STALE
        state.failed(explain_old(AGE_STEP, expected=f"at most {trust.max_age} s", actual=shown))


def _judge_unknown_age(trust: TrustFile, state: State, why: str) -> None:
    if trust.max_age is None:
        state.skipped(AGE_STEP, why)
    elif trust.require == "included":
        state.skipped(AGE_STEP, f"{why}; inclusion does not expire")
        state.cautions.append(cautions.age_unknown(trust.max_age))
    else:
        state.log = LogResult.STALE
        state.failed(
            Failure(
                step=AGE_STEP,
                expected=f"at most {trust.max_age} s",
                actual=why,
                causes=(
                    *(("the clock of this machine is behind",) if why is _AHEAD else ()),
                    "the proof was made before a witness had cosigned the checkpoint",
                    "the trust file names nobody who dates the checkpoints of this log",
                ),
                next_step="Fetch a new proof of the same event; if that has no date either, ask the publisher of the trust "
                "file who dates its checkpoints",
            )
        )


_UNDATED = "age unknown: no timestamped cosignature by a key of the trust file"
_AHEAD = (
    f"age unknown: cosignatures that are more than {MAX_AHEAD} s ahead of this machine's clock do not count"
)


def check_monitors(trust: TrustFile, stated: Sequence[Stated], now: int, state: State) -> bool:
    """Say what the monitors of the trust file say of this event, and whether it is enough where that is required.

    Return whether one of them contradicts the log: then nothing that the log says is gone into any further.
    """
    tree = None if state.checkpoint is None else state.checkpoint.checkpoint
    if not trust.monitors or tree is None or state.leaf_index is None:
        return False
    links = state.event.common.histories if state.event is not None else ()
    asked = Asked(
        ledger=trust.ledger,
        tree=tree,
        leaf_index=state.leaf_index,
        histories=tuple(each.key for each in links),
        now=now,
    )
    words = [judge_monitor(each, stated, asked) for each in trust.monitors]
    needed = trust.monitors_needed or len(trust.monitors)
    against = vouch(words, needed)
    state.vouched = against is None
    for word in words:
        _show_word(word, decides=word is against and _matters(word, trust), state=state)
    return against is not None and against.verdict is Verdict.CONTRADICTS


def _matters(word: Word, trust: TrustFile) -> bool:
    """A contradiction stops every check: the log may have shown two trees. The rest matters where it is required."""
    return word.verdict is Verdict.CONTRADICTS or trust.require == "audited"


def _show_word(word: Word, *, decides: bool, state: State) -> None:
    step = f"monitor {word.monitor.name}"
    if word.failure is None:
        state.passed(step, word.text)
    elif not decides:
        state.skipped(
            step, f"does not vouch for it: expected {word.failure.expected}, got {word.failure.actual}"
        )
    else:
        state.failed(word.failure)
        if word.verdict is Verdict.CONTRADICTS:
            state.log, state.failure = LogResult.INVALID, word.failure  # worse than a checkpoint that is old
        elif word.verdict is Verdict.TOO_OLD:
            state.log = LogResult.STALE


def check_require(trust: TrustFile, state: State) -> None:
    """Say what this proof cannot show, and whether the trust file asks for it."""
    if trust.require == "audited" and not trust.monitors:
        state.failed(_NO_MONITORS)
        return
    if trust.require != "complete":
        state.skipped("completeness", "this proof shows one event, not that there are no others")
        state.skipped("later events", "a later event about this revision is not in this proof")
        return
    state.failed(
        Failure(
            step="completeness",
            expected="a proof that the history is complete",
            actual="a proof of inclusion only",
            causes=(
                "no log makes such a proof yet, so no model satisfies a trust file that requires complete",
            ),
            next_step="Ask whoever gave you the trust file how they mean `complete` to be met until there are such proofs",
        )
    )


_NO_MONITORS = Failure(
    step="monitors",
    expected="a monitor that vouches for the event",
    actual="none in the trust file",
    causes=("the trust file requires audited, and has no table [[monitor]]",),
    next_step="Add the monitors whose word counts for you to the trust file",
)


def check_model(
    event: VerificationEvent,
    files: LocalFiles | PartialFiles | None,
    expected: Sequence[Expectation],
    *,
    expect_all: bool,
    log_only: bool,
    state: State,
) -> None:
    """Judge the event by section 8's definition of ACCEPTED, and else the first that applies."""
    state.passed(
        "event", f"{event.model.name} at {event.model.revision}: {event.outcome}, {event.policy.decision}"
    )
    if files is None and log_only:
        state.skipped(MODEL_STEP, "only the log was to be checked")
        return
    problem = explain_not_accepted(event)
    content = _check_files(event, files, problem, state)
    signer = _check_signer(event, expected, expect_all=expect_all, state=state)
    accepted = _check_acceptance(event, problem, state)
    if content is None:
        state.model = ModelResult.NOT_CHECKED
    elif not content:
        state.model = ModelResult.CONTENT_DIFFERS
    elif not signer:
        state.model = ModelResult.UNEXPECTED_SIGNER
    else:
        state.model = ModelResult.ACCEPTED if accepted else ModelResult.NOT_ACCEPTED


def _check_files(
    event: VerificationEvent,
    files: LocalFiles | PartialFiles | None,
    problem: Failure | None,
    state: State,
) -> bool | None:
    """Say whether the files are those of the event; None where nothing was checked."""
    if files is None:
        state.failed(NO_FILES)
        return None
    if isinstance(files, PartialFiles):
        return _check_partial(event, files, problem, state)
    for found in compare_whole(files, event):
        if isinstance(found, Failure):
            other = files.content_sha256 != event.manifest.content_sha256
            state.failed(_of_refused(found, problem, other=other))
            return False
        state.checks.append(found)
    return True


def _of_refused(found: Failure, problem: Failure | None, *, other: bool) -> Failure:
    """Never send anybody for files that the hub refuses: where the event does so, its next step stands for that of the files."""
    if problem is None:
        return found
    why = ("the hub's latest event of this revision is about other files, which it does not accept",)
    return replace(found, causes=(*(why if other else ()), *found.causes), next_step=problem.next_step)


def _check_partial(
    event: VerificationEvent, files: PartialFiles, problem: Failure | None, state: State
) -> bool | None:
    found = compare_partial(files, event)
    if found.failure is not None and found.content_differs:
        state.failed(_of_refused(found.failure, problem, other=not found.only_special))
        return False
    if found.failure is not None:
        state.failed(found.failure)
        return None
    state.checks.extend(found.checks)
    state.not_checked = found.not_checked
    return True


def _check_signer(
    event: VerificationEvent, expected: Sequence[Expectation], *, expect_all: bool, state: State
) -> bool:
    signers = signers_of(event, state.openings)
    shown = ", ".join(map(str, signers)) or "nobody whose signature verified"
    if not expected:
        state.skipped(SIGNER_STEP, f"none given; signed by {shown}")
        return True
    met = [any(each.meets(one) for each in signers) for one in expected]
    if all(met) if expect_all else any(met):
        state.passed(SIGNER_STEP, shown)
        return True
    missing = dict.fromkeys(str(one) for one, holds in zip(expected, met, strict=True) if not holds)
    state.failed(
        explain_unexpected(
            signers,
            (" and " if expect_all else " or ").join(missing),
            shown=shown,
            openings_given=bool(state.openings),
        )
    )
    return False


def _check_acceptance(event: VerificationEvent, problem: Failure | None, state: State) -> bool:
    if problem is None:
        state.passed("accepted by the hub", f"{event.outcome}, {event.policy.decision}")
        return True
    state.failed(problem)
    return False
