"""Refusals of what runs the service: metrics, lines of the log, keys that are rotated."""

import contextlib
import dataclasses
import json
import re
import sqlite3
import sys

from cryptography.hazmat.primitives import serialization

import cli.init
from ledger.client.trust import parse_trust
from ledger.client.trust_writing import format_trust
from ledger.client.trusted_keys import HubKey
from ledger.config import Config, ServeConfig
from ledger.embedded.examining import Examine
from ledger.embedded.key_files import KeyFiles
from ledger.embedded.keys import format_key, load_hub_key, load_public_key, spki_of
from ledger.embedded.kms import RemoteSigner, SignerSource
from ledger.embedded.observers import add_observer, observers_now, retire_observer
from ledger.embedded.opening import open_for_recording
from ledger.embedded.rotating import revoke_hub, rotate_hub, rotate_log
from ledger.embedded.submitting import drop_event
from ledger.encoding import format_base64
from ledger.entry import keyid_of, parse_entry
from ledger.errors import (
    ConfigError,
    ConflictError,
    CorruptError,
    NotFoundError,
    RejectedError,
    SignatureError,
    SourceError,
    UsageError,
    WriteError,
)
from ledger.event import HistoryLink, RecordedBy, format_statement
from ledger.recorder import HubSigner
from ledger.recorder.drafts import Drafter
from ledger.server.metrics import Metrics
from ledger.server.submitting import parse_entries
from ledger.tlog.signed_note import Ed25519NoteSigner
from tests.ledger.server.conftest import facts
from tests.refusals.of_outbox import _ledger
from tests.refusals.table import AT, refused
from tests.world import ed25519_key, p256_key

OFFLINE = Ed25519NoteSigner("hub.example/trust", ed25519_key("offline"))


def _no_metrics(scene):
    before = sys.modules.get("prometheus_client")
    scene.after.callback(
        lambda: (
            sys.modules.pop("prometheus_client")
            if before is None
            else sys.modules.update(prometheus_client=before)
        )
    )
    sys.modules["prometheus_client"] = None
    return Metrics()


SETTINGS = (
    refused(
        ConfigError,
        "serve.metrics: expected prometheus-client, from the extra `server`, got not installed. Run `pip install 'hubledger[server]'`",
        _no_metrics,
    ),
    refused(
        ConfigError,
        "serve.metrics: expected an address and a port, got 9470. Correct what is named, and try again",
        lambda _: ServeConfig(metrics="9470"),
    ),
    refused(
        ConfigError,
        'serve.log_format: expected "json" or "logfmt", got xml. Correct what is named, and try again',
        lambda _: ServeConfig(log_format="xml"),
    ),
    refused(
        ConfigError,
        "serve.caller_header: expected the name of a header, got X: y. Correct what is named, and try again",
        lambda _: ServeConfig(caller_header="X: y"),
    ),
)


def _opened(ledger):
    return lambda: open_for_recording(ledger)


def _with_update_key(scene):
    """A ledger whose trust file has a key of its own, as a rotation needs it."""
    ledger = scene.ledger()
    path = ledger / "trust.toml"
    trust = dataclasses.replace(parse_trust(path.read_bytes()), update_key=OFFLINE.verifier)
    path.write_bytes(format_trust(trust))
    return ledger


def _begin(scene, ledger):
    return rotate_hub(scene.watch(ledger), begin=True, opened=_opened(ledger))


def _begin_twice(scene):
    ledger = _with_update_key(scene)
    rotate_hub(ledger, begin=True, opened=_opened(ledger))
    return _begin(scene, ledger)


def _begin_before_the_end(scene):
    """The new key signs, and the trust file has no end of the old one yet."""
    ledger = _with_update_key(scene)
    draft = rotate_hub(ledger, begin=True, opened=_opened(ledger)).draft
    (ledger / "trust.toml").write_bytes(draft.read_bytes())
    rotate_hub(ledger, begin=False, opened=_opened(ledger))
    return _begin(scene, ledger)


