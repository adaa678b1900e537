"""Forks publications and kills each at one of the steps that it makes, drawn by chance; after each, a reader looks.

Prints a line for each: KILLED or DONE, and the size of the statement that the reader found.
"""

import os
import pathlib
import random
import signal
import sys

from monitor.publish import layout, writing
from monitor.publish.store import Store
from monitor.publish.writing import Writer
from tests.monitor.publish.scene import Publication
from tests.system.publish_world import hub_of, look_as_reader

STEPS = 55
"""Steps of a publication, about: files written aside, files renamed, transactions."""


def _die_after(steps):
    left = [steps]

    def counted(original):
        def step(*arguments, **words):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **words)

        return step

    os.rename = counted(os.rename)
    writing._write = counted(writing._write)
    Writer._sync = counted(Writer._sync)
    for name in ("add", "cover", "show", "done", "clear", "set_look"):
        setattr(Store, name, counted(getattr(Store, name)))


def main():
    folder, start, count = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(start)
    for turn in range(start, start + count):
        size = 3 + turn // 2
        published = Publication(folder, hub=hub_of(size))
        steps = chance.randint(0, STEPS)
        child = os.fork()
        if child == 0:
            _die_after(steps)
            published.step()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        fate = "KILLED" if os.WIFSIGNALED(status) else f"DONE {os.waitstatus_to_exitcode(status)}"
        print(fate, look_as_reader(folder / "public", layout), flush=True)


if __name__ == "__main__":
    main()
