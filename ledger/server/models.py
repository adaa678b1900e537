"""Models and signers over HTTP: search, histories, standings, badges."""

import bisect
import hashlib
from typing import TYPE_CHECKING, Any

from ledger.embedded.searching import event_facts
from ledger.encoding import Json, format_base64, format_canonical_json, parse_json
from ledger.errors import LimitError, MalformedError, NotFoundError
from ledger.event import escape_name
from ledger.server.badge import draw
from ledger.server.histories import Histories, as_recorded
from ledger.server.messages import AT_ONCE, Request, Response, json_response
from ledger.server.routes import MAX_PAIRS_BYTES
from ledger.server.views import View

if TYPE_CHECKING:
    from ledger.server.places import Places

MAX_PAIRS = 100


class Models:
    """Answers about models and signers."""

    def __init__(self, view: View, histories: Histories, places: "Places | None" = None) -> None:
        self._view, self._histories, self._places = view, histories, places

    def log(self, request: Request) -> Response:
        """Say what the log is and how far everything has come."""
        del request
        ledger = self._view.ledger
        facts: dict[str, Any] = {
            "ledger": ledger.config.ledger,
            "hub": ledger.config.hub,
            "log": ledger.config.log,
            "hubKeys": [each.keyid for each in ledger.trust.hub_keys],
            "indexed": self._view.index.position(),
            "digestsIndexed": self._view.digests.position(),
            "identityMode": ledger.config.identity_mode,
        }
        if self._view.in_rekor:
            return json_response(facts | self._accepted_facts())
        tree = ledger.log.checkpoint().checkpoint
        return json_response(
            facts
            | {
                "size": tree.size,
                "rootHash": tree.root_hash.hex(),
                "logKeys": [each.format() for each in ledger.trust.log_keys],
            }
        )

    def _accepted_facts(self) -> dict[str, Any]:
        """Say how much of a ledger in Rekor is logged, and in which shards."""
        accepted = self._view.accepted
        counts = accepted.store.counts()
        return {
            "size": counts.accepted,
            "logged": counts.logged,
            "pending": counts.pending - counts.refused,
            "refused": counts.refused,
            "dropped": counts.dropped,
            "shards": [
                {
                    "order": each.order,
                    "kind": each.kind,
                    "origin": each.origin,
                    "logId": format_base64(each.log_id),
                }
                for each in accepted.prover.shards
            ],
        }

    def models(self, request: Request) -> Response:
        """List names, each with its newest event."""
        limit = max(1, request.number("limit", 50))
        searched = request.wanted.get("search")
        index, size = self._view.index, self._view.size
        names = index.models(
            after=request.text("after") or "",
            limit=limit + 1,
            text="" if searched is None else escape_name(searched),
        )
        page = names[:limit]
        leaves = {
            name: [each for each in index.history(f"name:{name}", chained=True) if each < size]
            for name in page
        }
        newest_leaves = [found[-1] for found in leaves.values() if found]
        said = index.summaries(newest_leaves)
        facts: dict[str, Any] = {
            "models": [
                _model_facts(name, found, said, place=self._view.ledger.place)
                for name, found in leaves.items()
                if found
            ]  # a name whose events are not published yet is not there yet
        }
        if len(names) > limit:
            facts["next"] = page[-1]
        return json_response(facts | self._as_of(size))

    def history(self, request: Request) -> Response:
        """Return one page of a model's history, and how the model stands now."""
        extent = self._view.extent
        found = self._histories.asked(request, extent=extent)
        limit = max(1, request.number("limit", 100))
        after = request.number("after", -1)
        start = bisect.bisect_right(found.leaves, after)
        end = min(len(found.leaves), start + limit)
        rows = found.rows()[start:end]
        if self._places is not None:
            rows = [
                self._places.place(row, at) for row, at in zip(rows, found.leaves[start:end], strict=True)
            ]
        pieces = [
            b'{"model":',
            format_canonical_json(found.name),
            b',"standing":',
            found.standing,
            b',"events":[',
            b",".join(rows),
            b'],"count":',
            str(len(found.leaves)).encode(),
        ]
        if end < len(found.leaves):
            pieces += [b',"next":', str(found.leaves[end - 1]).encode()]
        pieces += [b',"asOf":', _as_of_json(extent), b"}"]
        body = b"".join(pieces)
        etag = f"{found.etag}-{after}-{limit}"
        if self._places is not None:  # what waited may be logged now, though the history is the same
            etag = hashlib.sha256(body).hexdigest()[:32]
        return Response(body=body, etag=etag, weak=True)

    def badge(self, request: Request) -> Response:
        """Draw how the model stands."""
        found = self._histories.asked(request)
        if found.badge is None:
            raise NotFoundError(
                f"badge of {found.name}",
                expected="a recorded revision",
                actual="other statements only",
                next_step="A model has a badge from its first event on",
            )
        return Response(
            body=draw(found.badge),
            content_type="image/svg+xml",
            etag=found.etag,
            weak=True,
            cache=AT_ONCE,
            headers=(("content-security-policy", "default-src 'none'; sandbox"),),
        )

    def standings(self, request: Request) -> Response:
        """Say how each of up to 100 revisions stands."""
        pairs, recorded = _parse_pairs(request.data)
        extent, known = self._view.extent, dict[str, dict[str, bytes]]()
        pieces = []
        for model, revision in pairs:
            name, wanted = _recorded(model, revision) if recorded else map(escape_name, (model, revision))
            if name not in known:
                history = self._histories.find(name, extent=extent)
                known[name] = {} if history is None else history.standings()
            pieces.append(known[name].get(wanted) or _not_recorded(name, wanted))
        return Response(
            body=b"".join((b'{"standings":[', b",".join(pieces), b'],"asOf":', _as_of_json(extent), b"}"))
        )

    def signer(self, request: Request) -> Response:
        """Return what an identity signed, newest first."""
        identity = bytes.fromhex(request.captured)
        index, size = self._view.index, self._view.size
        shown = index.shown(identity)
        if shown is None:
            raise NotFoundError(
                f"signer {request.captured}",
                expected="the SHA-256 of a canonical identity",
                actual="one that no event names",
                next_step="Events name identities with their digests: see `signers` of /v1/standings",
            )
        before = min(size, request.number("before", size))
        limit = max(1, request.number("limit", 50))
        leaves = index.newest_by_signer(identity, before=before, limit=limit + 1)
        page = leaves[:limit]
        facts: dict[str, Any] = {
            "identity": request.captured,
            "name": shown,
            "events": [event_facts(self._view.ledger, each, size) for each in page],
        }
        if len(leaves) > limit:
            facts["next"] = page[-1]
        return json_response(facts | self._as_of(size))

    def _as_of(self, size: int) -> dict[str, dict[str, int]]:
        """Say which size the answer speaks of, and how far the index had come: what it lacks, the answer may lack."""
        return {"asOf": {"size": size, "indexed": min(size, self._view.index.position())}}


