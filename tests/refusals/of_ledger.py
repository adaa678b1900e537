"""Refusals of ledger.config, embedded and recorder, and of the commands: what the operator of a ledger meets."""

import base64
import contextlib
import functools
import hashlib
import json
import os
import sqlite3
import sys
from dataclasses import replace

from cryptography.hazmat.primitives import serialization

from cli.main import group
from cli.verify_evidence import write_evidence
from ledger.config import MAX_CONFIG_BYTES, Config, load_config, parse_config
from ledger.embedded.auditing import audit_ledger
from ledger.embedded.directory import describe, open_for_reading
from ledger.embedded.foreign import audit_foreign
from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from ledger.embedded.proving import make_proof
from ledger.embedded.reading import model_history, write_proof
from ledger.embedded.recording import MAX_LISTING_BYTES, RecordRequest, record_revision
from ledger.entry import MapCommit, format_entry, format_map_commit, keyid_of, pae
from ledger.errors import (
    ChainError,
    ConfigError,
    ConflictError,
    CorruptError,
    HeadMovedError,
    LimitError,
    MalformedError,
    NotEmptyError,
    NotFoundError,
    UsageError,
    WriteError,
)
from ledger.event.schemas import ERASURE
from ledger.index import Index
from ledger.log import Admitted, Submission
from ledger.log.group import _Ticket
from ledger.recorder import Facts
from ledger.storage import Head
from ledger.storage.sqlite import event_key
from tests import world
from tests.refusals.table import AT, HUB, LEDGER, refused, request
from tests.world import ed25519_key, p256_key, spki_of

# Settings


def _large_settings(scene):
    """Settings that go on after the limit: what stands there is not left out."""
    comment = b"#" * MAX_CONFIG_BYTES
    scene.write("hubledger.toml", b'ledger = "log.example"\nhub = "hub.example"\n' + comment)
    return scene.folder


CONFIG = (
    refused(
        LimitError,
        "hubledger.toml: expected at most 1048576 bytes, got more. Check that it is what you meant: the limit cannot be changed",
        lambda scene: load_config(_large_settings(scene)),
    ),
    refused(
        ConfigError,
        "publish_interval: expected 0.1 to 3600 seconds, got 0.01. Correct what is named, and try again",
        lambda _: Config(ledger=LEDGER, hub=HUB, publish_interval=0.01),
    ),
    refused(
        ConfigError,
        "identity_mode: expected clear or committed, got hidden. Correct what is named, and try again",
        lambda _: Config(ledger=LEDGER, hub=HUB, identity_mode="hidden"),
    ),
    refused(
        ConfigError,
        "public_url: expected an http(s) address, or nothing, got log.example. Correct what is named, and try again",
        lambda _: Config(ledger=LEDGER, hub=HUB, public_url="log.example"),
    ),
    refused(
        ConfigError,
        "ledger: expected 1 to 128 printable ASCII characters without spaces and '+', got log example. A schema-less address such as \"log.example/models\" is usual",
        lambda _: Config(ledger="log example", hub=HUB),
    ),
    refused(
        ConfigError,
        "settings of <folder>: expected hubledger.toml, got No such file or directory. Make a ledger with `hubledger init DIR --origin … --hub …`, or name its directory",
        lambda scene: load_config(scene.folder),
    ),
    refused(
        ConfigError,
        "hubledger.toml: expected TOML, got <any>. Correct what is named, and try again",
        lambda _: parse_config(b"ledger ="),
    ),
    refused(
        ConfigError,
        "setting origin: expected one of ledger, hub, log_key, cosigner_key, hub_key, hub_signer, hub_signer_secret, publish_interval, public_url, identity_mode, private, log, rekor, anchor, witness, serve, got an unknown setting. Correct what is named, and try again",
        lambda _: parse_config(b'ledger = "l"\nhub = "h"\norigin = "log.example"'),
    ),
    refused(
        ConfigError,
        "setting hub: expected a value of type str, got 7. Correct what is named, and try again",
        lambda _: parse_config(b'ledger = "l"\nhub = 7'),
    ),
    refused(
        ConfigError,
        "setting hub: expected a value, got nothing. Correct what is named, and try again",
        lambda _: parse_config(b'ledger = "l"'),
    ),
)

