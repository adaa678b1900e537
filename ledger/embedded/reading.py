"""Answers from the public files and the index: history, proofs, keys. Touches no private key but to name it."""

import difflib
import pathlib
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any

from ledger.client.verify import verify_remembered
from ledger.embedded.directory import Layout, ReadLedger, describe, open_for_reading
from ledger.embedded.facts import signature_facts
from ledger.embedded.proving import make_proof
from ledger.encoding import parse_decimal
from ledger.entry import Entry, audited_payload, parse_entry
from ledger.errors import CorruptError, NotFoundError, UsageError
from ledger.event import (
    Statement,
    UnknownStatement,
    VerificationEvent,
    escape_name,
    parse_audited_statement,
    parse_statement,
)
from ledger.event.schemas import ERASURE
from ledger.event.statements import PlainStatement
from ledger.history import Row, derive_rows, repo_key
from ledger.identity import Identity, display
from ledger.index import Index
from ledger.storage.directory import write_file_durably

if TYPE_CHECKING:
    from ledger.embedded.remote import AcceptedLog

MAX_PIN_BYTES = 1 << 20
__all__ = ["describe", "model_history", "write_proof"]


def model_history(directory: pathlib.Path, name: str) -> list[dict[str, Any]]:
    """Return the published events of a model in log order, each with its markers and what changed.

    Raises:
        NotFoundError: nothing is recorded under this name.
    """
    ledger = open_for_reading(directory)
    size = ledger.size()
    key = f"name:{escape_name(name)}"
    index = Index(ledger.layout.index, read_only=True)
    try:
        rows = history_rows(ledger, index, key, size=size)
        if not rows:
            near = close_names(index, name)
            raise NotFoundError(
                f"model {name}",
                expected="a recorded name",
                actual="no event",
                next_step=f"Did you mean {' or '.join(near)}?"
                if near
                else "Record it with `hubledger record`",
            )
    finally:
        index.close()
    facts = [row_facts(row) for row in rows]
    return facts if ledger.accepted is None else _with_places(ledger.accepted, facts)


