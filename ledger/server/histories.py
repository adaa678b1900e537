"""The histories that handlers ask for, derived once and remembered as long as nothing is added to them."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.embedded.reading import history_rows, read_own_statement_at, row_facts
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
"""Of histories, packed: those of some 50,000 events."""
_LEVEL = 1
"""The quickest: rows of one history repeat each other, so that they take a ninth even so."""
_Print = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHistory:
    """The history of one model as it is sent, packed: the statements themselves take a hundred times the room.

    ``print_`` is which leaves it was made from. ``leaves`` are those of its events, ``standing`` how the model stands,
    ``badge`` the same in words. ``claim_leaves`` are those of its verification events.
    """

    name: str
    print_: _Print
    leaves: tuple[int, ...]
    standing: bytes
    badge: Standing | None
    packed_rows: bytes
    packed_standings: bytes
    claim_leaves: tuple[int, ...]
    packed_claims: bytes

    @property
    def etag(self) -> str:
        """What changes with every statement that is added: how many leaves, and the last."""
        return "-".join(f"{len(leaves)}.{leaves[-1]}" for _, leaves in self.print_ if leaves)

    @property
    def weight(self) -> int:
        """About how many bytes of memory it takes."""
        leaves = len(self.leaves) + sum(len(each) for _, each in self.print_)
        return 1500 + 40 * leaves + sum(map(len, self._parts))

    @property
    def _parts(self) -> tuple[bytes, ...]:
        return (self.packed_rows, self.packed_standings, self.packed_claims, self.standing)

    def rows(self) -> list[bytes]:
        """Return the events in log order, each as JSON."""
        return _unpack(self.packed_rows)

    def standings(self) -> dict[str, bytes]:
        """Return how each revision stands by its newest event, as JSON."""
        listed = _unpack(self.packed_standings)
        return dict(zip((each.decode() for each in listed[::2]), listed[1::2], strict=True))

    def claims(self) -> list[tuple[int, str, bytes]]:
        """Return of each verification event its leaf index, its revision, and as JSON what a client chooses by."""
        listed = _unpack(self.packed_claims)
        revisions = [each.decode() for each in listed[::2]]
        return list(zip(self.claim_leaves, revisions, listed[1::2], strict=True))


def _pack(values: Iterable[bytes]) -> bytes:
    """Pack JSON and names, neither of which has a line feed in it."""
    return zlib.compress(b"\n".join(values), _LEVEL)


def _unpack(data: bytes) -> list[bytes]:
    plain = zlib.decompress(data)
    return plain.split(b"\n") if plain else []


def _make(name: str, print_: _Print, rows: Sequence[Row], *, place: str) -> ModelHistory:
    changes = [row for row in rows if row.change is not None]
    standings = {
        row.statement.model.revision: format_canonical_json(
            revision_standing(row.statement, row, changes, place=place)
        )
        for row in rows
        # Who watches says what they saw; how a revision stands, the hub says.
        if isinstance(row.statement, VerificationEvent) and row.statement.common.recorded_by.role == "hub"
    }
    events = [(row, row.statement) for row in rows if isinstance(row.statement, VerificationEvent)]
    now = newest(rows)
    standing = b"null"
    if now is not None and isinstance(now.statement, VerificationEvent):
        standing = format_canonical_json(revision_standing(now.statement, now, changes, place=place))
    return ModelHistory(
        name=name,
        print_=print_,
        leaves=tuple(row.leaf_index for row in rows),
        standing=standing,
        badge=None if now is None else standing_of(now),
        packed_rows=_pack(format_canonical_json(_facts(row, place)) for row in rows),
        packed_standings=_pack(
            part for revision, data in standings.items() for part in (revision.encode(), data)
        ),
        claim_leaves=tuple(row.leaf_index for row, _ in events),
        packed_claims=_pack(
            part
            for row, event in events
            for part in (event.model.revision.encode(), format_canonical_json(_claim(row, event, place)))
        ),
    )


def _claim(row: Row, event: VerificationEvent, place: str) -> dict[str, Any]:
    return {
        "contentSha256": event.manifest.content_sha256.hex(),
        place: row.leaf_index,
        "manifestSha256": event.manifest.sha256.hex(),
        "revision": event.model.revision,
    }


def _facts(row: Row, place: str) -> dict[str, Any]:
    facts = row_facts(row)
    facts[place] = facts.pop("leafIndex")
    if "pin" in facts:
        facts["pin"][place] = facts["pin"].pop("leafIndex")
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
        self._known: Remembered[tuple[tuple[int, int], ModelHistory]] = Remembered(
            MAX_REMEMBERED_BYTES, weigh=lambda known: known[1].weight
        )

    def asked(self, request: Request, *, extent: tuple[int, int] | None = None) -> ModelHistory:
        """Return the history of the model that a request names. Raises NotFoundError, MalformedError."""
        return self.of(recorded_name(request), extent=extent)

    def of(self, name: str, *, extent: tuple[int, int] | None = None) -> ModelHistory:
        """Return the published history of a recorded name. Raises NotFoundError."""
        found = self.find(name, extent=extent)
        if found is None:
            raise NotFoundError(
                f"model {name}",
                expected="a recorded name",
                actual="no published event",
                next_step="Search with /v1/models?search=",
            )
        return found

    def find(self, name: str, *, extent: tuple[int, int] | None = None) -> ModelHistory | None:
        """Return the published history of a recorded name, or None; ``extent`` is that of the view, where it is known."""
        view, key = self._view, f"name:{name}"
        extent, index = extent or view.extent, view.index
        known = self._known.get(name)
        if known is not None:
            seen, history = known
            if seen == extent:
                return history  # neither log nor index has anything more
            if history.print_ == tuple((each, _leaves(index, each, extent[0])) for each, _ in history.print_):
                self._known.put(name, (extent, history))
                return history
        rows = self._derive(name, extent[0])
        if not rows:
            return None
        events = [row.statement for row in rows if isinstance(row.statement, VerificationEvent)]
        keys = [key, *sorted({repo for each in events if (repo := repo_key(each)) is not None})]
        made = _make(
            name,
            tuple((each, _leaves(index, each, extent[0])) for each in keys),
            rows,
            place=view.ledger.place,
        )
        self._known.put(name, (extent, made))
        return made

    def derive(self, name: str) -> list[Row]:
        """Return the rows of a recorded name, which are not remembered; none where nothing is published."""
        return self._derive(name, self._view.size)

    def _derive(self, name: str, size: int) -> list[Row]:
        view = self._view
        return history_rows(view.ledger, view.index, f"name:{name}", size=size, read=read_own_statement_at)


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


def revision_standing(
    event: VerificationEvent, row: Row, changes: Sequence[Row], *, place: str = "leafIndex"
) -> dict[str, Any]:
    """Say how one revision stands: what the list page of a hub shows. ``changes`` are the rows with one."""
    facts: dict[str, Any] = {
        "model": event.model.name,
        "revision": event.model.revision,
        "standing": str(standing_of(row)),
        "outcome": event.outcome,
        "decision": event.policy.decision,
        "signers": signers_of(event),
        place: row.leaf_index,
        "recordedAt": event.common.recorded_at,
    }
    if event.uploader_account is not None:
        facts["uploadedBy"] = event.uploader_account
    last = next((each for each in reversed(changes) if each.leaf_index <= row.leaf_index), None)
    if last is not None:
        facts["changed"] = {place: last.leaf_index, "change": last.change}
        if last.statement.common is not None:
            facts["changed"]["since"] = last.statement.common.recorded_at
    return facts
