"""Refusals of a ledger in Rekor: its outbox, its receipts, its audit, its scan, and the commands for it."""

import contextlib
import sqlite3
from dataclasses import replace

from cli.main import group
from ledger.bundle.export import format_sigstore_bundle
from ledger.embedded.auditing import audit_ledger
from ledger.embedded.directory import open_for_reading
from ledger.embedded.making import init
from ledger.embedded.observers import add_observer
from ledger.embedded.opening import open_for_recording
from ledger.embedded.reading import write_proof
from ledger.embedded.recording import record_revision
from ledger.embedded.remote import RekorSource
from ledger.embedded.scanning import scan_ledger
from ledger.embedded.submitting import drop_event, outbox_status, retry_outbox
from ledger.encoding import format_canonical_json, parse_json
from ledger.entry import MapCommit, format_map_commit
from ledger.errors import (
    ConfigError,
    CorruptError,
    FrozenError,
    LimitError,
    MalformedError,
    NotFoundError,
    ProofError,
    SignatureError,
    UsageError,
    WriteError,
)
from ledger.log import Submission
from ledger.log.receipts import check_body, check_shard, twin
from ledger.storage.outbox import OutboxStore, pages
from tests.fakes.remote_log import FakeShard
from tests.ledger.log.test_outbox import Scene as Outbox
from tests.refusals.table import AT, refused, turned
from tests.refusals.table import request as request_for
from tests.system.rekor import TrustedLog, write_trust
from tests.world import p256_key, spki_of

LEDGER = "log.example/models"
HUB = "hub.example"


def _outbox(scene, *, count=2, drain=True):
    outbox = scene.after.enter_context(contextlib.ExitStack())
    made = Outbox(scene.folder, stack=outbox).open()
    made.record(count)
    if drain:
        made.drain()
    return made


def _source(scene, **changes):
    shard = FakeShard()
    log = TrustedLog(
        base_url=f"http://{shard.origin}",
        spki=shard.shard.spki,
        log_id=shard.log_id,
        write_url="http://127.0.0.1:9",
    )
    root, signing = write_trust(scene.folder, [log])
    return RekorSource(**{"kind": "rekor-v2", "trusted_root": root, "signing_config": signing} | changes)


def _ledger(scene):
    """A ledger in a Rekor that nobody runs."""
    init(scene.folder / "rekor", origin=LEDGER, hub=HUB, rekor=_source(scene), now=lambda: AT)
    return scene.folder / "rekor"


def _changed(scene, statement):
    """The same, in whose outbox somebody else changed something."""
    directory = _ledger(scene)
    with contextlib.closing(sqlite3.connect(directory / "outbox.db")) as connection:
        connection.executescript(statement)
    return directory


def _audit(directory):
    return audit_ledger(directory, workers=1, progress=lambda _d, _t: None)


def _record(scene, directory, **more):
    (scene.folder / "model").mkdir(exist_ok=True)
    (scene.folder / "model/weights").write_bytes(b"weights")
    return record_revision(directory, request_for(scene.folder / "model"), now=lambda: AT, **more)


def _call(*arguments):
    group.main(args=[str(each) for each in arguments], prog_name="hubledger", standalone_mode=False)


def _own(scene):
    return scene.watch(scene.ledger())


def _receipt(scene, **changes):
    """Prove a receipt that was changed on the disk."""
    outbox = _outbox(scene)
    stored = replace(outbox.store.receipts(0)[0], **changes)
    return outbox.prover.prove(next(iter(outbox.outbox.read(0, 1))), stored)


def _strange(scene, kind):
    outbox = _outbox(scene)
    proven = outbox.outbox.fate(0).receipts[0].proven
    return check_body(replace(proven, kind=kind), outbox.prover.signed(next(iter(outbox.outbox.read(0, 1)))))


def _place_of_another(scene):
    outbox = _outbox(scene)
    try:
        outbox.outbox.add_receipts([(1, outbox.outbox.fate(0).receipts[0])])
    finally:
        assert len(outbox.store.receipts(1)) == 1


def _two_writers(scene):
    outbox = _outbox(scene, drain=False)
    outbox.outbox._size = 1
    outbox.record(1, start=7)


def _interrupted(scene):
    """Somebody presses Ctrl-C while an entry is accepted."""
    outbox = _outbox(scene, drain=False)

    def stop(*_, **__):
        raise KeyboardInterrupt

    outbox.store.accept = stop
    with contextlib.suppress(KeyboardInterrupt):
        outbox.record(1, start=7)
    outbox.record(1, start=7)


