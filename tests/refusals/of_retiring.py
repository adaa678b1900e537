"""Refusals of a log that ended, and of one that would continue another."""

import dataclasses

import cli.init
from ledger.client.trust_writing import format_trust
from ledger.embedded.directory import Layout, load_trust
from ledger.embedded.opening import open_for_recording
from ledger.embedded.recording import record_revision
from ledger.embedded.retiring import retire, succeed
from ledger.errors import CorruptError, LimitError, UsageError
from ledger.tlog.checkpoint import parse_checkpoint
from ledger.tlog.cosignature import Cosigner, add_cosignatures
from ledger.tlog.signed_note import parse_note
from ledger.tlog.trust_policy import Witness
from tests.refusals.of_outbox import _ledger
from tests.refusals.table import LEDGER, refused, request
from tests.world import ed25519_key


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


def _continue_witnessed(scene):
    """More witnesses than an entry has room for, each of them known."""
    directory = scene.ledger()
    trust, note = load_trust(Layout(root=directory)), parse_note((directory / "log/checkpoint").read_bytes())
    cosigners = [
        Cosigner(name=f"{at}.{'w' * 60}.example", key=ed25519_key(str(at)))
        for at in range(98 - len(note.signatures))
    ]
    known = (Witness(name=f"w{at}", key=each.verifier) for at, each in enumerate(cosigners))
    policy = dataclasses.replace(trust.policy, witnesses=(*trust.policy.witnesses, *known))
    lines = [each.cosign(parse_checkpoint(note.text), timestamp=1) for each in cosigners]
    return succeed(
        scene.write("checkpoint", add_cosignatures(note, lines)),
        scene.write("old.toml", format_trust(dataclasses.replace(trust, policy=policy))),
        origin="log.example/next",
    )


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
        LimitError,
        f"last checkpoint of {LEDGER}: expected at most 16384 characters, which an entry of a log holds, got <number> with 98 "
        "signatures of the log and of witnesses. Take lines of witnesses away until it fits, and keep that of the log; keep "
        "the whole note beside it",
        _continue_witnessed,
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