def _as_of_json(extent: tuple[int, int]) -> bytes:
    return b'{"indexed":%d,"size":%d}' % (extent[1], extent[0])


def _recorded(*names: str) -> list[str]:
    return [as_recorded(each.encode("utf-8", "surrogatepass")) for each in names]


def _not_recorded(name: str, revision: str) -> bytes:
    return format_canonical_json({"model": name, "revision": revision, "standing": "Not recorded"})


def _model_facts(
    name: str, leaves: list[int], said: dict[int, tuple[Any, ...]], *, place: str
) -> dict[str, Any]:
    facts: dict[str, Any] = {"model": name, "events": len(leaves), place: leaves[-1]}
    values = zip(("revision", "outcome", "decision", "recordedAt"), said.get(leaves[-1], ()), strict=False)
    return facts | {key: value for key, value in values if value is not None}


def _parse_pairs(data: bytes) -> tuple[list[tuple[str, str]], bool]:
    """Return the pairs that are asked for, and whether names are in their recorded form. Raises MalformedError, LimitError."""
    value: Json = parse_json(data, what="body", max_bytes=MAX_PAIRS_BYTES)
    match value:
        case {"pairs": list(pairs)} if value.keys() <= {"pairs", "as"} and value.get("as", "name") in (
            "name",
            "recorded",
        ):
            if len(pairs) > MAX_PAIRS:
                raise LimitError("pairs", expected=f"at most {MAX_PAIRS}", actual=len(pairs))
            return [_parse_pair(each) for each in pairs], value.get("as") == "recorded"
    raise MalformedError(
        "body", expected='{"pairs": [{"model", "revision"}, …], "as"?}', actual="another form"
    )


def _parse_pair(value: Json) -> tuple[str, str]:
    match value:
        case {"model": str(model), "revision": str(revision)} if len(value) == 2 and model and revision:
            return model, revision
    raise MalformedError("pair", expected='{"model", "revision"}, both not empty', actual=value)
