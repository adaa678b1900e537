"""A user's process that keeps what it sees, and dies at a place of its own choosing: ``store_child WHAT FOLDER START KILL``.

WHAT is ``pins`` or ``trust``. ``KILL`` is the number of the system call that changes something at which the process kills itself, 0: none.
The calls are counted where Python announces them (``sys.addaudithook``), so that no part of the program is replaced.
"""

import os
import pathlib
import signal
import sys

from ledger.client.pins import Pins
from ledger.client.trust_source import versions_at
from ledger.client.trust_store import TrustStore
from tests.client_faults.store_world import KEY, LEDGER, ORIGIN, SIZES, TRUST, event_at, fetch, tree

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.truncate"}


def _kill_at(number, folder):
    """Kill this process, as nobody can refuse, when it is about to change the folder for the ``number``-th time."""
    seen = [0]

    def hook(event, arguments):
        changes = event in CHANGES or (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
        )
        if changes and str(folder) in str(arguments[0]):
            seen[0] += 1
            if seen[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def move_pins(folder, start):
    """Move both pins forward, each step linked to what is remembered, and say what was reached."""
    pins = Pins(folder)
    for size in range(start, SIZES + 1, 2):
        pins.move_log(TRUST, tree(size), linked_to=pins.log(LEDGER, ORIGIN))
        pins.move_history(event_at(size))
        print(f"REACHED {pins.history(LEDGER, KEY).sequence}", flush=True)


def update_trust(folder, _):
    store = TrustStore(folder)
    known = store.get("hub.example").trust.version
    store.update("hub.example", versions_at(fetch, known=known))
    print(f"REACHED {store.get('hub.example').trust.version}", flush=True)


def main():
    what, folder, start, kill = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    if kill:
        _kill_at(kill, folder)
    print("READY", flush=True)
    sys.stdin.readline()
    {"pins": move_pins, "trust": update_trust}[what](folder, start)


if __name__ == "__main__":
    main()
