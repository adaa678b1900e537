"""Refusals of anchors: what is signed, what is stored, what an outside answers, and what the directory lacks."""

import asyncio
import json
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric import ec

from ledger.bundle.log_entry import LogKeys
from ledger.config import FILE_NAME, AnchorConfig, format_config, load_config
from ledger.embedded.anchor_export import export_anchors
from ledger.embedded.anchor_key import load_or_make, public_keys
from ledger.embedded.anchor_list import AnchorReport, list_anchors
from ledger.embedded.anchor_outside import MEMORY_BUDGET, Authorities, _hasty, newest_shard
from ledger.embedded.anchoring import _make_folder, anchor
from ledger.embedded.directory import open_for_reading
from ledger.embedded.keys import format_key
from ledger.encoding import format_canonical_json
from ledger.errors import (
    ConfigError,
    CorruptError,
    LimitError,
    MalformedError,
    ProofError,
    RestoredError,
    SignatureError,
    SourceError,
    WriteError,
)
from ledger.log.anchor_memory import AnchorMemory
from ledger.log.anchor_proofs import (
    AnchorSigner,
    anchor_statement,
    verify_envelope,
    verify_extends,
    verify_logged,
    verify_statement,
)
from ledger.log.anchoring import Anchoring, AnchoringConfig
from ledger.log.authentic import AuthenticLog
from ledger.log.published import PublishedLog
from ledger.log.rekor_v2 import note_key
from ledger.log.trusted_root import MAX_TRUST_BYTES, Instance
from ledger.storage.anchors import AnchorStore, NewAnchor
from ledger.tlog.checkpoint import Checkpoint, format_checkpoint, verify_checkpoint
from ledger.tlog.signed_note import Ed25519NoteSigner, sign_note
from tests.fakes.rekor import FakeRekor, FakeTree, body_of
from tests.refusals.table import LEDGER, refused, turned
from tests.world import digest, ed25519_key, p256_key

TREE = Checkpoint(origin=LEDGER, size=7, root_hash=digest("root"))
SIGNER = AnchorSigner(p256_key("anchor"))
LOG = Ed25519NoteSigner(LEDGER, ed25519_key("log"))
ENVELOPE = SIGNER.sign(TREE)
KEYID = json.loads(ENVELOPE)["signatures"][0]["keyid"]
KEYS = {KEYID: SIGNER.spki}
AGAIN = "Restore the file from a copy"
RUN = "Get it again from where it came; if it stays the same, tell whoever wrote it"

# What is signed and proven


def _changed(**changes):
    return format_canonical_json({**json.loads(ENVELOPE), **changes})


def _logged(tree, *, entry=None, body=None, **changes):
    """Prove the anchor against an entry of a log that holds it."""
    signed = verify_envelope(ENVELOPE, KEYS)
    tree.append(body or body_of(signed))
    from ledger.bundle.log_entry import format_log_entry, parse_log_entry

    value = json.loads(format_log_entry(parse_log_entry(tree.entry(0)), tree.tree()))
    return verify_logged(signed, format_canonical_json({**value, **changes}), tree.keys)


PROOFS = (
    refused(
        MalformedError,
        f"checkpoint to be anchored: expected no extension lines, got more. {RUN}",
        lambda _: anchor_statement(replace(TREE, extensions=("more",))),
    ),
    refused(
        SignatureError,
        "key of the anchor: expected a key of this directory's anchors: there is none, got <hex>. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda _: verify_envelope(ENVELOPE, {}),
    ),
    refused(
        SignatureError,
        "signature of the anchor by <hex>…: expected a valid signature, got one that fails. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda _: verify_envelope(_changed(payload="e30="), KEYS),
    ),
    refused(
        MalformedError,
        f"statement of the anchor: expected type https://hubledger/anchor/v1, got https://hubledger/anchor/v2. {RUN}",
        lambda _: verify_statement(anchor_statement(TREE).replace(b"anchor/v1", b"anchor/v2"), b""),
    ),
    refused(
        ProofError,
        "subject of the anchor: expected <hex>, of the checkpoint's text, got <hex>, of size 7. The stored checkpoint is not the one that was anchored: restore the file from a copy",
        lambda _: verify_statement(anchor_statement(TREE), format_checkpoint(replace(TREE, size=8))),
    ),
    refused(
        ProofError,
        "body of the log entry: expected hashedrekord 0.0.2 of this anchor's envelope, got another body. It is the entry of something else: restore the file from a copy",
        lambda _: _logged(FakeTree(), body=b"something else"),
    ),
    refused(
        MalformedError,
        f"kind of the log entry: expected hashedrekord or dsse of a known version, got intoto 0.0.2. {RUN}",
        lambda _: _logged(FakeTree(), kindVersion={"kind": "intoto", "version": "0.0.2"}),
    ),
    refused(
        ProofError,
        "log entry of the anchor: expected the form in which a proven one is stored, got another one: a number beside the proof, or a field, is not what the log signed. Restore the file from a copy; what is proven of it holds",
        lambda _: _logged(FakeTree(), note="a field that nobody signed"),
    ),
    refused(
        RestoredError,
        "size of this log: expected at least 7, which was anchored, got 6. This directory is older than its anchors: restore the newest copy of all of it",
        lambda _: verify_extends(TREE, size=6, root_at=lambda size: digest("root")),
    ),
    refused(
        ProofError,
        "root of size 7, which was anchored: expected <hex>, got <hex>, from the tiles. Run `hubledger log anchors`: if the log has been forked, it writes evidence of it; else a tile is damaged",
        lambda _: verify_extends(TREE, size=8, root_at=lambda size: digest("other")),
    ),
)