def _in_rekor(scene):
    ledger = scene.ledger()
    path = ledger / "hubledger.toml"
    path.write_text(path.read_text().replace('log = "local"', 'log = "rekor-v2"'))
    return ledger


def _rotate_the_log_in_rekor(scene):
    ledger = _in_rekor(scene)
    return rotate_log(scene.watch(ledger), begin=True, finish=False, opened=_opened(ledger))


def _dropped_from_the_outbox(scene):
    """Nobody waits for Rekor, and what says that the key is added is given up."""
    ledger = _ledger(scene)
    path = ledger / "trust.toml"
    old = parse_trust(path.read_bytes())
    path.write_bytes(format_trust(dataclasses.replace(old, update_key=OFFLINE.verifier)))
    began = rotate_hub(ledger, begin=True, opened=_opened(ledger), wait=0)
    drop_event(ledger, str(began.facts["number"]), reason="typo")
    return rotate_hub(ledger, begin=False, opened=_opened(ledger), wait=0)


def _no_room_for_the_old_key(scene):
    """Something else is where the next key should be: a folder cannot take the place of a key."""
    files = KeyFiles(scene.folder / "hub.key")
    scene.write("hub.key", b"key")
    files.next.mkdir()
    scene.after.callback(files.next.rmdir)
    return files.swap("0" * 64)


def _revoke_in(ledger, keyid):
    return revoke_hub(ledger, keyid, first=0, reason=None, opened=_opened(ledger))


def _revoke(scene, keyid=None, first=0):
    ledger = scene.ledger()
    keyid = keyid or parse_trust((ledger / "trust.toml").read_bytes()).hub_keys[0].keyid
    return revoke_hub(scene.watch(ledger), keyid, first=first, reason=None, opened=_opened(ledger))


def _revoke_what_is_to_come(scene):
    ledger = scene.ledger()
    path = ledger / "trust.toml"
    old = parse_trust(path.read_bytes())
    other = HubKey(spki=spki_of(p256_key("other")))
    path.write_bytes(format_trust(dataclasses.replace(old, hub_keys=(*old.hub_keys, other))))
    scene.watch(ledger / "keys")
    return revoke_hub(ledger, other.keyid, first=99, reason=None, opened=_opened(ledger))


ROTATION = (
    refused(
        ConfigError,
        "update_key of trust.toml: expected the offline key that signs the next version: without it no client learns of another key, got none. Make one with `hubledger trust key`, and publish a version that names it",
        lambda scene: _begin(scene, scene.ledger()),
    ),
    refused(
        UsageError,
        "next key <folder>/ledger/keys/hub.key.next: expected none, at the beginning of a rotation, got one that a rotation before made. Go on with it: the same command without --begin",
        _begin_twice,
    ),
    refused(
        UsageError,
        "rotation: expected none under way, with --begin, got one that is not finished. Go on with it: the same command without --begin",
        _begin_before_the_end,
    ),
    refused(
        UsageError,
        "log of log.example/models: expected one in this directory, got one in Rekor (rekor-v2). Rekor has keys of its own for its checkpoints; the trusted root names them",
        _rotate_the_log_in_rekor,
    ),
    refused(
        UsageError,
        "log of log.example/models: expected one in this directory, got one in Rekor (rekor-v2). A revocation names one leaf index, and Rekor has shards: end the key's range in the next trust.toml (end, end_shard), and publish that",
        lambda scene: _revoke_in(_in_rekor(scene), "0" * 64),
    ),
    refused(
        UsageError,
        "statement that key <hex> is added: expected one that is logged, or waits for it, got one that was dropped from the outbox (typo). Nobody will read it in the log. Remove the file that --begin made (keys/hub.key.next or keys/hub-next.toml), and --begin; the trust file alone says which keys count",
        _dropped_from_the_outbox,
    ),
    refused(
        WriteError,
        "replacing <folder>/hub.key: expected a folder that this user can write, got <any>. Mend that, and run the command again: no key is lost",
        _no_room_for_the_old_key,
    ),
    refused(
        NotFoundError,
        f"hub key {'0' * 64}: expected a key of the trust file, by its whole id, got none such. trust.toml names them after `sha256:`",
        lambda scene: _revoke(scene, "0" * 64),
    ),
    refused(
        UsageError,
        "hub key <hex>: expected a key that signs no more, got the one that signs. Rotate first: `hubledger keys rotate hub DIR --begin`",
        _revoke,
    ),
    refused(
        UsageError,
        "--from: expected at most 3, the leaf that says so, got 99. A key that shall end later is retired, by `hubledger keys rotate hub`",
        _revoke_what_is_to_come,
    ),
)


