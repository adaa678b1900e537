"""Downloads with ``huggingface_hub``, and checks what came before anybody loads it.

``snapshot_download`` and ``hf_hub_download`` take what the hub's own functions take, and ``verify`` beside it; they return the same
path, or raise. What was refused stays where it was downloaded to: nobody should load it from there.

The download cache has links in the place of files, and links are never followed. So a folder of hard links is made of what they
lead to, only inside the model's own part of the cache, and that is checked.
"""

import contextlib
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.client.checking import Question, answer, posix_now, require, user_folder
from ledger.client.expect import Expectation
from ledger.client.named import NamedResult
from ledger.client.trust_store import StoredTrust, TrustStore
from ledger.errors import ConfigError, SourceError, UsageError

_COMMIT = re.compile("[0-9a-f]{40}")
_ELSE = "A hub records models alone: name one of its files, and have it downloaded"
_METADATA = (".cache", "huggingface")
"""What the hub's library keeps in a ``local_dir`` beside the files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """How a download is checked: as ``ledger.client.check`` has it.

    ``hub`` is the id of the hub in your trust files; by default the host that is downloaded from.
    """

    hub: str | None = None
    trust: StoredTrust | None = None
    expected: Sequence[Expectation] = ()
    expect_all: bool = False
    public_keys: Sequence[bytes] = ()
    trusted_root: bytes | None = None
    url: str | None = None
    offline: bool = False


def snapshot_download(
    repo_id: str,
    *,
    revision: str | None = None,
    local_dir: str | os.PathLike[str] | None = None,
    verify: Verify | None = None,
    **options: Any,
) -> str:
    """Download a model as ``huggingface_hub.snapshot_download`` does, check it, and return its folder.

    With ``allow_patterns`` or ``ignore_patterns`` the files that came are checked against the whole model's manifest.

    Raises:
        CheckFailedError: it is not what the hub's ledger says. LedgerError: the check did not take place. UsageError: what is
            downloaded is no model, or nothing is.
    """
    # The options are those of whichever version of the library is installed: they go to it as they are.
    _check_options(options)
    folder = _library().snapshot_download(repo_id, revision=revision, local_dir=local_dir, **options)
    partial = any(options.get(each) is not None for each in ("allow_patterns", "ignore_patterns"))
    root = pathlib.Path(folder)
    with _real_files(root, _files_of(root, in_cache=local_dir is None), in_cache=local_dir is None) as real:
        commit = _commit(revision) if local_dir is not None else root.name
        _check(real, repo_id, commit, verify or Verify(), options, partial=partial)
    return str(folder)


def hf_hub_download(
    repo_id: str,
    filename: str,
    *,
    subfolder: str | None = None,
    revision: str | None = None,
    local_dir: str | os.PathLike[str] | None = None,
    verify: Verify | None = None,
    **options: Any,
) -> str:
    """Download one file of a model as ``huggingface_hub.hf_hub_download`` does, check it, and return its path.

    It is checked against the manifest of the whole model, which the hub's event names. Raises as ``snapshot_download``.
    """
    _check_options(options)
    relative = pathlib.PurePosixPath(subfolder or "") / filename
    if ".." in relative.parts or relative.is_absolute():
        raise UsageError(
            "filename", expected="a path inside the model", actual=str(relative), next_step=_ELSE
        )
    path = _library().hf_hub_download(
        repo_id, filename, subfolder=subfolder, revision=revision, local_dir=local_dir, **options
    )
    root = pathlib.Path(path)
    for _ in relative.parts:
        root = root.parent
    with _real_files(root, [pathlib.Path(relative)], in_cache=local_dir is None) as real:
        commit = _commit(revision) if local_dir is not None else root.name
        _check(real, repo_id, commit, verify or Verify(), options, partial=True)
    return str(path)


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ConfigError(
            "package huggingface_hub",
            expected="installed",
            actual="missing",
            next_step="Install hubledger with the extra hf: pip install 'hubledger[hf]'",
        ) from error
    return huggingface_hub


def _check_options(options: dict[str, Any]) -> None:
    """Refuse what the ledger has no events of. Raises UsageError."""
    if options.get("repo_type") not in (None, "model"):
        raise UsageError("repo_type", expected="a model", actual=str(options["repo_type"]), next_step=_ELSE)
    if options.get("dry_run"):
        raise UsageError(
            "dry_run", expected="a download, which can be checked", actual="none", next_step=_ELSE
        )


def _commit(revision: str | None) -> str | None:
    """Return a revision that is a commit; of a branch the files alone say which event is theirs."""
    return revision if revision is not None and _COMMIT.fullmatch(revision) else None


def _check(
    real: pathlib.Path,
    repo_id: str,
    commit: str | None,
    verify: Verify,
    options: dict[str, Any],
    *,
    partial: bool,
) -> NamedResult:
    from ledger.bundle.trust_material import TrustMaterial

    folder = user_folder()
    stored = verify.trust or TrustStore(folder).get(verify.hub or _host(options))
    question = Question(
        path=real,
        name=repo_id,
        revision=commit,
        expected=verify.expected,
        expect_all=verify.expect_all,
        url=verify.url,
        offline=verify.offline,
        partial=partial,
    )
    material = TrustMaterial(public_keys=verify.public_keys, sigstore_json=verify.trusted_root)
    return require(answer(question, stored, material=material, folder=folder, now=posix_now()))


def _host(options: dict[str, Any]) -> str:
    """Return the host that is downloaded from, which is a hub's id unless somebody says otherwise."""
    import httpx

    return httpx.URL(options.get("endpoint") or _library().constants.ENDPOINT).host