# What is stored

NEW = NewAnchor(
    size=7,
    made_at=1,
    log="rekor-v2",
    wants_timestamps=False,
    note=sign_note(format_checkpoint(TREE), [LOG]),
    envelope=ENVELOPE,
)


def _stored(scene, file=None, data=b""):
    """A store with one anchor, a file of it replaced or added; loads it."""
    store = AnchorStore(scene.folder / "anchors")
    (scene.folder / "anchors").mkdir(exist_ok=True)
    name = store.create(NEW).new.name
    if file is not None:
        (scene.folder / "anchors" / name / file).write_bytes(data)
    scene.watch(scene.folder)
    return store.load(name)


def _renamed(scene):
    _stored(scene)
    (scene.folder / "anchors" / NEW.name).rename(scene.folder / "anchors" / "8-0123456789abcdef")
    scene.watched.clear()
    return AnchorStore(scene.watch(scene.folder) / "anchors").newest()


STORED = (
    refused(
        CorruptError,
        "folder of the anchors: expected a folder that can be read, got Not a directory. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        lambda scene: AnchorStore(scene.write("anchors", b"a file")).names(),
    ),
    refused(
        CorruptError,
        "8-0123456789abcdef/anchor.json of the anchors: expected the size and envelope that its folder is named after, got 7-<hex>. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        _renamed,
    ),
    refused(
        CorruptError,
        "7-<hex>/anchor.json of the anchors: expected the size and envelope that its folder is named after, got no file. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        lambda scene: AnchorStore(scene.folder).load("7-0123456789abcdef"),
    ),
    refused(
        CorruptError,
        "7-<hex>/anchor.json of the anchors: expected what was stored, got stored anchor: expected an object of kind https://hubledger/stored-anchor/v1, got another form. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        lambda scene: _stored(scene, "anchor.json", b"{}"),
    ),
    refused(
        CorruptError,
        "7-<hex>/timestamps.json of the anchors: expected what was stored, got stored timestamps: expected 1 to 16 in base64, got another form. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        lambda scene: _stored(scene, "timestamps.json", b"[]"),
    ),
    refused(
        CorruptError,
        "7-<hex>/refused.json of the anchors: expected what was stored, got stored refusal: expected why the log refuses it, got another form. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        lambda scene: _stored(scene, "refused.json", b"[]"),
    ),
)

# The key


def _key(scene, data):
    path = scene.write("anchor.key", data)
    path.chmod(0o600)
    scene.watch(scene.folder)
    return load_or_make(path)


def _public(scene, name, data):
    scene.write(name, data)
    return public_keys(scene.watch(scene.folder) / "anchor.key")


def _other_public_key(scene):
    load_or_make(scene.folder / "anchor.key")
    (made,) = scene.folder.glob("anchor-*.pub")
    made.rename(scene.folder / "anchor-0123456789abcdef.pub")
    return public_keys(scene.watch(scene.folder) / "anchor.key")


