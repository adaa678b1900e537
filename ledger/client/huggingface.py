"""Downloads with ``huggingface_hub``, and checks what came before anybody loads it.

``snapshot_download`` and ``hf_hub_download`` have the parameters of the hub's own functions, and ``verify`` beside them; they return
the same path, or raise. What came into the cache and was not checked loses its name there (``ledger.client.download_cache``).
A folder of one's own, ``local_dir``, is left as it is: nobody should load what was refused from there.
"""

import inspect
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ledger.client.checking import Pem, Question, answer, posix_now, read_keys, require, user_folder
from ledger.client.download_cache import Wanted, named_if_checked
from ledger.client.download_files import real_files
from ledger.client.expect import Expectation
from ledger.client.named import NamedResult
from ledger.client.trust_store import StoredTrust, TrustStore
from ledger.errors import ConfigError, NotFoundError, UsageError

__all__ = ["Verify", "hf_hub_download", "snapshot_download"]

_COMMIT = re.compile("[0-9a-f]{40}")
_ELSE = "A hub records models alone: name one of its files, and have it downloaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """How a download is checked: as ``ledger.client.check`` has it.

    ``hub`` is the id of the hub in your trust files; by default the host that is downloaded from. ``tell`` gets what was found if
    all of it holds, before the path is returned: who signed, what is new since the last time, and what was skipped.
    """

    hub: str | None = None
    trust: StoredTrust | None = None
    expected: Sequence[Expectation] = ()
    expect_all: bool = False
    public_keys: Sequence[Pem] = ()
    trusted_root: bytes | None = None
    url: str | None = None
    offline: bool = False
    live: bool = False
    tell: Callable[[NamedResult], object] | None = None


# The parameters are those of huggingface_hub 2.4, in its order; a test compares them with the version that is installed. None is
# taken that is not known here: what it means for the check is decided first. Only what was given is passed on, so that
# older versions, which have fewer, do as well. `Literal` says to a type checker what is refused below.
def snapshot_download(
    repo_id: str,
    *,
    repo_type: Literal["model"] | None = None,
    revision: str | None = None,
    cache_dir: str | pathlib.Path | None = None,
    local_dir: str | pathlib.Path | None = None,
    library_name: str | None = None,
    library_version: str | None = None,
    user_agent: dict[str, Any] | str | None = None,
    etag_timeout: float = 10,
    force_download: bool = False,
    token: bool | str | None = None,
    local_files_only: bool = False,
    allow_patterns: list[str] | str | None = None,
    ignore_patterns: list[str] | str | None = None,
    max_workers: int = 8,
    tqdm_class: type[Any] | None = None,
    headers: dict[str, str] | None = None,
    endpoint: str | None = None,
    dry_run: Literal[False] = False,
    verify: Verify | None = None,
) -> str:
    """Download a model as ``huggingface_hub.snapshot_download`` does, check it, and return its folder.

    With ``allow_patterns`` or ``ignore_patterns`` the files that came are checked against the whole model's manifest, for which
    the ledger's service is asked. ``local_files_only`` keeps the library from its hub, ``Verify(offline=True)`` the check from the
    ledger. ``repo_type`` can only be ``"model"``, and ``dry_run`` only False.

    Raises:
        CheckFailedError: it is not what the hub's ledger says. LedgerError: the check did not take place. UsageError: what is
            downloaded is no model, or nothing is.
    """
    given = _given(snapshot_download, locals())  # all of them: none can be forgotten
    partial = not {"allow_patterns", "ignore_patterns"}.isdisjoint(given)
    verify = verify or Verify()
    stored = _trusted(given, verify, partial=partial)
    download = _function("snapshot_download", given)
    with named_if_checked(_home(repo_id, cache_dir), _wanted(given)) as came:
        folder = download(**given)
        root = pathlib.Path(folder)
        _say_commit(came, root, given)
        found = _check(root, None, given, verify, stored, partial=partial)
    _tell(verify, found)
    return str(folder)


def hf_hub_download(
    repo_id: str,
    filename: str,
    *,
    subfolder: str | None = None,
    repo_type: Literal["model"] | None = None,
    revision: str | None = None,
    library_name: str | None = None,
    library_version: str | None = None,
    cache_dir: str | pathlib.Path | None = None,
    local_dir: str | pathlib.Path | None = None,
    user_agent: dict[str, Any] | str | None = None,
    force_download: bool = False,
    etag_timeout: float = 10,
    token: bool | str | None = None,
    local_files_only: bool = False,
    headers: dict[str, str] | None = None,
    endpoint: str | None = None,
    tqdm_class: type[Any] | None = None,
    dry_run: Literal[False] = False,
    verify: Verify | None = None,
) -> str:
    """Download one file of a model as ``huggingface_hub.hf_hub_download`` does, check it, and return its path.

    It is checked against the manifest of the whole model, which the hub's event names. Raises as ``snapshot_download``.
    """
    given = _given(hf_hub_download, locals())
    relative = _relative(subfolder, filename)
    verify = verify or Verify()
    stored = _trusted(given, verify, partial=True)
    download = _function("hf_hub_download", given)
    with named_if_checked(_home(repo_id, cache_dir), _wanted(given)) as came:
        path = download(**given)
        root = pathlib.Path(path).parents[len(relative.parts) - 1]
        _say_commit(came, root, given)
        found = _check(root, [pathlib.Path(relative)], given, verify, stored, partial=True)
    _tell(verify, found)
    return str(path)


def _given(function: Callable[..., str], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call that are for the hub's library and are not what it does without them."""
    parameters = inspect.signature(function).parameters
    return {
        name: value
        for name, value in values.items()
        if name != "verify" and value is not parameters[name].default
    }


