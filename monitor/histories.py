"""What is known of histories and revisions, in the file of a monitor: asked for by every entry, and changed by most."""

from collections.abc import Iterable
from typing import Any

from ledger.history import ChainHead
from monitor.database import Database
from monitor.known import NOTHING, Followed, Known
from monitor.layers import Layers

# Heads change with every entry, who stands there hardly ever: so rows of heads are short, and many are on a page. Each says
# where its standing is, if it has one: an index by key would have a page to be written for each new name.
SCHEMA = f"""
{Layers.schema("heads", key="TEXT", columns="sequence INTEGER, statement BLOB, standing INTEGER")}
{Layers.schema("revisions", key="BLOB", columns="manifest BLOB NOT NULL")}
CREATE TABLE standings(
    id INTEGER PRIMARY KEY, signers TEXT NOT NULL, repo TEXT, before TEXT NOT NULL, policy BLOB) STRICT;
"""


class Histories:
    """The histories and revisions in the file of a monitor. What takes ``execute`` is part of somebody's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._heads = Layers(database, "heads", columns=("sequence", "statement", "standing"))
        self._revisions = Layers(database, "revisions", columns=("manifest",), mostly_new=True)

    def load(self, known: Known, log: str, *, histories: Iterable[str], revisions: Iterable[bytes]) -> None:
        """Add what is known of these histories and revisions of a log."""
        found, keys = known.histories, {}
        for key, sequence, statement, standing in self._heads.select(log, sorted(set(histories))):
            found[key] = Followed(None if sequence is None else ChainHead(sequence, statement))
            if standing is not None:
                keys[standing] = key
        for id_, *rest in self._database.chosen(
            "SELECT id, signers, repo, before, policy FROM standings WHERE id", sorted(keys)
        ):
            found[keys[id_]] = Followed(found[keys[id_]].head, *rest)
        known.standings.update((key, id_) for id_, key in keys.items())
        known.stored.update(found)
        known.revisions.update(self._revisions.select(log, sorted(set(revisions))))

    def keep(self, execute: Any, log: str, known: Known) -> None:
        """Store what a run changed, and nothing else of it."""
        (last,) = execute("SELECT coalesce(max(id), 0) FROM standings").fetchone()
        heads, standings = [], []
        for key in sorted(known.changed):
            new, old = known.histories[key], known.stored.get(key, NOTHING)
            id_ = known.standings.get(key)
            if new[1:] != old[1:]:
                if id_ is None:
                    last = id_ = last + 1
                standings.append((id_, *new[1:]))
            heads.append((key, *_format_head(new.head), id_))
        self._database.execute_many("INSERT OR REPLACE INTO standings VALUES (?, ?, ?, ?, ?)", standings)
        self._heads.keep(execute, log, heads)
        self._revisions.keep(execute, log, sorted(known.new_revisions.items()))


def _format_head(head: ChainHead | None) -> tuple[int | None, bytes | None]:
    return (None, None) if head is None else (head.sequence, head.statement_sha256)
