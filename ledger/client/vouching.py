"""Whether monitors vouch for a proven event: docs/spec/monitor-statement.md. Pure.

A statement is its monitor's word. It can be missing, too old, behind, not linked to the proof, or say that something is open; all
of these are less than was asked for, and none accuses the log. One that contradicts the log's checkpoint is shown to be so by a
valid proof, and stops every check; it convicts nobody, because only the log's own signatures do (architecture section 8).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from ledger.client.evidence import prefix_by_consistency
from ledger.client.result import Failure
from ledger.client.trusted_monitor import TrustedMonitor
from ledger.errors import LedgerError, ProofError
from ledger.monitor_statement import MonitorStatement, verify_monitor_statement
from ledger.open_findings import OpenFindings
from ledger.tlog.checkpoint import Checkpoint

MAX_AHEAD = 300
"""Seconds that a monitor's clock may be ahead of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unheard:
    """A monitor that gave no answer, and why; or has no ``part`` of its list, by SHA-256. ``file``: where that would be, if not asked for."""

    monitor: str
    why: str
    part: bytes | None = None
    file: str = ""

    @property
    def is_silence(self) -> bool:
        """Whether it is the statement that is missing, and not only a part of its list."""
        return self.part is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """A statement as it was handed over: nothing of it is verified.

    ``consistency``: hashes of a proof from its size to the size of the checkpoint in the proof beside it. ``parts``: of its list,
    those that the event's histories fall in. With ``unheard``, which is for the check that asked and for nobody later, there is no
    statement, or one beside it lacks a part.
    """

    note: bytes = b""
    consistency: tuple[bytes, ...] | None = None
    parts: tuple[bytes, ...] = ()
    unheard: Unheard | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the statement must cover: the proven leaf, the checkpoint that it was proven under, and the event's histories."""

    ledger: str
    tree: Checkpoint
    leaf_index: int
    histories: tuple[str, ...]
    now: int


