"""Who is told when a log contradicts itself: those who watch it, as far as the trust file names them. Pure.

Names and addresses are of whoever wrote the trust file, so both are shown only in letters that nobody can mistake.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ledger.client.result import Failure, name_some
from ledger.client.trust import TrustFile
from ledger.errors import LedgerError

MAX_SHOWN_NAME = 100
_ADDRESS = re.compile(
    r"https?://([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?(/[A-Za-z0-9._~%+=:/-]{0,200})?"
)
"""What is shown of an address: whole, or not at all. No user or password, no query, nothing that could be read as a sentence."""


class Watcher(StrEnum):
    """What somebody who watches a log does."""

    MONITOR = "monitor"
    WITNESS = "witness"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """Somebody to send evidence to. ``url`` is where their own statements or signatures are asked for, if it is known."""

    watcher: Watcher
    name: str
    url: str | None = None

    def __str__(self) -> str:
        shown = ascii(self.name[:MAX_SHOWN_NAME])[1:-1] + ("…" if len(self.name) > MAX_SHOWN_NAME else "")
        return f"the {self.watcher} {shown}" + (f" ({self.url})" if self.url else "")


def recipients_of(trust: TrustFile) -> tuple[Recipient, ...]:
    """Return who watches this log by the trust file: monitors, then witnesses; the log's own clock is nobody else."""
    own = {each.origin for each in trust.logs}
    return (
        *(
            Recipient(watcher=Watcher.MONITOR, name=each.name, url=_address(each.url))
            for each in trust.monitors
        ),
        *(
            Recipient(watcher=Watcher.WITNESS, name=each.key.name, url=_address(each.url))
            for each in trust.policy.witnesses
            if each.key.name not in own
        ),
    )


def _address(url: str | None) -> str | None:
    return url if url is not None and _ADDRESS.fullmatch(url) else None


_NOBODY = (
    "Keep the evidence and show it in public, and to whoever gave you the trust file, which names no monitor and no "
    "witness; not to the hub alone. It convinces anybody who has the log's key"
)


def where_to_send(recipients: Sequence[Recipient]) -> str:
    """Return the one next step of somebody who holds evidence of misbehaviour."""
    if not recipients:
        return _NOBODY
    listed = name_some(map(str, recipients))
    return f"Keep the evidence and send it to {listed}: it convinces anybody who has the log's key"


def explain_misbehaviour(error: LedgerError, recipients: Sequence[Recipient]) -> Failure:
    """Return what to say where the log contradicts itself."""
    return Failure(
        step=error.what,
        expected=str(error.expected),
        actual=str(error.actual),
        causes=(
            "the log shows different people different histories",
            "the log was put back to an older copy and went on from there",
            "the log's key was stolen",
        ),
        next_step=where_to_send(recipients),
    )