def _library() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.constants  # which is loaded on demand, and is no attribute before
    except ImportError as error:
        raise ConfigError(
            "package huggingface_hub",
            expected="installed",
            actual="missing",
            next_step="Install hubledger with the extra hf: pip install 'hubledger[hf]'",
        ) from error
    return huggingface_hub


def _function(name: str, given: Mapping[str, Any]) -> Callable[..., str]:
    """Return a function of the hub's library, which may be older than this module."""
    library = _library()
    found: Callable[..., str] = getattr(library, name)
    for each in given.keys() - inspect.signature(found).parameters.keys():
        raise UsageError(
            each,
            expected=f"a parameter that huggingface_hub {library.__version__} has",
            actual="one of a newer version",
            next_step="Leave it out, or install a newer huggingface_hub",
        )
    return found


def _check_options(given: Mapping[str, Any]) -> None:
    """Refuse what the ledger has no events of. Raises UsageError."""
    if given.get("repo_type") not in (None, "model"):
        raise UsageError("repo_type", expected="a model", actual=str(given["repo_type"]), next_step=_ELSE)
    if given.get("dry_run"):
        raise UsageError(
            "dry_run", expected="a download, which can be checked", actual="none", next_step=_ELSE
        )


def _trusted(given: Mapping[str, Any], verify: Verify, *, partial: bool) -> StoredTrust:
    """Return whom to trust, before anything is downloaded that could not be checked. Raises UsageError, NotFoundError."""
    _check_options(given)
    if partial and verify.offline:
        raise UsageError(
            "Verify(offline=True)",
            expected="a download of the whole model",
            actual="some of its files, for which the ledger is asked what the whole is",
            next_step="Download all of it with snapshot_download, or leave offline out",
        )
    try:
        return verify.trust or TrustStore(user_folder()).get(verify.hub or _host(given.get("endpoint")))
    except NotFoundError as error:
        if verify.hub is None:
            error.add_note(
                "This is the host that is downloaded from; Verify(hub=…) names a hub with another id"
            )
        raise


def _relative(subfolder: str | None, filename: str) -> pathlib.PurePosixPath:
    relative = pathlib.PurePosixPath(subfolder or "") / filename
    if ".." in relative.parts or relative.is_absolute():
        raise UsageError(
            "filename", expected="a path inside the model", actual=str(relative), next_step=_ELSE
        )
    return relative


def _home(repo_id: str, cache_dir: str | pathlib.Path | None) -> pathlib.Path:
    """Return the model's own part of the download cache."""
    cache = pathlib.Path(_library().constants.HF_HUB_CACHE if cache_dir is None else cache_dir)
    return cache.expanduser().resolve() / "--".join(("models", *repo_id.split("/")))


def _wanted(given: Mapping[str, Any]) -> Wanted:
    own = given.get("local_dir")
    return Wanted(
        revision=str(given.get("revision") or "main"),
        commit=_asked_commit(given),
        own=None if own is None else pathlib.Path(own),
    )


def _say_commit(came: Callable[[str], object], root: pathlib.Path, given: Mapping[str, Any]) -> None:
    commit = _commit(root, given)
    if commit is not None:
        came(commit)


def _commit(root: pathlib.Path, given: Mapping[str, Any]) -> str | None:
    """Return the commit that was downloaded; in a folder of one's own the files alone say which event is a branch's."""
    return root.name if given.get("local_dir") is None else _asked_commit(given)


def _asked_commit(given: Mapping[str, Any]) -> str | None:
    """Return the commit that is asked for, if it is one and no branch."""
    revision = given.get("revision")
    commit = getattr(
        revision, "resolved", revision
    )  # what huggingface_hub.resolve_revision returns has the commit beside it
    return commit if commit is not None and _COMMIT.fullmatch(commit) else None


def _check(
    root: pathlib.Path,
    names: Sequence[pathlib.Path] | None,
    given: Mapping[str, Any],
    verify: Verify,
    stored: StoredTrust,
    *,
    partial: bool,
) -> NamedResult:
    from ledger.bundle.trust_material import TrustMaterial

    with real_files(root, names, in_cache=given.get("local_dir") is None) as real:
        question = Question(
            path=real,
            name=given["repo_id"],
            revision=_commit(root, given),
            expected=verify.expected,
            expect_all=verify.expect_all,
            url=verify.url,
            offline=verify.offline,
            live=verify.live,
            partial=partial,
        )
        material = TrustMaterial(public_keys=read_keys(verify.public_keys), sigstore_json=verify.trusted_root)
        return require(answer(question, stored, material=material, folder=user_folder(), now=posix_now()))


def _tell(verify: Verify, found: NamedResult) -> None:
    if verify.tell is not None:
        verify.tell(found)


def _host(endpoint: str | None) -> str:
    """Return the host that is downloaded from, which is a hub's id unless somebody says otherwise."""
    import httpx

    return httpx.URL(endpoint or _library().constants.ENDPOINT).host