KEY = (
    refused(
        ConfigError,
        "anchor key <folder>/anchor.key: expected an ECDSA private key on P-256, P-384 or P-521 in PEM, without a password, got something else. Restore the key file from its backup, or remove it: the next anchor makes a new one",
        lambda scene: _key(scene, b"not a key"),
    ),
    refused(
        ConfigError,
        "anchor key <folder>/anchor.key: expected an ECDSA private key on P-256, P-384 or P-521 in PEM, without a password, got <any>. Restore the key file from its backup, or remove it: the next anchor makes a new one",
        lambda scene: _key(scene, format_key(ec.generate_private_key(ec.SECP256K1()))),
    ),
    refused(
        CorruptError,
        "public key <folder>/anchor-0123456789abcdef.pub: expected the anchor key that its name says, in PEM, got <any>. Restore the file from a copy; that of the present key is written again if you remove it",
        lambda scene: _public(scene, "anchor-0123456789abcdef.pub", b"not a key"),
    ),
    refused(
        CorruptError,
        "public key <folder>/anchor-0123456789abcdef.pub: expected the anchor key that its name says, in PEM, got key <hex>. Restore the file from a copy; that of the present key is written again if you remove it",
        _other_public_key,
    ),
)

# A run


def _configured(scene, **anchor):
    folder = scene.ledger()
    config = replace(load_config(folder), anchor=AnchorConfig(**anchor))
    (folder / FILE_NAME).write_bytes(format_config(config))
    return folder


async def _never(signed):
    await asyncio.Event().wait()


class _Silent:
    shard = None
    submit = staticmethod(_never)


def _in_time(scene):
    """A log that takes the anchor and says nothing: the run ends, and says so."""
    (scene.folder / "anchors").mkdir()
    run = Anchoring(
        AnchorStore(scene.folder / "anchors"),
        AnchoringConfig(
            log="rekor-v2",
            timestamps=False,
            interval=1,
            budget=0.01,
            origin=LEDGER,
            log_keys=[LOG.verifier],
        ),
        sign=SIGNER.sign,
        anchor_keys=KEYS,
        root_at=lambda size: TREE.root_hash,
        remote=_Silent(),
        stamper=None,
    )
    checkpoint = verify_checkpoint(NEW.note, origin=LEDGER, keys=[LOG.verifier])
    (failure,) = asyncio.run(run.run(checkpoint, now=1)).failures
    raise failure


def _shard_free():
    instance = Instance(shards=(), keys=LogKeys({}), authorities=(), tsa_urls=(), trusted_root=b"{}")
    return newest_shard(instance, "rekor-v2", now=1)


def _too_slow():
    times = iter((0.0, 0.0, MEMORY_BUDGET + 1, MEMORY_BUDGET + 1))
    rekor = FakeRekor()
    rekor.tree.append(b"one")
    with rekor.serve() as url:
        fetch = _hasty(f"{url}/read", MEMORY_BUDGET, lambda: next(times))
        fetch("checkpoint", max_bytes=1 << 20)
        return fetch("checkpoint", max_bytes=1 << 20)


ONCE = "run `hubledger log anchor --start-unchecked` once"


def _memory(scene, rekor, *, bodies=(), stored=False):
    """What a shard with these entries says of a store."""
    store = AnchorStore(scene.folder / "anchors")
    signed = verify_envelope(ENVELOPE, KEYS)
    rekor.tree.append(body_of(signed) if stored else b"somebody else's")
    if stored:
        (scene.folder / "anchors").mkdir()
        store.create(NEW)
        from ledger.bundle.log_entry import format_log_entry, parse_log_entry

        entry = format_log_entry(parse_log_entry(rekor.tree.entry(0)), rekor.tree.tree())
        store.add_log_entry(NEW.name, entry)
    for body in bodies:
        rekor.tree.append(body)
    shard = rekor.tree.shard()

    def fetch(name, *, max_bytes):
        return rekor.tree.object(name, rekor.published)

    log = AuthenticLog(PublishedLog(fetch, origin=shard.origin, keys=[note_key(shard)]))
    return AnchorMemory(store=store, shards=[(shard, log)], shard_keys=rekor.tree.keys, anchor_keys=KEYS)


def _unknown_anchor(scene):
    other = verify_envelope(SIGNER.sign(replace(TREE, size=9)), KEYS)
    return _memory(scene, FakeRekor(), bodies=[body_of(other)]).check()


def _smaller_shard(scene):
    return _memory(scene, FakeRekor(published=0), stored=True).check()


