"""Refusals of what a client keeps: trust files, pins, and where they come from."""

import hashlib
import pathlib
import sys

import httpx

from cli.main import group
from ledger.bundle.trust_material import TrustMaterial
from ledger.client.asking import fetch_bundle
from ledger.client.checking import CheckFailedError, Question, answer, check
from ledger.client.download_files import real_files
from ledger.client.huggingface import hf_hub_download, snapshot_download
from ledger.client.pins import Pins, check_history, check_link, verify_pin
from ledger.client.proof_bundle import MAX_BUNDLE_BYTES, Claim, ProofBundle
from ledger.client.proof_source import ProofCache, Wanted, find_proof, read_bundle, service_of
from ledger.client.result import LogResult
from ledger.client.trust import parse_trust
from ledger.client.trust_signature import sign_trust, signed_text, verify_signed, verify_update
from ledger.client.trust_source import open_source, versions_at
from ledger.client.trust_store import Origin, StoredTrust, TrustStore
from ledger.client.trust_writing import format_trust
from ledger.client.trusted_monitor import TrustedMonitor
from ledger.embedded.directory import Layout, open_for_reading
from ledger.embedded.proving import make_proof
from ledger.embedded.trust_versions import publish_trust, read_trust, read_trust_signature
from ledger.errors import (
    ChainError,
    ConfigError,
    ConflictError,
    CorruptError,
    LimitError,
    MalformedError,
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


def _cli(*arguments):
    group.main(args=["verify", *map(str, arguments)], standalone_mode=False)


def _fetched(*arguments):
    group.main(args=["fetch-proof", *arguments, "-o", "never"], standalone_mode=False)


def _stored():
    return StoredTrust(data=b"", trust=WORLD.trust(), source="a", origin=Origin.CONFIRMED)


HISTORY = "/v1/history?model=acme%2Ftiny&as=recorded&limit=1000"
EVENT = (
    '{"leafIndex":%d,"revision":"r1","contentSha256":"' + "a" * 64 + '","manifestSha256":"' + "b" * 64 + '"}'
)


def _history(*, events="", following="", name="acme/tiny"):
    return f'{{"model":"{name}","events":[{events}]{following}}}'.encode()


def _fetch(answers, **wanted):
    fetch_bundle(_hub(answers), "acme/tiny", now=0, **wanted)


def _lose_a_monitor(scene):
    watched = TrustedMonitor(key=Ed25519NoteSigner("m.example", ed25519_key("m")).verifier, max_age=60)
    store = _store(scene, _version(1, require="audited", monitors=(watched,)))
    new = _version(2)
    store.update("hub.example", {2: (new, _signed(new, "first"))}.get)


def _stored(source="https://hub.example"):
    trust = WORLD.trust()
    return StoredTrust(data=format_trust(trust), trust=trust, source=source, origin=Origin.CONFIRMED)


def _bundle(**changes):
    made = {"name": "acme/tiny", "proof": b"", "claims": (), "fetched_at": 0} | changes
    return ProofBundle(**made)


def _kept(scene, data):
    cache = ProofCache(scene.folder / "data")
    wanted = Wanted(name="acme/tiny")
    cache.put(wanted, _stored(), _bundle())
    (path,) = (scene.folder / "data/proofs").glob("*.json")
    path.write_bytes(data)
    scene.watch(scene.folder)
    cache.get(wanted, _stored())


def _nothing_kept(scene):
    scene.watch(scene.folder)
    find_proof(
        Wanted(name="acme/tiny"),
        _stored(),
        pins=Pins(scene.folder / "data"),
        cache=ProofCache(scene.folder / "data"),
        now=0,
        offline=True,
    )


def _many_claims():
    claim = Claim(leaf_index=1, revision="r" * 256, content_sha256=bytes(32), manifest_sha256=bytes(32))
    _bundle(claims=(claim,) * (MAX_BUNDLE_BYTES // 300)).format()


def _too_many_events():
    import ledger.client.asking as module

    most, module.MAX_CLAIMS = module.MAX_CLAIMS, 1
    try:
        _fetch({HISTORY: _history(events=",".join([EVENT % 1, EVENT % 2]))})
    finally:
        module.MAX_CLAIMS = most


def _too_long_a_history():
    import ledger.client.asking as module

    most, module._MAX_HISTORY_BYTES = module._MAX_HISTORY_BYTES, 10
    try:
        _fetch({HISTORY: _history()})
    finally:
        module._MAX_HISTORY_BYTES = most


def _check_other_files(scene):
    """A sound proof of other files than those that are here."""
    ledger = scene.ledger()
    trust = parse_trust((ledger / "trust.toml").read_bytes())
    log = open_for_reading(ledger).log
    raw = next(log.read(1, 2, size=log.checkpoint().checkpoint.size))
    path = scene.write("proof.json", _bundle(proof=make_proof(log, 1, raw)).format())
    (scene.folder / "model/weights").write_bytes(b"other")
    stored = StoredTrust(data=b"", trust=trust, source="a", origin=Origin.CONFIRMED)
    check(scene.folder / "model", name="acme/tiny", trust=stored, proof_file=path)


def _ask_with_digests(**question):
    asked = Question(name="acme/tiny", digest_cache=True, **question)
    answer(asked, _stored(), material=TrustMaterial(), folder=pathlib.Path("none"), now=0)


def _without_library(_):
    kept = sys.modules.get("huggingface_hub")
    sys.modules["huggingface_hub"] = None
    try:
        snapshot_download("acme/tiny")
    finally:
        del sys.modules["huggingface_hub"]
        if kept is not None:
            sys.modules["huggingface_hub"] = kept


def _cached(scene):
    """A model's part of a download cache, with one file."""
    folder = scene.folder / "models--acme--tiny/snapshots/1"
    folder.mkdir(parents=True)
    (folder / "weights").symlink_to(scene.write("elsewhere", b""))
    return folder


def _real(folder, *names):
    with real_files(folder, [pathlib.Path(each) for each in names], in_cache=True):
        pass


def _part_offline(scene):
    path = scene.write("proof.json", _bundle().format())
    question = Question(path=scene.folder, name="acme/tiny", proof_file=path, partial=True)
    answer(question, _stored(), material=TrustMaterial(), folder=scene.folder / "data", now=0)


def _trickle(_):
    clock = iter((0, 61))
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=httpx.ByteStream(b"x")))
    fetch_from_url("https://hub.example", transport=transport, seconds=60, clock=lambda: next(clock))(
        "checkpoint", max_bytes=10
    )


EXPLAIN = "Keep the copy that you have, and ask the hub for an explanation in public"
SOON = "Check name and revision; what was uploaded just now is there within seconds"
SERVICE = "Check that the address is that of a hubledger service; else tell whoever runs it"
HELP = "Compare with the command's --help"
KEPT = (
    "kept proof <folder>/data/proofs/<hex>.json: expected what hubledger wrote, got {}. Check it with the network: "
    "the proof that the service gives takes its place"
)
ELSE = "A hub records models alone: name one of its files, and have it downloaded"
BROKEN = (
    "trust file <folder>/data/trust/<hex>.json: expected what hubledger wrote, got {}. "
    "Restore the file from a copy; without one ask the publisher, over another channel, for the digest of theirs"
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
        "update_key of your trust file: expected the key that signs the next version, got none. Keep the one that "
        "you have, and ask the publisher, over another channel, how it is replaced",
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
        "letters that are not ASCII. Check the name: HUB/NAMESPACE/MODEL, with a hub you trust (hub.example); add a trust "
        "file only for a hub that you know by another channel",
        lambda scene: _store(scene, _version(1)).find("hub.ex\u0430mple/a/b"),
    ),
    refused(
        NotFoundError,
        "trust file: expected one of a hub that you have added (none yet), got hub.example. Add the hub's trust "
        "file: hubledger trust add https://…, at an address that you know by another channel",
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
        "log.example/models, version 2. Keep the one that you have: its next version comes with `hubledger trust "
        "update`; ask the publisher, over another channel, about any other",
        lambda scene: _store(scene, _version(1)).add(_version(2), source="b", origin=Origin.TLS_ONLY),
    ),
    refused(
        ConflictError,
        "version 2 of the trust file of hub.example: expected audited by 1 of m.example, as yours, got included, by 0 of no "
        "monitors. Keep the one that you have, and ask its publisher, over another channel, why the new one asks for "
        "less",
        _lose_a_monitor,
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
        "writable for this user, and no other",
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
        "pin <folder>/data/pins/<hex>.json: expected what hubledger wrote, got another object. Restore the file from "
        "a copy, and ask a monitor what the log had shown",
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
        "remembered checkpoint of log.example/models: signatures of the note: expected one by <vkey>, got <vkey>. Ask "
        "the publisher, over another channel, whether the log changed its key, and compare with a monitor",
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
    # proofs
    refused(
        NotFoundError,
        f"event of acme/tiny: expected one that the hub shows, got no event of this name. {SOON}",
        lambda _: _fetch({}),
    ),
    refused(
        NotFoundError,
        f"event of acme/tiny at r9: expected one that the hub shows, got none among 1 event of this name. {SOON}",
        lambda _: _fetch({HISTORY: _history(events=EVENT % 1)}, revision="r9"),
    ),
    refused(
        LimitError,
        "events of acme/tiny: expected at most 1, got more. Ask the hub for the proof of the event, and check it with "
        "hubledger verify --proof",
        lambda _: _too_many_events(),
    ),
    refused(
        LimitError,
        "history of acme/tiny: expected at most 10 bytes, got more. Ask the hub for the proof of the event, and check it with "
        "hubledger verify --proof",
        lambda _: _too_long_a_history(),
    ),
    refused(
        SourceError,
        "history of acme/tiny: expected all pages within 120 s, got more to come. Try again later, or ask the hub for the proof "
        "of the event, and check it with hubledger verify --proof",
        lambda _: _fetch({HISTORY: _history(following=',"next":1')}, clock=iter((0, 121)).__next__),
    ),
    refused(
        MalformedError,
        f"answer of the ledger's service: expected the events of acme/tiny, got another answer. {SERVICE}",
        lambda _: _fetch({"/v1/check?model=acme%2Ftiny&as=recorded": b'{"model":"acme/other"}'}),
    ),
    refused(
        MalformedError,
        f"answer of the ledger's service: expected the history of acme/tiny, got another answer. {SERVICE}",
        lambda _: _fetch({HISTORY: _history(name="acme/other")}),
    ),
    refused(
        MalformedError,
        f"answer of the ledger's service: expected the next page of a history, got page 1 after 1. {SERVICE}",
        lambda _: _fetch(
            {HISTORY: _history(following=',"next":1'), f"{HISTORY}&after=1": _history(following=',"next":1')}
        ),
    ),
    refused(
        MalformedError,
        f"answer of the ledger's service: expected a proof, got <any>. {SERVICE}",
        lambda _: _fetch({HISTORY: _history(events=EVENT % 1), "/v1/entries/1/proof": b"\xff"}),
    ),
    refused(
        MalformedError,
        "event of a history: expected one as /v1/history has it, got another. Get it again from where it came; if it "
        "stays the same, tell whoever wrote it",
        lambda _: _fetch({HISTORY: _history(events="{}")}),
    ),
    refused(
        LimitError,
        f"proof bundle: expected at most {MAX_BUNDLE_BYTES} bytes, got <number> bytes. Check that it is what you meant: "
        "the limit cannot be changed",
        lambda _: _many_claims(),
    ),
    refused(
        MalformedError,
        "proof bundle: expected a file of hubledger fetch-proof (hubledger-proof-bundle/v1), got another. Fetch it again "
        "with hubledger fetch-proof",
        lambda scene: read_bundle(scene.write("p.json", b"{}")),
    ),
    refused(
        UsageError,
        "service of hub.example: expected an address, got a trust file that came from a file. Name the service with "
        "--url, or a file of `hubledger fetch-proof` with --from",
        lambda _: service_of(_stored(source="/trust.toml"), None),
    ),
    refused(
        NotFoundError,
        "kept proof of acme/tiny: expected one that was fetched before, got none. Check it once with the network, or "
        "name a file of `hubledger fetch-proof` with --from",
        _nothing_kept,
    ),
    refused(CorruptError, KEPT.format("another object"), lambda scene: _kept(scene, b"{}")),
    refused(
        CorruptError,
        KEPT.format("proof bundle: expected <any>"),
        lambda scene: _kept(scene, b'{"bundle":"{}"}'),
    ),
    refused(
        CheckFailedError,
        "model acme/tiny: log INCLUDED_ONLY, model CONTENT_DIFFERS: files: expected content sha256:<hex>, got "
        "sha256:<hex>. Do not load this revision: ask the publisher of acme/tiny about it, over another channel",
        _check_other_files,
    ),
    # the command
    refused(
        UsageError,
        "hubledger verify: expected --name with MODEL, --revision, --from, --offline, --live, --url and --digest-cache; else "
        f"--model names the files, got --offline without --name. {HELP}",
        lambda _: _cli("--proof", "p", "--offline"),
    ),
    refused(
        UsageError,
        "remembered digests: expected a check of all files of a model, got some of them. Leave the digest cache out",
        lambda _: _ask_with_digests(path=pathlib.Path("m"), partial=True),
    ),
    refused(
        UsageError,
        "remembered digests: expected a check of all files of a model, got the log alone. Leave the digest cache out",
        lambda _: _ask_with_digests(path=None),
    ),
    *(
        refused(
            UsageError,
            f"{word}: expected a {word.strip('-').lower()}, got an empty one (is the variable set?). Give the one that you mean",
            trigger,
        )
        for word, trigger in (
            ("--revision", lambda _: _cli("m", "--name", "hub.example/a", "--revision", "")),
            ("--revision", lambda _: _cli("m", "--attestation", "a.vsa", "--revision", "")),
            ("--name", lambda _: _cli("m", "--name", "")),
            ("--name", lambda _: _cli("m", "--name", "", "--attestation", "a.vsa")),
            ("--revision", lambda _: _fetched("hub.example/a", "--revision", "")),
            ("NAME", lambda _: _fetched("")),
            ("revision", lambda _: check("m", name="hub.example/a", trust=_stored(), revision="")),
            ("name", lambda _: check("m", name="")),
            ("name", lambda _: check("m", name="hub.example/", trust=_stored())),
        )
    ),
    refused(
        UsageError,
        "--name: expected MODEL, the folder of its files, got none. Name the folder of the model's files",
        lambda _: _cli("--name", "hub.example/a"),
    ),
    refused(
        UsageError,
        "--name with MODEL: expected no --log-only beside it, which checks no files, got both. Check the files: hubledger verify uns "
        "--name …",
        lambda _: _cli("./uns", "--name", "hub.example/a", "--log-only"),
    ),
    refused(
        UsageError,
        "--name: expected no --model beside it, got --model. Give the folder as MODEL: hubledger verify 'my tiny' --name …",
        lambda _: _cli("--model", "my tiny", "--name", "hub.example/a"),
    ),
    refused(
        UsageError,
        "--attestation: expected no --model beside it, got --model. Give the folder as MODEL: hubledger verify tiny "
        "--attestation …",
        lambda _: _cli("--model", "tiny", "--attestation", "a.vsa"),
    ),
    refused(
        UsageError,
        f"--log-only: expected no --expect options and no --public-key, got both. {HELP}",
        lambda _: _cli("--name", "hub.example/a", "--log-only", "--expect-key", "a" * 64),
    ),
    refused(
        UsageError,
        f"--expect-all: expected at least one expectation, got none. {HELP}",
        lambda _: _cli("m", "--name", "hub.example/a", "--expect-all"),
    ),
    refused(
        UsageError,
        f"--name: expected one of --from, --offline and --url, got more. {HELP}",
        lambda _: _cli("m", "--name", "hub.example/a", "--offline", "--url", "u"),
    ),
    refused(
        UsageError,
        f"--name: expected hub.example/…, the hub of the trust file, got other.example/a. {HELP}",
        lambda scene: _cli(
            "m", "--name", "other.example/a", "--trust", scene.write("t.toml", format_trust(WORLD.trust()))
        ),
    ),
    refused(
        NotFoundError,
        "pin of nowhere.invalid: expected a ledger, a log or a history that is remembered, got none such. `hubledger "
        "pins list` shows what is",
        lambda _: group.main(args=["pins", "show", "nowhere.invalid"], standalone_mode=False),
    ),
    # downloads
    refused(
        ConfigError,
        "package huggingface_hub: expected installed, got missing. Install hubledger with the extra hf: pip install "
        "'hubledger[hf]'",
        _without_library,
    ),
    refused(
        UsageError,
        f"repo_type: expected a model, got dataset. {ELSE}",
        lambda _: snapshot_download("acme/tiny", repo_type="dataset"),
    ),
    refused(
        UsageError,
        f"dry_run: expected a download, which can be checked, got none. {ELSE}",
        lambda _: snapshot_download("acme/tiny", dry_run=True),
    ),
    refused(
        UsageError,
        f"filename: expected a path inside the model, got ../x. {ELSE}",
        lambda _: hf_hub_download("acme/tiny", "../x"),
    ),
    refused(
        SourceError,
        "link <folder>/models--acme--tiny/snapshots/1/weights: expected a file in <folder>/models--acme--tiny/blobs, got "
        "<folder>/elsewhere. Remove the model from the download cache and download it again",
        lambda scene: _real(_cached(scene), "weights"),
    ),
    refused(
        SourceError,
        "files in <folder>/models--acme--tiny/snapshots/1: expected readable files, got No such file or directory. "
        "Download the model again, into a folder that this user can write",
        lambda scene: _real(_cached(scene), "none"),
    ),
    refused(
        UsageError,
        "some of the files: expected the service, which has the manifest of all, got a check without network. Check the "
        "whole model, or use hubledger verify --proof with --partial and --manifest",
        _part_offline,
    ),
    refused(
        SourceError,
        "GET https://hub.example/checkpoint: expected the whole answer within 60 s, got more to come. Try again later, or "
        "use another mirror",
        _trickle,
    ),
    refused(
        ConfigError,
        "setting hub.id of the trust file: expected at most 128 printable ASCII characters without spaces, got "
        "'hub.ex\\u0430mple'. Do not use it: a name that only looks like another hub's is made to be mistaken",
        lambda scene: _store(scene).add(
            _version(1, hub="hub.ex\u0430mple"), source="b", origin=Origin.TLS_ONLY
        ),
    ),
)
