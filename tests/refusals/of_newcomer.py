"""Refusals that a newcomer meets first: a mistyped name, the wrong file, a command that would compare with nothing."""

import contextlib
import os
from unittest import mock

from cli.main import group
from ledger.client.asking import fetch_bundle
from ledger.client.checking import check
from ledger.client.contradictions import Contradictions
from ledger.client.trust_store import Origin, StoredTrust
from ledger.errors import CorruptError, MalformedError, UsageError
from tests.refusals.table import refused
from tests.world import World


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


def _check_live(scene, **more):
    check(scene.folder, name="hub.example/acme/tiny", trust=STORED, live=True, **more)


LIVE = "a live answer: expected a service that may be asked, got"
STORED = StoredTrust(data=b"", trust=World().trust(), source="https://hub.example", origin=Origin.CONFIRMED)
CASES = (
    refused(
        UsageError,
        f"{LIVE} offline beside it. Leave one of the two out",
        lambda scene: _check_live(scene, offline=True),
    ),
    refused(
        UsageError,
        f"{LIVE} a file with the proof. Leave one of the two out",
        lambda scene: _check_live(scene, proof_file=scene.folder),
    ),
    refused(
        MalformedError,
        "answer of the ledger's service: expected the events of acme/tiny, got no JSON. Check that the address is that of a "
        "hubledger service; else tell whoever runs it",
        lambda _: fetch_bundle(lambda name, /, *, max_bytes: b"<html>", "acme/tiny", now=0),
    ),
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
