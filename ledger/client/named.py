"""Checks a model by its name: the proof, the model's own signatures, and what was seen before (architecture section 8).

``verify`` proves the event; this holds it against the name that was asked for, against the signatures here and the pins, and
remembers what it saw. What is remembered moves only after every check of the log held.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ledger.client.expect import Expectation
from ledger.client.local_signatures import LOCAL_STEP, compare_signatures
from ledger.client.opening import Opening
from ledger.client.partial import PartialFiles
from ledger.client.pins import (
    LEVELS,
    HistoryPin,
    LogPin,
    Pins,
    Refused,
    check_history,
    check_link,
    pins_of,
    refusals_of,
    verify_pin,
)
from ledger.client.proof_bundle import ProofBundle
from ledger.client.result import (
    NO_EVENT,
    PIN_STEP,
    Check,
    CheckResult,
    Failure,
    LocalFiles,
    LogResult,
    ModelResult,
    count,
    name_some,
    with_failure,
)
from ledger.client.trust_store import Origin, StoredTrust
from ledger.client.verify import check_proof
from ledger.client.vouching import Stated
from ledger.errors import ChainError, MisbehaviourError, WriteError
from ledger.event import VerificationEvent
from ledger.verification import Findings

if TYPE_CHECKING:
    from ledger.attestation.envelope import Attestation

NAME_STEP = "name and revision"
HISTORY_STEP = "what you saw before"
TRUST_STEP = "trust file"
CLAIMS_STEP = "events of this model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody wants to know of a model. ``name`` and ``revision`` are as they are recorded.

    ``files`` and ``findings`` come from one reading of the model's files; both are None where the log alone is asked for.
    Of a part of the files there are no findings, because signatures are over all of them.
    """

    name: str
    revision: str | None = None
    files: LocalFiles | PartialFiles | None = None
    findings: Findings | None = None
    expected: Sequence[Expectation] = ()
    expect_all: bool = False
    openings: Sequence[Opening] = ()
    log_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedResult:
    """The result of a check by name. ``source``: where the proof came from; ``changes``: what is new since last time.

    ``proof``, ``stated`` and ``attestation``: what was checked, as it came. ``remembered``: how many files were not read, because their digests are remembered.
    """

    result: CheckResult
    name: str
    source: str
    origin: Origin
    changes: tuple[str, ...] = ()
    proof: bytes = b""
    stated: tuple[Stated, ...] = ()
    attestation: "Attestation | None" = None
    remembered: int = 0


def check_named(
    bundle: ProofBundle, asked: Asked, *, stored: StoredTrust, pins: Pins, source: str, now: int
) -> NamedResult:
    """Check a model by its name, and remember what was proven.

    Raises:
        SignatureError: what is remembered of the log is not signed by a key that counts. CorruptError: a pin is damaged.
    """
    trust = stored.trust
    pin = None if trust.is_rekor else pins.log(trust.ledger, trust.origin)
    if pin is not None:
        verify_pin(pin, trust)
    found = _Found(_check_proof(bundle, asked, stored, pin, now))
    if pin is None:
        found.explain_no_pin(is_rekor=trust.is_rekor)
    found.rows = [_trust_row(stored), Check(step="source", passed=True, against=source), _claims_row(bundle)]
    if found.result.log in LEVELS or found.result.log is LogResult.STALE:
        _check_event(found, asked, stored, pins)
    if found.holds and found.result.log in LEVELS:
        try:
            _remember(found, stored, pins, pin, now)
        except MisbehaviourError:
            # Another process saw another tree of this size meanwhile: with its pin the check says so, with evidence.
            return check_named(bundle, asked, stored=stored, pins=pins, source=source, now=now)
    result = replace(found.result, checks=(*found.rows, *found.result.checks))
    return NamedResult(
        result=result,
        name=asked.name,
        source=source,
        origin=stored.origin,
        changes=tuple(found.changes),
        proof=bundle.proof,
        stated=bundle.stated,
    )