def _with_places(accepted: "AcceptedLog", rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Say of each row of a ledger in Rekor where it is logged, proven again, or that it is not.

    The order is that of acceptance, which the chains follow; ``leafIndex`` is that of the shard.
    """
    from ledger.embedded.remote import fate_facts

    placed = []
    for row in rows:
        number = row.pop("leafIndex")
        if "pin" in row:
            row["pin"]["number"] = row["pin"].pop("leafIndex")
        placed.append(fate_facts(accepted.fate(number)) | row)
    return placed


ReadStatement = Callable[[ReadLedger, int, int], Statement | UnknownStatement]


def history_rows(
    ledger: ReadLedger, index: Index, key: str, *, size: int, read: ReadStatement | None = None
) -> list[Row]:
    """Return the rows of a history in the tree of ``size``, in log order; none where nothing is recorded.

    ``read``: how a statement is read, where not with ``read_statement_at``.
    """
    read = read or read_statement_at
    found = _read_history(ledger, index, key, size, read)
    # A repository may have been pinned under an earlier name: its whole history says whom a row is held against.
    repos = {repo_key(each) for each in found.values() if isinstance(each, VerificationEvent)} - {None}
    for repo in repos:
        found |= _read_history(ledger, index, str(repo), size, read, known=found)
    return derive_rows(sorted(found.items()), key=key)


def _read_history(
    ledger: ReadLedger,
    index: Index,
    key: str,
    size: int,
    read: ReadStatement,
    *,
    known: Container[int] = (),
) -> dict[int, Statement | UnknownStatement]:
    """Return the published statements of a history by leaf index, without those that are known."""
    return {at: read(ledger, at, size) for at in index.history(key) if at < size and at not in known}


MAX_CANDIDATES = 500
"""Names that are compared for each third of a misspelt name: a refusal must not read a whole index of millions."""


def close_names(index: Index, name: str) -> list[str]:
    """Return up to three recorded names that are nearly ``name``, the nearest first; case does not matter.

    Of three parts of a name with one or two slips, one is whole: only names that contain one are compared.
    """
    escaped = escape_name(name)
    third = -(-len(escaped) // 3) or 1
    candidates = index.search(escaped, limit=MAX_CANDIDATES)
    for start in range(0, len(escaped), third):
        candidates += index.search(escaped[start : start + third], limit=MAX_CANDIDATES)
    by_key = {each.casefold(): each for each in candidates}
    wanted = escaped.casefold()
    near = difflib.get_close_matches(wanted, by_key, n=3, cutoff=0.75)
    near += sorted((each for each in by_key if wanted in each and each not in near), key=len)
    return [by_key[each] for each in near[:3]]


def read_statement_at(ledger: ReadLedger, leaf_index: int, size: int) -> Statement | UnknownStatement:
    """Return a published statement, its leaf hash checked. Raises NotFoundError: the leaf holds none."""
    parsed = parse_entry(read_entry_at(ledger, leaf_index, size))
    if not isinstance(parsed, Entry):
        raise CorruptError(
            f"leaf {leaf_index}",
            expected="a statement",
            actual="a map commit",
            next_step="Run `hubledger index rebuild`: the index leads to a leaf that is none of this model's",
        )
    return parse_statement(parsed.payload)


def read_own_statement_at(ledger: ReadLedger, leaf_index: int, size: int) -> Statement | UnknownStatement:
    """As ``read_statement_at``, of a log of our own: it was parsed strictly when it was appended, and its hash is checked."""
    payload = audited_payload(read_entry_at(ledger, leaf_index, size))
    if payload is None:
        return read_statement_at(ledger, leaf_index, size)
    return parse_audited_statement(payload)


def read_entry_at(ledger: ReadLedger, leaf_index: int, size: int) -> bytes:
    """Return the bytes of a published entry, their leaf hash checked."""
    return next(iter(ledger.read(leaf_index, leaf_index + 1, size=size)))


def row_facts(row: Row) -> dict[str, Any]:
    """Return one row of a history as JSON facts."""
    statement = row.statement
    facts: dict[str, Any] = {
        "leafIndex": row.leaf_index,
        "type": statement.predicate_type,
        "recordedAt": statement.common.recorded_at if statement.common else "",
        "changed": row.change is not None,
    }
    if isinstance(statement, VerificationEvent):
        facts |= {
            "eventId": statement.common.event_id,
            "revision": statement.model.revision,
            "outcome": statement.outcome,
            "decision": statement.policy.decision,
            "reasons": list(statement.reasons),
            "signedBy": _names(row.signers),
            "signers": [each.as_json() for each in row.signers],
            "signatures": signature_facts(statement),
        }
        if statement.common.recorded_by.role == "observer":
            facts["observer"] = statement.common.recorded_by.id
    if isinstance(statement, PlainStatement) and statement.predicate_type == ERASURE:
        facts["erasure"] = dict(statement.fields)
    if row.pin is not None:
        facts["pin"] = {
            "leafIndex": row.pin.leaf_index,
            "signedBy": _names(row.pin.signers),
            "signers": [each.as_json() for each in row.pin.signers],
        }
        facts["byPinned"] = row.by_pinned
    if isinstance(statement, UnknownStatement):
        facts["unknown"] = statement.reason
    if row.change is not None:
        facts["change"] = row.change
    return facts


def _names(signers: Sequence[Identity]) -> str:
    return " and ".join(display(each) for each in signers)


def write_proof(
    directory: pathlib.Path,
    event: str,
    *,
    since: pathlib.Path | None,
    output: pathlib.Path,
    by_id: bool = False,
) -> dict[str, Any]:
    """Write the proof of a leaf index or event id (``by_id``: never an index). Raises NotFoundError, and what an unsound log raises."""
    ledger = open_for_reading(directory)
    if ledger.accepted is not None:
        number = find_leaf(ledger, event, by_id=by_id)
        kind = ledger.config.log
        return _write_rekor_proof(ledger.accepted, number, kind=kind, since=since, output=output)
    tree = ledger.log.checkpoint().checkpoint
    leaf_index = find_leaf(ledger, event, by_id=by_id)
    if leaf_index >= tree.size:
        raise NotFoundError(
            f"leaf {leaf_index}", expected=f"a leaf below {tree.size}", actual="one that is not published"
        )
    old = None
    if since is not None:
        with since.open("rb") as file:
            pin = file.read(MAX_PIN_BYTES)
        old = verify_remembered(pin, origin=ledger.log.origin, keys=ledger.log.keys).checkpoint.size
    entry = read_entry_at(ledger, leaf_index, tree.size)
    write_file_durably(output.absolute(), make_proof(ledger.log, leaf_index, entry, since=old), mode=0o644)
    return {
        "leafIndex": leaf_index,
        "origin": tree.origin,
        "size": tree.size,
        "output": str(output),
        "since": old,
    }


def _write_rekor_proof(
    accepted: "AcceptedLog",
    number: int,
    *,
    kind: str,
    since: pathlib.Path | None,
    output: pathlib.Path,
) -> dict[str, Any]:
    from ledger.embedded.remote import fate_facts, format_logged

    if since is not None:
        raise UsageError(
            "--since",
            expected="a ledger with a log of its own",
            actual=f"one in Rekor ({kind})",
            next_step="Leave it out: a proof from Rekor links to no checkpoint that you keep",
        )
    fate = accepted.fate(number)
    write_file_durably(output.absolute(), format_logged(fate, accepted.prover, name=output.name), mode=0o644)
    return fate_facts(fate) | {"output": str(output)}


def find_leaf(ledger: ReadLedger, event: str, *, by_id: bool = False) -> int:
    """Return the leaf index (in Rekor: the number) that digits are, or an event id stands for.

    ``by_id``: it is an event id, also where it is all digits. Raises NotFoundError.
    """
    if not by_id and event.isascii() and event.isdigit():
        return parse_decimal(event, what="leaf index" if ledger.accepted is None else "number")
    index = Index(Layout(root=ledger.layout.root).index, read_only=True)
    try:
        found = index.find_event(event, hub=ledger.config.hub)
    finally:
        index.close()
    if not found:
        raise NotFoundError(
            f"event {event}",
            expected="a recorded event id" if by_id else "a recorded event id or a leaf index",
            actual="none such",
            next_step="`hubledger history` shows leaf indices, and with --json event ids",
        )
    return found[0]
