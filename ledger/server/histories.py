"""The histories that handlers ask for, derived once and remembered as long as nothing is added to them."""

from dataclasses import dataclass
from functools import cached_property
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
from ledger.server.words import newest, signers_of, standing_of

MAX_REMEMBERED = 2000
"""Histories; one of twenty events is some 150 kB in memory."""
_Print = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class ModelHistory:
    """The rows of one model; ``print_`` is which leaves they came from."""

    name: str
    print_: _Print
    rows: tuple[Row, ...]

    @cached_property
    def parts(self) -> tuple[bytes, ...]:
        """Each row as JSON: most answers are asked for more than once."""
        return tuple(format_canonical_json(self._facts(row)) for row in self.rows)

    @cached_property
    def standing(self) -> bytes:
        """How the model stands now, as JSON."""
        row = newest(list(self.rows))
        return b"null" if row is None else format_canonical_json(revision_standing(self, row))

    @property
    def etag(self) -> str:
        """What changes with every statement that is added: how many leaves, and the last."""
        return "-".join(f"{len(leaves)}.{leaves[-1]}" for _, leaves in self.print_ if leaves)

    @staticmethod
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
        self._known: Remembered[ModelHistory] = Remembered(MAX_REMEMBERED)

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
        rows = history_rows(self._view.ledger, index, key, size=size)
        if not rows:
            return None
        events = [row.statement for row in rows if isinstance(row.statement, VerificationEvent)]
        keys = [key, *sorted({repo for each in events if (repo := repo_key(each)) is not None})]
        made = ModelHistory(
            name=name, print_=tuple((each, _leaves(index, each, size)) for each in keys), rows=tuple(rows)
        )
        self._known.put(name, made)
        return made


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


def revision_standing(history: ModelHistory, row: Row) -> dict[str, Any]:
    """Say how one revision stands: what the list page of a hub shows."""
    event = row.statement
    if not isinstance(event, VerificationEvent):
        raise TypeError(type(event).__name__)
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
    changes = [each for each in history.rows if each.change is not None and each.leaf_index <= row.leaf_index]
    if changes:
        last = changes[-1]
        facts["changed"] = {"leafIndex": last.leaf_index, "change": last.change}
        if last.statement.common is not None:
            facts["changed"]["since"] = last.statement.common.recorded_at
    return facts
