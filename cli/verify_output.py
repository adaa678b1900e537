"""What `hubledger verify` says about a result: the same facts as text and as JSON."""

import shlex
from typing import TYPE_CHECKING, Any

from cli.output import format_table, printable, wrap
from ledger.client.result import Check, CheckResult, Failure
from ledger.client.signers import Signer
from ledger.event import VerificationEvent

if TYPE_CHECKING:
    from cli.verify_evidence import Kept
    from ledger.client.explaining import Used
    from ledger.client.named import NamedResult
    from ledger.client.reporting import Recipient
    from ledger.client.vouching import Stated

    _Checked = NamedResult | tuple[bytes, tuple[Stated, ...]]
    """A check by name, or a proof and what monitors said of it."""

MARKS = {True: "ok", False: "FAILED", None: "skipped"}


def as_facts(result: CheckResult) -> dict[str, Any]:
    """Return the result as JSON facts: the same as the text."""
    facts: dict[str, Any] = {
        "log": result.log.value,
        "model": result.model.value,
        "satisfied": result.satisfied,
        "cautions": list(result.cautions),
        "checks": [check_facts(each) for each in result.checks],
    }
    if result.event is not None:
        event = result.event
        facts["event"] = {
            "name": event.model.name,
            "revision": event.model.revision,
            "outcome": event.outcome,
            "decision": event.policy.decision,
            "recordedAt": event.common.recorded_at,
            "leafIndex": result.leaf_index,
            "eventId": event.common.event_id,
            "reasons": list(event.reasons),
            "signedBy": [_signer_facts(each) for each in result.signers],
        }
    if result.checkpoint is not None:
        tree = result.checkpoint.checkpoint
        facts["checkpoint"] = {"origin": tree.origin, "size": tree.size, "rootHash": tree.root_hash.hex()}
    if result.cosignatures:
        facts["cosignatures"] = [
            {"witness": each.key.name, "timestamp": each.timestamp} for each in result.cosignatures
        ]
    if result.not_checked:
        facts["notChecked"] = list(result.not_checked)
    if result.failure is not None:
        facts["failure"] = failure_facts(result.failure)
    if result.evidence is not None:
        facts["sendTo"] = [recipient_facts(each) for each in result.send_to]
    return facts


def recipient_facts(recipient: "Recipient") -> dict[str, Any]:
    """Return somebody to send evidence to as JSON facts."""
    address = {} if recipient.url is None else {"url": recipient.url}
    return {"watcher": recipient.watcher.value, "name": recipient.name, **address}


def check_facts(check: Check) -> dict[str, Any]:
    """Return one step as JSON facts."""
    return {
        "step": check.step,
        "result": MARKS[check.passed],
        "against": check.against,
        **({} if check.found is None else {"found": check.found}),
    }


def failure_facts(failure: Failure) -> dict[str, Any]:
    """Return why a check failed as JSON facts."""
    return {
        "step": failure.step,
        "expected": failure.expected,
        "actual": failure.actual,
        "causes": list(failure.causes),
        "nextStep": failure.next_step,
    }


def _signer_facts(signer: Signer) -> Any:
    """Return the event's own facts, and beside a commitment who it was opened as."""
    facts: Any = signer.facts.as_json()
    return facts if signer.opened is None else {**facts, "opened": signer.opened.as_json()}


def as_text(result: CheckResult, evidence: "Kept | None", *, columns: int | None = None) -> str:
    """Return a short table and one sentence."""
    table = format_table(
        ("CHECK", "RESULT", "AGAINST"),
        [
            (each.step, MARKS[each.passed], each.against + (f"; got {each.found}" if each.found else ""))
            for each in result.checks
        ],
        columns=columns,
    )
    lines = [f"log: {result.log}   model: {result.model}"]
    lines += [f"Caution: {each}." for each in result.cautions]
    if result.failure is not None:
        lines += explain(result.failure)
    if evidence is not None:
        lines += [f"Evidence: {evidence.said}", _next_of(evidence)]
    if result.satisfied:
        lines.append(_conclude(result))
    return "\n".join([table, "", *(wrap(printable(line), columns=columns) for line in lines)])


def _next_of(kept: "Kept") -> str:
    if kept.problem is not None:
        return f"  next: {kept.problem.next_step}"
    return f"  anybody can check it: hubledger verify --evidence {shlex.quote(str(kept.path))} --trust FILE"


def _conclude(result: CheckResult) -> str:
    """Say in one sentence what holds, and its bounds."""
    tree = result.checkpoint.checkpoint if result.checkpoint else None
    where = f"leaf {result.leaf_index} of {tree.size} in {tree.origin}" if tree else "the log"
    skipped = ", ".join(each.step for each in result.skipped) or "nothing"
    if result.event is None:
        return f"The entry is {where}. Not checked: {skipped}."
    event = result.event
    return (
        f"{event.model.name} at {event.model.revision}: {_who_signed(event, result.signers)}; recorded as {where}. "
        f"Not checked: {skipped}."
    )


def _who_signed(event: VerificationEvent, found: tuple[Signer, ...]) -> str:
    """Say who signed, in the words of every interface, and that the hub challenges it: the log alone proves both."""
    signers = " and ".join(map(str, found))
    if signers:
        said = f"Signed by {signers}"
    else:
        said = "Unsigned" if event.outcome == "UNSIGNED" else f"Could not verify ({event.outcome})"
    if event.policy.decision in ("observed", "accepted"):
        return said
    why = f" ({', '.join(event.reasons)})" if event.reasons else ""
    return f"{said}; {event.policy.decision} by the hub{why}"


def explain(failure: Failure) -> list[str]:
    """Say why a check failed, what may be the cause, and what to do next."""
    lines = [f"Failed: {failure.step}: expected {failure.expected}, got {failure.actual}"]
    lines += [f"  possible: {cause}" for cause in failure.causes]
    return [*lines, f"  next: {failure.next_step}"]


def explained_facts(checked: "_Checked") -> dict[str, Any]:
    """Return which bytes each step used as JSON facts: of a proof, or of a check by name."""
    return {"explained": [{"step": each.step, "used": list(each.lines)} for each in _explain(checked)]}


def _explain(checked: "_Checked") -> "tuple[Used, ...]":
    from ledger.client.explaining import explain_named

    if isinstance(checked, tuple):
        return explain_named(*checked, None)
    return explain_named(checked.proof, checked.stated, checked.attestation)


def explained_text(checked: "_Checked") -> str:
    """Return the same as text: lines stay whole, so that they can be copied."""
    lines = [""]
    for each in _explain(checked):
        lines += ["", each.step, *(f"  {printable(line)}" for line in each.lines)]
    return "\n".join(lines)
