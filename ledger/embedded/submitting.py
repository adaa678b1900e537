"""Waiting for Rekor: what a recording is told, and the commands of the outbox (``hubledger outbox``)."""

import contextlib
import pathlib
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

from ledger.embedded.directory import ReadLedger, open_for_reading
from ledger.embedded.opening import OpenLedger, open_for_recording
from ledger.embedded.reading import find_leaf, read_statement_at
from ledger.embedded.remote import TURN_SECONDS, AcceptedLog, dispatching, fate_facts, format_logged
from ledger.errors import MalformedError, UsageError
from ledger.event import VerificationEvent
from ledger.event.fields import CODE
from ledger.log.outbox import Fate, Outbox
from ledger.log.receipts import Prover
from ledger.log.trusted_root import Instance
from ledger.storage.directory import write_file_durably
from ledger.storage.outbox import OutboxStore, Pending

Progress = Callable[[int, int], None]
_LOOK = 0.5
"""Seconds between two looks at how much is left."""
_BREATH = 0.25
"""Seconds between two turns, at least: others look for the lock more often than that."""
MAX_SHOWN = 1000
"""Entries that one answer lists; the whole number is beside them."""


def submit_event(
    directory: pathlib.Path, number: int, *, wait: float, proof_out: pathlib.Path | None
) -> dict[str, Any]:
    """Drain the outbox until an entry is logged, for ``wait`` seconds at most; returns what became of it as JSON facts.

    With no time to wait nothing is submitted: the next recording, or ``outbox retry``, does it. ``proof_out`` is written
    if the entry is logged by then. Others record between two turns.
    """
    if wait <= 0:
        accepted = _accepted(open_for_reading(directory))
        fate, prover = accepted.fate(number), accepted.prover
    else:
        fate, prover = submit_in_turns(directory, number, wait=wait)
    if proof_out is not None and fate.receipts:
        write_file_durably(proof_out, format_logged(fate, prover, name=proof_out.name), mode=0o644)
    return fate_facts(fate)


def submit_in_turns(directory: pathlib.Path, number: int, *, wait: float) -> tuple[Fate, Prover]:
    """Drain the outbox until an entry is logged, for ``wait`` seconds at most; returns what became of it, and its prover."""
    with contextlib.closing(_turns(directory, wait)) as turns:
        for ledger, left in turns:
            outbox, instance = outbox_of(ledger)
            fate = outbox.fate(number)
            if left > 0 and _may_be_logged(fate):
                with dispatching(outbox, ledger.config, instance):
                    fate = _await(outbox, fate, seconds=left)
            if not _may_be_logged(fate) or left <= 0:
                break
        return fate, outbox.prover


def _may_be_logged(fate: Fate) -> bool:
    return fate.pending is not None and not fate.pending.refused


def _await(outbox: Outbox, fate: Fate, *, seconds: float) -> Fate:
    """Wait until an entry is logged, an attempt failed, or the time is up."""
    deadline, attempts = time.monotonic() + seconds, 0 if fate.pending is None else fate.pending.attempts
    while (left := deadline - time.monotonic()) > 0:
        fate = outbox.wait_for([fate.number], timeout=min(left, _LOOK))[fate.number]
        if fate.pending is None or fate.pending.refused or fate.pending.attempts > attempts:
            break
    return fate


def _turns(directory: pathlib.Path, seconds: float) -> Generator[tuple[OpenLedger, float], None, None]:
    """Yield the ledger, open, for one turn after the other, each with the seconds that it may take; the last has none.

    Between two turns the ledger is nobody's, at least until an entry may be tried again: others record meanwhile.
    """
    deadline = time.monotonic() + seconds
    while True:
        with open_for_recording(directory) as ledger:
            left = deadline - time.monotonic()
            yield ledger, max(0.0, min(left, TURN_SECONDS))
            if left <= 0:
                return
            again = outbox_of(ledger)[0].next_attempt() or 0.0
        time.sleep(max(0.0, min(max(again, _BREATH), deadline - time.monotonic())))


def _accepted(ledger: ReadLedger) -> AcceptedLog:
    if ledger.accepted is None:
        raise _not_in_rekor(ledger.config.ledger)
    return ledger.accepted


def outbox_of(ledger: OpenLedger) -> tuple[Outbox, Instance]:
    """Return the outbox of a ledger in Rekor and the instance that it is in. Raises UsageError: its log is its own."""
    if not isinstance(ledger.log, Outbox) or ledger.instance is None:
        raise _not_in_rekor(ledger.config.ledger)
    return ledger.log, ledger.instance


def _not_in_rekor(name: str) -> UsageError:
    return UsageError(
        f"outbox of {name}",
        expected="a ledger in Rekor",
        actual="one with a log of its own",
        next_step="Only a ledger that was made with `hubledger init --log rekor-v2` or rekor-v1 has an outbox",
    )


def outbox_status(directory: pathlib.Path, *, now: float) -> dict[str, Any]:
    """Say how much is in each state, what waits longest, what failed last and when it is tried again. A writer may go on.

    Raises:
        UsageError: a ledger with a log of its own.
    """
    ledger = open_for_reading(directory)
    store = _accepted(ledger).store
    counts = store.counts()
    oldest = next(iter(store.pending_from(0)), None)
    next_attempt = store.next_attempt()
    failed = _failed(store)
    return {
        "ledger": ledger.config.ledger,
        "log": ledger.config.log,
        "accepted": counts.accepted,
        "logged": counts.logged,
        "pending": counts.pending - counts.refused,
        "refused": counts.refused,
        "dropped": counts.dropped,
        "oldestPending": None if oldest is None else _pending_facts(ledger, oldest, now),
        "nextAttemptIn": None if next_attempt is None else max(0, round(next_attempt - now)),
        "errors": [
            {"error": code, "count": count, "message": text} for code, count, text in store.failures()
        ],
        "failed": [_pending_facts(ledger, each, now) for each in failed],
        "drops": [_drop_facts(ledger, each.number, each.reason, each.dropped_at) for each in store.drops()],
        "shards": _shards(ledger),
    }