# Making and opening a ledger


def _init_over(scene):
    scene.write("notes.txt", b"mine")
    return init(scene.watch(scene.folder), origin=LEDGER, hub=HUB)


def _init_below_a_file(scene):
    scene.write("file", b"")
    return init(scene.watch(scene.folder) / "file/ledger", origin=LEDGER, hub=HUB)


def _record(scene, ledger, **more):
    return record_revision(scene.watch(ledger), request(scene.folder / "model", **more), now=lambda: AT)


def _key_changed(scene, *, name, data):
    """Record with another key file; no word of what is in it may be repeated."""
    ledger = scene.ledger()
    (ledger / "keys" / name).write_bytes(data)
    return _record(scene, ledger)


def _private_pem(key, encryption=None):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    )


def _other_hub_key(scene):
    return _key_changed(scene, name="hub.key", data=_private_pem(ed25519_key("hub")))


def _with_password():
    return _private_pem(p256_key("hub"), serialization.BestAvailableEncryption(b"password"))


def _pem_of_no_curve(kind="PUBLIC"):
    """A key on a curve that nobody knows."""
    p256 = bytes.fromhex("06082a8648ce3d030107")
    der = spki_of(p256_key("a"))
    if kind == "PRIVATE":
        der = p256_key("a").private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    assert p256 in der
    text = base64.encodebytes(der.replace(p256, p256[:-1] + b"\x77"))
    return b"-----BEGIN %s KEY-----\n%s-----END %s KEY-----\n" % (kind.encode(), text, kind.encode())


def _readable_key(scene):
    ledger = scene.ledger()
    (ledger / "keys/log.key").chmod(0o640)
    return _record(scene, ledger)


def _missing_key(scene):
    ledger = scene.ledger()
    (ledger / "keys/cosigner.key").unlink()
    return _record(scene, ledger)


def _large_trust(scene):
    """It goes on after the limit: it is not read whole."""
    ledger = scene.ledger()
    os.truncate(ledger / "trust.toml", 1 << 40)
    return describe(ledger)


def _missing_trust(scene):
    ledger = scene.ledger()
    (ledger / "trust.toml").unlink()
    return describe(ledger)


OPENING = (
    refused(
        NotEmptyError,
        "directory <folder>: expected a new or empty directory, got something in it. Name another directory; a ledger is never made over something else",
        _init_over,
    ),
    refused(
        WriteError,
        "making <folder>/file/ledger: expected a writable place, got File exists. Name a place where this user can make a folder; nothing was left behind",
        _init_below_a_file,
    ),
    refused(
        ConfigError,
        "private key <folder>/ledger/keys/hub.key: expected an ECDSA P-256 private key in PEM, without a password, got Ed25519PrivateKey. Restore the key file from its backup: another key would be another signer",
        _other_hub_key,
    ),
    *(
        refused(
            ConfigError,
            "private key <folder>/ledger/keys/hub.key: expected an ECDSA P-256 private key in PEM, without a password, got something else. Restore the key file from its backup: another key would be another signer",
            functools.partial(_key_changed, name="hub.key", data=data),
        )
        for data in (b"a secret", _with_password(), _pem_of_no_curve("PRIVATE"))
    ),
    *(
        refused(
            ConfigError,
            f"private key <folder>/ledger/keys/{name}: expected PRIVATE+KEY+<name>+<key id>+<base64>, as init wrote it, got something else. Restore the key file from its backup: another key would be another signer",
            functools.partial(_key_changed, name=name, data=data),
        )
        for name in ("log.key", "cosigner.key")
        for data in (
            b"a secret",
            b"\xffPRIVATE+KEY+log.example/models+00000000+c2VjcmV0",
            b"PRIVATE+KEY+log.example/models+secret+" + base64.b64encode(b"\1" + bytes(32)),
            b"PRIVATE+KEY+a secret+00000000+" + base64.b64encode(b"\1" + bytes(32)),
        )
    ),
    refused(
        ConfigError,
        "permissions of <folder>/ledger/keys/log.key: expected readable by its owner only, got readable by others. Run `chmod 600 <folder>/ledger/keys/log.key` and consider the key as seen",
        _readable_key,
    ),
    refused(
        ConfigError,
        "private key <folder>/ledger/keys/cosigner.key: expected a readable file, got No such file or directory. Correct what is named, and try again",
        _missing_key,
    ),
    refused(
        ConfigError,
        "trust file: expected trust.toml, got No such file or directory. Correct what is named, and try again",
        _missing_trust,
    ),
    refused(
        LimitError,
        "trust file: expected at most 1048576 bytes, got 1048577 bytes. Check that it is what you meant: the limit cannot be changed",
        _large_trust,
    ),
)

