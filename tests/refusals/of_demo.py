"""Refusals of the demo in Rekor: servers that are not there, or do not come up."""

import os
import unittest.mock

from cli.demo_rekor import _find, _Processes
from ledger.errors import SourceError, UsageError
from tests.refusals.table import refused


def _start(scene):
    with _Processes(scene.folder) as running:
        running.start(["/bin/sh", "-c", "echo no disk; exit 3"], until=lambda: False)


def _run(scene):
    with _Processes(scene.folder) as running:
        running.run(["/bin/sh", "-c", "echo no disk; exit 4"])


def _missing(scene):
    with unittest.mock.patch.dict(os.environ, {"HUBLEDGER_TOOLS": str(scene.folder)}):
        _find("no-such-server", "nor-this-one")


CASES = (
    refused(
        UsageError,
        "demo in Rekor: expected no-such-server or nor-this-one in HUBLEDGER_TOOLS or on the PATH, got none. "
        "Install it as docs/guides/rekor.md says, or run the demo without --log",
        _missing,
    ),
    refused(
        SourceError,
        "server sh: expected an answer within 60 seconds, got an end with code 3. It said: no disk",
        _start,
    ),
    refused(SourceError, "program sh: expected code 0, got code 4. It said: no disk", _run),
)
