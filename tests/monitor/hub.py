"""A hub in memory that keeps its chains, and writes its log where a monitor can read it. Made with the real code."""

import hashlib
import shutil
from dataclasses import dataclass, field, replace

from ledger.client.trust_writing import format_trust
from ledger.event import HistoryLink, PlainStatement, RecordedBy, format_statement
from ledger.event.schemas import CHALLENGE, HUB_KEY, IDENTITY_POLICY
from ledger.history import history_keys
from ledger.log.fetch import fetch_from_folder
from ledger.tlog.merkle import leaf_hash, root_of
from ledger.tlog.tiles import TILE_WIDTH, EntryBundle, Tile, format_bundle, objects_for_growth
from monitor.looks import Followable
from tests.world import HUB, LEDGER, RECORDED_AT, World, digest, make_event, sign_statement

OBSERVER = RecordedBy(id="watcher.example", role="observer")
NAME = "name:acme/model"


@dataclass
class Hub:
    """``record`` appends an event with the next place in each of its histories."""

    world: World = field(default_factory=World)
    heads: dict = field(default_factory=dict)

    def fork(self, size):
        return Hub(world=self.world.fork(size), heads=dict(self.heads))

    def record(self, *signatures, repo_id=None, key="hub", links=None, verified_at=RECORDED_AT, **words):
        event = make_event(*signatures, event_id=f"event-{len(self.world.entries)}", **words)
        name = event.model.name
        event = replace(event, model=replace(event.model, repo_id=repo_id), verified_at=verified_at)
        keys = history_keys(name, repo_id)
        made = tuple(self._link(each) for each in keys) if links is None else links
        if event.common.recorded_by.role != "hub":
            made = tuple(HistoryLink(key=each) for each in keys)
        event = replace(event, common=replace(event.common, histories=made))
        return self.append(event, key=key)

    def hub_key(self, keyid, spki, *, state="added", key="hub", role="hub", **more):
        fields = {"keyid": keyid, "spki": spki, "state": state, "holder": HUB, "role": role, **more}
        common = replace(
            make_event().common, histories=(self._link("hub:"),), event_id=f"key-{len(self.world.entries)}"
        )
        return self.append(PlainStatement(predicate_type=HUB_KEY, fields=fields, common=common), key=key)

    def policy(
        self, change, *, scope=NAME, policy="new", role="hub", at=RECORDED_AT, histories=None, **fields
    ):
        """An `identity-policy/v1`: from now on, by nobody's challenge, unless `fields` say otherwise."""
        fields = {
            "scope": scope,
            "policySha256": digest(policy).hex(),
            "change": change,
            "requestedBy": "owner",
            "authorisedBy": "hub",
            "effectiveAt": at,
            **fields,
        }
        return self._plain(IDENTITY_POLICY, fields, histories or (scope,), role=role)

    def challenge(
        self, state, *, id_="c1", policy="new", histories=(NAME,), role="hub", at=RECORDED_AT, **fields
    ):
        fields = {"challengeId": id_, "state": state, "policySha256": digest(policy).hex(), **fields}
        return self._plain(CHALLENGE, fields, histories, role=role, recorded_at=at)

    def _plain(self, kind, fields, histories, *, role, **common):
        made = make_event(event_id=f"plain-{len(self.world.entries)}").common
        links = tuple(self._link(key) if role == "hub" else HistoryLink(key=key) for key in sorted(histories))
        by = OBSERVER if role == "observer" else made.recorded_by
        made = replace(made, histories=links, recorded_by=by, **common)
        statement = PlainStatement(predicate_type=kind, fields=fields, common=made)
        return self.append(statement, key="hub" if role == "hub" else "watcher")

    def append(self, statement, *, key="hub"):
        data = format_statement(statement)
        if statement.common.recorded_by.role == "hub":
            for link in statement.common.histories:
                self.heads[link.key] = (link.sequence, hashlib.sha256(data).digest())
        return self.world.append(sign_statement(data, key=key))

    def _link(self, key):
        if key not in self.heads:
            return HistoryLink(key=key, sequence=0)
        sequence, sha256 = self.heads[key]
        return HistoryLink(key=key, sequence=sequence + 1, previous=sha256)

    def publish(self, folder, size=None, *, note=None):
        """Write the log as of a size into a folder, from nothing, as any web server would serve it."""
        shutil.rmtree(folder, ignore_errors=True)
        entries = self.world.entries[:size]
        leaves = [leaf_hash(entry) for entry in entries]
        for part in objects_for_growth(0, len(entries)):
            path = folder / part.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(object_of(part, entries, leaves))
        folder.mkdir(exist_ok=True)
        (folder / "checkpoint").write_bytes(note or self.world.checkpoint(size))
        return folder

    def followable(self, folder, *more):
        return Followable(
            name="models",
            trust=self.world.trust(),
            sources=tuple(fetch_from_folder(each) for each in (folder, *more)),
        )

    def trust_file(self, path):
        path.write_bytes(format_trust(self.world.trust()))
        return path


def object_of(part, entries, leaves):
    if isinstance(part, EntryBundle):
        return format_bundle(entries[part.index * TILE_WIDTH :][: part.width])
    assert isinstance(part, Tile)
    span = 256**part.level
    first = part.index * TILE_WIDTH
    return b"".join(root_of(leaves[at * span : (at + 1) * span]) for at in range(first, first + part.width))


__all__ = ["HUB", "LEDGER", "OBSERVER", "Hub", "object_of"]
