"""Admission inside the single writer: what a batch changes, entry by entry, against the heads as they are now."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ledger.errors import LedgerError, LimitError, StorageError
from ledger.log import Admitted, Committed, Submission, View
from ledger.storage import Head
from ledger.tlog.tiles import MAX_ENTRY_BYTES

Found = tuple[dict[bytes, int], dict[str, Head]]
"""Event ids with their place, and heads: those that exist of what was asked for."""
LookUp = Callable[[Sequence[bytes], Sequence[str]], Found]


@dataclass(slots=True)
class Changes:
    """What the admitted entries of one batch add to the commit."""

    entries: list[bytes] = field(default_factory=list)
    events: dict[bytes, int] = field(default_factory=dict)
    heads: dict[str, Head] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lookup:
    """What was looked up at ``size``: true for as long as nothing else is committed."""

    size: int
    events_asked: frozenset[bytes]
    heads_asked: frozenset[str]
    events: dict[bytes, int]
    heads: dict[str, Head]


class Admissions:
    """Admits the batches of one store. Not thread-safe: the writer calls it under its lock."""

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up
        self._last: _Lookup | None = None

    def lookup(self, size: int, events: Sequence[bytes], heads: Sequence[str]) -> Found:
        """Look up in a store of ``size``. An admission asks what its decision just asked: the answer is kept."""
        last = self._last
        if (
            last is not None
            and last.size == size
            and last.events_asked.issuperset(events)
            and last.heads_asked.issuperset(heads)
        ):
            return dict(last.events), dict(last.heads)
        found, stored = self._look_up(events, heads)
        self._last = _Lookup(
            size=size,
            events_asked=frozenset(events),
            heads_asked=frozenset(heads),
            events=dict(found),
            heads=dict(stored),
        )
        return found, stored

    def admit(
        self, size: int, submissions: Sequence[Submission]
    ) -> tuple[list[Committed | LedgerError], Changes]:
        """Admit each in order, entries before it in this batch included; ``size`` is the place of the first.

        Raises:
            StorageError: an admission found damage; nothing of the batch may be committed.
        """
        found = self.lookup(
            size,
            [key for sub in submissions for key in sub.event_keys],
            list({key for sub in submissions for key in sub.histories}),
        )
        view, changes = View(*found), Changes()
        return [_admit(sub, view, found, changes, size) for sub in submissions], changes


def _admit(sub: Submission, view: View, found: Found, changes: Changes, size: int) -> Committed | LedgerError:
    events, heads = found
    leaf_index = size + len(changes.entries)
    try:
        if len(sub.entry) > MAX_ENTRY_BYTES:
            raise LimitError(
                "entry", expected=f"at most {MAX_ENTRY_BYTES} bytes", actual=f"{len(sub.entry)} bytes"
            )
        admitted = sub.admit(view, leaf_index) if sub.admit else Admitted()
    except StorageError:
        raise
    except LedgerError as error:
        return error
    changes.entries.append(sub.entry)
    for key in admitted.events:
        changes.events[key] = events[key] = leaf_index
    for name, head in admitted.heads:
        changes.heads[name] = heads[name] = head
    return Committed(leaf_index=leaf_index)
