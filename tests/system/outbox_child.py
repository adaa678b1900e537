"""Accepts and submits for ever to a Rekor at an address; says on standard output what it promised, at once."""

import os
import pathlib
import sys

from ledger.embedded.opening import open_for_recording
from ledger.embedded.remote import dispatching
from ledger.log.dispatch import Backoff
from ledger.storage import outbox
from tests.events import NOW, key
from tests.ledger.test_recorder import facts


def say(line):
    os.write(1, (line + "\n").encode())


def record_for_ever(folder, run, rounds):
    """Accept so many batches, and wait for every second one to be logged; ids begin with ``run``."""
    outbox.FOLD_AT = 3
    with open_for_recording(folder, now=lambda: NOW) as ledger:
        backoff = Backoff(first=0.01, most=0.02)
        with dispatching(ledger.log, ledger.config, ledger.instance, backoff=backoff) as _:
            say("OPENED")
            for round_ in range(rounds):
                ids = [f"{run}-{round_}-{at}" for at in range(1 + round_ % 3)]
                receipts = ledger.recorder.record_batch(
                    [facts(each, key("a"), revision=each) for each in ids]
                )
                for receipt in receipts:
                    say(f"ACCEPTED {receipt.event.common.event_id} {receipt.leaf_index}")
                numbers = [each.leaf_index for each in receipts]
                if round_ % 2:
                    for fate in ledger.log.wait_for(numbers, timeout=60).values():
                        order, leaf = fate.receipts[0].position
                        say(f"LOGGED {fate.number} {order} {leaf}")


def main():
    record_for_ever(pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))


if __name__ == "__main__":
    main()