class _Found:
    """What has been found so far; ``holds``: nothing contradicts what the hub or the log said before."""

    def __init__(self, result: CheckResult) -> None:
        self.result, self.holds = result, True
        self.rows: list[Check] = []
        self.changes: list[str] = []

    def add(self, check: Check) -> None:
        self.result = replace(self.result, checks=(*self.result.checks, check))

    def explain_no_pin(self, *, is_rekor: bool) -> None:
        """Say why there is no pin: nobody can give one here."""
        why = "no checkpoint of Rekor is remembered" if is_rekor else "nothing is remembered of this log yet"
        checks = (
            replace(each, against=why) if each.step == PIN_STEP else each for each in self.result.checks
        )
        self.result = replace(self.result, checks=tuple(checks))

    def fail(self, failure: Failure, *, model: ModelResult | None = None) -> None:
        """Add a failure: of the model where one is given and nothing worse is known, else of the log."""
        if model is None:
            self.holds = False
        log = LogResult.INVALID if model is None else None
        self.result = with_failure(self.result, failure, log=log, model=model)


def _check_proof(
    bundle: ProofBundle, asked: Asked, stored: StoredTrust, pin: LogPin | None, now: int
) -> CheckResult:
    return check_proof(
        bundle.proof,
        trust=stored.trust,
        now=now,
        files=asked.files,
        expected=asked.expected,
        expect_all=asked.expect_all,
        log_only=asked.log_only,
        pin=None if pin is None else pin.note,
        openings=asked.openings,
        stated=bundle.stated,
    )


def _trust_row(stored: StoredTrust) -> Check:
    trust = stored.trust
    what = f"version {trust.version} of {trust.ledger}"
    if stored.origin is Origin.TLS_ONLY:
        return Check(
            step=TRUST_STEP,
            passed=None,
            against=f"TLS_ONLY: {what} came from {stored.source} and was compared with nothing; "
            f"see `hubledger trust show {trust.hub}`",
        )
    return Check(step=TRUST_STEP, passed=True, against=f"{what}, confirmed by you")


def _claims_row(bundle: ProofBundle) -> Check:
    last = max((each.leaf_index for each in bundle.claims), default=None)
    shown = "none" if last is None else f"{len(bundle.claims)} that the hub shows, the last at leaf {last}"
    return Check(step=CLAIMS_STEP, passed=None, against=f"{shown}: its word, which nothing proves")


def _check_event(found: _Found, asked: Asked, stored: StoredTrust, pins: Pins) -> None:
    """Hold the event against the name, the signatures here, and the pins; in this order."""
    event = found.result.event
    if event is None:
        found.fail(NO_EVENT, model=ModelResult.NOT_CHECKED)
        found.holds = False
        return
    if (wrong := _other_model(event, asked)) is not None:
        found.fail(wrong)
        return
    found.add(
        Check(
            step=NAME_STEP, passed=True, against=f"{event.model.name} at {event.model.revision}, as asked for"
        )
    )
    if asked.findings is not None:
        signatures = asked.findings.signatures
        for each in compare_signatures(signatures, asked.findings.explanations, event):
            if isinstance(each, Failure):
                found.fail(each, model=ModelResult.NOT_ACCEPTED)
            else:
                found.add(each)
    elif asked.files is not None:
        found.add(
            Check(
                step=LOCAL_STEP, passed=None, against="signatures are over all files, and some are not here"
            )
        )
    _check_pins(found, event, stored, pins)


def _other_model(event: VerificationEvent, asked: Asked) -> Failure | None:
    """Say that a proof is of another model or revision: it is sound, and says nothing of what was asked."""
    wanted = asked.name, asked.revision or event.model.revision
    if (event.model.name, event.model.revision) == wanted:
        return None
    return Failure(
        step=NAME_STEP,
        expected=" at ".join(wanted),
        actual=f"{event.model.name} at {event.model.revision}",
        causes=(
            "the proof is of another model or revision",
            "the name is misspelt, or only looks like the other",
        ),
        next_step="Ask for the proof of the model that you have",
    )