# Recording


def _facts(ledger, event_id="e1", **changes):
    """The facts of an event, as those of the first that was recorded."""
    event = _first_event(ledger)
    return Facts(
        **{
            "event_id": event_id,
            "model": event.model,
            "manifest": event.manifest,
            "outcome": event.outcome,
        }
        | changes
    )


def _first_event(ledger):
    from ledger.entry import parse_entry
    from ledger.event import parse_statement

    log = open_for_reading(ledger).log
    return parse_statement(parse_entry(next(iter(log.read(1, 2, size=3)))).payload)


def _opened(scene, ledger):
    return scene.after.enter_context(open_for_recording(ledger, now=lambda: AT))


def _other_facts(scene):
    ledger = scene.ledger()
    _record(scene, ledger, event_id="e1")
    return _record(scene, ledger, revision="r4", event_id="e1")


def _id_of_the_key(scene):
    """The commit store says that this event id is at leaf 0, where the hub's key is."""
    ledger = scene.ledger()
    with contextlib.closing(sqlite3.connect(ledger / "ledger.db", isolation_level=None)) as connection:
        connection.execute("UPDATE events SET leaf_index = 0")
    return _record(scene, ledger, revision="r2")


def _id_of(scene, entry):
    """Another entry of the log has this event id."""
    ledger = scene.ledger()
    opened = _opened(scene, ledger)
    key = event_key(HUB, "e1")
    opened.log.append([Submission(entry=entry, admit=lambda _view, _index: Admitted(events=(key,)))])
    return opened.recorder.record(_facts(ledger, "e1"))


def _damaged_head(scene, *, state):
    """Nobody who records has said what a head holds: our storage is in doubt."""
    ledger = scene.ledger()
    with contextlib.closing(sqlite3.connect(ledger / "ledger.db", isolation_level=None)) as connection:
        connection.execute("UPDATE heads SET state = ? WHERE history LIKE 'name:%'", (bytes.fromhex(state),))
    return _record(scene, ledger)


def _erase(opened, reason="personal-data"):
    fields = {"evidence": ["0" * 64], "reason": reason}
    return opened.recorder.record_statement(
        ERASURE, fields, histories=["hub:", "name:acme/tiny"], event_id="erasure"
    )


def _other_statement(scene):
    opened = _opened(scene, scene.ledger())
    _erase(opened)
    return _erase(opened, reason="copyright")


def _record_listed(scene, manifest, *bundles):
    listed = RecordRequest(name="acme/tiny", revision="r3", manifest=manifest, bundles=bundles)
    return record_revision(scene.watch(scene.ledger()), listed, now=lambda: AT)


def _large_listing(scene):
    """Larger than what is read whole, and in no form that is read piece by piece."""
    listing = scene.write("list", b"{")
    os.truncate(listing, MAX_LISTING_BYTES + 1)
    return _record_listed(scene, listing)


def _second_key(scene):
    opened = _opened(scene, scene.watch(scene.ledger()))
    return opened.recorder.begin(spki_of(p256_key("hub")))


class _Racing:
    """A log beside which somebody else is faster, each time: between a decision and its commit a history grows."""

    def __init__(self, log, race):
        self._log, self._race = log, race

    def __getattr__(self, name):
        return getattr(self._log, name)

    def append(self, submissions):
        self._race(self._log, submissions)
        return self._log.append(submissions)


