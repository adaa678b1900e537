"""Refusals that a newcomer meets first: a mistyped name, the wrong file, a command that would compare with nothing."""

import contextlib
import os
from unittest import mock

from cli.main import group
from ledger.client.contradictions import Contradictions
from ledger.errors import CorruptError, UsageError
from tests.refusals.table import refused


def _command(*words):
    def trigger(scene):
        data = {"HUBLEDGER_DATA": str(scene.folder / "data")}
        with contextlib.chdir(scene.folder), mock.patch.dict(os.environ, data):
            group.main([str(each) for each in words], standalone_mode=False)

    return trigger


def _damaged_memory(scene):
    seen = Contradictions(scene.folder / "data")
    seen.keep("log.example/models", "log.example/models", b"{}", now=0)
    (record,) = (scene.folder / "data/misbehaviour").glob("*.json")
    record.write_bytes(b"{}")
    seen.known()


CASES = (
    refused(
        CorruptError,
        "memory of misbehaviour <folder>/data/misbehaviour/<hex>.json: expected what hubledger wrote, got another object. "
        "The evidence is in the file of the same name that ends with .evidence: check it with `hubledger verify --evidence`",
        _damaged_memory,
    ),
    refused(
        UsageError,
        "hubledger trust confirm: expected --sha256 with the digest that the publisher shows elsewhere, or "
        "--compared-by-hand, got neither. Look at `hubledger trust show hub.example`, and get the digest from the "
        "publisher over another channel",
        _command("trust", "confirm", "hub.example"),
    ),
)
