"""What a caller waits for, and for how long: `durable`, `included`, or `witnessed`.

Witnesses may be away for a day, and nobody can wait that long: past the deadline the answer is 202 and says what was reached. So it is with Rekor.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.embedded.opening import OpenLedger
from ledger.log.local import LocalLog
from ledger.server import problems
from ledger.server.messages import Request
from ledger.server.problems import Refusal

if TYPE_CHECKING:
    from ledger.server.writer import Answer, Writer

REKOR_SECONDS = 25.0
"""How long Rekor is waited for: it answers within twenty seconds, or not at all for now. Shorter than a graceful stop lasts."""
_AGAIN_SECONDS = 0.05
"""How often to look for an event that was not even durable when its caller's time was over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """``included``: for a published checkpoint. ``witnessed``: for one with its quorum. ``seconds`` None: as it takes."""

    included: bool
    witnessed: bool = False
    seconds: float | None = None


def wait_of(request: Request, ledger: OpenLedger, *, default: str = "included") -> Wait:
    """Return what a request waits for. Raises Refusal: for a quorum that this log does not ask for."""
    word = request.text("wait") or default
    if ledger.instance is not None:
        return _wait_for_rekor(word)
    witnesses = ledger.log.witnesses if isinstance(ledger.log, LocalLog) else None
    if word == "witnessed" and (witnesses is None or witnesses.config.policy.quorum is None):
        raise Refusal(problems.NOT_IMPLEMENTED, "This log has no quorum of witnesses: wait for `included`")
    held_back = witnesses is not None and witnesses.config.required
    limited = word == "witnessed" or (word == "included" and held_back)
    return Wait(
        included=word != "durable",
        witnessed=word == "witnessed",
        seconds=ledger.config.witness.wait_seconds if limited else None,
    )


def _wait_for_rekor(word: str) -> Wait:
    """Return what is waited for in a ledger in Rekor, which may be away for a day. Raises Refusal: it has no witnesses of ours."""
    if word == "witnessed":
        raise Refusal(
            problems.NOT_IMPLEMENTED,
            "The log of this ledger is Rekor, whose witnesses are its operator's: wait for `included`",
        )
    return Wait(included=word == "included", seconds=REKOR_SECONDS if word == "included" else None)


async def in_time(writer: "Writer", answers: "Sequence[asyncio.Future[Answer]]", wait: Wait) -> None:
    """Wait until every answer is there; past the deadline, for no more than that each event is durable."""
    late: set[asyncio.Future[Answer]] = set(answers)
    seconds = wait.seconds
    while late:
        _, late = await asyncio.wait(late, timeout=seconds)
        if late:
            writer.give_up(late)
            seconds = _AGAIN_SECONDS