def _raced_by(scene, race):
    opened = _opened(scene, scene.ledger())
    opened.recorder._log = _Racing(opened.log, race)
    return opened


def _raced(scene, race):
    """Record while somebody races; the head never stands still."""
    return _raced_by(scene, race).recorder.record(_facts(scene.folder / "ledger"))


def _move_head(log, submissions):
    """Commit another entry that moves the histories of the first submission."""

    def admit(view, leaf_index):
        moved = [
            (name, Head(sequence=100 + leaf_index, statement_sha256=bytes(32), state=view.heads[name].state))
            for name in submissions[0].histories
        ]
        return Admitted(heads=moved)

    log.append([Submission(entry=b"other", histories=submissions[0].histories, admit=admit)])


def _take_id(log, submissions):
    """Commit another entry with the event id of the first submission, whose facts are the same."""
    admit = lambda _view, _index: Admitted(events=submissions[0].event_keys)  # noqa: E731
    log.append([Submission(entry=b"other", admit=admit)])


def _answered(scene, race):
    """Return the writer's own answer to a submission that lost a race."""
    ledger = scene.ledger()
    opened = _opened(scene, ledger)
    answers = []

    class Watching(_Racing):
        def append(self, submissions):
            race(self._log, submissions)
            answers.extend(self._log.append(submissions))
            raise answers[0]

    opened.recorder._log = Watching(opened.log, race)
    opened.recorder.record(_facts(ledger))


def _interrupted(scene):
    """Ctrl-C while one caller records for another too: the other gets an answer."""

    def interrupt(_log, _submissions):
        raise KeyboardInterrupt

    ledger = scene.watch(scene.ledger())
    opened = _opened(scene, ledger)
    opened.recorder._log = _Racing(opened.log, interrupt)
    other = _Ticket([_facts(ledger, event_id="other")])
    opened.recorder._waiting._queue.append(other)
    with contextlib.suppress(KeyboardInterrupt):
        opened.recorder.record(_facts(ledger))
    raise other.failure


