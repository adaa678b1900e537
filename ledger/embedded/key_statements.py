"""Says in the log what becomes of a key of the hub, and where it says so; in Rekor that is known when it is logged."""

import contextlib
import pathlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ledger.client.trusted_keys import format_place
from ledger.embedded.opening import OpenLedger
from ledger.encoding import Json, format_base64
from ledger.entry import keyid_of
from ledger.errors import UsageError
from ledger.event.schemas import HUB_KEY
from ledger.log.local import LocalLog

Opened = Callable[[], contextlib.AbstractContextManager[OpenLedger]]
WAIT_SECONDS = 60.0
"""How long a statement is waited for, if nobody says how long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """A statement about a key: its number, and its position, (order of the shard, leaf index); None: not logged yet."""

    number: int
    place: tuple[int, int] | None
    in_rekor: bool

    @property
    def facts(self) -> Mapping[str, Json]:
        """The same for JSON; nothing of what is not known."""
        if self.place is None:
            return {"number": self.number}
        shard, leaf_index = self.place
        return {"leafIndex": leaf_index} | ({"shardOrder": shard} if self.in_rekor else {})

    def __str__(self) -> str:
        return "" if self.place is None else format_place(*self.place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcing:
    """A ledger in which something is said of keys. ``wait``: for how many seconds Rekor is waited for."""

    directory: pathlib.Path
    opened: Opened
    wait: float

    def announce(self, spki: bytes, state: str) -> Announced:
        """Log what becomes of a key, once; the same call again finds it.

        Raises:
            UsageError: somebody dropped it from the outbox. What ``opened`` raises.
        """
        with self.opened() as ledger:
            number = announce(ledger, spki, state)
            if isinstance(ledger.log, LocalLog):
                return Announced(number=number, place=(0, number), in_rekor=False)
        return Announced(number=number, place=self._place_of(number, spki, state), in_rekor=True)

    def _place_of(self, number: int, spki: bytes, state: str) -> tuple[int, int] | None:
        from ledger.embedded.submitting import submit_in_turns  # a log of one's own needs none of it

        fate, prover = submit_in_turns(self.directory, number, wait=self.wait)
        if fate.receipts:
            # Anybody can copy an entry into an older shard, where its signer does not count: that is not where it says it.
            keyid = prover.signed(fate.entry).keyid
            return prover.counting_first(keyid, fate.receipts)[0].position
        if fate.dropped is None:
            return None
        again = (
            "Remove the file that --begin made (keys/hub.key.next or keys/hub-next.toml), and --begin"
            if state == "added"
            else "End its range by hand"
        )
        raise UsageError(
            f"statement that key {keyid_of(spki)} is {state}",
            expected="one that is logged, or waits for it",
            actual=f"one that was dropped from the outbox ({fate.dropped.reason})",
            next_step=f"Nobody will read it in the log. {again}; the trust file alone says which keys count",
        )


def announce(ledger: OpenLedger, spki: bytes, state: str, **more: Json) -> int:
    """Log and publish what becomes of a key; returns the leaf index (in Rekor the number), of the first time where it was
    said before.
    """
    keyid = keyid_of(spki)
    # Number 0 of a ledger has the id without a state (``Recorder.begin``).
    ending = f"-{more['from']}" if "from" in more else ""
    committed = ledger.recorder.record_statement(
        HUB_KEY,
        {
            "keyid": keyid,
            "spki": format_base64(spki),
            "state": state,
            "holder": ledger.config.hub,
            "role": "hub",
            **more,
        },
        histories=["hub:"],
        event_id=f"hub-key-{keyid[:16]}-{state}{ending}",
    )
    ledger.publish()
    return committed.leaf_index