def _observer(scene):
    with open_for_recording(_ledger(scene)) as ledger:
        add_observer(ledger, "watch.example", spki_of(p256_key("watcher")))


def _no_shard(scene):
    """The answer of every attempt, kept with the entry."""
    outbox = _outbox(scene, drain=False)
    outbox.ticking = False
    with outbox.dispatching(shards=[]):
        outbox.outbox.wait_for([0], timeout=0.2)


def _other_shards(scene):
    outbox = _outbox(scene)
    outbox.shards = [FakeShard(0, origin="older.example")]
    outbox.reopen()


def _entry_without_key(scene, change):
    outbox = _outbox(scene, drain=False)
    value = parse_json(next(iter(outbox.outbox.read(0, 1))), max_bytes=1 << 20)
    return outbox.prover.signed(format_canonical_json(change(value)))


def _unkept(scene):
    """A ledger whose logged statement is gone."""
    directory = _ledger(scene)
    fake = FakeShard()
    with open_for_recording(directory) as ledger:
        signed = ledger.log.signed(next(ledger.log.read(0, 1)))
        ledger.log.settle([(0, fake.answer(signed))], ())
    return _audit(directory)


def _audit_of_changed_index(scene):
    directory = _ledger(scene)
    with contextlib.closing(sqlite3.connect(directory / "index.db")) as connection:
        connection.executescript("UPDATE statements SET event_id = 'other'")
    return _audit(directory)


def _scan_of(scene, kind):
    directory = _ledger(scene)
    settings = directory / "hubledger.toml"
    settings.write_text(settings.read_text().replace('log = "rekor-v2"', f'log = "{kind}"'))
    return scan_ledger(directory, progress=lambda _d, _t: None)


def _large_file(scene):
    path = scene.folder / "large.json"
    with path.open("wb") as file:
        file.truncate((4 << 20) + 1)
    return init(
        scene.folder / "rekor", origin=LEDGER, hub=HUB, rekor=RekorSource(kind="rekor-v2", trust_config=path)
    )


