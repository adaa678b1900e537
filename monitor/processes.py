"""Processes of our own beside the monitor: how they are started, and ended."""

import subprocess
import sys

_STOP_SECONDS = 5.0


def start_process(module: str, *fds: int) -> "subprocess.Popen[bytes]":
    """Start a process that runs ``work`` of one of our own modules, from where we have them, with open files that it inherits.

    Neither a fork, since a copy would wait for the locks of our other threads, nor what multiprocessing calls spawn, which
    runs the main module of whoever uses us once more. Isolated (-I): neither the folder that we happen to be in nor the
    environment says what a module is.

    Raises:
        OSError: no process can be started.
    """
    code = (
        f"import sys; fds, sys.path[:] = sys.argv[1:{1 + len(fds)}], sys.argv[{1 + len(fds)}:]; "
        f"from {module} import work; work(*map(int, fds))"
    )
    paths = [path for path in sys.path if path]
    command = [sys.executable, "-I", "-c", code, *map(str, fds), *paths]
    return subprocess.Popen(command, pass_fds=fds, stdin=subprocess.DEVNULL)


def end_process(process: "subprocess.Popen[bytes]", *, at_once: bool) -> None:
    """Wait until a process has ended, which nobody asks any more; ``at_once``, or after a while, it is killed."""
    if at_once:
        process.kill()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
