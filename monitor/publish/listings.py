"""Writes what is due of one log: models, signers, entries and names, each as files for people and for programs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.encoding import format_canonical_json
from ledger.event.readable import readable_name
from ledger.server.feed_formats import MAX_ENTRIES, Feed, Item, format_atom, format_json
from monitor.publish import layout
from monitor.publish.layout import CHUNK
from monitor.publish.names import name_pages
from monitor.publish.packs import parse_pack
from monitor.publish.pages import Pages
from monitor.publish.store import ALL, EVENTS, NAME, SIGNER, Shown, Store
from monitor.publish.timeline import draw
from monitor.publish.writing import Writer

HISTORY_FORMAT = "https://hubledger/published-history/v1"
FEED_ENTRIES = 20
"""Of a model or a signer: a reader that asks once a day misses nothing, and the file stays small."""
_FINDINGS_OF_EACH = 10
"""Findings on the page of one model; the list of findings has the others."""
_NEVER = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFacts:
    """What pages say about one shard of a ledger in Rekor. ``stated`` is the size that the monitor's statement speaks of."""

    order: int
    origin: str
    size: int
    root: str
    checked_at: int | None
    stated: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFacts:
    """What pages say about a log. ``checked_at`` is in POSIX seconds; ``root`` base64. A ledger in Rekor has no root of its own."""

    name: str
    origin: str
    ledger: str
    first: int
    size: int
    root: str
    checked_at: int | None
    open: int
    models: int
    statement: bool
    kind: str = "tiles"
    shards: tuple[ShardFacts, ...] = ()