def _export_into_a_file(scene):
    return export_anchors(AnchorReport(origin=LEDGER, anchors=()), scene.write("out", b"") / "x")


def _lying_size(scene):
    """Under an envelope of its own an anchor can say any size; its checkpoint does not."""
    folder = scene.ledger()
    note = open_for_reading(folder).log.checkpoint().note
    signer = load_or_make(folder / "keys" / "anchor.key")
    (folder / "anchors").mkdir()
    AnchorStore(folder / "anchors").create(
        replace(NEW, size=1, note=note, envelope=signer.sign(replace(TREE, size=1)))
    )
    (listed,) = list_anchors(folder).anchors
    return [str(each.error) for each in listed.problems]


RUNS = (
    refused(
        ConfigError,
        'anchors of this ledger: expected log = "local", and anchor.log or anchor.timestamps, got no anchoring. Say in [anchor] of hubledger.toml where checkpoints are to be anchored',
        lambda scene: asyncio.run(anchor(scene.watch(scene.ledger()), budget=1)),
    ),
    refused(
        WriteError,
        "folder <folder>/anchors: expected a writable folder, got File exists. Make its folder writable for this user",
        lambda scene: _make_folder(scene.write("anchors", b"a file")),
    ),
    refused(
        SourceError,
        "anchoring a checkpoint: expected an answer within 0.01 s, got none. It is stored and pending: the next occasion sends it again, or run `hubledger log anchor`",
        _in_time,
    ),
    refused(
        ConfigError,
        "timestamp authorities: expected one in the signing config, got none. Correct what is named, and try again",
        lambda _: asyncio.run(Authorities((), (), None).stamp(b"")),
    ),
    refused(
        ConfigError,
        "log of the anchors: expected a shard of rekor-v2 that takes entries now, in the signing config, got none. Get the newest trust config, or correct anchor.log",
        lambda _: _shard_free(),
    ),
    refused(
        SourceError,
        "GET <any>/read/checkpoint: expected all within 5 s, got more. Make it reachable and readable, and try again",
        lambda _: _too_slow(),
    ),
    refused(
        SourceError,
        "size of rekor.example: expected at least 1, which holds our newest anchor, got 0. Its read address serves an old copy: name another with `anchor.read_url`",
        _smaller_shard,
    ),
    refused(
        RestoredError,
        "entry 1 of rekor.example, by our anchor key: expected one of the anchors in this directory, got another one, of digest <hex>. This directory is older than what was anchored: restore the newest copy of all of it. If you are sure that only the folder anchors was lost, or that the key signed something else, "
        + ONCE,
        _unknown_anchor,
    ),
)

# The list


def _without_trust(scene):
    """An entry of Sigstore's public log, of which nothing was kept."""
    folder = scene.ledger()
    note = open_for_reading(folder).log.checkpoint()
    signer = load_or_make(folder / "keys" / "anchor.key")
    (folder / "anchors").mkdir()
    envelope = signer.sign(note.checkpoint)
    new = replace(NEW, size=note.checkpoint.size, note=note.note, envelope=envelope)
    store = AnchorStore(folder / "anchors")
    store.create(new)
    store.add_log_entry(new.name, b"{}")
    return list_anchors(folder).anchors


LISTS = (
    turned(
        ConfigError,
        "trusted root of the anchors: expected trusted_root or trust_config in [anchor], got neither, and none was kept. Give it with --trusted-root: nothing is fetched to list anchors",
        _without_trust,
    ),
    refused(
        ConfigError,
        "trusted root <folder>/gone: expected a readable file, got No such file or directory. Correct what is named, and try again",
        lambda scene: list_anchors(scene.ledger(), trusted_root=scene.folder / "gone"),
    ),
    refused(
        LimitError,
        "trusted root <folder>/large: expected at most 4194304 bytes, got more. Check that it is what you meant: the limit cannot be changed",
        lambda scene: list_anchors(
            scene.ledger(), trusted_root=scene.write("large", b" " * (MAX_TRUST_BYTES + 1))
        ),
    ),
    turned(
        ProofError,
        f"size of the stored anchor: expected 3, as its checkpoint says, got 1. {AGAIN}",
        _lying_size,
    ),
    refused(
        WriteError,
        "folder <folder>/out/x: expected a writable folder, got <any>. Name another place",
        _export_into_a_file,
    ),
)

CASES = (*PROOFS, *STORED, *KEY, *RUNS, *LISTS)
