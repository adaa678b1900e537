"""Refusals that a newcomer meets first: a mistyped name, the wrong file, a command that would compare with nothing."""

import contextlib
import os
from unittest import mock

from cli.main import group
from ledger.errors import UsageError
from tests.refusals.table import refused


def _command(*words):
    def trigger(scene):
        data = {"HUBLEDGER_DATA": str(scene.folder / "data")}
        with contextlib.chdir(scene.folder), mock.patch.dict(os.environ, data):
            group.main([str(each) for each in words], standalone_mode=False)

    return trigger


CASES = (
    refused(
        UsageError,
        "hubledger trust confirm: expected --sha256 with the digest that the publisher shows elsewhere, or "
        "--compared-by-hand, got neither. Look at `hubledger trust show hub.example`, and get the digest from the "
        "publisher over another channel",
        _command("trust", "confirm", "hub.example"),
    ),
)
