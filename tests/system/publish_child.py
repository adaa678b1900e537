"""Forks publications and kills each at one of the steps that it makes, drawn by chance; after each, a reader looks.

Who dies is a publication that writes its files itself, one that lets a process write them, or that process. Prints a line for
each turn: KILLED or DONE, how many parts the list of the statement has that the reader found, and of which size that is. Each
turn is later than the one before, and whoever has a statement of the last hour must find its parts still.
"""

import os
import pathlib
import random
import signal
import sys

from ledger.errors import WriteError
from monitor.publish import layout, placing_process, writing
from monitor.publish.parts import KEPT_SECONDS
from monitor.publish.placing_process import PlacingProcess
from monitor.publish.store import Store
from tests.monitor.publish.scene import Publication
from tests.system import publish_steps
from tests.system.publish_steps import die_after
from tests.system.publish_world import divide_lists, hub_of, look_as_reader, look_for_parts

STEPS = {"alone": 55, "beside": 30, "process": 40}
"""Steps of a publication, about, by who dies: files written aside or handed over, files renamed, transactions."""
_STEPS_OF = {
    PlacingProcess: ("write", "commit"),
    Store: ("add", "cover", "show", "done", "clear", "set_look"),
}
_KILLED = 9
_SECONDS = 1000
"""Between two turns."""
_LATER = 10**9
"""All turns are so long after parts were written, by their files: one that was not dated when it was left is removed at once."""
_KEPT_TURNS = KEPT_SECONDS // _SECONDS + 1
"""For so many turns after the one that found a statement: it is replaced in the next one at the earliest."""


def _publish(published, who, steps, later):
    writing.FROM = 1 << 30 if who == "alone" else 1
    writing._PIECE_FILES = 4
    if who != "process":
        counted = die_after(steps)
        for owner, names in _STEPS_OF.items():
            for name in names:
                setattr(owner, name, counted(getattr(owner, name)))
        published.step(later=later)
        return
    os.environ[publish_steps.STEPS] = str(steps)
    start = placing_process.start_process
    placing_process.start_process = lambda _module, *fds: start(publish_steps.__name__, *fds)
    try:
        published.step(later=later)
    except WriteError as error:
        os._exit(_KILLED if error.actual == "it ended" else 1)


def main():
    folder, who, start, count = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    chance = random.Random(start)
    divide_lists()
    seen = []
    for turn in range(start, start + count):
        size = 3 + turn // 2
        published = Publication(folder, hub=hub_of(size))
        steps = chance.randint(0, STEPS[who])
        child = os.fork()
        if child == 0:
            try:
                _publish(published, who, steps, _LATER + turn * _SECONDS)
            except BaseException as error:
                sys.stderr.write(f"{error!r}\n")
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        fate = "KILLED" if code in (-signal.SIGKILL, _KILLED) else f"DONE {code}"
        found, parts = look_as_reader(folder / "public", layout), 0
        if found:
            seen = [*seen, (folder / "public/models/statement").read_bytes()][-_KEPT_TURNS - 1 :]
            parts = [look_for_parts(folder / "public", each) for each in seen][-1]
        print(fate, parts, found, flush=True)


if __name__ == "__main__":
    main()