def _check_pins(found: _Found, event: VerificationEvent, stored: StoredTrust, pins: Pins) -> None:
    """Hold the event against what is remembered of each of its histories. Nothing remembered is said, too."""
    ledger = stored.trust.ledger
    new = {each.key: each for each in _pins_of(found.result, stored, now=0)}
    old = [pin for key in new if (pin := pins.history(ledger, key)) is not None]
    if not old:
        found.add(Check(step=HISTORY_STEP, passed=None, against="nothing is remembered of this model"))
        return
    try:
        for each in old:
            check_link(each, event)
            check_history(each, new[each.key])
    except ChainError as error:
        found.fail(_contradicts(error))
        return
    named = next((each for each in old if each.key == f"name:{event.model.name}"), old[0])
    _compare_with_last_time(found, event, named, new[named.key])


def _compare_with_last_time(
    found: _Found, event: VerificationEvent, old: HistoryPin, new: HistoryPin
) -> None:
    behind = old.sequence - new.sequence
    for each in refusals_of(old):
        if each.revision == event.model.revision and each.sequence > new.sequence:
            found.fail(_superseded(each), model=ModelResult.SUPERSEDED)
            return
    if behind > 0:
        found.changes.append(
            f"you have seen a later event of this model: {old.revision} at leaf {old.leaf_index}"
        )
    elif behind < 0:
        found.changes.append(count(-behind, "new event"))
        if old.revision != new.revision:
            found.changes.append(f"the latest revision that you had seen was {old.revision}")
        else:
            found.changes.append(
                f"this revision has a newer event than the one that you had seen, at leaf {old.leaf_index}"
            )
        if old.signers != new.signers:
            found.changes.append(f"the signer changed: {_said(old.signers)} before, {_said(new.signers)} now")
    found.add(
        Check(
            step=HISTORY_STEP,
            passed=True,
            against=f"event {old.sequence} at leaf {old.leaf_index} of {old.key}",
        )
    )


def _said(signers: Sequence[str]) -> str:
    return name_some(signers) or "nobody"


def _contradicts(error: ChainError) -> Failure:
    return Failure(
        step=HISTORY_STEP,
        expected=f"{error.what}: {error.expected}",
        actual=str(error.actual),
        causes=("the hub signed two histories of this model", "the log holds back what it showed before"),
        next_step=error.next_step,
    )


def _superseded(old: Refused) -> Failure:
    return Failure(
        step=HISTORY_STEP,
        expected=f"the latest event of {old.revision}, which you saw at leaf {old.leaf_index}",
        actual="an earlier one",
        causes=("the hub looked at the revision again, and does not accept it any more",),
        next_step="Fetch the proof of the latest event of this revision",
    )


def _pins_of(result: CheckResult, stored: StoredTrust, *, now: int) -> tuple[HistoryPin, ...]:
    if result.event is None or result.leaf_index is None:
        return ()
    return pins_of(
        result.event,
        ledger=stored.trust.ledger,
        leaf_index=result.leaf_index,
        signers=tuple(sorted(map(str, result.signers))),
        level=result.log if result.log in LEVELS else LEVELS[0],
        now=now,
    )


def _remember(found: _Found, stored: StoredTrust, pins: Pins, pin: LogPin | None, now: int) -> None:
    """Remember what was proven. Raises MisbehaviourError: see ``Pins.move_log``."""
    result = found.result
    linked = any(each.step == PIN_STEP and each.passed for each in result.checks)
    if pin is not None and not linked:
        return  # what is not known to be of the same log must not become what later checks are held against
    try:
        if result.checkpoint is not None and not stored.trust.is_rekor:
            pins.move_log(stored.trust, result.checkpoint, linked_to=pin)
        # If we stop here, the log is remembered and the model is not: the next check remembers it.
        for each in _pins_of(result, stored, now=now):
            with suppress(
                ChainError
            ):  # another process saw another event there meanwhile: the next check says so
                pins.move_history(each)
    except WriteError as error:
        found.add(Check(step="remembering", passed=None, against=f"not remembered: {error.finding}"))