class Listings:
    """Writes the files of one log. ``findings`` are those that are open, newest first, by recorded name of the model;

    ``facts_of`` says what strangers may read of some of them.
    """

    def __init__(
        self,
        log: LogFacts,
        *,
        store: Store,
        writer: Writer,
        pages: Pages,
        url: str,
        findings: Mapping[str, Sequence[Shown]],
        facts_of: Callable[[Sequence[Shown]], Sequence[Mapping[str, Any]]],
    ) -> None:
        self._log, self._store, self._writer, self._pages, self._url = log, store, writer, pages, url
        self._findings, self._facts_of = findings, facts_of
        self._pack: tuple[str, Mapping[int, bytes]] = ("", {})
        self._again = bool(list(store.due(log.name, ALL)))

    def write(self) -> None:
        """Write everything that is due, in an order in which no page or feed that was there leads to one that is not yet."""
        log, store = self._log.name, self._store
        models, new = list(store.due_models(log)), sorted(store.due(log, NAME))
        self._writer.expect(len(models))
        # Nothing leads to a new model yet; feeds of signers may, and pages of other models to those of new signers.
        unknown = set(new)
        for name in models:
            if name in unknown:
                self._model(name)
        for signer in store.due(log, SIGNER):
            self._signer(signer)
        for name in models:
            if name not in unknown:
                self._model(name)
        for page in sorted(map(int, store.due(log, EVENTS)), reverse=True):
            self._events(page)
        if new or not self._exists(""):
            self._names(new)
        newest = store.entries(log, max(0, self._log.size - MAX_ENTRIES), self._log.size)[::-1]
        path = layout.of_log(log, "feed")
        feed = self._feed(path, f"Events of {self._log.origin}", "all", newest)
        self._put(f"{path}.json", format_json(feed))

    # Models

    def _model(self, name: str) -> None:
        log, path = self._log.name, layout.of_model(self._log.name, name)
        count = self._store.count(log, name)
        archived = max(0, (count - 1) // CHUNK - 1)
        for chunk in range(archived):
            self._older(name, chunk)
        rows = self._store.history(log, name, archived * CHUNK, count)
        newest = next((each for each in rows[::-1] if _speaks(each)), None)
        findings = self._findings.get(name, ())
        facts: dict[str, Any] = {
            "format": HISTORY_FORMAT,
            "log": log,
            "ledger": self._log.ledger,
            "name": name,
            "entries": count,
            "first": archived * CHUNK,
            "rows": [self._linked(each) for each in rows],
            "changes": [number_of(each) for each in rows if "change" in each],
            "openFindings": [each.number for each in findings],
        }
        if archived:
            facts["older"] = f"history-{archived - 1}.json"
        self._put(layout.of_model(log, name, "history.json"), format_canonical_json(facts))
        page = self._pages.render(
            "model.html",
            path,
            title=readable_name(name),
            name=name,
            log=self._log,
            findings=self._facts_of(findings[:_FINDINGS_OF_EACH]) if findings else (),
            open=len(findings),
            newest=newest,
            picture=draw(rows),
            count=count,
            rows=rows[::-1],
            older=archived - 1 if archived else None,
        )
        self._put(path, page)
        self._feed(
            layout.of_model(log, name, "feed"),
            f"Signatures of {readable_name(name)}",
            f"model:{name}",
            rows[::-1][:FEED_ENTRIES],
        )
        if self._log.kind == "rekor-v1":
            bundle = layout.of_bundle(log, number_of(rows[-1]))
            self._put(layout.of_model(log, name, layout.LATEST_BUNDLE), self._writer.read(bundle))
        else:
            self._put(layout.of_model(log, name, layout.LATEST_PROOF), self._proof(number_of(rows[-1])))

    def _proof(self, leaf_index: int) -> bytes:
        """Return a proof that is in its place. The last pack is remembered: models come by their newest entries."""
        name = layout.of_proofs(self._log.name, leaf_index)
        if self._pack[0] != name:
            self._pack = name, parse_pack(self._writer.read(name))
        return self._pack[1][leaf_index]

    def _older(self, name: str, chunk: int) -> None:
        """Write a page of old entries, which never change, once."""
        log = self._log.name
        path = layout.of_model(log, name, f"history-{chunk}.html")
        data = layout.of_model(log, name, f"history-{chunk}.json")
        if not self._again and self._writer.has(path) and self._writer.has(data):
            return
        rows = self._store.history(log, name, chunk * CHUNK, (chunk + 1) * CHUNK)
        facts: dict[str, Any] = {
            "format": HISTORY_FORMAT,
            "log": log,
            "ledger": self._log.ledger,
            "name": name,
            "first": chunk * CHUNK,
            "rows": [self._linked(each) for each in rows],
            "changes": [number_of(each) for each in rows if "change" in each],
        }
        if chunk:
            facts["older"] = f"history-{chunk - 1}.json"
        self._put(data, format_canonical_json(facts))
        page = self._pages.render(
            "older.html",
            path,
            title=readable_name(name),
            log=self._log,
            picture=draw(rows),
            rows=rows[::-1],
            older=chunk - 1 if chunk else None,
        )
        self._put(path, page)

    def _linked(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {"proof": layout.of_proofs(self._log.name, row["leafIndex"]), **row}

    # Signers, entries, names

    def _signer(self, signer: str) -> None:
        shown, rows = self._store.newest_by(self._log.name, signer, limit=FEED_ENTRIES)
        path = layout.of_signer(self._log.name, signer).removesuffix(".atom")
        self._feed(path, f"Signed by {shown}", f"signer:{signer}", rows)

    def _events(self, page: int) -> None:
        log, path = self._log.name, layout.of_events(self._log.name, page)
        rows = self._store.entries(log, page * CHUNK, (page + 1) * CHUNK)
        body = self._pages.render(
            "events.html",
            path,
            title=f"Entries {page * CHUNK} to {(page + 1) * CHUNK - 1}",
            log=self._log,
            rows=rows[::-1],
            newer=page + 1 if (page + 1) * CHUNK < self._log.size else None,
            older=page - 1 if page * CHUNK > self._log.first else None,
        )
        self._put(path, body)

    def _names(self, new: Sequence[str]) -> None:
        log = self._log.name
        for page in name_pages(self._store, log, new, exists=self._exists):
            path = layout.of_names(log, page.prefix)
            title = f"Models that begin with {page.prefix}" if page.prefix else "All models"
            self._put(path, self._pages.render("names.html", path, title=title, log=self._log, page=page))

    def _exists(self, prefix: str) -> bool:
        return self._writer.has(layout.of_names(self._log.name, prefix))

    # Feeds

    def _feed(self, path: str, title: str, about: str, rows: Sequence[Mapping[str, Any]]) -> Feed:
        base = f"{self._url}/" if self._url else layout.root_of(path)
        feed = Feed(
            ledger=self._log.ledger,
            title=title,
            about=about,
            items=tuple(_item(self._log.name, base, each) for each in rows),
        )
        self._put(f"{path}.atom", format_atom(feed))
        return feed

    def _put(self, path: str, data: bytes) -> None:
        self._writer.put(path, data)


def number_of(row: Mapping[str, Any]) -> int:
    """Return what an entry goes by in addresses: its leaf index, in Rekor the number under which it is published."""
    return int(row["number"] if "number" in row else row["leafIndex"])


def _speaks(row: Mapping[str, Any]) -> bool:
    return "word" in row and "proposal" not in row and "observer" not in row


def _item(log: str, base: str, row: Mapping[str, Any]) -> Item:
    leaf, standing = number_of(row), str(row["standing"])
    about = f"{readable_name(row['name'])} {row['revision']}" if "name" in row else f"Entry {leaf}"
    at = layout.of_model(log, row["name"]) if "name" in row else layout.of_events(log, leaf // CHUNK)
    return Item(
        leaf_index=leaf,
        link=f"{base}{at}#leaf-{leaf}",
        title=f"{about}: {standing}",
        text=str(row.get("change", standing)),
        at=str(row.get("recordedAt", _NEVER)),
    )
