"""A monitor in a process of its own, for tests that kill it: follows a log with short runs and delivers to a hook.

With ``KILL_AT`` in its environment it kills itself when the code of the monitor has called or returned so often, in whichever
thread and inside whichever transaction that is.
"""

import itertools
import os
import pathlib
import signal
import sys
import threading

from cli.main import main
from monitor import follow

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
    if "KILL_AT" in os.environ:
        kill_at(int(os.environ["KILL_AT"]))
    main(["monitor", *sys.argv[2:], "--config", str(folder / "monitor.toml")])