CASES = (
    refused(
        UsageError,
        "log of log.example/models: expected a log in this directory, got one in Rekor (rekor-v2). `hubledger outbox status` says where the entries of such a ledger are",
        lambda scene: open_for_reading(_ledger(scene)).log,
    ),
    refused(
        NotFoundError,
        "proof of number 0: expected a place in the log, got none, it is pending. `hubledger outbox status` says why; what is pending is submitted by `hubledger outbox retry`",
        lambda scene: write_proof(_ledger(scene), "0", since=None, output=scene.folder / "proof"),
    ),
    refused(
        UsageError,
        "--since: expected a ledger with a log of its own, got one in Rekor (rekor-v2). Leave it out: a proof from Rekor links to no checkpoint that you keep",
        lambda scene: write_proof(_ledger(scene), "0", since=scene.folder, output=scene.folder / "proof"),
    ),
    refused(
        UsageError,
        "--wait-seconds and --no-wait: expected a ledger in Rekor, or --wait-witnessed, got one with a log of its own. Leave them out: what is recorded is in the log when the command ends",
        lambda scene: _record(scene, _own(scene), wait=1.0),
    ),
    refused(
        NotFoundError,
        "file <folder>/no: expected a readable file, got No such file or directory. Check the path",
        lambda scene: init(
            scene.folder / "rekor",
            origin=LEDGER,
            hub=HUB,
            rekor=RekorSource(kind="rekor-v2", trust_config=scene.folder / "no"),
        ),
    ),
    refused(
        LimitError,
        "file <folder>/large.json: expected at most 4194304 bytes, got more. Check that it is what you meant: the limit cannot be changed",
        _large_file,
    ),
    refused(
        ConfigError,
        "shards of the trusted root: expected one of kind rekor-v1, got rekor-v2. Correct what is named, and try again",
        lambda scene: init(
            scene.folder / "rekor", origin=LEDGER, hub=HUB, rekor=_source(scene, kind="rekor-v1")
        ),
    ),
    refused(
        NotFoundError,
        "number 7: expected a number below 1, got one that was not accepted. Check the name, and that it has been recorded and published",
        lambda scene: open_for_reading(_ledger(scene)).accepted.fate(7),
    ),
    refused(
        UsageError,
        "--not-older-than and --start-unchecked: expected a ledger with a log of its own, got one in Rekor. After restoring an outbox, `hubledger index rebuild --scan` says what Rekor has and it has not",
        lambda scene: open_for_recording(_ledger(scene), start_unchecked=True).__enter__(),
    ),
    refused(
        CorruptError,
        "number 0 in the outbox: expected a receipt, or that it is pending or dropped, got none of them. Restore the newest copy of outbox.db; `hubledger index rebuild --scan` finds what is logged",
        lambda scene: _audit(_changed(scene, "DELETE FROM pending")),
    ),
    refused(
        CorruptError,
        "statement of number 0: expected evidence <hex>, got none. Run `hubledger index rebuild`, which keeps it again: Rekor has its digest alone",
        _unkept,
    ),
    refused(
        CorruptError,
        "index: expected what the outbox says, got statements: expected 0, <any>. Run `hubledger index rebuild`",
        _audit_of_changed_index,
    ),
    refused(
        UsageError,
        "--scan of log.example/models: expected a ledger in Rekor v2, got log = rekor-v1. Rekor v1 gives entries one by one and proves no list of a key's entries, so a scan could miss some unseen; rebuild without --scan, from the receipts",
        lambda scene: _scan_of(scene, "rekor-v1"),
    ),
    refused(
        UsageError,
        "--scan of log.example/models: expected a ledger in Rekor v2, got log = local. Rebuild without --scan, from the log in this directory",
        lambda scene: scan_ledger(_own(scene), progress=lambda _d, _t: None),
    ),
    refused(
        UsageError,
        "outbox of log.example/models: expected a ledger in Rekor, got one with a log of its own. Only a ledger that was made with `hubledger init --log rekor-v2` or rekor-v1 has an outbox",
        lambda scene: outbox_status(_own(scene), now=0),
    ),
    refused(
        UsageError,
        "outbox of log.example/models: expected a ledger in Rekor, got one with a log of its own. Only a ledger that was made with `hubledger init --log rekor-v2` or rekor-v1 has an outbox",
        lambda scene: retry_outbox(_own(scene), (), seconds=0, progress=lambda _d, _t: None),
    ),
    refused(
        UsageError,
        "number 0: expected a pending entry, got one that is logged, dropped or unknown. `hubledger outbox status` lists what is pending and was tried",
        lambda scene: drop_event(
            _ledger(scene) if not drop_event(_ledger(scene), "0", reason="code") else scene.folder / "rekor",
            "0",
            reason="code",
        ),
    ),
    refused(
        UsageError,
        "log of log.example/models: expected one in this directory, got one in Rekor (rekor-v2). A ledger in Rekor has no observers: let whoever observes keep a ledger of their own",
        _observer,
    ),
    turned(
        FrozenError,
        "shards of rekor-v2: expected one that takes entries at 2026-01-02T03:04:05Z, by this machine's clock, got none in the signing config. Get the newest signing configuration: the log goes on in another shard",
        _no_shard,
    ),
    refused(
        MalformedError,
        "entry: expected a signed statement, got a map commit. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda scene: _outbox(scene).outbox.append(
            [Submission(entry=format_map_commit(MapCommit(covers=0, root=bytes(32))))]
        ),
    ),
    refused(
        WriteError,
        "accepting: expected a known outcome, got an interrupted writer. Open the ledger again: it continues from what is certain",
        _interrupted,
    ),
    refused(
        NotFoundError,
        "number 7: expected a number below 2, got one that was not accepted. Check the name, and that it has been recorded and published",
        lambda scene: _outbox(scene).outbox.fate(7),
    ),
    refused(
        SignatureError,
        "key of the accepted entry: expected a hub key, got 0000000000000000000000000000000000000000000000000000000000000000. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda scene: _entry_without_key(
            scene, lambda value: value | {"signatures": [value["signatures"][0] | {"keyid": "0" * 64}]}
        ),
    ),
    refused(
        CorruptError,
        "accepted entry in the outbox: expected an envelope, got entry: expected a DSSE envelope with one signature, got something else. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        lambda scene: _entry_without_key(scene, lambda value: {"signatures": value["signatures"]}),
    ),
    refused(
        CorruptError,
        "receipt of number 0: expected one that holds, as when it was stored, got shard of the receipt: expected one of the trusted root, got 7. If the trusted root or trust.toml was changed, put the old logs, authorities and keys back into it; else restore the newest copy of outbox.db: what is logged stays logged",
        lambda scene: _receipt(scene, shard=7),
    ),
    refused(
        CorruptError,
        "receipt of number 0: expected one that holds, as when it was stored, got index of the receipt: expected 7, got 0. If the trusted root or trust.toml was changed, put the old logs, authorities and keys back into it; else restore the newest copy of outbox.db: what is logged stays logged",
        lambda scene: _receipt(scene, log_index=7),
    ),
    refused(
        CorruptError,
        "receipt of number 0: expected one that holds, as when it was stored, got log entry of the receipt: expected the form in which a proven one is stored, got another one: a number beside the proof, or a field, is not what the log signed. If the trusted root or trust.toml was changed, put the old logs, authorities and keys back into it; else restore the newest copy of outbox.db: what is logged stays logged",
        lambda scene: _receipt(scene, log_entry=b" " + _outbox(scene).store.receipts(0)[0].log_entry),
    ),
    refused(
        SignatureError,
        "log of the receipt: expected shard1.example, got shard0.example. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda scene: check_shard(_outbox(scene).outbox.fate(0).receipts[0].proven, FakeShard(1).shard),
    ),
    refused(
        ProofError,
        "body of the log entry: expected the digest, signature and key of this statement, got others. Fetch it again, from another mirror if there is one; do not use it as it is",
        lambda scene: _strange(scene, ("hashedrekord", "0.0.1")),
    ),
    refused(
        ProofError,
        "kind of the log entry: expected hashedrekord or dsse, got rfc3161 0.0.1. Fetch it again, from another mirror if there is one; do not use it as it is",
        lambda scene: _strange(scene, ("rfc3161", "0.0.1")),
    ),
    refused(
        SignatureError,
        "signature of the entry: expected ASN.1 DER, got <any>. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda _: twin(b"no signature"),
    ),
    refused(
        CorruptError,
        "accepting: expected a stored size of 1, got another size. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        _two_writers,
    ),
    refused(
        CorruptError,
        "index 0 of shard 0 in the outbox: expected no entry, or number 1, got another entry. Stop the writer, keep the directory, and run `hubledger log audit`",
        _place_of_another,
    ),
    refused(
        ConfigError,
        "shard 0 of the trusted root: expected rekor-v2 log <hex>, as when it was first used, got rekor-v2 log <hex>. Keep old logs in the trusted root, in their order: a position is (order of the shard, leaf index)",
        _other_shards,
    ),
    refused(
        CorruptError,
        "timestamps in the outbox: expected a list of base64, got another form. Stop the writer, keep the directory, and run `hubledger log audit`",
        lambda scene: open_for_reading(
            _changed(scene, "INSERT INTO receipts VALUES (0, 0, 0, 0, x'', x'5b375d')")
        ).accepted.fate(0),
    ),
    refused(
        CorruptError,
        "timestamps in the outbox: expected a list of base64, got timestamps: expected UTF-8 JSON, got <any>. Stop the writer, keep the directory, and run `hubledger log audit`",
        lambda scene: open_for_reading(
            _changed(scene, "INSERT INTO receipts VALUES (0, 0, 0, 0, x'', x'')")
        ).accepted.fate(0),
    ),
    refused(
        CorruptError,
        "number 0 in the outbox: expected an accepted entry, got none. Stop the writer, keep the directory, and run `hubledger log audit`",
        lambda scene: list(
            pages(OutboxStore(_changed(scene, "DELETE FROM accepted") / "outbox.db", read_only=True), 0, 1)
        ),
    ),
    refused(
        UsageError,
        "--trust-config, --trusted-root, --signing-config and --read-url: expected --log rekor-v2 or rekor-v1, got --log local. Compare with the command's --help",
        lambda scene: _call(
            "init", scene.folder / "own", "--origin", "a", "--hub", "b", "--read-url", "http://a"
        ),
    ),
    refused(
        UsageError,
        "what to retry: expected EVENTs or --all, got both. Compare with the command's --help",
        lambda scene: _call("outbox", "retry", _ledger(scene), "0", "--all"),
    ),
    refused(
        MalformedError,
        "entry for a bundle: expected an envelope, got a map commit. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: format_sigstore_bundle(
            format_map_commit(MapCommit(covers=0, root=bytes(32))), spki=b"", log_entries=[]
        ),
    ),
)
