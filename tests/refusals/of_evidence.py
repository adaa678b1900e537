"""Refusals about evidence: pieces, withdrawals, committed identities, and the index of digests."""

import contextlib
import hashlib
import sqlite3

from ledger.digests import DigestIndex
from ledger.embedded.auditing import audit_ledger
from ledger.embedded.evidence import export_evidence, show_evidence, withdraw_evidence
from ledger.embedded.evidence_audit import NamedEvidence
from ledger.embedded.identities import erase_identities, write_openings
from ledger.embedded.recording import RecordRequest, record_revision
from ledger.embedded.searching import events_with_content
from ledger.embedded.withdrawing import parse_plan
from ledger.errors import (
    ConfigError,
    ConflictError,
    CorruptError,
    LimitError,
    NotEmptyError,
    NotFoundError,
    UsageError,
    WithdrawnError,
    WriteError,
)
from ledger.event.digests import NamedDigest, Use
from ledger.identity import KeySigner
from ledger.policy import tofu
from ledger.storage.directory import DirectoryObjects
from ledger.storage.evidence import Evidence, Withdrawal
from ledger.storage.identities import IdentityKeys
from tests.refusals.of_storage import no_space
from tests.refusals.table import refused

UNKNOWN = bytes(32)
PIECE = b"a bundle"
DIGEST = hashlib.sha256(PIECE).digest()

# Pieces


def _evidence(scene):
    evidence = Evidence(DirectoryObjects(scene.folder / "evidence"))
    evidence.put([PIECE])
    return evidence


def _path(folder, sha256):
    return folder / "evidence" / sha256.hex()[:2] / sha256.hex()


def _damage(scene):
    evidence = _evidence(scene)
    _path(scene.folder, DIGEST).write_bytes(b"another")
    return list(evidence.read(DIGEST))


def _above_the_limit(scene):
    import ledger.storage.evidence as module

    evidence = _evidence(scene)
    scene.after.callback(setattr, module, "MAX_EVIDENCE_BYTES", module.MAX_EVIDENCE_BYTES)
    module.MAX_EVIDENCE_BYTES = 7
    scene.watch(scene.folder)
    return evidence.put_stream(hashlib.sha256(b"x" * 8).digest(), (b"xxxx", b"xxxx"))


def _noted(scene):
    evidence = _evidence(scene)
    evidence.note_withdrawals([Withdrawal(sha256=DIGEST, reason="personal-data", leaf_index=7)])
    return evidence


def _note(scene, data):
    evidence = _noted(scene)
    (scene.folder / "evidence/withdrawn" / DIGEST.hex()).write_bytes(data)
    return evidence.get(DIGEST)


def _stray_file(scene):
    evidence = _evidence(scene)
    (scene.folder / "evidence/ab").mkdir(exist_ok=True)
    scene.write("evidence/ab/notes.txt", b"")
    return list(evidence.stored(0xAB))


NOTE = "note that evidence <hex> was withdrawn: expected leafIndex and reason, got {}. Restore it from a copy; the log says why and when the piece was withdrawn"

PIECES = (
    refused(
        CorruptError,
        "evidence <hex>: expected bytes with this SHA-256, got other bytes. Restore it from a copy; the log itself is not affected",
        _damage,
    ),
    refused(
        LimitError,
        "evidence <hex>: expected at most 7 bytes, got more. Check that it is what you meant: the limit cannot be changed",
        _above_the_limit,
    ),
    refused(
        WithdrawnError,
        "evidence <hex>: expected stored bytes, got withdrawn: personal-data, leaf 7. The event and its proof still verify; ask the hub for the statement at that leaf",
        lambda scene: _noted(scene).get(DIGEST),
    ),
    refused(CorruptError, NOTE.format("another form"), lambda scene: _note(scene, b"{}")),
    refused(CorruptError, NOTE.format("<any>"), lambda scene: _note(scene, b"{")),
    refused(
        CorruptError,
        "name of evidence ab/notes.txt: expected 64 lower-case hex digits, got another name. Nothing of ours is called so: move the file out of the directory",
        _stray_file,
    ),
)

# A ledger's evidence


def _manifest(ledger):
    """The digest of the manifest that both events name."""
    (piece,) = [each for each in show_evidence(ledger, "1")["pieces"] if each["use"] == "manifest"]
    return bytes.fromhex(piece["sha256"])


