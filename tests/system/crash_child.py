"""Records and publishes under a trace; says on standard output what it promised, at once."""

import os
import pathlib
import sys

from ledger import index
from ledger.embedded.keys import Keys
from ledger.embedded.opening import open_for_recording
from ledger.storage import sqlite
from tests.events import NOW, key
from tests.ledger.test_recorder import facts

_sign = Keys.sign


def _announced(self, checkpoint):
    note = _sign(self, checkpoint)
    say(f"SIGNED {checkpoint.size} {checkpoint.root_hash.hex()}")
    return note


def say(line):
    os.write(1, (line + "\n").encode())


def fold_often():
    """Fold what is recent every few events, so that a crash meets each step of it."""
    sqlite.FOLD_AT = 3
    index.FOLD_AT = 4


def main():
    Keys.sign = _announced
    fold_often()
    with open_for_recording(pathlib.Path(sys.argv[1]), now=lambda: NOW) as ledger:
        for round_ in range(int(sys.argv[2])):
            batch = [
                facts(f"e{round_}-{at}", key("a"), revision=f"r{round_}-{at}") for at in range(1 + round_ % 3)
            ]
            ledger.evidence.put([b"evidence %d" % round_])
            for receipt in ledger.recorder.record_batch(batch):
                say(f"ANSWERED {receipt.event.common.event_id} {receipt.leaf_index}")
            if round_ % 2:
                ledger.recorder.publish()
                say(f"PUBLISHED {ledger.log.size}")


if __name__ == "__main__":
    main()
