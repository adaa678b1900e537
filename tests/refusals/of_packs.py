"""Refusals of packs of proofs: what is no pack, no proof of that entry, not there, or not asked for in this way."""

import dataclasses

import cli.proof
from cli.verify_input import read_statements
from ledger.client.proof_extra import ProofExtra, format_extra
from ledger.errors import MalformedError, NotFoundError, SourceError, UsageError
from ledger.open_findings import OpenClass, OpenFindings, OpenList, OpenSeverity
from ledger.tlog.proof import parse_proof
from monitor.publish import layout
from monitor.publish.linking import link_proof
from monitor.publish.packs import (
    fetch_latest,
    fetch_proof,
    format_pack,
    open_published,
    open_shard,
    parse_pack,
)
from tests.monitor.hub import Hub
from tests.refusals.table import refused
from tests.world import World, key_signer, signed_by

ONE = OpenFindings(count=1, severity=OpenSeverity.HIGH, kind=OpenClass.FINDING)


def _fetched(scene, leaf_index, proofs):
    path = scene.folder / layout.pack(leaf_index)
    path.parent.mkdir(parents=True)
    path.write_bytes(format_pack(proofs))
    return fetch_proof(open_published(str(scene.folder)), leaf_index)


def _another(scene):
    """The pack says that it is the proof of entry 1, and it is that of entry 0."""
    return _fetched(scene, 1, {1: World().grow(2).proof(0)})


def _taken(scene, *, by_id=False, published=True, statement=None, shard=None):
    return cli.proof.command.callback(
        directory=str(scene.folder),
        event="1",
        since=None,
        output=scene.folder / "out",
        statement=statement,
        shard=shard,
        by_id=by_id,
        published=published,
        as_json=False,
    )


def _linked(scene, size, *, stated, **changes):
    """The proof of the last of some entries, beside a checkpoint of as many and a statement."""
    world = World().grow(size)
    scene.write(layout.CHECKPOINT, world.checkpoint(min(size, 3)))
    scene.write(layout.STATEMENT, world.stated(size=stated))
    proof = dataclasses.replace(parse_proof(world.proof(size - 1)), **changes)
    return link_proof(open_published(str(scene.folder)), proof)


def _without_a_part(scene):
    """A statement whose list is in parts, without any of these."""
    hub = Hub()
    hub.record(signed_by(key_signer("a")))
    world = hub.world
    found = OpenList.of("log.example/models", {"name:acme/model": ONE}, most=0)
    scene.write(layout.CHECKPOINT, world.checkpoint(1))
    scene.write(layout.STATEMENT, world.stated(size=1, found=found))
    return link_proof(open_published(str(scene.folder)), parse_proof(world.proof(0)))


def _in_rekor(scene, *, stated, checkpoint=3, origin=None):
    """The proof of the first of three entries as one of Rekor has it, and what is published of one shard."""
    world = World().grow(3)
    other = World(origin=origin or world.origin).grow(3)
    (scene.folder / layout.shard(0, "")).mkdir(parents=True)
    scene.write(layout.shard(0, layout.CHECKPOINT), other.checkpoint(checkpoint))
    scene.write(layout.shard(0, layout.STATEMENT), world.stated(size=stated))
    proof = parse_proof(world.proof(0, size=1))
    extra = format_extra(ProofExtra(entry=b'{"entry":0}', kind="hashedrekord 0.0.2"))
    return link_proof(open_published(str(scene.folder)), dataclasses.replace(proof, extra=extra))


_ABSENT = (
    "proof of entry 7: expected a line of proofs/000/000/000/0.jsonl, got none. Check the number; a monitor that began later in "
    "the log has no earlier ones, and of a ledger in Rekor v1 take bundles/000/000/000/7.sigstore.json"
)