def _show(scene, what):
    return show_evidence(scene.watch(scene.ledger()), what)


def _export(scene, output):
    return export_evidence(scene.watch(scene.ledger()), "1", output=output)


def _export_over(scene):
    output = scene.folder / "out"
    output.mkdir()
    scene.write("out/notes.txt", b"mine")
    return _export(scene, scene.watch(output))


def _export_below_a_file(scene):
    return _export(scene, scene.write("file", b"") / "out")


def _export_less(scene):
    ledger = scene.ledger()
    _path(ledger, _manifest(ledger)).unlink()
    try:
        return export_evidence(scene.watch(ledger), "1", output=scene.folder / "out")
    finally:
        assert not (scene.folder / "out").exists(), "an export is whole, or it is not there"


def _withdraw_unknown(scene):
    return withdraw_evidence(scene.watch(scene.ledger()), [UNKNOWN], reason="personal-data")


def _withdraw_policy(scene):
    ledger = scene.watch(scene.ledger())
    return withdraw_evidence(ledger, [tofu.POLICY_SHA256], reason="personal-data")


def _withdraw_behind_the_log(scene):
    ledger = scene.ledger()
    with contextlib.closing(sqlite3.connect(ledger / "digests.db", isolation_level=None)) as database:
        database.execute("UPDATE position SET leaves = 1")
        database.execute("DROP TABLE named")
    scene.watch(ledger / "evidence")
    return withdraw_evidence(ledger, [UNKNOWN], reason="personal-data")


def _evidence_elsewhere(scene):
    """The folder is a link to a disk that is not there."""
    ledger = scene.ledger()
    (ledger / "evidence").rename(scene.folder / "moved")
    (ledger / "evidence").symlink_to(scene.folder / "nowhere")
    return withdraw_evidence(ledger, [UNKNOWN], reason="personal-data")


LEDGER = (
    refused(
        UsageError,
        "evidence <hex>: expected a manifest, a bundle or a text, got a policy, which every event rests on that was decided by it. A policy stays: without it nobody can say why an event was decided as it was",
        _withdraw_policy,
    ),
    refused(
        CorruptError,
        "digest index: expected 3 leaves, got 1. Run `hubledger index rebuild`, then withdraw again: nothing was withdrawn",
        _withdraw_behind_the_log,
    ),
    refused(
        WriteError,
        "folder <folder>/ledger/evidence: expected a folder that only its owner reads, got File exists. Make it, and its folder, writable for this user",
        _evidence_elsewhere,
    ),
    refused(
        NotFoundError,
        "evidence <hex>: expected a digest that is stored or named, got neither. `hubledger evidence show` with an event lists the digests that it names",
        lambda scene: _show(scene, UNKNOWN.hex()),
    ),
    refused(
        NotFoundError,
        "leaf 3: expected a leaf below 3, got one that is not published. Check the name, and that it has been recorded and published",
        lambda scene: _show(scene, "3"),
    ),
    refused(
        NotEmptyError,
        "folder <folder>/out: expected a new or empty folder, got something in it. Name another folder; nothing is ever written over something else",
        _export_over,
    ),
    refused(
        WriteError,
        "writing <folder>/file/out: expected a writable place, got File exists. Name a folder where this user can write; nothing was left behind",
        _export_below_a_file,
    ),
    refused(
        CorruptError,
        "evidence <hex> (manifest of leaf 1): expected stored bytes, got none. Restore it from a copy; `hubledger log audit` lists everything that is missing",
        _export_less,
    ),
    refused(
        NotFoundError,
        "evidence <hex>: expected stored bytes, got none. `hubledger evidence show` lists what an event names and what of it is stored",
        _withdraw_unknown,
    ),
    refused(
        CorruptError,
        "plan of a withdrawal that is under way: expected evidence, reason and histories, got another form. Restore the newest copy of evidence/withdrawing: without it nobody knows what was to be removed",
        lambda _: parse_plan(b"{}"),
    ),
    refused(
        CorruptError,
        "plan of a withdrawal that is under way: expected evidence, reason and histories, got <any>. Restore the newest copy of evidence/withdrawing: without it nobody knows what was to be removed",
        lambda _: parse_plan(b"{"),
    ),
    refused(
        NotFoundError,
        "content <hex>: expected a recorded event, got none among 3 leaves. Digests are SHA-256, as in a manifest",
        lambda scene: events_with_content(scene.watch(scene.ledger()), UNKNOWN),
    ),
)