RECORDING = (
    refused(
        WriteError,
        "committing: expected a known outcome, got an interrupted writer. Open the ledger again: it continues from what is certain",
        _interrupted,
    ),
    refused(
        ConflictError,
        "event id e1: expected the facts recorded at leaf 3, got other facts. Give a new event id (--event-id) to a new observation, also to one with other keys",
        _other_facts,
    ),
    refused(
        ConflictError,
        "event id auto-<hex>: expected the facts recorded at leaf 0, got other facts. Give a new event id (--event-id) to a new observation, also to one with other keys",
        _id_of_the_key,
    ),
    refused(
        CorruptError,
        "statement at leaf 3: expected one that this version wrote, got another. Use the version of hubledger that wrote this directory",
        lambda scene: _id_of(scene, format_map_commit(MapCommit(covers=3, root=bytes(32)))),
    ),
    refused(
        CorruptError,
        "statement at leaf 3: expected UTF-8 JSON, got <any>. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        lambda scene: _id_of(scene, b"no entry"),
    ),
    refused(
        ConflictError,
        "event id erasure: expected the facts recorded at leaf 3, got other facts. Give a new event id (--event-id) to a new observation, also to one with other keys",
        _other_statement,
    ),
    refused(
        HeadMovedError,
        "recording: expected a stable head within 20 decisions, got heads that kept moving. Try again with the same event id",
        lambda scene: _erase(_raced_by(scene, _move_head)),
    ),
    *(
        refused(
            CorruptError,
            "head name:acme/tiny in the commit store: expected a pin and a repository, got <any>. Stop the writer: its decisions would rest on damaged heads; restore the newest copy",
            functools.partial(_damaged_head, state=state),
        )
        for state in ("7b7d", "0100", "02ffff")
    ),
    refused(
        UsageError,
        "--revision: expected at least one character, got nothing. Compare with the command's --help",
        lambda scene: request(scene.folder, ""),
    ),
    refused(
        UsageError,
        "files of the revision: expected --model, or --manifest with --bundle, got neither. Compare with the command's --help",
        lambda scene: _record_listed(scene, None),
    ),
    refused(
        NotFoundError,
        "file <folder>/list: expected a readable file, got No such file or directory. Check the path",
        lambda scene: _record_listed(scene, scene.folder / "list"),
    ),
    refused(
        LimitError,
        "list of files list: expected at most <number> bytes, or a manifest in canonical form, got a larger one in another form. Write it as docs/spec/manifest.md says: that is read piece by piece",
        _large_listing,
    ),
    refused(
        NotFoundError,
        "bundle <folder>/bundle: expected a readable file, got No such file or directory. Check the path",
        lambda scene: _record_listed(scene, scene.write("list", b"[]"), scene.folder / "bundle"),
    ),
    refused(
        NotFoundError,
        "bundle <folder>/bundle: expected a file of the manifest, got none with sha256 <hex>. A bundle is a file of the revision: list it in the manifest, or leave it out",
        lambda scene: _record_listed(scene, scene.write("list", b"[]"), scene.write("bundle", b"{}")),
    ),
    refused(
        ConflictError,
        "first key of the hub: expected an empty hub: history, got a key before it. Use the ledger as it is: its key was announced when it was made",
        _second_key,
    ),
    refused(
        HeadMovedError,
        "event id: expected a new one, got one recorded meanwhile. Try again with the same event id",
        lambda scene: _answered(scene, _take_id),
    ),
    refused(
        HeadMovedError,
        "head of name:acme/tiny: expected the one decided against, got a later one. Try again with the same event id",
        lambda scene: _answered(scene, _move_head),
    ),
    refused(
        HeadMovedError,
        "recording: expected a stable head within 20 decisions, got heads that kept moving. Try again with the same event id",
        lambda scene: _raced(scene, _move_head),
    ),
    refused(
        NotFoundError,
        "file <folder>/signer.pub: expected a readable file, got No such file or directory. Check the path",
        lambda scene: _record(scene, scene.ledger(), public_keys=[scene.folder / "signer.pub"]),
    ),
    refused(
        LimitError,
        "file <folder>/signer.pub: expected at most 1048576 bytes, got more. Check that it is what you meant: the limit cannot be changed",
        lambda scene: _record(
            scene, scene.ledger(), public_keys=[scene.write("signer.pub", bytes((1 << 20) + 1))]
        ),
    ),
)

# Reading


def _proof(scene, event, **more):
    ledger = scene.watch(scene.ledger())
    return write_proof(ledger, event, since=None, output=scene.folder / "out", **more)


def _proof_of_more(scene, leaf_index=0, since=None):
    log = open_for_reading(scene.watch(scene.ledger())).log
    return make_proof(log, leaf_index, b"{}", since=since)


def _with_entries(scene, *entries):
    """Append raw entries to a ledger, as if the hub had signed and recorded them, and publish."""
    ledger = scene.ledger()
    with open_for_recording(ledger, now=lambda: AT) as opened:
        for entry in entries:
            opened.log.append([Submission(entry=entry)])
        opened.log.publish()
    return ledger


def _history_through_a_map_commit(scene):
    """The index leads to a leaf that holds no statement."""
    ledger = _with_entries(scene, format_map_commit(MapCommit(covers=3, root=bytes(32))))
    index = Index(ledger / "index.db")
    index.database.execute("INSERT INTO recent_histories VALUES ('name:acme/tiny', 3, 2)")
    index.database.conn.commit()
    index.close()
    return model_history(ledger, "acme/tiny")