CASES = (
    refused(
        MalformedError,
        'line of a pack: expected leafIndex and proof, got {"leafIndex":"1","proof":""}. Get it again from where it came; if it '
        "stays the same, tell whoever wrote it",
        lambda scene: parse_pack(b'{"leafIndex":"1","proof":""}\n'),
    ),
    refused(
        MalformedError,
        "proof in a pack: expected entry 1, got entry 0. Get it again from where it came; if it stays the same, tell whoever wrote "
        "it",
        _another,
    ),
    refused(NotFoundError, _ABSENT, lambda scene: _fetched(scene, 7, {})),
    refused(NotFoundError, _ABSENT, lambda scene: fetch_proof(open_published(str(scene.folder)), 7)),
    refused(
        UsageError,
        "<folder>/none: expected the folder or address of a log in what a monitor publishes, got no folder. Name it with the log, "
        "as in monitor/public/models",
        lambda scene: open_published(str(scene.folder / "none")),
    ),
    refused(
        UsageError,
        "--published: expected a leaf index, got --since or --by-id, which need the ledger itself. Compare with the command's "
        "--help",
        lambda scene: _taken(scene, by_id=True),
    ),
    refused(
        NotFoundError,
        "proof of the newest entry of acme/x: expected models/f4/ed/<hex>/latest.tlog-proof, got none. Check the name, as the log "
        "has it; of a ledger in Rekor v1 take the file models/f4/ed/<hex>/latest.sigstore.json",
        lambda scene: fetch_latest(open_published(str(scene.folder)), "acme/x"),
    ),
    refused(
        NotFoundError,
        "statement to link the proof to: expected the files statement and checkpoint of a log, got <any>. Take the proof without "
        "--statement: a monitor without a key signs none",
        lambda scene: link_proof(open_published(str(scene.folder)), parse_proof(World().grow(1).proof(0))),
    ),
    refused(
        SourceError,
        "statement to link the proof to: expected one about the published checkpoint of size 3, got one about another tree. Try "
        "again: a publication is under way",
        lambda scene: _linked(scene, 3, stated=2),
    ),
    refused(
        SourceError,
        "statement to link the proof to: expected one that reaches entry 3, got one of size 3. Try again later: the monitor has not "
        "vouched for it yet, or a publication is under way",
        lambda scene: _linked(scene, 4, stated=3),
    ),
    refused(
        NotFoundError,
        "part of the statement's list: expected the file statement-parts/<hex>, got nothing. Try again; if it stays away, tell "
        "whoever runs the monitor that this folder has to be served with the statement",
        _without_a_part,
    ),
    refused(
        NotFoundError,
        "statement to link the proof to: expected a published shard with the origin log.example/models, got none. Try again: a "
        "publication is under way",
        lambda scene: _in_rekor(scene, stated=3, origin="other.example"),
    ),
    refused(
        SourceError,
        "statement to link the proof to: expected one of at most 2 entries, as the published checkpoint has, got one of size 3. Try "
        "again: a publication is under way",
        lambda scene: _in_rekor(scene, stated=3, checkpoint=2),
    ),
    refused(
        UsageError,
        "--statement: expected --shard beside it: what links a proof under size 1 with the statement of size 3, got none. Name the "
        "address or folder where the tiles of log.example/models are read: a monitor publishes only the hub's own entries of a shard",
        lambda scene: _in_rekor(scene, stated=3),
    ),
    refused(
        UsageError,
        "--shard: expected an entry of a ledger in Rekor, got one of a log of its own. Compare with the command's --help",
        lambda scene: link_proof(
            open_published(str(scene.folder)), parse_proof(World().grow(1).proof(0)), shard=open_shard(".")
        ),
    ),
    refused(
        UsageError,
        "--shard: expected --statement beside it, got none. Compare with the command's --help",
        lambda scene: _taken(scene, shard="shard"),
    ),
    refused(
        UsageError,
        "<folder>/none: expected the folder or address of a shard of Rekor, got no folder. Name that which has its checkpoint and "
        "tiles",
        lambda scene: open_shard(str(scene.folder / "none")),
    ),
    refused(
        MalformedError,
        "proof of entry 2: expected the entry in extra, got none: the entry is too large for it. Take the proof without "
        "--statement, or ask the log itself: hubledger fetch-proof",
        lambda scene: _linked(scene, 3, stated=3, extra=None),
    ),
    refused(
        UsageError,
        "--statement: expected --published beside it, got none. Compare with the command's --help",
        lambda scene: _taken(scene, published=False, statement=scene.folder / "statement"),
    ),
    refused(
        UsageError,
        "--statement: expected a trust file with a table [[monitor]], got one without. Put the monitor's vkey, which you have from "
        "somewhere else, into the trust file",
        lambda scene: read_statements([scene.folder / "statement"], b"", World().trust()),
    ),
)
