"""How soon a monitor that runs tells of an event, and what a hundred quiet logs cost it."""

import contextlib
import functools
import http.server
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
import zlib

from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from tests.bench.measure import row, scratch
from tests.bench.workload import EVENTS_A_MODEL, facts

EVENTS = 40
LOGS = 100
QUIET_SECONDS = 20
PATIENCE = 120
"""Seconds before a monitor that does not do what is waited for ends the benchmark."""

_HUBLEDGER = str(pathlib.Path(sys.executable).with_name("hubledger"))
_HOOK = "#!/bin/sh\ndate +%s.%N >> ../told\n"


class _Counted(http.server.SimpleHTTPRequestHandler):
    """Files with entity tags, as web servers give them, and how each request for one was answered."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments, answers, **settings):
        self._answers = answers
        super().__init__(*arguments, **settings)

    def log_message(self, *arguments):
        pass

    def log_request(self, code="-", size="-"):
        self._answers.append((time.monotonic(), int(code)))

    def do_GET(self):
        try:
            body = pathlib.Path(self.translate_path(self.path)).read_bytes()
        except OSError:
            self.send_error(404)
            return
        tag = f'"{zlib.crc32(body):08x}"'
        known = self.headers["if-none-match"] == tag
        self.send_response(304 if known else 200)
        self.send_header("etag", tag)
        self.send_header("content-length", str(0 if known else len(body)))
        self.end_headers()
        self.wfile.write(b"" if known else body)


@contextlib.contextmanager
def _served(folder):
    """The standard library's file server over a folder; yields its address and the answers that it gives."""
    answers = []
    handler = functools.partial(_Counted, directory=str(folder), answers=answers)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", answers
        finally:
            server.shutdown()
            thread.join()


def _until(is_so, what):
    end = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > end:
            raise SystemExit(f"{what}: not within {PATIENCE} s")
        time.sleep(0.005)


@contextlib.contextmanager
def _running(settings):
    """A monitor from the first entries on, as a process that looks each second."""
    config = ["--config", str(settings)]
    subprocess.run(
        [_HUBLEDGER, "monitor", "init", "--from", "genesis", *config], check=True, stdout=subprocess.DEVNULL
    )
    with subprocess.Popen([_HUBLEDGER, "monitor", "run", *config], stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _log(name, url, trust):
    return f'[[log]]\nname = "{name}"\nurl = "{url}"\ntrust = "{trust}"\n'


def _told():
    """Seconds from a checkpoint to the hook that tells of the event in it, for events at every part of the interval."""
    with scratch() as folder, _served(folder) as (url, answers):
        init(folder / "ledger", origin="log.example/models", hub="hub.example")
        (folder / "hooks.d").mkdir()
        (folder / "hooks.d/tell").write_text(_HOOK)
        (folder / "hooks.d/tell").chmod(0o700)
        told, settings = folder / "told", folder / "monitor.toml"
        told.touch()
        settings.write_text(
            "interval = 1.0\n"
            + _log("models", f"{url}/ledger/log", "ledger/trust.toml")
            + '[[sink]]\nname = "desk"\nhooks = "hooks.d"\nseverity = "info"\n'
        )
        shown = []
        with open_for_recording(folder / "ledger") as ledger, _running(settings):
            _until(lambda: len(answers) > 2, "the first look")
            for number in range(EVENTS):
                time.sleep(number % 10 / 10)
                ledger.recorder.record_batch([facts(number * EVENTS_A_MODEL)])
                ledger.log.publish()
                shown.append(time.time())
                _until(lambda: len(told.read_text().splitlines()) == len(shown), f"event {len(shown)}")
        times = [float(each) for each in told.read_text().splitlines()]
    return sorted(after - before for before, after in zip(shown, times, strict=True))


def _quiet():
    """Memory in MB of a monitor of many quiet logs, and its requests an interval and log; all must be conditional."""
    with scratch() as folder, _served(folder) as (url, answers):
        logs = []
        for number in range(LOGS):
            name = f"log-{number}"
            init(folder / name, origin=f"log.example/{number}", hub="hub.example")
            logs.append(_log(name, f"{url}/{name}/log", f"{name}/trust.toml"))
        settings = folder / "monitor.toml"
        settings.write_text("interval = 1.0\n" + "".join(logs))
        with _running(settings) as process:
            _until(lambda: sum(status == 304 for _, status in answers) >= LOGS, "a second look at every log")
            start = time.monotonic()
            time.sleep(QUIET_SECONDS)
            seen = [status for at, status in answers if at >= start]
            memory = int(
                re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{process.pid}/status").read_text())[1]
            )
    return memory / 1024, len(seen) / QUIET_SECONDS / LOGS, seen.count(304) / len(seen)


def alarms():
    """An event's way to a hook with an interval of a second, and a monitor that has nothing to do."""
    times = _told()
    memory, requests, conditional = _quiet()
    return [
        row(
            f"monitor: from a checkpoint to the hook, interval 1 s, {EVENTS} events: median, longest",
            f"{statistics.median(times):.2f} s, {times[-1]:.2f} s",
            "",
            "≤ 2 s",
        ),
        row(
            f"monitor: {LOGS} quiet logs in one process, interval 1 s: memory",
            f"{memory:.0f} MB",
            "",
            "≤ 150 MB",
        ),
        row(
            "the same: requests a log and interval, of them answered 304",
            f"{requests:.2f}, {conditional:.0%}",
            "",
            "1",
        ),
    ]