class Verdict(Enum):
    """What one monitor's word is worth here."""

    VOUCHES = auto()
    NOT_ENOUGH = auto()
    TOO_OLD = auto()
    OPEN = auto()
    CONTRADICTS = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What one monitor says: ``text`` where it vouches, else ``failure``."""

    monitor: TrustedMonitor
    verdict: Verdict
    text: str = ""
    failure: Failure | None = None


def judge_monitor(monitor: TrustedMonitor, stated: Iterable[Stated], asked: Asked) -> Word:
    """Return what a monitor says of an event, by the newest of its statements of this log."""
    stated = tuple(stated)
    found, problem = _newest(monitor, stated, asked)
    if found is None:
        return _explain_none(monitor, stated, asked, problem)
    statement, given = found
    link = _check_link(monitor, statement, given, asked)
    if link is not None and link.verdict is Verdict.CONTRADICTS:
        return link
    model = _look_up(statement, given, asked)
    against = (
        _check_reach(monitor, statement, asked)
        or link
        or _check_age(monitor, statement, asked)
        or _check_open(monitor, statement, model)
        or _check_known(monitor, statement, model, stated, asked)
    )
    if against is not None:
        return against
    low = [f"{each} open" for each in (model.open, statement.log) if each is not None]
    return Word(
        monitor=monitor,
        verdict=Verdict.VOUCHES,
        text=f"verified up to size {statement.size}, leaf {asked.leaf_index} among it, {_age(statement, asked)} s ago, "
        f"at most {monitor.max_age} s; {' and '.join(low) or 'nothing open for this model'}",
    )


def _explain_none(monitor: TrustedMonitor, stated: Sequence[Stated], asked: Asked, problem: str) -> Word:
    """Say what to do about it: a monitor that was asked may be away, and of one that nobody asked a file is missing."""
    if any(
        each.unheard is not None and each.unheard.is_silence and each.unheard.monitor == monitor.name
        for each in stated
    ):
        causes: tuple[str, ...] = (
            "the monitor is away, or its url in the trust file is wrong",
            "it does not follow this log",
        )
        next_step = "Try again later, or ask whoever runs the monitor"
    elif any(each.unheard is None for each in stated):
        causes = (
            "what is there is of another monitor, or about another log",
            "the vkey of the monitor in the trust file is not its own",
        )
        next_step = "Take this monitor's statement about this log; ask whoever runs the monitor where it is"
    else:
        causes = ("nobody asked the monitor: a check without network has only what it is given",)
        at = "the file `statement` of what it publishes" if monitor.url is None else monitor.url
        next_step = f"With --proof, give a copy of {at}: --statement FILE. By name, fetch the proof again"
        next_step += ", with the url of the monitor in the trust file" if monitor.url is None else ""
    return _fails(
        monitor,
        Verdict.NOT_ENOUGH,
        expected=f"a statement about {asked.tree.origin}, signed by the monitor",
        actual=problem,
        causes=causes,
        next_step=next_step,
    )


def _newest(
    monitor: TrustedMonitor, stated: Iterable[Stated], asked: Asked
) -> tuple[tuple[MonitorStatement, Stated] | None, str]:
    """Return the newest statement by this key about this log; else in words why there is none."""
    found: list[tuple[MonitorStatement, Stated]] = []
    problem = "none"
    for each in stated:
        if each.unheard is not None:
            if each.unheard.is_silence and each.unheard.monitor == monitor.name:
                problem = f"no answer: {each.unheard.why}"
            continue
        try:
            statement = verify_monitor_statement(each.note, vkeys=[monitor.key])
        except LedgerError as error:
            problem = error.finding if problem == "none" else problem
            continue
        if (statement.ledger, statement.origin) == (asked.ledger, asked.tree.origin):
            found.append((statement, each))
        else:
            problem = f"one about {statement.origin} of ledger {statement.ledger}"
    latest = asked.now + MAX_AHEAD  # one from a clock that ran ahead must not hide what was said since

    def age(each: tuple[MonitorStatement, Stated]) -> tuple[bool, int, int]:
        return each[0].checked_at <= latest, each[0].checked_at, each[0].size

    return max(found, key=age, default=None), problem


def _fails(monitor: TrustedMonitor, verdict: Verdict, **said: object) -> Word:
    failure = Failure(step=f"monitor {monitor.name}", **said)  # type: ignore[arg-type]
    return Word(monitor=monitor, verdict=verdict, failure=failure)


def _check_link(
    monitor: TrustedMonitor, statement: MonitorStatement, given: Stated, asked: Asked
) -> Word | None:
    """Hold the monitor's tree against the checkpoint of the proof: one must be the beginning of the other."""
    tree = asked.tree
    theirs = Checkpoint(origin=statement.origin, size=statement.size, root_hash=statement.root_hash)
    if theirs.size > tree.size:
        return _not_linked(monitor, theirs, asked, "the checkpoint of the proof is older")
    if theirs.size == 0:
        return None
    root = tree.root_hash
    if theirs.size < tree.size:
        if given.consistency is None:
            return _not_linked(monitor, theirs, asked, "no consistency proof between them")
        try:
            root = prefix_by_consistency(theirs, tree, given.consistency).root
        except ProofError as error:
            return _not_linked(monitor, theirs, asked, error.finding)
    if root == theirs.root_hash:
        return None
    return _fails(
        monitor,
        Verdict.CONTRADICTS,
        expected=f"root {theirs.root_hash.hex()} at size {theirs.size}, which it verified",
        actual=f"root {root.hex()} in the signed tree of {tree.size}",
        causes=(
            "the log showed you another tree than the monitor",
            "the monitor is wrong, or its key was stolen",
        ),
        next_step="Do not load the model. Ask the monitor for the signed checkpoint that it saw and keep this proof: "
        "two checkpoints that the log signed convict it, the monitor's word does not",
    )


def _not_linked(monitor: TrustedMonitor, theirs: Checkpoint, asked: Asked, why: str) -> Word:
    return _fails(
        monitor,
        Verdict.NOT_ENOUGH,
        expected=f"a statement that is linked to the checkpoint of size {asked.tree.size}",
        actual=f"one of size {theirs.size}, not linked: {why}",
        causes=(
            "proof and statement were fetched at different times",
            "the log is in Rekor, which proves no link",
        ),
        next_step="Fetch a new proof of the same event. Of what a monitor publishes, "
        f"`hubledger proof ADDRESS/LOG {asked.leaf_index} --published --statement FILE -o FILE` takes a proof and the statement "
        "about its tree",
    )


def _check_reach(monitor: TrustedMonitor, statement: MonitorStatement, asked: Asked) -> Word | None:
    if statement.size > asked.leaf_index:
        return None
    return _fails(
        monitor,
        Verdict.NOT_ENOUGH,
        expected=f"a statement that reaches leaf {asked.leaf_index}",
        actual=f"one of size {statement.size}",
        causes=("the event is newer than the monitor's last round", "the monitor has stopped"),
        next_step="Wait for the monitor's next round, then check again",
    )


def _age(statement: MonitorStatement, asked: Asked) -> int:
    return max(0, asked.now - statement.checked_at)


