"""Forks processes that record into a ledger in Rekor, and kills each while submissions are under way.

Prints what each had promised, and ``SENT`` for each submission that it began. Nothing that could be forked is running here.
"""

import os
import pathlib
import random
import signal
import sys
import time

from ledger.log.rekor_v1 import RekorV1
from ledger.log.rekor_v2 import RekorV2
from tests.system import outbox_child


def announce(log):
    """Say when a submission begins, so that whoever kills knows that one is under way."""
    submit = log.submit

    async def announced(self, signed, *, again=False):
        outbox_child.say("SENT")
        return await submit(self, signed, again=again)

    log.submit = announced


def run_until_killed(folder, run, chance, *, longest):
    """Fork one, kill it; returns what it said and how it ended.

    It dies a moment after a submission that is drawn by lot began: the moment is up to ``longest`` seconds, which is about as
    long as the log takes to answer. So most die before an answer, and the others right after one.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        os.dup2(write, 1)
        try:
            outbox_child.record_for_ever(folder, f"r{run}", 1000)
        finally:
            os._exit(3)
    os.close(write)
    wanted, heard = chance.randint(1, 8), b""
    while heard.count(b"SENT") < wanted and (chunk := os.read(read, 4096)):
        heard += chunk
    end = time.monotonic() + chance.uniform(0, longest)
    while time.monotonic() < end:
        os.sched_yield()
    os.kill(child, signal.SIGKILL)
    while chunk := os.read(read, 65536):
        heard += chunk
    os.close(read)
    _, status = os.waitpid(child, 0)
    return heard[: heard.rfind(b"\n") + 1].decode(), os.waitstatus_to_exitcode(status)


def main():
    folder, start, kills, longest = pathlib.Path(sys.argv[1]), *map(float, sys.argv[2:5])
    announce(RekorV1)
    announce(RekorV2)
    chance = random.Random(start)
    for run in range(int(start), int(start + kills)):
        text, status = run_until_killed(folder, run, chance, longest=longest)
        ended = "KILLED" if status == -signal.SIGKILL else f"EXITED {status}"
        print(text + ended, flush=True)


if __name__ == "__main__":
    main()
