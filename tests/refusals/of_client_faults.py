"""Refusals of a client whom somebody hinders: files that move while they are checked, servers that never come to an end."""

import shutil

from ledger.client.download_files import real_files
from ledger.errors import SourceError
from ledger.verification.reading import read_revision
from ledger.verification.second_look import look_again
from tests.refusals.table import refused

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
        "second look at <folder>/model: expected what was there when it was read, got names that were added, removed or made "
        f"links: it changed meanwhile. {_FINISH}",
        _moved(lambda folder: (folder / "more").write_bytes(b"")),
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
