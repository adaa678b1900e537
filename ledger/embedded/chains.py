"""Every history's chain and every event id of a log, held against each other and against the commit store.

A log has more histories and event ids than fit in memory. While it is replayed they are staged on the disk; afterwards
SQLite puts them in order, and one pass over each checks them.
"""

from collections.abc import Iterator
from typing import Any

from ledger.errors import ChainError, CorruptError
from ledger.event import HistoryLink
from ledger.history import ChainHead, check_link
from ledger.index.staging import Staged
from ledger.storage.heads import HeadStore

TABLES = """
CREATE TABLE IF NOT EXISTS links(history, leaf_index, sequence, previous, statement);
CREATE TABLE IF NOT EXISTS events(event, leaf_index);
"""
INSERT_LINK = "INSERT INTO links VALUES (?, ?, ?, ?, ?)"
INSERT_EVENT = "INSERT INTO events VALUES (?, ?)"


def check_chains(staged: Staged) -> Iterator[tuple[str, ChainHead]]:
    """Walk every chain; yields the head of each history, in the order of the keys.

    Raises:
        ChainError: a gap, a fork, or a statement that leaves its chain out.
    """
    key, head = "", None
    # Observers' statements have no sequence: they move no head.
    query = f"SELECT * FROM {staged.union('links')} WHERE sequence IS NOT NULL ORDER BY history, leaf_index"
    for history, leaf_index, sequence, previous, statement in staged.rows(query):
        if history != key:
            if head is not None:
                yield key, head
            key, head = history, None
        if head is None or (sequence, previous) != (head.sequence + 1, head.statement_sha256):
            link = HistoryLink(key=history, sequence=sequence, previous=previous)
            check_link(link, head, where=f"leaf {leaf_index}")
        head = ChainHead(sequence, statement)
    if head is not None:
        yield key, head


def check_events(staged: Staged) -> Iterator[tuple[bytes, int]]:
    """Yield every event id's key with its leaf index, in the order of the keys. Raises ChainError: one used twice."""
    last, first = None, 0
    for event, leaf_index in staged.rows(
        f"SELECT * FROM {staged.union('events')} ORDER BY event, leaf_index"
    ):
        if event == last:
            raise ChainError(
                f"event id of leaf {leaf_index}", expected="an id used once", actual=f"that of leaf {first}"
            )
        last, first = event, leaf_index
        yield event, leaf_index


def compare_heads(staged: Staged, commits: HeadStore) -> int:
    """Compare the heads of every chain with the commit store's; returns how many there are."""
    stored = ((key, ChainHead(head.sequence, head.statement_sha256)) for key, head in commits.all_heads())
    return _compare("head", check_chains(staged), stored)


def compare_events(staged: Staged, commits: HeadStore) -> int:
    """Compare every event id with the commit store's; returns how many there are."""
    return _compare("event id", check_events(staged), commits.all_events())


def _compare(what: str, replayed: Iterator[tuple[Any, Any]], stored: Iterator[tuple[Any, Any]]) -> int:
    """Walk two streams in key order."""
    count = 0
    while True:
        true, mine = next(replayed, None), next(stored, None)
        if true is None and mine is None:
            return count
        if true != mine:
            key = min(each[0] for each in (true, mine) if each is not None)
            raise CorruptError(
                f"{what} {key.hex() if isinstance(key, bytes) else key} in the commit store",
                expected=_shown(true, key),
                actual=_shown(mine, key),
                next_step="Stop the writer: its decisions may rest on damaged heads; restore the newest copy",
            )
        count += 1


def _shown(found: tuple[Any, Any] | None, key: object) -> str:
    if found is None or found[0] != key:
        return "none"
    value = found[1]
    return (
        f"number {value.sequence}, {value.statement_sha256.hex()}"
        if isinstance(value, ChainHead)
        else f"leaf {value}"
    )
