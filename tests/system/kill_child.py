"""Forks writers and kills them at random; prints what each had promised before it died."""

import os
import pathlib
import random
import signal
import sys

from ledger.embedded.keys import Keys
from ledger.embedded.opening import open_for_recording
from tests.events import NOW, key
from tests.ledger.test_recorder import facts
from tests.system import crash_child

KILLS = 30


def write_for_ever(folder, run):
    Keys.sign = crash_child._announced
    crash_child.fold_often()
    with open_for_recording(folder, now=lambda: NOW) as ledger:
        crash_child.say("OPENED")
        for round_ in range(10_000):
            batch = [
                facts(f"{run}-{round_}-{at}", key("a"), revision=f"{run}-{round_}-{at}") for at in range(3)
            ]
            for receipt in ledger.recorder.record_batch(batch):
                crash_child.say(f"ANSWERED {receipt.event.common.event_id} {receipt.leaf_index}")
            if round_ % 2:
                ledger.log._next_publication = 0.0
                ledger.recorder.publish()


def main():
    folder, start = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    chance = random.Random(start)
    for run in range(start, start + KILLS):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            os.dup2(write, 1)
            try:
                write_for_ever(folder, run)
            finally:
                os._exit(3)
        os.close(write)
        # Random in two ways: after some promises, and then some instructions later.
        wanted, heard = chance.randint(1, 400), b""
        while len(heard) < wanted and (chunk := os.read(read, 64)):
            heard += chunk
        for _ in range(chance.randint(0, 60_000)):
            pass
        os.kill(child, signal.SIGKILL)
        while chunk := os.read(read, 65536):
            heard += chunk
        os.close(read)
        _, status = os.waitpid(child, 0)
        text = heard[: heard.rfind(b"\n") + 1].decode()
        print(
            text + ("KILLED" if os.WIFSIGNALED(status) else f"EXITED {os.waitstatus_to_exitcode(status)}"),
            flush=True,
        )


if __name__ == "__main__":
    main()
