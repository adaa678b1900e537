"""Records and anchors until it is killed; prints a line at each step, so that whoever kills it can choose one."""

import pathlib
import sys

from ledger.storage.anchors import AnchorStore
from tests.anchors import AnchoredLedger

STEPS = ("create", "add_log_entry", "save_state")


def announced(name):
    """The method, with a line before it and one after it."""
    original = getattr(AnchorStore, name)

    def step(self, *arguments):
        print(f"before {name}", flush=True)
        answer = original(self, *arguments)
        print(f"after {name}", flush=True)
        return answer

    return step


def main():
    ledger, run = AnchoredLedger(pathlib.Path(sys.argv[1])), sys.argv[2]
    for name in STEPS:
        setattr(AnchorStore, name, announced(name))
    for number in range(1000):
        ledger.record(f"{run}-{number}")
        ledger.anchor()


if __name__ == "__main__":
    main()