def _with_signer(scene, uri, secret=""):
    """A ledger whose hub key is said to be elsewhere; its public half is in the place of the key."""
    ledger = scene.ledger()
    public = scene.write("hub.pem", _public(p256_key("kms")))
    path = ledger / "hubledger.toml"
    text = path.read_text().replace("keys/hub.key", str(public))
    text = re.sub('hub_signer = ""', f'hub_signer = "{uri}"', text)
    path.write_text(re.sub('hub_signer_secret = ""', f'hub_signer_secret = "{secret}"', text))
    return ledger


def _public(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _record(ledger):
    with open_for_recording(ledger):
        raise AssertionError


def _rotate_elsewhere(scene):
    ledger = _with_signer(scene, "awskms:key")
    return rotate_hub(ledger, begin=True, opened=_opened(ledger))


def _rotate_to(scene, key, public):
    """Begin to move the key of a ledger to where ``key`` signs, and ``public`` is said to."""
    ledger = _with_update_key(scene)
    scene.write("next.pem", format_key(key))
    source = SignerSource(
        uri=f"file2:{scene.folder}/next.pem", public_key=scene.write("next.pub", _public(public))
    )
    return ledger, lambda: rotate_hub(scene.watch(ledger), begin=True, opened=_opened(ledger), signer=source)


def _rotate_to_itself(scene):
    ledger, begin = _rotate_to(scene, p256_key("next"), p256_key("next"))
    scene.write("next.pub", _public(load_hub_key(ledger / "keys/hub.key")))
    return begin()


def _bent_next(scene):
    ledger = _with_update_key(scene)
    (ledger / "keys/hub-next.toml").write_text('hub_key = "keys/hub.pub"')
    return rotate_hub(ledger, begin=False, opened=_opened(ledger))


def _another_key(scene):
    ledger = scene.ledger()
    (ledger / "keys/hub.key").write_bytes(format_key(p256_key("other")))
    return _record(scene.watch(ledger))


def _away(data):
    raise TimeoutError(data)


def _signer(sign):
    return RemoteSigner(sign, spki=spki_of(p256_key("kms")), name="awskms").sign_run([b"{}"])


def _no_library(scene):
    name = "securesystemslib.signer"
    before = sys.modules.get(name)
    scene.after.callback(
        lambda: sys.modules.pop(name) if before is None else sys.modules.update({name: before})
    )
    sys.modules[name] = None
    return _record(_with_signer(scene, "awskms:key"))


def _wants_a_secret(scene):
    """A signer that asks for its secret while it is opened, as that of an HSM does when it signs."""

    class Asking:
        @classmethod
        def from_priv_key_uri(cls, _uri, _key, secrets_handler):
            return secrets_handler("pin")

    from securesystemslib.signer import SIGNER_FOR_URI_SCHEME

    SIGNER_FOR_URI_SCHEME["asking"] = Asking
    scene.after.callback(lambda: SIGNER_FOR_URI_SCHEME.pop("asking"))
    return _record(_with_signer(scene, "asking:key"))


_NEXT = "Run `pip install 'hubledger[kms]'` and the library of your service, and see that hub_key is its public key"
_RECORDED = "Nothing was recorded. See that the service answers and that its key is the one in hub_key; then send the same event again"

KMS = (
    refused(
        ConfigError,
        "hub_signer: expected a URI such as awskms:…, or nothing, got another form. Correct what is named, and try again",
        lambda _: Config(ledger="log.example/models", hub="hub.example", hub_signer="key"),
    ),
    refused(
        UsageError,
        "--begin, --hub-signer and --hub-public-key: expected all of them, or none: no command of ours makes a key that is elsewhere, got some. Compare with the command's --help",
        _rotate_elsewhere,
    ),
    refused(
        ConfigError,
        f"hub_signer file2: expected a signer of securesystemslib that can be opened, got KeyMismatchError. {_NEXT}",
        lambda scene: _rotate_to(scene, p256_key("next"), p256_key("another"))[1](),
    ),
    refused(
        UsageError,
        "--hub-public-key: expected a new key, got the one that signs. Compare with the command's --help",
        _rotate_to_itself,
    ),
    refused(
        ConfigError,
        "next signer <folder>/ledger/keys/hub-next.toml: expected as --begin wrote it, got something else. Remove it, and --begin again: the same key is announced once",
        _bent_next,
    ),
    refused(
        ConfigError,
        "hub_key of the settings: expected a key that trust.toml has, and whose range has no end there, got key <hex>. Name the key that counts; for another one: `hubledger keys rotate hub DIR`",
        _another_key,
    ),
    refused(
        SourceError,
        f"signer awskms: expected a signature, got TimeoutError. {_RECORDED}",
        lambda _: _signer(_away),
    ),
    refused(
        SourceError,
        f"signer awskms: expected a signature by key <hex>, got another. {_RECORDED}",
        lambda _: _signer(lambda _data: b"signature"),
    ),
    refused(
        ConfigError,
        f"hub_signer awskms: expected a signer of securesystemslib that can be opened, got its library is not installed. {_NEXT}",
        _no_library,
    ),
    refused(
        ConfigError,
        f"hub_signer nowhere: expected a signer of securesystemslib that can be opened, got ValueError. {_NEXT}",
        lambda scene: _record(_with_signer(scene, "nowhere:key")),
    ),
    refused(
        ConfigError,
        f"hub_signer asking: expected a signer of securesystemslib that can be opened, got it wants a secret, and hub_signer_secret names no file. {_NEXT}",
        _wants_a_secret,
    ),
    refused(
        ConfigError,
        "public key <folder>/key.pem: expected an ECDSA P-256 public key in PEM, got something else. Correct what is named, and try again",
        lambda scene: load_public_key(scene.write("key.pem", b"key")),
    ),
    refused(
        UsageError,
        "--hub-signer, --hub-public-key and --hub-signer-secret: expected the first two, or none of them, got some. <any>",
        lambda scene: cli.init.command.main(
            [
                str(scene.folder / "new"),
                "--origin",
                "log.example/m",
                "--hub",
                "hub.example",
                "--hub-signer",
                "a:b",
            ],
            standalone_mode=False,
        ),
    ),
)


def _observer_of(scene):
    ledger = scene.ledger()
    with open_for_recording(ledger) as opened:
        add_observer(opened, "watch.example", spki_of(p256_key("watcher")))
    return ledger


def _add(scene, name, key):
    with open_for_recording(_observer_of(scene)) as opened:
        return add_observer(opened, name, key)


def _retire(scene):
    with open_for_recording(scene.ledger()) as opened:
        return retire_observer(opened, "0" * 64)


def _hub_key_as_observer(scene):
    ledger = _observer_of(scene)
    with open_for_recording(ledger) as opened:
        return add_observer(
            opened, "watch.example", parse_trust((ledger / "trust.toml").read_bytes()).hub_keys[0].spki
        )


def _index_without_the_newest(scene):
    ledger = _observer_of(scene)
    with open_for_recording(ledger) as opened:
        with contextlib.closing(sqlite3.connect(ledger / "index.db")) as database, database:
            database.execute("DELETE FROM recent_histories WHERE history = 'hub:' AND leaf_index > 0")
        return observers_now(opened)


@contextlib.contextmanager
def _observing(scene):
    """A ledger with an observer, open; whatever it signs names evidence that need not be there."""
    ledger = _observer_of(scene)
    with open_for_recording(ledger) as opened:
        yield ledger, opened


def _signed_by_observer(opened, *, keyed="watcher", decision="observed", by="watch.example"):
    drafter = Drafter(ledger="log.example/models", hub="hub.example", now=lambda: AT)
    about = facts("a/b", "r1")
    event = drafter.decide(0, about, key=drafter.key_of(about), heads={}, now=AT).event
    common = dataclasses.replace(
        event.common,
        recorded_by=RecordedBy(id=by, role="observer"),
        histories=tuple(HistoryLink(key=each.key) for each in event.common.histories),
    )
    statement = format_statement(
        dataclasses.replace(event, common=common, policy=dataclasses.replace(event.policy, decision=decision))
    )
    key = p256_key(keyed)
    return HubSigner(key=key, keyid=keyid_of(spki_of(key))).sign_run([statement])[0]


def _send(scene, **more):
    with _observing(scene) as (ledger, opened):
        entry = _signed_by_observer(opened, **more)
        data = json.dumps({"entries": [format_base64(entry)]}).encode()
        signed = parse_entries(opened, data, trust=parse_trust((ledger / "trust.toml").read_bytes()))
        return opened.recorder.submit(signed)


def _send_retired(scene):
    with _observing(scene) as (ledger, opened):
        retire_observer(opened, keyid_of(spki_of(p256_key("watcher"))))
        data = json.dumps({"entries": [format_base64(_signed_by_observer(opened))]}).encode()
        return parse_entries(opened, data, trust=parse_trust((ledger / "trust.toml").read_bytes()))


def _audit_hub_statement_by_observer(scene):
    """A statement of the hub, signed by the key of an observer: examined as an audit does."""
    with _observing(scene) as (_, opened):
        observers = observers_now(opened)
        key = p256_key("watcher")
        statement = parse_entry(next(iter(opened.log.read(1, 2)))).payload
        (entry,) = HubSigner(key=key, keyid=keyid_of(spki_of(key))).sign_run([statement])
        examine = Examine(
            {keyid_of(spki_of(key)): spki_of(key)}, "log.example/models", scene.folder, observers
        )
        return examine(9, [entry])


OBSERVERS = (
    refused(
        UsageError,
        "observer: expected another than the hub, got hub.example. Name who will record",
        lambda scene: _add(scene, "hub.example", spki_of(p256_key("other"))),
    ),
    refused(
        ConflictError,
        "key <hex>: expected one that nobody used here, got a key of watch.example. Make a new key for this observer",
        lambda scene: _add(scene, "other.example", spki_of(p256_key("watcher"))),
    ),
    refused(
        ConflictError,
        "key <hex>: expected one that nobody used here, got a key of the hub. Make a new key for this observer",
        _hub_key_as_observer,
    ),
    refused(
        UsageError,
        f"key {'0' * 64}: expected a key of an observer, by its whole id, got none such. `hubledger keys observer list` names them",
        _retire,
    ),
    refused(
        CorruptError,
        "index of the history hub:: expected 2 statements, to the head, got 1. Run `hubledger index rebuild`: until then no observer is believed",
        _index_without_the_newest,
    ),
    refused(
        SignatureError,
        "key of the entry: expected a registered key of observer watch.example, got <hex>. <any>",
        lambda scene: _send(scene, keyed="stranger"),
    ),
    refused(
        SignatureError,
        "leaf index of an entry by observer watch.example: expected 4 to before 5, got 5. <any>",
        _send_retired,
    ),
    refused(
        RejectedError,
        "decision of an observer's event: expected observed, got accepted. An observer says what it found; the hub alone decides",
        lambda scene: _send(scene, decision="accepted"),
    ),
    refused(
        SignatureError,
        "entry 9: key of the statement: expected one of hub hub.example, got one of observer watch.example. <any>",
        _audit_hub_statement_by_observer,
    ),
)

CASES = (*SETTINGS, *ROTATION, *KMS, *OBSERVERS)