READING = (
    refused(
        NotFoundError,
        "model tiny: expected a recorded name, got no event. Did you mean acme/tiny?",
        lambda scene: model_history(scene.watch(scene.ledger()), "tiny"),
    ),
    refused(
        NotFoundError,
        "model other: expected a recorded name, got no event. Record it with `hubledger record`",
        lambda scene: model_history(scene.watch(scene.ledger()), "other"),
    ),
    refused(
        CorruptError,
        "leaf 3: expected a statement, got a map commit. Run `hubledger index rebuild`: the index leads to a leaf that is none of this model's",
        _history_through_a_map_commit,
    ),
    refused(
        NotFoundError,
        "leaf 3: expected a leaf below 3, got one that is not published. Check the name, and that it has been recorded and published",
        lambda scene: _proof(scene, "3"),
    ),
    refused(
        NotFoundError,
        "event e9: expected a recorded event id or a leaf index, got none such. `hubledger history` shows leaf indices, and with --json event ids",
        lambda scene: _proof(scene, "e9"),
    ),
    refused(
        NotFoundError,
        "leaf 3: expected a leaf below 3, got one that is not published. Check the name, and that it has been recorded and published",
        lambda scene: _proof_of_more(scene, leaf_index=3),
    ),
    refused(
        NotFoundError,
        "size 4: expected at most 3, got a size that is not published. Check the name, and that it has been recorded and published",
        lambda scene: _proof_of_more(scene, since=4),
    ),
)

# Auditing


def _audit(scene, ledger):
    return audit_ledger(scene.watch(ledger), workers=1, progress=lambda _done, _total: None)


def _foreign(*vkeys):
    return audit_foreign(".", vkeys, origin=None, workers=1, progress=lambda _done, _total: None)


def _hub_entry(scene, statement):
    """Sign a statement with the hub's own key."""
    ledger = scene.folder / "ledger"
    key = serialization.load_pem_private_key((ledger / "keys/hub.key").read_bytes(), password=None)
    signature = key.sign(pae(statement), world._ECDSA)
    return format_entry(statement, keyid=keyid_of(spki_of(key)), signature=signature)


def _move(view, _leaf_index, *, statement):
    """Move the head of the name as the writer of the statement would."""
    head = view.heads["name:acme/tiny"]
    sha256 = hashlib.sha256(statement).digest()
    after = replace(head, sequence=head.sequence + 1, statement_sha256=sha256)
    return Admitted(heads=[("name:acme/tiny", after)])


def _append_statement(scene, make):
    """Let the hub sign and log one more statement, made from the last one."""
    ledger = scene.ledger()
    log = open_for_reading(ledger).log
    from ledger.encoding import format_canonical_json
    from ledger.entry import parse_entry

    last = parse_entry(next(iter(log.read(2, 3, size=3)))).payload
    value = json.loads(last)
    make(value["predicate"], last)
    statement = format_canonical_json(value)
    moved = Submission(
        entry=_hub_entry(scene, statement),
        histories=["name:acme/tiny"],
        admit=functools.partial(_move, statement=statement),
    )
    with open_for_recording(ledger, now=lambda: AT) as opened:
        opened.log.append([moved])
        opened.log.publish()
    return _audit(scene, ledger)


def _another_ledger(predicate, _last):
    predicate["ledger"] = "log.example/other"


def _used_id(predicate, last):
    link = predicate["histories"][0]
    link["sequence"] += 1
    link["previous"] = hashlib.sha256(last).hexdigest()


def _store_changed(scene, statement):
    ledger = scene.ledger()
    with contextlib.closing(sqlite3.connect(ledger / "ledger.db", isolation_level=None)) as connection:
        assert connection.execute(statement).rowcount
    return _audit(scene, ledger)


def _index_changed(scene):
    ledger = scene.ledger()
    with contextlib.closing(sqlite3.connect(ledger / "index.db", isolation_level=None)) as connection:
        assert connection.execute("DELETE FROM models").rowcount
    return _audit(scene, ledger)


