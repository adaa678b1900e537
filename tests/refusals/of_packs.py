"""Refusals of packs of proofs: what is no pack, no proof of that entry, not there, or not asked for in this way."""

import cli.proof
from ledger.errors import MalformedError, NotFoundError, UsageError
from monitor.publish import layout
from monitor.publish.packs import fetch_proof, format_pack, open_published, parse_pack
from tests.refusals.table import refused
from tests.world import World


def _fetched(scene, leaf_index, proofs):
    path = scene.folder / layout.pack(leaf_index)
    path.parent.mkdir(parents=True)
    path.write_bytes(format_pack(proofs))
    return fetch_proof(open_published(str(scene.folder)), leaf_index)


def _another(scene):
    """The pack says that it is the proof of entry 1, and it is that of entry 0."""
    return _fetched(scene, 1, {1: World().grow(2).proof(0)})


def _taken(scene, *, by_id):
    return cli.proof.command.callback(
        directory=str(scene.folder),
        event="1",
        since=None,
        output=scene.folder / "out",
        by_id=by_id,
        published=True,
        as_json=False,
    )


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
)
