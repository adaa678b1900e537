"""A monitor in a process of its own, for tests that kill it: follows a log with short runs and delivers to a hook."""

import pathlib
import sys

from cli.main import main
from monitor import follow

follow.RUN_ENTRIES = 256


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    main(["monitor", *sys.argv[2:], "--config", str(folder / "monitor.toml")])