AUDITING = (
    refused(
        UsageError,
        "origin of the log: expected --origin, or keys of one name, got ['a.example', 'b.example']. Compare with the command's --help",
        lambda _: _foreign(*[_vkey(name) for name in ("a.example", "b.example")]),
    ),
    refused(
        MalformedError,
        "entry 3: ledger of the statement: expected log.example/models, got log.example/other. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda scene: _append_statement(scene, _another_ledger),
    ),
    refused(
        ChainError,
        "event id of leaf 3: expected an id used once, got that of leaf 2. Keep the copy that you have, and ask the hub for an explanation in public",
        lambda scene: _append_statement(scene, _used_id),
    ),
    refused(
        CorruptError,
        "size of the commit store: expected 3, got 4. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        lambda scene: _store_changed(scene, "UPDATE log_state SET size = 4"),
    ),
    refused(
        CorruptError,
        "head name:acme/tiny in the commit store: expected number 1, <hex>, got number 9, <hex>. Stop the writer: its decisions may rest on damaged heads; restore the newest copy",
        lambda scene: _store_changed(scene, "UPDATE heads SET sequence = 9 WHERE history = 'name:acme/tiny'"),
    ),
    refused(
        CorruptError,
        "event id <hex> in the commit store: expected leaf 2, got leaf 9. Stop the writer: its decisions may rest on damaged heads; restore the newest copy",
        lambda scene: _store_changed(scene, "UPDATE events SET leaf_index = 9 WHERE leaf_index = 2"),
    ),
    refused(
        CorruptError,
        "index: expected what the log says, got models: expected acme/tiny, got another row or none. Run `hubledger index rebuild`",
        _index_changed,
    ),
)


def _vkey(name):
    from ledger.tlog.signed_note import Ed25519NoteSigner

    return Ed25519NoteSigner(name, ed25519_key(name)).verifier.format()


# Commands


def _command(*arguments):
    return group.main(args=[str(each) for each in arguments], standalone_mode=False)


def _verify(scene, *arguments):
    proof, trust = scene.write("proof", b""), scene.write("trust", b"")
    return _command("verify", "--proof", proof, "--trust", trust, *arguments)


def _no_extra(scene):
    """The extra is not installed: its import fails."""
    known = sys.modules.copy()
    for name in [name for name in known if name.split(".")[0] == "model_signing"]:
        del sys.modules[name]
    sys.modules["model_signing"] = None

    def restore():
        del sys.modules["model_signing"]
        sys.modules.update({name: known[name] for name in known if name.split(".")[0] == "model_signing"})

    scene.after.callback(restore)
    return _command("demo")


def _evidence_taken(scene):
    for number in range(1000):
        scene.write("evidence.json" if number == 0 else f"evidence-{number}.json", b"")
    return write_evidence(b"evidence", scene.watch(scene.folder) / "evidence.json")


TRUST = world.World().trust()


def _expect(scene, *options):
    from ledger.client.trust_writing import format_trust

    proof = scene.write("proof", world.World().grow(1).proof(0))
    trust = scene.write("trust", format_trust(TRUST))
    return _command("verify", "--proof", proof, "--trust", trust, *options)


