"""Refusals of a client whom somebody hinders: files that move while they are checked, servers that never come to an end."""

import os
import shutil

from ledger.client.asking import fetch_bundle
from ledger.client.download_files import real_files
from ledger.client.proof_bundle import Claim
from ledger.encoding import format_canonical_json
from ledger.errors import SourceError
from ledger.verification.reading import read_revision
from ledger.verification.second_look import look_again
from tests.refusals.table import refused
from tests.world import NOW, World, make_event

_FINISH = "Let whoever writes there finish, or copy the model to a folder of your own, then check that"


def _moved(change):
    def case(scene):
        folder = scene.folder / "model"
        folder.mkdir()
        (folder / "weights").write_bytes(b"weights")
        _, _, files = read_revision(folder)
        change(folder)
        look_again(files.seen)

    return case


def _unlinked(_):
    """A service that shows ten entries to who has seen three, and not that those three are among them."""
    world = World().grow(4)
    leaf = world.record(make_event(name="acme/tiny"))
    world.grow(5)
    claim = Claim(leaf_index=leaf, revision="v1", content_sha256=bytes(32), manifest_sha256=bytes(32))
    value = {
        "claims": [claim.as_json()],
        "count": 1,
        "leafIndex": leaf,
        "model": "acme/tiny",
        "proof": world.proof(leaf).decode(),
    }
    fetch_bundle(lambda *_, **__: format_canonical_json(value), "acme/tiny", now=NOW, since=3)


def _downloaded(change):
    def case(scene):
        folder = scene.folder / "model"
        folder.mkdir()
        (folder / "weights").write_bytes(b"weights")
        with real_files(folder, None, in_cache=False):
            change(folder)

    return case


CASES = (
    refused(
        SourceError,
        "link from your remembered checkpoint of size 3: expected a consistency proof to the log of 10 entries that the service "
        "shows, got none. Do not use what it shows until it is linked: ask the hub, and a monitor which checkpoint it has seen",
        _unlinked,
    ),
    refused(
        SourceError,
        "second look at <folder>/model: expected what was there when it was read, got names that were added, removed or made "
        f"links: it changed meanwhile. {_FINISH}",
        _moved(lambda folder: (folder / "more").write_bytes(b"")),
    ),
    refused(
        SourceError,
        "second look at <folder>/model: expected what was there when it was read, got a pipe, a socket or a device that was "
        f"added or removed: it changed meanwhile. {_FINISH}",
        _moved(lambda folder: os.mkfifo(folder / "pipe")),
    ),
    refused(
        SourceError,
        "second look at weights: expected what was there when it was read, got other bytes: it changed meanwhile. "
        + _FINISH,
        _moved(lambda folder: (folder / "weights").write_bytes(b"other")),
    ),
    refused(
        SourceError,
        "second look at <folder>/model: expected what was there when it was read, got model <folder>/model: expected a folder "
        f"or a file, got No such file or directory: it changed meanwhile. {_FINISH}",
        _moved(shutil.rmtree),
    ),
    refused(
        SourceError,
        "second look at <folder>/model: expected what was there when it was read, got names that were added or removed: "
        f"it changed meanwhile. {_FINISH}",
        _downloaded(lambda folder: (folder / "more").write_bytes(b"")),
    ),
    refused(
        SourceError,
        "second look at <folder>/model/weights: expected what was there when it was read, got another file: "
        f"it changed meanwhile. {_FINISH}",
        _downloaded(lambda folder: (folder / "weights").write_bytes(b"other")),
    ),
)
