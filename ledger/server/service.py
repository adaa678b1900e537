"""Puts the service together: one ledger, every route, and who answers it."""

import pathlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ledger.embedded.clock import posix_now
from ledger.encoding import format_canonical_json
from ledger.errors import LedgerError
from ledger.server.app import App, Handler, Limits, Pool
from ledger.server.attesting import Attesting
from ledger.server.checks import Checks
from ledger.server.feeds import Feeds
from ledger.server.histories import Histories
from ledger.server.messages import NEVER, Request, Response
from ledger.server.metrics import CountedNowAndThen, Metrics, Sizes, bytes_below
from ledger.server.models import Models
from ledger.server.openapi import Descriptions
from ledger.server.pieces import Pieces
from ledger.server.recording import Recording
from ledger.server.routes import READ_ROUTES, WRITE_ROUTES
from ledger.server.tiles import Tiles
from ledger.server.tokens import Authority, Nobody
from ledger.server.trust_files import TrustFiles
from ledger.server.views import View
from ledger.server.writer import Writer

if TYPE_CHECKING:
    from ledger.server.places import Places

State = Callable[[], dict[str, Any]]
"""How the writer is: ``state`` is ``ok`` where it takes events."""


def _only_reads() -> dict[str, Any]:
    return {"state": "ok", "writer": "none: this service only reads"}


class Health:
    """Says whether the process answers, whether it can work, and how far it is behind."""

    def __init__(self, view: View, writer: State) -> None:
        self._view, self._writer = view, writer

    def live(self, request: Request) -> Response:
        """Answer; that is all."""
        del request
        return Response(body=b'{"state":"ok"}', cache=NEVER)

    def ready(self, request: Request) -> Response:
        """Look at log, index and writer. What cannot be seen counts as not ready."""
        del request
        facts = self._writer()
        try:
            size = self._view.size
            facts |= self._outbox() or {"published": size}
            facts |= {
                "indexBehind": max(0, size - self._view.index.position()),
                "digestsBehind": max(0, size - self._view.digests.position()),
            }
        except LedgerError as error:
            facts |= {"state": f"cannot read: {type(error).__name__}"}
        status = 200 if facts["state"] == "ok" else 503
        return Response(status=status, body=format_canonical_json(facts), cache=NEVER)

    def _outbox(self) -> dict[str, Any]:
        """Say what a ledger in Rekor has accepted and what of it waits to be logged. That it waits is no fault of ours."""
        if not self._view.in_rekor:
            return {}
        from ledger.server.places import waiting_of

        accepted = self._view.accepted
        waiting = waiting_of(accepted, now=posix_now())
        return {
            "accepted": accepted.size(),
            "logged": accepted.store.counts().logged,
            "outbox": waiting.as_json(),
        }


def read_handlers(view: View, *, writer: State = _only_reads) -> dict[str, Handler]:
    """Return who answers each route that reads."""
    histories = Histories(view)
    places = _places(view)
    tiles, models, pieces = Tiles(view), Models(view, histories, places), Pieces(view, places)
    trust_files, attesting = TrustFiles(view), Attesting(view)
    feeds, health = Feeds(view, histories), Health(view, writer)
    described = Descriptions((*READ_ROUTES, *WRITE_ROUTES))
    return {
        "checkpoint": tiles.checkpoint,
        "tile": tiles.tile,
        "log": models.log,
        "models": models.models,
        "history": models.history,
        "badge": models.badge,
        "standings": models.standings,
        "signer": models.signer,
        "entry": pieces.entry,
        "event": pieces.event,
        "proof": pieces.proof,
        "bundle": pieces.bundle,
        "statement": pieces.statement,
        "check": Checks(view, histories, places).check,
        "attestation_vsa": attesting.vsa,
        "attestation_svr": attesting.svr,
        "evidence": pieces.evidence,
        "naming": pieces.naming,
        "content": pieces.content,
        "file": pieces.file,
        "feed_atom": feeds.atom,
        "feed_json": feeds.json,
        "trust": trust_files.trust,
        "trust_signature": trust_files.signature,
        "openapi": described.openapi,
        "reference": described.reference,
        "problem": described.problem,
        "live": health.live,
        "ready": health.ready,
    }


def _places(view: View) -> "Places | None":
    if not view.in_rekor:
        return None
    from ledger.server.places import Places

    return Places(view)


def make_app(
    directory: pathlib.Path,
    *,
    limits: Limits,
    authority: Authority | None = None,
    writer: Writer | None = None,
    metrics: Metrics | None = None,
    caller_header: str = "",
) -> App:
    """Return the service of one ledger; without a writer it only reads. Raises ConfigError, LimitError."""
    pool, view = Pool(limits), View(directory)
    if metrics is not None:
        metrics.watch_sizes(_sizes(view, pool, writer))
    recording = Recording(writer, pool, limits, trust=view.ledger.trust) if writer else None
    return App(
        (*READ_ROUTES, *WRITE_ROUTES),
        handlers=read_handlers(view, writer=writer.state if writer else _only_reads),
        recorders=recording.handlers() if recording else None,
        authority=authority or Nobody(),
        limits=limits,
        pool=pool,
        answered=metrics.answered if metrics else None,
        caller_header=caller_header,
    )


EVIDENCE_SECONDS = 900.0
"""How old the count of evidence bytes may be: a million files take seconds to look at."""


def _sizes(view: View, pool: Pool, writer: Writer | None) -> Sizes:
    evidence = CountedNowAndThen(
        lambda: bytes_below(view.ledger.layout.evidence), seconds=EVIDENCE_SECONDS, clock=time.monotonic
    )
    return Sizes(
        view=view,
        writer=writer.state if writer else _only_reads,
        pool=pool.inside,
        now=posix_now,
        evidence=evidence,
    )