def _failed(store: OutboxStore) -> list[Pending]:
    found: list[Pending] = []
    while len(found) < MAX_SHOWN and (
        page := store.pending_from(found[-1].number + 1 if found else 0, failed=True)
    ):
        found += page
    return found[:MAX_SHOWN]


def _shards(ledger: ReadLedger) -> list[dict[str, Any]]:
    """Return the shards that the ledger has used or may use, as its configuration has them now."""
    if ledger.accepted is None:
        return []
    return [
        {
            "order": each.order,
            "kind": each.kind,
            "origin": each.origin,
            "writable": each.write_url is not None,
        }
        for each in ledger.accepted.prover.shards
    ]


def _pending_facts(ledger: ReadLedger, pending: Pending, now: float) -> dict[str, Any]:
    facts = _event_facts(ledger, pending.number) | {
        "state": "refused" if pending.refused else "pending",
        "waitingFor": max(0, round(now - pending.accepted_at)),
        "attempts": pending.attempts,
    }
    if not pending.refused:
        facts["nextAttemptIn"] = max(0, round(pending.next_attempt - now))
    if pending.code:
        facts["lastError"] = {"error": pending.code, "message": pending.text}
    return facts


def _drop_facts(ledger: ReadLedger, number: int, reason: str, dropped_at: int) -> dict[str, Any]:
    return _event_facts(ledger, number) | {"reason": reason, "droppedAt": dropped_at}


def _event_facts(ledger: ReadLedger, number: int) -> dict[str, Any]:
    statement = read_statement_at(ledger, number, number + 1)
    facts: dict[str, Any] = {"number": number, "type": statement.predicate_type}
    if statement.common is not None:
        facts["eventId"] = statement.common.event_id
    if isinstance(statement, VerificationEvent):
        facts |= {"name": statement.model.name, "revision": statement.model.revision}
    return facts


def retry_outbox(
    directory: pathlib.Path,
    events: Sequence[str],
    *,
    seconds: float,
    progress: Progress,
    by_id: bool = False,
) -> dict[str, Any]:
    """Try pending entries at once (none named: all of them, refused ones too) until they are logged or time is up.

    ``by_id``: what is named are event ids, also where one is all digits.

    Raises:
        NotFoundError: no such event. UsageError: a ledger with a log of its own.
    """
    numbers = [find_leaf(open_for_reading(directory), each, by_id=by_id) for each in events] or None
    with open_for_recording(directory) as ledger:
        outbox, _ = outbox_of(ledger)
        before, tried = outbox.counts(), outbox.retry(numbers)
    with contextlib.closing(_turns(directory, seconds)) as turns:
        for ledger, left in turns:
            outbox, instance = outbox_of(ledger)
            with dispatching(outbox, ledger.config, instance):
                waiting = _drain(outbox, numbers, before.pending, seconds=left, progress=progress)
            after = outbox.counts()
            if not waiting or left <= 0:
                break
    return {
        "tried": tried,
        "logged": after.logged - before.logged,
        "pending": after.pending - after.refused,
        "refused": after.refused,
    }


def _drain(
    outbox: Outbox, numbers: Sequence[int] | None, pending: int, *, seconds: float, progress: Progress
) -> int:
    """Wait until nothing is pending that may still be logged, nothing may be tried, or the time is up; how many wait."""
    deadline = time.monotonic() + seconds
    while True:
        left = deadline - time.monotonic()
        if numbers is not None:
            outbox.wait_for(numbers, timeout=max(0.0, min(left, _LOOK)))
            waiting = sum(not each.refused for each in outbox.pending(numbers).values())
        else:
            outbox.wait_settled(timeout=max(0.0, min(left, _LOOK)))
            counts = outbox.counts()
            waiting = counts.pending - counts.refused
        total = len(numbers) if numbers is not None else pending
        progress(max(0, total - waiting), total)
        if not waiting or left <= 0 or (outbox.next_attempt() or 0.0) > _LOOK:
            return waiting


def drop_event(directory: pathlib.Path, event: str, *, reason: str, by_id: bool = False) -> dict[str, Any]:
    """Give up a pending entry for good; its statement is still served, and later statements follow it.

    Raises:
        MalformedError: the reason is no code. NotFoundError: no such event. UsageError: it is not pending.
    """
    try:
        CODE.check(reason, "--reason")
    except MalformedError as error:
        raise MalformedError(
            error.what,
            expected=error.expected,
            actual=error.actual,
            next_step="Give lower-case words joined by hyphens, such as log-refuses-it",
        ) from error
    reader = open_for_reading(directory)
    number = find_leaf(reader, event, by_id=by_id)
    with open_for_recording(directory) as ledger:
        outbox, _ = outbox_of(ledger)
        # Whoever meets its digest in a later statement's chain finds the statement.
        ledger.evidence.put([outbox.signed(outbox.fate(number).entry).payload])
        outbox.drop(number, reason=reason)
        fate = outbox.fate(number)
    return _event_facts(open_for_reading(directory), number) | fate_facts(fate)
