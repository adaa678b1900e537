"""Observers: third parties who record with keys of their own, as the log's own ``hub-key/v1`` statements announce them.

Nothing but the chain of ``hub:`` says who is one. The index only says where its statements are; they are read from the log,
and held against the chain's head, so that an index that lacks one cannot bring a revoked key back.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ledger.client.trusted_keys import load_hub_key
from ledger.embedded.directory import ReadLedger, load_trust
from ledger.embedded.opening import OpenLedger
from ledger.encoding import format_base64, parse_base64
from ledger.entry import Entry, keyid_of, parse_entry
from ledger.errors import ConflictError, CorruptError, LedgerError, SignatureError, UsageError
from ledger.event import PlainStatement, parse_statement
from ledger.event.names import escape_name
from ledger.event.schemas import HUB_KEY
from ledger.history import ChainHead, check_link
from ledger.index import Index
from ledger.storage import Head

HUB = "hub:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """A key of an observer, and the leaves ``[first, end)`` that it may sign. ``end`` None: no end."""

    id: str
    spki: bytes
    first: int
    end: int | None = None

    def check(self, leaf_index: int) -> None:
        """Refuse a leaf at which the key does not count. Raises SignatureError."""
        if not self.first <= leaf_index < (leaf_index + 1 if self.end is None else self.end):
            raise SignatureError(
                f"leaf index of an entry by observer {self.id}",
                expected=f"{self.first} to " + ("…" if self.end is None else f"before {self.end}"),
                actual=leaf_index,
            )


def fold_observers(statements: Iterable[tuple[int, PlainStatement]]) -> dict[str, Observer]:
    """Return the observers by key id, from the key statements of ``hub:`` in log order. A key that ended stays so."""
    found: dict[str, Observer] = {}
    for leaf_index, statement in statements:
        fields = statement.fields
        if statement.predicate_type != HUB_KEY or fields["role"] != "observer":
            continue
        keyid, known = fields["keyid"], found.get(fields["keyid"])
        match fields["state"], known:
            case "added", None:
                spki = parse_base64(fields["spki"], what="key of an observer", max_bytes=1024)
                found[keyid] = Observer(id=fields["holder"], spki=spki, first=leaf_index + 1)
            case "retired", Observer(end=None) as one:
                found[keyid] = replace(one, end=leaf_index + 1)
            case "revoked", Observer() as one:
                first = fields.get("from", leaf_index)
                found[keyid] = replace(one, end=first if one.end is None else min(one.end, first))
    return found


def _statements(
    leaves: Iterable[int], read: Callable[[int], bytes], head: Head | None
) -> Iterable[tuple[int, PlainStatement]]:
    """Yield the statements of ``hub:``, each following the one before it, the last being the head where that is given."""
    last: ChainHead | None = None
    for leaf_index in leaves:
        parsed = parse_entry(read(leaf_index))
        statement = parse_statement(parsed.payload) if isinstance(parsed, Entry) else None
        if (
            not isinstance(parsed, Entry)
            or not isinstance(statement, PlainStatement)
            or statement.common is None
        ):
            continue  # an observer may say something about the hub; only the hub's own statements are chained
        for link in statement.common.histories:
            if link.key == HUB and link.sequence is not None:
                check_link(link, last, where=f"leaf {leaf_index}")
                last = ChainHead(link.sequence, hashlib.sha256(parsed.payload).digest())
                yield leaf_index, statement
    if head is not None and last != ChainHead(head.sequence, head.statement_sha256):
        raise CorruptError(
            "index of the history hub:",
            expected=f"{head.sequence + 1} statements, to the head",
            actual=0 if last is None else last.sequence + 1,
            next_step="Run `hubledger index rebuild`: until then no observer is believed",
        )


def observers_now(ledger: OpenLedger) -> dict[str, Observer]:
    """Return the observers of a ledger that this process writes.

    Raises:
        CorruptError, ChainError: the index lacks a statement of ``hub:``, or has another.
    """
    ledger.recorder.flush_index()
    _, heads = ledger.log.lookup([], [HUB])
    index = Index(ledger.layout.index, read_only=True)
    try:
        leaves = index.history(HUB)
    finally:
        index.close()

    def read(leaf_index: int) -> bytes:
        return next(iter(ledger.log.read(leaf_index, leaf_index + 1)))

    return fold_observers(_statements(leaves, read, heads.get(HUB)))


def observers_in(ledger: ReadLedger, size: int) -> dict[str, Observer]:
    """Return the observers of the first ``size`` leaves, for an audit, which replays and checks all that is read here.

    Without an index there are none: entries by observers are then by unknown keys, and the audit says so.
    """
    try:
        index = Index(ledger.layout.index, read_only=True)
        try:
            leaves = [each for each in index.history(HUB) if each < size]
        finally:
            index.close()

        def read(leaf_index: int) -> bytes:
            return next(iter(ledger.read(leaf_index, leaf_index + 1, size=size)))

        return fold_observers(_statements(leaves, read, None))
    except LedgerError:
        return {}


def add_observer(ledger: OpenLedger, observer: str, spki: bytes) -> tuple[str, int]:
    """Announce a key of an observer; returns its id and the leaf index. Repeated, the first.

    Raises:
        ConflictError: it is a key of the hub, of another observer, or one that ended. UsageError: the hub is no observer,
            or the ledger is in Rekor, where all that reads, scans and proves goes by the keys of the hub.
    """
    if ledger.config.log != "local":
        raise UsageError(
            f"log of {ledger.config.ledger}",
            expected="one in this directory",
            actual=f"one in Rekor ({ledger.config.log})",
            next_step="A ledger in Rekor has no observers: let whoever observes keep a ledger of their own",
        )
    load_hub_key(spki)
    keyid, name = keyid_of(spki), escape_name(observer)
    if name == ledger.config.hub:
        raise UsageError(
            "observer", expected="another than the hub", actual=name, next_step="Name who will record"
        )
    known = observers_now(ledger).get(keyid)
    if known is not None and (known.id, known.end) == (name, None):
        return keyid, known.first - 1
    if known is not None or keyid in (keyid_of(each) for each in _hub_keys(ledger)):
        raise ConflictError(
            f"key {keyid}",
            expected="one that nobody used here",
            actual="a key of the hub" if known is None else f"a key of {known.id}",
            next_step="Make a new key for this observer",
        )
    return keyid, _announce(ledger, keyid, spki, holder=name, state="added")


def retire_observer(ledger: OpenLedger, keyid: str) -> int:
    """Announce that a key of an observer signs no more; returns the leaf index. Repeated, the first. Raises UsageError."""
    known = observers_now(ledger).get(keyid)
    if known is None:
        raise UsageError(
            f"key {keyid}",
            expected="a key of an observer, by its whole id",
            actual="none such",
            next_step="`hubledger keys observer list` names them",
        )
    if known.end is not None:
        return known.end - 1
    return _announce(ledger, keyid, known.spki, holder=known.id, state="retired")


def _hub_keys(ledger: OpenLedger) -> list[bytes]:
    return [each.spki for each in load_trust(ledger.layout).hub_keys]


def _announce(ledger: OpenLedger, keyid: str, spki: bytes, *, holder: str, state: str) -> int:
    committed = ledger.recorder.record_statement(
        HUB_KEY,
        {
            "keyid": keyid,
            "spki": format_base64(spki),
            "state": state,
            "holder": holder,
            "role": "observer",
        },
        histories=[HUB],
        event_id=f"observer-key-{keyid[:16]}-{state}",
    )
    ledger.publish()
    return committed.leaf_index