COMMANDS = (
    refused(
        UsageError,
        "--older-than: expected a number with s, m, h or d, got yesterday. Compare with the command's --help",
        lambda scene: _command("evidence", "gc", scene.watch(scene.ledger()), "--older-than", "yesterday"),
    ),
    refused(
        UsageError,
        "what to show: expected one of NAME, --content and --file, got none. Compare with the command's --help",
        lambda scene: _command("history", scene.folder),
    ),
    refused(
        ConfigError,
        "--origin: expected 1 to 128 printable ASCII characters without spaces and '+', got a b. A schema-less address such as \"log.example/models\" is usual",
        lambda scene: _command("init", scene.watch(scene.folder) / "new", "--origin", "a b", "--hub", HUB),
    ),
    refused(
        UsageError,
        "hubledger log audit: expected --vkey with an address or an --origin, got none. Ask the log's publisher for its verifier key",
        lambda _: _command("log", "audit", "https://log.example"),
    ),
    refused(
        UsageError,
        "--partial: expected --model and --partial, with or without --manifest, got less. Compare with the command's --help",
        lambda scene: _verify(scene, "--partial"),
    ),
    refused(
        NotFoundError,
        "manifest <folder>/manifest.json: expected a readable file, got No such file or directory. Name it with --manifest; `hubledger evidence export` writes it beside the proof",
        lambda scene: _expect(scene, "--partial", "--model", scene.folder),
    ),
    refused(
        UsageError,
        "--expect-key: expected SHA256:…, 64 hex digits, or a PEM file, got nothing. Compare with the command's --help",
        lambda scene: _expect(scene, "--expect-key", ""),
    ),
    *(
        refused(
            UsageError,
            f"--expect-key: expected SHA256:…, 64 hex digits, or a PEM file, got SHA256:{text}. Compare with the command's --help",
            lambda scene, text=text: _expect(scene, "--expect-key", f"SHA256:{text}"),
        )
        for text in ("", "A" * 42, "A" * 39, "A" * 42 + "B", "0" * 64)
    ),
    refused(
        UsageError,
        "hubledger verify: expected one of --name, --proof, --bundle and --evidence, got none. To check a model: hubledger verify FOLDER --name HUB/NAMESPACE/MODEL",
        lambda scene: _command("verify", "--trust", scene.write("trust", b"")),
    ),
    refused(
        UsageError,
        "--evidence: expected no other option but --trust, --policy and --json, got --proof. Compare with the command's --help",
        lambda scene: _verify(scene, "--evidence", scene.write("evidence", b"")),
    ),
    refused(
        UsageError,
        "hubledger verify --evidence: expected one of --trust and --policy, got none. Compare with the command's --help",
        lambda scene: _command("verify", "--evidence", scene.write("evidence", b"")),
    ),
    refused(
        UsageError,
        "--policy: expected --evidence beside it, got none. Compare with the command's --help",
        lambda scene: _verify(scene, "--policy", scene.write("policy", b"")),
    ),
    refused(
        UsageError,
        'hubledger demo: expected the extra oms, which signs models, got <any>. Install it with `pip install "hubledger[oms]"`',
        _no_extra,
    ),
    refused(
        UsageError,
        "--log-only: expected no --model and no --expect options, got both. Compare with the command's --help",
        lambda scene: _verify(scene, "--log-only", "--model", scene.folder),
    ),
    refused(
        UsageError,
        "--expect-all: expected at least one expectation, got none. Compare with the command's --help",
        lambda scene: _verify(scene, "--expect-all"),
    ),
    refused(
        WriteError,
        "evidence of misbehaviour for <folder>/no/such/evidence.json: expected a file that can be written, got No such file or directory. The log contradicts itself: run this again with --evidence-out in another folder",
        lambda scene: write_evidence(b"evidence", scene.folder / "no/such/evidence.json"),
    ),
    refused(
        WriteError,
        "evidence of misbehaviour for <folder>/evidence.json: expected a free file name, got 1000 files of that name. The log contradicts itself: run this again with --evidence-out in another folder",
        _evidence_taken,
    ),
    refused(
        NotFoundError,
        "file <folder>/proof: expected a readable file, got No such file or directory. Check the path",
        lambda scene: _command(
            "verify", "--proof", scene.folder / "proof", "--trust", scene.folder / "trust"
        ),
    ),
    refused(
        UsageError,
        "--expect-issuer: expected an --expect-signer before it, got none. Compare with the command's --help",
        lambda scene: _expect(scene, "--expect-issuer", "https://idp.example"),
    ),
    refused(
        UsageError,
        "--expect-signer a@example.org: expected an --expect-issuer right after it, got the end. Compare with the command's --help",
        lambda scene: _expect(scene, "--expect-signer", "a@example.org"),
    ),
    refused(
        UsageError,
        "--expect-signer a@example.org: expected an --expect-issuer right after it, got --expect-key. Compare with the command's --help",
        lambda scene: _expect(scene, "--expect-signer", "a@example.org", "--expect-key", "0" * 64),
    ),
    refused(
        UsageError,
        "--expect-key: expected SHA256:…, 64 hex digits, or a PEM file, got <folder>/key.pem. Compare with the command's --help",
        lambda scene: _expect(scene, "--expect-key", scene.write("key.pem", b"none")),
    ),
    refused(
        UsageError,
        "--expect-key: expected SHA256:…, 64 hex digits, or a PEM file, got <folder>/key.pem. Compare with the command's --help",
        lambda scene: _expect(scene, "--expect-key", scene.write("key.pem", _pem_of_no_curve())),
    ),
)

CASES = (*CONFIG, *OPENING, *RECORDING, *READING, *AUDITING, *COMMANDS)