def _check_age(monitor: TrustedMonitor, statement: MonitorStatement, asked: Asked) -> Word | None:
    ahead = statement.checked_at - asked.now
    if ahead > MAX_AHEAD:
        return _fails(
            monitor,
            Verdict.NOT_ENOUGH,
            expected=f"a statement at most {MAX_AHEAD} s in the future",
            actual=f"one {ahead} s ahead of this machine",
            causes=("the clock of this machine is behind", "the clock of the monitor is ahead"),
            next_step="Set the clock of this machine, then check again",
        )
    if (age := _age(statement, asked)) <= monitor.max_age:
        return None
    return _fails(
        monitor,
        Verdict.TOO_OLD,
        expected=f"a statement at most {monitor.max_age} s old",
        actual=f"one {age} s old",
        causes=("it was fetched a while ago", "the monitor has stopped, or cannot reach the log"),
        next_step="Fetch it again, with a new proof of the same event; if it is as old, ask whoever runs the monitor",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """What is open for the event's histories as far as it is known, and why it is not known of one of them."""

    open: OpenFindings | None
    unknown: str | None


def _look_up(statement: MonitorStatement, given: Stated, asked: Asked) -> _Model:
    found, unknown = None, None
    for each in asked.histories:
        try:
            one = statement.open_for([each], given.parts)
        except LedgerError as error:
            unknown = error.finding
        else:
            found = one if found is None else found if one is None else found + one
    return _Model(open=found, unknown=unknown)


def _check_open(monitor: TrustedMonitor, statement: MonitorStatement, found: _Model) -> Word | None:
    """An overflowing statement lists nothing: an open finding could be about this model (docs/spec/monitor-statement.md)."""
    model = found.open
    if statement.not_listed:
        actual = f"one could be: {statement.not_listed} models have open findings, too many to list"
        cause = "many models have open findings, and the monitor cannot say whether this is one of them"
    elif model is not None and model.blocks:
        actual = f"open for this model: {model}"
        cause = "the signer of the model changed, and nobody has said yet that it is right"
    elif statement.log is not None and statement.log.blocks:
        actual = f"open for the log itself: {statement.log}"
        cause = "the log or the hub did what the monitor cannot accept, and nobody has explained it yet"
    else:
        return None
    return _fails(
        monitor,
        Verdict.OPEN,
        expected="no open finding",
        actual=actual,
        causes=(cause,),
        next_step="Read what the monitor found, and ask the hub or the publisher about it before you load the model",
    )


def _check_known(
    monitor: TrustedMonitor,
    statement: MonitorStatement,
    model: _Model,
    stated: Iterable[Stated],
    asked: Asked,
) -> Word | None:
    """A finding could be in a part that is not here: whoever holds it back must not have the model vouched for."""
    if model.unknown is None:
        return None
    wanted = {part.sha256 for part in statement.parts_for(asked.histories)}
    missing = [each.unheard for each in stated if each.unheard and each.unheard.part in wanted]
    why, next_step = model.unknown, _FETCH_AGAIN
    if missing:
        why = missing[0].why
        next_step = _put_there(monitor, missing[0], asked) if missing[0].file else next_step
    return _fails(
        monitor,
        Verdict.NOT_ENOUGH,
        expected="the part of its list in which this model would be",
        actual=f"none: {why}",
        causes=(
            "the monitor's folder is not served whole",
            "the statement was handed over without the part",
        ),
        next_step=next_step,
    )


_FETCH_AGAIN = (
    "Fetch a new proof of the same event; if it has no such part either, ask whoever runs the monitor"
)


def _put_there(monitor: TrustedMonitor, missing: Unheard, asked: Asked) -> str:
    name = (missing.part or b"").hex()
    at = f"{'the address of its statement' if monitor.url is None else monitor.url}-parts/{name}"
    return (
        f"Copy {at} to {missing.file}, or take proof, statement and parts in one step: "
        f"`hubledger proof ADDRESS/LOG {asked.leaf_index} --published --statement FILE -o FILE`"
    )


def vouch(words: Sequence[Word], needed: int) -> Word | None:
    """Return the word that decides against what the trust file asks for, None where enough monitors vouch.

    A contradiction and an open finding count whoever else vouches; then the first that is not enough.
    """
    for verdict in (Verdict.CONTRADICTS, Verdict.OPEN):
        for word in words:
            if word.verdict is verdict:
                return word
    missing = [word for word in words if word.verdict is not Verdict.VOUCHES]
    return missing[0] if len(words) - len(missing) < needed else None
