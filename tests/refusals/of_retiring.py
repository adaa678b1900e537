"""Refusals of a log that ended, and of one that would continue another."""

import cli.init
from ledger.embedded.opening import open_for_recording
from ledger.embedded.recording import record_revision
from ledger.embedded.retiring import retire, succeed
from ledger.errors import CorruptError, UsageError
from tests.refusals.of_outbox import _ledger
from tests.refusals.table import LEDGER, refused, request


def _retired(scene):
    directory = scene.ledger()
    retire(directory, opened=lambda: open_for_recording(directory))
    return directory


def _record(scene):
    directory = scene.watch(_retired(scene))
    return record_revision(directory, request(scene.folder / "model"))


def _damaged(scene):
    directory = _retired(scene)
    (directory / "final-checkpoint").write_bytes(b"log.example/models\n0\n")
    return retire(scene.watch(directory), opened=lambda: open_for_recording(directory))


def _retire_rekor(scene):
    directory = _ledger(scene)
    return retire(directory, opened=lambda: open_for_recording(directory))


def _continue(scene, *, origin="log.example/next"):
    directory = scene.ledger()
    return succeed(directory / "log/checkpoint", directory / "trust.toml", origin=origin)


def _continue_rekor(scene):
    directory = _ledger(scene)
    return succeed(directory / "trust.toml", directory / "trust.toml", origin="log.example/next")


def _init(scene, *more):
    given = [str(scene.folder / "new"), "--origin", "log.example/next", "--hub", "hub.example", *more]
    return cli.init.command.main(given, standalone_mode=False)


CASES = (
    refused(
        UsageError,
        f"ledger {LEDGER}: expected one that goes on, got one whose log was retired. "
        "Record into its successor; this one is read with --read-only. final-checkpoint holds its last checkpoint",
        _record,
    ),
    refused(
        CorruptError,
        "file final-checkpoint: expected the last checkpoint of this log, got <any>. "
        "Put back the file that `hubledger log retire` wrote; log/checkpoint is a copy of it",
        _damaged,
    ),
    refused(
        UsageError,
        "log to retire: expected a log of one's own, got rekor-v2. "
        "This ledger needs no other log: Rekor's shards follow each other, and its trust file lists them",
        _retire_rekor,
    ),
    refused(
        UsageError,
        "log to continue: expected a log of one's own, got a ledger in Rekor. "
        "This ledger needs no other log: Rekor's shards follow each other, and its trust file lists them",
        _continue_rekor,
    ),
    refused(
        UsageError,
        f"origin of the new log: expected another than that of the log that it continues, got {LEDGER}. "
        "Two logs of one name are a fork, for everybody who knows the first",
        lambda scene: _continue(scene, origin=LEDGER),
    ),
    refused(
        UsageError,
        "--continues, --continues-trust and --reason: expected the first two, with --log local, got some. <any>",
        lambda scene: _init(scene, "--continues", str(scene.ledger() / "log/checkpoint")),
    ),
    refused(
        UsageError,
        "--continues, --continues-trust and --reason: expected the first two, with --log local, got --log rekor-v2. <any>",
        lambda scene: _init(scene, "--log", "rekor-v2", "--reason", "disk-lost"),
    ),
)