# The audit of evidence


def _audit(scene, change):
    """Audit a ledger after somebody changed what lies beside its log."""
    ledger = scene.ledger()
    change(ledger, _manifest(ledger))
    with NamedEvidence() as named:
        return audit_ledger(
            scene.watch(ledger), workers=1, progress=lambda _done, _total: None, evidence=named
        )


def _lose(ledger, sha256):
    _path(ledger, sha256).unlink()


def _change(ledger, sha256):
    _path(ledger, sha256).write_bytes(b"[]")


def _note_alone(ledger, sha256):
    store = Evidence(DirectoryObjects(ledger / "evidence"))
    store.note_withdrawals([Withdrawal(sha256=sha256, reason="personal-data", leaf_index=2)])


def _restore_bytes(ledger, sha256):
    """A copy brings the bytes back; the note of their withdrawal is still there."""
    data = _path(ledger, sha256).read_bytes()
    withdraw_evidence(ledger, [sha256], reason="personal-data")
    _path(ledger, sha256).write_bytes(data)


def _restore_all(ledger, sha256):
    """A copy brings the bytes back, and takes the note away."""
    _restore_bytes(ledger, sha256)
    (ledger / "evidence/withdrawn" / sha256.hex()).unlink()


def _no_list(scene):
    evidence = Evidence(DirectoryObjects(scene.folder / "evidence"))
    evidence.put([b"{"])
    scene.watch(scene.folder)
    with NamedEvidence() as named:
        named.add(4, [NamedDigest(Use.MORE, hashlib.sha256(b"{").digest())])
        return named.check(scene.folder / "evidence", workers=1)


AUDIT = (
    refused(
        CorruptError,
        "evidence <hex>, more-signatures of leaf 4: expected <any>, got <any>. The log commits to these bytes: whoever recorded the event stored no list",
        _no_list,
    ),
    refused(
        CorruptError,
        "evidence <hex>, manifest of leaf 1: expected stored bytes, or a note of their withdrawal, got neither. Restore it from a copy; the log itself is not affected",
        lambda scene: _audit(scene, _lose),
    ),
    refused(
        CorruptError,
        "evidence <hex>, manifest of leaf 1: expected bytes with this SHA-256, got other bytes. Restore it from a copy; the log itself is not affected",
        lambda scene: _audit(scene, _change),
    ),
    refused(
        CorruptError,
        "withdrawal of evidence <hex>: expected a statement in the log that says so, got a note of leaf 2 only. Restore the newest copy of the directory: what the log does not say was not withdrawn",
        lambda scene: _audit(scene, _note_alone),
    ),
    refused(
        CorruptError,
        "withdrawal of evidence <hex>: expected no bytes, as leaf 3 says, got bytes on the disk. A copy was restored over a withdrawal, or one was interrupted: withdraw it again",
        lambda scene: _audit(scene, _restore_bytes),
    ),
    refused(
        CorruptError,
        "evidence <hex>, manifest of leaf 1: expected no bytes, as leaf 3 says, got bytes on the disk. A copy was restored over a withdrawal, or one was interrupted: withdraw it again",
        lambda scene: _audit(scene, _restore_all),
    ),
)

# Committed identities

SIGNER = KeySigner(spki_sha256=bytes(32))


def _keys(scene):
    keys = IdentityKeys(scene.folder / "identities.db")
    scene.after.callback(keys.close)
    return keys


def _keys_changed(scene, statement):
    """Open the file of keys after somebody changed it."""
    commitment = _keys(scene).commitment("name:acme/tiny", SIGNER)
    with contextlib.closing(
        sqlite3.connect(scene.folder / "identities.db", isolation_level=None)
    ) as database:
        database.execute(statement)
    scene.watch(scene.folder)
    return _keys(scene).find("name:acme/tiny", commitment)


def _keys_readable(scene):
    _keys(scene).commitment("name:acme/tiny", SIGNER)
    (scene.folder / "identities.db").chmod(0o644)
    return _keys(scene).destroy("name:acme/tiny")


def _keys_without_space(scene):
    keys = _keys(scene)
    keys.commitment("name:acme/tiny", SIGNER)
    scene.after.enter_context(no_space())
    return keys.commitment("name:acme/other", SIGNER)


def _keys_unreadable(scene):
    scene.write("identities.db", b"no SQLite file" * 1000)
    return _keys(scene).holds_back("name:acme/tiny")


