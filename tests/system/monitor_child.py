"""A monitor in a process of its own, for tests that kill it: follows a log with short runs and delivers to a hook.

With ``KILL_AT`` in its environment it kills itself when the code of the monitor has called or returned so often, in whichever
thread and inside whichever transaction that is. ``OBJECT_SECONDS`` is the time for one object of a log,
``FIRST_PAUSE`` that before it is asked for again.
"""

import itertools
import os
import pathlib
import signal
import sys
import threading

from cli.main import main
from ledger.log import fetch
from monitor import follow, sources

follow.RUN_ENTRIES = 256
MONITOR = str(pathlib.Path(follow.__file__).parent)


def kill_at(count):
    steps = itertools.count(1)  # next() is one step for all threads

    def step(frame, _event, _argument):
        if frame.f_code.co_filename.startswith(MONITOR) and next(steps) >= count:
            os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(step)
    sys.setprofile(step)


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    sources.OBJECT_SECONDS = float(os.environ.get("OBJECT_SECONDS", sources.OBJECT_SECONDS))
    fetch._FIRST_PAUSE = float(os.environ.get("FIRST_PAUSE", fetch._FIRST_PAUSE))
    if "KILL_AT" in os.environ:
        kill_at(int(os.environ["KILL_AT"]))
    main(["monitor", *sys.argv[2:], "--config", str(folder / "monitor.toml")])
