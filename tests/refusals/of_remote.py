"""Refusals of a ledger in Rekor that strangers and mishaps bring about: halves of characters, numbers of nothing."""

import json
from dataclasses import replace

from ledger.bundle.any_bundle import parse_any_bundle
from ledger.bundle.export import format_sigstore_bundle
from ledger.config import load_config
from ledger.embedded.directory import open_for_reading
from ledger.embedded.remote import check_stamping, load_rekor
from ledger.embedded.remote_audit import check_listed
from ledger.embedded.scanning import scan_ledger
from ledger.embedded.submitting import drop_event
from ledger.entry import MapCommit, format_map_commit
from ledger.errors import (
    ConfigError,
    MalformedError,
    MisbehaviourError,
    NotFoundError,
    RestoredError,
    SourceError,
)
from ledger.log import Submission
from tests.fakes.rekor import FakeRekor
from tests.fakes.remote_log import FakeShard
from tests.refusals.of_bundles import AGAIN
from tests.refusals.of_outbox import _ledger, _outbox, _record
from tests.refusals.table import refused, turned
from tests.sigstore_world import HUB_SPKI, RekorTwo, sign_payload


def _half_a_character(_):
    bundle = sign_payload(RekorTwo())
    bundle["dsseEnvelope"]["payloadType"] = "\ud83d"
    return parse_any_bundle(json.dumps(bundle).encode())


def _two_trees(scene):
    """A log that was set back signs another entry at a place that it has proven before."""
    outbox = _outbox(scene, count=1)
    outbox.outbox.append([Submission(entry=next(iter(outbox.outbox.read(0, 1))))])
    outbox.drain()


def _old_outbox(scene):
    directory = _ledger(scene)
    kept = (directory / "outbox.db").read_bytes()
    _record(scene, directory, wait=0.0)
    (directory / "outbox.db").write_bytes(kept)
    _record(scene, scene.watch(directory), wait=0.0)


def _stamped(scene, log="rekor-v2"):
    directory = _ledger(scene)
    settings = directory / "hubledger.toml"
    text = settings.read_text().replace("timestamps = false", "timestamps = true", 1)
    settings.write_text(text)
    config = replace(load_config(directory), log=log)
    check_stamping(config, load_rekor(load_config(directory), directory))


def _stamped_recording(scene):
    directory = _ledger(scene)
    settings = directory / "hubledger.toml"
    settings.write_text(settings.read_text().replace("timestamps = false", "timestamps = true", 1))
    _record(scene, scene.watch(directory), wait=0.0)


def _unlisted_shard(scene):
    trust = open_for_reading(_ledger(scene)).trust
    check_listed(trust, FakeShard(1).shard, place=1)


def _scanned_elsewhere(scene):
    directory = _ledger(scene)
    server = FakeRekor()
    with server.serve() as url:
        settings = directory / "hubledger.toml"
        settings.write_text(settings.read_text().replace('read_url = ""', f'read_url = "{url}/elsewhere"'))
        scan_ledger(directory, progress=lambda _d, _t: None)


CASES = (
    refused(
        SourceError,
        "http://<any>/elsewhere/checkpoint: expected the checkpoint of the shard, got 404. Say in `rekor.read_url` of hubledger.toml where its checkpoint and tiles are served",
        _scanned_elsewhere,
    ),
    refused(
        ConfigError,
        "rekor.timestamps: expected false in rekor-v1, which gives each entry a time of its own, got true. Correct what is named, and try again",
        lambda scene: _stamped(scene, log="rekor-v1"),
    ),
    refused(
        ConfigError,
        "timestamp authorities: expected one in the signing config, for rekor.timestamps, got none. Correct what is named, and try again",
        _stamped_recording,
    ),
    refused(
        ConfigError,
        "shard 1 of trust.toml: expected shard1.example, as in the trusted root, got none. List it there, in this place, raise `version`, and give the file to those who verify: they go by it",
        _unlisted_shard,
    ),
    refused(
        RestoredError,
        "entries in outbox.db: expected at least 2, which are in index.db, got 1. Restore the newest copy of outbox.db: recording into this one would fork histories. If there is none, `hubledger index rebuild --scan` says what Rekor v2 has and this one has not",
        _old_outbox,
    ),
    turned(
        MisbehaviourError,
        "index 0 of shard0.example: expected the entry that the log has proven to be there, of number 0, got number 1, proven as well: the log has shown two trees. Keep both as evidence, and send them to the monitors of this log",
        _two_trees,
    ),
    refused(
        MalformedError,
        f"entry for a bundle: expected an envelope, got a map commit. {AGAIN}",
        lambda _: format_sigstore_bundle(
            format_map_commit(MapCommit(covers=0, root=bytes(32))), spki=HUB_SPKI, log_entries=()
        ),
    ),
    refused(
        MalformedError,
        f"payload type of the bundle: expected UTF-8, got \\xd83d. {AGAIN}",
        _half_a_character,
    ),
    refused(
        MalformedError,
        "--reason: expected a code of at most 40 letters, digits and hyphens, got Too large. Give lower-case words joined by hyphens, such as log-refuses-it",
        lambda scene: drop_event(scene.watch(_ledger(scene)), "0", reason="Too large"),
    ),
    refused(
        NotFoundError,
        "number 99: expected a number below 1, got one that was not accepted. Check the name, and that it has been recorded and published",
        lambda scene: drop_event(scene.watch(_ledger(scene)), "99", reason="code"),
    ),
)
