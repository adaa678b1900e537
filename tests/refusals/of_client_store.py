"""Refusals of what a client keeps: trust files, pins, and where they come from."""

import hashlib

import httpx

from cli.main import group
from ledger.client.pins import Pins, check_history, check_link, verify_pin
from ledger.client.result import LogResult
from ledger.client.trust import format_trust, parse_trust
from ledger.client.trust_signature import sign_trust, signed_text, verify_signed, verify_update
from ledger.client.trust_source import open_source, read_local, versions_at
from ledger.client.trust_store import Origin, TrustStore
from ledger.embedded.directory import Layout
from ledger.embedded.trust_versions import publish_trust, read_trust, read_trust_signature
from ledger.errors import (
    ChainError,
    ConfigError,
    ConflictError,
    CorruptError,
    MisbehaviourError,
    NotFoundError,
    SignatureError,
    SourceError,
    UsageError,
    WriteError,
)
from ledger.log.fetch import fetch_from_url
from ledger.tlog.signed_note import Ed25519NoteSigner, sign_note
from tests.ledger.client.test_pins import event_pin, linked_event, tree
from tests.refusals.table import refused
from tests.world import World, ed25519_key

WORLD = World()
ASK = "Correct what is named, and try again"
KEYS = "Check that the keys are those of this log and hub; if they are, do not use what was signed"


def _offline(name="first"):
    return Ed25519NoteSigner("hub.example/trust", ed25519_key(f"offline {name}"))


def _version(number, *, key="first", **changes):
    changes = {"update_key": _offline(key).verifier if key else None} | changes
    return format_trust(WORLD.trust(version=number, **changes))


def _signed(data, *keys):
    return sign_note(signed_text(parse_trust(data), data), [_offline(each) for each in keys])


def _update(data, *keys):
    verify_update(parse_trust(_version(1)), data, _signed(data, *keys))


def _store(scene, *versions):
    store = TrustStore(scene.folder / "data")
    for each in versions:
        store.add(each, source="a", origin=Origin.CONFIRMED)
    scene.watch(scene.folder)
    return store


def _hub(answers):
    def answer(request):
        found = answers.get(request.url.raw_path.decode())
        return httpx.Response(404) if found is None else httpx.Response(200, stream=httpx.ByteStream(found))

    transport = httpx.MockTransport(answer)
    return open_source(
        "https://hub.example", connect=lambda url: fetch_from_url(url, transport=transport, tries=1)
    )


PATH = "/.well-known/hubledger/trust"


def _damaged(scene, data):
    store = TrustStore(scene.folder / "data")
    store.add(_version(1), source="a", origin=Origin.CONFIRMED)
    (path,) = (scene.folder / "data/trust").glob("*.json")
    path.write_bytes(data)
    scene.watch(scene.folder)
    store.list()


def _unwritable(scene):
    scene.write("data", b"")
    scene.watch(scene.folder)
    TrustStore(scene.folder / "data").add(_version(1), source="a", origin=Origin.CONFIRMED)


def _publish_without_key(scene):
    ledger = scene.ledger()
    data = (ledger / "trust.toml").read_bytes()
    scene.watch(ledger)
    (ledger / "trust.lock").touch()
    scene.watch(ledger)
    publish_trust(ledger, data, b"")


def _existing_key(scene):
    path = scene.write("a.key", b"")
    scene.watch(scene.folder)
    group.main(args=["trust", "key", str(path), "--name", "n"], standalone_mode=False)


def _pins(scene, *moves):
    pins = Pins(scene.folder / "data")
    for each in moves:
        each(pins)
    scene.watch(scene.folder)
    return pins


def _damaged_pin(scene):
    Pins(scene.folder / "data").move_history(event_pin())
    (path,) = (scene.folder / "data/pins").glob("*.json")
    path.write_bytes(b"{}")
    Pins(scene.folder / "data").known()


def _forked(scene):
    world = World().grow(10)
    pins = _pins(scene, lambda pins: pins.move_log(world.trust(), tree(10, world), linked_to=None))
    pins.move_log(world.trust(), tree(10, world.fork(9).grow(1, word="fork")), linked_to=None)


def _other_key(scene):
    world = World().grow(10)
    pin = Pins(scene.folder / "data").move_log(world.trust(), tree(10, world), linked_to=None)
    verify_pin(pin, World(log_key="other").trust())