def _files_of(folder: pathlib.Path, *, in_cache: bool) -> list[pathlib.Path]:
    """Return the relative paths of all files; a folder that is a link counts as a file, and is refused later."""
    found: list[pathlib.Path] = []
    for base, folders, files in os.walk(folder):
        here = pathlib.Path(base)
        links = [each for each in folders if (here / each).is_symlink()]
        found += [(here / each).relative_to(folder) for each in (*files, *links)]
    return [each for each in found if in_cache or each.parts[:2] != _METADATA]


@contextlib.contextmanager
def _real_files(
    folder: pathlib.Path, names: Sequence[pathlib.Path], *, in_cache: bool
) -> Iterator[pathlib.Path]:
    """Make a folder of the files themselves, for as long as they are checked.

    Raises:
        SourceError: a link leads out of the model's part of the cache, or the files cannot be read.
    """
    # .../models--acme--tiny/snapshots/<commit> beside .../models--acme--tiny/blobs
    home = folder.parent.parent if in_cache else folder
    try:
        with tempfile.TemporaryDirectory(prefix=".hubledger-", dir=_room(home, in_cache=in_cache)) as made:
            real = pathlib.Path(made) / "files"
            real.mkdir()
            for name in names:
                target = real / name
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(_target(folder / name, home, in_cache=in_cache), target)
            yield real
    except OSError as error:
        raise SourceError(
            f"files in {folder}",
            expected="readable files",
            actual=error.strerror or str(error),
            next_step="Download the model again, into a folder that this user can write",
        ) from error


def _room(home: pathlib.Path, *, in_cache: bool) -> pathlib.Path | None:
    """Return a folder on the same disk, where a hard link costs nothing; None: the system's own, if that is read-only."""
    room = home if in_cache else home.joinpath(*_METADATA)
    return room if room.is_dir() and os.access(room, os.W_OK) else None


def _target(path: pathlib.Path, home: pathlib.Path, *, in_cache: bool) -> pathlib.Path:
    """Return the file behind a link of the cache; everything else stands for itself."""
    if not in_cache or not path.is_symlink():
        return path
    found = path.resolve()
    if found.parent != (home / "blobs").resolve() or not found.is_file():
        raise SourceError(
            f"link {path}",
            expected=f"a file in {home / 'blobs'}",
            actual=str(found),
            next_step="Remove the model from the download cache and download it again",
        )
    return found


def _link(source: pathlib.Path, target: pathlib.Path) -> None:
    """Give a file a second name, or copy it where that cannot be; a link stays a link."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
