"""Ends a process once it has made some steps of a publication. It imports little: a process that writes files begins with it."""

import os
import signal

from monitor.publish import placing, placing_process
from monitor.publish.placing import Placing

STEPS = "HUBLEDGER_TEST_STEPS"
"""The variable that says to a process after how many steps it dies."""


def die_after(steps):
    """Kill this process once it has put files in their places in so many steps more; returns what counts further calls as steps."""
    left = [steps]

    def counted(original):
        def step(*arguments, **words):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **words)

        return step

    os.rename = counted(os.rename)
    if placing._exchange is not None:
        placing._exchange = counted(placing._exchange)
    placing._write = counted(placing._write)
    Placing._sync = counted(Placing._sync)
    return counted


def work(*fds):
    """Put files in their places, as ``placing_process`` does, for so many steps."""
    die_after(int(os.environ[STEPS]))
    placing_process.work(*fds)