def _record_committed(scene):
    ledger = scene.ledger()
    settings = ledger / "hubledger.toml"
    settings.write_text(
        settings.read_text().replace('identity_mode = "clear"', 'identity_mode = "committed"')
    )
    model = scene.folder / "committed"
    model.mkdir()
    for content in (b"one", b"two"):
        scene.write("committed/weights.bin", content)
        request = RecordRequest(name="acme/other", revision="r1", model=model, event_id="c1")
        record_revision(ledger, request)


IDENTITIES = (
    refused(
        CorruptError,
        "keys of identities in identities.db: expected a file that this user can read, got <any>. Run this as the user who records: without it nobody can say what is held back",
        _keys_unreadable,
    ),
    refused(
        ConflictError,
        "event id c1: expected the facts recorded at leaf 3, got other facts. After `hubledger identity erase` the same signer has another commitment, so the same revision is a new observation: give it a new event id (--event-id). So is one with other keys",
        _record_committed,
    ),
    refused(
        NotFoundError,
        "identities of event 1: expected a committed identity whose key is here, got none. An event in clear needs no opening; after an erasure nobody can open it",
        lambda scene: write_openings(scene.watch(scene.ledger()), "1", output=scene.folder / "out"),
    ),
    refused(
        NotFoundError,
        "identities of model acme/tiny: expected committed identities whose keys or bundles are here, got none. Identities that were logged in clear cannot be erased: the log only grows",
        lambda scene: erase_identities(
            scene.watch(scene.ledger()), "acme/tiny", reason="personal-data", reference=None
        ),
    ),
    refused(
        ConfigError,
        "permissions of <folder>/identities.db: expected readable by its owner only, got readable by others. Run `chmod 600 <folder>/identities.db` and consider the identities as seen",
        _keys_readable,
    ),
    refused(
        CorruptError,
        "schema of identities.db: expected version 1, got version 2. Use the version of hubledger that wrote this directory",
        lambda scene: _keys_changed(scene, "PRAGMA user_version = 2"),
    ),
    refused(
        CorruptError,
        "identity of a key in identities.db: expected canonical JSON, got <any>. Restore the newest copy of the file: the log itself is not affected",
        lambda scene: _keys_changed(scene, "UPDATE keys SET identity = x'7b'"),
    ),
    refused(
        WriteError,
        "keys of identities in identities.db: expected a durable transaction, got <any>. Free space or make the directory writable, then start again: nothing was recorded",
        _keys_without_space,
    ),
)

# The index of digests

REBUILD = "Run `hubledger index rebuild`: it holds nothing that log and evidence do not"


def _index(scene, *, read_only=False):
    index = DigestIndex(scene.folder / "digests.db", read_only=read_only)
    scene.after.callback(index.close)
    return index


def _garbage(scene):
    scene.write("digests.db", b"no SQLite file" * 1000)
    return _index(scene, read_only=True)


def _changed_index(scene, statement):
    _index(scene)._connection.execute(statement)
    return _index(scene, read_only=True).namings(UNKNOWN)


def _without_writing(scene):
    index = _index(scene)
    index._connection.execute("PRAGMA query_only = ON")
    return index.catch_up(iter([b"entry"]), 0, lambda _sha256: iter(()))


DIGESTS = (
    refused(
        CorruptError,
        f"digest index digests.db: expected a sound SQLite file, got <any>. {REBUILD}",
        _garbage,
    ),
    refused(
        CorruptError,
        f"digest index digests.db: expected version 1, got version 2. {REBUILD}",
        lambda scene: _changed_index(scene, "PRAGMA user_version = 2"),
    ),
    refused(
        CorruptError,
        f"digest index digests.db: expected a sound SQLite file, got <any>. {REBUILD}",
        lambda scene: _changed_index(scene, "DROP TABLE named"),
    ),
    refused(
        CorruptError,
        f"position of the digest index: expected 5, got 0. {REBUILD}",
        lambda scene: _index(scene).catch_up(iter([b"entry"]), 5, lambda _sha256: iter(())),
    ),
    refused(
        WriteError,
        "updating the digest index: expected a committed transaction, got attempt to write a readonly database. Free space and run `hubledger index rebuild`: recorded events are not affected",
        _without_writing,
    ),
)

CASES = (*PIECES, *LEDGER, *AUDIT, *IDENTITIES, *DIGESTS)
