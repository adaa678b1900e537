"""The histories that handlers ask for, derived once and remembered as long as nothing is added to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.embedded.reading import history_rows, row_facts
from ledger.encoding import format_canonical_json
from ledger.errors import NotFoundError
from ledger.event import VerificationEvent, escape_name
from ledger.event.fields import NAME
from ledger.history import Row, repo_key
from ledger.index import Index
from ledger.server.messages import Request
from ledger.server.views import Remembered, View
from ledger.server.words import Standing, newest, signers_of, standing_of

MAX_REMEMBERED_BYTES = 24 << 20
"""Of histories as they are sent: those of some 6,000 events."""
_Print = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHistory:
    """The history of one model as it is sent: bytes, because the statements themselves take ten times the room.

    ``print_`` is which leaves it was made from. ``rows`` are the events with their leaf index, ``standings`` how each
    revision stands by its newest event, ``standing`` how the model does, ``badge`` the same in words.
    """

    name: str
    print_: _Print
    rows: tuple[tuple[int, bytes], ...]
    standings: Mapping[str, bytes]
    standing: bytes
    badge: Standing | None

    @property
    def etag(self) -> str:
        """What changes with every statement that is added: how many leaves, and the last."""
        return "-".join(f"{len(leaves)}.{leaves[-1]}" for _, leaves in self.print_ if leaves)

    @property
    def weight(self) -> int:
        """About how many bytes of memory it takes."""
        return (
            1000
            + sum(200 + len(data) for _, data in self.rows)
            + sum(200 + len(data) for data in self.standings.values())
        )


def _make(name: str, print_: _Print, rows: Sequence[Row]) -> ModelHistory:
    changes = [row for row in rows if row.change is not None]
    standings = {
        row.statement.model.revision: format_canonical_json(revision_standing(row.statement, row, changes))
        for row in rows
        # Who watches says what they saw; how a revision stands, the hub says.
        if isinstance(row.statement, VerificationEvent) and row.statement.common.recorded_by.role == "hub"
    }
    now = newest(rows)
    standing = b"null"
    if now is not None and isinstance(now.statement, VerificationEvent):
        standing = format_canonical_json(revision_standing(now.statement, now, changes))
    return ModelHistory(
        name=name,
        print_=print_,
        rows=tuple((row.leaf_index, format_canonical_json(_facts(row))) for row in rows),
        standings=standings,
        standing=standing,
        badge=None if now is None else standing_of(now),
    )


def _facts(row: Row) -> dict[str, Any]:
    facts = row_facts(row)
    event = row.statement
    if isinstance(event, VerificationEvent):
        facts |= {
            "standing": str(standing_of(row)),
            "manifestSha256": event.manifest.sha256.hex(),
            "contentSha256": event.manifest.content_sha256.hex(),
        }
        if event.uploader_account is not None:
            facts["uploadedBy"] = event.uploader_account
    return facts


class Histories:
    """Derives histories of a ledger."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._known: Remembered[ModelHistory] = Remembered(
            MAX_REMEMBERED_BYTES, weigh=lambda history: history.weight
        )

    def asked(self, request: Request) -> ModelHistory:
        """Return the history of the model that a request names. Raises NotFoundError, MalformedError."""
        return self.of(recorded_name(request))

    def of(self, name: str) -> ModelHistory:
        """Return the published history of a recorded name. Raises NotFoundError."""
        found = self.find(name)
        if found is None:
            raise NotFoundError(
                f"model {name}",
                expected="a recorded name",
                actual="no published event",
                next_step="Search with /v1/models?search=",
            )
        return found

    def find(self, name: str) -> ModelHistory | None:
        """Return the published history of a recorded name, or None."""
        size, index, key = self._view.size, self._view.index, f"name:{name}"
        known = self._known.get(name)
        if known is not None and known.print_ == tuple(
            (each, _leaves(index, each, size)) for each, _ in known.print_
        ):
            return known
        rows = self.derive(name)
        if not rows:
            return None
        events = [row.statement for row in rows if isinstance(row.statement, VerificationEvent)]
        keys = [key, *sorted({repo for each in events if (repo := repo_key(each)) is not None})]
        made = _make(name, tuple((each, _leaves(index, each, size)) for each in keys), rows)
        self._known.put(name, made)
        return made

    def derive(self, name: str) -> list[Row]:
        """Return the rows of a recorded name, which are not remembered; none where nothing is published."""
        return history_rows(self._view.ledger, self._view.index, f"name:{name}", size=self._view.size)


def _leaves(index: Index, key: str, size: int) -> tuple[int, ...]:
    return tuple(each for each in index.history(key) if each < size)


def recorded_name(request: Request) -> str:
    """Return the name that a request means, as statements carry it. Raises MalformedError."""
    raw = request.wanted["model"]
    return as_recorded(raw) if request.wanted.get("as") == b"recorded" else escape_name(raw)


def as_recorded(raw: bytes) -> str:
    """Return a name that is said to be in its recorded form. Raises MalformedError: no name has this form."""
    text = raw.decode("ascii", "replace")
    NAME.check(text, "recorded name")
    return text


def revision_standing(event: VerificationEvent, row: Row, changes: Sequence[Row]) -> dict[str, Any]:
    """Say how one revision stands: what the list page of a hub shows. ``changes`` are the rows with one."""
    facts: dict[str, Any] = {
        "model": event.model.name,
        "revision": event.model.revision,
        "standing": str(standing_of(row)),
        "outcome": event.outcome,
        "decision": event.policy.decision,
        "signers": signers_of(event),
        "leafIndex": row.leaf_index,
        "recordedAt": event.common.recorded_at,
    }
    if event.uploader_account is not None:
        facts["uploadedBy"] = event.uploader_account
    last = next((each for each in reversed(changes) if each.leaf_index <= row.leaf_index), None)
    if last is not None:
        facts["changed"] = {"leafIndex": last.leaf_index, "change": last.change}
        if last.statement.common is not None:
            facts["changed"]["since"] = last.statement.common.recorded_at
    return facts
