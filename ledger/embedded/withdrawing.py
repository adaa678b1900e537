"""Withdrawing evidence: a statement says why, then the bytes go. Every proof still verifies.

The statement comes first: bytes that are gone without one would look like a loss, and nobody could tell it from one.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from ledger.encoding import Json, format_canonical_json, parse_canonical_json, parse_hex
from ledger.errors import CorruptError, InputError, NotFoundError
from ledger.event.fields import CODE
from ledger.event.schemas import ERASURE, MAX_HISTORIES
from ledger.log import Journal
from ledger.recorder import Recorder
from ledger.storage.evidence import MAX_NOTE_BYTES, Evidence, Withdrawal
from ledger.storage.identities import IdentityKeys
from ledger.storage.sqlite import event_key

MAX_DIGESTS = 64
"""Pieces of one withdrawal: what one statement holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A withdrawal that is about to happen. ``histories``: those of the models whose events name a piece.

    ``after``: of an erased identity the newest event that it hid behind, so that a later erasure is another statement.
    """

    digests: tuple[bytes, ...]
    reason: str
    reference: str | None = None
    keys_destroyed: bool | None = None
    histories: tuple[str, ...] = ()
    after: int | None = None

    def __post_init__(self) -> None:
        CODE.check(self.reason, "reason of the withdrawal")

    def fields(self) -> dict[str, Json]:
        """Return the fields of the ``erasure/v1`` statement."""
        value: dict[str, Json] = {
            "evidence": [each.hex() for each in sorted(self.digests)],
            "reason": self.reason,
        }
        if self.reference is not None:
            value["reference"] = self.reference
        if self.keys_destroyed is not None:
            value["keysDestroyed"] = self.keys_destroyed
        return value

    @property
    def all_histories(self) -> tuple[str, ...]:
        """The hub's own history, and the first seven of the models: a statement belongs to at most eight."""
        return ("hub:", *self.histories[: MAX_HISTORIES - 1])

    @property
    def event_id(self) -> str:
        """The id of the statement: a withdrawal that is repeated is the same one."""
        facts = format_canonical_json(self._own() | {"histories": sorted(self.all_histories)})
        return f"erasure-{hashlib.sha256(facts).hexdigest()}"

    def format(self) -> bytes:
        """Format as RFC 8785 JSON, for the store."""
        return format_canonical_json(self._own() | {"histories": list(self.histories)})

    def _own(self) -> dict[str, Json]:
        return self.fields() | ({} if self.after is None else {"after": self.after})


def parse_plan(data: bytes) -> Plan:
    """Parse a stored plan. Raises CorruptError: plans are our own."""
    try:
        value = parse_canonical_json(data, what="plan of a withdrawal", max_bytes=MAX_NOTE_BYTES)
        match value:
            case {"evidence": list(digests), "reason": str(reason), "histories": list(histories)}:
                return Plan(
                    digests=tuple(parse_hex(each, length=32) for each in digests),
                    reason=reason,
                    reference=value.get("reference"),
                    keys_destroyed=value.get("keysDestroyed"),
                    histories=tuple(histories),
                    after=value.get("after"),
                )
    except InputError as error:
        raise _damaged_plan(error.actual) from error
    raise _damaged_plan("another form")


def _damaged_plan(actual: object) -> CorruptError:
    return CorruptError(
        "plan of a withdrawal that is under way",
        expected="evidence, reason and histories",
        actual=actual,
        next_step="Restore the newest copy of evidence/withdrawing: without it nobody knows what was to be removed",
    )


def withdraw(
    plan: Plan, *, evidence: Evidence, recorder: Recorder[Any], identities: IdentityKeys | None = None
) -> int:
    """Log a withdrawal and remove the bytes; returns the leaf index of the statement. Durable on return.

    Raises:
        NotFoundError: a piece that is not stored. WithdrawnError: one that was withdrawn before.
        MalformedError: a reference that is too long. WriteError.
    """
    for sha256 in plan.digests:
        check_stored(evidence, sha256)
    return carry_out(plan, evidence=evidence, recorder=recorder, identities=identities)


def carry_out(
    plan: Plan, *, evidence: Evidence, recorder: Recorder[Any], identities: IdentityKeys | None = None
) -> int:
    """Do the same for pieces of which some may be gone, withdrawn before or never kept. Durable on return.

    Raises:
        MalformedError: a reference that is too long. WriteError.
    """
    name = plan.event_id
    # 1. Note what is about to happen.
    evidence.begin(name, plan.format())
    # If we stop here, nothing was logged: the next start forgets the note. The caller was told nothing.
    # 2. Say it in the log.
    done = recorder.record_statement(ERASURE, plan.fields(), histories=plan.all_histories, event_id=name)
    # If we stop here, the statement is durable and the bytes are still there: the next start does 3 to 5.
    _finish(plan, done.leaf_index, evidence, identities)
    return done.leaf_index


def check_stored(evidence: Evidence, sha256: bytes) -> None:
    """Raise where a piece is not here: WithdrawnError, or NotFoundError with what to do."""
    try:
        evidence.info(sha256)
    except NotFoundError as error:
        raise NotFoundError(
            f"evidence {sha256.hex()}",
            expected="stored bytes",
            actual="none",
            next_step="`hubledger evidence show` lists what an event names and what of it is stored",
        ) from error


def _finish(plan: Plan, leaf_index: int, evidence: Evidence, identities: IdentityKeys | None) -> None:
    """Steps 3 to 5, also run after a crash; each may be repeated."""
    if plan.keys_destroyed and identities is not None:
        for history in plan.histories:
            identities.destroy(history)
        # If we stop here, nobody can open the commitments any more, and the bundles are still there.
    # 3. From here on, whoever asks is answered with the reason and the leaf.
    evidence.note_withdrawals(
        Withdrawal(sha256=each, reason=plan.reason, leaf_index=leaf_index, reference=plan.reference)
        for each in plan.digests
        if _is_first(evidence, each, leaf_index)
    )
    # If we stop here, the bytes are on the disk and nobody is given them.
    # 4. The bytes go.
    evidence.remove(plan.digests)
    # If we stop here, only the note of step 1 is left.
    # 5. Forget the note.
    evidence.end(plan.event_id)


def _is_first(evidence: Evidence, sha256: bytes, leaf_index: int) -> bool:
    """Whether no earlier statement withdrew a piece: the note names the first one."""
    noted = evidence.withdrawn(sha256)
    return noted is None or leaf_index < noted.leaf_index


def finish_withdrawals(evidence: Evidence, identities: IdentityKeys, log: Journal, *, hub: str) -> None:
    """Finish what a crash left open: go on where the statement is in the log, forget where it is not."""
    begun = evidence.begun()
    if not begun:
        return
    keys = {name: event_key(hub, name) for name, _ in begun}
    logged, _ = log.lookup(list(keys.values()), [])
    for name, data in begun:
        found = logged.get(keys[name])
        if found is None:
            evidence.end(name)
        else:
            _finish(parse_plan(data), found, evidence, identities)