EXPLAIN = "Keep the copy that you have, and ask the hub for an explanation in public"
BROKEN = (
    "trust file <folder>/data/trust/<hex>.json: expected what hubledger wrote, got {}. "
    "Restore the file, or remove it: what it remembered is then forgotten"
)
FIRST = _offline().verifier
FIRST_ID = f"hub.example/trust+{FIRST.key_id.hex()}"
SECOND_ID = f"hub.example/trust+{_offline('second').verifier.key_id.hex()}"

CASES = (
    # the file's own key
    refused(
        ConfigError,
        f"update_key: expected an Ed25519 key, got COSIGNATURE_V1. {ASK}",
        lambda _: WORLD.trust(update_key=WORLD.cosigner("m.example").verifier),
    ),
    refused(
        ConfigError,
        "update_key: expected a key of its own, which is kept offline, got the key of a log, a witness or a "
        f"monitor. {ASK}",
        lambda _: WORLD.trust(update_key=WORLD.log_signer.verifier),
    ),
    # signing
    refused(
        ConfigError,
        f"update_key of the trust file: expected {FIRST_ID}, got none. Write the line that `hubledger trust key` "
        "printed into the trust file",
        lambda _: sign_trust(_version(1, key=None), [_offline()]),
    ),
    refused(
        SignatureError,
        f"signatures of the trust file: expected {FIRST_ID} and {SECOND_ID}, got none by {SECOND_ID}. {KEYS}",
        lambda _: _update(_version(2, key="second"), "first"),
    ),
    refused(
        SignatureError,
        "signature of the trust file: expected hubledger trust file v1 log.example/models 2 <hex>, got hubledger "
        f"trust file v1 log.example/models 2 <hex>. {KEYS}",
        lambda _: verify_signed(_version(2) + b"\n", _signed(_version(2), "first"), key=FIRST),
    ),
    refused(
        ConfigError,
        "update_key of your trust file: expected the key that signs the next version, got none. Remove it and add the "
        "new one, comparing its digest with what the publisher shows elsewhere",
        lambda _: verify_update(parse_trust(_version(1, key=None)), _version(2), b""),
    ),
    refused(
        SignatureError,
        "ledger and hub of the new trust file: expected log.example/models and hub.example, got log.example/models and "
        f"other.example. {KEYS}",
        lambda _: _update(_version(2, hub="other.example"), "first"),
    ),
    refused(
        SignatureError,
        "version of the new trust file: expected 2, the one after yours, got 3. Keep the one that you have: an older "
        "one may bring back keys that were withdrawn",
        lambda _: _update(_version(3), "first"),
    ),
    refused(
        ConfigError,
        "update_key of the new trust file: expected the key that signs the version after it, got none. Keep the one "
        "that you have, and tell the publisher",
        lambda _: _update(_version(2, key=None), "first"),
    ),
    # the store
    refused(
        NotFoundError,
        "trust file: expected one of a hub that you have added (hub.example), got 'hub.ex\\u0430mple/a/b', which has "
        "letters that are not ASCII. Add the hub's trust file: hubledger trust add https://…",
        lambda scene: _store(scene, _version(1)).find("hub.ex\u0430mple/a/b"),
    ),
    refused(
        NotFoundError,
        "trust file: expected one of a hub that you have added (none yet), got hub.example. Add the hub's trust "
        "file: hubledger trust add https://…",
        lambda scene: _store(scene).get("hub.example"),
    ),
    refused(
        SignatureError,
        f"digest of the trust file of hub.example: expected {'00' * 32}, got "
        f"{hashlib.sha256(_version(1)).hexdigest()}. Do not use it: ask the publisher which one is theirs",
        lambda scene: _store(scene, _version(1)).confirm("hub.example", sha256=bytes(32)),
    ),
    refused(
        ConflictError,
        "trust file of hub.example: expected the one that you have, of log.example/models, version 1, got another, of "
        "log.example/models, version 2. Use `hubledger trust update`; if you mean to begin anew, `hubledger trust "
        "remove` comes first",
        lambda scene: _store(scene, _version(1)).add(_version(2), source="b", origin=Origin.TLS_ONLY),
    ),
    refused(CorruptError, BROKEN.format("<any>"), lambda scene: _damaged(scene, b"{")),
    refused(CorruptError, BROKEN.format("no object"), lambda scene: _damaged(scene, b"[]")),
    refused(CorruptError, BROKEN.format("another object"), lambda scene: _damaged(scene, b"{}")),
    refused(
        CorruptError,
        BROKEN.format("trust file: expected TOML, got <any>. Correct what is named, and try again"),
        lambda scene: _damaged(scene, b'{"origin":"CONFIRMED","source":"","trust":"x"}'),
    ),
    refused(
        WriteError,
        "trust file in <folder>/data/trust: expected a folder that this user can write, got Not a directory. Make it "
        "writable, or name another with HUBLEDGER_DATA",
        _unwritable,
    ),
    # where they come from
    refused(
        UsageError,
        "address of a trust file: expected https://…, got http://hub.example. Name the address with https: whoever "
        "sits between could hand you keys of their own",
        lambda _: open_source("http://hub.example"),
    ),
    refused(
        UsageError,
        "address of a trust file: expected https://host/…, got more than that. Compare with the command's --help",
        lambda _: open_source("https://a:b@hub.example"),
    ),
    refused(
        NotFoundError,
        "file <folder>/none: expected a readable file, got No such file or directory. Check the path",
        lambda scene: read_local(scene.folder / "none", max_bytes=1),
    ),
    refused(
        SignatureError,
        "version of the trust file that the hub shows: expected 2, which you have, or a later one, got 1. Keep the one "
        "that you have: an older one may bring back keys that were withdrawn",
        lambda _: versions_at(_hub({PATH: _version(1)}), known=2),
    ),
    refused(
        SourceError,
        "version 2 of the trust file: expected file and signature, since version 3 is shown, got 404. Ask the hub to "
        "publish every version with its signature",
        lambda _: versions_at(_hub({PATH: _version(3)}), known=1)(2),
    ),
    # the publisher's side
    refused(
        ConfigError,
        "new trust file: expected version 2 of log.example/models and hub.example, with an update_key, got version 1 "
        f"of log.example/models and hub.example, without one. {ASK}",
        _publish_without_key,
    ),
    refused(
        NotFoundError,
        "trust/2.toml: expected a published version of the trust file, signed, got none such. Whoever runs the ledger "
        "publishes one with `hubledger trust publish`",
        lambda scene: read_trust(Layout(root=scene.ledger()), 2),
    ),
    refused(
        NotFoundError,
        "trust/1.toml.sig: expected a published version of the trust file, signed, got none such. Whoever runs the "
        "ledger publishes one with `hubledger trust publish`",
        lambda scene: read_trust_signature(Layout(root=scene.ledger()), None),
    ),
    refused(
        UsageError,
        "KEY <folder>/a.key: expected a new file, got one that exists. Name another: a key that is replaced can sign no "
        "update any more",
        _existing_key,
    ),
    # pins
    refused(
        CorruptError,
        "pin <folder>/data/pins/<hex>.json: expected what hubledger wrote, got another object. Restore the file, or "
        "remove it: what it remembered is then forgotten",
        _damaged_pin,
    ),
    refused(
        NotFoundError,
        "pin of acme: expected a ledger, a log or a history that is remembered, got none such. `hubledger pins list` "
        "shows what is",
        lambda scene: _pins(scene, lambda pins: pins.move_history(event_pin())).forget("acme"),
    ),
    refused(
        MisbehaviourError,
        "two signed checkpoints of size 10: expected root <hex>, remembered, got <hex>. Keep both as evidence, and send "
        "them to the monitors of this log",
        _forked,
    ),
    refused(
        SignatureError,
        "remembered checkpoint of log.example/models: signatures of the note: expected one by <vkey>, got <vkey>. If "
        "the log changed its key, compare its checkpoint with a monitor's, then `hubledger pins forget`",
        _other_key,
    ),
    refused(
        ChainError,
        f"event 3 of name:acme/tiny: expected <hex>, which you saw at leaf 3, got <hex> at leaf 3. {EXPLAIN}",
        lambda _: check_history(event_pin(), event_pin(3, "other")),
    ),
    refused(
        ChainError,
        "what is proven of name:acme/tiny: expected COMPLETE, as before, got INCLUDED_ONLY. Ask the hub for the proof "
        "that it gave before; the log may hold back later events",
        lambda _: check_history(event_pin(3, level=LogResult.COMPLETE), event_pin(4, "b")),
    ),
    refused(
        ChainError,
        f"event 4 of name:acme/tiny: expected one that follows <hex>, which you saw, got one that follows <hex>. {EXPLAIN}",
        lambda _: check_link(event_pin(), linked_event(4, bytes(32))),
    ),
)
